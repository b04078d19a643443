//! Schedules in a history: a run does not start before its tick, and no tick makes two runs.

use std::collections::HashMap;

use super::event::{Invariant, Violation};
use super::known::Checker;
use crate::task::{TaskId, Timestamp};

/// I16, when a run has started: its tick has come.
pub(super) fn check_tick(
    checker: &mut Checker<'_>,
    id: TaskId,
    tick: Option<Timestamp>,
    wall: Timestamp,
) -> Result<(), Violation> {
    let Some(tick) = tick else { return Ok(()) };
    let (at, went_back) = (checker.at, checker.clock_went_back);
    checker.known(id).tick = Some((tick, at));
    match tick > wall && !went_back {
        true => Err(checker.broken(
            Invariant::Ticks,
            id,
            &[at],
            format!("started at {wall}, before its tick {tick}"),
        )),
        false => Ok(()),
    }
}

/// I16: each tick made one task. Runs that were made by hand or replayed from dead letters do not
/// count. If the clock was set back, a tick whose run is gone may come again, since the clock may
/// have been set back by more than a day.
pub(super) fn check_ticks(checker: &Checker<'_>) -> Result<(), Violation> {
    let mut runs: HashMap<(&str, Timestamp), (TaskId, usize)> = HashMap::new();
    for (id, known) in checker.tasks.iter().filter(|(_, known)| !known.by_hand && !known.is_replay) {
        let (Some(schedule), Some((tick, began))) = (known.schedule, known.tick) else { continue };
        let may_repeat = |other: &TaskId| {
            let is_gone = checker.purged > 0 || checker.tasks[other].deleted.is_some();
            is_gone && checker.clock_went_back
        };
        let before = runs.insert((schedule, tick), (*id, began));
        if let Some((other, before)) = before.filter(|(other, _)| !may_repeat(other)) {
            let problem =
                format!("is a run of schedule {schedule:?} for its tick {tick}, and so is task {other}");
            return Err(checker.broken(Invariant::Ticks, *id, &[before, began], problem));
        }
    }
    Ok(())
}
