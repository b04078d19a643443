//! What docs/testing.md says of its examples.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use perdura::testing::faults::{Faults, Kind, Plan, VFS};
use perdura::testing::{ManualClock, SteppedQueue, at_every_commit};
use perdura::{Builder, Context, Error, ErrorKind, Failure, Outcome, Queue, Task};
use serde::{Deserialize, Serialize};

use crate::support::Folder;

#[derive(Serialize, Deserialize)]
struct Mail {
    to: String,
}

impl Task for Mail {
    const NAME: &'static str = "mail";
    type Output = ();
}

fn sign_up(queue: &Queue, name: &str) -> Result<(), Error> {
    queue.enqueue(&Mail { to: name.to_owned() }).map(drop)
}

fn builder() -> Builder {
    Queue::builder().handle(|_: Mail, _: &Context| Ok::<_, Failure>(()))
}

#[test]
fn one_step_at_a_time() -> Result<(), Error> {
    let mut tests = SteppedQueue::open(builder(), &ManualClock::new())?;
    sign_up(tests.queue(), "ada")?;
    tests.assert_enqueued::<Mail>(|mail| mail.to == "ada");
    tests.refute_enqueued::<Mail>(|mail| mail.to == "bob");
    assert_eq!(tests.run_until_idle()?.succeeded, 1);
    tests.advance(Duration::from_secs(60))?; // waits end, tasks expire
    Ok(())
}

/// What lies outside of the process, and outlives it: the charges of a customer, each with the key that came with it.
#[derive(Clone, Default)]
struct Bank(Arc<Mutex<Vec<String>>>);

impl Bank {
    fn charge(&self, key: String) {
        let mut charges = self.0.lock().unwrap();
        if !charges.contains(&key) {
            charges.push(key);
        }
    }

    fn charges(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

#[test]
fn the_process_dies() -> Result<(), Error> {
    let bank = Mutex::new(Bank::default());
    let builder = || {
        let bank = bank.lock().unwrap().clone();
        Queue::builder().handle(move |_: Mail, cx: &Context| -> Result<(), Failure> {
            bank.charge(format!("order {}", cx.id()));
            Ok(())
        })
    };
    let order = |queue: &Queue| sign_up(queue, "ada");
    let crashes = at_every_commit(
        || {
            *bank.lock().unwrap() = Bank::default();
            SteppedQueue::open(builder(), &ManualClock::new())
        },
        |tests| {
            order(tests.queue())?; // the flow
            tests.run_until_idle().map(drop)
        },
        |crashed, point| {
            let tests = crashed.reopen(builder())?; // the next process
            if tests.queue().counts()?.total().all() == 0 {
                order(tests.queue())?; // it died before the order was there: the customer asks again
            }
            tests.run_until_idle()?;
            assert_eq!(bank.lock().unwrap().charges(), 1, "a crash {point}");
            Ok(())
        },
    )?;
    assert_eq!(crashes, 6); // before and after each commit: enqueue, claim, settle
    Ok(())
}

#[test]
fn the_disk_fails() -> Result<(), Error> {
    let (folder, clock) = (Folder::in_memory(), ManualClock::new());
    let (path, mail) = (folder.file(), Mail { to: "ada".to_owned() });
    let faults = Faults::attach(&path).unwrap();
    let tests = SteppedQueue::open_file(builder().vfs(VFS), &clock, &path)?;
    let queue = tests.queue();

    faults.fail(Plan::at(1, Kind::FailedSync)); // the next sync fails, and reaches nothing
    let _ = queue.enqueue(&mail)?; // a probe has found out, and it was written again
    assert_eq!(faults.hits().len(), 1);

    faults.fail(Plan::at(1, Kind::Busy).from_then_on()); // another program holds the lock, and does not let go
    let refused = queue.enqueue(&mail).unwrap_err(); // at once: nobody waits ten seconds here
    assert_eq!((refused.kind(), refused.outcome()), (ErrorKind::Busy, Outcome::NotDone));
    faults.clear();

    faults.limit_space(0); // a full disk: what fits into the file as it is fits, and no more
    let large = Mail { to: "x".repeat(1_000_000) };
    let refused = (1..).find_map(|_| queue.enqueue(&large).err()).unwrap();
    assert_eq!((refused.kind(), refused.outcome()), (ErrorKind::DiskFull, Outcome::NotDone));
    tests.run_until_idle()?; // what was accepted runs all the same
    assert_eq!(queue.counts()?.total().queued(), 0);
    Ok(())
}
