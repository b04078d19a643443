//! Gathers the data of a page from a queue, by bounded reads.
//!
//! Each part is read on its own. A file that is in use moves on in between, so sums of two parts may differ by what happened meanwhile.

use std::collections::BTreeSet;

use super::data::{
    Attention, EndedTasks, FailureGroups, Group, JobFacts, LetterRow, MAX_ROWS, Part, QueueRow, Queued,
    ReportData, ReportOptions, Slowest, TaskRow, WorkerFacts, ready_at,
};
use super::sums::{Activity, EndedFigures, by_name};
use crate::console::inspect::explain::quoted;
use crate::console::inspect::health::Disk;
use crate::console::inspect::lately::Lately;
use crate::console::inspect::process_age::began_at;
use crate::console::inspect::queue::held as held_count;
use crate::console::inspect::schedule::NextSchedules;
use crate::console::inspect::task::{is_job_name, job_words, ran};
use crate::inspect::{FailureGroup, FileReport};
use crate::{Error, Filter, Hold, OutputStream, Queue, QueueCounts, State, TaskId, TaskRecord, Timestamp};

/// Task names that are shown, the busiest ones.
const MAX_NAMES: usize = 50;
/// Schedules that are shown: broken ones first, then those that fire next.
const MAX_SCHEDULES: usize = 50;
/// Groups of failures that are shown, the largest ones.
const MAX_GROUPS: usize = 50;
/// Dead letters that are shown, the newest ones.
const MAX_LETTERS: usize = 50;
/// The newest tasks that are looked at for the slowest ones.
const MAX_NEWEST: usize = 10_000;
/// Of these, jobs whose programs are read: args may be long.
const MAX_PROGRAMS_READ: usize = 2_000;
/// Programs and queues that are shown, the busiest ones.
const MAX_FIGURES: usize = 30;
/// Queued tasks that are looked at for those that have failed and will be tried again.
const MAX_RETRYING: usize = 10_000;
/// Tasks of a group of failures whose programs are read, the newest.
const MAX_GROUP_PROGRAMS: usize = 5;
/// The last lines of the standard error that are shown, and their characters.
const STDERR_LINES: usize = 12;
const MAX_STDERR_CHARS: usize = 2_000;
/// Tasks that are read at a time: records can have 20 KiB of error.
const CHUNK_TASKS: usize = 500;
/// Running tasks that are looked at for the oldest ones.
const MAX_RUNNING: usize = 1_000;
/// Queued tasks that are looked at, from each end.
const MAX_QUEUED: usize = 500;
/// Queued tasks are searched for among so many ids from each end: a search passes millions in a second.
const SEARCHED_IDS: i64 = 5_000_000;
/// Characters of the args of a task that are shown.
const MAX_ARGS_CHARS: usize = 500;

impl ReportData {
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
        let (slowest, ended) = newest(queue, options, total.all())?;
        let letters = queue.dead_letters().list(Filter::new().newest_first().limit(MAX_LETTERS + 1))?;
        let letters = letters.into_iter().map(|letter| LetterRow {
            job: JobFacts::of(job_words(queue, &letter.task_name, letter.task_id), options.args),
            letter,
        });
        Ok(ReportData {
            perdura_version: env!("CARGO_PKG_VERSION"),
            made_at: now,
            since,
            verdict: Attention::default(),
            disk: Disk::of(&file.path),
            worker: worker(&file, now),
            file,
            total,
            queues: queue_rows.collect(),
            schedules: schedules(queue, options)?,
            conditions: queue.conditions()?,
            next_due: queue.next_due()?,
            activity: Activity::over_data(&rollups, since, now),
            names: Part::first(by_name(&rollups), MAX_NAMES),
            failures: failures(queue, options)?,
            running: running(queue, options)?,
            queued: queued(queue, options, total)?,
            slowest,
            ended,
            dead_letters: Part::first(letters.collect(), MAX_LETTERS),
        })
    }
}

/// The schedules; if args are not shown, their command lines are cut to the program.
fn schedules(queue: &Queue, options: ReportOptions) -> Result<NextSchedules, Error> {
    let mut schedules = NextSchedules::read(queue, MAX_SCHEDULES)?;
    if !options.args {
        for command in schedules.rows.iter_mut().filter_map(|row| row.command.as_mut()) {
            *command = program_of_line(command);
        }
    }
    Ok(schedules)
}

/// The program of a command line, without its folder.
fn program_of_line(line: &str) -> String {
    let word = shell_words::split(line).ok().and_then(|words| words.into_iter().next()).unwrap_or_default();
    word.rsplit('/').next().unwrap_or_default().to_owned()
}

fn worker(file: &FileReport, now: Timestamp) -> WorkerFacts {
    let process = file.owner_process.filter(|_| file.owned == Some(true));
    WorkerFacts { runs: file.owned, process, since: process.and_then(|process| began_at(process, now)) }
}

fn failures(queue: &Queue, options: ReportOptions) -> Result<FailureGroups, Error> {
    let crate::inspect::Failures { groups, looked_at, more, .. } = queue.failures(Filter::new())?;
    let queued = queue.failures(Filter::new().state(State::Queued).limit(MAX_RETRYING))?;
    let retrying: Vec<_> = queued.groups.into_iter().filter(|group| !group.error_type.is_empty()).collect();
    let retrying_tasks = retrying.iter().map(|group| group.count).sum();
    let part = |groups: Vec<FailureGroup>, is_over: bool| -> Result<Part<Group>, Error> {
        let more = groups.len() > MAX_GROUPS;
        let rows = groups.into_iter().take(MAX_GROUPS).map(|found| group(queue, found, options, is_over));
        Ok(Part { rows: rows.collect::<Result<_, Error>>()?, more })
    };
    Ok(FailureGroups {
        groups: part(groups, true)?,
        looked_at,
        more,
        retrying: part(retrying, false)?,
        retrying_tasks,
        more_queued: queued.more,
    })
}

/// `is_over`: these tasks are not tried again by themselves.
fn group(queue: &Queue, group: FailureGroup, options: ReportOptions, is_over: bool) -> Result<Group, Error> {
    let found = queue.tasks(Filter::new().id(group.newest))?.pop();
    let newest = group.ids.iter().take(MAX_GROUP_PROGRAMS);
    let programs: BTreeSet<String> =
        newest.filter_map(|id| Some(job_words(queue, &group.task_name, *id)?.program)).collect();
    Ok(Group {
        example: found.map(|task| show(queue, task, options)).transpose()?,
        programs: programs.into_iter().collect(),
        stderr: if options.args { last_stderr(queue, group.newest)? } else { None },
        command: is_over.then(|| options.verb(&retry(&group))),
        group,
    })
}

/// The verb that tries all of a kind again: it counts them, and asks.
fn retry(group: &FailureGroup) -> String {
    let name = (!is_job_name(&group.task_name)).then(|| format!(" --name {}", quoted(&group.task_name)));
    let error = (!group.error_type.is_empty()).then(|| format!(" --error {}", quoted(&group.error_type)));
    match (name, error) {
        (None, None) => format!("retry {}", group.newest),
        (name, error) => format!("retry{}{}", name.unwrap_or_default(), error.unwrap_or_default()),
    }
}

/// The end of what the newest attempt that wrote anything has written to its standard error.
fn last_stderr(queue: &Queue, id: TaskId) -> Result<Option<String>, Error> {
    let outputs = queue.output(id, None)?;
    let Some(output) = outputs.iter().find(|output| output.stream == OutputStream::Stderr) else {
        return Ok(None);
    };
    let gap = if output.left_out() > 0 { "\n" } else { "" };
    Ok(Some(end_of(&format!("{}{gap}{}", output.first_text(), output.last_text()))))
}

fn end_of(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let end = lines[lines.len().saturating_sub(STDERR_LINES)..].join("\n");
    let skipped = end.chars().count().saturating_sub(MAX_STDERR_CHARS);
    if skipped > 0 { format!("…{}", end.chars().skip(skipped).collect::<String>()) } else { end }
}

fn running(queue: &Queue, options: ReportOptions) -> Result<Part<TaskRow>, Error> {
    let mut tasks = queue.tasks(Filter::new().state(State::Running).limit(MAX_RUNNING + 1))?;
    let more = tasks.len() > MAX_RUNNING;
    tasks.sort_by_key(|task| (task.started_at, task.task_id));
    shown(queue, tasks, options, more)
}

/// The newest tasks: the slowest of them, and how they ended by queue and program. `all`: how many tasks there are.
fn newest(queue: &Queue, options: ReportOptions, all: u64) -> Result<(Slowest, EndedTasks), Error> {
    let since = options.now.saturating_sub(options.back);
    let mut slowest = Vec::<TaskRecord>::new();
    let (mut queues, mut programs) = (Lately::default(), Lately::default());
    let (mut before, mut looked_at, mut tasks, mut jobs) = (None, 0, 0, 0);
    while looked_at < MAX_NEWEST {
        let filter = Filter::new().newest_first().limit(CHUNK_TASKS.min(MAX_NEWEST - looked_at));
        let mut chunk = queue.tasks(match before {
            Some(id) => filter.before_id(id),
            None => filter,
        })?;
        let Some(last) = chunk.last() else { break };
        before = Some(last.task_id);
        looked_at += chunk.len();
        chunk.retain(|task| task.state.is_finished() && task.finished_at.is_some_and(|at| at >= since));
        tasks += chunk.len();
        for task in &chunk {
            let ran = ran(task, options.now);
            queues.add(&task.queue, task.state, ran);
            if is_job_name(&task.task_name) && jobs < MAX_PROGRAMS_READ {
                jobs += 1;
                if let Some(job) = job_words(queue, &task.task_name, task.task_id) {
                    programs.add(&job.program, task.state, ran);
                }
            }
        }
        slowest.extend(chunk.into_iter().filter(|task| ran(task, options.now).is_some()));
        slowest.sort_by_key(|task| (std::cmp::Reverse(ran(task, options.now)), task.task_id));
        slowest.truncate(MAX_ROWS);
    }
    let looked_at = looked_at as u64;
    let figures = |lately: Lately| {
        lately.busiest().iter().take(MAX_FIGURES).map(EndedFigures::from).collect::<Vec<_>>()
    };
    let ended = EndedTasks {
        queues: figures(queues),
        programs: figures(programs),
        tasks: tasks as u64,
        looked_at,
        more_programs: jobs >= MAX_PROGRAMS_READ,
    };
    Ok((Slowest { tasks: shown(queue, slowest, options, looked_at < all)?, looked_at }, ended))
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
    let job = JobFacts::of(job_words(queue, &task.task_name, task.task_id), options.args);
    Ok(TaskRow { task, ran_ms, job, args })
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
    use std::time::Duration;

    use super::*;
    use crate::testing::{ManualClock, SteppedQueue};
    use crate::{Clock, Context, Failure, Options, Task};

    #[derive(serde::Serialize, serde::Deserialize)]
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
        let options = ReportOptions {
            now: queue.clock().now(),
            back: Duration::from_secs(3600),
            args,
            is_mounted: false,
        };
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
    fn what_ended_is_told_by_queue() {
        let queue = walks(&ManualClock::new());
        for (name, steps) in [("a", 1), ("a", 3), ("b", 2), ("a", 2)] {
            let _ = queue.queue().enqueue_with(&Walk { steps }, Options::new().queue(name)).unwrap();
        }
        queue.run_until_idle().unwrap();
        let _ = queue.queue().enqueue(&Walk { steps: 1 }).unwrap();
        let EndedTasks { queues, programs, tasks, looked_at, .. } = gather(&queue, false).ended;
        let told: Vec<_> = queues.iter().map(|queue| (queue.name.as_str(), queue.ended, queue.p50)).collect();
        let s = |n| Some(Duration::from_secs(n));
        assert_eq!(told, [("a", 3, s(2)), ("b", 1, s(2))]);
        assert_eq!((programs.len(), tasks, looked_at), (0, 4, 5));
    }

    #[test]
    fn failures_that_are_tried_again_are_told_apart_with_the_verb_for_the_others() {
        let clock = ManualClock::new();
        let fails = |walk: Walk, _: &Context| match walk.steps {
            0 => Err::<(), _>(Failure::permanent("no way")),
            n => Err(Failure::named("net.timeout", format!("no answer in {n} s"))),
        };
        let queue = SteppedQueue::open(Queue::builder().handle(fails), &clock).unwrap();
        for steps in [0, 1, 2] {
            let _ = queue.queue().enqueue(&Walk { steps }).unwrap();
        }
        queue.run_until_idle().unwrap();
        let _ = queue.queue().enqueue(&Walk { steps: 9 }).unwrap();
        let failures = gather(&queue, false).failures;
        let told = |part: &Part<Group>| -> Vec<(String, u64, Option<String>)> {
            let rows = part.rows.iter();
            rows.map(|row| (row.group.error_type.clone(), row.group.count, row.command.clone())).collect()
        };
        let retry = "perdura retry --name walk --error Permanent".to_owned();
        assert_eq!(told(&failures.groups), [("Permanent".to_owned(), 1, Some(retry))]);
        assert_eq!(told(&failures.retrying), [("net.timeout".to_owned(), 2, None)]);
        assert_eq!((failures.retrying_tasks, failures.more_queued), (2, false));
    }

    #[test]
    fn the_end_of_a_text_is_its_last_lines() {
        let text: String = (0..30).map(|n| format!("line {n}\n")).collect();
        assert!(end_of(&text).starts_with("line 18\n") && end_of(&text).ends_with("line 29"));
        assert_eq!((end_of(""), end_of("one")), (String::new(), "one".to_owned()));
        assert_eq!(end_of(&"ü".repeat(3_000)).chars().count(), MAX_STDERR_CHARS + 1);
    }

    #[test]
    fn long_args_are_cut() {
        assert_eq!(beginning("ü".repeat(MAX_ARGS_CHARS)), "ü".repeat(MAX_ARGS_CHARS));
        assert_eq!(beginning("ü".repeat(MAX_ARGS_CHARS + 1)), "ü".repeat(MAX_ARGS_CHARS) + "…");
    }
}
