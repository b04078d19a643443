//! A kind of task: its name, its version, its options.

use serde::{Serialize, de::DeserializeOwned};

use super::options::Options;

/// One kind of durable work: plain data, kept as JSON under a name that never changes.
///
/// Behaviour lives apart, in a handler (see [`Builder::handle`](crate::Builder::handle)), so that a program without handlers can
/// still enqueue and read.
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

    /// What the handler returns, kept as JSON with the task: `()` for a task that is done for its effects.
    ///
    /// [`Queue::result`](crate::Queue::result) and [`Queue::wait_result`](crate::Queue::wait_result) give it back.
    type Output: Serialize + DeserializeOwned;

    /// The version of the args' shape. Defaults to 1.
    ///
    /// It is stored with each task. A task of a newer version than the program's handler knows is held, like one whose name is
    /// unknown, until a program that knows it opens the file. Older versions are decoded as they are (give new fields a serde default), or go
    /// through the steps of [`Builder::upgrade`](crate::Builder::upgrade) first.
    const VERSION: u32 = 1;

    /// Names that tasks of this kind had before: those that are still in the file run, too. Defaults to none.
    const ALIASES: &'static [&'static str] = &[];

    /// Options for every task of this type. The call's own options win over these, and these over the configuration.
    /// Defaults to none.
    fn options(&self) -> Options {
        Options::new()
    }
}
