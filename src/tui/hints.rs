//! The hints about keys at the bottom of the screen.

use super::app::{App, Overlay, Tab};
use super::bulk::meant;
use super::filter_box::Query;
use super::help::help_end;
use super::list::{List, Row};
use super::requests::ActionKind;
use crate::State;
use crate::console::words::{count, number};

/// A key, and what it does.
pub(super) type Hint = (&'static str, String);

/// The keys of tasks that change the file, the most useful first.
const TASK_KEYS: [(ActionKind, &str, &str); 5] = [
    (ActionKind::Retry, "R", "retry"),
    (ActionKind::RunNow, "N", "run now"),
    (ActionKind::Cancel, "C", "cancel"),
    (ActionKind::MoveToDead, "M", "to letters"),
    (ActionKind::Delete, "D", "delete"),
];

/// What the keys do in what is shown: the most useful first.
pub(super) fn hints(app: &App) -> Vec<Hint> {
    let mut hints = match &app.overlay {
        Some(overlay) => return of_overlay(app, overlay),
        None => of_screen(app),
    };
    hints.extend(plain(&[("?", "help"), ("q", "quit")]));
    hints
}

fn plain(hints: &[(&'static str, &str)]) -> Vec<Hint> {
    hints.iter().map(|(key, what)| (*key, (*what).to_owned())).collect()
}

fn of_overlay(app: &App, overlay: &Overlay) -> Vec<Hint> {
    plain(match overlay {
        Overlay::Help(_) if help_end(app) > 0 => &[("j/k", "scroll"), ("any other key", "close")],
        Overlay::Help(_) => &[("any key", "close")],
        Overlay::Filter(..) => &[("Enter", "filter"), ("Esc", "leave it")],
        Overlay::Age(..) => &[("Enter", "count them"), ("Esc", "leave it")],
        Overlay::Confirmation(confirm) if confirm.tally.is_done && confirm.tally.changed > 0 => {
            &[("y", "do it"), ("Esc", "leave it")]
        }
        Overlay::Confirmation(_) => &[("Esc", "leave it")],
    })
}

fn of_screen(app: &App) -> Vec<Hint> {
    if let Some(detail) = &app.detail {
        let mut hints = plain(&[("Esc", "back"), ("j/k", "scroll")]);
        hints.push(("f", if detail.is_pinned { "all about it" } else { "follow its output" }.to_owned()));
        if detail.is_letter() {
            hints.extend(plain(&[("R", "replay")]));
        } else if let Some(state) = detail.state() {
            hints.extend(of_state(state));
        }
        return hints;
    }
    match app.tab {
        Tab::Overview => plain(&[("j/k", "queue"), ("Enter", "its tasks"), ("P", "pause/resume")]),
        Tab::Schedules => {
            plain(&[("j/k", "schedule"), ("Enter", "its last run"), ("P", "pause/resume"), ("N", "run now")])
        }
        Tab::Tasks => {
            let row = app.tasks.current().map(|task| task.state);
            let keys = changes(app, &app.tasks, row, &TASK_KEYS);
            list_hints(keys, &[("f", "follow"), ("s", "sort"), ("Space", "select")])
        }
        Tab::Waiting => {
            let keys: Vec<_> = TASK_KEYS.into_iter().filter(|key| matches!(key.1, "N" | "C")).collect();
            let row = app.waiting.current().map(|task| task.state);
            list_hints(changes(app, &app.waiting, row, &keys), &[("Space", "select")])
        }
        Tab::Letters => {
            let replay = [(ActionKind::Replay, "R", "replay")];
            let row = app.letters.current().map(|letter| letter.state);
            let mut keys = changes(app, &app.letters, row, &replay);
            keys.extend(plain(&[("D", "purge by age")]));
            list_hints(keys, &[("Space", "select")])
        }
        Tab::Failures => {
            let mut hints = plain(&[("Enter", "its tasks"), ("l", "latest"), ("/", "filter")]);
            let what = match (app.failures.selected.len(), app.failures.current()) {
                (0, Some(group)) => format!("{} (this row)", number(group.count)),
                (0, None) => return hints,
                (n, _) => format!("{} selected", count(n as u64, "group")),
            };
            hints.push(("R", format!("retry {what}")));
            hints.extend(plain(&[("M", "to letters"), ("D", "delete"), ("f", "follow latest")]));
            hints
        }
    }
}

fn list_hints(changes: Vec<Hint>, more: &[(&'static str, &str)]) -> Vec<Hint> {
    let mut hints = plain(&[("Enter", "open"), ("/", "filter")]);
    // What the first of them changes is said before what else the keys do.
    let mut changes = changes.into_iter();
    hints.extend(changes.next());
    hints.extend(plain(more));
    hints.extend(changes);
    hints
}

/// What can be done to a task in a state.
fn of_state(state: State) -> impl Iterator<Item = Hint> {
    let can = move |key: &(ActionKind, _, _)| key.0.allowed().contains(&state);
    TASK_KEYS.into_iter().filter(can).map(|(_, key, what)| (key, what.to_owned()))
}

/// The capitals of a list, of which the first says what they act on: what is selected, else all that match the filter, else the row.
fn changes<R: Row>(
    app: &App,
    list: &List<R>,
    row: Option<State>,
    keys: &[(ActionKind, &'static str, &str)],
) -> Vec<Hint> {
    let selected = list.selected.len() as u64;
    let scope = |verb: ActionKind| -> Option<String> {
        if selected > 0 {
            return Some(format!("{} selected", number(selected)));
        }
        if !list.query.is_all() {
            return match counted(app, verb, &list.query).filter(|_| app.tab == Tab::Tasks) {
                Some(0) => None,
                Some(n) => Some(format!("{} (all of filter)", number(n))),
                None => Some("all of filter".to_owned()),
            };
        }
        row.filter(|state| verb.allowed().contains(state)).map(|_| "this row".to_owned())
    };
    let mut hints: Vec<Hint> = Vec::new();
    for (verb, key, what) in keys {
        if let Some(scope) = scope(*verb) {
            let what = if hints.is_empty() { format!("{what} {scope}") } else { (*what).to_owned() };
            hints.push((key, what));
        }
    }
    hints
}

/// How many tasks an action changes that match a filter, if the counters know.
fn counted(app: &App, verb: ActionKind, query: &Query) -> Option<u64> {
    let counts = &app.summary.as_ref()?.counts;
    if *query != query.counted() {
        return None;
    }
    let queues =
        counts.queues.iter().filter(|(name, _)| query.queue.as_ref().is_none_or(|queue| queue == *name));
    let states = meant(verb, query);
    Some(queues.map(|(_, counts)| states.iter().map(|state| counts.in_state(*state)).sum::<u64>()).sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::fixture::Stage;

    fn line(stage: &Stage) -> String {
        hints(&stage.app).iter().map(|(key, what)| format!("{key} {what}")).collect::<Vec<_>>().join("  ")
    }

    #[test]
    fn the_key_line_says_what_capitals_act_on() {
        let mut stage = Stage::new();
        let total = stage.queue().counts().unwrap().total();
        stage.keys("2");
        assert!(
            line(&stage).contains("N run now this row") && !line(&stage).contains("R retry"),
            "a queued one"
        );
        stage.keys("/ state:failed Enter");
        let failed = total.failed;
        assert!(line(&stage).contains(&format!("R retry {failed} (all of filter)")), "{}", line(&stage));
        assert!(!line(&stage).contains("N run now"), "none of them waits: {}", line(&stage));
        stage.keys("Space Space Space");
        assert!(line(&stage).contains("R retry 3 selected"), "{}", line(&stage));
        stage.keys("Esc Esc / quota Enter");
        assert!(line(&stage).contains("R retry all of filter"), "{}", line(&stage));
        stage.keys("Esc 3");
        let group = stage.app.failures.current().unwrap().count;
        assert!(line(&stage).contains(&format!("R retry {group} (this row)")), "{}", line(&stage));
        stage.keys("Space Space");
        assert!(line(&stage).contains("R retry 2 groups selected"), "{}", line(&stage));
        stage.keys("4");
        assert!(line(&stage).contains("N run now this row"), "{}", line(&stage));
        stage.keys("5 Space");
        assert!(line(&stage).contains("R replay 1 selected"), "{}", line(&stage));
    }
}
