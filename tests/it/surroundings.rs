//! What lies around the database: the folder, the companions, the mounts. What is not as it has to be is named, with what to do.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use perdura::{Config, Error, ErrorKind, Options, Queue, State};

use crate::child::Child;
use crate::support::*;

fn companion(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

/// The names in a folder, in order.
fn names(folder: &Folder) -> Vec<String> {
    let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
    let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| name(entry.unwrap())).collect();
    names.sort();
    names
}

/// What a process says that opens `file`, in a place of its own where `from` is mounted on `on`.
fn opened_with_mount(from: &Path, on: &Path, file: &Path) -> String {
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", r#"mount --bind "$FROM" "$ON" && exec "$0" "$@""#]);
    command.arg(std::env::current_exe().unwrap()).env("FROM", from).env("ON", on);
    let (said, well) = Child::start_through(command, "read-only", file).finish();
    assert!(well, "{said:?}");
    said.concat()
}

/// Whether this machine lets a process mount something for itself.
#[track_caller]
fn can_mount() -> bool {
    let folder = Folder::new();
    let mut mount = Command::new("unshare");
    mount.args(["-m", "mount", "--bind"]).args([folder.path(), folder.path()]);
    has("root that may mount", mount.output().is_ok_and(|done| done.status.success()))
}

/// A container gets the file by itself (`-v tasks.db:/data/tasks.db`): its WAL and its owner's lock would be beside the other name.
#[cfg(target_os = "linux")]
#[test]
fn g05_a_file_that_is_mounted_by_itself_is_refused() {
    if !can_mount() {
        return;
    }
    let (host, container) = (Folder::new(), Folder::new());
    let queue = builder(Config::default()).open(host.file()).unwrap();
    fs::write(container.file(), "").unwrap();
    let said = opened_with_mount(&host.file(), &container.file(), &container.file());
    assert!(said.starts_with("InvalidInput: path \"") && said.contains("is mounted by itself"), "{said}");
    assert!(said.contains("mount the whole folder"), "{said}");
    assert_eq!(names(&container), ["tasks.db"], "nothing was made beside it");

    // So is a database whose WAL would be another one's.
    let wal = companion(&container.file(), "-wal");
    fs::write(&wal, "").unwrap();
    let said = opened_with_mount(&companion(&host.file(), "-wal"), &wal, &container.file());
    assert!(said.contains("tasks.db-wal\" is mounted by itself"), "{said}");

    // The folder as a whole has one WAL and one lock, whatever it is called.
    assert_eq!(opened_with_mount(host.path(), container.path(), &container.file()), "opened");
    let id = queue.enqueue(&Do::Ok(1)).unwrap();
    assert_eq!(queue.wait(id, MINUTE).unwrap().state, State::Succeeded);
}

/// What is written into a companion must not reach another file: neither through a link nor by its other name.
#[test]
fn s03_a_companion_with_two_names_or_that_is_no_file_is_left_alone() {
    for suffix in ["-wal", "-shm", "-journal", "-owner"] {
        for is_folder in [false, true] {
            let folder = Folder::new();
            drop(Queue::builder().open(folder.file()).unwrap());
            let (precious, planted) = (folder.path().join("precious"), companion(&folder.file(), suffix));
            fs::write(&precious, "precious").unwrap();
            match is_folder {
                true => fs::create_dir(&planted).unwrap(),
                false => fs::hard_link(&precious, &planted).unwrap(),
            }
            let queue = builder(Config::default()).open(folder.file());
            let why = match suffix {
                "-owner" => queue.unwrap().obstacle().expect("it cannot execute"),
                _ => queue.unwrap_err(),
            };
            let (kind, problem) = match (suffix, is_folder) {
                ("-owner", true) => (ErrorKind::OwnerFile, "is not a regular file; move it away"),
                ("-owner", false) => (ErrorKind::OwnerFile, "has several names (hard links)"),
                (_, true) => (ErrorKind::InvalidInput, "is not a regular file; move it away"),
                (_, false) => (ErrorKind::InvalidInput, "has several names (hard links)"),
            };
            assert_eq!(why.kind(), kind, "{why}");
            assert!(why.to_string().contains(problem) && why.to_string().contains(suffix), "{why}");
            assert_eq!(fs::read(&precious).unwrap(), b"precious", "{suffix}");
        }
    }
}

#[track_caller]
fn assert_owner_file<T: std::fmt::Debug>(answer: Result<T, Error>, cause: &str) {
    let e = answer.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::OwnerFile, "{e}");
    assert!(e.to_string().contains("tasks.db-owner") && e.to_string().contains(cause), "{e}");
}

/// Nobody else would execute, so whoever waits is told what to mend; and once it is mended all goes on by itself.
#[test]
fn whoever_waits_for_a_queue_whose_owner_file_cannot_be_used_is_told_and_it_recovers() {
    crate::logger::listen();
    let folder = Folder::new();
    let sidecar = companion(&folder.file(), "-owner");
    fs::create_dir(&sidecar).unwrap();
    let queue = builder(Config::default()).open(folder.file()).unwrap();
    let id = queue.enqueue(&Do::Ok(1)).unwrap();
    assert_owner_file(queue.drain(), "move it away");
    assert_owner_file(queue.wait(id, MINUTE), "move it away");
    assert_owner_file(queue.obstacle().map_or(Ok(()), Err), "move it away");
    let explained = queue.explain(id).unwrap().to_string();
    assert!(
        explained.contains("this process cannot execute: ") && explained.contains("move it away"),
        "{explained}"
    );
    let looker = Queue::builder().open(folder.file()).unwrap();
    assert!(looker.obstacle().is_none(), "it has no handlers, and nothing keeps it from anything");
    assert_eq!(looker.wait(id, SECOND / 50).unwrap_err().kind(), ErrorKind::TimedOut);

    fs::remove_dir(&sidecar).unwrap();
    while !queue.executes() {
        std::thread::sleep(SECOND / 100);
    }
    assert_eq!(queue.wait(id, MINUTE).unwrap().state, State::Succeeded);
    queue.drain().unwrap();
    assert!(queue.obstacle().is_none());
    let said = crate::logger::lines();
    let of_this =
        |line: &&String| line.contains("cannot execute") && line.contains(sidecar.to_str().unwrap());
    assert_eq!(said.iter().filter(of_this).count(), 1, "not each second: {said:#?}");
}

/// Root has run the program once, and its lock is root's from then on; or a stranger has put one there, to rule what counts as started.
#[test]
fn an_owner_file_of_another_user_is_not_used() {
    if !has("root", is_root()) {
        return;
    }
    let folder = Folder::new();
    let sidecar = companion(&folder.file(), "-owner");
    fs::write(&sidecar, "theirs").unwrap();
    std::os::unix::fs::chown(&sidecar, Some(12_345), None).unwrap();
    let queue = builder(Config::default()).open(folder.file()).unwrap();
    let id = queue.enqueue_with(&Do::Ok(1), Options::new()).unwrap().id();
    assert_owner_file(queue.drain(), "belongs to another user (number 12345)");
    assert_eq!(fs::read(&sidecar).unwrap(), b"theirs");
    std::os::unix::fs::chown(folder.file(), Some(12_345), None).unwrap(); // the database is theirs, too: root runs it for them
    while !queue.executes() {
        std::thread::sleep(SECOND / 100);
    }
    assert_eq!(queue.wait(id, MINUTE).unwrap().state, State::Succeeded);
}

/// As long as another process executes there is nothing to mend: the one that cannot waits for it.
#[cfg(target_os = "linux")]
#[test]
fn a_queue_that_cannot_execute_waits_for_the_one_that_does() {
    let folder = Folder::new();
    let owner = builder(Config::default()).poll_interval(SECOND / 100).open(folder.file()).unwrap();
    let sidecar = companion(&folder.file(), "-owner");
    let link = folder.path().join("link");
    fs::hard_link(&sidecar, &link).unwrap();
    let next = builder(Config::default()).open(folder.file()).unwrap();
    assert!(owner.executes() && !next.executes());
    let id = next.enqueue(&Do::Ok(1)).unwrap();
    assert_eq!(next.wait(id, MINUTE).unwrap().state, State::Succeeded);
    next.drain().unwrap();
    let sees_owner = owner.inspect().unwrap().owned == Some(true); // not where the locks of others cannot be seen
    assert!(!sees_owner || next.obstacle().is_none());
}
