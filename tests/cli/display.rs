//! What is seen: bytes as they were, tables in any width, what was mistyped.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use unicode_width::UnicodeWidthStr;

use crate::needs::has;
use crate::support::{Place, Said, await_that};

/// Works until nothing is left.
#[track_caller]
fn drain(place: &Place) {
    let said = place.run(["work", "--drain", "-q"]);
    assert!(matches!(said.code, Some(0 | 1)), "{said:?}");
}

/// The same command, its standard output as bytes.
fn bytes(place: &Place, words: &[&str]) -> Vec<u8> {
    place.command(words).stderr(Stdio::null()).output().unwrap().stdout
}

#[track_caller]
fn assert_refused(said: &Said, code: i32, why: &str) {
    assert_eq!((said.code, said.out.as_str()), (Some(code), ""), "{said:?}");
    assert!(said.err.contains(why), "{said:?}");
}

#[test]
fn output_comes_back_byte_for_byte_and_is_counted_in_bytes() {
    let place = Place::new();
    place.add(["--", "printf", r"a\377b\0c\ncaf\351"]);
    place.add(["--shell", r#"head -c 100000 /dev/zero | tr "\0" "\377""#]);
    drain(&place);
    assert_eq!(bytes(&place, &["show", "1", "--only", "stdout"]), b"a\xffb\0c\ncaf\xe9");
    assert_eq!(bytes(&place, &["follow", "1"]), b"a\xffb\0c\ncaf\xe9");
    assert_eq!(bytes(&place, &["show", "2", "--only", "stdout"]), [0xff; 64 * 1024]);
    let left_out = place.run(["show", "2", "--only", "stdout"]).err;
    assert!(left_out.contains("… 33.7 KiB left out …"), "{left_out}");
    let json = |id: &str| -> serde_json::Value {
        serde_json::from_str(&place.run(["--json", "show", id]).out).unwrap()
    };
    assert_eq!(json("1")["output"][0]["first"], "a\u{fffd}b\0c\ncaf\u{fffd}");
    assert_eq!(json("2")["output"][0]["bytes"], 100_000);
    let shown = place.run(["show", "1"]).out;
    assert!(
        shown.contains("a\u{fffd}b\\u{0}c") && shown.contains("stdout of generation 1 (10 B)"),
        "{shown}"
    );
}

#[test]
fn output_that_is_no_text_survives_export_and_import() {
    let place = Place::new();
    place.add(["--", "printf", r"a\377b"]);
    place.add(["--", "printf", "plain ü"]);
    drain(&place);
    assert_eq!(place.run(["export", "all.jsonl"]).code, Some(0));
    let import = place.run(["--db", "copy.db", "import", "all.jsonl"]);
    assert_eq!(import.code, Some(0), "{import:?}");
    assert_eq!(bytes(&place, &["--db", "copy.db", "show", "1", "--only", "stdout"]), b"a\xffb");
    assert_eq!(bytes(&place, &["--db", "copy.db", "show", "2", "--only", "stdout"]), "plain ü".as_bytes());
    assert_eq!(place.run(["--db", "copy.db", "export"]).out, place.read("all.jsonl"));
}

/// Adds jobs with texts that are hard to print: wide characters, marks that have no width, long words.
fn wide_jobs(place: &Place) {
    let long = ["x".repeat(300), "日".repeat(300)];
    let words = ["abc", "日本語のジョブを実行する", "🦀🦀🦀 crab", "e\u{301}te\u{301}", &long[0], &long[1]];
    for word in words {
        let queue: String = ["q-"].into_iter().chain([word]).collect::<String>().chars().take(20).collect();
        let tag: String = word.chars().take(50).collect();
        let job = ["--queue", &queue, "--tag", &tag, "--max-attempts", "1", "--", "sh", "-c"];
        place.add(job.into_iter().chain(["echo \"$1\" >&2; exit 1", "sh", word]));
    }
    drain(place);
}

#[test]
fn no_line_of_a_table_is_wider_than_the_screen() {
    let place = Place::new();
    wide_jobs(&place);
    place.add(["--delay", "1h", "--", "true"]);
    assert_eq!(place.run(["move-to-dead", "--state", "failed", "--text", "abc", "--yes"]).code, Some(0));
    for columns in [40, 60, 80, 200] {
        for words in [&["list"][..], &["failures"], &["stats"], &["dead", "list"]] {
            let mut command = place.command(words);
            let out =
                command.env("COLUMNS", columns.to_string()).stderr(Stdio::null()).output().unwrap().stdout;
            let out = String::from_utf8(out).unwrap();
            let widest = out.lines().max_by_key(|line| line.width()).unwrap();
            assert!(widest.width() <= columns, "{words:?} in {columns}: {widest}");
        }
    }
    let mut narrow = place.command(["list"]);
    let out = String::from_utf8(narrow.env("COLUMNS", "40").output().unwrap().stdout).unwrap();
    assert!(out.contains("TRIES 1/1") && out.contains("ERROR exit code 1: 日"), "nothing is lost: {out}");
}

#[test]
fn a_long_command_does_not_push_its_error_off_the_list() {
    let place = Place::new();
    let script =
        format!("printf '\\r10%%\\r20%%\\rERROR: disk quota exceeded' >&2; exit 1; {}", "#".repeat(300));
    place.add(["--max-attempts", "1", "--shell", &script]);
    drain(&place);
    let list = place.run(["list"]).out;
    assert!(list.contains("exit code 1: ERROR: disk quota ex…"), "{list}");
    assert!(!list.contains("perdura.job") && !list.contains("NAME"), "all jobs have one name: {list}");
}

#[test]
fn a_queue_that_is_not_there_is_told_by_its_name() {
    let place = Place::new();
    place.add(["--queue", "encode", "--", "true"]);
    let unknown = "no task is in a queue \"encodd\"; the file has: encode";
    for verb in ["resume", "pause"] {
        let said = place.run([verb, "encode", "encodd"]);
        assert!(said.code == Some(0) && said.err.contains(unknown), "{said:?}");
    }
    assert_eq!(place.run(["resume", "encode", "encodd"]).err, "");
    let said = place.run(["pause", "later"]);
    assert!(said.code == Some(0) && said.err.contains("it stays paused until it is resumed"), "{said:?}");
    place.add(["--queue", "later", "--", "true"]);
    let said = place.run(["work", "--drain", "--queue", "later", "--queue", "typo"]);
    assert!(said.err.contains("there is no queue \"typo\" yet"), "{said:?}");
    assert!(!said.err.contains("there is no queue \"later\""), "{said:?}");
    assert_eq!(place.record(perdura::TaskId::from_i64(2)).attempt_number, 0, "it is paused");
}

#[test]
fn an_empty_file_name_is_refused_by_its_name() {
    let place = Place::new();
    let said = place.start({
        let mut command = place.command(["list"]);
        command.env("PERDURA_DB", "");
        command
    });
    assert_refused(&said.end(), 2, "--db \"\": it is empty; name a file, or unset PERDURA_DB");
    assert_refused(&place.run(["--db", "", "list"]), 2, "it is empty");
}

#[test]
fn what_a_task_does_not_have_is_refused_by_its_name() {
    let place = Place::new();
    place.add(["--max-attempts", "1", "--", "false"]);
    place.add(["--delay", "1h", "--", "true"]);
    drain(&place);
    let refused = |words: &[&str], code, why: &str| assert_refused(&place.run(words), code, why);
    refused(&["show", "1", "--generation", "9"], 3, "task 1 has no generation 9; it has started once");
    refused(&["show", "2", "--generation", "1"], 3, "task 2 has no generation 1; it has not started yet");
    refused(&["show", "1", "--generation", "9", "--only", "stdout"], 3, "no generation 9");
    refused(&["show", "1", "--only", "result"], 1, "task 1 has no result: it is FAILED");
    assert_eq!(bytes(&place, &["show", "1", "--generation", "1", "--only", "stdout"]), b"");
    refused(
        &["list", "--state", "fialed"],
        2,
        "--state fialed: it is one of QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED, LOST",
    );
    assert_eq!(place.run(["list", "--state", "failed,QUEUED"]).out.lines().count(), 3);
}

#[test]
fn a_program_that_is_not_found_is_told_without_the_whole_path() {
    let place = Place::new();
    let ids =
        [place.add(["--", "no-such-program"]), place.add(["--env", "PATH=/var", "--", "no-such-program"])];
    drain(&place);
    let message = |id| place.record(id).error_message.unwrap();
    assert_eq!(
        message(ids[0]),
        "there is no program \"no-such-program\" in the worker's PATH; name its path"
    );
    assert!(message(ids[1]).contains("in the PATH that its --env sets"), "{}", message(ids[1]));
}

#[test]
fn the_oldest_of_a_queue_is_told_beside_a_task_that_was_retried() {
    let place = Place::new();
    place.add(["--max-attempts", "1", "--", "false"]);
    drain(&place);
    for _ in 0..3 {
        place.add(["--", "true"]);
    }
    let since = || -> serde_json::Value {
        serde_json::from_str::<serde_json::Value>(&place.run(["--json", "stats"]).out).unwrap()["ready_since"]
            .clone()
    };
    let before = since();
    assert!(before["default"].is_string(), "{before}");
    assert_eq!(place.run(["retry", "1"]).code, Some(0));
    assert_eq!(since(), before, "it is the oldest of those of which that is known");
}

#[test]
fn follow_ends_when_nobody_reads_any_more() {
    let place = Place::new();
    place.add(["--shell", "while :; do echo line; sleep 0.05; done"]);
    let worker = place.start(place.command(["work", "-q"]));
    await_that("it has said something", || {
        !place.queue().output(perdura::TaskId::from_i64(1), None).unwrap().is_empty()
    });
    let mut command = place.command(["follow", "1"]);
    let mut follower = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(follower.stdout.take().unwrap()).read_line(&mut first).unwrap(); // and it leaves
    assert_eq!(first, "line\n");
    let mut status = None;
    await_that("it ends", || {
        status = follower.try_wait().unwrap();
        status.is_some()
    });
    assert_eq!(status.unwrap().code(), Some(1), "it has not seen that the job succeeded");
    drop(worker);
}

/// In a terminal of 80 columns, which `script` gives.
#[test]
fn lines_of_a_worker_fit_its_terminal() {
    let place = Place::new();
    wide_jobs(&place);
    assert_eq!(place.run(["retry", "--all", "--yes"]).code, Some(0));
    let work = format!("stty cols 80 rows 24; '{}' work --drain", env!("CARGO_BIN_EXE_perdura"));
    let mut script = std::process::Command::new("script");
    script.args(["-qec", &work, "/dev/null"]).env("TERM", "xterm").env("PERDURA_DB", place.path("tasks.db"));
    let out = match script.env_remove("COLUMNS").stdin(Stdio::null()).output() {
        Ok(output) => String::from_utf8(output.stdout).unwrap(),
        found => {
            assert!(!has("script (util-linux)", found.is_ok()));
            return;
        }
    };
    let lines: Vec<_> =
        out.split("\r\n").filter(|line| line.contains("FAILED  ")).map(without_escapes).collect();
    assert_eq!(lines.len(), 6, "{out}");
    lines.iter().for_each(|line| assert!(line.width() <= 80, "{} columns: {line}", line.width()));
}

fn without_escapes(line: &str) -> String {
    let mut parts = line.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |plain, part| {
        plain + part.trim_start_matches(|c: char| !c.is_ascii_alphabetic()).get(1..).unwrap_or("")
    })
}

#[test]
fn a_drain_says_what_is_left_of_the_queues_that_it_serves() {
    let place = Place::new();
    for queue in ["a", "b", "c"] {
        place.add(["--queue", queue, "--delay", "1h", "--", "true"]);
    }
    place.add(["--queue", "b", "--delay", "1ms", "--expires", "2h", "--", "true"]);
    place.add(["--queue", "b", "--", "true"]);
    assert_eq!(place.run(["pause", "b"]).code, Some(0));
    let last_words = |words: &[&str]| -> Vec<String> {
        let said = place.run(["work", "--drain"].iter().chain(words));
        assert_eq!(said.code, Some(0), "{said:?}");
        let waits = said.err.lines().filter(|line| line.contains(" wait"));
        waits.map(|line| line.split("; ").next().unwrap().to_owned()).collect()
    };
    let of_a = "1 task waits for a later time or a retry";
    let of_b = "3 tasks wait in the queue \"b\", which is paused";
    assert_eq!(last_words(&[]), ["2 tasks wait for a later time or a retry", of_b]);
    assert_eq!(last_words(&["--queue", "a"]), [of_a]);
    assert_eq!(last_words(&["--queue", "b"]), [of_b]);
    let said = place.run(["work", "--drain"]);
    assert!(said.err.contains("the next falls due in 59 min") && !said.err.contains(" ago"), "{said:?}");
}

#[test]
fn a_dry_run_counts_what_would_change_and_names_what_would_not() {
    let place = Place::new();
    place.add(["--max-attempts", "1", "--", "false"]);
    place.add(["--delay", "1h", "--", "true"]);
    drain(&place);
    for (words, code, out, err) in [
        (&["delete", "99", "--dry-run"][..], 3, "would delete 0 tasks\n", "there is no task 99"),
        (
            &["retry", "1", "2", "--dry-run"],
            3,
            "would retry 1 task\n",
            "task 2 is QUEUED, and retry would refuse it",
        ),
        (&["cancel", "--state", "FAILED", "--dry-run"], 1, "would cancel 0 tasks\n", ""),
        (&["cancel", "--state", "FAILED,QUEUED", "--dry-run"], 0, "would cancel 1 task\n", ""),
        (&["move-to-dead", "1", "--dry-run"], 0, "would move to the dead letters: 1 task\n", ""),
    ] {
        let said = place.run(words);
        assert_eq!((said.code, said.out.as_str()), (Some(code), out), "{words:?}: {said:?}");
        assert!(said.err.contains(err), "{words:?}: {said:?}");
    }
}

#[test]
fn what_became_of_a_task_is_told_where_it_is_asked_for() {
    let place = Place::new();
    place.add(["--expires", "1ms", "--", "true"]);
    let explained = |id: &str| place.run(["explain", id]);
    await_that("it has expired", || explained("1").out.contains("has expired ("));
    assert!(explained("1").out.contains("it will not run"), "{:?}", explained("1"));
    drain(&place);
    assert!(explained("1").out.starts_with("task 1 is CANCELLED: "), "{:?}", explained("1"));
    place.add(["--max-attempts", "1", "--", "false"]);
    drain(&place);
    assert_eq!(place.run(["move-to-dead", "2"]).code, Some(0));
    for words in [["explain", "2"], ["follow", "2"], ["retry", "2"]] {
        assert_refused(
            &place.run(words),
            3,
            "task 2 is a dead letter; `perdura dead replay 2` makes a task of it",
        );
    }
}

#[test]
fn errors_are_found_by_their_family() {
    let place = Place::new();
    place.add(["--max-attempts", "1", "--shell", "exit 7"]);
    place.add(["--max-attempts", "1", "--shell", "kill -9 $$"]);
    drain(&place);
    let found = |error: &str| place.run(["list", "--error", error, "--json"]).out.lines().count();
    assert_eq!(["ExitCode", "ExitCode.7", "Signal", "Exit", "7"].map(found), [1, 1, 1, 0, 0]);
}

#[test]
fn a_time_that_is_past_is_told() {
    let place = Place::new();
    let said = place.run(["add", "--at", "2020-01-01", "--", "true"]);
    assert!(said.err.contains("job 1 starts at once: 2020-01-01"), "{said:?}");
    assert_refused(&place.run(["add", "--at", "yesterday 08:00", "--", "true"]), 2, "is not a time");
    let since = place.queue().ready_since().unwrap()["default"];
    assert!(since >= place.record(perdura::TaskId::from_i64(1)).created_at, "it has not waited since then");
}

#[test]
fn an_import_names_the_file_that_is_there_and_how_to_name_another() {
    let place = Place::new();
    place.add(["--", "true"]);
    assert_eq!(place.run(["export", "all.jsonl"]).code, Some(0));
    assert_refused(
        &place.run(["import", "all.jsonl"]),
        4,
        "exists; name a new one: `perdura --db NEW.db import …`",
    );
}

#[test]
fn a_worker_announces_nothing_that_is_refused() {
    let place = Place::new();
    place.add(["--", "true"]);
    for words in [&["work", "--workers", "2000"][..], &["work", "--keep", "0s"], &["work", "--queue="]] {
        let said = place.run(words);
        assert_eq!(said.code, Some(2), "{said:?}");
        assert!(!said.err.contains("for the jobs of"), "{said:?}");
    }
}

#[test]
fn narrow_screens_get_labelled_values_and_folded_lines_and_pipes_a_line_each() {
    let place = Place::new();
    let words =
        ["--queue", "uploads-of-the-night", "--backoff", "1h", "--", "sh", "-c", "echo no host >&2; exit 3"];
    place.add(words);
    place.add(["--queue", "mails", "--", "true"]);
    drain(&place);
    for columns in [40, 60] {
        let at = |verb: &str| {
            let mut command = place.command([verb]);
            let out =
                command.env("COLUMNS", columns.to_string()).stderr(Stdio::null()).output().unwrap().stdout;
            let out = String::from_utf8(out).unwrap();
            assert!(out.lines().all(|line| line.width() <= columns), "{out}");
            out
        };
        let list = at("list");
        assert!(
            list.contains("WHAT sh -c") && list.contains("ERROR exit code 3: no host"),
            "{columns}: {list}"
        );
        assert!(at("failures").contains("exit code #: no"), "{}", at("failures"));
        assert!(at("doctor").contains("integrity"), "{}", at("doctor"));
    }
    let doctor = place.run(["doctor"]).out;
    assert!(doctor.lines().all(|line| line.starts_with("ok") || line.starts_with("note")), "{doctor}");
}

#[test]
fn stats_name_each_quantile_and_say_when_something_can_start() {
    let place = Place::new();
    place.add(["--", "true"]);
    drain(&place);
    place.add(["--queue", "later", "--delay", "1h", "--", "true"]);
    let mut command = place.command(["stats"]);
    let out = String::from_utf8(command.env("COLUMNS", "120").output().unwrap().stdout).unwrap();
    let names =
        ["RAN P50", "RAN P95", "WAITED P50", "WAITED P95", "next due in 59 min", "ended in the last 1 h"];
    assert!(names.iter().all(|name| out.contains(name)) && !out.contains("resumed"), "{out}");
    assert_eq!(place.run(["pause", "later"]).code, Some(0));
    let out = place.run(["stats"]).out;
    assert!(!out.contains("next due"), "it cannot start: {out}");
}
