//! The files of a directory tree, and how a change of one is noticed.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What a walk has found.
pub struct Tree {
    /// The regular files, sorted by the bytes of their paths.
    pub files: Vec<FoundFile>,
    /// Directories that could not be listed, and why.
    pub unreadable: Vec<(PathBuf, io::Error)>,
}

pub struct FoundFile {
    /// Below the root.
    pub path: PathBuf,
    pub stamp: Stamp,
}

/// Changes whenever the contents of a file change (as far as a file system tells).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    pub size: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    inode: u64,
}

impl Stamp {
    pub fn of(file: &Metadata) -> Stamp {
        Stamp { size: file.len(), modified: (file.mtime(), file.mtime_nsec()), inode: file.ino() }
    }
}

/// Finds all regular files below `root`. What vanishes meanwhile is left out.
pub fn walk(root: &Path) -> Tree {
    let mut tree = Tree { files: Vec::new(), unreadable: Vec::new() };
    let mut unlisted = vec![root.to_owned()];
    while let Some(dir) = unlisted.pop() {
        if let Err(e) = list(&dir, &mut tree, &mut unlisted)
            && !is_gone(&e)
        {
            tree.unreadable.push((dir, e));
        }
    }
    // As bytes: paths compare by component, which is not the order of `sort`.
    tree.files.sort_unstable_by(|a, b| a.path.as_os_str().cmp(b.path.as_os_str()));
    tree
}

fn list(dir: &Path, tree: &mut Tree, unlisted: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata, // of a symbolic link itself, if it is one
            Err(e) if is_gone(&e) => continue,
            Err(e) => return Err(e),
        };
        if metadata.is_dir() {
            unlisted.push(entry.path());
        } else if metadata.is_file() {
            tree.files.push(FoundFile { path: entry.path(), stamp: Stamp::of(&metadata) });
        }
    }
    Ok(())
}

/// Opens a regular file. Whatever has taken its place since the walk is refused, without waiting for the other end of a pipe.
pub fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is not a regular file any more")),
    }
}

/// Whether there is no regular file under this path any more.
pub fn has_vanished(path: &Path) -> bool {
    match fs::symlink_metadata(path) {
        Ok(metadata) => !metadata.is_file(),
        Err(e) => is_gone(&e),
    }
}

fn is_gone(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
