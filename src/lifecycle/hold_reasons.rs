//! The reasons for which a queued task may not be claimed; the first of them is its hold.

use crate::task::Hold;

/// A set of reasons, one bit each. Empty: the task is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Reasons(i64);

impl Reasons {
    /// No reason: ready.
    pub(crate) const NONE: Reasons = Reasons(0);

    /// This reason alone; none for `Ready`.
    pub(crate) fn of(hold: Hold) -> Reasons {
        Reasons::NONE.with(hold)
    }

    /// Adds a reason.
    pub(crate) fn with(self, hold: Hold) -> Reasons {
        Reasons(self.0 | bit(hold))
    }

    /// Removes a reason; the others stay.
    pub(crate) fn without(self, hold: Hold) -> Reasons {
        Reasons(self.0 & !bit(hold))
    }

    pub(crate) fn contains(self, hold: Hold) -> bool {
        self.0 & bit(hold) != 0
    }

    /// The reasons, in the order in which they hold the task.
    pub(crate) fn holds(self) -> impl Iterator<Item = Hold> {
        Hold::REASONS.into_iter().filter(move |hold| self.contains(*hold))
    }

    /// The hold: the first reason.
    pub(crate) fn hold(self) -> Hold {
        self.holds().next().unwrap_or(Hold::Ready)
    }

    /// The bits as the row stores them.
    pub(crate) fn code(self) -> i64 {
        self.0
    }

    /// The reasons of these bits; none if a bit is unknown.
    pub(crate) fn from_code(code: i64) -> Option<Reasons> {
        let known = Hold::REASONS.into_iter().fold(Reasons::NONE, Reasons::with);
        (code & !known.0 == 0).then_some(Reasons(code))
    }
}

/// The bit of a hold: hold n has bit n − 1 (`Ready`, 0, has none), so the lowest bit that is set is
/// the hold.
fn bit(hold: Hold) -> i64 {
    1 << hold.code() >> 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_the_chain_is_the_order_of_the_bits() {
        assert_eq!(
            Hold::REASONS,
            [
                Hold::PreviousAttempt,
                Hold::Parents,
                Hold::Time,
                Hold::UnknownName,
                Hold::Condition,
                Hold::Limit,
                Hold::Suspect
            ]
        );
        assert!(Hold::REASONS.is_sorted());
        assert_eq!(bit(Hold::Ready), 0);
        for (n, first) in Hold::REASONS.into_iter().enumerate() {
            let all = Hold::REASONS[n..].iter().fold(Reasons::NONE, |all, hold| all.with(*hold));
            assert_eq!(all.hold(), first, "{all:?}");
            assert_eq!(i64::from(all.code().trailing_zeros()) + 1, first.code(), "{all:?}");
        }
    }

    #[test]
    fn bits_that_mean_nothing_are_no_reasons() {
        for code in 0..256 {
            let holds: Vec<Hold> = Reasons(code).holds().collect();
            let again = holds.iter().fold(Reasons::NONE, |all, hold| all.with(*hold));
            assert_eq!(Reasons::from_code(code), (again.code() == code).then_some(again), "{code}");
        }
        assert_eq!(Reasons::from_code(-1), None);
    }
}
