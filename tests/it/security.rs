//! The security checklist, an item each.
//!
//! Items whose tests stand elsewhere: 6 and 7 (`hostile`: schemas that would run something; `corrupt` and `refuse`: files that are not
//! ours), 3 and 4 in part (`refuse`: paths), 9 (`store`'s own tests: limits of a connection), 16 (`refuse`: names that no handler
//! knows), 20 (`store`: versions of SQLite; `walls`: no unsafe code).

use std::collections::BTreeSet;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use perdura::testing::{ManualClock, SteppedQueue};
use perdura::{Config, Context, ErrorKind, Failure, Filter, Options, Queue, State, Task, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::child::{Child, tell};
use crate::support::*;

fn companion(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

/// What other processes do for these tests. False if this is no role of theirs.
pub fn role(role: &str, file: &Path) -> bool {
    match role {
        "modes" => modes(file),
        "life" => life(file),
        "huge" => huge(file),
        _ => return false,
    }
    true
}

/// The role `role` through a shell that does this first.
fn in_shell(first: &str, role: &str, file: &Path) -> Vec<String> {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{first} \"$0\" \"$@\"")]).arg(std::env::current_exe().unwrap());
    let (said, well) = Child::start_through(command, role, file).finish();
    assert!(well, "{said:?}");
    said
}

fn modes(file: &Path) {
    let queue = builder(Config::default()).open(file).unwrap();
    let _ = queue.enqueue(&Do::Ok(1)).unwrap();
    queue.drain().unwrap();
    for suffix in ["", "-wal", "-shm", "-owner"] {
        tell(format_args!("{suffix} {:o}", mode(&companion(file, suffix))));
    }
    let private = Queue::builder().open_temporary().unwrap();
    tell(format_args!("temporary {:o} {:o}", mode(private.path()), mode(private.path().parent().unwrap())));
}

#[test]
fn g14_s01_files_are_private_under_every_umask() {
    for umask in ["000", "022", "077"] {
        let folder = Folder::new();
        let said = in_shell(&format!("umask {umask}; exec"), "modes", &folder.file());
        assert_eq!(
            said,
            [" 600", "-wal 600", "-shm 600", "-owner 600", "temporary 600 700"],
            "umask {umask}"
        );
    }
}

#[test]
fn s02_a_file_that_others_may_read_keeps_its_mode_and_that_is_said() {
    crate::logger::listen();
    let folder = Folder::new();
    drop(Queue::builder().open(folder.file()).unwrap());
    let says = |path: &Path| {
        let wanted = format!("{} may be read by others (mode 644)", path.display());
        crate::logger::lines().iter().any(|line| line.contains(&wanted))
    };
    assert!(!says(&folder.file()));
    std::fs::set_permissions(folder.file(), PermissionsExt::from_mode(0o644)).unwrap();
    drop(Queue::builder().open(folder.file()).unwrap());
    assert_eq!(mode(&folder.file()), 0o644);
    assert!(says(&folder.file()), "{:#?}", crate::logger::lines());
}

#[test]
fn s03_symlinks_are_refused() {
    let real = Folder::new();
    drop(Queue::builder().open(real.file()).unwrap());
    let before = std::fs::read(real.file()).unwrap();
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let folder = Folder::new();
        if !suffix.is_empty() {
            std::fs::copy(real.file(), folder.file()).unwrap();
        }
        let target = folder.path().join("target");
        std::fs::write(&target, &before).unwrap();
        symlink(&target, companion(&folder.file(), suffix)).unwrap();
        let opened = Queue::builder().open(folder.file());
        if suffix == "-journal" {
            drop(opened); // SQLite looks for one that was left by a crash, and takes no link for it
        } else {
            let e = opened.expect_err("a link was followed");
            assert!(
                matches!(e.kind(), ErrorKind::InvalidInput | ErrorKind::Io | ErrorKind::Corrupt),
                "{suffix}: {e}"
            );
        }
        assert!(std::fs::read(&target).unwrap() == before, "{suffix}");
    }
}

#[test]
fn s03_a_linked_owner_file_is_not_followed() {
    let folder = Folder::new();
    let target = folder.path().join("target");
    std::fs::write(&target, "precious").unwrap();
    symlink(&target, companion(&folder.file(), "-owner")).unwrap();
    let queue = builder(Config::default()).open(folder.file()).unwrap();
    assert!(!queue.executes(), "it got no lock");
    drop(queue);
    assert_eq!(std::fs::read(&target).unwrap(), b"precious");
}

#[test]
fn s03_a_linked_folder_is_resolved_once() {
    let (real, links) = (Folder::new(), Folder::new());
    let link = links.path().join("folder");
    symlink(real.path(), &link).unwrap();
    let queue = Queue::builder().open(link.join("tasks.db")).unwrap();
    assert_eq!(queue.path(), real.file());
    std::fs::remove_file(&link).unwrap();
    let _ = queue.enqueue(&Do::Ok(1)).unwrap();
}

#[test]
fn s04_no_part_of_a_path_is_read_as_a_uri() {
    let folder = Folder::new();
    for name in [
        "q.db?mode=memory",
        "q.db?vfs=unix-none&nolock=1",
        "%41.db",
        "a#b",
        "a b",
        "file",
        "memory:",
        "q\".db",
        "ü.db",
    ] {
        let path = folder.path().join(name);
        let queue = Queue::builder().open(&path).unwrap();
        let _ = queue.enqueue(&Do::Ok(1)).unwrap();
        assert!(path.is_file(), "{name}");
        drop(queue);
        assert_eq!(Queue::builder().open(&path).unwrap().counts().unwrap().total().ready, 1, "{name}");
    }
    assert!(!folder.path().join("A.db").exists() && !folder.path().join("q.db").exists());
}

#[test]
fn s05_texts_are_values_and_never_sql() {
    let (tests, _) = stepped();
    let queue = tests.queue();
    let evil = [
        "'; DROP TABLE perdura_tasks; --",
        "\" OR 1=1 --",
        "%",
        "_",
        "\u{202e}drop",
        "$1 ?1 :a @b",
        "a\\",
        "[x]",
    ];
    for text in evil {
        let options = || Options::new().queue(text).unique(text).tag(text);
        let id = queue.enqueue_with(&Do::Fail(text.to_owned()), options().max_attempts(1)).unwrap().id();
        assert_eq!(queue.enqueue_with(&Do::Ok(1), options()).unwrap().id(), id);
        tests.run_until_idle().unwrap();
        for filter in [Filter::new().queue(text), Filter::new().tag(text), Filter::new().error_type(text)] {
            let found = queue.tasks(filter).unwrap();
            assert_eq!(found.iter().map(|task| task.task_id).collect::<Vec<_>>(), [id], "{text}");
        }
        queue.pause(text).unwrap();
        assert!(queue.counts().unwrap().queues[text].paused);
        let long = text.repeat(64 * 1024 / text.len());
        assert_eq!(queue.pause(&long).unwrap_err().kind(), ErrorKind::InvalidInput);
        let _ = queue.tasks(Filter::new().queue(&long).task_name(&long).tag(&long)).map(drop);
    }
    assert_sound(queue);
}

#[test]
fn s08_open_looks_at_the_schema_and_check_at_every_page() {
    let folder = Folder::new();
    crate::files::make(&folder.file());
    let mut bytes = std::fs::read(folder.file()).unwrap();
    let at = bytes.windows(4).position(|w| w == b"told").expect("the text of an error lies in some page");
    let page = at / 4096 * 4096;
    bytes[page..page + 8].fill(0xff);
    std::fs::write(folder.file(), bytes).unwrap();
    let queue = Queue::builder().open(folder.file()).unwrap();
    match queue.check() {
        Ok(report) => assert!(!report.is_ok()),
        Err(e) => assert_eq!(e.kind(), ErrorKind::Corrupt, "{e}"),
    }
}

/// Args that were planted by another program, and take `bytes` of memory if anybody makes room for them.
fn plant(folder: &Folder, id: i64, args: &str) {
    let conn = rusqlite::Connection::open(folder.file()).unwrap();
    conn.execute_batch("PRAGMA synchronous = OFF").unwrap();
    assert_eq!(
        conn.execute(&format!("UPDATE perdura_args SET args = {args} WHERE task_id = ?1"), [id]).unwrap(),
        1
    );
}

/// Takes any JSON.
#[derive(Serialize, Deserialize)]
struct Anything(Value);

impl Task for Anything {
    const NAME: &'static str = "anything";
    type Output = Value;
}

fn any(task: Anything, _: &Context) -> Result<Value, Failure> {
    Ok(Value::from(task.0.as_array().map_or(0, Vec::len)))
}

/// Runs what is planted; says how it ended, and how much memory this process has ever had, in KiB.
fn huge(file: &Path) {
    let queue = Queue::builder().workers(1).handle(any).open(file).unwrap();
    for task in queue.tasks(Filter::new()).unwrap() {
        let record = queue.wait(task.task_id, PATIENCE).unwrap();
        tell(format_args!(
            "{} {} {}",
            record.state,
            record.attempt_number,
            record.error_type.unwrap_or_default()
        ));
        if let Err(e) = queue.args_json(task.task_id) {
            tell(format_args!("{:?}", e.kind()));
        }
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
    tell(format_args!("{}", peak.trim().trim_end_matches(" kB")));
}

fn peak_kib(said: &[String]) -> u64 {
    said.last().unwrap().parse().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn s10_a_value_over_the_limits_is_never_brought_into_memory() {
    const MIB_300: &str = "CAST(zeroblob(300000000) AS TEXT)";
    let folder = Folder::in_memory();
    let queue = Queue::builder().open(folder.file()).unwrap();
    for _ in 0..2 {
        let _ = queue.enqueue(&Anything(Value::from(vec![1, 2]))).unwrap();
    }
    drop(queue);
    plant(&folder, 1, MIB_300);
    let said = in_shell("exec", "huge", &folder.file());
    assert_eq!(said[..3], ["FAILED 0 RowDamaged", "TooLarge", "SUCCEEDED 1 "], "{said:?}");
    assert!(peak_kib(&said) < 100_000, "{} KiB were used", peak_kib(&said));
}

#[cfg(target_os = "linux")]
#[test]
fn s11_json_bombs_end_their_task_alone() {
    let folder = Folder::in_memory();
    let queue = Queue::builder().open(folder.file()).unwrap();
    for _ in 0..4 {
        let _ = queue.enqueue(&Anything(Value::Null)).unwrap();
    }
    drop(queue);
    plant(&folder, 1, "replace(hex(zeroblob(1000000)), '0', '[')"); // two million deep
    plant(&folder, 2, "replace(hex(zeroblob(150000)), '00', '{\"a\":')");
    plant(&folder, 3, "'[' || replace(hex(zeroblob(5000000)), '00', '0,') || '0]'"); // five million values in 10 MB
    let said = in_shell("exec", "huge", &folder.file());
    let ends = ["FAILED 1 ArgsUndecodable", "FAILED 1 ArgsUndecodable", "SUCCEEDED 1 ", "SUCCEEDED 1 "];
    assert_eq!(said[..4], ends, "{said:?}");
    assert!(peak_kib(&said) < 40 * 10_000, "{} KiB for 10 MB of JSON", peak_kib(&said));
}

/// A text that must turn up in nothing that the library says.
const CANARY: &str = "CANARY-hunter2";

/// Everything that an error says.
fn all_of(e: &perdura::Error) -> String {
    let chain = std::iter::successors(std::error::Error::source(e), |e| e.source());
    let sources: Vec<String> = chain.map(|e| format!("{e} {e:?}")).collect();
    format!("{e} {e:?} {sources:?}")
}

#[derive(Serialize, Deserialize)]
enum Secret {
    Plain(String),
    Result(String),
    Checkpoint(String),
    BadCheckpoint(String),
}

impl Task for Secret {
    const NAME: &'static str = "secret";
    type Output = String;
}

fn keep(task: Secret, cx: &Context) -> Result<String, Failure> {
    match task {
        Secret::Plain(_) => Ok(String::new()),
        Secret::Result(text) => Ok(text.repeat(100)),
        Secret::Checkpoint(text) => cx.save_checkpoint(&text.repeat(100)).map(|()| text),
        Secret::BadCheckpoint(text) => {
            cx.save_checkpoint(&text)?;
            Ok(cx.checkpoint::<u64>()?.unwrap_or_default().to_string())
        }
    }
}

/// The same task name, with a number as its output.
#[derive(Debug, Serialize, Deserialize)]
struct Number;

impl Task for Number {
    const NAME: &'static str = Secret::NAME;
    type Output = u64;
}

#[test]
fn g14_s12_no_failure_tells_what_tasks_hold() {
    crate::logger::listen();
    let folder = Folder::new();
    let clock = ManualClock::new();
    let config = Config::default().max_args_bytes(100).max_result_bytes(100).max_checkpoint_bytes(100);
    let builder = || Queue::builder().config(config.clone()).clock(clock.clone()).handle(keep);
    let tests = SteppedQueue::open_file(builder(), &clock, folder.file()).unwrap();
    let queue = tests.queue();
    let mut said = Vec::new();
    let secret = || CANARY.to_owned();

    said.push(all_of(&queue.enqueue(&Secret::Plain(CANARY.repeat(99))).unwrap_err()));
    said.push(all_of(&queue.enqueue_all(&[Secret::Plain(CANARY.repeat(99))]).unwrap_err()));
    let bad_key = Options::new().unique(format!("{CANARY}\n"));
    said.push(all_of(&queue.enqueue_with(&Secret::Plain(secret()), bad_key).unwrap_err()));
    for task in [Secret::Result(secret()), Secret::Checkpoint(secret()), Secret::BadCheckpoint(secret())] {
        let id = queue.enqueue_with(&task, Options::new().max_attempts(1)).unwrap().id();
        tests.run_until_idle().unwrap();
        let record = queue.get(id).unwrap();
        assert_eq!(record.state, State::Failed);
        said.push(format!("{record:?} {:?} {}", queue.attempts(id).unwrap(), queue.explain(id).unwrap()));
        said.push(all_of(&queue.result::<Secret>(id).unwrap_err()));
    }
    let id = queue.enqueue_with(&Secret::Plain(secret()), Options::new().unique(CANARY)).unwrap().id();
    tests.run_until_idle().unwrap();
    said.push(all_of(&queue.cancel(id).unwrap_err()));
    let _ =
        queue.enqueue_with(&Secret::Plain(secret()), Options::new().unique(CANARY).delay(MINUTE)).unwrap();
    said.push(all_of(&queue.retry(id).unwrap_err()));

    // What stands in the file is not what a type takes, or cannot be.
    let conn = rusqlite::Connection::open(folder.file()).unwrap();
    for spoil in [
        format!("UPDATE perdura_args SET args = '{{\"Plain\":{{\"a\":\"{CANARY}\"}}}}'"),
        format!("UPDATE perdura_args SET args = '\"{CANARY}\"'"),
        format!("UPDATE perdura_args SET args = '{CANARY}'"),
        format!("UPDATE perdura_args SET args = CAST('\"{CANARY}' || x'ff22' AS TEXT)"),
    ] {
        let id = queue.enqueue(&Secret::Plain(secret())).unwrap().id();
        conn.execute(&format!("{spoil} WHERE task_id = ?1"), [id.to_string()]).unwrap();
        tests.run_until_idle().unwrap();
        let record = queue.get(id).unwrap();
        assert_eq!(record.state, State::Failed, "{spoil}");
        said.push(format!("{record:?} {:?}", queue.attempts(id).unwrap()));
        if let Err(e) = queue.args_json(id) {
            said.push(all_of(&e));
        }
    }
    let done = queue.enqueue(&Secret::Plain(secret())).unwrap().id();
    tests.run_until_idle().unwrap();
    conn.execute(
        "UPDATE perdura_results SET result = '\"' || ?1 || '\"' WHERE task_id = ?2",
        (CANARY, done.to_string()),
    )
    .unwrap();
    said.push(all_of(&queue.result::<Number>(done).unwrap_err()));
    conn.execute_batch("CREATE TRIGGER t AFTER INSERT ON perdura_args BEGIN SELECT 1; END").unwrap();
    said.push(all_of(&Queue::builder().open(folder.file()).unwrap_err()));
    conn.execute_batch("DROP TRIGGER t; BEGIN IMMEDIATE; DROP TABLE perdura_keys; COMMIT").unwrap();
    said.push(all_of(
        &queue.enqueue_with(&Secret::Plain(secret()), Options::new().unique(CANARY)).unwrap_err(),
    ));
    said.push(all_of(&queue.check().err().or_else(|| queue.retry(id).err()).unwrap()));
    std::fs::rename(folder.file(), folder.path().join("away")).unwrap();
    said.push(all_of(&queue.enqueue(&Secret::Plain(secret())).unwrap_err()));
    said.push(format!("{queue:?}"));
    said.extend(crate::logger::lines());
    let tell_tales: Vec<_> =
        said.iter().filter(|text| text.contains("CANARY") || text.contains("hunter2")).collect();
    assert!(tell_tales.is_empty(), "{tell_tales:#?}");
}

/// Whether a text is in a file of the queue, or in its WAL.
fn lies_in(folder: &Folder, text: &str) -> bool {
    ["", "-wal"].iter().any(|suffix| {
        let bytes = std::fs::read(companion(&folder.file(), suffix)).unwrap_or_default();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

#[test]
fn s13_deleted_tasks_are_overwritten_if_that_is_asked_for() {
    for secure_delete in [false, true] {
        let folder = Folder::new();
        let config = Config::default().secure_delete(secure_delete);
        let queue = builder(config).open(folder.file()).unwrap();
        for size in [1, 1_000] {
            let ids: Vec<_> = (0..20)
                .map(|_| add(&queue, &Do::Fail(CANARY.repeat(size)), Options::new().max_attempts(1)))
                .collect();
            ids.into_iter().for_each(|id| assert_eq!(queue.wait(id, PATIENCE).unwrap().state, State::Failed));
        }
        assert!(lies_in(&folder, CANARY));
        assert_eq!(queue.delete_all(Filter::new()).unwrap().changed, 40);
        drop(queue);
        let conn = rusqlite::Connection::open(folder.file()).unwrap();
        conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        drop(conn);
        assert_eq!(lies_in(&folder, CANARY), !secure_delete, "secure_delete = {secure_delete}");
    }
}

#[derive(Serialize, Deserialize)]
struct Shout(String);

impl Task for Shout {
    const NAME: &'static str = "shout";
    type Output = ();
}

#[test]
fn s14_error_texts_are_cut_and_cannot_steer_a_terminal() {
    let clock = ManualClock::new();
    let handler = |task: Shout, _: &Context| -> Result<(), Failure> {
        match task.0.split_once(' ') {
            Some(("panic", text)) => panic!("{text}"),
            Some(("cancel", text)) => Err(Failure::cancel(text)),
            _ => Err(Failure::named(task.0.clone(), task.0)),
        }
    };
    let tests = SteppedQueue::open(Queue::builder().clock(clock.clone()).handle(handler), &clock).unwrap();
    let escape = "\u{1b}[2J\u{1b}]0;title\u{7}\u{9b}31m\r\u{0}\u{7f}";
    for text in [escape.repeat(3000), format!("panic {}", escape.repeat(3000)), format!("cancel {escape}")] {
        let id = tests.queue().enqueue_with(&Shout(text), Options::new().max_attempts(1)).unwrap().id();
        tests.run_until_idle().unwrap();
        let record = tests.queue().get(id).unwrap();
        let attempt = tests.queue().attempts(id).unwrap().remove(0);
        let (kind, message, traceback) =
            (record.error_type.unwrap(), record.error_message.unwrap(), record.error_traceback.unwrap());
        assert!(kind.len() <= 400 && message.len() <= 4096 && traceback.len() <= 16 * 1024);
        for text in
            [kind, message, traceback, attempt.error_type, attempt.error_message, attempt.error_traceback]
        {
            assert!(!text.chars().any(|c| c.is_control() && c != '\n' && c != '\t'), "{text:?}");
        }
    }
}

#[test]
fn s15_no_duration_and_no_clock_overflows() {
    for text in [
        "18446744073709551615s",
        "584942417355years",
        "18446744073709551615years",
        "1e99s",
        "-1s",
        "99999999999999999999s",
    ] {
        for field in [
            "retry_backoff",
            "retry_backoff_max",
            "poll_interval",
            "task_timeout",
            "retention",
            "stuck_task_timeout",
        ] {
            let config = serde_json::from_value::<Config>(serde_json::json!({ field: text }));
            assert!(config.is_err() || config.unwrap().validate().is_err(), "{field} = {text}");
        }
    }
    for wall in [i64::MIN, i64::MIN + 1, -1, 0, 1 << 53, i64::MAX - 1, i64::MAX] {
        let clock = ManualClock::at(Timestamp::from_millis(wall));
        let mut tests = SteppedQueue::open(builder(Config::default()).clock(clock.clone()), &clock).unwrap();
        let queue = tests.queue().clone();
        let ok = add(&queue, &Do::Ok(1), Options::new());
        add(
            &queue,
            &fail(),
            Options::new().delay(Duration::from_secs(9)).expires(Duration::from_secs(86_400)),
        );
        add(&queue, &Do::Snooze(u64::MAX), Options::new());
        add(&queue, &Do::RetryAfter(u64::MAX), Options::new());
        tests.run_until_idle().unwrap();
        for by in [Duration::ZERO, SECOND, Duration::from_secs(u64::MAX), Duration::MAX] {
            tests.advance(by).unwrap();
            tests.run_until_idle().unwrap();
            tests.apply_retention().unwrap();
            clock.set_wall(Timestamp::from_millis(wall));
            tests.tick().unwrap();
        }
        assert!(queue.get(ok).map_or(true, |task| task.state == State::Succeeded));
        queue
            .tasks(Filter::new())
            .unwrap()
            .iter()
            .for_each(|task| drop(serde_json::to_string(task).unwrap()));
        assert_sound(&queue);
    }
}

/// A short life: opens, runs, looks, and starts a program from a handler.
fn life(file: &Path) {
    #[derive(Serialize, Deserialize)]
    struct Spawn;
    impl Task for Spawn {
        const NAME: &'static str = "spawn";
        type Output = String;
    }
    let open_files = |_: Spawn, _: &Context| -> Result<String, Failure> {
        let listed = Command::new("ls").args(["-l", "/proc/self/fd"]).output()?;
        Ok(String::from_utf8_lossy(&listed.stdout).into_owned())
    };
    let queue = Queue::builder().handle(run).handle(open_files).open(file).unwrap();
    let id = queue.enqueue(&Spawn).unwrap().id();
    queue.enqueue_all(&[Do::Ok(1), Do::Permanent]).unwrap();
    queue.drain().unwrap();
    queue.counts().unwrap();
    for line in queue.result::<Spawn>(id).unwrap().unwrap().lines() {
        tell(format_args!("fd {line}"));
    }
    let _ = queue.check().unwrap(); // sorts, which takes a temporary place
    queue.shutdown(MINUTE).unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn s19_programs_that_handlers_start_inherit_no_file() {
    let folder = Folder::new();
    let said = in_shell("exec", "life", &folder.file());
    let listed: Vec<_> = said.iter().filter(|line| line.starts_with("fd ")).collect();
    assert!(listed.iter().any(|line| line.contains("/proc/")), "the list of open files is there: {said:?}");
    let name = folder.path().file_name().unwrap().to_str().unwrap();
    assert!(!listed.iter().any(|line| line.contains(name)), "{listed:#?}");
}

/// A file as `strace` says that it was opened: its path and its flags.
fn opened(trace: &str) -> Vec<(String, String)> {
    let calls = trace.lines().filter(|line| line.contains("open(") || line.contains("openat("));
    let found = calls.filter(|line| !line.contains(" = -1 ")).filter_map(|line| {
        let (_, rest) = line.split_once('"')?;
        let (path, rest) = rest.split_once("\", ")?;
        Some((path.to_owned(), rest.split([',', ')']).next()?.to_owned()))
    });
    found.collect()
}

#[cfg(target_os = "linux")]
#[test]
fn s17_s18_s19_only_sqlite_opens_the_database_and_nothing_else_is_written() {
    let is_there = Command::new("strace").arg("-V").output().is_ok_and(|out| out.status.success());
    if !has("strace", is_there) {
        return;
    }
    let (folder, outside) = (Folder::new(), Folder::new());
    let log = outside.path().join("strace");
    let first = format!("exec strace -f -qq -e trace=open,openat,creat -o {}", log.display());
    in_shell(&first, "life", &folder.file());
    let calls = opened(&std::fs::read_to_string(log).unwrap());
    let file = folder.file().to_str().unwrap().to_owned();
    let of_queue: Vec<_> = calls.iter().filter(|(path, _)| path.starts_with(&file)).collect();
    let names: BTreeSet<_> = of_queue.iter().map(|(path, _)| path.trim_start_matches(&file)).collect();
    assert!(names.is_superset(&BTreeSet::from(["", "-wal", "-shm", "-owner"])), "{calls:#?}");
    for (i, (path, flags)) in of_queue.iter().enumerate() {
        assert!(flags.contains("O_CLOEXEC"), "{path} {flags}");
        let makes_it = i == 0 && flags.contains("O_EXCL"); // before SQLite has it
        // std::fs asks for no O_NOFOLLOW unless we do, and SQLite always does here: so this one is SQLite's.
        assert!(makes_it || flags.contains("O_NOFOLLOW"), "{path} {flags}");
    }
    let written =
        |flags: &str| flags.contains("O_WRONLY") || flags.contains("O_RDWR") || flags.contains("O_CREAT");
    let strangers: Vec<_> = calls
        .iter()
        .filter(|(path, flags)| written(flags) && !path.starts_with(&file) && !path.starts_with("/dev/"))
        .collect();
    assert!(strangers.is_empty(), "written elsewhere: {strangers:#?}");
}
