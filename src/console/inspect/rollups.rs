//! Sums of rollups by task name.

use std::collections::HashMap;

use crate::inspect::Rollup;

/// All minutes of each task name together, the busiest name first. The minute is the first one.
pub(crate) fn by_name<'r>(rollups: impl IntoIterator<Item = &'r Rollup>) -> Vec<Rollup> {
    let mut names = HashMap::<&str, Rollup>::new();
    for rollup in rollups {
        match names.get_mut(&*rollup.task_name) {
            Some(sum) => sum.merge(rollup),
            None => drop(names.insert(&rollup.task_name, rollup.clone())),
        }
    }
    let mut names: Vec<_> = names.into_values().collect();
    names.sort_by(|a, b| b.ended().cmp(&a.ended()).then_with(|| a.task_name.cmp(&b.task_name)));
    names
}
