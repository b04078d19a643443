//! `perdura report`: what is in the file, on one page for a browser that needs nothing else.
//!
//! `gather` reads a plain value, `data`, by bounded reads, `verdict` says what of it needs attention; `page`, `parts`, `table` and `chart` make
//! markup of it and do nothing else. Text from the file becomes markup in one way only, maud's, which escapes it; and the page's policy
//! lets a browser use its own style and script alone.

mod chart;
mod data;
mod gather;
mod page;
mod parts;
mod sums;
mod table;
mod target_file;
mod verdict;
mod words;

use std::path::{Path, PathBuf};
use std::time::Duration;

use data::{ReportData, ReportOptions};

use crate::console::text::safe;
use crate::console::times::{Past, past_day};
use crate::console::words::bytes;
use crate::console::{CliResult, Exit, Session};
use crate::{Clock, SystemClock};

/// Where a page goes, if nobody says.
const DEFAULT_OUTPUT: &str = "perdura-report.html";

/// What stands for the standard output.
const STDOUT: &str = "-";

/// Write a page for a browser: counts, activity, failures, times, the file
///
/// One file that needs no network and no server. It has task names, programs of jobs, tags and error texts; args, command lines and what jobs
/// have written only if they are asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct ReportArgs {
    /// Where to write it; - for the standard output [default: perdura-report.html; with --json the standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the file if it exists
    #[arg(long)]
    force: bool,
    /// How far back activity is shown, such as 30m or 6h, or since a time: at most 24h, more is not kept
    #[arg(long, value_name = "AGE|TIME", default_value = "24h", value_parser = window)]
    since: Past,
    /// Show args and command lines of tasks, and the last lines of the standard error of failures, too; they may be private
    #[arg(long)]
    args: bool,
}

fn window(text: &str) -> Result<Past, String> {
    let since = past_day(text)?;
    match since.ago(SystemClock::new().now()) < Duration::from_secs(60) {
        true => Err("it is at least 1m ago".to_owned()),
        false => Ok(since),
    }
}

impl ReportArgs {
    pub(crate) fn run(self, session: &mut Session) -> CliResult {
        let default = if session.json { STDOUT } else { DEFAULT_OUTPUT };
        let output = self.output.clone().unwrap_or_else(|| default.into());
        let to_stdout = output == Path::new(STDOUT);
        if !to_stdout {
            target_file::check(&output, self.force, session.db())?;
        }
        let queue = session.read_only_queue()?;
        let now = SystemClock::new().now();
        let is_mounted = session.explainer(&queue).is_mounted;
        let options = ReportOptions { now, back: self.since.ago(now), args: self.args, is_mounted };
        let mut data = ReportData::gather(&queue, options)?;
        data.verdict = verdict::judge(&data, &options);
        let text = if session.json {
            serde_json::to_string(&data).map_err(std::io::Error::other)? + "\n"
        } else {
            page::page(&data).into_string()
        };
        if to_stdout {
            session.screen.text(text)?;
            return Ok(Exit::Done);
        }
        target_file::write(&output, self.force, text.as_bytes())?;
        let place = output.display().to_string();
        session.screen.remark(format_args!("{}: {}", safe(&place), bytes(text.len() as u64)));
        Ok(Exit::Done)
    }
}
