//! A folder in memory for the files of one process, and a name of its own for each input.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// A path that no input before had: connections of an earlier one may still be closing. Dropping it removes the files.
pub struct Place(PathBuf);

impl Place {
    pub fn new() -> Place {
        static FOLDER: OnceLock<PathBuf> = OnceLock::new();
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let folder = FOLDER.get_or_init(|| {
            let memory = Path::new("/dev/shm");
            let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
            let folder = parent.join(format!("perdura-fuzz-{}", std::process::id()));
            std::fs::create_dir_all(&folder).expect("a folder can be made");
            folder.canonicalize().expect("it was made")
        });
        Place(folder.join(format!("{}.db", NEXT.fetch_add(1, Ordering::Relaxed))))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn companion(&self, suffix: &str) -> PathBuf {
        let mut name = self.0.as_os_str().to_owned();
        name.push(suffix);
        name.into()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for suffix in ["", "-wal", "-shm", "-owner", "-journal"] {
            let _ = std::fs::remove_file(self.companion(suffix));
        }
    }
}
