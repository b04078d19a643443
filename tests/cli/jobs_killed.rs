//! Jobs whose worker is stopped or killed: nothing is lost, nothing runs twice at once.

use perdura::{AttemptOutcome, State, TaskId};
use rustix::process::{Pid, Signal, kill_process};

use crate::jobs::is_gone;
use crate::support::{Place, Running, await_that};

pub fn signal(pid: impl TryInto<i32>, signal: Signal) {
    let pid = Pid::from_raw(pid.try_into().ok().unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

pub fn read_pid(place: &Place, name: &str) -> i32 {
    await_that(name, || place.read(name).ends_with('\n'));
    place.read(name).trim().parse().unwrap()
}

/// A worker that runs this script, which has begun when it has written `pid`.
#[track_caller]
pub fn working(place: &Place, options: &[&str], worker: &[&str], script: &str) -> (TaskId, Running) {
    let id = place.add(options.iter().chain(&["--shell", script]));
    let running = place.start(place.command(["work"].iter().chain(worker)));
    read_pid(place, "pid");
    (id, running)
}

#[test]
fn sigterm_hands_back_and_charges_nothing() {
    let place = Place::new();
    let (id, worker) = working(&place, &[], &["--grace", "0s"], "echo $$ > pid; sleep 1000");
    signal(worker.id(), Signal::TERM);
    let said = worker.end();
    assert_eq!(said.code, Some(143), "{said:?}");
    assert!(said.err.contains("handed back") && said.err.contains("1 handed back"), "{said:?}");
    let record = place.record(id);
    assert_eq!((record.state, record.attempt_number, record.generation), (State::Queued, 0, 1));
    let shown = place.run(["show", &id.to_string()]).out;
    assert!(shown.contains("taken by a worker 1 time; not counted as attempts: 1 (handed back"), "{shown}");
    assert!(place.queue().attempts(id).unwrap().is_empty());
    assert!(is_gone(&place.read("pid")));
}

/// Lets the programs that are started from now on die of a hang-up, although `nohup` has the tests ignore it: a signal with a handler gets
/// its usual meaning when a program is started.
pub fn hear_hangups() {
    signal_hook::flag::register(signal_hook::consts::SIGHUP, std::sync::Arc::default()).unwrap();
}

#[test]
#[cfg(target_os = "linux")]
fn a_closed_terminal_hands_back_too() {
    hear_hangups();
    let place = Place::new();
    let (id, worker) = working(&place, &[], &["--grace", "0s"], "echo $$ > pid; sleep 1000");
    signal(worker.id(), Signal::HUP);
    let said = worker.end();
    assert_eq!(said.code, Some(129), "{said:?}");
    assert_eq!((place.record(id).state, place.record(id).attempt_number), (State::Queued, 0));
    assert!(is_gone(&place.read("pid")));
}

/// A past bug: what could not be written to the terminal that had gone ended the worker, before the other jobs were handed back.
#[test]
#[cfg(target_os = "linux")]
fn jobs_are_handed_back_although_nobody_reads_what_is_said() {
    hear_hangups();
    let place = Place::new();
    let for_ever = place.add(["--priority", "1", "--", "sleep", "1000"]);
    place.add(["--shell", "echo $$ > pid; until [ -e go ]; do sleep 0.02; done"]);
    let mut work = place.command(["work", "--json", "--workers", "2", "--grace", "1s"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let worker = place.start_with(work.stdout(writer));
    read_pid(&place, "pid");
    signal(worker.id(), Signal::HUP);
    await_that("it says that it stops", || worker.err().contains("stopping"));
    std::fs::write(place.path("go"), "").unwrap();
    assert_eq!(worker.end().code, Some(129));
    let record = place.record(for_ever);
    assert_eq!((record.state, record.attempt_number), (State::Queued, 0), "{record:?}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_worker_that_is_to_ignore_hang_ups_goes_on() {
    let place = Place::new();
    let id = place.add(["--shell", "echo $$ > pid; until [ -e go ]; do sleep 0.02; done"]);
    let perdura = place.command(["work", "--drain"]);
    let mut nohup = std::process::Command::new("nohup");
    nohup.arg(perdura.get_program()).args(perdura.get_args()).current_dir(place.path(""));
    nohup.env("PERDURA_DB", place.path("tasks.db"));
    let worker = place.start(nohup);
    read_pid(&place, "pid");
    signal(worker.id(), Signal::HUP);
    std::fs::write(place.path("go"), "").unwrap();
    assert_eq!(worker.end().code, Some(0));
    assert_eq!((place.record(id).state, place.record(id).attempt_number), (State::Succeeded, 1));
}

#[test]
fn within_the_grace_a_job_ends_by_itself() {
    let place = Place::new();
    let script = "echo $$ > pid; until [ -e go ]; do sleep 0.02; done";
    let (id, worker) = working(&place, &[], &["--grace", "1h"], script);
    signal(worker.id(), Signal::INT);
    await_that("it says that it stops", || worker.err().contains("1 job may go on for 1 h"));
    std::fs::write(place.path("go"), "").unwrap();
    assert_eq!(worker.end().code, Some(130));
    assert_eq!(place.record(id).state, State::Succeeded);
}

#[test]
fn a_second_signal_ends_the_grace() {
    let place = Place::new();
    let (id, worker) = working(&place, &[], &["--grace", "1h"], "echo $$ > pid; sleep 1000");
    signal(worker.id(), Signal::INT);
    await_that("it says that it stops", || worker.err().contains("stopping"));
    assert_eq!(place.record(id).state, State::Running);
    signal(worker.id(), Signal::INT);
    assert_eq!(worker.end().code, Some(130));
    let record = place.record(id);
    assert_eq!((record.state, record.attempt_number, record.snoozes), (State::Queued, 0, 0));
    assert!(is_gone(&place.read("pid")));
}

#[test]
fn a_third_signal_ends_the_patience() {
    let place = Place::new();
    let script = r#"trap "" TERM; echo $$ > pid; while :; do sleep 0.05; done"#;
    let (id, worker) = working(&place, &["--kill-after", "1h"], &["--grace", "1h"], script);
    for heard in ["stopping", "ending what runs"] {
        signal(worker.id(), Signal::TERM);
        await_that(heard, || worker.err().contains(heard));
    }
    assert!(!is_gone(&place.read("pid")));
    signal(worker.id(), Signal::TERM);
    assert_eq!(worker.end().code, Some(143));
    assert_eq!((place.record(id).state, place.record(id).attempt_number), (State::Queued, 0));
    assert!(is_gone(&place.read("pid")));
}

#[test]
fn a_job_that_takes_longer_to_stop_than_the_queue_waits_is_handed_back_all_the_same() {
    let place = Place::new();
    let script = r#"trap "" TERM; echo $$ > pid; while :; do sleep 0.05; done"#;
    let (id, worker) = working(&place, &["--kill-after", "3s"], &["--grace", "0s"], script);
    signal(worker.id(), Signal::TERM);
    let said = worker.end();
    assert_eq!(said.code, Some(143));
    assert!(said.err.contains("1 handed back"), "{said:?}");
    assert_eq!((place.record(id).state, place.record(id).attempt_number), (State::Queued, 0));
    assert!(is_gone(&place.read("pid")));
}

/// The first attempt ignores SIGTERM and goes on for ever; the second says whether the first one's process is still there.
const FOR_EVER: &str = r#"
    if [ "$PERDURA_GENERATION" = 1 ]; then
        trap "" TERM; echo $PPID > shim; echo $$ > pid
        while :; do echo x >> beat; sleep 0.02; done
    fi
    ps -o stat= -p $$ > /dev/null || { echo "no ps" > verdict; exit; }
    case "$(ps -o stat= -p "$(cat pid)")" in
        "" | Z*) echo apart ;; # it has ended, even if nobody has reaped it yet
        *) echo together ;;
    esac > verdict"#;

#[test]
fn a_successor_starts_no_job_before_those_of_a_killed_worker_are_gone() {
    let place = Place::new();
    let (id, worker) = working(&place, &["--max-attempts", "2"], &[], FOR_EVER);
    let shim = read_pid(&place, "shim");
    signal(shim, Signal::STOP); // it will take its time
    signal(worker.id(), Signal::KILL);
    let successor = place.start(place.command(["work", "--drain"]));
    await_that("it says that it waits", || {
        successor.err().contains("waiting until the jobs of the worker before")
    });
    let beats = place.read("beat").len();
    await_that("the old job goes on", || place.read("beat").len() > beats);
    assert_eq!(place.read("verdict"), "");
    signal(shim, Signal::CONT);
    assert_eq!(successor.end().code, Some(0));
    assert_eq!(place.read("verdict"), "apart\n");
    assert!(is_gone(&place.read("pid")) && is_gone(&shim.to_string()));
    assert_eq!((place.record(id).state, place.record(id).attempt_number), (State::Succeeded, 2));
    assert_eq!(place.queue().attempts(id).unwrap()[0].outcome, AttemptOutcome::Lost);
}

#[test]
fn a_killed_workers_jobs_end_with_it() {
    let place = Place::new();
    let (_, worker) = working(&place, &["--max-attempts", "2"], &[], FOR_EVER);
    signal(worker.id(), Signal::KILL);
    let successor = place.start(place.command(["work", "--drain"]));
    assert_eq!(successor.end().code, Some(0));
    assert_eq!(place.read("verdict"), "apart\n");
}

#[test]
fn a_task_that_was_lost_for_good_counts_as_a_failure_of_the_run_that_finds_it() {
    let place = Place::new();
    let (id, worker) = working(&place, &["--max-attempts", "1"], &[], "echo $$ > pid; sleep 1000");
    signal(worker.id(), Signal::KILL);
    drop(worker);
    let said = place.run(["work", "--drain"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("1 job lost"), "{said:?}");
    assert_eq!(place.record(id).state, State::Lost);
}

#[test]
fn all_jobs_run_however_often_the_worker_is_killed() {
    let place = Place::new();
    let all: String = (0..200).map(|n| format!("echo {n} >> done; sleep 0.01\n")).collect();
    let said = place.feed(&all, ["add", "--from", "lines", "--shell", "--max-attempts", "20"]);
    assert_eq!(said.out.lines().count(), 200, "{said:?}");
    for done in [20, 60, 120] {
        let worker = place.start(place.command(["work", "--workers", "2", "--quiet"]));
        await_that("some are done", || place.read("done").lines().count() >= done);
        signal(worker.id(), Signal::KILL);
        drop(worker);
    }
    assert_eq!(place.run(["work", "--drain", "--workers", "2", "--quiet"]).code, Some(0));
    let counts = place.queue().counts().unwrap().total();
    assert_eq!((counts.succeeded, counts.all()), (200, 200));
    let mut seen: Vec<usize> = place.read("done").lines().map(|line| line.parse().unwrap()).collect();
    let runs = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, (0..200).collect::<Vec<_>>());
    assert!(runs <= 200 + 3 * 2, "only what ran when a worker was killed runs again: {runs} runs");
    assert!(place.queue().check().unwrap().is_ok());
}

#[test]
fn a_killed_shim_takes_its_job_along_and_the_job_is_tried_again() {
    let place = Place::new();
    let (id, worker) = working(&place, &["--backoff", "0s"], &["--drain"], FOR_EVER);
    signal(read_pid(&place, "shim"), Signal::KILL);
    assert_eq!(worker.end().code, Some(0));
    assert_eq!(place.read("verdict"), "apart\n");
    assert_eq!(place.queue().attempts(id).unwrap()[0].error_type, "ShimLost");
    assert_eq!(place.record(id).attempt_number, 2);
}

#[test]
fn a_second_worker_waits_and_takes_over() {
    let place = Place::new();
    let (id, worker) = working(&place, &["--max-attempts", "2"], &[], FOR_EVER);
    let second = place.start(place.command(["work", "--drain"]));
    await_that("it says that it waits", || second.err().contains("another process runs the tasks"));
    signal(worker.id(), Signal::KILL);
    drop(worker);
    let said = second.end();
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.err.contains("the other process has ended"), "{said:?}");
    assert_eq!((place.record(id).state, place.read("verdict").as_str()), (State::Succeeded, "apart\n"));
}
