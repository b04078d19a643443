//! Whatever text stands where JSON should be, as args, checkpoint or result: the task ends, with its own error if it does not decode,
//! and what it ends with tells nothing of the text.

#![no_main]

mod place;

use std::cell::RefCell;
use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use perdura::testing::{ManualClock, SteppedQueue};
use perdura::{Config, Context, ErrorKind, Failure, Filter, Queue, Task};
use place::Place;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

/// Something of every shape.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
enum Shape {
    Unit,
    Number(i8, u64, f64),
    Text { text: String, maybe: Option<char> },
    Map(BTreeMap<String, Vec<Shape>>),
    Any(serde_json::Value),
}

#[derive(Serialize, Deserialize)]
struct Holds(Shape);

impl Task for Holds {
    const NAME: &'static str = "holds";
    type Output = Shape;
}

fn run(task: Holds, cx: &Context) -> Result<Shape, Failure> {
    let saved: Option<Shape> = cx.checkpoint()?;
    Ok(saved.unwrap_or(task.0))
}

/// A queue is opened once; each input has a task of its own.
struct Stage {
    tests: SteppedQueue,
    conn: Connection,
    _place: Place,
}

thread_local! {
    static STAGE: RefCell<Stage> = RefCell::new(Stage::new());
}

impl Stage {
    fn new() -> Stage {
        let place = Place::new();
        let clock = ManualClock::new();
        let config = Config::default().max_task_attempts(1);
        let builder = Queue::builder().config(config).clock(clock.clone()).handle(run);
        let tests = SteppedQueue::open_file(builder, &clock, place.path()).expect("it opens");
        let conn = Connection::open(place.path()).expect("it opens");
        Stage { tests, conn, _place: place }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((which, text)) = data.split_first() else { return };
    STAGE.with_borrow(|stage| {
        let (tests, conn) = (&stage.tests, &stage.conn);
        let queue = tests.queue();
        let id = queue.enqueue(&Holds(Shape::Unit)).expect("it takes tasks").id();
        let plant = |sql: &str| conn.execute(sql, (id.to_string(), text)).expect("it can be planted");
        if which & 1 != 0 {
            plant("UPDATE perdura_args SET args = CAST(?2 AS TEXT) WHERE task_id = ?1");
        }
        if which & 2 != 0 {
            plant("INSERT INTO perdura_checkpoints (task_id, checkpoint) VALUES (?1, CAST(?2 AS TEXT))");
        }
        let _ = tests.run_until_idle().expect("a bad text is no trouble of the queue");
        let record = queue.get(id).expect("it is there");
        assert!(record.state.is_finished(), "{record:?}");
        if which & 4 != 0 {
            plant("INSERT OR REPLACE INTO perdura_results (task_id, result) VALUES (?1, CAST(?2 AS TEXT))");
        }
        let mut said = format!("{record:?} {:?}", queue.attempts(id).expect("it is there"));
        if let Err(e) = queue.result::<Holds>(id) {
            assert!(e.kind() != ErrorKind::Internal, "{e}");
            said.push_str(&format!("{e} {e:?}"));
        }
        let _ = queue.args_json(id);
        // A long run of letters from the text would be its content; short ones are words of our own.
        let secret = text.split(|b| !b.is_ascii_alphanumeric()).filter(|word| word.len() > 20);
        for word in secret.filter_map(|word| std::str::from_utf8(word).ok()) {
            assert!(!said.contains(word), "{said}");
        }
        let _ = queue.delete_all(Filter::new()).expect("they can be deleted");
    });
});
