//! A worker can always be ended, and then what it has done is known: written to the file, or named.

use std::fs::File;
use std::io::{PipeReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use perdura::State;
use rustix::process::Signal;

use crate::jobs::is_gone;
use crate::jobs_killed::{hear_hangups, read_pid, signal, working};
#[cfg(target_os = "linux")]
use crate::needs::has;
use crate::support::{Place, Running, await_that};

/// Locks a file of tasks for writing.
fn lock(connection: &mut rusqlite::Connection) -> rusqlite::Transaction<'_> {
    connection.busy_timeout(Duration::from_secs(30)).unwrap();
    connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap()
}

/// A job that ends when the file `go` is there.
const UNTIL_GO: &str = "echo $$ > pid; until [ -e go ]; do sleep 0.02; done";

#[test]
fn a_worker_whose_outcomes_cannot_be_written_ends_and_names_the_jobs() {
    let place = Place::new();
    let (id, worker) = working(&place, &["--max-attempts", "2"], &["--grace", "1s"], UNTIL_GO);
    let mut connection = rusqlite::Connection::open(place.path("tasks.db")).unwrap();
    let locked = lock(&mut connection);
    std::fs::write(place.path("go"), "").unwrap();
    await_that("the job has ended", || is_gone(&place.read("pid")));
    signal(worker.id(), Signal::TERM);
    let said = worker.end();
    assert_eq!(said.code, Some(4), "{said:?}");
    assert!(said.err.contains("1 job ended, but the file"), "{said:?}");
    assert!(said.err.contains(&format!("if attempts are left: {id}\n")), "{said:?}");
    drop(locked);
    assert_eq!(place.run(["work", "--drain"]).code, Some(0));
    assert_eq!((place.record(id).state, place.record(id).attempt_number), (State::Succeeded, 2));
}

#[test]
fn a_worker_whose_file_is_gone_can_be_ended() {
    for what in ["removed", "renamed", "replaced"] {
        let place = Place::new();
        place.feed(&"echo x >> beat; sleep 0.05\n".repeat(100), ["add", "--from", "lines", "--shell"]);
        let worker = place.start(place.command(["work", "--workers", "2", "--grace", "1s"]));
        await_that("jobs run", || place.read("beat").lines().count() >= 4);
        let file = place.path("tasks.db");
        match what {
            "removed" => std::fs::remove_file(&file).unwrap(),
            "renamed" => std::fs::rename(&file, place.path("away.db")).unwrap(),
            _ => {
                std::fs::copy(&file, place.path("copy.db")).unwrap();
                std::fs::rename(place.path("copy.db"), &file).unwrap();
            }
        }
        let beats = place.read("beat").lines().count();
        await_that("more jobs end, or it notices", || {
            place.read("beat").lines().count() > beats + 2
                || worker.err().contains("cannot be run, trying again")
        });
        signal(worker.id(), Signal::TERM);
        let said = worker.end();
        assert!(matches!(said.code, Some(4 | 143)), "{what}: {said:?}");
    }
}

/// The reader of one of its streams stalls: the signals are heard all the same, and what is still to do is not begun.
#[test]
fn a_worker_whose_reader_stalls_can_be_ended() {
    for options in [&["--json"][..], &[]] {
        let place = Place::new();
        place.feed(&"true\n".repeat(4000), ["add", "--from", "lines"]);
        let (_reader, writer) = std::io::pipe().unwrap();
        let mut work = place.command(["work", "--workers", "2", "--grace", "1s"].iter().chain(options));
        if options.is_empty() {
            work.stdout(Stdio::null()).stderr(writer);
        } else {
            work.stdout(writer).stderr(Stdio::null());
        }
        let mut worker = work.spawn().unwrap();
        drop(work); // and with it its end of the pipe
        let done = || place.queue().counts().unwrap().total().succeeded;
        let mut before = 0;
        await_that("it does no more, because nobody reads", || {
            std::thread::sleep(Duration::from_millis(500));
            let now = done();
            now > 1000 && std::mem::replace(&mut before, now) == now
        });
        signal(worker.id(), Signal::TERM);
        await_that("it ends", || worker.try_wait().unwrap().is_some());
        assert_eq!(worker.wait().unwrap().code(), Some(143), "{options:?}");
        let counts = place.queue().counts().unwrap().total();
        assert!(counts.running == 0 && counts.all() - counts.succeeded > 0, "{counts:?}");
    }
}

/// A worker whose standard output nobody reads.
fn unheard(place: &Place, options: &[&str]) -> (Running, PipeReader) {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut work = place.command(["work", "--workers", "2"].iter().chain(options));
    (place.start_with(work.stdout(writer)), reader)
}

/// Waits until a worker and its shims have nothing more to do with jobs.
fn await_rest(place: &Place) {
    await_that("no shim is left", || {
        File::open(place.path("tasks.db-jobs")).is_ok_and(|file| file.try_lock().is_ok())
    });
}

/// All is done, but more than a pipe holds is unread.
#[test]
fn a_drained_worker_whose_reader_stalls_can_be_ended() {
    let place = Place::new();
    place.feed(&"true\n".repeat(800), ["add", "--from", "lines"]);
    let (worker, _reader) = unheard(&place, &["--drain", "--json"]);
    await_that("all are done", || place.queue().counts().unwrap().total().succeeded == 800);
    await_rest(&place);
    signal(worker.id(), Signal::TERM);
    assert_eq!(worker.end().code, Some(143));
}

/// What is in the way is said to a stream that takes nothing.
#[test]
#[cfg(target_os = "linux")]
fn a_worker_that_cannot_begin_and_whose_reader_stalls_can_be_ended() {
    let place = Place::new();
    std::fs::write(place.path("tasks.db"), "this is no database".repeat(1000)).unwrap();
    let (_reader, mut writer) = std::io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    while writer.write(&[b'x'; 4096]).is_ok() {}
    while writer.write(b"x").is_ok() {}
    rustix::io::ioctl_fionbio(&writer, false).unwrap();
    let mut work = place.command(["work"]);
    let mut worker = work.stdout(Stdio::null()).stderr(writer).spawn().unwrap();
    drop(work);
    await_that("it hears signals", || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", worker.id())).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim();
        u64::from_str_radix(caught, 16).unwrap() & (1 << (Signal::TERM.as_raw() - 1)) != 0
    });
    await_that("it ends", || {
        signal(worker.id(), Signal::TERM);
        worker.try_wait().unwrap().is_some()
    });
    assert_eq!(worker.wait().unwrap().code(), Some(4));
}

/// The job takes longer than the queue waits for it, and the file is locked until the worker has ended.
#[test]
fn a_success_after_the_shutdown_that_cannot_be_written_is_told() {
    for quiet in [&["--quiet"][..], &[]] {
        let place = Place::new();
        let script = r#"trap "sleep 3; exit 0" TERM; echo $$ > pid; while :; do sleep 0.02; done"#;
        let options = ["--late-success", "--kill-after", "1m", "--max-attempts", "2"];
        let worker = [&["--grace", "0s"], quiet].concat();
        let (id, worker) = working(&place, &options, &worker, script);
        let mut connection = rusqlite::Connection::open(place.path("tasks.db")).unwrap();
        let locked = lock(&mut connection);
        signal(worker.id(), Signal::TERM);
        let said = worker.end();
        assert_eq!(said.code, Some(4), "{said:?}");
        assert!(said.err.contains(&format!("if attempts are left: {id}\n")), "{said:?}");
        drop(locked);
    }
}

#[test]
fn a_success_after_the_shutdown_is_written() {
    let place = Place::new();
    let script = r#"trap "sleep 3; exit 0" TERM; echo $$ > pid; while :; do sleep 0.02; done"#;
    let options = ["--late-success", "--kill-after", "1m"];
    let (id, worker) = working(&place, &options, &["--grace", "0s", "--quiet"], script);
    signal(worker.id(), Signal::TERM);
    let said = worker.end();
    assert_eq!(said.code, Some(143), "{said:?}");
    assert!(said.err.contains("1 attempt in") && said.err.contains("1 succeeded"), "{said:?}");
    assert_eq!(place.record(id).state, State::Succeeded);
}

/// Whatever comes of the answers that its terminal does not take any more.
#[test]
#[cfg(target_os = "linux")]
fn a_worker_whose_terminal_closes_says_so_by_its_exit_code() {
    let may_script =
        Command::new("script").arg("--version").output().is_ok_and(|output| output.status.success());
    if !has("script, of util-linux", may_script) {
        return;
    }
    hear_hangups();
    let place = Place::new();
    place.add(["--shell", "echo $$ > pid; until [ -e go ]; do sleep 0.02; done"]);
    let perdura = env!("CARGO_BIN_EXE_perdura");
    // The system tells the first process of the terminal, which tells the worker: what a shell does.
    let work = format!(
        "trap 'kill -HUP $!' HUP; '{perdura}' work --json --workers 1 --grace 1m 2> err &
         until [ -e ends ]; do sleep 0.02; done; wait $!; echo $? > code"
    );
    let mut terminal = Command::new("script");
    terminal.args(["--quiet", "--command", &work, "/dev/null"]).stdin(Stdio::null());
    terminal.current_dir(place.path("")).env("PERDURA_DB", place.path("tasks.db")).env("SHELL", "/bin/sh");
    let terminal = place.start(terminal);
    read_pid(&place, "pid");
    signal(terminal.id(), Signal::KILL);
    await_that("it says that it stops", || place.read("err").contains("stopping"));
    for name in ["go", "ends"] {
        std::fs::write(place.path(name), "").unwrap(); // what is said of the job cannot be written
    }
    await_that("it ends", || !place.read("code").is_empty());
    assert_eq!(place.read("code"), "129\n", "{}", place.read("err"));
    assert!(place.read("err").contains("answers can no longer be written"), "{}", place.read("err"));
}

/// Both signals count, also when the second comes before the worker has begun to stop: the grace is over at once.
#[test]
fn two_signals_at_once_end_the_grace() {
    let place = Place::new();
    let (id, worker) = working(&place, &[], &["--grace", "1h"], "echo $$ > pid; sleep 1000");
    signal(worker.id(), Signal::INT);
    signal(worker.id(), Signal::TERM);
    let said = worker.end();
    assert!(matches!(said.code, Some(130 | 143)), "{said:?}");
    assert!(said.err.contains("1 handed back"), "{said:?}");
    assert_eq!((place.record(id).state, place.record(id).attempt_number), (State::Queued, 0));
}

/// The system says so, and the shell that ran in it.
#[test]
fn a_terminal_that_says_twice_that_it_goes_does_not_cut_the_grace() {
    hear_hangups();
    let place = Place::new();
    let (id, worker) = working(
        &place,
        &[],
        &["--grace", "1h"],
        "echo $$ > pid; until [ -e go ]; do sleep 0.02; done; echo done",
    );
    signal(worker.id(), Signal::HUP);
    await_that("it stops", || worker.err().contains("stopping"));
    signal(worker.id(), Signal::HUP);
    signal(worker.id(), Signal::HUP);
    std::fs::write(place.path("go"), "").unwrap();
    assert_eq!(worker.end().code, Some(129));
    assert_eq!(place.record(id).state, State::Succeeded);
}
