//! The values that everything else speaks in: ids, states, times, options, records, filters.
//!
//! Plain data with its own rules of validity. It knows nothing of SQL, threads or the clock.

mod failures;
mod filter;
mod histogram;
mod id;
mod name;
mod options;
mod output;
mod record;
mod rollup;
mod state;
mod timestamp;

pub(crate) use failures::mask;
pub use failures::{FailureGroup, Failures};
pub(crate) use filter::DEFAULT_PAGE;
pub use filter::Filter;
pub use histogram::Histogram;
pub(crate) use histogram::{UNKNOWN, bucket_of};
pub use id::{Enqueued, TaskId};
pub(crate) use name::check_name;
pub(crate) use options::Due;
pub use options::Options;
pub(crate) use output::Stream;
pub use output::{Output, OutputStream};
pub use record::{Attempt, AttemptOutcome, Bulk, Counts, DeadLetter, Progress, QueueCounts, TaskRecord};
pub(crate) use record::{
    Claimed, Claims, ErrorReport, HandledNames, NOT_KEPT, NewTask, News, Room, Settlement, Verdict, Written,
};
pub(crate) use rollup::Measure;
pub use rollup::Rollup;
pub use state::{Hold, State};
pub use timestamp::Timestamp;
pub(crate) use timestamp::millis;

use serde::{Serialize, de::DeserializeOwned};

/// The queue of tasks that name none.
pub const DEFAULT_QUEUE: &str = "default";

/// One kind of durable work: plain data, kept as JSON under a name that never changes.
///
/// Behaviour lives apart, in a handler (see [`Builder::handle`](crate::Builder::handle)), so that a program without handlers can
/// still enqueue and look.
///
/// ```
/// use perdura::Task;
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Resize { image: String, width: u32 }
///
/// impl Task for Resize {
///     const NAME: &'static str = "resize";
///     fn options(&self) -> perdura::Options {
///         perdura::Options::new().queue("images").max_attempts(5)
///     }
/// }
/// ```
pub trait Task: Serialize + DeserializeOwned + Send + 'static {
    /// The stable name that picks the handler: 1-200 bytes, no control characters. Renaming the type must not change it.
    const NAME: &'static str;

    /// The version of the args' shape. Defaults to 1.
    ///
    /// It is stored with each task. A task of a newer version than the program's handler knows is held, like one whose name is
    /// unknown, until a program that knows it opens the file. Older versions are decoded as they are: give new fields a serde default.
    const VERSION: u32 = 1;

    /// Options for every task of this type. The call's own options win over these, and these over the configuration.
    /// Defaults to none.
    fn options(&self) -> Options {
        Options::new()
    }
}
