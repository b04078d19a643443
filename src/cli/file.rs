//! The verbs for whole files (`init`, `backup`, `export`, `import`), and for the command's own papers (`completions`, `man`).

use std::error::Error as _;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::Queue;
use crate::console::screen::{JsonLines, Meter};
use crate::console::text::BYTE_ORDER_MARK;
use crate::console::whole_file::WholeFile;
use crate::console::words::{bytes, count};
use crate::console::{CliError, CliResult, Exit, Session, system};

/// Makes the file, if it is not there.
pub(super) fn init(session: &mut Session) -> CliResult {
    let existed = std::fs::symlink_metadata(session.db()).is_ok();
    let queue = session.open(Session::builder())?;
    let path = queue.path().to_owned();
    if session.json {
        session.screen.json(&serde_json::json!({ "path": path, "made": !existed }))?;
    } else {
        let is = if existed { "is there already" } else { "is ready" };
        session.screen.line(format_args!("{} {is}", crate::console::text::safe(&path.to_string_lossy())))?;
    }
    Ok(Exit::Done)
}

/// Copies the file while it is in use.
pub(super) fn backup(session: &mut Session, to: &Path) -> CliResult {
    let queue = session.read_only_queue()?;
    let mut meter = Meter::new("copied");
    queue.backup(to, |progress| meter.tell(progress)).map_err(|e| CliError::of_copy(to, e))?;
    drop(meter);
    let length = std::fs::symlink_metadata(to)?.len();
    if session.json {
        session.screen.json(&serde_json::json!({ "path": to, "bytes": length, "verified": true }))?;
    } else {
        let to = to.to_string_lossy();
        session.screen.line(format_args!(
            "{}: {}, checked",
            crate::console::text::safe(&to),
            bytes(length)
        ))?;
    }
    Ok(Exit::Done)
}

/// Writes everything as lines of JSON.
pub(super) fn export(session: &mut Session, to: Option<&Path>) -> CliResult {
    let queue = session.read_only_queue()?;
    let rows = match to.filter(|to| to.as_os_str() != "-") {
        None => queue.export(JsonLines(&mut session.screen))?,
        Some(to) => {
            let rows = export_whole(&queue, to)?;
            session.note_done(format!("{}: {} exported", to.display(), count(rows, "row")));
            if session.json {
                session.screen.json(&serde_json::json!({ "path": to, "rows": rows }))?;
            }
            rows
        }
    };
    session.screen.remark(format_args!("{} exported", count(rows, "row")));
    Ok(Exit::Done)
}

/// Writes an export that gets its name when it is whole: until then it is `FILE-half`, as a backup is.
fn export_whole(queue: &Queue, to: &Path) -> Result<u64, CliError> {
    let exists = |path: &Path, what_to_do: &str| {
        CliError::new(Exit::File, format!("{} exists already; {what_to_do}", path.display()))
    };
    let is_there = || std::fs::symlink_metadata(to).is_ok();
    if is_there() {
        return Err(exists(to, "remove it, or give another path"));
    }
    let mut half = to.as_os_str().to_owned();
    half.push("-half");
    let half = PathBuf::from(half);
    let mut file = WholeFile::create(half.clone()).map_err(|e| match e.kind() {
        io::ErrorKind::AlreadyExists => {
            exists(&half, "another run makes it now, or was killed: remove it then")
        }
        _ => CliError::of_target(to, &e),
    })?;
    let rows = fill(queue, &mut file, to)?;
    match file.publish(to, false) {
        Ok(()) => Ok(rows),
        Err(_) if is_there() => Err(exists(to, "remove it, or give another path")),
        Err(e) => Err(CliError::of_target(to, &e)),
    }
}

fn fill(queue: &Queue, file: &mut WholeFile, to: &Path) -> Result<u64, CliError> {
    let mut out = BufWriter::new(file);
    let rows = queue.export(&mut out).map_err(|e| {
        match e.source().and_then(|source| source.downcast_ref::<io::Error>()) {
            Some(written) => CliError::of_target(to, written),
            None => e.into(), // of the database
        }
    })?;
    out.flush().map_err(|e| CliError::of_target(to, &e))?;
    Ok(rows)
}

/// Makes the file of an export.
pub(super) fn import(session: &mut Session, from: &Path) -> CliResult {
    let builder = Session::builder();
    let cannot = |e: io::Error| {
        let message = format!("{}: {}; give the path of an export", from.display(), system(&e));
        CliError::new(Exit::File, message)
    };
    let mut text: Box<dyn BufRead> = match from.as_os_str() == "-" {
        true => Box::new(io::stdin().lock()),
        false => Box::new(BufReader::new(File::open(from).map_err(cannot)?)),
    };
    if text.fill_buf().map_err(cannot)?.starts_with(BYTE_ORDER_MARK) {
        text.consume(BYTE_ORDER_MARK.len());
    }
    if std::fs::symlink_metadata(session.db()).is_ok() {
        let message = format!(
            "the file {} exists; name a new one: `perdura --db NEW.db import …`",
            session.db().display()
        );
        return Err(CliError::new(Exit::File, message));
    }
    session.must_have_folder()?;
    let rows = builder.import(session.db(), text).map_err(CliError::of_file)?;
    if session.json {
        session.screen.json(&serde_json::json!({ "path": session.db(), "rows": rows }))?;
    } else {
        let line = format!("{} imported into {}", count(rows, "row"), session.db().display());
        session.screen.line(crate::console::text::safe(&line))?;
    }
    Ok(Exit::Done)
}

/// Writes a shell's completions.
pub(super) fn completions(
    session: &mut Session,
    shell: clap_complete::Shell,
    mut grammar: clap::Command,
) -> CliResult {
    session.refuse_json("completions are for a shell")?;
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut grammar, "perdura", &mut text);
    session.screen.write_all(&text)?;
    Ok(Exit::Done)
}

/// Writes the manual: one page for each verb into a folder, or the first one to stdout.
pub(super) fn manual(session: &mut Session, folder: Option<PathBuf>, grammar: clap::Command) -> CliResult {
    session.refuse_json("the manual is for people")?;
    match folder {
        None => clap_mangen::Man::new(grammar).render(&mut session.screen)?,
        Some(folder) => {
            let made = std::fs::create_dir_all(&folder);
            let written = made.and_then(|()| clap_mangen::generate_to(grammar, &folder));
            written.map_err(|e| CliError::of_target(&folder, &e))?;
            session.screen.remark(format_args!("the manual is in {}", folder.display()));
        }
    }
    Ok(Exit::Done)
}
