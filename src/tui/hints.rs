//! The hints about keys at the bottom of the screen.

use super::app::{App, Overlay, Tab};
use super::help::help_end;
use super::requests::ActionKind;

/// What the keys do in what is shown: the most useful first.
pub(super) fn hints(app: &App) -> Vec<(&'static str, &'static str)> {
    match &app.overlay {
        Some(Overlay::Help(_)) if help_end(app) > 0 => {
            return vec![("j/k", "scroll"), ("any other key", "close")];
        }
        Some(Overlay::Help(_)) => return vec![("any key", "close")],
        Some(Overlay::Filter(..)) => return vec![("Enter", "filter"), ("Esc", "leave it")],
        Some(Overlay::Age(..)) => return vec![("Enter", "count them"), ("Esc", "leave it")],
        Some(Overlay::Confirmation(confirm)) if confirm.tally.is_done && confirm.tally.changed > 0 => {
            return vec![("y", "do it"), ("Esc", "leave it")];
        }
        Some(Overlay::Confirmation(_)) => return vec![("Esc", "leave it")],
        None => {}
    }
    let mut hints = match (&app.detail, app.tab) {
        (Some(detail), _) if detail.is_letter() => vec![("Esc", "back"), ("j/k", "scroll"), ("R", "replay")],
        (Some(detail), _) => {
            let can = |verb: ActionKind| detail.state().is_some_and(|state| verb.allowed().contains(&state));
            let verbs = [
                (ActionKind::Retry, "R", "retry"),
                (ActionKind::RunNow, "N", "run now"),
                (ActionKind::Cancel, "C", "cancel"),
                (ActionKind::MoveToDead, "M", "to letters"),
                (ActionKind::Delete, "D", "delete"),
            ];
            let mut hints = vec![("Esc", "back"), ("j/k", "scroll")];
            hints.extend(verbs.into_iter().filter(|verb| can(verb.0)).map(|(_, key, what)| (key, what)));
            hints
        }
        (None, Tab::Overview) => vec![("j/k", "queue"), ("Enter", "its tasks"), ("P", "pause/resume")],
        (None, Tab::Tasks) => vec![
            ("Enter", "open"),
            ("/", "filter"),
            ("Space", "select"),
            ("R", "retry"),
            ("C", "cancel"),
            ("N", "run now"),
            ("M", "to letters"),
            ("D", "delete"),
        ],
        (None, Tab::Failures) => vec![
            ("Enter", "newest"),
            ("l", "list"),
            ("/", "filter"),
            ("R", "retry all of it"),
            ("M", "to letters"),
            ("D", "delete"),
        ],
        (None, Tab::Waiting) => {
            vec![("Enter", "open"), ("/", "filter"), ("Space", "select"), ("N", "run now"), ("C", "cancel")]
        }
        (None, Tab::Schedules) => {
            vec![("j/k", "schedule"), ("Enter", "its last run"), ("P", "pause/resume"), ("N", "run now")]
        }
        (None, Tab::Letters) => {
            vec![
                ("Enter", "open"),
                ("/", "filter"),
                ("Space", "select"),
                ("R", "replay"),
                ("D", "purge by age"),
            ]
        }
    };
    hints.extend([("?", "help"), ("q", "quit")]);
    hints
}
