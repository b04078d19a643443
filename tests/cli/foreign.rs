//! Files that are not the command's alone: a program's tasks that are called like jobs, and a program's own tables.

use clap::{CommandFactory, Parser};
use perdura::{Context, Failure, Hold, Queue, State, Task};
use serde::{Deserialize, Serialize};

use crate::support::{Place, Said};

/// A program's own task, which has the name that jobs had.
#[derive(Serialize, Deserialize)]
struct Mail {
    to: String,
}

impl Task for Mail {
    const NAME: &'static str = "job";
    type Output = String;
}

/// A job as it was stored under that name.
#[derive(Serialize, Deserialize)]
struct OldJob {
    argv: Vec<String>,
    dir: String,
}

impl Task for OldJob {
    const NAME: &'static str = "job";
    type Output = ();
}

fn drain(place: &Place) -> Said {
    place.run(["work", "--drain"])
}

#[test]
fn a_programs_task_named_job_is_left_to_the_program() {
    let place = Place::new();
    let id = place.queue().enqueue(&Mail { to: "ada".into() }).unwrap().id();
    let old = place.queue().enqueue(&OldJob { argv: vec!["true".into()], dir: "/".into() }).unwrap().id();
    for _ in 0..2 {
        let said = drain(&place);
        assert_eq!(said.code, Some(0), "{said:?}");
        assert!(
            said.err.contains("1 task waits for another program; `perdura explain ID` says for which"),
            "{said:?}"
        );
        let task = place.record(id);
        assert_eq!((task.state, task.hold), (State::Queued, Some(Hold::UnknownName)));
        assert_eq!((task.attempt_number, task.error_type), (0, None));
    }
    assert_eq!(place.record(old).state, State::Succeeded, "a job of an earlier version still runs");
    assert!(place.run(["list"]).out.contains("true"), "and its command is shown");
    let send = |mail: Mail, _: &Context| -> Result<String, Failure> { Ok(mail.to) };
    let program = Queue::builder().handle(send).open(place.path("tasks.db")).unwrap();
    program.wait(id, crate::support::PATIENCE).unwrap();
    assert_eq!(program.result::<Mail>(id).unwrap().as_deref(), Some("ada"));
}

#[test]
fn what_fails_without_being_run_counts_too() {
    let place = Place::new();
    let id = place.add(["true"]);
    let edit = rusqlite::Connection::open(place.path("tasks.db")).unwrap();
    edit.execute("UPDATE perdura_args SET args = '{' WHERE task_id = ?1", [id.as_i64()]).unwrap();
    drop(edit);
    let said = drain(&place);
    assert_eq!(place.record(id).state, State::Failed);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("1 more task failed, which this worker did not run"), "{said:?}");
    assert_eq!(drain(&place).code, Some(0), "it did not fail in this run");
}

/// The verbs that look, that mend, and that run.
fn every_verb(place: &Place) {
    for (line, code) in [
        (&["list"][..], 0),
        (&["show", "1"], 0),
        (&["stats"], 0),
        (&["failures"], 0),
        (&["explain", "1"], 0),
        (&["doctor"], 0),
        (&["dead", "list"], 0),
        (&["export", "-"], 0),
        (&["add", "--max-attempts", "1", "--", "false"], 0),
        (&["work", "--drain", "--quiet"], 1),
        (&["retry", "--all", "--yes"], 0),
        (&["cancel", "--all", "--yes"], 0),
        (&["pause", "default"], 0),
        (&["resume", "default"], 0),
        (&["purge", "--older-than", "1h", "--yes"], 1),
        (&["delete", "--all", "--yes"], 0),
    ] {
        let said = place.run(line);
        assert_eq!(said.code, Some(code), "{line:?}: {said:?}");
    }
}

#[test]
fn every_verb_takes_a_file_with_tables_of_others_and_leaves_these_alone() {
    let place = Place::new();
    let file = place.path("tasks.db");
    place.add(["true"]);
    let program = rusqlite::Connection::open(&file).unwrap();
    program.execute_batch("CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq); INSERT INTO _litestream_seq VALUES (1, 7)").unwrap();
    every_verb(&place);
    assert_eq!(place.run(["backup", "copy.db"]).code, Some(0));
    let seq = |db: &rusqlite::Connection| {
        db.query_row("SELECT seq FROM _litestream_seq", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert_eq!(seq(&program), 7);
    assert_eq!(seq(&rusqlite::Connection::open(place.path("copy.db")).unwrap()), 7, "a copy has all of it");
}

#[test]
fn a_database_that_has_nothing_of_ours_is_left_as_it_is() {
    let place = Place::new();
    let file = place.path("tasks.db");
    let program = rusqlite::Connection::open(&file).unwrap();
    program.execute_batch("CREATE TABLE bookmarks (x)").unwrap();
    drop(program);
    let before = std::fs::read(&file).unwrap();
    for line in [&["list"][..], &["add", "--", "true"], &["work", "--drain"], &["init"]] {
        let said = place.run(line);
        assert_eq!(said.code, Some(4), "{line:?}: {said:?}");
        assert!(said.err.contains("another program's database"), "{said:?}");
    }
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

/// A program that offers the verbs for its own file.
#[derive(Debug, Parser)]
#[command(name = "notes")]
enum Notes {
    /// Look at the tasks, and mend them
    Tasks(perdura::cli::Command),
}

#[test]
fn mounted_verbs_are_the_programs_and_take_its_file_alone() {
    let place = Place::new();
    place.add(["true"]);
    let run = |words: &[&str]| {
        let Notes::Tasks(command) = Notes::try_parse_from(["notes", "tasks"].iter().chain(words)).unwrap();
        format!("{:?}", command.run_on(place.path("tasks.db")))
    };
    assert_eq!(run(&["pause", "default"]), format!("{:?}", std::process::ExitCode::SUCCESS));
    assert!(place.queue().counts().unwrap().queues["default"].paused);
    for words in [
        &["init"][..],
        &["import", "x"],
        &["completions", "bash"],
        &["man"],
        &["add", "true"],
        &["work"],
        &["list", "--db", "other.db"],
    ] {
        assert!(Notes::try_parse_from(["notes", "tasks"].iter().chain(words)).is_err(), "{words:?}");
    }
    let mut grammar = Notes::command();
    let tasks = grammar.find_subcommand_mut("tasks").unwrap();
    let mut help = tasks.render_long_help().to_string();
    for verb in tasks.get_subcommands_mut() {
        help += &verb.render_long_help().to_string();
    }
    for word in ["PERDURA_DB", "--db", "perdura "] {
        assert!(!help.contains(word), "{word} is in\n{help}");
    }
}
