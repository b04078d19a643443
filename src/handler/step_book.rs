//! The steps that an attempt knows of.

use std::collections::HashMap;

use crate::task::StepKey;

/// How many steps a task can have.
pub(super) const MAX_STEPS: usize = 10_000;

/// The steps that an attempt knows of.
#[derive(Debug, Default)]
pub(crate) struct Steps(HashMap<StepKey, Step>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// An earlier attempt has done it.
    Done,
    /// This attempt has come to it.
    Met,
}

/// Why an attempt cannot come to a step.
pub(super) enum NotThis {
    /// It has come to it before.
    Repeated,
    /// The task has as many as it can have.
    OneTooMany,
}

impl Steps {
    /// Earlier attempts have done these.
    pub(super) fn done(keys: Vec<StepKey>) -> Steps {
        Steps(keys.into_iter().map(|step| (step, Step::Done)).collect())
    }

    /// Notes that the attempt has come to a step, and says whether an earlier one has done it.
    pub(super) fn meet(&mut self, step: &StepKey) -> Result<Step, NotThis> {
        match self.0.get(step).copied() {
            Some(Step::Met) => Err(NotThis::Repeated),
            None if self.0.len() >= MAX_STEPS => Err(NotThis::OneTooMany),
            found => {
                self.0.insert(step.clone(), Step::Met);
                Ok(found.unwrap_or(Step::Met))
            }
        }
    }
}
