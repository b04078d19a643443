//! The one writer: turns a group of writes into a transaction.
//!
//! A group (see `commit_queue`) is one transaction. If it has several members, each is in a savepoint of its own, so
//! that one that fails undoes no other. The [`CommitHook`] adds claims to it; if those fail, the group is committed
//! without them. Members are answered after the COMMIT.
//!
//! **When SQLite rolls back the whole transaction** (a full disk, an I/O error), the members are
//! run again one by one, settles first, and without claims. After an I/O error of the COMMIT itself its outcome is
//! unknown: a *probe*, a small commit of its own, must succeed first. It overwrites what the failed commit left in the
//! WAL, which can then never become visible. If the probe fails too, the members are answered with
//! [`Outcome::Unknown`].
//!
//! Nothing here logs: the program's logger may write to the same queue.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;

use super::commit_queue::{CommitQueue, Kept, Member, Rank};
use super::effects::Effects;
use super::name_cache::NameCache;
use super::tx::{Finish, StartLeave, Tx};
use crate::crash::CrashPoint;
use crate::error::{Error, ErrorKind, Outcome};
use crate::planted::planted;
use crate::store::error::{Fault, Sql};
use crate::store::file::busy::Patience;
use crate::store::file::checkpoint::{WalLimit, WalState, checkpoint_wal};
use crate::store::file::crash::CrashSwitch;
use crate::store::file::holder::others_have_open;
use crate::store::file::identity::{FileIdentity, beside};
use crate::store::file::reserve::{Reserve, run};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, lock, thread};
use crate::task::Timestamp;

/// How often a transaction is retried after the file has grown for it, or slices of the reserve were taken.
const MAX_GROWTH_TRIES: u32 = 16;

/// Takes part in each transaction: adds claims, and learns its effects. Called by the leader.
pub(crate) trait CommitHook: Send {
    /// A transaction has begun, after it had waited for its locks; returns the time.
    fn begins(&mut self) -> Timestamp;
    /// Permission for a transaction with one member to start a new task at once, if a worker idles and nothing is known
    /// to be ready.
    fn start_leave(&self) -> Option<StartLeave>;
    /// Called after the members have written, to add writes of its own; returns whether it did.
    fn before_commit(&mut self, tx: &Tx<'_>) -> Sql<bool>;
    /// The transaction is durable.
    fn committed(&mut self, effects: Effects);
    /// The transaction was rolled back; its members may be committed all the same. Without an error, it will be tried
    /// again.
    fn rolled_back(&mut self, error: Option<&Error>);
    /// How long to leave the file to other processes now, if this one has written without pause for long.
    fn rest(&mut self) -> Option<Duration>;
}

/// The writer of a file.
pub(crate) struct Writer {
    pub(super) queue: CommitQueue,
    pub(super) state: Mutex<WriterState>,
    wal: Arc<WalState>,
    pub(super) patience: Patience,
    crashed: Arc<AtomicBool>,
}

/// What only the leader uses.
pub(crate) struct WriterState {
    pub(super) connection: Connection,
    pub(super) names: Arc<NameCache>,
    pub(super) file_id: [u8; 16],
    pub(super) identity: Arc<FileIdentity>,
    pub(super) hook: Option<Box<dyn CommitHook>>,
    pub(super) wal: Arc<WalState>,
    pub(super) wal_limit: WalLimit,
    pub(super) reserve: Reserve,
    pub(super) crash_switch: CrashSwitch,
    pub(super) finish: Finish,
}

impl Writer {
    pub(crate) fn new(
        connection: Connection,
        names: Arc<NameCache>,
        file_id: [u8; 16],
        identity: Arc<FileIdentity>,
        reserve: Reserve,
        patience: Patience,
        finish: Finish,
    ) -> Writer {
        let wal = WalState::of(&connection);
        let crash_switch = CrashSwitch::default();
        Writer {
            crashed: crash_switch.is_dead_flag(),
            queue: CommitQueue::default(),
            patience,
            state: Mutex::new(WriterState {
                connection,
                names,
                file_id,
                identity,
                hook: None,
                wal: wal.clone(),
                wal_limit: WalLimit::default(),
                reserve,
                crash_switch,
                finish,
            }),
            wal,
        }
    }

    /// Sets the hook that takes part in each transaction; `None` removes it.
    pub(crate) fn set_commit_hook(&self, hook: Option<Box<dyn CommitHook>>) {
        drop(std::mem::replace(&mut lock(&self.state).hook, hook));
    }

    /// The state of the WAL.
    pub(crate) fn wal(&self) -> &WalState {
        &self.wal
    }

    /// Commits a write, and returns when it is durable.
    ///
    /// # Errors
    /// Those of the write; those of the disk.
    pub(crate) fn write<R: Send + 'static>(
        &self,
        rank: Rank,
        write: impl FnMut(&Tx<'_>) -> Sql<R> + Send + 'static,
    ) -> Result<R, Error> {
        self.queue.commit(rank, write, |group| {
            let rest = self.patience.during(|| {
                let mut state = lock(&self.state);
                state.commit_group(group);
                state.mind_file(); // after everybody has been answered
                state.rest()
            });
            if let Some(rest) = rest {
                thread::sleep(rest);
            }
        })
    }

    /// Waits until the running transaction, if any, has ended.
    pub(crate) fn await_commit(&self) {
        drop(lock(&self.state));
    }

    /// Sets how long to wait for locks of other processes from now on; `None`: as configured.
    pub(crate) fn set_patience(&self, patience: Option<Duration>) {
        self.patience.set(patience);
    }

    /// Runs something on the writing connection between two transactions.
    pub(crate) fn alone<R>(&self, act: impl FnOnce(&Connection) -> Sql<R>) -> Result<R, Error> {
        let state = lock(&self.state);
        state.crash_switch.alive()?;
        let done = state.wal.during(|| self.patience.during(|| act(&state.connection)));
        Ok(done?)
    }

    /// Makes sure that the reserve for a full disk exists.
    ///
    /// # Errors
    /// `DiskFull` as long as it cannot be made; others of the disk.
    pub(crate) fn provide_reserve(&self) -> Sql<()> {
        let WriterState { connection, reserve, crash_switch, .. } = &mut *lock(&self.state);
        crash_switch.alive()?;
        reserve.provide(connection, crash_switch)
    }

    /// The same, if the reserve was missing or incomplete at the last look.
    pub(crate) fn refill_reserve(&self) -> Sql<()> {
        let is_blocked = lock(&self.state).reserve.is_blocked();
        if is_blocked { self.provide_reserve() } else { Ok(()) }
    }

    /// Notes that another connection found the disk full.
    pub(crate) fn doubt_disk(&self) {
        lock(&self.state).reserve.doubt();
    }

    /// Makes the file a little larger if it has few free pages, so that the next commits need not.
    pub(crate) fn grow_ahead(&self) -> Sql<()> {
        let WriterState { connection, reserve, crash_switch, .. } = &mut *lock(&self.state);
        crash_switch.alive()?;
        reserve.grow_ahead(connection, crash_switch)
    }

    /// Sets the commit at which a simulated crash comes.
    pub(crate) fn crash_at(&self, point: CrashPoint) {
        lock(&self.state).crash_switch.set(point);
    }

    /// How many commits have changed the file so far.
    pub(crate) fn commits(&self) -> u64 {
        lock(&self.state).crash_switch.commits()
    }

    /// The flag that is set by a crash, for others to read.
    pub(crate) fn is_dead_flag(&self) -> Arc<AtomicBool> {
        self.crashed.clone()
    }

    pub(crate) fn has_crashed(&self) -> bool {
        self.crashed.load(Ordering::Acquire)
    }

    /// Ends the writer as the death of its process would: nothing is written any more, and the file is closed without a
    /// WAL checkpoint.
    pub(crate) fn crash(&self) -> Sql<()> {
        let mut state = lock(&self.state);
        state.crash_switch.die(&state.connection);
        let nowhere = Connection::open_in_memory()?;
        drop(std::mem::replace(&mut state.connection, nowhere));
        Ok(())
    }
}

/// Why a whole transaction was lost.
struct LostCommit {
    error: Error,
    /// The disk failed in the COMMIT, so its outcome is unknown.
    uncertain: bool,
    /// The hook had written into it, so the members alone may succeed.
    had_company: bool,
    /// The size (in pages) that it would have given the file, which may not grow in a commit.
    size: Option<i64>,
}

impl WriterState {
    /// Commits the members together; again without claims if it had some; then one by one if their common transaction
    /// is still lost. Answers all of them.
    fn commit_group(&mut self, mut group: Vec<Box<dyn Member>>) {
        let mut outcome = self.commit(&mut group, true);
        let is_lost = outcome.as_ref().is_err_and(|lost| lost.had_company && !lost.uncertain);
        if is_lost && !self.crash_switch.is_dead() {
            outcome = self.commit(&mut group, false);
        }
        let Err(lost) = outcome else {
            return group.into_iter().for_each(Member::settled);
        };
        if lost.uncertain {
            if self.probe().is_err() {
                return refuse(group, &unknown(lost.error));
            }
        } else {
            match lost.error.kind() {
                ErrorKind::DiskFull => {}
                ErrorKind::Busy | ErrorKind::Crashed => return refuse(group, &lost.error),
                _ if group.len() == 1 => return refuse(group, &lost.error),
                _ => {}
            }
        }
        let is_full = lost.error.kind() == ErrorKind::DiskFull;
        if is_full {
            self.reserve.doubt();
        }
        group.sort_by_key(|member| member.rank());
        for member in group {
            if is_full {
                let _ = checkpoint_wal(&self.connection); // so that the WAL can restart within its length
            }
            let mut alone = vec![member];
            let Err(LostCommit { error, uncertain, .. }) = self.commit(&mut alone, false) else {
                alone.into_iter().for_each(Member::settled);
                continue;
            };
            let settled = !uncertain || self.probe().is_ok();
            refuse(alone, &if settled { error } else { unknown(error) });
        }
    }

    /// Runs one transaction, and grows the file or takes from the reserve if it must not be committed otherwise. On a
    /// full disk, members that would add data are answered and leave the group.
    fn commit(&mut self, group: &mut Vec<Box<dyn Member>>, company: bool) -> Result<(), LostCommit> {
        if self.reserve.is_blocked() && group.iter().any(|member| member.rank().is_add()) {
            let provided = self.reserve.provide(&self.connection, &mut self.crash_switch);
            self.without_room(group, provided);
        }
        let mut released = 0;
        let mut outcome = self.attempt(group, company, released);
        for _ in 0..MAX_GROWTH_TRIES {
            let Err(LostCommit { size: Some(size), .. }) = outcome else { break };
            if !self.reserve.is_blocked() {
                let grown = self.reserve.grow_to(size, &self.connection, &mut self.crash_switch);
                self.without_room(group, grown);
            } else if let Some(more) = self.reserve.more_than(released) {
                released = more;
            } else {
                break;
            }
            outcome = self.attempt(group, company, released);
        }
        outcome
    }

    /// If there is no room (`made` is an error): answers the members that would add data, and pauses claiming.
    fn without_room(&mut self, group: &mut Vec<Box<dyn Member>>, made: Sql<()>) {
        let Err(fault) = made else { return };
        // SQLite reports a quota, and the largest size of a file, as I/O errors.
        let is_full = self.reserve.is_blocked() && fault.is_io();
        let error = if is_full { no_room().with_source(Error::from(fault)) } else { Error::from(fault) };
        if let Some(hook) = &mut self.hook {
            hook.rolled_back(Some(&error));
        }
        let (refused, kept) = std::mem::take(group)
            .into_iter()
            .partition(|member| member.rank().is_add() && !planted("g11-new-tasks-take-the-reserve"));
        *group = kept;
        refuse(refused, &error);
    }

    /// Checks made before a transaction begins on a connection.
    pub(super) fn check_ready(&self, conn: &Connection) -> Sql<()> {
        self.crash_switch.alive()?;
        if !conn.is_autocommit() {
            run(conn, "ROLLBACK")?;
        }
        self.identity.check_commit()?;
        self.reserve.check_wal(conn, self.wal.pages())
    }

    /// Runs one transaction with all members, and with the hook if `company` is set. It takes `released` slices of the
    /// reserve. `Ok`: each member has its answer, and whatever the answers report is durable.
    fn attempt(
        &mut self,
        group: &mut Vec<Box<dyn Member>>,
        company: bool,
        released: i64,
    ) -> Result<(), LostCommit> {
        let lost = |fault: Fault| LostCommit {
            error: fault.into(),
            uncertain: false,
            had_company: false,
            size: None,
        };
        self.check_ready(&self.connection).map_err(lost)?;
        let WriterState { connection, names, file_id, hook, wal, reserve, crash_switch, finish, .. } = self;
        let company = company && !reserve.is_blocked();
        let is_small = group.iter().all(|member| member.rank().is_small());
        let begin = if planted("g02-selects-then-updates") { "BEGIN" } else { "BEGIN IMMEDIATE" };
        run(connection, begin).map_err(lost)?;
        crash_switch.begin(connection);
        let now = hook.as_mut().map(|hook| hook.begins());
        let is_alone = company && group.len() == 1;
        let start_leave = hook.as_ref().filter(|_| is_alone).and_then(|hook| hook.start_leave());
        let tx = Tx::new(connection, names, file_id, start_leave, now, *finish);
        let (mut had_company, mut size) = (false, None);
        let wal_before = wal.pages();
        let written = reserve.room(connection, released).and_then(|room| {
            let any = run_members(&tx, group)?;
            if any {
                if let Some(hook) = hook.as_mut().filter(|_| company) {
                    had_company = true; // assumed until it returns: if it fails, it is the cause
                    had_company = hook.before_commit(&tx)?;
                }
                tx.finish()?;
                if !is_small || reserve.is_to_measure() {
                    size = reserve.exceeded(&room, connection)?;
                }
            }
            Ok(any)
        });
        had_company |= !tx.effects().claims.is_empty();
        if matches!(written, Ok(true)) && size.is_none() {
            tell_too_early(group, hook, &tx);
        }
        let outcome = match written {
            Ok(true) if planted("g01-a-commit-is-forgotten") && connection.last_insert_rowid() % 50 == 49 => {
                run(connection, "ROLLBACK").map_err(lost)
            }
            Ok(true) if size.is_some() => Err(LostCommit { size, ..lost(no_room().into()) }),
            Ok(true) => wal.during(|| crash_switch.commit(connection, || run(connection, "COMMIT"))).map_err(
                |fault| LostCommit { uncertain: fault.is_io(), error: fault.into(), had_company, size: None },
            ),
            Ok(false) => {
                roll_back(connection);
                return Ok(());
            }
            Err(fault) => Err(LostCommit { had_company, ..lost(fault) }),
        };
        match outcome {
            Ok(()) => {
                let mut effects = tx.committed();
                effects.wal_pages = wal.pages();
                let written = effects.wal_pages.checked_sub(wal_before).filter(|pages| *pages > 0);
                reserve.has_written(written.unwrap_or(effects.wal_pages)); // all of a WAL that has restarted
                if let Some(hook) = hook {
                    hook.committed(effects);
                }
                Ok(())
            }
            Err(lost) => {
                roll_back(connection);
                if let Some(hook) = hook {
                    hook.rolled_back(Some(&lost.error).filter(|_| lost.size.is_none()));
                }
                Err(lost)
            }
        }
    }

    /// Makes room for the next commit, and checkpoints the WAL if no keeper does. What fails is retried after the next
    /// commit, which reports a lasting fault of the disk.
    pub(super) fn mind_file(&mut self) {
        if self.crash_switch.is_dead() {
            return;
        }
        self.reserve.look_ahead(&self.connection, &mut self.crash_switch);
        self.wal_limit.follow(&self.wal, &self.connection);
        if self.wal.is_long() && !self.wal.is_kept() {
            let _ = checkpoint_wal(&self.connection);
        }
    }

    /// How long to leave the file to other processes, if any may want it.
    pub(super) fn rest(&mut self) -> Option<Duration> {
        let rest = self.hook.as_mut()?.rest()?;
        let path = self.connection.path().map(|path| beside(Path::new(path), "-shm"))?;
        others_have_open(&path).then_some(rest)
    }

    /// A small commit, which ends the uncertainty about a failed one.
    pub(super) fn probe(&mut self) -> Sql<()> {
        let WriterState { connection: conn, crash_switch, .. } = self;
        run(conn, "BEGIN IMMEDIATE")?;
        crash_switch.begin(conn);
        let probed = run(conn, "UPDATE perdura_meta SET probes = probes + 1 WHERE id = 1")
            .and_then(|()| crash_switch.commit(conn, || run(conn, "COMMIT")));
        if probed.is_err() {
            roll_back(conn);
        }
        probed
    }
}

pub(super) fn no_room() -> Error {
    Error::new(ErrorKind::DiskFull, "the file has no room left; free some space")
}

fn refuse(group: Vec<Box<dyn Member>>, error: &Error) {
    group.into_iter().for_each(|member| member.failed(error.repeat()));
}

/// The error of a commit that may or may not have happened.
pub(super) fn unknown(error: Error) -> Error {
    if planted("g02-not-done-for-unknown") { error } else { error.with_outcome(Outcome::Unknown) }
}

/// Two planted bugs: callers are answered, or workers get their claims, before the COMMIT.
fn tell_too_early(group: &mut Vec<Box<dyn Member>>, hook: &mut Option<Box<dyn CommitHook>>, tx: &Tx<'_>) {
    if planted("g01-answers-before-the-commit") {
        group.drain(..).for_each(Member::settled);
    }
    if let Some(hook) = hook.as_mut().filter(|_| planted("g06-tells-before-the-commit")) {
        let mut effects = Effects::default();
        tx.effect(|all| std::mem::swap(all, &mut effects));
        hook.committed(effects);
    }
}

/// Runs every member, each in a savepoint of its own if there are several. Returns whether any has succeeded, so that
/// there is something to commit.
///
/// # Errors
/// If SQLite rolled back the whole transaction.
fn run_members(tx: &Tx<'_>, group: &mut [Box<dyn Member>]) -> Sql<bool> {
    let several = group.len() > 1;
    let mut any = false;
    for member in group {
        let mark = if several { Some(tx.mark()) } else { None };
        if several {
            run(tx.conn, "SAVEPOINT member")?;
        }
        match member.run(tx) {
            Ok(()) => any = true,
            Err(Kept(error)) if tx.conn.is_autocommit() => return Err(error.into()),
            Err(Kept(_)) => {
                if let Some(mark) = mark {
                    tx.undo_to(mark);
                    run(tx.conn, "ROLLBACK TO member")?;
                }
            }
        }
        if several {
            run(tx.conn, "RELEASE member")?;
        }
    }
    Ok(any)
}

pub(super) fn roll_back(conn: &Connection) {
    if !conn.is_autocommit() {
        let _ = run(conn, "ROLLBACK"); // retried before the next transaction, which reports the error
    }
}
