//! Where a report goes: a file of its own that is there as a whole or not at all.

use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::console::{CliError, Exit};

/// Suffixes of the task file and the files that belong to it.
const SIDE_FILES: [&str; 4] = ["", "-wal", "-shm", "-owner"];

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

/// Whether this is the file with the tasks or one beside it, there already or not: a page in the place of a WAL would be the end of it.
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

/// The one path of a file that may not be there yet.
fn place(path: &Path) -> Option<PathBuf> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    path.canonicalize().ok().or_else(|| Some(folder.canonicalize().ok()?.join(path.file_name()?)))
}

/// Writes under a name of its own beside the target, readable only by its owner, and then gives it the target's name.
///
/// # Errors
/// The disk's; nothing is left then.
pub(super) fn write(target: &Path, force: bool, bytes: &[u8]) -> Result<(), CliError> {
    let temporary = beside(target)?;
    let written = fill(&temporary, bytes).and_then(|()| publish(&temporary, target, force));
    written.map_err(|e| {
        let _ = std::fs::remove_file(&temporary); // the first error is what counts
        let error = CliError::of_target(target, &e);
        let message = match e.kind() {
            io::ErrorKind::AlreadyExists => format!("{}: {EXISTS}", target.display()),
            _ => error.message,
        };
        CliError { message: format!("--output {message}"), ..error }
    })
}

fn beside(target: &Path) -> Result<PathBuf, CliError> {
    let Some(name) = target.file_name() else {
        return Err(CliError::usage(format!("--output {}: name a file", target.display())));
    };
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{:016x}", RandomState::new().hash_one(std::process::id())));
    Ok(target.with_file_name(temporary))
}

fn fill(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(unix)]
fn create(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

#[cfg(not(unix))]
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

/// A rename replaces what is there; a link does not. Where there are no links, what came meanwhile is looked for once more.
fn publish(temporary: &Path, target: &Path, force: bool) -> io::Result<()> {
    if force {
        return std::fs::rename(temporary, target);
    }
    match std::fs::hard_link(temporary, target) {
        Ok(()) => std::fs::remove_file(temporary),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(e),
        Err(_) if std::fs::symlink_metadata(target).is_ok() => Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => std::fs::rename(temporary, target),
    }
}
