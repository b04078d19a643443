//! Why a queued task may not be claimed: all that it waits for, of which one thing at a time is its hold.

use crate::task::Hold;

/// What a queued task waits for, a bit for each; none: it is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Reasons(i64);

impl Reasons {
    /// It waits for nothing.
    pub(crate) const NONE: Reasons = Reasons(0);

    /// This alone; nothing for `Ready`, which is no reason.
    pub(crate) fn of(hold: Hold) -> Reasons {
        Reasons::NONE.with(hold)
    }

    /// This as well.
    pub(crate) fn with(self, hold: Hold) -> Reasons {
        Reasons(self.0 | bit(hold))
    }

    /// This no longer; what else it waits for stays.
    pub(crate) fn without(self, hold: Hold) -> Reasons {
        Reasons(self.0 & !bit(hold))
    }

    pub(crate) fn contains(self, hold: Hold) -> bool {
        self.0 & bit(hold) != 0
    }

    /// All of them, in the order in which they hold the task.
    pub(crate) fn holds(self) -> impl Iterator<Item = Hold> {
        Hold::REASONS.into_iter().filter(move |hold| self.contains(*hold))
    }

    /// The one that holds it: the first.
    pub(crate) fn hold(self) -> Hold {
        self.holds().next().unwrap_or(Hold::Ready)
    }

    /// The bits as they stand in a row.
    pub(crate) fn code(self) -> i64 {
        self.0
    }

    /// What these bits mean; none if one of them means nothing.
    pub(crate) fn from_code(code: i64) -> Option<Reasons> {
        let known = Hold::REASONS.into_iter().fold(Reasons::NONE, Reasons::with);
        (code & !known.0 == 0).then_some(Reasons(code))
    }
}

/// The bit of a hold: a hold's number is one more than its place, so that the lowest bit is the hold.
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
