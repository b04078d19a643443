//! Pages of the documentation that say what is in the tests.
//!
//! After a test of a promise has come or gone: `PERDURA_BLESS=1 cargo test --test it documents` writes the list of docs/trust.md anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

/// The tests of each promise: their files, and their names.
type Tests = BTreeMap<u8, BTreeSet<(String, String)>>;

/// Finds the tests of a folder that carry the number of a promise.
fn tests_below(root: &Path, folder: &str, into: &mut Tests) {
    for entry in std::fs::read_dir(root.join(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{folder}/{}", entry.file_name().to_str().unwrap());
        if entry.path().is_dir() {
            tests_below(root, &path, into);
        } else if path.ends_with(".rs") {
            let text = std::fs::read_to_string(entry.path()).unwrap();
            let names =
                text.split("#[test]").skip(1).filter_map(|after| after.split_once("fn ")?.1.split_once('('));
            for (name, _) in names {
                for promise in promises(name) {
                    into.entry(promise).or_default().insert((path.clone(), name.to_owned()));
                }
            }
        }
    }
}

/// The promises that a test is of: `g05_g08_…` is of two, and `s07_g12_…` of one.
fn promises(test: &str) -> Vec<u8> {
    let number = |part: &str| part.get(1..).filter(|_| part.len() == 3)?.parse::<u8>().ok();
    let numbers = test.split('_').map_while(|part| number(part).map(|n| (part, n)));
    numbers.filter(|(part, _)| part.starts_with('g')).map(|(_, n)| n).collect()
}

/// The list under this line is written by the test below.
const LIST: &str = "\n## Tests of each promise\n";

#[test]
fn the_page_of_trust_lists_every_test_of_each_promise() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tests = Tests::new();
    for folder in ["src", "tests/it", "tests/schedules"] {
        tests_below(root, folder, &mut tests);
    }
    let promised = std::fs::read_to_string(root.join("docs/guarantees.md")).unwrap();
    let titles: Vec<&str> = promised.lines().filter_map(|line| line.strip_prefix("## G")).collect();
    let mut list = String::from("\nWritten from the tests themselves; `tests/it/documents.rs` says how.\n");
    for title in &titles {
        let number = title.split(' ').next().unwrap().parse().unwrap();
        write!(list, "\n### G{title}\n\n").unwrap();
        let tests = tests.remove(&number).unwrap_or_else(|| panic!("promise {number} has no test"));
        for (path, name) in tests {
            writeln!(list, "- [`{name}`](../{path})").unwrap();
        }
    }
    assert!(titles.len() >= 14, "these are not the promises: {titles:?}");
    assert!(tests.is_empty(), "tests of promises that nobody has made: {tests:?}");
    let page = root.join("docs/trust.md");
    let text = std::fs::read_to_string(&page).unwrap();
    let (before, listed) = text.split_once(LIST).expect("the page has a place for the list");
    if std::env::var_os("PERDURA_BLESS").is_some() {
        return std::fs::write(&page, format!("{before}{LIST}{list}")).unwrap();
    }
    let differs = listed.lines().zip(list.lines()).find(|(is, wanted)| is != wanted);
    assert!(
        listed == list,
        "PERDURA_BLESS=1 writes docs/trust.md anew; the first line that differs: {differs:?}"
    );
}

/// Code without comments at the ends of lines, and without any space: formatting is not what is compared.
fn bare(code: &str) -> String {
    let lines = code.lines().map(|line| line.split(" // ").next().unwrap());
    lines.flat_map(str::split_whitespace).collect()
}

/// Checks that what a page shows is in a test that runs: so many examples.
fn shows_code_that_runs(page: &str, tests: &str, examples: usize) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join(page)).unwrap();
    let runs = bare(&std::fs::read_to_string(root.join(tests)).unwrap());
    let found: Vec<&str> =
        page.split("```rust").skip(1).map(|block| block.split("```").next().unwrap()).collect();
    assert_eq!(found.len(), examples);
    for example in found {
        let code: String =
            example.lines().filter(|line| !line.starts_with("use ")).map(|l| format!("{l}\n")).collect();
        assert!(runs.contains(&bare(&code)), "this is in no test:\n{example}");
    }
}

#[test]
fn the_testing_page_shows_code_that_runs() {
    shows_code_that_runs("docs/testing.md", "tests/it/testing_page.rs", 3);
}

#[test]
fn the_page_of_effects_shows_code_that_runs() {
    shows_code_that_runs("docs/effects.md", "tests/it/effects_page.rs", 5);
}

#[test]
fn the_page_of_conditions_shows_code_that_runs() {
    shows_code_that_runs("docs/conditions.md", "tests/it/conditions_page.rs", 4);
}

#[test]
fn the_page_of_work_outside_shows_code_that_runs() {
    shows_code_that_runs("docs/outside.md", "tests/it/outside_page.rs", 4);
}

#[test]
fn the_page_of_scale_shows_code_that_runs() {
    shows_code_that_runs("docs/scale.md", "tests/it/scale_page.rs", 1);
}

#[test]
fn the_page_of_changing_tasks_shows_code_that_runs() {
    shows_code_that_runs("docs/args.md", "examples/upgrade.rs", 1);
}

#[test]
fn the_page_of_schedules_shows_code_that_runs() {
    shows_code_that_runs("docs/schedules-and-limits.md", "tests/it/schedules_page.rs", 7);
}
