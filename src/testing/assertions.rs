//! Test assertions: which tasks are enqueued, and one attempt of a task from its args to its
//! outcome.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::stepped::{Ran, SteppedQueue};
use crate::error::{Error, ErrorKind};
use crate::json::{from_json, to_json};
use crate::task::{Filter, State, Task, TaskRecord};

/// A `QUEUED` task, with its args.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct EnqueuedTask<T> {
    /// The args.
    pub task: T,
    /// Everything else.
    pub record: TaskRecord,
}

/// The result of [`SteppedQueue::perform`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Performed {
    /// How the attempt ended, and the task's id.
    pub ran: Ran,
    /// The task after the attempt.
    pub record: TaskRecord,
}

/// Assertions. Their messages name tasks, never args.
impl SteppedQueue {
    /// All `QUEUED` tasks of a type, in the order of their ids.
    ///
    /// # Errors
    /// [`Serialization`](ErrorKind::Serialization) if the args of one are not those of `T`; if the file cannot be read.
    pub fn all_enqueued<T: Task>(&self) -> Result<Vec<EnqueuedTask<T>>, Error> {
        let queued = Filter::new().state(State::Queued).task_name(T::NAME).limit(usize::MAX);
        let records = self.queue().tasks(queued)?.into_iter();
        records
            .map(|record| {
                let task = those_of(&self.queue().args_json(record.task_id)?)?;
                Ok(EnqueuedTask { task, record })
            })
            .collect()
    }

    /// Asserts that there is a `QUEUED` task of type `T` for which `wanted` is true. Returns the
    /// first one.
    ///
    /// # Panics
    /// If there is none, or the file cannot be read.
    #[track_caller]
    pub fn assert_enqueued<T: Task>(&self, wanted: impl Fn(&T) -> bool) -> TaskRecord {
        let all = match self.all_enqueued::<T>() {
            Ok(all) => all,
            Err(e) => panic!("what is enqueued cannot be read: {e}"),
        };
        match all.iter().find(|enqueued| wanted(&enqueued.task)) {
            Some(found) => found.record.clone(),
            None => panic!("no {:?} task is enqueued as wanted; there are {}", T::NAME, listed(&all)),
        }
    }

    /// Asserts that there is no `QUEUED` task of type `T` for which `unwanted` is true.
    ///
    /// # Panics
    /// If there is one, or the file cannot be read.
    #[track_caller]
    pub fn refute_enqueued<T: Task>(&self, unwanted: impl Fn(&T) -> bool) {
        match self.all_enqueued::<T>() {
            Ok(mut all) => {
                all.retain(|enqueued| unwanted(&enqueued.task));
                assert!(
                    all.is_empty(),
                    "{:?} tasks are enqueued that should not be: {}",
                    T::NAME,
                    listed(&all)
                );
            }
            Err(e) => panic!("what is enqueued cannot be read: {e}"),
        }
    }

    /// Enqueues, claims, runs and settles one task, on the real code path. Also checks that its
    /// args are read back from JSON unchanged, so that the handler gets what was enqueued.
    ///
    /// # Errors
    /// [`WrongState`](ErrorKind::WrongState) if other tasks are ready, or the task is not (a delay,
    /// no handler); [`Serialization`](ErrorKind::Serialization) if args do not come back unchanged,
    /// naming the field; those of [`enqueue`](crate::Queue::enqueue).
    pub fn perform<T: Task>(&self, task: &T) -> Result<Performed, Error> {
        check_round_trip(task)?;
        let ready = self.queue().counts()?.total().ready;
        if ready > 0 {
            let message =
                format!("{ready} other tasks are ready and would run first; call run_until_idle() before");
            return Err(Error::new(ErrorKind::WrongState, message));
        }
        let id = self.queue().enqueue(task)?.id();
        let Some(ran) = self.run_one()? else {
            let why = self.queue().explain(id)?;
            return Err(Error::new(ErrorKind::WrongState, format!("task {id} does not run: {why}")));
        };
        Ok(Performed { ran, record: self.queue().get(id)? })
    }
}

fn listed<T>(tasks: &[EnqueuedTask<T>]) -> String {
    const SHOWN: usize = 20;
    let mut ids: Vec<String> =
        tasks.iter().take(SHOWN).map(|t| format!("{} in {:?}", t.record.task_id, t.record.queue)).collect();
    match tasks.len() {
        0 => return "none of its type".to_owned(),
        n if n > SHOWN => ids.push(format!("and {} more", n - SHOWN)),
        _ => {}
    }
    ids.join(", ")
}

fn those_of<T: Task>(json: &str) -> Result<T, Error> {
    from_json(json).map_err(|wrong| {
        Error::new(
            ErrorKind::Serialization,
            format!("the args of a {:?} task are not those of its type: {wrong}", T::NAME),
        )
    })
}

/// Checks that args come back from JSON unchanged, to the last digit.
fn check_round_trip<T: Task>(task: &T) -> Result<(), Error> {
    let wrong = |problem: String| {
        Error::new(ErrorKind::Serialization, format!("the args of {:?} {problem}", T::NAME))
    };
    let there = to_json("args", task, usize::MAX)?;
    let back: T = from_json(&there).map_err(|why| wrong(format!("do not come back from JSON: {why}")))?;
    let back = to_json("args", &back, usize::MAX)?;
    match difference(&there, &back, String::new()) {
        None => Ok(()),
        Some(place) if place.is_empty() => Err(wrong("change on their way through JSON".to_owned())),
        Some(place) => Err(wrong(format!(
            "change on their way through JSON, at {place}; is a serde attribute one-sided?"
        ))),
    }
}

type Raw<'j> = &'j RawValue;

/// The first difference of two JSON texts, as a JSON pointer. Numbers are compared as text, without
/// rounding.
fn difference(a: &str, b: &str, place: String) -> Option<String> {
    if a == b {
        return None;
    }
    let maps = |a, b| {
        let map = serde_json::from_str::<BTreeMap<Cow<'_, str>, Raw<'_>>>;
        map(a).ok().zip(map(b).ok())
    };
    let lists = |a, b| {
        let list = serde_json::from_str::<Vec<Raw<'_>>>;
        list(a).ok().zip(list(b).ok()).filter(|(a, b)| a.len() == b.len())
    };
    if let Some((a, b)) = maps(a, b) {
        let mut keys = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key)));
        keys.find_map(|key| match (a.get(key), b.get(key)) {
            (Some(a), Some(b)) => difference(a.get(), b.get(), format!("{place}/{key}")),
            _ => Some(format!("{place}/{key}")),
        })
    } else if let Some((a, b)) = lists(a, b) {
        let mut pairs = a.iter().zip(b).enumerate();
        pairs.find_map(|(i, (a, b))| difference(a.get(), b.get(), format!("{place}/{i}")))
    } else {
        Some(place)
    }
}
