//! Who owns a file, and who has a database open, as far as that can be known without asking for a lock, which would disturb whoever asks
//! for it in earnest.
//!
//! Linux has a list of all locks, with the device and the number of each locked file. It leaves out what belongs to processes that a
//! container cannot see. So "nobody" is an answer only where all processes can be seen, and no lock counts that is on another device.

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
    /// Whether there is one; none where that cannot be known from here.
    pub is_owned: Option<bool>,
    /// Its process id; none where that cannot be known from here.
    pub process: Option<u32>,
}

/// Looks at the system's list of locks. Linux has one; elsewhere nothing is known.
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

/// The system's list of locks. Its file stays open: it is read again and again while others have a database open.
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

/// How often the list of locks is read before a lock counts as not there: it comes a page at a time, and a lock that goes meanwhile hides
/// the line behind it.
#[cfg(target_os = "linux")]
const LOOKS: u32 = 5;

#[cfg(not(target_os = "linux"))]
pub(crate) fn owner(_: &Path, _: Option<&Mounts>) -> Owner {
    Owner::default()
}

/// A device: its major and its minor number.
#[cfg(any(target_os = "linux", test))]
type Device = (u64, u64);

/// What a file's device may be called in the list of locks.
#[cfg(any(target_os = "linux", test))]
struct Devices {
    /// As the list of mounts says, which the list of locks agrees with.
    of_mount: Option<Device>,
    /// As `stat` says. On btrfs and overlays that is another number.
    of_file: Device,
}

/// The owner by the list of locks.
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

/// Whether another process may have a database open, by the locks on its `-shm`: each that has it open holds one. Where that cannot be
/// known, it may.
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

/// A lock that somebody holds.
#[cfg(any(target_os = "linux", test))]
struct Lock<'l> {
    kind: &'l str,
    mode: &'l str,
    /// 0: one that cannot be seen.
    process: u32,
    device: Device,
    inode: u64,
}

/// Reads a line: `1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF`. The device is in hexadecimal digits. One that waits for a lock (`->`)
/// has none.
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

/// A device as the list of mounts writes it: `254:0`.
#[cfg(any(target_os = "linux", test))]
fn device(text: &str) -> Option<Device> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Whether this process sees those of the whole machine: the kernel gives the first namespace of processes this number, always.
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
