//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

pub const HELP: &str = "\
Write a SHA-256 manifest of a directory tree, as `sha256sum -c` reads it. Killed and started again, it goes on where it was.

Usage: checksum [--workers N] [--db FILE] [--] DIR

  DIR          the directory; symbolic links in it are not followed, and only regular files are read
  --workers N  files that are read at the same time (1-1024, default 2)
  --db FILE    where to keep the state until the manifest is written (default: DIR.perdura.db, beside DIR)
  --help       this text

The manifest goes to the standard output when every file is done, sorted by path; progress and failures go to the standard error.
When all went well, the state is removed. Files that could not be read are listed, and the state is kept: the next run tries them
again and reads no other file twice, unless it has changed.

Exit codes: 0 every file is in the manifest; 1 some files failed, the manifest has the others; 2 wrong usage, an error of the
state file or of the output.
";

/// What the command line asks for.
pub enum Asked {
    Help,
    Manifest(Args),
}

pub struct Args {
    /// The directory, as the user typed it.
    pub dir: PathBuf,
    pub workers: usize,
    pub db: Option<PathBuf>,
}

/// Two: while one worker waits for the disk, the other computes.
const DEFAULT_WORKERS: usize = 2;

/// Reads the command line, without the program's name.
pub fn parse(mut given: impl Iterator<Item = OsString>) -> Result<Asked, String> {
    let (mut dirs, mut workers, mut db) = (Vec::new(), DEFAULT_WORKERS, None);
    while let Some(arg) = given.next() {
        let text = arg.to_str().unwrap_or_default();
        let (flag, glued) = match text.split_once('=') {
            Some((flag, value)) if flag.starts_with("--") => (flag, Some(OsString::from(value))),
            _ => (text, None),
        };
        let mut value = || glued.clone().or_else(|| given.next()).ok_or(format!("{flag} needs a value"));
        match flag {
            "--help" | "-h" => return Ok(Asked::Help),
            "--workers" => workers = number(&value()?)?,
            "--db" => db = Some(PathBuf::from(value()?)),
            "--" => dirs.extend(given.by_ref()),
            flag if flag.starts_with('-') && flag != "-" => return Err(format!("unknown option {flag:?}")),
            _ => dirs.push(arg),
        }
    }
    match <[OsString; 1]>::try_from(dirs) {
        Ok([dir]) => Ok(Asked::Manifest(Args { dir: dir.into(), workers, db })),
        Err(dirs) if dirs.is_empty() => Err("the directory is missing".to_owned()),
        Err(dirs) => Err(format!("one directory at a time, not {}", dirs.len())),
    }
}

fn number(value: &OsString) -> Result<usize, String> {
    let number = value.to_str().and_then(|text| text.parse().ok());
    number
        .filter(|n| (1..=1024).contains(n))
        .ok_or(format!("--workers {value:?} is not a number from 1 to 1024"))
}
