//! Group commit: the fair queue in front of the writer.
//!
//! A thread that finds the lead free takes it and commits its own write itself, without a switch to
//! another thread. A thread that finds it taken queues its write and sleeps. When the leader's
//! commit is durable, it wakes the first thread in the queue, which leads next: it takes up to
//! [`MAX_GROUP`] of the queued writes, its own first, commits them as one group, and answers them.
//! So the queue is served in order, and all who waited share one sync: while one group is being
//! synced, the next one gathers.
//!
//! No write waits without a leader: it is queued only while the lead is taken, and the lead is
//! given up only under the same lock and only when the queue is empty. Dropping [`Lead`] passes it
//! on, also when the commit has panicked.
//!
//! Writes are closures that may run more than once and must give the same answer each time. A write
//! that may run only once, on its own thread, waits in the same queue and leads alone. How a
//! transaction begins and ends is in `writer`.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::tx::Tx;
use crate::error::Error;
use crate::logging::{drop_quietly, panic_text};
use crate::planted::planted;
use crate::store::error::Sql;
use crate::sync::{Condvar, Mutex, lock, wait};

/// Most writes in one transaction: bounds how long the first of them waits for the last.
const MAX_GROUP: usize = 256;

/// The order in which writes are run again when their common transaction was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// Outcomes of attempts: the work is done, only the record of it is missing.
    Settle,
    /// Nothing of its own: claims ride along.
    Claim,
    /// Changes of existing rows.
    Change,
    /// A new task with small args.
    AddSmall,
    /// New tasks, and whatever else may be large.
    Add,
}

impl Rank {
    /// Refused on a full disk, where the room that is left is for the others.
    pub(crate) fn is_add(self) -> bool {
        matches!(self, Rank::AddSmall | Rank::Add)
    }

    /// So many as fit into one group make the file larger by a few dozen megabytes at most.
    pub(crate) fn is_small(self) -> bool {
        matches!(self, Rank::Settle | Rank::Claim | Rank::AddSmall)
    }
}

/// The queue of writes.
#[derive(Default)]
pub(crate) struct CommitQueue(Mutex<QueueState>);

/// Whether somebody leads, and who waits.
#[derive(Default)]
struct QueueState {
    taken: bool,
    waiting: VecDeque<Waiting>,
}

/// An entry of the queue.
enum Waiting {
    /// A write, which another thread may commit with its own.
    Write(Box<dyn Member>),
    /// A thread that needs the writer for itself.
    #[cfg(feature = "rusqlite")]
    Alone(Arc<ReplySlot<()>>),
}

impl CommitQueue {
    /// Queues a write and waits for its answer. `commit` is called if this thread becomes the
    /// leader; it must answer every member that it is given.
    ///
    /// # Errors
    /// Those of the write; those of the commit.
    pub(crate) fn commit<R: Send + 'static>(
        &self,
        rank: Rank,
        write: impl FnMut(&Tx<'_>) -> Sql<R> + Send + 'static,
        commit: impl FnOnce(Vec<Box<dyn Member>>),
    ) -> Result<R, Error> {
        let slot = Arc::new(ReplySlot::default());
        let own = Box::new(Pending { write, rank, answer: None, reply: Reply(slot.clone()) });
        let mut places = lock(&self.0);
        let group: Vec<Box<dyn Member>> = if places.taken {
            places.waiting.push_back(Waiting::Write(own));
            drop(places);
            match slot.wait() {
                ReplyStage::Answered(answer) => return answer,
                _ => lock(&self.0).next_group(),
            }
        } else {
            places.taken = true;
            drop(places);
            vec![own]
        };
        let lead = Lead(self);
        commit(group);
        drop(lead);
        match slot.wait() {
            ReplyStage::Answered(answer) => answer,
            _ => Err(Error::internal("a write was left without an answer")),
        }
    }

    /// Waits for the lead in the same queue, and runs `act` with it on this thread: no other write
    /// is in its commit.
    #[cfg(feature = "rusqlite")]
    pub(crate) fn alone<R>(&self, act: impl FnOnce() -> R) -> R {
        let mut places = lock(&self.0);
        if places.taken {
            let slot = Arc::new(ReplySlot::default());
            places.waiting.push_back(Waiting::Alone(slot.clone()));
            drop(places);
            slot.wait();
            lock(&self.0).waiting.pop_front(); // its own entry
        } else {
            places.taken = true;
            drop(places);
        }
        let _lead = Lead(self);
        act()
    }
}

impl QueueState {
    /// The writes of the next leader's group: those before the first entry that leads alone.
    fn next_group(&mut self) -> Vec<Box<dyn Member>> {
        let mut group = Vec::new();
        while group.len() < MAX_GROUP
            && let Some(next) = self.waiting.pop_front()
        {
            match next {
                Waiting::Write(member) => group.push(member),
                #[cfg(feature = "rusqlite")]
                alone => {
                    self.waiting.push_front(alone);
                    break;
                }
            }
        }
        group
    }
}

/// The lead; dropping it passes it on, also when a write panicked.
struct Lead<'l>(&'l CommitQueue);

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        let mut places = lock(&self.0.0);
        match places.waiting.front() {
            Some(_) if planted("g04-the-lead-is-not-passed-on") => {}
            Some(Waiting::Write(next)) => next.lead(),
            #[cfg(feature = "rusqlite")]
            Some(Waiting::Alone(next)) if !planted("g17-who-waits-alone-is-not-told") => {
                next.put(ReplyStage::Lead);
            }
            #[cfg(feature = "rusqlite")]
            Some(Waiting::Alone(_)) => {}
            None => places.taken = false,
        }
    }
}

/// A queued write.
pub(crate) trait Member: Send {
    fn rank(&self) -> Rank;
    /// Runs it within a transaction. An error is kept for the answer, and a copy is returned.
    fn run(&mut self, tx: &Tx<'_>) -> Result<(), Kept>;
    /// The transaction is durable: answers with the result of `run`.
    fn settled(self: Box<Self>);
    /// The transaction is lost: answers with this error.
    fn failed(self: Box<Self>, error: Error);
    /// Wakes its thread to lead.
    fn lead(&self);
}

/// A copy of the error that a member keeps for its answer.
pub(crate) struct Kept(pub Error);

struct Pending<R, W> {
    write: W,
    rank: Rank,
    answer: Option<Result<R, Error>>,
    reply: Reply<R>,
}

/// The obligation to answer a waiting thread. Dropped without an answer (its leader panicked), it
/// answers with an error.
struct Reply<R>(Arc<ReplySlot<R>>);

impl<R> Reply<R> {
    fn put(self, answer: Result<R, Error>) {
        self.0.put(ReplyStage::Answered(answer));
    }
}

impl<R> Drop for Reply<R> {
    fn drop(&mut self) {
        self.0.put_if_unanswered(|| {
            Err(Error::internal("the write was abandoned; a thread panicked while it led"))
        });
    }
}

impl<R: Send, W: FnMut(&Tx<'_>) -> Sql<R> + Send> Member for Pending<R, W> {
    fn rank(&self) -> Rank {
        self.rank
    }

    fn run(&mut self, tx: &Tx<'_>) -> Result<(), Kept> {
        let answer = catch_unwind(AssertUnwindSafe(|| (self.write)(tx)));
        let answer = answer.unwrap_or_else(|panic| {
            let message = format!("a write panicked: {}", panic_text(&*panic));
            drop_quietly(panic);
            Err(Error::internal(message).into())
        });
        let answer = answer.map_err(Error::from);
        let kept = answer.as_ref().err().map(|e| Kept(e.repeat()));
        self.answer = Some(answer);
        kept.map_or(Ok(()), Err)
    }

    fn settled(self: Box<Self>) {
        let Pending { write, answer, reply, .. } = *self;
        drop(write); // before the answer, after which the caller may take back what it shared with the write
        reply.put(answer.unwrap_or_else(|| Err(Error::internal("a write was not run"))));
    }

    fn failed(self: Box<Self>, error: Error) {
        let Pending { write, reply, .. } = *self;
        drop(write);
        reply.put(Err(error));
    }

    fn lead(&self) {
        self.reply.0.put(ReplyStage::Lead);
    }
}

/// Reply slot of one waiting thread.
struct ReplySlot<R> {
    state: Mutex<ReplyState<R>>,
    told: Condvar,
}

struct ReplyState<R> {
    stage: ReplyStage<R>,
    /// An answer was given, whether or not its thread has taken it.
    answered: bool,
    /// Its thread sleeps. A leader answers itself without sleeping, and notifying nobody would cost
    /// a system call too.
    sleeps: bool,
}

enum ReplyStage<R> {
    Waiting,
    Lead,
    Answered(Result<R, Error>),
}

impl<R> Default for ReplySlot<R> {
    fn default() -> ReplySlot<R> {
        let state = ReplyState { stage: ReplyStage::Waiting, answered: false, sleeps: false };
        ReplySlot { state: Mutex::new(state), told: Condvar::new() }
    }
}

impl<R> ReplySlot<R> {
    fn put_if_unanswered(&self, answer: impl FnOnce() -> Result<R, Error>) {
        if !lock(&self.state).answered {
            self.put(ReplyStage::Answered(answer()));
        }
    }

    fn put(&self, stage: ReplyStage<R>) {
        let mut state = lock(&self.state);
        state.answered = matches!(stage, ReplyStage::Answered(_));
        state.stage = stage;
        if state.sleeps {
            self.told.notify_one();
        }
    }

    fn wait(&self) -> ReplyStage<R> {
        let mut state = lock(&self.state);
        while matches!(state.stage, ReplyStage::Waiting) {
            state.sleeps = !planted("g04-a-sleeper-is-not-told");
            state = wait(&self.told, state);
        }
        state.sleeps = false;
        std::mem::replace(&mut state.stage, ReplyStage::Waiting)
    }
}
