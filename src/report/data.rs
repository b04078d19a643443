//! The data of a page: gathered from a queue by bounded reads. It knows nothing of markup.
//!
//! Each part is read on its own. A file that is in use moves on in between, so sums of two parts may differ by what happened meanwhile.

use std::time::Duration;

use serde::Serialize;

use super::sums::{Activity, NameFigures, by_name};
use crate::console::inspect::health::Disk;
use crate::console::inspect::queue::held as held_count;
use crate::console::inspect::schedule::NextSchedules;
use crate::console::inspect::task::ran;
use crate::inspect::{FailureGroup, FileReport};
use crate::{
    Condition, DeadLetter, Error, Filter, Hold, Queue, QueueCounts, State, TaskId, TaskRecord, Timestamp,
};

/// Rows of a list of tasks: what a person reads.
pub(super) const MAX_ROWS: usize = 20;
/// Task names that are shown, the busiest ones.
const MAX_NAMES: usize = 50;
/// Schedules that are shown, those that matter next.
const MAX_SCHEDULES: usize = 50;
/// Groups of failures that are shown, the largest ones.
const MAX_GROUPS: usize = 50;
/// Dead letters that are shown, the newest ones.
const MAX_LETTERS: usize = 50;
/// The newest tasks that are looked at for the slowest ones.
const MAX_NEWEST: usize = 10_000;
/// How many are read at a time: records can have 20 KiB of error.
const CHUNK_TASKS: usize = 500;
/// Running tasks that are looked at for the oldest ones.
const MAX_RUNNING: usize = 1_000;
/// Queued tasks that are looked at, from each end.
const MAX_QUEUED: usize = 500;
/// Queued tasks are searched for among so many ids from each end: a search passes millions in a second.
const SEARCHED_IDS: i64 = 5_000_000;
/// Shown of the args of a task, in characters.
const MAX_ARGS_CHARS: usize = 500;

/// The options of a report.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReportOptions {
    pub now: Timestamp,
    /// How far back activity is shown.
    pub back: Duration,
    /// Whether args are shown.
    pub args: bool,
}

/// All that is on a page.
#[derive(Debug, Serialize)]
pub(super) struct ReportData {
    pub perdura_version: &'static str,
    pub made_at: Timestamp,
    /// Activity is shown from here on.
    pub since: Timestamp,
    pub verdict: Attention,
    pub file: FileReport,
    /// The file system that it lies on, where that can be known.
    pub disk: Option<Disk>,
    pub total: QueueCounts,
    pub queues: Vec<QueueRow>,
    pub schedules: NextSchedules,
    pub conditions: Vec<Condition>,
    /// When the next task falls due that waits for its time, or expires.
    pub next_due: Option<Timestamp>,
    pub activity: Activity,
    pub names: Part<NameFigures>,
    pub failures: FailureGroups,
    pub running: Part<TaskRow>,
    pub queued: Queued,
    pub slowest: Slowest,
    pub dead_letters: Part<DeadLetter>,
}

/// What needs attention.
#[derive(Debug, Default, Serialize)]
pub(super) struct Attention {
    pub concerns: Vec<Concern>,
    /// All of it in one sentence.
    pub sentence: String,
}

/// A thing that needs attention: a part of a sentence, and where the page says more.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Concern {
    pub about: Section,
    pub text: String,
}

/// The sections of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Section {
    Activity,
    Queues,
    Schedules,
    Conditions,
    Failures,
    Times,
    Tasks,
    Letters,
    File,
}

impl Section {
    /// Where it is on the page.
    pub fn id(self) -> &'static str {
        match self {
            Section::Activity => "activity",
            Section::Queues => "queues",
            Section::Schedules => "schedules",
            Section::Conditions => "conditions",
            Section::Failures => "failures",
            Section::Times => "times",
            Section::Tasks => "tasks",
            Section::Letters => "letters",
            Section::File => "file",
        }
    }
}

/// A list that may be a part of a longer one.
#[derive(Debug, Serialize)]
pub(super) struct Part<T> {
    pub rows: Vec<T>,
    /// Whether there are more, known or not looked at.
    pub more: bool,
}

impl<T> Part<T> {
    fn first(mut rows: Vec<T>, limit: usize) -> Part<T> {
        let more = rows.len() > limit;
        rows.truncate(limit);
        Part { rows, more }
    }
}

/// `FAILED` and `LOST` tasks by what went wrong.
#[derive(Debug, Serialize)]
pub(super) struct FailureGroups {
    pub groups: Part<Group>,
    /// How many tasks the groups are made of, the newest ones.
    pub looked_at: u64,
    /// Whether there are more tasks.
    pub more: bool,
}

/// `QUEUED` tasks by what they wait for.
#[derive(Debug, Serialize)]
pub(super) struct Queued {
    pub ready: Part<TaskRow>,
    /// Those that wait for their time.
    pub waiting: Part<TaskRow>,
    pub held: Part<TaskRow>,
    /// How many were looked at.
    pub looked_at: u64,
}

/// The tasks whose newest attempt took longest.
#[derive(Debug, Serialize)]
pub(super) struct Slowest {
    pub tasks: Part<TaskRow>,
    /// How many tasks were looked at, the newest ones.
    pub looked_at: u64,
}

/// A queue.
#[derive(Debug, Clone, Serialize)]
pub(super) struct QueueRow {
    pub queue: String,
    #[serde(flatten)]
    pub counts: QueueCounts,
    /// Since when its oldest ready task could run.
    pub ready_since: Option<Timestamp>,
}

/// Failures of one kind.
#[derive(Debug, Serialize)]
pub(super) struct Group {
    #[serde(flatten)]
    pub group: FailureGroup,
    /// The newest of them; none if it is gone by now.
    pub example: Option<TaskRow>,
}

/// A task on the page.
#[derive(Debug, Serialize)]
pub(super) struct TaskRow {
    #[serde(flatten)]
    pub task: TaskRecord,
    /// How long its newest attempt ran, if that has ended the task; how long it has been running, if it runs.
    pub ran_ms: Option<u64>,
    /// The beginning of its args, if they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args: Option<String>,
}

impl ReportData {
    /// How far back activity is shown, in words.
    pub fn window(&self) -> String {
        super::words::window(self.made_at.since(self.since))
    }

    /// Whether the page has a section.
    pub fn has(&self, section: Section) -> bool {
        match section {
            Section::Schedules => !self.schedules.rows.is_empty(),
            Section::Conditions => !self.conditions.is_empty(),
            _ => true,
        }
    }

    /// Reads everything, a bounded part of each list. It is not judged yet.
    pub fn gather(queue: &Queue, options: ReportOptions) -> Result<ReportData, Error> {
        let ReportOptions { now, back, .. } = options;
        let since = now.saturating_sub(back);
        let file = queue.inspect()?;
        let counts = queue.counts()?;
        let ready_since = queue.ready_since()?;
        let rollups = queue.rollups(since.to_system_time())?;
        let queue_rows = counts.queues.iter().map(|(name, counts)| QueueRow {
            queue: name.clone(),
            counts: *counts,
            ready_since: ready_since.get(name).copied(),
        });
        let total = counts.total();
        Ok(ReportData {
            perdura_version: env!("CARGO_PKG_VERSION"),
            made_at: now,
            since,
            verdict: Attention::default(),
            disk: Disk::of(&file.path),
            file,
            total,
            queues: queue_rows.collect(),
            schedules: NextSchedules::read(queue, MAX_SCHEDULES)?,
            conditions: queue.conditions()?,
            next_due: queue.next_due()?,
            activity: Activity::new(&rollups, since, now),
            names: Part::first(by_name(&rollups), MAX_NAMES),
            failures: failures(queue, options)?,
            running: running(queue, options)?,
            queued: queued(queue, options, total)?,
            slowest: slowest(queue, options, total.all())?,
            dead_letters: Part::first(
                queue.dead_letters().list(Filter::new().newest_first().limit(MAX_LETTERS + 1))?,
                MAX_LETTERS,
            ),
        })
    }
}

fn failures(queue: &Queue, options: ReportOptions) -> Result<FailureGroups, Error> {
    let crate::inspect::Failures { groups, looked_at, more, .. } = queue.failures(Filter::new())?;
    let more_groups = groups.len() > MAX_GROUPS;
    let example = |group: FailureGroup| {
        let found = queue.tasks(Filter::new().id(group.newest))?.pop();
        Ok(Group { example: found.map(|task| show(queue, task, options)).transpose()?, group })
    };
    let rows = groups.into_iter().take(MAX_GROUPS).map(example).collect::<Result<_, Error>>()?;
    Ok(FailureGroups { groups: Part { rows, more: more_groups }, looked_at, more })
}

fn running(queue: &Queue, options: ReportOptions) -> Result<Part<TaskRow>, Error> {
    let mut tasks = queue.tasks(Filter::new().state(State::Running).limit(MAX_RUNNING + 1))?;
    let more = tasks.len() > MAX_RUNNING;
    tasks.sort_by_key(|task| (task.started_at, task.task_id));
    shown(queue, tasks, options, more)
}

/// `all`: how many tasks there are.
fn slowest(queue: &Queue, options: ReportOptions, all: u64) -> Result<Slowest, Error> {
    let since = options.now.saturating_sub(options.back);
    let mut slowest = Vec::<TaskRecord>::new();
    let (mut before, mut looked_at) = (None, 0);
    while looked_at < MAX_NEWEST {
        let filter = Filter::new().newest_first().limit(CHUNK_TASKS.min(MAX_NEWEST - looked_at));
        let chunk = queue.tasks(match before {
            Some(id) => filter.before_id(id),
            None => filter,
        })?;
        let Some(last) = chunk.last() else { break };
        before = Some(last.task_id);
        looked_at += chunk.len();
        let recent = |task: &TaskRecord| task.finished_at.is_some_and(|at| at >= since);
        slowest.extend(chunk.into_iter().filter(|task| recent(task) && ran(task, options.now).is_some()));
        slowest.sort_by_key(|task| (std::cmp::Reverse(ran(task, options.now)), task.task_id));
        slowest.truncate(MAX_ROWS);
    }
    let looked_at = looked_at as u64;
    Ok(Slowest { tasks: shown(queue, slowest, options, looked_at < all)?, looked_at })
}

/// No index leads to queued tasks in the order of their ids, so only both ends are searched. `total` says how many there are of
/// each kind.
fn queued(queue: &Queue, options: ReportOptions, total: QueueCounts) -> Result<Queued, Error> {
    let found = both_ends(queue)?;
    let looked_at = found.len() as u64;
    let (mut ready, rest): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|task| task.hold.unwrap_or(Hold::Ready) == Hold::Ready);
    let (mut waiting, held): (Vec<_>, Vec<_>) =
        rest.into_iter().partition(|task| task.hold == Some(Hold::Time));
    ready.sort_by_key(|task| (ready_at(task), task.task_id));
    waiting.sort_by_key(|task| (task.run_at, task.task_id));
    let part = |tasks: Vec<TaskRecord>, of: u64| {
        let more = (tasks.len() as u64) < of;
        shown(queue, tasks, options, more)
    };
    Ok(Queued {
        ready: part(ready, total.ready)?,
        waiting: part(waiting, total.waiting)?,
        held: part(held, held_count(&total))?,
        looked_at,
    })
}

fn both_ends(queue: &Queue) -> Result<Vec<TaskRecord>, Error> {
    let end = |filter: Filter| Ok::<_, Error>(queue.tasks(filter.limit(1))?.pop().map(|t| t.task_id));
    let (Some(first), Some(last)) = (end(Filter::new())?, end(Filter::new().newest_first())?) else {
        return Ok(Vec::new());
    };
    let queued = || Filter::new().state(State::Queued).limit(MAX_QUEUED);
    let moved = |id: TaskId, by: i64| TaskId::from_i64(id.as_i64().saturating_add(by));
    let mut found = queue.tasks(queued().before_id(moved(first, SEARCHED_IDS)))?;
    found.extend(queue.tasks(queued().newest_first().after_id(moved(last, -SEARCHED_IDS)))?);
    found.sort_by_key(|task| task.task_id);
    found.dedup_by_key(|task| task.task_id);
    Ok(found)
}

/// Since when a ready task could run.
pub(super) fn ready_at(task: &TaskRecord) -> Timestamp {
    task.run_at.unwrap_or(task.created_at)
}

fn shown(
    queue: &Queue,
    mut tasks: Vec<TaskRecord>,
    options: ReportOptions,
    more: bool,
) -> Result<Part<TaskRow>, Error> {
    let more = more || tasks.len() > MAX_ROWS;
    tasks.truncate(MAX_ROWS);
    let rows = tasks.into_iter().map(|task| show(queue, task, options)).collect::<Result<_, _>>()?;
    Ok(Part { rows, more })
}

fn show(queue: &Queue, task: TaskRecord, options: ReportOptions) -> Result<TaskRow, Error> {
    let args = if options.args {
        match queue.args_json(task.task_id) {
            Ok(args) => Some(beginning(args)),
            Err(e) if e.kind() == crate::ErrorKind::NotFound => None, // it was deleted a moment ago
            Err(e) => return Err(e),
        }
    } else {
        None
    };
    let ran_ms = ran(&task, options.now).map(|ran| u64::try_from(ran.as_millis()).unwrap_or(u64::MAX));
    Ok(TaskRow { task, ran_ms, args })
}

fn beginning(mut text: String) -> String {
    if let Some((cut, _)) = text.char_indices().nth(MAX_ARGS_CHARS) {
        text.truncate(cut);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ManualClock, SteppedQueue};
    use crate::{Clock, Context, Failure, Options, Task};

    #[derive(Serialize, serde::Deserialize)]
    struct Walk {
        steps: u64,
    }

    impl Task for Walk {
        const NAME: &'static str = "walk";
        type Output = ();
    }

    /// Walks that take as long as they have steps.
    fn walks(clock: &ManualClock) -> SteppedQueue {
        let time = clock.clone();
        let walk = move |walk: Walk, _: &Context| {
            time.advance(Duration::from_secs(walk.steps));
            Ok::<_, Failure>(())
        };
        SteppedQueue::open(Queue::builder().handle(walk), clock).unwrap()
    }

    fn gather(queue: &SteppedQueue, args: bool) -> ReportData {
        let options = ReportOptions { now: queue.clock().now(), back: Duration::from_secs(3600), args };
        ReportData::gather(queue.queue(), options).unwrap()
    }

    fn steps(part: &Part<TaskRow>) -> Vec<u64> {
        part.rows.iter().map(|shown| shown.ran_ms.unwrap() / 1000).collect()
    }

    #[test]
    fn the_slowest_tasks_of_the_time_looked_at_come_first() {
        let queue = walks(&ManualClock::new());
        for steps in [2000, 3, 900, 800, 7] {
            let _ = queue.queue().enqueue(&Walk { steps }).unwrap();
        }
        queue.run_until_idle().unwrap();
        let page = gather(&queue, false);
        assert_eq!(steps(&page.slowest.tasks), [2000, 900, 800, 7, 3]);
        assert_eq!((page.slowest.looked_at, page.slowest.tasks.more), (5, false));
        queue.clock().advance(Duration::from_secs(3600 - 800));
        assert_eq!(
            steps(&gather(&queue, false).slowest.tasks),
            [800, 7],
            "what ended an hour ago is left out"
        );
    }

    #[test]
    fn lists_have_an_end_and_say_so() {
        let queue = walks(&ManualClock::new());
        let many = MAX_QUEUED + 50;
        let soon = |n| Options::new().delay(Duration::from_secs(10_000 - n as u64));
        let tasks: Vec<_> = (0..many).map(|n| (Walk { steps: n as u64 }, n)).collect();
        queue.queue().enqueue_all_with(tasks.iter().map(|(task, n)| (task, soon(*n)))).unwrap();
        let _ = queue.queue().enqueue(&Walk { steps: 1 }).unwrap();
        let page = gather(&queue, true);
        let Queued { ready, waiting, held, looked_at } = &page.queued;
        assert_eq!((ready.rows.len(), ready.more), (1, false));
        assert_eq!((waiting.rows.len(), waiting.more, held.rows.len()), (MAX_ROWS, true, 0));
        assert_eq!(*looked_at, many as u64 + 1, "the two ends overlap, and no task counts twice");
        let first = waiting.rows[0].args.as_deref();
        assert_eq!(first, Some(format!("{{\"steps\":{}}}", many - 1).as_str()), "the next due");
        assert_eq!(page.next_due, waiting.rows[0].task.run_at);
        assert!(gather(&queue, false).queued.waiting.rows.iter().all(|shown| shown.args.is_none()));
    }

    #[test]
    fn long_args_are_cut() {
        assert_eq!(beginning("ü".repeat(MAX_ARGS_CHARS)), "ü".repeat(MAX_ARGS_CHARS));
        assert_eq!(beginning("ü".repeat(MAX_ARGS_CHARS + 1)), "ü".repeat(MAX_ARGS_CHARS) + "…");
    }
}
