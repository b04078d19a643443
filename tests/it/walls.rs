//! The architecture, as a test: which module may name which, and what stands in one place only.
//!
//! The checker is a pure function over (path, source) pairs; `planted` shows that it finds planted violations.
//!
//! It does not see what a macro pastes together, nor paths inside strings, but for attributes such as `with = "crate::a::b"`.

mod house;
mod planted;
mod rooms;

use std::path::Path;
use std::sync::LazyLock;

use house::{File, House, Reference, string_value};

// ---- The rules ----

/// Who may name whom. Imports go down; within a line of the drawing, along an arrow.
const MAY_NAME: &[(&str, &str)] = &[
    // whole
    (
        "lib",
        "testing queue engine executor handler timer schedule store json clock sync logging lifecycle limits retry task config error crash",
    ),
    ("testing", "queue engine handler schedule json clock task config error crash"),
    (
        "queue",
        "engine executor handler timer schedule store json clock sync logging lifecycle limits retry task config error crash",
    ),
    // running
    ("engine", "handler sync task config error"),
    ("timer", "clock sync logging lifecycle retry task config error"),
    ("executor", "handler json clock sync logging lifecycle retry task config error"),
    ("handler", "json clock sync logging lifecycle retry task config error"),
    // edges
    ("store", "sync logging lifecycle limits schedule retry task config error crash"),
    ("clock", "sync logging task config error"),
    ("sync", ""),
    ("json", "error"),
    ("logging", ""),
    // rules
    ("lifecycle", "retry task config"),
    ("limits", "task"),
    ("schedule", "retry task config error"),
    ("retry", "task config"),
    // values
    ("task", "config error"),
    ("config", "task error"),
    ("error", ""),
    ("crash", ""),
    (SCAFFOLD, ""),
];

/// Everyone may name it, it names no one: the planted bugs, which are `false` in every build but that of `.ci/planted`.
const SCAFFOLD: &str = "planted";

/// Rooms that use only what the crate shows to everyone, and one another.
const FACE: &[&str] = &["cli", "console", "exec", "jobs", "ray", "tui", "report", "main"];

/// What only some files may name, wherever the name comes from.
const ONLY_IN: &[(Rule, &[&str], &[&str])] = &[
    (
        Rule::Time,
        &["SystemTime::now", "Instant::now", "Instant::elapsed", "SystemTime::elapsed"],
        &["src/clock.rs"],
    ),
    (Rule::Database, &["rusqlite", "r2d2", "r2d2_sqlite", "libsqlite3_sys"], &["src/store/"]),
    (Rule::Threads, &["thread::spawn", "thread::scope", "thread::Builder", "rayon::spawn"], THREADS),
    (
        Rule::Files,
        &["std::fs"],
        &[
            "src/store/",
            "src/cli/",
            "src/console/",
            "src/jobs/",
            "src/ray/",
            "src/report/",
            "src/tui/fixture.rs",
        ],
    ),
    (
        Rule::Sync,
        &["std::sync::Mutex", "std::sync::RwLock", "std::sync::Condvar", "std::sync::Barrier"],
        SYNC,
    ),
    (Rule::Sync, &["std::sync::atomic", "std::sync::mpsc", "crossbeam_channel"], SYNC),
    (Rule::Manners, &["process::exit", "process::abort"], &[]),
];

/// What may stand elsewhere too, behind this condition.
const BEHIND_CFG: &[(Rule, &str, &str)] = &[
    (Rule::Database, "src/queue/enqueue.rs", "feature=\"rusqlite\""),
    (Rule::Database, "src/queue/transaction.rs", "feature=\"rusqlite\""),
    (Rule::Files, "src/planted.rs", "perdura_planted"),
];

/// Where locks, atomics and channels may be named as they are: elsewhere they come from `sync`, so that `tests/schedules` sees them. The
/// maintenance waits for several things that nobody else waits for; the prefetch is a guess that no protocol depends on; the testing kit
/// has no threads; the command's jobs, and an engine that is a program, are processes; the screen's data thread shares nothing with the queue's own.
const SYNC: &[&str] = &[
    "src/sync.rs",
    "src/testing/",
    "src/queue/runtime/maintenance.rs",
    "src/queue/runtime/prefetch.rs",
    "src/jobs/",
    "src/exec.rs",
    "src/tui/data_thread.rs",
    "src/tui/signals.rs",
];

/// Where threads may start; and, for the jobs of the command and engines that are programs, processes. The screen reads the file on a thread of its own, so that a slow
/// search does not freeze it; and hears signals on another, so that a terminal that nobody reads does not keep it.
const THREADS: &[&str] = &[
    "src/queue/",
    "src/executor.rs",
    "src/timer.rs",
    "src/jobs/",
    "src/exec.rs",
    "src/tui/data_thread.rs",
    "src/tui/signals.rs",
];

/// The same for runs of tokens.
const TOKENS_ONLY_IN: &[(Rule, &[&str], &[&str])] = &[
    (Rule::Time, &[".", "elapsed", "("], &["src/clock.rs"]),
    (Rule::Threads, &[".", "spawn", "("], THREADS),
    (Rule::Threads, &[".", "spawn_scoped", "("], THREADS),
    (Rule::Manners, &[".", "unwrap", "("], &[]), // but in tests
    (Rule::Manners, &["Option", "::", "unwrap"], &[]),
    (Rule::Manners, &["Result", "::", "unwrap"], &[]),
    (Rule::Manners, &["println", "!"], &[]),
    (Rule::Manners, &["print", "!"], &[]),
    (Rule::Manners, &["eprintln", "!"], &[]),
    (Rule::Manners, &["eprint", "!"], &[]),
    (Rule::Manners, &["dbg", "!"], &[]),
    (Rule::Manners, &["todo", "!"], &[]),
    (Rule::Manners, &["unimplemented", "!"], &[]),
    (Rule::Manners, &["unsafe"], &[]),
    (Rule::Manners, &["log", "::", "error", "!"], &[]), // a logger may panic: see `tell!`
    (Rule::Manners, &["log", "::", "warn", "!"], &[]),
    (Rule::Manners, &["log", "::", "info", "!"], &[]),
    (Rule::Manners, &["log", "::", "debug", "!"], &[]),
];

/// The files that only decide, and what they may not name: it can wait, fail, or change its answer.
const PURE: &[&str] = &["src/lifecycle/", "src/retry.rs"];
const IMPURE: &str = "std::fs std::io std::thread std::sync std::net std::env std::process std::time::SystemTime \
    std::time::Instant std::hash::RandomState rusqlite r2d2 crossbeam_channel log";

/// First words of SQL, in capitals as the store writes them.
const SQL: &str = "SELECT INSERT UPDATE DELETE REPLACE WITH VALUES PRAGMA CREATE DROP ALTER BEGIN COMMIT END ROLLBACK SAVEPOINT \
    RELEASE ATTACH DETACH VACUUM ANALYZE REINDEX EXPLAIN";

/// The longest that a file may be, its tests at the end not counted.
const MAX_LINES: usize = 500;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Rule {
    Wall,
    Pure,
    Time,
    Sql,
    Database,
    Threads,
    Sync,
    Files,
    Manners,
    Size,
    Rooms,
}

// ---- The walls of this crate ----

#[test]
fn imports_go_down() {
    assert_none(Rule::Wall);
}

#[test]
fn executor_handler_and_timer_never_refer_to_the_store() {
    assert_strangers(&["executor", "handler", "timer", "schedule"], &["store", "queue"]);
}

#[test]
fn the_store_never_refers_to_the_clock() {
    assert_strangers(&["store"], &["clock", "queue", "executor", "handler", "timer"]);
}

#[test]
fn only_the_clock_reads_the_time() {
    assert_none(Rule::Time);
}

#[test]
fn lifecycle_and_retry_refer_to_nothing_that_can_wait_or_fail() {
    assert_strangers(
        &["lifecycle", "retry"],
        &["store", "clock", "handler", "executor", "timer", "queue", "error"],
    );
    assert_none(Rule::Pure);
}

#[test]
fn sql_stands_only_in_the_store() {
    assert_none(Rule::Sql);
}

#[test]
fn the_database_is_named_only_in_the_store_and_behind_its_feature() {
    assert_none(Rule::Database);
}

#[test]
fn threads_start_only_in_queue_executor_and_timer() {
    assert_none(Rule::Threads);
}

#[test]
fn locks_and_channels_come_from_one_place() {
    assert_none(Rule::Sync);
}

#[test]
fn only_the_store_touches_files() {
    assert_none(Rule::Files);
}

#[test]
fn nothing_exits_prints_unwraps_or_is_unsafe() {
    assert_none(Rule::Manners);
    assert!(
        sources().iter().any(|(path, text)| path == "src/lib.rs" && text.contains("#![forbid(unsafe_code)]"))
    );
}

#[test]
fn no_file_is_too_long_to_read() {
    assert_none(Rule::Size);
}

#[test]
fn rooms_have_floors_and_no_files_use_each_other_in_a_circle() {
    assert_none(Rule::Rooms);
}

#[track_caller]
fn assert_none(rule: Rule) {
    static FOUND: LazyLock<Vec<(Rule, String)>> = LazyLock::new(|| check(&sources()));
    let found: Vec<&str> = FOUND.iter().filter(|(r, _)| *r == rule).map(|(_, text)| text.as_str()).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Independent of [`MAY_NAME`], so that an entry too many there does not open these walls.
#[track_caller]
fn assert_strangers(rooms: &[&str], strangers: &[&str]) {
    let sources = sources();
    let house = House::new(&sources);
    for (file, reference) in house.references() {
        let met = house.rooms(reference).into_iter().find(|r| strangers.contains(&r.as_str()));
        if let Some(met) = met.filter(|_| rooms.contains(&file.room())) {
            panic!("{}:{}: a reference to {met} ({})", file.path, reference.line, reference.path.join("::"));
        }
    }
}

/// Every source file of the crate.
fn sources() -> Vec<(String, String)> {
    fn collect(folder: &Path, root: &Path, into: &mut Vec<(String, String)>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, root, into);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
                into.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    collect(&root.join("src"), root, &mut found);
    found.sort();
    assert!(found.iter().any(|(path, _)| path == "src/store/mod.rs"), "these are not the sources");
    found
}

// ---- The checker ----

/// All violations in a crate: `src/executor.rs:3: executor must not refer to store (crate::store::Store)`.
fn check(sources: &[(String, String)]) -> Vec<(Rule, String)> {
    let house = House::new(sources);
    let mut found: Vec<_> = rooms::check(&house).into_iter().map(|text| (Rule::Rooms, text)).collect();
    for (file, reference) in house.references() {
        let at = format!("{}:{}", file.path, reference.line);
        check_walls(&house, file, reference, &mut |text| found.push((Rule::Wall, format!("{at}: {text}"))));
        check_names(file, reference, &house.stages(reference), &mut |rule, text| {
            found.push((rule, format!("{at}: {text}")));
        });
    }
    for file in &house.files {
        let lines = file
            .text
            .find("\n#[cfg(test)]\nmod tests {")
            .map_or(file.text, |end| &file.text[..end])
            .lines()
            .count();
        if lines > MAX_LINES {
            found.push((Rule::Size, format!("{}:{MAX_LINES}: {lines} lines are too many", file.path)));
        }
        check_tokens(file, &mut |rule, line, text| {
            found.push((rule, format!("{}:{line}: {text}", file.path)))
        });
    }
    found
}

fn check_walls(house: &House, file: &File, reference: &Reference, report: &mut impl FnMut(String)) {
    let (room, written) = (file.room(), reference.path.join("::"));
    if FACE.contains(&room) {
        let home = house.home(reference);
        let own = home.get(1).is_some_and(|r| FACE.contains(&r.as_str()));
        let public = home.get(..2).is_some_and(|name| {
            ["testing", "inspect", "engine", SCAFFOLD].contains(&name[1].as_str())
                || house.names.get(name).is_some_and(|n| n.1)
        });
        if home[0] == "crate" && !own && !public {
            report(format!("{room} must use only the public API ({written})"));
        }
        return;
    }
    let Some((_, allowed)) = MAY_NAME.iter().find(|(name, _)| *name == room) else {
        return report(format!("{room} has no place in MAY_NAME"));
    };
    for other in house.rooms(reference) {
        if other != room && other != SCAFFOLD && !has(allowed, &other) {
            report(format!("{room} must not refer to {other} ({written})"));
        }
    }
}

fn check_names(
    file: &File,
    reference: &Reference,
    stages: &[Vec<String>],
    report: &mut impl FnMut(Rule, String),
) {
    let written = reference.path.join("::");
    let from_sync = stages.iter().any(|stage| stage.starts_with(&["crate".to_owned(), "sync".to_owned()]));
    let behind =
        |rule| (rule == Rule::Sync && from_sync) || BEHIND_CFG.contains(&(rule, file.path, reference.gate));
    for stage in
        stages.iter().filter(|stage| stage[0] != "crate").map(|stage| format!("::{}::", stage.join("::")))
    {
        for (rule, names, places) in ONLY_IN {
            let name = names.iter().find(|name| says(&stage, name, reference.makes.as_deref() == Some("*")));
            let allowed = file.is_in(places) || behind(*rule);
            if let Some(name) = name.filter(|_| !allowed) {
                report(*rule, format!("{name} has no place here ({written})"));
            }
        }
        let impure = IMPURE.split(' ').find(|name| stage.starts_with(&format!("::{name}::")));
        if let Some(name) = impure.filter(|_| file.is_in(PURE)) {
            report(Rule::Pure, format!("{} decides only, and must not name {name} ({written})", file.room()));
        }
    }
}

/// Whether a path holds a name, or (a star) could bring it in.
fn says(path: &str, name: &str, star: bool) -> bool {
    let parent = name.rsplit_once("::").map(|(parent, _)| parent).filter(|_| star);
    path.contains(&format!("::{name}::")) || parent.is_some_and(|p| path.ends_with(&format!("::{p}::")))
}

/// Whether a list of words has this one.
fn has(list: &str, word: &str) -> bool {
    list.split(' ').any(|w| w == word && !w.is_empty())
}

fn check_tokens(file: &File, report: &mut impl FnMut(Rule, usize, String)) {
    for (i, token) in file.tokens.iter().enumerate() {
        for (rule, run, places) in TOKENS_ONLY_IN {
            let here =
                file.tokens[i..].iter().map(|t| t.text.as_str()).take(run.len()).eq(run.iter().copied());
            let allowed = file.is_in(places) || (token.test && run[1..] == ["unwrap", "("]);
            if here && !allowed {
                report(*rule, token.line, format!("{} has no place here", run.concat()));
            }
        }
        let text = string_value(&token.text).unwrap_or_default();
        let word = text.split_whitespace().next().unwrap_or_default();
        if has(SQL, word) && !file.is_in(&["src/store/"]) {
            report(Rule::Sql, token.line, format!("SQL belongs in src/store/ ({text:?})"));
        }
    }
}
