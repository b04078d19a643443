//! Args of older versions and tasks of older names: what a newer program makes of an older file, and an older program of a newer one.

use perdura::testing::{ManualClock, SteppedQueue};
use perdura::{Builder, Context, ErrorKind, Failure, Hold, Queue, State, Task};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::support::*;

macro_rules! versions {
    ($($of:ident $version:literal $name:literal $aliases:expr, { $($field:ident: $type:ty),* };)*) => {
        $(
            #[derive(Debug, Serialize, Deserialize)]
            #[serde(deny_unknown_fields)]
            struct $of {
                $($field: $type),*
            }
            impl Task for $of {
                const NAME: &'static str = $name;
                const VERSION: u32 = $version;
                const ALIASES: &'static [&'static str] = $aliases;
                type Output = Value;
            }
        )*
    };
}

// The shapes that a task had, in one program after the other.
versions! {
    One 1 "thumbnail" &[], { size: u32 };
    Two 2 "thumbnail" &[], { width: u32, height: u32 };
    Three 3 "resize" &["thumbnail", "scale"], { width: u32, height: u32, format: String };
}

fn run<T: Task<Output = Value>>(task: T, _: &Context) -> Result<Value, Failure> {
    Ok(serde_json::to_value(task)?)
}

fn two() -> Builder {
    Queue::builder().handle(run::<Two>).upgrade::<Two>(1, one_to_two)
}

fn three() -> Builder {
    Queue::builder().handle(run::<Three>).upgrade::<Three>(2, two_to_three).upgrade::<Three>(1, one_to_two)
}

fn one_to_two(args: Value) -> Result<Value, Failure> {
    let size = args["size"].as_u64().filter(|size| *size > 0);
    let size = size.ok_or_else(|| Failure::permanent("a thumbnail without a size"))?;
    Ok(json!({ "width": size, "height": size }))
}

fn two_to_three(mut args: Value) -> Result<Value, Failure> {
    args["format"] = json!("png");
    Ok(args)
}

/// Opens a file with a program of each version.
fn open(builder: Builder, folder: &Folder) -> SteppedQueue {
    SteppedQueue::open_file(builder, &ManualClock::new(), folder.file()).unwrap()
}

#[test]
fn args_of_each_older_version_become_those_of_the_newest() {
    let folder = Folder::new();
    let tests = open(Queue::builder(), &folder);
    let queue = tests.queue();
    let ids = [
        queue.enqueue(&One { size: 7 }).unwrap().id(),
        queue.enqueue(&Two { width: 1, height: 2 }).unwrap().id(),
        queue.enqueue(&Three { width: 3, height: 4, format: "jpeg".into() }).unwrap().id(),
    ];
    drop(tests);
    // The program of version 2 runs what is not newer than itself, and leaves the rest.
    let tests = open(two(), &folder);
    tests.run_until_idle().unwrap();
    let queue = tests.queue();
    assert_eq!(queue.result::<Two>(ids[0]).unwrap(), Some(json!({ "width": 7, "height": 7 })));
    assert_eq!(queue.args_json(ids[0]).unwrap(), r#"{"size":7}"#, "the row stays as it was");
    assert_eq!(queue.get(ids[2]).unwrap().hold, Some(Hold::UnknownName), "of a newer name");
    let again = [
        queue.enqueue(&One { size: 7 }).unwrap().id(),
        queue.enqueue(&Two { width: 1, height: 2 }).unwrap().id(),
    ];
    drop(tests);
    let tests = open(three(), &folder);
    tests.run_until_idle().unwrap();
    let queue = tests.queue();
    for (id, wanted) in [
        (again[0], json!({ "width": 7, "height": 7, "format": "png" })),
        (again[1], json!({ "width": 1, "height": 2, "format": "png" })),
        (ids[2], json!({ "width": 3, "height": 4, "format": "jpeg" })),
    ] {
        assert_eq!(queue.result::<Three>(id).unwrap(), Some(wanted));
    }
    assert_sound(queue);
}

/// A file that a newer program has used, in an older one: held, and said why; never run with args that it cannot know.
#[test]
fn an_older_program_leaves_what_is_newer() {
    let folder = Folder::new();
    let tests = open(three(), &folder);
    let id = tests.queue().enqueue(&Two { width: 1, height: 2 }).unwrap().id();
    drop(tests);
    let tests = open(Queue::builder().handle(run::<One>), &folder);
    tests.run_until_idle().unwrap();
    assert_eq!(tests.queue().get(id).unwrap().hold, Some(Hold::UnknownName));
    drop(tests);
    let tests = open(three(), &folder);
    assert_eq!(tests.run_until_idle().unwrap().succeeded, 1);
}

#[test]
fn an_upgrade_that_fails_ends_the_attempt_as_its_handler_would() {
    for (upgrade, error_type, state) in [
        (
            (|_| Err(Failure::permanent("no"))) as fn(Value) -> Result<Value, Failure>,
            "Permanent",
            State::Failed,
        ),
        (|_| Err(Failure::named("flaky", "no")), "flaky", State::Queued),
        (|_| panic!("as told"), "Panic", State::Queued),
        (|_| Ok(json!({ "width": "wide" })), "ArgsUndecodable", State::Failed),
    ] {
        let builder = Queue::builder().handle(run::<Two>).upgrade::<Two>(1, upgrade);
        let tests = SteppedQueue::open(builder, &ManualClock::new()).unwrap();
        let id = tests.queue().enqueue(&One { size: 7 }).unwrap().id();
        tests.run_one().unwrap();
        let task = tests.queue().get(id).unwrap();
        assert_eq!((task.error_type.as_deref(), task.state), (Some(error_type), state));
        assert_eq!(tests.queue().args_json(id).unwrap(), r#"{"size":7}"#);
        assert_sound(tests.queue());
    }
}

#[test]
fn upgrades_that_are_not_whole_are_refused_when_the_queue_opens() {
    let keep = |args| Ok(args);
    let handled = || Queue::builder().handle(run::<Three>);
    for (builder, says) in [
        (handled().upgrade::<Three>(2, keep), "from version 1 is missing"),
        (handled().upgrade::<Three>(1, keep), "from version 2 is missing"),
        (
            handled().upgrade::<Three>(1, keep).upgrade::<Three>(1, keep).upgrade::<Three>(2, keep),
            "from version 1 is given twice",
        ),
        (handled().upgrade::<Three>(3, keep), "from version 3: there are versions 1 to 3"),
        (handled().upgrade::<Three>(0, keep), "from version 0: there are versions 1 to 3"),
        (
            Queue::builder().handle(run::<One>).upgrade::<Three>(1, keep).upgrade::<Three>(2, keep),
            "there is no handler",
        ),
        (handled().handle(run::<One>), "two handlers for the task name \"thumbnail\""),
    ] {
        let error = builder.open_temporary().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
    assert!(three().open_temporary().is_ok() && handled().open_temporary().is_ok());
}
