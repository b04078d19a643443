//! What every verb, the screen and the report share: the terminal, words and times, errors and exit codes, a run's file, filters; and what
//! is known of a file and its tasks (`inspect`).
//!
//! It knows nothing of verbs, jobs, the screen and the report, and of the file only what the public API tells.

pub(crate) mod consent;
pub(crate) mod error;
pub(crate) mod filter;
pub(crate) mod inspect;
pub(crate) mod json;
pub(crate) mod options;
#[cfg(unix)]
pub(crate) mod os_word;
pub(crate) mod paging;
pub(crate) mod refusal;
pub(crate) mod screen;
pub(crate) mod session;
pub(crate) mod shortage;
#[cfg(unix)]
pub(crate) mod sizes;
pub(crate) mod table;
pub(crate) mod text;
pub(crate) mod times;
pub(crate) mod tolerance;
pub(crate) mod whole_file;
pub(crate) mod words;

pub use error::Exit;
pub(crate) use error::{CliError, CliResult, system};
pub(crate) use options::{FileOption, GlobalOptions, no_json};
pub use screen::ColorChoice;
pub(crate) use session::Session;
