//! The processes that a job has started, and those that they have started.
//!
//! On Linux a shim and its worker adopt the orphans beneath them (`PR_SET_CHILD_SUBREAPER`). So what a job has started stays beneath its
//! shim, whatever its process group or session, and `/proc` shows it. Elsewhere only the process group of a job is known.

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::process::Child;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, test_kill_process_group, waitid};

/// The first and the longest pause between two checks of [`wait_until`].
const MIN_PAUSE: Duration = Duration::from_millis(1);
const MAX_PAUSE: Duration = Duration::from_millis(20);

/// A thread that waits for its own children holds the read lock while they live; orphans are reaped only under the write lock.
static OWN_CHILDREN: RwLock<()> = RwLock::new(());

/// Keeps the children of this thread from being taken for orphans.
pub(super) fn keep_children() -> RwLockReadGuard<'static, ()> {
    OWN_CHILDREN.read().unwrap_or_else(PoisonError::into_inner)
}

/// Polls `is_so` until it is true; false if it stays false for `patience`.
pub(super) fn wait_until(patience: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let (mut waited, mut pause) = (Duration::ZERO, MIN_PAUSE);
    while !is_so() {
        if waited >= patience {
            return false;
        }
        std::thread::sleep(pause);
        waited += pause;
        pause = (pause * 2).min(MAX_PAUSE);
    }
    true
}

/// Whether a child has ended. It is not reaped, so its id still means this process and its group.
pub(super) fn has_ended(child: &Child) -> io::Result<bool> {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    Ok(waitid(WaitId::Pid(Pid::from_child(child)), look)?.is_some())
}

/// Waits until a killed group has no process left; false if it has some for `patience`.
pub(super) fn await_gone(group: Pid, patience: Duration) -> bool {
    wait_until(patience, || test_kill_process_group(group).is_err())
}

#[cfg(not(target_os = "linux"))]
pub(super) use elsewhere::{Kin, adopt_orphans, end_all, reap, signal_others};
#[cfg(target_os = "linux")]
pub(super) use linux::{Kin, adopt_orphans, end_all, reap, signal_others};

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    use rustix::process::kill_process_group;

    use super::*;

    pub(in super::super) struct Kin;

    impl Kin {
        pub(in super::super) fn new(_: &Path, _: bool) -> Kin {
            Kin
        }

        pub(in super::super) fn end_lost(
            &self,
            _: Pid,
            group: Option<Pid>,
            _: &HashSet<Pid>,
            patience: Duration,
        ) -> bool {
            let Some(group) = group else { return true };
            kill_process_group(group, Signal::KILL).is_err() || await_gone(group, patience)
        }
    }

    pub(in super::super) fn adopt_orphans() {}

    pub(in super::super) fn signal_others(_: Pid, _: Signal) {}

    pub(in super::super) fn end_all(_: Duration) -> bool {
        true
    }

    pub(in super::super) fn reap(_: impl Fn(Pid) -> bool) {}
}

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::HashMap;
    use std::os::unix::ffi::OsStrExt;
    use std::sync::Mutex;

    use rustix::io::Errno;
    use rustix::process::{
        PidfdFlags, getpid, kill_process, pidfd_open, pidfd_send_signal, set_child_subreaper,
    };

    use super::*;

    /// After so many scans in a row in which no process could be killed (70 ms or more), [`end_all`] gives up: by then it has seen what was just
    /// being started, or ends with a killed process.
    const SURE: u32 = 8;

    /// How a worker recognises which of its descendants belong to its jobs.
    pub(in super::super) struct Kin {
        /// What its jobs carry in their environment.
        mark: Vec<u8>,
        /// Others may be beneath it, too: those of a script that started them and then became the worker, or, beneath process 1, anybody's
        /// orphans. They are none of its business.
        has_others: bool,
        /// What could not be ended, and was told: it is not waited for again.
        left: Mutex<HashSet<(Pid, u64)>>,
    }

    impl Kin {
        /// For the worker of a file, before its first shim. `has_engines`: programs that it starts itself may leave processes beneath it.
        pub(in super::super) fn new(db: &Path, has_engines: bool) -> Kin {
            let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            let has_children = !waitid(WaitId::All, look).is_err_and(|e| e == Errno::CHILD);
            let mark = [b"PERDURA_JOB_DB=", db.as_os_str().as_bytes()].concat();
            let has_others = has_engines || has_children || getpid() == Pid::INIT;
            Kin { mark, has_others, left: Mutex::default() }
        }

        /// Kills a shim that has ended or hangs, and the job that it has left to this process. `group`: the job's process group, if it is known.
        /// Waits for their end, but no longer than `patience`; false if some are left.
        pub(in super::super) fn end_lost(
            &self,
            shim: Pid,
            group: Option<Pid>,
            shims: &HashSet<Pid>,
            patience: Duration,
        ) -> bool {
            let is_kin = |child: &SeenProcess| {
                !self.has_others || (group.is_some() && child.group == group) || self.marks(child.id)
            };
            let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
            let is_meant = |child: &SeenProcess| {
                let is_left = left.contains(&(child.id, child.began));
                child.id == shim || (!shims.contains(&child.id) && !is_left && is_kin(child))
            };
            let are_gone = wait_until(patience, || {
                reap(|child| shims.contains(&child));
                kill(is_meant) == Killed::Nobody
            });
            let remaining: Vec<_> = beneath(getpid(), is_meant).iter().map(|p| (p.id, p.began)).collect();
            left.extend(remaining);
            are_gone
        }

        fn marks(&self, process: Pid) -> bool {
            let environment = std::fs::read(format!("/proc/{}/environ", process.as_raw_nonzero()));
            environment.is_ok_and(|e| e.split(|byte| *byte == 0).any(|entry| entry == self.mark))
        }
    }

    /// From now on, orphans beneath this process become its children.
    pub(in super::super) fn adopt_orphans() {
        let _ = set_child_subreaper(Some(getpid())); // Linux has it since 3.4
    }

    /// Reaps children that have ended, except those that `is_awaited` names; none while a guard of [`keep_children`] lives.
    pub(in super::super) fn reap(is_awaited: impl Fn(Pid) -> bool) {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        if !matches!(waitid(WaitId::All, look | WaitIdOptions::NOWAIT), Ok(Some(_))) {
            return; // the usual case, and the cheap one
        }
        let Ok(_orphans) = OWN_CHILDREN.try_write() else { return }; // another time
        let children = by_parent().remove(&getpid().as_raw_nonzero().get()).unwrap_or_default();
        for child in children.into_iter().filter(|child| child.has_ended && !is_awaited(child.id)) {
            let _ = waitid(WaitId::Pid(child.id), look); // nobody else reaps it
        }
    }

    /// Sends a signal to all processes beneath this one that are not in the process group `group`.
    pub(in super::super) fn signal_others(group: Pid, signal: Signal) {
        let others = beneath(getpid(), |_| true).into_iter().filter(|process| process.group != Some(group));
        others.for_each(|process| process.send(signal).unwrap_or_default()); // one that has ended needs none
    }

    /// Kills all processes beneath this one, and waits for their end, but no longer than `patience`; false if some are left. Those of
    /// another user stay.
    ///
    /// All children are reaped here, so nobody else may wait for one.
    pub(in super::super) fn end_all(patience: Duration) -> bool {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let are_gone = || {
            while let Ok(Some(_)) = waitid(WaitId::All, look) {}
            waitid(WaitId::All, look).is_err_and(|e| e == Errno::CHILD)
        };
        let mut denied = 0;
        wait_until(patience, || {
            if are_gone() {
                return true;
            }
            denied = if kill(|_| true) == Killed::None { denied + 1 } else { 0 };
            denied >= SURE
        });
        are_gone()
    }

    #[derive(PartialEq)]
    enum Killed {
        /// There was no process to kill.
        Nobody,
        /// There were processes, and none of them may be killed by this user.
        None,
        Some,
    }

    /// Kills the children that are meant, and all processes beneath them.
    fn kill(is_meant: impl Fn(&SeenProcess) -> bool) -> Killed {
        let found = beneath(getpid(), is_meant);
        let denied = found.iter().filter(|process| process.send(Signal::KILL) == Err(Errno::PERM)).count();
        match found.len() {
            0 => Killed::Nobody,
            all if denied == all => Killed::None,
            _ => Killed::Some,
        }
    }

    /// A process as it was when it was seen.
    struct SeenProcess {
        id: Pid,
        /// None: its leader is outside this process namespace.
        group: Option<Pid>,
        parent: i32,
        has_ended: bool,
        /// In ticks since the start of the system.
        began: u64,
    }

    impl SeenProcess {
        fn read(id: Pid) -> Option<SeenProcess> {
            let stat = std::fs::read(format!("/proc/{}/stat", id.as_raw_nonzero())).ok()?;
            // 17 (name) S parent group session …, and the start is the 22nd. The name may hold any bytes, also a `)`: it is cut.
            let name_ends = stat.iter().rposition(|byte| *byte == b')')?;
            let fields: Vec<_> =
                std::str::from_utf8(&stat[name_ends + 1..]).ok()?.split_whitespace().collect();
            Some(SeenProcess {
                id,
                group: Pid::from_raw(fields.get(2)?.parse().ok()?),
                parent: fields.get(1)?.parse().ok()?,
                has_ended: matches!(*fields.first()?, "Z" | "X"),
                began: fields.get(19)?.parse().ok()?,
            })
        }

        /// Sends it a signal. Its id may have been given to another process since it was seen; a descriptor keeps its process.
        fn send(&self, signal: Signal) -> Result<(), Errno> {
            let descriptor = pidfd_open(self.id, PidfdFlags::empty());
            if SeenProcess::read(self.id).is_none_or(|now| now.began != self.began) {
                return Err(Errno::SRCH);
            }
            match descriptor {
                Ok(descriptor) => pidfd_send_signal(descriptor, signal),
                Err(_) => kill_process(self.id, signal), // before Linux 5.3, or no descriptor is left
            }
        }
    }

    /// The children of `root` that are meant and all processes beneath them, except those that have ended.
    fn beneath(root: Pid, is_meant: impl Fn(&SeenProcess) -> bool) -> Vec<SeenProcess> {
        let mut children = by_parent();
        let mut found = children.remove(&root.as_raw_nonzero().get()).unwrap_or_default();
        found.retain(is_meant);
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

    fn by_parent() -> HashMap<i32, Vec<SeenProcess>> {
        let mut children: HashMap<i32, Vec<SeenProcess>> = HashMap::new();
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        for process in numbers.filter_map(Pid::from_raw).filter_map(SeenProcess::read) {
            children.entry(process.parent).or_default().push(process);
        }
        children
    }
}
