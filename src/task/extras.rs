//! What a task has in other tables than its row, as bits.

/// What else has to be changed when a task ends or moves, one bit each. A settle of a task with no
/// bits takes the fast path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Extras(i64);

impl Extras {
    pub(crate) const NONE: Extras = Extras(0);
    /// A row of unique keys names it: it needs its key, or the key is taken for a time.
    pub(crate) const KEY: Extras = Extras(1);
    /// Its unique key is `until_started`: it needs the key while it is `QUEUED`, whether or not it
    /// has it.
    pub(crate) const UNTIL_STARTED: Extras = Extras(2);

    /// Its key has a limit: a row of limits names it.
    pub(crate) const LIMITED: Extras = Extras(4);
    /// It holds a permit of its limit.
    pub(crate) const PERMIT: Extras = Extras(8);
    /// It is serial and has started: it keeps its permit until it has ended.
    pub(crate) const STARTED: Extras = Extras(16);

    /// It has stored steps.
    pub(crate) const STEPS: Extras = Extras(32);

    /// It has a row of needs: conditions, free disk.
    pub(crate) const NEEDS: Extras = Extras(64);

    /// Its work is outside: a row of `perdura_outside` names it.
    pub(crate) const OUTSIDE: Extras = Extras(128);

    /// It is a run of a schedule, which follows its end.
    pub(crate) const RUN: Extras = Extras(1 << 16);

    /// All bits that are known.
    pub(crate) const KNOWN: Extras = Extras(255 | Extras::RUN.0);

    /// These if `is_so`; else none.
    pub(crate) fn only_if(self, is_so: bool) -> Extras {
        if is_so { self } else { Extras::NONE }
    }

    /// Adds these.
    pub(crate) fn with(self, others: Extras) -> Extras {
        Extras(self.0 | others.0)
    }

    /// Removes these.
    pub(crate) fn without(self, others: Extras) -> Extras {
        Extras(self.0 & !others.0)
    }

    pub(crate) fn contains(self, others: Extras) -> bool {
        self.0 & others.0 == others.0
    }

    /// The bits as the row stores them.
    pub(crate) fn code(self) -> i64 {
        self.0
    }

    /// The extras of these bits; none if a bit is unknown.
    pub(crate) fn from_code(code: i64) -> Option<Extras> {
        (code & !Extras::KNOWN.0 == 0).then_some(Extras(code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_that_mean_nothing_are_no_extras() {
        assert_eq!(Extras::from_code(0), Some(Extras::NONE));
        assert_eq!(Extras::from_code(1), Some(Extras::KEY));
        assert_eq!(Extras::from_code(3), Some(Extras::KEY.with(Extras::UNTIL_STARTED)));
        for code in [-1, i64::MIN, 1 << 40] {
            assert_eq!(Extras::from_code(code), None);
        }
        assert_eq!(Extras::NONE.with(Extras::KEY).without(Extras::KEY), Extras::NONE);
        assert!(Extras::KEY.contains(Extras::NONE) && !Extras::NONE.contains(Extras::KEY));
    }
}
