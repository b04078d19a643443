//! What tasks did lately, by a name that the file keeps no sums of (a program, a queue): figures of some tasks that were read. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::State;

/// How the tasks of one name ended, and how long their newest attempts ran.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub name: String,
    pub succeeded: u64,
    pub failed: u64,
    pub lost: u64,
    pub cancelled: u64,
    /// Sorted by [`Lately::busiest`].
    ran: Vec<Duration>,
}

impl Figures {
    /// How many tasks ended.
    pub(crate) fn ended(&self) -> u64 {
        self.succeeded + self.failed + self.lost + self.cancelled
    }

    /// The number of tasks whose run time is known.
    #[cfg(any(feature = "tui", test))]
    pub(crate) fn measured(&self) -> usize {
        self.ran.len()
    }

    /// The run time that the fraction `q` (0-1) of the measured tasks did not exceed; none if none was measured.
    pub(crate) fn ran(&self, q: f64) -> Option<Duration> {
        let wanted = (q.clamp(0.0, 1.0) * self.ran.len() as f64).ceil() as usize;
        self.ran.get(wanted.max(1) - 1).copied()
    }
}

/// Figures by name, as they are gathered.
#[derive(Debug, Default)]
pub(crate) struct Lately(BTreeMap<String, Figures>);

impl Lately {
    /// Counts a task with its state and its run time; one that has not finished does not count.
    pub(crate) fn add(&mut self, name: &str, state: State, ran: Option<Duration>) {
        if !state.is_finished() {
            return;
        }
        let figures = self.0.entry(name.to_owned()).or_default();
        match state {
            State::Succeeded => figures.succeeded += 1,
            State::Failed => figures.failed += 1,
            State::Lost => figures.lost += 1,
            State::Cancelled => figures.cancelled += 1,
            State::Queued | State::Running => {}
        }
        figures.ran.extend(ran);
    }

    /// The figures, the busiest name first.
    pub(crate) fn busiest(self) -> Vec<Figures> {
        let named = |(name, mut figures): (String, Figures)| {
            figures.ran.sort_unstable();
            Figures { name, ..figures }
        };
        let mut all: Vec<Figures> = self.0.into_iter().map(named).collect();
        all.sort_by_key(|figures| std::cmp::Reverse(figures.ended())); // stable: by name where they are even
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_count_what_ended_and_know_how_long_it_ran() {
        let mut lately = Lately::default();
        for ms in [400, 100, 300, 200] {
            lately.add("gzip", State::Succeeded, Some(Duration::from_millis(ms)));
        }
        lately.add("gzip", State::Lost, None);
        lately.add("gzip", State::Queued, None);
        lately.add("curl", State::Failed, Some(Duration::from_secs(1)));
        lately.add("awk", State::Cancelled, None);
        lately.add("sleep", State::Running, Some(Duration::from_secs(9)));
        let all = lately.busiest();
        assert_eq!(all.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(), ["gzip", "awk", "curl"]);
        let gzip = &all[0];
        assert_eq!((gzip.ended(), gzip.succeeded, gzip.lost, gzip.measured()), (5, 4, 1, 4));
        let ms = |q| gzip.ran(q).unwrap().as_millis();
        assert_eq!([ms(0.0), ms(0.5), ms(0.75), ms(0.95), ms(1.0)], [100, 200, 300, 400, 400]);
        assert_eq!(all[1].ran(0.5), None);
    }
}
