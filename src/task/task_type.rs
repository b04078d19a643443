//! The trait of task types: name, version, options.

use serde::{Serialize, de::DeserializeOwned};

use super::options::Options;

/// A type of task: plain data, stored as JSON under a name that never changes.
///
/// The behaviour is in a handler (see [`Builder::handle`](crate::Builder::handle)), so a program
/// without handlers can enqueue and read too.
///
/// ```
/// use perdura::Task;
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Resize { image: String, width: u32 }
///
/// impl Task for Resize {
///     const NAME: &'static str = "resize";
///     type Output = ();
///     fn options(&self) -> perdura::Options {
///         perdura::Options::new().queue("images").max_attempts(5)
///     }
/// }
/// ```
pub trait Task: Serialize + DeserializeOwned + Send + 'static {
    /// The stable name that picks the handler: 1-200 bytes, no control characters. Renaming the type must not change it.
    const NAME: &'static str;

    /// What the handler returns, stored as JSON with the task: `()` for a task that has only
    /// effects.
    ///
    /// [`Queue::result`](crate::Queue::result) and
    /// [`Queue::wait_result`](crate::Queue::wait_result) return it.
    type Output: Serialize + DeserializeOwned;

    /// The version of the args' shape. Defaults to 1.
    ///
    /// It is stored with each task. A task of a newer version than the program's handler knows is held, like one whose name is
    /// unknown, until a program that knows it opens the file. Older versions are decoded as they are (give new fields a serde default), or go
    /// through the steps of [`Builder::upgrade`](crate::Builder::upgrade) first.
    const VERSION: u32 = 1;

    /// Earlier names of this task type: tasks in the file that have them run too. Defaults to none.
    const ALIASES: &'static [&'static str] = &[];

    /// Options for every task of this type. The options of a call override these, and these
    /// override the configuration. Defaults to none.
    fn options(&self) -> Options {
        Options::new()
    }
}
