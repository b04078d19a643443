//! Jobs end whole: what they have started ends with them, whatever its process group. And workers always end.

use std::process::Stdio;
use std::time::Duration;

use perdura::{AttemptOutcome, State};
use rustix::process::Signal;

use crate::jobs::is_gone;
use crate::jobs_killed::{read_pid, signal, working};
use crate::support::{Place, await_that};

/// Starts three processes that no signal to the job's process group reaches: of GNU `timeout`, which makes a group; of a session of its
/// own; and an orphan in one. Its `pid` is written when all of them run.
#[cfg(target_os = "linux")]
const LEAVE: &str = r#"
    if [ "$PERDURA_GENERATION" = 1 ]; then
        timeout 1000 sh -c 'echo $$ > group; trap "" TERM; while :; do sleep 0.1; done' &
        setsid sh -c 'echo $$ > session; trap "" TERM; while :; do sleep 0.1; done' &
        setsid sh -c '(sleep 1000 & echo $! > orphan)' &
        until [ -s group ] && [ -s session ] && [ -s orphan ]; do sleep 0.02; done
        echo $PPID > shim; echo $$ > pid"#;

/// The next attempt says which of them are still there.
#[cfg(target_os = "linux")]
const LOOK: &str = r#"
    fi
    for name in group session orphan; do
        case "$(ps -o stat= -p "$(cat $name)")" in "" | Z*) ;; *) echo $name ;; esac
    done > left; echo looked >> left"#;

#[cfg(target_os = "linux")]
#[track_caller]
fn assert_all_gone(place: &Place) {
    for name in ["group", "session", "orphan"] {
        assert!(is_gone(&place.read(name)), "{name} is still there");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn what_has_left_the_process_group_ends_with_its_job() {
    let place = Place::new();
    let id = place.add(["--shell", &format!("{LEAVE}; fi")]);
    place.run(["work", "--drain"]);
    assert_eq!(place.record(id).state, State::Succeeded);
    assert_all_gone(&place);
}

#[test]
#[cfg(target_os = "linux")]
fn what_has_left_the_process_group_ends_at_the_timeout() {
    let place = Place::new();
    let limits = ["--timeout", "6s", "--kill-after", "200ms", "--max-attempts", "1", "--shell"];
    let script = format!("{LEAVE}; wait; fi");
    let id = place.add(limits.into_iter().chain([script.as_str()]));
    place.run(["work", "--drain"]);
    assert_eq!(place.record(id).error_type.as_deref(), Some("Timeout"));
    assert_all_gone(&place);
}

#[test]
#[cfg(target_os = "linux")]
fn what_has_left_the_process_group_ends_by_a_cancel() {
    let place = Place::new();
    let (id, worker) =
        working(&place, &["--kill-after", "200ms"], &["--drain"], &format!("{LEAVE}; wait; fi"));
    place.queue().cancel(id).unwrap();
    assert_eq!(worker.end().code, Some(0));
    assert_eq!(place.record(id).state, State::Cancelled);
    assert_all_gone(&place);
}

#[test]
#[cfg(target_os = "linux")]
fn what_has_left_the_process_group_is_gone_before_a_successor_begins() {
    let place = Place::new();
    let (_, worker) = working(&place, &["--max-attempts", "2"], &[], &format!("{LEAVE}; wait{LOOK}"));
    signal(worker.id(), Signal::KILL);
    drop(worker);
    assert_eq!(place.run(["work", "--drain"]).code, Some(0));
    assert_eq!(place.read("left"), "looked\n");
}

#[test]
#[cfg(target_os = "linux")]
fn what_a_killed_shim_leaves_is_gone_before_the_next_attempt() {
    let place = Place::new();
    let script = format!("{LEAVE}; wait{LOOK}");
    let (id, worker) = working(&place, &["--backoff", "0s"], &["--drain"], &script);
    signal(read_pid(&place, "shim"), Signal::KILL);
    assert_eq!(worker.end().code, Some(0));
    assert_eq!(place.queue().attempts(id).unwrap()[0].error_type, "ShimLost");
    assert_eq!(place.read("left"), "looked\n");
}

/// Where a process namespace may be made, the worker is process 1 of it, to which the orphans of everybody come.
#[test]
#[cfg(target_os = "linux")]
fn a_worker_that_is_process_1_reaps() {
    let place = Place::new();
    let unshare = |words: &[&str]| {
        let mut unshare = std::process::Command::new("unshare");
        unshare.args(["--map-root-user", "--fork", "--pid", "--mount-proc"]).args(words);
        unshare.current_dir(place.path("")).env("PERDURA_DB", place.path("tasks.db"));
        unshare
    };
    if !unshare(&["true"]).stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
        return;
    }
    place.feed(
        &"(setsid sleep 1000 &)\n".repeat(20),
        ["add", "--from", "lines", "--shell", "--priority", "1"],
    );
    let script = r#"
        (setsid true &)
        for turn in $(seq 300); do
            zombies=$(ps -e -o stat= | grep -c ^Z)
            [ $zombies = 0 ] && break
            sleep 0.1
        done
        echo $zombies > zombies"#;
    place.add(["--shell", script]);
    place.start(unshare(&[env!("CARGO_BIN_EXE_perdura"), "work", "--drain", "--workers", "1"])).end();
    assert_eq!(place.read("zombies"), "0\n");
}

/// The library gives a task that ignores its deadline a second worker.
#[test]
fn no_more_jobs_run_than_there_are_workers_while_one_takes_its_time_to_end() {
    let place = Place::new();
    let slow = r#"trap "" TERM; echo A begins >> log; sleep 6; echo A ends >> log"#;
    place.add([
        "--priority",
        "1",
        "--timeout",
        "3s",
        "--kill-after",
        "1m",
        "--max-attempts",
        "1",
        "--shell",
        slow,
    ]);
    place.add(["--shell", "echo B begins >> log"]);
    place.run(["work", "--drain", "--workers", "1"]);
    assert_eq!(place.read("log"), "A begins\nA ends\nB begins\n");
}

#[test]
fn a_job_that_was_done_before_the_order_to_end_reached_it_has_succeeded() {
    let place = Place::new();
    let script = "echo $PPID > shim; echo $$ > pid; until [ -e go ]; do sleep 0.02; done";
    let (id, worker) = working(&place, &[], &["--drain"], script);
    let shim = read_pid(&place, "shim");
    signal(shim, Signal::STOP); // it hears of both at the same time
    std::fs::write(place.path("go"), "").unwrap();
    await_that("the job has ended", || is_gone(&place.read("pid")));
    place.queue().cancel(id).unwrap();
    std::thread::sleep(Duration::from_secs(1)); // for the order to be sent; sooner or later, the job has succeeded
    signal(shim, Signal::CONT);
    assert_eq!(worker.end().code, Some(0));
    assert_eq!(place.record(id).state, State::Succeeded);
}

#[test]
fn exit_code_0_after_the_order_to_end_is_success_if_asked_for() {
    let script = r#"trap "exit 0" TERM; echo $$ > pid; while :; do sleep 0.02; done"#;
    for (options, state) in [(&[][..], State::Queued), (&["--late-success"], State::Succeeded)] {
        let place = Place::new();
        let (id, worker) = working(&place, options, &["--grace", "0s"], script);
        signal(worker.id(), Signal::TERM);
        assert_eq!(worker.end().code, Some(143));
        assert_eq!(place.record(id).state, state, "{options:?}");
    }
}

#[test]
fn a_shim_that_does_not_answer_is_lost_at_last() {
    let place = Place::new();
    let limits = ["--timeout", "5s", "--kill-after", "0s", "--backoff", "0s"];
    let script = r#"if [ $PERDURA_GENERATION = 1 ]; then echo $PPID > shim; echo $$ > pid; sleep 1000; fi"#;
    let (id, worker) = working(&place, &limits, &["--drain"], script);
    signal(read_pid(&place, "shim"), Signal::STOP);
    assert_eq!(worker.end().code, Some(0));
    assert!(is_gone(&place.read("pid")));
    let attempts = place.queue().attempts(id).unwrap();
    assert_eq!(attempts[0].outcome, AttemptOutcome::TimedOut, "{attempts:?}");
    assert_eq!(place.record(id).state, State::Succeeded);
}

/// A job that ends when the file `go` is there.
const UNTIL_GO: &str = "echo $$ > pid; until [ -e go ]; do sleep 0.02; done";

#[test]
fn a_worker_whose_outcomes_cannot_be_written_ends_and_names_the_jobs() {
    let place = Place::new();
    let (id, worker) = working(&place, &["--max-attempts", "2"], &["--grace", "1s"], UNTIL_GO);
    let mut connection = rusqlite::Connection::open(place.path("tasks.db")).unwrap();
    connection.busy_timeout(Duration::from_secs(30)).unwrap();
    let locked = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
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
            place.read("beat").lines().count() > beats + 2 || worker.err().contains("tasks.db")
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
