//! The processes that a job has started, and those that they have started.
//!
//! On Linux a shim and its worker adopt the orphans beneath them (`PR_SET_CHILD_SUBREAPER`). So what a job has started stays beneath its
//! shim, whatever its process group or session, and `/proc` shows it. Elsewhere only the process group of a job is known.

use std::io;
use std::process::Child;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, waitid};

/// The first and the longest pause between two looks at processes that were killed.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// Asks again and again until it is so; false if it is not so for `patience`.
pub(super) fn await_that(patience: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let (mut waited, mut pause) = (Duration::ZERO, FIRST_PAUSE);
    while !is_so() {
        if waited >= patience {
            return false;
        }
        std::thread::sleep(pause);
        waited += pause;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    true
}

/// Whether a child has ended. It is not reaped, so its number still means this process and its group.
pub(super) fn has_ended(child: &Child) -> io::Result<bool> {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    Ok(waitid(WaitId::Pid(Pid::from_child(child)), look)?.is_some())
}

#[cfg(not(target_os = "linux"))]
pub(super) use elsewhere::{adopt_orphans, end_all, end_strangers, reap, signal_others};
#[cfg(target_os = "linux")]
pub(super) use linux::{adopt_orphans, end_all, end_strangers, reap, signal_others};

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    use super::*;

    pub(in super::super) fn adopt_orphans() {}

    pub(in super::super) fn signal_others(_: Pid, _: Signal) {}

    pub(in super::super) fn end_all(_: Duration) {}

    pub(in super::super) fn reap(_: impl Fn(Pid) -> bool) {}

    pub(in super::super) fn end_strangers(_: impl Fn(Pid) -> bool, _: Duration) -> bool {
        true
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::{HashMap, HashSet};

    use rustix::io::Errno;
    use rustix::process::{
        PidfdFlags, getpid, kill_process, pidfd_open, pidfd_send_signal, set_child_subreaper,
    };

    use super::*;

    /// What a job carries in its environment.
    const MARK: &[u8] = b"PERDURA_TASK_ID=";

    /// From now on, what is orphaned beneath this process becomes its child.
    pub(in super::super) fn adopt_orphans() {
        let _ = set_child_subreaper(Some(getpid())); // Linux has it since 3.4
    }

    /// Lets the system forget children that have ended, but for those that somebody else waits for.
    pub(in super::super) fn reap(is_awaited: impl Fn(Pid) -> bool) {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        if !matches!(waitid(WaitId::All, look | WaitIdOptions::NOWAIT), Ok(Some(_))) {
            return; // the usual case, and the cheap one
        }
        let children = by_parent().remove(&getpid().as_raw_nonzero().get()).unwrap_or_default();
        for child in children.into_iter().filter(|child| child.has_ended && !is_awaited(child.id)) {
            let _ = waitid(WaitId::Pid(child.id), look); // nobody else reaps it
        }
    }

    /// Sends a signal to all processes beneath this one that are not in a process group.
    pub(in super::super) fn signal_others(group: Pid, signal: Signal) {
        let others = beneath(getpid(), |_| true).into_iter().filter(|process| process.group != group);
        others.for_each(|process| process.send(signal).unwrap_or_default()); // one that has ended needs none
    }

    /// Kills all processes beneath this one, and waits for their end, but no longer than `patience`. Those of another user stay.
    ///
    /// No child may be awaited elsewhere: it is reaped here.
    pub(in super::super) fn end_all(patience: Duration) {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        await_that(patience, || {
            while let Ok(Some(_)) = waitid(WaitId::All, look) {}
            waitid(WaitId::All, look).is_err_and(|e| e == Errno::CHILD) || kill(|_| true) == Killed::None
        });
    }

    /// Kills the children of this process that are not `known`, and what is beneath them, and waits for their end, but no longer than
    /// `patience`; false if some are left. Process 1 gets orphans that are nobody's jobs, too: these stay.
    pub(in super::super) fn end_strangers(known: impl Fn(Pid) -> bool, patience: Duration) -> bool {
        let is_of_a_job = |process: Pid| {
            let environment = std::fs::read(format!("/proc/{}/environ", process.as_raw_nonzero()));
            environment.is_ok_and(|e| e.split(|byte| *byte == 0).any(|entry| entry.starts_with(MARK)))
        };
        let is_stranger = |child: Pid| !known(child) && (getpid() != Pid::INIT || is_of_a_job(child));
        await_that(patience, || {
            reap(&known);
            kill(is_stranger) == Killed::Nobody
        })
    }

    #[derive(PartialEq)]
    enum Killed {
        /// There was nobody.
        Nobody,
        /// There were some, and no signal was allowed.
        None,
        Some,
    }

    /// Kills those children that are meant, and all that is beneath them.
    fn kill(is_meant: impl Fn(Pid) -> bool) -> Killed {
        let found = beneath(getpid(), is_meant);
        let denied = found.iter().filter(|process| process.send(Signal::KILL) == Err(Errno::PERM)).count();
        match found.len() {
            0 => Killed::Nobody,
            all if denied == all => Killed::None,
            _ => Killed::Some,
        }
    }

    /// A process as it was when it was seen.
    struct Process {
        id: Pid,
        group: Pid,
        parent: i32,
        has_ended: bool,
        /// In ticks since the start of the system.
        began: u64,
    }

    impl Process {
        fn read(id: Pid) -> Option<Process> {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", id.as_raw_nonzero())).ok()?;
            // 17 (name, which may hold anything) S parent group session …, and the start is the 22nd
            let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
            Some(Process {
                id,
                group: Pid::from_raw(fields.get(2)?.parse().ok()?)?,
                parent: fields.get(1)?.parse().ok()?,
                has_ended: matches!(*fields.first()?, "Z" | "X"),
                began: fields.get(19)?.parse().ok()?,
            })
        }

        /// Sends it a signal. Its number may have been given to a stranger since it was seen; what a descriptor of a process means stays.
        fn send(&self, signal: Signal) -> Result<(), Errno> {
            let descriptor = pidfd_open(self.id, PidfdFlags::empty());
            if Process::read(self.id).is_none_or(|now| now.began != self.began) {
                return Err(Errno::SRCH);
            }
            match descriptor {
                Ok(descriptor) => pidfd_send_signal(descriptor, signal),
                Err(_) => kill_process(self.id, signal), // before Linux 5.3, or no descriptor is left
            }
        }
    }

    /// All processes beneath those children of a process that are meant, and these, but for what has ended.
    fn beneath(root: Pid, is_meant: impl Fn(Pid) -> bool) -> Vec<Process> {
        let mut children = by_parent();
        let mut found = children.remove(&root.as_raw_nonzero().get()).unwrap_or_default();
        found.retain(|child| is_meant(child.id));
        let mut seen: HashSet<_> = found.iter().map(|child| child.id).collect();
        let mut next = 0;
        while next < found.len() {
            let its = children.remove(&found[next].id.as_raw_nonzero().get()).unwrap_or_default();
            found.extend(its.into_iter().filter(|process| seen.insert(process.id)));
            next += 1;
        }
        found.retain(|process| !process.has_ended);
        found
    }

    fn by_parent() -> HashMap<i32, Vec<Process>> {
        let mut children: HashMap<i32, Vec<Process>> = HashMap::new();
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        for process in numbers.filter_map(Pid::from_raw).filter_map(Process::read) {
            children.entry(process.parent).or_default().push(process);
        }
        children
    }
}
