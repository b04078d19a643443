//! Actions in words: the question before, and the result after.

use super::app::Confirmation;
use super::bulk::meant;
use super::requests::{Action, ActionCount, ActionKind, ActionTarget};
use crate::State;
use crate::console::text::safe;
use crate::console::words::count;

impl ActionKind {
    /// The imperative.
    fn order(self) -> &'static str {
        match self {
            ActionKind::Retry => "Retry",
            ActionKind::RunNow => "Run now",
            ActionKind::Cancel => "Cancel",
            ActionKind::Delete => "Delete for good",
            ActionKind::MoveToDead => "To the dead letters:",
            ActionKind::Replay => "Replay",
            ActionKind::Purge(_) => "Delete for good",
            ActionKind::Pause => "Pause",
            ActionKind::Resume => "Resume",
        }
    }

    /// The present participle, while it is being done.
    fn happening(self) -> &'static str {
        match self {
            ActionKind::Retry => "retrying",
            ActionKind::RunNow => "making them run now",
            ActionKind::Cancel => "cancelling",
            ActionKind::Delete | ActionKind::Purge(_) => "deleting",
            ActionKind::MoveToDead => "moving to the dead letters",
            ActionKind::Replay => "replaying",
            ActionKind::Pause => "pausing",
            ActionKind::Resume => "resuming",
        }
    }

    /// The past participle, when it is done.
    fn happened(self) -> &'static str {
        match self {
            ActionKind::Retry => "retried",
            ActionKind::RunNow => "made ready to run:",
            ActionKind::Cancel => "cancelled",
            ActionKind::Delete | ActionKind::Purge(_) => "deleted",
            ActionKind::MoveToDead => "moved to the dead letters:",
            ActionKind::Replay => "replayed",
            ActionKind::Pause => "paused",
            ActionKind::Resume => "resumed",
        }
    }

    fn thing(self) -> &'static str {
        if self.is_of_letters() { "dead letter" } else { "task" }
    }
}

/// The question, a line or more: the first says what and how many.
pub(super) fn question(confirm: &Confirmation) -> Vec<String> {
    let Confirmation { action, tally, .. } = confirm;
    let verb = action.verb;
    if let ActionTarget::Queue(queue) = &action.target {
        let effect = match verb {
            ActionKind::Pause => "No more of its tasks are started; what runs goes on.",
            _ => "Its ready tasks may run again.",
        };
        return vec![format!("{} the queue {}?", verb.order(), safe(queue)), effect.to_owned()];
    }
    if let ActionTarget::Schedule(schedule) = &action.target {
        let effect = match verb {
            ActionKind::Pause => "It makes no more tasks; those that it has made go on.",
            ActionKind::RunNow => "It makes a task now, beside its times.",
            _ => "It goes on with the next time that comes.",
        };
        let question = match verb {
            ActionKind::RunNow => format!("Run the schedule {} now?", safe(schedule)),
            verb => format!("{} the schedule {}?", verb.order(), safe(schedule)),
        };
        return vec![question, effect.to_owned()];
    }
    let how_many = count(tally.changed, verb.thing());
    let mut lines = vec![match (tally.is_done, tally.changed) {
        (false, _) => format!("{}? Counting: {how_many} so far", verb.order()),
        (true, 0) => format!("{}: none of them can be", verb.order().trim_end_matches(':')),
        (true, _) => format!("{} {how_many}?", verb.order()),
    }];
    lines.push(meaning(action));
    if tally.is_done && tally.skipped > 0 {
        lines.push(format!(
            "{} more cannot be: their state does not allow it.",
            count(tally.skipped, verb.thing())
        ));
    }
    if matches!(verb, ActionKind::Cancel) && tally.changed > 0 {
        lines.push("Running ones stop when their handler next looks.".to_owned());
    }
    lines
}

/// The targets in words.
fn meaning(action: &Action) -> String {
    if let Some(about) = &action.about {
        return safe(about).into_owned();
    }
    match &action.target {
        ActionTarget::Ids(ids) => match &ids[..] {
            [id] => format!("This one: {id}"),
            ids => {
                let ends = ids.iter().min().zip(ids.iter().max());
                ends.map_or_else(
                    || "None".to_owned(),
                    |(least, most)| format!("These, from {least} to {most}"),
                )
            }
        },
        ActionTarget::Waiting(query) if query.is_all() => "All that wait for their time".to_owned(),
        ActionTarget::Waiting(query) => format!("All that wait and match {}", safe(&query.to_string())),
        ActionTarget::Query(query) => match action.verb {
            ActionKind::Purge(before) => format!("All that were moved before {before}"),
            verb => {
                let states: Vec<&str> = meant(verb, query).into_iter().map(State::as_str).collect();
                let states = if states.is_empty() { "of no state".to_owned() } else { states.join(", ") };
                format!("All that match {} ({states})", safe(&query.to_string()))
            }
        },
        ActionTarget::Queue(name) | ActionTarget::Schedule(name) => safe(name).into_owned(),
    }
}

/// The progress of an action in words.
pub(super) fn running_action(action: &Action, tally: ActionCount, of: u64) -> String {
    format!(
        "{}: {} of {}; Esc stops it",
        action.verb.happening(),
        crate::console::words::number(tally.changed),
        count(of, action.verb.thing())
    )
}

/// The result of an action in words.
pub(super) fn done(action: &Action, tally: ActionCount) -> String {
    let verb = action.verb;
    if let ActionTarget::Queue(queue) = &action.target {
        return format!("{} the queue {}", verb.happened(), safe(queue));
    }
    if let ActionTarget::Schedule(schedule) = &action.target {
        return match verb {
            ActionKind::RunNow => format!("made a run of the schedule {}", safe(schedule)),
            verb => format!("{} the schedule {}", verb.happened(), safe(schedule)),
        };
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
    use crate::tui::filter_box::Query;

    fn asked(verb: ActionKind, target: ActionTarget, tally: ActionCount) -> String {
        question(&Confirmation { serial: 1, action: Action { verb, target, about: None }, tally }).join("\n")
    }

    #[test]
    fn a_question_says_how_many_and_which() {
        let all = ActionCount { changed: 1_234, skipped: 0, is_done: true };
        let query = Query::parse("state:failed,succeeded name:up").unwrap();
        assert_eq!(
            asked(ActionKind::Retry, ActionTarget::Query(query.clone()), all),
            "Retry 1,234 tasks?\nAll that match state:failed,succeeded name:up (FAILED)"
        );
        let some = ActionCount { changed: 9, skipped: 0, is_done: false };
        assert!(
            asked(ActionKind::Delete, ActionTarget::Query(query), some)
                .starts_with("Delete for good? Counting: 9 tasks so far")
        );
        let ids = ActionTarget::Ids([7, 5, 6].map(TaskId::from_i64).into());
        let tally = ActionCount { changed: 2, skipped: 1, is_done: true };
        let text = asked(ActionKind::MoveToDead, ids, tally);
        assert_eq!(
            text,
            "To the dead letters: 2 tasks?\nThese, from 5 to 7\n1 task more cannot be: their state does not allow it."
        );
    }

    #[test]
    fn names_in_questions_cannot_steer_the_terminal() {
        let all = ActionCount { changed: 1, skipped: 0, is_done: true };
        let text = asked(ActionKind::Pause, ActionTarget::Queue("a\u{1b}[2J".into()), all);
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}
