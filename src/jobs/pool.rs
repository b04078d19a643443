//! The worker's end of its shims, and the lock that they share.
//!
//! The lock file `<db>-jobs` is locked by a worker before its first job and never unlinked. The same open file is the standard error of
//! each shim, so the lock lasts until the worker **and** all its shims are gone, whatever ended them. A successor cannot start a job
//! while one of its predecessor may still run.

use std::collections::HashSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::process::Pid;

use super::descendants::{self, Kin};
use super::protocol::{Inbox, Launch, LaunchError, ShimMessage, ShimOrder, read_note};
use crate::console::system;
use crate::{Clock, Failure, SystemClock};

/// How often a waiting worker checks for signals and cancels.
pub(super) const CHECK_PERIOD: Duration = Duration::from_millis(200);

/// How long a shim may take to be ready: a busy machine can be slow to start a program.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// Attempts to start a shim: a Ctrl-C can end one that has just started.
const MAX_STARTS: usize = 3;

/// How long a shim may take to report the end of a job that it was told to kill, and to read the next piece of an order. One that takes longer
/// counts as hanging, and is given up.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the worker waits for the end of a shim without a job, or of one that was killed.
const EXIT_TIMEOUT: Duration = Duration::from_secs(2);

/// Why there is no shim for a job.
pub(super) enum NoShim {
    /// The job is not to run any more.
    Unwanted(Failure),
    /// No job can be started. That is no fault of this one.
    Hindered(String),
}

/// The shims of one worker process.
pub(super) struct Pool {
    db: PathBuf,
    place: PathBuf,
    most: usize,
    state: Mutex<PoolState>,
    shims: Shims,
    kin: Kin,
    /// Says something to the user.
    remark: Box<dyn Fn(String) + Send + Sync>,
}

/// The processes that are shims. Whoever starts one holds it, so that a child of the worker that is not in it is an orphan.
type Shims = Arc<Mutex<HashSet<Pid>>>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner) // a panic leaves nothing half done
}

#[derive(Default)]
struct PoolState {
    lock: Option<File>,
    idle: Vec<ShimHandle>,
    /// How many were started.
    shims: u64,
    has_complained: bool,
}

impl Pool {
    /// A pool for a database, without shims and without the lock. At most `most` idle shims are kept. `has_engines`: see [`Kin::new`].
    pub(super) fn new(
        db: PathBuf,
        most: usize,
        has_engines: bool,
        remark: impl Fn(String) + Send + Sync + 'static,
    ) -> Pool {
        let mut place = db.clone().into_os_string();
        place.push("-jobs");
        let (state, shims, kin) = (Mutex::default(), Shims::default(), Kin::new(&db, has_engines));
        Pool { db, place: place.into(), most, state, shims, kin, remark: Box::new(remark) }
    }

    fn state(&self) -> MutexGuard<'_, PoolState> {
        lock(&self.state)
    }

    /// A shim that is idle, or a new one. Waits until no job of an earlier worker may run any more.
    ///
    /// # Errors
    /// The error of `still_wanted`; the reason why this worker can start no job.
    pub(super) fn take(&self, still_wanted: &dyn Fn() -> Result<(), Failure>) -> Result<ShimHandle, NoShim> {
        self.await_lock(still_wanted)?;
        while let Some(shim) = self.state().idle.pop() {
            if descendants::has_ended(&shim.child).is_ok_and(|has_ended| !has_ended) {
                return Ok(shim);
            }
        }
        let mut error = None;
        for _ in 0..MAX_STARTS {
            match self.start(still_wanted) {
                Ok(ready) => return ready.map_err(NoShim::Unwanted),
                Err(e) => error = Some(e),
            }
        }
        let why = error.map_or_else(String::new, |e| format!(": {}", system(&e)));
        Err(NoShim::Hindered(format!("the process that starts jobs could not be started{why}")))
    }

    /// Takes back a shim whose job has ended. False if not all of the job is gone.
    pub(super) fn give_back(&self, shim: ShimHandle) -> bool {
        let mut state = self.state();
        let is_gone = !shim.has_left;
        if is_gone && state.idle.len() < self.most {
            state.idle.push(shim);
        }
        is_gone
    }

    /// Ends a shim that has died, hangs or sends garbled messages, and the job that it leaves behind. False if not all of the job is gone.
    pub(super) fn lose(&self, mut shim: ShimHandle) -> bool {
        shim.to = None;
        let is_gone = shim.end_now(); // from here on it starts nothing
        let group = shim.group.or_else(|| read_note(&shim.notes, shim.slot, shim.launches));
        let shims = lock(&self.shims);
        self.kin.end_lost(Pid::from_child(&shim.child), group, &shims, EXIT_TIMEOUT) && is_gone
    }

    /// Reaps orphans of this process that have ended.
    pub(super) fn reap(&self) {
        let shims = lock(&self.shims);
        descendants::reap(|child| shims.contains(&child));
    }

    /// Lets all idle shims end, and gives up the lock.
    pub(super) fn close(&self) {
        let PoolState { lock, mut idle, .. } = std::mem::take(&mut *self.state());
        idle.iter_mut().for_each(|shim| shim.to = None);
        drop((idle, lock));
    }

    fn await_lock(&self, still_wanted: &dyn Fn() -> Result<(), Failure>) -> Result<(), NoShim> {
        let mut pause = Duration::from_millis(2);
        let mut waited = Duration::ZERO;
        while !self.try_lock().map_err(NoShim::Hindered)? {
            still_wanted().map_err(NoShim::Unwanted)?;
            std::thread::sleep(pause);
            waited += pause;
            pause = (pause * 2).min(CHECK_PERIOD / 2);
            if waited >= Duration::from_secs(1) && !std::mem::replace(&mut self.state().has_complained, true)
            {
                (self.remark)("waiting until the jobs of the worker before this one are gone".to_owned());
            }
        }
        Ok(())
    }

    fn try_lock(&self) -> Result<bool, String> {
        let mut state = self.state();
        if state.lock.is_some() {
            return Ok(true);
        }
        let tell = |what: &str, e: io::Error| {
            format!("the file {} cannot be {what}: {}", self.place.display(), system(&e))
        };
        let file = self.open().map_err(|e| tell("opened", e))?;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0).map_err(|e| tell("emptied", e))?; // of the notes of shims that are gone
                state.lock = Some(file);
            }
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(e)) => return Err(tell("locked", e)),
        }
        Ok(true)
    }

    /// Opens the lock file, or makes it.
    ///
    /// # Errors
    /// Those of the system; one that says what to do if writing into it would reach another file.
    fn open(&self) -> io::Result<File> {
        let no_link = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or(0); // a flag of open fits
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(0o600).custom_flags(no_link);
        let file = match options.clone().create_new(true).open(&self.place) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => options.open(&self.place)?,
            made => made.inspect(|file| self.give(file))?,
        };
        let found = file.metadata()?;
        if found.is_file() && found.nlink() <= 1 {
            return Ok(file);
        }
        Err(io::Error::other("it is no plain file with one name; move it away"))
    }

    /// Gives a new lock file to the owner of the database, if this process is root: that user could run no jobs otherwise.
    fn give(&self, file: &File) {
        if let (Ok(made), Ok(of)) = (file.metadata(), std::fs::symlink_metadata(&self.db))
            && made.uid() != of.uid()
        {
            let _ = std::os::unix::fs::fchown(file, Some(of.uid()), Some(of.gid()));
        }
    }

    /// Starts a shim: `Err` to try again, `Ok(Err)` if it is not wanted any more.
    fn start(
        &self,
        still_wanted: &dyn Fn() -> Result<(), Failure>,
    ) -> io::Result<Result<ShimHandle, Failure>> {
        let (lock, slot) = {
            let mut state = self.state();
            let slot = state.shims;
            state.shims += 1;
            (state.lock.as_ref().ok_or_else(|| io::Error::other("the lock was given up"))?.try_clone()?, slot)
        };
        let notes = lock.try_clone()?;
        let mut command = Command::new(this_program()?);
        command.args(["shim", &slot.to_string()]).stderr(lock);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = {
            let mut shims = self::lock(&self.shims);
            let child = command.spawn()?;
            shims.insert(Pid::from_child(&child));
            child
        };
        let (Some(to), Some(from)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("it has no pipes")); // they were asked for
        };
        rustix::io::ioctl_fionbio(&to, true)?; // one that hangs takes no orders
        let (inbox, shims) = (Inbox::default(), self.shims.clone());
        let mut shim = ShimHandle {
            child,
            to: Some(to),
            from,
            inbox,
            notes,
            slot,
            launches: 0,
            group: None,
            has_left: false,
            shims,
        };
        let mut left = READY_TIMEOUT;
        loop {
            if let Err(unwanted) = still_wanted() {
                return Ok(Err(unwanted));
            }
            match shim.hear(CHECK_PERIOD)? {
                ReadOutcome::Nothing if left.is_zero() => return Err(io::ErrorKind::TimedOut.into()),
                ReadOutcome::Nothing => left = left.saturating_sub(CHECK_PERIOD),
                ReadOutcome::End => return Err(io::Error::other("it ended at once")),
                ReadOutcome::Something => {
                    if ShimMessage::take(&mut shim.inbox)? == Some(ShimMessage::Hello) {
                        return Ok(Ok(shim));
                    }
                }
            }
        }
    }
}

/// This very program, even if its file was replaced or removed meanwhile.
fn this_program() -> io::Result<PathBuf> {
    let running = PathBuf::from("/proc/self/exe");
    if cfg!(target_os = "linux") && running.exists() { Ok(running) } else { std::env::current_exe() }
}

/// A shim, from the worker's side.
pub(super) struct ShimHandle {
    child: Child,
    /// Its standard input; none: it was told to end.
    to: Option<ChildStdin>,
    from: ChildStdout,
    inbox: Inbox,
    /// The lock file, in which it notes what it has started.
    notes: File,
    slot: u64,
    launches: u64,
    /// The process group of its job, if it has reported it.
    group: Option<Pid>,
    /// It could not end all of its job, and takes no other.
    has_left: bool,
    shims: Shims,
}

enum ReadOutcome {
    Something,
    Nothing,
    End,
}

/// How a job ended.
#[derive(Debug, PartialEq)]
pub(super) enum ProcessEnd {
    Exited {
        code: i32,
        /// It was asked to end before.
        was_asked: bool,
    },
    Signaled(i32),
    Refused(LaunchError),
    /// The shim has ended, or hangs.
    ShimLost,
}

/// What a running job must do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum JobControl {
    /// Go on; ask again after so long.
    GoOn(Duration),
    /// End: SIGTERM to its process group.
    End(Duration),
    /// End: SIGTERM to its processes outside that group, too. Most of them have a supervisor in the group, which has had time to end them.
    EndAll(Duration),
    /// End at once: SIGKILL.
    EndNow,
}

impl ShimHandle {
    /// Runs one job to its end. `hear` gets its output, `control` is asked again and again what the job must do.
    ///
    /// A shim that is lost has to be given to [`Pool::lose`].
    pub(super) fn run(
        &mut self,
        mut launch: Launch,
        hear: &mut dyn FnMut(&ShimMessage<'_>),
        control: &mut dyn FnMut() -> JobControl,
    ) -> ProcessEnd {
        self.launches += 1;
        launch.number = self.launches;
        self.group = None;
        self.converse(launch, hear, control).unwrap_or(ProcessEnd::ShimLost)
    }

    fn converse(
        &mut self,
        launch: Launch,
        hear: &mut dyn FnMut(&ShimMessage<'_>),
        control: &mut dyn FnMut() -> JobControl,
    ) -> io::Result<ProcessEnd> {
        self.tell(&ShimOrder::Launch(launch))?;
        let clock = SystemClock::new();
        let (mut asked, mut asked_all, mut killed) = (false, false, None::<Duration>);
        loop {
            let wait = match control() {
                JobControl::GoOn(wait) => wait,
                JobControl::End(wait) => {
                    if !std::mem::replace(&mut asked, true) {
                        self.tell(&ShimOrder::Terminate)?;
                    }
                    wait
                }
                JobControl::EndAll(wait) => {
                    if !std::mem::replace(&mut asked_all, true) {
                        self.tell(&ShimOrder::TerminateAll)?;
                    }
                    wait
                }
                JobControl::EndNow => {
                    match killed {
                        None => self.tell(&ShimOrder::Kill)?,
                        Some(at) if clock.monotonic().saturating_sub(at) >= ANSWER_TIMEOUT => {
                            return Ok(ProcessEnd::ShimLost);
                        }
                        Some(_) => {}
                    }
                    killed.get_or_insert_with(|| clock.monotonic());
                    CHECK_PERIOD
                }
            };
            match self.hear(wait)? {
                ReadOutcome::Nothing => continue,
                ReadOutcome::End => return Ok(ProcessEnd::ShimLost),
                ReadOutcome::Something => {}
            }
            while let Some(report) = ShimMessage::take(&mut self.inbox)? {
                match report {
                    ShimMessage::Started(pid) => self.group = Pid::from_raw(pid),
                    ShimMessage::Left => self.has_left = true,
                    ShimMessage::Exited { code, was_asked } => {
                        return Ok(ProcessEnd::Exited { code, was_asked });
                    }
                    ShimMessage::Signaled(signal) => return Ok(ProcessEnd::Signaled(signal)),
                    ShimMessage::Refused(launch_error) => return Ok(ProcessEnd::Refused(launch_error)),
                    said => hear(&said),
                }
            }
        }
    }

    /// Sends an order. It is an error if the shim reads nothing of it for [`ANSWER_TIMEOUT`].
    fn tell(&mut self, order: &ShimOrder) -> io::Result<()> {
        let Some(to) = &mut self.to else { return Ok(()) };
        let bytes = order.encode();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            match to.write(rest) {
                Ok(taken) => rest = &rest[taken..],
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    let writable =
                        poll(&mut [PollFd::new(&*to, PollFlags::OUT)], Some(&timespec(ANSWER_TIMEOUT)));
                    if writable == Ok(0) {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Waits for bytes from the shim, up to `patience`.
    fn hear(&mut self, patience: Duration) -> io::Result<ReadOutcome> {
        let readable = poll(&mut [PollFd::new(&self.from, PollFlags::IN)], Some(&timespec(patience)));
        match readable {
            Ok(0) | Err(rustix::io::Errno::INTR) => Ok(ReadOutcome::Nothing),
            Ok(_) => self
                .inbox
                .fill(&mut self.from)
                .map(|more| if more { ReadOutcome::Something } else { ReadOutcome::End }),
            Err(e) => Err(e.into()),
        }
    }

    /// Kills it; false if it does not end: it hangs in the system.
    fn end_now(&mut self) -> bool {
        let _ = self.child.kill();
        self.goes()
    }

    /// Waits for its end, up to [`EXIT_TIMEOUT`]; false if it has not ended.
    fn goes(&mut self) -> bool {
        descendants::wait_until(EXIT_TIMEOUT, || descendants::has_ended(&self.child).unwrap_or(true))
    }
}

/// Closing its input ends it.
impl Drop for ShimHandle {
    fn drop(&mut self) {
        self.to = None;
        let has_ended = self.goes() || self.end_now();
        let mut shims = lock(&self.shims); // its number may be that of the next shim as soon as it is reaped
        if has_ended {
            let _ = self.child.wait();
        }
        shims.remove(&Pid::from_child(&self.child)); // one that hangs is reaped with the orphans
    }
}

fn timespec(time: Duration) -> Timespec {
    let nanos = time.subsec_nanos() as _; // its type depends on the platform
    Timespec { tv_sec: time.as_secs().cast_signed(), tv_nsec: nanos }
}
