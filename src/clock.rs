//! The only file that reads the time. Everyone else is told it.

use std::time::{Duration, Instant, SystemTime};

use crate::task::Timestamp;

/// Where a queue reads the time. [`SystemClock`] is the real one; tests bring their own
/// ([`testing::ManualClock`](crate::testing::ManualClock)).
pub trait Clock: Send + Sync + 'static {
    /// The wall clock: what people and other machines agree on. It may jump.
    fn now(&self) -> Timestamp;

    /// Time since some fixed moment. It never goes back, and may stand still while the machine sleeps.
    fn monotonic(&self) -> Duration;
}

/// When the machine was started, as exactly as the wall clock is; none where a file tells one start from the next, or nothing does.
pub(crate) fn booted_at() -> Option<Timestamp> {
    #[cfg(any(target_os = "macos", windows))]
    return uptime_lib::get().ok().map(|uptime| Timestamp::from(SystemTime::now()).before(uptime));
    #[cfg(not(any(target_os = "macos", windows)))]
    None
}

/// The clocks of the operating system.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time begins now.
    pub fn new() -> SystemClock {
        SystemClock { origin: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }

    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }
}
