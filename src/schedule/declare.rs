//! A schedule as a program writes it down.

use std::time::Duration;

use super::definition::{Definition, StoredKey, StoredLimit, StoredOptions, hex};
use super::rules::{Missed, Overlap};
use super::ticks::Rhythm;
use crate::config::Config;
use crate::error::Error;
use crate::task::{Due, OnConflict, Options, Timestamp, check_name};

/// When tasks are made by themselves: at the times of a cron pattern, once in each period, or a pause after the run before has ended.
///
/// It is declared with [`Builder::schedule`](crate::Builder::schedule), or made with [`Queue::set_schedule`](crate::Queue::set_schedule), and
/// kept in the file. Each of its times is a *tick*, and each tick makes exactly one task, a *run*, unless the rules for missed ticks
/// ([`missed`](Schedule::missed)) and for runs that are still under way ([`overlap`](Schedule::overlap)) leave it out. Only the process
/// that executes fires ticks.
///
/// ```
/// use perdura::{Context, Failure, Missed, Overlap, Queue, Schedule};
/// use std::time::Duration;
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Sync { account: u32 }
/// impl perdura::Task for Sync {
///     const NAME: &'static str = "sync";
///     type Output = ();
/// }
/// let sync = |_: Sync, cx: &Context| -> Result<(), Failure> {
///     println!("the tick of {:?}", cx.tick()?);
///     Ok(())
/// };
/// let schedule = Schedule::every("sync account 7", Duration::from_secs(900)).missed(Missed::Skip).overlap(Overlap::Queue);
/// let queue = Queue::builder().handle(sync).schedule(schedule, &Sync { account: 7 }).open_temporary()?;
/// assert_eq!(queue.schedules()?[0].schedule, "sync account 7");
/// # Ok::<(), perdura::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use = "a schedule does nothing before it is declared or set"]
pub struct Schedule {
    pub(crate) name: String,
    rhythm: Rhythm,
    missed: Option<Missed>,
    grace: Option<Duration>,
    overlap: Option<Overlap>,
    jitter: Duration,
    until: Option<Timestamp>,
    pub(crate) options: Options,
}

impl Schedule {
    /// At the times of a cron pattern: minute, hour, day of the month, month, weekday, and a second before them if there are six fields.
    ///
    /// Lists (`1,15`), ranges (`9-17`), steps (`*/5`), names (`MON`, `JAN`), `L` (the last day), `W` (the nearest weekday), `#` (the second
    /// Friday: `FRI#2`) and `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly` are known. If both a day of the month and a
    /// weekday are given, a day that matches one of them is enough (write `+MON` to need both).
    ///
    /// Where the clock is changed, fixed times come once: in a gap at its end, in an overlap the first time. A pattern with a wildcard in its
    /// second, minute or hour follows real time. Feature `cron`.
    ///
    /// ```
    /// # use perdura::{Queue, Schedule};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Backup;
    /// # impl perdura::Task for Backup { const NAME: &'static str = "backup"; type Output = (); }
    /// # let queue = Queue::builder().open_temporary()?;
    /// queue.set_schedule(Schedule::cron("nightly", "30 2 * * *").time_zone("Europe/Berlin"), &Backup)?;
    /// assert!(queue.schedule("nightly")?.next_tick.is_some());
    /// # Ok::<(), perdura::Error>(())
    /// ```
    #[cfg(feature = "cron")]
    pub fn cron(name: impl Into<String>, pattern: impl Into<String>) -> Schedule {
        Schedule::new(name.into(), Rhythm::Cron { pattern: pattern.into(), zone: None })
    }

    /// Once in each period, without drift: 1 s to 10 years. The first tick comes that long after the schedule is made.
    ///
    /// ```
    /// # use perdura::{Queue, Schedule};
    /// # use std::time::Duration;
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Sync;
    /// # impl perdura::Task for Sync { const NAME: &'static str = "sync"; type Output = (); }
    /// # let queue = Queue::builder().open_temporary()?;
    /// queue.set_schedule(Schedule::every("sync", Duration::from_secs(900)), &Sync)?;
    /// let ticks = queue.preview("sync", 2)?;
    /// assert_eq!(ticks[1].since(ticks[0]), Duration::from_secs(900));
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn every(name: impl Into<String>, period: Duration) -> Schedule {
        Schedule::new(name.into(), Rhythm::EveryMs(whole_ms(period)))
    }

    /// A pause after the run before has ended, however it ended: 1 s to 10 years. The first tick comes that long after the schedule is made.
    ///
    /// Its runs never overlap and are never missed: after a time in which no process executed, the tick that is due fires.
    ///
    /// ```
    /// # use perdura::{Queue, Schedule};
    /// # use std::time::Duration;
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Scan;
    /// # impl perdura::Task for Scan { const NAME: &'static str = "scan"; type Output = (); }
    /// # let queue = Queue::builder().open_temporary()?;
    /// queue.set_schedule(Schedule::after_end("scan", Duration::from_secs(3600)), &Scan)?;
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn after_end(name: impl Into<String>, pause: Duration) -> Schedule {
        Schedule::new(name.into(), Rhythm::AfterEndMs(whole_ms(pause)))
    }

    fn new(name: String, rhythm: Rhythm) -> Schedule {
        let options = Options::new();
        Schedule {
            name,
            rhythm,
            missed: None,
            grace: None,
            overlap: None,
            jitter: Duration::ZERO,
            until: None,
            options,
        }
    }

    /// Sets the time zone of a cron pattern by its name in the time zone database, such as `Europe/Berlin`. Defaults to [`local`](Schedule::local).
    /// [`cron`](Schedule::cron) has an example. Feature `cron`.
    #[cfg(feature = "cron")]
    pub fn time_zone(mut self, name: impl Into<String>) -> Schedule {
        self.rhythm.set_zone(Some(name.into()));
        self
    }

    /// Reads a cron pattern in the system's time zone. It is asked anew at each tick, since laptops travel. This is the default. Feature `cron`.
    ///
    /// ```
    /// use perdura::Schedule;
    /// let schedule = Schedule::cron("breakfast", "0 8 * * *");
    /// assert_eq!(schedule.clone().local(), schedule);
    /// ```
    #[cfg(feature = "cron")]
    pub fn local(mut self) -> Schedule {
        self.rhythm.set_zone(None);
        self
    }

    /// Sets what becomes of ticks that nobody has fired in their time. Defaults to [`Missed::Latest`].
    ///
    /// [`Missed::All`] needs [`Overlap::Queue`], whose runs wait for each other, or [`Overlap::Allow`].
    ///
    /// ```
    /// # use perdura::{Missed, Overlap, Schedule};
    /// # use std::time::Duration;
    /// let hour = Duration::from_secs(3600);
    /// let report = Schedule::every("hourly report", hour).missed(Missed::All { cap: 24 }).overlap(Overlap::Queue);
    /// ```
    pub fn missed(mut self, missed: Missed) -> Schedule {
        self.missed = Some(missed);
        self
    }

    /// Sets how old a missed tick may be that still gets its run: at most 10 years. With [`Missed::Latest`] it defaults to one period, at most 24 h; with
    /// [`Missed::All`] to any age.
    ///
    /// ```
    /// # use perdura::Schedule;
    /// # use std::time::Duration;
    /// let hour = Duration::from_secs(3600);
    /// let reminder = Schedule::every("weekly reminder", 7 * 24 * hour).grace(3 * 24 * hour);
    /// ```
    pub fn grace(mut self, grace: Duration) -> Schedule {
        self.grace = Some(grace);
        self
    }

    /// Sets what a tick does while the run before is live. Defaults to [`Overlap::Skip`].
    ///
    /// ```
    /// # use perdura::{Overlap, Schedule};
    /// # use std::time::Duration;
    /// let sync = Schedule::every("sync", Duration::from_secs(60)).overlap(Overlap::Replace);
    /// ```
    pub fn overlap(mut self, overlap: Overlap) -> Schedule {
        self.overlap = Some(overlap);
        self
    }

    /// Makes each run up to this much later than its tick: at most 24 h, and at most one period. Defaults to zero.
    ///
    /// How much is derived from file, schedule and tick, so programs on many machines do not all start at once. [`cx.tick()`](crate::Context::tick) is
    /// the tick itself.
    ///
    /// ```
    /// # use perdura::Schedule;
    /// # use std::time::Duration;
    /// let hour = Duration::from_secs(3600);
    /// let update = Schedule::every("look for updates", 24 * hour).jitter(2 * hour);
    /// ```
    pub fn jitter(mut self, jitter: Duration) -> Schedule {
        self.jitter = jitter;
        self
    }

    /// Fires no tick after this time. Defaults to no end.
    ///
    /// ```
    /// # use perdura::Schedule;
    /// # use std::time::{Duration, SystemTime};
    /// let day = Duration::from_secs(24 * 3600);
    /// let trial = Schedule::every("remind of the trial", day).until(SystemTime::now() + 30 * day);
    /// ```
    pub fn until(mut self, time: impl Into<Timestamp>) -> Schedule {
        self.until = Some(time.into());
        self
    }

    /// Sets the options of its tasks: all but [`delay`](Options::delay), [`run_at`](Options::run_at) and [`token`](Options::token). Defaults to those of
    /// the task's type.
    ///
    /// ```
    /// # use perdura::{Options, Schedule};
    /// # use std::time::Duration;
    /// let nightly = Schedule::every("clean up", Duration::from_secs(86400)).options(Options::new().queue("night").max_attempts(5));
    /// ```
    pub fn options(mut self, options: Options) -> Schedule {
        self.options = options;
        self
    }
}

impl Schedule {
    /// The form in which the file keeps it. `digest` makes the digest of a key's text.
    ///
    /// # Errors
    /// `InvalidInput`, naming the field, its value and its range, or what it does not go with.
    pub(crate) fn define(
        &self,
        task: (&str, u32),
        of_kind: Options,
        config: &Config,
        digest: impl Fn(&str) -> [u8; 16],
        now: Timestamp,
    ) -> Result<Definition, Error> {
        check_name("schedule", &self.name)?;
        let (task_name, version) = task;
        let named = |e: Error| e.context(&format!("schedule {:?}", self.name));
        let options = self.options.clone().or(of_kind);
        refuse_times(&options).map_err(named)?;
        self.refuse_what_does_not_apply().map_err(named)?;
        let all = options.clone().resolve(task_name, Options::new(), config, || now).map_err(named)?;
        let definition = Definition {
            rhythm: self.rhythm.clone(),
            missed: self.missed.unwrap_or_default(),
            grace_ms: self.grace.map(whole_ms),
            overlap: self.overlap.unwrap_or_default(),
            jitter_ms: whole_ms(self.jitter),
            until_ms: self.until.map(Timestamp::as_millis),
            task_name: task_name.to_owned(),
            version,
            options: StoredOptions {
                queue: options.queue,
                priority: options.priority,
                max_attempts: options.max_attempts,
                backoff_ms: all.backoff.map(whole_ms),
                timeout_ms: all.timeout.map(whole_ms),
                expires_ms: all.expires.map(whole_ms),
                unique: all.unique.map(|key| StoredKey {
                    digest: hex(&digest(&key.scoped(task_name))),
                    until_started: key.until_started,
                    lasts_ms: key.lasts.map(whole_ms),
                }),
                needs: all.needs,
                limit: all.limit.map(|limit| StoredLimit {
                    digest: hex(&digest(&limit.key)),
                    permits: limit.permits,
                    serial: limit.is_serial,
                }),
                tag: all.tag,
            },
        };
        let ticks = definition.check().map_err(named)?;
        if definition.until_ms.is_none() && ticks.first(now).is_none() {
            let pattern = definition.rhythm.to_string();
            let problem = "never comes; name a day that exists";
            return Err(named(Error::invalid_value("pattern", pattern, problem)));
        }
        Ok(definition)
    }

    fn refuse_what_does_not_apply(&self) -> Result<(), Error> {
        let unwanted = match self.rhythm {
            Rhythm::AfterEndMs(_) => [
                ("missed", self.missed.is_some()),
                ("grace", self.grace.is_some()),
                ("overlap", self.overlap.is_some()),
            ],
            _ => [("", false); 3],
        };
        match unwanted.into_iter().find(|(_, is_set)| *is_set) {
            Some((field, _)) => Err(Error::invalid(
                field,
                "has no meaning with after_end, whose runs follow one another; leave it out",
            )),
            None => Ok(()),
        }
    }
}

fn refuse_times(options: &Options) -> Result<(), Error> {
    match options.due {
        Some(Due::After(delay)) if !delay.is_zero() => {
            return Err(Error::invalid(
                "delay",
                "is not for the tasks of a schedule; use jitter, or other ticks",
            ));
        }
        Some(Due::At(_)) => {
            return Err(Error::invalid(
                "run_at",
                "is not for the tasks of a schedule, which come at its ticks; leave it out",
            ));
        }
        _ => {}
    }
    if options.unique.as_ref().is_some_and(|unique| unique.on_conflict != OnConflict::Keep) {
        let problem = "is not for the tasks of a schedule, unless it is Keep; its overlap says what a run does that meets another";
        return Err(Error::invalid("on_conflict", problem));
    }
    match options.token {
        Some(_) => Err(Error::invalid("token", "is not for the tasks of a schedule; leave it out")),
        None => Ok(()),
    }
}

/// Whole milliseconds, rounded up.
fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
