//! One task or dead letter: the part of its lines that fits.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::Timestamp;
use crate::tui::detail::{Detail, lines};
use crate::tui::ink::Ink;

pub(super) fn draw(detail: &Detail, now: Timestamp, ink: Ink, area: Rect, buf: &mut Buffer) {
    let lines = lines(detail, now, usize::from(area.width), ink);
    let height = usize::from(area.height);
    let scroll = detail.scroll.min(lines.len().saturating_sub(height));
    for (line, y) in lines.iter().skip(scroll).zip(area.y..area.bottom()) {
        buf.set_line(area.x, y, line, area.width);
    }
    if lines.len() > height {
        let text = format!(" {}-{} of {} ", scroll + 1, (scroll + height).min(lines.len()), lines.len());
        let x = area.right().saturating_sub(text.len() as u16);
        buf.set_stringn(x, area.y, text, usize::from(area.width), ink.dim());
    }
}
