//! Processes that a shim has left behind.
//!
//! A shim can be killed between the start of a job and the note of it. But it leads a session of its own, and its jobs are in that: so on
//! Linux they are found all the same. Elsewhere only what was noted is.

use std::time::Duration;

use rustix::process::Pid;

/// Kills whatever is left in the session of a shim that has ended but was not reaped yet, so that its number still means this session and
/// no other. Waits until it is gone, but not longer than this.
#[cfg(target_os = "linux")]
pub(super) fn kill(session: Pid, patience: Duration) {
    const PAUSE: Duration = Duration::from_millis(5);
    let mut waited = Duration::ZERO;
    loop {
        let left = members(session);
        if left.is_empty() || waited >= patience {
            return;
        }
        for process in left {
            let _ = kill_member(process, session); // it may have ended by itself
        }
        std::thread::sleep(PAUSE);
        waited += PAUSE;
    }
}

/// Kills a member. Its number may have been given to a stranger since it was seen; what a descriptor of a process means stays.
#[cfg(target_os = "linux")]
fn kill_member(process: Pid, session: Pid) -> Option<()> {
    use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
    let process_itself = pidfd_open(process, PidfdFlags::empty()).ok()?;
    is_member(process, session).filter(|is_member| *is_member)?;
    pidfd_send_signal(process_itself, Signal::KILL).ok()
}

#[cfg(not(target_os = "linux"))]
pub(super) fn kill(_: Pid, _: Duration) {}

/// The processes of a session but for its leader, and for those that have ended and wait to be reaped.
#[cfg(target_os = "linux")]
fn members(session: Pid) -> Vec<Pid> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let numbers = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let all = numbers.filter_map(Pid::from_raw).filter(|process| *process != session);
    all.filter(|process| is_member(*process, session).unwrap_or(false)).collect()
}

#[cfg(target_os = "linux")]
fn is_member(process: Pid, session: Pid) -> Option<bool> {
    let number = process.as_raw_nonzero();
    let stat = std::fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
    // 17 (name, which may hold anything) S parent group session …
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let (state, of) = (fields.next()?, fields.nth(2)?);
    Some(state != "Z" && of.parse() == Ok(session.as_raw_nonzero().get()))
}
