//! `perdura watch`: the queue on a terminal screen.
//!
//! Four parts that know little of one another. `app`, `list`, `schedules` and `input` are what the screen knows, `polling` what it asks, `keys`,
//! `actions` and `mouse` what the keys and the mouse do: pure code. `draw` makes a screen of it, purely, too, of which `layout` and `tab_line` know
//! where things are. `data_thread` is the thread that has the file open; `search` and
//! `bulk` are its work, cut into steps by `id_walk`. `terminal` is the only file that touches the terminal.
//!
//! The file is opened read-only. An action that was confirmed opens it to write, and closes it again. The screen never executes tasks.

mod actions;
mod app;
mod bulk;
mod data_thread;
mod detail;
mod draw;
mod filter_box;
#[cfg(test)]
mod fixture;
mod help;
mod hints;
mod id_walk;
mod ink;
mod input;
mod keys;
mod layout;
mod list;
mod mouse;
mod polling;
mod rates;
mod requests;
mod running_now;
mod schedules;
mod search;
mod signals;
mod sort;
mod tab_line;
mod terminal;
mod words;

use std::time::Duration;

use crate::console::times::age;
use crate::console::{CliError, CliResult, Exit, Session};

/// The shortest refresh interval.
const MIN_REFRESH: Duration = Duration::from_millis(100);
/// The longest refresh interval.
const MAX_REFRESH: Duration = Duration::from_secs(60 * 60);

/// Watch the queue on the screen, and mend it: states, rates, tasks, failures, dead letters, schedules
#[derive(Debug, clap::Args)]
#[command(arg = crate::console::no_json())]
pub(crate) struct WatchArgs {
    /// How often to look at the file: 100ms to 1h
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = refresh)]
    every: Duration,
    /// Leave the mouse to the terminal, which then selects text as usual (with the mouse here, hold Shift for that)
    #[arg(long)]
    no_mouse: bool,
}

impl WatchArgs {
    pub(crate) fn run(self, session: &mut Session) -> CliResult {
        session.refuse_json("watch draws on a terminal, and `stats --json` says the same to a program")?;
        if !session.screen.is_terminal() {
            let message = "watch needs a terminal to draw on; `stats --json` says the same to a program";
            return Err(CliError::new(Exit::File, message));
        }
        if std::env::var_os("TERM").is_some_and(|term| term == "dumb") {
            let message = "this terminal (TERM=dumb) moves no cursor, so watch cannot draw on it; `stats`, `failures` and `list` say the \
                           same in lines";
            return Err(CliError::new(Exit::File, message));
        }
        session.must_exist()?;
        let file = session.db().display().to_string();
        let data = data_thread::Data::start(session.db().to_owned(), Session::builder)?;
        let ink = ink::Ink { colors: session.screen.has_colors(), zone: session.zone };
        terminal::show(app::App::new(file, self.every), &data, ink, !self.no_mouse)
    }
}

fn refresh(text: &str) -> Result<Duration, String> {
    let every = age(text)?;
    if (MIN_REFRESH..=MAX_REFRESH).contains(&every) { Ok(every) } else { Err("it is 100ms to 1h".to_owned()) }
}
