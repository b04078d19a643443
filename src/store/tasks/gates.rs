//! Bounds of a queue: its limit, its rate, and whether it is closed for a while. The rules are in `limits`.
//!
//! A queue in which nothing may start is shut; claims skip it as a whole, as they skip a paused one. No counter is kept: an index
//! counts the tasks in flight, and a rate is one number, which each claim moves on. The commit that opens a shut queue claims from it:
//! the end of one of its tasks, the timer at the time that [`openings`] returns, or a change of the limit.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row};

use super::row::time_at;
use crate::limits::{Closure, QueueLimits, RateBucket, Shut};
use crate::planted::planted;
use crate::store::commit::tx::Tx;
use crate::store::error::Sql;
use crate::task::{Rate, Timestamp, millis};

/// Whether a queue has a limit, a rate or a closure: a condition on a row of `perdura_queues`.
macro_rules! is_bounded {
    ($q:literal) => {
        concat!(
            "(",
            $q,
            ".max_in_flight IS NOT NULL OR ",
            $q,
            ".opens_at_us IS NOT NULL OR ",
            $q,
            ".closed_at_ms IS NOT NULL)"
        )
    };
}
pub(crate) use is_bounded;

/// Whether a task of a queue may start at a time (in milliseconds): the same as [`QueueLimits::room`], except that it ignores backward
/// jumps of the clock.
macro_rules! is_open {
    ($q:literal, $now:literal) => {
        concat!(
            "((",
            $q,
            ".closed_until_ms IS NULL OR ",
            $q,
            ".closed_until_ms <= ",
            $now,
            ")
              AND (",
            $q,
            ".opens_at_us IS NULL OR ",
            $q,
            ".opens_at_us <= 1000 * ",
            $now,
            ")
              AND (",
            $q,
            ".max_in_flight IS NULL OR ",
            $q,
            ".max_in_flight > (
                  SELECT COUNT(*) FROM perdura_tasks f INDEXED BY perdura_in_flight
                  WHERE f.in_flight = 1 AND f.queue_id = ",
            $q,
            ".queue_id)))"
        )
    };
}
pub(crate) use is_open;

/// Reads the bounds of a queue from seven columns, beginning at `first`: limit, rate (count, period, burst), `opens_at_us`, closure
/// (since, until). Numbers out of range, which perdura never writes, count as the nearest valid one, so they do not stop a queue.
pub(crate) fn limits_at(row: &Row<'_>, first: usize) -> rusqlite::Result<QueueLimits> {
    let number = |column| row.get::<_, Option<i64>>(first + column);
    let small = |column| {
        Ok::<_, rusqlite::Error>(number(column)?.map(|n| u32::try_from(n.max(1)).unwrap_or(u32::MAX)))
    };
    let bucket = match (small(1)?, number(4)?) {
        (Some(count), Some(opens_at_us)) => {
            let period = Duration::from_millis(number(2)?.unwrap_or(1).max(1).unsigned_abs());
            Some(RateBucket { rate: Rate::per(period, count).burst(small(3)?.unwrap_or(1)), opens_at_us })
        }
        _ => None,
    };
    let closure = match (time_at(row, first + 5)?, time_at(row, first + 6)?) {
        (Some(since), Some(until)) => Some(Closure { since, until }),
        _ => None,
    };
    Ok(QueueLimits { max_in_flight: small(0)?, bucket, closure })
}

/// The bounds of a queue.
fn limits(conn: &Connection, queue_id: i64) -> Sql<QueueLimits> {
    let sql = "SELECT max_in_flight, rate_count, rate_period_ms, rate_burst, opens_at_us, closed_at_ms, closed_until_ms
               FROM perdura_queues WHERE queue_id = ?1";
    Ok(conn.prepare_cached(sql)?.query_row([queue_id], |row| limits_at(row, 0))?)
}

/// How many tasks of a queue are in flight.
fn in_flight(conn: &Connection, queue_id: i64) -> Sql<u64> {
    let sql = "SELECT COUNT(*) FROM perdura_tasks INDEXED BY perdura_in_flight WHERE in_flight = 1 AND queue_id = ?1";
    Ok(conn.prepare_cached(sql)?.query_row([queue_id], |row| row.get(0))?)
}

/// The bounds of a queue and what they allow now, as a claim reads them.
pub(crate) struct Gate {
    queue_id: i64,
    limits: QueueLimits,
    /// How many tasks may start now, or why none may.
    pub room: Result<usize, Shut>,
}

impl Gate {
    pub(crate) fn read(conn: &Connection, queue_id: i64, now: Timestamp) -> Sql<Gate> {
        let limits = limits(conn, queue_id)?;
        let in_flight = match limits.max_in_flight {
            Some(_) if !planted("g16-a-limit-counts-nothing") => in_flight(conn, queue_id)?,
            _ => 0,
        };
        Ok(Gate { queue_id, limits, room: limits.room(in_flight, now) })
    }

    /// Whether it has a rate. Such a queue's tasks are not claimed ahead of a worker, because a claim spends the rate.
    pub(crate) fn has_rate(&self) -> bool {
        self.limits.bucket.is_some()
    }

    /// Deletes a closure that is over. Returns whether one that was kept beside it may be in force again: then the gate is out of date.
    pub(crate) fn tidy(&self, tx: &Tx<'_>) -> Sql<bool> {
        if self.limits.closure.is_none() || self.room.is_err() {
            return Ok(false);
        }
        if end_closure(tx, self.queue_id)? {
            return Ok(true);
        }
        reopen(tx, self.queue_id)?;
        Ok(false)
    }

    /// Spends the rate for tasks that have been claimed.
    pub(crate) fn spend(&self, tx: &Tx<'_>, starts: usize, now: Timestamp) -> Sql<()> {
        match self.limits.bucket {
            Some(bucket) if starts > 0 => write_bucket(tx, self.queue_id, bucket, bucket.spend(starts, now))?,
            _ => {}
        }
        tx.suspect_moved(); // the queue may be shut now
        Ok(())
    }

    /// Whether a backward jump of the clock keeps it shut for too long.
    pub(crate) fn has_jumped(&self, now: Timestamp) -> bool {
        self.limits.after_jump(now) != self.limits
    }
}

/// Corrects rates and closures that a backward jump of the clock would keep shut for too long.
pub(crate) fn mend_jumps(tx: &Tx<'_>, now: Timestamp) -> Sql<()> {
    let sql = "SELECT queue_id FROM perdura_queues INDEXED BY perdura_gated
               WHERE (paused = 1 OR max_in_flight IS NOT NULL OR opens_at_us IS NOT NULL OR closed_at_ms IS NOT NULL)
               AND (opens_at_us IS NOT NULL OR closed_at_ms IS NOT NULL)";
    for queue_id in tx.numbers(sql, [])? {
        let limits = limits(tx.conn, queue_id)?;
        let sane = limits.after_jump(now);
        if sane == limits {
            continue;
        }
        if let (Some(from), Some(to)) = (limits.bucket, sane.bucket) {
            write_bucket(tx, queue_id, from, to)?;
        }
        if let Some(closure) = sane.closure {
            write_closure(tx, queue_id, Some(closure))?;
        }
    }
    Ok(())
}

fn write_bucket(tx: &Tx<'_>, queue_id: i64, from: RateBucket, to: RateBucket) -> Sql<()> {
    if planted("g16-a-rate-is-not-spent") {
        return Ok(());
    }
    let sql = "UPDATE perdura_queues SET opens_at_us = ?2 WHERE queue_id = ?1 AND opens_at_us = ?3";
    tx.change_one(sql, (queue_id, to.opens_at_us, from.opens_at_us))
}

fn write_closure(tx: &Tx<'_>, queue_id: i64, closure: Option<Closure>) -> Sql<()> {
    let (since, until) = closure.map(|c| (c.since.as_millis(), c.until.as_millis())).unzip();
    let sql = "UPDATE perdura_queues SET closed_at_ms = ?2, closed_until_ms = ?3 WHERE queue_id = ?1";
    tx.change_one(sql, (queue_id, since, until))
}

/// Closes queues for a time because their engine cannot be reached; [`open_again`] opens them earlier if it can be. A closure that a
/// handler has asked for is kept beside it, and is in force again afterwards.
pub(crate) fn close_for_engine(
    tx: &Tx<'_>,
    queues: &[String],
    why: &str,
    by: Duration,
    now: Timestamp,
) -> Sql<()> {
    tx.suspect_moved();
    for queue in queues {
        let queue_id = tx.queue_id(queue)?;
        let keep = "UPDATE perdura_queues SET kept_at_ms = closed_at_ms, kept_until_ms = closed_until_ms, closed_why = ?2
                    WHERE queue_id = ?1 AND closed_at_ms IS NOT NULL AND closed_why IS NULL";
        tx.run(keep, (queue_id, why))?;
        let close = "UPDATE perdura_queues SET closed_at_ms = ?2, closed_until_ms = ?3, closed_why = ?4 WHERE queue_id = ?1";
        tx.change_one(close, (queue_id, now.as_millis(), now.saturating_add(by).as_millis(), why))?;
    }
    Ok(())
}

/// Opens queues that were closed because their engine could not be reached.
pub(crate) fn open_again(tx: &Tx<'_>, queues: &[String]) -> Sql<()> {
    for queue in queues {
        let queue_id = tx.queue_id(queue)?;
        if end_closure(tx, queue_id)? {
            changed(tx);
        }
    }
    Ok(())
}

/// Ends a closure made by [`close_for_engine`], and restores the one that a handler has asked for. Returns whether there was one.
fn end_closure(tx: &Tx<'_>, queue_id: i64) -> Sql<bool> {
    let sql = "UPDATE perdura_queues SET closed_at_ms = kept_at_ms, closed_until_ms = kept_until_ms, closed_why = NULL,
                   kept_at_ms = NULL, kept_until_ms = NULL
               WHERE queue_id = ?1 AND closed_why IS NOT NULL";
    Ok(tx.run(sql, [queue_id])? > 0)
}

/// Why a queue is closed, if that is because an engine cannot be reached.
pub(crate) fn closed_why(conn: &Connection, queue: &str) -> Sql<Option<String>> {
    let sql = "SELECT closed_why FROM perdura_queues WHERE queue = ?1";
    Ok(conn.prepare_cached(sql)?.query_row([queue], |row| row.get(0)).optional()?.flatten())
}

/// Closes a queue for a time, for a handler: none of its tasks starts meanwhile.
pub(crate) fn close(tx: &Tx<'_>, queue_id: i64, by: Duration, now: Timestamp) -> Sql<()> {
    tx.suspect_moved();
    let sql =
        "SELECT kept_at_ms, kept_until_ms FROM perdura_queues WHERE queue_id = ?1 AND closed_why IS NOT NULL";
    let kept = tx.find(sql, [queue_id], |row| match (time_at(row, 0)?, time_at(row, 1)?) {
        (Some(since), Some(until)) => Ok(Some(Closure { since, until })),
        _ => Ok(None),
    })?;
    if let Some(kept) = kept {
        let kept = Closure::extend(kept, now, by); // in force once the engine can be reached
        let sql = "UPDATE perdura_queues SET kept_at_ms = ?2, kept_until_ms = ?3 WHERE queue_id = ?1 AND closed_why IS NOT NULL";
        return tx.change_one(sql, (queue_id, kept.since.as_millis(), kept.until.as_millis()));
    }
    let before = limits(tx.conn, queue_id)?.closure;
    write_closure(tx, queue_id, Some(Closure::extend(before, now, by)))
}

/// Ends every closure of a queue.
pub(crate) fn reopen(tx: &Tx<'_>, queue_id: i64) -> Sql<()> {
    tx.run(
        "UPDATE perdura_queues SET closed_at_ms = NULL, closed_until_ms = NULL, closed_why = NULL, kept_at_ms = NULL, kept_until_ms = NULL
         WHERE queue_id = ?1 AND closed_at_ms IS NOT NULL",
        [queue_id],
    )
    .map(drop)
}

/// Gives one start back to the rate of a queue: it was spent, but the task did not start.
pub(crate) fn refund(tx: &Tx<'_>, queue_id: i64) -> Sql<()> {
    match limits(tx.conn, queue_id)?.bucket {
        Some(bucket) => write_bucket(tx, queue_id, bucket, bucket.refund()),
        None => Ok(()),
    }
}

/// Sets how many tasks of a queue may be in flight at once. Creates the queue if the file does not know it.
pub(crate) fn set_limit(tx: &Tx<'_>, queue: &str, limit: Option<u32>) -> Sql<()> {
    let queue_id = tx.queue_id(queue)?;
    tx.change_one("UPDATE perdura_queues SET max_in_flight = ?2 WHERE queue_id = ?1", (queue_id, limit))?;
    changed(tx);
    Ok(())
}

/// Sets how often tasks of a queue may start. Creates the queue if the file does not know it. The same rate again changes nothing.
pub(crate) fn set_rate(tx: &Tx<'_>, queue: &str, rate: Option<Rate>, now: Timestamp) -> Sql<()> {
    let queue_id = tx.queue_id(queue)?;
    let before = limits(tx.conn, queue_id)?.bucket;
    if before.map(|bucket| bucket.rate) == rate {
        return Ok(());
    }
    let bucket = rate.map(|rate| match before {
        Some(before) => before.with_rate(rate, now),
        None => RateBucket::full(rate, now),
    });
    tx.change_one(
        "UPDATE perdura_queues SET rate_count = ?2, rate_period_ms = ?3, rate_burst = ?4, opens_at_us = ?5 WHERE queue_id = ?1",
        (
            queue_id,
            rate.map(|rate| rate.count),
            rate.map(|rate| millis(rate.period)),
            rate.map(|rate| rate.burst),
            bucket.map(|bucket| bucket.opens_at_us),
        ),
    )?;
    changed(tx);
    Ok(())
}

/// A shut queue may be open now: claims look again, and its suspects may get their turn.
pub(crate) fn changed(tx: &Tx<'_>) {
    tx.suspect_moved();
    tx.effect(|effects| {
        effects.changed = true;
        effects.ready += 1;
    });
}

/// What the timer has to do for queues that open at a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Openings {
    /// A queue with a rate or a closure is open now, and has ready tasks or suspects that wait for their turn.
    pub is_open: bool,
    /// When the next one opens.
    pub next: Option<Timestamp>,
    /// A backward jump of the clock keeps one shut for too long ([`mend_jumps`]).
    pub has_jumped: bool,
}

/// When the queues with a rate or a closure open that have ready tasks, or suspects that wait for their turn. `queues`: only these (a
/// JSON list; none: all).
pub(crate) fn openings(conn: &Connection, queues: Option<&str>, now: Timestamp) -> Sql<Openings> {
    let sql = "SELECT q.max_in_flight, q.rate_count, q.rate_period_ms, q.rate_burst, q.opens_at_us, q.closed_at_ms, q.closed_until_ms,
                   q.paused = 0 AND (?1 IS NULL OR q.queue IN (SELECT value FROM json_each(?1)))
                   AND (EXISTS (SELECT 1 FROM perdura_tasks t INDEXED BY perdura_ready WHERE t.state = 0 AND t.hold = 0 AND t.queue_id = q.queue_id)
                        OR EXISTS (SELECT 1 FROM perdura_tasks t INDEXED BY perdura_suspects
                                   WHERE t.suspect = 1 AND t.state = 0 AND t.hold = 7 AND t.queue_id = q.queue_id))
               FROM perdura_queues q INDEXED BY perdura_gated
               WHERE (q.paused = 1 OR q.max_in_flight IS NOT NULL OR q.opens_at_us IS NOT NULL OR q.closed_at_ms IS NOT NULL)
               AND (q.opens_at_us IS NOT NULL OR q.closed_at_ms IS NOT NULL)";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([queues])?;
    let mut openings = Openings::default();
    while let Some(row) = rows.next()? {
        let limits = limits_at(row, 0)?;
        openings.has_jumped |= limits.after_jump(now) != limits;
        if row.get(7)? {
            let shut_until = limits.room(0, now).err().and_then(Shut::until);
            openings.is_open |= shut_until.is_none();
            openings.next = openings.next.into_iter().chain(shut_until).min();
        }
    }
    Ok(openings)
}
