//! The values that all other modules use: ids, states, times, options, records, filters.
//!
//! Plain data and its validation. It knows nothing of SQL, threads or the clock.

mod attempt;
mod due;
mod extras;
mod failures;
mod filter;
mod histogram;
mod id;
mod limit;
mod name;
mod needs;
mod needs_options;
mod options;
mod outside;
mod rate;
mod record;
mod rollup;
mod state;
mod step;
mod streams;
mod task_type;
mod timestamp;
mod unique;

pub(crate) use attempt::{
    ClaimRoom, Claimed, Claims, ErrorReport, HandledNames, NOT_KEPT, NewRun, NewTask, PendingOutput,
    Settlement, Verdict, Written,
};
pub(crate) use due::Due;
pub(crate) use extras::Extras;
pub(crate) use failures::mask;
pub use failures::{FailureGroup, Failures};
pub(crate) use filter::DEFAULT_PAGE;
pub use filter::Filter;
pub use histogram::Histogram;
pub(crate) use histogram::{UNKNOWN, bucket_of};
pub use id::{Enqueued, TaskId};
pub(crate) use limit::{KeyLimit, PERMITS};
pub use name::DEFAULT_QUEUE;
pub(crate) use name::check_name;
pub use needs::{Condition, NeedsRecord};
pub(crate) use needs::{MAX_CONDITIONS, Needs};
pub use options::Options;
pub(crate) use options::Resolved;
pub use outside::OutsideRecord;
pub(crate) use outside::{Elsewhere, GoesOutside, JobRow};
pub use rate::Rate;
pub use record::{
    Attempt, AttemptOutcome, Bulk, Counts, DeadLetter, KeyRecord, LimitRecord, Progress, QueueCounts,
    TaskRecord,
};
pub(crate) use rollup::Measure;
pub use rollup::Rollup;
pub use state::{Hold, State};
pub(crate) use step::StepKey;
pub use step::StepRecord;
pub(crate) use streams::Stream;
pub use streams::{Output, OutputStream};
pub use task_type::Task;
pub use timestamp::Timestamp;
pub(crate) use timestamp::millis;
pub use unique::{OnConflict, Unique};
