//! What happens to a task: the events that the rules answer.

use std::time::Duration;

use crate::config::LostRetry;

/// What happens to a task.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum TaskEvent {
    /// A worker is free for it.
    Claim,
    /// The tasks before it have ended.
    ParentsEnded,
    /// Its time has come.
    Promote,
    /// Somebody wants it now, whatever its time and its turn among suspects.
    RunNow,
    /// It was to be claimed, but no handler knows its name.
    NameUnknown,
    /// A handler that knows its name has come.
    NameKnown,
    /// It was to be claimed, but a condition that it needs is not met.
    ConditionMissing,
    /// The condition that it waits for is met.
    ConditionMet,
    /// No other suspect is before it.
    SuspectTurn,
    /// Its turn among the suspects is taken back (its queue was paused).
    SuspectWait,
    /// Its key has a permit for it.
    PermitGiven,
    /// A task that goes before it takes the permit of its key.
    PermitTaken,
    /// It has been running for a while since it became a suspect: what kills a process does so sooner.
    ProvedHarmless,
    /// The thread of an attempt that had been given up has returned.
    ThreadReturned,
    /// The handler returned Ok.
    Succeeded,
    /// An attempt ended otherwise; the rule for lost ones holds if it had been given up before.
    Ended(AttemptEnd, Lost),
    /// A handler with heartbeats sends none any more.
    FellSilent,
    /// The process that ran it died after it had started.
    ProcessDied(Lost),
    /// Somebody cancels it.
    CancelRequested,
    /// Its time to start in is over.
    Expired,
    /// Somebody retries it by hand.
    Retried,
    /// An enqueue with its unique key puts another task in its place.
    Replaced(Replacement),
    /// Somebody deletes it, or age does.
    Deleted,
    /// It is to become a dead letter.
    MovedToDeadLetters,
}

/// What a replaced task is given.
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

/// How an attempt ended that did not succeed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum AttemptEnd {
    /// The handler returned an error, panicked, or stopped at its deadline.
    Failed {
        /// Denied or permanent: it is not retried, however many attempts are left.
        refused: bool,
        /// The wait before the next attempt.
        delay: Duration,
    },
    /// The handler wants to be called again later; the attempt does not count.
    Snoozed(Duration),
    /// It was claimed and not started, or interrupted by a shutdown; the attempt does not count.
    HandedBack,
    /// The handler of its name does not take it, as if it did not know the name; the attempt does not count.
    Declined,
    /// The handler wants to be called again when a condition is met; the attempt does not count.
    Waits,
    /// The handler cancelled it.
    Cancelled,
    /// The handler has returned, and the work goes on outside: it is no end yet.
    WentOutside,
    /// What became of its work outside is not known.
    Lost,
}

/// Whether and when a lost attempt is followed by another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Lost {
    pub retry: LostRetry,
    /// `TaskLost` is on the denylist.
    pub denied: bool,
    /// The wait, if `retry` asks for one.
    pub delay: Duration,
}
