//! Many threads at one queue.

use std::sync::atomic::{AtomicUsize, Ordering};

use perdura::{Config, Enqueued, Options, State};

use crate::support::*;

#[test]
fn many_threads_enqueue_while_workers_run_and_nothing_is_lost() {
    let folder = Folder::new();
    let queue = builder(Config { workers: 3, ..Config::default() }).open(folder.file()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..16 {
            let queue = queue.clone();
            scope.spawn(move || {
                let ids: Vec<_> =
                    (0..25).map(|n| queue.enqueue(&Do::Ok(thread * 100 + n)).unwrap()).collect();
                for (n, id) in ids.into_iter().enumerate() {
                    assert_eq!(queue.wait(id, MINUTE).unwrap().state, State::Succeeded);
                    assert_eq!(queue.result::<u64>(id).unwrap(), Some(thread * 100 + n as u64));
                }
            });
        }
    });
    assert_eq!(queue.counts().unwrap().total().succeeded, 400);
    assert_sound(&queue);
}

#[test]
fn of_many_that_enqueue_one_key_at_once_one_inserts() {
    let folder = Folder::new();
    let queue = perdura::Queue::builder().open(folder.file()).unwrap();
    let inserted = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                let made = queue.enqueue_with(&Do::Ok(1), Options::new().unique("one")).unwrap();
                inserted.fetch_add(usize::from(matches!(made, Enqueued::Inserted(_))), Ordering::Relaxed);
            });
        }
    });
    assert_eq!(inserted.into_inner(), 1);
    assert_sound(&queue);
}

#[test]
fn a_member_that_fails_takes_nobody_of_its_group_with_it() {
    let folder = Folder::new();
    let queue = perdura::Queue::builder().open(folder.file()).unwrap();
    let ids: Vec<_> = (0..40).map(|n| queue.enqueue(&Do::Ok(n)).unwrap()).collect();
    std::thread::scope(|scope| {
        for (n, id) in ids.iter().enumerate() {
            let queue = &queue;
            scope.spawn(move || {
                let verb = if n % 2 == 0 { queue.cancel(*id) } else { queue.retry(*id) };
                assert_eq!(verb.is_ok(), n % 2 == 0);
            });
        }
    });
    assert_eq!(queue.counts().unwrap().total().cancelled, 20);
    assert_sound(&queue);
}

#[test]
fn open_and_drop_again_and_again() {
    let folder = Folder::new();
    for n in 0..30 {
        let queue = builder(Config { workers: 2, ..Config::default() }).open(folder.file()).unwrap();
        queue.enqueue(&Do::Ok(n)).unwrap();
        if n % 3 == 0 {
            queue.drain().unwrap();
        }
    }
    let queue = builder(Config::default()).open(folder.file()).unwrap();
    queue.drain().unwrap();
    assert_eq!(queue.counts().unwrap().total().succeeded, 30);
    assert_sound(&queue);
}
