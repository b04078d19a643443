//! Tasks that were running when a process died: in which order they run again, one at a time, and who waits for whom.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use perdura::testing::{ManualClock, SteppedQueue};
use perdura::{Builder, Config, Context, Failure, Hold, LostRetry, Options, Queue, State, TaskId};

use crate::support::*;

/// A file in which tasks of these priorities were running when their processes died, in the order of their enqueues. Each next one must
/// go before those that are there, so that it is the one that the next process runs.
fn died_in(folder: &Folder, clock: &ManualClock, priorities: &[i16]) -> Vec<TaskId> {
    let open = || builder(Config::default()).clock(clock.clone());
    let mut ids = Vec::new();
    for priority in priorities {
        let tests = SteppedQueue::open_file(open(), clock, folder.file()).unwrap();
        ids.push(add(tests.queue(), &Do::Ok(0), Options::new().priority(*priority).max_attempts(9)));
        let (_, claimed) = tests.crash_in_attempt(true).unwrap();
        assert_eq!(claimed.as_ref(), ids.last());
    }
    ids
}

#[test]
fn g06_suspects_take_turns_by_priority_and_then_by_id() {
    let (folder, clock) = (Folder::in_memory(), ManualClock::new());
    let ids = died_in(&folder, &clock, &[0, 3, 7]);
    let tests =
        SteppedQueue::open_file(builder(Config::default()).clock(clock.clone()), &clock, folder.file());
    let tests = tests.unwrap();
    let holds = || {
        let hold = |id: &TaskId| tests.queue().get(*id).unwrap().hold;
        ids.iter().map(hold).collect::<Vec<_>>()
    };
    assert_eq!(holds(), [Some(Hold::Suspect), Some(Hold::Suspect), Some(Hold::Ready)]);
    // Whoever has the turn and is not claimed gives it to one that goes before it.
    tests.queue().pause("default").unwrap();
    assert_eq!(holds(), [Some(Hold::Suspect); 3]);
    tests.queue().resume("default").unwrap();
    assert_eq!(holds(), [Some(Hold::Suspect), Some(Hold::Suspect), Some(Hold::Ready)]);
    for (left, id) in ids.iter().enumerate().rev() {
        assert_eq!(tests.run_one().unwrap(), Some(perdura::testing::Ran::Succeeded(*id)));
        let turns = holds().into_iter().filter(|hold| *hold == Some(Hold::Ready)).count();
        assert_eq!(turns, usize::from(left > 0));
    }
    assert_sound(tests.queue());
}

#[test]
fn g06_a_suspect_of_high_priority_does_not_wait_for_one_that_has_the_turn_and_is_never_claimed() {
    let (folder, clock) = (Folder::in_memory(), ManualClock::new());
    let low = died_in(&folder, &clock, &[0])[0];
    let open = |lost_retry| {
        let config = Config::default().lost_retry(lost_retry);
        SteppedQueue::open_file(builder(config).clock(clock.clone()), &clock, folder.file()).unwrap()
    };
    let tests = open(LostRetry::Immediate);
    let high = add(tests.queue(), &Do::Ok(1), Options::new().priority(100).max_attempts(9));
    assert_eq!(tests.crash_in_attempt(true).unwrap().1, Some(high));
    let mut tests = open(LostRetry::Backoff);
    let hold = |tests: &SteppedQueue, id| tests.queue().get(id).unwrap().hold;
    assert_eq!([hold(&tests, low), hold(&tests, high)], [Some(Hold::Ready), Some(Hold::Time)]);
    let why = tests.queue().explain(high).unwrap();
    assert_eq!(why.task.reasons, [Hold::Time, Hold::Suspect]);
    assert!(why.to_string().contains("; after that it waits for its turn among"), "{why}");
    tests.advance(MINUTE * 60).unwrap();
    assert_eq!([hold(&tests, low), hold(&tests, high)], [Some(Hold::Suspect), Some(Hold::Ready)]);
    assert_sound(tests.queue());
}

#[test]
fn g06_run_now_lets_a_suspect_go_that_waits_for_its_turn() {
    let (folder, clock) = (Folder::in_memory(), ManualClock::new());
    let ids = died_in(&folder, &clock, &[0, 5]);
    let tests =
        SteppedQueue::open_file(builder(Config::default()).clock(clock.clone()), &clock, folder.file());
    let tests = tests.unwrap();
    let waits = tests.queue().explain(ids[0]).unwrap().to_string();
    assert!(waits.contains("waits for its turn") && waits.contains("run_now"), "{waits}");
    tests.queue().run_now(ids[0]).unwrap();
    assert_eq!(tests.queue().get(ids[0]).unwrap().hold, Some(Hold::Ready));
    assert_sound(tests.queue());
    assert_eq!(tests.run_until_idle().unwrap().succeeded, 2);
    assert_sound(tests.queue());
}

/// A handler that tells which task starts. Tasks that were running when a process died stay until the test lets them go.
fn staying() -> (Builder, Receiver<TaskId>, Sender<()>) {
    let (tell, started) = channel();
    let (go, may_go) = channel();
    let may_go = Mutex::new(may_go);
    let handler = move |task: Do, cx: &Context| -> Result<u64, Failure> {
        tell.send(cx.id()).expect("the test listens");
        if task == Do::Ok(0) {
            may_go.lock().unwrap().recv().expect("the test says so");
        }
        Ok(0)
    };
    (Queue::builder().workers(2).handle(handler), started, go)
}

#[test]
fn g06_a_suspect_that_hangs_passes_the_turn_on() {
    let (folder, clock) = (Folder::in_memory(), ManualClock::new());
    let ids = died_in(&folder, &clock, &[0, 5]);
    let (builder, started, go) = staying();
    let queue = builder.clock(clock.clone()).open(folder.file()).unwrap();
    let (started, go) = (started, go); // they go before the queue, so that handlers end if this test fails
    assert_eq!(started.recv_timeout(PATIENCE).unwrap(), ids[1], "the one of higher priority");
    assert_eq!(queue.get(ids[0]).unwrap().hold, Some(Hold::Suspect));
    clock.advance(SECOND * 59);
    add(&queue, &Do::Ok(1), Options::new().delay(MINUTE * 600)); // wakes the timer, as whatever falls due sooner than all else
    let innocent = add(&queue, &Do::Ok(1), Options::new().priority(9));
    assert_eq!(started.recv_timeout(PATIENCE).unwrap(), innocent, "a worker is free");
    assert_eq!(queue.wait(innocent, PATIENCE).unwrap().state, State::Succeeded);
    assert_eq!(queue.get(ids[0]).unwrap().hold, Some(Hold::Suspect), "the minute is not over");
    clock.advance(SECOND * 2);
    add(&queue, &Do::Ok(1), Options::new().delay(MINUTE * 10));
    assert_eq!(started.recv_timeout(PATIENCE).unwrap(), ids[0]);
    assert_eq!(queue.get(ids[1]).unwrap().state, State::Running, "it hangs still");
    assert_sound(&queue);
    ids.iter().for_each(|_| go.send(()).unwrap());
    for id in ids {
        assert_eq!(queue.wait(id, PATIENCE).unwrap().state, State::Succeeded);
    }
}
