//! What the library logs, for the tests that read it: the process has one logger, and tests run side by side.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, Once};

thread_local! {
    /// The statements that this thread has run. Other tests have threads of their own.
    static STATEMENTS: RefCell<BTreeSet<String>> = const { RefCell::new(BTreeSet::new()) };
}

/// Everything else that was logged, by all tests.
static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Whether the logger panics at each record, and how often it has. Only a test with a process of its own asks for that.
static PANICS: AtomicBool = AtomicBool::new(false);
static PANICKED: AtomicUsize = AtomicUsize::new(0);

/// Whether statements are listened to. Connections ask when they are opened.
static LISTENS: AtomicBool = AtomicBool::new(false);

struct Logger;

impl log::Log for Logger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        match metadata.target() {
            "perdura::sql" => LISTENS.load(Ordering::Acquire),
            target => target.starts_with("perdura"),
        }
    }

    fn log(&self, record: &log::Record<'_>) {
        if PANICS.load(Ordering::Acquire) {
            PANICKED.fetch_add(1, Ordering::AcqRel);
            panic!("nobody reads this log");
        }
        let text = record.args().to_string();
        if record.target() == "perdura::sql" {
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            STATEMENTS.with_borrow_mut(|seen| seen.insert(text));
        } else if self.enabled(record.metadata()) {
            LINES.lock().unwrap().push(text);
        }
    }

    fn flush(&self) {}
}

/// Begins to listen to what is logged; nothing of before is kept.
pub fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Logger).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
    });
}

/// All lines that tests have made the library log since somebody began to listen.
pub fn lines() -> Vec<String> {
    LINES.lock().unwrap().clone()
}

/// Panics at each record from now on.
#[cfg(unix)]
pub fn panic_always() {
    listen();
    PANICS.store(true, Ordering::Release);
}

/// How often it has panicked.
#[cfg(unix)]
pub fn panicked() -> usize {
    PANICKED.load(Ordering::Acquire)
}

/// The statements that this thread runs meanwhile.
#[cfg(all(feature = "sql-log", feature = "bundled"))]
pub fn statements(act: impl FnOnce()) -> BTreeSet<String> {
    listen();
    LISTENS.store(true, Ordering::Release);
    act();
    LISTENS.store(false, Ordering::Release);
    STATEMENTS.take()
}
