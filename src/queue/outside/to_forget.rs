//! Jobs that their engine is to forget, now that the ends of their tasks are in the file.

use std::collections::VecDeque;
use std::time::Duration;

use crate::engine::{EngineError, JobId};

/// How many jobs one round forgets at most.
const PER_ROUND: usize = 64;

/// How often it is tried again for a job, and the first and the longest pause before that.
const TRIES: u32 = 8;
const PAUSES: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));

/// Jobs that are to be forgotten, the next first.
#[derive(Default)]
pub(super) struct ToForget(VecDeque<Forgettable>);

struct Forgettable {
    job: JobId,
    tries: u32,
    at: Duration,
}

impl ToForget {
    pub(super) fn add(&mut self, jobs: Vec<JobId>, now: Duration) {
        self.0.extend(jobs.into_iter().map(|job| Forgettable { job, tries: 0, at: now }));
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// When there is something to do next.
    pub(super) fn next_at(&self) -> Option<Duration> {
        self.0.iter().map(|job| job.at).min()
    }

    /// Forgets the jobs whose time has come. One that fails is tried again later, `TRIES` times at most.
    pub(super) fn forget(
        &mut self,
        now: Duration,
        mut forget: impl FnMut(&JobId) -> Result<(), EngineError>,
    ) {
        for _ in 0..self.0.len().min(PER_ROUND) {
            let Some(mut next) = self.0.pop_front() else { return };
            if next.at > now {
                self.0.push_back(next);
                continue;
            }
            if forget(&next.job).is_err() && next.tries < TRIES {
                let (first, last) = PAUSES;
                next.at = now + (first * 2_u32.pow(next.tries)).min(last);
                next.tries += 1;
                self.0.push_back(next);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_forgotten_now_is_tried_again_some_times() {
        let at = Duration::from_secs;
        let (mut jobs, mut asked) = (ToForget::default(), Vec::new());
        jobs.add(vec![JobId::new("a"), JobId::new("b")], at(0));
        let mut look = |jobs: &mut ToForget, now| {
            jobs.forget(now, |job| {
                asked.push((job.as_str().to_owned(), now.as_secs()));
                if job.as_str() == "a" { Ok(()) } else { Err(EngineError::not_now("busy")) }
            });
        };
        look(&mut jobs, at(0));
        assert_eq!(jobs.next_at(), Some(at(5)));
        look(&mut jobs, at(4));
        look(&mut jobs, at(5));
        for minute in 1..20 {
            look(&mut jobs, at(60 * minute));
        }
        assert_eq!(jobs.next_at(), None);
        let of = |name: &str| asked.iter().filter(|(job, _)| job == name).count();
        assert_eq!((of("a"), of("b")), (1, 1 + TRIES as usize));
    }
}
