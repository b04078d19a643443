//! Runs attempts: [`run`] runs one, [`Executor`] is the pool of worker threads.
//!
//! Claims come in through a channel, outcomes go out through the port. No connection is held while a handler runs, and a panic ends
//! an attempt, never a worker. It knows nothing of SQL.

use std::any::Any;
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::{Arc, Once};
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::handler::{Context, Control, Finished, Port, Registry, Start};
use crate::logging::{drop_quietly, panic_text, survive, tell};
use crate::planted::planted;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::thread::{self, JoinHandle};
use crate::sync::{Mutex, Receiver, lock};
use crate::task::{Claimed, ErrorReport, Verdict};

/// An order to a worker.
pub(crate) enum WorkerOrder {
    Run(Assignment),
    /// The worker ends.
    Leave(Dismissal),
}

/// Tells one worker to end. Counted in `unheard` until a worker has received it.
pub(crate) struct Dismissal(Arc<AtomicUsize>);

impl Dismissal {
    pub(crate) fn new(unheard: &Arc<AtomicUsize>) -> Dismissal {
        unheard.fetch_add(1, Ordering::AcqRel);
        Dismissal(unheard.clone())
    }
}

impl Drop for Dismissal {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// An attempt on its way to a worker.
pub(crate) struct Assignment {
    pub claimed: Claimed,
    pub control: Arc<Control>,
}

impl Assignment {
    /// Hands back an attempt that no worker has started: the attempt does not count.
    pub(crate) fn hand_back(self) -> Finished {
        self.unstarted(Start::Never)
    }

    fn unstarted(self, start: Start) -> Finished {
        let settlement = self.control.settlement(&self.claimed, Verdict::Unstarted, Duration::ZERO);
        Finished { settlement, start }
    }
}

/// Runs one attempt on this thread, from its start note to its outcome.
pub(crate) fn run(job: Assignment, registry: &Registry, port: &Arc<dyn Port>) -> Finished {
    let note = match port.starting(&job.claimed) {
        Ok(note) => note,
        Err(e) => {
            tell!(Error, "task {} was not started: {e}", job.claimed.task_id);
            return job.unstarted(Start::Failed);
        }
    };
    let Assignment { mut claimed, control } = job;
    let args = std::mem::take(&mut claimed.args);
    let cx =
        Context { claimed, control, port: port.clone(), began: port.monotonic(), steps: Mutex::default() };
    cx.begin();
    let verdict = catch_unwind(AssertUnwindSafe(|| {
        let _capture = Capture::begin();
        registry.run(&args, &cx)
    }));
    let verdict = verdict.unwrap_or_else(|payload| match planted("g13-a-panic-ends-the-worker") {
        true => std::panic::resume_unwind(payload),
        false => panicked(payload),
    });
    Finished { settlement: cx.settlement(after_commit(&cx, verdict)), start: Start::Noted(note) }
}

/// The verdict of an attempt: `Committed` if its handler committed the end itself, however it
/// returned after that.
fn after_commit(cx: &Context, verdict: Verdict) -> Verdict {
    if !cx.control.committed.load(Ordering::Acquire) {
        return verdict;
    }
    if !matches!(verdict, Verdict::Succeeded { .. }) {
        tell!(
            Warn,
            "task {} has succeeded with its own commit; how its handler ended after that changes nothing",
            cx.claimed.task_id
        );
    }
    Verdict::Committed
}

/// The verdict of an attempt whose handler panicked.
fn panicked(payload: Box<dyn Any + Send>) -> Verdict {
    let message = panic_text(&*payload).to_owned();
    drop_quietly(payload);
    let traceback = CAPTURED.take().unwrap_or_default();
    let error = ErrorReport::new("Panic", &message, &traceback);
    Verdict::Failed { error, permanent: false, timed_out: false, retry_after: None }
}

thread_local! {
    static CAPTURING: Cell<bool> = const { Cell::new(false) };
    static CAPTURED: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// While this value exists, the panic hook stores location and backtrace of a panic on this thread.
struct Capture;

impl Capture {
    fn begin() -> Capture {
        CAPTURED.take();
        CAPTURING.set(true);
        Capture
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        CAPTURING.set(false);
    }
}

/// Installs a panic hook, once for the process and for good: it stores location and backtrace of
/// panics in handlers, and then calls the hook that was there before.
pub(crate) fn install_panic_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let chained = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            capture(info);
            chained(info);
        }));
    });
}

fn capture(info: &PanicHookInfo<'_>) {
    if CAPTURING.get() {
        let location = info.location().map_or_else(String::new, |l| format!("panicked at {l}\n"));
        CAPTURED.set(Some(format!("{location}{}", Backtrace::force_capture())));
    }
}

/// The worker threads.
pub(crate) struct Executor {
    orders: Receiver<WorkerOrder>,
    registry: Arc<Registry>,
    port: Arc<dyn Port>,
    threads: Mutex<Vec<(usize, JoinHandle<()>)>>,
}

impl Executor {
    /// Starts `workers` threads that take orders from `orders` until its senders are gone.
    pub(crate) fn start(
        workers: usize,
        orders: Receiver<WorkerOrder>,
        registry: Arc<Registry>,
        port: Arc<dyn Port>,
    ) -> Result<Executor, Error> {
        let executor = Executor { orders, registry, port, threads: Mutex::default() };
        for _ in 0..workers {
            executor.add_worker()?;
        }
        Ok(executor)
    }

    /// Starts one more worker.
    pub(crate) fn add_worker(&self) -> Result<(), Error> {
        let mut threads = lock(&self.threads);
        threads.retain(|(_, thread)| !thread.is_finished());
        let (orders, registry, port) = (self.orders.clone(), self.registry.clone(), self.port.clone());
        let number = (1..).find(|n| threads.iter().all(|(taken, _)| taken != n)).unwrap_or(0);
        let builder = thread::Builder::new().name(format!("perdura-worker-{number}"));
        let thread = builder.spawn(move || work(&orders, &registry, &port)).map_err(|e| {
            Error::new(ErrorKind::Io, "a worker thread cannot be started; is the limit of threads reached?")
                .with_source(e)
        })?;
        threads.push((number, thread));
        Ok(())
    }

    /// Joins all workers if nothing runs any more, else those that have ended; the others are
    /// detached. The senders of orders must be gone.
    pub(crate) fn join(&self, nothing_runs: bool) {
        let mut threads = lock(&self.threads);
        for (_, thread) in threads.drain(..).filter(|(_, thread)| nothing_runs || thread.is_finished()) {
            let _ = thread.join();
        }
    }
}

/// The loop of a worker.
fn work(orders: &Receiver<WorkerOrder>, registry: &Registry, port: &Arc<dyn Port>) {
    for order in orders {
        let job = match order {
            WorkerOrder::Run(job) => job,
            WorkerOrder::Leave(heard) => return drop(heard),
        };
        let (control, id, generation) = (job.control.clone(), job.claimed.task_id, job.claimed.generation);
        let delivered = survive("a worker", || {
            let finished = run(job, registry, port);
            control.phase.finish();
            port.finished(finished);
        });
        let is_replaced = !control.phase.finish();
        if delivered.is_none() {
            port.missed(id, generation);
        }
        if is_replaced {
            return;
        }
    }
}
