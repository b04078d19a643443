//! Enqueueing inside a transaction of the program's own.

use perdura::{Config, Options, State};

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
            assert_eq!(queue.wait(made.id(), MINUTE).unwrap().state, State::Succeeded);
        } else {
            transaction.rollback().unwrap();
            assert!(queue.get(made.id()).is_err());
        }
        assert_sound(&queue);
    }
}
