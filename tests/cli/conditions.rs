//! Conditions and steps from the shell.

use perdura::{Context, Failure, Hold, Queue, State, Task};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::support::{Place, Said, await_that};

fn json(said: &Said) -> Value {
    assert_eq!(said.code, Some(0), "{said:?}");
    serde_json::from_str(&said.out).unwrap_or_else(|e| panic!("{e}: {said:?}"))
}

#[test]
fn a_job_waits_for_a_condition_until_somebody_says_that_it_is_met() {
    let place = Place::new();
    assert_eq!(place.run(["init"]).code, Some(0));
    let list = place.run(["condition"]);
    assert_eq!((list.code, list.out.as_str()), (Some(0), ""), "{list:?}");
    assert!(list.err.contains("no task needs a condition"), "{list:?}");
    let id = place.add(["--needs", "online", "--needs-throughout", "on_mains", "--", "true"]);
    let id = id.to_string();
    // Who works to the end does not wait for it, and says what is left.
    let work = place.run(["work", "--drain"]);
    assert_eq!(work.code, Some(0), "{work:?}");
    assert!(
        work.err.contains("1 task waits for a condition or free disk; `perdura explain ID` says for which"),
        "{work:?}"
    );
    let why = place.run(["explain", id.as_str()]);
    assert!(
        why.out.contains("waits for the condition \"online\", of which nobody has said anything yet"),
        "{why:?}"
    );
    assert!(why.out.contains("`perdura condition online on` says that it is met"), "{why:?}");
    let list = place.run(["list"]);
    assert!(list.out.contains("needs online"), "{list:?}");
    let now = place.run(["run-now", id.as_str()]);
    assert!(now.err.contains("it goes on when somebody says that it is met"), "{now:?}");
    let show = place.run(["show", id.as_str()]);
    assert!(show.out.contains("needs      online, on_mains (while it runs, too)\n"), "{show:?}");
    let show = json(&place.run(["show", id.as_str(), "--json"]));
    assert_eq!(show["task"]["needs"]["waits_for"], "online");
    assert_eq!(show["task"]["needs"]["throughout"], serde_json::json!(["on_mains"]));

    let on = place.run(["condition", "online", "on"]);
    assert_eq!(
        (on.code, on.out.as_str()),
        (Some(0), "the condition online is met, and lets 1 task on\n"),
        "{on:?}"
    );
    let on = json(&place.run(["condition", "on_mains", "on", "--json"]));
    assert_eq!(
        (&on["name"], &on["is_met"], &on["by_owner"]),
        (&"on_mains".into(), &true.into(), &false.into())
    );
    let list = place.run(["condition"]);
    for part in ["CONDITION", "on_mains", "online", "met", "another"] {
        assert!(list.out.contains(part), "{part}: {list:?}");
    }
    let stats = place.run(["stats"]);
    assert!(stats.out.contains("CONDITION"), "{stats:?}");
    let work = place.run(["work", "--drain"]);
    assert_eq!(work.code, Some(0), "{work:?}");
    assert_eq!(place.record(id.parse().unwrap()).state, State::Succeeded);
    let off = place.run(["condition", "online", "off"]);
    assert_eq!(off.out, "the condition online is not met\n", "{off:?}");
    let one = place.run(["condition", "online"]);
    assert!(one.out.starts_with("the condition online is not met, as was said "), "{one:?}");
}

/// A job that is told to stop because its condition is gone waits for it again, and that does not count.
#[test]
fn a_running_job_that_needs_a_condition_throughout_is_told_to_stop() {
    let place = Place::new();
    assert_eq!(place.run(["init"]).code, Some(0));
    assert_eq!(place.run(["condition", "on_mains", "on"]).code, Some(0));
    let id = place.add(["--needs-throughout", "on_mains", "--", "sleep", "600"]);
    let worker = place.start(place.command(["work"]));
    await_that("the job runs", || place.record(id).state == State::Running);
    assert_eq!(place.run(["condition", "on_mains", "off"]).code, Some(0));
    await_that("the job waits again", || place.record(id).hold == Some(Hold::Condition));
    let task = place.record(id);
    assert_eq!((task.attempt_number, task.generation, task.error_type), (0, 1, None));
    drop(worker);
}

#[test]
fn what_is_wrong_about_conditions_is_said_by_name() {
    let place = Place::new();
    place.add(["--needs", "online", "--", "true"]);
    let unknown = place.run(["condition", "onlnie"]);
    assert_eq!(unknown.code, Some(3), "{unknown:?}");
    assert!(unknown.err.contains("the file knows no condition \"onlnie\"; it knows online"), "{unknown:?}");
    let new = place.run(["condition", "onlnie", "on"]);
    assert_eq!(new.code, Some(0), "{new:?}");
    assert!(new.err.contains("no task has needed it so far; is the name spelt as they do?"), "{new:?}");
    let maybe = place.run(["condition", "online", "maybe"]);
    assert_eq!(maybe.code, Some(2), "{maybe:?}");
    assert!(maybe.err.contains("on, off"), "{maybe:?}");
    for (size, is_right) in
        [("5G", true), ("500m", true), ("17", true), ("5X", false), ("", false), ("99999999T", false)]
    {
        let said = place.run(["add", "--needs-free-disk", size, "--", "true"]);
        assert_eq!(said.code, Some(if is_right { 0 } else { 2 }), "{size}: {said:?}");
        assert!(is_right || said.err.contains("such as 500M"), "{size}: {said:?}");
    }
}

#[derive(Serialize, Deserialize)]
struct Order;

impl Task for Order {
    const NAME: &'static str = "order";
    type Output = ();
}

#[test]
fn show_lists_the_steps_that_are_done() {
    let place = Place::new();
    let order = |_: Order, cx: &Context| -> Result<(), Failure> {
        cx.step("charge", || Ok("receipt 17".to_owned()))?;
        cx.step_n("page", 3, || Ok(vec!["x".repeat(300)]))?;
        cx.sleep("cooldown", std::time::Duration::from_secs(600))
    };
    let queue = Queue::builder().handle(order).open(place.path("tasks.db")).unwrap();
    let id = queue.enqueue(&Order).unwrap().id();
    await_that("it sleeps", || queue.get(id).unwrap().snoozes == 1);
    drop(queue);
    let said = place.run(["show", id.to_string().as_str()]);
    for part in [
        "steps that are done",
        "charge  ",
        "\"receipt 17\"",
        "page 3  ",
        "cooldown  ",
        "(a sleep)",
        "sleeps (\"cooldown\") until ",
    ] {
        assert!(said.out.contains(part), "{part}: {said:?}");
    }
    let is_short = |line: &str| !line.contains("page 3") || line.chars().count() <= 102;
    assert!(said.out.lines().all(is_short), "{said:?}");
    let said = json(&place.run(["show", id.to_string().as_str(), "--json"]));
    let steps = said["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 3);
    let of = |name: &str| steps.iter().find(|step| step["name"] == name).unwrap();
    assert_eq!((&of("charge")["result"], &of("charge")["is_sleep"]), (&"receipt 17".into(), &false.into()));
    assert_eq!((&of("page")["number"], &of("cooldown")["is_sleep"]), (&3.into(), &true.into()));
    let retried = place.run(["cancel", id.to_string().as_str()]);
    assert_eq!(retried.code, Some(0), "{retried:?}");
    let retried = place.run(["retry", "--from-start", id.to_string().as_str()]);
    assert_eq!(retried.code, Some(0), "{retried:?}");
    let said = json(&place.run(["show", id.to_string().as_str(), "--json"]));
    assert_eq!(said["steps"], serde_json::json!([]));
}
