//! The worker while it runs: it looks what its threads have to say, who owns the file, and what is left to run.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::event::Event;
use super::notices::{Standing, Stands};
use super::output::Voice;
use super::reporter::Endings;
use super::run::Runner;
use crate::console::text::safe;
use crate::console::words::{count, distance, span};
use crate::console::{Done, Exit, Session, Trouble};
use crate::{Clock, Counts, ErrorKind, Queue, QueueCounts, SystemClock};

/// How often a worker looks for what other processes have added, and whether it may take over. A look is one small read.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_millis(200);

/// How soon to look again for what is about to be written.
pub(super) const SOON: Duration = Duration::from_millis(2);

/// How soon to look whether the last job is done, while they are short. Looking after each one would take its share of their time.
const DRAINING: Duration = Duration::from_millis(4);

/// How long the file may be unreadable, before the worker ends for that: its disk may come back.
const UNREADABLE: Duration = Duration::from_secs(10);

/// Why a worker ends.
pub(super) enum End {
    Drained,
    Signal(i32),
}

/// What a worker was told to do.
pub(super) struct WorkerOptions {
    /// The queues that it serves; none: all.
    pub queues: Vec<String>,
    /// It ends when nothing is left that may start.
    pub drain: bool,
    /// How long running jobs may go on after the first signal.
    pub grace: Duration,
}

impl WorkerOptions {
    fn serves(&self, queue: &String) -> bool {
        self.queues.is_empty() || self.queues.contains(queue)
    }

    /// The counts of the queues that it serves, together.
    pub(super) fn total(&self, counts: &Counts) -> QueueCounts {
        let mut mine = counts.clone();
        mine.queues.retain(|name, _| self.serves(name));
        mine.total()
    }
}

/// The worker: its queue and its jobs, and what it has seen of them.
pub(super) struct Worker {
    pub(super) queue: Queue,
    pub(super) runner: Arc<Runner>,
    pub(super) events: Receiver<Event>,
    pub(super) voice: Arc<Voice>,
    pub(super) endings: Endings,
    pub(super) clock: SystemClock,
    /// How many signals have come.
    pub(super) signals: usize,
    /// How many had succeeded quietly at the last look.
    seen_succeeding: u64,
    pub(super) options: WorkerOptions,
    standing: Standing,
    /// What was in its queues before this worker came.
    before: QueueCounts,
    /// When it last reaped what it has adopted, on the monotonic clock.
    reaped: Duration,
    /// Since when the file cannot be read, on the monotonic clock.
    unreadable_since: Option<Duration>,
}

impl Worker {
    pub(super) fn new(
        queue: Queue,
        runner: Arc<Runner>,
        events: Receiver<Event>,
        voice: Arc<Voice>,
        endings: Endings,
        options: WorkerOptions,
        before: QueueCounts,
    ) -> Worker {
        Worker {
            queue,
            runner,
            events,
            voice,
            endings,
            clock: SystemClock::new(),
            signals: 0,
            seen_succeeding: 0,
            options,
            standing: Standing::default(),
            before,
            reaped: Duration::ZERO,
            unreadable_since: None,
        }
    }

    /// Until there is nothing more to do, or a signal comes.
    pub(super) fn work(&mut self, session: &Session) -> Result<End, Trouble> {
        let (mut pause, mut settling) = (DRAINING, SOON);
        loop {
            let obstacle = self.queue.obstacle();
            let owner = self.queue.executes();
            let stands = match obstacle {
                _ if owner => Stands::Owner,
                // Somebody has to mend it first.
                Some(why) if self.options.drain && why.kind() == ErrorKind::OwnerFile => {
                    return Err(why.into());
                }
                Some(why) => Stands::Hindered(Trouble::from(why).message),
                None => Stands::Next,
            };
            self.standing.tell(stands, self.queue.path(), &self.voice);
            let is_idle = self.runner.running() == 0 && !(owner && self.options.drain);
            if is_idle && self.standing.is_due(self.clock.monotonic()) {
                self.tell_waits();
            }
            if self.options.drain
                && let Some(why) = self.runner.hindrance()
            {
                self.runner.give_up();
                return Err(Trouble::new(Exit::File, format!("no job can be started: {why}")));
            }
            if !owner {
                self.runner.rest(); // whoever owns the file now must not wait for shims of ours
            }
            self.reap();
            if self.endings.are_pending() {
                let told = self.endings.tell(&self.queue, &self.voice, session);
                self.bear(told)?;
            }
            self.voice.tell_failure();
            settling = if self.endings.are_pending() { (settling * 2).min(CHECK_INTERVAL) } else { SOON / 2 };
            let wait = if self.endings.are_pending() {
                settling
            } else if self.options.drain && self.runner.running() == 0 {
                // Of what is settled the events have been sent.
                let is_drained = self.queue.is_drained().map_err(Trouble::from);
                if self.bear(is_drained)? == Some(true) && self.events.is_empty() {
                    return Ok(End::Drained);
                }
                if owner { DRAINING } else { CHECK_INTERVAL }
            } else if self.options.drain && self.has_moved() {
                pause = DRAINING; // short jobs: the last one may be over any moment
                pause
            } else {
                pause = (pause * 2).min(CHECK_INTERVAL);
                pause
            };
            if let Some(signal) = self.listen(wait) {
                return Ok(End::Signal(signal));
            }
        }
    }

    /// The answer of the file; none if it cannot be read now, which may pass.
    ///
    /// # Errors
    /// If that lasts.
    fn bear<T>(&mut self, read: Result<T, Trouble>) -> Result<Option<T>, Trouble> {
        let trouble = match read {
            Ok(answer) => {
                self.unreadable_since = None;
                return Ok(Some(answer));
            }
            Err(trouble) => trouble,
        };
        let now = self.clock.monotonic();
        let since = *self.unreadable_since.get_or_insert_with(|| {
            self.voice.remark(format_args!(
                "trying again for {}: {}",
                span(UNREADABLE),
                safe(&trouble.message)
            ));
            now
        });
        if now.saturating_sub(since) < UNREADABLE { Ok(None) } else { Err(trouble) }
    }

    /// Now and then.
    pub(super) fn reap(&mut self) {
        let now = self.clock.monotonic();
        if now.saturating_sub(self.reaped) >= CHECK_INTERVAL {
            self.reaped = now;
            self.runner.reap();
        }
    }

    /// Whether a job has succeeded, quietly, since the last look.
    fn has_moved(&mut self) -> bool {
        let succeeded = self.runner.succeeded_quietly();
        succeeded > std::mem::replace(&mut self.seen_succeeding, succeeded)
    }

    /// What keeps everything waiting that is left, if somebody has to do something about it.
    fn tell_waits(&mut self) {
        if let Ok(counts) = self.queue.counts() {
            let mine = counts.queues.iter().filter(|(name, _)| self.options.serves(name));
            self.standing.tell_waits(mine, &self.voice);
        }
    }

    /// Waits for an event, and takes all there are. A signal comes first.
    fn listen(&mut self, wait: Duration) -> Option<i32> {
        let first = match self.events.recv_timeout(wait) {
            Ok(first) => first,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
        };
        let mut signal = None;
        for event in std::iter::once(first).chain(self.events.try_iter()) {
            match event {
                Event::Ended(ended) => self.endings.add(ended),
                Event::Signal(number) => {
                    self.signals += 1;
                    signal = signal.or(Some(number));
                }
                Event::Stopped(_) => {} // not before the queue is stopped
            }
        }
        signal
    }

    /// Nothing is left that may start.
    pub(super) fn finish(&mut self, session: &Session) -> Done {
        self.close();
        let mut counts = self.queue.counts()?;
        let next = self.queue.next_start().ok().flatten(); // what is not known is not told
        let mine = self.options.total(&counts);
        counts.queues.retain(|name, _| self.options.serves(name));
        let (paused, open): (Vec<_>, Vec<_>) = counts.queues.iter().partition(|(_, queue)| queue.paused);
        let later = open.iter().map(|(_, queue)| queue.waiting).sum();
        if later > 0 {
            let when = next.map_or_else(String::new, |due| {
                format!("; the next falls due {} ({})", distance(due, self.clock.now()), session.time(due))
            });
            self.voice.remark(format_args!("{} for a later time or a retry{when}", waiting(later)));
        }
        if mine.unknown_name > 0 {
            let tasks = waiting(mine.unknown_name);
            self.voice
                .remark(format_args!("{tasks} for another program; `perdura explain ID` says for which"));
        }
        for (name, queue) in paused {
            let waits = queue.ready + queue.held + queue.waiting;
            if waits > 0 {
                self.voice.remark(format_args!(
                    "{} in the queue {:?}, which is paused",
                    waiting(waits),
                    safe(name)
                ));
            }
        }
        let failed = mine.failed.saturating_sub(self.before.failed);
        if failed > self.endings.sum.failed {
            let more = count(failed - self.endings.sum.failed, "more task");
            self.voice
                .remark(format_args!("{more} failed without having been run here; `failures` says why"));
        }
        let lost = mine.lost.saturating_sub(self.before.lost).max(self.endings.sum.lost);
        if lost > 0 {
            self.voice
                .remark(format_args!("{} lost: their worker died in the last attempt", count(lost, "job")));
        }
        Ok(if lost + failed.max(self.endings.sum.failed) > 0 { Exit::No } else { Exit::Done })
    }

    pub(super) fn close(&mut self) {
        self.endings.sum.succeeded += self.runner.succeeded_quietly();
        self.voice.remark(self.endings.sum.closing(self.clock.monotonic()));
    }
}

/// `1 task waits`, `3 tasks wait`.
fn waiting(n: u64) -> String {
    format!("{} wait{}", count(n, "task"), if n == 1 { "s" } else { "" })
}
