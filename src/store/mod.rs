//! All SQL, and all knowledge of the file.
//!
//! Writes are functions of [`Tx`], so that they compose; [`Writer`] commits them. Reads are functions of a read-only connection.
//! It is told the time and never reads a clock; it starts no thread and knows nothing of handlers.

mod commit;
mod error;
mod file;
mod query;
mod tasks;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;

use crate::config::Durability;
use crate::error::{Error, ErrorKind};
use crate::task::{Progress, TaskId};

pub(crate) use commit::commit_queue::Rank;
pub(crate) use commit::effects::Effects;
pub(crate) use commit::tx::Tx;
pub(crate) use commit::wal_keeper::{
    CHECKPOINT_PAGES, WalKeeper, data_version, return_free_pages, warn_of_wal_reset_bug,
};
pub(crate) use commit::writer::{Epilogue, Writer};
pub(crate) use error::{Fault, Sql};
use file::busy::{self, Patience};
pub use file::holder::Owner;
pub(crate) use file::identity::FileKey;
use file::identity::{self, Identity};
use file::interrupts::{Interrupts, Look};
use file::mounts::Mounts;
use file::open::{self, Manner};
use file::owner_lock;
pub(crate) use file::owner_lock::{Notes, OwnerLock, StartNote};
pub(crate) use file::process::Process;
use file::readers::Readers;
pub(crate) use file::temporary::TemporaryFolder;
pub use file::wal::WalReport;
use file::{crash, holder, path, reserve, statistics};
pub(crate) use query::backup::backup;
pub use query::check::CheckReport;
pub(crate) use query::check::check_step;
pub(crate) use query::export::export;
use query::inspect;
pub use query::inspect::{FileReport, PragmaReport};
pub(crate) use query::records::{
    Flags, args, attempts, checkpoint, counts, flags, queue_flags, ready_before, record, result, served,
};
pub(crate) use query::stats::{count_from, failures, output, ready_since};
pub(crate) use tasks::admin::{Verb, apply_all, apply_one, set_paused};
pub(crate) use tasks::claim::{Known, Lifting, claim, lift_known};
pub(crate) use tasks::dead_letters::{get_letter, old_letters, purge_letters, replay};
pub(crate) use tasks::direct::Direct;
pub(crate) use tasks::enqueue::{enqueue, find_token};
pub(crate) use tasks::epoch::{OwnerSettings, check_epoch, queue_list, retention};
use tasks::finish;
pub(crate) use tasks::names::Names;
pub(crate) use tasks::promote::{
    clock_has_run_on, clock_jumped, has_unknown_names, is_due, next_due, next_start, promote,
};
pub(crate) use tasks::purge::{Ages, drop_counters, idle_queues, old, purge};
pub(crate) use tasks::ready::is_at_work;
pub(crate) use tasks::recover::{Recovered, recover};
pub(crate) use tasks::rollups::rollups;
pub(crate) use tasks::search::{Among, Order, Search};
pub(crate) use tasks::settle::{SettleRules, fall_silent, save_checkpoint, save_news, settle};
pub(crate) use tasks::suspects::{pass_turn, spare};

/// An open file: one writer, a few readers.
pub(crate) struct Store {
    /// Before the writer, so that the last connection to close is one that can empty the WAL.
    readers: Readers,
    interrupts: Interrupts,
    writer: Writer,
    #[cfg(feature = "rusqlite")]
    names: Arc<Names>,
    file_id: [u8; 16],
    path: PathBuf,
    identity: Arc<Identity>,
    settings: Settings,
    manner: Manner,
    vfs: Option<String>,
    place: Place,
    /// The process that opened it.
    pub process: Process,
}

/// Where a file lies.
#[derive(Clone)]
pub(crate) enum Place {
    File(PathBuf),
    /// In a folder of its own, which is removed when nobody has the place any more; after the connections, which come before it.
    Private(Arc<TemporaryFolder>),
}

impl Place {
    /// A new place that nobody else knows.
    pub(crate) fn private() -> Result<Place, Error> {
        Ok(Place::Private(Arc::new(TemporaryFolder::new()?)))
    }

    fn path(&self, network: bool) -> Result<PathBuf, Error> {
        match self {
            Place::File(path) => path::canonical(path, network),
            Place::Private(folder) => Ok(folder.file()),
        }
    }
}

/// How its connections are set up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub durability: Durability,
    pub secure_delete: bool,
    /// The longest value that is read or written, in bytes.
    pub longest: usize,
    /// How long a write waits for a lock of another connection.
    pub busy_timeout: std::time::Duration,
}

/// Where a file lies and how to treat it.
pub(crate) struct Opening<'a> {
    pub place: Place,
    pub settings: Settings,
    /// A network file system is taken, too.
    pub network: bool,
    /// The file belongs to the program, whose own tables are in it too.
    pub share: bool,
    /// If it is ours and others' tables are in it, it is shared; else it is not.
    pub share_as_found: bool,
    /// Nothing is written.
    pub looks_only: bool,
    /// The SQLite VFS through which it is opened; none: the default one.
    pub vfs: Option<&'a str>,
    /// Room in the file that is kept for a full disk.
    pub reserve_bytes: u64,
    pub now: crate::task::Timestamp,
}

impl Opening<'_> {
    /// A file of no program: small values, no reserve, made when time began.
    fn plain(place: Place, durability: Durability) -> Opening<'static> {
        Opening {
            place,
            settings: Settings {
                durability,
                secure_delete: false,
                longest: 1 << 20,
                busy_timeout: busy::TIMEOUT,
            },
            network: false,
            share: false,
            share_as_found: false,
            looks_only: false,
            vfs: None,
            reserve_bytes: 0,
            now: crate::task::Timestamp::from_millis(0),
        }
    }
}

impl Store {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// What is wrong with the path or the file; an existing file is left as it was.
    pub(crate) fn open(opening: &Opening<'_>) -> Result<Store, Error> {
        let process = Process::begin()?;
        let path = opening.place.path(opening.network)?;
        let shown = format!("opening {}", path.display());
        let patience = Patience::new(opening.settings.busy_timeout);
        let first = || patience.during(|| open::first(&path, opening));
        let opened = match first() {
            Err(e)
                if e.kind() == ErrorKind::ReadOnly && !opening.looks_only && path::open_companions(&path) =>
            {
                first()
            }
            opened => opened,
        };
        let open::Opened { connection, file_id, manner, is_shared } =
            opened.map_err(|e| e.context(&shown))?;
        if manner == Manner::Writes {
            let _ = statistics::forget(&connection); // they would only slow down searches
        }
        let readers =
            Readers::new(open::readers(&path, opening, manner), &path).map_err(|e| e.context(&shown))?;
        let names = Arc::new(Names::default());
        let identity = Arc::new(match opening.place {
            Place::File(_) if manner == Manner::LooksAtStill => Identity::of_still(&path),
            Place::File(_) => Identity::of(&path, opening.settings.durability),
            Place::Private(_) => Identity::unknown(),
        });
        let reserve_bytes = if is_shared || opening.looks_only { 0 } else { opening.reserve_bytes };
        let disk = opening.vfs.is_none().then(|| path.clone()); // a VFS may keep the file elsewhere, and have less room
        let reserve = reserve::Reserve::new(reserve_bytes, disk);
        let writer = Writer::new(
            connection,
            names.clone(),
            file_id,
            identity.clone(),
            reserve,
            patience,
            finish::finish,
        );
        Ok(Store {
            writer,
            readers,
            interrupts: Interrupts::default(),
            #[cfg(feature = "rusqlite")]
            names,
            file_id,
            path,
            identity,
            settings: opening.settings,
            manner,
            vfs: opening.vfs.map(str::to_owned),
            place: opening.place.clone(),
            process,
        })
    }

    /// Commits a write, and answers when it is durable.
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

    /// What `look` sees of the first `limit` that a search finds, each slice of it on a snapshot of its own. `progress`, if there is
    /// anybody who listens, is told after each that another follows.
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
        let (look_on, mut all) = (self.look(), Vec::new());
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
    /// `ReadOnly` if the file is only looked at.
    pub(crate) fn may_write(&self) -> Result<(), Error> {
        if self.manner == Manner::Writes {
            return Ok(());
        }
        let message = "the queue was opened with look_only(true); open it without to change anything";
        Err(Error::new(ErrorKind::ReadOnly, message))
    }

    /// Sets what rides along with each transaction; none removes it.
    pub(crate) fn set_epilogue(&self, epilogue: Option<Box<dyn Epilogue>>) {
        self.writer.set_epilogue(epilogue);
    }

    /// Sets the commit at which the file is treated as after the death of the process.
    pub(crate) fn crash_at(&self, point: crate::crash::CrashPoint) {
        self.writer.crash_at(point);
    }

    /// Whether that commit has come.
    pub(crate) fn has_crashed(&self) -> bool {
        self.writer.has_crashed()
    }

    /// Commits so far.
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

    /// Waits until the transaction that is under way, if any, is over.
    pub(crate) fn await_commit(&self) {
        self.writer.await_commit();
    }

    /// Lets writes wait so long for a lock of another process, those that wait already included; none: as usual.
    pub(crate) fn set_patience(&self, patience: Option<std::time::Duration>) {
        self.writer.set_patience(patience);
    }

    /// Makes sure that the room for a full disk is there.
    ///
    /// # Errors
    /// `DiskFull` as long as there is none; others of the disk; `ForkedProcess`.
    pub(crate) fn provide_reserve(&self) -> Result<(), Error> {
        self.process.check()?;
        self.may_write()?;
        Ok(self.writer.provide_reserve()?)
    }

    /// The same, if it was not there when it was last looked for.
    pub(crate) fn refill_reserve(&self) -> Result<(), Error> {
        self.process.check()?;
        Ok(self.writer.refill_reserve()?)
    }

    /// A WAL checkpoint beside the commits found the disk full.
    pub(crate) fn doubt_disk(&self) {
        self.writer.doubt_disk();
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
        self.process.check()?;
        if self.writer.has_crashed() {
            return Err(crash::crashed());
        }
        let connection = self.readers.get(&self.identity)?;
        self.identity.check_still()?;
        let snapshot = connection.unchecked_transaction().map_err(Fault::from)?;
        let seen = look(&snapshot);
        self.identity.check_still()?; // whatever was seen
        Ok(seen?)
    }

    /// A look that others may end.
    pub(crate) fn look(&self) -> Look<'_> {
        Look::new(self)
    }

    /// Ends all looks that go on now.
    pub(crate) fn interrupt_reads(&self) {
        self.interrupts.interrupt();
    }

    /// Ends the store as the end of its process does. Answers with where the file lies.
    ///
    /// # Errors
    /// If SQLite is out of memory.
    pub(crate) fn crash(&self) -> Result<Place, Error> {
        self.readers.close();
        self.writer.crash()?;
        Ok(self.place.clone())
    }

    /// Which process owns the file, as far as that can be known without asking for its lock.
    pub(crate) fn owner(&self) -> Owner {
        inspect::owner(&self.path)
    }

    /// What is known of the file beside its tasks.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn inspect(&self) -> Result<FileReport, Error> {
        let (settings, manner) = (self.settings, self.manner);
        let pragmas = self.alone(|conn| open::read_pragmas_back(conn, &settings, manner))?;
        self.read(|conn| inspect::inspect(conn, &self.path, pragmas))
    }

    /// Makes a new file of an exported one; answers with how many rows it has. What went wrong leaves nothing there.
    ///
    /// # Errors
    /// `InvalidInput` for a file that exists, or a text that is no export; those of the disk.
    pub(crate) fn import(opening: &Opening<'_>, text: &mut dyn std::io::BufRead) -> Result<u64, Error> {
        let path = opening.place.path(opening.network)?;
        let rows = query::backup::make_whole(&path, |half| {
            let store = Store::open(&Opening { place: Place::File(half.to_owned()), ..*opening })?;
            Ok(store.alone(|conn| {
                let tx =
                    rusqlite::Transaction::new_unchecked(conn, rusqlite::TransactionBehavior::Immediate)?;
                let rows = query::export::import(&tx, text, opening.settings.longest)?;
                tx.commit()?;
                Ok(rows)
            })?)
        })?;
        Ok(rows)
    }

    pub(crate) fn file_id(&self) -> &[u8; 16] {
        &self.file_id
    }

    /// What tells this file from the others that this process has open.
    pub(crate) fn file_key(&self) -> FileKey {
        self.identity.key(&self.path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Asks for the right to execute tasks from the file; none if another process (or another queue of this one) has it.
    ///
    /// # Errors
    /// `OwnerFile` if the `-owner` file cannot be what it has to be; those of the disk.
    pub(crate) fn try_own(&self) -> Result<Option<OwnerLock>, Error> {
        OwnerLock::try_acquire(&self.path)
    }

    /// Whether a process owns the file now; none where that cannot be known.
    pub(crate) fn is_owned(&self) -> Option<bool> {
        holder::owner(&identity::beside(&self.path, owner_lock::SUFFIX), Mounts::read().as_ref()).is_owned
    }

    /// Keeps the WAL short beside the commits, as long as it is held.
    pub(crate) fn wal_keeper(&self) -> WalKeeper<'_> {
        WalKeeper::new(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s09_every_limit_of_a_connection_holds() {
        let store = Store::open(&Opening::plain(Place::private().unwrap(), Durability::Full)).unwrap();
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
    fn s20_the_version_that_runs_decides_about_the_wal_reset_bug() {
        for (version, wanted) in [
            (3_037_000, true),
            (3_040_001, true),
            (3_044_005, true),
            (3_044_006, false),
            (3_045_000, true),
            (3_050_006, true),
            (3_050_007, false),
            (3_051_000, true),
            (3_051_002, true),
            (3_051_003, false),
            (3_053_002, false),
        ] {
            assert_eq!(commit::wal_keeper::has_wal_reset_bug(version), wanted, "{version}");
        }
        assert!(
            !cfg!(feature = "bundled") || !commit::wal_keeper::has_wal_reset_bug(rusqlite::version_number())
        );
    }

    #[test]
    fn a_new_limit_does_not_compile_its_statement_again() {
        let store = Store::open(&Opening::plain(Place::private().unwrap(), Durability::Full)).unwrap();
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
}
