//! The worker's own output, written by one thread for each stream: a reader that stalls blocks only jobs that have not started.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Sender, unbounded};
use log::{Level, LevelFilter, Log, Metadata, Record};
use rustix::event::{PollFd, PollFlags, poll};

use crate::console::error::in_shell;
use crate::console::system;
use crate::console::text::safe;
use crate::{Clock, SystemClock};

/// With so many unread lines no job is started, and warnings are dropped.
const MAX_UNREAD_LINES: usize = 1000;

/// How long a reader may take for the next line when the worker is to end.
const STALL_LIMIT: Duration = Duration::from_secs(2);

/// The standard output and the standard error of a worker.
pub(super) struct WorkerOutput {
    answers: Outlet,
    remarks: Outlet,
    /// Answers could not be written, although nobody has closed the stream.
    has_lost: AtomicBool,
}

impl WorkerOutput {
    /// # Errors
    /// If the system has no descriptor or no thread left.
    pub(super) fn new() -> io::Result<WorkerOutput> {
        let answers = Outlet::new("perdura-answers", io::stdout())?;
        let remarks = Outlet::new("perdura-remarks", io::stderr())?;
        Ok(WorkerOutput { answers, remarks, has_lost: AtomicBool::new(false) })
    }

    /// A line of the standard output.
    pub(super) fn answer(&self, line: impl Display) {
        self.answers.put(line);
    }

    /// A line of the standard error.
    pub(super) fn remark(&self, line: impl Display) {
        self.remarks.put(line);
    }

    /// A line of the standard error that may come from any thread at any rate: it is left out if too many are unread.
    pub(super) fn warn(&self, line: impl Display) {
        if !self.remarks.is_full() {
            self.remarks.put(line);
        }
    }

    /// Shows a progress line beneath the lines of the standard error, in place of the one before; an empty text takes it away. Only for a terminal.
    pub(super) fn show_progress(&self, text: String) {
        // It counts as unread, too, and must not keep jobs from starting. An empty text is never left out.
        if text.is_empty() || self.remarks.unread.load(Ordering::Acquire) == 0 {
            self.remarks.send(Piece::Progress(text));
        }
    }

    /// Whether too many lines are unread to start another job.
    pub(super) fn is_full(&self) -> bool {
        self.answers.is_full() || self.remarks.is_full()
    }

    /// Says once that the standard output cannot be written any more, if so. Remarks that could not be written to the standard error are no
    /// error.
    pub(super) fn tell_failure(&self) {
        let Some(why) = lock(&self.answers.failure).take() else { return };
        self.remark(format_args!(
            "perdura: answers can no longer be written ({}); the jobs go on",
            system(&why)
        ));
        let has_left = why.kind() == io::ErrorKind::BrokenPipe;
        self.has_lost.fetch_or(!has_left, Ordering::AcqRel);
    }

    /// Waits until all is read, and for a while only if it `is_urgent`. False if something is lost that somebody would have read.
    pub(super) fn finish(&self, is_urgent: impl Fn() -> bool) -> bool {
        let are_read = self.answers.finish(&is_urgent);
        self.tell_failure();
        let are_heard = self.remarks.finish(&is_urgent);
        are_read && are_heard && !self.has_lost.load(Ordering::Acquire)
    }
}

/// What is written.
enum Piece {
    Line(String),
    /// A line without an end, which stays the last one.
    Progress(String),
}

/// Clears the line of the cursor.
const CLEAR_LINE: &str = "\r\x1b[K";

struct Outlet {
    pieces: Sender<Piece>,
    unread: Arc<AtomicUsize>,
    /// Why a line could not be written.
    failure: Arc<Mutex<Option<io::Error>>>,
}

impl Outlet {
    /// An outlet of a stream, through a descriptor of its own: a write that blocks would hold the lock of std's stream, which the end of the process
    /// needs.
    fn new(name: &str, stream: impl AsFd) -> io::Result<Outlet> {
        let file = File::from(stream.as_fd().try_clone_to_owned()?);
        let (pieces, to_write) = unbounded::<Piece>(); // bounded: no job begins with MAX_UNREAD_LINES
        let outlet = Outlet { pieces, unread: Arc::default(), failure: Arc::default() };
        let (unread, failure) = (outlet.unread.clone(), outlet.failure.clone());
        let life = move || {
            let (mut is_open, mut progress) = (true, String::new());
            for piece in to_write {
                let text = match piece {
                    Piece::Line(line) if progress.is_empty() => line,
                    Piece::Line(line) => format!("{CLEAR_LINE}{line}{progress}"),
                    Piece::Progress(next) => {
                        progress = next;
                        format!("{CLEAR_LINE}{progress}")
                    }
                };
                if is_open && let Err(e) = write_all(&file, text.as_bytes()) {
                    is_open = false;
                    *lock(&failure) = Some(e);
                }
                unread.fetch_sub(1, Ordering::AcqRel);
            }
        };
        thread::Builder::new().name(name.to_owned()).spawn(life)?;
        Ok(outlet)
    }

    fn put(&self, line: impl Display) {
        self.send(Piece::Line(format!("{line}\n")));
    }

    fn send(&self, piece: Piece) {
        self.unread.fetch_add(1, Ordering::AcqRel);
        let _ = self.pieces.send(piece); // its thread ends later than this
    }

    fn is_full(&self) -> bool {
        self.unread.load(Ordering::Acquire) >= MAX_UNREAD_LINES
    }

    /// Waits until all is read, as [`WorkerOutput::finish`]; false if something stays unread.
    fn finish(&self, is_urgent: impl Fn() -> bool) -> bool {
        let clock = SystemClock::new();
        let (mut unread, mut moved) = (usize::MAX, Duration::ZERO);
        loop {
            let left = self.unread.load(Ordering::Acquire);
            let now = clock.monotonic();
            if left != unread {
                (unread, moved) = (left, now);
            }
            if left == 0 || (is_urgent() && now.saturating_sub(moved) >= STALL_LIMIT) {
                return left == 0;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner) // a panic leaves nothing half done
}

/// Writes all, also to a stream that somebody else has set not to block.
fn write_all(mut file: &File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                let _ = poll(&mut [PollFd::new(file, PollFlags::OUT)], None); // the next write tells what is wrong
            }
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Warnings that are not shown. The worker itself reports how jobs end, unless it is quiet, and what keeps it from running any. And the library warns
/// of a job that has not ended a second after its deadline, which `--kill-after` allows.
const HIDDEN_TARGETS: [&str; 3] = ["perdura::outcomes", "perdura::obstacles", "perdura::deadlines"];

/// Shows a warning once, until a different one comes.
struct Warnings {
    output: Arc<WorkerOutput>,
    last: Mutex<String>,
}

impl Log for Warnings {
    fn enabled(&self, about: &Metadata<'_>) -> bool {
        about.level() <= Level::Warn && !HIDDEN_TARGETS.contains(&about.target())
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let text = record.args().to_string();
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            if *last != text {
                self.output.warn(format_args!("perdura: {}", safe(&in_shell(&text))));
                *last = text;
            }
        }
    }

    fn flush(&self) {}
}

/// From now on what the library warns of, such as a full disk, is shown, unless the program has a logger of its own.
pub(super) fn show_warnings(output: &Arc<WorkerOutput>) {
    if log::set_logger(Box::leak(Box::new(Warnings { output: output.clone(), last: Mutex::default() })))
        .is_ok()
    {
        log::set_max_level(LevelFilter::Warn);
    }
}
