//! Jobs that an engine outside runs: their specs for the engine, and the results of their tasks.

use std::time::Duration;

use crossbeam_channel::Sender;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::descendants::keep_children;
use super::engines::{EngineEntry, EngineKind};
use super::given::with;
use super::option_names::OptionStyle;
use super::worker_event::{OutsideAttempt, WorkerEvent};
use crate::console::inspect::job::{Job, JobProblem, TASK_NAME};
use crate::console::inspect::task::exit_code;
use crate::console::os_word::Word;
use crate::console::{CliError, Exit};
use crate::engine::{Collected, Ended, Engine, EngineError, JobId, JobStatus, NamedEngine};
use crate::exec::ExecEngine;
use crate::{Builder, Clock, Context, Failure, SystemClock, Task};

/// The error for an engine that this build lacks.
const WITHOUT_RAY: &str =
    "this perdura was built without Ray; build it with: cargo install --path . --features cli,tui,report,ray";

/// Reads what a job has written from a byte on.
pub(super) type LogOf = Box<dyn FnMut(&str, u64) -> Result<Vec<u8>, EngineError>>;

/// An engine that is a program: while it is called, its processes are no orphans of this worker.
struct ProgramEngine(ExecEngine);

impl Engine for ProgramEngine {
    type Spec = Value;

    fn start(&mut self, job: &JobId, spec: &Value) -> Result<(), EngineError> {
        let _own = keep_children();
        self.0.start(job, spec)
    }

    fn poll(&mut self, jobs: &[JobId]) -> Result<Vec<JobStatus>, EngineError> {
        let _own = keep_children();
        self.0.poll(jobs)
    }

    fn cancel(&mut self, job: &JobId) -> Result<(), EngineError> {
        let _own = keep_children();
        self.0.cancel(job)
    }

    fn collect(&mut self, job: &JobId) -> Result<Collected, EngineError> {
        let _own = keep_children();
        self.0.collect(job)
    }

    fn forget(&mut self, job: &JobId) -> Result<(), EngineError> {
        let _own = keep_children();
        self.0.forget(job)
    }

    fn remembers(&self) -> Duration {
        Engine::remembers(&self.0)
    }
}

/// A job as a task whose work its engine does.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct OutsideJob(Job);

impl Task for OutsideJob {
    /// Not used: such a task has the name that its engine gives it ([`EngineEntry::task_name`]).
    const NAME: &'static str = TASK_NAME;
    type Output = Option<Box<RawValue>>;
}

/// Checks, when a job is added, that a spec for its engine can be made.
///
/// # Errors
/// What is wrong, and what to do.
pub(super) fn check(engine: &EngineEntry, job: &Job) -> Result<(), JobProblem> {
    match &engine.kind {
        EngineKind::Exec { .. } => program_spec(job).map(drop),
        EngineKind::Ray { .. } => ray_spec(job).map(drop),
    }
}

impl EngineEntry {
    /// Lets a worker run the jobs of this engine; `news` gets an event when one begins.
    ///
    /// # Errors
    /// This build has no engines of this kind, or the entry is wrong.
    pub(super) fn attach(&self, builder: Builder, news: Sender<WorkerEvent>) -> Result<Builder, CliError> {
        match &self.kind {
            EngineKind::Exec { .. } => {
                Ok(self.attach_as(builder, ProgramEngine(self.program()?), program_spec, news))
            }
            EngineKind::Ray { .. } => self.attach_ray(builder, news),
        }
    }

    /// The engine that is a program.
    fn program(&self) -> Result<ExecEngine, CliError> {
        let EngineKind::Exec { program, args, remembers, max_output } = &self.kind else {
            return Err(self.absent());
        };
        let engine = args.iter().fold(ExecEngine::new(program), ExecEngine::arg);
        let engine = with(engine, *max_output, ExecEngine::max_output);
        let engine = with(engine, *remembers, ExecEngine::remembers);
        Ok(with(engine, self.timeout, ExecEngine::timeout))
    }

    #[cfg(feature = "ray")]
    fn attach_ray(&self, builder: Builder, news: Sender<WorkerEvent>) -> Result<Builder, CliError> {
        Ok(self.attach_as(builder, self.ray()?, ray_spec, news))
    }

    #[cfg(not(feature = "ray"))]
    fn attach_ray(&self, _: Builder, _: Sender<WorkerEvent>) -> Result<Builder, CliError> {
        Err(self.absent())
    }

    /// The Ray cluster.
    #[cfg(feature = "ray")]
    fn ray(&self) -> Result<crate::ray::RayEngine, CliError> {
        use super::engines::TokenPlace;
        use crate::ray::RayEngine;
        let EngineKind::Ray { address, token, max_package } = &self.kind else { return Err(self.absent()) };
        let engine = address.as_deref().map_or_else(RayEngine::from_env, RayEngine::new);
        let engine = engine.map_err(|e| CliError::usage(format!("engine {:?}: {e}", self.name)))?;
        let engine = with(engine, token.as_ref(), |engine, token| match token {
            TokenPlace::Variable(name) => engine.token_from_env(name),
            TokenPlace::File(path) => engine.token_from_file(path),
        });
        let engine = with(engine, *max_package, RayEngine::max_package);
        Ok(with(engine, self.timeout, RayEngine::timeout))
    }

    /// What reads the output of a job while it runs.
    ///
    /// # Errors
    /// As [`attach`](EngineEntry::attach).
    pub(super) fn log(&self) -> Result<LogOf, CliError> {
        fn log_of(mut engine: impl Engine) -> LogOf {
            Box::new(move |job, from| engine.log(&JobId::new(job), from))
        }
        match &self.kind {
            EngineKind::Exec { .. } => self.program().map(log_of),
            #[cfg(feature = "ray")]
            EngineKind::Ray { .. } => self.ray().map(log_of),
            #[cfg(not(feature = "ray"))]
            EngineKind::Ray { .. } => Err(self.absent()),
        }
    }

    /// Why this build cannot have the engine; none if it can.
    pub(super) fn absence(&self) -> Option<String> {
        let is_absent = cfg!(not(feature = "ray")) && matches!(self.kind, EngineKind::Ray { .. });
        is_absent.then(|| format!("engine {:?} is left out: {WITHOUT_RAY}", self.name))
    }

    fn absent(&self) -> CliError {
        CliError::new(Exit::Usage, format!("engine {:?}: {WITHOUT_RAY}", self.name))
    }

    fn attach_as<E: Engine>(
        &self,
        builder: Builder,
        engine: E,
        spec: fn(&Job) -> Result<E::Spec, JobProblem>,
        news: Sender<WorkerEvent>,
    ) -> Builder {
        let named = self.settings(NamedEngine::new(&self.name, engine));
        let clock = SystemClock::new();
        let spec = move |OutsideJob(job): OutsideJob, cx: &Context| {
            let _ = news.send(WorkerEvent::WentOutside(OutsideAttempt {
                id: cx.id(),
                generation: cx.generation(),
                attempt: cx.attempt_number(),
                began: clock.now(),
                line: job.line(),
            })); // nobody counts it once the verb has ended
            spec(&job).map_err(|problem| {
                let why = OptionStyle::Json.problem(problem).message;
                Failure::named("JobRefused", why).never_retry()
            })
        };
        // There are few engines, and they last as long as the process.
        let task_name: &'static str = Box::leak(self.task_name().into_boxed_str());
        builder.outside_as(task_name, &[], &named, spec, |OutsideJob(job), ended| finish(&job, ended))
    }

    fn settings<E: Engine>(&self, named: NamedEngine<E>) -> NamedEngine<E> {
        let named = named.queues(&self.queues);
        let named = with(named, self.limit, NamedEngine::limit);
        let named = with(named, self.poll_interval, NamedEngine::poll_interval);
        let named = with(named, self.start_timeout, NamedEngine::start_timeout);
        let named = with(named, self.lost_retry, NamedEngine::lost_retry);
        with(named, self.forget, NamedEngine::forget)
    }
}

/// The result of a job: what its engine has collected, if that is JSON. A denied exit code is a failure that is not tried again.
fn finish(job: &Job, ended: &Ended) -> Result<Option<Box<RawValue>>, Failure> {
    match ended.failure() {
        Some(failure) if exit_code(&failure.error_type).is_some_and(|code| job.deny_exit.contains(code)) => {
            Err(failure.clone().never_retry().into())
        }
        Some(failure) => Err(failure.clone().into()),
        None => Ok(ended.text().ok().and_then(|text| RawValue::from_string(text).ok())),
    }
}

/// The spec for an engine that is a program: the words of the command, and the keys of the job's own spec.
fn program_spec(job: &Job) -> Result<Value, JobProblem> {
    let mut spec = job.spec.clone();
    let argv: Vec<Value> = job.command().into_iter().map(text).collect::<Result<_, _>>()?;
    let mut own = vec![("argv", Value::Array(argv))];
    if !job.env.is_empty() {
        own.push(("env", Value::Object(variables(job)?)));
    }
    if let Some(folder) = &job.working_dir {
        own.push(("working_dir", text(folder.bytes())?));
    }
    for (key, value) in own {
        if spec.insert(key.to_owned(), value).is_some() {
            return Err(wrong_spec(format!("{key} is told by the command line; take it out of the spec")));
        }
    }
    Ok(Value::Object(spec))
}

/// The spec for Ray: a line for a shell, and the keys of Ray's API in the job's own spec.
#[cfg(feature = "ray")]
fn ray_spec(job: &Job) -> Result<crate::ray::RayJob, JobProblem> {
    let line = if job.shell {
        job.argv.iter().map(|word| utf8(word.bytes())).collect::<Result<Vec<_>, _>>()?.join(" ")
    } else {
        shell_words::join(job.command().into_iter().map(utf8).collect::<Result<Vec<_>, _>>()?)
    };
    let mut spec = job.spec.clone();
    let env = spec.get("runtime_env").and_then(Value::as_object);
    let told = |key: &str, is_given: bool| is_given && env.is_some_and(|env| env.contains_key(key));
    for (key, is_there) in [
        ("entrypoint", spec.contains_key("entrypoint")),
        ("working_dir", spec.contains_key("working_dir") || told("working_dir", job.working_dir.is_some())),
        ("env_vars", told("env_vars", !job.env.is_empty())),
    ] {
        if is_there {
            return Err(wrong_spec(format!("{key} is told by the command line; take it out of the spec")));
        }
    }
    check_ray_keys(&spec)?;
    spec.insert("entrypoint".to_owned(), Value::String(line));
    if let Some(folder) = &job.working_dir {
        spec.insert("working_dir".to_owned(), text(folder.bytes())?);
    }
    let ray: crate::ray::RayJob =
        serde_json::from_value(Value::Object(spec)).map_err(|_| wrong_spec("it is none of Ray's"))?;
    Ok(variables(job)?
        .into_iter()
        .fold(ray, |ray, (name, value)| ray.env(name, value.as_str().unwrap_or_default())))
}

/// What Ray's API takes beside the command line.
#[cfg(feature = "ray")]
const RAY_KEYS: [&str; 6] = [
    "runtime_env",
    "metadata",
    "entrypoint_num_cpus",
    "entrypoint_num_gpus",
    "entrypoint_memory",
    "entrypoint_resources",
];

/// Checks the keys of a job's own spec for Ray.
///
/// # Errors
/// An unknown key, or a key with a value of a wrong shape. The message does not contain the value.
#[cfg(feature = "ray")]
fn check_ray_keys(spec: &Map<String, Value>) -> Result<(), JobProblem> {
    for (key, value) in spec {
        if !RAY_KEYS.contains(&key.as_str()) {
            return Err(wrong_spec(format!("there is no key {key:?}; there are {}", RAY_KEYS.join(", "))));
        }
        let alone = serde_json::json!({ "entrypoint": "", key.as_str(): value });
        if serde_json::from_value::<crate::ray::RayJob>(alone).is_err() {
            return Err(wrong_spec(format!(
                "{key}: Ray takes a value of another shape; see docs/outside.md"
            )));
        }
    }
    Ok(())
}

#[cfg(not(feature = "ray"))]
fn ray_spec(_: &Job) -> Result<Value, JobProblem> {
    Err(JobProblem::new(&["on"], WITHOUT_RAY))
}

fn wrong_spec(problem: impl Into<String>) -> JobProblem {
    JobProblem::new(&["spec"], problem)
}

fn variables(job: &Job) -> Result<Map<String, Value>, JobProblem> {
    let variable = |(name, value): &(Word, Word)| Ok((utf8(name.bytes())?.to_owned(), text(value.bytes())?));
    job.env.iter().map(variable).collect()
}

fn text(word: &[u8]) -> Result<Value, JobProblem> {
    utf8(word).map(|word| Value::String(word.to_owned()))
}

fn utf8(word: &[u8]) -> Result<&str, JobProblem> {
    let problem = "a word is not UTF-8, and an engine takes only that";
    std::str::from_utf8(word).map_err(|_| JobProblem::new(&["argv", "env", "working_dir"], problem))
}
