//! What is refused, with which exit code, and in whose words. One rule for all verbs: 2, the command line is wrong for any file; 3,
//! the queue refuses it; 4, a file, a folder, the disk or the terminal is not as it must be.

use std::process::Command;

use crate::support::{Place, Said};

/// Without Rust, and in a line or two that begin as all complaints do.
#[track_caller]
fn is_plain(said: &Said, words: &[&str]) {
    let err = &said.err;
    assert!(err.starts_with("perdura: ") && err.lines().count() <= 2, "{words:?}: {said:?}");
    for rust in [
        "(true)",
        "::",
        "os error",
        "..=",
        "error:",
        "invalid digit",
        "For more information",
        "invalid value",
    ] {
        assert!(!err.contains(rust), "{words:?} speaks of {rust:?}: {said:?}");
    }
}

#[test]
fn every_refusal_has_the_exit_code_of_its_kind_and_leaves_nothing() {
    let place = Place::new();
    place.add(["--max-attempts", "1", "--", "false"]);
    assert_eq!(place.run(["work", "--drain"]).code, Some(1));
    assert_eq!(place.run(["export", "whole.jsonl"]).code, Some(0));
    let export = place.read("whole.jsonl");
    std::fs::write(place.path("cut.jsonl"), &export[..export.len() / 2]).unwrap();
    std::fs::write(place.path("there"), "").unwrap();
    std::fs::create_dir(place.path("folder")).unwrap();
    let before = names(&place);
    let refusals: [(i32, &[&[&str]]); 3] = [
        (
            2,
            &[
                &["nope"],
                &["list", "--nope"],
                &["list", "--state", "nope"],
                &["list", "--limit", "0"],
                &["add", "cat x | wc -l"],
                &["list", "--text", ""],
                &["show", "x"],
                &["show", "1", "--generation", "x"],
                &["backup"],
                &["backup", "a", "b"],
                &["purge"],
                &["delete", "--all"],
                &["retry"],
                &["retry", "1", "--all"],
                &["stats", "--since", "25h"],
                &["report", "--since", "25h"],
                &["watch", "--json"],
                &["watch", "--every", "1"],
                &["completions", "nope"],
                &["--db", "", "list"],
                &["--db", "new.db", "add"],
                &["--db", "new.db", "add", "--queue", "", "--", "true"],
                &["--db", "new.db", "add", "--tag", "a\nb", "--", "true"],
                &["--db", "new.db", "add", "--unique", "", "--", "true"],
                &["--db", "new.db", "add", "--max-attempts", "101", "--", "true"],
                &["--db", "new.db", "add", "--timeout", "0s", "--", "true"],
                &["--db", "new.db", "add", "--delay=-5s", "--", "true"],
                &["--db", "new.db", "add", "--delay", "5", "--", "true"],
                &["--db", "new.db", "add", "--delay", "2h", "--expires", "1h", "--", "true"],
                &["--db", "new.db", "add", "--delay", "2h", "--at", "08:00", "--", "true"],
                &["--db", "new.db", "add", "--at", "2099-01-01", "--expires", "1h", "--", "true"],
                &["--db", "new.db", "work", "--queue="],
                &["--db", "new.db", "work", "--workers", "0"],
                &["--db", "new.db", "work", "--workers", "1025"],
                &["--db", "new.db", "work", "--keep", "0s"],
                &["--db", "new.db", "work", "--keep", "11years"],
                &["--db", "new.db", "work", "--grace", "x"],
            ],
        ),
        (
            3,
            &[
                &["show", "9"],
                &["show", "1", "--generation", "7"],
                &["explain", "9"],
                &["retry", "9"],
                &["run-now", "1"],
                &["dead", "show", "1"],
                &["dead", "replay", "1"],
                &["follow", "9"],
            ],
        ),
        (
            4,
            &[
                &["--db", "none.db", "list"],
                &["--db", "nodir/new.db", "list"],
                &["--db", "nodir/new.db", "add", "--", "true"],
                &["--db", "nodir/new.db", "init"],
                &["--db", "nodir/new.db", "import", "whole.jsonl"],
                &["--db", "folder", "add", "--", "true"],
                &["--db", "there/new.db", "add", "--", "true"],
                &["--db", ":memory:", "add", "--", "true"],
                &["--db", "whole.jsonl", "add", "--", "true"],
                &["--db", "whole.jsonl", "list"],
                &["import", "whole.jsonl"],
                &["--db", "new.db", "import", "cut.jsonl"],
                &["--db", "new.db", "import", "none.jsonl"],
                &["--db", "new.db", "import", "folder"],
                &["export", "there"],
                &["export", "nodir/copy"],
                &["backup", "there"],
                &["backup", "nodir/copy"],
                &["report", "-o", "there"],
                &["report", "-o", "nodir/page"],
                &["report", "-o", "folder"],
                &["man", "there"],
                &["watch"],
            ],
        ),
    ];
    for (code, all) in refusals {
        for words in all {
            if cfg!(not(feature = "tui")) && words[0] == "watch"
                || cfg!(not(feature = "report")) && words[0] == "report"
            {
                continue;
            }
            let said = place.run(*words);
            assert_eq!(said.code, Some(code), "{words:?}: {said:?}");
            is_plain(&said, words);
        }
    }
    assert_eq!(names(&place), before, "nothing is made by what is refused");
    for (line, part) in [
        (r#"{"argv":["true"],"queue":""}"#, "line 1: queue \"\" is empty"),
        (r#"{"argv":["true"],"max_attempts":101}"#, "line 1: max_attempts: it is a whole number of 1 to 100"),
        (r#"{"argv":["true"],"delay":"5"}"#, "line 1: delay: \"5\": it has no unit"),
    ] {
        let said = place.feed(line, ["--db", "new.db", "add", "--from", "jsonl"]);
        assert_eq!(said.code, Some(2), "{said:?}");
        assert!(said.err.contains(part) && said.err.contains("nothing was added"), "{said:?}");
    }
    assert!(!place.path("new.db").exists());
    let large = format!("{{\"argv\":[\"true\",\"{}\"]}}", "x".repeat(2 << 20));
    let said = place.feed(&large, ["--db", "new.db", "add", "--from", "jsonl"]);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.err.contains("put them into a file") && !place.path("new.db").exists(), "{said:?}");
}

/// What is in the folder, but for what the tests keep there.
fn names(place: &Place) -> Vec<String> {
    let entries = std::fs::read_dir(place.path("")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> =
        names.filter(|name| !name.ends_with(".out") && !name.ends_with(".err")).collect();
    names.sort();
    names
}

#[test]
fn a_folder_that_is_gone_is_trouble_with_files() {
    let place = Place::new();
    for (words, part) in [
        (&["add", "--", "true"][..], "--dir"),
        (&["add", "--dir", "/", "--", "true"], "the current folder is gone"),
        (&["work", "--drain"], "the current folder is gone"),
        (&["init"], "the current folder is gone"),
        (&["list"], "the current folder is gone"),
        (&["import", "/dev/null"], "the current folder is gone"),
    ] {
        std::fs::create_dir(place.path("gone")).unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-c", "cd gone && rmdir ../gone && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_perdura")]);
        shell.args(words).current_dir(place.path("")).env_remove("PERDURA_DB");
        let said = place.start(shell).end();
        assert_eq!(said.code, Some(4), "{words:?}: {said:?}");
        assert!(said.err.contains(part), "{words:?}: {said:?}");
        is_plain(&said, words);
    }
}

#[test]
fn what_cannot_be_written_is_named_with_what_to_do() {
    let place = Place::new();
    place.add(["--", "true"]);
    let mut all = vec![&["man", "tasks.db/x"][..], &["export", "nodir/x"], &["backup", "nodir/x"]];
    if cfg!(feature = "report") {
        all.push(&["report", "-o", "nodir/x"]);
    }
    for words in all {
        let said = place.run(words);
        assert_eq!(said.code, Some(4), "{said:?}");
        let target = words.last().unwrap();
        assert!(said.err.contains(target) && said.err.contains("; "), "{said:?}");
        is_plain(&said, words);
    }
}

#[test]
fn messages_of_the_library_name_what_can_be_typed() {
    let place = Place::new();
    place.add(["--max-attempts", "1", "--", "false"]);
    assert_eq!(place.run(["work", "--drain"]).code, Some(1));
    assert_eq!(place.run(["move-to-dead", "1"]).code, Some(0));
    assert_eq!(place.run(["dead", "replay", "1"]).code, Some(0));
    let twice = place.run(["dead", "replay", "1"]);
    assert!(twice.code == Some(3) && twice.err.contains("--again makes another"), "{twice:?}");
    assert_eq!(place.run(["dead", "replay", "1", "--again"]).code, Some(0));
    std::fs::write(place.path("empty.db"), "").unwrap();
    let empty = place.run(["--db", "empty.db", "list"]);
    assert!(empty.err.contains("its first task makes it one"), "{empty:?}");
}

#[test]
fn json_is_not_in_the_help_of_verbs_that_refuse_it() {
    let place = Place::new();
    let has_json = |words: &[&str]| {
        let said = place.run(words.iter().chain(&["--help"]));
        assert_eq!(said.code, Some(0), "{said:?}");
        said.out.contains("--json")
    };
    let watch: &[&[&str]] = if cfg!(feature = "tui") { &[&["watch"]] } else { &[] };
    for verb in [&[&["follow"][..], &["completions"], &["man"]][..], watch].concat() {
        assert!(!has_json(verb), "{verb:?}");
    }
    for verb in [&["list"][..], &["show"], &["add"], &["work"], &["dead", "list"], &["doctor"]] {
        assert!(has_json(verb), "{verb:?}");
    }
}

#[test]
fn a_name_that_no_queue_can_have_pauses_none_beside_it() {
    let place = Place::new();
    place.add(["--queue", "good", "--", "touch", "ran"]);
    assert_eq!(place.run(["pause", "good", "b\td"]).code, Some(2));
    assert_eq!(place.run(["work", "--drain", "--queue", "good"]).code, Some(0));
    assert!(place.path("ran").exists(), "it was paused");
}
