//! How a verb ends: well, with a no, or in trouble.

use std::fmt;
use std::process::ExitCode;

use crate::{Error, ErrorKind};

/// How the command ended: its exit code. 2, wrong usage, is clap's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exit {
    /// 0: done.
    Done = 0,
    /// 1: done, and the answer is no: tasks failed, problems were found, nothing was meant.
    No = 1,
    /// 2: what was typed cannot be meant.
    Usage = 2,
    /// 3: refused: no such task, a state that does not allow it, a taken unique key.
    Refused = 3,
    /// 4: the file, the disk or the terminal.
    File = 4,
    /// 129: its terminal has gone (SIGHUP); what ran was handed back.
    HungUp = 129,
    /// 130: interrupted by SIGINT; what ran was handed back.
    Interrupted = 130,
    /// 143: terminated by SIGTERM; what ran was handed back.
    Terminated = 143,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// What a verb answers.
pub(crate) type Done = Result<Exit, Trouble>;

/// Why a verb could not do what it was asked, and what to do next.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub exit: Exit,
    pub message: String,
}

impl Trouble {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Trouble {
        Trouble { exit, message: message.into() }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Trouble {
        Trouble::new(Exit::Usage, message)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        let exit = match error.kind() {
            ErrorKind::InvalidInput | ErrorKind::InvalidConfig => Exit::Usage,
            ErrorKind::NotFound
            | ErrorKind::WrongState
            | ErrorKind::Conflict
            | ErrorKind::TooLarge
            | ErrorKind::Serialization => Exit::Refused,
            _ => Exit::File,
        };
        Trouble::new(exit, error.to_string())
    }
}

/// A screen or a file of the user's that cannot be written.
impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Trouble {
        Trouble::new(Exit::File, error.to_string())
    }
}
