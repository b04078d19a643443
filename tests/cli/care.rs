//! Doctor, backup, export and import.

use std::path::Path;

use perdura::Queue;
use serde_json::Value;

use crate::support::{Place, await_that};

/// A file with a task in each state that a shell can bring about.
fn place() -> Place {
    let place = Place::new();
    place.add(["--", "true"]);
    place.add(["--max-attempts", "1", "--", "sh", "-c", "echo out; echo err >&2; exit 7"]);
    place.add(["--backoff", "1h", "--unique", "key", "--tag", "ü", "--", "false"]);
    place.add(["--delay", "1h", "--expires", "2h", "--", "true"]);
    place.run(["work", "--drain", "--quiet"]);
    let last = place.add(["--queue", "other", "--", "true"]);
    place.run(["cancel", &last.to_string()]);
    place
}

fn edit(path: &Path, sql: &str) {
    rusqlite::Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn a_well_file_passes_the_doctor() {
    let place = place();
    let said = place.run(["doctor"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    for part in ["pragmas read back", "integrity", "own rules hold", "wal", "owner", "mode 600"] {
        assert!(said.out.contains(part), "{part} is not in\n{}", said.out);
    }
    let json: Value = serde_json::from_str(&place.run(["doctor", "--json"]).out).unwrap();
    // That nobody owns it can be known where the locks of all processes can be seen: not in a container.
    let sees_all =
        std::fs::read_link("/proc/self/ns/pid").is_ok_and(|it| it == Path::new("pid:[4026531836]"));
    assert_eq!(json["file"]["owned"], serde_json::json!(sees_all.then_some(false)));
    assert_eq!(json["check"]["problems"], Value::Array(vec![]));
}

#[test]
fn the_doctor_finds_what_is_wrong() {
    let place = place();
    edit(&place.path("tasks.db"), "UPDATE perdura_counts SET n = n + 1");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let open = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(place.path("tasks.db"), open).unwrap();
    }
    let said = place.run(["doctor"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.out.contains("BAD") && said.out.contains("counters differ"), "{}", said.out);
    #[cfg(unix)]
    assert!(said.out.contains("others may read it"), "{}", said.out);
    assert!(place.run(["doctor", "--quick"]).code == Some(0), "a quick look does not read so much");
}

#[test]
#[cfg(target_os = "linux")]
fn the_doctor_names_the_owner() {
    let place = place();
    let worker = place.start(place.command(["work", "--quiet"]));
    await_that("the worker owns the file", || {
        let report = place.queue().inspect().unwrap();
        report.owned == Some(true) && report.owner_process == Some(worker.id())
    });
    assert!(place.run(["doctor"]).out.contains(&format!("process {}", worker.id())));
}

#[test]
fn a_backup_is_whole_private_and_taken_from_a_file_in_use() {
    let place = place();
    let queue = place.queue();
    let said = place.run(["backup", "copy.db"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains("checked"), "{said:?}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        assert_eq!(std::fs::metadata(place.path("copy.db")).unwrap().mode() & 0o777, 0o600);
    }
    assert!(!place.path("copy.db-wal").exists() && !place.path("copy.db-journal").exists());
    let copy = Queue::builder().open(place.path("copy.db")).unwrap();
    assert_eq!(copy.counts().unwrap(), queue.counts().unwrap());
    let said = place.run(["backup", "copy.db"]);
    assert_eq!(said.code, Some(4));
    assert!(said.err.contains("exists already"), "{said:?}");
    assert_eq!(place.run(["backup", "no/such/folder.db"]).code, Some(4));
}

#[test]
fn an_export_comes_back_as_it_was() {
    let place = place();
    let text = place.run(["export"]).out;
    let said = place.feed(&text, ["import", "-", "--db", "again.db"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(place.run(["export", "--db", "again.db"]).out, text, "the same lines");
    assert_eq!(place.run(["doctor", "--db", "again.db"]).code, Some(0));
    let said = place.run(["add", "--db", "again.db", "--unique", "key", "--", "false"]);
    assert!(said.err.contains('3'), "the unique key is still task 3's: {said:?}");
    let next = place.run(["add", "--db", "again.db", "--", "true"]).out;
    assert_eq!(next.trim(), "6", "ids go on where they were");
}

#[test]
fn exports_and_imports_name_files_too_and_never_overwrite_one() {
    use std::os::unix::fs::PermissionsExt;
    let place = place();
    let said = place.run(["export", "all.jsonl"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let file = place.path("all.jsonl");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), place.run(["export"]).out);
    let again = place.run(["export", "all.jsonl"]);
    assert!(again.code == Some(4) && again.err.contains("give another path"), "{again:?}");
    let said = place.run(["import", "all.jsonl", "--db", "again.db", "--json"]);
    let lines = std::fs::read_to_string(&file).unwrap().lines().count();
    let told: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert!(told["rows"].as_u64().is_some_and(|rows| rows > 0 && rows as usize <= lines), "{said:?}");
    assert_eq!(place.run(["export", "--db", "again.db"]).out, place.run(["export"]).out);
    let missing = place.run(["import", "none.jsonl", "--db", "third.db"]);
    assert!(missing.code == Some(4) && missing.err.contains("none.jsonl"), "{missing:?}");
    let made = place.run(["init", "--db", "new.db", "--json"]);
    assert!(made.out.contains("\"made\":true"), "{made:?}");
    let copied = place.run(["backup", "copy.db", "--json"]);
    assert!(copied.out.contains("\"verified\":true"), "{copied:?}");
}

#[test]
fn a_text_that_is_no_whole_export_leaves_no_file() {
    let place = place();
    let text = place.run(["export"]).out;
    let lines: Vec<&str> = text.lines().collect();
    let cut = lines[..lines.len() - 1].join("\n");
    let changed = text.replacen("\"state\":2", "\"state\":3", 1);
    let strange = text.replacen("perdura_tasks", "sqlite_schema", 1);
    let newer = text.replacen("\"schema_version\":1", "\"schema_version\":2", 1);
    let id_end = text.find("\",\"").map_or(0, |_| text.find("\"hex\":\"").unwrap() + 7);
    let short_id = format!("{}{}", &text[..id_end], &text[id_end + 2..]);
    let not_served = text.replacen("\"served\":null", "\"served\":\"{}\"", 1);
    let extra = text.replacen("\"late\":0", "\"late\":0,\"more\":1", 1);
    for (what, text, wanted) in [
        ("nothing", "", "nothing to import"),
        ("something else", "{}\n", "line 1"),
        ("no JSON", "tasks\n", "line 1"),
        ("cut", cut.as_str(), "was cut"),
        ("changed", changed.as_str(), "counters differ"),
        ("a strange table", strange.as_str(), "none of perdura's"),
        ("an unknown column", extra.as_str(), "has not"),
        ("a newer one", newer.as_str(), "newer perdura"),
        ("a short id", short_id.as_str(), "line 1"),
        ("served queues that are no list", not_served.as_str(), "line 1"),
    ] {
        let said = place.feed(text, ["import", "-", "--db", "again.db"]);
        assert_eq!(said.code, Some(4), "{what}: {said:?}");
        assert!(said.err.contains(wanted), "{what}: {said:?}");
        assert!(!place.path("again.db").exists(), "{what} left a file");
    }
    let said = place.feed(&text, ["import", "-"]);
    assert!(said.code == Some(4) && said.err.contains("exists; name a new one"), "{said:?}");
}

/// They are what one looks with when a row is damaged.
#[test]
fn a_damaged_row_keeps_neither_the_doctor_nor_stats_from_answering() {
    let place = place();
    edit(&place.path("tasks.db"), "UPDATE perdura_tasks SET queue_id = 999");
    let said = place.run(["doctor"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.out.contains("tasks of an unknown queue or name"), "{said:?}");
    let said = place.run(["stats"]);
    assert_eq!(said.code, Some(0), "{said:?}");
}
