//! Schedules, as programs see them.

use std::collections::HashSet;

use super::handle::Queue;
use super::runtime::engine_queues::Lanes;
use crate::config::Config;
use crate::error::{Error, ErrorKind};
use crate::json::{measured, to_json};
use crate::schedule::{Schedule, ScheduleRecord};
use crate::store::{self, Declared, Rank, Tx, digest};
use crate::task::{Options, Task, TaskId, Timestamp};

/// A schedule and the task that it makes, before the file is open.
struct Planned {
    schedule: Schedule,
    task_name: String,
    version: u32,
    of_kind: Options,
    /// As JSON.
    args: Result<String, Error>,
}

impl Planned {
    fn new<T: Task>(schedule: Schedule, task_name: &str, task: &T) -> Planned {
        Planned {
            schedule,
            task_name: task_name.to_owned(),
            version: T::VERSION,
            of_kind: task.options(),
            args: to_json("args", task, usize::MAX),
        }
    }

    fn name(&self) -> &str {
        &self.schedule.name
    }

    /// The same with its tasks in the queue of their engine, if they run on one.
    ///
    /// # Errors
    /// `InvalidInput`: they stand in a queue where they may not.
    fn placed(
        mut self,
        place: impl Fn(&str, Options, &Options) -> Result<Options, Error>,
    ) -> Result<Planned, Error> {
        let placed = place(&self.task_name, self.schedule.options.clone(), &self.of_kind);
        self.schedule.options =
            placed.map_err(|e| e.context(&format!("schedule {:?}", self.schedule.name)))?;
        Ok(self)
    }

    /// The form in which the file keeps it.
    ///
    /// # Errors
    /// `InvalidInput`, naming the field, its value and its range; `Serialization` or `TooLarge` for its args.
    fn declare(&self, config: &Config, file_id: &[u8; 16], now: Timestamp) -> Result<Declared, Error> {
        let digest = |key: &str| digest(file_id, key);
        let task = (self.task_name.as_str(), self.version);
        let definition = self.schedule.define(task, self.of_kind.clone(), config, digest, now)?;
        let args = self
            .args
            .as_ref()
            .map_err(Error::repeat)
            .and_then(|args| measured("args", args.clone(), config.max_args_bytes));
        let args = args.map_err(|e| e.context(&format!("schedule {:?}", self.name())))?;
        Ok(Declared { name: self.name().to_owned(), definition: definition.text()?, args })
    }
}

/// The schedules that a program declares.
#[derive(Default)]
pub(super) struct Plans(Vec<Planned>);

impl Plans {
    pub(super) fn add<T: Task>(&mut self, schedule: Schedule, task: &T) {
        self.0.push(Planned::new(schedule, T::NAME, task));
    }

    /// Puts their tasks into the queues of their engines.
    ///
    /// # Errors
    /// As [`Planned::placed`].
    pub(super) fn place(&mut self, lanes: &Lanes) -> Result<(), Error> {
        let plans = std::mem::take(&mut self.0).into_iter();
        let place = |name: &str, options, own: &Options| lanes.place(name, options, own);
        self.0 = plans.map(|plan| plan.placed(place)).collect::<Result<_, _>>()?;
        Ok(())
    }

    /// Checks what can be checked before the file is open.
    ///
    /// # Errors
    /// As [`Planned::declare`]; `InvalidConfig` for a name that is declared twice, and for a queue without handlers.
    pub(super) fn check(&self, config: &Config, has_handlers: bool, now: Timestamp) -> Result<(), Error> {
        let refused = |message: String| Err(Error::new(ErrorKind::InvalidConfig, message));
        if !has_handlers && !self.0.is_empty() {
            let message = "only a queue with handlers executes, and only one that executes declares schedules; add handlers, or use set_schedule";
            return refused(message.to_owned());
        }
        let mut names = HashSet::new();
        for plan in &self.0 {
            let name = plan.name();
            let _ = plan.declare(config, &[0; 16], now)?;
            if !names.insert(name) {
                return refused(format!(
                    "the schedule {name:?} is declared twice; give one of them another name"
                ));
            }
        }
        Ok(())
    }

    /// The form in which the file keeps them.
    ///
    /// # Errors
    /// As [`Planned::declare`].
    pub(super) fn declare(
        &self,
        config: &Config,
        file_id: &[u8; 16],
        now: Timestamp,
    ) -> Result<Vec<Declared>, Error> {
        self.0.iter().map(|plan| plan.declare(config, file_id, now)).collect()
    }
}

impl Queue {
    /// Makes a schedule, or replaces the one of its name. It is durable when this returns; its tasks are made by the process that executes.
    ///
    /// One that is the same already keeps its ticks, and one that is paused stays so. A changed one begins anew.
    ///
    /// ```
    /// # use perdura::{Queue, Schedule};
    /// # use std::time::Duration;
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Sync { account: u32 }
    /// # impl perdura::Task for Sync { const NAME: &'static str = "sync"; type Output = (); }
    /// # let queue = Queue::builder().open_temporary()?;
    /// queue.set_schedule(Schedule::every("sync account 7", Duration::from_secs(900)), &Sync { account: 7 })?;
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput), naming the field, its value and its range, for a pattern that never comes too;
    /// [`TooLarge`](crate::ErrorKind::TooLarge) or [`Serialization`](crate::ErrorKind::Serialization) for args that cannot be stored; those of the
    /// disk. Nothing has changed then.
    pub fn set_schedule<T: Task>(&self, schedule: Schedule, task: &T) -> Result<(), Error> {
        self.set_schedule_as(schedule, T::NAME, task)
    }

    /// The same for tasks whose name is known only when the program runs.
    pub(crate) fn set_schedule_as<T: Task>(
        &self,
        schedule: Schedule,
        task_name: &str,
        task: &T,
    ) -> Result<(), Error> {
        let core = &self.runtime.core;
        let now = core.now();
        let planned = Planned::new(schedule, task_name, task)
            .placed(|name, options, own| core.place(name, options, own))?;
        let declared = planned.declare(&core.config, self.store().file_id(), now)?;
        self.change(move |tx| store::set_schedule(tx, &declared, false, now))
    }

    /// Removes a schedule. The tasks that it has made stay, and those that run go on.
    ///
    /// One that the program [declares](crate::Builder::schedule) comes back when a program that declares it begins to execute.
    ///
    /// ```
    /// # use perdura::{Queue, Schedule};
    /// # use std::time::Duration;
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Sync;
    /// # impl perdura::Task for Sync { const NAME: &'static str = "sync"; type Output = (); }
    /// # let queue = Queue::builder().open_temporary()?;
    /// # queue.set_schedule(Schedule::every("sync", Duration::from_secs(900)), &Sync)?;
    /// queue.remove_schedule("sync")?;
    /// assert!(queue.schedules()?.is_empty());
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound).
    pub fn remove_schedule(&self, name: &str) -> Result<(), Error> {
        let name = name.to_owned();
        self.change(move |tx| store::remove_schedule(tx, &name))
    }

    /// All schedules of the file, sorted by name. [`Schedule`] has an example.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn schedules(&self) -> Result<Vec<ScheduleRecord>, Error> {
        self.store().read(store::schedules)
    }

    /// The schedules that matter next, up to `limit`: broken ones first, up to half of them; then those that fire by themselves, the soonest
    /// first; then the others, sorted by name. However many schedules the file has, it reads few more than these.
    ///
    /// ```
    /// # use perdura::{Queue, Schedule};
    /// # use std::time::Duration;
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Sync { account: u32 }
    /// # impl perdura::Task for Sync { const NAME: &'static str = "sync"; type Output = (); }
    /// # let queue = Queue::builder().open_temporary()?;
    /// for account in 1..=100 {
    ///     let each = Duration::from_secs(60 * u64::from(account));
    ///     queue.set_schedule(Schedule::every(format!("sync {account}"), each), &Sync { account })?;
    /// }
    /// let next = queue.next_schedules(3)?;
    /// assert_eq!(next.iter().map(|next| &*next.schedule).collect::<Vec<_>>(), ["sync 1", "sync 2", "sync 3"]);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn next_schedules(&self, limit: usize) -> Result<Vec<ScheduleRecord>, Error> {
        self.store().read(|conn| store::next_schedules(conn, limit))
    }

    /// One schedule. [`ScheduleRecord`] has an example.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound).
    pub fn schedule(&self, name: &str) -> Result<ScheduleRecord, Error> {
        self.store().read(|conn| store::schedule(conn, name))
    }

    /// The args of a schedule's tasks, as the JSON that is stored.
    ///
    /// ```
    /// # use perdura::{Queue, Schedule};
    /// # use std::time::Duration;
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Sync { account: u32 }
    /// # impl perdura::Task for Sync { const NAME: &'static str = "sync"; type Output = (); }
    /// # let queue = Queue::builder().open_temporary()?;
    /// queue.set_schedule(Schedule::every("sync account 7", Duration::from_secs(900)), &Sync { account: 7 })?;
    /// assert_eq!(queue.schedule_args_json("sync account 7")?, r#"{"account":7}"#);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound).
    pub fn schedule_args_json(&self, name: &str) -> Result<String, Error> {
        self.store().read(|conn| store::schedule_args(conn, name))
    }

    /// Lets a schedule make no tasks until it is [resumed](Queue::resume_schedule). The tasks that it has made run.
    ///
    /// ```
    /// # use perdura::{Queue, Schedule, ScheduleStatus};
    /// # use std::time::Duration;
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Sync;
    /// # impl perdura::Task for Sync { const NAME: &'static str = "sync"; type Output = (); }
    /// # let queue = Queue::builder().open_temporary()?;
    /// # queue.set_schedule(Schedule::every("sync", Duration::from_secs(900)), &Sync)?;
    /// queue.pause_schedule("sync")?;
    /// assert_eq!(queue.schedule("sync")?.status, ScheduleStatus::Paused);
    /// queue.resume_schedule("sync")?;
    /// assert_eq!(queue.schedule("sync")?.status, ScheduleStatus::Active);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound).
    pub fn pause_schedule(&self, name: &str) -> Result<(), Error> {
        let name = name.to_owned();
        self.change(move |tx| store::pause_schedule(tx, &name))
    }

    /// Lets a paused schedule go on with the next tick that comes. Its ticks during the pause do not count as missed.
    /// [`pause_schedule`](Queue::pause_schedule) has an example.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound); [`WrongState`](crate::ErrorKind::WrongState) if it is broken.
    pub fn resume_schedule(&self, name: &str) -> Result<(), Error> {
        let (name, now) = (name.to_owned(), self.runtime.core.now());
        self.change(move |tx| store::resume_schedule(tx, &name, now))
    }

    /// Makes a run of a schedule now, beside its ticks, which stay as they are (after one of
    /// [`after_end`](Schedule::after_end), the next tick follows its end). A paused or disabled schedule makes one, too. While a run is live,
    /// [`overlap`](Schedule::overlap) says what happens.
    ///
    /// ```
    /// # use perdura::{Queue, Schedule, State};
    /// # use std::time::Duration;
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Backup;
    /// # impl perdura::Task for Backup { const NAME: &'static str = "backup"; type Output = (); }
    /// # let queue = Queue::builder().open_temporary()?;
    /// # queue.set_schedule(Schedule::every("backup", Duration::from_secs(86400)), &Backup)?;
    /// let id = queue.run_schedule_now("backup")?;
    /// assert_eq!(queue.get(id)?.state, State::Queued);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound); [`WrongState`](crate::ErrorKind::WrongState) if it is broken;
    /// [`Conflict`](crate::ErrorKind::Conflict) if a run is live and the overlap leaves ticks out, or a task holds the unique key.
    pub fn run_schedule_now(&self, name: &str) -> Result<TaskId, Error> {
        let core = &self.runtime.core;
        let (name, config, now) = (name.to_owned(), core.config.clone(), core.now());
        core.commit(Rank::Add, move |tx| store::run_schedule_now(tx, &config, &name, now))
    }

    /// The next ticks of a schedule, up to `n` (at most 1000), as if it were not paused. Of one of [`after_end`](Schedule::after_end) only the
    /// next is known, and none while its run is live. [`Schedule::every`] has an example.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound); [`WrongState`](crate::ErrorKind::WrongState) if it is broken.
    pub fn preview(&self, name: &str, n: usize) -> Result<Vec<Timestamp>, Error> {
        let now = self.runtime.core.now();
        self.store().read(|conn| store::preview(conn, name, n.min(MAX_PREVIEW), now))
    }

    fn change(&self, write: impl FnMut(&Tx<'_>) -> store::Sql<()> + Send + 'static) -> Result<(), Error> {
        self.runtime.core.commit(Rank::Change, write)
    }
}

/// How many ticks a preview has at most.
const MAX_PREVIEW: usize = 1000;
