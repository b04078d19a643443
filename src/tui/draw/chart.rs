//! Attempts by minute, as stacked columns.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style};
use ratatui::text::{Line, Span};

use crate::Timestamp;
use crate::console::words::compact_number;
use crate::inspect::Rollup;
use crate::tui::ink::Ink;

/// Minutes that are drawn.
pub(super) const MINUTES_DRAWN: usize = 60;

/// How attempts end, from the bottom of a column to its top: its name, its colour, its mark where there are no colours.
const OUTCOMES: [(&str, Color, &str); 5] = [
    ("succeeded", Color::Green, "█"),
    ("retried", Color::Yellow, "▒"),
    ("cancelled", Color::DarkGray, "-"),
    ("lost", Color::Magenta, "L"),
    ("failed", Color::Red, "F"),
];

type Minute = [u64; OUTCOMES.len()];

/// What ended in each of the last minutes, the current one last.
pub(super) fn minutes(rollups: &[Rollup], now: Timestamp) -> [Minute; MINUTES_DRAWN] {
    let mut minutes = [Minute::default(); MINUTES_DRAWN];
    let current = now.as_millis().div_euclid(60_000);
    for rollup in rollups {
        let ago = current - rollup.minute.as_millis().div_euclid(60_000);
        let Some(i) = usize::try_from(ago).ok().and_then(|ago| MINUTES_DRAWN.checked_sub(ago + 1)) else {
            continue;
        };
        let ends = [rollup.succeeded, rollup.retried, rollup.cancelled, rollup.lost, rollup.failed];
        for (sum, n) in minutes[i].iter_mut().zip(ends) {
            *sum = sum.saturating_add(n);
        }
    }
    minutes
}

/// A title with the legend, the columns, an axis.
pub(super) fn draw(rollups: &[Rollup], now: Timestamp, ink: Ink, area: Rect, buf: &mut Buffer) {
    let minutes = minutes(rollups, now);
    let wide = (usize::from(area.width).saturating_sub(8) / MINUTES_DRAWN).max(1);
    let fit = (usize::from(area.width).saturating_sub(8) / wide).min(MINUTES_DRAWN);
    let shown = &minutes[MINUTES_DRAWN - fit..]; // the newest: what is now is never cut off
    let peak = shown.iter().map(total).max().unwrap_or(0);
    legend(&minutes, ink, Rect { height: 1, ..area }, buf);
    let scale = format!("{:>6} ", compact_number(peak));
    buf.set_stringn(area.x, area.y + 1, &scale, 7, ink.dim());
    let bottom = area.bottom() - 1;
    let height = usize::from(area.height).saturating_sub(2);
    for (i, minute) in shown.iter().enumerate() {
        for (row, end) in column(minute, peak, height).into_iter().enumerate() {
            let (_, color, mark) = OUTCOMES[end.0];
            let x = area.x + 7 + (i * wide) as u16;
            let symbol = if ink.colors { end.1 } else { mark };
            let style = if ink.colors { Style::new().fg(color) } else { ink.plain() };
            for x in (x..x + wide as u16).take_while(|x| *x < area.right()) {
                buf.set_stringn(x, bottom - 1 - row as u16, symbol, 1, style);
            }
        }
    }
    let ago = if fit == MINUTES_DRAWN { "1 h ago".to_owned() } else { format!("{fit} min ago") };
    let axis = format!("{ago:<width$}now", width = (fit * wide).saturating_sub(3));
    buf.set_stringn(area.x + 7, bottom, axis, usize::from(area.width).saturating_sub(7), ink.dim());
}

fn total(minute: &Minute) -> u64 {
    minute.iter().fold(0, |sum, n| sum.saturating_add(*n))
}

fn legend(minutes: &[Minute; MINUTES_DRAWN], ink: Ink, area: Rect, buf: &mut Buffer) {
    let mut spans = vec![Span::styled(" Attempts/min ", ink.bold())];
    for (end, (name, color, mark)) in OUTCOMES.iter().enumerate().rev() {
        let n = minutes.iter().fold(0_u64, |sum, minute| sum.saturating_add(minute[end]));
        let (mark, style) = if ink.colors { ("█", Style::new().fg(*color)) } else { (*mark, ink.bold()) };
        if n > 0 || matches!(*name, "succeeded" | "failed") {
            spans.extend([
                Span::styled(format!(" {mark} "), style),
                Span::raw(format!("{name} {} ", compact_number(n))),
            ]);
        }
    }
    // Success comes last: the columns show it anyway.
    while spans.len() > 3 && spans.iter().map(Span::width).sum::<usize>() > usize::from(area.width) {
        spans.truncate(spans.len() - 2);
    }
    buf.set_line(area.x, area.y, &Line::from(spans), area.width);
}

/// The cells of a column from the bottom: the index of the outcome, and the symbol. Each outcome but success gets a cell of its own, however rare it
/// is, as long as there are cells: the worst first.
fn column(minute: &Minute, peak: u64, height: usize) -> Vec<(usize, &'static str)> {
    const EIGHTHS: [&str; 9] = [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];
    let all = total(minute);
    if all == 0 || peak == 0 || height == 0 {
        return Vec::new();
    }
    let scaled = |n: u64, of: usize| (u128::from(n) * of as u128).div_ceil(u128::from(peak)) as usize;
    let eighths = scaled(all, height * 8).clamp(1, height * 8);
    let cells = eighths.div_ceil(8);
    // The bad ends from the top, each at least one cell, as long as there are cells.
    let mut ends = Vec::with_capacity(cells);
    for end in (1..OUTCOMES.len()).rev().filter(|end| minute[*end] > 0) {
        let share = (scaled(minute[end], height * 8) / 8).max(1);
        ends.extend(std::iter::repeat_n(end, share.min(cells - ends.len())));
    }
    ends.resize(cells, if minute[0] > 0 { 0 } else { ends.last().copied().unwrap_or(0) });
    ends.reverse();
    let top = EIGHTHS[match eighths % 8 {
        0 => 8,
        part => part,
    }];
    ends.into_iter().enumerate().map(|(i, end)| (end, if i + 1 == cells { top } else { "█" })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(minute: Minute, peak: u64) -> Vec<usize> {
        column(&minute, peak, 5).into_iter().map(|(end, _)| end).collect()
    }

    #[test]
    fn a_column_is_as_high_as_its_minute_and_shows_every_failure() {
        assert_eq!(ends([100, 0, 0, 0, 0], 100), [0; 5]);
        assert_eq!(ends([40, 0, 0, 0, 0], 100), [0; 2]);
        assert_eq!(
            ends([10_000, 0, 0, 0, 1], 10_001),
            [0, 0, 0, 0, 4],
            "one failure in ten thousand is seen"
        );
        assert_eq!(ends([0, 50, 0, 0, 50], 100), [1, 1, 1, 4, 4]);
        assert_eq!(ends([1, 1, 1, 1, 1], 100), [4], "with one cell, the worst");
        assert_eq!(ends([0; 5], 100), [0_usize; 0]);
        assert_eq!(ends([u64::MAX, 0, 0, 0, u64::MAX], u64::MAX).len(), 5);
        assert_eq!(column(&[10, 0, 0, 0, 0], 100, 5), [(0, "▄")]);
    }
}
