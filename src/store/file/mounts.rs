//! Tells on what kind of file system a file lies. Without unsafe code that is known on Linux only,
//! from `/proc/self/mountinfo`.
//!
//! SQLite needs reliable locks, and memory that all processes share. File systems that reach
//! another machine, or another kernel, lack one or the other, sometimes without an error.

use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind};

/// File systems that reach another machine or another kernel (`fakeowner`, `grpcfuse` and `osxfs`: the host's folders in Docker Desktop).
const REMOTE: &[&str] = &[
    "9p",
    "afs",
    "beegfs",
    "ceph",
    "cifs",
    "coda",
    "drvfs",
    "fakeowner",
    "gfs2",
    "glusterfs",
    "gpfs",
    "grpcfuse",
    "lustre",
    "ncpfs",
    "nfs",
    "nfs3",
    "nfs4",
    "ocfs2",
    "orangefs",
    "osxfs",
    "panfs",
    "prl_fs",
    "smb2",
    "smb3",
    "smbfs",
    "vboxsf",
    "virtiofs",
    "vmhgfs",
];

/// FUSE programs that keep their files on this machine. Any other may be a network file system;
/// `fuseblk` is a disk.
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
    "shfs",
    "zfs",
    "zfs-fuse",
];

/// The mounts that this process sees.
pub(crate) struct Mounts(Vec<Mount>);

struct Mount {
    /// The device number as the kernel writes it: two numbers with a colon between.
    device: String,
    point: PathBuf,
    /// The type of its file system.
    kind: String,
}

impl Mounts {
    /// `None` where the system has no such list, or does not show it. Only Linux is asked:
    /// elsewhere anybody may have created a file of that name.
    pub(crate) fn read() -> Option<Mounts> {
        if !cfg!(target_os = "linux") {
            return None;
        }
        std::fs::read("/proc/self/mountinfo").ok().map(|text| Mounts::parse(&text))
    }

    fn parse(mountinfo: &[u8]) -> Mounts {
        Mounts(mountinfo.split(|byte| *byte == b'\n').filter_map(mount).collect())
    }

    /// Refuses a folder on a file system that reaches another machine. One of which nothing is
    /// known is accepted.
    ///
    /// # Errors
    /// `NetworkFileSystem`, naming the file system.
    pub(crate) fn refuse_network(&self, folder: &Path) -> Result<(), Error> {
        let Some(kind) = self.kind_of(folder).filter(|kind| is_remote(kind)) else { return Ok(()) };
        let message = format!(
            "{} is on a network file system ({kind}), where locks may not hold; use a local one, or allow_network_file_system(true) if \
             only this machine uses the file",
            folder.display()
        );
        Err(Error::new(ErrorKind::NetworkFileSystem, message))
    }

    /// Whether something is mounted at this real path itself.
    pub(crate) fn is_point(&self, path: &Path) -> bool {
        self.0.iter().any(|mount| mount.point == path)
    }

    /// The type of the file system that holds a real path, where that can be known.
    pub(crate) fn kind_of(&self, path: &Path) -> Option<&str> {
        self.holding(path).map(|mount| mount.kind.as_str())
    }

    /// The device number of the file system that holds a real path. (`stat` may return another one:
    /// btrfs has one for each subvolume.)
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only Linux says who holds a lock"))]
    pub(crate) fn device_of(&self, path: &Path) -> Option<&str> {
        self.holding(path).map(|mount| mount.device.as_str())
    }

    /// The mount with the longest path that holds a real path; the newest of several.
    fn holding(&self, path: &Path) -> Option<&Mount> {
        let holding = self.0.iter().filter(|mount| path.starts_with(&mount.point));
        holding.max_by_key(|mount| mount.point.components().count())
    }
}

/// Parses a line: `36 35 98:0 /root /mount/point options optional… - type source super-options`.
fn mount(line: &[u8]) -> Option<Mount> {
    let mut words = line.split(|byte| *byte == b' ');
    let device = words.nth(2)?;
    let point = words.nth(1)?;
    let kind = words.skip_while(|word| *word != b"-").nth(1)?;
    let text = |word: &[u8]| String::from_utf8_lossy(word).into_owned();
    Some(Mount { device: text(device), point: path(unescaped(point)), kind: text(kind) })
}

/// Decodes a mount point: the kernel writes blanks and the like as three octal digits.
fn unescaped(mut point: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(point.len());
    while let [first, rest @ ..] = point {
        let digits =
            rest.get(..3).filter(|_| *first == b'\\').and_then(|three| std::str::from_utf8(three).ok());
        let escaped = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        name.push(escaped.unwrap_or(*first));
        point = if escaped.is_some() { &rest[3..] } else { rest };
    }
    name
}

#[cfg(unix)]
fn path(name: Vec<u8>) -> PathBuf {
    <std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(name).into()
}

#[cfg(not(unix))]
fn path(name: Vec<u8>) -> PathBuf {
    String::from_utf8_lossy(&name).into_owned().into()
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
            assert_eq!(Mounts::parse(MOUNTS.as_bytes()).kind_of(Path::new(path)), Some(wanted), "{path}");
        }
        assert!(Mounts::parse(b"\xff - \n\n1 2 3 - x\n1 2 0:1 / /a rw").0.is_empty());
    }

    /// The kernel escapes blanks, line ends and backslashes, and nothing else.
    #[test]
    fn g05_a_file_that_is_a_mount_point_is_found_whatever_its_name() {
        let mounts = Mounts::parse(
            b"21 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
              40 21 254:0 /ann/q.db /data/q.db rw,relatime master:1 - ext4 /dev/vda rw\n\
              41 21 254:0 /ann/a\\040b\\134.db /data/a\\040b\\134.db rw - ext4 /dev/vda rw\n\
              42 21 254:0 /ann/gone /data/gone//deleted rw - ext4 /dev/vda rw\n\
              43 21 0:51 / /data/\xe4.db rw - tmpfs none rw\n",
        );
        for (path, is_point) in [
            ("/data/q.db", true),
            ("/data/a b\\.db", true),
            ("/data", false),
            ("/data/q.db-wal", false),
            ("/data/gone", false),
            ("/ann/q.db", false),
        ] {
            assert_eq!(mounts.is_point(Path::new(path)), is_point, "{path}");
        }
        #[cfg(unix)]
        assert!(mounts.is_point(&super::path(b"/data/\xe4.db".to_vec())));
        assert_eq!(mounts.device_of(Path::new("/data/other")), Some("254:0"));
    }

    #[test]
    fn what_reaches_another_machine_is_remote() {
        for remote in [
            "nfs",
            "nfs4",
            "cifs",
            "smb3",
            "9p",
            "fuse",
            "fuse.sshfs",
            "fuse.rclone",
            "virtiofs",
            "ceph",
            "fakeowner",
            "fuse.grpcfuse",
            "fuse.osxfs",
        ] {
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
            "fuse.shfs",
            "fuse.fuse-overlayfs",
            "apfs",
            "",
        ] {
            assert!(!is_remote(local), "{local}");
        }
    }
}
