//! Finds out who owns a file, and whether others have a database open, without asking for a lock:
//! to ask would disturb a process that needs it.
//!
//! Linux lists all locks in `/proc/locks`, with device and inode of each locked file. It leaves out
//! locks of processes that a container cannot see. So the answer is "nobody" only where all
//! processes can be seen, and a lock counts only if its device matches.

#[cfg(target_os = "linux")]
use std::fs::File;
#[cfg(target_os = "linux")]
use std::io::{Read, Seek};
use std::path::Path;

use super::mounts::Mounts;
#[cfg(target_os = "linux")]
use crate::sync::{Mutex, lock};

/// Which process executes the tasks of a file. Made by [`Queue::owner`](crate::Queue::owner).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Owner {
    /// Whether there is one; `None` where that cannot be known from here.
    pub is_owned: Option<bool>,
    /// Its process id; `None` where that cannot be known from here.
    pub process: Option<u32>,
}

/// Searches the system's list of locks. Only Linux has one; elsewhere nothing is known.
#[cfg(target_os = "linux")]
pub(crate) fn owner(path: &Path, mounts: Option<&Mounts>) -> Owner {
    use std::os::unix::fs::MetadataExt;
    let Ok(found) = std::fs::symlink_metadata(path) else {
        return Owner { is_owned: Some(false), process: None };
    };
    let (major, minor) = (libc::major(found.dev()), libc::minor(found.dev()));
    let devices = Devices {
        of_mount: mounts.and_then(|mounts| mounts.device_of(path)).and_then(device),
        of_file: (major.into(), minor.into()),
    };
    let mut seen = Owner::default();
    for _ in 0..LOOKS {
        let Some(locks) = all_locks() else { return Owner::default() };
        seen = holder(&locks, &devices, found.ino(), sees_all_processes());
        if seen.is_owned == Some(true) {
            break;
        }
    }
    seen
}

/// The system's list of locks. The file stays open, because it is read again and again while others
/// have a database open.
#[cfg(target_os = "linux")]
fn all_locks() -> Option<String> {
    static LIST: Mutex<Option<File>> = Mutex::new(None);
    let mut list = lock(&LIST);
    if list.is_none() {
        *list = File::open("/proc/locks").ok();
    }
    let file = list.as_mut()?;
    file.rewind().ok()?;
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    Some(text)
}

/// How often the list of locks is read before a lock counts as absent: the kernel returns it a page
/// at a time, and a lock that is released meanwhile hides the line behind it.
#[cfg(target_os = "linux")]
const LOOKS: u32 = 5;

#[cfg(not(target_os = "linux"))]
pub(crate) fn owner(_: &Path, _: Option<&Mounts>) -> Owner {
    Owner::default()
}

/// A device: its major and its minor number.
#[cfg(any(target_os = "linux", test))]
type Device = (u64, u64);

/// The numbers under which a file's device may appear in the list of locks.
#[cfg(any(target_os = "linux", test))]
struct Devices {
    /// As in the list of mounts, which agrees with the list of locks.
    of_mount: Option<Device>,
    /// As `stat` returns it. On btrfs and overlayfs that is another number.
    of_file: Device,
}

/// The owner according to the list of locks.
#[cfg(any(target_os = "linux", test))]
fn holder(locks: &str, devices: &Devices, inode: u64, sees_all: bool) -> Owner {
    let mut may_be_it = false;
    for lock in locks.lines().filter_map(read_lock) {
        if (lock.kind, lock.mode, lock.inode) != ("FLOCK", "WRITE", inode) {
            continue;
        }
        let on = lock.device;
        if devices.of_mount == Some(on) || devices.of_mount.is_none() && devices.of_file == on {
            return Owner {
                is_owned: Some(true),
                process: Some(lock.process).filter(|process| *process > 0),
            };
        }
        may_be_it |= devices.of_mount.is_none();
    }
    Owner { is_owned: (sees_all && !may_be_it).then_some(false), process: None }
}

/// Whether another process may have a database open, by the locks on its `-shm`: every process that
/// has it open holds one. True if that cannot be known.
#[cfg(target_os = "linux")]
pub(crate) fn others_have_open(shm: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let (Ok(found), Some(locks), true) = (std::fs::symlink_metadata(shm), all_locks(), sees_all_processes())
    else {
        return true;
    };
    let me = std::process::id();
    let is_anothers =
        |lock: Lock<'_>| lock.kind == "POSIX" && lock.process != me && lock.inode == found.ino();
    locks.lines().filter_map(read_lock).any(is_anothers)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn others_have_open(_: &Path) -> bool {
    true
}

/// A held lock.
#[cfg(any(target_os = "linux", test))]
struct Lock<'l> {
    kind: &'l str,
    mode: &'l str,
    /// 0 if the process cannot be seen.
    process: u32,
    device: Device,
    inode: u64,
}

/// Parses a line: `1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF`, the device in hexadecimal
/// digits. The line of a waiter has one word more (`->`), and is not parsed.
#[cfg(any(target_os = "linux", test))]
fn read_lock(line: &str) -> Option<Lock<'_>> {
    let mut words = line.split_whitespace().skip(1);
    let (Some(kind), Some(_), Some(mode), Some(process), Some(file)) =
        (words.next(), words.next(), words.next(), words.next(), words.next())
    else {
        return None;
    };
    let mut numbers = file.split(':');
    let hexadecimal = |word: &str| u64::from_str_radix(word, 16).ok();
    let device = (hexadecimal(numbers.next()?)?, hexadecimal(numbers.next()?)?);
    let inode = numbers.next()?.parse().ok()?;
    Some(Lock { kind, mode, process: process.parse().unwrap_or(0), device, inode })
}

/// Parses a device as the list of mounts writes it: `254:0`.
#[cfg(any(target_os = "linux", test))]
fn device(text: &str) -> Option<Device> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Whether this process sees all processes of the machine: the kernel always gives the first PID
/// namespace this number.
#[cfg(target_os = "linux")]
fn sees_all_processes() -> bool {
    const FIRST: &str = "pid:[4026531836]";
    std::fs::read_link("/proc/self/ns/pid").is_ok_and(|namespace| namespace.as_os_str() == FIRST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCKS: &str = "\
1: FLOCK  ADVISORY  WRITE 1234 fe:0a:5678 0 EOF
2: POSIX  ADVISORY  WRITE 99 fe:0a:5679 0 EOF
3: FLOCK  ADVISORY  READ  98 fe:0a:5680 0 EOF
4: FLOCK  ADVISORY  WRITE 0 fe:0a:5681 0 EOF
4: -> FLOCK  ADVISORY  WRITE 97 fe:0a:5682 0 EOF
5: FLOCK  ADVISORY  WRITE 1235 00:2f:5683 0 EOF
rubbish
";

    fn look(
        of_mount: Option<&str>,
        of_file: Device,
        inode: u64,
        sees_all: bool,
    ) -> (Option<bool>, Option<u32>) {
        let devices = Devices { of_mount: of_mount.and_then(device), of_file };
        let Owner { is_owned, process } = holder(LOCKS, &devices, inode, sees_all);
        (is_owned, process)
    }

    #[test]
    fn an_owner_is_named_only_by_a_lock_on_the_same_device() {
        assert_eq!(look(Some("254:10"), (254, 10), 5678, true), (Some(true), Some(1234)));
        assert_eq!(look(None, (254, 10), 5678, true), (Some(true), Some(1234)));
        assert_eq!(
            look(Some("0:47"), (0, 51), 5683, true),
            (Some(true), Some(1235)),
            "btrfs: stat says another"
        );
        assert_eq!(look(Some("254:10"), (254, 10), 5681, true), (Some(true), None), "its process is hidden");
        for other in ["254:16", "8:1", "0:10"] {
            assert_eq!(look(Some(other), (254, 10), 5678, true), (Some(false), None), "{other}");
        }
        for no_owner in [5679, 5680, 5682, 1] {
            assert_eq!(look(Some("254:10"), (254, 10), no_owner, true), (Some(false), None), "{no_owner}");
        }
    }

    #[test]
    fn what_cannot_be_known_of_an_owner_is_not_said() {
        assert_eq!(look(None, (8, 1), 5678, true), (None, None), "the devices may have two numbers each");
        assert_eq!(look(Some("8:1"), (8, 1), 5678, false), (None, None), "another container may own it");
        assert_eq!(look(Some("254:10"), (254, 10), 5678, false), (Some(true), Some(1234)));
    }
}
