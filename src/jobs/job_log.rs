//! Whole logs of jobs, in a folder: a file for each stream of each attempt that writes something.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::worker_output::WorkerOutput;
use crate::console::system;
use crate::console::words::bytes;
use crate::{OutputStream, TaskId};

/// The folder of the logs, and the size limit of each file.
pub(super) struct LogFolder {
    path: PathBuf,
    max_bytes: u64,
    output: Arc<WorkerOutput>,
    /// It was said that a log cannot be written.
    has_told: AtomicBool,
}

impl LogFolder {
    /// Makes the folder if it is not there.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn new(path: &Path, max_bytes: u64, output: Arc<WorkerOutput>) -> io::Result<LogFolder> {
        fs::create_dir_all(path)?;
        Ok(LogFolder { path: path.canonicalize()?, max_bytes, output, has_told: AtomicBool::new(false) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The log of an attempt. Its files are made when there is something to write.
    pub(super) fn log(&self, id: TaskId, generation: u64) -> JobLog<'_> {
        let stem = format!("{id}-{generation}");
        let stream = |suffix| LogFile { stem: stem.clone(), suffix, file: None, written: 0 };
        JobLog { folder: self, out: stream("out"), err: stream("err"), is_lost: false }
    }
}

/// The log of one attempt.
pub(super) struct JobLog<'f> {
    folder: &'f LogFolder,
    out: LogFile,
    err: LogFile,
    /// It cannot be written.
    is_lost: bool,
}

struct LogFile {
    stem: String,
    suffix: &'static str,
    file: Option<File>,
    written: u64,
}

impl JobLog<'_> {
    /// Writes what the job has written. That logs cannot be written is told once; the jobs go on.
    pub(super) fn write(&mut self, stream: OutputStream, piece: &[u8]) {
        let log = match stream {
            OutputStream::Stdout => &mut self.out,
            OutputStream::Stderr => &mut self.err,
        };
        if self.is_lost {
            return;
        }
        if let Err(e) = log.write(&self.folder.path, self.folder.max_bytes, piece) {
            self.is_lost = true;
            if !self.folder.has_told.swap(true, Ordering::AcqRel) {
                let path = self.folder.path.join(format!("{}.{}", log.stem, log.suffix));
                self.folder.output.remark(format_args!(
                    "{} cannot be written ({}); the jobs go on, and the file keeps the beginning and the end of what they write",
                    path.display(),
                    system(&e)
                ));
            }
        }
    }
}

/// How many files of one name there may be: of several databases, or of one that was made anew.
const MAX_NAMESAKES: u32 = 1000;

/// Makes a new file; if the name is taken, a number follows it. Only the owner can read it (mode 600).
fn create(folder: &Path, stem: &str, suffix: &str) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create_new(true).write(true).mode(0o600);
    let mut made = options.open(folder.join(format!("{stem}.{suffix}")));
    for n in 2..=MAX_NAMESAKES {
        match &made {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            _ => break,
        }
        made = options.open(folder.join(format!("{stem}-{n}.{suffix}")));
    }
    made
}

impl LogFile {
    fn write(&mut self, folder: &Path, max_bytes: u64, piece: &[u8]) -> io::Result<()> {
        let left = max_bytes.saturating_sub(self.written);
        if left == 0 {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(create(folder, &self.stem, self.suffix)?),
        };
        let cut = usize::try_from(left).map_or(piece.len(), |left| left.min(piece.len()));
        file.write_all(&piece[..cut])?;
        self.written += cut as u64;
        if self.written == max_bytes {
            writeln!(
                file,
                "\n[perdura: the rest is left out; a log has {} at most, see --log-max]",
                bytes(max_bytes)
            )?;
        }
        Ok(())
    }
}
