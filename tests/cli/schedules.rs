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
        (&["s", "0 0 30 2 *", "--", "true"][..], "CRON \"0 0 30 2 *\" never comes"),
        (&["s", "99 * * * *", "--", "true"], "is no cron pattern"),
        (&["s", "@daily", "--tz", "Mars/Olympus", "--", "true"], "--tz \"Mars/Olympus\""),
        (&["s", "--every", "10ms", "--", "true"], "--every \"10ms\""),
        (&["s", "--every", "1m", "--missed", "all", "--", "true"], "needs the overlap queue or allow"),
        (&["s", "--every", "1m", "--after-end", "1m", "--", "true"], "exclude each other"),
        (&["s", "--every", "1m", "--tz", "UTC", "--", "true"], ""),
        (&["s", "--every", "1m", "--limit", "k=0", "--", "true"], "--limit \"0\" is not in 1 to 256"),
        (&["s", "--every", "1m", "--limit", "k=1", "--serial", "k", "--", "true"], ""),
        (&["s", "--", "true"], ""),
        (&["s", "--every", "1m"], ""),
        (&["", "--every", "1m", "--", "true"], ""),
        (
            &["s", "--after-end", "1m", "--overlap", "queue", "--", "true"],
            "--overlap has no meaning with --after-end",
        ),
    ] {
        let said = place.run([&["schedule", "add"], words].concat());
        assert_eq!(said.code, Some(2), "{words:?}: {said:?}");
        assert!(said.err.contains(says), "{words:?}: {said:?}");
        assert!(!place.path("tasks.db").exists());
    }
}

#[test]
fn stats_tells_what_comes_next_and_nothing_where_there_is_no_schedule() {
    let place = Place::new();
    let stats = |place: &Place| {
        let mut command = place.command(["stats"]);
        command.env("COLUMNS", "180").env("TZ", "UTC");
        let said = place.start(command).end();
        assert_eq!(said.code, Some(0), "{said:?}");
        said.out
    };
    place.add(["--", "true"]);
    let plain = stats(&place);
    assert!(["SCHEDULE", "LIMIT", "RATE", "BY KEY"].iter().all(|word| !plain.contains(word)), "{plain}");

    let add = |words: &[&str]| assert_eq!(place.run([&["schedule", "add"], words].concat()).code, Some(0));
    add(&["nightly", "30 2 * * *", "--tz", "UTC", "--", "backup.sh"]);
    add(&["often", "--every", "1s", "--", "sh", "-c", "exit 7"]);
    add(&["scan", "--after-end", "1h", "--", "true"]);
    add(&["altered", "--every", "1h", "--", "true"]);
    add(&["resting", "--every", "1h", "--", "true"]);
    let worker = place.start(place.command(["work"]));
    await_that("a run", || json(&place.run(["schedule", "show", "often", "--json"]))["last_run"].is_u64());
    drop(worker);
    for words in [["schedule", "pause", "resting"], ["schedule", "run", "scan"]] {
        await_that("the end of the worker", || place.run(words).code == Some(0));
    }
    let file = rusqlite::Connection::open(place.path("tasks.db")).unwrap();
    file.execute("UPDATE perdura_schedules SET definition = '{}' WHERE schedule = 'altered'", []).unwrap();

    let text = stats(&place);
    let line = |name: &str| {
        text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {text}"))
    };
    let says = |name: &str, parts: &[&str]| {
        let line = line(name);
        assert!(parts.iter().all(|part| line.contains(part)), "{parts:?}: {line}");
    };
    says("SCHEDULE", &["NEXT", "LAST RUN", "WHEN"]);
    says("nightly", &[" 02:30:00", "in ", "At 02:30 (30 2 * * *, UTC)"]);
    says("often", &[" ago  every 1.0 s"]);
    says("scan", &["after its run", "1 h after its run"]);
    says("resting", &["paused", "every 1 h"]);
    says("altered", &["broken", "definition"]);

    let stats = json(&place.run(["stats", "--json"]));
    let rows = stats["schedules"]["rows"].as_array().unwrap();
    let row = |name: &str| rows.iter().find(|row| row["schedule"] == name).unwrap();
    assert_eq!((rows.len(), &stats["schedules"]["more"]), (5, &false.into()));
    assert_eq!(
        (&row("nightly")["command"], &row("nightly")["status"]),
        (&"backup.sh".into(), &"active".into())
    );
    assert!(row("nightly")["fires_at"].as_str().unwrap().ends_with("T02:30:00.000Z"));
    assert!(row("often")["last_run_state"].is_string() && row("often")["last_run_at"].is_string(), "{stats}");
    assert!(row("nightly")["last_run_state"].is_null());

    for n in 0..20 {
        add(&[&format!("hourly {n}"), "--every", "1h", "--", "true"]);
    }
    assert!(place.run(["stats"]).out.contains("there are more: `perdura schedule list` has all of them"));
    assert_eq!(json(&place.run(["stats", "--json"]))["schedules"]["rows"].as_array().unwrap().len(), 20);
}

#[test]
fn stats_and_the_list_of_queues_tell_what_bounds_them_and_who_waits() {
    let place = Place::new();
    for _ in 0..4 {
        place.add(["--queue", "ocr", "--serial", "scanner", "--", "true"]);
    }
    for words in [&["queue", "limit", "ocr", "2"][..], &["queue", "rate", "ocr", "50/1m"]] {
        assert_eq!(place.run(words).code, Some(0));
    }
    for verb in [&["stats"][..], &["queue", "list"]] {
        let mut command = place.command(verb);
        command.env("COLUMNS", "160");
        let said = place.start(command).end();
        let lines: Vec<&str> = said.out.lines().collect();
        let at = lines.iter().position(|line| line.starts_with("QUEUE")).unwrap();
        let words = |line: &str| {
            line.split("  ")
                .map(str::trim)
                .filter(|word| !word.is_empty())
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let (heads, cells) = (words(lines[at]), words(lines[at + 1]));
        let cell = |head: &str| {
            cells[heads.iter().position(|found| found == head).unwrap_or_else(|| panic!("{head}: {said:?}"))]
                .clone()
        };
        assert_eq!(["HELD", "BY KEY", "LIMIT", "RATE"].map(cell), ["3", "3", "2", "50/1m"], "{said:?}");
    }
    let stats = json(&place.run(["stats", "--json"]));
    assert_eq!((&stats["queues"]["ocr"]["limited"], &stats["queues"]["ocr"]["held"]), (&3.into(), &0.into()));
    let why = place.run(["explain", "2"]);
    assert!(why.out.contains("task 1 is before it; `perdura show 1` shows that one"), "{why:?}");
    let rule = "one after another, retries included";
    assert!(place.run(["show", "1"]).out.contains(&format!("{rule}; it has a permit\n")));
    assert!(place.run(["show", "2"]).out.contains(&format!("{rule}\n")));
    place.add(["--serial", "k", "--backoff", "1h", "--", "false"]);
    place.add(["--serial", "k", "--", "true"]);
    let said = place.run(["work", "--drain", "--queue", "default"]);
    assert!(said.err.contains("1 task waits for a permit of a key"), "{said:?}");
}
