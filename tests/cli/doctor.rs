//! The doctor: damaged files, which it is for, and alarms.

use std::fs;
use std::path::Path;
use std::time::Duration;

use perdura::{Config, Queue, State};
use serde_json::Value;

use crate::support::{Place, Said, await_that};

/// SQLite's default.
const PAGE_BYTES: usize = 4096;

/// Too many open files say nothing of the file.
#[cfg(unix)]
#[test]
fn a_doctor_that_cannot_open_files_does_not_call_the_file_damaged() {
    let place = Place::new();
    place.add(["--", "true"]);
    let mut outcomes = std::collections::BTreeSet::new();
    for descriptors in 5..=12 {
        let mut shell = std::process::Command::new("sh");
        let script = format!("ulimit -n {descriptors} && exec \"$0\" doctor");
        shell.args(["-c", &script, env!("CARGO_BIN_EXE_perdura")]).current_dir(place.path(""));
        let Said { code, out, err } = place.start_with(shell.env("PERDURA_DB", "tasks.db")).end();
        assert!(!out.contains("BAD"), "{descriptors}: {out}");
        if code != Some(0) {
            assert_eq!(code, Some(4), "{descriptors}: {out}{err}");
            assert!(err.contains("ulimit -n"), "{descriptors}: {err}");
        }
        outcomes.insert(code);
    }
    assert_eq!(outcomes.len(), 2, "some are enough, and some are not: {outcomes:?}");
}

/// A file without its reserve, and with tasks that have run: some 60 pages.
fn small_file(place: &Place) -> Vec<u8> {
    drop(
        Queue::builder()
            .config(Config::default().disk_reserve_bytes(0))
            .open(place.path("tasks.db"))
            .unwrap(),
    );
    let jobs: String = (0..120).map(|n| format!("echo {n} of the jobs\n")).collect();
    assert_eq!(place.feed(&jobs, ["add", "--from", "lines"]).code, Some(0));
    assert_eq!(place.run(["work", "--drain", "--quiet"]).code, Some(0));
    assert!(!place.path("tasks.db-wal").exists(), "all of it is in the file");
    fs::read(place.path("tasks.db")).unwrap()
}

/// Runs a verb on a copy of the file in which one page is overwritten.
fn on_damaged(place: &Place, file: &[u8], page: usize, words: &[&str]) -> Said {
    let mut damaged = file.to_owned();
    let noise = (0..PAGE_BYTES).map(|n| (n * 31 + page * 7 + 1) as u8);
    damaged.splice(page * PAGE_BYTES..(page + 1) * PAGE_BYTES, noise);
    for suffix in ["-wal", "-shm", "-owner"] {
        let _ = fs::remove_file(place.path(&format!("bad.db{suffix}")));
    }
    fs::write(place.path("bad.db"), damaged).unwrap();
    place.run(["--db", "bad.db"].iter().chain(words))
}

#[test]
fn whichever_page_is_damaged_the_doctor_says_so_and_names_the_file() {
    let place = Place::new();
    let file = small_file(&place);
    let pages = file.len() / PAGE_BYTES;
    let mut examined = 0;
    for page in 0..pages {
        let said = on_damaged(&place, &file, page, &["doctor"]);
        match said.code {
            Some(1) => {
                examined += 1;
                let bad: Vec<_> = said.out.lines().filter(|line| line.starts_with("BAD")).collect();
                assert!(!bad.is_empty() && said.err.is_empty(), "page {page}: {said:?}");
                for line in bad {
                    assert!(
                        line.contains("copy its files first, then restore a backup"),
                        "page {page}: {line}"
                    );
                    assert!(!line.contains("\\n") && !line.contains("*** in"), "page {page}: {line}");
                }
                assert!(said.out.contains("bad.db") && said.out.contains("disk"), "page {page}: {said:?}");
            }
            Some(4) => assert!(said.err.contains("bad.db: ") && said.out.is_empty(), "page {page}: {said:?}"),
            code => panic!("page {page}, {code:?}: {said:?}"),
        }
    }
    assert!(examined * 10 > pages * 8, "{examined} of {pages} pages");
    let said = on_damaged(&place, &file, 3, &["doctor", "--json"]);
    let json: Value = serde_json::from_str(&said.out).unwrap();
    let is_bad = |finding: &Value| finding["level"] == "bad" && finding["alarm"] == true;
    assert!(said.code == Some(1) && json["findings"].as_array().unwrap().iter().any(is_bad), "{said:?}");
}

#[test]
fn a_verb_that_meets_damage_names_the_file() {
    let place = Place::new();
    let file = small_file(&place);
    let mut met = 0;
    for page in (0..file.len() / PAGE_BYTES).step_by(3) {
        for words in [&["stats"][..], &["export", "-"], &["cancel", "--state", "QUEUED", "--yes"]] {
            let said = on_damaged(&place, &file, page, words);
            if said.code == Some(4) {
                met += 1;
                assert!(said.err.contains("bad.db"), "page {page}, {words:?}: {said:?}");
            }
        }
    }
    assert!(met > 5, "{met}");
}

#[test]
fn a_well_file_alarms_nobody_until_a_task_has_failed() {
    let place = Place::new();
    place.add(["--", "true"]);
    assert_eq!(place.run(["work", "--drain", "--quiet"]).code, Some(0));
    let said = place.run(["doctor", "--alarm"]);
    if said.out.contains("nearly full") {
        return; // the disk of this test alarms
    }
    assert_eq!(said.code, Some(0), "{said:?}");
    let id = place.add(["--max-attempts", "1", "--", "false"]);
    assert_eq!(place.run(["work", "--drain", "--quiet"]).code, Some(1));
    assert_eq!(place.record(id).state, State::Failed);
    assert_eq!(place.run(["doctor"]).code, Some(0), "a note is no alarm unless it is asked for");
    let said = place.run(["doctor", "--alarm"]);
    assert!(said.code == Some(1) && said.out.contains("note  failures"), "{said:?}");
    let json: Value = serde_json::from_str(&place.run(["doctor", "--alarm", "--json"]).out).unwrap();
    let alarms = json["findings"].as_array().unwrap().iter().filter(|finding| finding["alarm"] == true);
    assert_eq!(alarms.map(|finding| &finding["subject"]).collect::<Vec<_>>(), ["failures"]);
}

/// That nobody executes can be known where the locks of all processes can be seen: not in a container.
#[test]
fn ready_tasks_that_nobody_runs_are_an_alarm() {
    let sees_all = fs::read_link("/proc/self/ns/pid").is_ok_and(|it| it == Path::new("pid:[4026531836]"));
    let place = Place::new();
    place.add(["--queue", "paused", "--", "true"]);
    place.run(["pause", "paused"]);
    let paused = place.run(["doctor", "--alarm"]);
    if !sees_all || paused.out.contains("nearly full") {
        return;
    }
    assert_eq!(paused.code, Some(0), "somebody has paused it on purpose: {paused:?}");
    place.add(["--", "sleep", "60"]);
    let said = place.run(["doctor", "--alarm"]);
    assert!(said.code == Some(1) && said.out.contains("nobody, and 2 tasks are to run"), "{said:?}");
    let worker = place.start(place.command(["work", "--quiet"]));
    await_that("the job runs", || place.queue().counts().unwrap().total().running == 1);
    assert_eq!(place.run(["doctor", "--alarm"]).code, Some(0));
    drop(worker);
    await_that("the worker is gone", || {
        std::thread::sleep(Duration::from_millis(5));
        place.queue().inspect().unwrap().owned == Some(false)
    });
    let said = place.run(["doctor", "--alarm"]);
    assert!(said.code == Some(1) && said.out.contains("running when it ended"), "{said:?}");
}
