//! From settings and handlers to an open queue.

use std::fmt;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::engine::core::{Core, RetentionRule};
use super::engine::open_files;
use super::engine::shared::Shared;
use super::engine::threads::Engine;
use super::handle::Queue;
use crate::clock::{Clock, Guarded, SystemClock};
use crate::config::{Config, Durability};
use crate::error::{Error, ErrorKind};
use crate::executor::install_panic_hook;
use crate::handler::{Context, Failure, Registry};
use crate::retry::{Denylist, RetryPolicy};
use crate::store::{Location, Opening, Settings, SettleRules, Store};
use crate::task::{Task, check_name};

/// Settings and handlers of a queue on its way to be opened. Made by [`Queue::builder`].
#[must_use]
pub struct Builder {
    config: Config,
    registry: Registry,
    denied: Vec<&'static str>,
    queues: Vec<String>,
    read_only: bool,
    clock: Arc<dyn Clock>,
    share: bool,
    share_as_found: bool,
    network: bool,
    vfs: Option<String>,
    panic_hook: bool,
    retention: RetentionRule,
}

impl Builder {
    pub(super) fn new() -> Builder {
        Builder {
            config: Config::default(),
            registry: Registry::default(),
            denied: Vec::new(),
            queues: Vec::new(),
            read_only: false,
            clock: Arc::new(SystemClock::new()),
            share: false,
            share_as_found: false,
            network: false,
            vfs: None,
            panic_hook: false,
            retention: RetentionRule::Config,
        }
    }

    /// Takes every setting from a configuration. Defaults to [`Config::default`].
    pub fn config(mut self, config: Config) -> Builder {
        self.config = config;
        self
    }

    /// Threads that run tasks: 1-1024. Defaults to the number of processors available.
    pub fn workers(mut self, workers: usize) -> Builder {
        self.config.workers = workers;
        self
    }

    /// What an acknowledged write survives. Defaults to [`Durability::Full`].
    pub fn durability(mut self, durability: Durability) -> Builder {
        self.config.durability = durability;
        self
    }

    /// How often to look for news from other processes; zero for never. Defaults to 5 s.
    pub fn poll_interval(mut self, interval: Duration) -> Builder {
        self.config.poll_interval = interval;
        self
    }

    /// How long a write waits for a lock that another connection has, before it fails as [`Busy`](ErrorKind::Busy). Defaults to 10 s.
    pub fn busy_timeout(mut self, timeout: Duration) -> Builder {
        self.config.busy_timeout = timeout;
        self
    }

    /// Keeps `SUCCEEDED` and `CANCELLED` tasks so long while this program executes (none: for good), whatever
    /// [`Config::retention`] and the file say. The file is not told. Defaults to what the configuration says.
    pub fn retention_here(mut self, age: Option<Duration>) -> Builder {
        self.retention = RetentionRule::Here(age);
        self
    }

    /// Deletes by age only what the file says that it does not keep ([`FileReport::retention`](crate::inspect::FileReport::retention)): where no
    /// owner has said so, nothing is deleted. For programs that execute tasks of others. Defaults to what the configuration says.
    pub fn retention_of_file(mut self) -> Builder {
        self.retention = RetentionRule::File;
        self
    }

    /// Runs tasks of type `T` with this function. Each task type takes one handler; a second one is an error of `open`.
    ///
    /// Only a queue with handlers asks for the ownership of the file and executes; without, it enqueues and reads.
    ///
    /// ```
    /// use perdura::{Context, Failure, Queue, Task};
    ///
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct Add(u32, u32);
    /// impl Task for Add {
    ///     const NAME: &'static str = "add";
    ///     type Output = u32;
    /// }
    ///
    /// let add = |Add(a, b): Add, _: &Context| a.checked_add(b).ok_or_else(|| Failure::named("Overflow", "the sum is too large"));
    /// let queue = Queue::builder().handle(add).open_temporary()?;
    /// let id = queue.enqueue(&Add(1, 2))?.id();
    /// assert_eq!(queue.wait_result::<Add>(id, std::time::Duration::from_secs(60))?, 3);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn handle<T, F>(mut self, handler: F) -> Builder
    where
        T: Task,
        F: Fn(T, &Context) -> Result<T::Output, Failure> + Send + Sync + 'static,
    {
        self.registry.add(handler);
        self
    }

    /// Never retries failures made of an error of this type. The same as its name on
    /// [`retry_exception_denylist`](Config::retry_exception_denylist), checked by the compiler.
    pub fn deny<E: std::error::Error>(mut self) -> Builder {
        self.denied.push(std::any::type_name::<E>());
        self
    }

    /// Claims from these queues only; called again, from these too. Defaults to all.
    ///
    /// One process executes tasks from a file at a time, so the tasks of other queues wait until it serves them, or another one does.
    pub fn queues(mut self, queues: impl IntoIterator<Item = impl Into<String>>) -> Builder {
        self.queues.extend(queues.into_iter().map(Into::into));
        self
    }

    /// Only looks: the file must exist, nothing is written to it, and every verb that would is refused as
    /// [`ReadOnly`](ErrorKind::ReadOnly). Defaults to false.
    ///
    /// The file may be in use by other processes. SQLite keeps its bookkeeping of readers in `-shm` all the same. Where no file can be made
    /// beside it (read-only media, somebody else's folder) the file is taken for one that nobody changes, if it has no WAL; if somebody
    /// does, the next look fails as [`FileReplaced`](ErrorKind::FileReplaced). With a WAL and without a `-shm` it cannot be read there.
    pub fn read_only(mut self, on: bool) -> Builder {
        self.read_only = on;
        self
    }

    /// Reads the time here. Defaults to [`SystemClock`]. If it panics, its last answer stands.
    pub fn clock(mut self, clock: impl Clock) -> Builder {
        self.clock = Arc::new(Guarded::new(clock));
        self
    }

    /// Lets the queue live among the program's own tables: the file must exist and be in WAL mode; its permissions and modes stay
    /// as they are. Defaults to false: a file of its own.
    pub fn share(mut self, share: bool) -> Builder {
        self.share = share;
        self
    }

    /// Takes a file that holds perdura's tables and others, too, as with [`share`](Builder::share), and any other file as without it: for
    /// tools that open the files of other programs. Defaults to false: a file with tables of others is refused.
    ///
    /// A database without perdura's tables stays refused.
    pub fn share_as_found(mut self, on: bool) -> Builder {
        self.share_as_found = on;
        self
    }

    /// Takes a file on a network file system, too (NFS, SMB, 9p, FUSE programs that may be a network; recognised on Linux). Defaults to
    /// false: it is refused.
    ///
    /// SQLite's locks may not hold there. It can work if one machine alone uses the file; nothing is promised.
    pub fn allow_network_file_system(mut self, allow: bool) -> Builder {
        self.network = allow;
        self
    }

    /// Opens the file through the SQLite VFS that is registered under this name. Defaults to SQLite's own for the platform.
    ///
    /// For encryption, or to inject faults below SQLite. Durability is then as good as that VFS. It is also asked to sleep while a statement
    /// waits for a lock, for up to 10 s, so [`shutdown`](Queue::shutdown) may take longer than it says while another process holds one.
    pub fn vfs(mut self, name: impl Into<String>) -> Builder {
        self.vfs = Some(name.into());
        self
    }

    /// Whether to keep location and backtrace of panics in handlers, through a panic hook that calls the program's own after it.
    /// It is one for the whole process, and stays. Defaults to false: the message of a panic is kept in any case.
    pub fn panic_hook(mut self, on: bool) -> Builder {
        self.panic_hook = on;
        self
    }

    /// Opens the file, or makes it (readable only by its owner), and starts the threads if there are handlers.
    ///
    /// It never fails because another process owns the file: then this queue enqueues and looks, asks again each `poll_interval`,
    /// and executes once it has won.
    ///
    /// # Errors
    /// [`InvalidConfig`](ErrorKind::InvalidConfig), naming the setting; [`InvalidInput`](ErrorKind::InvalidInput) for a path that
    /// cannot be meant; [`NotPerdura`](ErrorKind::NotPerdura), [`NewerSchema`](ErrorKind::NewerSchema) or
    /// [`Corrupt`](ErrorKind::Corrupt) for a file that it must leave alone;
    /// [`NetworkFileSystem`](ErrorKind::NetworkFileSystem) for a folder that it must not use; [`ReadOnly`](ErrorKind::ReadOnly),
    /// [`DiskFull`](ErrorKind::DiskFull), [`Io`](ErrorKind::Io) from the operating system.
    pub fn open(self, path: impl AsRef<Path>) -> Result<Queue, Error> {
        self.start(Location::File(PathBuf::from(path.as_ref())))
    }

    /// Opens a queue in a private temporary file, which is removed with the last handle.
    ///
    /// # Errors
    /// As [`open`](Builder::open).
    pub fn open_temporary(self) -> Result<Queue, Error> {
        self.start(Location::private()?)
    }

    fn start(self, place: Location) -> Result<Queue, Error> {
        let (core, registry) = self.build(place)?;
        Ok(Queue { engine: Engine::start(core, registry)? })
    }

    /// Keeps no room for a full disk: for files that live as long as a test.
    pub(crate) fn without_reserve(mut self) -> Builder {
        self.config.disk_reserve_bytes = 0;
        self
    }

    /// Opens a queue without threads.
    pub(crate) fn stepped(self, place: Location) -> Result<Queue, Error> {
        let (core, registry) = self.build(place)?;
        Ok(Queue { engine: Engine::without_threads(core, registry) })
    }

    /// Makes a new file of an export ([`Queue::export`]), with the same ids, attempts and keys. Says how many rows it has. The file gets
    /// its name when it is whole; until then it is `path` with `-half` behind.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a file that exists, and for a text that is no export or not a sound one, naming
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
            vfs: self.vfs.as_deref(),
            reserve_bytes: self.config.disk_reserve_bytes,
            now: self.clock.now(),
        }
    }

    fn build(mut self, place: Location) -> Result<(Arc<Core>, Arc<Registry>), Error> {
        if let RetentionRule::Here(age) = self.retention {
            self.config.retention = age;
        }
        self.config.validate()?;
        self.check_handlers()?;
        self.queues.iter().try_for_each(|queue| check_name("queue", queue))?;
        let rules = SettleRules {
            policy: RetryPolicy::from(&self.config),
            denylist: self.denylist()?,
            lost_retry: self.config.lost_retry,
        };
        let store = Store::open(&self.opening(place))?;
        if self.panic_hook && !self.registry.is_empty() {
            install_panic_hook();
        }
        let served = (!self.queues.is_empty()).then_some(self.queues);
        let known = self.registry.names().map(|(name, version)| (name.into(), version)).collect();
        let shared = Arc::new(Shared::new(self.clock, Arc::new(known)));
        open_files::join(store.file_key(), &(shared.clone() as _));
        Ok((
            Arc::new(Core::new(self.config, store, shared, rules, served, self.retention)),
            Arc::new(self.registry),
        ))
    }

    fn check_handlers(&self) -> Result<(), Error> {
        if self.read_only && !self.registry.is_empty() {
            let message = "a queue with handlers executes tasks, and read_only(true) forbids that; leave one of them out";
            return Err(Error::new(ErrorKind::InvalidConfig, message));
        }
        for (name, _) in self.registry.names() {
            check_name("task name", name)?;
        }
        match self.registry.registered_twice() {
            [] => Ok(()),
            [name, ..] => Err(Error::new(
                ErrorKind::InvalidConfig,
                format!(
                    "two handlers for the task name {name:?}; register one, or give one of the task types another NAME"
                ),
            )),
        }
    }

    fn denylist(&self) -> Result<Denylist, Error> {
        let mut denylist = Denylist::default();
        let named = self.config.retry_exception_denylist.iter().map(String::as_str);
        for entry in named.chain(self.denied.iter().copied()) {
            denylist.add(entry).map_err(|bad| {
                Error::new(
                    ErrorKind::InvalidConfig,
                    format!("retry_exception_denylist: the entry {entry:?} {}", bad.0),
                )
            })?;
        }
        Ok(denylist)
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
    /// Begins to set up a queue.
    pub fn builder() -> Builder {
        Builder::new()
    }
}
