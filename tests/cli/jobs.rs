//! Jobs: what is added, what becomes of it, what is said of it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;

use perdura::{AttemptOutcome, Hold, OutputStream, State, TaskId};

use crate::support::{Place, Said, await_that};

/// What an attempt wrote to a stream: the beginning, the end, how much in all.
pub fn output(place: &Place, id: TaskId, stream: OutputStream) -> (String, String, u64) {
    let outputs = place.queue().output(id, None).unwrap();
    let output = outputs.into_iter().find(|o| o.stream == stream);
    output.map(|o| (o.first_text().into(), o.last_text().into(), o.bytes)).unwrap_or_default()
}

fn stdout(place: &Place, id: TaskId) -> String {
    output(place, id, OutputStream::Stdout).0
}

/// Works until nothing is left.
#[track_caller]
fn drain(place: &Place) -> Said {
    place.run(["work", "--drain", "--workers", "2"])
}

#[track_caller]
fn assert_failed(place: &Place, id: TaskId, error_type: &str, message: &str) {
    let record = place.record(id);
    let error = record.error_message.unwrap_or_default();
    assert_eq!((record.state, record.error_type.as_deref()), (State::Failed, Some(error_type)), "{error}");
    assert!(error.contains(message), "{error}");
}

#[test]
fn a_job_runs_and_leaves_its_exit_code() {
    let place = Place::new();
    let id = place.add(["--", "echo", "a b"]);
    let said = drain(&place);
    assert_eq!((said.code, said.out.as_str()), (Some(0), ""), "{said:?}");
    assert!(said.err.contains("SUCCEEDED") && said.err.contains("echo 'a b'"), "{said:?}");
    assert!(said.err.contains("1 attempt in") && said.err.contains("1 succeeded"), "{said:?}");
    let result = place.queue().result_json(id).unwrap().unwrap();
    let result: serde_json::Value = serde_json::from_str(&result).unwrap();
    assert_eq!(result["exit_code"], 0);
    assert!(result["ran_ms"].is_u64());
    assert_eq!(stdout(&place, id), "a b\n");
}

#[test]
fn a_job_that_fails_is_tried_again_until_its_attempts_are_used_up() {
    let place = Place::new();
    let script = "echo first >&2; echo last one >&2; exit 7";
    let id = place.add(["--max-attempts", "3", "--backoff", "0s", "--shell", script]);
    let said = drain(&place);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert_failed(&place, id, "ExitCode.7", "exit code 7: last one");
    let attempts = place.queue().attempts(id).unwrap();
    assert_eq!(attempts.iter().map(|a| a.attempt_number).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(said.err.contains("2 retried") && said.err.contains("1 failed for good"));
    assert_eq!(output(&place, id, OutputStream::Stderr).0, "first\nlast one\n");
}

#[test]
fn drain_does_not_end_between_two_attempts_of_one_moment() {
    let place = Place::new();
    let id = place.add(["--max-attempts", "100", "--backoff", "0s", "--", "false"]);
    assert_eq!(drain(&place).code, Some(1));
    assert_eq!(place.record(id).attempt_number, 100);
}

#[test]
fn drain_says_what_waits_for_a_retry_and_that_is_no_failure() {
    let place = Place::new();
    let id = place.add(["--backoff", "1h", "--", "false"]);
    let said = drain(&place);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.err.contains("1 task waits") && said.err.contains("falls due in 59 min"), "{said:?}");
    assert!(said.err.contains("again in 59 min"), "{said:?}");
    assert_eq!((place.record(id).state, place.record(id).hold), (State::Queued, Some(Hold::Time)));
    assert_eq!(place.run(["work", "--drain"]).code, Some(0)); // of that run, nothing failed
}

#[test]
fn some_exit_codes_are_not_worth_a_retry() {
    let place = Place::new();
    let denied = place.add(["--deny-exit", "2,64-78", "--shell", "exit 70"]);
    let other = place.add(["--deny-exit", "2,64-78", "--backoff", "1h", "--shell", "exit 3"]);
    assert_eq!(drain(&place).code, Some(1));
    assert_failed(&place, denied, "ExitCode.70", "exit code 70");
    assert_eq!((place.record(denied).attempt_number, place.record(other).state), (1, State::Queued));
}

#[test]
fn a_signal_is_named() {
    let place = Place::new();
    let id = place.add(["--max-attempts", "1", "--shell", "kill -SEGV $$"]);
    drain(&place);
    assert_failed(&place, id, "Signal.SIGSEGV", "ended by SIGSEGV");
}

#[test]
fn what_cannot_be_started_says_why() {
    let place = Place::new();
    let locked = place.path("locked");
    std::fs::write(&locked, "#!/bin/sh\n").unwrap();
    let bare = place.path("bare");
    std::fs::write(&bare, "echo no first line\n").unwrap();
    std::fs::set_permissions(&bare, PermissionsExt::from_mode(0o700)).unwrap();
    let orphan = place.path("orphan");
    std::fs::write(&orphan, "#!/no/such/shell\n").unwrap();
    std::fs::set_permissions(&orphan, PermissionsExt::from_mode(0o700)).unwrap();
    let cases = [
        (
            place.add(["--env", "PATH=/nowhere", "--", "nosuch"]),
            "ProgramNotFound",
            "\"nosuch\" in the PATH that its --env sets",
        ),
        (place.add(["--", "./nosuch"]), "ProgramNotFound", "/nosuch"),
        (place.add(["--", "./locked"]), "ProgramNotExecutable", "chmod"),
        (place.add(["--env", "PATH=.", "--", "locked"]), "ProgramNotExecutable", "chmod"),
        (place.add(["--", "./bare"]), "ProgramNotExecutable", "#!/bin/sh"),
        (place.add(["--", "./orphan"]), "ProgramNotFound", "interpreter"),
        (
            place.add(["--max-attempts", "1", "--dir", "gone", "--", "true"]),
            "FolderNotFound",
            "/gone is not there",
        ),
    ];
    drain(&place);
    for (id, error_type, message) in cases {
        assert_failed(&place, id, error_type, message);
        assert_eq!(place.record(id).attempt_number, 1);
    }
}

#[test]
fn a_timeout_ends_the_whole_group() {
    let place = Place::new();
    let script = r#"trap "" TERM; sh -c 'trap "" TERM; echo $$ > grandchild; while :; do sleep 0.05; done' & wait; wait"#;
    let limits = ["--timeout", "1s", "--kill-after", "200ms", "--max-attempts", "1", "--shell"];
    let id = place.add(limits.into_iter().chain([script]));
    drain(&place);
    let record = place.record(id);
    assert_eq!((record.state, record.error_type.as_deref()), (State::Failed, Some("Timeout")));
    assert_eq!(place.queue().attempts(id).unwrap()[0].outcome, AttemptOutcome::TimedOut);
    assert!(is_gone(&place.read("grandchild")));
}

/// Whether no process has this id.
#[track_caller]
pub fn is_gone(pid: &str) -> bool {
    let pid = pid.trim().parse().expect("the job has written its process id");
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::test_kill_process(pid).is_err() || is_zombie(pid.as_raw_nonzero().get())
}

/// Dead, but whoever adopts orphans here has not noticed.
fn is_zombie(pid: i32) -> bool {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).unwrap_or_default(); // a name may hold half a letter
    stat.rsplit(|byte| *byte == b')').next().is_some_and(|rest| rest.trim_ascii_start().starts_with(b"Z"))
}

#[test]
fn what_a_job_leaves_running_ends_with_it() {
    let place = Place::new();
    let id = place.add(["--shell", "sleep 1000 & echo $! > left; echo done"]);
    drain(&place);
    assert_eq!(place.record(id).state, State::Succeeded);
    assert!(is_gone(&place.read("left")));
}

#[test]
fn output_is_kept_and_cut_in_the_middle() {
    let place = Place::new();
    let script = r#"echo begin; head -c 300000 /dev/zero | tr "\0" x; echo; echo end; echo problem >&2"#;
    let id = place.add(["--shell", script]);
    drain(&place);
    let (first, last, bytes) = output(&place, id, OutputStream::Stdout);
    assert!(first.starts_with("begin\nxxx") && last.ends_with("xxx\nend\n"));
    assert_eq!(bytes, 300_000 + 11);
    assert!(first.len() + last.len() < 100_000);
    assert_eq!(output(&place, id, OutputStream::Stderr).0, "problem\n");
}

#[test]
fn output_that_is_no_text_is_mended_and_characters_in_pieces_stay_whole() {
    let place = Place::new();
    let id = place.add(["--shell", r#"printf 'a\377b'; printf '\303'; sleep 0.3; printf '\251!'"#]);
    drain(&place);
    assert_eq!(stdout(&place, id), "a\u{fffd}bé!");
}

#[test]
fn a_job_has_its_own_environment_folder_and_no_input() {
    let place = Place::new();
    std::fs::create_dir(place.path("inner")).unwrap();
    let script =
        r#"pwd; echo "$GREETING $PERDURA_TASK_ID $PERDURA_ATTEMPT $PERDURA_GENERATION $PERDURA_DB"; cat"#;
    let id = place.add(["--env", "GREETING=a=b", "--dir", "inner", "--shell", script]);
    drain(&place);
    let (inner, db) = (place.path("inner"), place.path("tasks.db"));
    assert_eq!(stdout(&place, id), format!("{}\na=b {id} 1 1 {}\n", inner.display(), db.display()));
    let wrong = place.run(["add", "--env", "=b", "--", "true"]);
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.err.contains("NAME=VALUE"), "{wrong:?}");
}

#[test]
fn arguments_that_are_not_utf8_arrive_as_they_are() {
    let place = Place::new();
    let script = r#"printf %s "$1" | od -An -tx1"#;
    let words = ["--", "sh", "-c", script, "sh"].map(OsStr::new);
    let id = place.add(words.into_iter().chain([OsStr::from_bytes(b"a\xff\n")]));
    drain(&place);
    assert_eq!(stdout(&place, id).trim(), "61 ff 0a");
}

#[test]
fn a_unique_key_keeps_a_second_job_out() {
    let place = Place::new();
    let id = place.add(["--unique", "nightly", "--", "true"]);
    let again = place.run(["add", "--unique", "nightly", "--", "true"]);
    assert_eq!((again.code, again.out), (Some(0), format!("{id}\n")));
    assert!(again.err.contains("nothing added: job 1"), "{}", again.err);
    let json = place.run(["add", "--json", "--unique", "nightly", "--", "true"]);
    assert_eq!(json.out, format!("{{\"task_id\":{id},\"existing\":true}}\n"));
    drain(&place);
    assert_ne!(place.add(["--unique", "nightly", "--", "true"]), id);
}

#[test]
fn jobs_of_a_key_wait_for_each_other() {
    let place = Place::new();
    let [first, second] = [0, 1].map(|_| place.add(["--serial", "host", "--", "true"]));
    let why = place.run(["explain", &second.to_string()]);
    assert!(why.out.contains("tasks of its key run one after another"), "{why:?}");
    assert!(why.out.contains(&format!("task {first} is before it")), "{why:?}");
    place.add(["--limit", "a=b=2", "--", "true"]);
    for (args, told) in [
        (["add", "--limit", "k", "--", "true"], "such as example.org=2"),
        (["add", "--limit", "k=0", "--", "true"], "1 to 256"),
        (["add", "--serial", "", "--", "true"], "the key of --serial"),
    ] {
        let refused = place.run(args);
        assert!(refused.err.contains(told), "{refused:?}");
    }
    drain(&place);
    let list = place.run(["list", "--state", "succeeded", "--json"]);
    assert_eq!(list.out.lines().count(), 3, "{list:?}");
}

#[test]
fn a_unique_key_is_free_when_its_job_starts_or_after_its_time() {
    let place = Place::new();
    // A job that adds itself again: it finds its key free.
    let command = env!("CARGO_BIN_EXE_perdura");
    let again =
        format!("[ -e again ] || {{ touch again; '{command}' add --unique sync --until-started -- true; }}");
    let id = place.add(["--unique", "sync", "--until-started", "--shell", "--", &again]);
    drain(&place);
    assert_ne!(place.add(["--unique", "other", "--", "true"]), id);
    let list = place.run(["list", "--state", "succeeded", "--json"]);
    assert_eq!(list.out.lines().count(), 2, "{list:?}");

    let daily = ["--unique", "daily", "--for", "24h", "--", "true"];
    let id = place.add(daily);
    drain(&place);
    let said = place.run(["add"].into_iter().chain(daily));
    assert_eq!((said.code, said.out), (Some(0), format!("{id}\n")));
    assert!(
        said.err.contains("has finished, and has this unique key until its time is over"),
        "{}",
        said.err
    );
    let shown = place.run(["show", &id.to_string()]);
    assert!(shown.out.contains("unique key") && shown.out.contains("taken until"), "{}", shown.out);
    assert_eq!(place.run(["purge", "--older-than", "0s", "--yes"]).code, Some(0));
    let said = place.run(["add"].into_iter().chain(daily));
    assert!(said.out == format!("{id}\n") && said.err.contains("is gone, and has"), "{said:?}");
}

#[test]
fn a_job_that_waits_is_replaced() {
    let place = Place::new();
    let id = place.add(["--unique", "k", "--delay", "1h", "--tag", "a", "--", "false"]);
    let shown = place.run(["show", &id.to_string()]);
    assert!(shown.out.contains("taken until it has ended"), "{}", shown.out);
    let said = place.run(["add", "--unique", "k", "--on-conflict", "replace-args", "--", "echo", "args"]);
    assert_eq!((said.code, said.out), (Some(0), format!("{id}\n")));
    assert!(
        said.err.contains(&format!("replaced what waited: job {id} has this unique key")),
        "{}",
        said.err
    );
    assert_eq!(place.record(id).tag.as_deref(), Some("a"));
    let json = place.run(["add", "--json", "--unique", "k", "--on-conflict", "replace", "--", "echo", "all"]);
    assert_eq!(json.out, format!("{{\"task_id\":{id},\"existing\":true,\"replaced\":true}}\n"));
    drain(&place);
    assert_eq!(stdout(&place, id), "all\n");
    // In lines of JSON, and with a bound of its own.
    let line = |n: u32| {
        format!(
            r#"{{"argv": ["echo", "{n}"], "delay": "1h", "unique": "d", "until_started": true, "for": "2h", "on_conflict": "debounce=90m"}}"#
        )
    };
    let said = place.feed(&format!("{}\n{}", line(1), line(2)), ["add", "--from", "jsonl", "--json"]);
    let answers: Vec<&str> = said.out.lines().collect();
    assert!(
        answers[0].contains("\"existing\":false") && answers[1].contains("\"replaced\":true"),
        "{said:?}"
    );
    let id: TaskId = serde_json::from_str::<serde_json::Value>(answers[0]).unwrap()["task_id"]
        .to_string()
        .parse()
        .unwrap();
    let shown = place.run(["show", &id.to_string()]);
    assert!(
        shown.out.contains("taken until it starts, and until") && shown.out.contains("in any case"),
        "{}",
        shown.out
    );
    assert!(place.record(id).unique.is_some_and(|key| key.until_started && key.held));
}

#[test]
fn options_of_a_unique_key_are_refused_with_what_to_type() {
    let place = Place::new();
    for (words, part) in [
        (&["--until-started"][..], "--unique"),
        (&["--for", "1h"], "--unique"),
        (&["--on-conflict", "replace"], "--unique"),
        (&["--unique", "k", "--for", "1"], "it has no unit"),
        (&["--unique", "k", "--for", "0s"], "--for is zero"),
        (
            &["--unique", "k", "--on-conflict", "merge"],
            "it is keep, replace, replace-args, debounce, or debounce=MAX_WAIT",
        ),
        (&["--unique", "k", "--on-conflict", "debounce"], "needs a delay"),
        (
            &["--unique", "k", "--on-conflict", "debounce", "--at", "2099-01-01"],
            "goes with --delay and not with --at",
        ),
        (
            &["--unique", "k", "--on-conflict", "debounce=1m", "--delay", "1h"],
            "MAX_WAIT \"1m\" is shorter than the delay, 1h",
        ),
    ] {
        let said = place.run(["add"].iter().chain(words).chain(&["--", "true"]));
        assert_eq!(said.code, Some(2), "{words:?}: {said:?}");
        assert!(said.err.contains(part), "{words:?}: {}", said.err);
    }
    assert!(!place.path("tasks.db").exists());
}

#[test]
fn many_jobs_come_from_the_standard_input() {
    let place = Place::new();
    let said = place
        .feed("# three\necho 'a b'\n\ntrue\nsh -c 'exit 0'\n", ["add", "--from", "lines", "--tag", "many"]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), "1\n2\n3\n"), "{said:?}");
    let json = r#"{"argv": ["sh", "-c", "printf %s \"$1\" | od -An -tx1", "sh", [255, 65]], "priority": 3, "tag": "one"}
{"command": "echo hi | tr h H", "shell": true, "queue": "shells", "env": {"A": "b"}, "max_attempts": 9}"#;
    let said = place.feed(json, ["add", "--from", "jsonl", "--tag", "many"]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), "4\n5\n"), "{said:?}");
    assert_eq!(drain(&place).code, Some(0));
    let [four, five] = [4, 5].map(TaskId::from_i64);
    assert_eq!((stdout(&place, four).trim(), stdout(&place, five).trim()), ("ff 41", "Hi"));
    let (four, five) = (place.record(four), place.record(five));
    assert_eq!((four.priority, four.tag.as_deref()), (3, Some("one")));
    assert_eq!((five.queue.as_str(), five.tag.as_deref(), five.max_attempts), ("shells", Some("many"), 9));
}

#[test]
fn what_is_no_command_is_refused_at_once() {
    let place = Place::new();
    for (words, why) in [
        (&["add"][..], "--from lines"),
        (&["add", "--max-attemps", "1", "true"], "add has no option --max-attemps"),
        (&["add", "--", "-x"], "a program of that name is ./-x"),
    ] {
        let said = place.run(words);
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{said:?}");
        assert!(said.err.contains(why), "{said:?}");
    }
    assert!(!place.path("tasks.db").exists());
}

#[test]
fn one_wrong_line_keeps_all_out() {
    let place = Place::new();
    place.add(["--", "true"]);
    let long = format!("{{\"argv\": [\"true\"], \"queue\": \"{}\"}}", "q".repeat(201));
    for (format, wrong, named) in [
        ("lines", "echo 'a", "line 3: a quote is not closed"),
        ("jsonl", r#"{"argv": ["true"], "delay": "soon"}"#, "line 3: delay"),
        ("jsonl", r#"{"argv": ["true"], "colour": "red"}"#, "line 3: colour: there is no such key"),
        ("jsonl", r#"{"argv": ["true"], "max_attempts": 101}"#, "line 3: max_attempts"),
        ("jsonl", &long, "line 3: queue"),
    ] {
        let good = if format == "lines" { "true" } else { r#"{"argv": ["true"]}"# };
        let said = place.feed(&format!("{good}\n{good}\n{wrong}\n{good}\n"), ["add", "--from", format]);
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{said:?}");
        assert!(said.err.contains(named) && said.err.contains("nothing was added"), "{said:?}");
        assert_eq!(place.queue().counts().unwrap().total().all(), 1);
    }
}

#[test]
fn priority_and_delay_decide_what_runs_when() {
    let place = Place::new();
    let low = place.add(["--shell", "echo low >> order"]);
    place.add(["--priority", "5", "--shell", "echo high >> order"]);
    let later = place.add(["--delay", "1h", "--shell", "echo later >> order"]);
    let at = place.add(["--at", "2999-01-01T00:00:00Z", "--shell", "echo at >> order"]);
    let said = place.run(["work", "--drain", "--workers", "1"]);
    assert!(said.err.contains("2 tasks wait"), "{said:?}");
    assert_eq!(place.read("order"), "high\nlow\n");
    assert_eq!(place.record(low).state, State::Succeeded);
    assert_eq!([later, at].map(|id| place.record(id).hold), [Some(Hold::Time); 2]);
    assert_eq!(place.record(at).run_at.unwrap().to_string(), "2999-01-01T00:00:00.000Z");
}

#[test]
fn a_worker_of_some_queues_leaves_the_others_alone() {
    let place = Place::new();
    let mine = place.add(["--queue", "mine", "--", "true"]);
    let other = place.add(["--queue", "other", "--", "true"]);
    assert_eq!(place.run(["work", "--drain", "--queue", "mine"]).code, Some(0));
    assert_eq!([mine, other].map(|id| place.record(id).state), [State::Succeeded, State::Queued]);
}

#[test]
fn a_worker_in_json_writes_the_record_of_each_job() {
    let place = Place::new();
    place.add(["--", "true"]);
    let said = place.run(["work", "--drain", "--json"]);
    let record: perdura::TaskRecord = serde_json::from_str(said.out.trim()).unwrap();
    assert_eq!((record.task_id, record.state), (TaskId::from_i64(1), State::Succeeded));
}

#[test]
fn a_running_job_is_cancelled_with_its_group() {
    let place = Place::new();
    let id = place.add(["--shell", "echo $$ > pid; sleep 1000 & echo $! > child; wait"]);
    let worker = place.start(place.command(["work", "--drain"]));
    await_that("the job has begun", || !place.read("child").is_empty());
    place.queue().cancel(id).unwrap();
    assert_eq!(worker.end().code, Some(0));
    assert_eq!(place.record(id).state, State::Cancelled);
    assert!(is_gone(&place.read("pid")) && is_gone(&place.read("child")));
}

#[test]
fn follow_shows_what_a_job_writes_while_it_runs() {
    let place = Place::new();
    let id = place
        .add(["--shell", "echo one; echo problem >&2; until [ -e go ]; do sleep 0.02; done; printf two"]);
    let follower = place.start(place.command(["follow", &id.to_string()]));
    await_that("it says that the job waits", || follower.err().contains("queued and ready"));
    let worker = place.start(place.command(["work", "--drain"]));
    await_that("the first line is shown while the job runs", || follower.out() == "one\n");
    assert_eq!(place.record(id).state, State::Running);
    std::fs::write(place.path("go"), "").unwrap();
    let said = follower.end();
    assert_eq!((said.code, said.out.as_str()), (Some(0), "one\ntwo"));
    assert!(said.err.ends_with("problem\n"), "{}", said.err);
    assert_eq!(worker.end().code, Some(0));
}

#[test]
fn follow_tells_of_retries_and_ends_with_the_job() {
    let place = Place::new();
    let script = r#"printf '\033[31m%s' "$PERDURA_ATTEMPT"; exit 4"#;
    let id = place.add(["--max-attempts", "2", "--backoff", "1s", "--shell", script]);
    let worker = place.start(place.command(["work"]));
    let said = place.run(["follow", &id.to_string()]);
    assert_eq!((said.code, said.out.as_str()), (Some(1), "\u{1b}[31m1\u{1b}[31m2"), "{said:?}");
    assert!(
        said.err.contains("attempt 1 of 2 failed: exit code 4; task 1 is queued and waits until"),
        "{said:?}"
    );
    assert!(said.err.contains("it is FAILED in attempt 2 of 2: exit code 4"), "{said:?}");
    drop(worker);
    let missing = place.run(["follow", "77"]);
    assert_eq!(missing.code, Some(3), "{missing:?}");
}

#[test]
fn follow_says_how_much_was_left_out() {
    let place = Place::new();
    let id = place.add(["--shell", r#"head -c 300000 /dev/zero | tr "\0" x; echo end"#]);
    drain(&place);
    let said = place.run(["follow", &id.to_string()]);
    assert!(said.out.ends_with("xend\n") && said.out.len() < 100_000);
    assert!(said.err.contains("KiB of its stdout were not kept"), "{}", said.err);
}

/// What keeps every job from being started is no fault of any. Nothing is written into what a planted lock file reaches.
#[test]
fn a_worker_that_can_start_no_job_says_why_and_costs_no_attempt() {
    let place = Place::new();
    let id = place.add(["--max-attempts", "1", "--", "echo", "done"]);
    let (lock, precious) = (place.path("tasks.db-jobs"), place.path("precious"));
    std::fs::write(&precious, "precious").unwrap();
    for (plant, problem) in [("folder", "Is a directory"), ("link", "no plain file with one name")] {
        match plant {
            "folder" => std::fs::create_dir(&lock).unwrap(),
            _ => std::fs::hard_link(&precious, &lock).unwrap(),
        }
        let said = drain(&place);
        assert_eq!(said.code, Some(4), "{said:?}");
        assert!(
            said.err.contains("costs it no attempt") && said.err.contains("no job can be started"),
            "{said:?}"
        );
        assert!(said.err.contains("tasks.db-jobs") && said.err.contains(problem), "{said:?}");
        let record = place.record(id);
        assert_eq!((record.state, record.attempt_number), (State::Queued, 0));
        match plant {
            "folder" => std::fs::remove_dir(&lock).unwrap(),
            _ => std::fs::remove_file(&lock).unwrap(),
        }
    }
    assert_eq!(std::fs::read(&precious).unwrap(), b"precious");
    assert_eq!(drain(&place).code, Some(0));
    let record = place.record(id);
    assert_eq!((record.state, record.attempt_number), (State::Succeeded, 1));
    assert_eq!(place.queue().attempts(id).unwrap(), [], "nothing went wrong");
}

#[test]
fn a_worker_whose_owner_file_cannot_be_used_ends_and_says_what_to_mend() {
    let place = Place::new();
    let id = place.add(["--", "true"]);
    std::fs::create_dir(place.path("tasks.db-owner")).unwrap();
    let said = drain(&place);
    assert_eq!(said.code, Some(4), "{said:?}");
    assert!(said.err.contains("tasks.db-owner") && said.err.contains("move it away"), "{said:?}");
    assert!(!said.err.contains("another process"), "{said:?}");
    std::fs::remove_dir(place.path("tasks.db-owner")).unwrap();
    assert_eq!(drain(&place).code, Some(0));
    assert_eq!(place.record(id).state, State::Succeeded);
}

#[test]
fn a_worker_says_once_what_keeps_all_that_is_left_waiting() {
    let place = Place::new();
    place.add(["--queue", "c", "--", "true"]);
    assert_eq!(place.run(["pause", "c"]).code, Some(0));
    let first = place.start(place.command(["work"]));
    await_that("the word on paused queues", || {
        first.err().contains("nothing to run: 1 task in paused queues (c)")
    });
    place.add(["--queue", "c", "--", "true"]);
    place.add(["--queue", "d", "--delay", "1h", "--", "true"]);
    assert_eq!(place.run(["pause", "d"]).code, Some(0));
    await_that("the word on one more queue", || first.err().contains("3 tasks in paused queues (c, d)"));
    assert_eq!(first.err().matches("nothing to run").count(), 2, "{}", first.err());
    assert_eq!(place.run(["resume", "c"]).code, Some(0));
    let has_succeeded = |id: u32| place.record(id.to_string().parse().unwrap()).state == State::Succeeded;
    await_that("both jobs of the queue", || has_succeeded(1) && has_succeeded(2));
    drop(first);
    let owner = place.start(place.command(["work", "--queue", "a"]));
    await_that("an owner", || place.run(["stats"]).out.contains("runs the tasks of this file"));
    place.add(["--queue", "c", "--", "true"]);
    let second = place.start(place.command(["work", "--drain", "--queue", "c"]));
    await_that("the word on the other process", || {
        second.err().contains("the other process does not take the queues of 1 task (c)")
    });
    drop(owner);
    let said = second.end();
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(said.err.matches("does not take").count(), 1, "{said:?}");
}
