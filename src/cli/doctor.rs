//! `perdura doctor`: whether a file is sound and served, and what to do if not.

use std::error::Error as _;
use std::time::Duration;

use serde::Serialize;

use crate::console::error::in_shell;
use crate::console::inspect::health::{Disk, LONG_READY_WAIT, is_large_wal, open_mode, wrong_pragmas};
use crate::console::inspect::queue::waits_on_purpose;
use crate::console::inspect::task::running_here;
use crate::console::screen::Tint;
use crate::console::shortage::comes_of_shortage;
use crate::console::table::wrap;
use crate::console::text::safe;
use crate::console::times::Zone;
use crate::console::words::{bytes, count, number, span};
use crate::console::{CliError, CliResult, Exit, Session};
use crate::inspect::{CheckReport, FileReport};
use crate::{Counts, Error, ErrorKind, Filter, Queue, QueueCounts, State, Timestamp};

/// Check the file: SQLite's structures, perdura's own rules, settings, sizes, WAL, owner.
#[derive(Debug, clap::Args)]
pub(super) struct DoctorArgs {
    /// Leave out what reads the whole file
    #[arg(long)]
    quick: bool,
    /// End with exit code 1 also where somebody has to act: tasks ended FAILED or LOST, ready tasks that nobody runs or that wait for minutes,
    /// a disk that is nearly full, a WAL that stays long
    #[arg(long)]
    alarm: bool,
}

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Level {
    Good,
    /// Should be looked at.
    Note,
    Bad,
}

#[derive(Debug, Serialize)]
struct Finding {
    level: Level,
    /// Somebody has to act: bad, or a note that does not go away by itself and that tasks suffer from.
    alarm: bool,
    subject: &'static str,
    text: String,
}

/// From so many bytes in free pages on, `doctor` advises to export and import a file that cannot shrink (`auto_vacuum` is `NONE`).
const LARGE_FREE_SPACE: u64 = 64 << 20;

/// From so many tasks that succeeded or were cancelled on, `doctor` advises a purge.
const MANY_FINISHED: u64 = 100_000;
/// The same for a file of at least [`LARGE_FILE_BYTES`].
const SOME_FINISHED: u64 = 1000;
/// How many of the oldest tasks are read: the first ones may have been retried lately.
const MAX_OLDEST_TASKS: usize = 50;
/// The default `Config::retention` (7 d) and a day more. A program with the default does not record it in the file: where it runs, no task that
/// succeeded or was cancelled is as old as this.
const OLD_AGE: Duration = Duration::from_secs(8 * 24 * 60 * 60);

/// Above this, the check of the whole file takes long enough to say so first.
const LARGE_FILE_BYTES: u64 = 256 << 20;

/// What to do with a damaged file.
const ADVICE: &str = "copy its files first, then restore a backup";

/// How many problems of the file are shown in a line.
const MAX_SHOWN_PROBLEMS: usize = 5;

/// A screen with fewer columns has no room for a text beside its heading.
const MIN_WIDE_COLUMNS: usize = 60;

impl DoctorArgs {
    pub(super) fn run(&self, session: &mut Session) -> CliResult {
        let queue = session.read_only_queue()?;
        let mut findings = Vec::new();
        let path = queue.path().display().to_string();
        let file = part(&mut findings, ("file", &path), queue.inspect())?;
        let disk = Disk::of(queue.path());
        match &file {
            Some(file) => findings.extend(about_file(file, disk, session.zone)),
            None => findings.extend(disk.map(about_disk)),
        }
        if let Some(file) = file.as_ref().filter(|file| !self.quick && file.bytes >= LARGE_FILE_BYTES) {
            session.screen.remark(format_args!("reading all of {} …", bytes(file.bytes)));
        }
        let check = if self.quick {
            None
        } else {
            part(&mut findings, ("integrity", "the whole file"), queue.check())?
        };
        findings.extend(check.as_ref().map(about_check));
        about_tasks(&queue, file.as_ref(), session.now(), &mut findings)?;
        let is_wrong = |finding: &Finding| finding.level == Level::Bad || (self.alarm && finding.alarm);
        let exit = if findings.iter().any(is_wrong) { Exit::No } else { Exit::Done };
        if session.json {
            session
                .screen
                .json(&serde_json::json!({ "findings": findings, "file": file, "check": check }))?;
        } else {
            print(session, &findings)?;
        }
        Ok(exit)
    }
}

/// What was read from a part of the file. If the part cannot be read, adds a finding under `subject` that says so with its `name`, and answers
/// none: the doctor goes on with the next part.
///
/// # Errors
/// Those that say nothing of the contents of the file, such as `Busy`, or too many open files.
fn part<T>(
    findings: &mut Vec<Finding>,
    (subject, name): (&'static str, &str),
    told: Result<T, Error>,
) -> Result<Option<T>, CliError> {
    let error = match told {
        Ok(told) => return Ok(Some(told)),
        Err(error) => error,
    };
    let is_of_contents = matches!(
        error.kind(),
        ErrorKind::Corrupt
            | ErrorKind::Io
            | ErrorKind::NotPerdura
            | ErrorKind::TooLarge
            | ErrorKind::Internal
    );
    if !is_of_contents || comes_of_shortage(&error) {
        return Err(error.into());
    }
    let detail = error.source().map_or_else(String::new, |source| format!(" ({source})"));
    let why = in_shell(&error.to_string());
    let why = why.split("; ").next().unwrap_or_default(); // the advice comes below
    findings.push(finding(Level::Bad, subject, format!("{name} cannot be read: {why}{detail}; {ADVICE}")));
    Ok(None)
}

fn print(session: &mut Session, findings: &[Finding]) -> std::io::Result<()> {
    for Finding { level, subject, text, .. } in findings {
        let (mark, tint) = match level {
            Level::Good => ("ok  ", Tint::Good),
            Level::Note => ("note", Tint::Warn),
            Level::Bad => ("BAD ", Tint::Bad),
        };
        let (mark, text) = (session.screen.tint(tint, mark), safe(text));
        let head = format!("{mark}  {subject:<12} ");
        let Some(width) = session.screen.known_width() else {
            session.screen.line(format_args!("{head}{text}"))?; // for `grep`, a line each
            continue;
        };
        let is_narrow = width < MIN_WIDE_COLUMNS;
        let indent = if is_narrow { 6 } else { 19 };
        let lines = wrap(&text, width - indent).join(&format!("\n{:indent$}", ""));
        let gap = if is_narrow { format!("\n{:indent$}", "") } else { String::new() };
        session
            .screen
            .line(format_args!("{}{gap}{lines}", if is_narrow { head.trim_end() } else { &head }))?;
    }
    Ok(())
}

fn finding(level: Level, subject: &'static str, text: impl Into<String>) -> Finding {
    Finding { level, alarm: level == Level::Bad, subject, text: text.into() }
}

/// A note on which somebody has to act.
fn alarm(subject: &'static str, text: impl Into<String>) -> Finding {
    Finding { alarm: true, ..finding(Level::Note, subject, text) }
}

fn about_file(file: &FileReport, disk: Option<Disk>, zone: Zone) -> Vec<Finding> {
    let mut all = Vec::new();
    let mode = file.mode.as_deref().map_or(String::new(), |mode| format!(", mode {mode}"));
    let kind = file.file_system.as_deref().map_or(String::new(), |kind| format!(" on {kind}"));
    let about = format!(
        "{}{kind}{mode}, schema {}, made {}",
        file.path.display(),
        file.schema_version,
        zone.show(file.created_at)
    );
    all.push(match open_mode(file).is_some() {
        true => finding(
            Level::Note,
            "file",
            format!("{about}; others may read it, and args are plain text: chmod 600"),
        ),
        false => finding(Level::Good, "file", about),
    });
    let wrong: Vec<String> = wrong_pragmas(file)
        .map(|pragma| format!("{} is {}, not {}", pragma.name, pragma.found, pragma.wanted))
        .collect();
    all.push(match wrong.is_empty() {
        true => finding(
            Level::Good,
            "sqlite",
            format!(
                "{}; {} read back as wanted",
                file.sqlite_version,
                count(file.pragmas.len() as u64, "pragma")
            ),
        ),
        false => finding(Level::Bad, "sqlite", format!("{}; {}", file.sqlite_version, wrong.join(", "))),
    });
    let spare = file.free_pages * file.page_bytes;
    let size = format!(
        "{} in {} pages, {} of them free, {} kept for a full disk",
        bytes(file.bytes),
        number(file.pages),
        bytes(spare),
        bytes(file.reserve_pages * file.page_bytes)
    );
    all.push(match spare >= LARGE_FREE_SPACE && !file.gives_pages_back {
        true => finding(
            Level::Note,
            "size",
            format!(
                "{size}; the file gives none back (auto_vacuum is NONE): export it, and import it into a new file"
            ),
        ),
        false => finding(Level::Good, "size", size),
    });
    all.push(about_wal(file));
    all.extend(disk.map(about_disk));
    all
}

fn about_disk(disk: Disk) -> Finding {
    let text = format!("{} free of {}", bytes(disk.free_bytes), bytes(disk.total_bytes));
    match disk.is_nearly_full() {
        true => alarm("disk", format!("{text}: it is nearly full")),
        false => finding(Level::Good, "disk", text),
    }
}

fn about_wal(file: &FileReport) -> Finding {
    let wal = &file.wal;
    let text = match wal.bytes {
        0 => "empty: everything is in the file itself".to_owned(),
        _ => format!(
            "{} with {} that can be read, {} of them committed",
            bytes(wal.bytes),
            count(wal.frames, "page"),
            number(wal.committed)
        ),
    };
    if wal.damaged {
        let text = format!(
            "{}, but it does not begin as a WAL does: SQLite will take it for empty",
            bytes(wal.bytes)
        );
        return finding(Level::Bad, "wal", text);
    }
    match is_large_wal(wal.bytes) {
        true => alarm(
            "wal",
            format!(
                "{text}; it is long: does an export, a backup or a program keep a read transaction open?"
            ),
        ),
        false => finding(Level::Good, "wal", text),
    }
}

fn about_check(check: &CheckReport) -> Finding {
    match check.problems.as_slice() {
        [] => finding(
            Level::Good,
            "integrity",
            "SQLite's structures and perdura's own rules hold, nothing is orphaned",
        ),
        problems => {
            let shown = problems.iter().take(MAX_SHOWN_PROBLEMS).map(String::as_str).collect::<Vec<_>>();
            let more = match problems.len() - shown.len() {
                0 => String::new(),
                n => format!("; and {n} more, which --json has"),
            };
            finding(Level::Bad, "integrity", format!("{}{more}; {ADVICE}", shown.join("; ")))
        }
    }
}

fn about_tasks(
    queue: &Queue,
    file: Option<&FileReport>,
    now: Timestamp,
    all: &mut Vec<Finding>,
) -> Result<(), CliError> {
    let counts = part(all, ("tasks", "their counters"), queue.counts())?;
    let total = counts.as_ref().map(Counts::total);
    if let (Some(file), Some(counts), Some(total)) = (file, &counts, &total) {
        let running = running_here(queue, total.running);
        let owner = about_owner(file, total, running);
        let starts = counts.queues.values().any(|queue| queue.ready > 0 && !waits_on_purpose(queue));
        all.push(Finding { alarm: owner.alarm && (starts || running > 0), ..owner });
    }
    for (name, counts) in counts.iter().flat_map(|counts| &counts.queues) {
        if counts.paused && counts.queued() > 0 {
            let text =
                format!("{} is paused with {}; `resume` it", name, count(counts.queued(), "queued task"));
            all.push(finding(Level::Note, "queue", text));
        }
    }
    for (name, since) in part(all, ("queue", "what is ready"), queue.ready_since())?.into_iter().flatten() {
        let waits = now.since(since);
        let counts = counts.as_ref().and_then(|counts| counts.queues.get(&name));
        if waits >= LONG_READY_WAIT && !counts.is_some_and(waits_on_purpose) {
            let text = format!("the oldest ready task of {name} has waited for {}", span(waits));
            all.push(alarm("queue", text));
        }
    }
    let Some(total) = total else { return Ok(()) };
    if total.unknown_name > 0 {
        let text = format!("{} no handler of the owner", verb(total.unknown_name, "has", "have"));
        all.push(alarm("handlers", text));
    }
    let ended = total.failed.saturating_add(total.lost);
    let finished = total.succeeded.saturating_add(total.cancelled);
    all.extend(file.and_then(|file| about_age(finished, file, now, || oldest_finished(queue))));
    all.push(match ended {
        0 => finding(Level::Good, "failures", "none"),
        n => alarm("failures", format!("{} ended FAILED or LOST; `failures` groups them", count(n, "task"))),
    });
    Ok(())
}

/// The earliest end among the oldest tasks that succeeded or were cancelled; none if there are none, or they cannot be read.
fn oldest_finished(queue: &Queue) -> Option<Timestamp> {
    let filter = Filter::new().state(State::Succeeded).state(State::Cancelled).limit(MAX_OLDEST_TASKS);
    queue.tasks(filter).ok()?.iter().filter_map(|task| task.finished_at).min()
}

/// Advises a purge if many finished tasks are kept, the file has no retention and some are old. If none is old, a program with the default
/// retention deletes them.
fn about_age(
    finished: u64,
    file: &FileReport,
    now: Timestamp,
    oldest: impl Fn() -> Option<Timestamp>,
) -> Option<Finding> {
    let is_much = finished >= MANY_FINISHED || (file.bytes >= LARGE_FILE_BYTES && finished >= SOME_FINISHED);
    let is_kept = matches!(file.retention, None | Some(None));
    let is_old = || oldest().is_some_and(|oldest| now.since(oldest) >= OLD_AGE);
    let text = || {
        format!(
            "{} succeeded or cancelled, {} in all, and the file does not say that any are deleted by age; `purge --older-than 30d` deletes old ones",
            verb(finished, "is", "are"),
            bytes(file.bytes)
        )
    };
    (is_much && is_kept && is_old()).then(|| finding(Level::Note, "age", text()))
}

/// `running`: how many running tasks have no work outside.
fn about_owner(file: &FileReport, total: &QueueCounts, running: u64) -> Finding {
    let before = format!("owners so far: {}", file.owner_epoch);
    match (file.owned, file.owner_process) {
        (Some(true), Some(process)) => finding(Level::Good, "owner", format!("process {process}; {before}")),
        (Some(true), None) => {
            finding(Level::Good, "owner", format!("a process that cannot be seen from here; {before}"))
        }
        (None, _) => {
            finding(Level::Note, "owner", format!("whether it lives cannot be known from here; {before}"))
        }
        (Some(false), _) if running > 0 => alarm(
            "owner",
            format!(
                "nobody; {} running when it ended, and the next owner settles that",
                verb(running, "was", "were")
            ),
        ),
        (Some(false), _) if total.ready > 0 => {
            alarm("owner", format!("nobody, and {} to run", verb(total.ready, "is", "are")))
        }
        (Some(false), _) => finding(Level::Good, "owner", format!("nobody, and nothing is to run; {before}")),
    }
}

/// So many tasks, and the form of a verb that goes with it.
fn verb(tasks: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(tasks, "task"), if tasks == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::SteppedQueue;

    #[test]
    fn a_purge_is_advised_where_much_is_kept_and_nothing_deletes_it() {
        let tests = SteppedQueue::open(Queue::builder(), &crate::testing::ManualClock::new()).unwrap();
        let mut file = tests.queue().inspect().unwrap();
        let now = Timestamp::from_millis(1_800_000_000_000);
        let about = |finished, oldest: Duration, file: &_| {
            about_age(finished, file, now, || Some(now.saturating_sub(oldest)))
        };
        assert!(about(MANY_FINISHED - 1, OLD_AGE, &file).is_none());
        let young = OLD_AGE - Duration::from_secs(1);
        assert!(about(MANY_FINISHED, young, &file).is_none(), "a program may delete what is older");
        let advice = about(MANY_FINISHED, OLD_AGE, &file).unwrap();
        assert!(
            advice.level == Level::Note && advice.text.contains("`purge --older-than 30d`"),
            "{advice:?}"
        );
        file.bytes = LARGE_FILE_BYTES;
        assert!(
            about(SOME_FINISHED, OLD_AGE, &file).is_some()
                && about(SOME_FINISHED - 1, OLD_AGE, &file).is_none()
        );
        file.retention = Some(Some(Duration::from_secs(60)));
        assert!(about(MANY_FINISHED, OLD_AGE, &file).is_none(), "age deletes them");
    }
}
