//! What runs now, and how long it usually takes: bounded reads, and an estimate, which is pure.
//!
//! The file keeps sums by task name, and all jobs of the command have one name. What their programs take is read from some tasks near those
//! that run.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::console::inspect::lately::{Figures, Lately};
use crate::console::inspect::rollups::by_name;
use crate::console::inspect::task::{JobWords, is_job_name, job_words, ran};
use crate::inspect::Rollup;
use crate::{Counts, Error, Filter, Queue, State, TaskRecord, Timestamp};

/// Running tasks that are read; what a screen can show.
const MAX_RUNNING: usize = 60;

/// Tasks that are looked at from one place in the file, for what programs take.
const MAX_SAMPLE: usize = 100;

/// In a file with more queues, or more tasks that wait, than these the oldest ready task is not searched for: that would read much.
const MAX_SEARCHED_QUEUES: usize = 8;
const MAX_SEARCHED_WAITING: u64 = 20_000;

/// With fewer known runs, no usual run time is shown.
const MIN_RUNS: usize = 3;

/// A task that runs.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RunningTask {
    pub task: TaskRecord,
    pub job: Option<JobWords>,
}

/// What only the overview shows.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Overview {
    /// Of the last hour.
    pub rollups: Vec<Rollup>,
    /// What runs, the longest first.
    pub running: Vec<RunningTask>,
    /// What the programs of jobs did lately, the busiest first.
    pub programs: Vec<Figures>,
}

impl Overview {
    /// Whether all that ended in the last hour were jobs of the command.
    pub fn has_only_jobs(&self) -> bool {
        !self.rollups.is_empty() && self.rollups.iter().all(|rollup| is_job_name(&rollup.task_name))
    }

    /// Whether jobs run, or have ended in the last hour, so that programs are shown.
    pub fn has_jobs(&self) -> bool {
        self.running.iter().any(|running| running.job.is_some())
            || self.rollups.iter().any(|rollup| is_job_name(&rollup.task_name))
    }

    /// For each running task, the median run time of the last runs of its program, or of its task name; none if too few are known.
    pub fn usual(&self) -> Vec<Option<Duration>> {
        let names = by_name(&self.rollups);
        let of_name = |name: &str| {
            let sum = names.iter().find(|sum| sum.task_name == name)?;
            sum.ran.quantile(0.5).filter(|_| sum.ran.count() >= MIN_RUNS as u64)
        };
        let of_program = |name: &str| {
            let figures = self.programs.iter().find(|figures| figures.name == name)?;
            figures.ran(0.5).filter(|_| figures.measured() >= MIN_RUNS)
        };
        let usual = |running: &RunningTask| match &running.job {
            Some(job) => of_program(&job.program),
            None => of_name(&running.task.task_name),
        };
        self.running.iter().map(usual).collect()
    }
}

/// How long a task may still run, by what is usual: an estimate.
pub(super) fn estimate(usual: Duration, elapsed: Duration) -> Estimate {
    match usual.checked_sub(elapsed) {
        Some(left) if !left.is_zero() => Estimate::Left(left),
        _ => Estimate::Over(usual),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Estimate {
    /// About this much time is left.
    Left(Duration),
    /// It runs longer than this usual time.
    Over(Duration),
}

/// Reads what runs, the longest first; an index has it.
///
/// # Errors
/// If the file cannot be read.
pub(super) fn running(queue: &Queue) -> Result<Vec<RunningTask>, Error> {
    let mut tasks = queue.tasks(Filter::new().state(State::Running).limit(MAX_RUNNING))?;
    tasks.sort_by_key(|task| (task.started_at, task.task_id));
    let of_task =
        |task: TaskRecord| RunningTask { job: job_words(queue, &task.task_name, task.task_id), task };
    Ok(tasks.into_iter().map(of_task).collect())
}

/// Reads what the programs of jobs did lately: of the newest tasks, of those just before the newest that runs, and of those just before
/// the oldest that is ready. Tasks mostly run in the order of their ids, so those have ended last.
///
/// # Errors
/// If the file cannot be read.
pub(super) fn programs(
    queue: &Queue,
    running: &[RunningTask],
    counts: &Counts,
    now: Timestamp,
) -> Result<Vec<Figures>, Error> {
    let newest = running.iter().map(|running| running.task.task_id).max();
    let with_ready = counts.queues.values().filter(|queue| queue.ready > 0).count();
    let total = counts.total();
    let is_searched = (1..=MAX_SEARCHED_QUEUES).contains(&with_ready)
        && total.queued().saturating_sub(total.ready) <= MAX_SEARCHED_WAITING;
    let ready = match is_searched {
        true => queue.tasks(Filter::new().hold(crate::Hold::Ready).limit(1))?.pop().map(|task| task.task_id),
        false => None,
    };
    let (mut seen, mut lately) = (BTreeSet::new(), Lately::default());
    let places = [Some(None), newest.map(Some), ready.map(Some)];
    for before in places.into_iter().flatten() {
        let sample = Filter::new().newest_first().limit(MAX_SAMPLE);
        let sample = before.map_or(sample.clone(), |id| sample.before_id(id));
        for task in queue.tasks(sample)? {
            if !task.state.is_finished() || !seen.insert(task.task_id) {
                continue;
            }
            if let Some(job) = job_words(queue, &task.task_name, task.task_id) {
                lately.add(&job.program, task.state, ran(&task, now));
            }
        }
    }
    Ok(lately.busiest())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::fixture::Stage;

    #[test]
    fn an_estimate_ends_where_a_run_takes_longer_than_usual() {
        let s = Duration::from_secs;
        assert_eq!(estimate(s(60), s(20)), Estimate::Left(s(40)));
        assert_eq!(estimate(s(60), s(60)), Estimate::Over(s(60)));
        assert_eq!(estimate(s(60), s(90)), Estimate::Over(s(60)));
    }

    #[test]
    fn what_is_usual_is_told_by_name_and_by_program_and_not_by_few_runs() {
        let mut stage = Stage::new();
        stage.keys("1");
        let mut overview = stage.app.overview.clone();
        assert!(overview.running.is_empty() && !overview.has_jobs() && !overview.has_only_jobs());
        let task = stage.queue().tasks(Filter::new().task_name("mail.send").limit(1)).unwrap().remove(0);
        let job = |program: &str| JobWords { program: program.to_owned(), command: format!("{program} x") };
        let mut lately = Lately::default();
        for n in 1..=3 {
            lately.add("gzip", State::Succeeded, Some(Duration::from_secs(n)));
        }
        lately.add("curl", State::Failed, Some(Duration::from_secs(9)));
        overview.programs = lately.busiest();
        let running = |job| RunningTask { task: task.clone(), job };
        overview.running = vec![running(None), running(Some(job("gzip"))), running(Some(job("curl")))];
        let usual = overview.usual();
        assert!(usual[0].is_some(), "{usual:?}");
        assert_eq!(usual[1..], [Some(Duration::from_secs(2)), None]);
    }

    #[cfg(unix)]
    #[test]
    fn programs_are_found_also_behind_a_long_queue() {
        use crate::testing::{ManualClock, SteppedQueue};
        use crate::{Context, Failure, Options, Task};
        #[derive(serde::Serialize, serde::Deserialize)]
        struct Job {
            argv: Vec<String>,
            dir: String,
        }
        impl Task for Job {
            const NAME: &'static str = "perdura.job";
            type Output = ();
        }
        let clock = ManualClock::new();
        let time = clock.clone();
        let run = move |_: Job, _: &Context| {
            time.advance(Duration::from_secs(2));
            Ok::<_, Failure>(())
        };
        let tests = SteppedQueue::open(Queue::builder().handle(run), &clock).unwrap();
        let job = |program: &str| Job { argv: vec![format!("/bin/{program}"), "x".into()], dir: "/".into() };
        for _ in 0..5 {
            let _ = tests.queue().enqueue(&job("gzip")).unwrap();
        }
        tests.run_until_idle().unwrap();
        let later: Vec<Job> = (0..500).map(|_| job("tar")).collect();
        tests.queue().enqueue_all_with(later.iter().map(|job| (job, Options::new()))).unwrap();
        let read = || {
            let counts = tests.queue().counts().unwrap();
            programs(tests.queue(), &[], &counts, crate::Clock::now(&clock)).unwrap()
        };
        let found = read();
        assert_eq!((found.len(), found[0].name.as_str(), found[0].succeeded), (1, "gzip", 5));
        assert_eq!(found[0].ran(0.5), Some(Duration::from_secs(2)));
    }
}
