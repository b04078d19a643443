//! Bad input: each gets a clear, typed error, and nothing is lost or changed.

use std::path::Path;

use perdura::{Config, Context, ErrorKind, Failure, Hold, Options, Queue, State, Task};
use serde::{Deserialize, Serialize};

use crate::support::*;

fn refused(path: &Path) -> perdura::Error {
    builder(Config::default()).open(path).expect_err("it must be refused")
}

/// Every byte of a file, or nothing.
fn bytes(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_default()
}

#[test]
fn g12_files_that_are_not_ours_are_left_as_they_were() {
    let folder = Folder::new();
    let text = folder.path().join("text");
    std::fs::write(&text, "once upon a time, and long enough for a page\n".repeat(200)).unwrap();
    let short = [1, 99, 511, 512, 513, 4095].map(|n| (folder.path().join(format!("short {n}")), n));
    short.iter().for_each(|(path, n)| std::fs::write(path, "x".repeat(*n)).unwrap());
    let foreign = folder.path().join("foreign");
    let conn = rusqlite::Connection::open(&foreign).unwrap();
    conn.execute_batch("CREATE TABLE mine (x); INSERT INTO mine VALUES (1)").unwrap();
    drop(conn);
    for path in [text, foreign].into_iter().chain(short.map(|(path, _)| path)) {
        let before = bytes(&path);
        let e = refused(&path);
        assert_eq!(e.kind(), ErrorKind::NotPerdura, "{e}");
        assert!(e.to_string().contains("give another path"), "{e}");
        assert_eq!(bytes(&path), before, "{}", path.display());
    }
}

/// A file of ours with one finished task, closed, and changed by `spoil`.
fn spoilt(spoil: &str) -> (Folder, Vec<u8>) {
    let folder = Folder::new();
    let queue = builder(Config::default()).open(folder.file()).unwrap();
    let _ = queue.enqueue(&Do::Ok(1)).unwrap();
    queue.drain().unwrap();
    drop(queue);
    let conn = rusqlite::Connection::open(folder.file()).unwrap();
    conn.execute_batch(spoil).unwrap();
    conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop(conn);
    let before = bytes(&folder.file());
    (folder, before)
}

#[test]
fn g12_a_newer_schema_is_refused() {
    let (folder, before) = spoilt("UPDATE perdura_meta SET schema_version = 99");
    let e = refused(&folder.file());
    assert_eq!(e.kind(), ErrorKind::NewerSchema);
    assert!(e.to_string().contains("schema 99"), "{e}");
    assert_eq!(bytes(&folder.file()), before);
}

#[test]
fn g12_an_altered_or_damaged_file_is_refused() {
    for spoil in [
        "CREATE TRIGGER t AFTER INSERT ON perdura_tasks BEGIN DELETE FROM perdura_tasks; END",
        "DROP INDEX perdura_ready",
        "CREATE TABLE perdura_more (x)",
        "DELETE FROM perdura_meta",
    ] {
        let (folder, before) = spoilt(spoil);
        let e = refused(&folder.file());
        assert_eq!(e.kind(), ErrorKind::Corrupt, "{e}");
        assert_eq!(bytes(&folder.file()), before);
    }
    let (folder, before) = spoilt("");
    std::fs::write(folder.file(), &before[..before.len() / 2]).unwrap();
    let e = refused(&folder.file());
    assert_eq!(e.kind(), ErrorKind::Corrupt, "{e}");
    assert_eq!(bytes(&folder.file()), before[..before.len() / 2]);
}

#[test]
fn paths_that_cannot_be_meant_are_refused() {
    let folder = Folder::new();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(folder.path().join("target"), &link).unwrap();
    let missing = folder.path().join("missing/tasks.db");
    let nul = Path::new("a\0b");
    for (path, wanted) in [
        (Path::new(""), "is empty"),
        (Path::new("file:tasks.db?mode=memory"), "is a URI"),
        (Path::new("FILE:tasks.db"), "is a URI"),
        (Path::new(":memory:"), "open_temporary()"),
        (nul, "NUL"),
        (folder.path(), "is a folder"),
        (Path::new("/"), "is a folder"),
        (&missing, "create it first"),
        (&link, "symbolic link"),
    ] {
        let e = refused(path);
        assert_eq!(e.kind(), ErrorKind::InvalidInput, "{e}");
        assert!(e.to_string().contains(wanted), "{e}");
    }
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|f| f.unwrap().file_name()).collect();
    assert_eq!(names, ["link"], "nothing was made");
}

#[test]
fn a_read_only_file_or_folder_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    if !has("root to become another user", is_root()) {
        return;
    }
    let open_as_nobody = |path: &Path| {
        let mut command = std::process::Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(std::env::current_exe().unwrap());
        let (said, well) = crate::child::Child::start_through(command, "read-only", path).finish();
        assert!(well, "this test needs setpriv: {said:?}");
        said.concat()
    };
    let folder = Folder::new();
    drop(Queue::builder().open(folder.file()).unwrap());
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::set_permissions(folder.file(), std::fs::Permissions::from_mode(0o444)).unwrap();
    let said = open_as_nobody(&folder.file());
    assert!(said.starts_with("ReadOnly"), "{said}");
    let said = open_as_nobody(&folder.path().join("new.db"));
    assert!(said.starts_with("ReadOnly"), "{said}");
    assert!(!folder.path().join("new.db").exists());
}

#[derive(Serialize, Deserialize)]
struct Named<const N: u8>;
impl Task for Named<0> {
    const NAME: &'static str = "";
    type Output = ();
}
impl Task for Named<1> {
    const NAME: &'static str = "do";
    type Output = ();
}
impl Task for Named<2> {
    const NAME: &'static str = "a\nb";
    type Output = ();
}

#[test]
fn names_queues_keys_and_options_are_checked_before_anything_is_stored() {
    let (tests, _) = stepped();
    let queue = tests.queue();
    let long = "x".repeat(201);
    let too_long = std::time::Duration::from_secs(u64::MAX);
    let in_an_hour = perdura::Clock::now(tests.clock()).to_system_time() + 60 * MINUTE;
    for (options, wanted) in [
        (Options::new().queue(""), "queue \"\" is empty"),
        (Options::new().queue(&long), "has 201 bytes"),
        (Options::new().queue("a\0"), "U+0000 at byte 1"),
        (Options::new().unique(""), "unique key is empty"),
        (Options::new().unique(&long), "unique key has 201 bytes"),
        (Options::new().tag("a\tb"), "tag has the control character U+0009"),
        (Options::new().max_attempts(0), "max_attempts \"0\" is not in 1 to 100"),
        (Options::new().max_attempts(101), "is not in 1 to 100"),
        (Options::new().delay(too_long), "is longer than 10years"),
        (Options::new().expires(too_long), "is longer than 10years"),
        (Options::new().backoff(25 * 60 * MINUTE), "is longer than 1day"),
        (Options::new().timeout(std::time::Duration::ZERO), "timeout is zero"),
        (
            Options::new().delay(60 * MINUTE).expires(10 * MINUTE),
            "expires \"10m\" is over before the task may start; make it longer than delay, or later than run_at",
        ),
        (Options::new().delay(MINUTE).expires(MINUTE), "is over before the task may start"),
        (Options::new().run_at(in_an_hour).expires(MINUTE), "is over before the task may start"),
    ] {
        let now = perdura::Clock::now(tests.clock()).to_system_time();
        let without_a_file = options.validate(&Config::default(), now).unwrap_err();
        let e = queue.enqueue_with(&Do::Ok(1), options).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::InvalidInput, "{e}");
        assert_eq!(without_a_file.to_string(), e.to_string());
        assert!(e.to_string().contains(wanted), "{e} lacks {wanted}");
    }
    assert!(queue.enqueue(&Named::<0>).unwrap_err().to_string().contains("task name"));
    assert!(queue.enqueue(&Named::<2>).is_err());
    assert!(queue.pause("").is_err());
    assert_eq!(queue.counts().unwrap().total().all(), 0);
    let good = "y".repeat(200);
    assert!(queue.enqueue_with(&Do::Ok(1), Options::new().queue(&good).unique(&good).tag(&good)).is_ok());
}

#[test]
fn a_handler_registered_twice_or_with_a_bad_name_or_denial_is_refused() {
    let again = builder(Config::default()).handle(|_: Named<1>, _: &Context| Ok(()));
    let e = again.open_temporary().unwrap_err();
    assert_eq!(e.kind(), ErrorKind::InvalidConfig);
    assert!(e.to_string().contains("two handlers for the task name \"do\""), "{e}");
    assert!(Queue::builder().handle(|_: Named<0>, _: &Context| Ok(())).open_temporary().is_err());
    let config = Config::default().retry_exception_denylist(["Error"]);
    let e = Queue::builder().config(config).open_temporary().unwrap_err();
    assert!(e.to_string().contains("retry_exception_denylist: the entry \"Error\" would match"), "{e}");
    let e = Queue::builder().workers(0).open_temporary().unwrap_err();
    assert!(e.to_string().contains("workers = 0 is out of range; it takes 1 to 1024"), "{e}");
}

#[derive(Serialize, Deserialize)]
struct Sized(String);
impl Task for Sized {
    const NAME: &'static str = "sized";
    type Output = String;
}

#[test]
fn args_results_and_checkpoints_over_their_limits_are_refused() {
    let config = Config::default().max_args_bytes(100).max_result_bytes(16).max_checkpoint_bytes(16);
    let clock = perdura::testing::ManualClock::new();
    let handler = |task: Sized, cx: &Context| -> Result<String, Failure> {
        let saved = cx.save_checkpoint(&task.0);
        assert_eq!(saved.is_ok(), task.0.len() <= 14);
        Ok(task.0)
    };
    let builder = Queue::builder().config(config).clock(clock.clone()).handle(handler);
    let tests = perdura::testing::SteppedQueue::open(builder, &clock).unwrap();
    let queue = tests.queue();
    assert!(queue.enqueue(&Sized("x".repeat(98))).is_ok());
    let e = queue.enqueue(&Sized("x".repeat(99))).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::TooLarge);
    assert!(e.to_string().contains("has 101 bytes, over the limit of 100"), "{e}");
    let fits = queue.enqueue(&Sized("x".repeat(14))).unwrap().id();
    let over = queue.enqueue(&Sized("x".repeat(15))).unwrap().id();
    tests.run_until_idle().unwrap();
    assert_eq!(queue.get(fits).unwrap().state, State::Succeeded);
    assert!(queue.get(over).unwrap().error_message.unwrap().contains("over the limit of 16"));
}

#[derive(Deserialize)]
struct Unserialisable;
impl Serialize for Unserialisable {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("SECRET"))
    }
}
impl Task for Unserialisable {
    const NAME: &'static str = "unserialisable";
    type Output = ();
}

#[test]
fn args_that_do_not_serialise_are_refused() {
    let (tests, _) = stepped();
    let e = tests.queue().enqueue(&Unserialisable).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Serialization);
    assert!(e.to_string().contains("turn into JSON"), "{e}");
    assert_eq!(tests.queue().counts().unwrap().total().all(), 0);
}

/// The same name as [`Do`], other args, a later version.
#[derive(Serialize, Deserialize)]
struct DoLater {
    secret: String,
}
impl Task for DoLater {
    const NAME: &'static str = "do";
    type Output = String;
    const VERSION: u32 = 2;
}

#[test]
fn names_and_versions_that_no_handler_knows_are_held_and_lifted() {
    let folder = Folder::new();
    let clock = perdura::testing::ManualClock::new();
    let open = |b: perdura::Builder| {
        perdura::testing::SteppedQueue::open_file(b.clock(clock.clone()), &clock, folder.file()).unwrap()
    };
    let old = open(builder(Config::default()));
    let unknown = old.queue().enqueue(&Sized("x".into())).unwrap().id();
    let newer = old.queue().enqueue(&DoLater { secret: "s".into() }).unwrap().id();
    assert_eq!(old.run_one().unwrap(), None);
    for id in [unknown, newer] {
        let record = old.queue().get(id).unwrap();
        assert_eq!(
            (record.state, record.hold, record.attempt_number),
            (State::Queued, Some(Hold::UnknownName), 0)
        );
        assert!(
            old.queue()
                .explain(id)
                .unwrap()
                .to_string()
                .contains("waits for a program that handles the task name")
        );
    }
    assert_eq!(old.queue().counts().unwrap().total().unknown_name, 2);
    drop(old);
    let handles_both = Queue::builder()
        .handle(|_: Sized, _: &Context| Ok(String::new()))
        .handle(|task: DoLater, _: &Context| Ok(task.secret));
    let new = open(handles_both);
    assert_eq!(new.run_until_idle().unwrap().succeeded, 2);
    assert_sound(new.queue());
}

#[test]
fn g14_args_that_no_longer_decode_fail_at_once_without_their_text() {
    let folder = Folder::new();
    let clock = perdura::testing::ManualClock::new();
    let producer = Queue::builder().open(folder.file()).unwrap();
    let id = producer.enqueue(&DoLater { secret: "hunter2".into() }).unwrap().id();
    let handler = |_: Renamed, _: &Context| Ok(());
    let builder = Queue::builder().clock(clock.clone()).handle(handler);
    let tests = perdura::testing::SteppedQueue::open_file(builder, &clock, folder.file()).unwrap();
    tests.run_until_idle().unwrap();
    let record = tests.queue().get(id).unwrap();
    assert_eq!((record.state, record.error_type.as_deref()), (State::Failed, Some("ArgsUndecodable")));
    assert_eq!(record.attempt_number, 1);
    let everything = format!("{record:?} {:?}", tests.queue().attempts(id).unwrap());
    assert!(!everything.contains("hunter2"), "{everything}");
}

#[derive(Serialize, Deserialize)]
struct Renamed {
    secret: u64,
}
impl Task for Renamed {
    const NAME: &'static str = "do";
    type Output = ();
    const VERSION: u32 = 2;
}

#[test]
fn g14_args_and_keys_occur_in_no_error_and_no_debug_text() {
    let (tests, _) = stepped_with(Config::default().max_args_bytes(20));
    let queue = tests.queue();
    let secret = "CANARY-CANARY-CANARY";
    let mut texts = Vec::new();
    let too_large = queue.enqueue(&Do::Fail(secret.into())).unwrap_err();
    texts.push(format!("{too_large} {too_large:?}"));
    let bad_key = queue.enqueue_with(&Do::Ok(1), Options::new().unique(format!("{secret}\n"))).unwrap_err();
    texts.push(format!("{bad_key} {bad_key:?}"));
    let id = add(queue, &Do::Permanent, Options::new().unique(secret));
    tests.run_until_idle().unwrap();
    add(queue, &Do::Ok(1), Options::new().unique(secret));
    let conflict = queue.retry(id).unwrap_err();
    texts.push(format!("{conflict} {conflict:?} {queue:?}"));
    let undecodable = queue.result::<Do>(id).unwrap_err();
    texts.push(format!("{undecodable} {undecodable:?}"));
    assert!(texts.iter().all(|text| !text.contains("CANARY")), "{texts:#?}");
}

#[test]
fn g14_every_file_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let queue = builder(Config::default()).open(folder.file()).unwrap();
    let _ = queue.enqueue(&Do::Ok(1)).unwrap();
    queue.drain().unwrap();
    let mut names = Vec::new();
    for file in std::fs::read_dir(folder.path()).unwrap().map(Result::unwrap) {
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", file.path().display());
        names.push(file.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["tasks.db", "tasks.db-owner", "tasks.db-shm", "tasks.db-wal"]);
}

#[test]
fn a_queue_may_share_the_programs_own_file() {
    let folder = Folder::new();
    let share = || builder(Config::default()).share(true);
    let e = share().open(folder.file()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::NotFound, "it must exist: {e}");
    let told = "there is no such file, and share(true) needs a database that exists; make it, with PRAGMA journal_mode = WAL";
    assert!(e.to_string().contains(told) && !folder.file().exists(), "{e}");
    let mine = rusqlite::Connection::open(folder.file()).unwrap();
    mine.execute_batch("CREATE TABLE mine (x)").unwrap();
    let e = share().open(folder.file()).unwrap_err();
    assert!(e.to_string().contains("turn WAL on before: PRAGMA journal_mode = WAL"), "{e}");
    mine.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
    let queue = share().open(folder.file()).unwrap();
    let id = queue.enqueue(&Do::Ok(1)).unwrap().id();
    assert_eq!(queue.wait(id, PATIENCE).unwrap().state, State::Succeeded);
    mine.execute_batch("INSERT INTO mine VALUES (1)").unwrap();
    drop(queue);
    assert_eq!(refused(&folder.file()).kind(), ErrorKind::NotPerdura, "without share(true)");
    assert!(share().open(folder.file()).unwrap().get(id).is_ok());
}
