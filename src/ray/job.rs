//! A job of Ray: its command line, its environment, its resources.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A job for Ray: a command line, what it needs, and a folder that is sent along.
///
/// It is kept in the file until the job has ended, and Ray shows it to everybody who may look at the cluster: it must not hold secrets.
///
/// ```
/// use perdura::ray::RayJob;
///
/// let job = RayJob::new("python train.py --epochs 3").working_dir("train").num_cpus(2.0).env("OMP_NUM_THREADS", "2");
/// # let _ = job;
/// ```
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[must_use]
pub struct RayJob {
    entrypoint: String,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    runtime_env: Map<String, Value>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    entrypoint_num_cpus: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    entrypoint_num_gpus: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    entrypoint_memory: Option<u64>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    entrypoint_resources: BTreeMap<String, f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    working_dir: Option<PathBuf>,
}

impl RayJob {
    /// A job that runs this command line, which a shell of the cluster reads.
    pub fn new(entrypoint: impl Into<String>) -> RayJob {
        RayJob { entrypoint: entrypoint.into(), ..RayJob::default() }
    }

    /// Sends a folder of this machine along: the job runs in a copy of it. What its `.gitignore` and `.rayignore` name is not sent, nor is `.git`,
    /// `.venv`, `venv` or `__pycache__`. It is read when the job is started, so each attempt gets it as it is then. See
    /// [`RayEngine::max_package`](super::RayEngine::max_package).
    pub fn working_dir(mut self, folder: impl Into<PathBuf>) -> RayJob {
        self.working_dir = Some(folder.into());
        self
    }

    /// Sets a key of Ray's [runtime environment](https://docs.ray.io/en/latest/ray-core/handling-dependencies.html#runtime-environments), such as `pip`.
    pub fn runtime_env(mut self, key: impl Into<String>, value: impl Into<Value>) -> RayJob {
        self.runtime_env.insert(key.into(), value.into());
        self
    }

    /// Sets a variable of its environment.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> RayJob {
        let vars = self.runtime_env.entry("env_vars").or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(vars) = vars {
            vars.insert(name.into(), Value::String(value.into()));
        }
        self
    }

    /// Adds a text that Ray keeps with the job.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> RayJob {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Sets how many processors its command line takes for itself, beside those of the Ray tasks that it makes. Defaults to none.
    pub fn num_cpus(mut self, cpus: f64) -> RayJob {
        self.entrypoint_num_cpus = Some(cpus);
        self
    }

    /// Sets how many GPUs its command line takes for itself. Defaults to none.
    pub fn num_gpus(mut self, gpus: f64) -> RayJob {
        self.entrypoint_num_gpus = Some(gpus);
        self
    }

    /// Sets how much memory its command line takes for itself, in bytes. Defaults to none.
    pub fn memory(mut self, bytes: u64) -> RayJob {
        self.entrypoint_memory = Some(bytes);
        self
    }

    /// Sets how much of a resource of the cluster its command line takes for itself.
    pub fn resource(mut self, name: impl Into<String>, amount: f64) -> RayJob {
        self.entrypoint_resources.insert(name.into(), amount);
        self
    }

    /// Whether its environment has `excludes`, which only Ray's own client applies.
    pub(super) fn has_excludes(&self) -> bool {
        self.runtime_env.contains_key("excludes")
    }

    pub(super) fn folder(&self) -> Option<&Path> {
        self.working_dir.as_deref()
    }

    /// The body of the submit under this id, with the address of the folder that was sent along.
    pub(super) fn submission(&self, id: &str, package: Option<String>) -> Value {
        let mut job = self.clone();
        job.working_dir = None;
        if let Some(package) = package {
            job.runtime_env.insert("working_dir".to_owned(), Value::String(package));
        }
        let mut submission = serde_json::to_value(&job).unwrap_or_default();
        submission["submission_id"] = Value::String(id.to_owned());
        submission
    }
}

/// Leaves out command line and values of the environment, which may be private.
impl fmt::Debug for RayJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RayJob")
            .field("runtime_env", &self.runtime_env.keys())
            .field("entrypoint_num_cpus", &self.entrypoint_num_cpus)
            .field("entrypoint_num_gpus", &self.entrypoint_num_gpus)
            .finish_non_exhaustive()
    }
}
