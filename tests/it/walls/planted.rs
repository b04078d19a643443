//! Shows that the walls can fail: a clean crate passes, and each planted violation in it is found, with its line.

use super::{MAX_LINES, check};

const CLEAN: &[(&str, &str)] = &[
    (
        "src/lib.rs",
        "mod clock; mod executor; mod handler; mod queue; mod store; mod sync; mod task; mod timer;\n#![forbid(unsafe_code)]\n\
        pub use queue::Queue;\npub use task::{State, Task};\nuse store::Store;\n",
    ),
    (
        "src/clock.rs",
        "use crate::task::State;\nuse std::time::SystemTime;\nfn now() { SystemTime::now(); }\n",
    ),
    (
        "src/executor.rs",
        "//! Not `crate::store::Store`.\nuse crate::{error::{Error, ErrorKind}, handler::Port};\n// dbg!(x.unwrap())\n\
        /// INSERT is said here.\nfn f() { std::thread::Builder::new().spawn(|| panic!(\"SELECTED\")); }\n\
        #[cfg(test)]\nmod tests { use super::*; fn t() { Some(1).unwrap(); Error::new(ErrorKind::Io); } }\n",
    ),
    ("src/handler.rs", "use crate::task::{self, State as S};\nfn f<'a>(s: S) -> task::Task { s.into() }\n"),
    ("src/lifecycle/mod.rs", "use crate::task::State;\nuse std::time::Duration;\n"),
    (
        "src/queue/mod.rs",
        "mod core;\nmod enqueue;\npub use core::{Core, Queue};\nuse crate::store::{self, Store};\n",
    ),
    (
        "src/queue/enqueue.rs",
        "use super::core::Queue;\n#[cfg(feature = \"rusqlite\")]\n\
        fn enqueue_in(t: &rusqlite::Transaction<'_>) { crate::store::enqueue(t); }\n",
    ),
    (
        "src/queue/core.rs",
        "pub struct Queue;\npub use crate::store::Fault;\n#[cfg(test)]\nmod tests { use crate::queue::enqueue; }\n",
    ),
    ("src/queue/runtime/mod.rs", "use crate::store::Store;\npub struct Engine;\n"),
    (
        "src/store/mod.rs",
        "use rusqlite::Connection;\nconst GO: &str = \"BEGIN IMMEDIATE\";\nfn f() { std::fs::read(GO); }\n",
    ),
    ("src/store/error.rs", "pub struct Fault;\n"),
    ("src/store/file/mod.rs", "pub struct Path;\npub struct Mounts;\n"),
    ("src/store/commit/mod.rs", "use crate::store::file::Path;\nuse crate::task::TaskId;\npub struct Tx;\n"),
    ("src/sync.rs", "pub use std::sync::{Mutex, atomic};\n"),
    (
        "src/timer.rs",
        "use crate::sync::atomic::Ordering;\nuse crate::sync::Mutex;\nfn f() { Mutex::new(()); }\n",
    ),
    ("src/task.rs", "use crate::config::Config;\n"),
    ("src/config.rs", "use crate::error::Error;\n"),
    ("src/error.rs", "use std::fmt;\n"),
    ("src/testing/mod.rs", "use crate::{planted::planted, queue::Queue};\n"),
    ("src/planted.rs", "#[cfg(perdura_planted)]\nfn planted() { std::fs::read(P); }\n"),
    ("src/report/mod.rs", "use crate::console::Screen;\npub struct Report;\n"),
    ("src/console/mod.rs", "pub struct Screen;\n"),
    (
        "src/cli/mod.rs",
        "mod show;\nuse crate::{Queue, State, planted::planted, testing::ManualClock};\nuse self::show::table;\n",
    ),
];

/// What the checker says of the clean crate with one more text in it.
fn planted(path: &str, text: &str) -> Vec<String> {
    let mut sources: Vec<(String, String)> =
        CLEAN.iter().map(|(p, t)| (p.to_string(), t.to_string())).collect();
    match sources.iter_mut().find(|(p, _)| p == path) {
        Some((_, old)) => *old = format!("{text}\n{old}"),
        None => sources.push((path.to_owned(), text.to_owned())),
    }
    check(&sources).into_iter().map(|(_, text)| text).collect()
}

#[test]
fn a_clean_crate_passes() {
    assert_eq!(planted("src/task.rs", ""), [""; 0]);
}

#[test]
fn planted_violations_are_found() {
    for (path, text, wanted) in PLANTED {
        let found = planted(path, text);
        let wanted = format!("{path}:{wanted}");
        assert!(found.contains(&wanted), "{text}\nwanted: {wanted}\nfound:  {found:#?}");
    }
}

#[test]
fn a_planted_circle_is_found_but_not_one_of_tests() {
    let circle = |text: &str| {
        let mut sources: Vec<(String, String)> =
            CLEAN.iter().map(|(p, t)| (p.to_string(), t.to_string())).collect();
        sources.push(("src/task/id.rs".to_owned(), text.to_owned()));
        sources.push(("src/task/name.rs".to_owned(), "use super::id::Id;\npub struct Name;\n".to_owned()));
        check(&sources).into_iter().map(|(_, text)| text).collect::<Vec<_>>()
    };
    let found = circle("use crate::task::name;\npub struct Id(name::Name);\n");
    assert!(
        found.len() == 1 && found[0].starts_with("src/task/id.rs:1: 2 files use each other\n"),
        "{found:?}"
    );
    assert_eq!(circle("pub struct Id;\n#[cfg(test)]\nmod tests { use crate::task::name::Name; }\n"), [""; 0]);
}

#[test]
fn a_planted_long_file_is_found_and_long_tests_are_not() {
    let found = planted("src/retry.rs", &"fn f() {}\n".repeat(MAX_LINES + 1));
    assert_eq!(found, ["src/retry.rs:500: 501 lines are too many"]);
    let tests = format!("fn f() {{}}\n#[cfg(test)]\nmod tests {{\n{}}}\n", "fn f() {}\n".repeat(MAX_LINES));
    assert_eq!(planted("src/retry.rs", &tests), [""; 0]);
    let above = format!("#[cfg(test)]\nmod tests;\n{}", "fn f() {}\n".repeat(MAX_LINES));
    assert_eq!(planted("src/retry.rs", &above), ["src/retry.rs:500: 502 lines are too many"]);
}

const PLANTED: &[(&str, &str, &str)] = &[
    (
        "src/executor.rs",
        "use crate::store::Store;",
        "1: executor must not refer to store (crate::store::Store)",
    ),
    (
        "src/executor.rs",
        "\nuse crate::{task::State, store::{row::Row, Tx}};",
        "2: executor must not refer to store (crate::store::row::Row)",
    ),
    ("src/executor.rs", "use crate::store as s;", "1: executor must not refer to store (crate::store)"),
    (
        "src/executor.rs",
        "use super::store::Store;",
        "1: executor must not refer to store (super::store::Store)",
    ),
    ("src/executor.rs", "use super::*;", "1: executor must not refer to lib (super)"),
    ("src/executor.rs", "use crate as c;", "1: executor must not refer to lib (crate)"),
    (
        "src/executor.rs",
        "mod m { use super::super::store; }",
        "1: executor must not refer to store (super::super::store)",
    ),
    ("src/executor.rs", "use crate::Store;", "1: executor must not refer to store (crate::Store)"),
    (
        "src/executor.rs",
        "fn f() { crate::store::open(); }",
        "1: executor must not refer to store (crate::store::open)",
    ),
    (
        "src/executor.rs",
        "fn f(x: &[Vec<crate::store::Tx<'_>>]) {}",
        "1: executor must not refer to store (crate::store::Tx)",
    ),
    (
        "src/executor.rs",
        "macro_rules! m { () => { $crate::store::open() }; }",
        "1: executor must not refer to store (crate::store::open)",
    ),
    (
        "src/executor.rs",
        "fn f() { log::warn!(\"{}\", crate::store::X); }",
        "1: executor must not refer to store (crate::store::X)",
    ),
    (
        "src/executor.rs",
        "#[serde(with = \"crate::store::x\")] struct S;",
        "1: executor must not refer to store (crate::store::x)",
    ),
    (
        "src/executor.rs",
        "#[cfg(test)] mod t { use crate::store::Store; }",
        "1: executor must not refer to store (crate::store::Store)",
    ),
    ("src/handler.rs", "use crate::Queue;", "1: handler must not refer to queue (crate::Queue)"),
    ("src/timer.rs", "pub use crate::store::Tx;", "1: timer must not refer to store (crate::store::Tx)"),
    (
        "src/testing/mod.rs",
        "use crate::queue::core::Fault;",
        "1: testing must not refer to store (crate::queue::core::Fault)",
    ),
    (
        "src/testing/mod.rs",
        "use crate::queue;\nfn f() { queue::store::open(); }",
        "2: testing must not refer to store (queue::store::open)",
    ),
    (
        "src/store/mod.rs",
        "use crate::clock::Clock;",
        "1: store must not refer to clock (crate::clock::Clock)",
    ),
    (
        "src/store/row.rs",
        "fn f() {\n  std::time::SystemTime::now();\n}",
        "2: SystemTime::now has no place here (std::time::SystemTime::now)",
    ),
    (
        "src/store/row.rs",
        "use std::time::Instant as I;\nfn f() { I::now(); }",
        "2: Instant::now has no place here (I::now)",
    ),
    ("src/store/row.rs", "fn f() { since.elapsed(); }", "1: .elapsed( has no place here"),
    (
        "src/lifecycle/mod.rs",
        "use crate::error::Error;",
        "1: lifecycle must not refer to error (crate::error::Error)",
    ),
    (
        "src/lifecycle/mod.rs",
        "use std::{fmt, sync::Mutex};",
        "1: lifecycle decides only, and must not name std::sync (std::sync::Mutex)",
    ),
    (
        "src/retry.rs",
        "fn f() { log::warn!(\"x\"); }",
        "1: retry decides only, and must not name log (log::warn)",
    ),
    (
        "src/queue/core.rs",
        "const S: &str = \"PRAGMA data_version\";",
        "1: SQL belongs in src/store/ (\"PRAGMA data_version\")",
    ),
    (
        "src/queue/core.rs",
        "fn f() { run!(r#\"\n  SELECT 1\"#); }",
        "1: SQL belongs in src/store/ (\"\\n  SELECT 1\")",
    ),
    (
        "src/queue/core.rs",
        "struct H { c: rusqlite::Connection }",
        "1: rusqlite has no place here (rusqlite::Connection)",
    ),
    (
        "src/queue/core.rs",
        "#[cfg(feature = \"rusqlite\")]\nuse rusqlite::Error;",
        "2: rusqlite has no place here (rusqlite::Error)",
    ),
    (
        "src/queue/mod.rs",
        "use r2d2_sqlite::rusqlite::Error;",
        "1: rusqlite has no place here (r2d2_sqlite::rusqlite::Error)",
    ),
    (
        "src/handler.rs",
        "use std::thread;\nfn f() { thread::spawn(g); }",
        "2: thread::spawn has no place here (thread::spawn)",
    ),
    (
        "src/store/mod.rs",
        "use std::thread::{Builder as B};",
        "1: thread::Builder has no place here (std::thread::Builder)",
    ),
    ("src/clock.rs", "fn f(b: T) { b.spawn(g); }", "1: .spawn( has no place here"),
    ("src/queue/core.rs", "use std::{fs, path::Path};", "1: std::fs has no place here (std::fs)"),
    (
        "src/task.rs",
        "fn f() { std::process::exit(1); }",
        "1: process::exit has no place here (std::process::exit)",
    ),
    (
        "src/task.rs",
        "/* /* a */ 'x */ fn f() { let c = '\"'; x\n.unwrap(); }",
        "2: .unwrap( has no place here",
    ),
    ("src/task.rs", "fn f() { x.map(Option::unwrap); }", "1: Option::unwrap has no place here"),
    ("src/task.rs", "#[cfg(test)] const A: u8 = 1; fn f() { x.unwrap(); }", "1: .unwrap( has no place here"),
    ("src/task.rs", "fn f() { println!(\"x\"); }", "1: println! has no place here"),
    ("src/task.rs", "fn f() { m!(todo!()); }", "1: todo! has no place here"),
    ("src/task.rs", "unsafe fn f() {}", "1: unsafe has no place here"),
    ("src/attic.rs", "use std::fmt;", "1: attic has no place in MAY_NAME"),
    (
        "src/cli/show.rs",
        "use crate::queue::Queue;",
        "1: cli must use only the public API (crate::queue::Queue)",
    ),
    ("src/cli/show.rs", "use crate::Store;", "1: cli must use only the public API (crate::Store)"),
    (
        "src/report/mod.rs",
        "use crate::store::Store;",
        "1: report must use only the public API (crate::store::Store)",
    ),
    (
        "src/queue/core.rs",
        "use std::sync::{Arc, Mutex};",
        "1: std::sync::Mutex has no place here (std::sync::Mutex)",
    ),
    (
        "src/store/mod.rs",
        "use std::sync::atomic::AtomicBool as Flag;",
        "1: std::sync::atomic has no place here (std::sync::atomic::AtomicBool)",
    ),
    ("src/store/mod.rs", "use std::thread::*;", "1: thread::spawn has no place here (std::thread)"),
    (
        "src/store/mod.rs",
        "use std::time::*;\nfn f() { SystemTime::now(); }",
        "2: SystemTime::now has no place here (SystemTime::now)",
    ),
    ("src/executor.rs", "pub use crate::queue::*;\n", "1: executor must not refer to queue (crate::queue)"),
    (
        "src/planted.rs",
        "#[cfg(not(perdura_planted))]\nfn planted() { std::fs::read(P); }",
        "2: std::fs has no place here (std::fs::read)",
    ),
    (
        "src/planted.rs",
        "use crate::store::Store;",
        "1: planted must not refer to store (crate::store::Store)",
    ),
    (
        "src/store/file/mounts.rs",
        "use crate::store::commit::Tx;",
        "1: src/store/file/ must not refer to src/store/commit/ (crate::store::commit::Tx)",
    ),
    (
        "src/store/commit/tx.rs",
        "\nuse super::super::Store;",
        "2: src/store/commit/ must not refer to src/store/ (super::super::Store)",
    ),
    (
        "src/store/commit/tx.rs",
        "use crate::lifecycle::next;",
        "1: crate::lifecycle has no place here (crate::lifecycle::next)",
    ),
    (
        "src/queue/runtime/threads.rs",
        "use crate::queue::Queue;",
        "1: src/queue/runtime/ must not refer to src/queue/ (crate::queue::Queue)",
    ),
    (
        "src/tui/mod.rs",
        "use crate::report::Report;",
        "1: src/tui/ must not refer to src/report/ (crate::report::Report)",
    ),
    (
        "src/console/mod.rs",
        "use crate::cli::show::table;",
        "1: src/console/ must not refer to src/cli/ (crate::cli::show::table)",
    ),
];
