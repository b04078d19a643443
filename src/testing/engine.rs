//! Tests of work outside: an engine that a test controls, and a check of the contract of any
//! engine.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, SystemClock};
use crate::engine::{Collected, Engine, EngineError, JobEnd, JobId, JobStatus};

/// An engine that a test controls. All clones are one engine: the test keeps one, and the queue
/// gets another.
///
/// A job is pending until the test says otherwise. The engine never starts an id twice, and counts its calls ([`EngineCalls`]).
///
/// ```
/// use perdura::engine::{JobEnd, NamedEngine};
/// use perdura::testing::{ManualClock, ScriptedEngine, SteppedQueue};
/// use perdura::{Queue, State, Task};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Train { epochs: u32 }
/// impl Task for Train {
///     const NAME: &'static str = "train";
///     type Output = f64;
/// }
///
/// let engine = ScriptedEngine::new();
/// let cluster = NamedEngine::new("cluster", engine.clone());
/// let builder = Queue::builder().outside(&cluster, |task: Train, _| Ok(task.epochs.into()), |_, ended| ended.json());
/// let mut tests = SteppedQueue::open(builder, &ManualClock::new())?;
/// let id = tests.queue().enqueue(&Train { epochs: 3 })?.id();
/// tests.run_until_idle()?; // the job is intended
/// tests.poll_engines()?;   // and started
/// let job = engine.jobs().remove(0);
/// engine.finish(&job, JobEnd::Succeeded, "0.25");
/// tests.advance(std::time::Duration::from_secs(2))?;
/// tests.poll_engines()?;
/// assert_eq!(tests.queue().result::<Train>(id)?, Some(0.25));
/// # Ok::<(), perdura::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct ScriptedEngine(Arc<Mutex<EngineScript>>);

#[derive(Default)]
struct EngineScript {
    jobs: BTreeMap<JobId, ScriptedJob>,
    /// How often the job of each id began, including ids that were forgotten.
    starts: BTreeMap<JobId, u32>,
    next_starts: VecDeque<StartFault>,
    outage: Option<EngineError>,
    answers_short: bool,
    panics: bool,
    fails_to_collect: bool,
    ignores_cancel: bool,
    remembers: Option<Duration>,
    calls: EngineCalls,
}

struct ScriptedJob {
    spec: serde_json::Value,
    status: JobStatus,
    result: String,
    is_to_stop: bool,
}

/// A fault of a start.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartFault {
    /// The connection breaks before the engine gets the call.
    CutBefore,
    /// The job begins, and the connection breaks before the answer.
    CutAfter,
    /// The engine is busy.
    NotNow,
    /// The engine refuses the job.
    Refused(String),
}

/// How often an engine was called.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineCalls {
    /// Calls of `start`.
    pub starts: u64,
    /// Calls of `poll`.
    pub polls: u64,
    /// Calls of `cancel`.
    pub cancels: u64,
    /// Calls of `collect`.
    pub collects: u64,
    /// Calls of `forget`.
    pub forgets: u64,
}

impl ScriptedEngine {
    /// An engine that knows no job yet.
    pub fn new() -> ScriptedEngine {
        ScriptedEngine::default()
    }

    fn script(&self) -> MutexGuard<'_, EngineScript> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The jobs that the engine knows.
    pub fn jobs(&self) -> Vec<JobId> {
        self.script().jobs.keys().cloned().collect()
    }

    /// The spec of a job; null if the engine does not know the job.
    pub fn spec(&self, job: &JobId) -> serde_json::Value {
        self.script().jobs.get(job).map_or(serde_json::Value::Null, |job| job.spec.clone())
    }

    /// How often the job of each id began, including ids that the engine has forgotten.
    pub fn starts(&self) -> BTreeMap<JobId, u32> {
        self.script().starts.clone()
    }

    /// How often the engine was called.
    pub fn calls(&self) -> EngineCalls {
        self.script().calls
    }

    /// Sets the status of a job. A job that the engine does not know is ignored.
    pub fn set_status(&self, job: &JobId, status: JobStatus) {
        if let Some(job) = self.script().jobs.get_mut(job) {
            job.status = status;
        }
    }

    /// Ends a job with this end and result. A job that the engine does not know is ignored.
    pub fn finish(&self, job: &JobId, end: JobEnd, result: impl Into<String>) {
        if let Some(job) = self.script().jobs.get_mut(job) {
            job.status = JobStatus::Ended(end);
            job.result = result.into();
        }
    }

    /// Lets all jobs that have not ended succeed, each with this result.
    pub fn finish_all(&self, result: &str) {
        for job in self.script().jobs.values_mut().filter(|job| !matches!(job.status, JobStatus::Ended(_))) {
            job.status = JobStatus::Ended(JobEnd::Succeeded);
            job.result = result.to_owned();
        }
    }

    /// Whether a job was asked to stop.
    pub fn is_to_stop(&self, job: &JobId) -> bool {
        self.script().jobs.get(job).is_some_and(|job| job.is_to_stop)
    }

    /// Forgets all jobs, like a cluster whose head has restarted with empty memory.
    pub fn forget_all(&self) {
        self.script().jobs.clear();
    }

    /// Makes the next start fail in this way; each further call is for the start after that.
    pub fn fail_next_start(&self, fault: StartFault) {
        self.script().next_starts.push_back(fault);
    }

    /// Makes every call fail with this error; `None` ends that.
    pub fn set_outage(&self, outage: Option<EngineError>) {
        self.script().outage = outage;
    }

    /// Makes `poll` leave out the last answer.
    pub fn set_answers_short(&self, on: bool) {
        self.script().answers_short = on;
    }

    /// Makes `poll` panic.
    pub fn set_panics(&self, on: bool) {
        self.script().panics = on;
    }

    /// Makes `collect` fail.
    pub fn set_fails_to_collect(&self, on: bool) {
        self.script().fails_to_collect = on;
    }

    /// Makes `cancel` return Ok without ending the job.
    pub fn set_ignores_cancel(&self, on: bool) {
        self.script().ignores_cancel = on;
    }

    /// Sets the value of [`remembers`](Engine::remembers). Defaults to `Duration::MAX`. The engine
    /// itself forgets no job by age.
    pub fn set_remembers(&self, time: Duration) {
        self.script().remembers = Some(time);
    }
}

impl EngineScript {
    fn begin(&mut self, job: &JobId, spec: &serde_json::Value) {
        if self.jobs.contains_key(job) {
            return;
        }
        *self.starts.entry(job.clone()).or_default() += 1;
        let new = ScriptedJob {
            spec: spec.clone(),
            status: JobStatus::Pending,
            result: String::new(),
            is_to_stop: false,
        };
        self.jobs.insert(job.clone(), new);
    }

    fn check_up(&self) -> Result<(), EngineError> {
        self.outage.clone().map_or(Ok(()), Err)
    }
}

impl Engine for ScriptedEngine {
    type Spec = serde_json::Value;

    fn start(&mut self, job: &JobId, spec: &serde_json::Value) -> Result<(), EngineError> {
        let mut script = self.script();
        script.calls.starts += 1;
        script.check_up()?;
        match script.next_starts.pop_front() {
            Some(StartFault::CutBefore) => return Err(EngineError::unreachable("cut before it was heard")),
            Some(StartFault::CutAfter) => {
                script.begin(job, spec);
                return Err(EngineError::unreachable("cut before it was answered"));
            }
            Some(StartFault::NotNow) => return Err(EngineError::not_now("busy")),
            Some(StartFault::Refused(why)) => return Err(EngineError::refused(why)),
            None => script.begin(job, spec),
        }
        Ok(())
    }

    fn poll(&mut self, jobs: &[JobId]) -> Result<Vec<JobStatus>, EngineError> {
        let mut script = self.script();
        script.calls.polls += 1;
        script.check_up()?;
        assert!(!script.panics, "the engine panics, as it was told");
        let shown = jobs.len() - usize::from(script.answers_short && !jobs.is_empty());
        let status = |job| script.jobs.get(job).map_or(JobStatus::Absent, |job| job.status.clone());
        Ok(jobs[..shown].iter().map(status).collect())
    }

    fn cancel(&mut self, job: &JobId) -> Result<(), EngineError> {
        let mut script = self.script();
        script.calls.cancels += 1;
        script.check_up()?;
        let ignores = script.ignores_cancel;
        if let Some(job) = script.jobs.get_mut(job) {
            job.is_to_stop = true;
            if !ignores && !matches!(job.status, JobStatus::Ended(_)) {
                job.status = JobStatus::Ended(JobEnd::Cancelled);
            }
        }
        Ok(())
    }

    fn collect(&mut self, job: &JobId) -> Result<Collected, EngineError> {
        let mut script = self.script();
        script.calls.collects += 1;
        script.check_up()?;
        if script.fails_to_collect {
            return Err(EngineError::unreachable("what it gave cannot be had"));
        }
        let result = script.jobs.get(job).map(|job| job.result.clone()).unwrap_or_default();
        Ok(Collected::new().log(format!("log of {job}\n")).result(result))
    }

    fn forget(&mut self, job: &JobId) -> Result<(), EngineError> {
        let mut script = self.script();
        script.calls.forgets += 1;
        script.check_up()?;
        script.jobs.remove(job);
        Ok(())
    }

    fn remembers(&self) -> Duration {
        self.script().remembers.unwrap_or(Duration::MAX)
    }
}

/// Jobs with known outcomes, for [`check_engine`].
#[derive(Debug, Clone)]
pub struct EngineCases<S> {
    /// A job that succeeds.
    pub succeeds: S,
    /// A job whose own work fails.
    pub fails: S,
    /// A job that runs for longer than `patience`, unless it is stopped.
    pub runs: S,
    /// A job that the engine refuses for good; none if it takes every job.
    pub refused: Option<S>,
    /// How long a job may take to begin and to end.
    pub patience: Duration,
}

/// Checks the contract of an engine: that an id is started once, that a job is found as long as the
/// engine remembers it, that a cancelled job ends, and that ids are not confused.
///
/// ```
/// use perdura::testing::{EngineCases, ScriptedEngine, check_engine};
/// use std::time::Duration;
///
/// // A job of this engine stays pending until a test says otherwise, so it does not pass.
/// let cases = EngineCases {
///     succeeds: 1.into(), fails: 2.into(), runs: 3.into(), refused: None, patience: Duration::from_millis(50),
/// };
/// let wrong = check_engine(&mut ScriptedEngine::new(), &cases).unwrap_err();
/// assert!(wrong.contains("has not ended"), "{wrong}");
/// ```
///
/// # Errors
/// The first violation: what the engine did, and what it should have done.
pub fn check_engine<E: Engine>(engine: &mut E, cases: &EngineCases<E::Spec>) -> Result<(), String> {
    let run = RandomState::new().hash_one(0);
    let id = |n: u32| JobId::new(format!("{run:016x}-{n:x}"));
    let mut check = EngineCheck { engine, patience: cases.patience, clock: SystemClock::new() };
    check.is("a job that it never had", &id(0), &JobStatus::Absent)?;
    check.call("cancel of a job that it never had", |engine| engine.cancel(&id(0)))?;
    match check.engine.poll(&[]) {
        Ok(none) if none.is_empty() => {}
        other => return Err(format!("poll of no jobs should answer with none, and gives {other:?}")),
    }

    // An id is started once, also after its job has ended.
    let good = id(0x11);
    check.call("start", |engine| engine.start(&good, &cases.succeeds))?;
    check.call("start of a job that it has", |engine| engine.start(&good, &cases.succeeds))?;
    check.ends("a job that succeeds", &good, |end| *end == JobEnd::Succeeded)?;
    let _ = check.call("collect", |engine| engine.collect(&good))?;
    if check.engine.remembers() > cases.patience {
        check.call("start of a job that has ended", |engine| engine.start(&good, &cases.succeeds))?;
        check.is("a job that has ended and is started again", &good, &JobStatus::Ended(JobEnd::Succeeded))?;
    }

    // Ids that are prefixes of each other.
    check.is("a job whose id begins that of another", &id(0x1), &JobStatus::Absent)?;
    check.is("a job whose id begins with that of another", &id(0x111), &JobStatus::Absent)?;

    let bad = id(0x22);
    check.call("start", |engine| engine.start(&bad, &cases.fails))?;
    let has_type = |end: &JobEnd| matches!(end, JobEnd::Failed(failure) if !failure.error_type.is_empty());
    check.ends("a job that fails", &bad, has_type)?;

    let long = id(0x33);
    check.call("start", |engine| engine.start(&long, &cases.runs))?;
    match check.status(&long)? {
        JobStatus::Pending | JobStatus::Running => {}
        other => return Err(format!("a job that runs should be pending or running, and is {other:?}")),
    }
    let order = [long.clone(), good.clone(), id(0), bad.clone()];
    let answers = check.call("poll", |engine| engine.poll(&order))?;
    let is_in_order = matches!(
        answers.as_slice(),
        [JobStatus::Pending | JobStatus::Running, good, JobStatus::Absent, bad] if good != bad
    );
    if !is_in_order {
        return Err(format!("poll should answer for each job in its place, and gives {answers:?}"));
    }
    check.stops(&long)?;
    check.call("cancel of a job that has ended", |engine| engine.cancel(&long))?;

    if let Some(spec) = &cases.refused {
        let refused = check.engine.start(&id(0x44), spec);
        if !matches!(&refused, Err(e) if e.is_refusal()) {
            return Err(format!("a job that is wrong should be refused, and start gives {refused:?}"));
        }
    }
    check.forgets(&good)
}

struct EngineCheck<'e, E> {
    engine: &'e mut E,
    patience: Duration,
    clock: SystemClock,
}

impl<E: Engine> EngineCheck<'_, E> {
    fn call<R>(
        &mut self,
        what: &str,
        call: impl FnOnce(&mut E) -> Result<R, EngineError>,
    ) -> Result<R, String> {
        call(self.engine).map_err(|e| format!("{what} should be well, and fails: {e}"))
    }

    fn status(&mut self, job: &JobId) -> Result<JobStatus, String> {
        let answers = self.call("poll", |engine| engine.poll(std::slice::from_ref(job)))?;
        match <[JobStatus; 1]>::try_from(answers) {
            Ok([status]) => Ok(status),
            Err(answers) => Err(format!("poll of one job should give one answer, and gives {answers:?}")),
        }
    }

    fn is(&mut self, what: &str, job: &JobId, wanted: &JobStatus) -> Result<(), String> {
        let status = self.status(job)?;
        if status == *wanted {
            Ok(())
        } else {
            Err(format!("{what} should be {wanted:?}, and is {status:?}"))
        }
    }

    /// Cancels a job repeatedly until it has ended.
    fn stops(&mut self, job: &JobId) -> Result<(), String> {
        let is_right = |end: &JobEnd| matches!(end, JobEnd::Cancelled | JobEnd::Failed(_));
        let until = self.clock.monotonic() + self.patience;
        loop {
            self.call("cancel", |engine| engine.cancel(job))?;
            match self.status(job)? {
                JobStatus::Ended(end) if is_right(&end) => return Ok(()),
                JobStatus::Pending | JobStatus::Running if self.clock.monotonic() <= until => {
                    std::thread::sleep(Duration::from_millis(200));
                }
                other => {
                    return Err(format!("a job that was asked to stop should have ended, and is {other:?}"));
                }
            }
        }
    }

    /// Asks the engine to forget a job. For a while it may fail because it is too early.
    fn forgets(&mut self, job: &JobId) -> Result<(), String> {
        let until = self.clock.monotonic() + self.patience;
        loop {
            match self.engine.forget(job) {
                Ok(()) => return Ok(()),
                Err(e) if self.clock.monotonic() > until => {
                    return Err(format!("forget should be well after {:?}, and fails: {e}", self.patience));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(200)),
            }
        }
    }

    fn ends(&mut self, what: &str, job: &JobId, is_right: impl Fn(&JobEnd) -> bool) -> Result<(), String> {
        let until = self.clock.monotonic() + self.patience;
        loop {
            match self.status(job)? {
                JobStatus::Ended(end) if is_right(&end) => return Ok(()),
                JobStatus::Ended(end) => return Err(format!("{what} has ended as {end:?}")),
                JobStatus::Absent => {
                    return Err(format!("{what} was accepted, and the engine does not know it"));
                }
                _ if self.clock.monotonic() > until => {
                    return Err(format!("{what} has not ended after {:?}", self.patience));
                }
                _ => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}
