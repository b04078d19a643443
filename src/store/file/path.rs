//! Checks whether a path may be opened: what it names, and what lies beside it.
//!
//! SQLite finds the companions of a database by its name, and so do we. A file with two names would
//! have two WALs and two owners, whatever gives it the second name: a symbolic link, a hard link,
//! or a mount of the file by itself.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use super::create::file_error;
use super::identity::{beside, device, names};
use super::mounts::Mounts;
use crate::error::{Error, ErrorKind};
use crate::planted::planted;

/// No database is shorter than a page of 512 bytes. (SQLite takes a file of one byte for an empty
/// one and writes over it.)
const SMALLEST_DATABASE: u64 = 512;

/// The files that SQLite opens beside a database.
const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// The longest suffix that is put behind a file's name.
const LONGEST_SUFFIX: &str = "-journal";

/// SQLite's own limit for a path with its suffix, on Unix.
const LONGEST_PATH_BYTES: usize = 512;

/// The real path of a file: its folder resolved, its name as it is.
///
/// # Errors
/// `InvalidInput`, naming the path and what is wrong with it; `NetworkFileSystem`; `NotPerdura` for
/// a file that is too short; `Corrupt` for a WAL without its database; those of the folder.
pub(crate) fn canonical(path: &Path, network: bool) -> Result<PathBuf, Error> {
    let wrong = |problem: &str| Error::invalid_value("path", path.display(), problem);
    let text = path.as_os_str();
    if text.is_empty() {
        return Err(wrong("is empty; give the path of a file"));
    }
    if text.as_encoded_bytes().contains(&0) {
        return Err(wrong("has a NUL byte; remove it"));
    }
    if starts_with(text, "file:") {
        return Err(wrong("is a URI; give a plain path"));
    }
    if starts_with(text, ":memory:") {
        return Err(wrong("names SQLite's memory database; use open_temporary()"));
    }
    let name = path.file_name().ok_or_else(|| wrong("is a folder; give the path of a file in it"))?;
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let folder = folder.canonicalize().map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => wrong("is in a folder that does not exist; create it first"),
        _ => wrong("is in a folder that cannot be reached; check its permissions").with_source(e),
    })?;
    let real = folder.join(name);
    refuse_long(&real)?;
    let mounts = Mounts::read();
    if let Some(mounts) = mounts.as_ref().filter(|_| !network) {
        mounts.refuse_network(&folder)?;
    }
    refuse_mounted(&real, &folder, mounts.as_ref())?;
    for companion in COMPANIONS {
        refuse_odd(&beside(&real, companion))?;
    }
    // Before the database: see below.
    let left_wal = fs::symlink_metadata(beside(&real, "-wal")).is_ok_and(|wal| wal.len() > 0);
    match fs::symlink_metadata(&real) {
        Ok(found) if found.is_dir() => Err(wrong("is a folder; give the path of a file in it")),
        Ok(found) if found.is_symlink() => Err(wrong("is a symbolic link; give the path that it points to")),
        Ok(found) if !found.is_file() => Err(wrong("is not a regular file; give another path")),
        Ok(found) if (1..SMALLEST_DATABASE).contains(&found.len()) => Err(Error::new(
            ErrorKind::NotPerdura,
            format!("{} is not a database; give another path", real.display()),
        )),
        Ok(found) if names(&found) > 1 => Err(wrong(
            "has several names (hard links), and SQLite would keep a WAL for each; remove all but one of them",
        )),
        // Another program may be creating the database now. It makes the WAL last, so the WAL was
        // checked first.
        Ok(found) if found.len() == 0 && left_wal => Err(orphaned(&real)),
        Err(e) if e.kind() == io::ErrorKind::NotFound && left_wal => Err(orphaned(&real)),
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(file_error(&format!("{} cannot be looked at", real.display()), e))
        }
        _ => Ok(real),
    }
}

/// Refuses a name that leaves no room for a suffix, before a file of that name is created.
///
/// # Errors
/// `InvalidInput`.
pub(crate) fn refuse_long(path: &Path) -> Result<(), Error> {
    let longest = beside(path, LONGEST_SUFFIX);
    let too_long = cfg!(unix) && longest.as_os_str().len() > LONGEST_PATH_BYTES
        || fs::symlink_metadata(&longest).is_err_and(|e| e.kind() == io::ErrorKind::InvalidFilename);
    if !too_long {
        return Ok(());
    }
    let problem = "is too long: SQLite puts up to 8 bytes behind the name; give a shorter one";
    Err(Error::invalid_value("path", path.display(), problem))
}

/// Refuses a file that is a mount point by itself (as `docker run -v tasks.db:/data/tasks.db` makes
/// one), or that has such a companion. Where the system has no list of mounts, the devices of file
/// and folder are compared. (Only there: on some stacked file systems a file has the device of the
/// layer below.)
fn refuse_mounted(path: &Path, folder: &Path, mounts: Option<&Mounts>) -> Result<(), Error> {
    let is_mounted = |path: &Path| match mounts {
        Some(mounts) => mounts.is_point(path),
        None => device(path).is_some_and(|own| device(folder).is_some_and(|around| own != around)),
    };
    let suffixes = ["", "-owner"].into_iter().chain(COMPANIONS);
    let mounted = suffixes.map(|suffix| beside(path, suffix)).find(|path| is_mounted(path));
    match mounted {
        Some(mounted) if !planted("g05-a-mounted-file-is-taken") => {
            let message = format!(
                "{} is mounted by itself, so that its -wal and -owner would not be those of the file that it shows; mount the whole folder",
                mounted.display()
            );
            Err(Error::new(ErrorKind::InvalidInput, message))
        }
        _ => Ok(()),
    }
}

/// Gives a `-wal` and a `-shm` that their owner cannot write the mode of the database, if that can
/// be written; returns whether any was changed. A process that reads a file while it is read-only
/// leaves them read-only too, and SQLite cannot write afterwards.
#[cfg(unix)]
pub(crate) fn open_companions(path: &Path) -> bool {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let Ok(file) = fs::symlink_metadata(path) else { return false };
    let may_write = |found: &Metadata| found.mode() & 0o200 != 0;
    let is_locked = |companion: &PathBuf| {
        let found = fs::symlink_metadata(companion);
        found.is_ok_and(|found| found.is_file() && found.uid() == file.uid() && !may_write(&found))
    };
    let mode = fs::Permissions::from_mode(file.mode() & 0o777);
    let open = |companion: &PathBuf| fs::set_permissions(companion, mode.clone()).is_ok();
    let locked: Vec<_> =
        ["-wal", "-shm"].map(|suffix| beside(path, suffix)).into_iter().filter(is_locked).collect();
    may_write(&file) && locked.into_iter().filter(open).count() > 0
}

#[cfg(not(unix))]
pub(crate) fn open_companions(_: &Path) -> bool {
    false
}

/// Refuses a companion that is not a plain file with one name.
fn refuse_odd(path: &Path) -> Result<(), Error> {
    fs::symlink_metadata(path).map_or(Ok(()), |found| refuse_linked(path, &found))
}

/// The same for a companion whose metadata is known: what is written into it must not reach another
/// file.
///
/// # Errors
/// `InvalidInput`, naming the path and what to do.
pub(crate) fn refuse_linked(path: &Path, found: &Metadata) -> Result<(), Error> {
    let problem = if found.is_symlink() {
        "is a symbolic link; put the file that belongs there in its place, or remove it if there is none"
    } else if !found.is_file() {
        "is not a regular file; move it away"
    } else if names(found) > 1 {
        "has several names (hard links), and what is written here would show under each; remove all others of them"
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::InvalidInput, format!("{} {problem}", path.display()))) // the whole path: its suffix tells which file it is
}

/// SQLite would take the WAL of a lost database for garbage and delete it, and with it the newest commits.
fn orphaned(path: &Path) -> Error {
    let message = format!(
        "{} is empty or gone, but its -wal is there; put the database back beside it, or remove the -wal if it is not needed",
        path.display()
    );
    Error::new(ErrorKind::Corrupt, message)
}

fn starts_with(text: &OsStr, prefix: &str) -> bool {
    let bytes = text.as_encoded_bytes();
    bytes.len() >= prefix.len() && bytes[..prefix.len()].eq_ignore_ascii_case(prefix.as_bytes())
}
