//! The data thread: it alone has the file open. It looks, counts and acts step by step, and listens in between, so that a question that
//! is no longer asked costs nothing, and the screen never waits for the disk.

use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TryRecvError, unbounded};

use super::ask::{Answer, Ask, Found, Pulse, Serial, Subject, Tally};
use super::search::Search;
use super::sweep::Sweep;
use crate::{Builder, Clock, Error, FileReport, Queue, SystemClock, Timestamp};

/// A look at the file opens it anew after so long: it may have been replaced, and what is known of it changes.
const REOPEN: Duration = Duration::from_secs(5);
/// What is found on the way is told so often.
const TELL: Duration = Duration::from_millis(150);
/// How far back the rates go.
const HOUR: Duration = Duration::from_secs(60 * 60);

/// The data thread, seen from the screen.
pub(super) struct Data {
    asks: Option<Sender<Ask>>,
    answers: Receiver<Answer>,
    thread: Option<JoinHandle<()>>,
}

impl Data {
    /// Starts it. It opens the file when it is first asked.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(path: PathBuf, settings: fn() -> Builder) -> std::io::Result<Data> {
        // Unbounded: the screen asks a question again only when it is answered.
        let (asks, inbox) = unbounded();
        let (outbox, answers) = unbounded();
        let reader = Reader {
            file: File { path, settings, open: None, clock: SystemClock::new() },
            outbox,
            search: None,
            sweep: None,
        };
        let thread = std::thread::Builder::new()
            .name("perdura-watch-data".to_owned())
            .spawn(move || reader.run(&inbox))?;
        Ok(Data { asks: Some(asks), answers, thread: Some(thread) })
    }

    pub fn ask(&self, ask: Ask) {
        if let Some(asks) = &self.asks {
            let _ = asks.send(ask); // that nobody listens is seen where the answers are read
        }
    }

    /// What has been answered; none if the thread has ended.
    pub fn answers(&self) -> Option<Vec<Answer>> {
        let mut all = Vec::new();
        loop {
            match self.answers.try_recv() {
                Ok(answer) => all.push(answer),
                Err(TryRecvError::Empty) => return Some(all),
                Err(TryRecvError::Disconnected) => return None,
            }
        }
    }
}

/// It stops listening, and is waited for: at most a step.
impl Drop for Data {
    fn drop(&mut self) {
        drop(self.asks.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // that it panicked has been said by the hook
        }
    }
}

/// The thread's own side.
struct Reader {
    file: File,
    outbox: Sender<Answer>,
    search: Option<Task<Search>>,
    sweep: Option<Task<Sweep>>,
}

/// Something that takes several steps.
struct Task<T> {
    serial: Serial,
    told: Duration,
    work: T,
    /// Opened for it, and closed with it, where it writes.
    writer: Option<Queue>,
}

impl<T> Task<T> {
    fn new(serial: Serial, work: T) -> Task<T> {
        Task { serial, told: Duration::ZERO, work, writer: None }
    }

    /// Whether what it has come to was told just now.
    fn is_silent(&mut self, now: Duration) -> bool {
        let silent = now.saturating_sub(self.told) < TELL;
        if !silent {
            self.told = now;
        }
        silent
    }
}

impl Reader {
    fn run(mut self, inbox: &Receiver<Ask>) {
        loop {
            let idle = self.search.is_none() && self.sweep.is_none();
            let ask =
                if idle { inbox.recv().map_err(|_| TryRecvError::Disconnected) } else { inbox.try_recv() };
            match ask {
                Ok(ask) => self.listen(ask),
                Err(TryRecvError::Empty) => {
                    self.search();
                    self.sweep();
                }
                Err(TryRecvError::Disconnected) => return,
            }
        }
    }

    fn listen(&mut self, ask: Ask) {
        match ask {
            Ask::Pulse { with_rates } => {
                let pulse = self.file.pulse(with_rates);
                self.answer(Subject::Pulse, pulse.map(|pulse| Answer::Pulse(Box::new(pulse))));
            }
            Ask::Look(serial, look) => self.search = Some(Task::new(serial, Search::new(look))),
            Ask::Count(serial, deed) => self.sweep = Some(Task::new(serial, Sweep::count(deed))),
            Ask::Do(serial, deed) => self.sweep = Some(Task::new(serial, Sweep::perform(deed))),
            Ask::Stop => {
                if let Some(Task { serial, work, .. }) = self.sweep.take().filter(|task| task.work.writes()) {
                    let mut tally = work.tally();
                    tally.is_done = true;
                    self.answer(Subject::Deed(serial), Ok(Answer::Did(serial, tally)));
                }
            }
        }
    }

    fn search(&mut self) {
        let Some(mut task) = self.search.take() else { return };
        let clock = self.file.clock;
        let found = self.file.look().and_then(|queue| task.work.step(queue, || clock.monotonic()));
        let serial = task.serial;
        if let Ok(Found { searching: Some(_), .. }) = &found {
            let is_silent = task.is_silent(clock.monotonic());
            self.search = Some(task);
            if is_silent {
                return;
            }
        }
        self.answer(Subject::Look(serial), found.map(|found| Answer::Look(serial, found)));
    }

    fn sweep(&mut self) {
        let Some(mut task) = self.sweep.take() else { return };
        let serial = task.serial;
        let done = self.step_sweep(&mut task);
        let writes = task.work.writes();
        if matches!(done, Ok(tally) if !tally.is_done) {
            let is_silent = task.is_silent(self.file.clock.monotonic());
            self.sweep = Some(task);
            if is_silent {
                return;
            }
        }
        let as_answer =
            |tally| if writes { Answer::Did(serial, tally) } else { Answer::Count(serial, tally) };
        self.answer(Subject::Deed(serial), done.map(as_answer));
    }

    fn step_sweep(&mut self, task: &mut Task<Sweep>) -> Result<Tally, Error> {
        let clock = self.file.clock;
        let queue = if task.work.writes() {
            match &mut task.writer {
                Some(writer) => writer,
                none => none.insert(self.file.write()?),
            }
        } else {
            self.file.look()?
        };
        task.work.step(queue, || clock.monotonic())
    }

    fn answer(&mut self, subject: Subject, answer: Result<Answer, Error>) {
        let answer = answer.unwrap_or_else(|error| {
            self.file.open = None; // the next look opens it anew
            Answer::Trouble(subject, error.to_string())
        });
        let _ = self.outbox.send(answer); // a screen that has gone needs no answer
    }
}

/// The file, open to look most of the time.
struct File {
    path: PathBuf,
    /// How it is opened.
    settings: fn() -> Builder,
    open: Option<Open>,
    clock: SystemClock,
}

struct Open {
    queue: Queue,
    report: FileReport,
    at: Duration,
}

impl File {
    /// The queue, to look only.
    fn look(&mut self) -> Result<&Queue, Error> {
        let now = self.clock.monotonic();
        self.open.take_if(|open| now.saturating_sub(open.at) >= REOPEN);
        match &mut self.open {
            Some(open) => Ok(&open.queue),
            none => {
                let queue = (self.settings)().look_only(true).open(&self.path)?;
                let report = queue.inspect()?;
                Ok(&none.insert(Open { queue, report, at: now }).queue)
            }
        }
    }

    /// The queue, for a deed. The file must be there: opening it to write would make it.
    fn write(&mut self) -> Result<Queue, Error> {
        self.open = None;
        self.look()?;
        (self.settings)().open(&self.path)
    }

    fn pulse(&mut self, with_rates: bool) -> Result<Pulse, Error> {
        let clock = self.clock;
        let began = clock.monotonic();
        let mut pulse = pulse(self.look()?, with_rates.then(|| clock.now()))?;
        pulse.file = self.open.as_ref().map(|open| open.report.clone());
        pulse.took = clock.monotonic().saturating_sub(began);
        Ok(pulse)
    }
}

/// How everything is; with the rates of the hour before a time.
pub(super) fn pulse(queue: &Queue, rates: Option<Timestamp>) -> Result<Pulse, Error> {
    let since = rates.map(|now| now.before(HOUR).to_system_time());
    Ok(Pulse {
        counts: queue.counts()?,
        rollups: since.map(|since| queue.rollups(since)).transpose()?,
        ready_since: queue.ready_since()?,
        next_due: queue.next_due()?,
        file: None,
        took: Duration::ZERO,
    })
}
