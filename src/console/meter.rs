//! How far something is that takes long: a percentage on the terminal of whoever waits for it.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use crate::{Clock, Progress, SystemClock};

/// What takes less shows nothing.
const PATIENCE: Duration = Duration::from_millis(500);

/// A percentage on stderr, if that is a terminal; gone when this is dropped.
pub(crate) struct Meter {
    what: &'static str,
    /// Begun with it.
    clock: SystemClock,
    shown: Option<u64>,
    is_seen: bool,
}

impl Meter {
    /// For something that `what` names: `copied`.
    pub(crate) fn new(what: &'static str) -> Meter {
        Meter { what, clock: SystemClock::new(), shown: None, is_seen: io::stderr().is_terminal() }
    }

    /// So far it is.
    pub(crate) fn tell(&mut self, Progress { done, total }: Progress) {
        let percent = u64::try_from(u128::from(done) * 100 / u128::from(total.max(1))).unwrap_or(100);
        if self.is_seen && self.shown != Some(percent) && self.clock.monotonic() >= PATIENCE {
            self.shown = Some(percent);
            let _ = write!(io::stderr(), "\r{percent} % {}", self.what); // a meter that nobody sees is none
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if self.shown.is_some() {
            let _ = write!(io::stderr(), "\r{:1$}\r", "", self.what.len() + 6); // as above
        }
    }
}
