//! The options of every verb: which file, and how to answer.

use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};

use super::screen::ColorChoice;

/// The heading of what every verb takes.
const GLOBAL_HEADING: &str = "Everywhere";

/// The file that `perdura` is told to use.
#[derive(Debug, clap::Args)]
pub(crate) struct FileOption {
    /// The file with the tasks [default: perdura.db]
    #[arg(long, global = true, env = "PERDURA_DB", hide_env_values = true, value_name = "FILE", help_heading = GLOBAL_HEADING,
          value_parser = file())]
    pub db: Option<PathBuf>,
}

/// The path of a file; an empty one, as from an unset variable of a shell, is refused.
fn file() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().try_map(|path| match path.is_empty() {
        true => Err("it is empty; name a file, or unset PERDURA_DB if that is where it comes from"),
        false => Ok(PathBuf::from(path)),
    })
}

/// What every verb takes.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct GlobalOptions {
    /// Answer in JSON: one document, or one line for each task
    #[arg(long, global = true, help_heading = GLOBAL_HEADING)]
    pub json: bool,
    /// Show times in UTC, not in local time (TZ); JSON always has UTC
    #[arg(long, global = true, help_heading = GLOBAL_HEADING)]
    pub utc: bool,
    /// When to colour; NO_COLOR turns it off, too
    #[arg(long, global = true, value_enum, default_value_t = ColorChoice::Auto, value_name = "auto|always|never", help_heading = GLOBAL_HEADING,
          hide_possible_values = true, hide_default_value = true)]
    pub color: ColorChoice,
}

/// `--json` of a verb that has no answer in JSON: the help leaves it out, and the verb refuses it with the reason.
pub(crate) fn no_json() -> clap::Arg {
    clap::Arg::new("json").long("json").hide(true).action(clap::ArgAction::SetTrue)
}
