//! Where a report goes: a file of its own that is there as a whole or not at all.

use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::console::whole_file::WholeFile;
use crate::console::{CliError, Exit};

/// Suffixes of the task file and the files that belong to it: SQLite's, and the locks of its owner and of its worker.
const SIDE_FILES: [&str; 6] = ["", "-wal", "-shm", "-journal", "-owner", "-jobs"];

/// Refuses a place that no report may be written to.
///
/// # Errors
/// What is there, and what to do.
pub(super) fn check(target: &Path, force: bool, tasks: &Path) -> Result<(), CliError> {
    let refuse = |why: &str| Err(CliError::new(Exit::File, format!("--output {}: {why}", target.display())));
    if is_part_of(target, tasks) {
        return refuse("the tasks are kept there; name another file");
    }
    match std::fs::symlink_metadata(target) {
        Ok(found) if !found.is_file() => refuse("there is something that is no regular file; name another"),
        Ok(_) if !force => refuse(EXISTS),
        _ => Ok(()),
    }
}

const EXISTS: &str = "the file exists; name another, or replace it with --force";

/// Whether this is the file with the tasks or one that belongs to it, even if that does not exist yet: a page in the place of a WAL would destroy it.
fn is_part_of(target: &Path, tasks: &Path) -> bool {
    let Some(target) = place(target) else { return false };
    let whole = [Some(tasks.to_owned()), tasks.canonicalize().ok()];
    whole.into_iter().flatten().any(|tasks| {
        SIDE_FILES.iter().any(|end| {
            let mut part = tasks.as_os_str().to_owned();
            part.push(end);
            place(Path::new(&part)).is_some_and(|part| part == target)
        })
    })
}

/// The canonical path of a file that may not exist yet.
fn place(path: &Path) -> Option<PathBuf> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    path.canonicalize().ok().or_else(|| Some(folder.canonicalize().ok()?.join(path.file_name()?)))
}

/// Writes it; only its owner can read it.
///
/// # Errors
/// The disk's; nothing is left then.
pub(super) fn write(target: &Path, force: bool, bytes: &[u8]) -> Result<(), CliError> {
    let written = WholeFile::create(beside(target)?).and_then(|mut file| {
        file.write_all(bytes)?;
        file.publish(target, force)
    });
    written.map_err(|e| {
        let error = CliError::of_target(target, &e);
        let message = match e.kind() {
            io::ErrorKind::AlreadyExists => format!("{}: {EXISTS}", target.display()),
            _ => error.message,
        };
        CliError { message: format!("--output {message}"), ..error }
    })
}

/// A name of its own beside the target.
fn beside(target: &Path) -> Result<PathBuf, CliError> {
    let Some(name) = target.file_name() else {
        return Err(CliError::usage(format!("--output {}: name a file", target.display())));
    };
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{:016x}", RandomState::new().hash_one(std::process::id())));
    Ok(target.with_file_name(temporary))
}
