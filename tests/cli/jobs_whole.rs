//! A job ends as a whole: the processes that it has started end with it, whatever their process group.

use std::process::{Command, Stdio};
use std::time::Duration;

use perdura::{AttemptOutcome, State};
use rustix::process::Signal;

use crate::jobs::is_gone;
use crate::jobs_killed::{read_pid, signal, working};
#[cfg(target_os = "linux")]
use crate::needs::has;
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
        case "$(sed -n "s/^State:[[:space:]]*//p" /proc/$(cat $name)/status)" in "" | Z*) ;; *) echo $name ;; esac
    done > left
    grep -q "^State:.*R" /proc/self/status && echo looked >> left"#;

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

/// The state of a process whose name is cut in the middle of a letter is no text.
#[test]
#[cfg(target_os = "linux")]
fn what_has_a_name_of_foreign_letters_ends_with_its_job() {
    let place = Place::new();
    let script = place.path("резервное-копирование.sh");
    std::fs::write(&script, "#!/bin/sh\necho $$ > session; while :; do sleep 0.1; done\n").unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let starts = "setsid ./резервное-копирование.sh & until [ -s session ]; do sleep 0.02; done";
    let id = place.add(["--shell", starts]);
    place.run(["work", "--drain"]);
    assert_eq!(place.record(id).state, State::Succeeded);
    assert!(is_gone(&place.read("session")));
}

/// A worker that a script has become, and before that the script has started something.
#[cfg(target_os = "linux")]
fn become_worker(place: &Place, before: &str) -> Command {
    let mut script = Command::new("sh");
    let perdura = env!("CARGO_BIN_EXE_perdura");
    script.args(["-c", &format!("{before}\nexec '{perdura}' work --drain --workers 1")]);
    script.current_dir(place.path("")).env("PERDURA_DB", place.path("tasks.db"));
    script
}

#[test]
#[cfg(target_os = "linux")]
fn a_lost_shim_costs_no_process_that_is_of_no_job() {
    let place = Place::new();
    let id = place.add(["--backoff", "0s", "--shell", &format!("{LEAVE}; wait{LOOK}")]);
    let worker = become_worker(
        &place,
        "setsid sleep 1000 & echo $! > tunnel; (setsid sleep 1000 & echo $! > orphan2)",
    );
    let worker = place.start(worker);
    signal(read_pid(&place, "shim"), Signal::KILL);
    assert_eq!(worker.end().code, Some(0));
    assert_eq!(place.queue().attempts(id).unwrap()[0].error_type, "ShimLost");
    assert_eq!(place.read("left"), "looked\n");
    for name in ["tunnel", "orphan2"] {
        let pid = place.read(name);
        assert!(!is_gone(&pid), "{name}");
        signal(pid.trim().parse::<i32>().unwrap(), Signal::KILL);
    }
}

/// Children that nobody waits for: of the script that has become the worker.
#[cfg(target_os = "linux")]
const UNAWAITED: &str =
    "for n in $(seq 5); do sh -c 'echo $$ >> children; until [ -e go ]; do sleep 0.02; done' & done";

/// Ends when none of them is there any more, not even as a zombie.
#[cfg(target_os = "linux")]
const AWAIT_REAPED: &str = r#"
    until [ "$(wc -l < children)" = 5 ]; do sleep 0.02; done
    for child in $(cat children); do [ -d /proc/$child ] || echo "no /proc" > verdict; done
    touch go
    for child in $(cat children); do while [ -d /proc/$child ]; do sleep 0.02; done; done
    echo reaped >> verdict"#;

#[test]
#[cfg(target_os = "linux")]
fn a_worker_reaps_what_nobody_waits_for() {
    let place = Place::new();
    place.add(["--timeout", "30s", "--max-attempts", "1", "--shell", AWAIT_REAPED]);
    place.start(become_worker(&place, UNAWAITED)).end();
    assert_eq!(place.read("verdict"), "reaped\n");
}

/// Where a process namespace may be made, the worker is process 1 of it, to which the orphans of everybody come.
#[test]
#[cfg(target_os = "linux")]
fn a_worker_that_is_process_1_reaps() {
    let place = Place::new();
    let unshare = |inner: &Command| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--map-root-user", "--fork", "--pid", "--mount-proc"]);
        unshare.arg(inner.get_program()).args(inner.get_args());
        unshare.current_dir(place.path("")).env("PERDURA_DB", place.path("tasks.db"));
        unshare
    };
    let may_unshare =
        unshare(&Command::new("true")).stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if !has("right to unshare process namespaces", may_unshare) {
        return;
    }
    place.add(["--timeout", "30s", "--max-attempts", "1", "--shell", AWAIT_REAPED]);
    place.start(unshare(&become_worker(&place, UNAWAITED))).end();
    assert_eq!(place.read("verdict"), "reaped\n");
}

/// An inner worker looks after its own jobs: they are outside its process group.
#[test]
#[cfg(target_os = "linux")]
fn an_order_to_end_is_for_the_process_group_of_a_job() {
    let place = Place::new();
    let perdura = env!("CARGO_BIN_EXE_perdura");
    let inner = format!(
        r#"PERDURA_DB=inner.db; export PERDURA_DB
        id=$('{perdura}' add --shell 'echo $$ > pid; sleep 1000')
        exec '{perdura}' work --grace 1s"#
    );
    let (_, worker) = working(&place, &["--kill-after", "1m"], &["--grace", "0s"], &inner);
    signal(worker.id(), Signal::TERM);
    assert_eq!(worker.end().code, Some(143));
    let inner = perdura::Queue::builder().open(place.path("inner.db")).unwrap();
    let record = &inner.tasks(perdura::Filter::default()).unwrap()[0];
    assert_eq!((record.state, record.attempt_number), (State::Queued, 0), "{record:?}");
    assert!(is_gone(&place.read("pid")));
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
