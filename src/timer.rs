//! The timer: a thread that sleeps until something is due.
//!
//! It knows only when to call [`Ticks::tick`], which does what is due and returns when it wants to
//! be called again. While something waits it reads the wall clock at least every
//! [`MAX_TIMER_SLEEP`] ([`MAX_TICK_SLEEP`] if only schedules wait), since timers stand still while
//! the machine sleeps, and wall clocks jump. While nothing waits it does not wake up.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::error::{Error, ErrorKind};
use crate::planted::planted;
use crate::sync::thread::{self, JoinHandle};
use crate::sync::{Condvar, Mutex, lock, wait, wait_for};
use crate::task::Timestamp;

/// The longest sleep while something waits: after a resume from suspend, due tasks start within this time.
const MAX_TIMER_SLEEP: Duration = Duration::from_secs(5);

/// The longest sleep while only schedules wait. After a sleep of the machine a tick may fire this
/// much late, and still counts as in time; a process with schedules and no work rarely wakes up.
const MAX_TICK_SLEEP: Duration = Duration::from_secs(60);

/// What the timer drives.
pub(crate) trait Ticks: Send + Sync {
    /// Does everything that is due.
    fn tick(&self) -> NextTick;
}

/// When the next tick is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct NextTick {
    /// At this time of the wall clock.
    pub at: Option<Timestamp>,
    /// At this time of the monotonic clock.
    pub monotonic: Option<Duration>,
    /// At this time of the wall clock, or up to a minute later if the machine slept meanwhile: the
    /// ticks of schedules.
    pub schedules: Option<Timestamp>,
}

impl NextTick {
    /// At this time of the wall clock.
    pub(crate) fn at(at: impl Into<Option<Timestamp>>) -> NextTick {
        NextTick { at: at.into(), ..NextTick::default() }
    }

    /// At this time of the monotonic clock.
    pub(crate) fn monotonic(at: impl Into<Option<Duration>>) -> NextTick {
        NextTick { monotonic: at.into(), ..NextTick::default() }
    }

    /// The earlier of the two, for each kind.
    pub(crate) fn or_sooner(self, other: NextTick) -> NextTick {
        NextTick {
            at: self.at.into_iter().chain(other.at).min(),
            monotonic: self.monotonic.into_iter().chain(other.monotonic).min(),
            schedules: self.schedules.into_iter().chain(other.schedules).min(),
        }
    }
}

/// Wakes the timer: something is due sooner, or the timer must end.
#[derive(Default)]
pub(crate) struct Alarm {
    state: Mutex<AlarmState>,
    changed: Condvar,
}

#[derive(Default)]
struct AlarmState {
    next: NextTick,
    stopped: bool,
    /// The last reading of the wall clock, to notice a jump back.
    seen: Option<Timestamp>,
}

impl Alarm {
    /// Asks for a tick. The timer wakes up only if this one is sooner than those it knows.
    pub(crate) fn set(&self, wanted: NextTick) {
        let mut state = lock(&self.state);
        let sooner = state.next.or_sooner(wanted);
        if sooner != state.next {
            let sleeps_on = planted("g10-the-timer-sleeps-on") && state.next != NextTick::default();
            state.next = sooner;
            if sleeps_on {
                return;
            }
            self.changed.notify_one();
        }
    }

    /// Ends the timer's thread.
    pub(crate) fn stop(&self) {
        if planted("g04-the-stop-is-told-too-early") {
            self.changed.notify_one();
            lock(&self.state).stopped = true;
            return;
        }
        lock(&self.state).stopped = true;
        self.changed.notify_one();
    }

    /// Sleeps until a tick is due; false if the timer must end.
    fn wait(&self, clock: &dyn Clock) -> bool {
        let mut state = lock(&self.state);
        loop {
            if state.stopped {
                return false;
            }
            let now = clock.now();
            let jumped_back = state.seen.replace(now).is_some_and(|seen| now < seen);
            if jumped_back && state.next.at.or(state.next.schedules).is_some() {
                state.next = NextTick::default();
                return true;
            }
            let by_wall = state.next.at.map(|at| at.since(now));
            let by_monotonic = state.next.monotonic.map(|at| at.saturating_sub(clock.monotonic()));
            let by_tick = state.next.schedules.map(|at| at.since(now));
            let soon = by_wall.into_iter().chain(by_monotonic).map(|left| left.min(MAX_TIMER_SLEEP));
            state = match soon.chain(by_tick.map(|left| left.min(MAX_TICK_SLEEP))).min() {
                Some(Duration::ZERO) => {
                    state.next = NextTick::default();
                    return true;
                }
                Some(left) => wait_for(&self.changed, state, left),
                None => wait(&self.changed, state),
            };
        }
    }
}

/// Starts the timer's thread, which ticks once at its start.
pub(crate) fn start(
    alarm: Arc<Alarm>,
    clock: Arc<dyn Clock>,
    ticks: Arc<dyn Ticks>,
) -> Result<JoinHandle<()>, Error> {
    let run = move || {
        loop {
            alarm.set(ticks.tick());
            if !alarm.wait(&*clock) {
                return;
            }
        }
    };
    thread::Builder::new().name("perdura-timer".to_owned()).spawn(run).map_err(|e| {
        let message = "the timer thread cannot be started; is the limit of threads reached?";
        Error::new(ErrorKind::Io, message).with_source(e)
    })
}
