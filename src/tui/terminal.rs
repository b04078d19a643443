//! The terminal itself: the only file that reads keys and writes to the screen.

use std::io::{self, stdout};
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{
    self, DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture, Event,
    KeyEventKind,
};
use ratatui::crossterm::execute;

use super::app::App;
use super::data_thread::Data;
use super::draw::draw;
use super::ink::Ink;
use super::mouse;
use super::requests::KeyOutcome;
use super::signals::Signals;
use crate::console::{CliError, CliResult, Exit};
use crate::{Clock, SystemClock};

/// Poll interval while an answer is awaited.
const BUSY_POLL: Duration = Duration::from_millis(15);
/// Poll interval for signals and due requests.
const IDLE_POLL: Duration = Duration::from_millis(200);

/// Runs the screen until it is quit. `has_mouse`: the mouse is used here, and not by the terminal to select text.
pub(super) fn show(mut app: App, data: &Data, ink: Ink, has_mouse: bool) -> CliResult {
    let signals = Signals::listen()?; // dropped when the terminal was given back
    let mut screen = TerminalGuard::enter(has_mouse)?;
    let size = screen.terminal.size()?;
    app.resize((size.width, size.height));
    let clock = SystemClock::new();
    let mut drawn = None;
    loop {
        if let Some(exit) = signals.received() {
            return Ok(exit);
        }
        let answers = data.answers().ok_or_else(stopped)?;
        let has_news = !answers.is_empty();
        answers.into_iter().for_each(|answer| app.on_answer(answer));
        let now = clock.now();
        app.tick(now, clock.monotonic()).into_iter().for_each(|request| data.request(request));
        let second = Some(now.as_millis().div_euclid(1_000));
        if has_news || drawn != second {
            screen.terminal.draw(|frame| draw(&app, ink, frame))?;
            drawn = second;
        }
        if !event::poll(if app.is_waiting() { BUSY_POLL } else { IDLE_POLL })? {
            continue;
        }
        loop {
            let event = event::read()?;
            if !matches!(&event, Event::Mouse(event) if !mouse::matters(event)) {
                drawn = None;
            }
            if let Some(command) = heard(&mut app, event) {
                match command {
                    KeyOutcome::Quit => return Ok(Exit::Done),
                    KeyOutcome::Request(request) => data.request(*request),
                }
            }
            if !event::poll(Duration::ZERO)? {
                break;
            }
        }
    }
}

fn heard(app: &mut App, event: Event) -> Option<KeyOutcome> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => app.on_key(key),
        Event::Paste(text) => {
            app.on_paste(&text);
            None
        }
        Event::Mouse(event) => {
            app.on_mouse(event);
            None
        }
        Event::Resize(width, height) => {
            app.resize((width, height));
            None
        }
        _ => None,
    }
}

fn stopped() -> CliError {
    CliError::new(Exit::File, "the thread that reads the file has stopped; this is a bug in perdura")
}

/// The terminal while it is ours. Dropping this restores it; after a panic it is restored before the message is printed.
struct TerminalGuard {
    terminal: DefaultTerminal,
    has_mouse: bool,
}

impl TerminalGuard {
    fn enter(has_mouse: bool) -> io::Result<TerminalGuard> {
        let terminal = ratatui::try_init()?;
        let screen = TerminalGuard { terminal, has_mouse };
        // Else text from the clipboard would be taken for keys.
        execute!(stdout(), EnableBracketedPaste)?;
        if has_mouse {
            execute!(stdout(), EnableMouseCapture)?;
        }
        Ok(screen)
    }
}

impl Drop for TerminalGuard {
    fn drop(&mut self) {
        // An error cannot be reported: the terminal is gone, or stays as it is.
        if self.has_mouse {
            let _ = execute!(stdout(), DisableMouseCapture);
        }
        let _ = execute!(stdout(), DisableBracketedPaste);
        let _ = self.terminal.show_cursor();
        let _ = ratatui::try_restore();
    }
}
