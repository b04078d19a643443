//! What docs/outside.md says of a person who answers, of an engine, and of Ray.

use perdura::engine::{JobEnd, NamedEngine};
use perdura::testing::{ManualClock, ScriptedEngine, SteppedQueue};
use perdura::{Context, Error, ErrorKind, Failure, Queue, State, Task};
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Serialize, Deserialize)]
struct Refund {
    approver: String,
}

impl Task for Refund {
    const NAME: &'static str = "refund";
    type Output = String;
}

#[derive(Serialize, Deserialize)]
struct Train {
    epochs: u32,
}

impl Task for Train {
    const NAME: &'static str = "train";
    type Output = f64;
}

fn refund(_: Refund, _: &Context) -> Result<String, Failure> {
    Err(Failure::outside("approval by finance"))
}

#[test]
fn a_person_answers_and_a_second_answer_does_no_harm() -> Result<(), Error> {
    let tests = SteppedQueue::open(Queue::builder().handle(refund), &ManualClock::new())?;
    let queue = tests.queue();
    let id = queue.enqueue(&Refund { approver: "ada".into() })?.id();
    tests.run_until_idle()?;
    let generation = queue.get(id)?.generation;
    queue.complete::<Refund>(id, generation, &"approved".to_owned())?;
    let again = queue.complete::<Refund>(id, generation, &"approved".to_owned()).unwrap_err();
    assert_eq!((queue.get(id)?.state, again.kind()), (State::Succeeded, ErrorKind::Superseded));
    Ok(())
}

#[test]
fn a_cluster_trains() -> Result<(), Error> {
    let engine = ScriptedEngine::new();
    let script = engine.clone();
    let cluster = NamedEngine::new("cluster", engine).limit(20);
    let builder = Queue::builder().outside(
        &cluster,
        |task: Train, _: &Context| Ok(json!({ "entrypoint": format!("train.py --epochs {}", task.epochs) })),
        |_, ended| ended.json(), // the task's output, or its failure
    );
    let mut tests = SteppedQueue::open(builder, &ManualClock::new())?;
    let id = tests.queue().enqueue(&Train { epochs: 3 })?.id();
    tests.run_until_idle()?;
    tests.poll_engines()?;
    let job = script.jobs().remove(0);
    assert_eq!(script.spec(&job)["entrypoint"], "train.py --epochs 3");
    script.finish(&job, JobEnd::Succeeded, "0.25");
    tests.advance(std::time::Duration::from_secs(2))?;
    tests.poll_engines()?;
    assert_eq!(tests.queue().result::<Train>(id)?, Some(0.25));
    Ok(())
}

#[cfg(feature = "ray")]
#[test]
fn a_ray_cluster_trains() -> Result<(), Error> {
    use perdura::ray::{RayEngine, RayJob};
    let ray = NamedEngine::new("ray", RayEngine::new("http://127.0.0.1:8265")?).forget(true);
    let builder = Queue::builder().outside(
        &ray,
        |task: Train, _| {
            Ok(RayJob::new(format!("python train.py --epochs {}", task.epochs))
                .working_dir("train")
                .num_gpus(1.0))
        },
        |_, ended| ended.json(), // the last line that the job has written
    );
    let tests = SteppedQueue::open(builder, &ManualClock::new())?;
    let id = tests.queue().enqueue(&Train { epochs: 3 })?.id();
    assert_eq!(tests.run_until_idle()?.went_outside, 1);
    let told = tests.queue().explain(id)?.to_string();
    assert!(told.contains("is to be started on the engine \"ray\""), "{told}");
    Ok(())
}
