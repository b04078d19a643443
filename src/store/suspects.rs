//! Suspects: tasks that were running when a process died. They run one at a time, beside the others, until they come to an end
//! of their own; so whichever of them kills the process again takes no other suspect with it.
//!
//! A suspect that is not on is held; whatever moves one calls [`pass_turn`] in the same transaction.

use super::fault::Sql;
use super::owner::is_served;
use super::quarantine::unless_damaged;
use super::row::HotRow;
use super::tx::Tx;
use crate::lifecycle::Event;
use crate::planted::planted;
use crate::task::{TaskId, Timestamp};

/// Gives the turn to the oldest suspect of a queue that is served and not paused, unless one has it.
pub(super) fn pass_turn(tx: &Tx<'_>) -> Sql<()> {
    let taken = concat!(
        "SELECT EXISTS (SELECT 1 FROM perdura_tasks t INDEXED BY perdura_suspects
             WHERE t.suspect = 1 AND (t.state = 1 OR (t.state = 0 AND t.hold = 0 AND (SELECT q.paused = 0 AND ",
        is_served!("q.queue"),
        " FROM perdura_queues q WHERE q.queue_id = t.queue_id))))"
    );
    if tx.one(taken, [], |row| row.get(0))? && !planted("g06-suspects-run-together") {
        return Ok(());
    }
    let oldest = concat!(
        "SELECT t.task_id FROM perdura_tasks t INDEXED BY perdura_suspects
         WHERE t.suspect = 1 AND t.state = 0 AND t.hold = 4 AND (SELECT q.paused = 0 AND ",
        is_served!("q.queue"),
        " FROM perdura_queues q WHERE q.queue_id = t.queue_id)
         ORDER BY t.task_id LIMIT 1"
    );
    while let Some(id) = tx.find(oldest, [], |row| row.get(0))? {
        let turn = |row: &HotRow| row.must_apply(tx, Event::SuspectTurn, NO_TIME);
        if unless_damaged(tx, TaskId::from_i64(id), NO_TIME, turn)?.is_some() {
            break;
        }
    }
    Ok(())
}

/// Takes the turn back from suspects of a queue that was paused, or is not served.
pub(super) fn take_turn_back(tx: &Tx<'_>, queue_id: i64) -> Sql<()> {
    // Named, because SQLite would go through all that is ready.
    let sql = "SELECT task_id FROM perdura_tasks INDEXED BY perdura_suspects
               WHERE suspect = 1 AND state = 0 AND hold = 0 AND queue_id = ?1";
    for id in tx.numbers(sql, [queue_id])? {
        let wait = |row: &HotRow| row.must_apply(tx, Event::SuspectWait, NO_TIME);
        unless_damaged(tx, TaskId::from_i64(id), NO_TIME, wait)?;
    }
    Ok(())
}

/// A new owner serves other queues than the one before: takes the turn back from suspects that nobody will claim.
pub(super) fn serve(tx: &Tx<'_>) -> Sql<()> {
    let sql = concat!(
        "SELECT DISTINCT t.queue_id FROM perdura_tasks t INDEXED BY perdura_suspects
         WHERE t.suspect = 1 AND NOT (SELECT ",
        is_served!("q.queue"),
        " FROM perdura_queues q WHERE q.queue_id = t.queue_id)"
    );
    for queue_id in tx.numbers(sql, [])? {
        take_turn_back(tx, queue_id)?;
    }
    tx.suspect_moved();
    Ok(())
}

/// Turns neither begin a wait nor end a task, so no time is written.
const NO_TIME: Timestamp = Timestamp::from_millis(0);
