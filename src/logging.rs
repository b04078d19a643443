//! What is told to the program's log.
//!
//! A logger is code of the program, and may panic: `eprintln!` does when nobody reads the other end any more. What it throws ends here,
//! so it takes no thread and no lock of ours with it. Nothing is told while a lock is held, since a logger may use a queue itself.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::planted::planted;

/// The target of what becomes of attempts. (All else has the name of its module.)
pub(crate) const OUTCOMES: &str = "perdura::outcomes";

/// The target of handlers that do not end in time.
pub(crate) const DEADLINES: &str = "perdura::deadlines";

/// The target of what keeps a process from running tasks, and that it is over.
pub(crate) const OBSTACLES: &str = "perdura::obstacles";

/// Tells the log something: a target or none, a level, and what `format!` takes.
macro_rules! tell {
    (target: $target:expr, $level:ident, $($what:tt)+) => {
        $crate::logging::guarded(|| log::log!(target: $target, log::Level::$level, $($what)+))
    };
    ($level:ident, $($what:tt)+) => {
        $crate::logging::guarded(|| log::log!(log::Level::$level, $($what)+))
    };
}
pub(crate) use tell;

/// Calls the logger, whatever it does.
pub(crate) fn guarded(say: impl FnOnce()) {
    if planted("g13-a-panic-of-the-logger-goes-on") {
        return say();
    }
    if let Err(payload) = catch_unwind(AssertUnwindSafe(say)) {
        drop_quietly(payload);
    }
}

/// Does something on a thread of ours; none if it panicked, which is told.
pub(crate) fn survive<R>(what: &str, act: impl FnOnce() -> R) -> Option<R> {
    let payload = match catch_unwind(AssertUnwindSafe(act)) {
        Ok(done) => return Some(done),
        Err(payload) => payload,
    };
    tell!(Error, "{what} panicked ({}); please report it", panic_text(&*payload));
    drop_quietly(payload);
    None
}

/// What a panic says.
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without a text")
}

/// Drops what a panic has thrown, which may panic itself: what that throws is left alone, since it could go on for ever.
pub(crate) fn drop_quietly(payload: Box<dyn Any + Send>) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(again);
    }
}
