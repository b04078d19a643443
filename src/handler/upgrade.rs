//! Args of older versions: how they become those of the newest one, step by step, before they are decoded.

use std::collections::BTreeMap;

use serde_json::Value;

use super::failure::Failure;
use crate::error::{Error, ErrorKind};

/// A step: turns the args of one version into those of the next.
type UpgradeStep = Box<dyn Fn(Value) -> Result<Value, Failure> + Send + Sync>;

/// The steps of one kind of task.
pub(crate) struct Upgrades {
    task_name: &'static str,
    /// The newest version.
    version: u32,
    /// By the version that they begin with.
    steps: BTreeMap<u32, UpgradeStep>,
    twice: Option<u32>,
}

impl Upgrades {
    pub(super) fn new(task_name: &'static str, version: u32) -> Upgrades {
        Upgrades { task_name, version, steps: BTreeMap::new(), twice: None }
    }

    pub(super) fn add(&mut self, from: u32, step: UpgradeStep) {
        if self.steps.insert(from, step).is_some() {
            self.twice = Some(from);
        }
    }

    /// # Errors
    /// `InvalidConfig`, naming the task and the version: a step that is missing, superfluous, or given twice.
    pub(super) fn check(&self) -> Result<(), Error> {
        let Upgrades { task_name, version, .. } = self;
        let refuse = |problem: String| {
            Err(Error::new(
                ErrorKind::InvalidConfig,
                format!("upgrade of the task name {task_name:?} {problem}"),
            ))
        };
        if let Some(twice) = self.twice {
            return refuse(format!("from version {twice} is given twice; keep one"));
        }
        if let Some(from) = self.steps.keys().find(|from| !(1..*version).contains(from)) {
            return refuse(format!(
                "from version {from}: there are versions 1 to {version}, and it begins with an older one than the newest"
            ));
        }
        match (1..*version).find(|from| !self.steps.contains_key(from)) {
            Some(gap) => refuse(format!(
                "from version {gap} is missing: each version before {version} needs one; give `Ok` for args that stay as they are"
            )),
            None => Ok(()),
        }
    }

    /// Turns the args of version `from` into those of the newest.
    pub(super) fn run(&self, args: &str, from: u32) -> Result<String, Failure> {
        let undecodable = |why: &str| Failure::undecodable(&format!("version {from} {why}"));
        let mut value: Value = serde_json::from_str(args).map_err(|_| undecodable("is not JSON"))?;
        for version in from..self.version {
            let step = self.steps.get(&version).ok_or_else(|| undecodable("has no upgrade"))?;
            value = step(value)?;
        }
        serde_json::to_string(&value).map_err(|_| undecodable("was upgraded to what is no JSON"))
    }
}
