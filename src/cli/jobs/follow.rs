//! `perdura follow`: shows what a job writes, while it runs.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::thread;
use std::time::Duration;

use crate::cli::screen::{safe, safe_lines};
use crate::cli::times::Zone;
use crate::cli::words::{bytes, distance};
use crate::cli::{Done, Exit, Session};
use crate::{Clock, Hold, Output, OutputStream, Queue, State, SystemClock, TaskId, TaskRecord};

/// How often to look. Output reaches the file about once a second.
const LOOK: Duration = Duration::from_millis(200);

/// Which job to follow.
#[derive(Debug, clap::Args)]
#[command(after_help = "It ends with the job: with exit code 0 if that has SUCCEEDED, else 1.")]
pub(in crate::cli) struct Follow {
    /// The id of the job
    id: TaskId,
}

impl Follow {
    pub(super) fn run(self, session: &mut Session) -> Done {
        let queue = session.look()?;
        let mut follower = Follower::new(self.id);
        loop {
            let record = queue.get(self.id)?;
            follower.look(&queue, &record, session)?;
            if record.state.is_finished() {
                return Ok(follower.end(&record, session)?);
            }
            thread::sleep(LOOK);
        }
    }
}

struct Follower {
    id: TaskId,
    /// The attempt whose output is shown.
    generation: u64,
    out: Shown,
    err: Shown,
    /// What was said last of why it does not run.
    said: Option<(u64, Hold)>,
    clock: SystemClock,
}

impl Follower {
    fn new(id: TaskId) -> Follower {
        Follower {
            id,
            generation: 0,
            out: Shown::new(io::stdout().is_terminal()),
            err: Shown::new(io::stderr().is_terminal()),
            said: None,
            clock: SystemClock::new(),
        }
    }

    /// Shows what is new.
    fn look(
        &mut self,
        queue: &Queue,
        record: &TaskRecord,
        session: &mut Session,
    ) -> Result<(), crate::cli::Trouble> {
        if record.generation != self.generation {
            self.show(queue, session)?; // the rest of the attempt before
            let is_first = std::mem::replace(&mut self.generation, record.generation) == 0;
            (self.out.seen, self.err.seen) = (0, 0);
            if record.state == State::Running && (!is_first || record.attempt_number > 1) {
                let text = format!("attempt {} of {} begins", record.attempt_number, record.max_attempts);
                self.remark(&text, session)?;
            }
        }
        self.show(queue, session)?;
        let hold =
            record.hold.filter(|_| record.state == State::Queued).map(|hold| (record.generation, hold));
        if let Some((_, hold)) = hold.filter(|hold| self.said != Some(*hold)) {
            self.remark(&self.why_queued(record, hold, session.zone), session)?;
        }
        self.said = hold;
        Ok(())
    }

    fn why_queued(&self, record: &TaskRecord, hold: Hold, zone: Zone) -> String {
        let now = self.clock.now();
        let due = record
            .run_at
            .filter(|due| *due > now)
            .map(|due| format!("begins {} ({})", distance(due, now), zone.show(due)));
        let begins = due.unwrap_or_else(|| "waits for a worker; `perdura work` runs it".to_owned());
        let error = record.error_message.as_deref().map(|message| safe(message).into_owned());
        match (hold, error) {
            (Hold::Time, Some(error)) => {
                let attempt = format!("attempt {} of {}", record.attempt_number, record.max_attempts);
                format!("{attempt} failed: {error}; the next {begins}")
            }
            (Hold::Time, None) => format!("it {begins}"),
            (Hold::Ready, _) => "it waits for a worker; `perdura work` runs it".to_owned(),
            (Hold::UnknownName, _) => "it waits for a program that handles it".to_owned(),
            _ => "it waits: it was running when its worker died, and such tasks run one at a time".to_owned(),
        }
    }

    fn show(&mut self, queue: &Queue, session: &mut Session) -> Result<(), crate::cli::Trouble> {
        if self.generation == 0 {
            return Ok(());
        }
        for output in queue.output(self.id, Some(self.generation))? {
            let shown = if output.stream == OutputStream::Stdout { &mut self.out } else { &mut self.err };
            let (begin, left_out, rest) = shown.news(&output);
            shown.write(begin, output.stream, session)?;
            if left_out > 0 {
                let name = if output.stream == OutputStream::Stdout { "stdout" } else { "stderr" };
                self.remark(&format!("… {} of its {name} were not kept …", bytes(left_out)), session)?;
            }
            let shown = if output.stream == OutputStream::Stdout { &mut self.out } else { &mut self.err };
            shown.write(rest, output.stream, session)?;
        }
        session.screen.flush()?;
        Ok(())
    }

    /// Says something that is not the job's, on a line of its own.
    fn remark(&mut self, text: &str, session: &mut Session) -> io::Result<()> {
        self.finish_lines(session)?;
        session.screen.remark(format_args!("perdura: {}: {text}", self.id));
        Ok(())
    }

    /// Where somebody reads both streams, a remark must not stand in the middle of a line.
    fn finish_lines(&mut self, session: &mut Session) -> io::Result<()> {
        if std::mem::take(&mut self.out.in_line) && self.out.dressed {
            session.screen.text("\n")?;
        }
        if std::mem::take(&mut self.err.in_line) && self.err.dressed {
            session.screen.remark("");
        }
        session.screen.flush()
    }

    fn end(&mut self, record: &TaskRecord, session: &mut Session) -> io::Result<Exit> {
        if record.state == State::Succeeded {
            self.finish_lines(session)?;
            return Ok(Exit::Done);
        }
        let error =
            record.error_message.as_deref().map_or_else(String::new, |error| format!(": {}", safe(error)));
        let attempt = format!("in attempt {} of {}", record.attempt_number, record.max_attempts);
        self.remark(&format!("it is {} {attempt}{error}", record.state), session)?;
        Ok(Exit::No)
    }
}

/// How far a stream was shown.
struct Shown {
    /// Bytes of the stream that were seen or left out.
    seen: u64,
    /// It goes to a terminal: nothing that could steer it may be written.
    dressed: bool,
    /// The last character was no line end.
    in_line: bool,
}

impl Shown {
    fn new(dressed: bool) -> Shown {
        Shown { seen: 0, dressed, in_line: false }
    }

    /// What was not seen yet: a text, so many bytes that were left out, and the text after that.
    fn news<'o>(&mut self, output: &'o Output) -> (&'o str, u64, &'o str) {
        let first_end = output.first.len() as u64;
        let last_start = output.bytes.saturating_sub(output.last.len() as u64).max(first_end);
        let begin = from(&output.first, self.seen);
        let from_here = self.seen.max(first_end);
        let left_out = last_start.saturating_sub(from_here);
        let rest = from(&output.last, from_here.saturating_sub(last_start));
        self.seen = self.seen.max(output.bytes);
        (begin, left_out, rest)
    }

    fn write(&mut self, text: &str, stream: OutputStream, session: &mut Session) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        self.in_line = !text.ends_with('\n');
        let text = if self.dressed { dress(text) } else { text.into() };
        match stream {
            OutputStream::Stdout => session.screen.text(text),
            OutputStream::Stderr => {
                session.screen.flush()?; // so that the order is kept, as far as it is known
                io::stderr().write_all(text.as_bytes())
            }
        }
    }
}

/// The text from a byte on; from the next character, if that is inside one.
fn from(text: &str, byte: u64) -> &str {
    let mut start = usize::try_from(byte).unwrap_or(usize::MAX).min(text.len());
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

/// For a terminal. Programs that go back to the start of a line to show how far they are get a new line for that.
fn dress(text: &str) -> Cow<'_, str> {
    if text.contains('\r') {
        let lines = text.replace("\r\n", "\n").replace('\r', "\n");
        return Cow::Owned(safe_lines(&lines).into_owned());
    }
    safe_lines(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(first: &str, last: &str, bytes: u64) -> Output {
        let json = serde_json::json!({"generation": 1, "stream": "stdout", "first": first, "last": last, "bytes": bytes});
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn nothing_is_shown_twice_and_what_is_left_out_is_counted() {
        let mut shown = Shown::new(false);
        assert_eq!(shown.news(&output("ab", "", 2)), ("ab", 0, ""));
        assert_eq!(shown.news(&output("ab", "", 2)), ("", 0, ""));
        assert_eq!(shown.news(&output("abcd", "ef", 6)), ("cd", 0, "ef"));
        assert_eq!(shown.news(&output("abcd", "efgh", 8)), ("", 0, "gh"));
        assert_eq!(shown.news(&output("abcd", "uvwxyz", 26)), ("", 12, "uvwxyz"));
        assert_eq!(shown.news(&output("abcd", "vwxyz+", 27)), ("", 0, "+"));
        let mut late = Shown::new(false);
        assert_eq!(late.news(&output("abcd", "uvwxyz", 26)), ("abcd", 16, "uvwxyz"));
    }

    #[test]
    fn a_terminal_gets_lines_that_cannot_steer_it() {
        assert_eq!(dress("a\r\nb\r10%\r20%\n"), "a\nb\n10%\n20%\n");
        assert_eq!(dress("\u{1b}[31mred"), "\\u{1b}[31mred");
    }
}
