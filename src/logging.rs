//! Calls of the program's logger.
//!
//! A logger is code of the program, and may panic: `eprintln!` does when its pipe has no reader.
//! The panic is caught here, so no thread of ours ends and no lock of ours is poisoned. Nothing is
//! logged while a lock is held, since a logger may itself call a queue.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::planted::planted;

/// The log target of the outcomes of attempts. (Other messages have the path of their module.)
pub(crate) const OUTCOMES: &str = "perdura::outcomes";

/// The log target of handlers that do not end in time.
pub(crate) const DEADLINES: &str = "perdura::deadlines";

/// The log target of obstacles to running tasks, and of their end.
pub(crate) const OBSTACLES: &str = "perdura::obstacles";

/// Logs a message: a target or none, a level, and the arguments of `format!`.
macro_rules! tell {
    (target: $target:expr, $level:ident, $($what:tt)+) => {
        $crate::logging::guarded(|| log::log!(target: $target, log::Level::$level, $($what)+))
    };
    ($level:ident, $($what:tt)+) => {
        $crate::logging::guarded(|| log::log!(log::Level::$level, $($what)+))
    };
}
pub(crate) use tell;

/// Calls the logger, and catches its panic.
pub(crate) fn guarded(say: impl FnOnce()) {
    if planted("g13-a-panic-of-the-logger-goes-on") {
        return say();
    }
    if let Err(payload) = catch_unwind(AssertUnwindSafe(say)) {
        drop_quietly(payload);
    }
}

/// Runs `act` on a thread of ours; none if it panicked, which is logged.
pub(crate) fn survive<R>(what: &str, act: impl FnOnce() -> R) -> Option<R> {
    let payload = match catch_unwind(AssertUnwindSafe(act)) {
        Ok(done) => return Some(done),
        Err(payload) => payload,
    };
    tell!(Error, "{what} panicked ({}); please report it", panic_text(&*payload));
    drop_quietly(payload);
    None
}

/// The message of a panic.
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without a text")
}

/// Drops the payload of a panic. That may panic again; the payload of the second panic is leaked,
/// since dropping it could go on for ever.
pub(crate) fn drop_quietly(payload: Box<dyn Any + Send>) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(again);
    }
}
