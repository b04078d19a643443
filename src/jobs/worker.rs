//! The worker's loop: it handles events of its threads, and checks who owns the file and what is left to run.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::engine_attempts::FollowedAttempts;
use super::notices::{FileOwnership, WaitNotices};
use super::progress_line::progress;
use super::reporter::AttemptReporter;
use super::runner::Runner;
use super::worker_event::WorkerEvent;
use super::worker_output::WorkerOutput;
use crate::console::paging::pages;
use crate::console::table::shorten;
use crate::console::text::safe;
use crate::console::tolerance::Tolerance;
use crate::console::words::{count, distance};
use crate::console::{CliError, CliResult, Exit, Session};
use crate::{Clock, Counts, Error, ErrorKind, Filter, Queue, QueueCounts, State, SystemClock, TaskRecord};

/// How often a worker looks for what other processes have added, and whether it may take over. A look is one small read.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_millis(200);

/// Poll interval while an outcome is being written.
pub(super) const SETTLE_POLL: Duration = Duration::from_millis(2);

/// Poll interval for the end of the last job, while jobs are short. A check after each job would cost too much.
const DRAIN_POLL: Duration = Duration::from_millis(4);

/// How many pages of waiting tasks are looked at.
const MAX_WAITING_PAGES: usize = 200;

/// Why a worker ends.
pub(super) enum WorkerExit {
    Drained,
    Signal(i32),
}

/// What a worker was told to do.
pub(super) struct WorkerOptions {
    /// The queues that it serves; none: all.
    pub queues: Vec<String>,
    /// The engines that it has.
    pub engines: Vec<String>,
    /// It ends when nothing is left that may start.
    pub drain: bool,
    /// It waits for what starts by itself within this time, before it ends.
    pub until_done: Option<Duration>,
    /// It shows how far it has come, where a person sees that.
    pub shows_progress: bool,
    /// How long running jobs may go on after the first signal.
    pub grace: Duration,
}

impl WorkerOptions {
    fn serves(&self, queue: &String) -> bool {
        self.queues.is_empty() || self.queues.contains(queue)
    }

    /// The sum of the counts of the queues that it serves.
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
    pub(super) events: Receiver<WorkerEvent>,
    pub(super) output: Arc<WorkerOutput>,
    pub(super) reporter: AttemptReporter,
    pub(super) clock: SystemClock,
    /// How many signals have come.
    pub(super) signals: usize,
    /// How many had succeeded quietly at the last look.
    seen_succeeding: u64,
    pub(super) options: WorkerOptions,
    notices: WaitNotices,
    pub(super) followed: FollowedAttempts,
    /// The counts of its queues before this worker started.
    before: QueueCounts,
    /// When the progress was shown last, on the monotonic clock; none: it is not shown.
    shown: Option<Duration>,
    /// When it last reaped what it has adopted, on the monotonic clock.
    reaped: Duration,
    /// With a file that cannot be read.
    unreadable: Tolerance,
    /// With whatever lets it start nothing.
    hindered: Tolerance,
}

impl Worker {
    pub(super) fn new(
        queue: Queue,
        runner: Arc<Runner>,
        events: Receiver<WorkerEvent>,
        output: Arc<WorkerOutput>,
        reporter: AttemptReporter,
        options: WorkerOptions,
        before: QueueCounts,
    ) -> Worker {
        let can_clear = std::env::var_os("TERM").is_some_and(|term| term != "dumb");
        let is_seen = options.drain && options.shows_progress && io::stderr().is_terminal() && can_clear;
        let shown = is_seen.then_some(Duration::ZERO);
        Worker {
            shown,
            queue,
            runner,
            events,
            output,
            reporter,
            clock: SystemClock::new(),
            signals: 0,
            seen_succeeding: 0,
            followed: FollowedAttempts::new(options.engines.clone()),
            options,
            notices: WaitNotices::default(),
            before,
            reaped: Duration::ZERO,
            unreadable: Tolerance::default(),
            hindered: Tolerance::default(),
        }
    }

    /// Until there is nothing more to do, or a signal comes.
    pub(super) fn work(&mut self, session: &Session) -> Result<WorkerExit, CliError> {
        let (mut pause, mut settling, mut was_owner) = (DRAIN_POLL, SETTLE_POLL, false);
        loop {
            let obstacle = self.queue.obstacle();
            let owner = self.queue.executes();
            // Also of another process, so that nothing goes untold that ends as this one takes over.
            if self.followed.has_engines() && !was_owner {
                let found = self.followed.find(&self.queue, owner).map_err(CliError::from);
                was_owner = self.bear(found)?.is_some() && owner;
            }
            was_owner &= owner;
            let ownership = match obstacle {
                Some(why) if !(owner && why.kind() == ErrorKind::OwnerFile) => {
                    FileOwnership::Hindered(self.bear_obstacle(why)?)
                }
                _ if owner => FileOwnership::Owner,
                _ => FileOwnership::Next,
            };
            let is_hindered = matches!(ownership, FileOwnership::Hindered(_));
            if !is_hindered {
                self.hindered.renew();
            }
            self.notices.tell(ownership, self.queue.path(), &self.output);
            let is_idle = self.runner.running() == 0 && !(owner && self.options.drain);
            if is_idle && self.notices.is_due(self.clock.monotonic()) {
                self.tell_waits();
            }
            if self.options.drain
                && let Some(why) = self.runner.hindrance()
            {
                self.runner.give_up();
                return Err(CliError::new(Exit::File, format!("no job can be started: {why}")));
            }
            if !owner {
                self.runner.rest(); // whoever owns the file now must not wait for shims of ours
            }
            self.reap();
            if owner && self.followed.is_due() {
                self.look_outside()?;
            }
            if self.reporter.are_pending() {
                let told = self.reporter.tell(&self.queue, &self.output, session);
                self.bear(told)?;
            }
            self.output.tell_failure();
            self.show_progress(session);
            settling = if self.reporter.are_pending() {
                (settling * 2).min(CHECK_INTERVAL)
            } else {
                SETTLE_POLL / 2
            };
            let wait = if self.reporter.are_pending() {
                settling
            } else if self.options.drain && self.runner.running() == 0 {
                // Of what is settled the events have been sent.
                let is_drained = self.queue.is_drained().map_err(CliError::from);
                if self.bear(is_drained)? == Some(true) && self.events.is_empty() {
                    self.look_outside()?;
                    if !self.reporter.are_pending() && !self.goes_on()? && self.is_still_drained()? {
                        return Ok(WorkerExit::Drained);
                    }
                }
                if self.options.until_done.is_some() || is_hindered {
                    CHECK_INTERVAL
                } else if owner && self.followed.count() == 0 {
                    self.tell_others_outside();
                    DRAIN_POLL
                } else {
                    CHECK_INTERVAL
                }
            } else if self.options.drain && self.has_moved() {
                pause = DRAIN_POLL; // short jobs: the last one may be over any moment
                pause
            } else {
                pause = (pause * 2).min(CHECK_INTERVAL);
                pause
            };
            if let Some(signal) = self.listen(wait) {
                return Ok(WorkerExit::Signal(signal));
            }
        }
    }

    /// The result of a read; none if the file cannot be read now, which is retried.
    ///
    /// # Errors
    /// If the file stays unreadable.
    fn bear<T>(&mut self, read: Result<T, CliError>) -> Result<Option<T>, CliError> {
        let error = match read {
            Ok(answer) => {
                self.unreadable.renew();
                return Ok(Some(answer));
            }
            Err(error) => error.named(self.queue.path()),
        };
        self.unreadable.bear(error, self.clock.monotonic(), |text| self.output.remark(text))?;
        Ok(None)
    }

    /// The obstacle in words.
    ///
    /// # Errors
    /// If it ends the worker: it has lasted, or goes away only if somebody acts. One that does not drain ends only if another file has taken the
    /// place of its own: it keeps all others from running the tasks of that.
    fn bear_obstacle(&mut self, why: Error) -> Result<String, CliError> {
        let is_lasting = match why.kind() {
            ErrorKind::OwnerFile => true,
            ErrorKind::Busy => false, // somebody works with the file
            _ if self.runner.running() > 0 => false,
            _ => self.hindered.is_over(self.clock.monotonic()),
        };
        let is_replaced = why.kind() == ErrorKind::FileReplaced && self.queue.path().exists();
        let why = CliError::from(why);
        if is_lasting && (self.options.drain || is_replaced) { Err(why) } else { Ok(why.message) }
    }

    /// Whether something starts by itself soon enough to be waited for.
    ///
    /// # Errors
    /// If the file stays unreadable.
    fn goes_on(&mut self) -> Result<bool, CliError> {
        let Some(most) = self.options.until_done else { return Ok(false) };
        let next = self.queue.next_start().map_err(CliError::from);
        let Some(next) = self.bear(next)? else { return Ok(true) }; // it is read again
        Ok(next.is_some_and(|due| due.since(self.clock.now()) <= most))
    }

    /// Whether nothing has started since it was asked what starts next: a retry that fell due in between is no longer among what waits.
    fn is_still_drained(&mut self) -> Result<bool, CliError> {
        if self.options.until_done.is_none() {
            return Ok(true);
        }
        let is_drained = self.queue.is_drained().map_err(CliError::from);
        Ok(self.bear(is_drained)? == Some(true) && self.runner.running() == 0 && self.events.is_empty())
    }

    /// Shows how far it has come, now and then.
    fn show_progress(&mut self, session: &Session) {
        let now = self.clock.monotonic();
        if self.shown.is_none_or(|shown| now.saturating_sub(shown) < CHECK_INTERVAL) {
            return;
        }
        self.shown = Some(now);
        if let Ok(counts) = self.queue.counts() {
            let text = progress(&self.before, &self.options.total(&counts), now);
            self.output.show_progress(shorten(&text, session.screen.width().saturating_sub(1)));
        }
    }

    pub(super) fn hide_progress(&mut self) {
        if self.shown.take().is_some() {
            self.output.show_progress(String::new());
        }
    }

    /// Looks which attempts have ended whose work engines do.
    ///
    /// # Errors
    /// If the file stays unreadable.
    fn look_outside(&mut self) -> Result<(), CliError> {
        let ended = self.followed.ended(&self.queue).map_err(CliError::from);
        for attempt in self.bear(ended)?.unwrap_or_default() {
            self.reporter.add(attempt);
        }
        Ok(())
    }

    /// Reaps adopted processes, at most once per interval.
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

    /// Reports what a drain waits for, if that is none of this worker's; once.
    fn tell_others_outside(&mut self) {
        if self.notices.has_told_outside() || !self.notices.is_due(self.clock.monotonic()) {
            return;
        }
        let running = Filter::new().state(State::Running).limit(usize::MAX);
        if let Ok(tasks) = self.queue.tasks(running) {
            let outside: Vec<_> = tasks.into_iter().filter(|task| task.outside.is_some()).collect();
            self.notices.tell_outside(&outside, &self.output);
        }
    }

    /// Reports what keeps all remaining tasks waiting, if a person has to act.
    fn tell_waits(&mut self) {
        if let Ok(counts) = self.queue.counts() {
            let mine = counts.queues.iter().filter(|(name, _)| self.options.serves(name));
            self.notices.tell_waits(mine, &self.output);
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
                WorkerEvent::Ended(ended) => self.reporter.add(ended),
                WorkerEvent::WentOutside(attempt) => self.followed.add(attempt),
                WorkerEvent::Signal(number) => {
                    self.signals += 1;
                    signal = signal.or(Some(number));
                }
                WorkerEvent::Stopped(_) => {} // not before the queue is stopped
            }
        }
        signal
    }

    /// Nothing is left that may start.
    pub(super) fn finish(&mut self, session: &Session) -> CliResult {
        self.close();
        let mut counts = self.queue.counts()?;
        let next = self.queue.next_start().ok().flatten(); // what is not known is not told
        let mine = self.options.total(&counts);
        counts.queues.retain(|name, _| self.options.serves(name));
        let (paused, open): (Vec<_>, Vec<_>) = counts.queues.iter().partition(|(_, queue)| queue.paused);
        for (name, queue) in &open {
            if let Some(until) = queue.closed_until.filter(|_| queue.ready > 0) {
                self.output.remark(format_args!(
                    "{} in the queue {:?}, which is closed until {} ({})",
                    waiting(queue.ready),
                    safe(name),
                    session.time(until),
                    distance(until, self.clock.now()),
                ));
            }
        }
        let later = open.iter().map(|(_, queue)| queue.waiting).sum();
        if later > 0 {
            let when = next.map_or_else(String::new, |due| {
                format!("; the next falls due {} ({})", distance(due, self.clock.now()), session.time(due))
            });
            self.output.remark(format_args!("{} for a later time or a retry{when}", waiting(later)));
        }
        let limited = open.iter().map(|(_, queue)| queue.limited).sum();
        if limited > 0 {
            let tasks = waiting(limited);
            self.output.remark(format_args!(
                "{tasks} for a permit of a key; `perdura explain ID` says behind which task"
            ));
        }
        let unmet = open.iter().map(|(_, queue)| queue.unmet).sum();
        if unmet > 0 {
            let tasks = waiting(unmet);
            self.output.remark(format_args!(
                "{tasks} for a condition or free disk; `perdura explain ID` says for which"
            ));
        }
        if mine.unknown_name > 0 {
            let tasks = waiting(mine.unknown_name);
            self.output
                .remark(format_args!("{tasks} for another program; `perdura explain ID` says for which"));
        }
        for (name, queue) in paused {
            let waits = queue.ready + queue.held + queue.limited + queue.unmet + queue.waiting;
            if waits > 0 {
                self.output.remark(format_args!(
                    "{} in the queue {:?}, which is paused",
                    waiting(waits),
                    safe(name)
                ));
            }
        }
        let failed = mine.failed.saturating_sub(self.before.failed);
        if failed > self.reporter.sum.failed {
            let more = count(failed - self.reporter.sum.failed, "more task");
            self.output
                .remark(format_args!("{more} failed, which this worker did not run; `failures` says why"));
        }
        let lost = mine.lost.saturating_sub(self.before.lost).max(self.reporter.sum.lost);
        if lost > 0 {
            self.output
                .remark(format_args!("{} lost: their worker died in the last attempt, or their engine lost them; `list --state LOST` names them", count(lost, "job")));
        }
        let unfinished = self.options.until_done.is_some() && self.has_failed_and_waits()?;
        let bad = lost + failed.max(self.reporter.sum.failed);
        Ok(if bad > 0 || unfinished { Exit::No } else { Exit::Done })
    }

    /// Whether a job has failed and waits: longer for its retry than this worker does, or for something else. The newest that wait are looked at.
    fn has_failed_and_waits(&self) -> Result<bool, CliError> {
        let has_failed = |task: &TaskRecord| task.attempt_number > 0 && self.options.serves(&task.queue);
        for page in pages(&self.queue, Filter::new().state(State::Queued)).take(MAX_WAITING_PAGES) {
            if page?.iter().any(has_failed) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) fn close(&mut self) {
        self.hide_progress();
        self.reporter.sum.succeeded += self.runner.succeeded_quietly();
        self.output.remark(self.reporter.sum.closing(self.clock.monotonic()));
    }
}

/// `1 task waits`, `3 tasks wait`.
fn waiting(n: u64) -> String {
    format!("{} wait{}", count(n, "task"), if n == 1 { "s" } else { "" })
}
