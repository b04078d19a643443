//! Operations from bytes, for fuzzing: four bytes each; every input is valid.

use std::time::Duration;

use super::{Invalid, Nth, Operation, Program, Script};
use crate::crash::{CrashMoment, CrashPoint};
use crate::task::{OnConflict, Options, Rate, Unique};

const QUEUES: [&str; 3] = ["a", "b", "c"];

/// Turns bytes into operations, four bytes each. A prefix of the bytes gives a prefix of the
/// operations.
pub fn decode(bytes: &[u8]) -> Vec<Operation<Script>> {
    bytes.chunks_exact(4).map(|b| operation([b[0], b[1], b[2], b[3]])).collect()
}

fn operation([kind, a, b, c]: [u8; 4]) -> Operation<Script> {
    let queue = QUEUES[usize::from(a % 3)];
    let seconds = |n: u64| Duration::from_secs(n);
    let program = |n: u8| if n.is_multiple_of(2) { Program::Whole } else { Program::Older };
    let (a64, b64, c64) = (u64::from(a), u64::from(b), u64::from(c));
    match kind % 48 {
        0..=8 => {
            let (task, options) = enqueue(a, b, c);
            Operation::Enqueue(task, options)
        }
        9 => Operation::EnqueueAll(vec![(Script::Succeed, Options::new().queue(queue)); usize::from(b % 5)]),
        10..=14 | 36 | 37 => Operation::RunOne,
        15 | 38 => Operation::RunAll,
        16 | 17 => Operation::Advance(seconds(a64 * (1 + b64 % 4 * 20))),
        18 => Operation::Suspend(seconds(a64 * 10)),
        19 => Operation::JumpBack(seconds(a64 * b64 * c64)),
        20 if b % 4 == 3 => Operation::RetryFromStart(Nth(a)),
        20 => Operation::Retry(Nth(a)),
        21 | 22 => Operation::Cancel(Nth(a)),
        23 => Operation::Delete(Nth(a)),
        24 => Operation::RunNow(Nth(a)),
        25 => Operation::Pause(queue),
        26 => Operation::Resume(queue),
        27 => Operation::RetryAll,
        28 => Operation::MoveToDeadLetters,
        29 => Operation::Replay { letter: Nth(a), forced: b % 4 == 3 },
        30 => Operation::Reopen(program(a)),
        31 => during(
            Operation::RunOne,
            if a % 3 == 0 { CrashPoint::after(1) } else { CrashPoint::before(2) },
            b,
        ),
        32 => Operation::Crash(program(a)),
        33..=35 => {
            // An operation from the other bytes, interrupted by a crash.
            let moment = if a % 2 == 0 { CrashMoment::Before } else { CrashMoment::After };
            let at = CrashPoint { commit: 1 + a64 / 2 % 4, moment };
            during(operation([b % 30, c, a ^ c, b]), at, a / 8)
        }
        39 | 40 => Operation::Age,
        41 => Operation::Purge(seconds(a64 * 60)),
        42 => Operation::CancelAll(queue),
        43 => Operation::EnqueueInvalid(Script::Succeed, Invalid::ALL[usize::from(a) % Invalid::ALL.len()]),
        44 => {
            let (task, options) = enqueue(a, b, c);
            Operation::Visit(task, options)
        }
        45 => Operation::EnqueueAll(vec![enqueue(a, b, c), enqueue(b, c, a), enqueue(c, a, b)]),
        46 if b % 4 == 3 => Operation::SetLimit(queue, (c % 4 > 0).then_some(u32::from(c % 4))),
        46 => {
            let rate = Rate::per(seconds(1 + b64), 1 + u32::from(c % 7)).burst(1 + u32::from(a % 5));
            Operation::SetRate(queue, (c % 3 > 0).then_some(rate))
        }
        _ => Operation::Advance(seconds(a64 * b64 * 10)),
    }
}

fn during(operation: Operation<Script>, at: CrashPoint, program: u8) -> Operation<Script> {
    let program = if program.is_multiple_of(2) { Program::Whole } else { Program::Older };
    Operation::CrashDuring(Box::new(operation), at, program)
}

fn enqueue(a: u8, b: u8, c: u8) -> (Script, Options) {
    const SCRIPTS: [Script; 13] = [
        Script::Succeed,
        Script::Fail,
        Script::FailForGood,
        Script::FailDenied,
        Script::Snooze,
        Script::Cancel,
        Script::SucceedAtLast,
        Script::FailUntil(2),
        Script::FailFor(45),
        Script::CancelAndFail,
        Script::CancelAndSucceed,
        Script::SaveAndFail,
        Script::Throttle,
    ];
    let script = if a % 8 == 7 { Script::New } else { SCRIPTS[usize::from(c / 4) % SCRIPTS.len()] };
    let mut options = Options::new()
        .queue(QUEUES[usize::from(a % 3)])
        .priority(i16::from(a / 3 % 3) - 1)
        .max_attempts(u32::from(c % 4) + 1);
    let waits = b.is_multiple_of(4) && b > 0;
    if waits {
        options = options.delay(Duration::from_secs(b.into()));
    }
    if c.is_multiple_of(3) {
        let key = format!("key {}", c / 3 % 4);
        let mut unique = Unique::key(key).on_conflict(match a / 9 % 4 {
            1 => OnConflict::Replace,
            2 => OnConflict::ReplaceArgs,
            3 if waits => OnConflict::Debounce { max_wait: Duration::from_secs(2 * u64::from(b)) },
            _ => OnConflict::Keep,
        });
        if a / 36 % 2 == 1 {
            unique = unique.until_started();
        }
        if a / 72 % 3 == 1 {
            unique = unique.for_(Duration::from_secs(60 * u64::from(b) + 1));
        }
        let is_plain = (c / 12).is_multiple_of(2);
        options = if is_plain { options.unique(unique) } else { options.unique_in_queue(unique) };
    }
    if (a ^ c) % 4 == 1 {
        let key = format!("line {}", a % 2);
        options = match b % 4 {
            0 => options.serial(key),
            n => options.limit(key, n.into()),
        };
    }
    if b.is_multiple_of(5) && b > 0 {
        options = options.expires(Duration::from_secs(u64::from(b) + 1)); // longer than the delay
    }
    (script, options)
}
