//! The shim: a small process between a worker thread and its jobs.
//!
//! A worker may die at any moment, and what it started would run on beside the next attempt. So jobs are children of a shim, which
//! lives as long as its standard input is open: when the worker is gone, however it went, the shim kills the job that runs, waits
//! until it is gone, and ends. Its standard error is the locked file of [`super::pool`]; the lock goes when the last shim has gone.
//!
//! What a job starts stays beneath the shim ([`super::descendants`]), and one job runs at a time: all that is beneath is this job.
//!
//! It has one thread, no file and no queue. It leads a session of its own, so that keys pressed at the terminal reach neither it nor a
//! job, and a job that asks for a password fails instead of waiting for ever.

use std::fs::File;
use std::io::{self, PipeReader, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group, setsid};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use super::descendants;
use super::launch::{Launched, launch};
use super::protocol::{Inbox, PIECE_BYTES, ShimMessage, ShimOrder, read_some, write_note};
use crate::planted::planted;
use crate::{Clock, SystemClock};

/// The most output that is read after a job has ended: a process that could not be killed could write for ever.
const MAX_LAST_OUTPUT: usize = 1 << 20;

/// During its first 2 ms a job's pipes are not polled: many jobs end sooner, and their output is read then.
const QUIET_START: Timespec = Timespec { tv_sec: 0, tv_nsec: 2_000_000 };

/// How long killed processes may take to be gone. After that the end of their job is reported all the same: a process that hangs in the system
/// does not go.
const MAX_END_WAIT: Duration = Duration::from_secs(5);

/// Serves one worker until it is gone.
pub(super) fn serve(slot: u64) -> io::Result<()> {
    let _ = setsid(); // it fails only for a group's leader, which is out of the terminal's reach, too
    descendants::adopt_orphans();
    for signal in [SIGINT, SIGTERM, SIGHUP, SIGQUIT] {
        // Whoever stops a whole group or service means the worker, which decides what becomes of the job.
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    let (children, bell) = UnixStream::pair()?;
    children.set_nonblocking(true)?;
    signal_hook::low_level::pipe::register(SIGCHLD, bell)?;
    let mut shim = Shim {
        orders: File::from(io::stdin().as_fd().try_clone_to_owned()?),
        inbox: Inbox::default(),
        worker: File::from(io::stdout().as_fd().try_clone_to_owned()?),
        notes: File::from(io::stderr().as_fd().try_clone_to_owned()?),
        slot,
        reports: Vec::new(),
        children,
        job: None,
        has_left: false,
        piece: vec![0; PIECE_BYTES],
    };
    ShimMessage::Hello.put(&mut shim.reports);
    let served = shim.run();
    shim.end_with_the_worker();
    match served {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(e),
        _ => Ok(()),
    }
}

struct Shim {
    orders: File,
    inbox: Inbox,
    worker: File,
    /// The lock file.
    notes: File,
    slot: u64,
    /// The messages to send next.
    reports: Vec<u8>,
    /// Readable when a child has ended.
    children: UnixStream,
    job: Option<RunningJob>,
    /// A process of a job could not be ended.
    has_left: bool,
    piece: Vec<u8>,
}

/// A job. The first of its processes leads its process group.
struct RunningJob {
    child: Child,
    group: Pid,
    /// It has just started, and its output is not polled yet.
    is_young: bool,
    /// It was asked to end.
    is_asked: bool,
    out: Option<PipeReader>,
    err: Option<PipeReader>,
}

/// Why the shim was woken.
struct Wakeup {
    orders: bool,
    child: bool,
    out: bool,
    err: bool,
}

impl Shim {
    /// Works until the worker is gone, or a process of a job could not be ended.
    fn run(&mut self) -> io::Result<()> {
        loop {
            self.send()?;
            if self.has_left {
                return Ok(());
            }
            let wakeup = self.sleep()?;
            if wakeup.out || wakeup.err {
                self.listen(&wakeup)?;
            }
            if wakeup.child {
                self.look_after_child()?;
            }
            if wakeup.orders {
                if !self.inbox.fill(&mut self.orders)? {
                    return Ok(());
                }
                while let Some(order) = ShimOrder::take(&mut self.inbox)? {
                    self.obey(order)?;
                }
            }
        }
    }

    fn send(&mut self) -> io::Result<()> {
        if self.reports.is_empty() {
            return Ok(());
        }
        let sent = self.worker.write_all(&self.reports);
        self.reports.clear();
        sent
    }

    fn sleep(&mut self) -> io::Result<Wakeup> {
        let mut fds =
            vec![PollFd::new(&self.orders, PollFlags::IN), PollFd::new(&self.children, PollFlags::IN)];
        let is_young = self.job.as_ref().is_some_and(|job| job.is_young);
        let heard = self.job.as_ref().filter(|_| !is_young);
        let (out, err) = heard.map_or((None, None), |job| (job.out.as_ref(), job.err.as_ref()));
        fds.extend([out, err].into_iter().flatten().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        let is_over = match poll(&mut fds, is_young.then_some(&QUIET_START)) {
            Ok(woken) => woken == 0,
            Err(Errno::INTR) => false,
            Err(e) => return Err(e.into()),
        };
        let mut woken = fds.iter().map(|fd| !fd.revents().is_empty());
        let mut next = || woken.next().unwrap_or(false);
        let wakeup = Wakeup {
            orders: next(),
            child: next(),
            out: out.is_some() && next(),
            err: err.is_some() && next(),
        };
        if let Some(job) = self.job.as_mut().filter(|_| is_over) {
            job.is_young = false;
        }
        Ok(wakeup)
    }

    fn obey(&mut self, order: ShimOrder) -> io::Result<()> {
        let (signal, is_for_all) = match order {
            ShimOrder::Launch(order) => {
                match launch(&order) {
                    Ok(launched) => self.began(launched, order.number)?,
                    Err(launch_error) => ShimMessage::Refused(launch_error).put(&mut self.reports),
                }
                return Ok(());
            }
            ShimOrder::Terminate => (Signal::TERM, false),
            ShimOrder::TerminateAll => (Signal::TERM, true),
            ShimOrder::Kill => (Signal::KILL, true),
        };
        self.look_after_child()?; // a job that has ended by itself does not count as asked
        if let Some(job) = &mut self.job {
            let was_asked = std::mem::replace(&mut job.is_asked, true);
            if signal == Signal::KILL || !was_asked {
                let _ = kill_process_group(job.group, signal); // what has ended needs no signal
            }
            if is_for_all {
                descendants::signal_others(job.group, signal);
            }
        }
        Ok(())
    }

    fn began(&mut self, Launched { child, out, err }: Launched, number: u64) -> io::Result<()> {
        let group = Pid::from_child(&child);
        // Before anything can fail, so that an error ends the job, too.
        let job = self.job.insert(RunningJob {
            child,
            group,
            is_young: true,
            is_asked: false,
            out: None,
            err: None,
        });
        if write_note(&self.notes, self.slot, number, group).is_err() {
            ShimMessage::Started(group.as_raw_nonzero().get()).put(&mut self.reports);
        }
        rustix::io::ioctl_fionbio(&out, true)?;
        rustix::io::ioctl_fionbio(&err, true)?;
        (job.out, job.err) = (Some(out), Some(err));
        Ok(())
    }

    /// Passes on the output of the job.
    fn listen(&mut self, wakeup: &Wakeup) -> io::Result<()> {
        let Some(job) = &mut self.job else { return Ok(()) };
        if wakeup.out {
            pass_on(&mut job.out, &mut self.piece, &mut self.reports, false)?;
        }
        if wakeup.err {
            pass_on(&mut job.err, &mut self.piece, &mut self.reports, true)?;
        }
        Ok(())
    }

    /// Reports the end of the job, if it has ended.
    fn look_after_child(&mut self) -> io::Result<()> {
        while read_some(&mut self.children, &mut [0; 64]).is_ok_and(|n| n == 64) {}
        let Some(job) = &mut self.job else {
            descendants::reap(|_| false);
            return Ok(());
        };
        if !descendants::has_ended(&job.child)? {
            descendants::reap(|child| child == job.group);
            return Ok(());
        }
        let (status, is_gone) = job.end()?;
        for (pipe, is_err) in [(&mut job.out, false), (&mut job.err, true)] {
            let mut left = MAX_LAST_OUTPUT / PIECE_BYTES;
            while left > 0 && pass_on(pipe, &mut self.piece, &mut self.reports, is_err)? {
                left -= 1;
            }
        }
        if !is_gone {
            self.has_left = true;
            ShimMessage::Left.put(&mut self.reports);
        }
        let exited = || ShimMessage::Exited { code: status.code().unwrap_or(-1), was_asked: job.is_asked };
        let end = status.signal().map_or_else(exited, ShimMessage::Signaled);
        end.put(&mut self.reports);
        self.job = None;
        Ok(())
    }

    /// The worker is gone: nothing of its job may stay.
    fn end_with_the_worker(&mut self) {
        if let Some(job) = &mut self.job {
            descendants::signal_others(job.group, Signal::KILL);
            let _ = job.end();
        }
    }
}

impl RunningJob {
    /// Kills its process group, takes the status of its first process, kills the others and waits for them to be gone; false if some are left.
    ///
    /// The first one is not reaped before its group is killed, so that the group's number means this group and no other. The wait
    /// for it has no limit: a process that hangs in the system may still write, and this shim holds the lock until then, so no other worker begins.
    /// (A worker that lives gives this shim up.)
    fn end(&mut self) -> io::Result<(ExitStatus, bool)> {
        if planted("cli-leftovers-outlive-their-job") {
            return Ok((self.child.wait()?, true));
        }
        let _ = kill_process_group(self.group, Signal::KILL);
        let status = self.child.wait()?;
        let (clock, group) = (SystemClock::new(), self.group);
        let until = clock.monotonic().saturating_add(MAX_END_WAIT);
        let are_gone = descendants::end_all(MAX_END_WAIT);
        let left = until.saturating_sub(clock.monotonic());
        Ok((status, descendants::await_gone(group, left) && are_gone))
    }
}

/// Reads once; true if there was something.
fn pass_on(
    pipe: &mut Option<PipeReader>,
    piece: &mut [u8],
    reports: &mut Vec<u8>,
    is_err: bool,
) -> io::Result<bool> {
    let Some(open) = pipe else { return Ok(false) };
    match read_some(open, piece) {
        Ok(0) => *pipe = None,
        Ok(n) => {
            let said =
                if is_err { ShimMessage::Complaint(&piece[..n]) } else { ShimMessage::Output(&piece[..n]) };
            said.put(reports);
            return Ok(true);
        }
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
        Err(e) => return Err(e),
    }
    Ok(false)
}
