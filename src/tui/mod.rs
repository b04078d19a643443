//! `perdura watch`: the queue on a terminal screen.
//!
//! Four parts that know little of one another. `app`, `list`, `schedules` and `input` are what the screen knows, `polling` what it asks, `keys` and
//! `actions` what the keys do: pure code. `draw` makes a screen of it, purely, too. `data` is the thread that has the file open; `search` and
//! `bulk` are its work, cut into steps by `windows`. `terminal` is the only file that touches the terminal.
//!
//! It looks: the file is opened to read only. An action that was confirmed opens it to write, and closes it again. It never executes tasks.

mod actions;
mod app;
mod bulk;
mod data_thread;
mod detail;
mod draw;
mod help;
mod hints;
mod ink;
mod input;
mod keys;
mod list;
mod polling;
mod query;
mod rates;
mod requests;
mod schedules;
mod search;
#[cfg(test)]
mod stage;
mod terminal;
mod windows;
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
}

impl WatchArgs {
    pub(crate) fn run(self, session: &mut Session) -> CliResult {
        session.refuse_json("watch draws on a terminal, and `stats --json` says the same to a program")?;
        if !session.screen.is_terminal() {
            let message = "watch needs a terminal to draw on; `stats --json` says the same to a program";
            return Err(CliError::new(Exit::File, message));
        }
        session.must_exist()?;
        let file = session.db().display().to_string();
        let data = data_thread::Data::start(session.db().to_owned(), Session::builder)?;
        let ink = ink::Ink { colors: session.screen.has_colors(), zone: session.zone };
        terminal::show(app::App::new(file, self.every), &data, ink)
    }
}

fn refresh(text: &str) -> Result<Duration, String> {
    let every = age(text)?;
    if (MIN_REFRESH..=MAX_REFRESH).contains(&every) { Ok(every) } else { Err("it is 100ms to 1h".to_owned()) }
}
