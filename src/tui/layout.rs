//! Where things are on the screen: for whoever draws them, and for the mouse. Pure.

use ratatui::layout::Rect;

use super::app::App;

/// The lines above the first row of a list: the two at the top, its title, its headings.
pub(super) const LINES_ABOVE_ROWS: u16 = 4;

/// From this width on queues and names stand side by side.
const MIN_SIDE_BY_SIDE_WIDTH: u16 = 126;

/// With fewer lines below the chart, names give way to what runs.
const MIN_LINES_FOR_NAMES: u16 = 6;

/// Bar, tabs, body, status, keys.
pub(super) fn screen(area: Rect) -> [Rect; 5] {
    let line = |y| Rect { y, height: 1, ..area };
    let body = Rect { y: area.y + 2, height: area.height - 4, ..area };
    [line(area.y), line(area.y + 1), body, line(area.bottom() - 2), line(area.bottom() - 1)]
}

/// The parts of the overview; what has no room has no height.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OverviewParts {
    pub chart: Rect,
    pub running: Rect,
    pub queues: Rect,
    pub names: Rect,
}

impl OverviewParts {
    /// Below the two lines of counts; `running`: how many tasks run.
    pub fn of(area: Rect, running: usize) -> OverviewParts {
        let rows = area.height.saturating_sub(2);
        let part = if running > 0 { 4 } else { 3 };
        let chart = Rect { y: area.y + 2, height: (rows / part + 1).clamp(4, 14), ..area };
        let below = Rect { y: chart.bottom(), height: rows.saturating_sub(chart.height), ..area };
        let wanted = u16::try_from(running + 1).unwrap_or(u16::MAX);
        let height = if running > 0 { wanted.min(below.height / 2) } else { 0 };
        let running = Rect { height, ..below };
        let below = Rect { y: running.bottom(), height: below.height - height, ..below };
        if area.width >= MIN_SIDE_BY_SIDE_WIDTH {
            let half = area.width * 2 / 5;
            let queues = Rect { width: half, ..below };
            let names = Rect { x: below.x + half + 2, width: below.width - half - 2, ..below };
            return OverviewParts { chart, running, queues, names };
        }
        let named = match height {
            1.. if below.height < MIN_LINES_FOR_NAMES => 0,
            _ => (below.height / 2).max(2),
        };
        let queues = Rect { height: below.height.saturating_sub(named), ..below };
        let names = Rect { y: below.bottom().saturating_sub(named), height: named, ..below };
        OverviewParts { chart, running, queues, names }
    }

    /// The first queue that is seen, so that the one under the cursor is.
    pub fn first_queue(&self, app: &App) -> usize {
        let room = usize::from(self.queues.height).saturating_sub(1).max(1);
        (app.queue + 1).saturating_sub(room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_the_overview_do_not_overlap_and_fill_it() {
        for (width, height) in [(60, 12), (80, 20), (120, 36), (140, 36), (300, 96)] {
            let area = Rect { x: 0, y: 2, width, height };
            for running in [0, 1, 2, 5, 1_000] {
                let parts = OverviewParts::of(area, running);
                let OverviewParts { chart, running: list, queues, names } = parts;
                assert!(chart.height >= 4 && queues.height >= 2, "{parts:?}");
                assert_eq!(list.height > 1, running > 0, "{parts:?}");
                assert_eq!((list.y, queues.y), (chart.bottom(), list.bottom()), "{parts:?}");
                assert_eq!(names.bottom().max(queues.bottom()), area.bottom(), "{parts:?}");
                assert!(names.x >= queues.right() || names.y >= queues.bottom() || names.is_empty());
            }
        }
    }
}
