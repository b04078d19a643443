//! Transactions of a queue: the program's own writes and new tasks are one commit.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use perdura::testing::{HistoryRecorder, ManualClock, SteppedQueue, at_every_commit, check_history};
use perdura::{
    Config, Context, Error, ErrorKind, Failure, Filter, Options, Queue, State, TaskId, Transaction, Unique,
};
use rusqlite::functions::FunctionFlags;

use crate::logger;
use crate::support::*;

/// What closures of the tests fail with.
type Closure<T = ()> = Result<T, Box<dyn std::error::Error>>;

const TABLES: &str = "CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, item TEXT NOT NULL);
     CREATE TABLE IF NOT EXISTS lines (order_id INTEGER NOT NULL REFERENCES orders (id) DEFERRABLE INITIALLY DEFERRED)";

/// A queue without threads whose file has the program's tables too.
fn shop() -> SteppedQueue {
    let tests = stepped().0;
    tests.queue().transaction(|tx| Closure::Ok(tx.execute_batch(TABLES)?)).unwrap();
    tests
}

fn order(tx: &Transaction<'_>, item: &str) -> Closure<i64> {
    tx.execute("INSERT INTO orders (item) VALUES (?1)", [item])?;
    Ok(tx.last_insert_rowid())
}

/// How many orders and how many tasks there are.
fn found(queue: &Queue) -> (i64, u64) {
    let count = |tx: &Transaction<'_>| tx.query_row("SELECT COUNT(*) FROM orders", [], |row| row.get(0));
    let orders = queue.transaction(|tx| Closure::Ok(count(tx)?)).unwrap();
    (orders, queue.count(Filter::new()).unwrap())
}

fn kind(error: &(dyn std::error::Error + 'static)) -> Option<ErrorKind> {
    error.downcast_ref::<Error>().map(Error::kind)
}

#[test]
fn g17_what_a_transaction_writes_and_enqueues_is_one_commit_or_nothing() {
    let tests = shop();
    let queue = tests.queue();
    let before = tests.commits();
    let id = queue
        .transaction(|tx| {
            order(tx, "a book")?;
            Closure::Ok(tx.enqueue(&Do::Ok(1))?.id())
        })
        .unwrap();
    assert_eq!(tests.commits(), before + 1);
    assert_eq!((found(queue), queue.get(id).unwrap().state), ((1, 1), State::Queued));
    let refused = queue.transaction(|tx| {
        order(tx, "another")?;
        let _ = tx.enqueue(&Do::Ok(2))?;
        Closure::<()>::Err("no".into())
    });
    assert_eq!(refused.unwrap_err().to_string(), "no");
    assert_eq!((found(queue), queue.counts().unwrap().total().ready), ((1, 1), 1));
    tests.run_until_idle().unwrap();
    assert_eq!(queue.get(id).unwrap().state, State::Succeeded);
    assert_sound(queue);
}

#[test]
fn g17_a_crash_at_each_commit_leaves_both_or_neither() {
    let crashes = at_every_commit(
        || Ok(shop()),
        |tests| {
            for n in 0..3 {
                tests.queue().transaction(|tx| {
                    tx.execute("INSERT INTO orders (item) VALUES (?1)", [n]).unwrap();
                    tx.enqueue_with(&Do::FailUntil(2), Options::new().unique(format!("{n}")).limit("shop", 1))
                        .map(drop)
                })?;
                tests.run_until_idle()?;
            }
            Ok(())
        },
        |crashed, point| {
            let tests = crashed.reopen(builder(Config::default()).share(true))?;
            let (orders, tasks) = found(tests.queue());
            assert_eq!(u64::try_from(orders), Ok(tasks), "after a crash {point}");
            assert_sound(tests.queue());
            Ok(())
        },
    );
    assert!(crashes.unwrap() >= 12);
}

#[test]
fn g17_a_closure_that_panics_writes_nothing_and_the_queue_goes_on() {
    let tests = shop();
    let queue = tests.queue();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        queue.transaction(|tx| -> Closure {
            order(tx, "a book")?;
            let _ = tx.enqueue(&Do::Ok(1))?;
            panic!("as told")
        })
    }));
    assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&"as told"));
    assert_eq!(found(queue), (0, 0));
    let _ = queue.enqueue(&Do::Ok(1)).unwrap();
    assert_eq!(tests.run_until_idle().unwrap().succeeded, 1);
    assert_sound(queue);
}

#[test]
fn g17_what_would_end_the_transaction_or_touch_our_tables_is_refused_by_name() {
    let tests = shop();
    let queue = tests.queue();
    let _ = queue.enqueue(&Do::Ok(1)).unwrap();
    for (sql, named) in [
        ("COMMIT", "COMMIT"),
        ("ROLLBACK", "ROLLBACK"),
        ("BEGIN", "BEGIN"),
        ("SAVEPOINT a", "SAVEPOINT"),
        ("PRAGMA synchronous = OFF", "PRAGMA synchronous"),
        ("ATTACH ':memory:' AS other", "ATTACH"),
        ("DETACH other", "DETACH"),
        ("UPDATE perdura_tasks SET state = 2", "perdura_tasks"),
        ("DELETE FROM \"PERDURA_ARGS\"", "perdura_args"),
        ("SELECT args FROM perdura_args", "perdura_args"),
        ("INSERT INTO orders (item) SELECT task_id FROM perdura_tasks", "perdura_tasks"),
        ("DROP TABLE perdura_results", "perdura_results"),
        ("DROP INDEX perdura_ready", "perdura_ready"),
        ("ALTER TABLE perdura_tasks ADD COLUMN mine", "perdura_tasks"),
        ("CREATE INDEX mine ON perdura_tasks (state)", "perdura_tasks"),
        ("CREATE TABLE perdura_mine (id)", "perdura_mine"),
        ("CREATE TEMP TABLE Perdura_Tasks (id)", "Perdura_Tasks"),
        ("CREATE TEMP VIEW perdura_counts AS SELECT 1", "perdura_counts"),
        ("CREATE TRIGGER mine AFTER INSERT ON perdura_tasks BEGIN DELETE FROM orders; END", "perdura_tasks"),
        ("ANALYZE perdura_tasks", "perdura_tasks"),
        ("REINDEX perdura_ready", "perdura_ready"),
    ] {
        let refused = queue.transaction(|tx| {
            order(tx, "a book")?;
            Closure::Ok(tx.execute_batch(sql)?)
        });
        let error = refused.expect_err(sql);
        assert_eq!(kind(&*error), Some(ErrorKind::InvalidInput), "{sql}: {error}");
        assert!(error.to_string().contains(named), "{sql}: {error}");
    }
    assert_eq!(found(queue), (0, 1));
    // A trigger of the program is the program's, too.
    let refused = queue.transaction(|tx| {
        tx.execute_batch("CREATE TRIGGER t AFTER INSERT ON orders BEGIN DELETE FROM perdura_tasks; END")?;
        order(tx, "a book")
    });
    assert_eq!(kind(&*refused.unwrap_err()), Some(ErrorKind::InvalidInput));
    // Whoever lives with the refusal can go on.
    let ended = queue.transaction(|tx| {
        assert!(tx.prepare_cached("COMMIT").is_err() && tx.execute("DELETE FROM perdura_tasks", []).is_err());
        let _ = tx.enqueue(&Do::Ok(2))?;
        assert!(tx.prepare_cached("SELECT COUNT(*) FROM perdura_tasks").is_err());
        order(tx, "a book")
    });
    assert!(ended.is_ok());
    assert_eq!(found(queue), (1, 2));
    assert_sound(queue);
}

#[test]
fn g17_a_transaction_that_sqlite_rolls_back_commits_nothing_behind_its_back() {
    let tests = shop();
    let queue = tests.queue();
    for is_told in [true, false] {
        let ended = queue.transaction(|tx| {
            let id = order(tx, "a book")?;
            let _ = tx.enqueue(&Do::Ok(1))?;
            let again = tx.execute("INSERT OR ROLLBACK INTO orders (id, item) VALUES (?1, 'b')", [id]);
            assert!(again.is_err() && tx.is_autocommit());
            assert!(order(tx, "behind its back").is_err(), "no transaction is open, so this would be one");
            assert_eq!(tx.enqueue(&Do::Ok(2)).unwrap_err().kind(), ErrorKind::InvalidInput);
            if is_told { Ok(again.map(drop)?) } else { Closure::Ok(()) }
        });
        let error = ended.unwrap_err();
        assert_eq!(kind(&*error), (!is_told).then_some(ErrorKind::InvalidInput), "{error}");
        assert_eq!(found(queue), (0, 0));
    }
    assert_sound(queue);
}

#[test]
fn g17_a_part_that_fails_is_undone_with_what_it_enqueued() {
    let tests = shop();
    let queue = tests.queue();
    queue
        .transaction(|tx| {
            order(tx, "kept")?;
            let _ = tx.enqueue(&Do::Ok(1))?;
            let part = tx.savepoint(|| {
                order(tx, "undone")?;
                let _ = tx.enqueue_with(&Do::Ok(2), Options::new().queue("other").limit("key", 1))?;
                let kept: Closure<i64> = tx.savepoint(|| order(tx, "undone with what it is in"));
                assert!(kept.is_ok());
                Closure::<()>::Err("no".into())
            });
            assert!(part.is_err());
            tx.savepoint(|| order(tx, "kept"))
        })
        .unwrap();
    assert_eq!(found(queue), (2, 1));
    assert_eq!(queue.counts().unwrap().total().all(), 1);
    assert_sound(queue);
}

/// Each of these would wait for the transaction that it is called in.
#[test]
fn g17_a_queue_that_is_called_inside_its_own_transaction_says_so() {
    let folder = Folder::new();
    let queue = builder(Config::default()).open(folder.file()).unwrap();
    let id = queue.enqueue(&Do::Ok(1)).unwrap().id();
    queue.wait(id, PATIENCE).unwrap();
    queue
        .transaction(|tx| {
            // The first would not wait, and so it tells without hanging if none of them says it.
            let calls: [(&str, &dyn Fn() -> Option<Error>); 8] = [
                ("get", &|| queue.get(id).err()),
                ("counts", &|| queue.counts().err()),
                ("enqueue", &|| queue.enqueue(&Do::Ok(2)).err()),
                ("retry", &|| queue.retry(id).err()),
                ("transaction", &|| queue.transaction(|_| Ok::<(), Error>(())).err()),
                ("drain", &|| queue.drain().err()),
                ("wait", &|| queue.wait(id, PATIENCE).err()),
                ("check", &|| queue.check().err()),
            ];
            for (call, error) in calls {
                assert_eq!(error().map(|e| e.kind()), Some(ErrorKind::WouldDeadlock), "{call}");
            }
            let _ = tx.enqueue(&Do::Ok(3))?;
            Closure::Ok(())
        })
        .unwrap();
    queue.drain().unwrap();
    assert_eq!(queue.counts().unwrap().total().succeeded, 2);
    assert_sound(&queue);
}

#[test]
fn g17_foreign_keys_triggers_and_functions_of_the_program_work_inside() {
    let clock = ManualClock::new();
    let builder = builder(Config::default()).clock(clock.clone()).on_connection(|connection| {
        connection.pragma_update(None, "synchronous", "OFF")?; // does not stay so
        connection.create_scalar_function("shout", 1, FunctionFlags::SQLITE_UTF8, |context| {
            Ok(context.get::<String>(0)?.to_uppercase())
        })
    });
    let tests = SteppedQueue::open(builder, &clock).unwrap();
    let queue = tests.queue();
    queue
        .transaction(|tx| {
            tx.execute_batch(TABLES)?;
            tx.execute_batch(
                "CREATE TABLE seen (item TEXT NOT NULL);
                 CREATE TRIGGER seen_orders AFTER INSERT ON orders BEGIN INSERT INTO seen VALUES (shout(new.item)); END",
            )?;
            order(tx, "a book")
        })
        .unwrap();
    let seen =
        |tx: &Transaction<'_>| tx.query_row("SELECT item FROM seen", [], |row| row.get::<_, String>(0));
    assert_eq!(queue.transaction(|tx| Closure::Ok(seen(tx)?)).unwrap(), "A BOOK");
    let dangling = queue.transaction(|tx| {
        tx.execute("INSERT INTO lines VALUES (99)", [])?;
        let _ = tx.enqueue(&Do::Ok(1))?;
        Closure::Ok(())
    });
    let error = dangling.unwrap_err();
    assert_eq!(kind(&*error), Some(ErrorKind::InvalidInput), "{error}");
    assert!(error.to_string().contains("foreign key"), "{error}");
    assert_eq!(found(queue), (1, 0));
    queue
        .transaction(|tx| {
            tx.execute("INSERT INTO lines VALUES (99)", [])?;
            Closure::Ok(tx.execute("INSERT INTO orders VALUES (99, 'in time')", []).map(drop)?)
        })
        .unwrap();
    assert_sound(queue);
}

#[test]
fn what_on_connection_says_is_heard() {
    let tests =
        Queue::builder().on_connection(|_| Err(rusqlite::Error::InvalidQuery)).open_temporary().unwrap();
    let error = tests.transaction(|_| Ok::<(), Error>(())).unwrap_err();
    assert_eq!((error.kind(), error.to_string().contains("on_connection")), (ErrorKind::InvalidConfig, true));
    let _ = tests.enqueue(&Do::Ok(1)).unwrap();
}

#[test]
fn a_unique_task_is_met_in_a_transaction_too() {
    let tests = shop();
    let queue = tests.queue();
    let unique = || Options::new().unique(Unique::key("k"));
    let first = add(queue, &Do::Ok(1), unique());
    let met = queue.transaction(|tx| {
        let met = tx.enqueue_with(&Do::Ok(2), unique())?;
        assert!(tx.enqueue_with(&Do::Ok(3), Options::new().priority(1).max_attempts(0)).is_err());
        let two = [
            tx.enqueue_with(&Do::Ok(4), Options::new().unique("n"))?,
            tx.enqueue_with(&Do::Ok(4), Options::new().unique("n"))?,
        ];
        assert!(two[0].is_new() && two[1].id() == two[0].id());
        Ok::<_, Error>(met)
    });
    let met = met.unwrap();
    assert!(met.id() == first && !met.is_new());
    assert_eq!(queue.counts().unwrap().total().ready, 2);
    assert_sound(queue);
}

/// Transactions stand in the line of the other writes, and start their tasks.
#[test]
fn g17_beside_other_writers_none_is_lost_and_none_starves() {
    let folder = Folder::new();
    let queue = builder(Config::default()).open(folder.file()).unwrap();
    queue.transaction(|tx| Closure::Ok(tx.execute_batch(TABLES)?)).unwrap();
    const EACH: u64 = 50;
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                (0..EACH).for_each(|n| {
                    let _ = queue.enqueue(&Do::Ok(n)).unwrap();
                })
            });
            scope.spawn(|| {
                for n in 0..EACH {
                    let ended = queue.transaction(|tx| {
                        order(tx, "a book")?;
                        let _ = tx.enqueue(&Do::Ok(n))?;
                        if n % 5 == 0 { Err("no".into()) } else { Closure::Ok(()) }
                    });
                    assert_eq!(ended.is_err(), n % 5 == 0);
                }
            });
        }
    });
    queue.drain().unwrap();
    let kept = i64::try_from(2 * EACH / 5 * 4).unwrap();
    let tasks = kept.unsigned_abs() + 2 * EACH;
    assert_eq!(found(&queue), (kept, tasks));
    assert_eq!(queue.counts().unwrap().total().succeeded, tasks);
    assert_sound(&queue);
}

#[test]
fn a_task_of_a_transaction_starts_when_it_is_committed() {
    let folder = Folder::new();
    let queue = builder(Config::default().poll_interval(Duration::ZERO)).open(folder.file()).unwrap();
    let id = queue.transaction(|tx| Ok::<_, Error>(tx.enqueue(&Do::Ok(7))?.id())).unwrap();
    assert_eq!(queue.wait(id, PATIENCE).unwrap().state, State::Succeeded);
}

#[test]
fn a_transaction_that_takes_long_is_told() {
    logger::listen();
    let folder = Folder::new();
    let (tests, clock) = stepped();
    let long = |_: &Transaction<'_>| {
        clock.advance(Duration::from_millis(1101));
        Ok::<_, Error>(())
    };
    tests.queue().transaction(long).unwrap();
    drop(folder);
    let told = logger::lines()
        .iter()
        .filter(|line| line.contains("held the write lock") && line.contains("1.101s"))
        .count();
    assert_eq!(told, 1);
}

#[test]
fn g17_a_file_that_is_only_read_refuses_a_transaction() {
    let folder = Folder::new();
    drop(builder(Config::default()).open(folder.file()).unwrap());
    let queue = Queue::builder().read_only(true).open(folder.file()).unwrap();
    let error = queue.transaction(|_| Ok::<(), Error>(())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnly);
}

/// A payment: what it takes from the account is in the file that its task is in.
#[derive(serde::Serialize, serde::Deserialize)]
struct Charge {
    /// How its first attempts end, after or instead of the commit.
    plan: Plan,
}

#[derive(Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
enum Plan {
    Commit,
    FailFirst,
    FailAfter,
    PanicAfter,
    PanicInside,
    CommitTwice,
}

impl perdura::Task for Charge {
    const NAME: &'static str = "charge";
    type Output = u64;
}

fn charge(task: Charge, cx: &Context) -> Result<u64, Failure> {
    let is_first = cx.attempt_number() == 1;
    cx.enqueue(&Do::Ok(1))?;
    cx.write_output(perdura::OutputStream::Stdout, "charging");
    if is_first && task.plan == Plan::FailFirst {
        return Err(Failure::named("first", "as told"));
    }
    let give = |tx: &Transaction<'_>| {
        tx.execute("INSERT INTO orders (item) VALUES (?1)", [cx.id().to_string()])?;
        assert!(!is_first || task.plan != Plan::PanicInside, "as told");
        let _ = tx.enqueue(&Do::Ok(2))?;
        Ok(())
    };
    let receipt = cx.commit(7, give)?;
    match task.plan {
        Plan::FailAfter => Err(Failure::named("after", "as told")),
        Plan::PanicAfter => panic!("as told"),
        Plan::CommitTwice => cx.commit(8, give),
        _ => Ok(receipt),
    }
}

fn bank() -> SteppedQueue {
    let (builder, clock) = (builder(Config::default()).handle(charge), ManualClock::new());
    let tests = SteppedQueue::open(builder, &clock).unwrap();
    tests.queue().transaction(|tx| Closure::Ok(tx.execute_batch(TABLES)?)).unwrap();
    tests
}

#[test]
fn g17_what_an_attempt_commits_is_there_once_with_its_result_and_its_children() {
    for plan in [
        Plan::Commit,
        Plan::FailFirst,
        Plan::FailAfter,
        Plan::PanicAfter,
        Plan::PanicInside,
        Plan::CommitTwice,
    ] {
        let mut tests = bank();
        let id = tests.queue().enqueue(&Charge { plan }).unwrap().id();
        let before = tests.commits();
        tests.run_one().unwrap();
        assert_eq!(tests.commits(), before + 2, "the claim, and the end");
        let queue = tests.queue();
        if matches!(plan, Plan::FailFirst | Plan::PanicInside) {
            assert_eq!((found(queue), queue.get(id).unwrap().state), ((0, 1), State::Queued));
            assert_eq!(queue.output(id, None).unwrap()[0].first, b"charging");
            tests.advance(MINUTE).unwrap();
            tests.run_one().unwrap();
        }
        let queue = tests.queue();
        assert_eq!(found(queue), (1, 3), "the order, the task, and two that it made");
        assert_eq!(
            (queue.get(id).unwrap().state, queue.result::<Charge>(id).unwrap()),
            (State::Succeeded, Some(7))
        );
        tests.run_until_idle().unwrap();
        assert_eq!(tests.queue().counts().unwrap().total().succeeded, 3);
        assert_sound(tests.queue());
    }
}

#[test]
fn g17_histories_of_effects_with_crashes_at_each_commit_hold() {
    let recorder = Arc::new(Mutex::new(HistoryRecorder::new(ManualClock::new())));
    let program = |notes: &HistoryRecorder| {
        let commits = notes.clone();
        let pay = move |task: Charge, cx: &Context| -> Result<u64, Failure> {
            if cx.attempt_number() == 1 && task.plan == Plan::FailFirst {
                return Err(Failure::named("first", "as told"));
            }
            let give = |tx: &Transaction<'_>| {
                tx.execute("INSERT INTO orders (item) VALUES (?1)", [cx.id().to_string()])?;
                Ok(())
            };
            let paid = cx.commit(7, give)?;
            commits.committed(cx.id());
            Ok(paid)
        };
        builder(Config::default()).handle(notes.handler(pay)).share_as_found(true)
    };
    let effects = |notes: &HistoryRecorder, queue: &Queue| {
        let ids = queue.transaction(|tx| {
            let mut statement = tx.prepare("SELECT CAST(item AS INTEGER) FROM orders")?;
            let ids = statement.query_map([], |row| row.get(0).map(TaskId::from_i64))?;
            Closure::Ok(ids.collect::<Result<Vec<_>, _>>()?)
        });
        notes.effects(ids.unwrap());
    };
    let crashes = at_every_commit(
        || {
            let notes = HistoryRecorder::new(ManualClock::new());
            notes.opened(1);
            *recorder.lock().unwrap() = notes.clone();
            let tests = SteppedQueue::open(program(&notes), &ManualClock::new())?;
            tests.queue().transaction(|tx| Closure::Ok(tx.execute_batch(TABLES)?)).unwrap();
            Ok(tests)
        },
        |tests| {
            let notes = recorder.lock().unwrap().clone();
            for plan in [Plan::Commit, Plan::FailFirst] {
                let _ = notes.enqueue(tests.queue(), &Charge { plan }, Options::new())?;
            }
            for _ in 0..2 {
                tests.run_until_idle()?;
                tests.advance(MINUTE)?;
            }
            tests.run_until_idle().map(drop)
        },
        |crashed, point| {
            let notes = recorder.lock().unwrap().clone();
            notes.opened(1);
            let mut tests = crashed.reopen(program(&notes))?;
            effects(&notes, tests.queue());
            for _ in 0..4 {
                tests.run_until_idle()?;
                tests.advance(MINUTE)?;
            }
            tests.run_until_idle()?;
            effects(&notes, tests.queue());
            notes.observe(tests.queue())?;
            check_history(&notes.history()).unwrap_or_else(|wrong| panic!("after a crash {point}: {wrong}"));
            Ok(())
        },
    );
    assert!(crashes.unwrap() > 10);
}

/// A step, a child and an effect of one attempt: after a crash at any commit the step is done once more at most, and there are one effect and one
/// child.
#[test]
fn g17_g18_a_crash_at_each_commit_of_steps_children_and_effects_leaves_one_of_each() {
    let steps = Arc::new(AtomicU32::new(0));
    let program = || {
        let steps = steps.clone();
        let work = move |_: Charge, cx: &Context| -> Result<u64, Failure> {
            let reserved = cx.step("reserve", || Ok(steps.fetch_add(1, Ordering::Relaxed)))?;
            if cx.attempt_number() == 1 {
                return Err(Failure::named("first", "as told"));
            }
            cx.enqueue(&Do::Ok(1))?;
            cx.commit(u64::from(reserved), |tx| {
                tx.execute("INSERT INTO orders (item) VALUES (?1)", [cx.id().to_string()])?;
                Ok(())
            })
        };
        builder(Config::default()).handle(work).share_as_found(true)
    };
    let crashes = at_every_commit(
        || {
            steps.store(0, Ordering::Relaxed);
            let tests = SteppedQueue::open(program(), &ManualClock::new())?;
            tests.queue().transaction(|tx| Closure::Ok(tx.execute_batch(TABLES)?)).unwrap();
            Ok(tests)
        },
        |tests| {
            let _ = tests.queue().enqueue(&Charge { plan: Plan::Commit })?;
            tests.run_until_idle()?;
            tests.advance(MINUTE)?;
            tests.run_until_idle().map(drop)
        },
        |crashed, point| {
            let mut tests = crashed.reopen(program())?;
            let mut kept = Vec::new();
            for task in tests.queue().tasks(Filter::new().task_name("charge"))? {
                kept.extend(tests.queue().steps(task.task_id)?);
            }
            let before = steps.load(Ordering::Relaxed);
            for _ in 0..4 {
                tests.run_until_idle()?;
                tests.advance(MINUTE)?;
            }
            let charges = tests.queue().count(Filter::new().task_name("charge"))?;
            assert_eq!(found(tests.queue()), (charges.cast_signed(), 2 * charges), "after a crash {point}");
            let again = steps.load(Ordering::Relaxed) - before;
            assert!(again == 0 || kept.is_empty(), "after a crash {point}: a kept step is done again");
            assert!(steps.load(Ordering::Relaxed) <= 2, "after a crash {point}");
            assert_sound(tests.queue());
            Ok(())
        },
    );
    assert!(crashes.unwrap() >= 12);
}

#[test]
fn g17_a_crash_at_each_commit_of_an_attempt_leaves_its_effect_once() {
    let crashes = at_every_commit(
        || Ok(bank()),
        |tests| {
            let limited = Options::new().serial("account");
            for plan in [Plan::Commit, Plan::FailFirst, Plan::PanicInside] {
                let _ = tests.queue().enqueue_with(&Charge { plan }, limited.clone())?;
            }
            for _ in 0..3 {
                tests.run_until_idle()?;
                tests.advance(MINUTE)?;
            }
            tests.run_until_idle().map(drop)
        },
        |crashed, point| {
            let mut tests = crashed.reopen(builder(Config::default()).handle(charge).share(true))?;
            assert_sound(tests.queue());
            for _ in 0..6 {
                tests.run_until_idle()?;
                tests.advance(MINUTE)?;
            }
            let queue = tests.queue();
            assert_sound(queue);
            let charges = queue.tasks(Filter::new().task_name("charge"))?;
            let succeeded = charges.iter().filter(|task| task.state == State::Succeeded).count() as u64;
            assert_eq!(charges.len() as u64, succeeded, "after a crash {point}");
            assert_eq!(found(queue), (succeeded.cast_signed(), 3 * succeeded), "after a crash {point}");
            Ok(())
        },
    );
    assert!(crashes.unwrap() > 20);
}

/// One whose task is at another attempt, and one whose process does not own the file any more.
#[test]
fn g17_an_attempt_that_counts_no_more_commits_nothing() {
    for (sql, error_type) in [
        ("UPDATE perdura_tasks SET generation = generation + 1", "Superseded"),
        ("UPDATE perdura_meta SET owner_epoch = owner_epoch + 1", "perdura::error::Error"),
    ] {
        let folder = Folder::new();
        let file = folder.file();
        let late = move |_: Charge, cx: &Context| -> Result<u64, Failure> {
            rusqlite::Connection::open(&file)?.execute_batch(sql)?; // what others do meanwhile
            let ended = cx.commit(1, |tx| Ok(tx.execute_batch("INSERT INTO orders (item) VALUES ('a')")?));
            let failure = format!("{:?}", ended.as_ref().unwrap_err());
            assert!(failure.contains(error_type), "{failure}");
            ended
        };
        let builder = Queue::builder().handle(late);
        let tests = SteppedQueue::open_file(builder, &ManualClock::new(), folder.file()).unwrap();
        tests.queue().transaction(|tx| Closure::Ok(tx.execute_batch(TABLES)?)).unwrap();
        let _ = tests.queue().enqueue(&Charge { plan: Plan::Commit }).unwrap();
        let _ = tests.run_one();
        assert_eq!(found(tests.queue()), (0, 1));
    }
}

/// A closure that fails takes nothing with it; and a task that is cancelled meanwhile is so only if it does not succeed.
#[test]
fn g17_an_attempt_goes_on_after_a_commit_that_failed() {
    let home = std::sync::Arc::new(std::sync::OnceLock::<Queue>::new());
    let inside = home.clone();
    let twice = move |_: Charge, cx: &Context| {
        let queue = inside.get().unwrap();
        cx.enqueue(&Do::Ok(1))?;
        let failed = cx.commit(1, |_| {
            assert_eq!(queue.get(cx.id()).unwrap_err().kind(), ErrorKind::WouldDeadlock);
            Err(Failure::named("not.yet", "as told"))
        });
        assert!(failed.is_err());
        queue.cancel(cx.id())?;
        cx.commit(2, |tx| Ok(tx.execute_batch("INSERT INTO orders (item) VALUES ('a')")?))
    };
    let tests = SteppedQueue::open(Queue::builder().handle(twice), &ManualClock::new()).unwrap();
    home.set(tests.queue().clone()).unwrap();
    let queue = tests.queue();
    queue.transaction(|tx| Closure::Ok(tx.execute_batch(TABLES)?)).unwrap();
    let id = queue.enqueue(&Charge { plan: Plan::Commit }).unwrap().id();
    tests.run_one().unwrap();
    assert_eq!((queue.get(id).unwrap().state, found(queue)), (State::Succeeded, (1, 2)));
    assert_eq!(queue.result::<Charge>(id).unwrap(), Some(2));
    assert_sound(queue);
}

/// Its place in a full queue is free with its commit; its worker is not.
#[test]
fn g17_the_place_of_a_committed_attempt_is_free_before_its_handler_returns() {
    let folder = Folder::new();
    let (go_on, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let slow = move |task: Charge, cx: &Context| {
        let receipt = cx.commit(7, |_| Ok(()))?;
        if task.plan == Plan::FailAfter {
            gate.lock().unwrap().recv().unwrap();
        }
        Ok(receipt)
    };
    let queue = Queue::builder().workers(2).handle(slow).open(folder.file()).unwrap();
    queue.set_limit("default", Some(1)).unwrap();
    let slow = queue.enqueue(&Charge { plan: Plan::FailAfter }).unwrap().id();
    let next = queue.enqueue(&Charge { plan: Plan::Commit }).unwrap().id();
    assert_eq!(queue.wait_result::<Charge>(slow, PATIENCE).unwrap(), 7);
    assert_eq!(queue.wait_result::<Charge>(next, PATIENCE).unwrap(), 7);
    go_on.send(()).unwrap();
    queue.drain().unwrap();
    assert!(queue.shutdown(MINUTE).unwrap().still_running.is_empty());
    assert_sound(&Queue::builder().open(folder.file()).unwrap());
}

#[test]
fn g17_children_are_there_if_the_attempt_succeeds_and_at_no_other_end() {
    let ends: [fn() -> Failure; 4] = [
        || Failure::snooze(SECOND),
        || Failure::named("no", "as told"),
        || Failure::cancel("as told"),
        || Failure::throttle(SECOND),
    ];
    for end in ends {
        let parent = move |_: Charge, cx: &Context| {
            cx.enqueue_with(&Do::Ok(1), Options::new().queue("children"))?;
            cx.enqueue_with(&Do::Ok(2), Options::new().unique("one of them"))?;
            if cx.generation() == 1 { Err(end()) } else { Ok(1) }
        };
        let mut tests =
            SteppedQueue::open(builder(Config::default()).handle(parent), &ManualClock::new()).unwrap();
        let id = tests.queue().enqueue(&Charge { plan: Plan::Commit }).unwrap().id();
        tests.run_one().unwrap();
        assert_eq!(tests.queue().counts().unwrap().total().all(), 1);
        let _ = tests.queue().retry(id); // the cancelled one
        tests.advance(MINUTE).unwrap();
        let before = tests.commits();
        tests.run_one().unwrap();
        assert_eq!(tests.commits(), before + 2, "the claim, and the end with all that it makes");
        assert_eq!(tests.queue().counts().unwrap().total().ready, 2);
        assert_sound(tests.queue());
    }
}

#[test]
fn an_attempt_makes_ten_thousand_children_and_not_one_more() {
    let parent = |_: Charge, cx: &Context| {
        for n in 0..10_000 {
            cx.enqueue(&Do::Ok(n))?;
        }
        let error = cx.enqueue(&Do::Ok(0)).unwrap_err();
        assert!(format!("{error:?}").contains("10000"), "{error:?}");
        assert!(cx.enqueue_with(&Do::Ok(0), Options::new().max_attempts(0)).is_err());
        Ok(1)
    };
    let tests = SteppedQueue::open(Queue::builder().handle(parent), &ManualClock::new()).unwrap();
    let _ = tests.queue().enqueue(&Charge { plan: Plan::Commit }).unwrap();
    tests.run_one().unwrap();
    assert_eq!(tests.queue().counts().unwrap().total().ready, 10_000);
}

#[cfg(feature = "faults")]
mod faults {
    use perdura::Outcome;
    use perdura_faultvfs::{Faults, Kind, Plan as FaultPlan, VFS};

    use super::*;

    #[test]
    fn g17_a_commit_of_unknown_outcome_says_so_and_names_its_first_task() {
        let folder = Folder::in_memory();
        let faults = Faults::attach(folder.file()).unwrap();
        let queue = Queue::builder().vfs(VFS).share(false).open(folder.file()).unwrap();
        queue.transaction(|tx| Closure::Ok(tx.execute_batch(TABLES)?)).unwrap();
        let both = |tx: &Transaction<'_>| {
            tx.execute("INSERT INTO orders (item) VALUES ('a book')", []).unwrap();
            tx.enqueue(&Do::Ok(1))
        };
        faults.fail(FaultPlan::at(1, Kind::FailedSync));
        assert!(queue.transaction(both).is_ok_and(|made| made.is_new()) || found(&queue) == (0, 0));
        let before = found(&queue);
        faults.fail(FaultPlan::at(1, Kind::FailedSync).from_then_on());
        let error = queue.transaction(both).unwrap_err();
        assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
        let token = error.token().expect("it made a task");
        faults.clear();
        let (orders, tasks) = found(&queue);
        let is_there = queue.find_by_token(token).unwrap().is_some();
        assert_eq!((orders - before.0, tasks - before.1), (i64::from(is_there), u64::from(is_there)));
        assert_sound(&queue);
    }
}
