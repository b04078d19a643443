//! `perdura work`: runs the jobs of a file.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

use super::ending::Endings;
use super::job::{Claimed, OldClaimed, job_of};
use super::outlet::Voice;
use super::run::{Ended, Runner};
use super::{family, warnings};
use crate::cli::filter::age;
use crate::cli::screen::safe;
use crate::cli::words::{count, distance, span};
use crate::cli::{Done, Exit, Session, Trouble};
use crate::{
    Builder, Clock, Context, Counts, ErrorKind, Queue, QueueCounts, ShutdownReport, SystemClock, TaskId,
};

/// How often a worker looks for what other processes have added, and whether it may take over. A look is one small read.
const LOOK_ABROAD: Duration = Duration::from_millis(200);

/// How soon to look again for what is about to be written.
const SOON: Duration = Duration::from_millis(2);

/// How soon to look whether the last job is done, while they are short. Looking after each one would take its share of their time.
const DRAINING: Duration = Duration::from_millis(4);

/// How long the end of a job may take to be written when the queue has ended: it may wait for a lock of another process.
const LAST_WRITE: Duration = Duration::from_secs(12);

/// How many tasks are named in a message.
const MOST_NAMED: usize = 20;

/// How to run the jobs.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Under systemd, use KillMode=mixed, so that the worker decides what becomes of its jobs."
)]
pub(in crate::cli) struct Work {
    /// How many jobs run at the same time [default: the number of processors]
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// Run only jobs of this queue; may be repeated [default: all]
    #[arg(long = "queue", value_name = "QUEUE")]
    queues: Vec<String>,
    /// End when nothing is left that may start; with exit code 1 if a job failed for good
    #[arg(long)]
    drain: bool,
    /// Delete what succeeded or was cancelled so long ago, or longer, such as 7d; never: nothing, whatever the file says [default: what a
    /// program has written into the file, else never]
    #[arg(long, value_name = "AGE", value_parser = keep)]
    keep: Option<Keep>,
    /// How long running jobs may go on after the first signal
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = crate::cli::filter::age)]
    grace: Duration,
    /// Do not say how each job ends
    #[arg(long, short)]
    quiet: bool,
}

/// How long finished tasks are kept; none: for good.
#[derive(Debug, Clone, Copy)]
struct Keep(Option<Duration>);

fn keep(text: &str) -> Result<Keep, String> {
    if text == "never" {
        return Ok(Keep(None));
    }
    age(text).map(|age| Keep(Some(age))).map_err(|e| format!("{e}, or never"))
}

/// What the worker is told by its threads.
pub(super) enum News {
    Ended(Ended),
    Signal(i32),
    Stopped(Result<ShutdownReport, crate::Error>),
}

impl Work {
    pub(super) fn run(self, session: &mut Session) -> Done {
        let voice = Arc::new(Voice::new()?);
        let is_signalled = Arc::new(AtomicBool::new(false));
        let done = self.run_with(session, &voice, &is_signalled);
        let exit = done.unwrap_or_else(|trouble| {
            voice.remark(format_args!("perdura: {}", safe(&trouble.message)));
            trouble.exit
        });
        let is_told = voice.finish(|| is_signalled.load(Ordering::Acquire));
        Ok(if is_told { exit } else { Exit::File })
    }

    fn run_with(&self, session: &Session, voice: &Arc<Voice>, is_signalled: &Arc<AtomicBool>) -> Done {
        super::refuse_waiting_for_itself(session, None)?;
        let (to_tell, news) = unbounded(); // bounded by the jobs that end: each is told before long
        warnings::show(voice);
        family::adopt_orphans();
        let signals = Signals::new(ending_signals())?; // from here on, a signal hands back what runs
        let mut worker = self.start(session, to_tell.clone(), news, voice)?;
        let listener = listen(signals, &worker.queue, &worker.runner, to_tell.clone(), is_signalled.clone())?;
        if !self.quiet && !session.json {
            let file = worker.queue.path().display();
            let workers = count(worker.workers as u64, "worker");
            let kept = self.kept(worker.queue.inspect()?.retention);
            voice.remark(format_args!("{workers} for the jobs of {file}; {kept}"));
            self.tell_new_queues(&worker.queue.counts()?, voice);
        }
        let end = worker.work(self, session);
        let signal = if let Ok(End::Signal(signal)) = end { Some(signal) } else { None };
        let done = match end {
            Ok(End::Drained) => worker.finish(self, session),
            Ok(End::Signal(SIGHUP)) => Ok(Exit::HungUp),
            Ok(End::Signal(SIGINT)) => Ok(Exit::Interrupted),
            Ok(End::Signal(_)) => Ok(Exit::Terminated),
            Err(trouble) => Err(trouble),
        };
        let stopped = worker.stop(self, signal, to_tell, session);
        listener.end();
        worker.runner.rest();
        match (stopped, done) {
            (Err(lost), Err(trouble)) => {
                Err(Trouble::new(lost.exit, format!("{}; {}", trouble.message, lost.message)))
            }
            (stopped, done) => stopped.and(done),
        }
    }

    fn start(
        &self,
        session: &Session,
        to_tell: Sender<News>,
        news: Receiver<News>,
        voice: &Arc<Voice>,
    ) -> Result<Worker, Trouble> {
        let workers = self.workers.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
        // As it is before this worker takes over: what it then finds lost ends with this run.
        let looker = session.open(Session::builder())?;
        let (db, before) = (looker.path().to_owned(), self.mine(&looker.counts()?));
        let quiet = self.quiet && !session.json;
        let runner = Arc::new(Runner::new(&db, workers, quiet, to_tell, voice.clone()));
        let queue = session.open(self.set_up(Session::builder(), workers, runner.clone()))?;
        drop(looker); // not before: the last one that closes a file has to tidy it up
        let (endings, clock) = (Endings::new(self.quiet), SystemClock::new());
        let (voice, seen_succeeding, reaped) = (voice.clone(), 0, Duration::ZERO);
        Ok(Worker { queue, runner, news, voice, endings, clock, workers, seen_succeeding, before, reaped })
    }

    fn set_up(&self, builder: Builder, workers: usize, runner: Arc<Runner>) -> Builder {
        let runs_old = runner.clone();
        let run = move |args: Claimed, cx: &Context| runner.handle(&job_of(&args.0)?, cx);
        let run_old = move |args: OldClaimed, cx: &Context| runs_old.handle(&job_of(&args.0)?, cx);
        let builder = builder.workers(workers).poll_interval(LOOK_ABROAD).queues(&self.queues);
        let builder = builder.handle(run).handle(run_old);
        match self.keep {
            Some(Keep(age)) => builder.retention_here(age),
            None => builder.retention_of_file(),
        }
    }

    /// A queue that the file does not have may come, or be mistyped.
    fn tell_new_queues(&self, counts: &Counts, voice: &Voice) {
        for name in self.queues.iter().filter(|name| !counts.queues.contains_key(*name)) {
            voice.remark(format_args!("there is no queue {name:?} yet; its jobs run when there are some"));
        }
    }

    /// What becomes of finished tasks, in words.
    fn kept(&self, of_file: Option<Option<Duration>>) -> String {
        let (age, who) = match (self.keep, of_file) {
            (Some(Keep(age)), _) => (age, "--keep"),
            (None, said) => (said.flatten(), "as the file says"),
        };
        match age {
            Some(age) => {
                format!("what has succeeded or was cancelled is deleted after {} ({who})", span(age))
            }
            None => "finished jobs are kept (purge deletes old ones)".to_owned(),
        }
    }

    /// The counts of the queues that are worked on.
    fn mine(&self, counts: &Counts) -> QueueCounts {
        let mut mine = counts.clone();
        mine.queues.retain(|name, _| self.queues.is_empty() || self.queues.contains(name));
        mine.total()
    }
}

/// Why a worker ends.
enum End {
    Drained,
    Signal(i32),
}

/// Whether a worker runs the tasks of the file.
#[derive(PartialEq)]
enum Standing {
    Owner,
    /// Another process does; this one comes next.
    Next,
    /// What is in the way.
    Hindered(String),
}

struct Worker {
    queue: Queue,
    runner: Arc<Runner>,
    news: Receiver<News>,
    voice: Arc<Voice>,
    endings: Endings,
    clock: SystemClock,
    workers: usize,
    /// How many had succeeded quietly at the last look.
    seen_succeeding: u64,
    /// What was in its queues before this worker came.
    before: QueueCounts,
    /// When it last reaped what it has adopted, on the monotonic clock.
    reaped: Duration,
}

impl Worker {
    /// Until there is nothing more to do, or a signal comes.
    fn work(&mut self, wishes: &Work, session: &Session) -> Result<End, Trouble> {
        let (mut last, mut pause, mut settling) = (None, DRAINING, SOON);
        loop {
            let obstacle = self.queue.obstacle();
            let owner = self.queue.executes();
            if let Some(why) = obstacle.filter(|_| !owner) {
                if wishes.drain && why.kind() == ErrorKind::OwnerFile {
                    return Err(why.into()); // somebody has to mend it first
                }
                self.tell_standing(Standing::Hindered(why.to_string()), &mut last);
            } else {
                self.tell_standing(if owner { Standing::Owner } else { Standing::Next }, &mut last);
            }
            if wishes.drain
                && let Some(why) = self.runner.hindrance()
            {
                self.runner.give_up();
                return Err(Trouble::new(Exit::File, format!("no job can be started: {why}")));
            }
            if !owner {
                self.runner.rest(); // whoever owns the file now must not wait for shims of ours
            }
            self.reap();
            self.endings.tell(&self.queue, &self.voice, session)?;
            self.voice.tell_failure();
            settling = if self.endings.are_pending() { (settling * 2).min(LOOK_ABROAD) } else { SOON / 2 };
            let wait = if self.endings.are_pending() {
                settling
            } else if wishes.drain && self.runner.running() == 0 {
                // Of what is settled the news have been sent.
                if self.queue.is_drained()? && self.news.is_empty() {
                    return Ok(End::Drained);
                }
                if owner { DRAINING } else { LOOK_ABROAD }
            } else if wishes.drain && self.has_moved() {
                pause = DRAINING; // short jobs: the last one may be over any moment
                pause
            } else {
                pause = (pause * 2).min(LOOK_ABROAD);
                pause
            };
            if let Some(signal) = self.listen(wait) {
                return Ok(End::Signal(signal));
            }
        }
    }

    /// Now and then.
    fn reap(&mut self) {
        let now = self.clock.monotonic();
        if now.saturating_sub(self.reaped) >= LOOK_ABROAD {
            self.reaped = now;
            self.runner.reap();
        }
    }

    /// Whether a job has succeeded, quietly, since the last look.
    fn has_moved(&mut self) -> bool {
        let succeeded = self.runner.succeeded_quietly();
        succeeded > std::mem::replace(&mut self.seen_succeeding, succeeded)
    }

    fn tell_standing(&self, now: Standing, last: &mut Option<Standing>) {
        if last.as_ref() == Some(&now) {
            return;
        }
        let file = self.queue.path().display();
        match (&now, last.as_ref()) {
            (Standing::Owner, None) => {}
            (Standing::Owner, Some(Standing::Hindered(_))) => {
                self.voice.remark(format_args!("running the tasks of {file}"))
            }
            (Standing::Owner, Some(_)) => {
                self.voice.remark(format_args!("the other process has ended; running the tasks of {file}"))
            }
            (Standing::Next, Some(Standing::Owner)) => {
                self.voice.remark(format_args!("another process has taken over the tasks of {file}"))
            }
            (Standing::Next, _) => self.voice.remark(format_args!(
                "another process runs the tasks of {file}; waiting until it ends, then taking over"
            )),
            (Standing::Hindered(why), _) => self
                .voice
                .remark(format_args!("the tasks of {file} cannot be run, trying again each second: {why}")),
        }
        *last = Some(now);
    }

    /// Waits for news, and takes what there is. A signal comes first.
    fn listen(&mut self, wait: Duration) -> Option<i32> {
        let first = match self.news.recv_timeout(wait) {
            Ok(first) => first,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
        };
        let mut signal = None;
        for news in std::iter::once(first).chain(self.news.try_iter()) {
            match news {
                News::Ended(ended) => self.endings.add(ended),
                News::Signal(number) => signal = signal.or(Some(number)),
                News::Stopped(_) => {} // not before the queue is stopped
            }
        }
        signal
    }

    /// Stops claiming, lets jobs go on for the grace, hands the rest back. What cannot be written is given up: it ends whatever becomes of
    /// the file.
    ///
    /// # Errors
    /// Which jobs have ended, and nobody knows of it.
    fn stop(
        &mut self,
        wishes: &Work,
        signal: Option<i32>,
        to_tell: Sender<News>,
        session: &Session,
    ) -> Result<(), Trouble> {
        self.runner.give_up();
        if signal.is_some() {
            self.tell_stop(wishes);
        }
        let (queue, grace) = (self.queue.clone(), wishes.grace);
        let stopper = thread::Builder::new().name("perdura-stop".to_owned());
        let stopper = stopper.spawn(move || drop(to_tell.send(News::Stopped(queue.shutdown(grace)))))?;
        let mut signals = usize::from(signal.is_some());
        let (mut stopped, mut idle_since) = (None, None);
        loop {
            let has_ended = stopped.is_some() && self.runner.running() == 0;
            let is_decided = has_ended && self.is_decided(&mut idle_since);
            self.reap();
            let told = self.endings.tell(&self.queue, &self.voice, session);
            if is_decided || (has_ended && !self.endings.are_pending()) {
                break;
            }
            let is_soon = self.endings.are_pending() && told.is_ok() && !has_ended;
            match self.news.recv_timeout(if is_soon { SOON } else { LOOK_ABROAD / 4 }) {
                Ok(News::Ended(ended)) => self.endings.add(ended),
                Ok(News::Signal(_)) => {
                    signals += 1;
                    match signals {
                        1 => self.tell_stop(wishes),
                        2 => self.voice.remark("ending what runs"),
                        _ => self.voice.remark("killing what runs"),
                    }
                }
                Ok(News::Stopped(report)) => stopped = Some(report),
                Err(_) => {}
            }
        }
        let _ = stopper.join(); // it has said its last word
        if signal.is_some() {
            self.close();
        }
        let report = stopped.transpose()?.unwrap_or_default();
        let mut lost: Vec<TaskId> = report.not_recorded.into_iter().chain(self.endings.pending()).collect();
        lost.sort_unstable();
        lost.dedup();
        if lost.is_empty() { Ok(()) } else { Err(self.unrecorded(&lost)) }
    }

    fn tell_stop(&self, wishes: &Work) {
        match self.runner.running() {
            0 => self.voice.remark("stopping"),
            n => self.voice.remark(format_args!(
                "stopping: {} may go on for {}, then what still runs is ended and handed back; a second signal does so now",
                count(n as u64, "job"),
                span(wishes.grace)
            )),
        }
    }

    /// Whether nothing more is written of jobs that have ended: the ownership goes with the last of them.
    fn is_decided(&self, idle_since: &mut Option<Duration>) -> bool {
        let now = self.clock.monotonic();
        !self.queue.executes() || now.saturating_sub(*idle_since.get_or_insert(now)) >= LAST_WRITE
    }

    fn unrecorded(&self, lost: &[TaskId]) -> Trouble {
        let named: Vec<_> = lost.iter().take(MOST_NAMED).map(ToString::to_string).collect();
        let more = match lost.len().saturating_sub(MOST_NAMED) {
            0 => String::new(),
            n => format!(" and {n} more"),
        };
        let message = format!(
            "{} ended, but the file {} could not be written, so nothing is known of it: the next worker counts it as LOST, and runs it again if attempts are left: {}{more}",
            count(lost.len() as u64, "job"),
            self.queue.path().display(),
            named.join(", "),
        );
        Trouble::new(Exit::File, message)
    }

    /// Nothing is left that may start.
    fn finish(&mut self, wishes: &Work, session: &Session) -> Done {
        self.close();
        let counts = self.queue.counts()?;
        let mine = wishes.mine(&counts);
        if mine.waiting > 0 {
            let due = self.queue.next_due()?;
            let when = due.map_or_else(String::new, |due| {
                format!("; the next falls due {} ({})", distance(due, self.clock.now()), session.time(due))
            });
            self.voice.remark(format_args!("{} for a later time or a retry{when}", waiting(mine.waiting)));
        }
        if mine.unknown_name > 0 {
            self.voice.remark(format_args!(
                "{} for a program that handles them; they are no jobs",
                waiting(mine.unknown_name)
            ));
        }
        for (name, queue) in
            counts.queues.iter().filter(|(_, queue)| queue.paused && queue.ready + queue.held > 0)
        {
            let name = crate::cli::screen::safe(name);
            self.voice.remark(format_args!(
                "{} in the queue {name:?}, which is paused",
                waiting(queue.ready + queue.held)
            ));
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

    fn close(&mut self) {
        self.endings.sum.succeeded += self.runner.succeeded_quietly();
        self.voice.remark(self.endings.sum.closing(self.clock.monotonic()));
    }
}

/// `1 task waits`, `3 tasks wait`.
fn waiting(n: u64) -> String {
    format!("{} wait{}", count(n, "task"), if n == 1 { "s" } else { "" })
}

/// The signals that end a worker. Whoever has it ignore hang-ups (`nohup`) means it to go on.
fn ending_signals() -> Vec<i32> {
    let mut signals = vec![SIGINT, SIGTERM];
    signals.extend(Some(SIGHUP).filter(|_| hears_hangups()));
    signals
}

/// Whether a hang-up of the terminal would end this process. Elsewhere than on Linux that cannot be told, and it stays as it is.
fn hears_hangups() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & (1 << (SIGHUP - 1)) == 0)
}

/// The thread that hears signals.
struct Listener {
    handle: Handle,
    thread: JoinHandle<()>,
}

/// Hears signals: the first is told to the worker, the second ends the grace, the third the patience.
fn listen(
    mut signals: Signals,
    queue: &Queue,
    runner: &Arc<Runner>,
    to_tell: Sender<News>,
    is_signalled: Arc<AtomicBool>,
) -> Result<Listener, io::Error> {
    let (queue, runner, handle) = (queue.clone(), runner.clone(), signals.handle());
    let life = move || {
        for (before, signal) in signals.forever().enumerate() {
            is_signalled.store(true, Ordering::Release);
            let _ = to_tell.send(News::Signal(signal)); // a worker that has ended needs none
            match before {
                0 => {}
                1 => drop(queue.shutdown(Duration::ZERO)), // cuts the grace of the shutdown that goes on
                _ => runner.kill_now(),
            }
        }
    };
    let thread = thread::Builder::new().name("perdura-signals".to_owned()).spawn(life)?;
    Ok(Listener { handle, thread })
}

impl Listener {
    fn end(self) {
        self.handle.close();
        let _ = self.thread.join();
    }
}
