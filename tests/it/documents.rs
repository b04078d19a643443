//! Pages of the documentation that say what is in the tests.

use std::collections::BTreeSet;
use std::path::Path;

/// The names of the tests of a folder that carry the number of a promise.
fn tests_below(folder: &Path, into: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests_below(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let names =
                text.split("#[test]").skip(1).filter_map(|after| after.split_once("fn ")?.1.split_once('('));
            into.extend(names.map(|(name, _)| name.to_owned()).filter(|name| !promises(name).is_empty()));
        }
    }
}

/// The promises that a test is of: `g05_g08_…` is of two, and `s07_g12_…` of one.
fn promises(test: &str) -> Vec<String> {
    let numbers = test.split('_').take_while(|part| part.len() == 3 && part[1..].parse::<u8>().is_ok());
    numbers.filter(|part| part.starts_with('g')).map(|part| part[1..].to_owned()).collect()
}

#[test]
fn the_page_of_promises_lists_every_test_of_each() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tests = BTreeSet::new();
    for folder in ["src", "tests/it", "tests/schedules"] {
        tests_below(&root.join(folder), &mut tests);
    }
    assert!(tests.len() > 100, "these are not the tests");
    let page = std::fs::read_to_string(root.join("docs/guarantees.md")).unwrap();
    let mut listed = BTreeSet::new();
    for section in page.split("\n## G").skip(1) {
        let number = format!("{:0>2}", section.split(' ').next().unwrap());
        let section = section.split("\n## ").next().unwrap();
        for name in section.lines().filter_map(|line| line.strip_prefix("- [`")?.split('`').next()) {
            assert!(promises(name).contains(&number), "{name} is not a test of G{number}");
            assert!(tests.contains(name), "the page lists {name}, which is not there");
            listed.insert((number.clone(), name.to_owned()));
        }
    }
    for test in &tests {
        for number in promises(test) {
            assert!(
                listed.contains(&(number.clone(), test.clone())),
                "{test} is missing under G{number} of docs/guarantees.md"
            );
        }
    }
    assert!(
        (1..=14).all(|n| listed.iter().any(|(number, _)| *number == format!("{n:02}"))),
        "a promise has no test"
    );
}

/// Code without comments at the ends of lines, and without any space: formatting is not what is compared.
fn bare(code: &str) -> String {
    let lines = code.lines().map(|line| line.split(" // ").next().unwrap());
    lines.flat_map(str::split_whitespace).collect()
}

#[test]
fn the_testing_page_shows_code_that_runs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/testing.md")).unwrap();
    let runs = bare(&std::fs::read_to_string(root.join("tests/it/testing_page.rs")).unwrap());
    let examples: Vec<&str> =
        page.split("```rust").skip(1).map(|block| block.split("```").next().unwrap()).collect();
    assert_eq!(examples.len(), 3);
    for example in examples {
        let code: String =
            example.lines().filter(|line| !line.starts_with("use ")).map(|l| format!("{l}\n")).collect();
        assert!(runs.contains(&bare(&code)), "this is in no test:\n{example}");
    }
}
