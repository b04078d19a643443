//! Notes of which process a shim has started, in the lock file: there they are when a shim dies, and they wake nobody.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::process::Pid;

/// Before the first note. Should a shim panic, what it says about that goes to the same file, at its beginning.
const NOTES: u64 = 4096;

/// A number of a launch, and a process.
const NOTE_BYTES: usize = 16;

/// Notes that a launch of the shim with this slot has become this process.
pub(super) fn write(file: &File, slot: u64, launch: u64, process: Pid) -> io::Result<()> {
    let mut note = [0; NOTE_BYTES];
    note[..8].copy_from_slice(&launch.to_le_bytes());
    note[8..].copy_from_slice(&i64::from(process.as_raw_nonzero().get()).to_le_bytes());
    file.write_all_at(&note, place(slot))
}

/// The process that a launch has become, if that was noted.
pub(super) fn read(file: &File, slot: u64, launch: u64) -> Option<Pid> {
    let mut note = [0; NOTE_BYTES];
    file.read_exact_at(&mut note, place(slot)).ok()?;
    let (number, process) = note.split_at(8);
    let is_this = number == launch.to_le_bytes();
    let process = i64::from_le_bytes(process.try_into().ok()?);
    i32::try_from(process).ok().filter(|_| is_this).and_then(Pid::from_raw)
}

fn place(slot: u64) -> u64 {
    NOTES + slot * NOTE_BYTES as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_of_one_launch_only() {
        let path = std::env::temp_dir().join(format!("perdura-note-{}", std::process::id()));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        let this = rustix::process::getpid();
        assert_eq!(read(&file, 1, 1), None);
        write(&file, 1, 5, this).unwrap();
        assert_eq!((read(&file, 1, 5), read(&file, 1, 4), read(&file, 0, 5)), (Some(this), None, None));
        std::fs::remove_file(path).unwrap();
    }
}
