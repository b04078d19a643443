//! One attempt of a job: what becomes of its process, and what that means for its task.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::Sender;
use serde::{Deserialize, Serialize};
use signal_hook::low_level::signal_name;

use super::job_log::{JobLog, LogFolder};
use super::launch::SHORTAGE;
use super::pool::{CHECK_PERIOD, JobControl, NoShim, Pool, ProcessEnd};
use super::protocol::{Launch, LaunchError, LaunchSettings, ShimMessage};
use super::text::LastLine;
use super::worker_event::{EndedAttempt, WorkerEvent};
use super::worker_output::WorkerOutput;
use crate::console::inspect::job::Job;
use crate::{Clock, Context, Failure, OutputStream, SystemClock};

/// The first and the longest pause between attempts to start a job while none can be started.
const MIN_RETRY_PAUSE: Duration = Duration::from_millis(20);
const MAX_RETRY_PAUSE: Duration = Duration::from_secs(1);

/// How long before SIGKILL a job's processes outside its process group get SIGTERM.
const LAST_WARNING_TIME: Duration = Duration::from_secs(1);

/// An obstacle that keeps all jobs from starting for so long is reported as lasting.
const HINDRANCE_LASTS: Duration = Duration::from_secs(5);

/// Runs jobs on the worker threads.
pub(super) struct Runner {
    pool: Pool,
    slots: JobSlots,
    output: Arc<WorkerOutput>,
    db: PathBuf,
    news: Sender<WorkerEvent>,
    clock: SystemClock,
    told: ToldEnds,
    logs: Option<LogFolder>,
    running: AtomicUsize,
    succeeded: AtomicU64,
    kill_now: AtomicBool,
    /// The newest obstacle that kept jobs from starting.
    met: Mutex<StartObstacle>,
    /// Jobs that wait because none can be started.
    waiting: AtomicUsize,
    /// Jobs that cannot be started are not tried again.
    gives_up: AtomicBool,
}

/// Which ends of jobs are sent to the worker as events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ToldEnds {
    All,
    Failures,
}

/// What a job that succeeded leaves as its result.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct JobResult {
    pub exit_code: i32,
    pub ran_ms: u64,
}

impl Runner {
    pub(super) fn new(
        db: &Path,
        workers: usize,
        told: ToldEnds,
        has_engines: bool,
        logs: Option<LogFolder>,
        news: Sender<WorkerEvent>,
        output: Arc<WorkerOutput>,
    ) -> Runner {
        let to_say = output.clone();
        let pool = Pool::new(db.to_owned(), workers, has_engines, move |text| to_say.remark(text));
        Runner {
            pool,
            slots: JobSlots::new(workers),
            output,
            db: db.to_owned(),
            news,
            clock: SystemClock::new(),
            told,
            logs,
            running: AtomicUsize::new(0),
            succeeded: AtomicU64::new(0),
            kill_now: AtomicBool::new(false),
            met: Mutex::default(),
            waiting: AtomicUsize::new(0),
            gives_up: AtomicBool::new(false),
        }
    }

    /// What keeps all jobs from being started, if that has lasted and none runs.
    pub(super) fn hindrance(&self) -> Option<String> {
        let met = self.met();
        let lasts = self.clock.monotonic().saturating_sub(met.since?) >= HINDRANCE_LASTS;
        (lasts && self.running() == self.waiting.load(Ordering::Acquire)).then(|| met.why.clone())
    }

    fn met(&self) -> MutexGuard<'_, StartObstacle> {
        lock(&self.met)
    }

    /// From now on, jobs that cannot be started are not retried.
    pub(super) fn give_up(&self) {
        self.gives_up.store(true, Ordering::Release);
    }

    /// Jobs that run.
    pub(super) fn running(&self) -> usize {
        self.running.load(Ordering::Acquire)
    }

    /// Jobs that have succeeded without an event.
    pub(super) fn succeeded_quietly(&self) -> u64 {
        self.succeeded.load(Ordering::Acquire)
    }

    /// From now on, jobs that must end are killed at once.
    pub(super) fn kill_now(&self) {
        self.kill_now.store(true, Ordering::Release);
    }

    /// Lets the shims end, if no job runs.
    pub(super) fn rest(&self) {
        if self.running() == 0 {
            self.pool.close();
        }
    }

    /// Reaps what this process has adopted.
    pub(super) fn reap(&self) {
        self.pool.reap();
    }

    /// The handler of jobs.
    pub(super) fn handle(&self, job: &Job, cx: &Context) -> Result<JobResult, Failure> {
        let running = CountGuard::new(&self.running);
        let mut began = self.clock.monotonic();
        let done = self.attempt(job, cx, &mut began);
        if self.told == ToldEnds::Failures && done.is_ok() && !self.gives_up.load(Ordering::Acquire) {
            self.succeeded.fetch_add(1, Ordering::AcqRel); // an event after each job would wake a thread for nothing
            return done;
        }
        let ended = EndedAttempt {
            id: cx.id(),
            generation: cx.generation(),
            attempt: cx.attempt_number(),
            succeeded: done.is_ok(),
            took: self.clock.monotonic().saturating_sub(began),
            line: job.line(),
        };
        drop(running); // before the event, so that whoever hears it counts right
        let _ = self.news.send(WorkerEvent::Ended(ended)); // nobody counts it once the verb has ended
        done
    }

    /// Runs an attempt. While no job can be started, it waits here, which costs no attempt.
    fn attempt(&self, job: &Job, cx: &Context, began: &mut Duration) -> Result<JobResult, Failure> {
        let _place = self.await_slot(cx)?;
        let (mut pause, mut hindered) = (MIN_RETRY_PAUSE, None);
        loop {
            match self.try_attempt(job, cx, began) {
                StartResult::Done(done) => return done,
                StartResult::Unwanted(why) => return Err(why),
                StartResult::Hindered(why) => {
                    hindered.get_or_insert_with(|| Hindered::new(&self.met));
                    self.await_room(why, pause, cx)?;
                }
            }
            pause = (pause * 2).min(MAX_RETRY_PAUSE);
        }
    }

    /// Waits until fewer jobs run than there are workers, and not too many lines of output are unread.
    fn await_slot(&self, cx: &Context) -> Result<SlotGuard<'_>, Failure> {
        let _waiting = CountGuard::new(&self.waiting);
        loop {
            self.check_wait(cx)?;
            if self.output.is_full() {
                std::thread::sleep(CHECK_PERIOD / 4);
            } else if let Some(place) = self.slots.take(CHECK_PERIOD / 4) {
                return Ok(place);
            }
        }
    }

    fn await_room(&self, why: String, pause: Duration, cx: &Context) -> Result<(), Failure> {
        let _waiting = CountGuard::new(&self.waiting);
        self.meet(why);
        let until = self.clock.monotonic().saturating_add(pause);
        while self.clock.monotonic() < until {
            self.check_wait(cx)?;
            std::thread::sleep(CHECK_PERIOD.min(pause) / 4);
        }
        Ok(())
    }

    /// Whether a job that waits for its start may go on waiting.
    fn check_wait(&self, cx: &Context) -> Result<(), Failure> {
        if self.gives_up.load(Ordering::Acquire) {
            return Err(Failure::snooze(Duration::ZERO)); // the next worker finds it due
        }
        cx.restart_deadline(); // the job has not begun, so its time does not run yet
        cx.ensure_active()
    }

    /// Reports that no job can be started, once: while other jobs run, this may come and go.
    fn meet(&self, why: String) {
        let mut met = self.met();
        if met.why != why {
            let text = format!("a job cannot be started, which costs it no attempt; trying again: {why}");
            self.output.remark(text);
            met.why = why;
        }
        met.since.get_or_insert_with(|| self.clock.monotonic());
    }

    fn try_attempt(&self, job: &Job, cx: &Context, began: &mut Duration) -> StartResult {
        let mut shim = match self.pool.take(&|| self.check_wait(cx)) {
            Ok(shim) => shim,
            Err(NoShim::Unwanted(why)) => return StartResult::Unwanted(why),
            Err(NoShim::Hindered(why)) => return StartResult::Hindered(why),
        };
        cx.restart_deadline();
        *began = self.clock.monotonic();
        let log = self.logs.as_ref().map(|logs| logs.log(cx.id(), cx.generation()));
        let mut collector = OutputCollector { cx, log, last: LastLine::default() };
        let mut stop: Option<StopRequest> = None;
        let mut control = || {
            let now = self.clock.monotonic();
            if stop.is_none() {
                stop = cx.ensure_active().err().map(|why| StopRequest::new(why, now, job.kill_after()));
            }
            match &stop {
                None => JobControl::GoOn(cx.time_left().map_or(CHECK_PERIOD, |left| left.min(CHECK_PERIOD))),
                Some(_) if self.kill_now.load(Ordering::Acquire) => JobControl::EndNow,
                Some(stop) => stop.control(now),
            }
        };
        let end = shim.run(self.launch(job, cx), &mut |report| collector.hear(report), &mut control);
        let is_gone =
            if end == ProcessEnd::ShimLost { self.pool.lose(shim) } else { self.pool.give_back(shim) };
        if !is_gone {
            self.output.remark(format_args!(
                "job {} could not be ended whole; some of its processes may still run",
                cx.id()
            ));
        }
        let last = collector.last_line();
        let took = self.clock.monotonic().saturating_sub(*began);
        match (end, stop) {
            (ProcessEnd::Refused(LaunchError { error_type, message, .. }), None)
                if error_type == SHORTAGE =>
            {
                StartResult::Hindered(message)
            }
            (end, stop) => {
                self.met().since = None;
                let stop = stop.filter(|_| !has_succeeded(&end, job));
                let done = stop.map_or_else(|| judge(end, job, took, last.as_deref()), |stop| Err(stop.why));
                StartResult::Done(done)
            }
        }
    }

    fn launch(&self, job: &Job, cx: &Context) -> Launch {
        use std::os::unix::ffi::OsStrExt;
        let own = job.env.iter().map(|(key, value)| (key.bytes().to_vec(), value.bytes().to_vec()));
        let number = |key: &str, value: String| (key.as_bytes().to_vec(), value.into_bytes());
        let ours = [
            number("PERDURA_TASK_ID", cx.id().to_string()),
            number("PERDURA_ATTEMPT", cx.attempt_number().to_string()),
            number("PERDURA_GENERATION", cx.generation().to_string()),
            (b"PERDURA_JOB_DB".to_vec(), self.db.as_os_str().as_bytes().to_vec()),
        ];
        let defaults = [
            (b"PERDURA_DB".to_vec(), self.db.as_os_str().as_bytes().to_vec()),
            (b"PWD".to_vec(), job.dir.bytes().to_vec()),
        ];
        Launch {
            number: 0, // its `ShimHandle` counts
            surroundings: LaunchSettings {
                own_env: job.own_env,
                umask: job.umask,
                nice: job.nice.unwrap_or(0),
                stdin: job.stdin.as_ref().map(|path| path.bytes().to_vec()),
            },
            argv: job.command().into_iter().map(<[u8]>::to_vec).collect(),
            dir: job.dir.bytes().to_vec(),
            env: defaults.into_iter().chain(own).chain(ours).collect(), // the last one holds
        }
    }
}

/// A job that is to end.
struct StopRequest {
    why: Failure,
    /// When its processes outside its group get SIGTERM, too, and when it is killed, on the monotonic clock.
    all_at: Duration,
    kill_at: Duration,
}

impl StopRequest {
    fn new(why: Failure, now: Duration, kill_after: Duration) -> StopRequest {
        let kill_at = now.saturating_add(kill_after);
        StopRequest { why, all_at: kill_at.saturating_sub(LAST_WARNING_TIME.min(kill_after / 4)), kill_at }
    }

    fn control(&self, now: Duration) -> JobControl {
        if now >= self.kill_at {
            JobControl::EndNow
        } else if now >= self.all_at {
            JobControl::EndAll(CHECK_PERIOD.min(self.kill_at - now))
        } else {
            JobControl::End(CHECK_PERIOD.min(self.all_at - now))
        }
    }
}

/// The result of trying to run a job.
enum StartResult {
    Done(Result<JobResult, Failure>),
    /// It is not to run any more, and was not started.
    Unwanted(Failure),
    /// It could not be started, and neither could any other.
    Hindered(String),
}

/// An obstacle that keeps jobs from starting.
#[derive(Default)]
struct StartObstacle {
    why: String,
    /// Since when, on the monotonic clock; none if a job was started since, or no job is hindered any more.
    since: Option<Duration>,
    /// How many jobs it keeps from being started.
    jobs: usize,
}

fn lock(met: &Mutex<StartObstacle>) -> MutexGuard<'_, StartObstacle> {
    met.lock().unwrap_or_else(PoisonError::into_inner) // a panic leaves nothing half done
}

/// Counts a job as kept from starting while this lives.
struct Hindered<'m>(&'m Mutex<StartObstacle>);

impl<'m> Hindered<'m> {
    fn new(met: &'m Mutex<StartObstacle>) -> Hindered<'m> {
        lock(met).jobs += 1;
        Hindered(met)
    }
}

impl Drop for Hindered<'_> {
    fn drop(&mut self) {
        let mut met = lock(self.0);
        met.jobs -= 1;
        if met.jobs == 0 {
            met.since = None; // the obstacle may have gone meanwhile
        }
    }
}

/// Whether a job has succeeded, even if it was told to end meanwhile.
fn has_succeeded(end: &ProcessEnd, job: &Job) -> bool {
    matches!(end, ProcessEnd::Exited { code: 0, was_asked } if !was_asked || job.late_success)
}

/// What the end of a process means for its task.
fn judge(end: ProcessEnd, job: &Job, took: Duration, last: Option<&str>) -> Result<JobResult, Failure> {
    let suffix = last.map_or_else(String::new, |line| format!(": {line}"));
    match end {
        ProcessEnd::Exited { code: 0, .. } => {
            let ran_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            Ok(JobResult { exit_code: 0, ran_ms })
        }
        ProcessEnd::Exited { code, .. } => {
            let message = format!("exit code {code}{suffix}");
            let failure = Failure::named(format!("ExitCode.{code}"), message);
            Err(if job.deny_exit.contains(code) { failure.never_retry() } else { failure })
        }
        ProcessEnd::Signaled(signal) => {
            let name = signal_name(signal).map_or_else(|| signal.to_string(), str::to_owned);
            let message = format!("ended by {name}{suffix}");
            Err(Failure::named(format!("Signal.{name}"), message))
        }
        ProcessEnd::Refused(LaunchError { error_type, message, may_pass }) => {
            let failure = Failure::named(error_type, message);
            Err(if may_pass { failure } else { failure.never_retry() })
        }
        ProcessEnd::ShimLost => {
            let message = "the process that looked after the job was killed or did not answer, so the job was killed, too";
            Err(Failure::named("ShimLost", format!("{message}{suffix}")))
        }
    }
}

/// Collects a job's output and writes it to the file.
struct OutputCollector<'c> {
    cx: &'c Context,
    log: Option<JobLog<'c>>,
    last: LastLine,
}

impl OutputCollector<'_> {
    fn hear(&mut self, report: &ShimMessage<'_>) {
        let (stream, bytes) = match report {
            ShimMessage::Output(bytes) => (OutputStream::Stdout, bytes),
            ShimMessage::Complaint(bytes) => (OutputStream::Stderr, bytes),
            _ => return,
        };
        if stream == OutputStream::Stderr {
            self.last.push(bytes);
        }
        self.cx.write_output(stream, bytes);
        if let Some(log) = &mut self.log {
            log.write(stream, bytes);
        }
    }

    /// The last line of its standard error.
    fn last_line(&self) -> Option<String> {
        self.last.get()
    }
}

/// Slots of running jobs, as many as there are workers. (The library starts another worker in the place of one whose task ignores its deadline,
/// so more handlers may run at once.)
struct JobSlots {
    free: Mutex<usize>,
    freed: Condvar,
}

/// One slot, taken while this lives.
struct SlotGuard<'p>(&'p JobSlots);

impl JobSlots {
    fn new(all: usize) -> JobSlots {
        JobSlots { free: Mutex::new(all), freed: Condvar::new() }
    }

    /// Takes a slot; none if none is free within `patience`.
    fn take(&self, patience: Duration) -> Option<SlotGuard<'_>> {
        let waited = self.freed.wait_timeout_while(self.free(), patience, |free| *free == 0);
        let (mut free, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *free = free.checked_sub(1)?;
        Some(SlotGuard(self))
    }

    fn free(&self) -> MutexGuard<'_, usize> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner) // a number is never half written
    }
}

impl Drop for SlotGuard<'_> {
    fn drop(&mut self) {
        *self.0.free() += 1;
        self.0.freed.notify_one();
    }
}

/// Counts one more while this lives.
struct CountGuard<'n>(&'n AtomicUsize);

impl<'n> CountGuard<'n> {
    fn new(number: &'n AtomicUsize) -> CountGuard<'n> {
        number.fetch_add(1, Ordering::AcqRel);
        CountGuard(number)
    }
}

impl Drop for CountGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
