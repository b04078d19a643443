//! The one writer: what a group of writes becomes on the disk.
//!
//! A group (see `group`) is one transaction with each member in a savepoint of its own, so that a member that fails takes nobody with
//! it. Claims ride along as the [`Epilogue`]; if those fail, the group is committed without. Everybody is answered after the COMMIT.
//!
//! **When SQLite rolls the whole transaction back** (a full disk, an I/O error), the members are run again one by one, settles
//! first, and without the claims that rode along. After an I/O error of the COMMIT itself its outcome is not known: a *probe*, a small
//! commit of its own, must succeed first. It writes over what the failed one left in the WAL, so if the failed commit is not visible
//! then, it never will be. If the probe fails too, the members are answered with [`Outcome::Unknown`].
//!
//! Nothing here logs: whoever takes the program's log may want to write to the same queue.

use std::cell::Cell;
use std::sync::{Arc, Mutex};

use rusqlite::Connection;
use rusqlite::hooks::Wal;

use super::chores::checkpoint_wal;
use super::direct::Direct;
use super::fault::{Fault, Sql};
use super::group::{Kept, Line, Member, Rank, lock};
use super::identity::Identity;
use super::names::Names;
use super::tx::{Effects, Tx};
use crate::error::{Error, ErrorKind, Outcome};
use crate::planted::planted;

/// Pages in the WAL from which it is checkpointed (4 MiB of pages of 4 KiB): beside the commits where there is a background, else
/// by the writer. A WAL that starts again is written over, and that takes half the time of a sync that makes the file longer.
pub(crate) const CHECKPOINT_PAGES: u32 = 1024;

/// Pages in the WAL from which the writer checkpoints although there is a background (64 MiB of pages of 4 KiB), as a backstop.
const BACKSTOP_PAGES: u32 = 16 * CHECKPOINT_PAGES;

/// What happens in each transaction beside its members: claims ride along, and the effects are told. Called by whoever leads.
pub(crate) trait Epilogue: Send {
    /// Leave for a transaction with one member to start a new task at once, if a worker idles and nothing is known to be ready.
    fn direct(&self) -> Option<Direct>;
    /// Whether it has anything to write into the transaction.
    fn joins(&self, tx: &Tx<'_>) -> bool;
    /// The last chance to write into the transaction, if it joins.
    fn before_commit(&mut self, tx: &Tx<'_>) -> Sql<()>;
    /// The transaction is durable.
    fn committed(&mut self, effects: Effects);
    /// What it wanted to write was rolled back; the members may be committed all the same.
    fn rolled_back(&mut self, error: &Error);
}

/// The writer of a file.
pub(crate) struct Writer {
    line: Line,
    desk: Mutex<Desk>,
}

/// What the leader works at.
pub(crate) struct Desk {
    connection: Connection,
    names: Arc<Names>,
    file_id: [u8; 16],
    identity: Arc<Identity>,
    epilogue: Option<Box<dyn Epilogue>>,
    /// Pages in the WAL from which the writer checkpoints it.
    wal_limit: u32,
    /// Pages in the WAL after the newest commit.
    wal_pages: u32,
}

impl Writer {
    pub(super) fn new(
        connection: Connection,
        names: Arc<Names>,
        file_id: [u8; 16],
        identity: Arc<Identity>,
    ) -> Writer {
        connection.wal_hook(Some(note_wal_pages));
        Writer {
            line: Line::default(),
            desk: Mutex::new(Desk {
                connection,
                names,
                file_id,
                identity,
                epilogue: None,
                wal_limit: CHECKPOINT_PAGES,
                wal_pages: 0,
            }),
        }
    }

    /// Sets what rides along with each transaction; none removes it.
    pub(crate) fn set_epilogue(&self, epilogue: Option<Box<dyn Epilogue>>) {
        drop(std::mem::replace(&mut lock(&self.desk).epilogue, epilogue));
    }

    /// Says whether somebody checkpoints the WAL beside the commits.
    pub(crate) fn set_background(&self, is_there: bool) {
        lock(&self.desk).wal_limit = if is_there { BACKSTOP_PAGES } else { CHECKPOINT_PAGES };
    }

    /// Commits a write, and answers when it is durable.
    ///
    /// # Errors
    /// Those of the write; those of the disk.
    pub(crate) fn write<R: Send + 'static>(
        &self,
        rank: Rank,
        write: impl FnMut(&Tx<'_>) -> Sql<R> + Send + 'static,
    ) -> Result<R, Error> {
        self.line.commit(rank, write, |group| {
            let mut desk = lock(&self.desk);
            desk.commit_group(group);
            desk.mind_wal(); // when everybody has been answered
        })
    }

    /// Runs something on the writing connection between two transactions.
    pub(crate) fn alone<R>(&self, act: impl FnOnce(&Connection) -> Sql<R>) -> Result<R, Error> {
        Ok(act(&lock(&self.desk).connection)?)
    }
}

/// Why a transaction was lost as a whole.
struct LostCommit {
    error: Error,
    /// Its outcome is not known: the disk failed in the COMMIT.
    uncertain: bool,
    /// The epilogue had written into it, so that the members may do better without.
    had_company: bool,
}

impl Desk {
    /// Commits the members together; without claims if those were the trouble; one by one if their common transaction is lost all the
    /// same. Answers all of them.
    fn commit_group(&mut self, mut group: Vec<Box<dyn Member>>) {
        let mut outcome = self.attempt(&mut group, true);
        if outcome.as_ref().is_err_and(|lost| lost.had_company && !lost.uncertain) {
            outcome = self.attempt(&mut group, false);
        }
        let Err(lost) = outcome else {
            return group.into_iter().for_each(Member::settled);
        };
        if lost.uncertain {
            if self.probe().is_err() {
                let error = unknown(lost.error);
                return group.into_iter().for_each(|member| member.failed(error.repeat()));
            }
        } else if lost.error.kind() == ErrorKind::Busy || group.len() == 1 {
            return group.into_iter().for_each(|member| member.failed(lost.error.repeat()));
        }
        group.sort_by_key(|member| member.rank());
        for member in group {
            let mut alone = vec![member];
            let answer = self.attempt(&mut alone, false);
            let member = alone.pop().expect("the vector was made with one member");
            match answer {
                Ok(()) => member.settled(),
                Err(LostCommit { error, uncertain, .. }) => {
                    let settled = !uncertain || self.probe().is_ok();
                    member.failed(if settled { error } else { unknown(error) });
                }
            }
        }
    }

    /// One transaction with all members, and the epilogue if it is to have company. `Ok`: each member has its answer, and what the
    /// answers say is durable.
    fn attempt(&mut self, group: &mut [Box<dyn Member>], company: bool) -> Result<(), LostCommit> {
        let Desk { connection, names, file_id, identity, epilogue, wal_pages, .. } = self;
        let lost = |fault: Fault| LostCommit { error: fault.into(), uncertain: false, had_company: false };
        if !connection.is_autocommit() {
            sql(connection, "ROLLBACK").map_err(lost)?;
        }
        identity.check_commit().map_err(|e| lost(e.into()))?;
        sql(connection, "BEGIN IMMEDIATE").map_err(lost)?;
        let is_alone = company && group.len() == 1;
        let direct = epilogue.as_ref().filter(|_| is_alone).and_then(|epilogue| epilogue.direct());
        let tx = Tx::new(connection, names, file_id, direct);
        let mut had_company = false;
        let written = run_members(&tx, group).and_then(|any| {
            if any {
                if let Some(epilogue) = epilogue.as_mut().filter(|epilogue| company && epilogue.joins(&tx)) {
                    had_company = true;
                    epilogue.before_commit(&tx)?;
                }
                tx.finish()?;
            }
            Ok(any)
        });
        had_company |= !tx.effects().claims.is_empty();
        let outcome = match written {
            Ok(true) if planted("g01-a-commit-is-forgotten") && connection.last_insert_rowid() % 50 == 49 => {
                sql(connection, "ROLLBACK").map_err(lost)
            }
            Ok(true) => sql(connection, "COMMIT").map_err(|fault| LostCommit {
                uncertain: fault.is_io(),
                error: fault.into(),
                had_company,
            }),
            Ok(false) => {
                roll_back(connection);
                return Ok(());
            }
            Err(fault) => Err(LostCommit { had_company, ..lost(fault) }),
        };
        match outcome {
            Ok(()) => {
                let mut effects = tx.committed();
                *wal_pages = take_wal_pages();
                effects.wal_pages = *wal_pages;
                if let Some(epilogue) = epilogue {
                    epilogue.committed(effects);
                }
                Ok(())
            }
            Err(lost) => {
                roll_back(connection);
                if let Some(epilogue) = epilogue {
                    epilogue.rolled_back(&lost.error);
                }
                Err(lost)
            }
        }
    }

    /// Checkpoints a WAL that nobody else does. What goes wrong is tried again after the next commit, which says what is wrong with
    /// the disk if that lasts.
    fn mind_wal(&mut self) {
        if self.wal_pages >= self.wal_limit {
            let _ = checkpoint_wal(&self.connection);
        }
    }

    /// A small commit that settles what became of a failed one.
    fn probe(&mut self) -> Sql<()> {
        let conn = &self.connection;
        sql(conn, "BEGIN IMMEDIATE")?;
        let probed = sql(conn, "UPDATE perdura_meta SET probes = probes + 1 WHERE id = 1")
            .and_then(|()| sql(conn, "COMMIT"));
        if probed.is_err() {
            roll_back(conn);
        }
        probed
    }
}

/// The error of a commit that may or may not have happened.
fn unknown(error: Error) -> Error {
    if planted("g02-not-done-for-unknown") { error } else { error.with_outcome(Outcome::Unknown) }
}

/// Runs every member, each in a savepoint of its own if there are several. Says whether any has something to commit.
///
/// # Errors
/// SQLite rolled back the whole transaction.
fn run_members(tx: &Tx<'_>, group: &mut [Box<dyn Member>]) -> Sql<bool> {
    let several = group.len() > 1;
    let mut any = false;
    for member in group {
        let mark = if several { Some(tx.mark()) } else { None };
        if several {
            sql(tx.conn, "SAVEPOINT member")?;
        }
        match member.run(tx) {
            Ok(()) => any = true,
            Err(Kept(error)) if tx.conn.is_autocommit() => return Err(error.into()),
            Err(Kept(_)) => {
                if let Some(mark) = mark {
                    tx.restore(mark);
                    sql(tx.conn, "ROLLBACK TO member")?;
                }
            }
        }
        if several {
            sql(tx.conn, "RELEASE member")?;
        }
    }
    Ok(any)
}

fn sql(conn: &Connection, text: &str) -> Sql<()> {
    conn.prepare_cached(text)?.execute([])?;
    Ok(())
}

fn roll_back(conn: &Connection) {
    if !conn.is_autocommit() {
        let _ = sql(conn, "ROLLBACK"); // tried again before the next transaction, which says what is wrong
    }
}

thread_local! {
    /// Pages in the WAL after this thread's newest commit. SQLite tells them on the committing thread, within the COMMIT.
    static WAL_PAGES: Cell<u32> = const { Cell::new(0) };
}

fn note_wal_pages(_: &Wal, pages: i32) -> rusqlite::Result<()> {
    WAL_PAGES.set(u32::try_from(pages).unwrap_or(0));
    Ok(())
}

fn take_wal_pages() -> u32 {
    WAL_PAGES.replace(0)
}
