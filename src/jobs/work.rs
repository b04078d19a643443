//! `perdura work`: runs the jobs of a file.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use signal_hook::iterator::Signals;

use super::ending::Endings;
use super::job::{Claimed, OldClaimed, job_of};
use super::outlet::Voice;
use super::run::{Ended, Runner};
use super::signals::{self, Heard, Listener};
use super::standing::{Standing, Stands};
use super::{family, warnings};
use crate::console::filter::age;
use crate::console::screen::safe;
use crate::console::words::{count, distance, span};
use crate::console::{Done, Exit, Session, Trouble};
use crate::planted::planted;
use crate::{
    Builder, Clock, Config, Context, Counts, ErrorKind, Options, Queue, QueueCounts, ShutdownReport,
    SystemClock,
};

/// How often a worker looks for what other processes have added, and whether it may take over. A look is one small read.
pub(super) const LOOK_ABROAD: Duration = Duration::from_millis(200);

/// How soon to look again for what is about to be written.
pub(super) const SOON: Duration = Duration::from_millis(2);

/// How soon to look whether the last job is done, while they are short. Looking after each one would take its share of their time.
const DRAINING: Duration = Duration::from_millis(4);

/// How long the file may be unreadable, before the worker ends for that: its disk may come back.
const UNREADABLE: Duration = Duration::from_secs(10);

/// How to run the jobs.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Under systemd, use KillMode=mixed, so that the worker decides what becomes of its jobs."
)]
pub(crate) struct Work {
    /// How many jobs run at the same time [default: the number of processors]
    #[arg(long, value_name = "N", value_parser = workers)]
    workers: Option<usize>,
    /// Run only jobs of this queue; may be repeated [default: all]
    #[arg(long = "queue", value_name = "QUEUE")]
    queues: Vec<String>,
    /// End when nothing is left that may start; with exit code 1 if a job failed for good
    #[arg(long)]
    drain: bool,
    /// Delete tasks of all queues that succeeded or were cancelled this long ago or longer, such as 7d; `never` deletes none [default: as
    /// a program has written into the file, else never]
    #[arg(long, value_name = "AGE", value_parser = keep)]
    keep: Option<Keep>,
    /// How long running jobs may go on after the first signal
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = crate::console::filter::age)]
    pub(super) grace: Duration,
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
    let age = age(text).map_err(|e| format!("{e}, or never"))?;
    let kept = Config { retention: Some(age), ..Config::default() };
    kept.validate().map(|()| Keep(Some(age))).map_err(|_| "it is 1ms to 10years, or never".to_owned())
}

fn workers(text: &str) -> Result<usize, String> {
    let config = |workers| Config { workers, ..Config::default() };
    let workers = text.parse().ok().filter(|workers| config(*workers).validate().is_ok());
    workers.ok_or_else(|| "it is a whole number of 1 to 1024".to_owned())
}

/// What the worker is told by its threads.
pub(super) enum News {
    Ended(Ended),
    Signal(i32),
    Stopped(Result<ShutdownReport, crate::Error>),
}

impl Work {
    pub(super) fn run(self, session: &mut Session) -> Done {
        super::refuse_waiting_for_itself(session, None)?;
        for queue in &self.queues {
            let wish = Options::new().queue(queue);
            wish.validate(&Config::default(), session.now().to_system_time())?;
        }
        let voice = Arc::new(Voice::new()?);
        let ending = signals::ending();
        let to_hear = Signals::new(&ending)?; // from here on, a signal hands back what runs
        let heard = Heard::new(&ending)?;
        let exit = self.run_with(session, &voice, to_hear).unwrap_or_else(|trouble| {
            voice.remark(format_args!("perdura: {}", safe(&trouble.message)));
            trouble.exit
        });
        let is_told = voice.finish(|| heard.exit().is_some());
        Ok(match exit {
            Exit::Done | Exit::No if !is_told => heard.exit().unwrap_or(Exit::File),
            exit => exit,
        })
    }

    fn run_with(&self, session: &Session, voice: &Arc<Voice>, to_hear: Signals) -> Done {
        let (to_tell, news) = unbounded(); // bounded by the jobs that end: each is told before long
        warnings::show(voice);
        family::adopt_orphans();
        let mut worker = self.start(session, to_tell.clone(), news, voice)?; // from here on its queue must be stopped
        let listener = Listener::new(to_hear, &worker.runner, to_tell.clone())?;
        let end = worker.work(self, session);
        let signal = if let Ok(End::Signal(signal)) = end { Some(signal) } else { None };
        let done = match end {
            Ok(End::Drained) => worker.finish(self, session),
            Ok(End::Signal(signal)) => Ok(signals::exit_of(signal)),
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
        let (db, counts) = (looker.path().to_owned(), looker.counts()?);
        let kept = self.kept(looker.inspect()?.retention);
        let before = self.mine(&counts);
        let quiet = self.quiet && !session.json;
        let runner = Arc::new(Runner::new(&db, workers, quiet, to_tell, voice.clone()));
        let queue = session.open(self.set_up(Session::builder(), workers, runner.clone()))?;
        drop(looker); // not before: the last one that closes a file has to tidy it up
        if !quiet && !session.json {
            let workers = count(workers as u64, "worker");
            voice.remark(format_args!("{workers} for the jobs of {}; {kept}", db.display()));
            self.tell_new_queues(&counts, voice);
        }
        let (endings, clock) = (Endings::new(self.quiet), SystemClock::new());
        Ok(Worker {
            queue,
            runner,
            news,
            voice: voice.clone(),
            endings,
            clock,
            signals: 0,
            seen_succeeding: 0,
            standing: Standing::default(),
            before,
            reaped: Duration::ZERO,
            unreadable_since: None,
        })
    }

    fn set_up(&self, builder: Builder, workers: usize, runner: Arc<Runner>) -> Builder {
        let runs_old = runner.clone();
        let run = move |args: Claimed, cx: &Context| runner.handle(&job_of(&args.0)?, cx);
        let run_old = move |args: OldClaimed, cx: &Context| runs_old.handle(&job_of(&args.0)?, cx);
        let builder = builder.workers(workers).poll_interval(LOOK_ABROAD).queues(&self.queues);
        let builder = builder.handle(run).handle(run_old);
        match self.keep {
            Some(Keep(age)) => builder.retention_here(age),
            None if planted("cli-a-worker-deletes-unasked") => builder,
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
        mine.queues.retain(|name, _| self.serves(name));
        mine.total()
    }

    fn serves(&self, queue: &String) -> bool {
        self.queues.is_empty() || self.queues.contains(queue)
    }
}

/// Why a worker ends.
enum End {
    Drained,
    Signal(i32),
}

pub(super) struct Worker {
    pub(super) queue: Queue,
    pub(super) runner: Arc<Runner>,
    pub(super) news: Receiver<News>,
    pub(super) voice: Arc<Voice>,
    pub(super) endings: Endings,
    pub(super) clock: SystemClock,
    /// How many signals have come.
    pub(super) signals: usize,
    /// How many had succeeded quietly at the last look.
    seen_succeeding: u64,
    standing: Standing,
    /// What was in its queues before this worker came.
    before: QueueCounts,
    /// When it last reaped what it has adopted, on the monotonic clock.
    reaped: Duration,
    /// Since when the file cannot be read, on the monotonic clock.
    unreadable_since: Option<Duration>,
}

impl Worker {
    /// Until there is nothing more to do, or a signal comes.
    fn work(&mut self, wishes: &Work, session: &Session) -> Result<End, Trouble> {
        let (mut pause, mut settling) = (DRAINING, SOON);
        loop {
            let obstacle = self.queue.obstacle();
            let owner = self.queue.executes();
            let stands = match obstacle {
                _ if owner => Stands::Owner,
                // Somebody has to mend it first.
                Some(why) if wishes.drain && why.kind() == ErrorKind::OwnerFile => return Err(why.into()),
                Some(why) => Stands::Hindered(Trouble::from(why).message),
                None => Stands::Next,
            };
            self.standing.tell(stands, self.queue.path(), &self.voice);
            let is_idle = self.runner.running() == 0 && !(owner && wishes.drain);
            if is_idle && self.standing.is_due(self.clock.monotonic()) {
                self.tell_waits(wishes);
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
            if self.endings.are_pending() {
                let told = self.endings.tell(&self.queue, &self.voice, session);
                self.bear(told)?;
            }
            self.voice.tell_failure();
            settling = if self.endings.are_pending() { (settling * 2).min(LOOK_ABROAD) } else { SOON / 2 };
            let wait = if self.endings.are_pending() {
                settling
            } else if wishes.drain && self.runner.running() == 0 {
                // Of what is settled the news have been sent.
                let is_drained = self.queue.is_drained().map_err(Trouble::from);
                if self.bear(is_drained)? == Some(true) && self.news.is_empty() {
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

    /// What keeps everything waiting that is left, if somebody has to do something about it.
    fn tell_waits(&mut self, wishes: &Work) {
        if let Ok(counts) = self.queue.counts() {
            let mine = counts.queues.iter().filter(|(name, _)| wishes.serves(name));
            self.standing.tell_waits(mine, &self.voice);
        }
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
                News::Signal(number) => {
                    self.signals += 1;
                    signal = signal.or(Some(number));
                }
                News::Stopped(_) => {} // not before the queue is stopped
            }
        }
        signal
    }

    /// Nothing is left that may start.
    fn finish(&mut self, wishes: &Work, session: &Session) -> Done {
        self.close();
        let mut counts = self.queue.counts()?;
        let next = self.queue.next_start().ok().flatten(); // what is not known is not told
        let mine = wishes.mine(&counts);
        counts.queues.retain(|name, _| wishes.serves(name));
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
