//! Tables that fit into a part of the screen. Cells stand at columns of the screen, whatever the width of their characters.

use std::ops::Range;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use unicode_width::UnicodeWidthStr;

use crate::console::table::shorten;
use crate::console::text::safe;
use crate::tui::ink::Ink;

/// How wide a column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    /// As wide as its widest cell, at most so wide.
    Fit(usize),
    /// As wide as there is room.
    Rest,
}

/// A column.
pub(super) struct ListColumn {
    title: &'static str,
    width: Width,
    right: bool,
}

/// Text, as wide as it is, up to `most`.
pub(super) fn left(title: &'static str, most: usize) -> ListColumn {
    ListColumn { title, width: Width::Fit(most), right: false }
}

/// A number.
pub(super) fn right(title: &'static str) -> ListColumn {
    ListColumn { title, width: Width::Fit(24), right: true }
}

/// Text that takes what the others leave.
pub(super) fn rest(title: &'static str) -> ListColumn {
    ListColumn { title, width: Width::Rest, right: false }
}

/// A cell: safe text, and how it looks.
pub(super) struct ListCell {
    pub text: String,
    pub style: Style,
}

pub(super) fn cell(text: impl AsRef<str>, style: Style) -> ListCell {
    ListCell { text: safe(text.as_ref()).into_owned(), style }
}

/// Blanks between two columns.
const COLUMN_GAP: usize = 2;

/// A table whose cells are known.
pub(super) struct ListTable {
    pub columns: Vec<ListColumn>,
    pub rows: Vec<Vec<ListCell>>,
    /// The row under the cursor.
    pub cursor: Option<usize>,
}

impl ListTable {
    /// Leaves these columns out.
    pub fn leave_out(&mut self, columns: Range<usize>) {
        self.columns.drain(columns.clone());
        self.rows.iter_mut().for_each(|row| drop(row.drain(columns.clone())));
    }

    /// Leaves out the column with this heading, if there is one.
    pub fn leave_out_titled(&mut self, title: &str) {
        if let Some(at) = self.columns.iter().position(|column| column.title == title) {
            self.leave_out(at..at + 1);
        }
    }

    /// Draws the headings, and as many rows as there is room for below them.
    pub fn draw(&self, area: Rect, ink: Ink, buf: &mut Buffer) {
        if area.is_empty() {
            return;
        }
        let widths = self.widths(usize::from(area.width));
        let titles: Vec<ListCell> = self.columns.iter().map(|column| cell(column.title, ink.dim())).collect();
        self.draw_row(&titles, &widths, Rect { height: 1, ..area }, buf);
        for (i, row) in self.rows.iter().enumerate().take(usize::from(area.height) - 1) {
            let line = Rect { y: area.y + 1 + i as u16, height: 1, ..area };
            self.draw_row(row, &widths, line, buf);
            if self.cursor == Some(i) {
                buf.set_style(line, ink.cursor());
            }
        }
    }

    fn draw_row(&self, row: &[ListCell], widths: &[usize], line: Rect, buf: &mut Buffer) {
        let mut x = usize::from(line.x);
        for ((cell, column), width) in row.iter().zip(&self.columns).zip(widths) {
            let text = shorten(&cell.text, *width);
            let room = width.saturating_sub(text.width());
            let at = x + if column.right { room } else { 0 };
            if *width > 0 && at < usize::from(line.right()) {
                buf.set_stringn(at as u16, line.y, text, usize::from(line.right()) - at, cell.style);
            }
            x += width + if *width > 0 { COLUMN_GAP } else { 0 };
        }
    }

    /// Each column as wide as it may be. If that is too much, the [`rest`] column gives first, then the widest.
    fn widths(&self, room: usize) -> Vec<usize> {
        let widest = |i: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(i)).map(|cell| cell.text.width());
            cells.chain([self.columns[i].title.width()]).max().unwrap_or(0)
        };
        let mut widths: Vec<usize> = (0..self.columns.len())
            .map(|i| match self.columns[i].width {
                Width::Fit(most) => widest(i).min(most.max(self.columns[i].title.width())),
                Width::Rest => widest(i),
            })
            .collect();
        let used = |widths: &[usize]| {
            widths
                .iter()
                .filter(|width| **width > 0)
                .map(|width| width + COLUMN_GAP)
                .sum::<usize>()
                .saturating_sub(COLUMN_GAP)
        };
        while used(&widths) > room {
            let gives = |i: &usize| {
                let column = &self.columns[*i];
                !column.right && widths[*i] > column.title.width().max(4)
            };
            let is_rest = |i: &usize| self.columns[*i].width == Width::Rest;
            let rest = (0..widths.len()).filter(gives).find(|i| is_rest(i) && widths[*i] > 12);
            let Some(i) = rest.or_else(|| (0..widths.len()).filter(gives).max_by_key(|i| widths[*i])) else {
                break;
            };
            widths[i] -= 1;
        }
        widths
    }
}

/// Says in the last row how many have no room.
pub(super) fn more(table: &mut ListTable, all: usize, ink: Ink) {
    let hidden = all.saturating_sub(table.rows.len());
    if hidden > 0 && table.cursor.is_none() {
        let columns = table.columns.len() - 1;
        let blank = std::iter::repeat_with(|| cell("", ink.plain())).take(columns);
        if let Some(last) = table.rows.last_mut() {
            *last = std::iter::once(cell(format!("{} more", hidden + 1), ink.dim())).chain(blank).collect();
        }
    }
}
