//! A file that is written under a temporary name, and gets its own name when it is whole: it is there as a whole or not at all.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// A file that is being written. Dropping this removes its temporary name.
pub(crate) struct WholeFile {
    file: File,
    unfinished: PathBuf,
}

impl WholeFile {
    /// Makes a new file under a temporary name; only its owner can read it.
    ///
    /// # Errors
    /// The disk's; `AlreadyExists` if the name is taken.
    pub(crate) fn create(unfinished: PathBuf) -> io::Result<WholeFile> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        Ok(WholeFile { file: options.open(&unfinished)?, unfinished })
    }

    /// Syncs it and gives it the name `target`; with `replace`, a file of that name is replaced.
    ///
    /// # Errors
    /// The disk's; `AlreadyExists` if the name is taken and `replace` is false. Nothing is left of this file then.
    pub(crate) fn publish(self, target: &Path, replace: bool) -> io::Result<()> {
        self.file.sync_all()?;
        if replace {
            return std::fs::rename(&self.unfinished, target);
        }
        // A link never replaces a file. A file system without links gets one more check and a rename.
        match std::fs::hard_link(&self.unfinished, target) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(e),
            Err(_) if std::fs::symlink_metadata(target).is_ok() => Err(io::ErrorKind::AlreadyExists.into()),
            Err(_) => std::fs::rename(&self.unfinished, target),
            Ok(()) => Ok(()),
        }
    }
}

impl io::Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for WholeFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.unfinished); // it has its own name by now, or is of no use
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_name_is_given_once_and_nothing_else_is_left() {
        let folder = std::env::temp_dir().join(format!("perdura-whole-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let (target, half) = (folder.join("page"), folder.join("page-half"));
        let write = |text: &str, replace| {
            let mut file = WholeFile::create(half.clone()).unwrap();
            file.write_all(text.as_bytes()).unwrap();
            file.publish(&target, replace)
        };
        drop(WholeFile::create(half.clone()).unwrap());
        assert!(!half.exists() && !target.exists());
        write("one", false).unwrap();
        assert_eq!(write("two", false).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "one");
        write("two", true).unwrap();
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "two");
        assert!(!half.exists());
        std::fs::write(&half, "of another run").unwrap();
        assert!(WholeFile::create(half.clone()).is_err() && half.exists());
        std::fs::remove_dir_all(folder).unwrap();
    }
}
