//! Unit tests of files that `tests/schedules` compiles over a scheduler: these tests need none.

use std::sync::Arc;
use std::time::Duration;

use super::obstacle::Obstacle;
use super::shared::Shared;
use crate::clock::SystemClock;
use crate::error::{Error, ErrorKind};
use crate::handler::Context;
use crate::queue::Queue;
use crate::store::Effects;
use crate::task::{Claimed, Extras, OutputStream, Progress, Settlement, State, Task, TaskId, Verdict};

#[test]
fn news_that_a_failed_flush_kept_go_with_the_settle() {
    let shared = Shared::new(Arc::new(SystemClock::new()), Arc::default());
    let claimed = Claimed {
        task_id: TaskId::from_i64(1),
        generation: 1,
        attempt_number: 1,
        max_attempts: 1,
        task_name: "t".into(),
        queue_id: 1,
        args: String::new(),
        version: 1,
        backoff: None,
        timeout: None,
        waited: None,
        extras: Extras::NONE,
        suspect: false,
        is_replay: false,
        needs_throughout: 0,
    };
    shared.after_commit(Effects { claims: vec![claimed.clone()], ..Effects::default() });
    let control = shared.running.controls().remove(0);
    control.push_output(OutputStream::Stdout, b"all that it said");
    control.set_progress(3, 4);
    shared.running.note_pending();
    let flushed = shared.running.take_pending();
    let news = control.take_pending(); // it ends while the flush is under way
    assert!(news.is_empty());
    let mut settlement = Settlement {
        task_id: claimed.task_id,
        generation: 1,
        queue_id: 1,
        needs_full_settle: false,
        is_limited: false,
        backoff: None,
        verdict: Verdict::Unstarted,
        task_name: claimed.task_name,
        waited: None,
        ran: Duration::ZERO,
        news,
        children: Vec::new(),
    };
    flushed.iter().for_each(|(control, news)| control.keep_pending(news)); // which fails
    shared.running.note_pending();
    shared.running.renew_pending([&mut settlement].into_iter());
    assert_eq!(settlement.news.progress, Some(Progress { done: 3, total: 4 }));
    assert_eq!(settlement.news.output[0].first, b"all that it said");
}

#[test]
fn a_wal_is_told_at_64_mib_and_at_each_doubling_until_it_starts_again() {
    use super::wal_alarm::{LONG_WAL_PAGES, WalAlarm};
    let alarm = WalAlarm::default();
    let told = |pages| {
        alarm.note(pages);
        alarm.take()
    };
    assert!(
        !told(LONG_WAL_PAGES - 1)
            && told(LONG_WAL_PAGES)
            && !told(LONG_WAL_PAGES + 1)
            && !told(2 * LONG_WAL_PAGES - 1)
            && told(2 * LONG_WAL_PAGES)
    );
    assert!(!told(3 * LONG_WAL_PAGES) && told(10 * LONG_WAL_PAGES) && !told(10 * LONG_WAL_PAGES));
    assert!(!told(100) && told(LONG_WAL_PAGES), "it has started again");
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Nothing;
impl Task for Nothing {
    const NAME: &'static str = "nothing";
    type Output = ();
}

#[test]
fn g13_a_queue_that_broke_down_says_so_and_lets_the_file_go() {
    let folder = crate::store::TemporaryFolder::new().unwrap();
    let open = || Queue::builder().workers(1).handle(|_: Nothing, _: &Context| Ok(())).open(folder.file());
    let queue = open().unwrap();
    queue.pause("default").unwrap();
    let id = queue.enqueue(&Nothing).unwrap().id();
    let waiting = std::thread::spawn({
        let queue = queue.clone();
        move || queue.wait(id, Duration::MAX).unwrap_err()
    });
    queue.runtime.core.break_down("the timer");
    assert_eq!(waiting.join().unwrap().kind(), ErrorKind::Internal);
    assert_eq!(queue.drain().unwrap_err().kind(), ErrorKind::Internal);
    assert!(!queue.executes());
    let next = open().unwrap();
    next.resume("default").unwrap();
    assert_eq!(next.wait(id, Duration::MAX).unwrap().state, State::Succeeded);
    assert_eq!(queue.wait(id, Duration::MAX).unwrap().state, State::Succeeded);
    queue.shutdown(Duration::ZERO).unwrap();
}

#[test]
fn an_obstacle_is_said_when_it_is_new_and_then_seldom() {
    let obstacle = Obstacle::default();
    let (link, full) = (Error::new(ErrorKind::OwnerFile, "a link"), Error::new(ErrorKind::DiskFull, "full"));
    let second = Duration::from_secs;
    assert!(obstacle.meet(&link, second(1)));
    assert!((2..600).all(|at| !obstacle.meet(&link, second(at))));
    assert!(obstacle.meet(&link, second(601)) && !obstacle.meet(&link, second(602)));
    assert!(obstacle.meet(&full, second(603)) && obstacle.meet(&link, second(604)));
    assert_eq!(obstacle.why().map(|why| why.kind()), Some(ErrorKind::OwnerFile));
    assert!(obstacle.pass() && !obstacle.pass() && obstacle.why().is_none());
    assert!(obstacle.meet(&link, second(605)));
}
