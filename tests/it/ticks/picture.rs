//! What missed and overlap mean, as a picture: docs/charts/schedules.svg, drawn from queues that run.
//!
//! After a change: `PERDURA_BLESS=1 cargo test --all-features --test it picture`.

use std::fmt::Write as _;

use super::*;

/// From when to when a run ran, in units of five minutes.
type Drawn = (i64, i64);

/// How long each run takes, in units of five minutes.
const RUN: u32 = 3;
/// A tick comes each so many units.
const PERIOD: u32 = 2;
const END: u32 = 12;

/// Runs a schedule unit by unit; nobody executes in `off`, and a run takes a while.
fn live(schedule: Schedule, off: std::ops::Range<u32>, run: u32) -> Vec<Drawn> {
    let clock = ManualClock::new();
    let builder = Queue::builder().handle(note).schedule(schedule, &Note(1));
    let mut tests = SteppedQueue::open(builder, &clock).unwrap();
    let mut drawn: Vec<Drawn> = Vec::new();
    let mut under_way: Vec<(TaskId, u32)> = Vec::new();
    for now in 1..=END {
        clock.advance(MINUTE * 5);
        if off.contains(&now) {
            continue;
        }
        // What has run long enough ends; what may start does.
        under_way.retain(|(id, ends)| {
            if *ends <= now {
                tests.queue().cancel(*id).unwrap(); // it is a stand-in for a run: whatever ends it lets the next one go on
            }
            *ends > now
        });
        tests.tick().unwrap();
        for task in tasks(tests.queue()) {
            let is_new = !under_way.iter().any(|(id, _)| *id == task.task_id);
            if task.hold == Some(perdura::Hold::Ready) && is_new {
                under_way.push((task.task_id, now + run));
                drawn.push((i64::from(now), i64::from((now + run).min(END + 1))));
            }
        }
    }
    drawn
}

fn row(svg: &mut String, y: i32, label: &str, off: std::ops::Range<u32>, drawn: &[Drawn]) {
    let x = |minute: i64| 150 + minute * 34;
    writeln!(svg, "<text x=\"8\" y=\"{}\">{label}</text>", y + 16).unwrap();
    if !off.is_empty() {
        let (from, to) = (x(i64::from(off.start)), x(i64::from(off.end)));
        writeln!(
            svg,
            "<rect x=\"{from}\" y=\"{}\" width=\"{}\" height=\"34\" class=\"off\"/>",
            y - 4,
            to - from
        )
        .unwrap();
    }
    for tick in (PERIOD..=END).step_by(PERIOD as usize) {
        let at = x(i64::from(tick));
        writeln!(svg, "<line x1=\"{at}\" y1=\"{}\" x2=\"{at}\" y2=\"{}\" class=\"tick\"/>", y - 4, y + 30)
            .unwrap();
    }
    for (lane, (from, to)) in drawn.iter().enumerate() {
        let (top, left) = (y + i32::try_from(lane % 2).unwrap() * 14, x(*from));
        let width = x(*to) - left - 2;
        writeln!(
            svg,
            "<rect x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"11\" rx=\"2\" class=\"run\"/>"
        )
        .unwrap();
    }
}

#[test]
fn the_picture_of_schedules_is_what_they_do() {
    let each = || Schedule::every("s", MINUTE * 5 * PERIOD);
    let mut svg = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 580 372\" font-family=\"sans-serif\" font-size=\"12\">\n<style>\
         text{fill:#555}.tick{stroke:#999;stroke-dasharray:2 2}.run{fill:#3572b0}.off{fill:#999;opacity:.25}\
         @media(prefers-color-scheme:dark){text{fill:#bbb}}</style>\n",
    );
    writeln!(
        svg,
        "<text x=\"8\" y=\"18\">missed: nobody executes in the grey time (dashed: ticks, blue: runs)</text>"
    )
    .unwrap();
    let off = 3..9;
    for (n, (label, missed, overlap)) in [
        ("Latest", Missed::Latest, Overlap::Skip),
        ("Skip", Missed::Skip, Overlap::Skip),
        ("All, Queue", Missed::All { cap: 9 }, Overlap::Queue),
    ]
    .into_iter()
    .enumerate()
    {
        let drawn = live(each().missed(missed).overlap(overlap), off.clone(), 1);
        row(&mut svg, 34 + 44 * i32::try_from(n).unwrap(), label, off.clone(), &drawn);
    }
    writeln!(
        svg,
        "<text x=\"8\" y=\"184\">overlap: each run takes a quarter of an hour, and a tick comes each ten minutes</text>"
    )
    .unwrap();
    for (n, overlap) in
        [Overlap::Skip, Overlap::Queue, Overlap::Replace, Overlap::Allow].into_iter().enumerate()
    {
        let drawn = live(each().overlap(overlap), 0..0, RUN);
        row(&mut svg, 200 + 44 * i32::try_from(n).unwrap(), &format!("{overlap:?}"), 0..0, &drawn);
    }
    svg.push_str("</svg>\n");
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/charts/schedules.svg");
    if std::env::var_os("PERDURA_BLESS").is_some() {
        return std::fs::write(path, svg).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), svg, "PERDURA_BLESS=1 draws it anew");
}
