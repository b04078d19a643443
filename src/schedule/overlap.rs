//! What a tick does while an earlier run of its schedule is under way.

use super::rules::Overlap;
use crate::planted::planted;

/// What a tick does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It makes a run that may start.
    Run,
    /// It makes a run that waits until those before it have ended.
    Wait,
    /// The same, and the run that waits now is cancelled.
    Replace,
    /// It makes none.
    LeaveOut,
}

/// What a tick does: whether a run is live, whether one waits already, and whether this tick is one of several that were missed.
pub(crate) fn turn(overlap: Overlap, is_live: bool, one_waits: bool, is_backlog: bool) -> Turn {
    match overlap {
        Overlap::Allow => Turn::Run,
        _ if !is_live && !one_waits => Turn::Run,
        Overlap::Skip if planted("g15-a-tick-starts-beside-the-run-before") => Turn::Run,
        Overlap::Skip => Turn::LeaveOut,
        Overlap::Queue if one_waits && !is_backlog => Turn::LeaveOut,
        Overlap::Replace if one_waits => Turn::Replace,
        Overlap::Queue | Overlap::Replace => Turn::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g15_every_overlap_in_every_case() {
        use Turn::{LeaveOut, Replace, Run, Wait};
        for (overlap, live, with_one_waiting, backlog_with_one_waiting) in [
            (Overlap::Skip, LeaveOut, LeaveOut, LeaveOut),
            (Overlap::Queue, Wait, LeaveOut, Wait),
            (Overlap::Replace, Wait, Replace, Replace),
            (Overlap::Allow, Run, Run, Run),
        ] {
            assert_eq!(turn(overlap, false, false, false), Run, "{overlap:?}");
            assert_eq!(turn(overlap, true, false, false), live, "{overlap:?}");
            assert_eq!(turn(overlap, true, true, false), with_one_waiting, "{overlap:?}");
            assert_eq!(turn(overlap, true, true, true), backlog_with_one_waiting, "{overlap:?}");
        }
    }
}
