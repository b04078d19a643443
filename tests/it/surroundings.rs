//! What lies around the database: the folder, the companions, the mounts. What is not as it has to be is named, with what to do.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use perdura::{Config, Error, ErrorKind, Filter, Options, Outcome, Queue, State};

use crate::child::{Child, say};
use crate::loop_device::is_program;
use crate::support::*;

fn companion(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The names in a folder, in order.
fn names(folder: &Folder) -> Vec<String> {
    let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
    let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| name(entry.unwrap())).collect();
    names.sort();
    names
}

/// What other processes do for these tests. False if this is no role of theirs.
pub fn role(role: &str, file: &Path) -> bool {
    match role {
        "look" => look(file),
        "look on" => look_on(file),
        _ => return false,
    }
    true
}

/// Looks at a file in every way.
fn look(file: &Path) {
    let queue = match Queue::builder().read_only(true).open(file) {
        Ok(queue) => queue,
        Err(e) => return say!("{:?}: {e}", e.kind()),
    };
    let tasks = queue.tasks(Filter::new()).unwrap();
    tasks.iter().for_each(|task| assert!(!queue.args_json(task.task_id).unwrap().is_empty()));
    queue.explain(tasks[0].task_id).unwrap();
    assert_sound(&queue);
    assert_eq!(queue.inspect().unwrap().path, file);
    let elsewhere = Folder::new();
    queue.backup(elsewhere.file(), |_| {}).unwrap();
    let refused = queue.enqueue(&Do::Ok(1)).unwrap_err();
    assert_eq!((refused.kind(), refused.outcome()), (ErrorKind::ReadOnly, Outcome::NotDone));
    let copy = Queue::builder().open(elsewhere.file()).unwrap();
    say!("{} of {}", queue.counts().unwrap().total().all(), copy.counts().unwrap().total().all());
}

/// Looks again and again, until a look is refused.
fn look_on(file: &Path) {
    let queue = Queue::builder().read_only(true).open(file).unwrap();
    loop {
        match queue.counts() {
            Ok(counts) => say!("{}", counts.total().all()),
            Err(e) => return say!("{:?}: {e}", e.kind()),
        }
        std::thread::sleep(SECOND / 100);
    }
}

/// What a process says in this role that the shell has prepared the place for: `FROM` and `ON` stand for two paths.
fn in_own_place(prepare: &str, from: &Path, on: &Path, role: &str, file: &Path) -> String {
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &format!(r#"{prepare} && exec "$0" "$@""#)]);
    command.arg(std::env::current_exe().unwrap()).env("FROM", from).env("ON", on);
    let (said, well) = Child::start_through(command, role, file).finish();
    assert!(well, "{said:?}");
    said.concat()
}

/// What a process says that opens `file`, in a place of its own where `from` is mounted on `on`.
fn opened_with_mount(from: &Path, on: &Path, file: &Path) -> String {
    in_own_place(r#"mount --bind "$FROM" "$ON""#, from, on, "read-only", file)
}

/// What a process says that looks at `file` where its folder can only be read.
fn looked_at_read_only(folder: &Path, file: &Path) -> String {
    let prepare = r#"mount --bind "$FROM" "$ON" && mount -o remount,ro,bind "$ON""#;
    in_own_place(prepare, folder, folder, "look", file)
}

/// This test binary as a user who may do nothing.
fn as_stranger() -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=61234", "--regid=61234", "--clear-groups"]).arg(std::env::current_exe().unwrap());
    command
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
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
#[test]
fn g05_a_file_that_is_mounted_by_itself_is_refused() {
    if !can_mount() {
        return;
    }
    let (host, container) = (Folder::new(), Folder::new());
    let queue = builder(Config::default()).open(host.file()).unwrap();
    fs::write(container.file(), "").unwrap();
    let said = opened_with_mount(&host.file(), &container.file(), &container.file());
    assert!(said.starts_with("InvalidInput: ") && said.contains("is mounted by itself"), "{said}");
    assert!(said.contains("mount the whole folder"), "{said}");
    assert_eq!(names(&container), ["tasks.db"], "nothing was made beside it");

    // So is a database whose WAL would be another one's.
    let wal = companion(&container.file(), "-wal");
    fs::write(&wal, "").unwrap();
    let said = opened_with_mount(&companion(&host.file(), "-wal"), &wal, &container.file());
    assert!(said.contains("tasks.db-wal is mounted by itself"), "{said}");

    // The folder as a whole has one WAL and one lock, whatever it is called.
    assert_eq!(opened_with_mount(host.path(), container.path(), &container.file()), "opened");
    let id = queue.enqueue(&Do::Ok(1)).unwrap().id();
    assert_eq!(queue.wait(id, PATIENCE).unwrap().state, State::Succeeded);
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
    let id = queue.enqueue(&Do::Ok(1)).unwrap().id();
    assert_owner_file(queue.drain(), "move it away");
    assert_owner_file(queue.wait(id, PATIENCE), "move it away");
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
    assert_eq!(queue.wait(id, PATIENCE).unwrap().state, State::Succeeded);
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
    assert_eq!(queue.wait(id, PATIENCE).unwrap().state, State::Succeeded);
}

/// As long as another process executes there is nothing to mend: the one that cannot waits for it.
#[test]
fn a_queue_that_cannot_execute_waits_for_the_one_that_does() {
    let folder = Folder::new();
    let owner = builder(Config::default()).poll_interval(SECOND / 100).open(folder.file()).unwrap();
    let sidecar = companion(&folder.file(), "-owner");
    let link = folder.path().join("link");
    fs::hard_link(&sidecar, &link).unwrap();
    let next = builder(Config::default()).open(folder.file()).unwrap();
    assert!(owner.executes() && !next.executes());
    let id = next.enqueue(&Do::Ok(1)).unwrap().id();
    assert_eq!(next.wait(id, PATIENCE).unwrap().state, State::Succeeded);
    next.drain().unwrap();
    let sees_owner = owner.inspect().unwrap().owned == Some(true); // not where the locks of others cannot be seen
    assert!(!sees_owner || next.obstacle().is_none());
}

/// A file of an application on a disc, in a snapshot, in a container's read-only layer. Whatever its name means in a URI.
#[test]
fn a_file_on_a_read_only_medium_can_be_looked_at() {
    if !can_mount() {
        return;
    }
    for name in ["tasks.db", "a b?mode=memory#%41&\u{e9}.db"] {
        let folder = Folder::new();
        let file = folder.path().join(name);
        let queue = Queue::builder().open(&file).unwrap();
        queue.enqueue_all(&[Do::Ok(1), Do::Ok(2)]).unwrap();
        drop(queue);
        assert_eq!(names(&folder), [name]);
        assert_eq!(looked_at_read_only(folder.path(), &file), "2 of 2");

        // What a killed process leaves can be read with its -shm; without, not.
        let queue = Queue::builder().open(&file).unwrap();
        let _ = queue.enqueue(&Do::Ok(3)).unwrap();
        let left = Folder::new();
        for suffix in ["", "-wal", "-shm"] {
            fs::copy(companion(&file, suffix), companion(&left.path().join(name), suffix)).unwrap();
        }
        let file = left.path().join(name);
        assert_eq!(looked_at_read_only(left.path(), &file), "3 of 3");
        fs::remove_file(companion(&file, "-shm")).unwrap();
        let said = looked_at_read_only(left.path(), &file);
        assert!(
            said.starts_with("ReadOnly: ") && said.contains("the newest commits are in its -wal"),
            "{said}"
        );
    }
}

#[test]
fn a_file_in_a_folder_that_cannot_be_written_can_be_looked_at_until_somebody_writes_it() {
    if !has("root and setpriv", is_root() && is_program("setpriv")) {
        return;
    }
    let folder = Folder::new();
    Queue::builder().open(folder.file()).unwrap().enqueue(&Do::Ok(1)).unwrap().id();
    set_mode(folder.path(), 0o755);
    let (said, well) = Child::start_through(as_stranger(), "look", &folder.file()).finish();
    let said = said.concat();
    assert!(well && said.starts_with("ReadOnly: ") && said.contains("check who may read it"), "{said}");

    set_mode(&folder.file(), 0o644);
    let (said, well) = Child::start_through(as_stranger(), "look", &folder.file()).finish();
    assert!(well && said == ["1 of 1"], "{said:?}");

    let mut looker = Child::start_through(as_stranger(), "look on", &folder.file());
    looker.await_line("1");
    let queue = Queue::builder().open(folder.file()).unwrap();
    let _ = queue.enqueue(&Do::Ok(2)).unwrap();
    let refused = std::iter::from_fn(|| looker.line()).find(|line| line != "1").unwrap();
    assert!(refused.starts_with("FileReplaced: ") && refused.contains("open it again"), "{refused}");
}

/// SQLite says "cannot open" for all of it.
#[test]
fn why_a_file_cannot_be_opened_is_told_as_it_is() {
    if can_mount() {
        let folder = Folder::new();
        // Room for the folder and the database, not for a WAL.
        let full = r#"mount -t tmpfs -o nr_inodes=2 none "$ON""#;
        let said = in_own_place(full, folder.path(), folder.path(), "read-only", &folder.file());
        assert!(said.starts_with("DiskFull: ") && said.contains("free some space"), "{said}");

        drop(Queue::builder().open(folder.file()).unwrap());
        let fixed = r#"mount --bind "$FROM" "$ON" && mount -o remount,ro,bind "$ON""#;
        for name in ["tasks.db", "new.db"] {
            let file = folder.path().join(name);
            let said = in_own_place(fixed, folder.path(), folder.path(), "read-only", &file);
            assert!(said.starts_with("ReadOnly: ") && said.contains("Read-only file system"), "{said}");
            assert!(said.contains("read_only(true)"), "{said}");
        }
    }
    let (mut refused, mut opened) = (0, 0);
    for descriptors in 4..10 {
        let folder = Folder::new();
        let mut command = Command::new("sh");
        // Whoever has started the tests may have left some open.
        let closed = "exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-";
        command.args(["-c", &format!(r#"{closed}; ulimit -n {descriptors} && exec "$0" "$@""#)]);
        command.arg(std::env::current_exe().unwrap());
        let (said, well) = Child::start_through(command, "read-only", &folder.file()).finish();
        let said = said.concat();
        assert!(well, "{descriptors}: {said}");
        match said.as_str() {
            "opened" => opened += 1,
            _ => {
                let is_told = said.starts_with("Io: ") && said.contains("Too many open files");
                assert!(is_told && said.contains("ulimit -n"), "{descriptors}: {said}");
                refused += 1;
            }
        }
    }
    assert!(refused > 0 && opened > 0, "{refused} refused, {opened} opened");
}

#[test]
fn a_name_that_leaves_no_room_for_its_companions_makes_no_file() {
    let folder = Folder::new();
    let refused = |path: &Path| {
        let e = Queue::builder().open(path).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::InvalidInput, "{e}");
        assert!(e.to_string().contains("too long") && e.to_string().contains("shorter"), "{e}");
    };
    refused(&folder.path().join("x".repeat(248)));
    refused(&folder.path().join("x".repeat(300)));
    let queue = Queue::builder().open(folder.path().join("x".repeat(247))).unwrap();
    let _ = queue.enqueue(&Do::Ok(1)).unwrap();
    let e = queue.backup(folder.path().join("y".repeat(247)), |_| {}).unwrap_err(); // its -half would have no room
    assert_eq!(e.kind(), ErrorKind::InvalidInput, "{e}");
    drop(queue);
    assert!(names(&folder).iter().all(|name| name.starts_with('x')), "{:?}", names(&folder));

    let mut deep = folder.path().to_owned();
    while deep.as_os_str().len() < 400 {
        deep.push("d".repeat(90));
    }
    fs::create_dir_all(&deep).unwrap();
    let room = 504 - deep.as_os_str().len() - 1; // SQLite's own limit, with the longest suffix
    refused(&deep.join("x".repeat(room + 1)));
    assert!(fs::read_dir(&deep).unwrap().next().is_none());
    Queue::builder().open(deep.join("x".repeat(room))).unwrap().enqueue(&Do::Ok(1)).unwrap().id();
}

/// Somebody tries it with sudo, once.
#[test]
fn what_root_makes_beside_the_database_of_another_user_is_that_users() {
    if !has("root", is_root()) {
        return;
    }
    let folder = Folder::new();
    drop(Queue::builder().open(folder.file()).unwrap());
    for path in [folder.path(), &folder.file()] {
        std::os::unix::fs::chown(path, Some(61_234), Some(61_234)).unwrap();
    }
    let queue = builder(Config::default()).open(folder.file()).unwrap();
    let _ = queue.enqueue(&Do::Ok(1)).unwrap();
    queue.drain().unwrap();
    for suffix in ["", "-wal", "-shm", "-owner"] {
        assert_eq!(fs::metadata(companion(&folder.file(), suffix)).unwrap().uid(), 61_234, "{suffix}");
    }
}

/// Found by a user: `chmod 444`, a look, `chmod 600`, and nothing could be written any more, since SQLite had made the companions like the file.
#[test]
fn a_file_that_was_read_only_for_a_while_can_be_written_again() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let file = folder.file();
    let set_mode = |mode| fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
    drop(Queue::builder().open(&file).unwrap());
    set_mode(0o444);
    let looker = Queue::builder().read_only(true).open(&file).unwrap();
    looker.counts().unwrap();
    set_mode(0o600);
    let queue = Queue::builder().open(&file).unwrap();
    let _ = queue.enqueue(&Do::Ok(1)).unwrap();
    assert_eq!(queue.counts().unwrap().total().ready, 1);
}
