//! Looking at many tasks at once: rollups, output, groups of failures, served queues.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use perdura::inspect::Histogram;
use perdura::testing::{ManualClock, SteppedQueue};
use perdura::{
    Builder, Clock, Context, ErrorKind, Failure, Filter, Hold, Options, OutputStream, Queue, State, Task,
    TaskId, Timestamp,
};
use serde::{Deserialize, Serialize};

/// What a task is to do in its attempt: as `ways[attempt - 1]` says, or the last of them.
#[derive(Serialize, Deserialize, Clone)]
struct Do(Vec<Way>);

#[derive(Serialize, Deserialize, Clone)]
enum Way {
    Succeed,
    Fail(String),
    /// Writes so many bytes first.
    Write(usize),
    Snooze,
    Cancel,
}

impl Task for Do {
    const NAME: &'static str = "do";
    type Output = ();
}

fn act(task: Do, cx: &Context) -> Result<(), Failure> {
    let attempt = cx.attempt_number() as usize;
    match task.0.get(attempt - 1).or(task.0.last()).unwrap() {
        Way::Succeed => Ok(()),
        Way::Fail(message) => Err(Failure::named("app.Broken", message)),
        Way::Write(bytes) => {
            let text = format!("attempt {attempt} ");
            cx.write_output(OutputStream::Stdout, &text.repeat(bytes.div_ceil(text.len()))[..*bytes]);
            Err(Failure::named("app.Full", "no more"))
        }
        Way::Snooze => {
            cx.write_output(OutputStream::Stderr, "not yet");
            Err(Failure::snooze(Duration::from_secs(1)))
        }
        Way::Cancel => Err(Failure::cancel("enough")),
    }
}

fn fail(message: &str) -> Way {
    Way::Fail(message.to_owned())
}

fn stepped(builder: Builder) -> (SteppedQueue, ManualClock) {
    let clock = ManualClock::new();
    let queue = SteppedQueue::open(builder.clock(clock.clone()).handle(act), &clock).unwrap();
    (queue, clock)
}

fn enqueue(tests: &SteppedQueue, ways: &[Way], options: Options) -> TaskId {
    tests.queue().enqueue_with(&Do(ways.to_vec()), options).unwrap().id()
}

#[test]
fn each_attempt_that_ends_counts_once_in_its_minute() {
    let (mut tests, clock) = stepped(Queue::builder());
    let began = perdura::Clock::now(&clock);
    enqueue(&tests, &[fail("a"), Way::Succeed], Options::new());
    enqueue(&tests, &[fail("b")], Options::new().max_attempts(1));
    enqueue(&tests, &[Way::Cancel], Options::new());
    enqueue(&tests, &[Way::Snooze, Way::Succeed], Options::new());
    tests.run_until_idle().unwrap();
    tests.advance(Duration::from_secs(300)).unwrap();
    tests.run_until_idle().unwrap();
    let all = tests.queue().rollups(began.to_system_time()).unwrap();
    let [first, second] = &all[..] else { panic!("{all:#?}") };
    assert_eq!(
        (first.task_name.as_str(), second.minute.since(first.minute)),
        ("do", Duration::from_secs(300))
    );
    assert_eq!(
        (first.retried, first.failed, first.cancelled, first.succeeded, first.ended()),
        (1, 1, 1, 0, 3)
    );
    assert!(second.succeeded >= 1 && second.ended() == second.succeeded, "{second:?}");
    assert_eq!(first.ran.count(), 3);
    assert_eq!(first.waited.count(), 3, "a snooze is no attempt");
    assert!(
        second.waited.quantile(1.0).unwrap() >= Duration::from_secs(200),
        "it was due 240 s ago: {second:?}"
    );
    let later = began.saturating_add(Duration::from_secs(120));
    assert_eq!(tests.queue().rollups(later.to_system_time()).unwrap(), all[1..]);
}

#[test]
fn a_day_of_minutes_is_kept_and_no_more() {
    let (tests, clock) = stepped(Queue::builder());
    for hour in 0..30 {
        enqueue(&tests, &[Way::Succeed], Options::new());
        tests.run_until_idle().unwrap();
        assert!(hour < 29 || tests.queue().check().unwrap().is_ok());
        clock.advance(Duration::from_secs(3600));
    }
    let minutes = tests.queue().rollups(Timestamp::from_millis(0).to_system_time()).unwrap();
    assert_eq!(minutes.len(), 25, "those of the last 24 hours, both ends included");
    let mut all = Histogram::default();
    minutes.iter().for_each(|minute| all.merge(&minute.ran));
    assert_eq!(all.count(), 25);
}

#[test]
fn an_attempt_that_its_process_took_along_counts_as_lost() {
    let (tests, clock) = stepped(Queue::builder());
    enqueue(&tests, &[Way::Succeed], Options::new().max_attempts(1));
    let (crashed, _) = tests.crash_in_attempt(true).unwrap();
    let tests = crashed.reopen(Queue::builder().clock(clock).handle(act)).unwrap();
    tests.run_until_idle().unwrap();
    let all = tests.queue().rollups(Timestamp::from_millis(0).to_system_time()).unwrap();
    assert_eq!(all.iter().map(|minute| minute.lost).sum::<u64>(), 1, "{all:?}");
    assert_eq!(all.iter().map(|minute| minute.ran.count()).sum::<u64>(), 0, "nobody knows how long it ran");
}

#[test]
fn an_attempt_that_is_lost_and_tried_again_has_no_length() {
    let (tests, clock) = stepped(Queue::builder());
    enqueue(&tests, &[Way::Succeed], Options::new());
    let (crashed, _) = tests.crash_in_attempt(true).unwrap();
    let tests = crashed.reopen(Queue::builder().clock(clock).handle(act)).unwrap();
    tests.run_until_idle().unwrap();
    let all = tests.queue().rollups(Timestamp::from_millis(0).to_system_time()).unwrap();
    let [minute] = &all[..] else { panic!("{all:?}") };
    assert_eq!((minute.retried, minute.succeeded, minute.ran.count()), (1, 1, 1));
}

#[test]
fn output_is_kept_with_the_attempt_and_cut_in_the_middle() {
    let (mut tests, _clock) = stepped(Queue::builder());
    let long = 200_000;
    let id = enqueue(&tests, &[Way::Write(10), Way::Write(long), Way::Succeed], Options::new());
    tests.run_until_idle().unwrap();
    tests.advance(Duration::from_secs(60)).unwrap();
    tests.run_until_idle().unwrap();
    let queue = tests.queue();
    let first = &queue.output(id, Some(1)).unwrap()[0];
    assert_eq!((first.first_text(), first.bytes, first.left_out()), ("attempt 1 ".into(), 10, 0));
    let newest = &queue.output(id, None).unwrap()[0];
    assert_eq!((newest.generation, newest.stream, newest.bytes), (2, OutputStream::Stdout, long as u64));
    assert_eq!((newest.first.len(), newest.last.len()), (16 * 1024, 48 * 1024));
    assert_eq!(newest.left_out(), long as u64 - 64 * 1024);
    assert!(newest.first.starts_with(b"attempt 2 "));
    assert!(queue.check().unwrap().is_ok());
    queue.cancel(id).unwrap();
    queue.delete(id).unwrap();
    assert!(queue.output(id, None).unwrap().is_empty());
    assert!(queue.check().unwrap().is_ok(), "nothing is left of it");
}

#[test]
fn output_of_attempts_that_nobody_can_look_at_goes() {
    let (mut tests, _clock) = stepped(Queue::builder());
    let snoozes = enqueue(&tests, &[Way::Snooze], Options::new());
    let fails = enqueue(&tests, &[Way::Write(5)], Options::new().max_attempts(60).backoff(Duration::ZERO));
    for _ in 0..30 {
        tests.run_until_idle().unwrap();
        tests.advance(Duration::from_secs(2)).unwrap();
    }
    let queue = tests.queue();
    let kept = |id, generation| !queue.output(id, Some(generation)).unwrap().is_empty();
    let newest = queue.get(snoozes).unwrap().generation;
    assert_eq!((1..=newest).filter(|generation| kept(snoozes, *generation)).count(), 1, "the newest snooze");
    let shown: Vec<u64> = queue.attempts(fails).unwrap().iter().map(|attempt| attempt.generation).collect();
    let newest = queue.get(fails).unwrap().generation;
    assert!(newest > 25 && shown.len() == 20);
    assert_eq!((1..=newest).filter(|generation| kept(fails, *generation)).collect::<Vec<_>>(), shown);
    assert!(queue.check().unwrap().is_ok());
}

#[test]
fn failures_are_grouped_the_largest_first() {
    let (tests, _clock) = stepped(Queue::builder());
    let once = || Options::new().max_attempts(1);
    for n in 0..5 {
        enqueue(&tests, &[fail(&format!("order {n} was refused"))], once());
    }
    let other = enqueue(&tests, &[fail("no such host")], once());
    enqueue(&tests, &[Way::Cancel], once());
    tests.run_until_idle().unwrap();
    let failures = tests.queue().failures(Filter::new()).unwrap();
    assert_eq!((failures.looked_at, failures.more), (6, false));
    let [orders, hosts] = &failures.groups[..] else { panic!("{failures:?}") };
    assert_eq!((orders.message.as_str(), orders.count, orders.ids.len()), ("order # was refused", 5, 5));
    assert_eq!((hosts.newest, hosts.error_type.as_str()), (other, "app.Broken"));
    let retried = tests.queue().retry_all(Filter::new().ids(orders.ids.clone())).unwrap();
    assert_eq!(retried.changed, 5);
    let failures = tests.queue().failures(Filter::new().limit(1)).unwrap();
    assert_eq!((failures.groups.len(), failures.more), (1, false));
}

#[test]
fn counts_and_pages_agree_with_the_filter() {
    let (tests, _clock) = stepped(Queue::builder());
    for n in 0..7 {
        let options = Options::new().tag(if n % 2 == 0 { "Even" } else { "odd" }).max_attempts(1);
        enqueue(&tests, &[if n < 3 { fail("disk on fire") } else { Way::Succeed }], options);
    }
    tests.run_until_idle().unwrap();
    let queue = tests.queue();
    for (filter, wanted) in [
        (Filter::new(), 7),
        (Filter::new().state(State::Failed), 3),
        (Filter::new().state(State::Failed).state(State::Succeeded).queue("default"), 7),
        (Filter::new().queue("other"), 0),
        (Filter::new().tag("Even"), 4),
        (Filter::new().text("EVEN"), 4),
        (Filter::new().text("disk ON"), 3),
        (Filter::new().text("do"), 7),
        (Filter::new().text("%"), 0),
        (Filter::new().limit(2).tag("odd"), 2),
        (Filter::new().id(TaskId::from_i64(1)).id(TaskId::from_i64(1)), 1),
    ] {
        assert_eq!(queue.count(filter.clone()).unwrap(), wanted, "{filter:?}");
        assert_eq!(queue.tasks(filter.clone()).unwrap().len() as u64, wanted, "{filter:?}");
    }
    let mut seen = Vec::new();
    let mut page = queue.tasks(Filter::new().newest_first().limit(3)).unwrap();
    while let Some(last) = page.last() {
        let next = Filter::new().newest_first().limit(3).before_id(last.task_id);
        seen.extend(page.iter().map(|task| task.task_id.as_i64()));
        page = queue.tasks(next).unwrap();
    }
    assert_eq!(seen, [7, 6, 5, 4, 3, 2, 1]);
    let ended = queue.tasks(Filter::new().state(State::Failed).newest_first().limit(2)).unwrap();
    assert_eq!(ended.iter().map(|task| task.task_id.as_i64()).collect::<Vec<_>>(), [3, 2]);
}

#[test]
fn the_oldest_ready_task_of_each_queue_is_told() {
    let (mut tests, clock) = stepped(Queue::builder());
    let began = perdura::Clock::now(&clock);
    enqueue(&tests, &[Way::Succeed], Options::new().queue("a").priority(-5));
    clock.advance(Duration::from_secs(10));
    enqueue(&tests, &[Way::Succeed], Options::new().queue("a").priority(5));
    enqueue(&tests, &[Way::Succeed], Options::new().queue("b").delay(Duration::from_secs(20)));
    assert_eq!(tests.queue().next_due().unwrap(), Some(began.saturating_add(Duration::from_secs(30))));
    let since = tests.queue().ready_since().unwrap();
    assert_eq!(since.into_iter().collect::<Vec<_>>(), [("a".to_owned(), began)]);
    tests.advance(Duration::from_secs(25)).unwrap();
    assert_eq!(
        tests.queue().ready_since().unwrap()["b"],
        began.saturating_add(Duration::from_secs(30)),
        "since it was due"
    );
    let failed = enqueue(&tests, &[fail("x")], Options::new().queue("c").max_attempts(1));
    tests.run_until_idle().unwrap();
    tests.queue().retry(failed).unwrap();
    assert!(tests.queue().ready_since().unwrap().is_empty(), "it is not ready since it was enqueued");
}

#[test]
fn the_retry_schedule_is_the_tasks_own() {
    let (tests, _clock) = stepped(Queue::builder());
    let own =
        enqueue(&tests, &[Way::Succeed], Options::new().max_attempts(4).backoff(Duration::from_secs(5)));
    let usual = enqueue(&tests, &[Way::Succeed], Options::new());
    let seconds = |all: &[u64]| all.iter().map(|s| Duration::from_secs(*s)).collect::<Vec<_>>();
    assert_eq!(tests.queue().retry_schedule(own).unwrap(), seconds(&[5, 10, 20]));
    assert_eq!(tests.queue().retry_schedule(usual).unwrap(), seconds(&[60, 120]));
}

#[derive(Serialize, Deserialize)]
struct Command {
    words: Vec<String>,
}

impl Task for Command {
    const NAME: &'static str = "command";
    type Output = ();
}

#[test]
fn args_are_found_as_they_are_stored_and_as_they_read() {
    let (tests, _clock) = stepped(Queue::builder());
    let queue = tests.queue();
    let words = ["cp", "-a", "say \"hi\"", r"C:\temp\x", "100%", "ÄÖÜ", "日本"];
    let id = queue.enqueue(&Command { words: words.map(str::to_owned).to_vec() }).unwrap().id();
    let _ = queue.enqueue(&Command { words: vec!["cp".into(), "b".into()] }).unwrap();
    for text in [
        "cp -a",
        "CP -A say",
        "say \"hi\"",
        r"C:\temp",
        r"\x 100%",
        "ÄÖÜ 日本",
        r#""cp","-a""#,
        r#"say \"hi"#,
        "%",
        "a say",
    ] {
        let found = queue.tasks(Filter::new().text(text)).unwrap();
        assert_eq!(found.iter().map(|task| task.task_id).collect::<Vec<_>>(), [id], "{text}");
    }
    for text in ["cp  -a", "-a,say", "äöü", r"C:\\\\temp", "cp - a"] {
        assert_eq!(queue.tasks(Filter::new().text(text)).unwrap(), [], "{text}");
    }
}

#[test]
fn only_the_named_queues_are_served() {
    let (tests, _clock) = stepped(Queue::builder().queues(["mine"]));
    let mine = enqueue(&tests, &[Way::Succeed], Options::new().queue("mine"));
    let other = enqueue(&tests, &[Way::Succeed], Options::new().queue("other"));
    assert_eq!(tests.run_until_idle().unwrap().succeeded, 1);
    let queue = tests.queue();
    assert_eq!(
        (queue.get(mine).unwrap().state, queue.get(other).unwrap().state),
        (State::Succeeded, State::Queued)
    );
    let counts = queue.counts().unwrap();
    assert!(counts.queues["other"].not_served && !counts.queues["mine"].not_served);
    assert!(queue.explain(other).unwrap().to_string().contains("leaves its queue \"other\" to others"));
    let bad = Queue::builder().queues([""]).open_temporary().unwrap_err();
    assert_eq!(bad.kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_suspect_of_a_queue_that_is_not_served_does_not_keep_the_turn() {
    let (tests, clock) = stepped(Queue::builder());
    for queue in ["a", "b"] {
        enqueue(&tests, &[Way::Succeed], Options::new().queue(queue));
    }
    let (crashed, first) = tests.crash_in_attempt(true).unwrap();
    let only_b = || Queue::builder().clock(clock.clone()).queues(["b"]).handle(act);
    let (crashed, second) = crashed.reopen(only_b()).unwrap().crash_in_attempt(true).unwrap();
    assert!(
        first.unwrap() < second.unwrap(),
        "both queues have a suspect now, and the older one is not served"
    );
    let tests = crashed.reopen(only_b()).unwrap();
    tests.run_until_idle().unwrap();
    let states = |tests: &SteppedQueue| {
        let all = tests.queue().tasks(Filter::new()).unwrap();
        all.into_iter().map(|task| (task.state, task.hold)).collect::<Vec<_>>()
    };
    let found = states(&tests);
    assert_eq!(found[1], (State::Succeeded, None), "{found:?}");
    assert!(matches!(found[0].0, State::Queued) && found[0].1 != Some(Hold::Time), "{found:?}");
    let crashed = tests.crash().unwrap();
    let tests = crashed.reopen(Queue::builder().clock(clock).handle(act)).unwrap();
    tests.run_until_idle().unwrap();
    assert_eq!(states(&tests)[0], (State::Succeeded, None), "who serves all runs it");
}

#[test]
fn an_export_keeps_suspects_whose_queue_is_not_served() {
    let (tests, clock) = stepped(Queue::builder());
    enqueue(&tests, &[Way::Succeed], Options::new().queue("a"));
    let (crashed, _) = tests.crash_in_attempt(true).unwrap();
    let only_b = Queue::builder().clock(clock).queues(["b"]).handle(act);
    let tests = crashed.reopen(only_b).unwrap();
    assert_eq!(tests.queue().tasks(Filter::new()).unwrap()[0].hold, Some(Hold::Suspect));
    let mut text = Vec::new();
    tests.queue().export(&mut text).unwrap();
    let folder = crate::support::Folder::new();
    Queue::builder().import(folder.file(), &text[..]).unwrap();
    let queue = Queue::builder().read_only(true).open(folder.file()).unwrap();
    assert_eq!(queue.inspect().unwrap().served, Some(vec!["b".to_owned()]));
}

/// Input that notes whether a file is there while it is read.
struct Watching<'t>(&'t [u8], std::path::PathBuf, &'t std::cell::Cell<bool>);

impl std::io::Read for Watching<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.2.set(self.2.get() || self.1.exists());
        self.0.read(&mut into[..100])
    }
}

#[test]
fn a_copy_has_its_name_only_when_it_is_whole() {
    let (tests, _clock) = stepped(Queue::builder());
    enqueue(&tests, &[Way::Succeed], Options::new());
    let folder = crate::support::Folder::new();
    let names = || std::fs::read_dir(folder.path()).unwrap().count();
    let (copy, again) = (folder.path().join("copy.db"), folder.path().join("again.db"));
    let mut looks = 0;
    let look = |_| {
        looks += 1;
        assert!(!copy.exists(), "a kill now leaves a half copy");
    };
    tests.queue().backup(&copy, look).unwrap();
    assert!(looks > 0 && copy.exists());
    let mut text = Vec::new();
    tests.queue().export(&mut text).unwrap();
    let was_there = std::cell::Cell::new(false);
    let watching = Watching(&text, again.clone(), &was_there);
    Queue::builder().import(&again, std::io::BufReader::with_capacity(100, watching)).unwrap();
    assert!(!was_there.get(), "a kill now leaves a half import");
    assert_eq!(names(), 2, "nothing else is left");
    for path in [&copy, &again] {
        assert_eq!(Queue::builder().read_only(true).open(path).unwrap().counts().unwrap().total().ready, 1);
    }
    let killed = folder.path().join("new.db-half");
    std::fs::write(&killed, "what a killed run has left").unwrap();
    let refused = tests.queue().backup(folder.path().join("new.db"), |_| ()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    assert!(refused.to_string().contains("new.db-half"), "{refused}");
    assert!(killed.exists(), "it may be another run's");
    std::fs::write(folder.path().join("new.db-half-wal"), "and beside it").unwrap();
    std::fs::remove_file(&killed).unwrap();
    tests.queue().backup(folder.path().join("new.db"), |_| ()).unwrap();
    let left = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(left.into_iter().all(|name| !name.to_string_lossy().contains("-half")), "nothing else is left");
}

#[test]
fn numbers_that_no_program_of_ours_writes_do_no_harm() {
    let folder = crate::support::Folder::new();
    let queue = Queue::builder().open(folder.file()).unwrap();
    let id = queue.enqueue(&Do(vec![Way::Succeed])).unwrap().id();
    drop(queue);
    let edit = |sql: &str| rusqlite::Connection::open(folder.file()).unwrap().execute_batch(sql).unwrap();
    edit("UPDATE perdura_tasks SET max_attempts = 4000000000;
          INSERT INTO perdura_queues (queue, paused) VALUES ('b', 0), ('c', 0);
          INSERT INTO perdura_counts SELECT queue_id, 2, 0, 9223372036854775807 FROM perdura_queues;
          INSERT INTO perdura_task_names (name_id, task_name) VALUES (99, 'x');
          INSERT INTO perdura_rollups VALUES (9223372036854775807, 99, 0, 9223372036854775807, 9223372036854775807),
              (9223372036854775807, 99, 0, 254, 9223372036854775807), (9223372036854775807, 99, 77, -5, -5),
              (9223372036854775807, 99, 0, 253, 9223372036854775807);");
    let queue = Queue::builder().read_only(true).open(folder.file()).unwrap();
    assert_eq!(queue.count(Filter::new().state(State::Succeeded)).unwrap(), u64::MAX);
    assert_eq!(queue.retry_schedule(id).unwrap().len(), 99);
    let all = queue.rollups(std::time::SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!((all.len(), all[0].ended()), (1, u64::MAX));
    assert!(all[0].ran.quantile(0.5).is_some() && serde_json::to_string(&all).is_ok());
    drop(queue);
    for served in ["{\"a\":\"default\"}", "\"default\"", "[1]", "x"] {
        edit(&format!("UPDATE perdura_meta SET served = '{served}'"));
        let refused = Queue::builder().read_only(true).open(folder.file()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Corrupt, "{served}: {refused}");
    }
}

#[test]
fn drain_waits_for_what_is_due() {
    let folder = crate::support::Folder::new();
    let looker = Queue::builder().open(folder.file()).unwrap();
    let delayed = Options::new().delay(Duration::from_millis(20));
    let id = looker.enqueue_with(&Do(vec![Way::Succeed]), delayed).unwrap().id();
    std::thread::sleep(Duration::from_millis(40));
    let queue = Queue::builder().handle(act).open(folder.file()).unwrap();
    queue.drain().unwrap();
    assert_eq!(looker.get(id).unwrap().state, State::Succeeded);
}

#[test]
fn drain_waits_for_its_own_queues_alone() {
    let folder = crate::support::Folder::new();
    let owner = Queue::builder().queues(["others"]).handle(act).open(folder.file()).unwrap();
    let to = |queue: &str| Options::new().queue(queue);
    let _ = owner.enqueue_with(&Do(vec![Way::Succeed]), to("ours")).unwrap();
    let second = || Queue::builder().handle(act);
    let of_ours = second().queues(["ours"]).open(folder.file()).unwrap();
    let of_all = second().open(folder.file()).unwrap();
    owner.drain().unwrap();
    let looker = Queue::builder().open(folder.file()).unwrap();
    assert!(looker.is_drained().unwrap(), "nobody claims from this queue");
    for queue in [&of_ours, &of_all] {
        assert!(!queue.is_drained().unwrap(), "they will claim from it as soon as they may");
    }
    of_ours.pause("ours").unwrap();
    assert!(of_ours.is_drained().unwrap() && of_all.is_drained().unwrap());

    // What is due and not promoted: its owner has stopped, say.
    drop((of_ours, of_all)); // or one of them would go on in its place
    drop(owner);
    let behind = Queue::builder().clock(ManualClock::new()).open(folder.file()).unwrap();
    let _ = behind.enqueue_with(&Do(vec![Way::Succeed]), to("others").delay(Duration::from_secs(1))).unwrap();
    let looker = |queue: &str| Queue::builder().queues([queue]).open(folder.file()).unwrap();
    assert!(!looker("others").is_drained().unwrap());
    assert!(looker("ours").is_drained().unwrap());
    behind.pause("others").unwrap();
    assert!(looker("others").is_drained().unwrap(), "paused");
}

#[test]
fn drain_waits_for_retries_that_are_due_at_once() {
    let queue = Queue::builder().workers(1).handle(act).open_temporary().unwrap();
    for _ in 0..10 {
        let options = Options::new().max_attempts(50).backoff(Duration::ZERO);
        let id = queue.enqueue_with(&Do(vec![fail("again")]), options).unwrap().id();
        queue.drain().unwrap();
        let task = queue.get(id).unwrap();
        assert_eq!((task.state, task.attempt_number), (State::Failed, 50));
    }
}

/// A clock that does something while it is read: what it tells is older than what was done.
struct Meddling<F>(ManualClock, F);

impl<F: Fn() + Send + Sync + 'static> Clock for Meddling<F> {
    fn now(&self) -> Timestamp {
        let now = self.0.now();
        (self.1)();
        now
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }
}

#[test]
fn a_retry_that_fails_while_the_clock_is_read_is_not_drained() {
    let (folder, clock) = (crate::support::Folder::new(), ManualClock::new());
    let owner = Queue::builder().handle(act).clock(clock.clone());
    let owner = Arc::new(Mutex::new(SteppedQueue::open_file(owner, &clock, folder.file()).unwrap()));
    let options = Options::new().max_attempts(50).backoff(Duration::ZERO);
    let id = owner.lock().unwrap().queue().enqueue_with(&Do(vec![fail("again")]), options).unwrap().id();

    let armed = Arc::new(AtomicBool::new(false));
    let fail_now = {
        let (armed, owner, clock) = (armed.clone(), owner.clone(), clock.clone());
        move || {
            if armed.swap(false, Ordering::SeqCst) {
                clock.advance(Duration::from_millis(1));
                owner.lock().unwrap().run_one().unwrap();
            }
        }
    };
    let looker = Queue::builder().clock(Meddling(clock.clone(), fail_now)).open(folder.file()).unwrap();
    armed.store(true, Ordering::SeqCst);
    assert!(!looker.is_drained().unwrap());
    let task = looker.get(id).unwrap();
    assert_eq!((task.state, task.attempt_number), (State::Queued, 1), "it failed while the clock was read");
}

#[test]
fn a_failure_that_is_never_retried_keeps_its_type() {
    fn refuse(_: Do, _: &Context) -> Result<(), Failure> {
        Err(Failure::named("exit.2", "wrong usage").never_retry())
    }
    let clock = ManualClock::new();
    let tests = SteppedQueue::open(Queue::builder().clock(clock.clone()).handle(refuse), &clock).unwrap();
    let id = tests.queue().enqueue(&Do(vec![])).unwrap().id();
    tests.run_until_idle().unwrap();
    let task = tests.queue().get(id).unwrap();
    assert_eq!(
        (task.state, task.attempt_number, task.error_type.as_deref()),
        (State::Failed, 1, Some("exit.2"))
    );
}

#[test]
fn an_empty_text_in_a_filter_means_nothing_and_never_all() {
    let (tests, _) = stepped(Queue::builder());
    let queue = tests.queue();
    let id = enqueue(&tests, &[Way::Succeed], Options::new());
    for (filter, condition) in [
        (Filter::new().text(""), "text"),
        (Filter::new().tag(""), "tag"),
        (Filter::new().queue(""), "queue"),
        (Filter::new().task_name(""), "task_name"),
        (Filter::new().error_type(""), "error_type"),
    ] {
        let refused = [
            queue.tasks(filter.clone()).map(drop),
            queue.count(filter.clone()).map(drop),
            queue.failures(filter.clone()).map(drop),
            queue.dead_letters().list(filter.clone()).map(drop),
            queue.cancel_all(filter.clone()).map(drop),
            queue.delete_all(filter.clone()).map(drop),
            queue.retry_all(filter.clone()).map(drop),
            queue.move_to_dead_letters(filter.clone()).map(drop),
        ];
        for answer in refused {
            let e = answer.unwrap_err();
            assert_eq!(e.kind(), ErrorKind::InvalidInput);
            assert!(e.to_string().starts_with(&format!("the filter's {condition} is empty")), "{e}");
        }
    }
    assert_eq!(queue.get(id).unwrap().state, State::Queued);
}

#[test]
fn a_read_that_nobody_waits_for_can_be_interrupted() {
    let queue = Queue::builder().open_temporary().unwrap();
    queue.enqueue_all(&vec![Do(vec![Way::Succeed]); 5_000]).unwrap();
    let reader = queue.clone();
    let reading = std::thread::spawn(move || {
        loop {
            if let Err(e) = reader.tasks(Filter::new().text("nowhere")) {
                return e.kind();
            }
        }
    });
    while !reading.is_finished() {
        queue.interrupt_reads();
    }
    assert_eq!(reading.join().unwrap(), ErrorKind::Interrupted);
    assert_eq!(queue.tasks(Filter::new().limit(3)).unwrap().len(), 3, "the next read is not meant");
}

#[test]
fn a_search_says_how_far_it_is_in_either_direction() {
    let queue = Queue::builder().open_temporary().unwrap();
    queue.enqueue_all(&vec![Do(vec![Way::Succeed]); 2_500]).unwrap();
    for filter in [Filter::new().text("none"), Filter::new().text("none").newest_first()] {
        let mut told = Vec::new();
        assert!(queue.tasks_with_progress(filter, |at| told.push((at.done, at.total))).unwrap().is_empty());
        assert!(told.len() >= 4, "{told:?}");
        assert!(told.is_sorted() && told[0].0 > 0, "{told:?}");
        assert!(told.iter().all(|(done, total)| *total == 2500 && done < total), "{told:?}");
    }
}

#[test]
fn one_request_ends_a_search_also_between_two_of_its_reads() {
    let queue = Queue::builder().open_temporary().unwrap();
    queue.enqueue_all(&vec![Do(vec![Way::Succeed]); 2_500]).unwrap();
    let mut reads = 0;
    let found = queue.tasks_with_progress(Filter::new().text("none"), |_| {
        reads += 1;
        queue.interrupt_reads();
    });
    assert_eq!(found.unwrap_err().kind(), ErrorKind::Interrupted);
    assert_eq!(reads, 1);
}
