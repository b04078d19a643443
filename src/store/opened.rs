//! `Store`: an open file with its one writer and its readers.

use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};

#[cfg(feature = "rusqlite")]
use super::commit::alone::CallerTx;
use super::commit::commit_queue::Rank;
use super::commit::name_cache::NameCache;
use super::commit::tx::Tx;
use super::commit::wal_keeper::WalKeeper;
use super::commit::writer::{CommitHook, Writer};
use super::error::Sql;
use super::file::busy::Patience;
#[cfg(feature = "rusqlite")]
use super::file::caller_connection::CallerConnection;
#[cfg(feature = "rusqlite")]
use super::file::caller_transaction::check_file;
use super::file::connect::{Connector, readers};
use super::file::fork_guard::ForkGuard;
use super::file::holder::{self, Owner};
use super::file::identity::{FileIdentity, FileKey, beside};
use super::file::mounts::Mounts;
use super::file::open::{self, Opened};
#[cfg(feature = "rusqlite")]
use super::file::opening::OnConnection;
use super::file::opening::{Location, Manner, Opening};
use super::file::owner_lock::{OwnerLock, SUFFIX};
#[cfg(feature = "rusqlite")]
use super::file::pragmas::check_caller;
use super::file::pragmas::read_pragmas_back;
use super::file::readers::Readers;
use super::file::reserve::Reserve;
use super::file::snapshots::{LongRead, Snapshots};
use super::query::backup::make_whole;
use super::query::export;
use super::query::inspect::{self, FileReport};
use super::tasks::before_commit::finish;
use super::tasks::search::Search;
use crate::crash::CrashPoint;
use crate::error::{Error, ErrorKind};
#[cfg(feature = "rusqlite")]
use crate::sync::{Mutex, lock};
use crate::task::{Progress, TaskId};

/// An open file.
pub(crate) struct Store {
    /// For transactions of the program; opened by the first of them.
    #[cfg(feature = "rusqlite")]
    caller: Mutex<Option<CallerConnection>>,
    #[cfg(feature = "rusqlite")]
    on_connection: Option<OnConnection>,
    /// Declared before the writer: the last connection to close must be one that can checkpoint the
    /// WAL.
    snapshots: Snapshots,
    writer: Writer,
    connector: Connector,
    #[cfg(feature = "rusqlite")]
    names: Arc<NameCache>,
    file_id: [u8; 16],
    place: Location,
    /// The process that opened it.
    pub process: Arc<ForkGuard>,
}

impl Store {
    /// Opens the file, or creates it.
    ///
    /// # Errors
    /// If the path or the file is refused; an existing file is left as it was.
    pub(crate) fn open(opening: &Opening<'_>) -> Result<Store, Error> {
        let process = Arc::new(ForkGuard::begin()?);
        let path = opening.place.path(opening.network)?;
        let shown = format!("opening {}", path.display());
        let patience = Patience::new(opening.settings.busy_timeout);
        let opened = patience.during(|| open::open(&path, opening)).map_err(|e| e.context(&shown))?;
        let Opened { connection, file_id, manner, is_shared } = opened;
        let readers = Readers::new(readers(&path, opening, manner), &path).map_err(|e| e.context(&shown))?;
        let names = Arc::new(NameCache::default());
        let identity = Arc::new(match opening.place {
            Location::File(_) if manner == Manner::LooksAtStill => FileIdentity::of_still(&path),
            Location::File(_) => FileIdentity::of(&path, opening.settings.durability),
            Location::Private(_) => FileIdentity::unknown(),
        });
        let reserve_bytes = if is_shared || opening.read_only { 0 } else { opening.reserve_bytes };
        let disk = opening.vfs.is_none().then(|| path.clone()); // a VFS may keep the file elsewhere, with less room
        let reserve = Reserve::new(reserve_bytes, disk);
        let writer =
            Writer::new(connection, names.clone(), file_id, identity.clone(), reserve, patience, finish);
        let is_dead = writer.is_dead_flag();
        Ok(Store {
            #[cfg(feature = "rusqlite")]
            caller: Mutex::default(),
            #[cfg(feature = "rusqlite")]
            on_connection: opening.on_connection.clone(),
            snapshots: Snapshots::new(readers, identity.clone(), process.clone(), is_dead),
            writer,
            connector: Connector {
                path,
                vfs: opening.vfs.map(str::to_owned),
                settings: opening.settings,
                manner,
                identity,
            },
            #[cfg(feature = "rusqlite")]
            names,
            file_id,
            place: opening.place.clone(),
            process,
        })
    }

    /// Commits a write, and returns when it is durable.
    ///
    /// # Errors
    /// Those of the write; those of the disk; `ForkedProcess`.
    pub(crate) fn write<R: Send + 'static>(
        &self,
        rank: Rank,
        write: impl FnMut(&Tx<'_>) -> Sql<R> + Send + 'static,
    ) -> Result<R, Error> {
        self.process.check()?;
        self.may_write()?;
        self.writer.write(rank, write)
    }

    /// Calls `look` on the first `limit` tasks that a search finds, each slice on a snapshot of its
    /// own. `progress` is called after each slice that is followed by another.
    ///
    /// # Errors
    /// Those of `look`, and those of getting a connection.
    pub(crate) fn search<R>(
        &self,
        mut search: Search,
        limit: usize,
        look: impl Fn(&Connection, TaskId) -> Sql<R>,
        mut progress: Option<&mut dyn FnMut(Progress)>,
    ) -> Result<Vec<R>, Error> {
        let (look_on, mut all) = (self.long_read(), Vec::new());
        while all.len() < limit && !search.is_over() {
            let (slice, at) = look_on.read(|conn| {
                let found = search.step(conn, limit - all.len())?;
                let goes_on = all.len() + found.len() < limit && !search.is_over();
                let at = if goes_on && progress.is_some() { Some(search.progress(conn)?) } else { None };
                Ok((found.into_iter().map(|id| look(conn, id)).collect::<Sql<Vec<R>>>()?, at))
            })?;
            all.extend(slice);
            if let (Some(tell), Some(at)) = (&mut progress, at) {
                tell(at);
            }
        }
        Ok(all)
    }

    /// # Errors
    /// `ReadOnly` if the file was opened for reading only.
    pub(crate) fn may_write(&self) -> Result<(), Error> {
        if self.connector.manner == Manner::Writes {
            return Ok(());
        }
        let message = "the queue was opened with read_only(true); open it without to change anything";
        Err(Error::new(ErrorKind::ReadOnly, message))
    }

    /// Checks that the file is still the one that was opened.
    ///
    /// # Errors
    /// `FileReplaced`.
    pub(crate) fn check_file(&self) -> Result<(), Error> {
        self.connector.identity.check()
    }

    /// Sets the hook that takes part in each transaction; `None` removes it.
    pub(crate) fn set_commit_hook(&self, hook: Option<Box<dyn CommitHook>>) {
        self.writer.set_commit_hook(hook);
    }

    /// Sets the commit at which the store simulates the death of its process.
    pub(crate) fn crash_at(&self, point: CrashPoint) {
        self.writer.crash_at(point);
    }

    /// Whether that commit has come.
    pub(crate) fn has_crashed(&self) -> bool {
        self.writer.has_crashed()
    }

    /// How many commits have changed the file so far.
    pub(crate) fn commits(&self) -> u64 {
        self.writer.commits()
    }

    /// Runs something on the writing connection between two transactions.
    ///
    /// # Errors
    /// Those of `act`; `ForkedProcess`.
    pub(crate) fn alone<R>(&self, act: impl FnOnce(&Connection) -> Sql<R>) -> Result<R, Error> {
        self.process.check()?;
        self.writer.alone(act)
    }

    /// Waits until the running transaction, if any, has ended.
    pub(crate) fn await_commit(&self) {
        self.writer.await_commit();
    }

    /// Sets how long writes wait for a lock of another process, those that already wait included;
    /// `None`: as configured.
    pub(crate) fn set_patience(&self, patience: Option<Duration>) {
        self.writer.set_patience(patience);
    }

    /// Makes sure that the reserve for a full disk exists.
    ///
    /// # Errors
    /// `DiskFull` as long as it cannot be made; others of the disk; `ForkedProcess`.
    pub(crate) fn provide_reserve(&self) -> Result<(), Error> {
        self.process.check()?;
        self.may_write()?;
        Ok(self.writer.provide_reserve()?)
    }

    /// The same, if the reserve was missing or incomplete at the last look.
    pub(crate) fn refill_reserve(&self) -> Result<(), Error> {
        self.process.check()?;
        Ok(self.writer.refill_reserve()?)
    }

    /// Makes the file a little larger if it has few free pages, so that the next commits need not.
    pub(crate) fn grow_ahead(&self) -> Result<(), Error> {
        self.process.check()?;
        Ok(self.writer.grow_ahead()?)
    }

    /// Runs `look` on one snapshot of the file.
    ///
    /// # Errors
    /// Those of `look`, and those of getting a connection.
    pub(crate) fn read<R>(&self, look: impl FnOnce(&Connection) -> Sql<R>) -> Result<R, Error> {
        self.snapshots.read(look)
    }

    /// Begins a long read, which `interrupt_reads` can end.
    pub(crate) fn long_read(&self) -> LongRead<'_> {
        self.snapshots.long_read()
    }

    /// Interrupts all long reads that are running.
    pub(crate) fn interrupt_reads(&self) {
        self.snapshots.interrupt();
    }

    /// A [`Tx`] on the caller's own connection, in the transaction that is open there.
    ///
    /// # Errors
    /// `InvalidInput`, naming both files, if the connection's main database is another file; naming
    /// the pragma, if its commits would be less durable than ours.
    #[cfg(feature = "rusqlite")]
    pub(crate) fn join<'c>(&'c self, connection: &'c Connection) -> Sql<Tx<'c>> {
        let Connector { path, identity, settings, .. } = &self.connector;
        check_file(connection, &self.file_id, path, identity)?;
        check_caller(connection, settings)?;
        Ok(Tx::new(connection, &self.names, &self.file_id, None, None, finish))
    }

    /// Commits what the program and `write` write in one transaction, which runs once, on this
    /// thread. `about` may add to one of our errors what the program has to know.
    ///
    /// # Errors
    /// Those of `write`; those of the commit; `WouldDeadlock` inside another such transaction.
    ///
    /// # Panics
    /// If `write` does; nothing is written then.
    #[cfg(feature = "rusqlite")]
    pub(crate) fn transaction<R, E: From<Error>>(
        &self,
        write: impl FnOnce(&CallerTx<'_>) -> Result<R, E>,
        about: impl FnOnce(Error) -> Error,
    ) -> Result<R, E> {
        self.process.check()?;
        self.may_write()?;
        let mut kept = lock(&self.caller);
        let caller = match kept.take() {
            Some(caller) => caller,
            None => {
                CallerConnection::open(&self.connector, self.on_connection.as_ref()).map_err(Error::from)?
            }
        };
        let done = self.writer.commit_alone(&caller, write, about);
        if caller.connection().is_autocommit() {
            *kept = Some(caller);
        }
        done
    }

    /// Ends the store as the death of its process would. Returns where the file is.
    ///
    /// # Errors
    /// If SQLite is out of memory.
    pub(crate) fn crash(&self) -> Result<Location, Error> {
        self.snapshots.close();
        #[cfg(feature = "rusqlite")]
        if let Some(caller) = lock(&self.caller).take() {
            caller.abandon();
        }
        self.writer.crash()?;
        Ok(self.place.clone())
    }

    /// Which process owns the file, as far as that can be known without asking for its lock.
    pub(crate) fn owner(&self) -> Owner {
        inspect::owner(self.path())
    }

    /// A report on the file: everything but its tasks.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn inspect(&self) -> Result<FileReport, Error> {
        let Connector { settings, manner, .. } = &self.connector;
        let pragmas = self.alone(|conn| read_pragmas_back(conn, settings, *manner))?;
        self.read(|conn| inspect::inspect(conn, self.path(), pragmas))
    }

    /// Makes a new file from an export; returns how many rows it has. If that fails, no file is
    /// left.
    ///
    /// # Errors
    /// `InvalidInput` if the file exists or the text is not an export; those of the disk.
    pub(crate) fn import(opening: &Opening<'_>, text: &mut dyn BufRead) -> Result<u64, Error> {
        let path = opening.place.path(opening.network)?;
        let rows = make_whole(&path, |half| {
            let place = Location::File(half.to_owned());
            let store = Store::open(&Opening { place, ..opening.clone() })?;
            Ok(store.alone(|conn| {
                let tx = Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
                let rows = export::import(&tx, text, opening.settings.longest)?;
                tx.commit()?;
                Ok(rows)
            })?)
        })?;
        Ok(rows)
    }

    pub(crate) fn file_id(&self) -> &[u8; 16] {
        &self.file_id
    }

    /// Distinguishes this file from the others that this process has open.
    pub(crate) fn file_key(&self) -> FileKey {
        self.connector.identity.key(self.path())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.connector.path
    }

    /// Asks for the right to execute tasks from the file; `None` if another process (or another
    /// queue of this one) has it.
    ///
    /// # Errors
    /// `OwnerFile` if the `-owner` file cannot be used as it is; those of the disk.
    pub(crate) fn try_own(&self) -> Result<Option<OwnerLock>, Error> {
        OwnerLock::try_acquire(self.path())
    }

    /// Whether a process owns the file now; `None` where that cannot be known.
    pub(crate) fn is_owned(&self) -> Option<bool> {
        holder::owner(&beside(self.path(), SUFFIX), Mounts::read().as_ref()).is_owned
    }

    /// Keeps the WAL short alongside commits, as long as the value lives.
    pub(crate) fn wal_keeper(&self) -> WalKeeper<'_> {
        WalKeeper::new(&self.writer, &self.connector, self.long_read())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Durability;
    use crate::store::file::checkpoint::CHECKPOINT_PAGES;

    #[test]
    fn s09_every_limit_of_a_connection_holds() {
        let store = Store::open(&Opening::plain(Location::private().unwrap(), Durability::Full)).unwrap();
        let long = "x".repeat(100_001);
        let many = (0..200_000).map(|_| "(1)").collect::<Vec<_>>().join(",");
        for (what, sql) in [
            ("a value that is too long", "SELECT length(zeroblob(1048577))"),
            ("a text that is too long", &format!("SELECT '{long}'")),
            ("a program that is too long", &format!("SELECT 1 FROM (VALUES {many})")),
            ("another database", "ATTACH ':memory:' AS other"),
        ] {
            let answers = |conn: &Connection| Ok(conn.execute_batch(sql).is_ok());
            assert!(!store.writer.alone(answers).unwrap(), "{what}, by the writer");
            assert!(!store.read(answers).unwrap(), "{what}, by a reader");
        }
        let fits = |conn: &Connection| {
            Ok(conn.query_row("SELECT length(CAST(zeroblob(1000000) AS TEXT))", [], |_| Ok(()))?)
        };
        store.read(fits).unwrap();
        store
            .writer
            .alone(|conn| {
                use rusqlite::limits::Limit;
                assert_eq!(conn.limit(Limit::SQLITE_LIMIT_TRIGGER_DEPTH)?, 0);
                assert_eq!(conn.limit(Limit::SQLITE_LIMIT_WORKER_THREADS)?, 0);
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn a_new_limit_does_not_compile_its_statement_again() {
        let store = Store::open(&Opening::plain(Location::private().unwrap(), Durability::Full)).unwrap();
        let again = store.writer.alone(|conn| {
            let sql =
                "SELECT task_id FROM perdura_tasks WHERE queue_id = ?1 AND state = 0 AND hold = 0 LIMIT ?2";
            let mut statement = conn.prepare(sql)?;
            for limit in 1..10 {
                statement.query((1, limit))?.next()?;
            }
            Ok(statement.get_status(rusqlite::StatementStatus::RePrepare))
        });
        assert_eq!(again.unwrap(), 0);
    }

    /// Rewrites pages until the WAL has a few thousand; returns how many.
    fn write_much(store: &Store) -> u32 {
        for n in 0..40 {
            store
                .write(Rank::Change, move |tx| {
                    tx.run(
                        "INSERT OR REPLACE INTO perdura_padding (id, padding) VALUES (?1, zeroblob(409600))",
                        [1000 + n % 4],
                    )
                    .map(drop)
                })
                .unwrap();
        }
        store.writer.wal().pages()
    }

    #[test]
    fn a_wal_that_a_long_read_let_grow_is_cut_little_by_little() {
        let store = Store::open(&Opening::plain(Location::private().unwrap(), Durability::Full)).unwrap();
        let length = || std::fs::metadata(beside(store.path(), "-wal")).unwrap().len();
        let read = store.read(|conn| {
            conn.query_row("SELECT COUNT(*) FROM perdura_meta", [], |_| Ok(()))?; // the snapshot begins
            for _ in 0..5 {
                write_much(&store);
            }
            Ok(())
        });
        read.unwrap();
        let mut before = length();
        assert!(before > 64 << 20, "{before}");
        for n in 0..400 {
            let write = move |tx: &Tx<'_>| {
                let sql =
                    "INSERT OR REPLACE INTO perdura_padding (id, padding) VALUES (?1, zeroblob(409600))";
                tx.run(sql, [1000 + n % 4]).map(drop)
            };
            store.write(Rank::Change, write).unwrap();
            let now = length();
            assert!(before.saturating_sub(now) <= 41 << 20, "{before} bytes were cut to {now} at once");
            before = now;
        }
        assert!(before <= 17 << 20, "{before} bytes are left");
    }

    #[test]
    fn whoever_keeps_the_wal_copies_it_and_no_commit_has_to() {
        let store = Store::open(&Opening::plain(Location::private().unwrap(), Durability::Full)).unwrap();
        assert!(write_much(&store) < 2 * CHECKPOINT_PAGES, "a commit copied it");
        let keeper = store.wal_keeper();
        assert!(write_much(&store) > 2 * CHECKPOINT_PAGES, "no commit copied it");
        keeper.copy_if_long();
        store
            .write(Rank::Change, |tx| tx.run("DELETE FROM perdura_padding WHERE id = 1000", []).map(drop))
            .unwrap();
        assert!(store.writer.wal().pages() < CHECKPOINT_PAGES, "it has started again");
        drop(keeper);
        assert!(write_much(&store) < 2 * CHECKPOINT_PAGES, "commits copy it again");
    }
}
