//! Schedules of jobs: cron for the shell.

use serde_json::Value;

use crate::support::{Place, Said, await_that};

fn json(said: &Said) -> Value {
    assert_eq!(said.code, Some(0), "{said:?}");
    serde_json::from_str(&said.out).unwrap_or_else(|e| panic!("{e}: {said:?}"))
}

#[test]
fn a_schedule_is_added_listed_shown_previewed_paused_and_removed() {
    let place = Place::new();
    let said = place.run([
        "schedule",
        "add",
        "nightly",
        "30 2 * * *",
        "--tz",
        "Europe/Berlin",
        "--queue",
        "night",
        "--",
        "backup.sh",
        "-v",
    ]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), "nightly\n"), "{said:?}");
    assert!(said.err.contains("it runs next at "), "{said:?}");
    let sync = place.run([
        "schedule",
        "add",
        "sync",
        "--every",
        "15m",
        "--missed",
        "all",
        "--overlap",
        "queue",
        "--jitter",
        "1m",
        "--",
        "sync",
    ]);
    assert_eq!(sync.code, Some(0), "{sync:?}");
    let scan = place.run(["schedule", "add", "scan", "--after-end", "1h", "--", "scan", "/srv"]);
    assert_eq!(scan.code, Some(0), "{scan:?}");

    let mut list = place.command(["schedule", "list"]);
    list.env("COLUMNS", "200");
    let list = place.start(list).end();
    for part in [
        "nightly",
        "At 02:30 (30 2 * * *, Europe/Berlin)",
        "every 15 min",
        "1 h after its run",
        "backup.sh -v",
        "scan /srv",
    ] {
        assert!(list.out.contains(part), "{part}: {list:?}");
    }
    let lines: Vec<Value> = place
        .run(["schedule", "list", "--json"])
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(
        (&lines[0]["schedule"], &lines[0]["command"], &lines[0]["words"]),
        (&"nightly".into(), &"backup.sh -v".into(), &"At 02:30.".into())
    );

    let show = place.run(["schedule", "show", "sync"]);
    for part in [
        "active",
        "every 15 min",
        "up to 1000 missed times run",
        "one run waits for the run before",
        "up to 1 min later",
    ] {
        assert!(show.out.contains(part), "{part}: {show:?}");
    }
    assert_eq!(json(&place.run(["schedule", "show", "nightly", "--json"]))["queue"], "night");

    let next = json(&place.run(["schedule", "next", "nightly", "-n", "3", "--json"]));
    let ticks: Vec<&str> = next.as_array().unwrap().iter().map(|tick| tick.as_str().unwrap()).collect();
    assert_eq!(ticks.len(), 3);
    assert!(
        ticks
            .iter()
            .all(|tick| tick.ends_with(":30:00.000Z") && tick.len() == "2026-11-30T01:30:00.000Z".len()),
        "{ticks:?}"
    );
    assert_eq!(place.run(["schedule", "next", "sync"]).out.lines().count(), 5);

    assert_eq!(place.run(["schedule", "pause", "nightly", "sync"]).code, Some(0));
    assert_eq!(json(&place.run(["schedule", "show", "sync", "--json"]))["status"], "paused");
    assert_eq!(place.run(["schedule", "resume", "nightly", "sync"]).code, Some(0));
    assert_eq!(place.run(["schedule", "remove", "nightly", "sync", "scan"]).code, Some(0));
    let gone = place.run(["schedule", "show", "nightly"]);
    assert_eq!(gone.code, Some(3), "{gone:?}");
    assert!(gone.err.contains("there is no schedule \"nightly\""), "{gone:?}");
    assert!(place.run(["schedule", "list"]).err.contains("there are no schedules"));
}

#[test]
fn a_worker_runs_what_a_schedule_makes() {
    let place = Place::new();
    let added =
        place.run(["schedule", "add", "tick", "--every", "1s", "--", "sh", "-c", "echo one >> ticks"]);
    assert_eq!(added.code, Some(0), "{added:?}");
    let worker = place.start(place.command(["work"]));
    await_that("two runs", || place.read("ticks").lines().count() >= 2);
    drop(worker);
    await_that("the end of the worker", || place.run(["schedule", "pause", "tick"]).code == Some(0));
    assert!(json(&place.run(["schedule", "show", "tick", "--json"]))["fired"].as_u64() >= Some(2));
}

#[test]
fn a_run_by_hand_waits_and_explain_says_for_what() {
    let place = Place::new();
    let add = |words: &[&str]| assert_eq!(place.run([&["schedule", "add"], words].concat()).code, Some(0));
    add(&["sync", "--every", "1h", "--overlap", "queue", "--serial", "disk", "--", "true"]);
    let first = place.run(["schedule", "run", "sync"]);
    assert_eq!(first.out, "1\n", "{first:?}");
    assert_eq!(json(&place.run(["schedule", "run", "sync", "--json"]))["task_id"], 2);
    let why = place.run(["explain", "2"]);
    assert!(
        why.out.contains("waits until task 1, the run before it of the schedule \"sync\", has ended"),
        "{why:?}"
    );
    add(&["scan", "--after-end", "1h", "--serial", "disk", "--", "true"]);
    assert_eq!(place.run(["schedule", "run", "scan"]).out, "3\n");
    assert!(place.run(["explain", "3"]).out.contains("one after another; task 1 is before it"));
    let third = place.run(["schedule", "run", "sync"]);
    assert_eq!(third.code, Some(3), "{third:?}");
    assert!(third.err.contains("task 2, waits for the run before"), "{third:?}");
    assert_eq!(place.run(["work", "--drain"]).code, Some(0));
    assert_eq!(place.record("2".parse().unwrap()).state, perdura::State::Succeeded);
}

#[test]
fn what_makes_no_sense_is_refused_before_there_is_a_file() {
    let place = Place::new();
    for (words, says) in [
        (&["s", "0 0 30 2 *", "--", "true"][..], "pattern \"0 0 30 2 *\" never comes"),
        (&["s", "99 * * * *", "--", "true"], "is no cron pattern"),
        (&["s", "@daily", "--tz", "Mars/Olympus", "--", "true"], "time_zone \"Mars/Olympus\""),
        (&["s", "--every", "10ms", "--", "true"], "period \"10ms\""),
        (&["s", "--every", "1m", "--missed", "all", "--", "true"], "needs the overlap queue or allow"),
        (&["s", "--every", "1m", "--after-end", "1m", "--", "true"], "exclude each other"),
        (&["s", "--every", "1m", "--tz", "UTC", "--", "true"], ""),
        (&["s", "--every", "1m", "--limit", "k=0", "--", "true"], "limit \"0\" is not in 1 to 256"),
        (&["s", "--every", "1m", "--limit", "k=1", "--serial", "k", "--", "true"], ""),
        (&["s", "--", "true"], ""),
        (&["s", "--every", "1m"], ""),
        (&["", "--every", "1m", "--", "true"], ""),
        (&["s", "--after-end", "1m", "--overlap", "queue", "--", "true"], "overlap has no meaning after_end"),
    ] {
        let said = place.run([&["schedule", "add"], words].concat());
        assert_eq!(said.code, Some(2), "{words:?}: {said:?}");
        assert!(said.err.contains(says), "{words:?}: {said:?}");
        assert!(!place.path("tasks.db").exists());
    }
}
