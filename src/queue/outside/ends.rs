//! Ends the jobs of an engine: fetches their results, lets the program make outputs of them, and writes the ends to the file.

use std::sync::Arc;
use std::time::Duration;

use super::attached_engine::Attached;
use super::watched::Watched;
use crate::engine::{Collected, Fate, JobId};
use crate::error::Error;
use crate::handler::{Ended, Registry};
use crate::logging::{OUTCOMES, survive, tell};
use crate::queue::runtime::attempts::LARGE_OUTCOME_BYTES;
use crate::queue::runtime::core::{Core, TASKS_PER_COMMIT};
use crate::store::{self, Rank};
use crate::task::{ErrorReport, JobRow, OutputStream, PendingOutput, Stream, TaskId, Verdict, Written};

/// How long it is tried to fetch the result of a job.
const COLLECT_PATIENCE: Duration = Duration::from_secs(10 * 60);

/// A job whose attempt has ended; the file does not know it yet.
#[derive(Clone)]
pub(super) struct EndedJob {
    task_id: TaskId,
    generation: u64,
    job: JobId,
    verdict: Verdict,
    news: PendingOutput,
}

impl EndedJob {
    fn new(row: &JobRow, verdict: Verdict, log: Vec<u8>) -> EndedJob {
        let job = JobId::new(row.job.clone());
        EndedJob { task_id: row.task_id, generation: row.generation, job, verdict, news: news(&log) }
    }

    pub(super) fn key(&self) -> (TaskId, u64) {
        (self.task_id, self.generation)
    }

    /// Its engine refuses it for good, or its row is damaged.
    pub(super) fn refused(row: &JobRow, error: ErrorReport) -> EndedJob {
        let verdict = Verdict::Failed { error, permanent: true, timed_out: false, retry_after: None };
        EndedJob::new(row, verdict, Vec::new())
    }

    fn is_large(&self) -> bool {
        self.verdict.result_bytes() + self.news.output_bytes() > LARGE_OUTCOME_BYTES
    }
}

/// The part of a job's log that is kept with the task.
fn news(log: &[u8]) -> PendingOutput {
    if log.is_empty() {
        return PendingOutput::default();
    }
    let mut stream = Stream::default();
    stream.push(log);
    let written = Written {
        stream: OutputStream::Stdout,
        first: stream.first.clone(),
        last: stream.last(),
        bytes: stream.bytes,
    };
    PendingOutput { progress: None, output: vec![written] }
}

/// Ends the jobs of an engine.
pub(super) struct JobEnds {
    pub core: Arc<Core>,
    pub registry: Arc<Registry>,
    pub attached: Arc<Attached>,
}

impl JobEnds {
    /// The end of a job; none if its result cannot be fetched yet, or this program has no function that makes the output of its task.
    pub(super) fn ended(
        &self,
        row: &JobRow,
        watched: &mut Watched,
        fate: Fate,
        now: Duration,
    ) -> Option<EndedJob> {
        let job = &watched.job;
        let failure = match fate {
            Fate::Succeeded => None,
            Fate::Failed(failure) => Some(failure),
            Fate::Cancelled => {
                let error = ErrorReport::new("Cancelled", "its job was stopped", "");
                return Some(EndedJob::new(row, Verdict::Cancelled(error), self.log_of(watched)));
            }
            Fate::TimedOut => {
                let error = ErrorReport::new("Timeout", "its job was stopped, because it took too long", "");
                let verdict = Verdict::Failed { error, permanent: false, timed_out: true, retry_after: None };
                return Some(EndedJob::new(row, verdict, self.log_of(watched)));
            }
            Fate::Lost { why, retry, abandoned } => {
                if abandoned {
                    let _ = self.attached.call(|engine| engine.cancel(job)); // the answer does not matter: nobody waits for the job
                }
                let verdict = Verdict::Lost { error: ErrorReport::new(store::TASK_LOST, &why, ""), retry };
                return Some(EndedJob::new(row, verdict, Vec::new()));
            }
        };
        let (name, args, version) =
            match self.core.store.read(|conn| store::args_of(conn, row.task_id)).ok()? {
                Some(found) => found,
                None => {
                    let error = ErrorReport::new("RowDamaged", "its args are missing", "");
                    return Some(EndedJob::refused(row, error));
                }
            };
        if !self.registry.finishes(&name) {
            return None; // a program that has the function is to follow it
        }
        let collected = match self.attached.call(|engine| engine.collect(job)) {
            Ok(collected) => collected,
            Err(e) => {
                let since = *watched.unfetched_since.get_or_insert(now);
                if now.saturating_sub(since) < COLLECT_PATIENCE {
                    return None;
                }
                if failure.is_none() {
                    let why = format!("the job has succeeded, and what it gave cannot be fetched: {e}");
                    let error = ErrorReport::new(store::TASK_LOST, &why, "");
                    let verdict = Verdict::Lost { error, retry: self.attached.settings.lost_retry };
                    return Some(EndedJob::new(row, verdict, Vec::new()));
                }
                Collected::new()
            }
        };
        let Collected { result, log } = collected;
        let ended = Ended::new(job.as_str(), failure, result, log.clone());
        let limit = self.core.config.max_result_bytes;
        let verdict = survive("a function of the program", || {
            self.registry.finish(&name, &args, version, &ended, limit)
        });
        let verdict = verdict.unwrap_or_else(|| {
            let error =
                ErrorReport::new("Panic", "the function that makes an output of the job panicked", "");
            Verdict::Failed { error, permanent: false, timed_out: false, retry_after: None }
        });
        Some(EndedJob::new(row, verdict, log))
    }

    /// The log of a job that was stopped, if it can be fetched.
    fn log_of(&self, watched: &Watched) -> Vec<u8> {
        if !watched.may_be_there() {
            return Vec::new();
        }
        self.attached.call(|engine| engine.collect(&watched.job)).unwrap_or_default().log
    }

    /// Writes the ends of jobs to the file: many in one commit, and each large one alone, for which a full disk may have no room. On an error, the
    /// ends that could not be written stay in `unsettled`. The jobs of the written ones, but for lost ones, go to `ended`: nobody needs them any
    /// more.
    pub(super) fn settle(&self, unsettled: &mut Vec<EndedJob>, ended: &mut Vec<JobId>) -> Result<(), Error> {
        let (large, small): (Vec<_>, Vec<_>) = unsettled.drain(..).partition(EndedJob::is_large);
        let mut batches: Vec<Vec<EndedJob>> = small.chunks(TASKS_PER_COMMIT).map(<[_]>::to_vec).collect();
        batches.extend(large.into_iter().map(|job| vec![job]));
        let mut result = Ok(());
        for batch in batches {
            match self.settle_batch(&batch) {
                Ok(()) => {
                    batch.iter().for_each(|job| self.tell_end(job));
                    ended.extend(
                        batch
                            .into_iter()
                            .filter(|job| !matches!(job.verdict, Verdict::Lost { .. }))
                            .map(|job| job.job),
                    );
                }
                Err(e) => {
                    unsettled.extend(batch);
                    result = Err(e);
                }
            }
        }
        result
    }

    fn settle_batch(&self, batch: &[EndedJob]) -> Result<(), Error> {
        let rank = if batch.iter().any(EndedJob::is_large) { Rank::Add } else { Rank::Settle };
        let (jobs, rules, now) = (batch.to_vec(), self.core.rules.clone(), self.core.now());
        let epoch = self.core.shared.gate.epoch();
        self.core.commit(rank, move |tx| {
            store::check_epoch(tx, epoch)?;
            let ends = jobs.iter().map(|job| {
                let EndedJob { task_id, generation, verdict, news, .. } = job;
                (*task_id, *generation, verdict.clone(), news.clone())
            });
            store::end_jobs(tx, ends, &rules, now)
        })
    }

    /// Logs an end as failed or lost: the type of the error, and never its message.
    fn tell_end(&self, job: &EndedJob) {
        let (id, engine) = (job.task_id, &self.attached.settings.name);
        match &job.verdict {
            Verdict::Failed { error, .. } => {
                let error = &error.error_type;
                tell!(target: OUTCOMES, Info, "the job of task {id} on the engine {engine:?} failed: {error}");
            }
            Verdict::Lost { .. } => {
                tell!(target: OUTCOMES, Warn, "the job of task {id} on the engine {engine:?} is lost");
            }
            _ => {}
        }
    }
}
