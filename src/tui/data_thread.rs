//! The data thread: it alone has the file open. It reads, counts and acts in steps, and takes requests between them, so that a request that
//! was replaced costs no more time, and the screen never waits for the disk.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TryRecvError, unbounded};

use super::bulk::BulkAction;
use super::requests::{ActionCount, Request, RequestKind, Response, Serial, Summary, ViewResult};
use super::running_now::{self, Overview};
use super::search::ViewSearch;
use crate::console::CliError;
use crate::console::inspect::lately::Figures;
use crate::inspect::FileReport;
use crate::{Builder, Clock, Error, ErrorKind, Queue, SystemClock, Timestamp};

/// After so long the file is opened again: it may have been replaced, and the report on it may be out of date.
const REOPEN_INTERVAL: Duration = Duration::from_secs(5);
/// Interval between progress answers.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(150);
/// Interval between interrupts of a search that is given up.
const INTERRUPT_INTERVAL: Duration = Duration::from_millis(5);
/// The time that rates cover.
const RATES_WINDOW: Duration = Duration::from_secs(60 * 60);

/// The data thread, seen from the screen.
pub(super) struct Data {
    requests: Option<Sender<Request>>,
    searched: SearchHandle,
    answers: Receiver<Response>,
    thread: Option<JoinHandle<()>>,
}

impl Data {
    /// Starts it. It opens the file when it is first asked.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(path: PathBuf, settings: fn() -> Builder) -> std::io::Result<Data> {
        // Unbounded: the screen asks a question again only when it is answered.
        let (requests, inbox) = unbounded();
        let (outbox, answers) = unbounded();
        let searched = SearchHandle::default();
        let reader = Reader {
            file: WatchedFile { path, settings, open: None, clock: SystemClock::new() },
            searched: searched.clone(),
            outbox,
            search: None,
            bulk: None,
        };
        let thread = std::thread::Builder::new()
            .name("perdura-watch-data".to_owned())
            .spawn(move || reader.run(&inbox))?;
        Ok(Data { requests: Some(requests), searched, answers, thread: Some(thread) })
    }

    pub fn request(&self, request: Request) {
        let is_other_look = matches!(request, Request::View(..));
        if let Some(requests) = &self.requests {
            let _ = requests.send(request); // that the thread has ended is seen where the answers are read
        }
        if is_other_look {
            self.searched.interrupt(); // nobody waits for the answer to the look before
        }
    }

    /// The answers since the last call; none if the thread has ended.
    pub fn answers(&self) -> Option<Vec<Response>> {
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

/// The queue that a step of a search reads, while it does: only such a read may be interrupted.
#[derive(Clone, Default)]
struct SearchHandle(Arc<Mutex<Option<Queue>>>);

impl SearchHandle {
    fn set(&self, queue: Option<Queue>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = queue;
    }

    fn interrupt(&self) {
        if let Some(queue) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            queue.interrupt_reads();
        }
    }
}

/// Stops the thread and joins it: a search is interrupted, anything else finishes its step.
impl Drop for Data {
    fn drop(&mut self) {
        drop(self.requests.take());
        if let Some(thread) = self.thread.take() {
            while !thread.is_finished() {
                self.searched.interrupt();
                std::thread::sleep(INTERRUPT_INTERVAL);
            }
            let _ = thread.join(); // that it panicked has been said by the hook
        }
    }
}

/// The thread's own side.
struct Reader {
    file: WatchedFile,
    searched: SearchHandle,
    outbox: Sender<Response>,
    search: Option<SteppedWork<ViewSearch>>,
    bulk: Option<SteppedWork<BulkAction>>,
}

/// Work that takes several steps.
struct SteppedWork<T> {
    serial: Serial,
    told: Duration,
    work: T,
    /// A writable queue, opened for it and closed with it, if it writes.
    writer: Option<Queue>,
}

impl<T> SteppedWork<T> {
    fn new(serial: Serial, work: T) -> SteppedWork<T> {
        SteppedWork { serial, told: Duration::ZERO, work, writer: None }
    }

    /// Whether its progress was sent less than [`PROGRESS_INTERVAL`] ago. If not, it counts as sent now.
    fn is_silent(&mut self, now: Duration) -> bool {
        let silent = now.saturating_sub(self.told) < PROGRESS_INTERVAL;
        if !silent {
            self.told = now;
        }
        silent
    }
}

impl Reader {
    fn run(mut self, inbox: &Receiver<Request>) {
        loop {
            let idle = self.search.is_none() && self.bulk.is_none();
            let request =
                if idle { inbox.recv().map_err(|_| TryRecvError::Disconnected) } else { inbox.try_recv() };
            match request {
                Ok(request) => self.listen(request),
                Err(TryRecvError::Empty) => {
                    self.search();
                    self.bulk();
                }
                Err(TryRecvError::Disconnected) => return,
            }
        }
    }

    fn listen(&mut self, request: Request) {
        match request {
            Request::Summary { with_overview } => {
                let summary = self.file.summary(with_overview);
                self.answer(
                    RequestKind::Summary,
                    summary.map(|summary| Response::Summary(Box::new(summary))),
                );
            }
            Request::View(serial, look) => {
                self.search = Some(SteppedWork::new(serial, ViewSearch::new(look)))
            }
            Request::Count(serial, action) => {
                self.bulk = Some(SteppedWork::new(serial, BulkAction::count(action)))
            }
            Request::Do(serial, action) => {
                self.bulk = Some(SteppedWork::new(serial, BulkAction::perform(action)))
            }
            Request::Stop => {
                if let Some(SteppedWork { serial, work, .. }) =
                    self.bulk.take().filter(|task| task.work.writes())
                {
                    let mut tally = work.tally();
                    tally.is_done = true;
                    self.answer(RequestKind::Action(serial), Ok(Response::Did(serial, tally)));
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
            self.search = Some(SteppedWork::new(serial, task.work.anew())); // unless another look is asked for
            return;
        }
        if let Ok(ViewResult { searching: Some(_), .. }) = &found {
            let is_silent = task.is_silent(clock.monotonic());
            self.search = Some(task);
            if is_silent {
                return;
            }
        }
        self.answer(RequestKind::View(serial), found.map(|found| Response::View(serial, found)));
    }

    fn bulk(&mut self) {
        let Some(mut task) = self.bulk.take() else { return };
        let serial = task.serial;
        let done = self.step_bulk(&mut task);
        let writes = task.work.writes();
        if matches!(done, Ok(tally) if !tally.is_done) {
            let is_silent = task.is_silent(self.file.clock.monotonic());
            self.bulk = Some(task);
            if is_silent {
                return;
            }
        }
        let as_answer =
            |tally| if writes { Response::Did(serial, tally) } else { Response::Count(serial, tally) };
        self.answer(RequestKind::Action(serial), done.map(as_answer));
    }

    fn step_bulk(&mut self, task: &mut SteppedWork<BulkAction>) -> Result<ActionCount, Error> {
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

    fn answer(&mut self, subject: RequestKind, answer: Result<Response, Error>) {
        let answer = answer.unwrap_or_else(|error| {
            self.file.open = None; // the next look opens it anew
            Response::Error(subject, CliError::from(error).message)
        });
        let _ = self.outbox.send(answer); // a screen that has gone needs no answer
    }
}

/// The file, opened read-only most of the time.
struct WatchedFile {
    path: PathBuf,
    /// The settings to open it with.
    settings: fn() -> Builder,
    open: Option<OpenFile>,
    clock: SystemClock,
}

struct OpenFile {
    queue: Queue,
    report: FileReport,
    /// What programs did lately: read at most once while the file is open.
    programs: Option<Vec<Figures>>,
    at: Duration,
}

impl WatchedFile {
    /// The read-only queue.
    fn look(&mut self) -> Result<&Queue, Error> {
        let now = self.clock.monotonic();
        self.open.take_if(|open| now.saturating_sub(open.at) >= REOPEN_INTERVAL);
        match &mut self.open {
            Some(open) => Ok(&open.queue),
            none => {
                let queue = (self.settings)().read_only(true).open(&self.path)?;
                let report = queue.inspect()?;
                Ok(&none.insert(OpenFile { queue, report, programs: None, at: now }).queue)
            }
        }
    }

    /// A writable queue. The file must exist: opening it to write would create it.
    fn write(&mut self) -> Result<Queue, Error> {
        self.open = None;
        self.look()?;
        (self.settings)().open(&self.path)
    }

    fn summary(&mut self, with_overview: bool) -> Result<Summary, Error> {
        let clock = self.clock;
        let began = clock.monotonic();
        let now = clock.now();
        let mut summary = summary(self.look()?, with_overview.then_some(now))?;
        if let Some(open) = &mut self.open {
            if let Some(overview) = summary.overview.as_mut().filter(|overview| overview.has_jobs()) {
                let known = match open.programs.take() {
                    Some(known) => known,
                    None => running_now::programs(&open.queue, &overview.running, &summary.counts, now)?,
                };
                overview.programs.clone_from(&known);
                open.programs = Some(known);
            }
            summary.file = Some(open.report.clone());
        }
        summary.took = clock.monotonic().saturating_sub(began);
        Ok(summary)
    }
}

/// Reads the summary; with what the overview shows of the hour before a time, if one is given, but for the programs.
pub(super) fn summary(queue: &Queue, at: Option<Timestamp>) -> Result<Summary, Error> {
    let overview = |now: Timestamp| -> Result<Overview, Error> {
        let rollups = queue.rollups(now.saturating_sub(RATES_WINDOW).to_system_time())?;
        Ok(Overview { rollups, running: running_now::running(queue)?, programs: Vec::new() })
    };
    let counts = queue.counts()?;
    let conditions = if counts.total().unmet > 0 { queue.conditions()? } else { Vec::new() };
    Ok(Summary {
        counts,
        conditions,
        overview: at.map(overview).transpose()?,
        ready_since: queue.ready_since()?,
        next_due: queue.next_due()?,
        file: None,
        took: Duration::ZERO,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::filter_box::Query;
    use crate::tui::requests::{
        Action, ActionKind, ActionTarget, Edge, ListKind, PageRequest, View, ViewContent,
    };
    use crate::tui::sort::Sort;
    use crate::{Task, TaskId};

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Nothing(u32);

    impl Task for Nothing {
        const NAME: &'static str = "nothing";
        type Output = ();
    }

    /// A file with so many tasks, and a reader that has not been asked anything.
    fn reader(tasks: u32) -> (Queue, Reader, Receiver<Response>) {
        let queue = Queue::builder().open_temporary().unwrap();
        let all: Vec<Nothing> = (0..tasks).map(Nothing).collect();
        queue.enqueue_all(&all).unwrap();
        let (outbox, answers) = unbounded();
        let file = WatchedFile {
            path: queue.path().to_owned(),
            settings: Queue::builder,
            open: None,
            clock: SystemClock::new(),
        };
        let searched = SearchHandle::default();
        (queue, Reader { file, searched, outbox, search: None, bulk: None }, answers)
    }

    fn page(query: &str) -> View {
        let query = Query::parse(query).unwrap();
        View::Page(PageRequest {
            of: ListKind::Tasks,
            query,
            edge: Edge::Newest,
            sort: Sort::Newest,
            limit: 5,
        })
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
            reader.listen(Request::View(serial, page("nowhere")));
            (0..3).for_each(|_| reader.search());
        }
        drop(go);
        interrupter.unwrap().join().unwrap();
        reader.listen(Request::View(1_000, page("state:queued")));
        while reader.search.is_some() {
            reader.search();
        }
        let told: Vec<Response> = answers.try_iter().collect();
        assert!(!told.iter().any(|answer| matches!(answer, Response::Error(..))), "{told:?}");
        let last = told.last().unwrap();
        let Response::View(1_000, ViewResult { what: ViewContent::Tasks(rows), searching: None, .. }) = last
        else {
            panic!("{last:?}")
        };
        assert_eq!(rows.len(), 5);
    }

    fn delete_all() -> Action {
        let query = Query::parse("state:queued").unwrap();
        Action { verb: ActionKind::Delete, target: ActionTarget::Query(query), about: None }
    }

    #[test]
    fn a_new_search_takes_the_place_of_one_that_finds_nothing() {
        let (_queue, mut reader, answers) = reader(5_000);
        reader.listen(Request::View(1, page("no task has this")));
        reader.search();
        assert!(reader.search.is_some(), "one step is not all of it");
        reader.listen(Request::View(2, page("")));
        while reader.search.is_some() {
            reader.search();
        }
        let all: Vec<Response> = answers.try_iter().collect();
        let [.., Response::View(2, ViewResult { what: ViewContent::Tasks(tasks), searching: None, .. })] =
            &all[..]
        else {
            panic!("{all:?}");
        };
        assert_eq!(
            tasks.iter().map(|task| task.task_id.as_i64()).collect::<Vec<_>>(),
            [5_000, 4_999, 4_998, 4_997, 4_996]
        );
        assert!(
            !all.iter().any(|answer| matches!(answer, Response::View(1, ViewResult { searching: None, .. })))
        );
    }

    #[test]
    fn a_search_that_finds_nothing_comes_to_an_end() {
        let (_queue, mut reader, answers) = reader(5_000);
        reader.listen(Request::View(1, page("no task has this")));
        let mut steps = 0;
        while reader.search.is_some() {
            reader.search();
            steps += 1;
        }
        assert!(steps > 1, "in one step");
        assert!(matches!(
            answers.try_iter().last(),
            Some(Response::View(1, ViewResult { what: ViewContent::Tasks(found), searching: None, .. })) if found.is_empty()
        ));
    }

    #[test]
    fn an_action_is_stopped_where_it_is() {
        let (queue, mut reader, answers) = reader(5_000);
        reader.listen(Request::Count(1, delete_all()));
        while reader.bulk.is_some() {
            reader.bulk();
        }
        assert!(matches!(
            answers.try_iter().last(),
            Some(Response::Count(1, ActionCount { changed: 5_000, is_done: true, .. }))
        ));
        assert_eq!(queue.counts().unwrap().total().ready, 5_000, "counting changes nothing");
        reader.listen(Request::Do(2, delete_all()));
        reader.bulk();
        reader.listen(Request::Stop);
        assert!(reader.bulk.is_none());
        let Some(Response::Did(2, tally)) = answers.try_iter().last() else { panic!("no answer") };
        assert!(tally.is_done && (1..5_000).contains(&tally.changed), "{tally:?}");
        assert_eq!(queue.counts().unwrap().total().ready, 5_000 - tally.changed);
    }

    #[test]
    fn an_action_does_not_make_a_file_that_has_gone() {
        let (queue, mut reader, answers) = reader(1);
        reader.file.path = queue.path().with_extension("gone");
        reader.listen(Request::Do(1, delete_all()));
        reader.bulk();
        assert!(matches!(answers.try_iter().last(), Some(Response::Error(RequestKind::Action(1), _))));
        assert!(!reader.file.path.exists());
        reader.listen(Request::Summary { with_overview: true });
        assert!(matches!(answers.try_iter().last(), Some(Response::Error(RequestKind::Summary, _))));
    }

    #[test]
    fn the_thread_ends_when_nobody_asks_any_more() {
        let (queue, _, _) = reader(1);
        let data = Data::start(queue.path().to_owned(), Queue::builder).unwrap();
        data.request(Request::View(1, View::One(TaskId::from_i64(1))));
        let answered = (0..6_000).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            data.answers().is_some_and(|answers| !answers.is_empty())
        });
        assert!(answered);
        drop(data); // it is joined
    }
}
