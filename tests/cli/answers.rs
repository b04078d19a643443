//! What verbs answer of what they did, and whom their complaints name: the file, the option as it is typed, the value.

use std::process::Command;
use std::time::Duration;

use perdura::State;

use crate::support::{Place, Said, await_that};

#[test]
fn a_delete_says_what_it_leaves() {
    let place = Place::new();
    for _ in 0..3 {
        place.add(["--tag", "x", "--", "true"]);
    }
    let other = place.add(["--", "true"]);
    let told = "3 that match are QUEUED, and stay; add --state QUEUED to delete them, too";
    let said = place.run(["delete", "--tag", "x", "--yes"]);
    assert!(
        said.code == Some(1) && said.out == "0 tasks are deleted\n" && said.err.contains(told),
        "{said:?}"
    );
    let said = place.run(["delete", "--tag", "x", "--dry-run"]);
    assert!(said.err.contains(told), "{said:?}");
    let said = place.run(["delete", "--all", "--yes"]);
    assert!(
        said.err.contains("4 that match are QUEUED, and stay; name --state QUEUED in place of --all"),
        "{said:?}"
    );
    let said = place.run(["delete", "--tag", "x", "--state", "queued", "--yes"]);
    assert!(said.out == "3 tasks are deleted\n" && said.err.is_empty(), "{said:?}");
    assert_eq!(place.run(["cancel", &other.to_string()]).code, Some(0));
    let said = place.run(["retry", "--queue", "default", "--yes"]);
    assert!(said.err.contains("1 that match is CANCELLED, and stay"), "{said:?}");
    let said = place.run(["delete", "--queue", "default", "--yes"]);
    assert!(said.out == "1 task is deleted\n" && said.err.is_empty(), "{said:?}");
}

#[test]
fn a_cancel_says_what_is_cancelled_and_what_was_told_to_stop() {
    let place = Place::new();
    let running = place.add([
        "--tag",
        "x",
        "--kill-after",
        "60s",
        "--",
        "sh",
        "-c",
        "trap '' TERM; while :; do sleep 1; done",
    ]);
    let worker = place.start(place.command(["work", "--quiet", "--workers", "1"]));
    await_that("the job runs", || place.record(running).state == State::Running);
    for tag in ["x", "x", "y"] {
        place.add(["--tag", tag, "--", "true"]);
    }
    let said = place.run(["cancel", "--tag", "x", "--yes"]);
    assert_eq!(said.out, "2 tasks are cancelled; 1 task runs, and was told to stop\n", "{said:?}");
    let said = place.run(["cancel", &running.to_string()]);
    assert_eq!(said.out, format!("task {running} runs, and was told to stop\n"), "{said:?}");
    let said = place.run(["cancel", "--tag", "y", "--yes"]);
    assert_eq!(said.out, "1 task is cancelled\n");
    let said = place.run(["cancel", "--tag", "y", "--yes"]);
    assert!(said.code == Some(1) && said.out == "0 tasks are cancelled\n", "{said:?}");
    let said = place.run(["cancel", "--state", "RUNNING", "--yes"]);
    assert_eq!(said.out, "1 task runs, and was told to stop\n");
    drop(worker);
}

#[test]
fn a_lost_database_with_its_wal_is_told_by_every_verb() {
    let place = Place::new();
    std::fs::write(place.path("lost.db-wal"), "newest commits").unwrap();
    for words in [
        &["stats"][..],
        &["list"],
        &["show", "1"],
        &["doctor"],
        &["retry", "1"],
        &["add", "--", "true"],
        &["init"],
    ] {
        let said = place.run(["--db", "lost.db"].iter().chain(words));
        assert_eq!(said.code, Some(4), "{words:?}: {said:?}");
        let told = "lost.db is empty or gone, but its -wal is there; put the database back beside it";
        assert!(said.err.contains(told), "{words:?}: {said:?}");
    }
    assert!(!place.path("lost.db").exists());
    assert_eq!(place.read("lost.db-wal"), "newest commits");
}

/// A run that may write files of so many blocks only, of 512 or 1024 bytes: as full as a disk gets without one.
fn limited(place: &Place, blocks: u32, words: &[&str]) -> Said {
    let mut shell = Command::new("sh");
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
    shell.args(["-c", &script, env!("CARGO_BIN_EXE_perdura")]).args(words);
    shell.current_dir(place.path("")).env("PERDURA_DB", "tasks.db").stdin(std::process::Stdio::null());
    place.start(shell).end()
}

#[test]
fn what_cannot_be_written_further_is_named() {
    let place = Place::new();
    let jobs: String = (0..3000).map(|n| format!("true {n}\n")).collect();
    assert_eq!(place.feed(&jobs, ["add", "--from", "lines"]).code, Some(0));
    for (words, name) in [
        (&["backup", "copy.db"][..], "perdura: copy.db: "),
        (&["export", "out.jsonl"], "perdura: out.jsonl: "),
        (&["delete", "--state", "QUEUED", "--yes"], "perdura: tasks.db: "),
    ] {
        let said = limited(&place, 100, words);
        assert!(said.code == Some(4) && said.err.contains(name), "{words:?}: {said:?}");
        assert!(!place.path("copy.db").exists() && !place.path("out.jsonl").exists());
    }
    let said = limited(&place, 100, &["work", "--until-done", "--quiet"]);
    let last = said.err.lines().rfind(|line| line.starts_with("perdura: "));
    assert!(said.code == Some(4) && last.is_some_and(|line| line.contains("tasks.db")), "{said:?}");
}

#[test]
fn a_locked_file_is_named() {
    let place = Place::new();
    place.add(["--", "true"]);
    let lock = rusqlite::Connection::open(place.path("tasks.db")).unwrap();
    lock.busy_timeout(Duration::ZERO).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let said = place.run(["cancel", "1"]);
    assert_eq!(said.code, Some(4), "{said:?}");
    assert!(said.err.contains("tasks.db: another connection kept the file locked"), "{said:?}");
}

#[test]
fn refusals_name_options_as_they_are_typed() {
    let place = Place::new();
    std::fs::write(place.path("engines.toml"), "[engines.e]\nkind = \"exec\"\nprogram = \"x\"\n").unwrap();
    let said = |words: &[&str]| {
        let said = place.run(["--db", "new.db"].iter().chain(words));
        assert_eq!(said.code, Some(2), "{words:?}: {said:?}");
        said.err
    };
    for (words, told) in [
        (
            &["add", "--dir", "/", "--on", "e", "--", "true"][..],
            "--dir does not go with --on: it is for jobs that `perdura work` runs",
        ),
        (&["add", "--kill-after", "1s", "--on", "e", "--", "true"], "--kill-after does not go with --on"),
        (&["add", "--on", "e", "--queue", "k", "--", "true"], "--queue: \"k\" is none of the engine"),
        (&["add", "--spec", "{}", "--", "true"], "--spec is for an engine outside; name one with --on"),
        (&["add", "--unique", "", "--", "true"], "--unique is empty"),
        (&["add", "--timeout", "0s", "--", "true"], "--timeout is zero"),
        (&["add", "--tag", "", "--", "true"], "--tag is empty"),
        (&["add", "--limit", "=5", "--", "true"], "the key of --limit is empty"),
        (
            &["add", "--delay", "2h", "--expires", "1h", "--", "true"],
            "--expires \"1h\" is over before the task may start; make it longer than --delay",
        ),
        (&["add", "--unique", "k", "--on-conflict", "debounce", "--", "true"], "--on-conflict is debounce"),
        (
            &["schedule", "add", "s", "--every", "1m", "--timeout", "0s", "--", "true"],
            "schedule \"s\": --timeout is zero",
        ),
        (
            &["schedule", "add", "s", "* * * * *", "--tz", "Mars", "--", "true"],
            "schedule \"s\": --tz \"Mars\"",
        ),
        (&["schedule", "add", "s", "often", "--", "true"], "schedule \"s\": CRON \"often\""),
        (&["condition", "a", "maybe"], "[on|off] maybe: it is one of on, off"),
        (&["queue", "rate", "q", "50"], "<RATE|none> 50: it is not a count and a period, such as 50/1m"),
        (&["queue", "limit", "q", "x"], "<N|none> x: it is a whole number of 1 or more, or none"),
        (&["show", "x"], "<ID> x: task id is not a whole number"),
    ] {
        let err = said(words);
        assert!(err.contains(told), "{words:?}: {err}");
    }
    for (line, told) in [
        (r#"{"argv":["true"],"unique":""}"#, "line 1: unique key is empty"),
        (r#"{"argv":["true"],"timeout":"0s"}"#, "line 1: timeout is zero"),
        (r#"{"argv":["true"],"dir":"/","on":"e"}"#, "line 1: dir does not go with on: it is for"),
        (
            r#"{"argv":["true"],"working_dir":"/"}"#,
            "line 1: working_dir is for an engine outside; name one with on,",
        ),
    ] {
        let said = place.feed(line, ["--db", "new.db", "add", "--from", "jsonl"]);
        assert!(said.code == Some(2) && said.err.contains(told), "{said:?}");
    }
    for format in [&["--from", "lines"][..], &["--template", "echo {}"]] {
        let words = ["--db", "new.db", "add", "--timeout", "0s"].iter().chain(format);
        let said = place.feed("true\n", words);
        assert!(said.err.contains("line 1: --timeout is zero"), "{said:?}");
    }
}
