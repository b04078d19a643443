//! File systems on loop devices: some that the tests can cut the power of, fill, or make read-only.

use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child as Process, Command, Stdio};
use std::time::Duration;

use crate::support::{has, is_root};

/// Names the folders of this harness; the number of the process follows.
const PREFIX: &str = "perdura-power-";

/// Cuts the power when it is told to; started before, so that the cut is one system call away.
const CUTTER: &str = r#"$| = 1; sysopen(D, $ARGV[0], 0) or die "$!"; print "ready\n"; <STDIN>;
    my $flag = pack("I", 2); ioctl(D, 0x8004587d, $flag) or die "$!"; close(D); print "cut\n";"#;

/// Waits until the test has ended, however it did, and takes the file system away. What ends a group of processes leaves it alone.
const GUARD: &str =
    r#"trap '' TERM INT HUP; cat > /dev/null; umount -l "$1/mount" 2> /dev/null; rm -rf "$1""#;

/// A file system of its own on a loop device.
pub struct Disk {
    folder: PathBuf,
    kind: &'static str,
    options: &'static str,
    guard: Process,
}

impl Disk {
    /// None, loudly, where the machine has no such thing.
    #[track_caller]
    pub fn new(kind: &'static str, options: &'static str) -> Option<Disk> {
        let can_loop = is_root() && Path::new("/dev/loop-control").exists();
        if !has("root and loop devices", can_loop)
            || !has("perl", is_program("perl"))
            || !has(&format!("mkfs.{kind}"), is_program(&format!("mkfs.{kind}")))
        {
            return None;
        }
        let memory = Path::new("/dev/shm"); // many more commits a second than on most disks
        let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        sweep(&base);
        let folder =
            base.join(format!("{PREFIX}{}-{:016x}", std::process::id(), RandomState::new().hash_one(0)));
        std::fs::create_dir_all(folder.join("mount")).unwrap();
        let mut guard = Command::new("sh");
        guard.args(["-c", GUARD, "guard"]).arg(&folder).stdin(Stdio::piped());
        Some(Disk { folder, kind, options, guard: guard.spawn().unwrap() })
    }

    pub fn path(&self) -> PathBuf {
        self.folder.join("mount")
    }

    fn image(&self) -> PathBuf {
        self.folder.join("image")
    }

    /// Makes an empty file system and mounts it.
    pub fn format(&self) {
        let _ = std::fs::remove_file(self.image());
        let bytes = if self.kind == "xfs" { 320 << 20 } else { 96 << 20 };
        std::fs::File::create(self.image()).unwrap().set_len(bytes).unwrap();
        let force = if self.kind == "xfs" { "-f" } else { "-F" };
        must(Command::new(format!("mkfs.{}", self.kind)).args(["-q", force]).arg(self.image()));
        self.mount();
    }

    pub fn mount(&self) {
        let options = format!("loop{}", self.options);
        must(Command::new("mount").args(["-o", &options]).arg(self.image()).arg(self.path()));
    }

    /// Returns when the file system is gone from the kernel. The end of a dead process may still be on its way, and a process with a
    /// mount namespace of its own (`unshare --mount`) keeps what was mounted when it began: mounted anew, it would be the same file
    /// system, without power.
    pub fn unmount(&self) {
        let unmount =
            || Command::new("umount").arg(self.path()).stderr(Stdio::null()).status().unwrap().success();
        assert!(becomes_true(unmount), "{} cannot be unmounted", self.path().display());
        let is_gone = || !is_backing_file(&self.image());
        assert!(becomes_true(is_gone), "a mount namespace keeps {} mounted", self.image().display());
    }

    /// Gets ready to cut the power.
    pub fn cutter(&self) -> Cutter {
        let mut perl = Command::new("perl");
        perl.args(["-e", CUTTER]).arg(self.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut perl = perl.spawn().unwrap();
        let mut words = BufReader::new(perl.stdout.take().unwrap()).lines();
        assert_eq!(words.next().unwrap().unwrap(), "ready");
        Cutter { perl, words }
    }
}

/// Whether something is so within half a minute.
fn becomes_true(is_so: impl Fn() -> bool) -> bool {
    (0..3_000).any(|_| {
        is_so() || {
            std::thread::sleep(Duration::from_millis(10));
            false
        }
    })
}

/// Whether a loop device shows this file.
fn is_backing_file(file: &Path) -> bool {
    let devices = std::fs::read_dir("/sys/block").unwrap();
    devices.flatten().any(|device| {
        let shown = std::fs::read_to_string(device.path().join("loop/backing_file")).unwrap_or_default();
        Path::new(shown.trim_end()) == file
    })
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

pub struct Cutter {
    perl: Process,
    words: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Cutter {
    /// Returns when nothing more reaches the device.
    pub fn cut(mut self) {
        self.perl.stdin.take().unwrap().write_all(b"\n").unwrap();
        let word = self.words.next().expect("the power was not cut").unwrap();
        assert_eq!(word, "cut");
        self.perl.wait().unwrap();
    }
}

/// Whether a program of this name can be started.
pub fn is_program(name: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|p| p.join(name).exists()))
}

/// Runs a command that must not fail.
#[track_caller]
pub fn must(command: &mut Command) {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Takes away what runs have left whose guard was killed too.
fn sweep(base: &Path) {
    for entry in std::fs::read_dir(base).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let mount = entry.path().join("mount");
            let _ = Command::new("umount").arg("-l").arg(mount).stderr(Stdio::null()).status();
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
