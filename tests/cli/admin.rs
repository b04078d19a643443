//! Reading and managing, on files with tasks of a program and jobs of a shell.

use perdura::{Context, Failure, Queue, State, Task};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::support::{Place, Said};

#[derive(Serialize, Deserialize)]
struct Upload {
    file: String,
    fails: bool,
}

impl Task for Upload {
    const NAME: &'static str = "upload";
    type Output = u32;
    fn options(&self) -> perdura::Options {
        perdura::Options::new().max_attempts(1)
    }
}

fn upload(task: Upload, cx: &Context) -> Result<u32, Failure> {
    cx.write_output(perdura::OutputStream::Stdout, "sending\u{1b}[2J\n");
    match task.fails {
        true => {
            Err(Failure::named("net.Timeout", format!("no answer for {} after {} s", task.file, cx.id())))
        }
        false => Ok(200),
    }
}

/// A file with eight uploads: two succeeded, three failed, three wait in a paused queue.
fn place() -> Place {
    let place = Place::new();
    let queue = Queue::builder().workers(1).handle(upload).open(place.path("tasks.db")).unwrap();
    queue.pause("later").unwrap();
    for n in 1..=5 {
        let _ = queue.enqueue(&Upload { file: format!("{n}.bin"), fails: n > 2 }).unwrap();
    }
    for n in 6..=8 {
        let later = perdura::Options::new().queue("later").tag("nightly");
        let _ = queue.enqueue_with(&Upload { file: format!("{n}.bin"), fails: false }, later).unwrap();
    }
    queue.drain().unwrap();
    place
}

impl Said {
    #[track_caller]
    fn ok(self) -> Said {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The value of a key in each line.
    #[track_caller]
    fn column(&self, key: &str) -> Vec<Value> {
        let line = |line: &str| serde_json::from_str::<Value>(line).unwrap()[key].clone();
        self.out.lines().map(line).collect()
    }
}

fn ids(said: &Said) -> Vec<i64> {
    said.column("task_id").iter().map(|id| id.as_i64().unwrap()).collect()
}

#[test]
fn lists_come_in_pages_the_newest_first() {
    let place = place();
    let first = place.run(["list", "--json", "--limit", "3"]).ok();
    assert_eq!(ids(&first), [8, 7, 6]);
    assert!(first.err.contains("--before 6"), "{first:?}");
    assert_eq!(ids(&place.run(["list", "--json", "--limit", "30", "--before", "6"]).ok()), [5, 4, 3, 2, 1]);
    let page = place.run(["list", "--json", "--oldest-first", "--after", "6", "--limit", "1"]).ok();
    assert_eq!(ids(&page), [7]);
}

#[test]
fn filters_meet_and_unknown_states_are_named() {
    let place = place();
    for (filter, wanted) in [
        (&["--state", "failed,cancelled"][..], &[5, 4, 3][..]),
        (&["--queue", "later", "--tag", "nightly"], &[8, 7, 6]),
        (&["--name", "upload", "--state", "SUCCEEDED"], &[2, 1]),
        (&["--error", "net.Timeout"], &[5, 4, 3]),
        (&["--text", "4.BIN"], &[4]),
        (&["--created-before", "1h"], &[]),
    ] {
        assert_eq!(ids(&place.run(["list", "--json"].iter().chain(filter)).ok()), wanted, "{filter:?}");
    }
    let said = place.run(["list", "--state", "FAILING"]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("FAILING") && said.err.contains("SUCCEEDED"), "{said:?}");
}

#[test]
fn json_has_the_keys_of_the_record() {
    let place = place();
    let line: Value = place.run(["list", "--json", "--limit", "1"]).ok().json();
    let record = serde_json::to_value(place.queue().get(perdura::TaskId::from_i64(8)).unwrap()).unwrap();
    assert_eq!(line, record);
    assert_eq!(line["state"], "QUEUED");
}

#[test]
fn a_table_fits_its_screen_and_colours_only_when_asked() {
    let place = place();
    let mut narrow = place.command(["list"]);
    narrow.env("COLUMNS", "60");
    let said = place.start(narrow).end().ok();
    assert!(said.out.lines().all(|line| line.chars().count() <= 60), "{}", said.out);
    assert!(!said.out.contains('\u{1b}'));
    let coloured = place.run(["--color", "always", "list"]).ok();
    assert!(coloured.out.contains("\u{1b}[31mFAILED\u{1b}[0m"), "{coloured:?}");
}

#[test]
fn show_tells_everything_and_never_steers_the_terminal() {
    let place = place();
    let said = place.run(["show", "3"]).ok();
    for part in [
        "task 3",
        "FAILED",
        "net.Timeout",
        "no answer for 3.bin",
        "\"file\": \"3.bin\"",
        "stdout of generation 1",
    ] {
        assert!(said.out.contains(part), "{part} is not in\n{}", said.out);
    }
    assert!(said.out.contains("sending\\u{1b}[2J") && !said.out.contains('\u{1b}'), "{}", said.out);
    let _ = place.queue().enqueue(&Upload { file: "\u{9b}2J\u{202e}".into(), fails: false }).unwrap();
    for verb in [&["export"][..], &["show", "9", "--json"]] {
        let out = place.run(verb).ok().out;
        assert!(out.contains("\\u009b2J\\u202e") && !out.contains(['\u{9b}', '\u{202e}']), "{verb:?}: {out}");
    }
    let json = place.run(["show", "3", "--json"]).ok().json();
    assert_eq!(json["args"]["file"], "3.bin");
    assert_eq!(json["attempts"][0]["outcome"], "failed");
    assert_eq!(json["output"][0]["first"], "sending\u{1b}[2J\n");
    assert_eq!(json["retry_schedule_ms"], Value::Array(vec![]));
    assert_eq!(place.run(["show", "1", "--only", "result"]).ok().out, "200\n");
    let raw = place.run(["show", "3", "--only", "stdout"]).ok();
    assert_eq!(raw.out, "sending\u{1b}[2J\n", "not a terminal: the bytes as they are");
    let said = place.run(["show", "99"]);
    assert_eq!(said.code, Some(3));
    assert!(said.err.contains("there is no task 99"), "{said:?}");
}

#[derive(Serialize, Deserialize)]
struct Wide {
    z: i128,
    a: f64,
}

impl Task for Wide {
    const NAME: &'static str = "wide";
    type Output = Wide;
}

/// Saves a text first, and reads a number from then on.
fn wide(task: Wide, cx: &Context) -> Result<Wide, Failure> {
    if cx.generation() == 1 {
        cx.save_checkpoint("half")?;
        return Err(Failure::permanent("as told"));
    }
    cx.checkpoint::<u32>().map(|_| task)
}

#[test]
fn show_changes_no_digit_and_a_retry_from_the_start_drops_the_checkpoint() {
    let place = Place::new();
    let open = || Queue::builder().workers(1).handle(wide).open(place.path("tasks.db")).unwrap();
    let run = || open().drain().unwrap();
    let _ = place.queue().enqueue(&Wide { z: i128::MAX, a: 9_007_199_254_740_991.0 }).unwrap();
    run();
    place.run(["retry", "1"]).ok();
    run();
    let record = place.record("1".parse().unwrap());
    assert_eq!(record.error_type.as_deref(), Some("CheckpointUndecodable"));
    assert!(place.run(["retry", "1", "--from-start"]).ok().out.contains("without its checkpoint"));
    run();
    let args = r#"{"z":170141183460469231731687303715884105727,"a":9007199254740991.0}"#;
    let json = place.run(["show", "1", "--json"]).ok().out;
    assert!(
        json.contains(&format!("\"args\":{args}")) && json.contains(&format!("\"result\":{args}")),
        "{json}"
    );
    let shown = place.run(["show", "1"]).ok().out;
    assert!(
        shown.contains("  {\n    \"z\": 170141183460469231731687303715884105727,\n    \"a\": 90071"),
        "{shown}"
    );
}

#[test]
fn stats_count_and_measure() {
    let place = place();
    let json = place.run(["stats", "--json"]).ok().json();
    assert_eq!((&json["total"]["failed"], &json["queues"]["later"]["ready"]), (&3.into(), &3.into()));
    assert_eq!(json["queues"]["later"]["paused"], true);
    assert_eq!((&json["names"][0]["succeeded"], &json["names"][0]["failed"]), (&2.into(), &3.into()));
    assert_eq!(json["names"][0]["ran"]["count"], 5);
    let said = place.run(["stats"]).ok();
    assert!(said.out.contains("3 FAILED") && said.out.contains("paused"), "{}", said.out);
}

#[test]
fn failures_are_one_group_but_for_their_numbers() {
    let place = place();
    let json = place.run(["failures", "--json"]).ok().json();
    let groups = json["groups"].as_array().unwrap();
    assert_eq!(groups.len(), 1, "{json}");
    assert_eq!((&groups[0]["count"], &groups[0]["newest"]), (&3.into(), &5.into()));
    assert_eq!(groups[0]["message"], "no answer for #.bin after # s");
}

#[test]
fn a_filter_asks_first_and_a_dry_run_only_counts() {
    let place = place();
    let said = place.run(["retry", "--state", "FAILED"]);
    assert_eq!(said.code, Some(2), "nobody to ask: {said:?}");
    assert!(said.err.contains("retry 3 tasks") && said.err.contains("--yes"), "{said:?}");
    assert_eq!(place.run(["retry", "--all", "--dry-run", "--json"]).ok().json()["would_change"], 3);
    assert_eq!(place.queue().counts().unwrap().total().failed, 3, "nothing has changed");
    let said = place.run(["retry", "--name", "upload", "--yes"]).ok();
    assert!(said.out.starts_with("3 tasks are queued again"), "{said:?}");
    assert_eq!(place.queue().counts().unwrap().total().failed, 0);
    assert_eq!(place.run(["retry", "--all", "--yes"]).code, Some(1), "nothing is left to retry");
}

#[test]
fn ids_are_answered_one_by_one() {
    let place = place();
    let said = place.run(["retry", "3", "1", "77", "--json"]);
    assert_eq!(said.code, Some(3));
    let json = said.json();
    assert_eq!((&json["changed"], &json["task_ids"]), (&1.into(), &serde_json::json!([3])));
    assert!(json["refused"]["1"].as_str().unwrap().contains("SUCCEEDED"), "{json}");
    assert!(json["refused"]["77"].as_str().unwrap().contains("no task 77"), "{json}");
    for wrong in
        [&["retry"][..], &["retry", "3", "--all"], &["retry", "--all", "--name", "upload"], &["retry", "x"]]
    {
        assert_eq!(place.run(wrong).code, Some(2), "{wrong:?}");
    }
}

#[test]
fn cancel_delete_and_purge_change_what_they_say() {
    let place = place();
    place.run(["cancel", "--queue", "later", "--yes"]).ok();
    place.run(["delete", "3"]).ok();
    assert_eq!(place.run(["purge", "--older-than", "1h", "--yes"]).code, Some(1), "nothing is so old");
    let said = place.run(["purge", "--older-than", "0s", "--yes"]).ok();
    assert!(said.out.starts_with("5 tasks are deleted"), "{said:?}");
    let total = place.queue().counts().unwrap().total();
    assert_eq!((total.all(), total.failed), (2, 2));
}

#[test]
fn a_paused_queue_says_so_until_it_is_resumed() {
    let place = place();
    let said = place.run(["explain", "6"]).ok();
    assert!(said.out.contains("its queue \"later\" is paused"), "{said:?}");
    place.run(["resume", "later"]).ok();
    assert!(!place.queue().counts().unwrap().queues["later"].paused);
    place.run(["pause", "later", "default"]).ok();
    assert!(place.queue().counts().unwrap().queues["default"].paused);
}

#[test]
fn what_waits_for_its_time_can_be_run_now() {
    let place = Place::new();
    let id = place.add(["--delay", "1h", "--", "true"]);
    place.run(["run-now", &id.to_string()]).ok();
    assert_eq!(place.queue().counts().unwrap().total().ready, 1);
    place.run(["cancel", &id.to_string()]).ok();
    let said = place.run(["run-now", &id.to_string()]);
    assert_eq!(said.code, Some(3));
    assert!(said.err.contains("CANCELLED"), "{said:?}");
}

#[test]
fn a_filter_runs_those_now_that_wait_for_their_time() {
    let place = Place::new();
    let ready = place.add(["--tag", "night", "--", "true"]);
    let waiting = [0; 2].map(|_| place.add(["--tag", "night", "--delay", "1h", "--", "true"]));
    let other = place.add(["--delay", "1h", "--", "true"]);
    let would = |args: &[&str]| place.run([&["run-now", "--dry-run"], args].concat());
    assert_eq!(would(&["--tag", "night"]).ok().out, "would run now: 2 tasks\n");
    let (ready, other) = (ready.to_string(), other.to_string());
    let said = would(&[&ready, &other]);
    assert_eq!((said.code, said.out.as_str()), (Some(3), "would run now: 1 task\n"));
    let refused =
        format!("task {ready} is QUEUED, and not for its time or its turn, and run now would refuse it");
    assert!(said.err.contains(&refused), "{said:?}");
    assert_eq!(place.run(["run-now", "--tag", "night"]).code, Some(2), "there is no terminal to ask on");
    assert_eq!(place.run(["run-now", "--tag", "night", "--yes"]).ok().out, "2 tasks are ready\n");
    assert_eq!(place.queue().counts().unwrap().total().ready, 3);
    assert!(waiting.iter().all(|id| place.queue().get(*id).unwrap().hold == Some(perdura::Hold::Ready)));
    assert_eq!(place.run(["run-now", "--tag", "night", "--yes"]).code, Some(1), "nothing is left to change");
}

#[test]
fn dead_letters_are_moved_shown_replayed_once_and_purged() {
    let place = place();
    let said = place.run(["move-to-dead", "3", "1"]);
    assert_eq!(said.code, Some(3));
    assert!(said.err.contains("task 1 is SUCCEEDED"), "{said:?}");
    place.run(["move-to-dead", "--all", "--yes"]).ok();
    assert_eq!(ids(&place.run(["dead", "list", "--json"]).ok()), [5, 4, 3]);
    let page = place.run(["dead", "list", "--json", "--limit", "2"]).ok();
    assert!(ids(&page) == [5, 4] && page.err.contains("--before 4"), "{page:?}");
    assert!(place.run(["dead", "show", "4"]).ok().out.contains("no answer for 4.bin"));
    assert!(place.run(["show", "4"]).ok().out.starts_with("dead letter 4"), "show finds letters, too");
    assert_eq!(place.run(["dead", "replay", "4", "--json"]).ok().json()["replayed_as"]["4"], 9);
    let table = place.run(["dead", "list"]).ok();
    let heads: Vec<&str> = table.out.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(heads, ["ID", "STATE", "NAME", "QUEUE", "MOVED", "REPLAYED", "ERROR"]);
    let row = table.out.lines().find(|line| line.trim_start().starts_with('4')).unwrap();
    assert!(row.contains("as 9") && row.contains("net.Timeout: no answer"), "{table:?}");
    let letter = place.run(["dead", "show", "4", "--json"]).ok().json();
    assert_eq!(
        (&letter["dead_letter"]["replayed_as"], &letter["args"]["file"]),
        (&9.into(), &"4.bin".into())
    );
    assert!(place.run(["dead", "show", "4"]).ok().out.contains("as task 9"));
    let again = place.run(["dead", "replay", "4"]);
    assert_eq!(again.code, Some(3));
    assert!(again.err.contains("replayed as task 9"), "{again:?}");
    place.run(["dead", "replay", "--all", "--yes"]).ok();
    assert_eq!(place.queue().counts().unwrap().total().queued(), 6, "three replayed, three paused");
    assert_eq!(place.run(["dead", "replay"]).code, Some(2), "which?");
    let purge = |rest: &str| place.run(["dead", "purge", "--older-than", "0s", rest]);
    assert_eq!(purge("--dry-run").ok().out, "would delete 3 dead letters moved more than 0 ms ago\n");
    purge("--yes").ok();
    assert_eq!(purge("--dry-run").code, Some(1), "nothing is meant any more");
    assert!(place.run(["dead", "list"]).ok().out.is_empty());
}

#[test]
fn show_says_how_often_and_when_it_is_tried_again() {
    let place = Place::new();
    let queue = Queue::builder().workers(1).handle(upload).open(place.path("tasks.db")).unwrap();
    let options = perdura::Options::new().max_attempts(3).backoff(std::time::Duration::from_secs(600));
    let _ = queue.enqueue_with(&Upload { file: "1.bin".into(), fails: true }, options).unwrap();
    queue.drain().unwrap();
    drop(queue);
    let shown = place.run(["show", "1"]).ok().out;
    assert!(shown.contains("waits 10 min, 20 min after its failures; attempt 2 in "), "{shown}");
    let raw = |part: &str| place.run(["show", "1", "--only", part]).ok().out;
    assert_eq!(raw("args"), "{\"file\":\"1.bin\",\"fails\":true}\n");
    assert_eq!(raw("stdout"), "sending\u{1b}[2J\n", "as it was: this is no terminal");
    assert_eq!(raw("stderr"), "");
    let line = place.run(["list"]).ok().out;
    assert!(line.lines().nth(1).is_some_and(|line| line.contains("in ")), "{line}");
    let explained = place.run(["explain", "1", "--json"]).ok().json();
    assert!(explained["explanation"].as_str().unwrap().contains("next attempt"), "{explained}");
    let nothing = place.run(["list", "--state", "LOST"]).ok();
    assert!(nothing.out.is_empty() && nothing.err.contains("no tasks match"), "{nothing:?}");
    let nothing = place.run(["failures"]).ok();
    assert!(
        nothing.out.contains("will be tried again") && nothing.err.contains("nothing has failed for good"),
        "{nothing:?}"
    );
    let missing = place.run(["show", "7", "--only", "stdout"]);
    assert_eq!(missing.code, Some(3), "{missing:?}");
}

#[test]
fn looking_writes_nothing_and_makes_nothing() {
    let place = place();
    let bytes = || {
        [
            std::fs::read(place.path("tasks.db")).unwrap(),
            std::fs::read(place.path("tasks.db-wal")).unwrap_or_default(),
        ]
    };
    let before = bytes();
    for verb in [
        &["list"][..],
        &["show", "3"],
        &["stats"],
        &["failures"],
        &["explain", "3"],
        &["doctor"],
        &["dead", "list"],
        &["export"],
    ] {
        place.run(verb).ok();
    }
    assert!(bytes() == before, "looking has changed the file");
    let said = place.run(["list", "--db", "none.db"]);
    assert_eq!(said.code, Some(4));
    assert!(said.err.contains("none.db") && said.err.contains("init"), "{said:?}");
    assert!(!place.path("none.db").exists());
}

#[test]
fn a_queue_that_only_looks_refuses_to_change() {
    let place = place();
    let queue = Queue::builder().read_only(true).open(place.path("tasks.db")).unwrap();
    assert_eq!(queue.counts().unwrap().total().in_state(State::Failed), 3);
    let refused = queue.retry_all(perdura::Filter::new()).unwrap_err();
    assert_eq!(refused.kind(), perdura::ErrorKind::ReadOnly);
    let missing = Queue::builder().read_only(true).open(place.path("none.db")).unwrap_err();
    assert_eq!(missing.kind(), perdura::ErrorKind::NotFound);
    let both = Queue::builder().read_only(true).handle(upload).open(place.path("tasks.db")).unwrap_err();
    assert_eq!(both.kind(), perdura::ErrorKind::InvalidConfig);
}

#[test]
fn a_reader_that_leaves_is_no_trouble() {
    let place = Place::new();
    place.feed(&"true\n".repeat(5000), ["add", "--from", "lines"]).ok();
    let script =
        format!("{} list --limit 5000 | head -n 1; echo ${{PIPESTATUS[0]}}", env!("CARGO_BIN_EXE_perdura"));
    let mut shell = std::process::Command::new("bash");
    shell.args(["-c", &script]).env("PERDURA_DB", place.path("tasks.db"));
    let said = place.start(shell).end().ok();
    assert_eq!((said.out.lines().last(), said.err.as_str()), (Some("0"), ""), "{said:?}");
}

#[test]
fn the_papers_are_written() {
    let place = Place::new();
    assert!(place.run(["completions", "bash"]).ok().out.contains("move-to-dead"));
    assert!(place.run(["man"]).ok().out.starts_with(".ie"), "a manual page");
    place.run(["man", "pages"]).ok();
    assert!(place.read("pages/perdura-retry.1").contains("FAILED"));
    let said = place.run(["init"]).ok();
    assert!(said.out.contains("is ready"), "{said:?}");
    assert!(place.run(["init"]).ok().out.contains("is there already"));
}

#[test]
fn queues_are_listed_with_what_bounds_them() {
    let place = place();
    let said = place.run(["queue", "limit", "later", "2"]).ok();
    assert_eq!(said.out, "queue later has a limit of 2\n");
    let said = place.run(["queue", "rate", "later", "50/1m", "--burst", "5"]).ok();
    assert_eq!(said.out, "queue later has a rate of 50/1m, burst 5\n");
    let said = place.run(["queue", "list"]).ok();
    let line = said.out.lines().find(|line| line.starts_with("later")).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words, ["later", "3", "0", "0", "0", "2", "50/1m,", "burst", "5", "paused"]);
    let lines = place.run(["queue", "list", "--json"]).ok().out;
    let json: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&json["queue"], &json["limit"], &json["rate"]["period_ms"]),
        (&"later".into(), &2.into(), &60_000.into())
    );
    place.run(["queue", "limit", "later", "none"]).ok();
    place.run(["queue", "rate", "later", "none"]).ok();
    let said = place.run(["queue", "resume", "later"]).ok();
    assert_eq!(said.out, "queue later is resumed\n");
    let counts = place.queue().counts().unwrap().queue("later");
    assert_eq!((counts.limit, counts.rate, counts.paused), (None, None, false));
    let said = place.run(["queue", "limit", "new", "1"]).ok();
    assert!(said.err.contains("no task is in a queue \"new\""), "{said:?}");
}

#[test]
fn a_bound_that_cannot_be_is_refused_and_nothing_is_set() {
    let place = place();
    for (words, why) in [
        (["queue", "limit", "later", "0"], "it is at least 1"),
        (["queue", "limit", "later", "many"], "it is a whole number of 1 or more, or none"),
        (["queue", "rate", "later", "50"], "a count and a period, such as 50/1m"),
        (["queue", "rate", "later", "0/1m"], "no start at all"),
        (["queue", "rate", "later", "2000000/1s"], "1,000,000 starts a second"),
    ] {
        let said = place.run(words);
        assert!(said.code == Some(2) && said.err.contains(why), "{words:?}: {said:?}");
    }
    let counts = place.queue().counts().unwrap().queue("later");
    assert_eq!((counts.limit, counts.rate), (None, None));
}

/// The sentence names the instant, or what ends it.
#[test]
fn a_task_of_a_shut_queue_says_why_it_waits() {
    let place = Place::new();
    let builder = Queue::builder().workers(1).handle(|_: Upload, _: &Context| {
        Err::<u32, _>(Failure::throttle(std::time::Duration::from_secs(3600)))
    });
    let queue = builder.open(place.path("tasks.db")).unwrap();
    queue.set_rate("slow", Some("1/1h".parse().unwrap())).unwrap();
    let slow = |_| {
        queue
            .enqueue_with(
                &Upload { file: String::new(), fails: false },
                perdura::Options::new().queue("slow"),
            )
            .unwrap()
    };
    let _ = queue.enqueue(&Upload { file: String::new(), fails: false }).unwrap();
    let _: Vec<_> = (0..2).map(slow).collect();
    while queue.counts().unwrap().queue("default").closed_until.is_none()
        || queue.counts().unwrap().queue("slow").closed_until.is_none()
    {
        std::thread::yield_now();
    }
    let said = place.run(["explain", "1"]).ok();
    assert!(
        said.out.contains("a task has closed its queue \"default\" until ") && said.out.contains("(in "),
        "{said:?}"
    );
    assert!(said.out.contains("`perdura resume default` opens it now"), "{said:?}");
    queue.resume("slow").unwrap();
    drop(queue);
    let said = place.run(["explain", "3"]).ok();
    assert!(said.out.contains("the rate of its queue \"slow\" lets the next task start at "), "{said:?}");
    let said = place.run(["queue", "list"]).ok();
    assert!(
        said.out.lines().any(|line| line.starts_with("default") && line.contains("opens in")),
        "{said:?}"
    );
}
