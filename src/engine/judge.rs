//! Decides what to do about a job, by what is known of it and what its engine says: one total function.

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
    /// The attempt has taken too long; its time begins when the engine has it.
    pub is_overdue: bool,
    /// The engine was asked to stop it.
    pub stop_asked: bool,
    /// How long ago it was to be started; none if the clock has been set back to before that.
    pub age: Option<Duration>,
    /// How long it has been pending.
    pub pending_for: Duration,
    /// How long the engine has answered, and has said nothing of it.
    pub silent_for: Duration,
}

/// How long a start without an answer may still be under way in the engine. A cancelled job is watched until then: it may yet appear, and is to be
/// stopped.
const LATE_START: Duration = Duration::from_secs(5 * 60);

impl KnownJob {
    /// Whether a start without an answer may still bring the job about.
    fn may_come(&self) -> bool {
        self.maybe_started && self.age.is_some_and(|age| age < LATE_START)
    }
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

/// Decides what to do about a job.
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
        JobStatus::Unknown if is_to_stop && job.accepted => Decision::Cancel,
        JobStatus::Unknown => Decision::Wait,
        JobStatus::Absent
            if job.accepted && !planted("g19-what-was-accepted-and-is-absent-is-started-again") =>
        {
            lost_for_good("the engine had accepted the job and does not know it any more; it may have run")
        }
        JobStatus::Absent if job.cancel_requested && job.may_come() => Decision::Wait,
        JobStatus::Absent if job.cancel_requested => Decision::End(Fate::Cancelled),
        JobStatus::Absent if !job.maybe_started || job.age.is_some_and(|age| age < rules.remembers) => {
            Decision::Start
        }
        JobStatus::Absent if planted("g19-who-may-have-been-forgotten-is-started-again") => Decision::Start,
        JobStatus::Absent => lost_for_good(
            "the job may have been started, and the engine may have forgotten it since; it may have run",
        ),
    }
}

/// The job is lost, and only a person may start it again.
fn lost_for_good(why: &str) -> Decision {
    Decision::End(Fate::Lost { why: why.to_owned(), retry: LostRetry::Manual, abandoned: false })
}

fn fate(job: &KnownJob, end: &JobEnd, rules: &JobRules) -> Fate {
    match end {
        JobEnd::Succeeded => Fate::Succeeded,
        // Some engines report a stopped job as failed.
        JobEnd::Failed(failure)
            if job.is_overdue && job.stop_asked && !job.cancel_requested && !failure.permanent =>
        {
            Fate::TimedOut
        }
        JobEnd::Cancelled if job.is_overdue && !job.cancel_requested => Fate::TimedOut,
        JobEnd::Failed(failure) => Fate::Failed(failure.clone()),
        JobEnd::Cancelled => Fate::Cancelled,
        JobEnd::Lost(why) => Fate::Lost { why: why.clone(), retry: rules.lost_retry, abandoned: false },
    }
}

fn time(duration: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(duration)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::handler::JobFailure;

    fn times() -> impl Strategy<Value = Duration> {
        prop_oneof![Just(Duration::ZERO), (0_u64..10_000).prop_map(Duration::from_secs), Just(Duration::MAX)]
    }

    fn jobs() -> impl Strategy<Value = KnownJob> {
        let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
        (flags, proptest::option::of(times()), times(), times()).prop_map(
            |(
                (accepted, maybe_started, cancel_requested, is_overdue, stop_asked),
                age,
                pending_for,
                silent_for,
            )| {
                KnownJob {
                    accepted,
                    maybe_started,
                    cancel_requested,
                    is_overdue,
                    stop_asked,
                    age,
                    pending_for,
                    silent_for,
                }
            },
        )
    }

    fn statuses() -> impl Strategy<Value = JobStatus> {
        prop::sample::select(vec![
            JobStatus::Pending,
            JobStatus::Running,
            JobStatus::Unknown,
            JobStatus::Absent,
            JobStatus::Ended(JobEnd::Succeeded),
            JobStatus::Ended(JobEnd::Failed(JobFailure::new("ExitCode.1", ""))),
            JobStatus::Ended(JobEnd::Cancelled),
            JobStatus::Ended(JobEnd::Lost(String::new())),
        ])
    }

    fn rules() -> impl Strategy<Value = JobRules> {
        let retry = prop::sample::select(vec![LostRetry::Immediate, LostRetry::Backoff, LostRetry::Manual]);
        (times(), times(), times(), retry).prop_map(
            |(remembers, start_timeout, stuck_timeout, lost_retry)| JobRules {
                remembers,
                start_timeout,
                stuck_timeout,
                lost_retry,
            },
        )
    }

    proptest! {
        #[test]
        fn g19_only_what_is_absent_and_was_never_accepted_is_started(job in jobs(), status in statuses(), rules in rules()) {
            if judge(&job, &status, &rules) == Decision::Start {
                prop_assert_eq!(&status, &JobStatus::Absent);
                prop_assert!(!job.accepted && !job.cancel_requested);
                let is_remembered = job.age.is_some_and(|age| age < rules.remembers);
                prop_assert!(!job.maybe_started || is_remembered);
            }
        }

        #[test]
        fn g19_what_was_accepted_and_is_absent_is_for_a_person_to_retry(job in jobs(), rules in rules()) {
            let job = KnownJob { accepted: true, ..job };
            let decision = judge(&job, &JobStatus::Absent, &rules);
            let is_right = matches!(decision, Decision::End(Fate::Lost { retry: LostRetry::Manual, .. }));
            prop_assert!(is_right, "{:?}", decision);
        }

        #[test]
        fn a_success_is_one_whatever_else_is_so(job in jobs(), rules in rules()) {
            let ended = JobStatus::Ended(JobEnd::Succeeded);
            prop_assert_eq!(judge(&job, &ended, &rules), Decision::End(Fate::Succeeded));
        }

        #[test]
        fn what_has_ended_ends_and_what_is_under_way_ends_only_by_a_limit_of_time(
            job in jobs(), status in statuses(), rules in rules()
        ) {
            let decision = judge(&job, &status, &rules);
            match status {
                JobStatus::Ended(_) => prop_assert!(matches!(decision, Decision::End(_))),
                JobStatus::Running => prop_assert!(!matches!(decision, Decision::End(_))),
                JobStatus::Pending | JobStatus::Unknown => {
                    let is_limit = matches!(&decision, Decision::End(Fate::Lost { abandoned: true, .. }));
                    prop_assert!(is_limit || !matches!(decision, Decision::End(_)));
                }
                JobStatus::Absent => {}
            }
        }
    }
}
