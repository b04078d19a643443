//! The terminal: what may be written to it, how wide it is, whether it has colours.
//!
//! Text that comes from a file never reaches it raw ([`safe`]).

use std::fmt;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::time::Duration;

use super::error::{CliError, system};
use super::text::{safe, safe_json};
use crate::{Clock, Progress, State, SystemClock};

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The meaning of a colour. The text must mean the same without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tint {
    Bold,
    Dim,
    Good,
    Bad,
    Busy,
    Warn,
}

impl Tint {
    pub(crate) fn of(state: State) -> Tint {
        match state {
            State::Queued => Tint::Bold,
            State::Running => Tint::Busy,
            State::Succeeded => Tint::Good,
            State::Failed | State::Lost => Tint::Bad,
            State::Cancelled => Tint::Dim,
        }
    }

    fn code(self) -> &'static str {
        match self {
            Tint::Bold => "1",
            Tint::Dim => "2",
            Tint::Good => "32",
            Tint::Bad => "31",
            Tint::Busy => "36",
            Tint::Warn => "33",
        }
    }
}

/// The width of lines, in columns, if it is not known.
const DEFAULT_WIDTH: usize = 100;

/// Standard output and its properties.
pub(crate) struct Screen {
    out: BufWriter<Stdout>,
    is_terminal: bool,
    colors: bool,
    broken: bool,
    /// The first error of writing to it.
    failure: Option<String>,
    /// The name before error messages.
    program: String,
}

impl Screen {
    pub(crate) fn new(when: ColorChoice, program: &str) -> Screen {
        let stdout = io::stdout();
        let is_terminal = stdout.is_terminal();
        let wanted = || is_terminal && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
        let colors = match when {
            ColorChoice::Auto => wanted(),
            ColorChoice::Always => true,
            ColorChoice::Never => false,
        };
        Screen {
            out: BufWriter::new(stdout),
            is_terminal,
            colors,
            broken: false,
            failure: None,
            program: program.to_owned(),
        }
    }

    /// Writes a line.
    pub(crate) fn line(&mut self, text: impl fmt::Display) -> io::Result<()> {
        self.write_fmt(format_args!("{text}\n"))
    }

    /// Writes text as it is; whoever calls it has made it safe.
    pub(crate) fn text(&mut self, text: impl fmt::Display) -> io::Result<()> {
        self.write_fmt(format_args!("{text}"))
    }

    /// Writes a value as one line of JSON.
    pub(crate) fn json(&mut self, value: &impl serde::Serialize) -> io::Result<()> {
        self.line(json_line(value)?)
    }

    /// Flushes the output.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let flushed = self.out.flush();
        self.note(flushed)
    }

    /// Remembers that it could not be written to.
    fn note<T>(&mut self, done: io::Result<T>) -> io::Result<T> {
        if let Err(e) = &done {
            self.broken |= e.kind() == io::ErrorKind::BrokenPipe;
            self.failure.get_or_insert_with(|| system(e));
        }
        done
    }

    /// The first error of writing to it.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Whether the reader has closed the pipe, as `head` does.
    pub(crate) fn reader_has_left(&self) -> bool {
        self.broken
    }

    /// Whether it is a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Whether colours are on.
    #[cfg(feature = "tui")]
    pub(crate) fn has_colors(&self) -> bool {
        self.colors
    }

    /// How many columns there are; [`DEFAULT_WIDTH`] if it is not known.
    pub(crate) fn width(&self) -> usize {
        self.known_width().unwrap_or(DEFAULT_WIDTH)
    }

    /// How many columns there are, at least 40, if there is a terminal or `COLUMNS` is set.
    pub(crate) fn known_width(&self) -> Option<usize> {
        let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        let seen = || terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
        let width = columns.or_else(|| if self.is_terminal { seen() } else { None });
        width.map(|width: usize| width.max(40))
    }

    /// The text in a colour, if there are colours.
    pub(crate) fn tint(&self, tint: Tint, text: impl fmt::Display) -> String {
        if self.colors { format!("\x1b[{}m{text}\x1b[0m", tint.code()) } else { text.to_string() }
    }

    /// Writes an error to stderr: what is wrong, and what to do next.
    pub(crate) fn print_error(&self, error: &CliError) {
        let _ = writeln!(io::stderr(), "{}: {}", self.program, safe(&error.message)); // there is nobody else to tell
    }

    /// Asks on stderr; none if stdin or stderr is no terminal. An answer that does not begin with `y` or `Y` is a no.
    pub(crate) fn ask(&mut self, question: &str) -> io::Result<Option<bool>> {
        if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
            return Ok(None);
        }
        self.flush()?;
        write!(io::stderr(), "{} [y/N] ", safe(question))?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        Ok(Some(answer.trim_start().starts_with(['y', 'Y'])))
    }

    /// Writes a remark to stderr: what happens, what was noticed.
    pub(crate) fn remark(&self, text: impl fmt::Display) {
        let _ = writeln!(io::stderr(), "{text}"); // without stderr it is lost
    }
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes);
        self.note(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Screen::flush(self)
    }
}

/// A value as one line of JSON that is safe to show.
pub(crate) fn json_line(value: &impl serde::Serialize) -> io::Result<String> {
    let text = serde_json::to_string(value).map_err(io::Error::other)?;
    Ok(safe_json(&text).into_owned())
}

/// Writes lines of JSON to the screen, made safe as by [`Screen::json`]. Each piece that is written must be whole UTF-8.
pub(crate) struct JsonLines<'s>(pub &'s mut Screen);

impl Write for JsonLines<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for line in String::from_utf8_lossy(bytes).split_inclusive('\n') {
            let text = line.strip_suffix('\n').unwrap_or(line);
            self.0.write_all(safe_json(text).as_bytes())?;
            self.0.write_all(&line.as_bytes()[text.len()..])?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Shorter operations show no meter.
const METER_DELAY: Duration = Duration::from_millis(500);

/// A percentage on stderr, if that is a terminal; gone when this is dropped.
pub(crate) struct Meter {
    what: &'static str,
    /// Started with the meter.
    clock: SystemClock,
    shown: Option<u64>,
    is_seen: bool,
}

impl Meter {
    /// `what` is the participle to show, such as `copied`.
    pub(crate) fn new(what: &'static str) -> Meter {
        Meter { what, clock: SystemClock::new(), shown: None, is_seen: io::stderr().is_terminal() }
    }

    /// Shows the progress.
    pub(crate) fn tell(&mut self, Progress { done, total }: Progress) {
        let percent = u64::try_from(u128::from(done) * 100 / u128::from(total.max(1))).unwrap_or(100);
        if self.is_seen && self.shown != Some(percent) && self.clock.monotonic() >= METER_DELAY {
            self.shown = Some(percent);
            let _ = write!(io::stderr(), "\r{percent} % {}", self.what); // without stderr it is lost
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if self.shown.is_some() {
            let _ = write!(io::stderr(), "\r{:1$}\r", "", self.what.len() + 6); // as above
        }
    }
}
