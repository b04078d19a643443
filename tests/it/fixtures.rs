//! Files that released versions have made: every later version must open them. See tests/fixtures/README.md.

use perdura::{Hold, State};

use crate::files::{Step, Used, make, use_everything};
use crate::support::*;

const FORMAT_1: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/format-1.db");

/// A copy of a fixture that may be written to.
fn copy(fixture: &str) -> Folder {
    let folder = Folder::new();
    std::fs::copy(fixture, folder.file()).unwrap();
    folder
}

#[test]
fn g12_a_file_of_format_1_opens_and_holds_what_it_held() {
    if std::env::var_os("PERDURA_NEW_FIXTURE").is_some() {
        let folder = Folder::new();
        make(&folder.file());
        std::fs::copy(folder.file(), FORMAT_1).unwrap();
    }
    let folder = copy(FORMAT_1);
    let queue = perdura::Queue::builder().open(folder.file()).unwrap();
    assert_sound(&queue);
    let task = |id: i64| queue.get(id.to_string().parse().unwrap()).unwrap();
    for (id, state, hold) in [
        (1, State::Queued, Some(Hold::Ready)),
        (2, State::Succeeded, None),
        (3, State::Failed, None),
        (5, State::Queued, Some(Hold::Time)),
        (6, State::Cancelled, None),
        (8, State::Queued, Some(Hold::UnknownName)),
        (9, State::Queued, Some(Hold::Ready)),
        (10, State::Running, None),
        (12, State::Queued, Some(Hold::Ready)),
        (17, State::Queued, Some(Hold::Time)),
        (18, State::Queued, Some(Hold::Condition)),
    ] {
        let found = task(id);
        assert_eq!((found.state, found.hold), (state, hold), "task {id}");
    }
    assert_eq!(queue.result::<Step>(task(2).task_id).unwrap(), Some(2));
    assert_eq!(task(3).error_type.as_deref(), Some("told"));
    assert_eq!((task(5).tag.as_deref(), queue.attempts(task(5).task_id).unwrap().len()), (Some("saved"), 1));
    assert_eq!(queue.steps(task(17).task_id).unwrap().len(), 2);
    assert_eq!(task(18).needs.unwrap().waits_for.as_deref(), Some("online"));
    assert_eq!(queue.dead_letters().list(perdura::Filter::new()).unwrap().len(), 1);
    drop(queue);
    assert_eq!(use_everything(&folder.file()), Used::Opened { sound: true, innocents_ran: true });
}

/// A program that only looks leaves the file as it was.
#[test]
fn looking_at_a_file_of_format_1_changes_nothing() {
    let folder = copy(FORMAT_1);
    drop(perdura::Queue::builder().open(folder.file()).unwrap());
    assert!(std::fs::read(folder.file()).unwrap() == std::fs::read(FORMAT_1).unwrap());
}
