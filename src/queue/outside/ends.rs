//! How the jobs of an engine end: what they have given is fetched, the program makes an output of it, and the file is told.

use std::sync::Arc;

use super::attached::Attached;
use crate::engine::{Collected, Fate, JobId};
use crate::error::Error;
use crate::handler::{Ended, Registry};
use crate::journal::{OUTCOMES, survive, tell};
use crate::queue::runtime::attempts::LARGE_OUTCOME_BYTES;
use crate::queue::runtime::core::{Core, TASKS_PER_COMMIT};
use crate::store::{self, Rank};
use crate::task::{ErrorReport, JobRow, OutputStream, PendingOutput, Stream, TaskId, Verdict, Written};

/// How often what a job has given is tried to be fetched.
const MAX_COLLECTS: u32 = 5;

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

    /// Its engine refuses it for good.
    pub(super) fn refused(row: &JobRow, error: ErrorReport) -> EndedJob {
        let verdict = Verdict::Failed { error, permanent: true, timed_out: false, retry_after: None };
        EndedJob::new(row, verdict, Vec::new())
    }

    fn is_large(&self) -> bool {
        self.verdict.result_bytes() + self.news.output_bytes() > LARGE_OUTCOME_BYTES
    }
}

/// What is kept of what a job has written.
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
    /// The end of a job; none if what it has given cannot be fetched yet, which has failed so often before.
    pub(super) fn ended(
        &self,
        row: &JobRow,
        job: &JobId,
        fate: Fate,
        failed_collects: &mut u32,
    ) -> Option<EndedJob> {
        let failure = match fate {
            Fate::Succeeded => None,
            Fate::Failed(failure) => Some(failure),
            Fate::Cancelled => {
                let error = ErrorReport::new("Cancelled", "its job was stopped", "");
                return Some(EndedJob::new(row, Verdict::Cancelled(error), self.log_of(job)));
            }
            Fate::TimedOut => {
                let error = ErrorReport::new("Timeout", "its job was stopped, because it took too long", "");
                let verdict = Verdict::Failed { error, permanent: false, timed_out: true, retry_after: None };
                return Some(EndedJob::new(row, verdict, self.log_of(job)));
            }
            Fate::Lost { why, retry, abandoned } => {
                if abandoned {
                    let _ = self.attached.call(|engine| engine.cancel(job)); // whether it hears it or not: nobody waits for it
                }
                let verdict = Verdict::Lost { error: ErrorReport::new(store::TASK_LOST, &why, ""), retry };
                return Some(EndedJob::new(row, verdict, Vec::new()));
            }
        };
        let collected = match self.attached.call(|engine| engine.collect(job)) {
            Ok(collected) => collected,
            Err(e) => {
                *failed_collects += 1;
                if *failed_collects < MAX_COLLECTS {
                    return None; // at the next look
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
        let verdict = self.finish(row, &ended)?;
        Some(EndedJob::new(row, verdict, log))
    }

    /// What a job has written that was stopped, if that can be had.
    fn log_of(&self, job: &JobId) -> Vec<u8> {
        self.attached.call(|engine| engine.collect(job)).unwrap_or_default().log
    }

    /// What the task gives; none if its args cannot be read now.
    fn finish(&self, row: &JobRow, ended: &Ended) -> Option<Verdict> {
        let found = self.core.store.read(|conn| store::args_of(conn, row.task_id)).ok()?;
        let (name, args, version) = found?;
        let limit = self.core.config.max_result_bytes;
        let verdict = survive("a function of the program", || {
            self.registry.finish(&name, &args, version, ended, limit)
        });
        Some(verdict.unwrap_or_else(|| {
            let error =
                ErrorReport::new("Panic", "the function that makes an output of the job panicked", "");
            Verdict::Failed { error, permanent: false, timed_out: false, retry_after: None }
        }))
    }

    /// Tells the file of the ends of jobs: many in one commit.
    pub(super) fn settle(&self, unsettled: &mut Vec<EndedJob>) -> Result<(), Error> {
        while !unsettled.is_empty() {
            let batch: Vec<EndedJob> = unsettled.iter().take(TASKS_PER_COMMIT).cloned().collect();
            let rank = if batch.iter().any(EndedJob::is_large) { Rank::Add } else { Rank::Settle };
            let batch = Arc::new(batch);
            let (jobs, rules, now) = (batch.clone(), self.core.rules.clone(), self.core.now());
            let epoch = self.core.shared.gate.epoch();
            self.core.commit(rank, move |tx| {
                store::check_epoch(tx, epoch)?;
                let ends = jobs.iter().map(|job| {
                    let EndedJob { task_id, generation, verdict, news, .. } = job;
                    (*task_id, *generation, verdict.clone(), news.clone())
                });
                store::end_jobs(tx, ends, &rules, now)
            })?;
            unsettled.drain(..batch.len());
            for job in batch.iter() {
                self.tell_end(job);
                if self.attached.settings.forget && !matches!(job.verdict, Verdict::Lost { .. }) {
                    let _ = self.attached.call(|engine| engine.forget(&job.job));
                }
            }
        }
        Ok(())
    }

    /// Tells of an end that is not a success: its type, and never its message.
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
