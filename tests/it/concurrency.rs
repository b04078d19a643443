//! Many threads at one queue.

use std::sync::atomic::{AtomicUsize, Ordering};

use perdura::{Config, Context, Enqueued, Failure, Options, Queue, State};

use crate::support::*;

#[test]
fn many_threads_enqueue_while_workers_run_and_nothing_is_lost() {
    let folder = Folder::new();
    let queue = builder(Config::default().workers(3)).open(folder.file()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..16 {
            let queue = queue.clone();
            scope.spawn(move || {
                let ids: Vec<_> =
                    (0..25).map(|n| queue.enqueue(&Do::Ok(thread * 100 + n)).unwrap().id()).collect();
                for (n, id) in ids.into_iter().enumerate() {
                    assert_eq!(queue.wait(id, PATIENCE).unwrap().state, State::Succeeded);
                    assert_eq!(queue.result::<Do>(id).unwrap(), Some(thread * 100 + n as u64));
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
    let ids: Vec<_> = (0..40).map(|n| queue.enqueue(&Do::Ok(n)).unwrap().id()).collect();
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
        let queue = builder(Config::default().workers(2)).open(folder.file()).unwrap();
        let _ = queue.enqueue(&Do::Ok(n)).unwrap();
        if n % 3 == 0 {
            queue.drain().unwrap();
        }
    }
    let queue = builder(Config::default()).open(folder.file()).unwrap();
    queue.drain().unwrap();
    assert_eq!(queue.counts().unwrap().total().succeeded, 30);
    assert_sound(&queue);
}

/// A library or a request opens the file for itself. Nothing polls here, so whatever starts or ends does so because the commit told.
#[test]
fn g04_queues_of_one_process_hear_of_each_others_writes_at_once() {
    let folder = Folder::new();
    let started = crossbeam_channel::bounded(1);
    let handler = move |task: Do, cx: &Context| match task {
        Do::Permanent => {
            started.0.send(()).unwrap();
            while cx.ensure_active().is_ok() {
                std::thread::sleep(SECOND / 1000);
            }
            Err(Failure::cancel("as told"))
        }
        _ => Ok(0),
    };
    let never = std::time::Duration::ZERO;
    let owner = Queue::builder().workers(1).poll_interval(never).handle(handler).open(folder.file()).unwrap();
    let others = [(); 2].map(|()| Queue::builder().poll_interval(never).open(folder.file()).unwrap());
    for other in &others {
        let id = add(other, &Do::Ok(1), Options::new());
        assert_eq!(other.wait(id, PATIENCE).unwrap().state, State::Succeeded);
        let late = add(other, &Do::Ok(1), Options::new().delay(SECOND / 50));
        assert_eq!(owner.wait(late, PATIENCE).unwrap().state, State::Succeeded);

        other.pause("default").unwrap();
        let paused = add(other, &Do::Ok(1), Options::new());
        other.resume("default").unwrap();
        assert_eq!(owner.wait(paused, PATIENCE).unwrap().state, State::Succeeded);

        let endless = add(other, &Do::Permanent, Options::new());
        started.1.recv_timeout(PATIENCE).unwrap();
        other.cancel(endless).unwrap();
        assert_eq!(owner.wait(endless, PATIENCE).unwrap().state, State::Cancelled);
    }
    drop(others);
    let id = owner.enqueue(&Do::Ok(1)).unwrap().id(); // those that are gone are not told
    assert_eq!(owner.wait(id, PATIENCE).unwrap().state, State::Succeeded);
    assert_sound(&owner);
}
