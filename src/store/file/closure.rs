//! Tracks whether this thread is inside the closure of a program's transaction, which holds the
//! writer.

use std::cell::Cell;

use crate::error::{Error, ErrorKind};
use crate::planted::planted;

thread_local! {
    /// The program's own statements are running on this thread.
    static IN_CLOSURE: Cell<bool> = const { Cell::new(false) };
}

/// Notes whether the program's statements run on this thread from now on.
pub(crate) fn set_inside(is_inside: bool) {
    IN_CLOSURE.set(is_inside);
}

/// Refuses a call that would wait for the transaction that is open on this thread.
///
/// # Errors
/// `WouldDeadlock`.
pub(crate) fn check_outside() -> Result<(), Error> {
    if IN_CLOSURE.get() && !planted("g17-a-queue-can-be-called-inside-its-transaction") {
        let message = "a queue was called inside the closure of a transaction, for which it may have to wait; use what the closure is \
                       given, or call the queue after the transaction";
        return Err(Error::new(ErrorKind::WouldDeadlock, message));
    }
    Ok(())
}
