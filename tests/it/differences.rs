//! What the model says where a queue differs from it: the operations, as lines of Rust, and both sides.

use std::fmt::Write;
use std::time::{Duration, UNIX_EPOCH};

use perdura::testing::CrashPoint;
use perdura::testing::model::{
    Ending, Invalid, ModelAttempt, Nth, Operation, Pair, Program, Script, Workload, decode,
};
use perdura::{Builder, Config, Context, Enqueued, Error, Failure, Options, Queue, Task};
use serde::{Deserialize, Serialize};

/// A task whose model promises a success, and whose handler fails.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Boast;

impl Task for Boast {
    const NAME: &'static str = "boast";
    type Output = ();
}

impl Workload for Boast {
    type World = ();

    fn handle(builder: Builder, _: &(), _: Program) -> Builder {
        builder.handle(|_: Boast, _: &Context| -> Result<(), Failure> { Err(Failure::named("Brag", "no")) })
    }

    fn enqueue(&self, queue: &Queue, options: Options, _: &()) -> Result<Enqueued, Error> {
        queue.enqueue_with(self, options)
    }

    fn ending(&self, _: ModelAttempt) -> Ending {
        Ending::Succeeds
    }
}

#[test]
fn a_handler_that_does_not_what_its_model_says_is_told_with_both_sides() {
    let mut pair = Pair::<Boast>::new(&Config::default()).unwrap();
    pair.apply(&Operation::Enqueue(Boast, Options::new().priority(3))).unwrap();
    assert_eq!(pair.model().tasks().len(), 1);
    let told = pair.apply(&Operation::RunOne).unwrap_err();
    let text = told.to_string();
    assert_eq!(text, format!("{told:?}"), "an unwrap shows it as it is");
    for part in ["the queue has", "the model has", "after these operations:", "    RunOne,\n"] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    assert!(text.contains("    Enqueue(Boast, Options::new().priority(3)),\n"), "{text}");
}

#[test]
fn each_command_is_shown_as_a_line_of_rust() {
    let (task, plain) = (Script::FailUntil(2), Options::new);
    let second = Duration::from_secs(1);
    for (operation, line) in [
        (
            Operation::EnqueueAll(vec![(task, plain()), (task, plain().run_at(UNIX_EPOCH + second))]),
            "EnqueueAll(vec![(FailUntil(2), Options::new()), \
             (FailUntil(2), Options::new().run_at(UNIX_EPOCH + Duration::from_secs(1)))])",
        ),
        (Operation::EnqueueInvalid(task, Invalid::Key), "EnqueueInvalid(FailUntil(2), Invalid::Key)"),
        (Operation::RunAll, "RunAll"),
        (Operation::Suspend(second), "Suspend(Duration::from_secs(1))"),
        (Operation::JumpBack(second / 4), "JumpBack(Duration::from_nanos(250000000))"),
        (Operation::Age, "Age"),
        (Operation::Purge(Duration::from_nanos(5)), "Purge(Duration::from_nanos(5))"),
        (Operation::Retry(Nth(1)), "Retry(Nth(1))"),
        (Operation::RetryAll, "RetryAll"),
        (Operation::Cancel(Nth(2)), "Cancel(Nth(2))"),
        (Operation::CancelAll("a"), "CancelAll(\"a\")"),
        (Operation::Delete(Nth(3)), "Delete(Nth(3))"),
        (Operation::Complete(Nth(3)), "Complete(Nth(3))"),
        (Operation::Fail(Nth(3)), "Fail(Nth(3))"),
        (Operation::RunNow(Nth(4)), "RunNow(Nth(4))"),
        (Operation::Pause("b"), "Pause(\"b\")"),
        (Operation::Resume("b"), "Resume(\"b\")"),
        (Operation::MoveToDeadLetters, "MoveToDeadLetters"),
        (Operation::Replay { letter: Nth(0), forced: true }, "Replay { letter: Nth(0), forced: true }"),
        (Operation::Visit(task, plain()), "Visit(FailUntil(2), Options::new())"),
        (Operation::Reopen(Program::Older), "Reopen(Program::Older)"),
        (
            Operation::CrashDuring(
                Box::new(Operation::Crash(Program::Whole)),
                CrashPoint::before(2),
                Program::Older,
            ),
            "CrashDuring(Box::new(Crash(Program::Whole)), CrashPoint::before(2), Program::Older)",
        ),
    ] {
        assert_eq!(operation.to_string(), line);
    }
}

/// Operations print as the Rust that makes them, one line each, so that a failure can be pasted into a test.
#[test]
fn a_command_prints_as_rust() {
    let mut lines = String::new();
    for operation in decode(&[0, 3, 20, 3, 34, 3, 0, 0, 16, 60, 0, 0, 31, 1, 0, 0]) {
        writeln!(lines, "{operation:?}").unwrap();
    }
    assert_eq!(
        lines,
        "Enqueue(Succeed, Options::new().queue(\"a\").priority(0).delay(Duration::from_secs(20)).max_attempts(4)\
         .unique(\"key 1\").expires(Duration::from_secs(21)))\n\
         CrashDuring(Box::new(Enqueue(Succeed, Options::new().queue(\"a\").priority(-1).max_attempts(1).unique(\"key 0\"))), CrashPoint::after(2), \
         Program::Whole)\n\
         Advance(Duration::from_secs(60))\n\
         CrashDuring(Box::new(RunOne), CrashPoint::before(2), Program::Whole)\n"
    );
}
