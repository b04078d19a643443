//! From settings and handlers to an open queue.

use std::fmt;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::handle::Queue;
use super::outside::{Engines, Poller};
use super::runtime::core::{Core, RetentionRule};
use super::runtime::open_files;
use super::runtime::shared::Shared;
use super::runtime::threads::Runtime;
use super::schedules::Plans;
use crate::clock::{Clock, Guarded, SystemClock};
use crate::config::{Config, Durability};
use crate::error::{Error, ErrorKind};
use crate::executor::install_panic_hook;
use crate::handler::Registry;
use crate::retry::RetryPolicy;
use crate::schedule::Schedule;
#[cfg(feature = "rusqlite")]
use crate::store::OnConnection;
use crate::store::{FreeDisk, Location, Opening, Settings, SettleRules, Store};
use crate::task::{Task, check_name};

/// Settings and handlers of a queue that is about to be opened. Made by [`Queue::builder`].
///
/// ```
/// # use perdura::{Config, Context, Durability, Failure, Queue};
/// # use std::time::Duration;
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
/// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
/// # let send = |_: Mail, _: &Context| Ok::<(), Failure>(());
/// let queue = Queue::builder()
///     .config(Config::default().retention(None)) // first: it sets everything
///     .workers(4)
///     .durability(Durability::Full)
///     .poll_interval(Duration::from_secs(1))
///     .busy_timeout(Duration::from_secs(30))
///     .panic_hook(true)
///     .handle(send)
///     .open_temporary()?;
/// # Ok::<(), perdura::Error>(())
/// ```
#[must_use]
pub struct Builder {
    pub(super) config: Config,
    pub(super) registry: Registry,
    pub(super) denied: Vec<&'static str>,
    queues: Vec<String>,
    read_only: bool,
    leaves_wal: bool,
    clock: Arc<dyn Clock>,
    share: bool,
    share_as_found: bool,
    network: bool,
    vfs: Option<String>,
    panic_hook: bool,
    retention: RetentionRule,
    schedules: Plans,
    pub(super) engines: Engines,
    #[cfg(feature = "rusqlite")]
    pub(super) on_connection: Option<OnConnection>,
}

impl Builder {
    pub(super) fn new() -> Builder {
        Builder {
            config: Config::default(),
            registry: Registry::default(),
            denied: Vec::new(),
            queues: Vec::new(),
            read_only: false,
            leaves_wal: false,
            clock: Arc::new(SystemClock::new()),
            share: false,
            share_as_found: false,
            network: false,
            vfs: None,
            panic_hook: false,
            retention: RetentionRule::Config,
            schedules: Plans::default(),
            engines: Engines::default(),
            #[cfg(feature = "rusqlite")]
            on_connection: None,
        }
    }

    /// Takes every setting from a configuration. Defaults to [`Config::default`]. [`Builder`] has an example.
    ///
    /// Call it first: it replaces what `workers`, `durability`, `poll_interval` and `busy_timeout` have set.
    pub fn config(mut self, config: Config) -> Builder {
        self.config = config;
        self
    }

    /// Sets the number of threads that run tasks: 1-1024. Defaults to the number of processors available. [`Builder`] has an example.
    pub fn workers(mut self, workers: usize) -> Builder {
        self.config.workers = workers;
        self
    }

    /// Sets what an acknowledged write survives. Defaults to [`Durability::Full`]. [`Builder`] has an example.
    pub fn durability(mut self, durability: Durability) -> Builder {
        self.config.durability = durability;
        self
    }

    /// Sets how often the queue looks for writes of other processes: at least 10 ms, or zero for never. Defaults to 5 s. [`Builder`] has an example.
    pub fn poll_interval(mut self, interval: Duration) -> Builder {
        self.config.poll_interval = interval;
        self
    }

    /// Sets how long a write waits for a lock that another connection holds, before it fails as [`Busy`](ErrorKind::Busy): at most 1 h.
    /// Defaults to 10 s. [`Builder`] has an example.
    pub fn busy_timeout(mut self, timeout: Duration) -> Builder {
        self.config.busy_timeout = timeout;
        self
    }

    /// Keeps `SUCCEEDED` and `CANCELLED` tasks for this time while this program executes (none: for good), whatever [`Config::retention`] and
    /// the file say. Nothing of it is written to the file. Defaults to what the configuration says.
    ///
    /// ```
    /// # use perdura::Queue;
    /// let a_day = std::time::Duration::from_secs(24 * 3600);
    /// let queue = Queue::builder().retention_here(Some(a_day)).open_temporary()?;
    /// let tool = Queue::builder().retention_of_file().open_temporary()?; // for files of other programs
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn retention_here(mut self, age: Option<Duration>) -> Builder {
        self.retention = RetentionRule::Here(age);
        self
    }

    /// Deletes by age only as the file says ([`FileReport::retention`](crate::inspect::FileReport::retention)): if no owner has written a
    /// retention to the file, nothing is deleted. Defaults to what the configuration says.
    ///
    /// It is for programs that execute tasks of others. [`retention_here`](Builder::retention_here) has an example.
    pub fn retention_of_file(mut self) -> Builder {
        self.retention = RetentionRule::File;
        self
    }

    /// Declares a schedule: at each of its ticks, a task like this one is made. May be called repeatedly; a second schedule of a name is an
    /// error of `open`.
    ///
    /// Once this program executes, the file has the schedules that it declares. One that is unchanged keeps its ticks, and one that is paused
    /// stays so; a changed one begins anew; one that is not declared any more is [disabled](crate::ScheduleStatus::Disabled). (A program that declares
    /// none leaves all as they are.) [`Schedule`] has an example.
    pub fn schedule<T: Task>(mut self, schedule: Schedule, task: &T) -> Builder {
        self.schedules.add(schedule, task);
        self
    }

    /// Claims tasks from these queues only; may be called repeatedly, and the calls add up. Defaults to all queues.
    ///
    /// One process at a time executes tasks from a file. So the tasks of other queues wait until this process serves them, or another one does.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Options, Queue};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let send = |_: Mail, _: &Context| Ok::<(), Failure>(());
    /// let queue = Queue::builder().handle(send).queues(["mail"]).open_temporary()?;
    /// let mail = queue.enqueue_with(&Mail, Options::new().queue("mail"))?.id();
    /// let other = queue.enqueue_with(&Mail, Options::new().queue("newsletter"))?.id();
    /// queue.drain()?;
    /// assert!(queue.get(mail)?.state.is_finished() && !queue.get(other)?.state.is_finished());
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn queues(mut self, queues: impl IntoIterator<Item = impl Into<String>>) -> Builder {
        self.queues.extend(queues.into_iter().map(Into::into));
        self
    }

    /// Only reads: the file must exist, nothing is written to it, and every call that would write fails as
    /// [`ReadOnly`](ErrorKind::ReadOnly). Defaults to false.
    ///
    /// The file may be in use by other processes. SQLite still keeps its list of readers in `-shm`. Where no file can be made beside it (read-only
    /// media, a folder of another user) and it has no WAL, perdura takes it for a file that nobody changes. If it is changed all the same, the next
    /// read fails as [`FileReplaced`](ErrorKind::FileReplaced). A file with a WAL and without a `-shm` cannot be read there.
    ///
    /// ```
    /// # use perdura::{ErrorKind, Queue};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let queue = Queue::builder().open_temporary()?;
    /// let viewer = Queue::builder().read_only(true).open(queue.path())?;
    /// assert_eq!(viewer.counts()?.total().all(), 0);
    /// assert_eq!(viewer.enqueue(&Mail).unwrap_err().kind(), ErrorKind::ReadOnly);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn read_only(mut self, on: bool) -> Builder {
        self.read_only = on;
        self
    }

    /// Reads the time from this clock. Defaults to [`SystemClock`]. If the clock panics, its last answer stands.
    ///
    /// ```
    /// # use perdura::{Clock, Queue, testing::ManualClock};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// let clock = ManualClock::new(); // a clock that a test moves
    /// let queue = Queue::builder().clock(clock.clone()).open_temporary()?;
    /// let id = queue.enqueue(&Mail)?.id();
    /// assert_eq!(queue.get(id)?.created_at, clock.now());
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn clock(mut self, clock: impl Clock) -> Builder {
        self.clock = Arc::new(Guarded::new(clock));
        self
    }

    /// Lets the queue live among the program's own tables. Defaults to false: a file of its own.
    ///
    /// The file must exist and be in WAL mode (`PRAGMA journal_mode = WAL`). Its permissions and modes stay as they are. `Queue::enqueue_in` (feature
    /// `rusqlite`) makes tasks in a transaction with your own rows.
    ///
    /// ```
    /// # use perdura::Queue;
    /// # let path = std::env::temp_dir().join(format!("perdura-share-{}.db", std::process::id()));
    /// let program = rusqlite::Connection::open(&path)?;
    /// program.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE orders (id INTEGER PRIMARY KEY)")?;
    /// let queue = Queue::builder().share(true).open(&path)?;
    /// let tool = Queue::builder().share_as_found(true).open(&path)?;
    /// assert_eq!(tool.path(), queue.path());
    /// # drop((program, queue, tool));
    /// # for end in ["", "-owner"] { std::fs::remove_file(format!("{}{end}", path.display())).ok(); }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn share(mut self, share: bool) -> Builder {
        self.share = share;
        self
    }

    /// Also takes a file that holds tables of other programs beside perdura's, as with [`share`](Builder::share). Defaults to false: such a
    /// file is refused.
    ///
    /// It is for tools that open the files of other programs. A file that holds perdura's tables alone is treated as without this setting. A
    /// database without perdura's tables is refused in any case. [`share`](Builder::share) has an example.
    pub fn share_as_found(mut self, on: bool) -> Builder {
        self.share_as_found = on;
        self
    }

    /// Leaves a short WAL where it is when the file is closed, so that a process that commits once syncs once. Defaults to false: whoever closes
    /// the file last copies the WAL into it and removes it.
    #[cfg(all(feature = "cli", unix))]
    pub(crate) fn leave_wal(mut self) -> Builder {
        self.leaves_wal = true;
        self
    }

    /// Also takes a file on a network file system: NFS, SMB, 9p, FUSE programs that may be a network (recognised on Linux). Defaults to false:
    /// such a file is refused.
    ///
    /// SQLite's locks may not hold there. It can work if only one machine uses the file; nothing is promised.
    ///
    /// ```
    /// let queue = perdura::Queue::builder().allow_network_file_system(true).open_temporary()?;
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn allow_network_file_system(mut self, allow: bool) -> Builder {
        self.network = allow;
        self
    }

    /// Opens the file through the SQLite VFS that is registered under this name. Defaults to SQLite's own for the platform.
    ///
    /// It is for encryption, or to inject faults below SQLite. Durability is then only as good as that VFS. The VFS is also asked to sleep while
    /// a statement waits for a lock, for up to 10 s; so [`shutdown`](Queue::shutdown) may take longer than its grace while another process holds
    /// a lock.
    ///
    /// ```
    /// # use perdura::Queue;
    /// # if cfg!(unix) {
    /// let queue = Queue::builder().vfs("unix").open_temporary()?; // SQLite's own on Unix
    /// # }
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn vfs(mut self, name: impl Into<String>) -> Builder {
        self.vfs = Some(name.into());
        self
    }

    /// Keeps location and backtrace of panics in handlers. Defaults to false: only the message of a panic is kept.
    ///
    /// It sets a panic hook that calls the program's own hook after it. The hook is for the whole process, and stays. [`Builder`] has an example.
    pub fn panic_hook(mut self, on: bool) -> Builder {
        self.panic_hook = on;
        self
    }

    /// Opens the file, or makes it (readable only by its owner), and starts the threads if there are handlers.
    ///
    /// It never fails because another process owns the file. Then this queue enqueues and reads, asks for the ownership at each `poll_interval`,
    /// and executes once it has it.
    ///
    /// ```
    /// # use perdura::Queue;
    /// # let path = std::env::temp_dir().join(format!("perdura-open-{}.db", std::process::id()));
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// let queue = Queue::builder().open(&path)?;
    /// let id = queue.enqueue(&Mail)?.id();
    /// drop(queue);
    /// assert_eq!(Queue::builder().open(&path)?.get(id)?.task_id, id);
    /// # for end in ["", "-owner"] { std::fs::remove_file(format!("{}{end}", path.display())).ok(); }
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidConfig`](ErrorKind::InvalidConfig), naming the setting; [`InvalidInput`](ErrorKind::InvalidInput) for a path that
    /// cannot be a queue's; [`NotPerdura`](ErrorKind::NotPerdura), [`NewerSchema`](ErrorKind::NewerSchema) or
    /// [`Corrupt`](ErrorKind::Corrupt) for a file that it must leave alone;
    /// [`NotFound`](ErrorKind::NotFound) with [`read_only`](Builder::read_only) or [`share`](Builder::share), if there is no file;
    /// [`NetworkFileSystem`](ErrorKind::NetworkFileSystem) for a folder that it must not use; [`ReadOnly`](ErrorKind::ReadOnly),
    /// [`DiskFull`](ErrorKind::DiskFull), [`Io`](ErrorKind::Io) from the operating system.
    pub fn open(self, path: impl AsRef<Path>) -> Result<Queue, Error> {
        self.start(Location::File(PathBuf::from(path.as_ref())))
    }

    /// Opens a queue in a private temporary file, which is removed when the last clone of the queue is dropped.
    ///
    /// ```
    /// let queue = perdura::Queue::builder().open_temporary()?;
    /// assert_eq!(queue.counts()?.total().all(), 0);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`open`](Builder::open).
    pub fn open_temporary(self) -> Result<Queue, Error> {
        self.start(Location::private()?)
    }

    fn start(self, place: Location) -> Result<Queue, Error> {
        let (core, registry, engines) = self.build(place)?;
        let pollers = engines.pollers(&core, &registry);
        let queue = Queue { runtime: Runtime::start(core, registry)? };
        pollers.into_iter().try_for_each(Poller::spawn)?;
        Ok(queue)
    }

    /// Keeps no room for a full disk: for files that live as long as a test.
    pub(crate) fn without_reserve(mut self) -> Builder {
        self.config.disk_reserve_bytes = 0;
        self
    }

    /// Opens a queue without threads.
    pub(crate) fn stepped(self, place: Location) -> Result<(Queue, Vec<Poller>), Error> {
        let (core, registry, engines) = self.build(place)?;
        let pollers = engines.pollers(&core, &registry);
        Ok((Queue { runtime: Runtime::without_threads(core, registry) }, pollers))
    }

    /// Makes a new file from an export ([`Queue::export`], where there is an example), with the same ids, attempts and keys. It says how many
    /// rows the file has. Until the file is whole, its name is `path` with `-half` at the end.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a path that exists, and for a text that is not an export or not a sound one, naming
    /// the line; otherwise as [`open`](Builder::open). No file is left then.
    pub fn import(self, path: impl AsRef<Path>, mut text: impl BufRead) -> Result<u64, Error> {
        self.config.validate()?;
        let place = Location::File(PathBuf::from(path.as_ref()));
        Store::import(&self.opening(place), &mut text)
    }

    fn opening(&self, place: Location) -> Opening<'_> {
        Opening {
            place,
            settings: Settings {
                durability: self.config.durability,
                secure_delete: self.config.secure_delete,
                longest: self.config.longest_value(),
                busy_timeout: self.config.busy_timeout,
            },
            network: self.network,
            share: self.share,
            share_as_found: self.share_as_found,
            read_only: self.read_only,
            leaves_wal: self.leaves_wal,
            vfs: self.vfs.as_deref(),
            reserve_bytes: self.config.disk_reserve_bytes,
            now: self.clock.now(),
            #[cfg(feature = "rusqlite")]
            on_connection: self.on_connection.clone(),
        }
    }

    fn build(mut self, place: Location) -> Result<(Arc<Core>, Arc<Registry>, Engines), Error> {
        if let RetentionRule::Here(age) = self.retention {
            self.config.retention = age;
        }
        self.config.validate()?;
        self.check_handlers()?;
        self.engines.check()?;
        self.schedules.place(&self.engines.lanes())?;
        self.queues.iter().try_for_each(|queue| check_name("queue", queue))?;
        let rules = SettleRules {
            policy: RetryPolicy::from(&self.config),
            denylist: self.denylist()?,
            lost_retry: self.config.lost_retry,
        };
        self.schedules.check(&self.config, !self.registry.is_empty(), self.clock.now())?;
        let store = Store::open(&self.opening(place))?;
        let declared = self.schedules.declare(&self.config, store.file_id(), self.clock.now())?;
        if self.panic_hook && !self.registry.is_empty() {
            install_panic_hook();
        }
        let served = (!self.queues.is_empty()).then_some(self.queues);
        let known = self.registry.names().map(|(name, version)| (name.into(), version)).collect();
        let shared = Arc::new(Shared::new(self.clock, Arc::new(known)));
        let _ = shared.free_disk.set(FreeDisk::of(store.path()));
        open_files::join(store.file_key(), &(shared.clone() as _));
        let core = Core::new(self.config, store, shared, rules, served, declared, self.retention);
        let _ = core.lanes.set(self.engines.lanes());
        Ok((Arc::new(core), Arc::new(self.registry), self.engines))
    }

    fn check_handlers(&self) -> Result<(), Error> {
        if self.read_only && !self.registry.is_empty() {
            let message = "a queue with handlers executes tasks, and read_only(true) forbids that; leave one of them out";
            return Err(Error::new(ErrorKind::InvalidConfig, message));
        }
        self.registry.check()
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut handled: Vec<&str> = self.registry.names().map(|(name, _)| name).collect();
        handled.sort_unstable();
        f.debug_struct("Builder")
            .field("config", &self.config)
            .field("handled", &handled)
            .finish_non_exhaustive()
    }
}

impl Queue {
    /// Begins to set up a queue. [`Builder`] has an example.
    pub fn builder() -> Builder {
        Builder::new()
    }
}
