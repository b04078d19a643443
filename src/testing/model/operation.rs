//! Operations of a test on a queue, and their answers. Operations print as Rust code.

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::config::MAX_DURATION;
use crate::crash::{CrashMoment, CrashPoint};
use crate::error::ErrorKind;
use crate::task::{Bulk, Due, Enqueued, OnConflict, Options, Rate, TaskId, Unique};
use crate::testing::Ran;

/// An operation of a test on a queue.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum Operation<W> {
    /// Enqueues one task.
    Enqueue(W, Options),
    /// Enqueues several, in one transaction.
    EnqueueAll(Vec<(W, Options)>),
    /// Enqueues a task with an invalid option.
    EnqueueInvalid(W, Invalid),
    /// Runs the next task.
    RunOne,
    /// Runs tasks until nothing is ready, at most 100.
    RunAll,
    /// Time passes, and the timer does what is due.
    Advance(Duration),
    /// The machine sleeps: only the wall clock goes on. Then the timer does what is due.
    Suspend(Duration),
    /// The wall clock is set back, and the timer does what is due.
    JumpBack(Duration),
    /// The maintenance applies the retention: deletes old tasks, or moves them to the dead letters.
    Age,
    /// Deletes tasks that succeeded or were cancelled this long ago.
    Purge(Duration),
    /// Retries a task by hand.
    Retry(Nth),
    /// Retries a task by hand, without its checkpoint and its steps.
    RetryFromStart(Nth),
    /// Retries every task that failed or was lost.
    RetryAll,
    /// Cancels a task.
    Cancel(Nth),
    /// Cancels every task of a queue that is not finished.
    CancelAll(&'static str),
    /// Deletes a task.
    Delete(Nth),
    /// Reports that the work of a task, which is outside, succeeded.
    Complete(Nth),
    /// Reports that the work of a task, which is outside, failed.
    Fail(Nth),
    /// Lets a task run now that waits for its time or its turn among suspects.
    RunNow(Nth),
    /// Pauses a queue.
    Pause(&'static str),
    /// Resumes a queue.
    Resume(&'static str),
    /// Sets how many tasks of a queue may run at once.
    SetLimit(&'static str, Option<u32>),
    /// Sets how often tasks of a queue may start.
    SetRate(&'static str, Option<Rate>),
    /// Sets whether a condition is met.
    SetCondition {
        /// Which.
        condition: &'static str,
        /// Whether it is met.
        is_met: bool,
        /// Whether a second process sets it, which does not own the file.
        outside: bool,
    },
    /// Moves every task that failed or was lost to the dead letters.
    MoveToDeadLetters,
    /// Replays a dead letter.
    Replay {
        /// Which letter.
        letter: Nth,
        /// Also if the letter was replayed before.
        forced: bool,
    },
    /// A second process opens the file while the first has it open, does not become the owner, and
    /// enqueues a task.
    Visit(W, Options),
    /// The process ends normally, and another one opens the file.
    Reopen(Program),
    /// The process dies between two operations, and another one opens the file.
    Crash(Program),
    /// The process dies at a commit of this operation (or after the operation, if it has fewer commits), and another one opens the file.
    CrashDuring(Box<Operation<W>>, CrashPoint, Program),
}

/// Selects a task or letter: the n-th, modulo their number plus one. The one after the last is an
/// id that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nth(pub u8);

/// Which handlers a process has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// All handlers.
    Whole,
    /// An older program, without some ([`Workload::is_known_to`](super::Workload::is_known_to)).
    Older,
}

/// An option that is out of its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Invalid {
    /// An empty queue name.
    Queue,
    /// An empty unique key.
    Key,
    /// A queue name with a line break.
    ControlCharacter,
    /// Zero attempts.
    NoAttempts,
    /// More attempts than the maximum.
    TooManyAttempts,
    /// A delay that is too long.
    Delay,
    /// A timeout of zero.
    Timeout,
    /// An expiry that comes before the task may start.
    Expires,
}

/// The answer of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// It has no answer.
    Nothing,
    /// The tasks that were made or found.
    Enqueued(Vec<Enqueued>),
    /// The attempts that ran, in order.
    Ran(Vec<Ran>),
    /// Whether a verb was allowed.
    Verb(Result<(), ErrorKind>),
    /// The result of a bulk verb.
    Bulk(Bulk),
    /// How many tasks and letters were deleted or moved because of their age.
    Ended(usize),
    /// The task that a replay made.
    Replayed(Result<TaskId, ErrorKind>),
    /// The process died before it could answer.
    Crashed,
}

impl Invalid {
    /// All of them.
    pub const ALL: [Invalid; 8] = [
        Invalid::Queue,
        Invalid::Key,
        Invalid::ControlCharacter,
        Invalid::NoAttempts,
        Invalid::TooManyAttempts,
        Invalid::Delay,
        Invalid::Timeout,
        Invalid::Expires,
    ];

    /// Options with this fault.
    pub fn options(self) -> Options {
        let options = Options::new();
        match self {
            Invalid::Queue => options.queue(""),
            Invalid::Key => options.unique(""),
            Invalid::ControlCharacter => options.queue("a\nb"),
            Invalid::NoAttempts => options.max_attempts(0),
            Invalid::TooManyAttempts => options.max_attempts(101),
            Invalid::Delay => options.delay(MAX_DURATION + Duration::from_millis(1)),
            Invalid::Timeout => options.timeout(Duration::ZERO),
            Invalid::Expires => options.delay(Duration::from_secs(60)).expires(Duration::from_secs(60)),
        }
    }
}

/// One line of Rust code, without the name of the type.
impl<W: fmt::Debug> fmt::Display for Operation<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operation::Enqueue(task, options) => write!(f, "Enqueue({task:?}, {})", ShownOptions(options)),
            Operation::EnqueueAll(tasks) => {
                f.write_str("EnqueueAll(vec![")?;
                for (i, (task, options)) in tasks.iter().enumerate() {
                    let comma = if i == 0 { "" } else { ", " };
                    write!(f, "{comma}({task:?}, {})", ShownOptions(options))?;
                }
                f.write_str("])")
            }
            Operation::EnqueueInvalid(task, invalid) => {
                write!(f, "EnqueueInvalid({task:?}, Invalid::{invalid:?})")
            }
            Operation::RunOne => f.write_str("RunOne"),
            Operation::RunAll => f.write_str("RunAll"),
            Operation::Advance(by) => write!(f, "Advance({})", Span(*by)),
            Operation::Suspend(by) => write!(f, "Suspend({})", Span(*by)),
            Operation::JumpBack(by) => write!(f, "JumpBack({})", Span(*by)),
            Operation::Age => f.write_str("Age"),
            Operation::Purge(age) => write!(f, "Purge({})", Span(*age)),
            Operation::Retry(nth) => write!(f, "Retry({nth:?})"),
            Operation::RetryFromStart(nth) => write!(f, "RetryFromStart({nth:?})"),
            Operation::RetryAll => f.write_str("RetryAll"),
            Operation::Cancel(nth) => write!(f, "Cancel({nth:?})"),
            Operation::CancelAll(queue) => write!(f, "CancelAll({queue:?})"),
            Operation::Delete(nth) => write!(f, "Delete({nth:?})"),
            Operation::Complete(nth) => write!(f, "Complete({nth:?})"),
            Operation::Fail(nth) => write!(f, "Fail({nth:?})"),
            Operation::RunNow(nth) => write!(f, "RunNow({nth:?})"),
            Operation::Pause(queue) => write!(f, "Pause({queue:?})"),
            Operation::Resume(queue) => write!(f, "Resume({queue:?})"),
            Operation::SetLimit(queue, limit) => write!(f, "SetLimit({queue:?}, {limit:?})"),
            Operation::SetRate(queue, None) => write!(f, "SetRate({queue:?}, None)"),
            Operation::SetRate(queue, Some(Rate { count, period, burst })) => {
                write!(f, "SetRate({queue:?}, Some(Rate::per({}, {count}).burst({burst})))", Span(*period))
            }
            Operation::SetCondition { condition, is_met, outside } => {
                write!(f, "SetCondition {{ condition: {condition:?}, is_met: {is_met}, outside: {outside} }}")
            }
            Operation::MoveToDeadLetters => f.write_str("MoveToDeadLetters"),
            Operation::Replay { letter, forced } => {
                write!(f, "Replay {{ letter: {letter:?}, forced: {forced} }}")
            }
            Operation::Visit(task, options) => write!(f, "Visit({task:?}, {})", ShownOptions(options)),
            Operation::Reopen(program) => write!(f, "Reopen(Program::{program:?})"),
            Operation::Crash(program) => write!(f, "Crash(Program::{program:?})"),
            Operation::CrashDuring(operation, at, program) => {
                let side = if at.moment == CrashMoment::Before { "before" } else { "after" };
                write!(
                    f,
                    "CrashDuring(Box::new({operation}), CrashPoint::{side}({}), Program::{program:?})",
                    at.commit
                )
            }
        }
    }
}

/// The same line, so that lists have one line for each operation.
impl<W: fmt::Debug> fmt::Debug for Operation<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A duration as Rust code.
struct Span(Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.subsec_nanos() {
            0 => write!(f, "Duration::from_secs({})", self.0.as_secs()),
            _ => write!(f, "Duration::from_nanos({})", self.0.as_nanos()),
        }
    }
}

/// A unique key as Rust code.
struct ShownUnique<'a>(&'a Unique);

impl fmt::Display for ShownUnique<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unique = self.0;
        if !unique.until_started && unique.lasts.is_none() && unique.on_conflict == OnConflict::Keep {
            return write!(f, "{:?}", unique.key);
        }
        write!(f, "Unique::key({:?})", unique.key)?;
        if unique.until_started {
            f.write_str(".until_started()")?;
        }
        unique.lasts.iter().try_for_each(|lasts| write!(f, ".for_({})", Span(*lasts)))?;
        match unique.on_conflict {
            OnConflict::Keep => Ok(()),
            OnConflict::Debounce { max_wait } => {
                write!(f, ".on_conflict(OnConflict::Debounce {{ max_wait: {} }})", Span(max_wait))
            }
            other => write!(f, ".on_conflict(OnConflict::{other:?})"),
        }
    }
}

/// Options as Rust code. Their `Debug` leaves out keys, which may be private; those of tests are
/// not.
struct ShownOptions<'a>(&'a Options);

impl fmt::Display for ShownOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let o = self.0;
        f.write_str("Options::new()")?;
        o.queue.iter().try_for_each(|queue| write!(f, ".queue({queue:?})"))?;
        o.priority.iter().try_for_each(|priority| write!(f, ".priority({priority})"))?;
        match o.due {
            Some(Due::After(delay)) => write!(f, ".delay({})", Span(delay))?,
            Some(Due::At(time)) => {
                let since = time.to_system_time().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                write!(f, ".run_at(UNIX_EPOCH + {})", Span(since))?;
            }
            None => {}
        }
        o.max_attempts.iter().try_for_each(|n| write!(f, ".max_attempts({n})"))?;
        o.backoff.iter().try_for_each(|base| write!(f, ".backoff({})", Span(*base)))?;
        o.timeout.iter().try_for_each(|timeout| write!(f, ".timeout({})", Span(*timeout)))?;
        o.unique.iter().try_for_each(|unique| {
            let setter = if unique.whole_queue { "unique_in_queue" } else { "unique" };
            write!(f, ".{setter}({})", ShownUnique(unique))
        })?;
        o.limit.iter().try_for_each(|limit| write!(f, ".limit({:?}, {})", limit.key, limit.permits))?;
        o.serial.iter().try_for_each(|limit| write!(f, ".serial({:?})", limit.key))?;
        o.needs.conditions.iter().try_for_each(|needed| {
            let setter = if needed.throughout { "needs_throughout" } else { "needs" };
            write!(f, ".{setter}({:?})", needed.name)
        })?;
        o.expires.iter().try_for_each(|after| write!(f, ".expires({})", Span(*after)))?;
        o.tag.iter().try_for_each(|tag| write!(f, ".tag({tag:?})"))
    }
}
