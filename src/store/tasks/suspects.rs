//! Suspects: tasks that were running when a process died. They run one at a time, beside all other tasks.
//!
//! A task stays a suspect until an attempt of it ends without a crash, or has been running for a minute. So a suspect that kills the process again takes no other
//! suspect with it, and one that hangs does not hold up the others for ever.
//!
//! At most one suspect has the turn; the others are held. A write that changes a suspect notes it ([`Tx::suspect_moved`]), and [`pass_turn`] gives the turn on before
//! the COMMIT.

use super::damaged::unless_damaged;
use super::epoch::is_served;
use super::gates::is_open;
use super::row::HotRow;
use crate::lifecycle::TaskEvent;
use crate::planted::planted;
use crate::store::commit::tx::Tx;
use crate::store::error::Sql;
use crate::task::{TaskId, Timestamp};

/// Passes on the turn if a write of this transaction has changed a suspect, or the bounds of a queue; returns whether one has.
pub(crate) fn pass_turn(tx: &Tx<'_>) -> Sql<bool> {
    let moved = tx.gathered(|all| std::mem::take(&mut all.suspects_moved));
    if moved {
        give_turn(tx)?;
    }
    Ok(moved)
}

/// Gives the turn to the first suspect, by priority and then by id, of the queues that are served, not paused and not shut, unless a
/// suspect runs. A suspect that has the turn and is not claimed yet loses it to one with a higher priority or a lower id, and to any other
/// while its own queue is shut.
///
/// In a transaction that does not know the time, closures and rates do not count: only a limit shuts a queue.
fn give_turn(tx: &Tx<'_>) -> Sql<()> {
    let runs = "SELECT EXISTS (SELECT 1 FROM perdura_tasks INDEXED BY perdura_suspects WHERE suspect = 1 AND state = 1)";
    if tx.one(runs, [], |row| row.get(0))? && !planted("g06-suspects-run-together") {
        return Ok(());
    }
    let first = concat!(
        "SELECT t.task_id, t.hold FROM perdura_tasks t INDEXED BY perdura_suspects
         WHERE t.suspect = 1 AND t.state = 0 AND t.hold IN (0, 7) AND (SELECT q.paused = 0 AND ",
        is_served!("q.queue"),
        " AND ",
        is_open!("q", "?1"),
        " FROM perdura_queues q WHERE q.queue_id = t.queue_id)
          ORDER BY t.priority DESC, t.task_id LIMIT 1"
    );
    let now_ms = tx.now.map_or(i64::MAX / 1000, Timestamp::as_millis);
    let is_held = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)? != 0));
    while let Some((id, true)) = tx.find(first, [now_ms], is_held)? {
        let holders = "SELECT task_id FROM perdura_tasks INDEXED BY perdura_suspects
                       WHERE suspect = 1 AND state = 0 AND hold = 0";
        take_back_from(tx, tx.numbers(holders, [])?)?;
        let turn = |row: &HotRow| row.must_apply(tx, TaskEvent::SuspectTurn, NO_TIME);
        if unless_damaged(tx, TaskId::from_i64(id), NO_TIME, turn)?.is_some() {
            break;
        }
    }
    let waits_for_end = "SELECT EXISTS (SELECT 1 FROM perdura_tasks t INDEXED BY perdura_suspects
        WHERE t.suspect = 1 AND t.state = 0 AND t.hold = 7
        AND (SELECT q.max_in_flight IS NOT NULL FROM perdura_queues q WHERE q.queue_id = t.queue_id))";
    if tx.one(waits_for_end, [], |row| row.get(0))? {
        tx.effect(|effects| effects.waits_for_end = true);
    }
    Ok(())
}

/// Clears the mark of a suspect that has been running for long, and so passes on the turn. Does nothing if that attempt has ended.
pub(crate) fn spare(tx: &Tx<'_>, id: TaskId, generation: u64, now: Timestamp) -> Sql<()> {
    let row = HotRow::find(tx.conn, id)?.filter(|row| row.generation == generation.cast_signed());
    match row {
        Some(row) => row.apply(tx, TaskEvent::ProvedHarmless, now).map(drop),
        None => Ok(()),
    }
}

/// Takes the turn back from suspects of a queue that was paused, or is not served.
pub(crate) fn take_turn_back(tx: &Tx<'_>, queue_id: i64) -> Sql<()> {
    // The index is named, because SQLite would scan all ready tasks of the queue.
    let sql = "SELECT task_id FROM perdura_tasks INDEXED BY perdura_suspects
               WHERE suspect = 1 AND state = 0 AND hold = 0 AND queue_id = ?1";
    take_back_from(tx, tx.numbers(sql, [queue_id])?)
}

fn take_back_from(tx: &Tx<'_>, holders: Vec<i64>) -> Sql<()> {
    for id in holders {
        let wait = |row: &HotRow| row.must_apply(tx, TaskEvent::SuspectWait, NO_TIME);
        unless_damaged(tx, TaskId::from_i64(id), NO_TIME, wait)?;
    }
    Ok(())
}

/// For a new owner, which may serve other queues: takes the turn back from suspects in queues that it does not serve.
pub(crate) fn serve(tx: &Tx<'_>) -> Sql<()> {
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
