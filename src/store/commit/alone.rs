//! A transaction of the program: its own statements with ours between them. It runs once, on the
//! calling thread, alone in its commit.
//!
//! A closure of the program cannot be run again, so nothing here is retried. No claims are made in
//! its commit: the tasks that it makes ready are claimed by a later one, for which the commit hook
//! asks.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use rusqlite::ErrorCode;

use super::tx::Tx;
use super::writer::{Writer, WriterState, no_room, roll_back, unknown};
use crate::error::{Error, ErrorKind};
use crate::planted::planted;
use crate::store::error::{Fault, Sql};
use crate::store::file::caller_connection::CallerConnection;
use crate::store::file::reserve::run;
use crate::sync::{lock, thread};

/// A transaction in which the program's statements and ours take turns.
pub(crate) struct CallerTx<'c> {
    tx: Tx<'c>,
    caller: &'c CallerConnection,
}

impl CallerTx<'_> {
    /// The connection for the program's statements.
    pub(crate) fn connection(&self) -> &rusqlite::Connection {
        self.caller.connection()
    }

    /// Runs writes of ours, all or nothing.
    pub(crate) fn ours<R>(&self, write: impl FnOnce(&Tx<'_>) -> Sql<R>) -> Result<R, Error> {
        self.check_open()?;
        Ok(self.caller.ours(|| self.tx.whole(|| write(&self.tx)))?)
    }

    /// Runs statements of the program and of ours, all or nothing.
    pub(crate) fn whole<R, E: From<Error>>(&self, act: impl FnOnce() -> Result<R, E>) -> Result<R, E> {
        self.check_open()?;
        let error = |fault: Fault| E::from(Error::from(fault));
        let mark = self.tx.mark();
        self.caller.ours(|| self.tx.run("SAVEPOINT part", [])).map_err(error)?;
        let done = act();
        self.check_open()?;
        self.caller
            .ours(|| {
                if done.is_err() {
                    if !planted("g17-what-was-undone-is-counted") {
                        self.tx.undo_to(mark);
                    }
                    self.tx.run("ROLLBACK TO part", [])?;
                }
                self.tx.run("RELEASE part", [])
            })
            .map_err(error)?;
        done
    }

    /// # Errors
    /// `InvalidInput` if SQLite has rolled back the whole transaction.
    fn check_open(&self) -> Result<(), Error> {
        if !self.connection().is_autocommit() {
            return Ok(());
        }
        let message = "the transaction was rolled back inside its closure (OR ROLLBACK, RAISE(ROLLBACK), or an error of the disk); \
                       nothing of it was written";
        Err(Error::new(ErrorKind::InvalidInput, message))
    }
}

/// Why a transaction failed.
enum Failed<E> {
    Ours(Error),
    /// The disk failed in the COMMIT, so its outcome is unknown.
    InCommit(Error),
    Theirs(E),
    Panicked(Box<dyn Any + Send>),
}

impl<E> From<Fault> for Failed<E> {
    fn from(fault: Fault) -> Failed<E> {
        Failed::Ours(fault.into())
    }
}

impl<E> From<Error> for Failed<E> {
    fn from(error: Error) -> Failed<E> {
        Failed::Ours(error)
    }
}

impl Writer {
    /// Commits what `write` writes on the program's connection. `about` may add to one of our
    /// errors what the program has to know.
    ///
    /// # Errors
    /// Those of `write`; those of the commit.
    ///
    /// # Panics
    /// If `write` does; nothing is written then.
    pub(crate) fn commit_alone<R, E: From<Error>>(
        &self,
        caller: &CallerConnection,
        write: impl FnOnce(&CallerTx<'_>) -> Result<R, E>,
        about: impl FnOnce(Error) -> Error,
    ) -> Result<R, E> {
        let (done, rest) = self.queue.alone(|| {
            self.patience.during(|| {
                let mut state = lock(&self.state);
                let done = state.commit_alone(caller, write);
                state.mind_file();
                (done, state.rest())
            })
        });
        if let Some(rest) = rest {
            thread::sleep(rest);
        }
        match done {
            Ok(answer) => Ok(answer),
            Err(Failed::Ours(error) | Failed::InCommit(error)) => Err(about(error).into()),
            Err(Failed::Theirs(error)) => Err(error),
            Err(Failed::Panicked(payload)) => resume_unwind(payload),
        }
    }
}

impl WriterState {
    fn commit_alone<R, E>(
        &mut self,
        caller: &CallerConnection,
        write: impl FnOnce(&CallerTx<'_>) -> Result<R, E>,
    ) -> Result<R, Failed<E>> {
        let conn = caller.connection();
        self.make_ready(conn)?;
        run(conn, "BEGIN IMMEDIATE")?;
        let done = self.write_alone(caller, write);
        if done.is_err() {
            if planted("g17-a-closure-that-failed-is-committed") {
                run(conn, "COMMIT")?;
            }
            roll_back(conn);
        }
        done.map_err(|failed| match failed {
            Failed::InCommit(error) if self.probe().is_err() => Failed::Ours(unknown(error)),
            failed => failed,
        })
    }

    /// Prepares for a transaction that cannot be run again: provides the reserve and free pages
    /// before it begins.
    fn make_ready(&mut self, conn: &rusqlite::Connection) -> Sql<()> {
        let WriterState { connection, reserve, crash_switch, .. } = self;
        crash_switch.alive()?;
        if reserve.is_blocked() {
            reserve.provide(connection, crash_switch)?;
        }
        reserve.look(connection)?;
        reserve.grow_ahead(connection, crash_switch)?;
        self.check_ready(conn)
    }

    fn write_alone<R, E>(
        &mut self,
        caller: &CallerConnection,
        write: impl FnOnce(&CallerTx<'_>) -> Result<R, E>,
    ) -> Result<R, Failed<E>> {
        let WriterState { connection, names, file_id, hook, wal, reserve, crash_switch, finish, .. } = self;
        let conn = caller.connection();
        crash_switch.begin(conn);
        let now = hook.as_mut().map(|hook| hook.begins());
        let tx = CallerTx { tx: Tx::new(conn, names, file_id, None, now, *finish), caller };
        let room = reserve.room(conn, 0)?;
        let written = catch_unwind(AssertUnwindSafe(|| caller.theirs(|| write(&tx))));
        let answer = match written.map_err(Failed::Panicked)? {
            Ok(answer) => answer,
            Err(error) => return Err(caller.refused().map_or(Failed::Theirs(error), out_of_reach)),
        };
        tx.check_open()?;
        tx.tx.finish()?;
        if let Some(size) = reserve.exceeded(&room, conn)? {
            roll_back(conn);
            reserve
                .grow_to(size, connection, crash_switch)
                .map_err(|fault| no_room().with_source(Error::from(fault)))?;
            return Err(Failed::Ours(has_grown()));
        }
        let committed = wal.during(|| crash_switch.commit(conn, || run(conn, "COMMIT")));
        if let Err(fault) = committed {
            roll_back(conn);
            return Err(if fault.is_io() {
                Failed::InCommit(fault.into())
            } else {
                Failed::Ours(told(fault))
            });
        }
        let mut effects = tx.tx.committed();
        effects.wal_pages = wal.pages();
        if let Some(hook) = hook {
            hook.committed(effects);
        }
        Ok(answer)
    }
}

/// The error for a statement of the program that was refused.
fn out_of_reach<E>(what: String) -> Failed<E> {
    let message = format!(
        "the closure of the transaction used {what}, which is out of its reach: it cannot end or nest the transaction (use its savepoint), \
         change settings, attach files, or touch tables of perdura; nothing was written"
    );
    Failed::Ours(Error::new(ErrorKind::InvalidInput, message))
}

/// On a disk that is getting full the file grows before a commit, never in it, and this transaction
/// cannot be run again.
fn has_grown() -> Error {
    let message = "the disk is getting full, so the file had to grow before this transaction could be committed; it has, so run it again";
    Error::new(ErrorKind::DiskFull, message)
}

/// The error of a COMMIT that SQLite refused.
fn told(fault: Fault) -> Error {
    match fault {
        Fault::Sql(e) if e.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
            let message = "the transaction leaves a foreign key of the program's tables without its row; nothing was written";
            Error::new(ErrorKind::InvalidInput, message).with_source(e)
        }
        fault => fault.into(),
    }
}
