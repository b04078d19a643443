//! `perdura work`: runs the jobs of a file.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

use super::ending::Endings;
use super::job::Job;
use super::run::{Ended, Runner};
use super::warnings;
use crate::cli::words::{count, distance, span};
use crate::cli::{Done, Exit, Session, Trouble};
use crate::{Builder, Clock, Context, Counts, ErrorKind, Queue, QueueCounts, ShutdownReport, SystemClock};

/// How often a worker looks for what other processes have added, and whether it may take over. A look is one small read.
const LOOK_ABROAD: Duration = Duration::from_millis(200);

/// How soon to look again for what is about to be written.
const SOON: Duration = Duration::from_millis(2);

/// How soon to look whether the last job is done, while they are short. Looking after each one would take its share of their time.
const DRAINING: Duration = Duration::from_millis(4);

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
    /// How long running jobs may go on after the first signal
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = crate::cli::filter::age)]
    grace: Duration,
    /// Do not say how each job ends
    #[arg(long, short)]
    quiet: bool,
}

/// What the worker is told by its threads.
pub(super) enum News {
    Ended(Ended),
    Remark(String),
    Signal(i32),
    Stopped(Result<ShutdownReport, crate::Error>),
}

impl Work {
    pub(super) fn run(self, session: &mut Session) -> Done {
        super::refuse_waiting_for_itself(session, None)?;
        let (to_tell, news) = unbounded(); // bounded by the jobs that end: each is told before long
        warnings::show();
        let signals = Signals::new(ending_signals())?; // from here on, a signal hands back what runs
        let mut worker = self.start(session, to_tell.clone(), news)?;
        let listener = listen(signals, &worker.queue, &worker.runner, to_tell.clone())?;
        if !self.quiet && !session.json {
            let file = worker.queue.path().display();
            session
                .screen
                .remark(format_args!("{} for the jobs of {file}", count(worker.workers as u64, "worker")));
        }
        let end = worker.work(&self, session);
        let end = match end {
            Ok(End::Signal(signal)) => worker.stop(&self, signal, to_tell, session),
            Ok(End::Drained) => worker.finish(&self, session),
            Err(trouble) => Err(trouble),
        };
        let stopped = worker.queue.shutdown(self.grace);
        listener.end();
        worker.runner.rest();
        end.and_then(|exit| Ok(stopped.map(|_| exit)?))
    }

    fn start(
        &self,
        session: &Session,
        to_tell: Sender<News>,
        news: Receiver<News>,
    ) -> Result<Worker, Trouble> {
        let workers = self.workers.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
        // As it is before this worker takes over: what it then finds lost ends with this run.
        let looker = session.open(Session::builder())?;
        let (db, lost_before) = (looker.path().to_owned(), self.mine(&looker.counts()?).lost);
        let runner = Arc::new(Runner::new(&db, workers, self.quiet && !session.json, to_tell));
        let queue = session.open(self.set_up(Session::builder(), workers, runner.clone()))?;
        drop(looker); // not before: the last one that closes a file has to tidy it up
        let (endings, clock) = (Endings::new(self.quiet), SystemClock::new());
        Ok(Worker { queue, runner, news, endings, clock, workers, seen_succeeding: 0, lost_before })
    }

    fn set_up(&self, builder: Builder, workers: usize, runner: Arc<Runner>) -> Builder {
        let run = move |job: Job, cx: &Context| runner.handle(&job, cx);
        builder.workers(workers).poll_interval(LOOK_ABROAD).queues(&self.queues).handle(run)
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
    endings: Endings,
    clock: SystemClock,
    workers: usize,
    /// How many had succeeded quietly at the last look.
    seen_succeeding: u64,
    /// Tasks that were `LOST` before this worker came.
    lost_before: u64,
}

impl Worker {
    /// Until there is nothing more to do, or a signal comes.
    fn work(&mut self, wishes: &Work, session: &mut Session) -> Result<End, Trouble> {
        let (mut last, mut pause) = (None, DRAINING);
        loop {
            let obstacle = self.queue.obstacle();
            let owner = self.queue.executes();
            if let Some(why) = obstacle.filter(|_| !owner) {
                if wishes.drain && why.kind() == ErrorKind::OwnerFile {
                    return Err(why.into()); // somebody has to mend it first
                }
                self.tell_standing(Standing::Hindered(why.to_string()), &mut last, session);
            } else {
                self.tell_standing(if owner { Standing::Owner } else { Standing::Next }, &mut last, session);
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
            self.endings.tell(&self.queue, session)?;
            let wait = if self.endings.are_pending() {
                SOON
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
            if let Some(signal) = self.listen(wait, session) {
                return Ok(End::Signal(signal));
            }
        }
    }

    /// Whether a job has succeeded, quietly, since the last look.
    fn has_moved(&mut self) -> bool {
        let succeeded = self.runner.succeeded_quietly();
        succeeded > std::mem::replace(&mut self.seen_succeeding, succeeded)
    }

    fn tell_standing(&self, now: Standing, last: &mut Option<Standing>, session: &mut Session) {
        if last.as_ref() == Some(&now) {
            return;
        }
        let file = self.queue.path().display();
        match (&now, last.as_ref()) {
            (Standing::Owner, None) => {}
            (Standing::Owner, Some(Standing::Hindered(_))) => {
                session.screen.remark(format_args!("running the tasks of {file}"))
            }
            (Standing::Owner, Some(_)) => session
                .screen
                .remark(format_args!("the other process has ended; running the tasks of {file}")),
            (Standing::Next, Some(Standing::Owner)) => {
                session.screen.remark(format_args!("another process has taken over the tasks of {file}"))
            }
            (Standing::Next, _) => session.screen.remark(format_args!(
                "another process runs the tasks of {file}; waiting until it ends, then taking over"
            )),
            (Standing::Hindered(why), _) => session
                .screen
                .remark(format_args!("the tasks of {file} cannot be run, trying again each second: {why}")),
        }
        *last = Some(now);
    }

    /// Waits for news, and takes what there is. A signal comes first.
    fn listen(&mut self, wait: Duration, session: &mut Session) -> Option<i32> {
        let first = match self.news.recv_timeout(wait) {
            Ok(first) => first,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
        };
        let mut signal = None;
        for news in std::iter::once(first).chain(self.news.try_iter()) {
            match news {
                News::Ended(ended) => self.endings.add(ended),
                News::Remark(text) => session.screen.remark(text),
                News::Signal(number) => signal = signal.or(Some(number)),
                News::Stopped(_) => {} // only after a signal
            }
        }
        signal
    }

    /// Stops claiming, lets jobs go on for the grace, hands the rest back.
    fn stop(&mut self, wishes: &Work, signal: i32, to_tell: Sender<News>, session: &mut Session) -> Done {
        self.runner.give_up();
        match self.runner.running() {
            0 => session.screen.remark("stopping"),
            n => session.screen.remark(format_args!(
                "stopping: {} may go on for {}, then what still runs is ended and handed back; a second signal does so now",
                count(n as u64, "job"),
                span(wishes.grace)
            )),
        }
        let (queue, grace) = (self.queue.clone(), wishes.grace);
        let stopper = thread::Builder::new().name("perdura-stop".to_owned());
        let stopper = stopper.spawn(move || drop(to_tell.send(News::Stopped(queue.shutdown(grace)))))?;
        let (mut stopped, mut signals) = (false, 1);
        let mut trouble = None; // told at the end: jobs are handed back although nobody reads what is said
        while !stopped || self.runner.running() > 0 || self.endings.are_pending() {
            trouble = trouble.or(self.endings.tell(&self.queue, session).err());
            let wait = if self.endings.are_pending() { SOON } else { LOOK_ABROAD };
            match self.news.recv_timeout(wait) {
                Ok(News::Ended(ended)) => self.endings.add(ended),
                Ok(News::Remark(text)) => session.screen.remark(text),
                Ok(News::Signal(_)) => {
                    signals += 1;
                    session.screen.remark(if signals == 2 {
                        "ending what runs"
                    } else {
                        "killing what runs"
                    });
                }
                Ok(News::Stopped(report)) => {
                    stopped = true;
                    trouble = trouble.or(report.err().map(Trouble::from));
                }
                Err(_) => {}
            }
        }
        let _ = stopper.join(); // it has said its last word
        self.close(session);
        match (signal, trouble) {
            (SIGHUP, _) => Ok(Exit::HungUp), // what is written to its terminal fails
            (_, Some(trouble)) => Err(trouble),
            (SIGINT, None) => Ok(Exit::Interrupted),
            _ => Ok(Exit::Terminated),
        }
    }

    /// Nothing is left that may start.
    fn finish(&mut self, wishes: &Work, session: &mut Session) -> Done {
        self.close(session);
        let counts = self.queue.counts()?;
        let mine = wishes.mine(&counts);
        if mine.waiting > 0 {
            let due = self.queue.next_due()?;
            let when = due.map_or_else(String::new, |due| {
                format!("; the next falls due {} ({})", distance(due, self.clock.now()), session.time(due))
            });
            session
                .screen
                .remark(format_args!("{} for a later time or a retry{when}", waiting(mine.waiting)));
        }
        if mine.unknown_name > 0 {
            session.screen.remark(format_args!(
                "{} for a program that handles them; they are no jobs",
                waiting(mine.unknown_name)
            ));
        }
        for (name, queue) in
            counts.queues.iter().filter(|(_, queue)| queue.paused && queue.ready + queue.held > 0)
        {
            let name = crate::cli::screen::safe(name);
            session.screen.remark(format_args!(
                "{} in the queue {name:?}, which is paused",
                waiting(queue.ready + queue.held)
            ));
        }
        let lost = mine.lost.saturating_sub(self.lost_before).max(self.endings.sum.lost);
        if lost > 0 {
            session
                .screen
                .remark(format_args!("{} lost: their worker died in the last attempt", count(lost, "job")));
        }
        Ok(if lost + self.endings.sum.failed > 0 { Exit::No } else { Exit::Done })
    }

    fn close(&mut self, session: &mut Session) {
        self.endings.sum.succeeded += self.runner.succeeded_quietly();
        session.screen.remark(self.endings.sum.closing(self.clock.monotonic()));
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
) -> Result<Listener, io::Error> {
    let (queue, runner, handle) = (queue.clone(), runner.clone(), signals.handle());
    let life = move || {
        for (before, signal) in signals.forever().enumerate() {
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
