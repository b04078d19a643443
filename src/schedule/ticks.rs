//! The ticks of a schedule, one after the other.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

use crate::config::MAX_DURATION;
use crate::error::Error;
use crate::task::Timestamp;

/// The shortest time between two ticks.
const MIN_PERIOD: Duration = Duration::from_secs(1);

/// Times at which a schedule can have a tick: those that RFC 3339 can write.
pub(crate) const TIMES: std::ops::RangeInclusive<i64> = 0..=253_402_300_799_999;

/// What the ticks of a schedule follow: a pattern, a period, or the ends of runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Rhythm {
    Cron {
        pattern: String,
        /// None: the system's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        zone: Option<String>,
    },
    EveryMs(u64),
    AfterEndMs(u64),
}

impl Rhythm {
    #[cfg(feature = "cron")]
    pub(super) fn set_zone(&mut self, name: Option<String>) {
        if let Rhythm::Cron { zone, .. } = self {
            *zone = name;
        }
    }

    /// The time between two ticks, if it is always the same.
    pub(crate) fn period(&self) -> Option<Duration> {
        match self {
            Rhythm::Cron { .. } => None,
            Rhythm::EveryMs(ms) | Rhythm::AfterEndMs(ms) => Some(Duration::from_millis(*ms)),
        }
    }

    /// Its ticks.
    ///
    /// # Errors
    /// `InvalidInput`, naming the field, its value and what to write; for a cron pattern where there is no feature `cron`, too.
    pub(super) fn ticks(&self) -> Result<TickSeries, Error> {
        if let Some(period) = self.period().filter(|period| !(MIN_PERIOD..=MAX_DURATION).contains(period)) {
            let problem = format!("is not in 1s to {}", humantime::format_duration(MAX_DURATION));
            return Err(Error::invalid_value("period", humantime::format_duration(period), &problem));
        }
        match self {
            Rhythm::EveryMs(ms) => Ok(TickSeries::Every(i64::try_from(*ms).unwrap_or(i64::MAX))),
            Rhythm::AfterEndMs(ms) => Ok(TickSeries::AfterEnd(Duration::from_millis(*ms))),
            #[cfg(feature = "cron")]
            Rhythm::Cron { pattern, zone } => {
                Ok(TickSeries::Cron(Box::new(super::cron::Cron::parse(pattern, zone.as_deref())?)))
            }
            #[cfg(not(feature = "cron"))]
            Rhythm::Cron { pattern, .. } => {
                let problem =
                    "is a cron pattern, and this program was built without perdura's feature `cron`";
                Err(Error::invalid_value("pattern", pattern, problem))
            }
        }
    }
}

/// The pattern, or the period as a person writes it.
impl fmt::Display for Rhythm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rhythm::Cron { pattern, .. } => f.write_str(pattern),
            Rhythm::EveryMs(ms) => humantime::format_duration(Duration::from_millis(*ms)).fmt(f),
            Rhythm::AfterEndMs(ms) => humantime::format_duration(Duration::from_millis(*ms)).fmt(f),
        }
    }
}

/// A rhythm that has been checked and can be asked.
#[derive(Debug)]
pub(crate) enum TickSeries {
    #[cfg(feature = "cron")]
    Cron(Box<super::cron::Cron>),
    /// In milliseconds.
    Every(i64),
    AfterEnd(Duration),
}

impl TickSeries {
    /// The first tick of a schedule that begins now.
    pub(crate) fn first(&self, now: Timestamp) -> Option<Timestamp> {
        match self {
            TickSeries::AfterEnd(pause) => Some(now.saturating_add(*pause)),
            _ => self.after(now),
        }
    }

    /// The tick after this one (of a cron pattern: after any time). After an end, the next tick is not known before the end.
    pub(crate) fn after(&self, tick: Timestamp) -> Option<Timestamp> {
        match self {
            #[cfg(feature = "cron")]
            TickSeries::Cron(cron) => cron.after(tick),
            TickSeries::Every(period) => tick.as_millis().checked_add(*period).map(Timestamp::from_millis),
            TickSeries::AfterEnd(_) => None,
        }
    }

    /// The last tick from `from`, which is one, up to `to`; `from` itself if `to` lies before it.
    pub(super) fn newest(&self, from: Timestamp, to: Timestamp) -> Timestamp {
        let (low, high) = (from.as_millis(), to.as_millis());
        match self {
            _ if high <= low => from,
            TickSeries::Every(period) => {
                Timestamp::from_millis(low.saturating_add(high.saturating_sub(low) / period * period))
            }
            TickSeries::AfterEnd(_) => from,
            #[cfg(feature = "cron")]
            TickSeries::Cron(_) => {
                // Whether a tick follows up to `to`: that is so before the last tick, and not from it on.
                let follows =
                    |time: i64| self.after(Timestamp::from_millis(time)).is_some_and(|tick| tick <= to);
                let (mut before, mut beyond) = (low.saturating_sub(1), high);
                while beyond - before > 1 {
                    let middle = before + (beyond - before) / 2;
                    if follows(middle) { before = middle } else { beyond = middle }
                }
                self.after(Timestamp::from_millis(before)).map_or(from, |tick| tick.max(from))
            }
        }
    }

    /// How many ticks there are from `from` to `to`, which both are ticks. Those of a pattern are counted up to `most`.
    pub(super) fn count(&self, from: Timestamp, to: Timestamp, most: u64) -> u64 {
        if let TickSeries::Every(period) = self {
            return u64::try_from(to.as_millis().saturating_sub(from.as_millis()) / period).unwrap_or(0) + 1;
        }
        let (mut n, mut tick) = (1, from);
        while let Some(next) = self.after(tick).filter(|next| *next <= to && n < most) {
            (n, tick) = (n + 1, next);
        }
        n
    }

    /// In words, if it is a pattern.
    pub(crate) fn words(&self) -> Option<String> {
        match self {
            #[cfg(feature = "cron")]
            TickSeries::Cron(cron) => Some(cron.words()),
            _ => None,
        }
    }
}

/// A number that is always the same for the same file, schedule and tick, spread evenly.
pub(super) fn draw(file_id: &[u8; 16], name: &str, tick: Timestamp) -> u64 {
    let mut input = tick.as_millis().to_le_bytes().to_vec();
    input.extend_from_slice(name.as_bytes());
    SipHasher13::new_with_key(file_id).hash(&input)
}
