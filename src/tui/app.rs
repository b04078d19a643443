//! What the screen knows. Pure: it is told the time, the answers and the keys.

use std::time::Duration;

use super::detail::{Detail, lines};
use super::filter_box::Query;
use super::ink::Ink;
use super::input::Input;
use super::list::{List, Row};
use super::requests::{Action, ActionCount, ListKind, Listed, Serial, Summary, View};
use super::running_now::Overview;
use super::schedules::ScheduleList;
use super::sort::Sort;
use crate::console::times::Zone;
use crate::inspect::FailureGroup;
use crate::{DeadLetter, TaskId, TaskRecord, Timestamp};

/// The smallest screen that is drawn: columns and rows.
pub(super) const MIN_SCREEN_SIZE: (u16, u16) = (60, 16);

/// What can be looked at, in the order of the tabs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Tab {
    #[default]
    Overview,
    Tasks,
    Failures,
    Waiting,
    Letters,
    Schedules,
}

impl Tab {
    pub const ALL: [Tab; 6] =
        [Tab::Overview, Tab::Tasks, Tab::Failures, Tab::Waiting, Tab::Letters, Tab::Schedules];

    pub fn title(self) -> &'static str {
        match self {
            Tab::Overview => "Overview",
            Tab::Tasks => "Tasks",
            Tab::Failures => "Failures",
            Tab::Waiting => "Waiting",
            Tab::Letters => "Dead letters",
            Tab::Schedules => "Schedules",
        }
    }

    /// The title where there is little room.
    pub fn short_title(self) -> &'static str {
        match self {
            Tab::Letters => "Letters",
            tab => tab.title(),
        }
    }

    /// The title where there is hardly any room.
    pub fn shortest_title(self) -> &'static str {
        match self {
            Tab::Schedules => "Sched.",
            tab => tab.short_title(),
        }
    }

    /// The tab so many places further.
    pub fn moved(self, by: usize) -> Tab {
        Tab::ALL[(self as usize + by) % Tab::ALL.len()]
    }

    pub fn list(self) -> Option<ListKind> {
        match self {
            Tab::Overview | Tab::Schedules => None,
            Tab::Tasks => Some(ListKind::Tasks),
            Tab::Failures => Some(ListKind::Failures),
            Tab::Waiting => Some(ListKind::Waiting),
            Tab::Letters => Some(ListKind::Letters),
        }
    }
}

/// An overlay: it is drawn over the screen and takes the keys.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Overlay {
    /// The keys, from this line on.
    Help(usize),
    /// The filter box, and what is wrong in it.
    Filter(Input, Option<String>),
    /// The box for the age of letters to purge, and what is wrong in it.
    Age(Input, Option<String>),
    /// The question before an action.
    Confirmation(Confirmation),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Confirmation {
    pub serial: Serial,
    pub action: Action,
    /// How many tasks it would change, as far as they are counted.
    pub tally: ActionCount,
}

/// An action that is being done.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RunningAction {
    pub serial: Serial,
    pub action: Action,
    pub of: u64,
    pub tally: ActionCount,
}

/// The last request for a view, answered or not.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PendingView {
    pub serial: Serial,
    pub look: View,
    /// When it is asked again; none while the answer is awaited.
    pub again: Option<Duration>,
    /// It was answered before: a partial answer is not shown.
    pub is_known: bool,
}

/// What the screen knows.
pub(super) struct App {
    pub file: String,
    pub every: Duration,
    pub size: (u16, u16),
    pub now: Timestamp,
    pub tab: Tab,
    pub tasks: List<Listed<TaskRecord>>,
    /// The order of the tasks.
    pub sort: Sort,
    /// Groups of failures; the command of each is the programs of its jobs.
    pub failures: List<Listed<FailureGroup>>,
    pub waiting: List<Listed<TaskRecord>>,
    pub letters: List<Listed<DeadLetter>>,
    pub schedules: ScheduleList,
    /// How many failures were grouped, and whether there are more.
    pub grouped: (u64, bool),
    pub soonest_first: bool,
    /// The queue under the cursor of the overview.
    pub queue: usize,
    pub detail: Option<Detail>,
    pub overlay: Option<Overlay>,
    pub summary: Option<Summary>,
    /// What the summary brings only to the overview.
    pub overview: Overview,
    pub running_action: Option<RunningAction>,
    /// The result of the last action, until the next key.
    pub note: Option<String>,
    /// Why the summary, and the view, could not be read.
    pub summary_error: Option<String>,
    pub view_error: Option<String>,
    /// The id that the search has reached; none: it is over.
    pub searching: Option<TaskId>,
    /// How long the last read took.
    pub took: Duration,
    pub pending: Option<PendingView>,
    pub summary_at: Option<Duration>,
    pub monotonic: Duration,
    pub serial: Serial,
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
            sort: Sort::default(),
            failures: List::default(),
            waiting: List::default(),
            letters: List::default(),
            schedules: ScheduleList::default(),
            grouped: (0, false),
            soonest_first: false,
            queue: 0,
            detail: None,
            overlay: None,
            summary: None,
            overview: Overview::default(),
            running_action: None,
            note: None,
            summary_error: None,
            view_error: None,
            searching: None,
            took: Duration::ZERO,
            pending: None,
            summary_at: Some(Duration::ZERO),
            monotonic: Duration::ZERO,
            serial: 0,
        }
    }

    /// Rows that a list can show: all but the two lines at the top, its title and headings, and the two lines at the bottom.
    pub fn height(&self) -> usize {
        usize::from(self.size.1.saturating_sub(6)).max(1)
    }

    /// Whether the screen is too small to be drawn.
    pub fn is_too_small(&self) -> bool {
        self.size.0 < MIN_SCREEN_SIZE.0 || self.size.1 < MIN_SCREEN_SIZE.1
    }

    pub fn resize(&mut self, size: (u16, u16)) {
        self.size = size;
        self.scroll();
    }

    /// Scrolls no further than to the end.
    pub fn clamp_scroll(&mut self) {
        let (width, height) = (usize::from(self.size.0), usize::from(self.size.1.saturating_sub(4)));
        if let Some(detail) = &mut self.detail {
            let length = lines(detail, self.now, width, Ink { colors: false, zone: Zone::Utc }).len();
            let end = length.saturating_sub(height);
            detail.scroll = if detail.is_pinned { end } else { detail.scroll.min(end) };
        }
    }

    pub fn scroll(&mut self) {
        self.clamp_scroll();
        let height = self.height();
        self.tasks.scroll(height);
        self.failures.scroll(height);
        self.waiting.scroll(height);
        self.letters.scroll(height);
        self.schedules.scroll(height);
    }

    pub fn next_serial(&mut self) -> Serial {
        self.serial += 1;
        self.serial
    }

    /// Refreshes at once, as after an action.
    pub fn refresh(&mut self) {
        self.summary_at = self.summary_at.map(|_| Duration::ZERO);
        if let Some(pending) = &mut self.pending {
            pending.again = pending.again.map(|_| Duration::ZERO);
        }
    }

    /// Shows another tab.
    pub fn go(&mut self, tab: Tab) {
        (self.tab, self.detail) = (tab, None);
        self.refresh();
    }

    /// Looks at one task closely.
    pub fn open(&mut self, id: TaskId) {
        self.detail = Some(Detail::of(id));
    }

    /// The queues, in the order in which they are shown.
    pub fn queues(&self) -> impl Iterator<Item = (&String, &crate::QueueCounts)> {
        self.summary.iter().flat_map(|summary| &summary.counts.queues)
    }

    /// The filter of what is shown.
    pub fn query(&self) -> Option<&Query> {
        match self.tab {
            Tab::Overview | Tab::Schedules => None,
            Tab::Tasks => Some(&self.tasks.query),
            Tab::Failures => Some(&self.failures.query),
            Tab::Waiting => Some(&self.waiting.query),
            Tab::Letters => Some(&self.letters.query),
        }
    }

    /// Filters what is shown.
    pub fn filter_by(&mut self, query: Query) {
        match self.tab {
            Tab::Overview | Tab::Schedules => {}
            Tab::Tasks => self.tasks.filter_by(query),
            Tab::Failures => self.failures.filter_by(query),
            Tab::Waiting => self.waiting.filter_by(query),
            Tab::Letters => self.letters.filter_by(query),
        }
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
            Tab::Schedules => self.schedules.current()?.record.last_run,
        }
    }
}
