//! On what kind of file system a file lies, as far as the operating system says so without unsafe code: on Linux, from
//! `/proc/self/mountinfo`.
//!
//! SQLite needs locks that hold and memory that all processes share. File systems that reach another machine, or another kernel, break
//! one or the other, sometimes in silence.

use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind};

/// File systems that reach another machine or another kernel.
const REMOTE: &[&str] = &[
    "9p",
    "afs",
    "beegfs",
    "ceph",
    "cifs",
    "coda",
    "drvfs",
    "gfs2",
    "glusterfs",
    "gpfs",
    "lustre",
    "ncpfs",
    "nfs",
    "nfs3",
    "nfs4",
    "ocfs2",
    "orangefs",
    "panfs",
    "prl_fs",
    "smb2",
    "smb3",
    "smbfs",
    "vboxsf",
    "virtiofs",
    "vmhgfs",
];

/// Programs behind FUSE that keep their files on this machine. All others may be a network; `fuseblk` is a disk.
const LOCAL_FUSE: &[&str] = &[
    "apfs-fuse",
    "bindfs",
    "cryfs",
    "dislocker",
    "encfs",
    "exfat",
    "ext2",
    "ext4",
    "fuse-ext2",
    "fuse-overlayfs",
    "gocryptfs",
    "lklfuse",
    "mergerfs",
    "ntfs",
    "ntfs-3g",
    "securefs",
    "zfs",
    "zfs-fuse",
];

/// Refuses a folder on a file system that reaches another machine. Where nothing is known of it, it is taken.
///
/// # Errors
/// `NetworkFileSystem`, naming the file system.
pub(super) fn refuse_network(folder: &Path) -> Result<(), Error> {
    let Ok(mounts) = std::fs::read("/proc/self/mountinfo") else { return Ok(()) };
    let Some(kind) = file_system(&mounts, folder).filter(|kind| is_remote(kind)) else { return Ok(()) };
    let message = format!(
        "{} is on a network file system ({kind}), where locks may not hold; use a local one, or allow_network_file_system(true) if \
         only this machine uses the file",
        folder.display()
    );
    Err(Error::new(ErrorKind::NetworkFileSystem, message))
}

/// The type of the file system that a real path lies on, where that can be known.
pub(super) fn kind_of(path: &Path) -> Option<String> {
    file_system(&std::fs::read("/proc/self/mountinfo").ok()?, path)
}

/// The type of the file system that a real path lies on: of the mount with the longest path that holds it, the newest of several.
fn file_system(mountinfo: &[u8], path: &Path) -> Option<String> {
    let mounts = String::from_utf8_lossy(mountinfo);
    let mut best: Option<(usize, &str)> = None;
    for line in mounts.lines() {
        // 36 35 98:0 /root /mount/point options optional… - type source super-options
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let (Some(point), Some(kind)) = (left.split(' ').nth(4), right.split(' ').next()) else { continue };
        let point = unescaped(point);
        let depth = point.components().count();
        if path.starts_with(&point) && best.is_none_or(|(deepest, _)| depth >= deepest) {
            best = Some((depth, kind));
        }
    }
    best.map(|(_, kind)| kind.to_owned())
}

/// A mount point as the kernel writes it, with blanks and the like as three octal digits.
fn unescaped(point: &str) -> PathBuf {
    let mut text = String::new();
    let mut rest = point;
    while let Some((before, after)) = rest.split_once('\\') {
        text.push_str(before);
        match after.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                text.push(byte.into());
                rest = &after[3..];
            }
            None => {
                text.push('\\');
                rest = after;
            }
        }
    }
    text.push_str(rest);
    text.into()
}

fn is_remote(kind: &str) -> bool {
    match kind.split_once('.') {
        Some(("fuse", program)) => !LOCAL_FUSE.contains(&program),
        _ => kind == "fuse" || REMOTE.contains(&kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
21 1 254:0 / / rw,relatime - ext4 /dev/vda rw
22 21 0:20 / /proc rw - proc proc rw
30 21 0:40 / /home/ann/share rw,relatime shared:7 master:1 - nfs4 nas:/export rw,vers=4.2
31 30 8:1 / /home/ann/share/disk rw - ext4 /dev/sda1 rw
32 21 0:41 / /mnt/with\\040blank rw - cifs //nas/x rw
33 21 0:42 / /mnt/twice rw - ext4 /dev/sdb rw
34 33 0:43 / /mnt/twice rw - fuse.sshfs ann@nas: rw
35 21 0:44 / /mnt/usb rw - fuseblk /dev/sdc1 rw
36 21 0:45 / /mnt/odd\\9 rw - 9p share rw
";

    #[test]
    fn the_deepest_and_newest_mount_that_holds_a_path_counts() {
        for (path, wanted) in [
            ("/home/ann", "ext4"),
            ("/home/ann/shared", "ext4"),
            ("/home/ann/share", "nfs4"),
            ("/home/ann/share/a/b", "nfs4"),
            ("/home/ann/share/disk/a", "ext4"),
            ("/mnt/with blank/a", "cifs"),
            ("/mnt/twice/a", "fuse.sshfs"),
            ("/mnt/usb/a", "fuseblk"),
            ("/mnt/odd\\9/a", "9p"),
        ] {
            assert_eq!(file_system(MOUNTS.as_bytes(), Path::new(path)).as_deref(), Some(wanted), "{path}");
        }
        assert_eq!(file_system(b"\xff - \n\n1 2 3 - x", Path::new("/")), None);
    }

    #[test]
    fn what_reaches_another_machine_is_remote() {
        for remote in
            ["nfs", "nfs4", "cifs", "smb3", "9p", "fuse", "fuse.sshfs", "fuse.rclone", "virtiofs", "ceph"]
        {
            assert!(is_remote(remote), "{remote}");
        }
        for local in [
            "ext4",
            "xfs",
            "btrfs",
            "zfs",
            "tmpfs",
            "overlay",
            "fuseblk",
            "fuse.mergerfs",
            "fuse.fuse-overlayfs",
            "apfs",
            "",
        ] {
            assert!(!is_remote(local), "{local}");
        }
    }
}
