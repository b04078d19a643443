//! What docs/schedules-and-limits.md says of its examples, on a clock of its own.

use std::time::Duration;

use perdura::testing::{ManualClock, SteppedQueue};
use perdura::{
    Context, Failure, Filter, Hold, Missed, OnConflict, Options, Overlap, Queue, Rate, Schedule, State, Task,
    Unique,
};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct BackUp {
    folder: String,
}

impl Task for BackUp {
    const NAME: &'static str = "back up";
    type Output = ();
}

#[derive(Serialize, Deserialize)]
struct Sync {
    account: u32,
}

impl Task for Sync {
    const NAME: &'static str = "sync";
    type Output = ();
}

fn back_up(task: BackUp, cx: &Context) -> Result<(), Failure> {
    assert!(cx.tick()?.is_some() && task.folder == "/srv");
    Ok(())
}

#[test]
fn the_nightly_job() {
    let nightly = Schedule::cron("nightly", "30 2 * * *")
        .time_zone("Europe/Berlin")
        .options(Options::new().max_attempts(5));
    let builder = Queue::builder().handle(back_up).schedule(nightly, &BackUp { folder: "/srv".into() });
    let mut tests = SteppedQueue::open(builder, &ManualClock::new()).unwrap();
    tests.advance(Duration::from_secs(24 * 3600)).unwrap();
    assert_eq!(tests.run_until_idle().unwrap().succeeded, 1);
    assert_eq!(tests.queue().tasks(Filter::new()).unwrap()[0].max_attempts, 5);
}

#[test]
fn a_laptop_that_slept_through_three_ticks() {
    let hour = Duration::from_secs(3600);
    let latest = Schedule::every("look for mail", hour);
    let skip = Schedule::every("remind to stretch", hour).missed(Missed::Skip);
    let all =
        Schedule::every("report of the hour", hour).missed(Missed::All { cap: 24 }).overlap(Overlap::Queue);
    for (schedule, runs) in [(latest, 1), (skip, 0), (all, 3)] {
        let name = format!("{schedule:?}");
        let sync = |_: Sync, _: &Context| Ok::<(), Failure>(());
        let builder = Queue::builder().handle(sync).schedule(schedule, &Sync { account: 7 });
        let mut tests = SteppedQueue::open(builder, &ManualClock::new()).unwrap();
        tests.clock().suspend(hour * 3 + hour / 2);
        tests.tick().unwrap();
        tests.run_until_idle().unwrap();
        let done = tests.queue().count(Filter::new().state(State::Succeeded)).unwrap();
        assert_eq!(done, runs, "{name}");
    }
}

#[test]
fn schedules_at_run_time() -> Result<(), perdura::Error> {
    let queue = Queue::builder().open_temporary()?;
    queue.set_schedule(Schedule::every("sync account 7", Duration::from_secs(900)), &Sync { account: 7 })?;
    queue.pause_schedule("sync account 7")?;
    queue.resume_schedule("sync account 7")?;
    let now = queue.run_schedule_now("sync account 7")?; // beside its ticks
    let next = queue.preview("sync account 7", 3)?;
    queue.remove_schedule("sync account 7")?;
    assert_eq!((queue.get(now)?.state, next.len()), (State::Queued, 3));
    Ok(())
}

#[derive(Serialize, Deserialize)]
struct Call {
    url: String,
}

impl Task for Call {
    const NAME: &'static str = "call";
    type Output = usize;
    fn options(&self) -> Options {
        Options::new().queue("api")
    }
}

enum Reply {
    Ok(String),
    TooManyRequests(Duration),
}

/// A server that wants half a minute of rest before it answers the second call.
fn ask(url: &str) -> Reply {
    use std::sync::atomic::{AtomicU32, Ordering};
    static CALLS: AtomicU32 = AtomicU32::new(0);
    match CALLS.fetch_add(1, Ordering::Relaxed) {
        1 => Reply::TooManyRequests(Duration::from_secs(30)),
        _ => Reply::Ok(url.to_owned()),
    }
}

#[test]
fn the_polite_client_of_an_api() -> Result<(), perdura::Error> {
    let call = |task: Call, _: &Context| match ask(&task.url) {
        Reply::Ok(body) => Ok(body.len()),
        Reply::TooManyRequests(wait) => Err(Failure::throttle(wait)), // 429, with its Retry-After: it holds for all calls
    };
    let mut tests = SteppedQueue::open(Queue::builder().handle(call), &ManualClock::new())?;
    let queue = tests.queue();
    queue.set_rate("api", Some(Rate::per(Duration::from_secs(60), 50).burst(5)))?; // the API's own limit
    let calls: Vec<Call> = (0..8).map(|n| Call { url: format!("https://example.org/{n}") }).collect();
    let _ = queue.enqueue_all(&calls)?;
    let ran = tests.run_until_idle()?;
    assert_eq!((ran.succeeded, ran.handed_back), (1, 1), "the second call closes the queue");
    tests.advance(Duration::from_secs(30))?;
    assert_eq!(tests.run_until_idle()?.succeeded, 5, "a burst, after the rest");
    tests.advance(Duration::from_secs(60))?;
    assert_eq!(tests.run_until_idle()?.succeeded, 2);
    assert!(tests.queue().tasks(Filter::new())?.iter().all(|task| task.attempt_number == 1));
    Ok(())
}

#[derive(Serialize, Deserialize)]
struct Fetch {
    host: String,
    page: u32,
}

impl Task for Fetch {
    const NAME: &'static str = "fetch";
    type Output = ();
    fn options(&self) -> Options {
        Options::new().serial(&self.host) // or .limit(&self.host, 2): two at once, and none waits for the retries of others
    }
}

#[test]
fn one_at_a_time_for_each_host() -> Result<(), perdura::Error> {
    let fetch = |task: Fetch, _: &Context| match task.page {
        0 => Err(Failure::named("Busy", "try again")),
        _ => Ok(()),
    };
    let mut tests = SteppedQueue::open(Queue::builder().handle(fetch), &ManualClock::new())?;
    let queue = tests.queue().clone();
    let pages = [("a.example", 0), ("a.example", 1), ("b.example", 1)];
    let pages = pages.map(|(host, page)| Fetch { host: host.into(), page });
    let made = queue.enqueue_all(&pages)?;
    let ran = tests.run_until_idle()?;
    assert_eq!((ran.failed, ran.succeeded), (1, 1), "the other host does not wait");
    assert_eq!(queue.get(made[1].id())?.hold, Some(Hold::Limit), "the retry comes first");
    for _ in 0..2 {
        tests.advance(Duration::from_secs(3600))?;
        tests.run_until_idle()?;
    }
    let states = [0, 1].map(|n| queue.get(made[n].id()).map(|task| task.state));
    assert_eq!(states.map(Result::unwrap), [State::Failed, State::Succeeded]);
    Ok(())
}

#[test]
fn the_sync_that_waits_until_the_typing_stops() -> Result<(), perdura::Error> {
    let sync = |_: Sync, _: &Context| Ok::<(), Failure>(());
    let mut tests = SteppedQueue::open(Queue::builder().handle(sync), &ManualClock::new())?;
    let queue = tests.queue();
    let sync =
        Unique::key("account 7").on_conflict(OnConflict::Debounce { max_wait: Duration::from_secs(60) });
    let soon = Options::new().delay(Duration::from_secs(5)).unique(sync);
    let _ = queue.enqueue_with(&Sync { account: 7 }, soon.clone())?; // one task, five seconds after the last of these calls,
    let _ = queue.enqueue_with(&Sync { account: 7 }, soon)?; // and a minute after the first at the latest
    assert_eq!(queue.tasks(Filter::new())?.len(), 1);
    tests.advance(Duration::from_secs(5))?;
    assert_eq!(tests.run_until_idle()?.succeeded, 1);
    Ok(())
}
