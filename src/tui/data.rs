//! The data thread: it alone has the file open. It looks, counts and acts step by step, and listens in between, so that a question that
//! is no longer asked costs nothing, and the screen never waits for the disk.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TryRecvError, unbounded};

use super::bulk::Sweep;
use super::messages::{Answer, Ask, Found, Pulse, Serial, Subject, Tally};
use super::search::Search;
use crate::console::Trouble;
use crate::{Builder, Clock, Error, ErrorKind, FileReport, Queue, SystemClock, Timestamp};

/// A look at the file opens it anew after so long: it may have been replaced, and what is known of it changes.
const REOPEN: Duration = Duration::from_secs(5);
/// What is found on the way is told so often.
const TELL: Duration = Duration::from_millis(150);
/// How soon a search that is given up is interrupted again, if it has not ended.
const ENDING: Duration = Duration::from_millis(5);
/// How far back the rates go.
const HOUR: Duration = Duration::from_secs(60 * 60);

/// The data thread, seen from the screen.
pub(super) struct Data {
    asks: Option<Sender<Ask>>,
    searched: Searched,
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
        let searched = Searched::default();
        let reader = Reader {
            file: File { path, settings, open: None, clock: SystemClock::new() },
            searched: searched.clone(),
            outbox,
            search: None,
            sweep: None,
        };
        let thread = std::thread::Builder::new()
            .name("perdura-watch-data".to_owned())
            .spawn(move || reader.run(&inbox))?;
        Ok(Data { asks: Some(asks), searched, answers, thread: Some(thread) })
    }

    pub fn ask(&self, ask: Ask) {
        let is_other_look = matches!(ask, Ask::Look(..));
        if let Some(asks) = &self.asks {
            let _ = asks.send(ask); // that nobody listens is seen where the answers are read
        }
        if is_other_look {
            self.searched.interrupt(); // nobody waits for the answer to the look before
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

/// The queue in which a step of a search goes on. It may be interrupted there, and nowhere else.
#[derive(Clone, Default)]
struct Searched(Arc<Mutex<Option<Queue>>>);

impl Searched {
    fn set(&self, queue: Option<Queue>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = queue;
    }

    fn interrupt(&self) {
        if let Some(queue) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            queue.interrupt_reads();
        }
    }
}

/// It stops listening, and is waited for: a search is interrupted, anything else ends its step.
impl Drop for Data {
    fn drop(&mut self) {
        drop(self.asks.take());
        if let Some(thread) = self.thread.take() {
            while !thread.is_finished() {
                self.searched.interrupt();
                std::thread::sleep(ENDING);
            }
            let _ = thread.join(); // that it panicked has been said by the hook
        }
    }
}

/// The thread's own side.
struct Reader {
    file: File,
    searched: Searched,
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
        let found = self.file.look().and_then(|queue| {
            self.searched.set(Some(queue.clone()));
            let found = task.work.step(queue, || clock.monotonic());
            self.searched.set(None);
            found
        });
        let serial = task.serial;
        if matches!(&found, Err(e) if e.kind() == ErrorKind::Interrupted) {
            self.search = Some(Task::new(serial, task.work.anew())); // unless another look is asked for
            return;
        }
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
            Answer::Trouble(subject, Trouble::from(error).message)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::messages::{Deed, Edge, Look, Of, Page, Target, Verb, What};
    use crate::tui::query::Query;
    use crate::{Task, TaskId};

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Nothing(u32);

    impl Task for Nothing {
        const NAME: &'static str = "nothing";
    }

    /// A file with so many tasks, and a reader that has not been asked anything.
    fn reader(tasks: u32) -> (Queue, Reader, Receiver<Answer>) {
        let queue = Queue::builder().open_in_memory().unwrap();
        let all: Vec<Nothing> = (0..tasks).map(Nothing).collect();
        queue.enqueue_all(&all).unwrap();
        let (outbox, answers) = unbounded();
        let file = File {
            path: queue.path().to_owned(),
            settings: Queue::builder,
            open: None,
            clock: SystemClock::new(),
        };
        let searched = Searched::default();
        (queue, Reader { file, searched, outbox, search: None, sweep: None }, answers)
    }

    fn page(query: &str) -> Look {
        let query = Query::parse(query).unwrap();
        Look::Page(Page { of: Of::Tasks, query, edge: Edge::Newest, limit: 5 })
    }

    #[test]
    fn a_search_that_is_interrupted_is_no_trouble_and_finds_the_same() {
        let (_queue, mut reader, answers) = reader(5_000);
        let (searched, (go, stop)) = (reader.searched.clone(), unbounded::<()>());
        let interrupter = std::thread::Builder::new().spawn(move || {
            while stop.try_recv() == Err(TryRecvError::Empty) {
                searched.interrupt();
            }
        });
        for serial in 0..100 {
            reader.listen(Ask::Look(serial, page("nowhere")));
            (0..3).for_each(|_| reader.search());
        }
        drop(go);
        interrupter.unwrap().join().unwrap();
        reader.listen(Ask::Look(1_000, page("state:queued")));
        while reader.search.is_some() {
            reader.search();
        }
        let told: Vec<Answer> = answers.try_iter().collect();
        assert!(!told.iter().any(|answer| matches!(answer, Answer::Trouble(..))), "{told:?}");
        let last = told.last().unwrap();
        let Answer::Look(1_000, Found { what: What::Tasks(rows), searching: None, .. }) = last else {
            panic!("{last:?}")
        };
        assert_eq!(rows.len(), 5);
    }

    fn delete_all() -> Deed {
        let query = Query::parse("state:queued").unwrap();
        Deed { verb: Verb::Delete, target: Target::Query(query), about: None }
    }

    #[test]
    fn a_new_search_takes_the_place_of_one_that_finds_nothing() {
        let (_queue, mut reader, answers) = reader(5_000);
        reader.listen(Ask::Look(1, page("no task has this")));
        reader.search();
        assert!(reader.search.is_some(), "one step is not all of it");
        reader.listen(Ask::Look(2, page("")));
        while reader.search.is_some() {
            reader.search();
        }
        let all: Vec<Answer> = answers.try_iter().collect();
        let [.., Answer::Look(2, Found { what: What::Tasks(tasks), searching: None, .. })] = &all[..] else {
            panic!("{all:?}");
        };
        assert_eq!(
            tasks.iter().map(|task| task.task_id.as_i64()).collect::<Vec<_>>(),
            [5_000, 4_999, 4_998, 4_997, 4_996]
        );
        assert!(!all.iter().any(|answer| matches!(answer, Answer::Look(1, Found { searching: None, .. }))));
    }

    #[test]
    fn a_search_that_finds_nothing_comes_to_an_end() {
        let (_queue, mut reader, answers) = reader(5_000);
        reader.listen(Ask::Look(1, page("no task has this")));
        let mut steps = 0;
        while reader.search.is_some() {
            reader.search();
            steps += 1;
        }
        assert!(steps > 1, "in one step");
        assert!(matches!(
            answers.try_iter().last(),
            Some(Answer::Look(1, Found { what: What::Tasks(found), searching: None, .. })) if found.is_empty()
        ));
    }

    #[test]
    fn a_deed_is_stopped_where_it_is() {
        let (queue, mut reader, answers) = reader(5_000);
        reader.listen(Ask::Count(1, delete_all()));
        while reader.sweep.is_some() {
            reader.sweep();
        }
        assert!(matches!(
            answers.try_iter().last(),
            Some(Answer::Count(1, Tally { changed: 5_000, is_done: true, .. }))
        ));
        assert_eq!(queue.counts().unwrap().total().ready, 5_000, "counting changes nothing");
        reader.listen(Ask::Do(2, delete_all()));
        reader.sweep();
        reader.listen(Ask::Stop);
        assert!(reader.sweep.is_none());
        let Some(Answer::Did(2, tally)) = answers.try_iter().last() else { panic!("no answer") };
        assert!(tally.is_done && (1..5_000).contains(&tally.changed), "{tally:?}");
        assert_eq!(queue.counts().unwrap().total().ready, 5_000 - tally.changed);
    }

    #[test]
    fn a_deed_does_not_make_a_file_that_has_gone() {
        let (queue, mut reader, answers) = reader(1);
        reader.file.path = queue.path().with_extension("gone");
        reader.listen(Ask::Do(1, delete_all()));
        reader.sweep();
        assert!(matches!(answers.try_iter().last(), Some(Answer::Trouble(Subject::Deed(1), _))));
        assert!(!reader.file.path.exists());
        reader.listen(Ask::Pulse { with_rates: true });
        assert!(matches!(answers.try_iter().last(), Some(Answer::Trouble(Subject::Pulse, _))));
    }

    #[test]
    fn the_thread_ends_when_nobody_asks_any_more() {
        let (queue, _, _) = reader(1);
        let data = Data::start(queue.path().to_owned(), Queue::builder).unwrap();
        data.ask(Ask::Look(1, Look::One(TaskId::from_i64(1))));
        let answered = (0..6_000).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            data.answers().is_some_and(|answers| !answers.is_empty())
        });
        assert!(answered);
        drop(data); // it is joined
    }
}
