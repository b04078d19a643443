//! What an attempt and those who watch it share: flags, its deadline, its signs of life, its progress.

use std::time::Duration;

use crate::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use crate::sync::{Mutex, lock};
use crate::task::{
    Claimed, NewTask, OutputStream, PendingOutput, Progress, Settlement, Stream, TaskId, Verdict, Written,
};

/// What an attempt and those who watch it share.
pub(crate) struct Control {
    pub task_id: TaskId,
    pub generation: u64,
    /// The size of its args.
    pub args_bytes: usize,
    /// Somebody asked to cancel it.
    pub cancelled: AtomicBool,
    /// The queue is shutting down and asks it to stop.
    pub interrupted: AtomicBool,
    /// Its writes count no more.
    pub superseded: AtomicBool,
    pub phase: Phase,
    /// It was reported for ignoring its deadline.
    pub reported: AtomicBool,
    /// It fell silent and was given up.
    pub silent: AtomicBool,
    /// It has saved a checkpoint.
    pub has_saved: AtomicBool,
    /// Its end is in the file: it has committed it itself.
    pub committed: AtomicBool,
    /// The bits of the conditions that it needs while it runs.
    pub needs_throughout: i64,
    /// It has been without one of them for too long.
    pub lacks_condition: AtomicBool,
    /// Monotonic milliseconds + 1 since when it has been without one of them; 0: it has all.
    lacks_since: AtomicU64,
    /// Monotonic milliseconds + 1 at which it has run long enough to be no suspect any more; 0: it is none.
    suspect_until: AtomicU64,
    /// Monotonic milliseconds + 1 at which it must end; 0: never, or not started.
    deadline: AtomicU64,
    /// Monotonic milliseconds + 1 of its last sign of life; 0 as long as it sends no heartbeats.
    sign_of_life: AtomicU64,
    done: AtomicU64,
    total: AtomicU64,
    /// There is progress that is not in the file yet.
    has_progress: AtomicBool,
    /// What it has written, by stream; empty before it writes.
    output: Mutex<Vec<Stream>>,
    /// Tasks that it makes if it succeeds.
    children: Mutex<Vec<NewTask>>,
}

impl Control {
    /// How many tasks one attempt can make with its end.
    pub(crate) const MAX_CHILDREN: usize = 10_000;

    pub(crate) fn new(claimed: &Claimed) -> Control {
        Control {
            task_id: claimed.task_id,
            generation: claimed.generation,
            args_bytes: claimed.args.len(),
            cancelled: AtomicBool::new(false),
            interrupted: AtomicBool::new(false),
            superseded: AtomicBool::new(false),
            phase: Phase::default(),
            reported: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            has_saved: AtomicBool::new(false),
            committed: AtomicBool::new(false),
            needs_throughout: claimed.needs_throughout,
            lacks_condition: AtomicBool::new(false),
            lacks_since: AtomicU64::new(0),
            suspect_until: AtomicU64::new(0),
            deadline: AtomicU64::new(0),
            sign_of_life: AtomicU64::new(0),
            done: AtomicU64::new(0),
            total: AtomicU64::new(0),
            has_progress: AtomicBool::new(false),
            output: Mutex::default(),
            children: Mutex::default(),
        }
    }

    /// Keeps a task that is to be made if it succeeds; false if it has as many as it may have.
    pub(crate) fn add_child(&self, child: NewTask) -> bool {
        let mut children = lock(&self.children);
        let has_room = children.len() < Control::MAX_CHILDREN;
        if has_room {
            children.push(child);
        }
        has_room
    }

    /// The tasks that it makes.
    pub(crate) fn take_children(&self) -> Vec<NewTask> {
        std::mem::take(&mut *lock(&self.children))
    }

    /// How its attempt has ended, with the progress and output that are not in the file yet.
    pub(crate) fn settlement(&self, claimed: &Claimed, verdict: Verdict, ran: Duration) -> Settlement {
        let children = self.take_children();
        Settlement {
            task_id: claimed.task_id,
            generation: claimed.generation,
            queue_id: claimed.queue_id,
            is_limited: claimed.is_limited(),
            needs_full_settle: claimed.needs_full_settle()
                || self.has_saved.load(Ordering::Acquire)
                || self.silent.load(Ordering::Acquire),
            backoff: claimed.backoff,
            children: if matches!(verdict, Verdict::Succeeded { .. }) { children } else { Vec::new() },
            verdict,
            task_name: claimed.task_name.clone(),
            waited: claimed.waited,
            ran,
            news: self.take_pending(),
        }
    }

    /// Takes back what a settlement has taken: the end could not be written, and the attempt goes on.
    #[cfg(feature = "rusqlite")]
    pub(crate) fn take_back(&self, settlement: Settlement) {
        *lock(&self.children) = settlement.children;
        self.keep_pending(&settlement.news);
    }

    /// When it must end, on the monotonic clock.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        from_mark(self.deadline.load(Ordering::Acquire))
    }

    /// When it is no suspect any more; none if it is none.
    pub(crate) fn suspect_until(&self) -> Option<Duration> {
        from_mark(self.suspect_until.load(Ordering::Acquire))
    }

    /// Sets until when it is a suspect.
    pub(crate) fn set_suspect_until(&self, at: Option<Duration>) {
        self.suspect_until.store(at.map_or(0, to_mark), Ordering::Release);
    }

    /// Notes whether it has the conditions that it needs while it runs; answers with since when it lacks one.
    pub(crate) fn note_conditions(&self, has_all: bool, now: Duration) -> Option<Duration> {
        match (has_all, from_mark(self.lacks_since.load(Ordering::Acquire))) {
            (true, _) => {
                self.lacks_since.store(0, Ordering::Release);
                None
            }
            (false, Some(since)) => Some(since),
            (false, None) => {
                self.lacks_since.store(to_mark(now), Ordering::Release);
                Some(now)
            }
        }
    }

    /// When it last gave a sign of life; none if it sends no heartbeats.
    pub(crate) fn sign_of_life(&self) -> Option<Duration> {
        from_mark(self.sign_of_life.load(Ordering::Acquire))
    }

    /// Sets when it must end.
    pub(super) fn set_deadline(&self, at: Duration) {
        self.deadline.store(to_mark(at), Ordering::Release);
    }

    /// Gives a sign of life; true if it is the first.
    pub(super) fn beat(&self, now: Duration) -> bool {
        self.sign_of_life.swap(to_mark(now), Ordering::AcqRel) == 0
    }

    /// Keeps progress until it is written; true if all before it was.
    pub(crate) fn set_progress(&self, done: u64, total: u64) -> bool {
        self.done.store(done, Ordering::Release);
        self.total.store(total, Ordering::Release);
        !self.has_progress.swap(true, Ordering::AcqRel)
    }

    /// Keeps output until it is written; true if all before it was.
    pub(crate) fn push_output(&self, stream: OutputStream, piece: &[u8]) -> bool {
        let mut output = lock(&self.output);
        output.resize_with(OutputStream::ALL.len(), Stream::default);
        let is_first = !output.iter().any(|stream| stream.is_new);
        output[stream as usize].push(piece);
        is_first
    }

    /// What is not in the file yet; it counts as written from now on.
    pub(crate) fn take_pending(&self) -> PendingOutput {
        let progress = self.has_progress.swap(false, Ordering::AcqRel).then(|| Progress {
            done: self.done.load(Ordering::Acquire),
            total: self.total.load(Ordering::Acquire),
        });
        let mut output = lock(&self.output);
        let streams = OutputStream::ALL.into_iter().zip(output.iter_mut());
        let written = |(stream, kept): (_, &mut Stream)| {
            let is_new = std::mem::take(&mut kept.is_new);
            is_new.then(|| Written {
                stream,
                first: kept.first.clone(),
                last: kept.last(),
                bytes: kept.bytes,
            })
        };
        PendingOutput { progress, output: streams.filter_map(written).collect() }
    }

    /// Marks these as not written again: the write has failed.
    pub(crate) fn keep_pending(&self, news: &PendingOutput) {
        self.has_progress.fetch_or(news.progress.is_some(), Ordering::AcqRel);
        let mut output = lock(&self.output);
        news.output.iter().for_each(|written| output[written.stream as usize].is_new = true);
    }
}

/// Where an attempt stands with its worker. Only one of "finished" and "replaced" can happen.
#[derive(Debug, Default)]
pub(crate) struct Phase(AtomicU8);

impl Phase {
    const RUNNING: u8 = 0;
    const FINISHED: u8 = 1;
    const REPLACED: u8 = 2;
    /// Replaced, and its handler has returned.
    const GONE: u8 = 3;

    fn step(&self, from: u8, to: u8) -> bool {
        self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Its handler has returned. False if another worker has taken its worker's place meanwhile.
    pub(crate) fn finish(&self) -> bool {
        loop {
            if self.step(Phase::RUNNING, Phase::FINISHED) {
                return true;
            }
            if self.step(Phase::REPLACED, Phase::GONE) {
                return false;
            }
            match self.0.load(Ordering::Acquire) {
                Phase::FINISHED => return true,
                Phase::GONE => return false,
                _ => {} // a replacement was just taken back
            }
        }
    }

    /// It ignores its deadline, and another worker takes its worker's place. False if it has finished.
    pub(crate) fn replace(&self) -> bool {
        self.step(Phase::RUNNING, Phase::REPLACED)
    }

    /// There is no other worker after all. False if its own has gone.
    pub(crate) fn take_back(&self) -> bool {
        self.step(Phase::REPLACED, Phase::RUNNING)
    }

    pub(crate) fn is_running(&self) -> bool {
        self.0.load(Ordering::Acquire) == Phase::RUNNING
    }

    pub(crate) fn is_replaced(&self) -> bool {
        matches!(self.0.load(Ordering::Acquire), Phase::REPLACED | Phase::GONE)
    }
}

fn to_mark(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX - 1).saturating_add(1)
}

fn from_mark(mark: u64) -> Option<Duration> {
    mark.checked_sub(1).map(Duration::from_millis)
}
