//! The configuration: every setting, its default, its range.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};

/// The longest duration that a setting or option may have: 10 years. Far below what milliseconds in an `i64` can hold.
pub(crate) const MAX_DURATION: Duration = Duration::from_secs(315_576_000);
/// Bounds of `max_task_attempts` and of each task's `max_attempts`.
pub(crate) const MAX_ATTEMPTS_RANGE: RangeInclusive<u32> = 1..=100;
/// The default of `retention`.
const DEFAULT_RETENTION: Option<Duration> = Some(Duration::from_secs(7 * 24 * 3600));
/// Bounds of `workers`: a thread each.
pub(crate) const WORKERS_RANGE: RangeInclusive<usize> = 1..=1024;
/// Bounds of the byte limits. SQLite's own limit is 1,000,000,000.
const BYTES_RANGE: RangeInclusive<usize> = 16..=256 * 1024 * 1024;
const RESERVE_RANGE: RangeInclusive<u64> = 0..=1024 * 1024 * 1024;
/// The shortest `poll_interval` other than 0: a shorter one would cost more than the work.
const MIN_POLL: Duration = Duration::from_millis(10);
/// The longest `busy_timeout`: a lock that is held for longer is a fault.
const MAX_BUSY: Duration = Duration::from_secs(3600);
/// The shortest `stuck_task_timeout`: with a shorter one, a handler on a busy machine would count
/// as stuck.
const MIN_STUCK: Duration = Duration::from_millis(100);

/// Every setting of a queue. It is checked when the queue opens.
///
/// Set the fields with the setters of the same names, or read a `Config` with serde from TOML or JSON. In these, durations are written as people
/// write them (`"90s"`, `"5m"`), and unknown fields are refused.
///
/// ```
/// # use std::time::Duration;
/// let config: perdura::Config = toml::from_str(r#"
///     max_task_attempts = 5
///     retry_backoff = "90s"
///     retry_exception_denylist = ["InvalidInput", "my_app::PermanentError"]
/// "#)?;
/// assert_eq!(config.retry_backoff, Duration::from_secs(90));
///
/// let config = config.workers(2).task_timeout(Some(Duration::from_secs(600))).retention(None);
/// assert_eq!((config.workers, config.retention), (2, None));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Config {
    /// How often a task may be tried, the first time included: 1-100. Defaults to 3.
    pub max_task_attempts: u32,
    /// The wait after the first failure; it doubles with each further one: `retry_backoff × 2^(n−1)` after attempt n.
    /// At most `retry_backoff_max`. Defaults to 60 s.
    #[serde(with = "fields::retry_backoff")]
    pub retry_backoff: Duration,
    /// The longest wait between attempts: at most 10 years. Defaults to 24 h.
    #[serde(with = "fields::retry_backoff_max")]
    pub retry_backoff_max: Duration,
    /// The largest random addition to each wait, as a fraction of the wait: 0-1. It is drawn for
    /// each task and attempt, and added before the wait is limited to `retry_backoff_max`. Defaults
    /// to 0.
    pub retry_jitter: f64,
    /// Types of errors that are not retried. Defaults to none.
    ///
    /// `::` and `.` are the same separator, and generics are ignored. An entry matches a type whose last segment is the same and whose path has the
    /// entry's other segments in the same order.
    pub retry_exception_denylist: Vec<String>,
    /// A handler that sends heartbeats and then stays silent for this long is `LOST`: at least 100 ms, at most 10 years. Defaults to 5 minutes.
    #[serde(with = "fields::stuck_task_timeout")]
    pub stuck_task_timeout: Duration,
    /// What becomes of a task whose process died while it ran. Defaults to `immediate`.
    pub lost_retry: LostRetry,
    /// How long one attempt may take, for tasks without a timeout of their own: 1 ms - 10 years. Defaults to no limit (`"never"`).
    #[serde(with = "fields::task_timeout")]
    pub task_timeout: Option<Duration>,
    /// Threads that run tasks: 1-1024. Defaults to the number of processors available.
    pub workers: usize,
    /// What an acknowledged write survives. Defaults to `full`.
    pub durability: Durability,
    /// How often the queue checks whether another process wrote to the file or gave up its
    /// ownership: at least 10 ms, or 0 for never. Writes of this process are noticed at once, also
    /// those of another `Queue` on the same file. Defaults to 5 s.
    #[serde(with = "fields::poll_interval")]
    pub poll_interval: Duration,
    /// How long a write waits for a lock that another connection holds, before it fails as
    /// [`Busy`](ErrorKind::Busy): at most 1 h. Outcomes of tasks are tried again then. Choose a
    /// short time for a thread that must not block, such as a user interface's. Defaults to 10 s.
    #[serde(with = "fields::busy_timeout")]
    pub busy_timeout: Duration,
    /// The largest args, in bytes of JSON: 16 B - 256 MiB. Defaults to 1 MiB.
    pub max_args_bytes: usize,
    /// The largest result, in bytes of JSON: 16 B - 256 MiB. Defaults to 1 MiB.
    pub max_result_bytes: usize,
    /// The largest checkpoint, in bytes of JSON: 16 B - 256 MiB. Defaults to 1 MiB.
    pub max_checkpoint_bytes: usize,
    /// Space in the file that new tasks cannot use: on a full disk the outcomes of running tasks
    /// are recorded there. 0 for none, or 1 MiB - 1 GiB in steps of 256 KiB (rounded up). Defaults
    /// to 1 MiB.
    pub disk_reserve_bytes: u64,
    /// How long `SUCCEEDED` and `CANCELLED` tasks are kept after they finished: 1 ms - 10 years, or `"never"` to keep them for good. Defaults to
    /// 7 days.
    ///
    /// A value other than the default is stored in the file; the file has the value of the last
    /// owner that set one. A program that executes with the default uses that value. Retention is
    /// applied five minutes after the start, if the clock is steady, then every ten minutes. A
    /// program that ends sooner deletes up to 500 tasks at its end, if the tasks of the last day
    /// show that the clock did not jump.
    #[serde(with = "fields::retention")]
    pub retention: Option<Duration>,
    /// How long after they finished `FAILED` and `LOST` tasks become dead letters: 1 ms - 10 years. Defaults to `"never"`.
    #[serde(with = "fields::dead_letter_after")]
    pub dead_letter_after: Option<Duration>,
    /// How long dead letters are kept after they were moved: 1 ms - 10 years. Defaults to `"never"`: they are kept for good.
    #[serde(with = "fields::dead_letter_retention")]
    pub dead_letter_retention: Option<Duration>,
    /// Whether deleted tasks are overwritten with zeroes in the file (`secure_delete`), at the cost
    /// of a write for each of their pages. Defaults to false: their content stays in free pages
    /// until these are reused.
    pub secure_delete: bool,
}

/// Makes a setter for each field.
macro_rules! setters {
    ($($field:ident: $type:ty),+ $(,)?) => {
        impl Config {
            $(
                #[doc = concat!("Sets [`", stringify!($field), "`](#structfield.", stringify!($field), "). It is checked when the queue opens.")]
                #[must_use]
                pub fn $field(mut self, $field: $type) -> Config {
                    self.$field = $field;
                    self
                }
            )+
        }
    };
}

impl Config {
    /// Sets [`retry_exception_denylist`](#structfield.retry_exception_denylist). It is checked when the queue opens.
    ///
    /// ```
    /// let config = perdura::Config::default().retry_exception_denylist(["http.410", "InvalidInput"]);
    /// assert_eq!(config.retry_exception_denylist.len(), 2);
    /// ```
    #[must_use]
    pub fn retry_exception_denylist(
        mut self,
        entries: impl IntoIterator<Item = impl Into<String>>,
    ) -> Config {
        self.retry_exception_denylist = entries.into_iter().map(Into::into).collect();
        self
    }
}

setters! {
    max_task_attempts: u32,
    retry_backoff: Duration,
    retry_backoff_max: Duration,
    retry_jitter: f64,
    stuck_task_timeout: Duration,
    lost_retry: LostRetry,
    task_timeout: Option<Duration>,
    workers: usize,
    durability: Durability,
    poll_interval: Duration,
    busy_timeout: Duration,
    max_args_bytes: usize,
    max_result_bytes: usize,
    max_checkpoint_bytes: usize,
    disk_reserve_bytes: u64,
    retention: Option<Duration>,
    dead_letter_after: Option<Duration>,
    dead_letter_retention: Option<Duration>,
    secure_delete: bool,
}

/// What an acknowledged write survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Durability {
    /// `synchronous=FULL`: a crash of the process, a crash of the operating system, loss of power.
    #[default]
    Full,
    /// `synchronous=NORMAL`: a crash of the process. Loss of power may take back the newest commits (enqueues, claims and results
    /// alike): always a suffix of the commit order, at most what was written since the last WAL checkpoint.
    Relaxed,
}

/// What becomes of a task whose process died while it ran, as long as it has attempts left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LostRetry {
    /// It is queued again at once.
    #[default]
    Immediate,
    /// It is queued again after the backoff of a failure.
    Backoff,
    /// It stays `LOST` until somebody retries it.
    Manual,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            max_task_attempts: 3,
            retry_backoff: Duration::from_secs(60),
            retry_backoff_max: Duration::from_secs(24 * 3600),
            retry_jitter: 0.0,
            retry_exception_denylist: Vec::new(),
            stuck_task_timeout: Duration::from_secs(300),
            lost_retry: LostRetry::Immediate,
            task_timeout: None,
            workers: std::thread::available_parallelism().map_or(1, usize::from).min(*WORKERS_RANGE.end()),
            durability: Durability::Full,
            poll_interval: Duration::from_secs(5),
            busy_timeout: Duration::from_secs(10),
            max_args_bytes: 1024 * 1024,
            max_result_bytes: 1024 * 1024,
            max_checkpoint_bytes: 1024 * 1024,
            disk_reserve_bytes: 1024 * 1024,
            retention: DEFAULT_RETENTION,
            dead_letter_after: None,
            dead_letter_retention: None,
            secure_delete: false,
        }
    }
}

impl Config {
    /// The longest value or row that a connection accepts, in bytes: 1 MiB more than the largest of
    /// args, result and checkpoint; at least 17 MiB, so that it can read values of up to 16 MiB
    /// that a program with higher limits wrote.
    pub(crate) fn longest_value(&self) -> usize {
        const AT_LEAST: usize = 16 * 1024 * 1024;
        const ROOM: usize = 1024 * 1024; // a row is larger than its longest value
        self.max_args_bytes.max(self.max_result_bytes).max(self.max_checkpoint_bytes).max(AT_LEAST) + ROOM
    }

    /// The retention, if it is not the default: with the default, the value in the file applies.
    pub(crate) fn own_retention(&self) -> Option<Option<Duration>> {
        (self.retention != DEFAULT_RETENTION).then_some(self.retention)
    }

    /// Checks the range of every setting. Opening a queue does this too, and checks the entries of the denylist.
    ///
    /// ```
    /// use perdura::{Config, ErrorKind};
    ///
    /// assert!(Config::default().validate().is_ok());
    /// let error = Config::default().max_task_attempts(0).validate().unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`], naming the field, its value and its range.
    pub fn validate(&self) -> Result<(), Error> {
        in_range("max_task_attempts", self.max_task_attempts, &MAX_ATTEMPTS_RANGE)?;
        in_range("workers", self.workers, &WORKERS_RANGE)?;
        in_range("max_args_bytes", self.max_args_bytes, &BYTES_RANGE)?;
        in_range("max_result_bytes", self.max_result_bytes, &BYTES_RANGE)?;
        in_range("max_checkpoint_bytes", self.max_checkpoint_bytes, &BYTES_RANGE)?;
        in_range("disk_reserve_bytes", self.disk_reserve_bytes, &RESERVE_RANGE)?;
        in_range("retry_jitter", self.retry_jitter, &(0.0..=1.0))?;
        within("retry_backoff_max", self.retry_backoff_max, Duration::ZERO, MAX_DURATION)?;
        within("retry_backoff", self.retry_backoff, Duration::ZERO, self.retry_backoff_max)?;
        within("busy_timeout", self.busy_timeout, Duration::ZERO, MAX_BUSY)?;
        within("stuck_task_timeout", self.stuck_task_timeout, MIN_STUCK, MAX_DURATION)?;
        if !self.poll_interval.is_zero() {
            within("poll_interval", self.poll_interval, MIN_POLL, MAX_DURATION)?;
        }
        for (field, value) in [
            ("task_timeout", self.task_timeout),
            ("retention", self.retention),
            ("dead_letter_after", self.dead_letter_after),
            ("dead_letter_retention", self.dead_letter_retention),
        ] {
            within(field, value.unwrap_or(MIN_POLL), Duration::from_millis(1), MAX_DURATION)?;
        }
        Ok(())
    }
}

fn out_of_range(field: &str, value: impl Display, range: impl Display) -> Error {
    let problem = format!("= {value} is out of range; it takes {range}");
    Error::of_field(ErrorKind::InvalidConfig, field, &problem)
}

fn in_range<N: PartialOrd + Display>(field: &str, value: N, range: &RangeInclusive<N>) -> Result<(), Error> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(out_of_range(field, value, format_args!("{} to {}", range.start(), range.end())))
}

fn within(field: &str, value: Duration, min: Duration, max: Duration) -> Result<(), Error> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    let [value, min, max] = [value, min, max].map(humantime::format_duration);
    Err(out_of_range(field, format_args!("\"{value}\""), format_args!("\"{min}\" to \"{max}\"")))
}

/// How durations are written in a configuration file. Each field has a module, so that an error can
/// name it.
mod fields {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de};

    /// The text for "no limit".
    const NEVER: &str = "never";

    /// Reads a duration; none for `never`. `forms`: examples of valid texts, for the message.
    fn read<'de, D: Deserializer<'de>>(
        field: &str,
        forms: &str,
        d: D,
    ) -> Result<(Option<Duration>, String), D::Error> {
        let text = String::deserialize(d)
            .map_err(|e| de::Error::custom(format_args!("{field}: write a text such as {forms}: {e}")))?;
        if text == NEVER {
            return Ok((None, text));
        }
        let parsed = humantime::parse_duration(&text)
            .map_err(|e| de::Error::custom(format_args!("{field} = {text:?}: {e}; write it like {forms}")))?;
        Ok((Some(parsed), text))
    }

    /// Examples for a field that does not take `never`.
    fn forms(field: &str) -> String {
        let zero = if field == "poll_interval" { ", or \"0s\" for never" } else { "" };
        format!("\"90s\" or \"5m\"{zero}")
    }

    fn write<S: Serializer>(value: Duration, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&humantime::format_duration(value))
    }

    macro_rules! durations {
        ($($field:ident)*) => {$(
            pub(super) mod $field {
                use super::*;

                pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
                    let (field, forms) = (stringify!($field), forms(stringify!($field)));
                    let (value, text) = read(field, &forms, d)?;
                    value.ok_or_else(|| de::Error::custom(format_args!(
                        "{field} = {text:?}: it needs a duration such as {forms}")))
                }

                pub fn serialize<S: Serializer>(value: &Duration, s: S) -> Result<S::Ok, S::Error> {
                    write(*value, s)
                }
            }
        )*};
    }

    macro_rules! limits {
        ($($field:ident)*) => {$(
            pub(super) mod $field {
                use super::*;

                pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
                    Ok(read(stringify!($field), "\"90s\", \"5m\" or \"never\"", d)?.0)
                }

                pub fn serialize<S: Serializer>(value: &Option<Duration>, s: S) -> Result<S::Ok, S::Error> {
                    match value {
                        Some(value) => write(*value, s),
                        None => s.serialize_str(NEVER),
                    }
                }
            }
        )*};
    }

    durations! { retry_backoff retry_backoff_max stuck_task_timeout poll_interval busy_timeout }
    limits! { task_timeout retention dead_letter_after dead_letter_retention }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid_and_is_written_as_people_type() {
        let config = Config::default();
        config.validate().unwrap();
        let text = toml::to_string(&config).unwrap();
        assert!(text.contains("retry_backoff = \"1m\""), "{text}");
        assert!(text.contains("retention = \"7days\""), "{text}");
        assert!(text.contains("task_timeout = \"never\""), "{text}");
        assert_eq!(toml::from_str::<Config>(&text).unwrap(), config);
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<Config>(&json).unwrap(), config);
    }

    #[test]
    fn each_bad_value_is_named_with_its_range() {
        type Spoil = fn(&mut Config);
        let cases: &[(Spoil, &str)] = &[
            (|c| c.max_task_attempts = 0, "max_task_attempts = 0 is out of range; it takes 1 to 100"),
            (|c| c.max_task_attempts = 101, "max_task_attempts = 101 is out of range; it takes 1 to 100"),
            (|c| c.workers = 0, "workers = 0 is out of range; it takes 1 to 1024"),
            (|c| c.retry_jitter = f64::NAN, "retry_jitter = NaN is out of range; it takes 0 to 1"),
            (|c| c.retry_jitter = 1.5, "retry_jitter = 1.5 is out of range; it takes 0 to 1"),
            (
                |c| c.retry_backoff = Duration::from_secs(86_401),
                "retry_backoff = \"1day 1s\" is out of range; it takes \"0s\" to \"1day\"",
            ),
            (|c| c.retry_backoff_max = Duration::MAX, "it takes \"0s\" to \"10years\""),
            (
                |c| c.poll_interval = Duration::from_millis(1),
                "poll_interval = \"1ms\" is out of range; it takes \"10ms\" to \"10years\"",
            ),
            (|c| c.stuck_task_timeout = Duration::ZERO, "stuck_task_timeout = \"0s\" is out of range"),
            (|c| c.max_args_bytes = 0, "max_args_bytes = 0 is out of range"),
            (|c| c.disk_reserve_bytes = 1 << 31, "disk_reserve_bytes = 2147483648 is out of range"),
            (|c| c.task_timeout = Some(Duration::ZERO), "task_timeout = \"0s\" is out of range"),
        ];
        for (spoil, wanted) in cases {
            let mut config = Config::default();
            spoil(&mut config);
            let error = config.validate().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig);
            assert!(error.to_string().contains(wanted), "{error}\nlacks {wanted}");
        }
    }

    #[test]
    fn files_with_unknown_fields_or_odd_durations_are_refused() {
        for (text, wanted) in [
            ("max_attempts = 3", "unknown field `max_attempts`"),
            ("retry_backoff = \"5\"", "retry_backoff = \"5\": time unit needed"),
            ("retry_backoff = 60", "retry_backoff: write a text such as \"90s\" or \"5m\":"),
            ("retention = \"forever\"", "write it like \"90s\", \"5m\" or \"never\""),
            ("dead_letter_after = 5", "such as \"90s\", \"5m\" or \"never\""),
            (
                "poll_interval = \"never\"",
                "it needs a duration such as \"90s\" or \"5m\", or \"0s\" for never",
            ),
            ("poll_interval = \"off\"", "or \"0s\" for never"),
            ("retry_backoff = \"never\"", "retry_backoff = \"never\": it needs a duration"),
            ("durability = \"off\"", "unknown variant `off`"),
            ("lost_retry = \"later\"", "unknown variant `later`"),
        ] {
            let error = toml::from_str::<Config>(text).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}\nlacks {wanted}");
        }
    }
}
