//! Copies of the file, and the command's own papers.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use super::screen::JsonLines;
use super::words::{bytes, count};
use super::{Done, Exit, Session, Trouble, grammar};
use crate::{ErrorKind, Progress};

/// Makes the file, if it is not there.
pub(super) fn init(session: &mut Session) -> Done {
    let existed = std::fs::symlink_metadata(session.db()).is_ok();
    let queue = session.open(Session::builder())?;
    let path = queue.path().to_owned();
    if session.json {
        session.screen.json(&serde_json::json!({ "path": path, "made": !existed }))?;
    } else {
        let is = if existed { "is there already" } else { "is ready" };
        session.screen.line(format_args!("{} {is}", super::screen::safe(&path.to_string_lossy())))?;
    }
    Ok(Exit::Done)
}

/// Copies the file while it is in use.
pub(super) fn backup(session: &mut Session, to: &Path) -> Done {
    let queue = session.look()?;
    let meter = io::stderr().is_terminal();
    let mut shown = 0;
    let progress = |Progress { done, total }: Progress| {
        let percent = done * 100 / total.max(1);
        if meter && percent > shown {
            shown = percent;
            let _ = write!(io::stderr(), "\r{percent} %"); // a meter that nobody sees is none
        }
    };
    queue.backup(to, progress).map_err(|e| match e.kind() {
        ErrorKind::InvalidInput => Trouble::new(Exit::File, e.to_string()), // the target is there, or cannot be
        _ => e.into(),
    })?;
    if meter && shown > 0 {
        let _ = write!(io::stderr(), "\r      \r");
    }
    let length = std::fs::symlink_metadata(to)?.len();
    if session.json {
        session.screen.json(&serde_json::json!({ "path": to, "bytes": length, "verified": true }))?;
    } else {
        let to = to.to_string_lossy();
        session.screen.line(format_args!("{}: {}, checked", super::screen::safe(&to), bytes(length)))?;
    }
    Ok(Exit::Done)
}

/// Writes everything as lines of JSON.
pub(super) fn export(session: &mut Session, to: Option<&Path>) -> Done {
    let queue = session.look()?;
    let rows = match to.filter(|to| to.as_os_str() != "-") {
        None => queue.export(JsonLines(&mut session.screen))?,
        Some(to) => {
            let mut file = BufWriter::new(private_file(to)?);
            let rows = queue.export(&mut file)?;
            file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
            rows
        }
    };
    session.screen.remark(format_args!("{} exported", count(rows, "row")));
    Ok(Exit::Done)
}

/// A new file that only its owner can read.
fn private_file(path: &Path) -> Result<File, Trouble> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(path)
        .map_err(|e| Trouble::new(Exit::File, format!("{}: {e}; give another path", path.display())))
}

/// What some editors put before a text.
pub(super) const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// A text without its byte order mark.
pub(super) fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)
}

/// Makes the file of an export.
pub(super) fn import(session: &mut Session, from: &Path) -> Done {
    let builder = Session::builder();
    let cannot = |e| Trouble::new(Exit::File, format!("{}: {e}", from.display()));
    let mut text: Box<dyn BufRead> = match from.as_os_str() == "-" {
        true => Box::new(io::stdin().lock()),
        false => Box::new(BufReader::new(File::open(from).map_err(cannot)?)),
    };
    if text.fill_buf().map_err(cannot)?.starts_with(BYTE_ORDER_MARK) {
        text.consume(BYTE_ORDER_MARK.len());
    }
    let rows = builder.import(session.db(), text)?;
    if session.json {
        session.screen.json(&serde_json::json!({ "path": session.db(), "rows": rows }))?;
    } else {
        let line = format!("{} imported into {}", count(rows, "row"), session.db().display());
        session.screen.line(super::screen::safe(&line))?;
    }
    Ok(Exit::Done)
}

/// Writes a shell's completions.
pub(super) fn completions(session: &mut Session, shell: clap_complete::Shell) -> Done {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut grammar(), "perdura", &mut text);
    session.screen.write_all(&text)?;
    Ok(Exit::Done)
}

/// Writes the manual: one page for each verb into a folder, or the first one to stdout.
pub(super) fn manual(session: &mut Session, folder: Option<PathBuf>) -> Done {
    match folder {
        None => clap_mangen::Man::new(grammar()).render(&mut session.screen)?,
        Some(folder) => {
            std::fs::create_dir_all(&folder)?;
            clap_mangen::generate_to(grammar(), &folder)?;
            session.screen.remark(format_args!("the manual is in {}", folder.display()));
        }
    }
    Ok(Exit::Done)
}
