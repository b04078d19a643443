//! A nightly job: when it runs, what becomes of the nights when the program was off, and a run by hand. The clock is that of a test, so the days pass
//! at once; your program calls `builder().open("tasks.db")` and does nothing more.
//!
//! `cargo run --features cron --example nightly`

use std::time::Duration;

use perdura::testing::{ManualClock, SteppedQueue};
use perdura::{Builder, Clock, Context, Failure, Filter, Missed, Overlap, Queue, Schedule, Task};

const DAY: Duration = Duration::from_secs(24 * 3600);

#[derive(serde::Serialize, serde::Deserialize)]
struct BackUp;

impl Task for BackUp {
    const NAME: &'static str = "back up";
    type Output = String;
}

fn back_up(_: BackUp, cx: &Context) -> Result<String, Failure> {
    let tick = cx.tick()?.ok_or_else(|| Failure::permanent("no schedule has made this task"))?;
    Ok(format!("for {tick}, run at {}", cx.now()))
}

fn builder() -> Builder {
    let nightly = Schedule::cron("nightly", "30 2 * * *")
        .time_zone("Europe/Berlin")
        .missed(Missed::Latest) // of the nights that were missed, the last one gets a run,
        .grace(DAY / 2) // if it is not longer ago than this
        .overlap(Overlap::Skip); // a night is left out if the run before is still live
    Queue::builder().handle(back_up).schedule(nightly, &BackUp)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let clock = ManualClock::new(); // 2026-01-01
    clock.advance(86 * DAY);
    let mut program = SteppedQueue::open(builder(), &clock)?;
    let next = program.queue().preview("nightly", 3)?;
    println!("next: {}, {}, {}", next[0], next[1], next[2]); // 29 March has no 2:30: the clocks are set forward
    program.advance(next[0].since(clock.now()))?;
    program.run_until_idle()?;

    let off = program.crash()?; // the machine is off for three nights, and on again in the morning
    clock.advance(3 * DAY + DAY / 4);
    let mut program = off.reopen(builder())?;
    program.tick()?;
    program.run_until_idle()?;

    let by_hand = program.queue().run_schedule_now("nightly")?;
    program.run_until_idle()?;
    for task in program.queue().tasks(Filter::new())? {
        let result = program.queue().result::<BackUp>(task.task_id)?.unwrap_or_default();
        println!("{result}{}", if task.task_id == by_hand { ", by hand" } else { "" });
    }
    println!("nights without a run: {}", program.queue().schedule("nightly")?.missed_ticks);
    Ok(())
}
