//! What a day with the command needs: wait for all, whole logs, templates, surroundings of a job, and jobs once more.

use std::os::unix::fs::PermissionsExt;

use perdura::{OutputStream, State};

use crate::jobs::output;
use crate::support::{Place, await_that};

#[test]
fn until_done_waits_for_retries_and_says_whether_all_have_succeeded() {
    let place = Place::new();
    let third = place.add(["--backoff", "50ms", "--shell", "test $PERDURA_ATTEMPT = 3"]);
    let delayed = place.add(["--delay", "300ms", "--", "true"]);
    let said = place.run(["work", "--until-done", "--workers", "2"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(place.record(third).attempt_number, 3);
    assert_eq!(place.record(delayed).state, State::Succeeded);
    let bad = place.add(["--backoff", "50ms", "--max-attempts", "2", "--", "false"]);
    let said = place.run(["work", "--until-done"]);
    assert_eq!((said.code, place.record(bad).state), (Some(1), State::Failed), "{said:?}");
}

#[test]
fn a_drain_ends_when_its_file_stays_away() {
    let place = Place::new();
    place.add(["--shell", "mv tasks.db away.db; sleep 0.2"]);
    place.add(["--", "true"]);
    let said = place.run(["work", "--drain", "--workers", "1"]);
    assert_eq!(said.code, Some(4), "{said:?}");
    assert!(said.err.contains("cannot be run, trying again each second:"), "{said:?}");
    assert!(said.err.contains("put it back, or end this command and start it again"), "{said:?}");
}

/// A backup is put back while a worker runs. That keeps the lock of the path, so nobody else would run the tasks.
#[test]
fn a_worker_ends_when_another_file_has_taken_the_place_of_its_own() {
    let place = Place::new();
    let id = place.add(["--", "true"]);
    assert_eq!(place.run(["backup", "copy.db"]).code, Some(0));
    let worker = place.start(place.command(["work"]));
    await_that("the job has run", || place.record(id).state == State::Succeeded);
    std::fs::rename(place.path("copy.db"), place.path("tasks.db")).unwrap();
    let said = worker.end();
    assert_eq!(said.code, Some(4), "{said:?}");
    assert!(said.err.contains("put it back, or end this command and start it again"), "{said:?}");
    assert_eq!(place.run(["work", "--drain"]).code, Some(0));
}

#[test]
fn until_done_leaves_what_starts_much_later_and_counts_it_apart() {
    let place = Place::new();
    place.add(["--delay", "2h", "--", "true"]);
    place.add(["--queue", "closed", "--", "true"]);
    assert_eq!(place.run(["pause", "closed"]).code, Some(0));
    let said = place.run(["work", "--until-done"]);
    assert_eq!(said.code, Some(0), "nothing has failed: {said:?}");
    assert!(said.err.contains("1 task waits for a later time or a retry; the next falls due in"), "{said:?}");
    assert!(said.err.contains("1 task waits in the queue \"closed\", which is paused"), "{said:?}");
    let failed = place.add(["--backoff", "30m", "--", "false"]);
    let said = place.run(["work", "--until-done=1s"]);
    assert_eq!(said.code, Some(1), "one has failed and its retry is far: {said:?}");
    assert_eq!(place.record(failed).state, State::Queued);
}

#[test]
fn wait_says_whether_all_have_succeeded() {
    let place = Place::new();
    let good = place.add(["--", "sleep", "0.2"]).to_string();
    let bad = place.add(["--max-attempts", "1", "--shell", "echo why >&2; exit 3"]).to_string();
    let early = place.run(["wait", &good, "--timeout", "50ms"]);
    assert_eq!(early.code, Some(1), "{early:?}");
    assert!(early.err.contains("no worker runs") && early.err.contains("task 1 has not ended"), "{early:?}");
    let both = place.start(place.command(["wait", "--all"]));
    let worker = place.run(["work", "--drain", "-q"]);
    assert_eq!(worker.code, Some(1), "{worker:?}");
    let both = both.end();
    assert_eq!(both.code, Some(1), "{both:?}");
    assert!(both.err.contains("task 2 FAILED: sh -c") && both.err.contains("exit code 3: why"), "{both:?}");
    assert!(both.err.contains("1 of 2 tasks succeeded"), "{both:?}");
    let json = place.run(["wait", &good, "--json"]);
    assert_eq!(json.code, Some(0), "{json:?}");
    let answer: serde_json::Value = serde_json::from_str(json.out.trim()).unwrap();
    assert_eq!((&answer["state"], &answer["command"]), (&"SUCCEEDED".into(), &"sleep 0.2".into()));
    assert_eq!(place.run(["wait", &bad]).code, Some(1));
    let (first, second) = (place.add(["--delay", "1h", "--", "true"]), place.add(["--", "true"]));
    let long =
        place.start(place.command(["wait", &first.to_string(), &second.to_string(), "--timeout", "20s"]));
    place.run(["work", "--drain", "-q"]);
    await_that("both are looked at", || {
        place.run(["delete", &second.to_string()]);
        place.run(["run-now", &first.to_string()]).code == Some(0)
    });
    place.run(["work", "--drain", "-q"]);
    let long = long.end();
    assert!(long.err.contains("2 tasks succeeded") || long.err.contains("task 4 is gone"), "{long:?}");
    assert_eq!(place.run(["wait", "99"]).code, Some(3), "there is none");
    assert_eq!(place.run(["wait"]).code, Some(2));
    assert_eq!(place.run(["wait", "--all"]).code, Some(0), "nothing is left to wait for");
    let ended = place.run(["wait", "--state", "failed,succeeded"]);
    assert!(
        ended.code == Some(0) && ended.err.contains("nothing to wait for"),
        "of none that has ended: {ended:?}"
    );
}

#[test]
fn a_job_that_waits_for_itself_is_refused() {
    let place = Place::new();
    let waits = format!("{} wait $PERDURA_TASK_ID", env!("CARGO_BIN_EXE_perdura"));
    let id = place.add(["--max-attempts", "1", "--shell", &waits]);
    place.run(["work", "--drain"]);
    assert!(output(&place, id, OutputStream::Stderr).0.contains("would wait for itself"));
}

#[test]
fn whole_logs_are_kept_by_choice_and_bounded() {
    let place = Place::new();
    let long = place.add(["--shell", "seq 100000; echo oops >&2"]);
    let short = place.add(["--", "true"]);
    let said = place.run(["work", "--drain", "--log-dir", "logs"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let log = |name: String| place.read(&format!("logs/{name}"));
    let wanted: String = (1..=100_000).map(|n| format!("{n}\n")).collect();
    assert!(log(format!("{long}-1.out")) == wanted, "all of it, beyond what the file keeps");
    assert_eq!(log(format!("{long}-1.err")), "oops\n");
    assert!(!place.path(&format!("logs/{short}-1.out")).exists(), "no file for no output");
    let mode = place.path(&format!("logs/{long}-1.out")).metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let cut = place.add(["--shell", "seq 100000"]);
    place.run(["work", "--drain", "--log-dir", "logs", "--log-max", "1000"]);
    let log = log(format!("{cut}-1.out"));
    let again = place.run(["rerun", &cut.to_string()]);
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(log.starts_with("1\n2\n") && log.ends_with("see --log-max]\n") && log.len() < 1200, "{log}");
    place.add(["--", "true"]);
    let said = place.run(["work", "--drain", "--log-dir", "tasks.db"]);
    assert_eq!(said.code, Some(4), "{said:?}");
    assert!(said.err.contains("--log-dir: tasks.db cannot be made"), "{said:?}");
}

#[test]
fn logs_of_another_file_stay_and_a_pipe_in_their_place_is_left_alone() {
    let (place, other) = (Place::new(), Place::new());
    for place in [&place, &other] {
        place.add(["--", "echo", "a"]);
    }
    let logs = place.path("logs");
    std::fs::create_dir(&logs).unwrap();
    let made = std::process::Command::new("mkfifo").arg(logs.join("1-1.out")).status().unwrap();
    assert!(made.success());
    for place in [&place, &other] {
        let said = place.run(["work", "--drain", "--log-dir", logs.to_str().unwrap()]);
        assert_eq!(said.code, Some(0), "{said:?}");
    }
    for name in ["1-1-2.out", "1-1-3.out"] {
        assert_eq!(std::fs::read_to_string(logs.join(name)).unwrap(), "a\n", "{name}");
    }
}

#[test]
fn a_log_that_cannot_be_written_holds_no_job_up() {
    let place = Place::new();
    let id = place.add(["--shell", "rm -rf logs; echo a; echo b >&2"]);
    let said = place.run(["work", "--drain", "--log-dir", "logs"]);
    assert_eq!((said.code, place.record(id).state), (Some(0), State::Succeeded), "{said:?}");
    assert_eq!(said.err.matches("cannot be written").count(), 1, "{said:?}");
    assert_eq!(output(&place, id, OutputStream::Stdout).0, "a\n");
}

#[test]
fn a_template_makes_a_job_of_each_item() {
    let place = Place::new();
    let said = place.feed("a b.log\n\nit's.txt\r\n", ["add", "--template", "printf %s-%s {} {.}"]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), "1\n2\n"), "{said:?}");
    let said = place.feed("x\ny\0z\0", ["add", "--from0", "--template", "printf '%s;' {}", "--shell"]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), "3\n4\n"), "{said:?}");
    assert_eq!(place.run(["work", "--drain"]).code, Some(0));
    let outputs: Vec<String> =
        [1, 2, 3, 4].map(|id| output(&place, perdura::TaskId::from_i64(id), OutputStream::Stdout).0).to_vec();
    assert_eq!(outputs, ["a b.log-a b", "it's.txt-it's", "x\ny;", "z;"]);
    for (words, part) in [
        (&["--template", "a 'b"][..], "--template: a quote is not closed"),
        (&["--template", ""], "--template: it names no program"),
        (&["--from0"], "--template <COMMAND> is missing"),
        (&["--template", "a", "--", "b"], "exclude each other"),
    ] {
        let said = place.feed("x\n", ["add"].iter().chain(words));
        assert_eq!(said.code, Some(2), "{words:?}: {said:?}");
        assert!(said.err.contains(part), "{words:?}: {said:?}");
    }
}

#[test]
fn a_job_may_keep_the_surroundings_of_who_adds_it() {
    let place = Place::new();
    let shell = format!(
        "umask 027; COLOR=red {} add --keep-env --env MINE=1 --shell 'echo $COLOR $MINE $WORKERS; umask; echo $PWD'",
        env!("CARGO_BIN_EXE_perdura")
    );
    let mut command = std::process::Command::new("/bin/sh");
    command.args(["-c", &shell]).current_dir(place.path("")).env("PERDURA_DB", place.path("tasks.db"));
    assert!(command.status().unwrap().success());
    let mut worker = place.command(["work", "--drain"]);
    worker.env("COLOR", "blue").env("WORKERS", "yes");
    assert_eq!(place.start(worker).end().code, Some(0));
    let folder = place.path("").canonicalize().unwrap();
    let wanted = format!("red 1\n0027\n{}\n", folder.display());
    assert_eq!(output(&place, perdura::TaskId::from_i64(1), OutputStream::Stdout).0, wanted);
}

#[test]
fn a_job_reads_a_file_and_is_nice() {
    let place = Place::new();
    std::fs::write(place.path("in"), "from a file\n").unwrap();
    let reads = place.add(["--stdin", "in", "--nice", "7", "--shell", "cat; nice"]);
    let waits = place.add(["--stdin", "gone", "--backoff", "50ms", "--", "cat"]);
    assert_eq!(place.run(["work", "--drain"]).code, Some(0));
    let own: i32 = {
        let said = std::process::Command::new("nice").output().unwrap();
        String::from_utf8(said.stdout).unwrap().trim().parse().unwrap()
    };
    let wanted = format!("from a file\n{}\n", (own + 7).min(19));
    assert_eq!(output(&place, reads, OutputStream::Stdout).0, wanted);
    let record = place.record(waits);
    assert_eq!((record.state, record.error_type.as_deref()), (State::Queued, Some("InputNotFound")));
    std::fs::write(place.path("gone"), "there now").unwrap();
    assert_eq!(place.run(["work", "--until-done"]).code, Some(0));
    assert_eq!(output(&place, waits, OutputStream::Stdout).0, "there now");
    let made = std::process::Command::new("mkfifo").arg(place.path("pipe")).status().unwrap();
    assert!(made.success());
    let pipe = place.add(["--stdin", "pipe", "--max-attempts", "1", "--", "cat"]);
    assert_eq!(place.run(["work", "--drain"]).code, Some(1), "it does not wait for a writer");
    assert!(place.record(pipe).error_message.unwrap().contains("pipe cannot be read: it is no file"));
    for (option, value, why) in
        [("--nice", "20", "it is a whole number of 1 to 19"), ("--name", "a\nb", "no control characters")]
    {
        let said = place.run(["add", option, value, "--", "true"]);
        assert_eq!(said.code, Some(2), "{said:?}");
        assert!(said.err.contains(why), "{said:?}");
    }
}

#[test]
fn a_job_that_has_ended_runs_again_as_a_new_one() {
    let place = Place::new();
    let id = place.add(["--name", "greet", "--tag", "t", "--priority", "5", "--", "echo", "hi"]);
    assert_eq!(place.run(["rerun", &id.to_string()]).code, Some(3), "it has not ended");
    place.run(["work", "--drain"]);
    let said = place.run(["rerun", &id.to_string()]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), "2\n"), "{said:?}");
    let again = place.record(perdura::TaskId::from_i64(2));
    assert_eq!((again.priority, again.tag.as_deref()), (5, Some("t")));
    let said = place.run(["work", "--drain"]);
    assert!(said.err.contains("greet: echo hi"), "{said:?}");
    assert_eq!(output(&place, again.task_id, OutputStream::Stdout).0, "hi\n");
    place.add(["--serial", "k", "--", "true"]);
    place.run(["work", "--drain"]);
    let said = place.run(["rerun", "3"]);
    assert_eq!(said.code, Some(3), "{said:?}");
    assert!(said.err.contains("had a key"), "{said:?}");
}

#[test]
fn commands_are_told_of_ends() {
    let place = Place::new();
    place.add(["--", "echo", "fine"]);
    place.add(["--max-attempts", "2", "--backoff", "0s", "--shell", "exit 9"]);
    let told = "echo \"$PERDURA_TASK_ID $PERDURA_STATE $PERDURA_COMMAND $PERDURA_ERROR_TYPE ${PERDURA_DB##*/}\" >> told";
    let mut worker = place.command([
        "--db",
        "tasks.db",
        "work",
        "--drain",
        "-q",
        "--on-success",
        told,
        "--on-failure",
        told,
    ]);
    worker.env_remove("PERDURA_DB");
    let said = place.start(worker).end();
    assert_eq!(said.code, Some(1), "{said:?}");
    let told = place.read("told");
    let mut lines: Vec<&str> = told.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        ["1 SUCCEEDED echo fine  tasks.db", "2 FAILED sh -c 'exit 9' ExitCode.9 tasks.db"],
        "once each"
    );
}

#[test]
fn adding_to_a_file_leaves_a_short_wal_that_the_next_one_goes_on_with() {
    let place = Place::new();
    let wal = || place.path("tasks.db-wal").metadata().map_or(0, |found| found.len());
    place.add(["--", "true"]);
    assert_eq!(wal(), 0, "whoever makes a file leaves it whole");
    let second = place.add(["--", "true"]);
    assert!(wal() > 0, "what has no WAL to go on with syncs five times");
    place.run(["delete", &second.to_string()]);
    assert_eq!(wal(), 0, "other verbs leave the file whole");
    let ids: Vec<i64> = (0..80).map(|_| place.add(["--", "true"]).as_i64()).collect();
    assert_eq!(ids, (3..83).collect::<Vec<_>>());
    assert!(wal() < 2 << 20, "it is copied into the file when it has a megabyte");
    let listed = place.run(["list", "--limit", "200"]);
    assert_eq!(listed.out.lines().count(), 82, "81 tasks and a head: {listed:?}");
    assert_eq!(place.run(["work", "--drain", "-q"]).code, Some(0));
    await_that("the worker leaves no WAL", || wal() == 0);
}

#[test]
fn verbs_have_the_names_of_habit() {
    let place = Place::new();
    let id = place.add(["--", "echo", "a"]).to_string();
    for (habit, verb) in [("ls", "list"), ("status", "stats")] {
        let (one, other) = (place.run([habit, "--json"]), place.run([verb, "--json"]));
        assert_eq!((one.code, one.out.lines().count()), (other.code, other.out.lines().count()), "{habit}");
    }
    place.run(["kill", &id]);
    assert_eq!(place.record(perdura::TaskId::from_i64(1)).state, State::Cancelled);
    assert!(place.run(["log", &id]).out.contains("echo a"));
    assert_eq!(place.run(["rm", &id]).code, Some(0));
    assert_eq!(place.run(["show", &id]).code, Some(3));
}

#[test]
fn a_job_that_waits_can_be_changed() {
    let place = Place::new();
    let id = place.add(["--delay", "1h", "--env", "A=1", "--", "echo", "old"]).to_string();
    let said = place.run(["edit", &id, "--delay", "0s", "--priority", "3", "--", "sh", "-c", "echo new $A"]);
    assert_eq!((said.code, said.err.as_str()), (Some(0), "task 1 is changed\n"), "{said:?}");
    assert_eq!(place.run(["work", "--drain"]).code, Some(0));
    let record = place.record(perdura::TaskId::from_i64(1));
    assert_eq!((record.state, record.priority), (State::Succeeded, 3));
    assert_eq!(output(&place, record.task_id, OutputStream::Stdout).0, "new 1\n");
    for (words, code, part) in [
        (&["edit", "1", "--priority", "1"][..], 3, "task 1 is SUCCEEDED; only QUEUED tasks can be changed"),
        (&["edit", "9", "--priority", "1"], 3, "9"),
        (&["edit", "1"], 2, "edit what?"),
        (&["edit", "1", "--max-attempts", "0"], 2, "1 to 100"),
    ] {
        let said = place.run(words);
        assert_eq!(said.code, Some(code), "{words:?}: {said:?}");
        assert!(said.err.contains(part), "{words:?}: {said:?}");
    }
}
