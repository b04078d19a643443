//! When a schedule makes tasks: its ticks, which of them fire after a time without anybody to fire them, and what happens while a run is
//! under way. Pure: it is told the time, and knows nothing of files or threads. (Time zones are looked up in the system's database, by jiff.)

#[cfg(feature = "cron")]
mod cron;
mod declare;
mod definition;
mod due;
mod overlap;
mod record;
mod rules;
mod ticks;

pub use declare::Schedule;
pub(crate) use definition::Definition;
pub(crate) use due::{DAY, Standing, on_time};
pub(crate) use overlap::{Turn, turn};
pub use record::{ScheduleKind, ScheduleRecord, ScheduleStatus};
pub use rules::{Missed, Overlap};
pub(crate) use ticks::{Rhythm, TIMES, TickSeries};
