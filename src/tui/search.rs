//! A search in the file, in steps of a window of ids each (see `id_walk`).

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use super::filter_box::Query;
use super::id_walk::Windows;
use super::requests::{Edge, ListKind, Listed, PageRequest, View, ViewContent, ViewResult};
use super::schedules::MAX_SCHEDULES;
use super::sort::MAX_SORTED_TASKS;
use crate::console::inspect::detail::TaskDetail;
use crate::console::inspect::schedule::NextSchedules;
use crate::console::inspect::task::{command, job_words};
use crate::inspect::FailureGroup;
use crate::{DeadLetter, Error, ErrorKind, Filter, Hold, Queue, State, TaskId, TaskRecord};

/// Up to so many waiting tasks are all read and sorted by due time.
const MAX_SORTED_WAITING: usize = 500;

/// Groups of failures whose programs are read, the largest.
const MAX_NAMED_GROUPS: usize = 50;

/// Tasks of each such group that are read for their programs, the newest.
const MAX_NAMED_TASKS: usize = 4;

/// How many failures are grouped, the newest.
const MAX_GROUPED_FAILURES: u64 = 10_000;

/// A view that is still being read.
pub(super) struct ViewSearch {
    look: View,
    walk: Option<IdWalk>,
    took: Duration,
}

/// A search over ids.
struct IdWalk {
    windows: Windows,
    filter: Filter,
    /// The newest first.
    down: bool,
    limit: usize,
    /// The number by the counters: when so many are found the search is over.
    at_most: u64,
    found: Matches,
}

enum Matches {
    Tasks(Vec<Listed<TaskRecord>>),
    Waiting { tasks: Vec<Listed<TaskRecord>>, whole: bool },
    Letters(Vec<Listed<DeadLetter>>),
    Failures { groups: HashMap<(String, String, String), FailureGroup>, looked_at: u64, more: bool },
}

impl ViewSearch {
    pub fn new(look: View) -> ViewSearch {
        ViewSearch { look, walk: None, took: Duration::ZERO }
    }

    /// The same view from its beginning: a step of this search was interrupted.
    pub fn anew(self) -> ViewSearch {
        ViewSearch::new(self.look)
    }

    /// Does the next step. The answer has what was found so far; its `searching` is none if that is all. `now` is a clock that does not
    /// go back.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn step(&mut self, queue: &Queue, now: impl Fn() -> Duration) -> Result<ViewResult, Error> {
        let began = now();
        let page = match &self.look {
            View::Page(page) => page,
            View::Schedules => {
                let what = ViewContent::Schedules(NextSchedules::read(queue, MAX_SCHEDULES)?);
                return Ok(ViewResult { what, searching: None, took: now().saturating_sub(began) });
            }
            View::One(id) => {
                let what = ViewContent::One(detail(queue, *id)?.map(Box::new));
                return Ok(ViewResult { what, searching: None, took: now().saturating_sub(began) });
            }
        };
        let walk = match &mut self.walk {
            Some(walk) => walk,
            none => none.insert(IdWalk::begin(queue, page, page.edge)?),
        };
        let mut is_over = walk.step(queue)?;
        let short = is_over && matches!(page.edge, Edge::Above(_)) && walk.found.len() < walk.limit;
        if short && !walk.down {
            // There is less than a page above: the first page is shown instead.
            *walk = IdWalk::begin(queue, page, Edge::Newest)?;
            is_over = false;
        }
        let time = now().saturating_sub(began);
        walk.windows.took(time);
        self.took += time;
        let searching = if is_over { None } else { walk.windows.at() };
        let mut what = walk.found.show(walk.down);
        if let (true, ViewContent::Failures { groups, .. }) = (is_over, &mut what) {
            groups.iter_mut().take(MAX_NAMED_GROUPS).for_each(|group| group.command = programs(queue, group));
        }
        Ok(ViewResult { what, searching, took: self.took })
    }
}

impl IdWalk {
    fn begin(queue: &Queue, page: &PageRequest, edge: Edge) -> Result<IdWalk, Error> {
        let PageRequest { of, query, limit, .. } = page;
        let (mut edge, mut limit, mut query) = (edge, *limit, query.clone());
        let (at_most, found) = match of {
            ListKind::Tasks if page.sort.is_bounded() => {
                (edge, limit) = (Edge::Newest, MAX_SORTED_TASKS);
                let running = match query.states.is_empty() || query.states.contains(&State::Running) {
                    true => queue.tasks(query.in_states(&[State::Running]).filter().limit(limit))?,
                    false => Vec::new(),
                };
                let running = running.into_iter().map(|task| of_task(queue, task)).collect();
                (queue.count(query.counted().filter())?, Matches::Tasks(running))
            }
            ListKind::Tasks => (queue.count(query.counted().filter())?, Matches::Tasks(Vec::new())),
            ListKind::Letters => (u64::MAX, Matches::Letters(Vec::new())),
            ListKind::Waiting => {
                let waiting = waiting(queue, query.queue.as_deref())?;
                let whole = waiting <= MAX_SORTED_WAITING as u64;
                if whole {
                    (edge, limit) = (Edge::Newest, MAX_SORTED_WAITING);
                }
                query.states = vec![State::Queued];
                (waiting, Matches::Waiting { tasks: Vec::new(), whole })
            }
            ListKind::Failures => {
                (edge, limit) = (Edge::Newest, usize::MAX);
                if query.states.is_empty() {
                    query.states = vec![State::Failed, State::Lost];
                }
                let at_most = queue.count(query.counted().filter())?;
                (at_most, Matches::Failures { groups: HashMap::new(), looked_at: 0, more: false })
            }
        };
        let down = matches!(edge, Edge::Newest | Edge::Below(_));
        let mut windows = windows_over(queue, *of == ListKind::Letters, &query, down)?;
        windows = match edge {
            Edge::Below(id) => windows.only_below(id),
            Edge::Above(id) => windows.only_above(id),
            Edge::Newest | Edge::Oldest => windows,
        };
        Ok(IdWalk { windows, filter: query.filter(), down, limit, at_most, found })
    }

    /// Reads the next window; true if the search is over.
    fn step(&mut self, queue: &Queue) -> Result<bool, Error> {
        if self.at_most == 0 {
            return Ok(true);
        }
        let left = self.limit.saturating_sub(self.found.len());
        let mut filter = self.filter.clone();
        if self.down {
            filter = filter.newest_first();
        }
        let Some(filter) = self.windows.next(filter) else { return Ok(true) };
        match &mut self.found {
            Matches::Tasks(tasks) => {
                let found = queue.tasks(filter.limit(left))?;
                if let Some(last) = found.last().filter(|_| found.len() == left) {
                    self.windows.resume(last.task_id);
                }
                // In a sorted list, running tasks were read before.
                let known: HashSet<TaskId> = tasks.iter().map(|task| task.task_id).collect();
                let new = found.into_iter().filter(|task| !known.contains(&task.task_id));
                tasks.extend(new.map(|task| of_task(queue, task)));
            }
            Matches::Letters(letters) => {
                let found = queue.dead_letters().list(filter.limit(left))?.into_iter();
                letters.extend(found.map(|letter| Listed {
                    command: command(queue, &letter.task_name, letter.task_id),
                    row: letter,
                }));
            }
            Matches::Waiting { tasks, .. } => {
                let queued = queue.tasks(filter.limit(left))?;
                if let Some(last) = queued.last().filter(|_| queued.len() == left) {
                    self.windows.resume(last.task_id);
                }
                let waiting = queued.into_iter().filter(|task| task.hold == Some(Hold::Time));
                tasks.extend(waiting.map(|task| of_task(queue, task)));
            }
            Matches::Failures { groups, looked_at, more } => {
                let left = usize::try_from(MAX_GROUPED_FAILURES.saturating_sub(*looked_at)).unwrap_or(0);
                let failures = queue.failures(filter.limit(left))?;
                *looked_at += failures.looked_at;
                *more = failures.more || (*looked_at >= MAX_GROUPED_FAILURES && self.windows.at().is_some());
                failures.groups.into_iter().for_each(|group| merge(groups, group));
                return Ok(*more || *looked_at >= self.at_most || self.windows.at().is_none());
            }
        }
        let len = self.found.len();
        Ok(len >= self.limit || len as u64 >= self.at_most || self.windows.at().is_none())
    }
}

fn of_task(queue: &Queue, task: TaskRecord) -> Listed<TaskRecord> {
    Listed { command: command(queue, &task.task_name, task.task_id), row: task }
}

impl Matches {
    fn len(&self) -> usize {
        match self {
            Matches::Tasks(tasks) | Matches::Waiting { tasks, .. } => tasks.len(),
            Matches::Letters(letters) => letters.len(),
            Matches::Failures { groups, .. } => groups.len(),
        }
    }

    /// As it is shown: the newest first.
    fn show(&self, down: bool) -> ViewContent {
        fn turned<T: Clone>(rows: &[T], down: bool) -> Vec<T> {
            if down { rows.to_vec() } else { rows.iter().rev().cloned().collect() }
        }
        match self {
            Matches::Tasks(tasks) => ViewContent::Tasks(turned(tasks, down)),
            Matches::Letters(letters) => ViewContent::Letters(turned(letters, down)),
            Matches::Waiting { tasks, whole } => {
                let mut tasks = turned(tasks, down);
                if *whole {
                    tasks.sort_by_key(|task| (task.run_at, task.task_id));
                }
                ViewContent::Waiting { tasks, soonest_first: *whole }
            }
            Matches::Failures { groups, looked_at, more } => {
                let of_group = |group: &FailureGroup| Listed { row: group.clone(), command: None };
                let mut groups: Vec<_> = groups.values().map(of_group).collect();
                groups.sort_by_key(|group| (std::cmp::Reverse(group.count), std::cmp::Reverse(group.newest)));
                ViewContent::Failures { groups, looked_at: *looked_at, more: *more }
            }
        }
    }
}

/// The programs of the newest jobs of a group; none of tasks that are no jobs.
fn programs(queue: &Queue, group: &FailureGroup) -> Option<String> {
    let newest = group.ids.iter().take(MAX_NAMED_TASKS);
    let programs: BTreeSet<String> =
        newest.filter_map(|id| Some(job_words(queue, &group.task_name, *id)?.program)).collect();
    (!programs.is_empty()).then(|| Vec::from_iter(programs).join(", "))
}

/// How many tasks wait for their time.
fn waiting(queue: &Queue, of: Option<&str>) -> Result<u64, Error> {
    let counts = queue.counts()?;
    Ok(match of {
        Some(name) => counts.queues.get(name).map_or(0, |counts| counts.waiting),
        None => counts.total().waiting,
    })
}

/// Adds a group of older failures.
fn merge(groups: &mut HashMap<(String, String, String), FailureGroup>, older: FailureGroup) {
    let key = (older.task_name.clone(), older.error_type.clone(), older.message.clone());
    match groups.get_mut(&key) {
        None => {
            groups.insert(key, older);
        }
        Some(group) => {
            group.count += older.count;
            group.ids.extend(older.ids);
        }
    }
}

/// Windows over all ids of tasks, or of dead letters; one window if the query names ids.
pub(super) fn windows_over(
    queue: &Queue,
    letters: bool,
    query: &Query,
    down: bool,
) -> Result<Windows, Error> {
    let first = |filter: Filter| -> Result<Option<TaskId>, Error> {
        let filter = filter.limit(1);
        Ok(if letters {
            queue.dead_letters().list(filter)?.first().map(|letter| letter.task_id)
        } else {
            queue.tasks(filter)?.first().map(|task| task.task_id)
        })
    };
    let nothing = TaskId::from_i64(0);
    let (oldest, newest) =
        first(Filter::new())?.zip(first(Filter::new().newest_first())?).unwrap_or((nothing, nothing));
    let windows = if down { Windows::down(oldest, newest) } else { Windows::up(oldest, newest) };
    // A few ids are found at once, wherever they are.
    Ok(if query.ids.is_empty() { windows } else { windows.whole() })
}

/// All about a task, or about the letter that it has become; none if there is neither.
fn detail(queue: &Queue, id: TaskId) -> Result<Option<TaskDetail>, Error> {
    match TaskDetail::read(queue, id, None, ToString::to_string) {
        Ok(detail) => Ok(Some(detail)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
