//! Work outside, from the shell.

use perdura::testing::{ManualClock, ScriptedEngine, SteppedQueue};
use perdura::{Context, Failure, Options, Queue, State, Task, engine::NamedEngine};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::support::{Place, Said};

#[derive(Serialize, Deserialize)]
struct Refund;

impl Task for Refund {
    const NAME: &'static str = "refund";
    type Output = String;
}

#[derive(Serialize, Deserialize)]
struct Train;

impl Task for Train {
    const NAME: &'static str = "train";
    type Output = f64;
}

/// A file with three tasks that wait for somebody, and one on an engine; nobody works on it any more.
fn place() -> Place {
    let place = Place::new();
    let refund = |_: Refund, _: &Context| Err(Failure::outside("approval by \u{202e}finance"));
    let cluster = NamedEngine::new("cluster", ScriptedEngine::new());
    let builder = Queue::builder().handle(refund).outside(
        &cluster,
        |_: Train, _| Ok(7.into()),
        |_, ended| ended.json(),
    );
    let clock = ManualClock::at(std::time::SystemTime::now().into());
    let mut tests = SteppedQueue::open_file(builder, &clock, place.path("tasks.db")).unwrap();
    for _ in 0..3 {
        let _ = tests
            .queue()
            .enqueue_with(&Refund, Options::new().timeout(std::time::Duration::from_secs(86_400)));
    }
    let _ = tests.queue().enqueue(&Train).unwrap();
    assert_eq!(tests.run_until_idle().unwrap().went_outside, 4);
    tests.poll_engines().unwrap();
    place
}

fn json(said: &Said) -> Value {
    assert_eq!(said.code, Some(0), "{said:?}");
    serde_json::from_str(&said.out).unwrap_or_else(|e| panic!("{e}: {said:?}"))
}

#[test]
fn what_is_outside_is_shown_and_ended() {
    let place = place();
    let list = place.run(["list"]);
    assert!(list.out.contains("outside, ") && !list.err.contains("no worker"), "{list:?}");
    let stats = place.run(["stats"]);
    assert!(stats.out.contains("no worker runs\n"), "nothing is to run here: {stats:?}");
    let doctor = place.run(["doctor"]);
    assert!(!doctor.out.contains("when it ended"), "{doctor:?}");
    let why = place.run(["explain", "1"]);
    for part in [
        "waits outside since",
        "generation 1",
        "`perdura complete 1 --generation 1`",
        "fails if nobody does by",
    ] {
        assert!(why.out.contains(part), "{part}: {why:?}");
    }
    assert!(!why.out.contains('\u{202e}'), "{why:?}");
    let engine = place.run(["explain", "4"]);
    assert!(
        engine.out.contains("runs on the engine \"cluster\"") && engine.out.contains("no worker runs"),
        "{engine:?}"
    );
    let show = place.run(["show", "1"]);
    assert!(show.out.contains("outside    waits for \"approval by"), "{show:?}");
    let show = json(&place.run(["show", "4", "--json"]));
    assert_eq!(show["task"]["outside"]["engine"], "cluster");

    let done = place.run(["complete", "1", "--generation", "1", "--result", "\"yes\""]);
    assert_eq!((done.code, done.out.as_str()), (Some(0), "task 1 is SUCCEEDED\n"), "{done:?}");
    assert_eq!(place.run(["show", "1", "--only", "result"]).out, "\"yes\"\n");
    let failed = place.run(["fail", "2", "--generation", "1", "--message", "no", "--retry-in", "1h"]);
    assert_eq!(failed.out, "task 2 is QUEUED, for its next attempt\n", "{failed:?}");
    let failed = json(&place.run([
        "fail",
        "3",
        "--generation",
        "1",
        "--error-type",
        "declined",
        "--permanent",
        "--json",
    ]));
    assert_eq!((&failed["state"], &failed["error_type"]), (&"FAILED".into(), &"declined".into()));
    let cancel = place.run(["cancel", "4"]);
    assert_eq!(cancel.code, Some(0), "{cancel:?}");
    assert_eq!(
        place.record(4_i64.to_string().parse().unwrap()).state,
        State::Running,
        "its engine has to say that"
    );
}

#[test]
fn an_answer_that_ends_nothing_says_why() {
    let place = place();
    for (words, code, why) in [
        (vec!["complete", "1", "--generation", "2"], 3, "task 1 is run by generation 1, not 2"),
        (vec!["complete", "99", "--generation", "1"], 3, "there is no task 99"),
        (vec!["complete", "1"], 2, "--generation <N> is missing"),
        (vec!["complete", "1", "--generation", "1", "--result", "{secret"], 2, "it is not JSON"),
        (vec!["fail", "1", "--generation", "1", "--permanent", "--retry-in", "1h"], 2, "exclude each other"),
    ] {
        let said = place.run(&words);
        assert_eq!(said.code, Some(code), "{said:?}");
        assert!(said.err.contains(why), "{why}: {said:?}");
    }
    assert_eq!(place.run(["complete", "1", "--generation", "1"]).code, Some(0));
    let again = place.run(["complete", "1", "--generation", "1"]);
    assert!(
        again.code == Some(3) && again.err.contains("is SUCCEEDED, and no attempt of it runs"),
        "{again:?}"
    );
}
