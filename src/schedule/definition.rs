//! A schedule as the file keeps it: all that decides when it makes which task, except the args. Two schedules with the same text are the same.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::rules::{Missed, Overlap};
use super::ticks::{Rhythm, TIMES, TickSeries, draw};
use crate::config::{Config, MAX_DURATION};
use crate::error::{Error, ErrorKind};
use crate::planted::planted;
use crate::task::{KeyLimit, Needs, Options, PERMITS, Resolved, Timestamp, Unique, check_name};

/// The longest delay by a jitter.
const MAX_JITTER: Duration = Duration::from_secs(86_400);

/// The largest `cap`: how many missed ticks a schedule may make up for at once.
const MAX_CAP: u32 = 1000;

/// All of a schedule but its name and its args.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Definition {
    pub rhythm: Rhythm,
    pub missed: Missed,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_ms: Option<u64>,
    pub overlap: Overlap,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub jitter_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<i64>,
    pub task_name: String,
    /// The version of its args.
    pub version: u32,
    pub options: StoredOptions,
}

/// The options of a schedule's tasks, as far as they are set.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct StoredOptions {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unique: Option<StoredKey>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<StoredLimit>,
    #[serde(skip_serializing_if = "Needs::is_empty")]
    pub needs: Needs,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

/// A unique key of a schedule's tasks, without its text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredKey {
    /// In hex.
    pub digest: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub until_started: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lasts_ms: Option<u64>,
}

/// A limit of the key of a schedule's tasks, without the text of the key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredLimit {
    /// In hex.
    pub digest: String,
    pub permits: u32,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub serial: bool,
}

impl StoredLimit {
    fn check(&self) -> Result<(), Error> {
        let field = if self.serial { "serial" } else { "limit" };
        if from_hex(&self.digest).is_none() {
            return Err(Error::invalid(field, "is not a digest of 32 hex digits"));
        }
        if !PERMITS.contains(&self.permits) {
            return Err(Error::invalid_value(field, self.permits, "is not in 1 to 256"));
        }
        if self.serial && self.permits != 1 {
            return Err(Error::invalid_value(field, self.permits, "is not 1, the permits of a serial key"));
        }
        Ok(())
    }
}

fn is_zero(ms: &u64) -> bool {
    *ms == 0
}

impl Definition {
    /// Reads the form in which the file keeps it.
    ///
    /// # Errors
    /// `InvalidInput`, saying what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<(Definition, TickSeries), Error> {
        let definition: Definition = serde_json::from_str(text).map_err(|e| {
            Error::new(
                ErrorKind::InvalidInput,
                format!(
                    "its definition in the file cannot be read (line {}, column {})",
                    e.line(),
                    e.column()
                ),
            )
        })?;
        let ticks = definition.check()?;
        Ok((definition, ticks))
    }

    /// The form in which the file keeps it.
    pub(crate) fn text(&self) -> Result<String, Error> {
        serde_json::to_string(self)
            .map_err(|_| Error::internal("a schedule's definition does not turn into JSON"))
    }

    /// Checks every bound.
    pub(super) fn check(&self) -> Result<TickSeries, Error> {
        let ticks = self.rhythm.ticks()?;
        let period = self.rhythm.period().unwrap_or(MAX_DURATION);
        for (field, value, max) in [
            ("grace", self.grace(), MAX_DURATION),
            ("jitter", Some(self.jitter()), MAX_JITTER.min(period)),
            ("backoff", self.options.backoff_ms.map(Duration::from_millis), MAX_DURATION),
            ("timeout", self.options.timeout_ms.map(Duration::from_millis), MAX_DURATION),
            (
                "unique key's time",
                self.options.unique.as_ref().and_then(|key| key.lasts_ms).map(Duration::from_millis),
                MAX_DURATION,
            ),
            ("expires", self.options.expires_ms.map(Duration::from_millis), MAX_DURATION),
        ] {
            if let Some(value) = value.filter(|value| *value > max) {
                let problem = format!("is longer than {}", humantime::format_duration(max));
                return Err(Error::invalid_value(field, humantime::format_duration(value), &problem));
            }
        }
        if let Missed::All { cap } = self.missed {
            if !(1..=MAX_CAP).contains(&cap) {
                return Err(Error::invalid_value("cap", cap, "is not in 1 to 1000"));
            }
            if !matches!(self.overlap, Overlap::Queue | Overlap::Allow) {
                let problem =
                    "needs the overlap queue or allow, or all but one of the missed ticks would be left out";
                return Err(Error::invalid_value("missed", "all", problem));
            }
        }
        check_name("task name", &self.task_name)?;
        if let Some(queue) = &self.options.queue {
            check_name("queue", queue)?;
        }
        if self.options.unique.as_ref().is_some_and(|key| from_hex(&key.digest).is_none()) {
            return Err(Error::invalid("unique", "is not a digest of 32 hex digits"));
        }
        if let Some(limit) = &self.options.limit {
            limit.check()?;
        }
        self.options.needs.check()?;
        let attempts = self.options.max_attempts.unwrap_or(1);
        if !crate::config::MAX_ATTEMPTS_RANGE.contains(&attempts) {
            return Err(Error::invalid_value("max_attempts", attempts, "is not in 1 to 100"));
        }
        Ok(ticks)
    }

    pub(crate) fn grace(&self) -> Option<Duration> {
        self.grace_ms.map(Duration::from_millis)
    }

    pub(crate) fn jitter(&self) -> Duration {
        Duration::from_millis(self.jitter_ms)
    }

    pub(crate) fn until(&self) -> Option<Timestamp> {
        self.until_ms.map(Timestamp::from_millis)
    }

    /// How much later than its tick a run is made: always the same for the same file, schedule and tick.
    pub(crate) fn delay(&self, file_id: &[u8; 16], name: &str, tick: Timestamp) -> Duration {
        let drawn = draw(file_id, name, tick);
        let ms = (u128::from(drawn) * u128::from(self.jitter_ms)) >> 64;
        Duration::from_millis(u64::try_from(ms).unwrap_or(self.jitter_ms))
    }

    /// The token of the task of a tick.
    pub(crate) fn token(&self, file_id: &[u8; 16], name: &str, tick: Timestamp) -> i64 {
        draw(file_id, &format!("token\0{name}"), tick).cast_signed()
    }

    /// A tick, unless it lies beyond the end.
    pub(crate) fn within(&self, tick: Option<Timestamp>) -> Option<Timestamp> {
        let is_over = |tick: Timestamp| self.until().is_some_and(|until| tick > until);
        tick.filter(|tick| TIMES.contains(&tick.as_millis()))
            .filter(|tick| !is_over(*tick) || planted("g15-until-is-not-heard"))
    }

    /// The options of a run, by the configuration of whoever makes it.
    ///
    /// # Errors
    /// `InvalidInput` if that does not allow them.
    pub(crate) fn resolve(&self, config: &Config, now: Timestamp) -> Result<Resolved, Error> {
        let stored = &self.options;
        let ms = |ms: Option<u64>| ms.map(Duration::from_millis);
        let options = Options {
            queue: stored.queue.clone(),
            priority: stored.priority,
            max_attempts: stored.max_attempts,
            backoff: ms(stored.backoff_ms),
            timeout: ms(stored.timeout_ms),
            expires: ms(stored.expires_ms),
            needs: stored.needs.clone(),
            tag: stored.tag.clone(),
            ..Options::new()
        };
        let mut resolved = options.resolve(&self.task_name, Options::new(), config, || now)?;
        // Digests stand for the texts of keys.
        resolved.unique = stored.unique.as_ref().map(|key| Unique {
            until_started: key.until_started,
            lasts: ms(key.lasts_ms),
            ..Unique::key("")
        });
        resolved.limit = stored.limit.as_ref().map(|limit| KeyLimit {
            key: String::new(),
            permits: limit.permits,
            is_serial: limit.serial,
        });
        Ok(resolved)
    }

    /// The digest of its unique key.
    pub(crate) fn unique_digest(&self) -> Option<[u8; 16]> {
        self.options.unique.as_ref().and_then(|key| from_hex(&key.digest))
    }

    /// The digest of the key that has its limit.
    pub(crate) fn limit_digest(&self) -> Option<[u8; 16]> {
        self.options.limit.as_ref().and_then(|limit| from_hex(&limit.digest))
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<[u8; 16]> {
    let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u128::from_str_radix(text, 16).ok().filter(|_| is_hex)?;
    Some(number.to_be_bytes())
}
