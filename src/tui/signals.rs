//! The signals that end the screen.

pub(super) use system::Signals;

#[cfg(unix)]
mod system {
    use std::io;
    use std::thread;
    use std::time::Duration;

    use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
    use ratatui::crossterm::terminal::disable_raw_mode;
    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::iterator::Handle;

    use crate::console::Exit;

    /// How long the terminal may take nothing after such a signal: somebody has pressed Ctrl-S, and left.
    const STALL_LIMIT: Duration = Duration::from_secs(2);

    /// The signals that end the screen. SIGHUP is left alone, and ends the process at once: the terminal is gone then, and reading from it would
    /// not return any more.
    pub(in crate::tui) struct Signals {
        received: Receiver<Exit>,
        handle: Handle,
        /// Dropped when the terminal was given back.
        _ended: Sender<()>,
    }

    impl Signals {
        pub(in crate::tui) fn listen() -> io::Result<Signals> {
            let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
            let (handle, (tell, received), (ended, has_ended)) = (signals.handle(), bounded(1), bounded(0));
            let life = move || {
                let Some(signal) = signals.forever().next() else { return };
                let _ = tell.send(if signal == SIGINT { Exit::Interrupted } else { Exit::Terminated });
                if has_ended.recv_timeout(STALL_LIMIT) == Err(RecvTimeoutError::Timeout) {
                    let _ = disable_raw_mode(); // the rest of giving it back would wait for its reader, too
                    signal_hook::low_level::exit(128 + signal);
                }
            };
            thread::Builder::new().name("perdura-signals".to_owned()).spawn(life)?;
            Ok(Signals { received, handle, _ended: ended })
        }

        pub(in crate::tui) fn received(&self) -> Option<Exit> {
            self.received.try_recv().ok()
        }
    }

    impl Drop for Signals {
        fn drop(&mut self) {
            self.handle.close();
        }
    }
}

#[cfg(not(unix))]
mod system {
    use std::io;

    use crate::console::Exit;

    pub(in crate::tui) struct Signals;

    impl Signals {
        pub(in crate::tui) fn listen() -> io::Result<Signals> {
            Ok(Signals)
        }

        pub(in crate::tui) fn received(&self) -> Option<Exit> {
            None
        }
    }
}
