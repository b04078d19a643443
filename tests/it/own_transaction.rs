//! Enqueueing inside a transaction of the program's own.

#[cfg(unix)]
use perdura::Queue;
use perdura::{Config, Durability, ErrorKind, Options, State};

use crate::support::*;

#[test]
fn g03_what_is_enqueued_in_an_own_transaction_appears_with_its_commit_or_not_at_all() {
    let folder = Folder::new();
    let mut mine = rusqlite::Connection::open(folder.file()).unwrap();
    mine.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
    mine.execute_batch("CREATE TABLE orders (id)").unwrap();
    let queue = builder(Config::default()).share(true).open(folder.file()).unwrap();
    for commit in [false, true] {
        let transaction = mine.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
        transaction.execute("INSERT INTO orders VALUES (1)", []).unwrap();
        let made = queue.enqueue_in(&transaction, &Do::Ok(1), Options::new().queue("new")).unwrap();
        assert!(queue.get(made.id()).is_err(), "not committed yet");
        if commit {
            transaction.commit().unwrap();
            queue.notify().unwrap();
            assert_eq!(queue.wait(made.id(), PATIENCE).unwrap().state, State::Succeeded);
        } else {
            transaction.rollback().unwrap();
            assert!(queue.get(made.id()).is_err());
        }
        assert_sound(&queue);
    }
}

/// A file per customer, and one mix-up: the numbers of names would mean other queues and other handlers there.
#[cfg(unix)]
#[test]
fn g03_a_transaction_on_another_file_is_refused_and_changes_nothing() {
    let [folder, other, copied, none] = [(); 4].map(|()| Folder::new());
    let queue = Queue::builder().open(folder.file()).unwrap();
    for name in ["one", "two"] {
        let _ = queue.enqueue_with(&Do::Ok(1), Options::new().queue(name)).unwrap();
    }
    drop(Queue::builder().open(other.file()).unwrap());
    queue.backup(copied.file(), |_| {}).unwrap(); // it has the same id
    rusqlite::Connection::open(none.file()).unwrap().execute_batch("CREATE TABLE orders (id)").unwrap();

    let ours = folder.file().to_str().unwrap().to_owned();
    for (path, problem) in [(&other, "another queue's"), (&copied, "another queue's"), (&none, "no queue's")]
    {
        let path = path.file();
        let mut conn = rusqlite::Connection::open(&path).unwrap();
        conn.execute("ATTACH ? AS ours", [&ours]).unwrap(); // that it can be reached is not enough
        let before: i64 =
            conn.query_row("SELECT COUNT(*) FROM ours.perdura_tasks", [], |row| row.get(0)).unwrap();
        let transaction = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
        let e = queue.enqueue_in(&transaction, &Do::Ok(1), Options::new().queue("two")).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::InvalidInput, "{e}");
        for part in [problem, path.to_str().unwrap(), &ours] {
            assert!(e.to_string().contains(part), "{part} is not in: {e}");
        }
        transaction.commit().unwrap();
        let after: i64 =
            conn.query_row("SELECT COUNT(*) FROM ours.perdura_tasks", [], |row| row.get(0)).unwrap();
        assert_eq!((before, after), (2, 2));
        if problem == "another queue's" {
            let tasks: i64 =
                conn.query_row("SELECT COUNT(*) FROM main.perdura_tasks", [], |row| row.get(0)).unwrap();
            assert_eq!(tasks, if path == copied.file() { 2 } else { 0 });
        }
    }
    let mut conn = rusqlite::Connection::open_in_memory().unwrap();
    let e = queue.enqueue_in(&conn.transaction().unwrap(), &Do::Ok(1), Options::new()).unwrap_err();
    assert!(e.kind() == ErrorKind::InvalidInput && e.to_string().contains("a temporary database"), "{e}");

    // Another name of the same file is the same file.
    let link = other.path().join("link");
    std::os::unix::fs::symlink(folder.path(), &link).unwrap();
    let mut conn = rusqlite::Connection::open(link.join("tasks.db")).unwrap();
    let transaction = conn.transaction().unwrap();
    let _ = queue.enqueue_in(&transaction, &Do::Ok(1), Options::new()).unwrap();
    transaction.commit().unwrap();
    assert_eq!(queue.counts().unwrap().total().ready, 3);
    assert_sound(&queue);
}

/// What the program's own connection commits must last as long as what the queue does.
#[test]
fn g01_a_connection_that_does_not_sync_enough_is_refused_by_name() {
    let folder = Folder::new();
    let open = |durability| builder(Config::default().durability(durability)).open(folder.file()).unwrap();
    for (durability, synchronous, is_enough) in [
        (Durability::Full, "OFF", false),
        (Durability::Full, "NORMAL", false),
        (Durability::Full, "FULL", true),
        (Durability::Full, "EXTRA", true),
        (Durability::Relaxed, "OFF", false),
        (Durability::Relaxed, "NORMAL", true),
    ] {
        let queue = open(durability);
        let mut mine = rusqlite::Connection::open(folder.file()).unwrap();
        mine.pragma_update(None, "synchronous", synchronous).unwrap();
        let transaction = mine.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
        let made = queue.enqueue_in(&transaction, &Do::Ok(1), Options::new());
        assert_eq!(made.is_ok(), is_enough, "{durability:?}, {synchronous}: {made:?}");
        if let Err(refused) = made {
            assert_eq!(refused.kind(), ErrorKind::InvalidInput);
            assert!(refused.to_string().contains("run PRAGMA synchronous = "), "{refused}");
        }
        transaction.rollback().unwrap();
    }
}
