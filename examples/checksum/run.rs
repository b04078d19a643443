//! From the command line to the manifest.

use std::collections::HashMap;
use std::error::Error;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use perdura::{Config, Filter, Queue, State, Task, TaskRecord};

use crate::args::{self, Args, Asked};
use crate::job::{self, Checksum, Name, Sum};
use crate::manifest;
use crate::meter::{Bar, Meter, say, size};
use crate::tree::{self, FoundFile, Tree};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Tasks that are enqueued, or listed, at a time.
const BATCH: usize = 1000;

/// How often to look how far the workers are.
const LOOK_EACH: Duration = Duration::from_millis(50);

/// A process that was just killed may hold its file a little longer.
const OWNER_PATIENCE: Duration = Duration::from_secs(2);

pub fn main() -> ExitCode {
    if log::set_logger(&Warnings).is_ok() {
        log::set_max_level(log::LevelFilter::Warn);
    }
    let outcome = match args::parse(std::env::args_os().skip(1)) {
        Ok(Asked::Manifest(args)) => make_manifest(&args),
        Ok(Asked::Help) => stdout().write_all(args::HELP.as_bytes()).map(|()| 0).map_err(Into::into),
        Err(problem) => Err(format!("{problem}; see --help").into()),
    };
    match outcome {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(1),
        Err(e) => {
            say(format_args!("{e}"));
            ExitCode::from(2)
        }
    }
}

/// Shows the queue's warnings: of a full disk, say, for whose end it waits.
struct Warnings;

impl log::Log for Warnings {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            say(*record.args());
        }
    }

    fn flush(&self) {}
}

/// Does the whole job; says how many files failed.
fn make_manifest(args: &Args) -> Result<usize> {
    let root = existing_directory(&args.dir)?;
    let meter = Meter::default();
    let queue = open_queue(args, &root, &meter)?;
    let tree = tree::walk(&root);
    let kept = enqueue_what_is_missing(&queue, &tree, &meter)?;
    let bytes = tree.files.iter().map(|file| file.stamp.size).sum();
    finish_tasks(&queue, Bar::new(&meter, tree.files.len() as u64, bytes))?;
    let Outcome { sums, failures } = collect(&queue, &tree)?;
    write_manifest(&args.dir, &root, &sums).map_err(|e| {
        format!(
            "the manifest cannot be written: {e}; run it again, the checksums are kept in {:?}",
            queue.path()
        )
    })?;
    say(format_args!("{} files, {}; {kept} of them known from an earlier run", sums.len(), size(bytes)));
    if failures.is_empty() {
        remove_state(queue)?;
    } else {
        say(format_args!("{} failed; run it again to try them again:", failures.len()));
        failures.iter().for_each(|failure| say(format_args!("  {failure}")));
    }
    Ok(failures.len())
}

fn existing_directory(dir: &Path) -> Result<PathBuf> {
    let root = dir.canonicalize().map_err(|e| format!("{dir:?} cannot be opened: {e}"))?;
    match root.is_dir() {
        true => Ok(root),
        false => Err(format!("{dir:?} is not a directory; for a single file use sha256sum").into()),
    }
}

/// Opens the queue and waits until it executes.
fn open_queue(args: &Args, root: &Path, meter: &Meter) -> Result<Queue> {
    let db = match &args.db {
        Some(db) => db.clone(),
        None => beside(root)
            .ok_or("the state cannot be kept beside the root directory; say where with --db FILE")?,
    };
    let folder = db.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if folder.canonicalize().is_ok_and(|folder| folder.starts_with(root)) {
        return Err(
            format!("{db:?} lies in the directory itself; keep the state elsewhere with --db FILE").into()
        );
    }
    // Results stay until the manifest is written, however long that takes.
    let config = Config::default().workers(args.workers).retention(None).poll_interval(LOOK_EACH);
    let meter = meter.clone();
    let builder =
        Queue::builder().config(config).handle(move |task: Checksum, cx| job::checksum(&task, cx, &meter));
    let queue = builder.open(&db).map_err(|e| match args.db {
        Some(_) => e.to_string(),
        None => format!("{e}; with --db FILE the state is kept elsewhere"),
    })?;
    await_ownership(&queue)?;
    refuse_foreign_tasks(&queue, root)?;
    Ok(queue)
}

fn beside(root: &Path) -> Option<PathBuf> {
    let mut name = root.file_name()?.to_owned();
    name.push(".perdura.db");
    Some(root.with_file_name(name))
}

fn await_ownership(queue: &Queue) -> Result<()> {
    let patience = Instant::now() + OWNER_PATIENCE;
    while !queue.executes() {
        if Instant::now() >= patience {
            return Err(
                format!("another process is at work on {:?}; wait for it, or end it", queue.path()).into()
            );
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// The state is removed in the end, so it must be ours, and about this directory.
fn refuse_foreign_tasks(queue: &Queue, root: &Path) -> Result<()> {
    let first = queue.tasks(Filter::new().task_name(Checksum::NAME).limit(1))?;
    if let Some(task) = first.first() {
        let task: Checksum = serde_json::from_str(&queue.args_json(task.task_id)?)?;
        if !task.path.to_path().starts_with(root) {
            return Err(
                format!("{:?} holds the state of another directory than {root:?}", queue.path()).into()
            );
        }
    } else if queue.counts()?.total().all() > 0 {
        return Err(format!("{:?} holds the tasks of another program", queue.path()).into());
    }
    Ok(())
}

/// Sees to it that each file has a task that is live, or that succeeded with the file as it is. Says how many did before.
fn enqueue_what_is_missing(queue: &Queue, tree: &Tree, meter: &Meter) -> Result<usize> {
    let known = newest_tasks(queue)?;
    let (mut missing, mut kept) = (Vec::new(), 0);
    for file in &tree.files {
        match known.get(&job::key(&file.path)) {
            Some(task) if !task.state.is_finished() => {}
            Some(task) if matches!(task.state, State::Failed | State::Lost) => queue.retry(task.task_id)?,
            Some(task) if is_current(queue, task, file)? => {
                meter.add(file.stamp.size);
                kept += 1;
            }
            _ => missing.push(Checksum { path: Name::of(&file.path) }),
        }
    }
    for batch in missing.chunks(BATCH) {
        queue.enqueue_all(batch)?;
    }
    Ok(kept)
}

/// The newest task of each file, by its key.
fn newest_tasks(queue: &Queue) -> Result<HashMap<String, TaskRecord>> {
    let mut newest = HashMap::new();
    let mut page = queue.tasks(Filter::new().limit(BATCH))?;
    while let Some(last) = page.last() {
        let next = Filter::new().limit(BATCH).after_id(last.task_id);
        newest.extend(page.into_iter().filter_map(|task| Some((task.tag.clone()?, task))));
        page = queue.tasks(next)?;
    }
    Ok(newest)
}

fn is_current(queue: &Queue, task: &TaskRecord, file: &FoundFile) -> Result<bool> {
    if task.state != State::Succeeded {
        return Ok(false);
    }
    Ok(queue.result::<Checksum>(task.task_id)?.is_some_and(|sum| sum.stamp == file.stamp))
}

/// Waits for all tasks, those included that wait to be tried again (which `drain` would not).
fn finish_tasks(queue: &Queue, mut bar: Bar) -> Result<()> {
    loop {
        let counts = queue.counts()?.total();
        let left = counts.queued() + counts.running;
        if left == 0 {
            return Ok(());
        }
        if !queue.executes() {
            return Err(format!("another process has taken over {:?}", queue.path()).into());
        }
        bar.show(left);
        thread::sleep(LOOK_EACH);
    }
}

/// What became of the files. Those that vanished are in neither list.
struct Outcome<'t> {
    /// In the order of the paths.
    sums: Vec<(&'t Path, Sum)>,
    failures: Vec<String>,
}

fn collect<'t>(queue: &Queue, tree: &'t Tree) -> Result<Outcome<'t>> {
    let tasks = newest_tasks(queue)?;
    let unreadable =
        |(dir, e): &(PathBuf, io::Error)| format!("{dir:?}: {}: {e}", std::any::type_name_of_val(e));
    let mut failures: Vec<String> = tree.unreadable.iter().map(unreadable).collect();
    let mut sums = Vec::with_capacity(tree.files.len());
    for FoundFile { path, .. } in &tree.files {
        let task =
            tasks.get(&job::key(path)).ok_or_else(|| format!("the task of {path:?} has disappeared"))?;
        match task.state {
            State::Succeeded => {
                sums.extend(queue.result::<Checksum>(task.task_id)?.map(|sum| (path.as_path(), sum)))
            }
            _ if tree::has_vanished(path) => {}
            _ => failures.push(failure(path, task)),
        }
    }
    Ok(Outcome { sums, failures })
}

fn failure(path: &Path, task: &TaskRecord) -> String {
    let error_type = task.error_type.as_deref().unwrap_or(task.state.as_str());
    let message = task.error_message.as_deref().unwrap_or("no message");
    format!("{path:?}: {error_type}: {message} (attempts: {})", task.attempt_number)
}

/// Writes the manifest with paths as the user would type them.
fn write_manifest(dir: &Path, root: &Path, sums: &[(&Path, Sum)]) -> io::Result<()> {
    let mut out = BufWriter::new(stdout().lock());
    for (path, sum) in sums {
        let below = path.strip_prefix(root).unwrap_or(path); // the walk began at the root
        manifest::write_line(&mut out, &sum.sha256, dir.join(below).as_os_str())?;
    }
    out.flush()
}

/// Removes the state, which has served its purpose; unless another process has begun to use it.
fn remove_state(queue: Queue) -> Result<()> {
    let file = |suffix: &str| {
        let mut name = OsString::from(queue.path());
        name.push(suffix);
        PathBuf::from(name)
    };
    let (files, owner) = (["", "-wal", "-shm", "-owner"].map(file), file("-owner"));
    queue.shutdown(Duration::from_secs(10))?;
    drop(queue);
    let owner = File::open(owner)?;
    if owner.try_lock().is_err() {
        return Ok(());
    }
    for file in files {
        match fs::remove_file(&file) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(format!("the manifest is complete, but {file:?} cannot be removed: {e}").into());
            }
            _ => {}
        }
    }
    Ok(())
}
