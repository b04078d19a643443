//! What the library warns of while a worker runs, such as a full disk, goes to stderr.

use std::sync::Arc;

use log::{Level, LevelFilter, Log, Metadata, Record};

use super::outlet::Voice;
use crate::cli::screen::safe;

/// Not shown: the worker says how each job ends, or is not to; and a job that needs longer than a second to end ignores its deadline as the
/// library sees it, which is what `--kill-after` is for.
const LEFT_OUT: [&str; 2] = ["perdura::outcomes", "perdura::deadlines"];

struct Warnings(Arc<Voice>);

impl Log for Warnings {
    fn enabled(&self, about: &Metadata<'_>) -> bool {
        about.level() <= Level::Warn && !LEFT_OUT.contains(&about.target())
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            self.0.warn(format_args!("perdura: {}", safe(&record.args().to_string())));
        }
    }

    fn flush(&self) {}
}

/// From now on, they are shown, unless the program has a logger of its own.
pub(super) fn show(voice: &Arc<Voice>) {
    if log::set_logger(Box::leak(Box::new(Warnings(voice.clone())))).is_ok() {
        log::set_max_level(LevelFilter::Warn);
    }
}
