//! The signals that end a worker.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use crossbeam_channel::Sender;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::{Handle, Signals};

use super::runner::Runner;
use super::worker_event::WorkerEvent;
use crate::console::Exit;

/// The signals that end a worker. One that was started to ignore hang-ups (`nohup`) goes on after them.
pub(super) fn ending_signals() -> Vec<i32> {
    let mut signals = vec![SIGINT, SIGTERM];
    signals.extend(Some(SIGHUP).filter(|_| hears_hangups()));
    signals
}

/// Whether a hang-up of the terminal would end this process. Only Linux tells; elsewhere the answer is no, and SIGHUP is left as it is.
fn hears_hangups() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & (1 << (SIGHUP - 1)) == 0)
}

/// The exit code of a worker that a signal has ended.
pub(super) fn exit_of(signal: i32) -> Exit {
    match signal {
        SIGHUP => Exit::HungUp,
        SIGINT => Exit::Interrupted,
        _ => Exit::Terminated,
    }
}

/// The newest signal, to the end of the process: after the [`SignalListener`] has ended, a signal would otherwise have no effect.
pub(super) struct SignalFlag(Arc<AtomicUsize>);

impl SignalFlag {
    /// # Errors
    /// Those of the system.
    pub(super) fn new(signals: &[i32]) -> io::Result<SignalFlag> {
        let newest = Arc::default();
        for signal in signals {
            flag::register_usize(*signal, Arc::clone(&newest), signal.unsigned_abs() as usize)?;
        }
        Ok(SignalFlag(newest))
    }

    /// The exit code for the newest signal, if one has come.
    pub(super) fn exit(&self) -> Option<Exit> {
        let newest = i32::try_from(self.0.load(Ordering::Acquire)).ok().filter(|signal| *signal != 0);
        newest.map(exit_of)
    }
}

/// The signal thread: it sends each signal to the worker as an event; the third one kills the jobs, whatever the worker is doing.
pub(super) struct SignalListener {
    handle: Handle,
    thread: JoinHandle<()>,
}

impl SignalListener {
    /// # Errors
    /// If the system has no thread left.
    pub(super) fn new(
        mut signals: Signals,
        runner: &Arc<Runner>,
        to_tell: Sender<WorkerEvent>,
    ) -> io::Result<SignalListener> {
        let (runner, handle) = (runner.clone(), signals.handle());
        let life = move || {
            let (mut before, mut has_hung_up) = (0, false);
            for signal in signals.forever() {
                // A closing terminal may send it twice, from the system and from its shell: the second does not count.
                if signal == SIGHUP && std::mem::replace(&mut has_hung_up, true) {
                    continue;
                }
                let _ = to_tell.send(WorkerEvent::Signal(signal)); // a worker that has ended needs none
                before += 1;
                if before > 2 {
                    runner.kill_now();
                }
            }
        };
        let thread = thread::Builder::new().name("perdura-signals".to_owned()).spawn(life)?;
        Ok(SignalListener { handle, thread })
    }

    pub(super) fn end(self) {
        self.handle.close();
        let _ = self.thread.join();
    }
}
