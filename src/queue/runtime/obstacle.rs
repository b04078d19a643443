//! What keeps this process from running tasks: logged when it is new, and then seldom.

use std::time::Duration;

use crate::error::Error;
use crate::sync::{Mutex, lock};

/// How long it takes until the same obstacle is logged again: it is met each second.
const REPEAT_INTERVAL: Duration = Duration::from_secs(600);

/// What was in the way at the last try.
#[derive(Default)]
pub(crate) struct Obstacle(Mutex<Option<KnownObstacle>>);

struct KnownObstacle {
    why: Error,
    /// On the monotonic clock.
    said_at: Duration,
}

impl Obstacle {
    /// Something is in the way. True if it is to be logged: it is new, or was logged long ago.
    pub(crate) fn meet(&self, why: &Error, now: Duration) -> bool {
        let mut met = lock(&self.0);
        let is_new = |met: &KnownObstacle| {
            met.why.to_string() != why.to_string() || now.saturating_sub(met.said_at) >= REPEAT_INTERVAL
        };
        let is_said = met.as_ref().is_none_or(is_new);
        if is_said {
            *met = Some(KnownObstacle { why: why.repeat(), said_at: now });
        }
        is_said
    }

    /// Nothing is in the way any more. True if something was.
    pub(crate) fn pass(&self) -> bool {
        lock(&self.0).take().is_some()
    }

    pub(crate) fn why(&self) -> Option<Error> {
        lock(&self.0).as_ref().map(|met| met.why.repeat())
    }
}
