//! What the library warns of while a worker runs, such as a full disk, goes to stderr.

use std::sync::Arc;

use log::{Level, LevelFilter, Log, Metadata, Record};

use super::outlet::Voice;
use crate::cli::screen::safe;

/// A job that needs longer than a second to end has its timeout ignored, as the library sees it; here, that is what `--kill-after` is for.
const EXPECTED: &str = "ignores its deadline";

struct Warnings(Arc<Voice>);

impl Log for Warnings {
    fn enabled(&self, about: &Metadata<'_>) -> bool {
        about.level() <= Level::Warn
    }

    fn log(&self, record: &Record<'_>) {
        let text = record.args().to_string();
        if self.enabled(record.metadata()) && !text.contains(EXPECTED) {
            self.0.warn(format_args!("perdura: {}", safe(&text)));
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
