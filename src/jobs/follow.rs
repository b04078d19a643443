//! `perdura follow`: shows what a job writes, while it runs.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::thread;
use std::time::Duration;

use super::calling_job::refuse_waiting_for_itself;
use super::engine_jobs::LogOf;
use super::engines::{EngineEntry, EnginesFile, EnginesOption};
use super::text::Decoder;
use crate::console::inspect::explain::WorkerStatus;
use crate::console::text::{safe, safe_lines};
use crate::console::words::bytes;
use crate::console::{CliError, CliResult, Exit, Session};
use crate::{Clock, Hold, Output, OutputStream, Queue, State, SystemClock, TaskId, TaskRecord};

/// Interval between reads of the file. Output reaches it about once a second.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// How often an engine is asked what a job has written.
const ASK_INTERVAL: Duration = Duration::from_secs(1);

/// Of an engine's log with so many bytes or more only the end may be kept, so a reader cannot go on where it was.
const LONG_LOG: u64 = 512 << 10;

/// Every so many polls it checks whether a worker still runs, which costs more.
const POLLS_PER_WORKER_CHECK: u32 = 10;

/// Which job to follow.
#[derive(Debug, clap::Args)]
#[command(arg = crate::console::no_json())]
#[command(after_help = "It ends with the job: with exit code 0 if that has SUCCEEDED, else 1.")]
pub(crate) struct FollowArgs {
    /// The id of the job
    id: TaskId,
    #[command(flatten)]
    engines: EnginesOption,
}

impl FollowArgs {
    pub(super) fn run(self, session: &mut Session) -> CliResult {
        session.refuse_json("follow writes what the job writes; `perdura show ID --json` has it as JSON")?;
        refuse_waiting_for_itself(session, Some(self.id))?;
        let queue = session.read_only_queue()?;
        let mut follower = JobFollower::new(self.id, self.engines.engines(session.db()));
        let shown = self.follow(&queue, &mut follower, session);
        // A reader that has left has not seen that the job succeeded.
        if session.screen.reader_has_left() { Ok(Exit::No) } else { shown }
    }

    fn follow(&self, queue: &Queue, follower: &mut JobFollower, session: &mut Session) -> CliResult {
        loop {
            let record =
                queue.get(self.id).map_err(|e| session.explainer(queue).unless_letter(queue, self.id, e))?;
            follower.look(queue, &record, session)?;
            if record.state.is_finished() {
                return Ok(follower.end(&record, session)?);
            }
            thread::sleep(POLL_INTERVAL);
        }
    }
}

struct JobFollower {
    id: TaskId,
    /// The attempt whose output is shown.
    generation: u64,
    out: StreamPosition,
    err: StreamPosition,
    /// Generation, state and hold of the task at the last poll.
    stands: Option<(u64, State, Option<Hold>)>,
    /// Polls since `stands` changed.
    looks: u32,
    worker: Option<WorkerStatus>,
    engines: EnginesFile,
    /// What an engine tells of the job, while that runs there.
    outside: Option<LogReader>,
}

impl JobFollower {
    fn new(id: TaskId, engines: EnginesFile) -> JobFollower {
        JobFollower {
            id,
            generation: 0,
            out: StreamPosition::new(io::stdout().is_terminal()),
            err: StreamPosition::new(io::stderr().is_terminal()),
            stands: None,
            looks: 0,
            worker: None,
            engines,
            outside: None,
        }
    }

    /// Shows what is new.
    fn look(&mut self, queue: &Queue, record: &TaskRecord, session: &mut Session) -> Result<(), CliError> {
        if record.generation != self.generation {
            self.show(queue, session)?; // the rest of the attempt before
            let is_first = std::mem::replace(&mut self.generation, record.generation) == 0;
            self.out.restart();
            self.err.restart();
            self.outside = None;
            if record.state == State::Running && (!is_first || record.attempt_number > 1) {
                let text = format!("attempt {} of {} begins", record.attempt_number, record.max_attempts);
                self.remark(&text, session)?;
            }
        }
        self.show(queue, session)?;
        self.show_outside(record, session)?;
        self.tell_obstacle(queue, record, session)
    }

    /// Shows the new output of a job that an engine runs; the engine is asked for it.
    fn show_outside(&mut self, record: &TaskRecord, session: &mut Session) -> Result<(), CliError> {
        let outside = record.outside.as_ref().filter(|outside| outside.accepted_at.is_some());
        let Some((engine, job)) =
            outside.and_then(|outside| outside.engine.as_ref().zip(outside.job.as_ref()))
        else {
            return Ok(());
        };
        let reader = self.outside.get_or_insert_with(|| LogReader::new(&self.engines, engine));
        let (news, trouble) = reader.news(job, self.out.seen);
        if let Some(trouble) = trouble {
            self.remark(&safe(&trouble), session)?;
        }
        self.out.seen += news.len() as u64;
        self.out.write(&news, OutputStream::Stdout, session)?;
        Ok(session.screen.flush()?)
    }

    /// Says why it does not run, once for each reason.
    fn tell_obstacle(
        &mut self,
        queue: &Queue,
        record: &TaskRecord,
        session: &mut Session,
    ) -> Result<(), CliError> {
        let stands = (record.generation, record.state, record.hold);
        let is_new = self.stands != Some(stands);
        self.looks = if is_new { 0 } else { self.looks + 1 };
        if !self.looks.is_multiple_of(POLLS_PER_WORKER_CHECK) {
            return Ok(());
        }
        let explainer = session.explainer(queue);
        let changed = is_new || self.worker != Some(explainer.worker);
        (self.stands, self.worker) = (Some(stands), Some(explainer.worker));
        let explanation = queue.explain(self.id)?;
        if changed && explainer.is_kept(&explanation) {
            let text = match (record.hold, &record.error_message) {
                (Some(Hold::Time), Some(error)) => {
                    let attempt = format!("attempt {} of {}", record.attempt_number, record.max_attempts);
                    format!("{attempt} failed: {}; {}", safe(error), safe(&explainer.explain(&explanation)))
                }
                _ => safe(&explainer.explain(&explanation)).into_owned(),
            };
            self.remark(&text, session)?;
        }
        Ok(())
    }

    fn show(&mut self, queue: &Queue, session: &mut Session) -> Result<(), CliError> {
        if self.generation == 0 {
            return Ok(());
        }
        let is_followed = self.outside.as_ref().is_some_and(|reader| reader.log.is_some());
        for output in queue.output(self.id, Some(self.generation))? {
            if is_followed && (output.bytes >= LONG_LOG || output.bytes < self.out.seen) {
                let id = self.id;
                self.remark(
                    &format!("its log is long; `perdura show {id} --only stdout` has its end"),
                    session,
                )?;
                continue;
            }
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

    /// Writes a remark of `follow` itself, on a line of its own.
    fn remark(&mut self, text: &str, session: &mut Session) -> io::Result<()> {
        self.finish_lines(session)?;
        session.screen.remark(format_args!("perdura: {}: {text}", self.id));
        Ok(())
    }

    /// Ends the lines that were begun: on a terminal a remark must not stand in the middle of one.
    fn finish_lines(&mut self, session: &mut Session) -> io::Result<()> {
        self.out.finish(OutputStream::Stdout, session)?;
        self.err.finish(OutputStream::Stderr, session)?;
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
        let attempt = match record.attempt_number {
            0 => String::new(), // it has never started
            number => format!(" in attempt {number} of {}", record.max_attempts),
        };
        self.remark(&format!("it is {}{attempt}{error}", record.state), session)?;
        Ok(Exit::No)
    }
}

/// What an engine tells of a job.
struct LogReader {
    log: Option<LogOf>,
    /// When it was last asked, on the monotonic clock.
    asked: Option<Duration>,
    clock: SystemClock,
    /// The problem that was told last.
    trouble: Option<String>,
}

impl LogReader {
    fn new(engines: &EnginesFile, engine: &str) -> LogReader {
        let (log, trouble) = match engines.get(engine).and_then(EngineEntry::log) {
            Ok(log) => (Some(log), None),
            Err(e) => (None, Some(format!("what it writes is shown when it has ended: {}", e.message))),
        };
        LogReader { log, asked: None, clock: SystemClock::new(), trouble }
    }

    /// What the job has written from this byte on, as far as it is known now; and what is wrong, once.
    fn news(&mut self, job: &str, from: u64) -> (Vec<u8>, Option<String>) {
        let now = self.clock.monotonic();
        let is_due = self.asked.is_none_or(|asked| now.saturating_sub(asked) >= ASK_INTERVAL);
        let Some(log) = &mut self.log else {
            return (Vec::new(), self.trouble.take()); // once
        };
        if !is_due {
            return (Vec::new(), None);
        }
        let told = log(job, from);
        self.asked = Some(self.clock.monotonic()); // it may have taken its time
        match told {
            Ok(news) => {
                self.trouble = None;
                (news, None)
            }
            Err(e) => {
                let trouble = Some(format!("what it writes is not known now: {e}"));
                let is_new = self.trouble != trouble;
                self.trouble = trouble;
                (Vec::new(), self.trouble.clone().filter(|_| is_new))
            }
        }
    }
}

/// The position in a stream up to which it was shown.
struct StreamPosition {
    /// Bytes of the stream that were shown or skipped.
    seen: u64,
    /// It goes to a terminal: nothing that could steer it may be written.
    dressed: bool,
    /// The last character was no line end.
    in_line: bool,
    decoder: Decoder,
}

impl StreamPosition {
    fn new(dressed: bool) -> StreamPosition {
        StreamPosition { seen: 0, dressed, in_line: false, decoder: Decoder::default() }
    }

    /// Goes back to the beginning, for another attempt.
    fn restart(&mut self) {
        (self.seen, self.decoder) = (0, Decoder::default());
    }

    /// The unseen part: a piece, the number of bytes skipped after it, and the piece after those.
    fn news<'o>(&mut self, output: &'o Output) -> (&'o [u8], u64, &'o [u8]) {
        let first_end = output.first.len() as u64;
        let last_start = output.bytes.saturating_sub(output.last.len() as u64).max(first_end);
        let begin = from(&output.first, self.seen);
        let from_here = self.seen.max(first_end);
        let left_out = last_start.saturating_sub(from_here);
        let rest = from(&output.last, from_here.saturating_sub(last_start));
        self.seen = self.seen.max(output.bytes);
        (begin, left_out, rest)
    }

    fn write(&mut self, piece: &[u8], stream: OutputStream, session: &mut Session) -> io::Result<()> {
        if self.dressed {
            let text = dress(&self.decoder.decode(piece)).into_owned();
            self.put(text.as_bytes(), stream, session)
        } else {
            self.put(piece, stream, session)
        }
    }

    /// Writes what the decoder has kept, at the end of the stream.
    fn finish(&mut self, stream: OutputStream, session: &mut Session) -> io::Result<()> {
        let rest = self.decoder.finish();
        self.put(rest.as_bytes(), stream, session)
    }

    fn put(&mut self, piece: &[u8], stream: OutputStream, session: &mut Session) -> io::Result<()> {
        let Some(last) = piece.last() else { return Ok(()) };
        self.in_line = *last != b'\n';
        match stream {
            OutputStream::Stdout => session.screen.write_all(piece),
            OutputStream::Stderr => {
                session.screen.flush()?; // so that the order is kept, as far as it is known
                io::stderr().write_all(piece)
            }
        }
    }
}

/// The bytes from offset `first` on.
fn from(bytes: &[u8], first: u64) -> &[u8] {
    &bytes[usize::try_from(first).unwrap_or(usize::MAX).min(bytes.len())..]
}

/// Text for a terminal. A carriage return, with which programs write a progress line over, becomes a line end.
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

    #[track_caller]
    fn assert_news(
        shown: &mut StreamPosition,
        [first, last]: [&str; 2],
        bytes: u64,
        news: (&str, u64, &str),
    ) {
        let (first, last) = (first.into(), last.into());
        let output = Output { generation: 1, stream: OutputStream::Stdout, first, last, bytes };
        let (piece, left_out, rest) = news;
        assert_eq!(shown.news(&output), (piece.as_bytes(), left_out, rest.as_bytes()));
    }

    #[test]
    fn nothing_is_shown_twice_and_what_is_left_out_is_counted() {
        let mut shown = StreamPosition::new(false);
        assert_news(&mut shown, ["ab", ""], 2, ("ab", 0, ""));
        assert_news(&mut shown, ["ab", ""], 2, ("", 0, ""));
        assert_news(&mut shown, ["abcd", "ef"], 6, ("cd", 0, "ef"));
        assert_news(&mut shown, ["abcd", "efgh"], 8, ("", 0, "gh"));
        assert_news(&mut shown, ["abcd", "uvwxyz"], 26, ("", 12, "uvwxyz"));
        assert_news(&mut shown, ["abcd", "vwxyz+"], 27, ("", 0, "+"));
        let mut late = StreamPosition::new(false);
        assert_news(&mut late, ["abcd", "uvwxyz"], 26, ("abcd", 16, "uvwxyz"));
    }

    #[test]
    fn a_terminal_gets_lines_that_cannot_steer_it() {
        assert_eq!(dress("a\r\nb\r10%\r20%\n"), "a\nb\n10%\n20%\n");
        assert_eq!(dress("\u{1b}[31mred"), "\\u{1b}[31mred");
    }
}
