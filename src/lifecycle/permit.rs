//! Whether a task needs a permit of its key, by its state alone.

use super::hold_reasons::Reasons;
use crate::planted::planted;
use crate::task::{Hold, State};

/// What a task needs of the permits of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PermitNeed {
    /// None: it gives its permit back, or leaves the line of waiters.
    Nothing,
    /// One, to be ready: it keeps its permit, or waits in line for one.
    Turn,
    /// It keeps the one that it has: a thread runs it, or it is serial and has started.
    Keeps,
}

/// What a task needs of the permits of its key, if that has a limit. While it waits for a reason
/// that comes before the limit, it holds no permit, unless it is serial and has started
/// (`has_started`).
pub(crate) fn permit_need(state: State, in_flight: bool, reasons: Reasons, has_started: bool) -> PermitNeed {
    let before = reasons.without(Hold::Limit).without(Hold::Suspect);
    match state {
        _ if in_flight => PermitNeed::Keeps,
        State::Queued if before == Reasons::NONE => PermitNeed::Turn,
        State::Queued if has_started && !planted("g16-a-serial-task-lets-others-on-while-it-waits") => {
            PermitNeed::Keeps
        }
        State::Queued if planted("g16-a-retry-wait-keeps-its-permit") => PermitNeed::Keeps,
        _ => PermitNeed::Nothing,
    }
}
