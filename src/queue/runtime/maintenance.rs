//! Slow chores, on a thread of their own so that nothing delays the timer: WAL checkpoints, and what age does to tasks.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, select};

use super::clock_guard::{ClockGuard, STEADY_TIME};
use super::core::{Core, RetentionRule, TASKS_PER_COMMIT};
use crate::error::Error;
use crate::logging::{survive, tell};
use crate::store::{self, Ages, Rank, Sql, Tx, WalKeeper};
use crate::sync::thread;
use crate::task::{TaskId, Timestamp};

/// How long after a commit the WAL is checkpointed, however short it is.
const CHECKPOINT_DELAY: Duration = Duration::from_secs(1);
/// A task that was made within so long before a program's end shows that the clock has run on since.
const CLOCK_EVIDENCE_AGE: Duration = Duration::from_secs(24 * 60 * 60);
/// How often ages are looked at.
const AGE_INTERVAL: Duration = Duration::from_secs(10 * 60);
/// The first look at ages comes earlier, for programs that do not run for long.
const FIRST_AGE_CHECK: Duration = Duration::from_secs(5 * 60 + 1);
/// How long it leaves the writer to others between two slices of free pages.
const SLICE_PAUSE: Duration = Duration::from_millis(2);
/// Fewer queues without tasks than this keep their counters.
const KEPT_IDLE_QUEUES: usize = 100;
/// How many tasks one read returns at most: bounds the age of its snapshot.
const TASKS_PER_READ: usize = 10_000;
/// A transaction that has written for so long leaves the rest to the next one: large tasks take longer than small ones.
const MAX_WRITE_TIME: Duration = Duration::from_millis(10);

/// The chores and what they remember.
pub(crate) struct Maintenance {
    steady: ClockGuard,
    /// Ages have been looked at.
    has_aged: bool,
    core: Arc<Core>,
}

impl Maintenance {
    pub(crate) fn new(core: Arc<Core>) -> Maintenance {
        let mut steady = ClockGuard::default();
        steady.observe(core.now(), core.shared.monotonic());
        Maintenance { core, steady, has_aged: false }
    }

    /// The thread's life: until the other end of `stop` is gone.
    pub(crate) fn run(mut self, stop: &Receiver<()>) {
        let core = self.core.clone();
        store::warn_of_wal_reset_bug();
        let wal = core.store.wal_keeper();
        let mut ages = crossbeam_channel::after(FIRST_AGE_CHECK);
        let mut quiet = crossbeam_channel::never();
        loop {
            select! {
                recv(stop) -> _ => {
                    return self.report(Maintenance::age_at_end);
                }
                recv(core.shared.maintenance.bell) -> _ => {
                    self.look_at_the_clock();
                    if core.shared.wal_is_large() {
                        self.report(|this| this.checkpoint(&wal));
                    }
                    quiet = crossbeam_channel::after(CHECKPOINT_DELAY);
                }
                recv(quiet) -> _ => {
                    self.look_at_the_clock();
                    quiet = crossbeam_channel::never();
                    core.shared.take_wal_pages();
                    self.report(|this| this.checkpoint(&wal));
                }
                recv(ages) -> _ => {
                    self.report(|this| this.apply_retention().map(drop));
                    ages = crossbeam_channel::after(AGE_INTERVAL);
                }
            }
        }
    }

    fn report(&mut self, chore: impl FnOnce(&mut Maintenance) -> Result<(), Error>) {
        if let Some(Err(e)) = survive("the maintenance", || chore(self)) {
            tell!(
                Warn,
                "the upkeep of the file (copying its WAL, deleting what is old) failed, and is tried again: {e}"
            );
        }
    }

    /// Moves the WAL into the database file, and makes room there for what comes.
    fn checkpoint(&self, wal: &WalKeeper<'_>) -> Result<(), Error> {
        wal.copy()?;
        self.core.store.grow_ahead()
    }

    /// Notices a jump of the clock that is taken back before the next look at ages: what was written in between has a wrong time.
    fn look_at_the_clock(&mut self) {
        self.steady.observe(self.core.now(), self.core.shared.monotonic());
    }

    /// Deletes and moves what is old enough, if the clock can be trusted. Answers with how many tasks and letters it ended.
    pub(crate) fn apply_retention(&mut self) -> Result<usize, Error> {
        let core = self.core.clone();
        let now = core.now();
        if !self.steady.observe(now, core.shared.monotonic()) || !core.is_owner() {
            return Ok(0);
        }
        self.has_aged = true;
        let goes_on = || !core.shared.gate.is_stopping();
        let mut ended = core.purge(core.ages(now)?, goes_on)?;
        if let Some(age) = core.config.dead_letter_retention {
            ended += core.purge_dead_letters(now.saturating_sub(age), goes_on)?;
        }
        let tidied = core.tidy_keys(now, goes_on).and_then(|()| core.drop_counters(goes_on));
        let tidied = tidied.and_then(|()| core.store.alone(store::forget_statistics));
        if let Err(e) = tidied.and_then(|()| self.return_free_pages()) {
            tell!(Warn, "the file was not tidied, which will be tried again: {e}"); // what was old has ended all the same
        }
        Ok(ended)
    }

    /// Deletes and moves one chunk of what is old enough, in a program that ends before it has looked at ages, if the clock can be trusted: it has
    /// run in step with the monotonic one since the program began, and the newest tasks show that it did not jump before that. One of them was made
    /// within the last day, but not within the last five minutes, and none is from the future.
    fn age_at_end(&mut self) -> Result<(), Error> {
        let core = self.core.clone();
        let now = core.now();
        if self.has_aged || !self.steady.is_in_step(now, core.shared.monotonic()) || !core.is_owner() {
            return Ok(());
        }
        let (from, to) = (now.saturating_sub(CLOCK_EVIDENCE_AGE), now.saturating_sub(STEADY_TIME));
        if !core.store.read(|conn| store::clock_has_run_on(conn, from, to, now))? {
            return Ok(());
        }
        let looks = std::cell::Cell::new(2); // at a slice, and at a chunk of what is found there
        core.purge(core.ages(now)?, || looks.replace(looks.get() - 1) > 0).map(drop)
    }

    /// Gives the free pages that are not needed soon back to the file system, slice by slice.
    fn return_free_pages(&self) -> Result<(), Error> {
        let core = &self.core;
        let wal = core.store.wal_keeper();
        wal.read(store::read_free_list)?;
        while !core.shared.gate.is_stopping()
            && core.store.alone(|conn| store::return_free_pages(conn, &core.enough()))?
        {
            wal.copy_if_long();
            thread::sleep(SLICE_PAUSE);
        }
        Ok(())
    }
}

impl Core {
    /// The times before which tasks are old.
    fn ages(&self, now: Timestamp) -> Result<Ages, Error> {
        let config = &self.config;
        let of_file = || self.store.read(store::retention);
        let retention = match (self.retention, config.own_retention()) {
            (RetentionRule::Here(age), _) => age,
            (RetentionRule::File, _) => of_file()?.unwrap_or(None),
            (RetentionRule::Config, Some(own)) => own,
            (RetentionRule::Config, None) => of_file()?.unwrap_or(config.retention),
        };
        Ok(Ages {
            delete_before: retention.map(|age| now.saturating_sub(age)),
            dead_letter_before: config.dead_letter_after.map(|age| now.saturating_sub(age)),
        })
    }

    /// Ends what is older than `ages`, while `goes_on` answers true. It searches on a reading connection, slice by slice.
    pub(crate) fn purge(&self, ages: Ages, goes_on: impl Fn() -> bool) -> Result<usize, Error> {
        let now = self.now();
        let (mut ended, mut next) = (0, Some(TaskId::from_i64(i64::MIN)));
        let wal = self.store.wal_keeper();
        while let Some(after) = next.filter(|_| goes_on()) {
            let (found, more) = self.store.read(|conn| store::old(conn, ages, after, TASKS_PER_READ, now))?;
            ended += self.in_chunks(&wal, &found, &goes_on, move |tx, ids, enough| {
                store::purge(tx, ages, ids, now, enough)
            })?;
            next = more;
        }
        Ok(ended)
    }

    /// Deletes dead letters that were moved before a time, while `goes_on` answers true.
    pub(crate) fn purge_dead_letters(
        &self,
        moved_before: Timestamp,
        goes_on: impl Fn() -> bool,
    ) -> Result<usize, Error> {
        let (mut ended, mut after) = (0, (i64::MIN, i64::MIN));
        let wal = self.store.wal_keeper();
        while goes_on() {
            let found =
                self.store.read(|conn| store::old_dead_letters(conn, moved_before, after, TASKS_PER_READ))?;
            let Some(last) = found.last() else { break };
            after = *last;
            let ids: Vec<i64> = found.iter().map(|(_, id)| *id).collect();
            ended += self.in_chunks(&wal, &ids, &goes_on, move |tx, ids, enough| {
                store::purge_dead_letters(tx, moved_before, ids, enough)
            })?;
        }
        Ok(ended)
    }

    /// Takes the unique keys away whose time is over, and lets those begin again whose time began in the future.
    fn tidy_keys(&self, now: Timestamp, goes_on: impl Fn() -> bool) -> Result<(), Error> {
        let wal = self.store.wal_keeper();
        let tidy =
            move |tx: &Tx<'_>, ids: &[i64], enough: &dyn Fn() -> bool| store::tidy_keys(tx, ids, now, enough);
        let jumped = self.store.read(|conn| store::keys_from_the_future(conn, now, TASKS_PER_READ))?;
        self.in_chunks(&wal, &jumped, &goes_on, tidy)?;
        let mut after = (i64::MIN, i64::MIN);
        while goes_on() {
            let found = self.store.read(|conn| store::old_keys(conn, now, after, TASKS_PER_READ))?;
            let Some(last) = found.last() else { break };
            after = *last;
            let ids: Vec<i64> = found.iter().map(|(_, id)| *id).collect();
            self.in_chunks(&wal, &ids, &goes_on, tidy)?;
        }
        Ok(())
    }

    /// Drops the counters of queues that have no tasks any more, if there are many: a few cost nothing, and may be needed again.
    fn drop_counters(&self, goes_on: impl Fn() -> bool) -> Result<(), Error> {
        let mut after = i64::MIN;
        let wal = self.store.wal_keeper();
        while goes_on() {
            let idle = self.store.read(|conn| store::idle_queues(conn, after, TASKS_PER_READ))?;
            if idle.len() < KEPT_IDLE_QUEUES && after == i64::MIN {
                return Ok(());
            }
            let Some(last) = idle.last() else { return Ok(()) };
            after = *last;
            self.in_chunks(&wal, &idle, &goes_on, store::drop_counters)?;
        }
        Ok(())
    }

    /// Ends what was found, each chunk in a transaction of its own; says how many that were.
    fn in_chunks<T: Copy + Send + 'static>(
        &self,
        wal: &WalKeeper<'_>,
        mut found: &[T],
        goes_on: &impl Fn() -> bool,
        end: impl Fn(&Tx<'_>, &[T], &dyn Fn() -> bool) -> Sql<(usize, usize)> + Copy + Send + 'static,
    ) -> Result<usize, Error> {
        let mut ended = 0;
        while !found.is_empty() && goes_on() {
            let (chunk, enough) = (found[..found.len().min(TASKS_PER_COMMIT)].to_vec(), self.enough());
            let (some, done) = self.commit(Rank::Change, move |tx| end(tx, &chunk, &enough))?;
            ended += some;
            found = &found[done..];
            wal.copy_if_long();
        }
        Ok(ended)
    }

    /// Says when a transaction has written for so long that others should get their turn.
    pub(crate) fn enough(&self) -> impl Fn() -> bool + Send + 'static {
        let (shared, began) = (self.shared.clone(), std::cell::Cell::new(None));
        move || {
            let now = shared.monotonic();
            let since = began.get().unwrap_or(now);
            began.set(Some(since));
            now.saturating_sub(since) > MAX_WRITE_TIME
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use super::*;
    use crate::Queue;
    use crate::clock::Clock;
    use crate::handler::Context;
    use crate::task::Task;

    /// What the wall clock says, and the time since the test began.
    #[derive(Clone)]
    struct Hands(Arc<Mutex<(Timestamp, Duration)>>);

    impl Hands {
        fn move_on(&self, wall: Duration, monotonic: Duration) {
            let mut hands = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            *hands = (hands.0.saturating_add(wall), hands.1 + monotonic);
        }

        fn move_back(&self, wall: Duration) {
            let mut hands = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            hands.0 = hands.0.saturating_sub(wall);
        }
    }

    impl Clock for Hands {
        fn now(&self) -> Timestamp {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).0
        }

        fn monotonic(&self) -> Duration {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).1
        }
    }

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Nothing;
    impl Task for Nothing {
        const NAME: &'static str = "nothing";
        type Output = ();
    }

    #[test]
    fn a_jump_that_is_taken_back_between_two_looks_at_ages_deletes_nothing() {
        const YEAR: Duration = Duration::from_secs(365 * 86_400);
        const MINUTES: Duration = Duration::from_secs(3 * 60);
        let hands = Hands(Arc::new(Mutex::new((Timestamp::from_millis(1_700_000_000_000), Duration::ZERO))));
        let builder = Queue::builder().clock(hands.clone()).handle(|_: Nothing, _: &Context| Ok(()));
        let (queue, _) = builder.stepped(store::Location::private().unwrap()).unwrap();
        assert!(queue.runtime.core.take_over().unwrap());
        let mut chores = Maintenance::new(queue.runtime.core.clone());
        hands.move_on(MINUTES, MINUTES);
        hands.move_back(YEAR);
        let id = queue.enqueue(&Nothing).unwrap().id();
        queue.cancel(id).unwrap();
        chores.look_at_the_clock();
        hands.move_on(YEAR, Duration::ZERO);
        hands.move_on(MINUTES, MINUTES);
        assert_eq!(chores.apply_retention().unwrap(), 0, "the clock has not been steady for five minutes");
        hands.move_on(2 * MINUTES, 2 * MINUTES);
        assert_eq!(chores.apply_retention().unwrap(), 1);
    }
}
