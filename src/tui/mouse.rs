//! What the mouse does: it changes what is seen, and never the file.

use ratatui::crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::{Position, Rect};

use super::app::{App, Overlay, Tab};
use super::help::help_end;
use super::layout::{LINES_ABOVE_ROWS, OverviewParts, screen};
use super::list::CursorStep;
use super::tab_line::TabLine;

/// Lines that one notch of the wheel scrolls.
const WHEEL_LINES: usize = 3;

/// Whether an event of the mouse can change anything: its mere moves are many.
pub(super) fn matters(mouse: &MouseEvent) -> bool {
    use MouseEventKind::{Down, ScrollDown, ScrollUp};
    matches!(mouse.kind, Down(MouseButton::Left) | ScrollUp | ScrollDown)
}

impl App {
    pub fn on_mouse(&mut self, mouse: MouseEvent) {
        if !matters(&mouse) || self.is_too_small() {
            return;
        }
        self.note = None;
        match mouse.kind {
            MouseEventKind::ScrollUp => self.wheel(CursorStep::Up),
            MouseEventKind::ScrollDown => self.wheel(CursorStep::Down),
            _ => self.click(mouse.column, mouse.row),
        }
    }

    fn wheel(&mut self, step: CursorStep) {
        match &mut self.overlay {
            None => (0..WHEEL_LINES).for_each(|_| self.step(step)),
            Some(Overlay::Help(line)) => {
                let line = if step == CursorStep::Up {
                    line.saturating_sub(WHEEL_LINES)
                } else {
                    *line + WHEEL_LINES
                };
                self.overlay = Some(Overlay::Help(line.min(help_end(self))));
            }
            Some(_) => {} // a question and what is typed wait for keys
        }
    }

    fn click(&mut self, x: u16, y: u16) {
        match &self.overlay {
            Some(Overlay::Help(_)) => return self.overlay = None,
            Some(_) => return,
            None => {}
        }
        let (width, height) = self.size;
        let [_, tabs, body, ..] = screen(Rect { x: 0, y: 0, width, height });
        if y == tabs.y {
            if let Some(tab) = TabLine::of(self, width).at(x) {
                self.go(tab);
            }
        } else if self.detail.is_none() && body.contains(Position { x, y }) {
            match self.tab {
                Tab::Overview => {
                    self.click_overview(OverviewParts::of(body, self.overview.running.len()), x, y)
                }
                _ => self.click_row(y),
            }
        }
    }

    /// The first click on a row puts the cursor there, and one on the row under the cursor opens it.
    fn click_row(&mut self, y: u16) {
        let Some(line) = y.checked_sub(LINES_ABOVE_ROWS).map(usize::from) else { return };
        let (offset, rows, cursor) = match self.tab {
            Tab::Overview => return,
            Tab::Tasks => (self.tasks.offset, self.tasks.rows.len(), &mut self.tasks.cursor),
            Tab::Failures => (self.failures.offset, self.failures.rows.len(), &mut self.failures.cursor),
            Tab::Waiting => (self.waiting.offset, self.waiting.rows.len(), &mut self.waiting.cursor),
            Tab::Letters => (self.letters.offset, self.letters.rows.len(), &mut self.letters.cursor),
            Tab::Schedules => {
                (self.schedules.offset, self.schedules.found.rows.len(), &mut self.schedules.cursor)
            }
        };
        let row = offset + line;
        if row >= rows {
            return;
        }
        if std::mem::replace(cursor, row) == row {
            self.enter();
        }
    }

    fn click_overview(&mut self, parts: OverviewParts, x: u16, y: u16) {
        let row = |part: Rect| {
            let is_in = part.contains(Position { x, y }) && y > part.y; // below its headings
            is_in.then(|| usize::from(y - part.y - 1))
        };
        if let Some(n) = row(parts.running) {
            if let Some(id) = self.overview.running.get(n).map(|running| running.task.task_id) {
                self.open(id);
            }
        } else if let Some(n) = row(parts.queues) {
            let queue = parts.first_queue(self) + n;
            if queue < self.queues().count() && std::mem::replace(&mut self.queue, queue) == queue {
                self.enter();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ratatui::crossterm::event::KeyModifiers;

    use super::*;
    use crate::console::times::Zone;
    use crate::tui::fixture::Stage;
    use crate::tui::ink::Ink;

    fn at(stage: &mut Stage, kind: MouseEventKind, column: u16, row: u16) {
        stage.app.on_mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE });
        stage.settle();
    }

    fn click(stage: &mut Stage, column: u16, row: u16) {
        at(stage, MouseEventKind::Down(MouseButton::Left), column, row);
    }

    /// Clicks on the first place of a text on the screen.
    fn click_on(stage: &mut Stage, text: &str) {
        let screen = Stage::text(&stage.draw(Ink { colors: true, zone: Zone::Utc }));
        let (row, line) = screen.lines().enumerate().find(|(_, line)| line.contains(text)).unwrap();
        let column = unicode_width::UnicodeWidthStr::width(&line[..line.find(text).unwrap()]);
        click(stage, column as u16, row as u16);
    }

    #[test]
    fn a_click_on_a_tab_shows_it() {
        let mut stage = Stage::new();
        for size in [(140, 40), (80, 24), (60, 16)] {
            stage.resize(size);
            for (text, tab) in
                [("3 Failures", Tab::Failures), ("6 Sched", Tab::Schedules), ("1 Overview", Tab::Overview)]
            {
                click_on(&mut stage, text);
                assert_eq!(stage.app.tab, tab, "{size:?}");
            }
        }
    }

    #[test]
    fn a_click_moves_the_cursor_and_a_second_one_opens() {
        let mut stage = Stage::new();
        stage.keys("2");
        let third = stage.app.tasks.rows[2].task_id;
        click_on(&mut stage, &format!(" {third} "));
        assert_eq!((stage.app.tasks.cursor, stage.app.detail.is_none()), (2, true));
        click_on(&mut stage, &format!(" {third} "));
        assert_eq!(stage.app.detail.as_ref().map(|detail| detail.id), Some(third));
        stage.keys("Esc");
        click(&mut stage, 5, 23);
        click(&mut stage, 5, 2);
        assert_eq!((stage.app.tasks.cursor, stage.app.detail.is_none()), (2, true), "no row is there");
        stage.keys("1");
        click_on(&mut stage, "reports");
        assert_eq!((stage.app.queue, stage.app.tab), (1, Tab::Overview));
        click_on(&mut stage, "reports");
        assert_eq!((stage.app.tab, stage.app.tasks.query.to_string()), (Tab::Tasks, "queue:reports".into()));
    }

    #[test]
    fn the_wheel_scrolls_lists_pages_and_the_help() {
        let mut stage = Stage::new();
        stage.keys("2");
        at(&mut stage, MouseEventKind::ScrollDown, 9, 9);
        assert_eq!(stage.app.tasks.cursor, WHEEL_LINES);
        at(&mut stage, MouseEventKind::ScrollUp, 9, 9);
        assert_eq!(stage.app.tasks.cursor, 0);
        stage.resize((60, 16));
        stage.keys("?");
        at(&mut stage, MouseEventKind::ScrollDown, 9, 9);
        assert_eq!(stage.app.overlay, Some(Overlay::Help(WHEEL_LINES)));
        click(&mut stage, 9, 9);
        assert_eq!(stage.app.overlay, None);
    }

    #[test]
    fn no_click_answers_a_question() {
        let mut stage = Stage::new();
        stage.keys("3 R");
        let asked = stage.app.overlay.clone();
        for y in 0..24 {
            for x in 0..80 {
                click(&mut stage, x, y);
            }
        }
        assert_eq!(stage.app.overlay, asked);
        let moved =
            MouseEvent { kind: MouseEventKind::Moved, column: 1, row: 1, modifiers: KeyModifiers::NONE };
        assert!(!matters(&moved));
    }
}
