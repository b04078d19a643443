//! What scripts rely on: exit codes, answers that cannot be written, JSON, the environment of jobs.

use std::fs::File;
use std::process::Stdio;

use serde_json::Value;

use crate::needs::has;
use crate::support::{Place, Said};

fn json(said: &Said) -> Value {
    serde_json::from_str(&said.out).unwrap_or_else(|e| panic!("{e}: {said:?}"))
}

fn stdout(place: &Place, id: &str) -> String {
    place.run(["show", id, "--only", "stdout"]).out
}

#[test]
fn what_no_program_can_be_given_is_refused_in_all_three_ways() {
    let place = Place::new();
    let lines = |text: &str| place.feed(text, ["add", "--from", "lines"]);
    let jsonl = |text: &str| place.feed(text, ["add", "--from", "jsonl"]);
    let argv = |program: &str| place.run(["add", "--", program]);
    for (said, part) in [
        (argv(""), "names no program"),
        (lines("''\n"), "line 1: the command: it names no program"),
        (jsonl(r#"{"argv": [""]}"#), "line 1: argv: it names no program"),
        (argv("\u{feff}echo"), "byte order mark"),
        (jsonl(r#"{"argv": ["\ufeffecho"]}"#), "byte order mark"),
        (lines("true\n\u{feff}echo\n"), "line 2: the command: the program begins with a byte order mark"),
        (argv("echo\r"), "carriage return"),
        (jsonl(r#"{"argv": ["echo\r"]}"#), "carriage return"),
        (lines("find\0print\0"), "zero byte"),
        (jsonl(r#"{"argv": ["a\u0000"]}"#), "zero byte"),
        (jsonl(r#"{"argv": ["a"], "dir": "/a\u0000"}"#), "zero byte"),
        (lines("a\u{0}"), "zero byte"),
    ] {
        assert_eq!(said.code, Some(2), "{said:?}");
        assert!(said.err.contains(part), "{part}: {said:?}");
    }
    assert!(!place.path("tasks.db").exists());
}

#[test]
fn a_list_that_was_saved_on_windows_is_what_it_says() {
    let place = Place::new();
    assert_eq!(place.feed("\u{feff}echo one\r\necho two\r\n", ["add", "--from", "lines"]).out, "1\n2\n");
    assert_eq!(place.feed("\u{feff}# a comment\r\ntrue", ["add", "--from", "lines"]).out, "3\n");
    assert_eq!(
        place.feed("\u{feff}{\"argv\":[\"echo\",\"four\"]}\r\n", ["add", "--from", "jsonl"]).out,
        "4\n"
    );
    assert_eq!(place.run(["work", "--drain"]).code, Some(0));
    assert_eq!((stdout(&place, "1"), stdout(&place, "4")), ("one\n".into(), "four\n".into()));
    let export = place.run(["export"]).out.replace('\n', "\r\n");
    let said = place.feed(&format!("\u{feff}{export}"), ["import", "-", "--db", "new.db"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    std::fs::write(place.path("utf16"), b"\xff\xfee\0c\0h\0o\0").unwrap();
    let mut command = place.command(["add", "--from", "lines"]);
    command.stdin(File::open(place.path("utf16")).unwrap());
    assert!(place.start(command).end().err.contains("save it as UTF-8"));
}

#[test]
fn a_job_gets_its_own_folder_and_file_and_what_is_asked_for() {
    let place = Place::new();
    std::fs::create_dir(place.path("sub")).unwrap();
    let print = "echo $PWD $PERDURA_DB $PERDURA_JOB_DB";
    place.add(["--dir", "sub", "--", "printenv", "PWD"]);
    place.add([
        "--env",
        "PWD=mine",
        "--env",
        "PERDURA_DB=/other.db",
        "--",
        "printenv",
        "PWD",
        "PERDURA_DB",
        "PERDURA_JOB_DB",
    ]);
    place.add(["--shell", print]);
    assert_eq!(place.run(["work", "--drain"]).code, Some(0));
    let (here, db) = (place.path(""), place.path("tasks.db").display().to_string());
    let here = here.display().to_string();
    let here = here.trim_end_matches('/');
    assert_eq!(stdout(&place, "1"), format!("{here}/sub\n"));
    assert_eq!(stdout(&place, "2"), format!("mine\n/other.db\n{db}\n"));
    assert_eq!(stdout(&place, "3"), format!("{here} {db} {db}\n"));
}

#[test]
fn a_job_cannot_wait_for_its_own_worker() {
    let place = Place::new();
    let perdura = env!("CARGO_BIN_EXE_perdura");
    let once = ["--max-attempts", "1", "--"];
    place.add(once.iter().chain(&[perdura, "work", "--drain"]));
    place.add(once.iter().chain(&[perdura, "follow", "2"]));
    place.add(once.iter().chain(&[perdura, "work", "--drain", "--db", "other.db"]));
    assert_eq!(place.run(["work", "--drain"]).code, Some(1));
    let error = |id: i64| place.record(id.to_string().parse().unwrap()).error_message.unwrap_or_default();
    assert!(
        error(1).contains("exit code 3") && error(1).contains("a second worker would wait"),
        "{}",
        error(1)
    );
    assert!(error(2).contains("would wait for itself"), "{}", error(2));
    assert_eq!(error(3), "");
}

#[test]
fn json_is_honoured_or_refused() {
    let place = Place::new();
    place.add(["--", "echo", "a b"]);
    place.add(["--max-attempts", "1", "--shell", "exit 7"]);
    let said = place.run(["work", "--drain", "--json", "--workers", "1"]);
    assert_eq!(said.code, Some(1));
    let first: Value = serde_json::from_str(said.out.lines().next().unwrap()).unwrap();
    assert_eq!((&first["command"], &first["exit_code"]), (&"echo 'a b'".into(), &0.into()));
    let listed = place.run(["list", "--json", "--limit", "1"]);
    assert_eq!(
        (&json(&listed)["command"], &json(&listed)["exit_code"]),
        (&"sh -c 'exit 7'".into(), &7.into())
    );
    assert_eq!(json(&place.run(["show", "2", "--json"]))["task"]["exit_code"], 7);
    for words in
        [&["follow", "1"][..], &["show", "1", "--only", "stdout"], &["completions", "bash"], &["man"]]
    {
        let said = place.run(words.iter().chain(&["--json"]));
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{said:?}");
        assert!(said.err.contains("--json"), "{said:?}");
    }
    let ids = json(&place.run(["retry", "2", "9", "--json"]));
    assert_eq!((&ids["changed"], &ids["skipped"], &ids["task_ids"][0]), (&1.into(), &1.into(), &2.into()));
    assert!(ids["refused"]["9"].as_str().unwrap().contains('9'));
    let filter = json(&place.run(["cancel", "--state", "QUEUED", "--yes", "--json"]));
    assert_eq!((&filter["changed"], &filter["skipped"]), (&1.into(), &0.into()));
    let exported = json(&place.run(["export", "e.jsonl", "--json"]));
    assert_eq!(exported["path"], "e.jsonl");
    assert_eq!(place.run(["list", "--limit", "0"]).code, Some(2));
    assert_eq!(place.run(["dead", "replay", "--all", "--name", "x", "--dry-run"]).code, Some(2));
}

#[test]
fn a_worker_goes_on_when_its_reader_has_left() {
    let place = Place::new();
    for _ in 0..20 {
        place.add(["--", "true"]);
    }
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = place.command(["work", "--drain", "--json"]);
    let said = place.start_with(command.stdout(Stdio::from(writer))).end();
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(said.err.matches("the jobs go on").count(), 1, "{said:?}");
    assert_eq!(place.queue().counts().unwrap().total().succeeded, 20);
}

#[cfg(target_os = "linux")]
#[test]
fn who_gets_no_answer_hears_what_was_done() {
    let place = Place::new();
    place.add(["--max-attempts", "1", "--", "false"]);
    let full = |words: &[&str]| {
        let full = File::options().write(true).open("/dev/full").unwrap();
        place.start_with(place.command(words).stdout(Stdio::from(full))).end()
    };
    for (words, done) in [
        (&["add", "--unique", "k", "--", "true"][..], "job 2 is added, but the answer could not be written"),
        (&["add", "--unique", "k", "--", "true"], "perdura: the answer could not be written"),
        (&["cancel", "2"], "task 2 is cancelled"),
        (&["pause", "q", "r"], "q, r: paused, but"),
        (&["list"], "the answer could not be written to the standard output: No space left"),
        (&["work", "--drain", "--json"], "the jobs go on"),
    ] {
        let said = full(words);
        assert_eq!(said.code, Some(4), "{said:?}");
        assert!(said.err.contains(done), "{said:?}");
    }
    let queues = place.queue().counts().unwrap().queues;
    assert!(queues["q"].paused && queues["r"].paused);
    assert_eq!(place.queue().counts().unwrap().total().failed, 1, "the job ran");
}

#[test]
fn an_export_is_whole_or_absent() {
    let place = Place::new();
    place.add(["--", "true"]);
    std::fs::write(place.path("e.jsonl-half"), "").unwrap();
    let said = place.run(["export", "e.jsonl"]);
    assert!(said.code == Some(4) && said.err.contains("was killed: remove it then"), "{said:?}");
    assert!(!place.path("e.jsonl").exists());
    std::fs::remove_file(place.path("e.jsonl-half")).unwrap();
    assert_eq!(place.run(["export", "e.jsonl"]).code, Some(0));
    assert!(!place.path("e.jsonl-half").exists());
    assert_eq!(place.run(["export", "e.jsonl"]).code, Some(4));
    assert_eq!(place.read("e.jsonl"), place.run(["export"]).out);
}

#[cfg(target_os = "linux")]
#[test]
fn a_current_folder_that_is_gone_is_named() {
    let place = Place::new();
    let gone = |words: &str| {
        std::fs::create_dir(place.path("gone")).unwrap();
        let script = format!("cd gone && rmdir ../gone && exec '{}' {words}", env!("CARGO_BIN_EXE_perdura"));
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &script]).current_dir(place.path("")).env("PERDURA_DB", place.path("tasks.db"));
        place.start(command).end()
    };
    let said = gone("add -- true");
    assert!(said.code == Some(4) && said.err.contains("the current folder is gone"), "{said:?}");
    assert_eq!(gone("add --dir / -- true").code, Some(0));
}

#[test]
fn what_waits_for_a_retry_is_among_the_failures() {
    let place = Place::new();
    place.add(["--backoff", "1h", "--shell", "exit 9"]);
    let said = place.run(["work", "--drain"]);
    assert!(said.code == Some(0) && said.err.contains("1 task waits"), "{said:?}");
    let said = place.run(["failures"]);
    assert!(said.out.contains("failed, will be tried again") && said.out.contains("ExitCode.9"), "{said:?}");
    let found = json(&place.run(["failures", "--json"]));
    assert_eq!((found["groups"].as_array().unwrap().len(), &found["retrying"][0]["count"]), (0, &1.into()));
}

#[test]
fn it_is_said_that_no_worker_runs() {
    let place = Place::new();
    place.add(["--", "true"]);
    let is_known = !json(&place.run(["stats", "--json"]))["worker_runs"].is_null();
    if !has("view of all processes", is_known) {
        return;
    }
    for words in [&["stats"][..], &["list"], &["explain", "1"], &["show", "1"]] {
        let said = place.run(words);
        let all = said.out + &said.err;
        assert!(all.contains("no worker runs") && all.contains("`perdura work`"), "{words:?}: {all}");
    }
}

#[test]
fn a_quiet_worker_does_not_say_how_jobs_end() {
    let place = Place::new();
    place.add(["--max-attempts", "1", "--", "false"]);
    place.add(["--backoff", "1h", "--", "false"]);
    let said = place.run(["work", "--drain", "--quiet"]);
    assert_eq!(said.err.matches("FAILED").count() + said.err.matches("perdura:").count(), 0, "{said:?}");
    assert!(said.err.contains("2 attempts"), "{said:?}");
    place.add(["--max-attempts", "1", "--", "false"]);
    let said = place.run(["work", "--drain"]);
    assert_eq!(said.err.matches("FAILED").count(), 1, "once is enough: {said:?}");
}

#[test]
fn a_dead_letter_of_a_job_has_its_command_too() {
    let place = Place::new();
    place.add(["--max-attempts", "1", "--", "false", "a b"]);
    place.run(["work", "--drain", "--quiet"]);
    assert_eq!(place.run(["move-to-dead", "1"]).code, Some(0));
    let letter = &json(&place.run(["show", "1", "--json"]))["dead_letter"];
    assert_eq!((&letter["command"], &letter["exit_code"]), (&"false 'a b'".into(), &1.into()));
}

#[test]
fn failures_say_when_not_all_of_the_queue_was_looked_at() {
    let place = Place::new();
    place.add(["--backoff", "1h", "--", "false"]);
    place.run(["work", "--drain", "--quiet"]);
    place.feed("true\ntrue\n", ["add", "--from", "lines"]);
    let said = place.run(["failures", "--limit", "2"]);
    assert!(said.err.contains("looked at the newest 2 queued tasks only"), "{said:?}");
    assert_eq!(json(&place.run(["failures", "--limit", "2", "--json"]))["more_queued"], true);
    assert_eq!(json(&place.run(["failures", "--json"]))["more_queued"], false);
    assert_eq!(place.run(["failures", "--limit", "0"]).code, Some(2));
}
