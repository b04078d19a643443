//! Tables that fit the screen.
//!
//! Empty columns are left out. If the columns do not fit side by side even at their narrowest, each row becomes lines of labelled values.

use std::io;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::screen::{Screen, Tint};
use crate::State;

/// Blanks between two columns.
const COLUMN_GAP: usize = 2;

/// No column is made narrower than this: shorter pieces of text say nothing, and rows of labelled values read better.
const MIN_COLUMN_WIDTH: usize = 12;

/// How a column is aligned, and whether it may be cut.
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

    /// A state in its colour.
    pub(crate) fn state(state: State) -> Cell {
        Cell::tinted(state.as_str(), Tint::of(state))
    }
}

impl Table {
    pub(crate) fn new(columns: &[(&'static str, Fit)]) -> Table {
        Table { columns: columns.to_vec(), rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Writes it: with a line of headings, or, where that is too wide for the screen, row by row.
    pub(crate) fn print(mut self, screen: &mut Screen) -> io::Result<()> {
        self.leave_out_empty_columns();
        let widths = self.widths(screen.width());
        if widths.iter().sum::<usize>() + self.gaps() > screen.width() {
            return self.rows.iter().try_for_each(|row| self.print_stacked(row, screen));
        }
        let heads = self.columns.iter().map(|(head, _)| Cell::tinted(*head, Tint::Dim)).collect::<Vec<_>>();
        for row in std::iter::once(&heads).chain(&self.rows) {
            let line = self.line(row, &widths, screen);
            screen.line(line.trim_end())?;
        }
        Ok(())
    }

    fn leave_out_empty_columns(&mut self) {
        let is_empty = |i: &usize| self.rows.iter().all(|row| row[*i].text.is_empty());
        let empty: Vec<usize> = (0..self.columns.len()).rev().filter(is_empty).collect();
        for i in empty {
            self.columns.remove(i);
            self.rows.iter_mut().for_each(|row| drop(row.remove(i)));
        }
    }

    /// Writes a row as its first value and, below that, what else there is, each with its heading.
    fn print_stacked(&self, row: &[Cell], screen: &mut Screen) -> io::Result<()> {
        let said = row.iter().zip(&self.columns).filter(|(cell, _)| !cell.text.is_empty());
        let labelled = said.enumerate().map(|(i, (cell, (head, _)))| {
            let head = if i == 0 { "" } else { head };
            let gap = if head.is_empty() { "" } else { " " };
            (format!("{head}{gap}"), cell)
        });
        print_flowing(labelled, screen)
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
                line.push_str(&" ".repeat(COLUMN_GAP));
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
        while widths.iter().sum::<usize>() + self.gaps() > screen {
            let cuttable = |i: &usize| self.columns[*i].1 == Fit::Cut && widths[*i] > MIN_COLUMN_WIDTH;
            let Some(widest) = (0..widths.len()).filter(cuttable).max_by_key(|i| widths[*i]) else { break };
            widths[widest] -= 1;
        }
        widths
    }

    fn gaps(&self) -> usize {
        COLUMN_GAP * self.columns.len().saturating_sub(1)
    }
}

/// Writes cells one behind the other, each behind its label, in as many lines as they need; all but the first are indented.
pub(crate) fn print_flowing<'c>(
    cells: impl IntoIterator<Item = (String, &'c Cell)>,
    screen: &mut Screen,
) -> io::Result<()> {
    let (mut line, mut used) = (String::new(), 0);
    for (i, (label, cell)) in cells.into_iter().enumerate() {
        let text = shorten(&cell.text, screen.width().saturating_sub(COLUMN_GAP + label.width()));
        let width = COLUMN_GAP * usize::from(i > 0) + label.width() + text.width();
        if used + width > screen.width() {
            screen.line(std::mem::take(&mut line))?;
            used = 0;
        }
        used += width;
        let gap = if i > 0 { " ".repeat(COLUMN_GAP) } else { String::new() };
        let value = cell.tint.map_or_else(|| text.clone(), |tint| screen.tint(tint, &text));
        line.extend([gap, screen.tint(Tint::Dim, label), value]);
    }
    screen.line(line)
}

/// The text in lines of at most `width` columns, broken between words, and within a word that is longer.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let mut word = word;
        while let Some(line) = lines.last_mut() {
            let gap = usize::from(!line.is_empty());
            if line.width() + gap + word.width() <= width {
                line.push_str(&" ".repeat(gap));
                line.push_str(word);
                break;
            }
            if line.is_empty() {
                let (head, tail) = word.split_at(end_of_columns(word, width));
                line.push_str(head);
                if tail.is_empty() {
                    break;
                }
                word = tail;
            }
            lines.push(String::new());
        }
    }
    lines
}

/// The byte offset at which the first `width` columns of a text end; behind the first character in any case.
fn end_of_columns(text: &str, width: usize) -> usize {
    let mut used = 0;
    let is_beyond = |(at, c): &(usize, char)| {
        used += c.width().unwrap_or(0);
        *at > 0 && used > width
    };
    text.char_indices().find(is_beyond).map_or(text.len(), |(at, _)| at)
}

/// The text, cut to `width` columns with an ellipsis.
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
    fn lines_are_broken_between_words_and_long_words_anywhere() {
        assert_eq!(wrap("a bc def", 4), ["a bc", "def"]);
        assert_eq!(wrap("a /x/yyyyyy z", 4), ["a", "/x/y", "yyyy", "y z"]);
        assert_eq!(wrap("", 4), [""]);
        assert_eq!(wrap("任务任务 b", 4), ["任务", "任务", "b"]);
        assert_eq!(wrap("任务", 1), ["任", "务"]);
    }

    #[test]
    fn what_may_be_cut_makes_room() {
        let mut table = Table::new(&[("ID", Fit::Right), ("TEXT", Fit::Cut), ("LAST", Fit::Left)]);
        table.row(["1".into(), "x".repeat(100).into(), "y".repeat(10).into()]);
        assert_eq!(table.widths(40), [2, 24, 10]);
    }
}
