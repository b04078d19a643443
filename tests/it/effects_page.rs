//! What docs/effects.md says of effects, on a clock of its own and at every commit; and its picture, docs/charts/effects.svg, drawn from queues that run.
//!
//! After a change: `PERDURA_BLESS=1 cargo test --all-features --test it effects_page`.

use std::collections::{BTreeSet, HashSet};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use perdura::testing::{ManualClock, SteppedQueue, at_every_commit};
use perdura::{Builder, Context, Error, Failure, Queue, Task};
use serde::{Deserialize, Serialize};

use crate::support::{MINUTE, assert_sound};

macro_rules! tasks {
    ($($name:ident { $field:ident: $type:ty } -> $output:ty, $text:literal;)*) => {
        $(
            #[derive(Serialize, Deserialize)]
            struct $name {
                $field: $type,
            }
            impl Task for $name {
                const NAME: &'static str = $text;
                type Output = $output;
            }
        )*
    };
}

tasks! {
    Pay { cents: i64 } -> i64, "pay";
    Charge { cents: i64 } -> (), "charge";
    Mail { order: i64 } -> (), "mail";
    Split { parts: u32 } -> (), "split";
    Part { part: u32 } -> (), "part";
}

type Done = Result<(), Box<dyn std::error::Error>>;

fn pay(task: Pay, cx: &Context) -> Result<i64, Failure> {
    let fee = task.cents / 100; // work that may take its time comes first
    cx.commit(fee, |tx| {
        tx.execute("UPDATE accounts SET cents = cents - ?1", [task.cents + fee])?;
        Ok(())
    })
}

fn split(task: Split, cx: &Context) -> Result<(), Failure> {
    for part in 0..task.parts {
        cx.enqueue(&Part { part })?;
    }
    Ok(()) // now they are there, all of them
}

const ACCOUNTS: &str = "CREATE TABLE accounts (cents INTEGER NOT NULL); INSERT INTO accounts VALUES (1000)";

fn cents(queue: &Queue) -> i64 {
    let sql = "SELECT cents FROM accounts";
    queue.transaction(|tx| Ok::<_, perdura::Error>(tx.query_row(sql, [], |row| row.get(0)).unwrap())).unwrap()
}

fn stepped(builder: Builder) -> SteppedQueue {
    let tests = SteppedQueue::open(builder, &ManualClock::new()).unwrap();
    tests.queue().transaction(|tx| -> Done { Ok(tx.execute_batch(ACCOUNTS)?) }).unwrap();
    tests
}

#[test]
fn a_commit_a_split_and_a_transaction_do_what_the_page_says() -> Done {
    let tests = stepped(Queue::builder().handle(pay).handle(split));
    let queue = tests.queue();
    let paid = queue.enqueue(&Pay { cents: 200 })?.id();
    let _ = queue.enqueue(&Split { parts: 3 })?;
    queue.transaction(|tx| -> Done {
        Ok(tx.execute_batch("CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT NOT NULL)")?)
    })?;
    let id = queue.transaction(|tx| {
        tx.execute("INSERT INTO orders (item) VALUES (?1)", ["a book"])?;
        let mail = tx.enqueue(&Mail { order: tx.last_insert_rowid() })?;
        Ok::<_, Box<dyn std::error::Error>>(mail.id())
    })?;
    assert_eq!(queue.args_json(id)?, r#"{"order":1}"#);
    tests.run_until_idle()?;
    assert_eq!((cents(queue), queue.result::<Pay>(paid)?), (798, Some(2)));
    assert_eq!(queue.count(perdura::Filter::new().task_name("part"))?, 3);
    assert_sound(queue);
    Ok(())
}

/// A provider that is not in our file: what it was asked to charge, and the keys that it has seen.
#[derive(Default)]
struct Provider {
    charges: usize,
    keys: HashSet<String>,
}

/// How a charge is made.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Plain,
    Key,
    Commit,
}

fn builder(way: Way, world: &Arc<Mutex<Provider>>) -> Builder {
    let world = world.clone();
    let charge = move |task: Charge, cx: &Context| {
        let provider = |key: String| {
            let mut world = world.lock().unwrap();
            if world.keys.insert(key) {
                world.charges += 1;
            }
        };
        match way {
            Way::Plain => {
                world.lock().unwrap().charges += 1;
                Ok(())
            }
            Way::Key => {
                provider(cx.idempotency_key("charge")?);
                Ok(())
            }
            Way::Commit => cx.commit((), |tx| {
                Ok(tx.execute("UPDATE accounts SET cents = cents - ?1", [task.cents]).map(drop)?)
            }),
        }
    };
    Queue::builder().handle(charge)
}

/// How often the charge happened, for a crash at each commit of its life.
fn effects(way: Way) -> Vec<usize> {
    let (world, mut found) = (Arc::new(Mutex::new(Provider::default())), Vec::new());
    at_every_commit(
        || {
            *world.lock().unwrap() = Provider::default();
            let tests = stepped(builder(way, &world));
            let _ = tests.queue().enqueue(&Charge { cents: 100 })?;
            Ok(tests)
        },
        |tests| tests.run_until_idle().map(drop),
        |crashed, _| {
            let mut tests = crashed.reopen(builder(way, &world).share(true))?;
            for _ in 0..2 {
                tests.run_until_idle()?;
                tests.advance(MINUTE)?; // if the crash has cost an attempt
            }
            let inside = usize::try_from((1000 - cents(tests.queue())) / 100).unwrap();
            found.push(inside + world.lock().unwrap().charges);
            Ok(())
        },
    )
    .unwrap();
    found
}

#[test]
fn g17_the_picture_of_effects_is_what_they_do() {
    let [plain, key, commit] = [Way::Plain, Way::Key, Way::Commit].map(effects);
    assert!(plain.contains(&2) && plain.len() == 4, "{plain:?}");
    assert!([key.as_slice(), &commit].iter().all(|row| row.iter().all(|n| *n == 1)), "{key:?}, {commit:?}");
    let points = ["before the claim", "after the claim", "before the end", "after the end"];
    let mut svg = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 656 170\" font-family=\"sans-serif\" font-size=\"12\">\n<style>\
         text{fill:#555}.n{font-size:15px;text-anchor:middle}.p{text-anchor:middle}.one{fill:#3572b0;opacity:.25}.two{fill:#b03535;opacity:.45}\
         @media(prefers-color-scheme:dark){text{fill:#ccc}}</style>\n<text x=\"8\" y=\"18\">the process dies …</text>\n",
    );
    for (n, point) in points.iter().enumerate() {
        writeln!(svg, "<text class=\"p\" x=\"{}\" y=\"38\">{point}</text>", 260 + 110 * n).unwrap();
    }
    for (row, (label, found)) in
        [("a plain handler", &plain), ("a key for the other side", &key), ("cx.commit, in the file", &commit)]
            .into_iter()
            .enumerate()
    {
        let y = 50 + 38 * row;
        writeln!(svg, "<text x=\"8\" y=\"{}\">{label}</text>", y + 21).unwrap();
        for (n, times) in found.iter().enumerate() {
            let (x, class) = (208 + 110 * n, if *times == 1 { "one" } else { "two" });
            writeln!(
                svg,
                "<rect x=\"{x}\" y=\"{y}\" width=\"104\" height=\"32\" rx=\"3\" class=\"{class}\"/><text class=\"n\" x=\"{}\" y=\"{}\">{times}×</text>",
                x + 52,
                y + 21
            )
            .unwrap();
        }
    }
    svg.push_str("</svg>\n");
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/charts/effects.svg");
    if std::env::var_os("PERDURA_BLESS").is_some() {
        return std::fs::write(path, svg).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), svg, "PERDURA_BLESS=1 draws it anew");
}

#[derive(Serialize, Deserialize)]
struct Order {
    item: String,
    cents: i64,
    parcels: u64,
}

impl Task for Order {
    const NAME: &'static str = "order";
    type Output = String;
}

/// What the services behind an order were asked for; the bank's answer is lost the first time.
static ASKED: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn ask(what: String) -> Result<(), Failure> {
    let mut asked = ASKED.lock().unwrap();
    let is_new = !asked.contains(&what);
    let lost = what.starts_with("charge") && is_new;
    asked.push(what);
    if lost { Err(Failure::named("connection.reset", "the answer is lost")) } else { Ok(()) }
}

fn reserve(item: &str) -> Result<String, Failure> {
    ask(format!("reserve {item}")).map(|()| "shelf 12".to_owned())
}

fn charge(cents: i64, key: &str) -> Result<(), Failure> {
    ask(format!("charge {cents} {key}"))
}

fn ship(shelf: &str, parcel: u64) -> Result<(), Failure> {
    ask(format!("ship {parcel} from {shelf}"))
}

fn order(task: Order, cx: &Context) -> Result<String, Failure> {
    let shelf = cx.step("reserve", || reserve(&task.item))?;
    let key = cx.idempotency_key("charge")?; // the same in each attempt
    cx.step("charge", || charge(task.cents, &key))?;
    cx.sleep("time to change one's mind", Duration::from_secs(24 * 3600))?; // a day without a thread
    for parcel in 0..task.parcels {
        cx.step_n("ship", parcel, || ship(&shelf, parcel))?;
    }
    Ok(shelf)
}

#[test]
fn steps_are_done_once_and_charged_with_one_key() -> Result<(), Error> {
    let mut tests = SteppedQueue::open(Queue::builder().handle(order), &ManualClock::new())?;
    let id = tests.queue().enqueue(&Order { item: "a book".into(), cents: 500, parcels: 2 })?.id();
    for wait in [60, 24 * 3600, 1] {
        tests.run_until_idle()?;
        tests.advance(Duration::from_secs(wait))?;
    }
    assert_eq!(tests.queue().result::<Order>(id)?.as_deref(), Some("shelf 12"));
    let asked = ASKED.lock().unwrap();
    assert_eq!((asked.len(), asked.iter().collect::<BTreeSet<_>>().len()), (5, 4), "{asked:?}");
    assert_eq!(asked[1], asked[2], "charged with the same key");
    Ok(())
}
