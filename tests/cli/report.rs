//! `perdura report`: one page, with nothing in it that a file's texts have put there.
//!
//! The pages stay in the build's folder for temporary files (`report/`), where `.ci/browser` opens them in a real browser.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::report_files::{ATTACKS, busy, empty, hostile};

/// A folder of a test's own, which stays.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn report(folder: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_perdura"));
    command.args(["report", "--db", "tasks.db"]).args(words).current_dir(folder).env_remove("PERDURA_DB");
    command.stdin(Stdio::null()).output().unwrap()
}

#[track_caller]
fn page(folder: &Path, words: &[&str]) -> String {
    let output = report(folder, &[&["-o", "page.html"], words].concat());
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("page.html: ") && said.ends_with(" KiB\n"), "{said}");
    std::fs::read_to_string(folder.join("page.html")).unwrap()
}

/// The elements of a page as a browser's tokenizer finds them: a name, and attributes with their values.
fn elements(page: &str) -> Vec<(String, Vec<(String, String)>)> {
    let (mut found, mut rest) = (Vec::new(), page);
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        let name = word(&mut rest);
        if name.is_empty() {
            continue; // an end, or the doctype
        }
        let mut attributes = Vec::new();
        loop {
            rest = rest.trim_start();
            if let Some(after) = rest.strip_prefix('>') {
                rest = after;
                break;
            }
            let attribute = word(&mut rest);
            assert!(!attribute.is_empty(), "after {attributes:?}: {}", &rest[..80]);
            let mut value = String::new();
            if let Some(quoted) = rest.strip_prefix("=\"") {
                let end = quoted.find('"').unwrap();
                value = quoted[..end].to_owned();
                rest = &quoted[end + 1..];
            }
            attributes.push((attribute, value));
        }
        if ["style", "script", "title"].contains(&name.as_str()) {
            rest = &rest[rest.find(&format!("</{name}>")).unwrap()..];
        }
        found.push((name, attributes));
    }
    found
}

fn word(rest: &mut &str) -> String {
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).unwrap_or(rest.len());
    let (word, after) = rest.split_at(end);
    *rest = after;
    word.to_owned()
}

/// What the page is made of: nothing that loads, sends or runs anything but its one script.
const ELEMENTS: &str = "a b bdi body button circle code dd defs details div dl dt footer g h1 h2 h3 head header html input label li \
    line main meta nav p pattern pre rect script section span style summary svg table tbody td text th thead time title tr ul";
const ATTRIBUTES: &str = "aria-hidden aria-label aria-labelledby aria-pressed autocomplete charset class content cx cy data-clock \
    data-fixed data-head data-sort data-v datetime height hidden href http-equiv id lang name patternTransform patternUnits placeholder \
    r role scope spellcheck tabindex text-anchor title type width x x1 x2 y y1 y2";

#[test]
fn hostile_texts_put_nothing_on_the_page() {
    let folder = folder("hostile");
    hostile(&folder.join("tasks.db"));
    let page = page(&folder, &["--args"]);
    let elements = elements(&page);
    let known = |names: &str, name: &str| names.split_whitespace().any(|known| known == name);
    for (name, attributes) in &elements {
        assert!(known(ELEMENTS, name), "<{name}>");
        for (attribute, value) in attributes {
            assert!(known(ATTRIBUTES, attribute), "<{name} {attribute}={value:?}>");
            assert!(attribute != "href" || value.starts_with('#'), "{value}");
        }
    }
    for once in ["script", "style", "input", "main"] {
        assert_eq!(elements.iter().filter(|(name, _)| name == once).count(), 1, "{once}");
    }
    assert!(
        !page.contains(['\u{202e}', '\u{2066}', '\u{200f}', '\0']),
        "nothing turns the direction of text"
    );
    // What the texts are is there all the same: each at least as a task name, an error type, a message and a tag.
    for attack in ATTACKS {
        let escaped =
            attack.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
        let escaped = escaped
            .replace('\u{202e}', "\\u{202e}")
            .replace('\u{2066}', "\\u{2066}")
            .replace('\u{200f}', "\\u{200f}");
        assert!(page.matches(&escaped).count() > 20, "{attack}: {}", page.matches(&escaped).count());
    }
}

#[test]
fn a_busy_day_is_on_one_page() {
    let folder = folder("busy");
    busy(&folder.join("tasks.db"));
    let text = page(&folder, &[]);
    let json = report(&folder, &["--json"]);
    let data: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let queue = perdura::Queue::builder().read_only(true).open(folder.join("tasks.db")).unwrap();
    let counts = queue.counts().unwrap().total();
    for (key, n) in [
        ("failed", counts.failed),
        ("lost", counts.lost),
        ("ready", counts.ready),
        ("waiting", counts.waiting),
        ("running", counts.running),
    ] {
        assert!(n > 0, "a day without {key}");
        assert_eq!(data["total"][key], n, "{key}");
    }
    let sentence = data["verdict"]["sentence"].as_str().unwrap();
    // In a container the locks of processes outside cannot be seen.
    let knows = queue.inspect().unwrap().owned.is_some();
    let waits = if knows { "no worker runs while " } else { "ready, the oldest has been for" };
    for part in [
        &format!("{} tasks failed", counts.failed),
        "lost",
        waits,
        "queue \"exports\" is paused with 13 tasks ready",
    ] {
        assert!(sentence.contains(part), "{part}: {sentence}");
    }
    let ended: u64 = data["activity"]["bars"]
        .as_array()
        .unwrap()
        .iter()
        .map(|bar| bar["succeeded"].as_u64().unwrap())
        .sum();
    assert_eq!(ended, data["activity"]["sum"]["succeeded"].as_u64().unwrap());
    assert!(ended + 20 > counts.succeeded, "{ended} of {}", counts.succeeded);
    let groups = data["failures"]["groups"]["rows"].as_array().unwrap();
    let grouped: u64 = groups.iter().map(|group| group["count"].as_u64().unwrap()).sum();
    assert_eq!(grouped, counts.failed + counts.lost);
    assert!(groups.iter().any(|group| group["message"] == "POST /orders/# answered #"), "{groups:?}");
    let panic = groups.iter().find(|group| group["error_type"] == "Panic").unwrap();
    assert!(panic["example"]["error_traceback"].as_str().unwrap().contains("report_files.rs"));
    let lengths = |part: &serde_json::Value, key: &str| -> Vec<u64> {
        part["rows"].as_array().unwrap().iter().map(|task| task[key].as_u64().unwrap()).collect()
    };
    let ran = lengths(&data["slowest"]["tasks"], "ran_ms");
    assert!(ran.is_sorted_by(|a, b| a >= b) && ran[0] > 1_000 && ran.len() == 20, "{ran:?}");
    assert_eq!(data["queued"]["waiting"]["rows"][0]["hold"], "time");
    assert!(
        data["dead_letters"]["rows"].as_array().unwrap().iter().any(|letter| letter["replayed_as"].is_u64())
    );
    assert!(
        !text.contains("&quot;image&quot;") && !json.stdout.windows(8).any(|w| w == b"\"image\":"),
        "args were not asked for"
    );
    assert!(text.contains("images.thumbnail") && text.contains("<svg class=\"plot\""));
    let rows = data["schedules"]["rows"].as_array().unwrap();
    let schedule = |name: &str| rows.iter().find(|row| row["schedule"] == name).unwrap();
    assert_eq!(
        (rows[0]["schedule"].as_str(), rows.len()),
        (Some("altered"), 5),
        "what is broken comes first"
    );
    assert_eq!(
        (&schedule("old")["status"], &schedule("nightly")["words"]),
        (&"paused".into(), &"At 02:30.".into())
    );
    assert!(
        schedule("sync mail")["last_run_state"].is_string()
            && schedule("sync mail")["fired"].as_u64() > Some(20)
    );
    assert!(
        sentence.contains("schedule \"altered\" is broken") && !sentence.contains("\"old\""),
        "{sentence}"
    );
    assert_eq!(data["total"]["limited"], 3);
    for part in [
        "id=\"schedules\"",
        "At 02:30 (30 2 * * *, Europe/Berlin)",
        "every 1 h",
        "limit 2",
        "rate 50/1m",
        "3 held by key",
    ] {
        assert!(text.contains(part), "{part}");
    }
}

/// A file of jobs for the shell: some succeed, some fail for good, one will be tried again, one is a dead letter.
#[cfg(unix)]
fn jobs(folder: &Path) {
    let perdura = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_perdura"));
        command.args(["--db", "tasks.db"]).args(words).current_dir(folder).env_remove("PERDURA_DB");
        command.stdin(Stdio::null()).output().unwrap()
    };
    let fails = "echo 'private line' >&2; echo 'no such host' >&2; exit 22";
    let all: [&[&str]; 6] = [
        &["add", "--", "/bin/echo", "private-arg"],
        &["add", "--queue", "night", "--", "/bin/echo", "private-arg"],
        &["add", "--max-attempts", "1", "--", "sh", "-c", fails],
        &["add", "--max-attempts", "2", "--backoff", "1h", "--", "false", "private-arg"],
        &["add", "--max-attempts", "1", "--", "sh", "-c", "exit 7"],
        &["schedule", "add", "nightly", "30 2 * * *", "--", "/usr/bin/backup.sh", "private-arg"],
    ];
    for words in all {
        let output = perdura(words);
        assert!(output.status.success(), "{output:?}");
    }
    assert_eq!(perdura(&["work", "--drain", "-q"]).status.code(), Some(1));
    assert!(perdura(&["move-to-dead", "--error", "ExitCode.7", "--yes"]).status.success());
}

#[cfg(unix)]
#[test]
fn jobs_are_told_by_their_programs_and_private_words_only_if_asked_for() {
    let folder = folder("jobs");
    jobs(&folder);
    let bare = page(&folder, &[]);
    let without_db = bare.replace("tasks.db", "");
    for part in [
        "Program",
        ">echo<",
        ">sh<",
        ">backup.sh<",
        "By program",
        "By queue",
        "Failed, will be tried again",
        "perdura retry --error ExitCode.22",
        "exit code 22: no such host",
        "all that ended in the last 24 h",
    ] {
        assert!(without_db.contains(part), "{part}");
    }
    assert!(!bare.contains("perdura.job<"), "the name of all jobs says nothing");
    assert!(!bare.contains("private"), "args and output were not asked for");
    let json = report(&folder, &["--json"]);
    assert!(!String::from_utf8_lossy(&json.stdout).contains("private"));
    let data: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let programs: Vec<_> = data["ended"]["programs"].as_array().unwrap().iter().collect();
    assert_eq!((&programs[0]["name"], &programs[0]["succeeded"]), (&"echo".into(), &2.into()));
    let queues: Vec<_> = data["ended"]["queues"].as_array().unwrap().iter().map(|q| &q["name"]).collect();
    assert_eq!(queues, ["default", "night"]);
    let retrying = &data["failures"]["retrying"]["rows"][0];
    assert_eq!((&retrying["programs"][0], &retrying["count"]), (&"false".into(), &1.into()));
    assert_eq!(data["dead_letters"]["rows"][0]["program"], "sh");
    let (from, to) = (&data["activity"]["from"], &data["activity"]["to"]);
    assert!(from.as_str() > data["since"].as_str() && to.as_str() <= data["made_at"].as_str(), "{from} {to}");
    assert_eq!(data["verdict"]["concerns"][0]["command"], "perdura retry --error ExitCode.22");

    let full = page(&folder, &["--args", "--force"]);
    for part in [
        "Command",
        "/bin/echo private-arg",
        "sh -c &#39;exit 7&#39;",
        "private line",
        "/usr/bin/backup.sh private-arg",
    ] {
        assert!(full.contains(part) || full.contains(&part.replace("&#39;", "'")), "{part}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_worker_that_runs_is_on_the_page() {
    let folder = folder("worker");
    jobs(&folder);
    let mut worker = Command::new(env!("CARGO_BIN_EXE_perdura"));
    worker.args(["work", "--db", "tasks.db", "-q"]).current_dir(&folder).env_remove("PERDURA_DB");
    let mut worker = worker.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let owned = || {
        let json = report(&folder, &["--json"]);
        let data: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
        // In a container the locks of processes outside cannot be seen.
        data["worker"]["runs"].is_null() || data["worker"]["runs"] == true
    };
    super::support::await_that("the worker", owned);
    let text = page(&folder, &[]);
    let known = text.contains(&format!("Process {} runs the tasks. It began ", worker.id()));
    assert!(known || text.contains("cannot be known from here") || text.contains("cannot be seen from here"));
    worker.kill().unwrap();
    worker.wait().unwrap();
}

#[test]
fn args_are_shown_if_they_are_asked_for() {
    let folder = folder("args");
    hostile(&folder.join("tasks.db"));
    let shown = |words: &[&str]| {
        let json = report(&folder, &[&["--json"], words].concat());
        let data: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
        data["queued"]["ready"]["rows"][0]["args"].clone()
    };
    assert!(shown(&[]).is_null());
    let args = shown(&["--args"]);
    let args = args.as_str().unwrap();
    assert!(args.starts_with("[[\"<script>") && args.ends_with('…') && args.chars().count() == 501, "{args}");
}

#[test]
fn an_empty_file_has_a_page_too() {
    let folder = folder("empty");
    empty(&folder.join("tasks.db"));
    let json = report(&folder, &["--json", "--since", "6h"]);
    let data: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let (concerns, sentence) = (&data["verdict"]["concerns"], data["verdict"]["sentence"].as_str().unwrap());
    match concerns.as_array().unwrap().as_slice() {
        [] => assert_eq!(sentence, "Nothing needs attention: no attempt ended in the last 6 h."),
        // The disk that the tests run on may be nearly full.
        [concern] => {
            assert!(concern["text"].as_str().unwrap().starts_with("the disk has only "), "{concern}")
        }
        _ => panic!("{concerns}"),
    }
    let page = page(&folder, &["--since", "6h"]);
    assert!(page.contains(sentence) && page.contains("There are no queues yet."), "{page}");
    assert!(!page.contains("Schedules"), "a file without schedules has no such section");
}

#[test]
fn a_file_that_is_there_is_kept() {
    let folder = folder("kept");
    empty(&folder.join("tasks.db"));
    let refused = |words: &[&str], why: &str| {
        let output = report(&folder, words);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(4) && output.stdout.is_empty() && said.contains(why), "{said}");
    };
    std::fs::write(folder.join("notes.txt"), "mine").unwrap();
    refused(&["-o", "notes.txt"], "the file exists; name another, or replace it with --force");
    assert_eq!(std::fs::read_to_string(folder.join("notes.txt")).unwrap(), "mine");
    refused(&["-o", "."], "no regular file");
    refused(&["-o", "tasks.db", "--force"], "the tasks are kept there");
    refused(&["-o", "./tasks.db-owner", "--force"], "the tasks are kept there");
    refused(&["-o", "tasks.db-jobs", "--force"], "the tasks are kept there");
    refused(&["-o", "tasks.db-wal"], "the tasks are kept there");
    refused(&["-o", "no/such/folder/x.html"], "No such file");
    assert!(report(&folder, &["-o", "notes.txt", "--force"]).status.success());
    assert!(std::fs::read_to_string(folder.join("notes.txt")).unwrap().starts_with("<!DOCTYPE html>"));
    assert_eq!(
        perdura::Queue::builder().open(folder.join("tasks.db")).unwrap().counts().unwrap().total().all(),
        0
    );
    let left: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with('.')), "{left:?}");
}

#[cfg(unix)]
#[test]
fn only_its_owner_reads_the_page_and_the_file_is_not_changed() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder("owner");
    hostile(&folder.join("tasks.db"));
    let before = std::fs::read(folder.join("tasks.db")).unwrap();
    let wal = std::fs::read(folder.join("tasks.db-wal")).unwrap();
    assert!(!wal.is_empty());
    page(&folder, &[]);
    let mode = std::fs::metadata(folder.join("page.html")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(std::fs::read(folder.join("tasks.db")).unwrap() == before);
    assert!(std::fs::read(folder.join("tasks.db-wal")).unwrap() == wal);
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let folder = folder("refused");
    for (words, code, why) in [
        (&["--since", "2d"][..], 2, "at most 24h ago: the file keeps a day of that"),
        (&["--since", "1s"], 2, "at least 1m"),
        (&["--since", "soon"], 2, "or an age: 90s, 12h, 7d"),
        (&[], 4, "there is no file tasks.db"),
    ] {
        let output = report(&folder, words);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(code) && said.contains(why), "{words:?}: {said}");
    }
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0, "nothing was made");
}
