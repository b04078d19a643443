//! The unique key of a job, as it is typed or stands in a line of a batch.

use std::time::Duration;

use super::option_names::OptionStyle;
use crate::console::CliError;
use crate::console::times::age;
use crate::{OnConflict, Unique};

/// So many times the delay enqueues can put a job off, if nothing else is asked for.
const MAX_WAIT_FACTOR: u32 = 10;
/// … and no longer than any time of an option may be: ten years.
const LONGEST_WAIT: Duration = Duration::from_secs(315_576_000);

/// What to do if the key is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConflictRule {
    Keep,
    Replace,
    ReplaceArgs,
    /// With the longest wait, if one is named.
    Debounce(Option<Duration>),
}

/// Reads a rule.
///
/// # Errors
/// What is wrong with it, and what it could be.
pub(super) fn conflict_rule(text: &str) -> Result<ConflictRule, String> {
    match text.split_once('=').map_or((text, None), |(rule, wait)| (rule, Some(wait))) {
        ("keep", None) => Ok(ConflictRule::Keep),
        ("replace", None) => Ok(ConflictRule::Replace),
        ("replace-args", None) => Ok(ConflictRule::ReplaceArgs),
        ("debounce", None) => Ok(ConflictRule::Debounce(None)),
        ("debounce", Some(wait)) => Ok(ConflictRule::Debounce(Some(age(wait)?))),
        _ => Err("it is keep, replace, replace-args, debounce, or debounce=MAX_WAIT such as debounce=1m"
            .to_owned()),
    }
}

/// What is asked of a unique key.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct UniqueOptions {
    /// Add nothing if a job of the queue with this key is not finished yet
    #[arg(long, value_name = "KEY")]
    pub unique: Option<String>,
    /// The key is free again when the job starts: what comes while it runs makes one job more
    #[arg(long, requires = "unique")]
    pub until_started: bool,
    /// The key is taken for at least so long, such as 24h, even if the job has finished or is gone
    #[arg(long = "for", value_name = "TIME", value_parser = age, requires = "unique")]
    pub lasts: Option<Duration>,
    /// What to do if the key is taken by a job that waits: keep it; replace it; replace-args, its command line alone; debounce, which also
    /// lets it wait --delay anew, until MAX_WAIT after it was added [default of MAX_WAIT: 10 times the delay] [default: keep]
    #[arg(
        long,
        value_name = "keep|replace|replace-args|debounce[=MAX_WAIT]",
        value_parser = conflict_rule,
        requires = "unique"
    )]
    pub on_conflict: Option<ConflictRule>,
}

impl UniqueOptions {
    /// The key of a job that waits this long, if it has one.
    ///
    /// # Errors
    /// Options that need another one.
    pub(super) fn unique(
        &self,
        delay: Option<Duration>,
        style: OptionStyle,
    ) -> Result<Option<Unique>, CliError> {
        let Some(key) = &self.unique else {
            let without = self.until_started || self.lasts.is_some() || self.on_conflict.is_some();
            let options = style.names(&["until_started", "for", "on_conflict"]);
            return match without {
                true => Err(CliError::usage(format!(
                    "{options} say more of a unique key; name it: {}",
                    style.name("unique")
                ))),
                false => Ok(None),
            };
        };
        let unique = Unique::key(key);
        let unique = if self.until_started { unique.until_started() } else { unique };
        let unique = self.lasts.map_or(unique.clone(), |lasts| unique.for_(lasts));
        let on_conflict = match self.on_conflict.unwrap_or(ConflictRule::Keep) {
            ConflictRule::Keep => OnConflict::Keep,
            ConflictRule::Replace => OnConflict::Replace,
            ConflictRule::ReplaceArgs => OnConflict::ReplaceArgs,
            ConflictRule::Debounce(max_wait) => {
                let delay = delay.unwrap_or_default(); // without one, it is refused
                let by_default = || delay.saturating_mul(MAX_WAIT_FACTOR).min(LONGEST_WAIT);
                OnConflict::Debounce { max_wait: max_wait.unwrap_or_else(by_default) }
            }
        };
        Ok(Some(unique.on_conflict(on_conflict)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_read_with_its_longest_wait() {
        let minute = Duration::from_secs(60);
        assert_eq!(conflict_rule("debounce=1m"), Ok(ConflictRule::Debounce(Some(minute))));
        assert_eq!(conflict_rule("replace-args"), Ok(ConflictRule::ReplaceArgs));
        for wrong in ["", "keep=1m", "Replace", "debounced"] {
            assert!(conflict_rule(wrong).unwrap_err().contains("debounce=1m"), "{wrong}");
        }
        assert!(
            conflict_rule("debounce=").is_err()
                && conflict_rule("debounce=1").unwrap_err().contains("no unit")
        );
        let options = UniqueOptions {
            unique: Some("k".to_owned()),
            on_conflict: Some(ConflictRule::Debounce(None)),
            ..UniqueOptions::default()
        };
        let ten = OnConflict::Debounce { max_wait: 10 * minute };
        assert_eq!(
            options.unique(Some(minute), OptionStyle::Json).unwrap(),
            Some(Unique::key("k").on_conflict(ten))
        );
    }
}
