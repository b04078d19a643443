//! The rules that a schedule can choose from.

use serde::{Deserialize, Serialize};

/// What becomes of ticks that nobody has fired in their time, because no process executed.
///
/// A tick counts as missed if it is fired more than a minute late. [`Schedule::missed`](crate::Schedule::missed) has an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Missed {
    /// One run for the newest of them, if that is younger than the [`grace`](crate::Schedule::grace).
    #[default]
    Latest,
    /// No run.
    Skip,
    /// A run for each of the newest of them, up to `cap`, that is younger than the grace.
    All {
        /// How many at most: 1-1000.
        cap: u32,
    },
}

/// What a tick does while the run before is live. A run is live until it has ended, also while it waits for a retry.
///
/// [`Schedule::overlap`](crate::Schedule::overlap) has an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Overlap {
    /// The tick is left out, and counted.
    #[default]
    Skip,
    /// One run waits until the run before has ended; while one waits, ticks are left out.
    Queue,
    /// One run waits until the run before has ended, always the newest: it takes the place of one that waits, which is cancelled.
    Replace,
    /// The runs go on beside each other.
    Allow,
}
