//! The events of a task's life: the input of the transition function.

use std::time::Duration;

use crate::config::LostRetry;

/// What happens to a task.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum TaskEvent {
    /// A worker is free for it.
    Claim,
    /// The tasks before it have ended.
    ParentsEnded,
    /// Its time (`run_at`) has come.
    Promote,
    /// Somebody asks to run it now, whatever its time and its turn among suspects.
    RunNow,
    /// A claim found that no handler knows its name.
    NameUnknown,
    /// A program with a handler of its name owns the file.
    NameKnown,
    /// A claim found that a condition that it needs is not met.
    ConditionMissing,
    /// The condition that it waits for is met.
    ConditionMet,
    /// It is its turn among the suspects.
    SuspectTurn,
    /// Its turn among the suspects is taken back (its queue was paused).
    SuspectWait,
    /// Its key has a permit for it.
    PermitGiven,
    /// Its permit goes to a task that goes before it.
    PermitTaken,
    /// A suspect has run for a minute: a task that kills its process does so sooner.
    ProvedHarmless,
    /// The thread of an attempt that had been given up returned.
    ThreadReturned,
    /// The handler returned Ok.
    Succeeded,
    /// An attempt ended otherwise. `Lost` applies if the task is LOST already (given up) or the end
    /// is [`AttemptEnd::Lost`].
    Ended(AttemptEnd, Lost),
    /// A handler that sends heartbeats stopped sending them.
    FellSilent,
    /// The process that ran it died after it had started.
    ProcessDied(Lost),
    /// Somebody cancels it.
    CancelRequested,
    /// It expired.
    Expired,
    /// Somebody retries it by hand.
    Retried,
    /// An enqueue with its unique key replaces its args or all of it.
    Replaced(Replacement),
    /// Somebody or the retention deletes it.
    Deleted,
    /// It becomes a dead letter.
    MovedToDeadLetters,
}

/// What a replaced task gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replacement {
    /// Args, options and time.
    Whole {
        /// It waits for its new time.
        waits: bool,
    },
    /// Args.
    Args,
    /// Args and time.
    ArgsAndTime {
        /// It waits for its new time.
        waits: bool,
    },
}

/// How an attempt that did not succeed ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum AttemptEnd {
    /// The handler returned an error, panicked, or stopped at its deadline.
    Failed {
        /// On the denylist or permanent: not retried, however many attempts are left.
        refused: bool,
        /// The wait before the next attempt.
        delay: Duration,
    },
    /// The handler wants to be called again later; the attempt does not count.
    Snoozed(Duration),
    /// It was claimed and not started, or interrupted by a shutdown; the attempt does not count.
    HandedBack,
    /// The handler declined it, as if no handler knew its name; the attempt does not count.
    Declined,
    /// The handler wants to be called again when a condition is met; the attempt does not count.
    Waits,
    /// The handler cancelled it.
    Cancelled,
    /// The handler returned, and the work goes on outside: the task does not end yet.
    WentOutside,
    /// The outcome of its work outside is unknown.
    Lost,
}

/// The rule for lost attempts: whether and when another one follows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Lost {
    pub retry: LostRetry,
    /// `TaskLost` is on the denylist.
    pub denied: bool,
    /// The wait, if `retry` asks for one.
    pub delay: Duration,
}
