//! The line of tabs: what it says in how much room, and which tab is where. Pure.

use unicode_width::UnicodeWidthStr;

use super::app::{App, Tab};
use crate::console::words::compact_number;

/// How much the line of tabs says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TabForm {
    Whole,
    /// Short titles.
    Short,
    /// Without counts.
    Bare,
    /// With as few blanks and letters as may be.
    Tight,
}

impl TabForm {
    /// The wider ones first.
    const ALL: [TabForm; 4] = [TabForm::Whole, TabForm::Short, TabForm::Bare, TabForm::Tight];
}

/// The line of tabs.
pub(super) struct TabLine {
    /// Each tab, and its label with blanks around it.
    pub labels: Vec<(Tab, String)>,
    /// The columns between two labels.
    pub gap: usize,
}

impl TabLine {
    /// The line with the longest labels that fit in `width` columns.
    pub fn of(app: &App, width: u16) -> TabLine {
        let lines = || TabForm::ALL.into_iter().map(|form| TabLine::in_form(app, form));
        let fits = |line: &TabLine| line.width() <= usize::from(width);
        lines().find(fits).unwrap_or_else(|| TabLine::in_form(app, TabForm::Tight))
    }

    fn in_form(app: &App, form: TabForm) -> TabLine {
        let is_counted = matches!(form, TabForm::Whole | TabForm::Short);
        let counts = app.summary.as_ref().map(|summary| summary.counts.total()).filter(|_| is_counted);
        let label = |(i, tab): (usize, Tab)| {
            let number = match (tab, counts) {
                (Tab::Failures, Some(counts)) => Some(counts.failed.saturating_add(counts.lost)),
                (Tab::Waiting, Some(counts)) => Some(counts.waiting),
                _ => None,
            };
            let number =
                number.filter(|n| *n > 0).map(|n| format!(" {}", compact_number(n))).unwrap_or_default();
            let title = match form {
                TabForm::Whole => tab.title(),
                TabForm::Short | TabForm::Bare => tab.short_title(),
                TabForm::Tight => tab.shortest_title(),
            };
            let end = if form == TabForm::Tight { "" } else { " " };
            (tab, format!(" {} {title}{number}{end}", i + 1))
        };
        let labels = Tab::ALL.into_iter().enumerate().map(label).collect();
        TabLine { labels, gap: usize::from(form != TabForm::Tight) }
    }

    fn width(&self) -> usize {
        let labels: usize = self.labels.iter().map(|(_, label)| label.width()).sum();
        labels + self.gap * (self.labels.len() - 1)
    }

    /// The tab at a column; none between two.
    pub fn at(&self, column: u16) -> Option<Tab> {
        let mut from = 0;
        for (tab, label) in &self.labels {
            let to = from + label.width();
            if (from..to).contains(&usize::from(column)) {
                return Some(*tab);
            }
            from = to + self.gap;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::fixture::Stage;

    #[test]
    fn each_column_of_a_label_leads_to_its_tab() {
        let stage = Stage::new();
        for width in [140, 80, 62, 60] {
            let line = TabLine::of(&stage.app, width);
            assert!(line.width() <= usize::from(width), "{width}");
            let tabs: Vec<Option<Tab>> = (0..width).map(|column| line.at(column)).collect();
            for tab in Tab::ALL {
                let hits = tabs.iter().filter(|at| **at == Some(tab)).count();
                let (_, label) = line.labels.iter().find(|(of, _)| *of == tab).unwrap();
                assert_eq!(hits, label.width(), "{width} {tab:?}");
            }
        }
    }
}
