//! Property tests with the crate `proptest` (feature `proptest`): strategies, and a state machine
//! that compares a queue with a program's own tasks to the [model](super::model).
//!
//! A program says what its tasks do, and how to generate one. Then random sequences of enqueues,
//! attempts, jumps of the clock, cancels, crashes at any commit and so on are tried. After each
//! operation the queue is compared with the model and the program's own invariants are checked; a
//! failure shrinks to a few lines.
//!
//! ```
//! use std::sync::{Arc, Mutex};
//!
//! use perdura::testing::model::{Operation, Ending, Model, ModelAttempt, Program, Workload};
//! use perdura::testing::proptest::Machine;
//! use perdura::{Builder, Context, Enqueued, Error, Failure, Options, Queue, State, Task, TaskId};
//! use proptest::prelude::*;
//! use proptest_state_machine::prop_state_machine;
//!
//! /// The program's task: pay once, however often the task runs.
//! #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
//! struct Pay { amount: u32, declined: bool }
//! impl Task for Pay {
//!     const NAME: &'static str = "pay";
//!     type Output = ();
//! }
//!
//! /// The outside: what was paid, by the task that paid it.
//! type Bank = Arc<Mutex<std::collections::BTreeMap<TaskId, u32>>>;
//!
//! fn pay(bank: &Bank, task: &Pay, cx: &Context) -> Result<(), Failure> {
//!     if task.declined {
//!         return Err(Failure::named("payment.declined", "no money"));
//!     }
//!     bank.lock().unwrap().insert(cx.id(), task.amount); // the task's id makes it idempotent
//!     Ok(())
//! }
//!
//! /// What the model needs to know.
//! impl Workload for Pay {
//!     type World = Bank;
//!     fn handle(builder: Builder, bank: &Bank, _: Program) -> Builder {
//!         let bank = bank.clone();
//!         builder.handle(move |task: Pay, cx: &Context| pay(&bank, &task, cx))
//!     }
//!     fn enqueue(&self, queue: &Queue, options: Options, _: &Bank) -> Result<Enqueued, Error> {
//!         queue.enqueue_with(self, options)
//!     }
//!     fn ending(&self, _: ModelAttempt) -> Ending {
//!         if self.declined { Ending::Fails("payment.declined") } else { Ending::Succeeds }
//!     }
//!     fn check(_: &Operation<Pay>, model: &Model<Pay>, _: &Queue, bank: &Bank) {
//!         let bank = bank.lock().unwrap();
//!         for (id, task) in model.tasks().iter().filter(|(_, t)| t.state == State::Succeeded) {
//!             assert_eq!(bank.get(id), Some(&task.task.amount), "task {id} succeeded and did not pay");
//!         }
//!     }
//! }
//!
//! /// How to draw one.
//! impl Arbitrary for Pay {
//!     type Parameters = ();
//!     type Strategy = BoxedStrategy<Pay>;
//!     fn arbitrary_with((): ()) -> BoxedStrategy<Pay> {
//!         (1..100_u32, any::<bool>()).prop_map(|(amount, declined)| Pay { amount, declined }).boxed()
//!     }
//! }
//!
//! prop_state_machine! {
//!     #![proptest_config(ProptestConfig { cases: 20, ..ProptestConfig::default() })]
//! # /*
//!     #[test]
//! # */
//!     fn whatever_happens_who_succeeded_has_paid(sequential 1..50 => Machine<Pay>);
//! }
//! # whatever_happens_who_succeeded_has_paid();
//! ```
//!
//! The handlers run on the test's thread, one at a time. [`check_history`](super::check_history) is
//! for handlers that run at the same time.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ::proptest::collection::vec;
use ::proptest::option::weighted;
use ::proptest::prelude::*;
use ::proptest::sample::select;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};

use super::ManualClock;
use super::model::{Difference, Invalid, Model, Nth, Operation, Pair, Program, Script, Workload};
use crate::clock::Clock;
use crate::config::{Config, LostRetry};
use crate::crash::{CrashMoment, CrashPoint};
use crate::schedule::{Missed, Overlap, Schedule};
use crate::task::{OnConflict, Options, Rate, Unique};

/// The queues that the strategies use.
pub const QUEUES: [&str; 3] = ["a", "b", "c"];

/// The conditions of generated options and operations.
pub const CONDITIONS: [&str; 3] = ["a", "b", "c"];

/// Valid configurations without jitter, which shrink towards the default. The denylist has
/// `denied.here`, `TaskLost`, both or none.
pub fn configs() -> BoxedStrategy<Config> {
    let hours = |n: u64| Duration::from_secs(n * 3600);
    let retries = (1..=5_u32, 0..=7_u64, 0..=12_u32).prop_map(|(attempts, base, doublings)| {
        let base = Duration::from_secs(if base == 0 { 0 } else { 7 * base * base });
        (attempts, base, base * 2_u32.pow(doublings))
    });
    let lost = select(vec![LostRetry::Immediate, LostRetry::Backoff, LostRetry::Manual]);
    let denied = (any::<bool>(), prop::bool::weighted(0.2));
    let ages = (weighted(0.7, 1..30_u64), weighted(0.5, 1..30_u64), weighted(0.5, 1..30_u64));
    (retries, lost, denied, ages, 1..=4_usize)
        .prop_map(move |((attempts, backoff, backoff_max), lost_retry, (denied, lost), ages, workers)| {
            let entries = [("denied.here", denied), ("TaskLost", lost)];
            Config {
                max_task_attempts: attempts,
                retry_backoff: backoff,
                retry_backoff_max: backoff_max,
                retry_exception_denylist: entries.iter().filter(|e| e.1).map(|e| e.0.to_owned()).collect(),
                lost_retry,
                retention: ages.0.map(hours),
                dead_letter_after: ages.1.map(hours),
                dead_letter_retention: ages.2.map(hours),
                workers,
                ..Config::default()
            }
        })
        .boxed()
}

/// Options that are valid under any of [`configs`]: queues, priorities, delays, unique keys, limits
/// of keys, conditions, expiry.
pub fn options() -> BoxedStrategy<Options> {
    let seconds = |range: std::ops::Range<u64>| range.prop_map(Duration::from_secs);
    let numbers =
        (weighted(0.5, select(QUEUES.to_vec())), weighted(0.4, -1..=1_i16), weighted(0.5, 1..=4_u32));
    let times = (weighted(0.2, seconds(0..400)), weighted(0.15, seconds(0..4000)));
    let limit = weighted(0.4, (0..2_u8, 0..=3_u32));
    let needs = prop::collection::vec(select(CONDITIONS.to_vec()), 0..=2);
    (numbers, times, weighted(0.3, (0..4_u8, uniques())), limit, weighted(0.2, needs))
        .prop_map(|((queue, priority, attempts), (delay, expires), key, limit, needs)| {
            let delay = delay.filter(|delay| expires.is_none_or(|after| *delay < after)); // a longer one is refused
            let options = Options::new();
            let options = queue.map_or(options.clone(), |queue| options.queue(queue));
            let options = priority.map_or(options.clone(), |priority| options.priority(priority));
            let options = attempts.map_or(options.clone(), |attempts| options.max_attempts(attempts));
            let options = delay.map_or(options.clone(), |delay| options.delay(delay));
            let options = expires.map_or(options.clone(), |after| options.expires(after));
            let options = match limit {
                None => options,
                Some((key, 0)) => options.serial(format!("line {key}")),
                Some((key, n)) => options.limit(format!("line {key}"), n),
            };
            let options = needs.into_iter().flatten().fold(options, Options::needs);
            let Some((key, mut unique)) = key else { return options };
            unique.key = format!("key {key}");
            if let OnConflict::Debounce { max_wait } = unique.on_conflict
                && delay.is_none_or(|delay| delay.is_zero() || delay > max_wait)
            {
                unique = unique.on_conflict(OnConflict::Replace); // debounce is refused without a delay of at most `max_wait`
            }
            if key % 2 == 0 { options.unique(unique) } else { options.unique_in_queue(unique) }
        })
        .boxed()
}

/// How long a key is taken, and what an enqueue does if it is taken: mostly the defaults.
fn uniques() -> BoxedStrategy<Unique> {
    let seconds = |range: std::ops::Range<u64>| range.prop_map(Duration::from_secs);
    let on_conflict = prop_oneof![
        3 => Just(OnConflict::Keep),
        1 => Just(OnConflict::Replace),
        1 => Just(OnConflict::ReplaceArgs),
        1 => seconds(200..1000).prop_map(|max_wait| OnConflict::Debounce { max_wait }),
    ];
    (any::<bool>(), weighted(0.3, seconds(1..4000)), on_conflict)
        .prop_map(|(until_started, lasts, on_conflict)| {
            let unique = Unique::key("").on_conflict(on_conflict);
            let unique = if until_started { unique.until_started() } else { unique };
            lasts.map_or(unique.clone(), |lasts| unique.for_(lasts))
        })
        .boxed()
}

/// Rates from several starts a second to one start in five minutes, with or without a burst.
pub fn rates() -> BoxedStrategy<Rate> {
    (1..300_u64, 1..=7_u32, 1..=3_u32)
        .prop_map(|(period, count, burst)| Rate::per(Duration::from_secs(period), count).burst(burst))
        .boxed()
}

/// Schedules with a period of a second to three hours, counted from tick to tick or from the end of
/// the previous run, with any valid rule for missed and overlapping ticks. Their tasks have
/// [`options`] without delay and unique key.
pub fn schedules(name: &'static str) -> BoxedStrategy<Schedule> {
    let seconds = |range: std::ops::Range<u64>| range.prop_map(Duration::from_secs);
    let missed = prop_oneof![
        2 => Just(Missed::Latest),
        1 => Just(Missed::Skip),
        2 => (1..6_u32).prop_map(|cap| Missed::All { cap }),
    ];
    let overlap = select(vec![Overlap::Queue, Overlap::Allow, Overlap::Skip, Overlap::Replace]);
    let period = prop_oneof![seconds(1..100), seconds(100..10_000)];
    let options = options().prop_map(|options| Options { due: None, unique: None, ..options });
    (period, prop::bool::weighted(0.2), missed, overlap, weighted(0.3, 0.0..=1.0), options)
        .prop_map(move |(period, after_end, missed, overlap, jitter, options)| {
            if after_end {
                return Schedule::after_end(name, period).options(options);
            }
            let schedule = Schedule::every(name, period).options(options);
            let schedule = jitter.map_or(schedule.clone(), |part| schedule.jitter(period.mul_f64(part)));
            // `Missed::All` is refused with an overlap rule that drops runs.
            match (missed, overlap) {
                (Missed::All { .. }, Overlap::Skip | Overlap::Replace) => schedule.overlap(overlap),
                _ => schedule.missed(missed).overlap(overlap),
            }
        })
        .boxed()
}

/// The program that opens the file: mostly the whole one.
fn programs() -> BoxedStrategy<Program> {
    prop_oneof![4 => Just(Program::Whole), 1 => Just(Program::Older)].boxed()
}

/// Operations that neither end nor open a process.
fn plain_operations<W: Workload + Arbitrary>() -> BoxedStrategy<Operation<W>> {
    let task = || (any::<W>(), options());
    let nth = || any::<u8>().prop_map(Nth);
    let queue = || select(QUEUES.to_vec());
    let seconds = |range: std::ops::Range<u64>| range.prop_map(Duration::from_secs);
    let invalid = select(Invalid::ALL.to_vec());
    prop_oneof![
        24 => Just(Operation::RunOne),
        6 => Just(Operation::RunAll),
        30 => task().prop_map(|(task, options)| Operation::Enqueue(task, options)),
        4 => vec(task(), 0..6).prop_map(Operation::EnqueueAll),
        1 => (any::<W>(), invalid).prop_map(|(task, invalid)| Operation::EnqueueInvalid(task, invalid)),
        10 => seconds(0..300).prop_map(Operation::Advance),
        3 => seconds(300..20_000).prop_map(Operation::Advance),
        2 => seconds(0..5000).prop_map(Operation::Suspend),
        1 => seconds(0..50_000_000).prop_map(Operation::Suspend),
        2 => seconds(0..500).prop_map(Operation::JumpBack),
        1 => seconds(0..3_000_000_000).prop_map(Operation::JumpBack),
        4 => Just(Operation::Age),
        1 => seconds(0..5000).prop_map(Operation::Purge),
        3 => nth().prop_map(Operation::Retry),
        1 => nth().prop_map(Operation::RetryFromStart),
        1 => Just(Operation::RetryAll),
        4 => nth().prop_map(Operation::Cancel),
        1 => queue().prop_map(Operation::CancelAll),
        2 => nth().prop_map(Operation::Delete),
        3 => nth().prop_map(Operation::Complete),
        2 => nth().prop_map(Operation::Fail),
        3 => nth().prop_map(Operation::RunNow),
        2 => queue().prop_map(Operation::Pause),
        3 => queue().prop_map(Operation::Resume),
        1 => (queue(), weighted(0.5, 1..=3_u32)).prop_map(|(queue, limit)| Operation::SetLimit(queue, limit)),
        2 => (queue(), weighted(0.5, rates())).prop_map(|(queue, rate)| Operation::SetRate(queue, rate)),
        3 => (select(CONDITIONS.to_vec()), any::<bool>(), weighted(0.2, Just(())))
            .prop_map(|(condition, is_met, outside)| {
                Operation::SetCondition { condition, is_met, outside: outside.is_some() }
            }),
        2 => Just(Operation::MoveToDeadLetters),
        2 => (nth(), any::<bool>()).prop_map(|(letter, forced)| Operation::Replay { letter, forced }),
    ]
    .boxed()
}

/// All operations, simple ones first: they shrink towards running a task.
pub fn operations<W: Workload + Arbitrary>() -> BoxedStrategy<Operation<W>> {
    let moment = select(vec![CrashMoment::Before, CrashMoment::After]);
    let point = (1..=5_u64, moment).prop_map(|(commit, moment)| CrashPoint { commit, moment });
    let visit = (any::<W>(), options()).prop_map(|(task, options)| Operation::Visit(task, options));
    prop_oneof![
        110 => plain_operations(),
        1 => programs().prop_map(Operation::Reopen),
        1 => programs().prop_map(Operation::Crash),
        5 => (plain_operations(), point, programs())
            .prop_map(|(operation, at, program)| Operation::CrashDuring(Box::new(operation), at, program)),
        4 => programs().prop_map(|program| {
            // The crash that leaves most behind: between claim and settle.
            Operation::CrashDuring(Box::new(Operation::RunOne), CrashPoint::before(2), program)
        }),
        1 => visit,
    ]
    .boxed()
}

impl Arbitrary for Script {
    type Parameters = ();
    type Strategy = BoxedStrategy<Script>;

    fn arbitrary_with((): ()) -> BoxedStrategy<Script> {
        prop_oneof![
            4 => Just(Script::Succeed),
            3 => Just(Script::Fail),
            1 => (1..=4_u32).prop_map(Script::FailUntil),
            1 => Just(Script::SucceedAtLast),
            1 => Just(Script::FailForGood),
            1 => Just(Script::FailDenied),
            1 => (0..200_u32).prop_map(Script::FailFor),
            1 => Just(Script::Snooze),
            1 => Just(Script::Throttle),
            1 => Just(Script::Until),
            1 => Just(Script::StepAndFail),
            1 => Just(Script::Sleep),
            2 => Just(Script::GoOutside),
            1 => Just(Script::Cancel),
            1 => Just(Script::CancelAndFail),
            1 => Just(Script::CancelAndSucceed),
            1 => Just(Script::SaveAndFail),
            2 => Just(Script::New),
        ]
        .boxed()
    }
}

/// A queue with a program's tasks, as a state machine for `proptest_state_machine::prop_state_machine!`.
///
/// The reference is the [`Model`]: it starts with one of [`configs`] and gets [`operations`]. The
/// system under test is a [`Pair`]. To test with other operations or configurations, implement the
/// two traits for a type of your own; that takes a few lines.
#[derive(Debug)]
pub struct Machine<W>(PhantomData<W>);

impl<W: Workload + Arbitrary> Machine<W> {
    /// Runs operations on a fresh queue and a fresh model. `seen` counts the operations that were
    /// begun, for shrinking.
    ///
    /// # Errors
    /// The first difference.
    pub fn run(
        model: &Model<W>,
        operations: &[Operation<W>],
        seen: Option<Arc<AtomicUsize>>,
    ) -> Result<(), Difference> {
        let mut pair = Pair::beside(model)?;
        for operation in operations {
            if let Some(seen) = &seen {
                seen.fetch_add(1, Ordering::SeqCst);
            }
            pair.apply(operation)?;
        }
        pair.finish()
    }
}

impl<W: Workload + Arbitrary> ReferenceStateMachine for Machine<W> {
    type State = Model<W>;
    type Transition = Operation<W>;

    fn init_state() -> BoxedStrategy<Model<W>> {
        configs().prop_map(|config| Model::new(&config, ManualClock::new().now())).boxed()
    }

    fn transitions(_: &Model<W>) -> BoxedStrategy<Operation<W>> {
        operations()
    }

    fn apply(mut model: Model<W>, operation: &Operation<W>) -> Model<W> {
        model.apply(operation);
        model
    }
}

impl<W: Workload + Arbitrary> StateMachineTest for Machine<W> {
    type SystemUnderTest = Pair<W>;
    type Reference = Machine<W>;

    fn init_test(model: &Model<W>) -> Pair<W> {
        Pair::beside(model).unwrap_or_else(|e| panic!("no fresh queue: {e}"))
    }

    fn apply(mut pair: Pair<W>, _: &Model<W>, operation: Operation<W>) -> Pair<W> {
        pair.apply(&operation).unwrap_or_else(|difference| panic!("{difference}"));
        pair
    }

    fn teardown(pair: Pair<W>, _: Model<W>) {
        pair.finish().unwrap_or_else(|difference| panic!("{difference}"));
    }
}
