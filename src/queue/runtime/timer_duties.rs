//! What the timer does at its ticks: waits that end, conditions that are met, attempts that are silent or ignore their deadline.

use std::time::Duration;

use super::core::{Core, MAX_PANICS, RETRY_INTERVAL, TASKS_PER_COMMIT};
use crate::error::Error;
use crate::handler::Control;
use crate::logging::{survive, tell};
use crate::planted::planted;
use crate::store::{self, DISK_INTERVAL, Fired, FreeDisk, Rank};
use crate::sync::atomic::Ordering;
use crate::sync::lock;
use crate::task::Timestamp;
use crate::timer::{NextTick, Ticks};

/// Chunks that the timer works off before it looks after deadlines again.
const MAX_CHUNKS_PER_TICK: u32 = 1000;

/// Chunks of tasks whose condition is met that one tick works off: then deadlines and due times are looked at again.
const LIFTS_PER_TICK: u32 = 20;

/// A worker whose task runs on so long past its deadline is replaced.
pub(crate) const DEADLINE_GRACE: Duration = Duration::from_secs(1);

/// A suspect that has been running for so long passes the turn on: a task that kills its process does so sooner.
pub(crate) const SUSPECT_TURN: Duration = Duration::from_secs(60);

/// How long a condition may be unmet before an attempt that needs it is told to stop: one that flickers stops no attempt.
const CONDITION_GRACE: Duration = Duration::from_secs(10);

impl Core {
    /// Does what is due by the wall clock, in chunks; answers with the next time. That has come already if `MAX_CHUNKS_PER_TICK` were not enough.
    pub(crate) fn promote(&self) -> Result<NextTick, Error> {
        let mut next = NextTick::default();
        for _ in 0..MAX_CHUNKS_PER_TICK {
            // The time is read under the writer's lead: a wait that began while we queued would look like one from the future.
            let (now, due, tick, jumped) = self.store.alone(|conn| {
                let now = self.now();
                let (due, tick) = (store::next_due(conn)?, store::next_tick(conn)?);
                Ok((now, due, tick, store::clock_jumped(conn, now)?))
            })?;
            if self.shared.gate.is_stopping() {
                return Ok(NextTick::default()); // what is due is for the next process; the timer must not come back for it again and again
            }
            next = NextTick { schedules: tick, ..NextTick::at(due) };
            if !jumped && due.into_iter().chain(tick).all(|due| due > now) {
                return Ok(next);
            }
            let is_due = |at: Option<Timestamp>| jumped || at.is_some_and(|at| at <= now);
            // Each by itself, so that what is wrong with schedules keeps no task from its time.
            let (mut promoted, mut fired) = (0, Fired::default());
            if is_due(due) {
                let (clock, rules) = (self.shared.clock.clone(), self.rules.clone());
                promoted =
                    self.owner_write(move |tx| store::promote(tx, &rules, clock.now(), TASKS_PER_COMMIT))?;
            }
            if is_due(tick) {
                let (clock, config) = (self.shared.clock.clone(), self.config.clone());
                fired =
                    self.owner_write(move |tx| store::fire(tx, &config, clock.now(), TASKS_PER_COMMIT))?;
            }
            tell_of_schedules(&fired);
            if promoted + fired.schedules == 0 {
                return Ok(next);
            }
            next = NextTick::at(now);
        }
        Ok(next)
    }

    /// Claims from queues that have opened by themselves; answers with when the next one does.
    pub(crate) fn open_queues(&self) -> Result<Option<Timestamp>, Error> {
        if self.shared.gate.is_stopping() {
            return Ok(None);
        }
        let look = || self.store.alone(|conn| store::openings(conn, None, self.now()));
        let mut openings = look()?;
        if openings.has_jumped && self.is_owner() && !planted("g16-a-jump-back-keeps-a-queue-shut") {
            let clock = self.shared.clock.clone();
            self.owner_write(move |tx| store::mend_jumps(tx, clock.now()))?;
            openings = look()?;
        }
        if openings.is_open && self.is_owner() && !planted("g16-nobody-hears-that-a-queue-opens") {
            self.commit(Rank::Change, |tx| {
                store::changed(tx);
                Ok(())
            })?;
        }
        Ok(openings.next)
    }

    /// Looks after running attempts: silence, deadlines, turns among suspects. Answers with the next look, on the monotonic clock.
    pub(crate) fn watch(&self) -> Result<Option<Duration>, Error> {
        let now = self.shared.monotonic();
        let (mut next, mut result) = (None, Ok(()));
        let mut met = None;
        let mut look_at = |at: Duration| next = Some(next.map_or(at, |n: Duration| n.min(at)));
        let mut note = |step: Result<(), Error>| {
            if result.is_ok() {
                result = step; // and the other attempts are looked after all the same
            }
        };
        if !self.complete_workers() {
            look_at(now + DEADLINE_GRACE);
        }
        for control in self.shared.running.controls() {
            if let Some(sign) = control.sign_of_life().filter(|_| !control.silent.load(Ordering::Acquire)) {
                let until = sign + self.config.stuck_task_timeout;
                if now >= until {
                    note(self.give_up(&control));
                } else {
                    look_at(until);
                }
            }
            if control.needs_throughout != 0 && !control.lacks_condition.load(Ordering::Acquire) {
                let known = match met {
                    Some(known) => known,
                    None => *met.insert(self.store.alone(store::met).map_or_else(
                        |e| {
                            note(Err(e));
                            None
                        },
                        Some,
                    )),
                };
                let has_all = known.is_none_or(|met| control.needs_throughout & !met == 0);
                match control.note_conditions(has_all, now).map(|since| since + CONDITION_GRACE) {
                    Some(until) if now >= until => self.stop_for_condition(&control),
                    Some(until) => look_at(until),
                    None => {}
                }
            }
            match control.suspect_until() {
                Some(until) if now >= until => note(self.spare(&control)),
                Some(until) => look_at(until),
                None => {}
            }
            if let Some(deadline) = control.deadline().filter(|_| control.phase.is_running()) {
                let until = deadline + DEADLINE_GRACE;
                if now < until {
                    look_at(until);
                } else if !self.replace_worker(&control) {
                    look_at(now + DEADLINE_GRACE);
                }
            }
        }
        result.map(|()| next)
    }

    /// Tells an attempt that a condition which it needs is gone.
    fn stop_for_condition(&self, control: &Control) {
        if planted("g20-who-needs-a-condition-throughout-is-not-told") {
            return;
        }
        tell!(Info, "task {} runs without a condition that it needs, and is told to stop", control.task_id);
        control.lacks_condition.store(true, Ordering::Release);
    }

    /// Lifts the hold of tasks whose condition is met, some chunks of them; says whether there were any, and whether there are more.
    pub(crate) fn lift_met(&self) -> Result<(bool, bool), Error> {
        for lifted in 0..LIFTS_PER_TICK {
            let has_duty = self.store.alone(store::condition_duty)?.lifts;
            if !has_duty
                || self.shared.gate.is_stopping()
                || planted("g04-the-rest-of-a-condition-is-forgotten")
            {
                return Ok((lifted > 0, false));
            }
            let clock = self.shared.clock.clone();
            self.owner_write(move |tx| store::lift_met(tx, TASKS_PER_COMMIT, clock.now()))?;
        }
        Ok((true, self.store.alone(store::condition_duty)?.lifts))
    }

    /// Lifts the hold of tasks that wait for less free disk than there is, some chunks of them. Answers with when to look again, on the monotonic
    /// clock: none if no task waits for disk.
    pub(crate) fn lift_by_disk(&self) -> Result<Option<Duration>, Error> {
        let waits = || Ok::<_, Error>(self.store.alone(store::condition_duty)?.waits_for_disk);
        if !waits()? || self.shared.gate.is_stopping() {
            return Ok(None);
        }
        let free = self.shared.free_disk.get().and_then(FreeDisk::bytes).unwrap_or(0);
        let mut pass = lock(&self.disk_pass);
        for _ in 0..LIFTS_PER_TICK {
            let (clock, after) = (self.shared.clock.clone(), *pass);
            let next = self
                .owner_write(move |tx| store::lift_by_disk(tx, free, after, TASKS_PER_COMMIT, clock.now()))?;
            *pass = next.unwrap_or(store::DISK_PASS_START);
            if next.is_none() {
                return Ok(waits()?.then(|| self.shared.monotonic() + DISK_INTERVAL));
            }
        }
        Ok(Some(self.shared.monotonic()))
    }

    fn give_up(&self, control: &Control) -> Result<(), Error> {
        let (id, generation, silent, now) =
            (control.task_id, control.generation, self.config.stuck_task_timeout, self.now());
        tell!(
            Warn,
            "task {id} has given no sign of life for {}; it is LOST",
            humantime::format_duration(silent)
        );
        control.silent.store(true, Ordering::Release); // before the write: its worker may settle it right after
        let given_up = self.owner_write(move |tx| store::fall_silent(tx, id, generation, silent, now));
        if given_up.is_err() {
            control.silent.store(false, Ordering::Release);
        }
        given_up
    }

    /// Passes the turn among suspects on from one that has been running for long.
    fn spare(&self, control: &Control) -> Result<(), Error> {
        if planted("g06-a-hung-suspect-keeps-the-turn") {
            return Ok(());
        }
        let (id, generation, now) = (control.task_id, control.generation, self.now());
        tell!(
            Info,
            "task {id} was running when a process died and has run for {SUSPECT_TURN:?} now; the next such task may run"
        );
        self.owner_write(move |tx| store::spare(tx, id, generation, now))?;
        control.set_suspect_until(None);
        Ok(())
    }

    fn tick_once(&self) -> NextTick {
        if !self.is_owner() {
            return NextTick::default();
        }
        let promoted = self.promote();
        let opened = self.open_queues().map(NextTick::at);
        let at_once =
            |(_, more): (bool, bool)| if more { NextTick::at(self.now()) } else { NextTick::default() };
        let lifted = self.lift_met().map(at_once);
        let by_disk = self.lift_by_disk().map(NextTick::monotonic);
        let watched = self.watch().map(NextTick::monotonic);
        [promoted, opened, lifted, by_disk, watched].into_iter().fold(NextTick::default(), |next, step| {
            next.or_sooner(step.unwrap_or_else(|e| {
                tell!(Warn, "the timer could not do what is due and tries again: {e}");
                self.next_try()
            }))
        })
    }

    fn next_try(&self) -> NextTick {
        NextTick::monotonic(self.shared.monotonic() + RETRY_INTERVAL)
    }
}

/// Logs which schedules begin anew or are broken.
fn tell_of_schedules(fired: &Fired) {
    for name in &fired.anchored {
        tell!(
            Warn,
            "schedule {name:?} stood more than a day ahead of the clock, which has been set back; it begins anew"
        );
    }
    for (name, why) in &fired.broken {
        tell!(Warn, "schedule {name:?} makes no tasks any more, because it is broken: {why}");
    }
}

impl Ticks for Core {
    fn tick(&self) -> NextTick {
        if let Some(next) = survive("the timer", || self.tick_once()) {
            self.timer_panics.store(0, Ordering::Relaxed);
            return next;
        }
        if self.timer_panics.fetch_add(1, Ordering::Relaxed) + 1 < MAX_PANICS {
            return self.next_try();
        }
        self.break_down("the timer");
        NextTick::default()
    }
}
