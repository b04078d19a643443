//! The overlays: help, the filter box, a question.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Widget};
use unicode_width::UnicodeWidthStr;

use crate::console::table::shorten;
use crate::console::text::safe;
use crate::tui::app::{App, Overlay};
use crate::tui::help::{KEY_COLUMN_WIDTH, box_width, help_end, help_lines, inside_of};
use crate::tui::ink::Ink;
use crate::tui::input::Input;
use crate::tui::words;

/// Draws the overlay. The position of the terminal's cursor, if the overlay has a line to type in.
pub(super) fn draw(app: &App, ink: Ink, area: Rect, buf: &mut Buffer) -> Option<Position> {
    match app.overlay.as_ref()? {
        Overlay::Help(from) => {
            help(app, *from, ink, area, buf);
            None
        }
        Overlay::Filter(input, error) => {
            let hint = "state:failed queue:x name:y error:z tag:t id:1, or text; empty for all";
            Some(typed(" Filter ", input, error.as_deref().unwrap_or(hint), error.is_some(), ink, area, buf))
        }
        Overlay::Age(input, error) => {
            let hint = "Letters that were moved longer ago than this are deleted: 30d, 12h";
            let title = " Purge dead letters older than ";
            Some(typed(title, input, error.as_deref().unwrap_or(hint), error.is_some(), ink, area, buf))
        }
        Overlay::Confirmation(confirm) => {
            let lines = words::question(confirm);
            let inside = boxed(" Sure? ", lines.len() + 2, ink, area, buf);
            let width = usize::from(inside.width);
            for (i, line) in lines.iter().enumerate() {
                let style = if i == 0 { ink.bold() } else { ink.plain() };
                buf.set_stringn(inside.x, inside.y + i as u16, shorten(line, width), width, style);
            }
            let keys: &[(&str, &str)] = match (confirm.tally.is_done, confirm.tally.changed) {
                (true, 1..) => &[("y", " do it   "), ("Esc", " leave it")],
                _ => &[("Esc", " leave it")],
            };
            let spans = keys.iter().flat_map(|(key, what)| [Span::styled(*key, ink.key()), Span::raw(*what)]);
            let line = Line::from(spans.collect::<Vec<_>>());
            buf.set_line(inside.x, inside.bottom() - 1, &line, inside.width);
            None
        }
    }
}

fn help(app: &App, from: usize, ink: Ink, area: Rect, buf: &mut Buffer) {
    let lines = help_lines(app, inside_of(area.width));
    let inside = boxed(" Keys ", lines.len(), ink, area, buf);
    let width = usize::from(inside.width);
    for ((keys, what), y) in lines.iter().skip(from.min(help_end(app))).zip(inside.y..inside.bottom()) {
        buf.set_stringn(inside.x, y, keys, usize::from(KEY_COLUMN_WIDTH), ink.key());
        buf.set_stringn(
            inside.x + KEY_COLUMN_WIDTH,
            y,
            what,
            width.saturating_sub(usize::from(KEY_COLUMN_WIDTH)),
            ink.plain(),
        );
    }
}

/// A box with a line to type in, and a line below it.
fn typed(
    title: &str,
    input: &Input,
    below: &str,
    is_error: bool,
    ink: Ink,
    area: Rect,
    buf: &mut Buffer,
) -> Position {
    let inside = boxed(title, 2, ink, area, buf);
    let width = usize::from(inside.width);
    let (before, after) = input.halves();
    let (before, after) = (safe(&before), safe(&after));
    // If there is no room for all text before the cursor, its end is shown.
    let mut shown = &*before;
    while shown.width() + 1 > width {
        let mut chars = shown.chars();
        chars.next();
        shown = chars.as_str();
    }
    let at = inside.x + shown.width() as u16;
    buf.set_stringn(inside.x, inside.y, shown, width, ink.bold());
    buf.set_stringn(at, inside.y, after, usize::from(inside.right() - at), ink.bold());
    let style = if is_error { ink.bad() } else { ink.dim() };
    buf.set_stringn(inside.x, inside.y + 1, shorten(&safe(below), width), width, style);
    Position { x: at, y: inside.y }
}

/// A box in the middle with so many lines; its inside.
fn boxed(title: &str, lines: usize, ink: Ink, area: Rect, buf: &mut Buffer) -> Rect {
    let width = box_width(area.width);
    let height = (lines as u16 + 2).min(area.height);
    let (x, y) = (area.x + (area.width - width) / 2, area.y + (area.height - height) / 2);
    let place = Rect { x, y, width, height };
    Clear.render(place, buf);
    for y in place.top()..place.bottom() {
        // A wide character that begins left of the box would reach into it.
        let neighbour = x.checked_sub(1).and_then(|x| buf.cell_mut((x, y)));
        if let Some(cell) = neighbour.filter(|cell| cell.symbol().width() > 1) {
            cell.reset();
        }
    }
    let block = Block::bordered().title(Line::styled(title.to_owned(), ink.bold())).style(Style::new());
    let inside = block.inner(place);
    block.render(place, buf);
    Rect { x: inside.x + 1, width: inside.width.saturating_sub(2), ..inside }
}
