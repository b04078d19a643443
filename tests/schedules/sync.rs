//! The `sync` on which the crate's files are compiled here: the same names as in `src/sync.rs`, over shuttle's threads, which run one at
//! a time in an order that the scheduler decides, and over a time that stands still until a test lets it pass.
//!
//! So a sleep ends only by a wake-up, or because a test has let so much time pass. A wake-up that is lost leaves its thread
//! asleep; if then nobody can run any more, shuttle reports a deadlock. Nothing wakes for no reason. Memory is sequentially
//! consistent: what a weaker order of atomics would allow is not tried.

use std::cell::Cell;
use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use shuttle::rand::{Rng, thread_rng};
use shuttle::sync as raw;

pub use shuttle::sync::atomic;

// ---- Time, and everybody's sleep ----

shuttle::lazy_static! {
    static ref WORLD: World = World { state: raw::Mutex::new(State::default()), news: raw::Condvar::new() };
}

struct World {
    state: raw::Mutex<State>,
    news: raw::Condvar,
}

#[derive(Default)]
struct State {
    now: Duration,
    /// Threads that have fallen asleep since anything was told, and so sleep until something else is.
    sleepers: usize,
    /// Threads beside the test's own.
    alive: usize,
}

fn world() -> raw::MutexGuard<'static, State> {
    WORLD.state.lock().unwrap_or_else(|poison| poison.into_inner())
}

/// The time that has passed.
pub fn now() -> Duration {
    world().now
}

/// Lets time pass.
pub fn pass(time: Duration) {
    tell(|state| state.now += time);
}

/// Waits until all threads but this one sleep: nothing happens any more unless time passes.
pub fn await_stillness() {
    while {
        let state = world();
        state.sleepers < state.alive
    } {
        thread::yield_now();
    }
}

/// Waits until so many threads sleep.
pub fn await_sleepers(threads: usize) {
    while world().sleepers < threads {
        thread::yield_now();
    }
}

/// Changes what sleepers look at, and lets them look.
fn tell<R>(change: impl FnOnce(&mut State) -> R) -> R {
    let mut state = world();
    let changed = change(&mut state);
    state.sleepers = 0;
    WORLD.news.notify_all();
    changed
}

/// Sleeps until there is something, at most `timeout`. What `release` lets go of is let go in one step with falling asleep.
fn sleep<R>(
    timeout: Option<Duration>,
    release: impl FnOnce(),
    mut look: impl FnMut() -> Option<R>,
) -> Option<R> {
    let mut state = world();
    release();
    let until = timeout.map(|timeout| state.now.saturating_add(timeout));
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if until.is_some_and(|until| until <= state.now) {
            return None;
        }
        state.sleepers += 1;
        state = WORLD.news.wait(state).unwrap_or_else(|poison| poison.into_inner());
    }
}

// ---- Threads ----

pub mod thread {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    pub use shuttle::thread::yield_now;

    /// Sleeps until so much time has been let pass.
    pub fn sleep(time: Duration) {
        super::sleep(Some(time), || (), || None::<()>);
    }

    pub fn spawn<R: Send + 'static>(life: impl FnOnce() -> R + Send + 'static) -> JoinHandle<R> {
        Builder::new().spawn(life).expect("shuttle has threads")
    }

    pub struct Builder(shuttle::thread::Builder);

    impl Builder {
        pub fn new() -> Builder {
            Builder(shuttle::thread::Builder::new())
        }

        pub fn name(self, name: String) -> Builder {
            Builder(self.0.name(name))
        }

        pub fn spawn<R: Send + 'static>(
            self,
            life: impl FnOnce() -> R + Send + 'static,
        ) -> std::io::Result<JoinHandle<R>> {
            let ended = Arc::new(AtomicBool::new(false));
            let tell = ended.clone();
            super::world().alive += 1;
            let thread = self.0.spawn(move || {
                let result = life();
                super::world().alive -= 1;
                tell.store(true, Ordering::SeqCst);
                result
            })?;
            Ok(JoinHandle { thread, ended })
        }
    }

    pub struct JoinHandle<R> {
        thread: shuttle::thread::JoinHandle<R>,
        ended: Arc<AtomicBool>,
    }

    impl<R> JoinHandle<R> {
        pub fn is_finished(&self) -> bool {
            self.ended.load(Ordering::SeqCst)
        }

        pub fn join(self) -> std::thread::Result<R> {
            self.thread.join()
        }
    }
}

// ---- Locks ----

#[derive(Default)]
pub struct Mutex<T>(raw::Mutex<T>);

pub struct MutexGuard<'m, T> {
    mutex: &'m Mutex<T>,
    guard: raw::MutexGuard<'m, T>,
}

impl<T> Mutex<T> {
    pub const fn new(value: T) -> Mutex<T> {
        Mutex(raw::Mutex::new(value))
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    MutexGuard { mutex, guard: mutex.0.lock().unwrap_or_else(|poison| poison.into_inner()) }
}

/// Whoever waits has a ticket, and is woken by it alone: one notice wakes one of those who waited then, and no newcomer.
#[derive(Default)]
pub struct Condvar(std::sync::Mutex<Tickets>);

#[derive(Default)]
struct Tickets {
    next: u64,
    waiting: Vec<u64>,
}

impl Condvar {
    pub fn new() -> Condvar {
        Condvar::default()
    }

    fn tickets(&self) -> std::sync::MutexGuard<'_, Tickets> {
        self.0.lock().unwrap_or_else(|poison| poison.into_inner())
    }

    pub fn notify_one(&self) {
        let random = thread_rng().r#gen::<usize>();
        tell(|_| {
            let waiting = &mut self.tickets().waiting;
            let n = waiting.len();
            (n > 0).then(|| waiting.swap_remove(random % n))
        });
    }

    pub fn notify_all(&self) {
        tell(|_| self.tickets().waiting.clear());
    }
}

fn wait_until_told<'m, T>(
    told: &Condvar,
    guard: MutexGuard<'m, T>,
    timeout: Option<Duration>,
) -> MutexGuard<'m, T> {
    let MutexGuard { mutex, guard } = guard;
    let ticket = Cell::new(0);
    let take_ticket_and_let_go = || {
        let mut tickets = told.tickets();
        tickets.next += 1;
        ticket.set(tickets.next);
        tickets.waiting.push(ticket.get());
        drop(tickets);
        drop(guard);
    };
    sleep(timeout, take_ticket_and_let_go, || {
        (!told.tickets().waiting.contains(&ticket.get())).then_some(())
    });
    told.tickets().waiting.retain(|other| *other != ticket.get());
    lock(mutex)
}

pub fn wait<'m, T>(told: &Condvar, guard: MutexGuard<'m, T>) -> MutexGuard<'m, T> {
    wait_until_told(told, guard, None)
}

pub fn wait_for<'m, T>(told: &Condvar, guard: MutexGuard<'m, T>, timeout: Duration) -> MutexGuard<'m, T> {
    wait_until_told(told, guard, Some(timeout))
}

pub fn wait_while_for<'m, T>(
    told: &Condvar,
    mut guard: MutexGuard<'m, T>,
    timeout: Duration,
    mut holds: impl FnMut(&mut T) -> bool,
) -> MutexGuard<'m, T> {
    let until = now().saturating_add(timeout);
    while holds(&mut guard) {
        let left = until.saturating_sub(now());
        if left.is_zero() {
            break;
        }
        guard = wait_for(told, guard, left);
    }
    guard
}

// ---- Channels ----

pub struct Sender<T>(Arc<Channel<T>>);
pub struct Receiver<T>(Arc<Channel<T>>);

struct Channel<T> {
    /// Items that it holds at most.
    bound: usize,
    inside: std::sync::Mutex<Inside<T>>,
}

struct Inside<T> {
    items: VecDeque<T>,
    senders: usize,
    receivers: usize,
}

impl<T> Channel<T> {
    fn inside(&self) -> std::sync::MutexGuard<'_, Inside<T>> {
        self.inside.lock().unwrap_or_else(|poison| poison.into_inner())
    }

    /// The next item, or that there will be none.
    fn next(&self) -> Option<Result<T, Closed>> {
        let mut inside = self.inside();
        let item = inside.items.pop_front().map(Ok);
        item.or_else(|| (inside.senders == 0).then_some(Err(Closed)))
    }
}

pub fn bounded<T>(bound: usize) -> (Sender<T>, Receiver<T>) {
    let inside = Inside { items: VecDeque::new(), senders: 1, receivers: 1 };
    let channel = Arc::new(Channel { bound, inside: std::sync::Mutex::new(inside) });
    (Sender(channel.clone()), Receiver(channel))
}

pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    bounded(usize::MAX)
}

/// Nobody is at the other end.
#[derive(Debug)]
pub struct Closed;

/// An item that cannot be sent.
pub struct SendError<T>(pub T);

impl<T> Sender<T> {
    /// Sends an item. The crate uses it only where there is room.
    pub fn send(&self, item: T) -> Result<(), SendError<T>> {
        let sent = self.try_send(item);
        assert!(sent.is_ok() || self.0.inside().receivers == 0, "this send would sleep");
        sent
    }

    pub fn try_send(&self, item: T) -> Result<(), SendError<T>> {
        tell(|_| {
            let mut inside = self.0.inside();
            if inside.receivers == 0 || inside.items.len() >= self.0.bound {
                return Err(SendError(item));
            }
            inside.items.push_back(item);
            Ok(())
        })
    }
}

impl<T> Receiver<T> {
    pub fn recv(&self) -> Result<T, Closed> {
        sleep(None, || (), || self.0.next()).unwrap_or(Err(Closed))
    }

    pub fn try_recv(&self) -> Result<T, Closed> {
        tell(|_| self.0.next()).unwrap_or(Err(Closed))
    }

    pub fn try_iter(&self) -> impl Iterator<Item = T> {
        std::iter::from_fn(|| self.try_recv().ok())
    }

    pub fn len(&self) -> usize {
        tell(|_| self.0.inside().items.len())
    }
}

impl<'r, T> IntoIterator for &'r Receiver<T> {
    type Item = T;
    type IntoIter = Box<dyn Iterator<Item = T> + 'r>;
    fn into_iter(self) -> Self::IntoIter {
        Box::new(std::iter::from_fn(|| self.recv().ok()))
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.0.inside().senders += 1;
        Sender(self.0.clone())
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Receiver<T> {
        self.0.inside().receivers += 1;
        Receiver(self.0.clone())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            tell(|_| self.0.inside().senders -= 1);
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.0.inside().receivers -= 1;
    }
}

pub enum Heard<T> {
    Item(T),
    None,
    End,
}

/// Of two things that are there at once it takes either.
pub fn next_of<T>(items: &Receiver<T>, bell: &Receiver<()>, timeout: Duration) -> Heard<T> {
    let bell_first = thread_rng().r#gen::<bool>();
    let rings = || matches!(bell.0.next(), Some(Ok(()))).then_some(Heard::None);
    let news = sleep(
        Some(timeout),
        || (),
        || {
            let first = if bell_first { rings() } else { None };
            let item = || items.0.next().map(|item| item.map_or(Heard::End, Heard::Item));
            first.or_else(item).or_else(rings)
        },
    );
    news.unwrap_or(Heard::None)
}

pub fn hear(bell: &Receiver<()>, timeout: Duration) {
    sleep(Some(timeout), || (), || bell.0.next());
}
