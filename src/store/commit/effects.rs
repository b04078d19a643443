//! Side effects of a write transaction: what the rest of the program learns after its COMMIT, and
//! the counters to write before it.
//!
//! Lists only grow, so a savepoint is undone by cutting them to their lengths at a [`Mark`],
//! however much a batch has gathered before. Single values are restored from the mark.

use std::collections::BTreeMap;

use super::name_cache::MetNames;
use crate::task::{Claimed, TaskId, Timestamp};

/// A counter of `perdura_counts`: queue, state, hold.
pub(crate) type CountKey = (i64, i64, i64);

/// A counter of `perdura_rollups`: minute, task name, measure, bucket.
pub(crate) type RollupKey = (i64, i64, i64, u8);

/// A key with a limit: its queue and its digest.
pub(crate) type LimitedKey = (i64, [u8; 16]);

/// What a committed transaction means for timers, workers and waiters.
#[derive(Default)]
pub(crate) struct Effects {
    /// Tasks that became ready.
    pub ready: u64,
    /// The earliest time for which a task has begun to wait.
    pub due: Option<Timestamp>,
    /// The earliest tick of a schedule that is to fire.
    pub tick: Option<Timestamp>,
    /// Some task's state has changed.
    pub changed: bool,
    /// Running tasks whose cancel flag was set.
    pub cancelled: Vec<TaskId>,
    /// Tasks whose thread is executing an attempt that no longer counts.
    pub superseded: Vec<TaskId>,
    /// Claims, on their way to the workers.
    pub claims: Vec<Claimed>,
    /// There may be more to claim than this transaction has examined.
    pub more: bool,
    /// A full queue has more tasks to start: the end of one of its tasks lets the next one start.
    pub waits_for_end: bool,
    /// The work of a task continues at an engine, or is to stop there.
    pub jobs_changed: bool,
    /// Tasks that have ended or are gone, other than those in `settled`.
    pub ended: Vec<TaskId>,
    /// Attempts (task, generation) whose outcome was reported, whether or not it counted.
    pub settled: Vec<(TaskId, u64)>,
    /// Pages in the WAL after the commit.
    pub wal_pages: u32,
}

/// All that a transaction gathers beside its writes.
#[derive(Default)]
pub(crate) struct TxEffects {
    /// What the rest of the program learns once it is committed.
    pub told: Effects,
    /// Names whose numbers it has looked up or created.
    pub met: MetNames,
    /// The turn among suspects may have to be passed on.
    pub suspects_moved: bool,
    /// Runs of schedules that have ended, were revived, or are gone; and when.
    pub moved_runs: Vec<(TaskId, Timestamp)>,
    /// Limited keys (queue, digest) of which a permit has become free or a waiter has come or gone.
    permits_moved: Vec<LimitedKey>,
    /// How many of them have been handled.
    permits_passed: usize,
    /// Changes of counters.
    counts: Log<CountKey>,
    /// Attempts to be counted.
    rollups: Log<RollupKey>,
}

/// A point to which [`TxEffects`] can be undone: lengths of lists, and copies of single values.
#[derive(Clone, Copy)]
pub(crate) struct Mark {
    ready: u64,
    due: Option<Timestamp>,
    tick: Option<Timestamp>,
    changed: bool,
    more: bool,
    waits_for_end: bool,
    jobs_changed: bool,
    suspects_moved: bool,
    moved_runs: usize,
    permits: (usize, usize),
    lists: [usize; 5],
    met: (usize, usize),
    counts: usize,
    rollups: usize,
}

impl TxEffects {
    /// Adds to a counter.
    pub(crate) fn count(&mut self, key: CountKey, by: i64) {
        self.counts.add(key, by);
    }

    /// Counts an attempt.
    pub(crate) fn roll_up(&mut self, key: RollupKey) {
        self.rollups.add(key, 1);
    }

    /// Takes the changes of the counters; none are left to write.
    pub(crate) fn take_counts(&mut self) -> BTreeMap<CountKey, i64> {
        self.counts.take()
    }

    /// Takes the attempts to be counted; none are left to write.
    pub(crate) fn take_rollups(&mut self) -> BTreeMap<RollupKey, i64> {
        self.rollups.take()
    }

    /// Notes that the permits of a key have to be passed on.
    pub(crate) fn permit_moved(&mut self, key: LimitedKey) {
        if self.permits_moved.len() == self.permits_passed || self.permits_moved.last() != Some(&key) {
            self.permits_moved.push(key);
        }
    }

    /// The next key whose permits have to be passed on. Handled keys stay in the list, so that this
    /// can be undone.
    pub(crate) fn next_moved_permit(&mut self) -> Option<LimitedKey> {
        let next = self.permits_moved.get(self.permits_passed).copied();
        self.permits_passed += usize::from(next.is_some());
        next
    }

    /// The current point.
    pub(crate) fn mark(&mut self) -> Mark {
        let Effects {
            ready,
            due,
            changed,
            more,
            waits_for_end,
            jobs_changed,
            cancelled,
            superseded,
            claims,
            ended,
            settled,
            ..
        } = &self.told;
        Mark {
            ready: *ready,
            due: *due,
            tick: self.told.tick,
            changed: *changed,
            more: *more,
            waits_for_end: *waits_for_end,
            jobs_changed: *jobs_changed,
            suspects_moved: self.suspects_moved,
            moved_runs: self.moved_runs.len(),
            permits: (self.permits_moved.len(), self.permits_passed),
            lists: [cancelled.len(), superseded.len(), claims.len(), ended.len(), settled.len()],
            met: self.met.len(),
            counts: self.counts.mark(),
            rollups: self.rollups.mark(),
        }
    }

    /// Forgets what was gathered since `mark`.
    pub(crate) fn undo_to(&mut self, mark: Mark) {
        let told = &mut self.told;
        (told.ready, told.due, told.changed, told.more) = (mark.ready, mark.due, mark.changed, mark.more);
        told.tick = mark.tick;
        (told.waits_for_end, told.jobs_changed) = (mark.waits_for_end, mark.jobs_changed);
        let [cancelled, superseded, claims, ended, settled] = mark.lists;
        told.cancelled.truncate(cancelled);
        told.superseded.truncate(superseded);
        told.claims.truncate(claims);
        told.ended.truncate(ended);
        told.settled.truncate(settled);
        self.suspects_moved = mark.suspects_moved;
        self.moved_runs.truncate(mark.moved_runs);
        self.permits_moved.truncate(mark.permits.0);
        self.permits_passed = mark.permits.1;
        self.met.truncate(mark.met);
        self.counts.undo_to(mark.counts);
        self.rollups.undo_to(mark.rollups);
    }
}

/// Additions to counters, in their order. Repeated additions to one counter share an entry.
#[derive(Debug)]
struct Log<K> {
    entries: Vec<(K, i64)>,
    /// Entries before this one were there at a mark, and do not change any more.
    kept: usize,
}

impl<K> Default for Log<K> {
    fn default() -> Log<K> {
        Log { entries: Vec::new(), kept: 0 }
    }
}

impl<K: Ord + Copy> Log<K> {
    /// How many of the last entries are searched for the same counter.
    const MERGE_WINDOW: usize = 8;

    fn add(&mut self, key: K, by: i64) {
        let from = self.entries.len().saturating_sub(Log::<K>::MERGE_WINDOW).max(self.kept);
        match self.entries[from..].iter_mut().find(|(known, _)| *known == key) {
            Some((_, sum)) => *sum += by,
            None => self.entries.push((key, by)),
        }
    }

    fn mark(&mut self) -> usize {
        self.kept = self.entries.len();
        self.kept
    }

    fn undo_to(&mut self, mark: usize) {
        self.entries.truncate(mark);
        self.kept = mark;
    }

    fn take(&mut self) -> BTreeMap<K, i64> {
        self.kept = 0;
        let mut sums = BTreeMap::new();
        for (key, by) in self.entries.drain(..) {
            *sums.entry(key).or_default() += by;
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn additions() -> impl Strategy<Value = Vec<(u8, i64)>> {
        prop::collection::vec((0_u8..12, -3_i64..4), 0..40)
    }

    proptest! {
        #[test]
        fn what_is_undone_counts_as_if_it_had_not_been(kept in additions(), undone in additions(), later in additions()) {
            let (mut log, mut plain) = (Log::default(), Log::default());
            kept.iter().chain(&later).for_each(|(key, by)| plain.add(*key, *by));
            kept.iter().for_each(|(key, by)| log.add(*key, *by));
            let mark = log.mark();
            undone.iter().for_each(|(key, by)| log.add(*key, *by));
            log.mark(); // of a savepoint within
            undone.iter().for_each(|(key, by)| log.add(*key, *by));
            log.undo_to(mark);
            later.iter().for_each(|(key, by)| log.add(*key, *by));
            prop_assert_eq!(log.take(), plain.take());
        }
    }

    #[test]
    fn all_that_a_transaction_gathers_is_undone() {
        let id = TaskId::from_i64(1);
        let gather = |effects: &mut TxEffects| {
            let told = &mut effects.told;
            (told.ready, told.due, told.changed, told.more) =
                (told.ready + 1, Some(Timestamp::from_millis(5)), true, true);
            told.tick = told.due;
            told.cancelled.push(id);
            told.superseded.push(id);
            told.ended.push(id);
            told.settled.push((id, 1));
            effects.suspects_moved = true;
            effects.moved_runs.push((id, Timestamp::from_millis(5)));
            effects.permit_moved((1, [2; 16]));
            assert!(effects.next_moved_permit().is_some());
            effects.permit_moved((1, [3; 16]));
            effects.count((1, 2, 3), 4);
        };
        let mut effects = TxEffects::default();
        let empty = effects.mark();
        gather(&mut effects);
        effects.undo_to(empty);
        let told = &effects.told;
        assert_eq!((told.ready, told.due, told.changed, told.more), (0, None, false, false));
        let lists = [&told.cancelled, &told.superseded, &told.ended];
        assert!(lists.into_iter().all(Vec::is_empty) && told.settled.is_empty());
        assert!(effects.moved_runs.is_empty() && effects.told.tick.is_none());
        assert_eq!(effects.next_moved_permit(), None);
        assert!(!effects.suspects_moved && effects.take_counts().is_empty());
        gather(&mut effects);
        let full = effects.mark();
        gather(&mut effects);
        effects.undo_to(full);
        assert_eq!((effects.told.ready, effects.told.ended.len()), (1, 1));
        assert_eq!(effects.next_moved_permit(), Some((1, [3; 16])));
        assert_eq!(effects.next_moved_permit(), None);
        assert_eq!(effects.take_counts(), BTreeMap::from([((1, 2, 3), 4)]));
    }
}
