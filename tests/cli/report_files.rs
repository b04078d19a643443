//! Files to report on: one of a busy day, one whose every text attacks the page, an empty one.

use std::path::Path;
use std::time::Duration;

use perdura::testing::{ManualClock, SteppedQueue};
use perdura::{
    Builder, Clock, Config, Context, Durability, Failure, Filter, Options, Queue, Rate, Schedule,
    SystemClock, Task,
};
use serde::{Deserialize, Serialize};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A file of a program that ran for a day and was killed: six kinds of tasks in four queues, failures of several kinds, retries, dead
/// letters, a paused queue, tasks that are ready, wait, ran when it died.
pub fn busy(path: &Path) {
    let begin = SystemClock::new().now().saturating_sub(DAY);
    let clock = ManualClock::at(begin);
    let mut day = SteppedQueue::open_file(busy_handlers(&clock, true), &clock, path).unwrap();
    schedules(day.queue());
    for step in 0..287 {
        busy_step(day.queue(), step, if (96..200).contains(&step) { 1 } else { 4 });
        day.run_until_idle().unwrap();
        if step == 120 {
            let old = Filter::new().error_type("pdf.unreadable");
            assert!(day.queue().move_to_dead_letters(old).unwrap().changed > 0);
            let letters = day.queue().dead_letters();
            letters.replay(letters.list(Filter::new()).unwrap()[0].task_id).unwrap();
        }
        if step == 150 {
            let _ = day.queue().enqueue_with(&Import { rows: 7 }, Options::new().max_attempts(1)).unwrap();
            day = day.crash_in_attempt(true).unwrap().0.reopen(busy_handlers(&clock, true)).unwrap();
        }
        let next = begin.saturating_add(Duration::from_secs((step + 1) * 300));
        day.advance(next.since(clock.now()).max(Duration::from_secs(1))).unwrap();
    }
    busy_step(day.queue(), 288, 3);
    day.queue().pause("exports").unwrap();
    for n in 0..12 {
        let due = Duration::from_secs(900 + n * 700);
        let _ = day.queue().enqueue_with(&Export { sheet: n }, Options::new().queue("exports")).unwrap();
        let _ = day.queue().enqueue_with(&Mail { to: n }, Options::new().queue("mail").delay(due)).unwrap();
    }
    for n in 0..4 {
        let one = Options::new().queue("scanner").serial("scanner").priority(-9);
        let _ = day.queue().enqueue_with(&Export { sheet: n }, one).unwrap();
    }
    day.queue().set_limit("scanner", Some(2)).unwrap();
    day.queue().set_rate("mail", Some(Rate::per(Duration::from_secs(60), 50).burst(5))).unwrap();
    break_schedule(path);
    let mut day = day.crash_in_attempt(true).unwrap().0.reopen(busy_handlers(&clock, false)).unwrap();
    day.tick().unwrap();
    day.crash_in_attempt(true).unwrap();
}

/// Schedules that stand in every way; and a broken one is made by [`break_schedule`].
fn schedules(queue: &Queue) {
    let hour = Duration::from_secs(3600);
    let options = || Options::new().queue("scheduled");
    let nightly = Schedule::cron("nightly", "30 2 * * *").time_zone("Europe/Berlin").options(options());
    queue.set_schedule(nightly, &Import { rows: 3 }).unwrap();
    queue.set_schedule(Schedule::every("sync mail", hour).options(options()), &Mail { to: 1 }).unwrap();
    let export = Export { sheet: 1 };
    queue.set_schedule(Schedule::after_end("scan", hour * 3).options(options()), &export).unwrap();
    queue.set_schedule(Schedule::every("old", hour), &export).unwrap();
    queue.pause_schedule("old").unwrap();
    queue.set_schedule(Schedule::every("altered", hour * 24 * 30), &export).unwrap();
}

/// As somebody may do it who edits the file by hand.
fn break_schedule(path: &Path) {
    let file = rusqlite::Connection::open(path).unwrap();
    file.execute("UPDATE perdura_schedules SET definition = '{}' WHERE schedule = 'altered'", []).unwrap();
}

fn busy_step(queue: &Queue, step: u64, load: u64) {
    for n in 0..load {
        let seed = step * 10 + n;
        let _ = queue
            .enqueue_with(&Thumbnail { image: seed }, Options::new().queue("images").tag("gallery"))
            .unwrap();
        let _ = queue.enqueue_with(&Mail { to: seed }, Options::new().queue("mail")).unwrap();
    }
    let _ =
        queue.enqueue_with(&Webhook { order: step }, Options::new().queue("default").priority(5)).unwrap();
    if step.is_multiple_of(4) {
        let _ = queue.enqueue_with(&Export { sheet: step }, Options::new().queue("exports")).unwrap();
        let _ = queue.enqueue(&Import { rows: step }).unwrap();
    }
    if step.is_multiple_of(24) {
        let _ = queue.enqueue(&Vacuum).unwrap();
    }
}

macro_rules! tasks {
    ($($task:ident $name:literal { $($field:ident: $type:ty)? })*) => {$(
        #[derive(Serialize, Deserialize)]
        struct $task { $($field: $type)? }

        impl Task for $task {
            const NAME: &'static str = $name;
            type Output = ();
        }
    )*};
}

tasks! {
    Thumbnail "images.thumbnail" { image: u64 }
    Mail "mail.send" { to: u64 }
    Webhook "webhook.deliver" { order: u64 }
    Export "report.export" { sheet: u64 }
    Import "orders.import" { rows: u64 }
}

#[derive(Serialize, Deserialize)]
struct Vacuum;

impl Task for Vacuum {
    const NAME: &'static str = "nightly.vacuum";
    type Output = u64;
}

fn busy_handlers(clock: &ManualClock, all: bool) -> Builder {
    let took = |base_ms: u64, spread: u64| {
        let clock = clock.clone();
        move |seed: u64| {
            let chance = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
            clock.advance(Duration::from_millis(
                base_ms + chance * chance % (spread * 7) * (chance % spread) / (spread * 3),
            ));
            chance % 100
        }
    };
    let (thumbnail, mail, webhook, export, import, vacuum) = (
        took(12, 90),
        took(150, 900),
        took(60, 4_000),
        took(2_000, 9_000),
        took(700, 3_000),
        took(9_000, 900),
    );
    let builder = Queue::builder()
        .panic_hook(true)
        .config(Config::default().durability(Durability::Relaxed))
        .handle(move |task: Thumbnail, _: &Context| match thumbnail(task.image) {
            0..3 => Err(std::fs::read("/no/such/picture.jpg").unwrap_err().into()),
            _ => Ok(()),
        })
        .handle(move |task: Mail, cx: &Context| match mail(task.to) {
            0..14 if cx.attempt_number() < 3 => {
                Err(Failure::named("smtp.greylisted", format!("451 try user{}@example.org later", task.to)))
            }
            98.. => Err(Failure::permanent(format!("550 no such user {}", task.to))),
            _ => Ok(()),
        })
        .handle(move |task: Webhook, _: &Context| match webhook(task.order) {
            0..8 => Err(Failure::named(
                "shop::http::ServerError",
                format!("POST /orders/{} answered 503", task.order),
            )),
            _ => Ok(()),
        })
        .handle(move |task: Export, _: &Context| {
            if export(task.sheet) < 10 {
                return Err(Failure::named("pdf.unreadable", format!("sheet {} has no pages", task.sheet)));
            }
            Ok(())
        })
        .handle(move |task: Import, _: &Context| {
            import(task.rows);
            assert!(task.rows % 64 != 60, "row {} has {} columns, not 12", task.rows, task.rows % 11);
            Ok(())
        });
    if all {
        builder
            .handle(move |_: Vacuum, cx: &Context| Ok::<_, Failure>(vacuum(cx.id().as_i64().cast_unsigned())))
    } else {
        builder
    }
}

/// Texts that would do something if one of them became markup, a script, a style, an address or a direction.
pub const ATTACKS: [&str; 12] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(2)>",
    "' onmouseover='alert(3)",
    "javascript:alert(4)",
    "]]><svg onload=alert(5)>",
    "</style><style>*{display:none}</style>",
    "</title><script>alert(6)</script>",
    "user \u{202e}gnp.exe\u{2066}\u{200f} <b>bold</b>",
    "&lt;script&gt; &#60; &amp; \\u003cscript\\u003e \\0 %00",
    "<!-- --!> <![CDATA[ <plaintext> <base href=//evil.example>",
    "{{constructor.constructor('alert(7)')()}} ${alert(8)}",
    "</script><iframe srcdoc='<script>alert(9)</script>'></iframe>",
];

struct Attack<const N: usize>;

impl<const N: usize> Serialize for Attack<N> {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        (ATTACKS, ATTACKS).serialize(s)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Attack<N> {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(d).map(|_| Attack)
    }
}

impl<const N: usize> Task for Attack<N> {
    const NAME: &'static str = ATTACKS[N];
    type Output = ();
}

/// Fails with the attack as its error: type, message and traceback.
fn attack<const N: usize>(_: Attack<N>, _: &Context) -> Result<(), Failure> {
    let text = format!("{}\nand {} then {}", ATTACKS[N], "word".repeat(400), ATTACKS.join("\n"));
    Err(Failure::named(ATTACKS[N], text))
}

/// A file in which every name, queue, tag, error and every args is an attack.
pub fn hostile(path: &Path) {
    let clock = ManualClock::at(SystemClock::new().now().saturating_sub(Duration::from_secs(3600)));
    let builder = Queue::builder()
        .config(Config::default().durability(Durability::Relaxed).max_task_attempts(2))
        .handle(attack::<0>)
        .handle(attack::<1>)
        .handle(attack::<2>)
        .handle(attack::<3>)
        .handle(attack::<4>)
        .handle(attack::<5>)
        .handle(attack::<6>)
        .handle(attack::<7>)
        .handle(attack::<8>)
        .handle(attack::<9>)
        .handle(attack::<10>)
        .handle(attack::<11>);
    let mut queue = SteppedQueue::open_file(builder, &clock, path).unwrap();
    let enqueue = |queue: &Queue, delay: u64| {
        attack_with::<0>(queue, delay);
        attack_with::<1>(queue, delay);
        attack_with::<2>(queue, delay);
        attack_with::<3>(queue, delay);
        attack_with::<4>(queue, delay);
        attack_with::<5>(queue, delay);
        attack_with::<6>(queue, delay);
        attack_with::<7>(queue, delay);
        attack_with::<8>(queue, delay);
        attack_with::<9>(queue, delay);
        attack_with::<10>(queue, delay);
        attack_with::<11>(queue, delay);
    };
    for moved in [true, false] {
        enqueue(queue.queue(), 0);
        queue.run_until_idle().unwrap();
        queue.advance(Duration::from_secs(120)).unwrap();
        assert_eq!(queue.run_until_idle().unwrap().failed, ATTACKS.len());
        if moved {
            let bulk = queue.queue().move_to_dead_letters(Filter::new()).unwrap();
            assert_eq!(bulk.changed, ATTACKS.len() as u64);
        }
    }
    enqueue(queue.queue(), 0);
    enqueue(queue.queue(), 7200);
    queue.queue().pause(&long(ATTACKS[0])).unwrap();
    queue.queue().pause(&long(ATTACKS[7])).unwrap();
    queue.queue().set_limit(&long(ATTACKS[1]), Some(3)).unwrap();
    for name in ATTACKS {
        let schedule = Schedule::every(name, DAY).options(Options::new().queue(name));
        queue.queue().set_schedule(schedule, &Attack::<0>).unwrap();
    }
    queue.crash_in_attempt(true).unwrap();
}

fn attack_with<const N: usize>(queue: &Queue, delay: u64) {
    let options = Options::new().queue(long(ATTACKS[N])).tag(ATTACKS[N]).delay(Duration::from_secs(delay));
    let _ = queue.enqueue_with(&Attack::<N>, options).unwrap();
}

/// As long as a name may be, without a place to break a line at.
fn long(text: &str) -> String {
    let mut text = format!("{text}{}", "w".repeat(200));
    while text.len() > 200 {
        text.pop();
    }
    text
}

/// A file in which nothing has happened yet.
pub fn empty(path: &Path) {
    Queue::builder().open(path).unwrap();
}
