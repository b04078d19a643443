//! The orders of the list of tasks. Pure.
//!
//! By id, newest first, the list goes through all tasks page by page. In any other order it has what runs and the newest that match, up to
//! a bound: to sort all tasks of a large file would read all of them.

use crate::console::inspect::task::ran;
use crate::{State, TaskRecord, Timestamp};

/// The most tasks of a sorted list.
pub(super) const MAX_SORTED_TASKS: usize = 500;

/// An order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Sort {
    #[default]
    Newest,
    RunningFirst,
    Longest,
    MostAttempts,
}

impl Sort {
    /// The next one, as one key goes through them.
    pub fn next(self) -> Sort {
        match self {
            Sort::Newest => Sort::RunningFirst,
            Sort::RunningFirst => Sort::Longest,
            Sort::Longest => Sort::MostAttempts,
            Sort::MostAttempts => Sort::Newest,
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            Sort::Newest => "newest first",
            Sort::RunningFirst => "running first",
            Sort::Longest => "longest run first",
            Sort::MostAttempts => "most attempts first",
        }
    }

    /// Whether the list has only a bounded part of the tasks.
    pub fn is_bounded(self) -> bool {
        self != Sort::Newest
    }

    /// Sorts rows; equal ones by id, the newest first. [`Newest`](Sort::Newest) leaves them as they are.
    pub fn apply<T>(self, rows: &mut [T], task: impl Fn(&T) -> &TaskRecord, now: Timestamp) {
        use std::cmp::Reverse;
        if self == Sort::Newest {
            return;
        }
        rows.sort_by_key(|row| {
            let task = task(row);
            let running = task.state == State::Running;
            let (first, second) = match self {
                Sort::Newest => (0, 0),
                Sort::RunningFirst if running => (1, ran(task, now).unwrap_or_default().as_millis()),
                Sort::RunningFirst => (0, 0),
                Sort::Longest => (0, ran(task, now).unwrap_or_default().as_millis()),
                Sort::MostAttempts => (0, u128::from(task.attempt_number)),
            };
            (Reverse(first), Reverse(second), Reverse(task.task_id))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::fixture::Stage;
    use crate::{Filter, TaskId};

    #[test]
    fn one_key_goes_through_all_orders_and_comes_back() {
        let mut sort = Sort::default();
        let mut titles = Vec::new();
        for _ in 0..4 {
            titles.push(sort.title());
            sort = sort.next();
        }
        titles.dedup();
        assert_eq!((sort, titles.len()), (Sort::Newest, 4));
    }

    #[test]
    fn rows_are_sorted_and_the_newest_comes_first_among_even_ones() {
        let stage = Stage::new();
        let one = stage.queue().tasks(Filter::new().limit(1)).unwrap().remove(0);
        let now = Timestamp::from_millis(100_000);
        let task = |id, state, ran: i64, attempt_number| TaskRecord {
            task_id: TaskId::from_i64(id),
            state,
            started_at: (ran > 0).then(|| Timestamp::from_millis(100_000 - ran)),
            finished_at: (state != State::Running).then_some(now),
            attempt_number,
            ..one.clone()
        };
        let tasks = [
            task(1, State::Running, 50, 1),
            task(2, State::Succeeded, 90, 2),
            task(3, State::Queued, 0, 5),
            task(4, State::Running, 70, 2),
            task(5, State::Failed, 60, 1),
        ];
        let sorted = |sort: Sort| {
            let mut rows = tasks.to_vec();
            rows.reverse();
            sort.apply(&mut rows, |task| task, now);
            rows.iter().map(|task| task.task_id.as_i64()).collect::<Vec<_>>()
        };
        assert_eq!(sorted(Sort::Newest), [5, 4, 3, 2, 1]);
        assert_eq!(sorted(Sort::RunningFirst), [4, 1, 5, 3, 2]);
        assert_eq!(sorted(Sort::Longest), [2, 4, 5, 1, 3]);
        assert_eq!(sorted(Sort::MostAttempts), [3, 4, 2, 5, 1]);
    }
}
