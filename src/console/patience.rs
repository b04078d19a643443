//! What can mend itself is borne for a while: a file that cannot be read now, a disk that is full.

use std::time::Duration;

use super::error::CliError;
use super::text::safe;
use super::words::span;

/// How long an obstacle is borne.
const PATIENCE_LIMIT: Duration = Duration::from_secs(10);

/// Since when an obstacle lasts, on the monotonic clock; none if there is none.
#[derive(Debug, Default)]
pub(crate) struct Patience(Option<Duration>);

impl Patience {
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
            tell(&format!("trying again for {}: {}", span(PATIENCE_LIMIT), safe(&error.message)));
        }
        if self.is_over(now) { Err(error) } else { Ok(()) }
    }

    /// The obstacle is there. Whether it has lasted for [`PATIENCE_LIMIT`].
    pub(crate) fn is_over(&mut self, now: Duration) -> bool {
        now.saturating_sub(*self.0.get_or_insert(now)) >= PATIENCE_LIMIT
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
        let (mut patience, second) = (Patience::default(), Duration::from_secs(1));
        assert!(!patience.is_over(5 * second));
        assert!(!patience.is_over(14 * second) && patience.is_over(15 * second));
        patience.renew();
        let mut told = Vec::new();
        let mut bear = |now: u32| {
            patience.bear(CliError::usage("no"), now * second, |text| told.push(text.to_owned())).is_ok()
        };
        assert!(bear(20) && bear(29) && !bear(30));
        assert_eq!(told, ["trying again for 10 s: no"]);
    }
}
