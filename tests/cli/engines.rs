//! Jobs that an engine outside runs, from the shell. The engine is the script in `examples/engines/folder.py`.

use std::path::Path;

use perdura::State;
use serde_json::Value;

use crate::needs::has;
use crate::support::{Place, Running, await_that};

fn has_python() -> bool {
    let found = std::process::Command::new("python3").arg("--version").output();
    has("python3", found.is_ok_and(|out| out.status.success()))
}

/// A folder whose file of engines names two: `here`, and `away`, which never answers.
fn place() -> Place {
    let place = Place::new();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/engines/folder.py");
    let (script, jobs) = (script.to_str().unwrap().to_owned(), place.path("jobs"));
    let toml = format!(
        "[engines.here]\nkind = \"exec\"\nprogram = \"python3\"\nargs = [{script:?}, {jobs:?}]\nremembers = \"1h\"\npoll_interval = \"100ms\"\n\
         [engines.away]\nkind = \"exec\"\nprogram = \"./none\"\nqueues = [\"far\"]\n"
    );
    std::fs::write(place.path("engines.toml"), toml).unwrap();
    place
}

fn signal(process: &Running, signal: &str) {
    let sent = std::process::Command::new("kill").args([signal, &process.id().to_string()]).status();
    assert!(sent.unwrap().success());
}

#[test]
fn a_job_runs_on_the_engine_that_was_named_and_gives_its_result() {
    if !has_python() {
        return;
    }
    let place = place();
    let good = place.add(["--on", "here", "--env", "LOSS=0.25", "--", "sh", "-c", "echo works; echo $LOSS"]);
    let bad = place.add(["--on", "here", "--deny-exit", "3", "--", "sh", "-c", "echo 'no data'; exit 3"]);
    let plain = place.add(["--on", "here", "--shell", "echo", "$((1 + 2)) apples"]);
    let list = place.run(["list"]);
    assert!(list.out.contains("on here") && list.out.contains("sh -c 'echo works; echo $LOSS'"), "{list:?}");
    let worker = place.run(["work", "--drain"]);
    assert_eq!(worker.code, Some(1), "one has failed: {worker:?}");
    assert!(
        worker.err.contains("engine \"here\": the program python3; its jobs stand in the queue \"here\""),
        "{worker:?}"
    );
    for id in [good, bad, plain] {
        let lines =
            worker.err.lines().filter(|line| line.trim_start().starts_with(&format!("{id}  "))).count();
        assert_eq!(lines, 1, "each end is told once: {worker:?}");
    }
    assert!(
        worker.err.contains("3 attempts in ") && worker.err.contains(": 2 succeeded, 1 failed for good"),
        "{worker:?}"
    );
    let queue = place.queue();
    assert_eq!(queue.result_json(good).unwrap().as_deref(), Some("0.25"));
    assert_eq!((place.record(plain).state, queue.result_json(plain).unwrap()), (State::Succeeded, None));
    let failed = place.record(bad);
    assert_eq!((failed.state, failed.attempt_number), (State::Failed, 1), "code 3 is not to be tried again");
    assert_eq!(failed.error_type.as_deref(), Some("ExitCode.3"));
    assert_eq!(place.run(["show", &bad.to_string(), "--only", "stdout"]).out, "no data\n");
    assert_eq!(place.run(["follow", &good.to_string()]).out, "works\n0.25\n");
    let json: Value = serde_json::from_str(&place.run(["show", &bad.to_string(), "--json"]).out).unwrap();
    assert_eq!(json["task"]["exit_code"], 3);
}

#[test]
fn a_worker_that_stops_leaves_jobs_to_their_engine_and_the_next_one_follows_them() {
    if !has_python() {
        return;
    }
    let place = place();
    let starts = place.path("starts");
    let line = format!("echo >> {}; sleep 2; echo 7", starts.display());
    let id = place.add(["--on", "here", "--", "sh", "-c", &line]);
    let worker = place.start(place.command(["work"]));
    await_that("it runs", || starts.exists());
    let explained = place.run(["explain", &id.to_string()]);
    assert!(
        explained.out.contains("runs on the engine \"here\"") || explained.out.contains("is to be started"),
        "{explained:?}"
    );
    signal(&worker, "-TERM");
    let said = worker.end();
    assert!(
        said.err.contains("1 job goes on outside; the next worker that has the engine follows"),
        "{said:?}"
    );
    assert_eq!(place.record(id).state, State::Running);
    let next = place.run(["work", "--drain"]);
    assert_eq!(next.code, Some(0), "{next:?}");
    assert!(
        next.err.contains("1 attempt in ") && next.err.contains("1 succeeded"),
        "what it found is told, too: {next:?}"
    );
    assert_eq!(place.queue().result_json(id).unwrap().as_deref(), Some("7"));
    assert_eq!(place.read("starts").lines().count(), 1, "it has begun once");
}

#[test]
fn jobs_of_an_engine_that_a_worker_does_not_have_wait_for_one_that_has_it() {
    if !has_python() {
        return;
    }
    let place = place();
    let far = place.add(["--on", "away", "--", "true"]);
    let here = place.add(["--on", "here", "--", "true"]);
    let without = place.run(["work", "--drain", "--engines", "/dev/null"]);
    assert_eq!(without.code, Some(0), "{without:?}");
    let explained = place.run(["explain", &here.to_string()]);
    assert!(explained.out.contains("has no engine \"here\""), "{explained:?}");
    let worker = place.start(place.command(["work"]));
    await_that("it has run", || place.record(here).state == State::Succeeded);
    await_that("the other engine is found away", || {
        place.run(["explain", &far.to_string()]).out.contains("the engine \"away\" cannot be reached")
    });
    assert_eq!(
        place.record(far).attempt_number,
        place.record(far).generation as u32,
        "nothing is charged twice"
    );
    signal(&worker, "-TERM");
    assert!(worker.end().err.contains("the engine \"away\" cannot be reached"));
}

#[test]
fn lines_of_json_and_schedules_name_engines_too() {
    if !has_python() {
        return;
    }
    let place = place();
    let lines = "{\"argv\":[\"echo\",\"1\"],\"on\":\"here\",\"tag\":\"a\"}\n{\"argv\":[\"echo\",\"2\"]}\n";
    assert_eq!(place.feed(lines, ["add", "--from", "jsonl"]).code, Some(0));
    let said = place.run(["schedule", "add", "often", "--every", "1s", "--on", "here", "--", "echo", "3"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let worker = place.start(place.command(["work"]));
    let names = || place.queue().tasks(perdura::Filter::new().state(State::Succeeded)).unwrap();
    await_that("all three kinds have run", || {
        let done = names();
        let on = |name: &str| done.iter().filter(|task| task.task_name == name).count();
        on("perdura.job") == 1 && on("perdura.job@here") >= 2
    });
    signal(&worker, "-TERM");
    worker.end();
}

#[test]
fn what_is_wrong_about_an_engine_is_told_before_there_is_a_file() {
    let place = place();
    for (words, told) in [
        (vec!["--on", "there", "--", "true"], "engines.toml has \"away\", \"here\""),
        (
            vec!["--on", "away", "--queue", "here", "--", "true"],
            "queue: \"here\" is none of the engine \"away\"; it takes \"far\"",
        ),
        (vec!["--on", "here", "--dir", "/tmp", "--", "true"], "--dir does not go with --on"),
        (vec!["--on", "here", "--late-success", "--", "true"], "--late-success does not go with --on"),
        (
            vec!["--on", "here", "--needs-throughout", "online", "--", "true"],
            "--needs-throughout does not go with --on",
        ),
        (vec!["--spec", "{}", "--", "true"], "spec is for an engine outside"),
        (vec!["--on", "here", "--spec", "[1]", "--", "true"], "it is not a JSON object"),
        (
            vec!["--on", "here", "--spec", "{\"argv\": 1}", "--", "true"],
            "spec: argv is told by the command line",
        ),
        (
            vec!["--on", "here", "--engines", "none.toml", "--", "true"],
            "the engines in none.toml cannot be read",
        ),
    ] {
        let said = place.run(["add"].into_iter().chain(words.iter().copied()));
        assert!(
            said.code == Some(2) || (said.code == Some(4) && told.contains("read")),
            "{words:?}: {said:?}"
        );
        assert!(said.err.contains(told), "{words:?}: {said:?}");
    }
    std::fs::write(place.path("engines.toml"), "[engines.here]\nkind = \"exec\"\nprogramm = \"x\"\n")
        .unwrap();
    for verb in [vec!["add", "--on", "here", "--", "true"], vec!["work", "--drain"]] {
        let said = place.run(&verb);
        assert_eq!(said.code, Some(2), "{said:?}");
        assert!(said.err.contains("line 3: unknown field `programm`"), "{said:?}");
    }
    assert!(!place.path("tasks.db").exists() || place.queue().counts().unwrap().total().queued() == 0);
}

#[test]
fn a_drain_says_which_work_outside_it_waits_for_that_is_not_its_own() {
    if !has_python() {
        return;
    }
    let place = place();
    let id = place.add(["--on", "here", "--", "sleep", "1000"]);
    let worker = place.start(place.command(["work"]));
    await_that("it runs", || place.record(id).outside.is_some_and(|job| job.accepted_at.is_some()));
    signal(&worker, "-TERM");
    worker.end();
    let drain = place.start(place.command(["work", "--drain", "--engines", "/dev/null"]));
    let told = format!("waiting for 1 task whose work is outside ({id})");
    await_that("it says what it waits for", || drain.err().contains(&told));
    signal(&drain, "-TERM");
    let said = drain.end();
    assert_eq!(said.err.matches("whose work is outside").count(), 1, "{said:?}");
    assert_eq!(place.run(["cancel", &id.to_string(), "--yes"]).code, Some(0));
    let last = place.run(["work", "--drain"]);
    assert_eq!(place.record(id).state, State::Cancelled, "{last:?}");
}

#[test]
fn a_signal_right_after_the_end_of_a_job_loses_nothing_of_it() {
    if !has_python() {
        return;
    }
    let place = place();
    let ids: Vec<_> = (0..8).map(|_| place.add(["--on", "here", "--", "true"])).collect();
    let worker = place.start(place.command(["work"]));
    await_that("one has ended", || ids.iter().any(|id| place.record(*id).state == State::Succeeded));
    signal(&worker, "-TERM");
    let said = worker.end();
    assert!(said.code == Some(143) && !said.err.contains("could not be written"), "{said:?}");
    let done = ids.iter().filter(|id| place.record(**id).state == State::Succeeded).count();
    assert!(said.err.contains(&format!("{done} attempt")), "{done} have ended: {said:?}");
}

/// Short calls while local jobs come and go: what a call was answered is never taken away with the orphans.
#[test]
fn calls_of_engines_are_not_reaped_with_the_orphans_of_jobs() {
    if !has_python() {
        return;
    }
    let place = place();
    let lines: String = (0..40).map(|_| "sh -c 'sleep 0.05 & exit 0'\n").collect();
    assert_eq!(place.feed(&lines, ["add", "--from", "lines"]).code, Some(0));
    for _ in 0..10 {
        place.add(["--on", "here", "--", "sh", "-c", "sleep 0.3; echo 1"]);
    }
    let worker = place.run(["work", "--drain"]);
    assert_eq!(worker.code, Some(0), "{worker:?}");
    assert!(
        !worker.err.contains("cannot be reached") && !worker.err.contains("cannot be waited for"),
        "{worker:?}"
    );
}

/// What this program cannot have must not keep it from what it can.
#[test]
#[cfg(not(feature = "ray"))]
fn an_engine_that_this_program_lacks_is_left_out() {
    let place = Place::new();
    std::fs::write(place.path("engines.toml"), "[engines.big]\nkind = \"ray\"\n").unwrap();
    let id = place.add(["--", "true"]);
    let refused = place.run(["add", "--on", "big", "--", "true"]);
    let told = "--on: this perdura was built without Ray; build it with: cargo install --path . --features cli,tui,report,ray";
    assert!(refused.code == Some(2) && refused.err.contains(told), "{refused:?}");
    let worker = place.run(["work", "--drain"]);
    assert_eq!(worker.code, Some(0), "{worker:?}");
    assert_eq!(
        worker.err.matches("engine \"big\" is left out: this perdura was built without Ray").count(),
        1,
        "{worker:?}"
    );
    assert_eq!(place.record(id).state, State::Succeeded);
}
