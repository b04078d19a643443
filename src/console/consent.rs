//! `--yes` and `--dry-run`: verbs that may change many tasks ask first.

use super::error::{CliError, Exit};
use super::session::Session;

/// The options `--yes` and `--dry-run`.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Consent {
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    /// Say how many are meant, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

impl Consent {
    /// Asks before `count` tasks are changed; the exit code if they must not be.
    pub(crate) fn confirm(
        self,
        session: &mut Session,
        what: &str,
        count: u64,
    ) -> Result<Option<Exit>, CliError> {
        if self.dry_run {
            if session.json {
                session.screen.json(&serde_json::json!({ "would_change": count }))?;
            } else {
                session.screen.line(format_args!("would {what}"))?;
            }
            return Ok(Some(if count == 0 { Exit::No } else { Exit::Done }));
        }
        if self.yes || count == 0 {
            return Ok(None);
        }
        match session.screen.ask(&format!("{what}?"))? {
            Some(true) => Ok(None),
            Some(false) => Ok(Some(Exit::No)),
            None => {
                let message = format!("it would {what}; say --yes, as there is no terminal to ask on");
                Err(CliError::usage(message))
            }
        }
    }
}
