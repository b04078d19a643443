//! What is to be done about a job, by what is known of it and what its engine says: one total function.

use std::time::Duration;

use super::job::{JobEnd, JobStatus};
use crate::config::LostRetry;
use crate::handler::JobFailure;
use crate::planted::planted;

/// What the file and the poller know of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KnownJob {
    /// The file says that the engine has it.
    pub accepted: bool,
    /// A start of it may have reached the engine.
    pub maybe_started: bool,
    pub cancel_requested: bool,
    /// The attempt has taken too long.
    pub is_overdue: bool,
    /// Since it was to be started; none if the clock does not tell.
    pub age: Option<Duration>,
    /// How long it has been pending.
    pub pending_for: Duration,
    /// How long the engine has answered, and has said nothing of it.
    pub silent_for: Duration,
}

/// The rules of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct JobRules {
    pub remembers: Duration,
    pub start_timeout: Duration,
    pub stuck_timeout: Duration,
    pub lost_retry: LostRetry,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    Wait,
    /// It is to be started.
    Start,
    /// The file is to say that the engine has it.
    Accept,
    /// The engine is to be asked to stop it.
    Cancel,
    /// Its attempt has ended.
    End(Fate),
}

/// How the attempt of a job has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    Succeeded,
    Failed(JobFailure),
    /// It was stopped, and not because it took too long.
    Cancelled,
    TimedOut,
    /// Whether its work was done is not known.
    Lost {
        why: String,
        retry: LostRetry,
        /// It may be under way still.
        abandoned: bool,
    },
}

/// Decides.
pub(crate) fn judge(job: &KnownJob, status: &JobStatus, rules: &JobRules) -> Decision {
    let is_to_stop = job.cancel_requested || job.is_overdue;
    match status {
        JobStatus::Ended(end) => Decision::End(fate(job, end, rules)),
        JobStatus::Pending | JobStatus::Running if !job.accepted => Decision::Accept,
        JobStatus::Pending if job.pending_for >= rules.start_timeout => Decision::End(Fate::Lost {
            why: format!("the job did not start within {}", time(rules.start_timeout)),
            retry: rules.lost_retry,
            abandoned: true,
        }),
        JobStatus::Pending | JobStatus::Running if is_to_stop => Decision::Cancel,
        JobStatus::Pending | JobStatus::Running => Decision::Wait,
        JobStatus::Unknown if job.silent_for >= rules.stuck_timeout => Decision::End(Fate::Lost {
            why: format!("the engine has said nothing of the job for {}", time(rules.stuck_timeout)),
            retry: rules.lost_retry,
            abandoned: true,
        }),
        JobStatus::Unknown => Decision::Wait,
        JobStatus::Absent
            if job.accepted && !planted("g19-what-was-accepted-and-is-absent-is-started-again") =>
        {
            lost_for_good("the engine had accepted the job and does not know it any more; it may have run")
        }
        JobStatus::Absent if job.cancel_requested => Decision::End(Fate::Cancelled),
        JobStatus::Absent if job.is_overdue => Decision::End(Fate::TimedOut),
        JobStatus::Absent if !job.maybe_started || job.age.is_some_and(|age| age < rules.remembers) => {
            Decision::Start
        }
        JobStatus::Absent if planted("g19-who-may-have-been-forgotten-is-started-again") => Decision::Start,
        JobStatus::Absent => lost_for_good(
            "the job may have been started, and the engine may have forgotten it since; it may have run",
        ),
    }
}

/// What nobody may start again but a person who knows what that means.
fn lost_for_good(why: &str) -> Decision {
    Decision::End(Fate::Lost { why: why.to_owned(), retry: LostRetry::Manual, abandoned: false })
}

fn fate(job: &KnownJob, end: &JobEnd, rules: &JobRules) -> Fate {
    match end {
        JobEnd::Succeeded => Fate::Succeeded,
        JobEnd::Failed(_) | JobEnd::Cancelled if job.is_overdue && !job.cancel_requested => Fate::TimedOut,
        JobEnd::Failed(failure) => Fate::Failed(failure.clone()),
        JobEnd::Cancelled => Fate::Cancelled,
        JobEnd::Lost(why) => Fate::Lost { why: why.clone(), retry: rules.lost_retry, abandoned: false },
    }
}

fn time(duration: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(duration)
}
