//! What the library warns of while a worker runs, such as a full disk, goes to stderr.

use std::sync::{Arc, Mutex, PoisonError};

use log::{Level, LevelFilter, Log, Metadata, Record};

use super::outlet::Voice;
use crate::console::error::in_shell;
use crate::console::screen::safe;

/// Not shown: the worker says how each job ends, or is not to; and a job that needs longer than a second to end ignores its deadline as the
/// library sees it, which is what `--kill-after` is for.
const LEFT_OUT: [&str; 2] = ["perdura::outcomes", "perdura::deadlines"];

/// Says each thing once, until it says another.
struct Warnings {
    voice: Arc<Voice>,
    last: Mutex<String>,
}

impl Log for Warnings {
    fn enabled(&self, about: &Metadata<'_>) -> bool {
        about.level() <= Level::Warn && !LEFT_OUT.contains(&about.target())
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let text = record.args().to_string();
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            if *last != text {
                self.voice.warn(format_args!("perdura: {}", safe(&in_shell(&text))));
                *last = text;
            }
        }
    }

    fn flush(&self) {}
}

/// From now on, they are shown, unless the program has a logger of its own.
pub(super) fn show(voice: &Arc<Voice>) {
    if log::set_logger(Box::leak(Box::new(Warnings { voice: voice.clone(), last: Mutex::default() }))).is_ok()
    {
        log::set_max_level(LevelFilter::Warn);
    }
}
