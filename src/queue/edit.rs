//! Changes the options and args of queued tasks.

use std::borrow::Cow;

use super::handle::Queue;
use crate::error::Error;
use crate::json::to_json;
use crate::store::{self, Edit, EditedArgs, Rank};
use crate::task::{Options, Task, TaskId};

impl Queue {
    /// Changes options of a `QUEUED` task: those that are set here; all others stay as they are.
    ///
    /// These can be changed: [`priority`](Options::priority) (not of a task with a [limit](Options::limit) of its key),
    /// [`delay`](Options::delay) and [`run_at`](Options::run_at), counted from now, [`max_attempts`](Options::max_attempts),
    /// [`backoff`](Options::backoff), [`timeout`](Options::timeout) and [`tag`](Options::tag). The task keeps its id and its attempts.
    ///
    /// ```
    /// # use perdura::{Options, Queue};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail { to: String }
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let queue = Queue::builder().open_temporary()?;
    /// let id = queue.enqueue(&Mail { to: "ada@example.org".into() })?.id();
    /// queue.edit(id, Options::new().priority(10).max_attempts(5))?;
    /// queue.edit_args(id, &Mail { to: "countess@example.org".into() })?;
    /// let task = queue.get(id)?;
    /// assert_eq!((task.priority, task.max_attempts), (10, 5));
    /// assert_eq!(queue.args_json(id)?, r#"{"to":"countess@example.org"}"#);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound); [`WrongState`](crate::ErrorKind::WrongState), naming the state;
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for an option that is out of range or cannot be changed, naming it. Nothing is changed then.
    pub fn edit(&self, id: TaskId, options: Options) -> Result<(), Error> {
        self.edit_task(id, options, None)
    }

    /// Gives a `QUEUED` task other args. Its checkpoint goes. [`edit`](Queue::edit) has an example.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound); [`WrongState`](crate::ErrorKind::WrongState) if it is not queued, is of another type, or has
    /// stored [steps](crate::Context::step); as [`enqueue`](Queue::enqueue) for args that cannot be stored. Nothing is changed then.
    pub fn edit_args<T: Task>(&self, id: TaskId, task: &T) -> Result<(), Error> {
        let names = [T::NAME].iter().chain(T::ALIASES).map(|name| Cow::from(*name)).collect();
        self.edit_as(id, Options::new(), names, task, None)
    }

    /// Changes options and args at once, of tasks whose names are known only when the program runs. `made_of`: the args from which the new ones were
    /// made; if the task has others by now, the edit is refused.
    pub(crate) fn edit_as<T: Task>(
        &self,
        id: TaskId,
        options: Options,
        names: Vec<Cow<'static, str>>,
        task: &T,
        made_of: Option<String>,
    ) -> Result<(), Error> {
        let json = to_json("args", task, self.runtime.core.config.max_args_bytes)?;
        self.edit_task(id, options, Some(EditedArgs { names, json, version: T::VERSION, made_of }))
    }

    fn edit_task(&self, id: TaskId, options: Options, args: Option<EditedArgs>) -> Result<(), Error> {
        let (core, now) = (&self.runtime.core, self.runtime.core.now());
        options.validate(&core.config, now)?;
        options.check_edit()?;
        let Options { priority, due, max_attempts, backoff, timeout, tag, .. } = options;
        let edit = Edit { args, priority, due, max_attempts, backoff, timeout, tag };
        core.commit(Rank::Change, move |tx| store::edit(tx, id, &edit, now))
    }
}
