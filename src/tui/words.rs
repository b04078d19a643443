//! Deeds in words: what is asked before, and said after.

use super::app::Confirm;
use super::bulk::meant;
use super::messages::{Deed, Tally, Target, Verb};
use crate::State;
use crate::console::text::safe;
use crate::console::words::count;

impl Verb {
    /// As an order.
    fn order(self) -> &'static str {
        match self {
            Verb::Retry => "Retry",
            Verb::RunNow => "Run now",
            Verb::Cancel => "Cancel",
            Verb::Delete => "Delete for good",
            Verb::Bury => "To the dead letters:",
            Verb::Replay => "Replay",
            Verb::Purge(_) => "Delete for good",
            Verb::Pause => "Pause",
            Verb::Resume => "Resume",
        }
    }

    /// While it happens.
    fn happening(self) -> &'static str {
        match self {
            Verb::Retry => "retrying",
            Verb::RunNow => "making them run now",
            Verb::Cancel => "cancelling",
            Verb::Delete | Verb::Purge(_) => "deleting",
            Verb::Bury => "moving to the dead letters",
            Verb::Replay => "replaying",
            Verb::Pause => "pausing",
            Verb::Resume => "resuming",
        }
    }

    /// When it has happened.
    fn happened(self) -> &'static str {
        match self {
            Verb::Retry => "retried",
            Verb::RunNow => "made ready to run:",
            Verb::Cancel => "cancelled",
            Verb::Delete | Verb::Purge(_) => "deleted",
            Verb::Bury => "moved to the dead letters:",
            Verb::Replay => "replayed",
            Verb::Pause => "paused",
            Verb::Resume => "resumed",
        }
    }

    fn thing(self) -> &'static str {
        if self.is_of_letters() { "dead letter" } else { "task" }
    }
}

/// The question, a line or more: the first says what and how many.
pub(super) fn question(confirm: &Confirm) -> Vec<String> {
    let Confirm { deed, tally, .. } = confirm;
    let verb = deed.verb;
    if let Target::Queue(queue) = &deed.target {
        let effect = match verb {
            Verb::Pause => "No more of its tasks are started; what runs goes on.",
            _ => "Its ready tasks may run again.",
        };
        return vec![format!("{} the queue {}?", verb.order(), safe(queue)), effect.to_owned()];
    }
    let how_many = count(tally.changed, verb.thing());
    let mut lines = vec![match (tally.is_done, tally.changed) {
        (false, _) => format!("{}? Counting: {how_many} so far", verb.order()),
        (true, 0) => format!("{}: none of them can be", verb.order().trim_end_matches(':')),
        (true, _) => format!("{} {how_many}?", verb.order()),
    }];
    lines.push(meaning(deed));
    if tally.is_done && tally.skipped > 0 {
        lines.push(format!(
            "{} more cannot be: their state does not allow it.",
            count(tally.skipped, verb.thing())
        ));
    }
    if matches!(verb, Verb::Cancel) && tally.changed > 0 {
        lines.push("Running ones stop when their handler next looks.".to_owned());
    }
    lines
}

/// Which ones are meant.
fn meaning(deed: &Deed) -> String {
    if let Some(about) = &deed.about {
        return safe(about).into_owned();
    }
    match &deed.target {
        Target::Ids(ids) => match &ids[..] {
            [id] => format!("This one: {id}"),
            ids => {
                let ends = ids.iter().min().zip(ids.iter().max());
                ends.map_or_else(
                    || "None".to_owned(),
                    |(least, most)| format!("These, from {least} to {most}"),
                )
            }
        },
        Target::Waiting(query) if query.is_all() => "All that wait for their time".to_owned(),
        Target::Waiting(query) => format!("All that wait and match {}", safe(&query.to_string())),
        Target::Query(query) => match deed.verb {
            Verb::Purge(before) => format!("All that were moved before {before}"),
            verb => {
                let states: Vec<&str> = meant(verb, query).into_iter().map(State::as_str).collect();
                let states = if states.is_empty() { "of no state".to_owned() } else { states.join(", ") };
                format!("All that match {} ({states})", safe(&query.to_string()))
            }
        },
        Target::Queue(queue) => safe(queue).into_owned(),
    }
}

/// How far a deed is.
pub(super) fn doing(deed: &Deed, tally: Tally, of: u64) -> String {
    format!(
        "{}: {} of {}; Esc stops it",
        deed.verb.happening(),
        crate::console::words::number(tally.changed),
        count(of, deed.verb.thing())
    )
}

/// What a deed has done.
pub(super) fn done(deed: &Deed, tally: Tally) -> String {
    let verb = deed.verb;
    if let Target::Queue(queue) = &deed.target {
        return format!("{} the queue {}", verb.happened(), safe(queue));
    }
    let mut text = format!("{} {}", verb.happened(), count(tally.changed, verb.thing()));
    if tally.skipped > 0 {
        text.push_str(&format!(
            "; {} left as it was: another state by now, or a taken unique key",
            count(tally.skipped, verb.thing())
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TaskId;
    use crate::tui::query::Query;

    fn ask(verb: Verb, target: Target, tally: Tally) -> String {
        question(&Confirm { serial: 1, deed: Deed { verb, target, about: None }, tally }).join("\n")
    }

    #[test]
    fn a_question_says_how_many_and_which() {
        let all = Tally { changed: 1_234, skipped: 0, is_done: true };
        let query = Query::parse("state:failed,succeeded name:up").unwrap();
        assert_eq!(
            ask(Verb::Retry, Target::Query(query.clone()), all),
            "Retry 1,234 tasks?\nAll that match state:failed,succeeded name:up (FAILED)"
        );
        let some = Tally { changed: 9, skipped: 0, is_done: false };
        assert!(
            ask(Verb::Delete, Target::Query(query), some)
                .starts_with("Delete for good? Counting: 9 tasks so far")
        );
        let ids = Target::Ids([7, 5, 6].map(TaskId::from_i64).into());
        let tally = Tally { changed: 2, skipped: 1, is_done: true };
        let text = ask(Verb::Bury, ids, tally);
        assert_eq!(
            text,
            "To the dead letters: 2 tasks?\nThese, from 5 to 7\n1 task more cannot be: their state does not allow it."
        );
    }

    #[test]
    fn names_in_questions_cannot_steer_the_terminal() {
        let all = Tally { changed: 1, skipped: 0, is_done: true };
        let text = ask(Verb::Pause, Target::Queue("a\u{1b}[2J".into()), all);
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}
