//! What can mend itself is borne for a while: a file that cannot be read now, a disk that is full.

use std::time::Duration;

use super::error::CliError;
use super::text::safe;
use super::words::span;

/// How long an obstacle is borne.
const TOLERANCE_LIMIT: Duration = Duration::from_secs(10);

/// Since when an obstacle lasts, on the monotonic clock; none if there is none.
#[derive(Debug, Default)]
pub(crate) struct Tolerance(Option<Duration>);

impl Tolerance {
    /// Bears an error; the first one is told.
    ///
    /// # Errors
    /// The same, if it has lasted.
    pub(crate) fn bear(
        &mut self,
        error: CliError,
        now: Duration,
        tell: impl FnOnce(&str),
    ) -> Result<(), CliError> {
        if self.0.is_none() {
            tell(&format!("trying again for {}: {}", span(TOLERANCE_LIMIT), safe(&error.message)));
        }
        if self.is_over(now) { Err(error) } else { Ok(()) }
    }

    /// The obstacle is there. Whether it has lasted for [`TOLERANCE_LIMIT`].
    pub(crate) fn is_over(&mut self, now: Duration) -> bool {
        now.saturating_sub(*self.0.get_or_insert(now)) >= TOLERANCE_LIMIT
    }

    /// The obstacle is gone.
    pub(crate) fn renew(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_obstacle_is_borne_for_ten_seconds_without_a_break() {
        let (mut tolerance, second) = (Tolerance::default(), Duration::from_secs(1));
        assert!(!tolerance.is_over(5 * second));
        assert!(!tolerance.is_over(14 * second) && tolerance.is_over(15 * second));
        tolerance.renew();
        let mut told = Vec::new();
        let mut bear = |now: u32| {
            tolerance.bear(CliError::usage("no"), now * second, |text| told.push(text.to_owned())).is_ok()
        };
        assert!(bear(20) && bear(29) && !bear(30));
        assert_eq!(told, ["trying again for 10 s: no"]);
    }
}
