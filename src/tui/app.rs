//! What the screen knows, and what it asks for. Pure: it is told the time, the answers and the keys.

use std::time::Duration;

use super::detail::lines as detail_lines;
use super::ink::Ink;
use super::input::Input;
use super::list::{List, Row};
use super::messages::{
    Answer, Ask, Deed, Dossier, Edge, Either, Found, Listed, Look, Of, Page, Pulse, Serial, Subject, Tally,
    What,
};
use super::words;
use crate::console::times::Zone;
use crate::{DeadLetter, FailureGroup, State, TaskId, TaskRecord, Timestamp};

/// A screen with fewer columns or rows than this is of no use.
pub(super) const SMALLEST: (u16, u16) = (60, 16);

/// Looks cost at most one part in so many of the time.
const SHARE: u32 = 10;

/// What can be looked at, in the order of the tabs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Tab {
    #[default]
    Overview,
    Tasks,
    Failures,
    Waiting,
    Letters,
}

impl Tab {
    pub const ALL: [Tab; 5] = [Tab::Overview, Tab::Tasks, Tab::Failures, Tab::Waiting, Tab::Letters];

    pub fn title(self) -> &'static str {
        match self {
            Tab::Overview => "Overview",
            Tab::Tasks => "Tasks",
            Tab::Failures => "Failures",
            Tab::Waiting => "Waiting",
            Tab::Letters => "Dead letters",
        }
    }

    /// The same where there is little room.
    pub fn short_title(self) -> &'static str {
        match self {
            Tab::Letters => "Letters",
            tab => tab.title(),
        }
    }

    /// The tab so many places further.
    pub fn moved(self, by: usize) -> Tab {
        Tab::ALL[(self as usize + by) % Tab::ALL.len()]
    }

    fn list(self) -> Option<Of> {
        match self {
            Tab::Overview => None,
            Tab::Tasks => Some(Of::Tasks),
            Tab::Failures => Some(Of::Failures),
            Tab::Waiting => Some(Of::Waiting),
            Tab::Letters => Some(Of::Letters),
        }
    }
}

/// What lies over the screen and takes the keys.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Overlay {
    /// The keys, from this line on.
    Help(usize),
    /// The filter box, and what is wrong in it.
    Filter(Input, Option<String>),
    /// Letters how old are purged?
    Age(Input, Option<String>),
    /// Shall it be done?
    Confirm(Confirm),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Confirm {
    pub serial: Serial,
    pub deed: Deed,
    /// How many it would change, so far.
    pub tally: Tally,
}

/// A deed on its way.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Doing {
    pub serial: Serial,
    pub deed: Deed,
    pub of: u64,
    pub tally: Tally,
}

/// One task, looked at closely.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Detail {
    pub id: TaskId,
    /// None: not yet. Some(None): there is no such task.
    pub found: Option<Option<Box<Dossier>>>,
    pub scroll: usize,
}

/// The question to which an answer is awaited, or was given.
#[derive(Debug, Clone, PartialEq)]
struct Asked {
    serial: Serial,
    look: Look,
    /// When it is asked again; none while the answer is awaited.
    again: Option<Duration>,
    /// It was answered before: half an answer is no news.
    is_known: bool,
}

/// What the screen knows.
pub(super) struct App {
    pub file: String,
    pub every: Duration,
    pub size: (u16, u16),
    pub now: Timestamp,
    pub tab: Tab,
    pub tasks: List<Listed<TaskRecord>>,
    pub failures: List<FailureGroup>,
    pub waiting: List<Listed<TaskRecord>>,
    pub letters: List<Listed<DeadLetter>>,
    /// How many failures were grouped, and whether there are more.
    pub grouped: (u64, bool),
    pub soonest_first: bool,
    /// The queue under the cursor of the overview.
    pub queue: usize,
    pub detail: Option<Detail>,
    pub overlay: Option<Overlay>,
    pub pulse: Option<Pulse>,
    /// The rates, which the pulse brings only to the overview.
    pub rollups: Vec<crate::Rollup>,
    pub doing: Option<Doing>,
    /// What was done or could not be, until the next key.
    pub note: Option<String>,
    /// Why the file cannot be looked at: for the pulse, and for what is to be seen.
    pulse_trouble: Option<String>,
    look_trouble: Option<String>,
    /// Where the search has come to; none: it is over.
    pub searching: Option<TaskId>,
    /// What the last look cost.
    pub took: Duration,
    asked: Option<Asked>,
    pulse_at: Option<Duration>,
    monotonic: Duration,
    serial: Serial,
}

impl App {
    pub fn new(file: String, every: Duration) -> App {
        App {
            file,
            every,
            size: (80, 24),
            now: Timestamp::from_millis(0),
            tab: Tab::Overview,
            tasks: List::default(),
            failures: List::default(),
            waiting: List::default(),
            letters: List::default(),
            grouped: (0, false),
            soonest_first: false,
            queue: 0,
            detail: None,
            overlay: None,
            pulse: None,
            rollups: Vec::new(),
            doing: None,
            note: None,
            pulse_trouble: None,
            look_trouble: None,
            searching: None,
            took: Duration::ZERO,
            asked: None,
            pulse_at: Some(Duration::ZERO),
            monotonic: Duration::ZERO,
            serial: 0,
        }
    }

    /// Rows that a list can show: all but the two lines at the top, its title and headings, and the two lines at the bottom.
    pub fn height(&self) -> usize {
        usize::from(self.size.1.saturating_sub(6)).max(1)
    }

    pub fn resize(&mut self, size: (u16, u16)) {
        self.size = size;
        self.scroll();
    }

    /// Scrolls no further than to the end.
    pub fn clamp_scroll(&mut self) {
        let (width, height) = (usize::from(self.size.0), usize::from(self.size.1.saturating_sub(4)));
        if let Some(detail) = &mut self.detail {
            let lines = detail_lines(detail, self.now, width, Ink { colors: false, zone: Zone::Utc }).len();
            detail.scroll = detail.scroll.min(lines.saturating_sub(height));
        }
    }

    fn scroll(&mut self) {
        self.clamp_scroll();
        let height = self.height();
        self.tasks.scroll(height);
        self.failures.scroll(height);
        self.waiting.scroll(height);
        self.letters.scroll(height);
    }

    /// What there is to ask at this time. `monotonic` is a clock that does not go back.
    pub fn tick(&mut self, now: Timestamp, monotonic: Duration) -> Vec<Ask> {
        (self.now, self.monotonic) = (now, monotonic);
        let mut asks = Vec::new();
        if self.pulse_at.is_some_and(|at| at <= monotonic) {
            self.pulse_at = None;
            asks.push(Ask::Pulse { with_rates: self.tab == Tab::Overview });
        }
        let Some(look) = self.look() else {
            (self.asked, self.searching, self.look_trouble) = (None, None, None);
            return asks;
        };
        let is_known = self.asked.as_ref().is_some_and(|asked| asked.look == look);
        let is_due = match &self.asked {
            Some(asked) if is_known => asked.again.is_some_and(|at| at <= monotonic),
            _ => true,
        };
        if is_due {
            let serial = self.next_serial();
            self.searching = None;
            if !is_known {
                self.look_trouble = None;
            }
            self.asked = Some(Asked { serial, look: look.clone(), again: None, is_known });
            asks.push(Ask::Look(serial, look));
        }
        asks
    }

    /// Whether an answer may come at any moment.
    pub fn is_waiting(&self) -> bool {
        let looking = self.asked.as_ref().is_some_and(|asked| asked.again.is_none());
        let counting = matches!(&self.overlay, Some(Overlay::Confirm(confirm)) if !confirm.tally.is_done);
        self.pulse_at.is_none() || looking || counting || self.doing.is_some()
    }

    pub fn next_serial(&mut self) -> Serial {
        self.serial += 1;
        self.serial
    }

    /// What is to be seen, beside the pulse.
    fn look(&self) -> Option<Look> {
        if let Some(detail) = &self.detail {
            return Some(Look::One(detail.id));
        }
        let of = self.tab.list()?;
        let (query, edge) = match of {
            Of::Tasks => (&self.tasks.query, self.tasks.edge),
            Of::Waiting => (&self.waiting.query, self.waiting.edge),
            Of::Letters => (&self.letters.query, self.letters.edge),
            Of::Failures => (&self.failures.query, Edge::Newest),
        };
        Some(Look::Page(Page { of, query: query.clone(), edge, limit: self.height() }))
    }

    /// Looks again at once, as after a deed.
    pub fn refresh(&mut self) {
        self.pulse_at = self.pulse_at.map(|_| Duration::ZERO);
        if let Some(asked) = &mut self.asked {
            asked.again = asked.again.map(|_| Duration::ZERO);
        }
    }

    /// When something that took so long may be asked again.
    fn again(&self, took: Duration) -> Duration {
        self.monotonic.saturating_add(self.every.max(took.saturating_mul(SHARE)))
    }

    pub fn on_answer(&mut self, answer: Answer) {
        match answer {
            Answer::Pulse(mut pulse) => {
                self.pulse_trouble = None;
                self.pulse_at = Some(self.again(pulse.took));
                if let Some(rollups) = pulse.rollups.take() {
                    self.rollups = rollups;
                }
                self.queue = self.queue.min(pulse.counts.queues.len().saturating_sub(1));
                self.pulse = Some(*pulse);
            }
            Answer::Look(serial, found) => self.on_found(serial, found),
            Answer::Count(serial, tally) => {
                if let Some(Overlay::Confirm(confirm)) = &mut self.overlay
                    && confirm.serial == serial
                {
                    confirm.tally = tally;
                }
            }
            Answer::Did(serial, tally) => {
                let Some(doing) = self.doing.as_mut().filter(|doing| doing.serial == serial) else { return };
                doing.tally = tally;
                if tally.is_done {
                    self.note = Some(words::done(&doing.deed, tally));
                    self.doing = None;
                    self.refresh();
                }
            }
            Answer::Trouble(subject, message) => self.on_trouble(subject, message),
        }
    }

    fn on_found(&mut self, serial: Serial, found: Found) {
        let again = self.again(found.took);
        let Some(asked) = self.asked.as_mut().filter(|asked| asked.serial == serial) else { return };
        let page = match &asked.look {
            Look::Page(page) => page.limit,
            Look::One(_) => 1,
        };
        self.look_trouble = None;
        self.searching = found.searching;
        self.took = found.took;
        let is_half = found.searching.is_some();
        if !is_half {
            asked.again = Some(again);
        }
        if is_half && asked.is_known {
            return;
        }
        match found.what {
            What::Tasks(rows) => self.tasks.show(rows, Some(page)),
            What::Letters(rows) => self.letters.show(rows, Some(page)),
            What::Waiting { tasks, soonest_first } => {
                self.soonest_first = soonest_first;
                self.waiting.show(tasks, (!soonest_first).then_some(page));
            }
            What::Failures(failures) => {
                self.grouped = (failures.looked_at, failures.more);
                self.failures.show(failures.groups, None);
            }
            What::One(found) => {
                if let Some(detail) = &mut self.detail {
                    detail.found = Some(found);
                }
            }
        }
        self.scroll();
    }

    /// The file cannot be read, or not be written. It is tried again in a while.
    fn on_trouble(&mut self, subject: Subject, message: String) {
        let again = self.again(Duration::ZERO);
        match subject {
            Subject::Pulse => {
                self.pulse_at = Some(again);
                self.pulse_trouble = Some(message);
            }
            Subject::Look(serial) => {
                if let Some(asked) = self.asked.as_mut().filter(|asked| asked.serial == serial) {
                    asked.again = Some(again);
                    self.searching = None;
                    self.look_trouble = Some(message);
                }
            }
            Subject::Deed(serial) => {
                if self.doing.as_ref().is_some_and(|doing| doing.serial == serial) {
                    self.doing = None;
                } else if matches!(&self.overlay, Some(Overlay::Confirm(confirm)) if confirm.serial == serial)
                {
                    self.overlay = None;
                } else {
                    return;
                }
                self.note = Some(message);
            }
        }
    }

    /// Why the file cannot be looked at.
    pub fn trouble(&self) -> Option<&str> {
        self.pulse_trouble.as_deref().or(self.look_trouble.as_deref())
    }

    /// Shows another tab.
    pub fn go(&mut self, tab: Tab) {
        (self.tab, self.detail) = (tab, None);
        self.refresh();
    }

    /// Looks at one task closely.
    pub fn open(&mut self, id: TaskId) {
        self.detail = Some(Detail { id, found: None, scroll: 0 });
    }

    /// The queues, in the order in which they are shown.
    pub fn queues(&self) -> impl Iterator<Item = (&String, &crate::QueueCounts)> {
        self.pulse.iter().flat_map(|pulse| &pulse.counts.queues)
    }

    /// The task or letter that a key is about, where nothing is selected.
    pub fn current(&self) -> Option<TaskId> {
        if let Some(detail) = &self.detail {
            return Some(detail.id);
        }
        match self.tab {
            Tab::Overview => None,
            Tab::Tasks => self.tasks.current().map(Row::id),
            Tab::Failures => self.failures.current().map(Row::id),
            Tab::Waiting => self.waiting.current().map(Row::id),
            Tab::Letters => self.letters.current().map(Row::id),
        }
    }
}

impl Detail {
    /// Whether it is a dead letter.
    pub fn is_letter(&self) -> bool {
        matches!(&self.found, Some(Some(dossier)) if matches!(dossier.subject, Either::Letter(_)))
    }

    fn task(&self) -> Option<&TaskRecord> {
        match &self.found.as_ref()?.as_ref()?.subject {
            Either::Task(task) => Some(task),
            Either::Letter(_) => None,
        }
    }

    /// The queue of the task.
    pub fn queue(&self) -> Option<String> {
        self.task().map(|task| task.queue.clone())
    }

    /// Where the task stands.
    pub fn state(&self) -> Option<State> {
        self.task().map(|task| task.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::query::Query;
    use crate::tui::stage::Stage;

    fn found(rows: &[Listed<TaskRecord>], searching: Option<i64>, took_ms: u64) -> Found {
        Found {
            what: What::Tasks(rows.to_vec()),
            searching: searching.map(TaskId::from_i64),
            took: Duration::from_millis(took_ms),
        }
    }

    /// The question of the list, asked at this time.
    fn look(app: &mut App, ms: u64) -> Option<Serial> {
        let asks = app.tick(Timestamp::from_millis(0), Duration::from_millis(ms));
        asks.into_iter().find_map(|ask| match ask {
            Ask::Look(serial, _) => Some(serial),
            _ => None,
        })
    }

    #[test]
    fn looks_that_take_long_are_made_rarely() {
        let mut app = App::new("tasks.db".into(), Duration::from_secs(1));
        app.go(Tab::Tasks);
        let first = look(&mut app, 0).unwrap();
        assert_eq!(look(&mut app, 5_000), None, "it is not answered yet");
        app.on_answer(Answer::Look(first, found(&[], None, 3)));
        assert_eq!(look(&mut app, 5_999), None);
        let second = look(&mut app, 6_000).unwrap();
        app.on_answer(Answer::Look(second, found(&[], None, 700)));
        assert_eq!(look(&mut app, 12_999), None, "at most a tenth of the time");
        assert!(look(&mut app, 13_000).is_some());
    }

    #[test]
    fn answers_to_earlier_questions_are_no_answers() {
        let mut stage = Stage::new();
        stage.keys("2");
        let rows = stage.app.tasks.rows.clone();
        let app = &mut stage.app;
        app.tasks.ask(Query::parse("other").unwrap());
        let old = app.serial;
        let new = look(app, 0).unwrap();
        app.on_answer(Answer::Look(old, found(&rows, None, 0)));
        assert!(app.tasks.rows.is_empty());
        app.on_answer(Answer::Look(new, found(&rows[..1], Some(7), 0)));
        assert_eq!(
            (app.tasks.rows.len(), app.searching),
            (1, Some(TaskId::from_i64(7))),
            "half an answer is shown"
        );
    }

    #[test]
    fn a_list_does_not_shrink_while_it_is_looked_at_again() {
        let mut stage = Stage::new();
        stage.keys("2");
        let rows = stage.app.tasks.rows.clone();
        let app = &mut stage.app;
        let again = look(app, 60_000).unwrap();
        app.on_answer(Answer::Look(again, found(&rows[..1], Some(7), 0)));
        assert_eq!(app.tasks.rows.len(), rows.len());
        app.on_answer(Answer::Look(again, found(&rows[..1], None, 0)));
        assert_eq!(app.tasks.rows.len(), 1);
    }

    #[test]
    fn news_are_seen_and_the_cursor_stays_with_its_task() {
        let mut stage = Stage::new();
        stage.keys("2 Down Down");
        let id = stage.app.current();
        let first = stage.app.tasks.rows[0].task_id;
        stage.queue().delete(first).unwrap();
        stage.refresh();
        assert_ne!(stage.app.tasks.rows[0].task_id, first);
        assert_eq!((stage.app.current(), stage.app.tasks.cursor), (id, 1));
    }

    #[test]
    fn a_trouble_is_told_until_it_is_over_and_what_was_known_stays() {
        let mut stage = Stage::new();
        let app = &mut stage.app;
        app.on_answer(Answer::Trouble(Subject::Pulse, "the file is gone".into()));
        assert_eq!(app.trouble(), Some("the file is gone"));
        assert!(app.pulse.is_some());
        stage.refresh();
        assert_eq!(stage.app.trouble(), None);
    }
}
