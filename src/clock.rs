//! Clocks: the only file that reads the time. All other code is given it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant, SystemTime};

use crate::logging::drop_quietly;
use crate::planted::planted;
use crate::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use crate::task::Timestamp;

/// Where a queue reads the time. [`SystemClock`] is the real one; tests bring their own
/// ([`testing::ManualClock`](crate::testing::ManualClock)).
pub trait Clock: Send + Sync + 'static {
    /// The wall clock: what people and other machines agree on. It may jump.
    fn now(&self) -> Timestamp;

    /// Time since some fixed moment. It never goes back, and may stand still while the machine sleeps.
    fn monotonic(&self) -> Duration;
}

/// Wraps the program's clock. If that panics, its last answer is used: no thread and no transaction
/// of ours ends because of it.
pub(crate) struct Guarded<C> {
    clock: C,
    /// The last answer, in milliseconds since 1970.
    now: AtomicI64,
    /// The last answer, in nanoseconds.
    monotonic: AtomicU64,
}

impl<C: Clock> Guarded<C> {
    pub(crate) fn new(clock: C) -> Guarded<C> {
        Guarded { clock, now: AtomicI64::new(0), monotonic: AtomicU64::new(0) }
    }
}

impl<C: Clock> Clock for Guarded<C> {
    fn now(&self) -> Timestamp {
        match ask(|| self.clock.now()) {
            Some(now) => {
                self.now.store(now.as_millis(), Ordering::Relaxed);
                now
            }
            None => Timestamp::from_millis(self.now.load(Ordering::Relaxed)),
        }
    }

    fn monotonic(&self) -> Duration {
        match ask(|| self.clock.monotonic()) {
            Some(time) => {
                let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
                self.monotonic.store(nanos, Ordering::Relaxed);
                time
            }
            None => Duration::from_nanos(self.monotonic.load(Ordering::Relaxed)),
        }
    }
}

/// Reads a clock; none if it panics. The panic is not logged: the call may be inside a transaction,
/// where nothing is logged.
fn ask<T>(clock: impl FnOnce() -> T) -> Option<T> {
    if planted("g13-a-panic-of-the-clock-goes-on") {
        return Some(clock());
    }
    catch_unwind(AssertUnwindSafe(clock)).map_err(drop_quietly).ok()
}

/// When the machine was started, by the wall clock (macOS and Windows). None elsewhere: Linux has a
/// boot id in a file, other systems have nothing.
pub(crate) fn booted_at() -> Option<Timestamp> {
    #[cfg(any(target_os = "macos", windows))]
    return uptime_lib::get().ok().map(|uptime| Timestamp::from(SystemTime::now()).saturating_sub(uptime));
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
