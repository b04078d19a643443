//! Tables that fit the screen.

use std::io;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::screen::{Screen, Tint};

/// Between two columns.
const GAP: usize = 2;

/// No column is made narrower than this.
const NARROWEST: usize = 6;

/// How a column behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    /// Text, as wide as it is.
    Left,
    /// A number, as wide as it is.
    Right,
    /// Text that is cut where the line has no more room.
    Cut,
}

/// A table on its way to the screen. Its cells are safe text.
pub(crate) struct Table {
    columns: Vec<(&'static str, Fit)>,
    rows: Vec<Vec<Cell>>,
}

/// A cell: its text, and its colour.
pub(crate) struct Cell {
    text: String,
    tint: Option<Tint>,
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Cell {
        Cell { text: text.into(), tint: None }
    }
}

impl Cell {
    pub(crate) fn tinted(text: impl Into<String>, tint: Tint) -> Cell {
        Cell { text: text.into(), tint: Some(tint) }
    }
}

impl Table {
    pub(crate) fn new(columns: &[(&'static str, Fit)]) -> Table {
        Table { columns: columns.to_vec(), rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Writes it, with a line of headings.
    pub(crate) fn print(&self, screen: &mut Screen) -> io::Result<()> {
        let widths = self.widths(screen.width());
        let heads = self.columns.iter().map(|(head, _)| Cell::tinted(*head, Tint::Dim)).collect::<Vec<_>>();
        for row in std::iter::once(&heads).chain(&self.rows) {
            let line = self.line(row, &widths, screen);
            screen.line(line.trim_end())?;
        }
        Ok(())
    }

    fn line(&self, row: &[Cell], widths: &[usize], screen: &Screen) -> String {
        let mut line = String::new();
        for (i, ((cell, (_, fit)), width)) in row.iter().zip(&self.columns).zip(widths).enumerate() {
            let text = shorten(&cell.text, *width);
            let padding = " ".repeat(width.saturating_sub(text.width()));
            let shown = match cell.tint {
                Some(tint) => screen.tint(tint, &text),
                None => text,
            };
            if i > 0 {
                line.push_str(&" ".repeat(GAP));
            }
            match fit {
                Fit::Right => line.extend([padding, shown]),
                Fit::Left | Fit::Cut => line.extend([shown, padding]),
            }
        }
        line
    }

    /// As wide as the widest cell; what is too much is taken from the columns that may be cut, the widest first.
    fn widths(&self, screen: usize) -> Vec<usize> {
        let mut widths: Vec<usize> = (0..self.columns.len())
            .map(|i| {
                let cells = self.rows.iter().filter_map(|row| row.get(i)).map(|cell| cell.text.width());
                cells.chain([self.columns[i].0.width()]).max().unwrap_or(0)
            })
            .collect();
        let gaps = GAP * self.columns.len().saturating_sub(1);
        while widths.iter().sum::<usize>() + gaps > screen {
            let cuttable = |i: &usize| self.columns[*i].1 == Fit::Cut && widths[*i] > NARROWEST;
            let Some(widest) = (0..widths.len()).filter(cuttable).max_by_key(|i| widths[*i]) else { break };
            widths[widest] -= 1;
        }
        widths
    }
}

/// The text, cut to so many columns with an ellipsis.
pub(crate) fn shorten(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let (mut short, mut used) = (String::new(), 0);
    for c in text.chars() {
        let next = c.width().unwrap_or(0);
        if used + next + 1 > width {
            break;
        }
        used += next;
        short.push(c);
    }
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_by_columns_not_by_bytes() {
        assert_eq!(shorten("abcdef", 6), "abcdef");
        assert_eq!(shorten("abcdefg", 6), "abcde…");
        assert_eq!(shorten("任务任务", 5), "任务…");
    }

    #[test]
    fn what_may_be_cut_makes_room() {
        let mut table = Table::new(&[("ID", Fit::Right), ("TEXT", Fit::Cut), ("LAST", Fit::Left)]);
        table.row(["1".into(), "x".repeat(100).into(), "y".repeat(10).into()]);
        assert_eq!(table.widths(40), [2, 24, 10]);
    }
}
