//! The verbs for dead letters: `list`, `show`, `replay`, `purge`.

use super::manage::{Changed, print_ids};
use super::show::show;
use crate::console::consent::Consent;
use crate::console::filter::FilterArgs;
use crate::console::inspect::detail::TaskDetail;
use crate::console::inspect::task::{RecordJson, command};
use crate::console::paging::Paging;
use crate::console::table::{Cell, Fit, Table};
use crate::console::text::safe;
use crate::console::times::{Past, past};
use crate::console::words::{count, distance};
use crate::console::{CliError, CliResult, Exit, Session};
use crate::{Bulk, DeadLetter, ErrorKind, Filter, TaskId, Timestamp};

/// What can be done with dead letters.
#[derive(Debug, clap::Subcommand)]
pub(super) enum DeadVerb {
    /// List dead letters, the newest first
    List {
        #[command(flatten)]
        which: FilterArgs,
        #[command(flatten)]
        paging: Paging,
    },
    /// Show a dead letter: args, attempts, errors
    Show {
        /// The id that it had as a task
        id: TaskId,
    },
    /// Make new tasks of dead letters; the letters stay, marked as replayed
    Replay(ReplayArgs),
    /// Delete old dead letters
    Purge {
        /// That became dead letters at least this long ago: 90s, 12h, 30d; or before this time
        #[arg(long, value_name = "AGE|TIME", value_parser = past)]
        older_than: Past,
        #[command(flatten)]
        consent: Consent,
    },
}

/// Which letters are replayed.
#[derive(Debug, clap::Args)]
pub(super) struct ReplayArgs {
    /// These letters
    #[arg(value_name = "ID")]
    ids: Vec<TaskId>,
    #[command(flatten)]
    which: FilterArgs,
    /// All that were not replayed yet
    #[arg(long)]
    all: bool,
    /// Replay also letters that were replayed before
    #[arg(long)]
    again: bool,
    #[command(flatten)]
    consent: Consent,
}

impl DeadVerb {
    pub(super) fn run(self, session: &mut Session) -> CliResult {
        match self {
            DeadVerb::List { which, paging } => list(session, &which, &paging),
            DeadVerb::Show { id } => {
                let queue = session.read_only_queue()?;
                match TaskDetail::read_letter(&queue, id) {
                    Ok(detail) => show(session, &detail),
                    Err(e) if e.kind() == ErrorKind::NotFound => {
                        Err(CliError::new(Exit::Refused, format!("there is no dead letter {id}")))
                    }
                    Err(e) => Err(e.into()),
                }
            }
            DeadVerb::Replay(replay) => replay.run(session),
            DeadVerb::Purge { older_than, consent } => purge(session, older_than, consent),
        }
    }
}

fn list(session: &mut Session, which: &FilterArgs, paging: &Paging) -> CliResult {
    let now = session.now();
    let filter = paging.filter(which.filter(now).newest_first());
    let queue = session.read_only_queue()?;
    let mut letters = queue.dead_letters().list(filter)?;
    let more = paging.cut(&mut letters);
    if session.json {
        for letter in &letters {
            let command = command(&queue, &letter.task_name, letter.task_id);
            session.screen.json(&RecordJson::of_letter(letter, command))?;
        }
    } else if letters.is_empty() {
        session.screen.remark("no dead letters match");
    } else {
        print(session, &letters, now)?;
    }
    if let Some(last) = letters.last().filter(|_| more) {
        session.screen.remark(format_args!("there are more: --before {}", last.task_id));
    }
    Ok(Exit::Done)
}

fn print(session: &mut Session, letters: &[DeadLetter], now: Timestamp) -> std::io::Result<()> {
    let mut table = Table::new(&[
        ("ID", Fit::Right),
        ("STATE", Fit::Left),
        ("NAME", Fit::Cut),
        ("QUEUE", Fit::Cut),
        ("MOVED", Fit::Left),
        ("REPLAYED", Fit::Left),
        ("ERROR", Fit::Cut),
    ]);
    for letter in letters {
        let replayed = letter.replayed_as.map_or(String::new(), |task| format!("as {task}"));
        table.row([
            letter.task_id.to_string().into(),
            Cell::state(letter.state),
            safe(&letter.task_name).into_owned().into(),
            safe(&letter.queue).into_owned().into(),
            distance(letter.moved_at, now).into(),
            replayed.into(),
            safe(&error(letter)).into_owned().into(),
        ]);
    }
    table.print(&mut session.screen)
}

fn error(letter: &DeadLetter) -> String {
    let message = letter.error_message.as_deref().and_then(|text| text.lines().next()).unwrap_or_default();
    format!("{}: {message}", letter.error_type.as_deref().unwrap_or("unknown"))
}

/// Letters that are read at a time.
const PAGE_SIZE: usize = 500;

impl ReplayArgs {
    fn run(&self, session: &mut Session) -> CliResult {
        if self.all && !self.which.is_all() {
            return Err(CliError::usage("a filter and --all exclude each other; leave one out"));
        }
        let by_filter = self.all || !self.which.is_all();
        if self.ids.is_empty() != by_filter {
            return Err(CliError::usage(
                "which letters? name ids, or a filter such as --name NAME, or --all",
            ));
        }
        let ids = if by_filter { self.meant(session)? } else { self.ids.clone() };
        let what = format!("make {} of dead letters", count(ids.len() as u64, "task"));
        let asks = by_filter || self.consent.dry_run;
        if asks && let Some(exit) = self.consent.confirm(session, &what, ids.len() as u64)? {
            return Ok(exit);
        }
        let queue = session.writable_queue()?;
        let letters = queue.dead_letters();
        let (mut replayed, mut refused) = (Vec::new(), Vec::new());
        for id in ids {
            let new = if self.again { letters.replay_again(id) } else { letters.replay(id) };
            match new {
                Ok(new) => {
                    let answer = format!("dead letter {id} is task {new} now");
                    replayed.push(Changed { id, replayed_as: Some(new), answer });
                }
                Err(e) => refused.push((id, session.naming(e.into()))),
            }
        }
        let none = replayed.is_empty() && refused.is_empty();
        print_ids(session, &replayed, &refused)?;
        Ok(refused.last().map_or(if none { Exit::No } else { Exit::Done }, |(_, error)| error.exit))
    }

    /// The letters that match the filter, oldest first.
    fn meant(&self, session: &Session) -> Result<Vec<TaskId>, CliError> {
        let mut ids = Vec::new();
        each_letter(session, self.which.filter(session.now()), |letter| {
            if self.again || letter.replayed_as.is_none() {
                ids.push(letter.task_id);
            }
        })?;
        Ok(ids)
    }
}

/// Visits all dead letters that match the filter, oldest first, a page at a time.
fn each_letter(session: &Session, filter: Filter, mut look: impl FnMut(&DeadLetter)) -> Result<(), CliError> {
    let queue = session.read_only_queue()?;
    let filter = filter.limit(PAGE_SIZE);
    let mut page = queue.dead_letters().list(filter.clone())?;
    while let Some(last) = page.last().map(|letter| letter.task_id) {
        page.iter().for_each(&mut look);
        page = queue.dead_letters().list(filter.clone().after_id(last))?;
    }
    Ok(())
}

fn purge(session: &mut Session, older_than: Past, consent: Consent) -> CliResult {
    let now = session.now();
    let before = older_than.at(now);
    if consent.dry_run || !consent.yes {
        let mut meant = 0;
        each_letter(session, Filter::new(), |letter| meant += u64::from(letter.moved_at < before))?;
        let (letters, when) = (count(meant, "dead letter"), older_than.before(session.zone));
        let what = format!("delete {letters} moved {when}");
        if let Some(exit) = consent.confirm(session, &what, meant)? {
            return Ok(exit);
        }
    }
    let deleted = session.writable_queue()?.dead_letters().purge(before.to_system_time())? as u64;
    if session.json {
        session.screen.json(&Bulk { changed: deleted, skipped: 0 })?;
    } else {
        session.screen.line(format_args!("{} deleted", count(deleted, "dead letter")))?;
    }
    Ok(if deleted == 0 { Exit::No } else { Exit::Done })
}
