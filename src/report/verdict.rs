//! What needs attention, in one sentence. Pure.

use super::data::{Attention, Concern, ReportData, Section};
use crate::ScheduleStatus;
use crate::console::inspect::health::{LARGE_WAL_BYTES, LONG_READY_WAIT, open_mode, wrong_pragmas};
use crate::console::inspect::queue::waits_on_purpose;
use crate::console::words::{bytes, count, span};

/// What of a page needs attention.
pub(super) fn judge(page: &ReportData) -> Attention {
    let concerns: Vec<Concern> =
        [ended_badly(page), ready(page), paused(page), broken(page), overdue(page), unknown(page)]
            .into_iter()
            .flatten()
            .chain(disk(page))
            .collect();
    let texts: Vec<&str> = concerns.iter().map(|concern| concern.text.as_str()).collect();
    let sentence = match texts.as_slice() {
        [] => format!("{}.", quiet(page)),
        texts => format!("Needs attention: {}.", texts.join("; ")),
    };
    Attention { concerns, sentence }
}

/// The sentence when nothing needs attention.
pub(super) fn quiet(page: &ReportData) -> String {
    let ended = page.activity.sum.ended();
    let window = page.window();
    match ended {
        0 => format!("Nothing needs attention: no attempt ended in the last {window}"),
        _ => format!("Nothing needs attention: {} ended in the last {window}", count(ended, "attempt")),
    }
}

fn concern(about: Section, text: String) -> Concern {
    Concern { about, text }
}

fn ended_badly(page: &ReportData) -> Option<Concern> {
    let (failed, lost) = (page.total.failed, page.total.lost);
    let text = match (failed, lost) {
        (0, 0) => return None,
        (failed, 0) => format!("{} failed", count(failed, "task")),
        (0, lost) => format!("{} lost", were(lost)),
        (failed, lost) => format!("{} failed and {} lost", count(failed, "task"), count(lost, "task")),
    };
    Some(concern(Section::Failures, text))
}

fn were(n: u64) -> String {
    format!("{} {}", count(n, "task"), if n == 1 { "was" } else { "were" })
}

/// Ready tasks that nobody starts, but for those that wait on purpose.
fn ready(page: &ReportData) -> Option<Concern> {
    let open = || page.queues.iter().filter(|queue_row| !waits_on_purpose(&queue_row.counts));
    let ready: u64 = open().map(|queue_row| queue_row.counts.ready).fold(0, u64::saturating_add);
    let oldest =
        open().filter_map(|queue_row| queue_row.ready_since).min().map(|since| page.made_at.since(since));
    let long = oldest.filter(|age| *age >= LONG_READY_WAIT);
    let text = match (ready, page.file.owned) {
        (0, _) => return None,
        (ready, Some(false)) => {
            let age = oldest.map_or_else(String::new, |age| format!(", the oldest for {}", span(age)));
            format!("nobody owns the file while {} ready{age}", are(ready))
        }
        (ready, _) => format!("of {} ready, the oldest has been for {}", are_the(ready), span(long?)),
    };
    Some(concern(Section::Queues, text))
}

fn are(n: u64) -> String {
    format!("{} {}", count(n, "task"), if n == 1 { "is" } else { "are" })
}

fn are_the(n: u64) -> String {
    format!("{} that {}", count(n, "task"), if n == 1 { "is" } else { "are" })
}

fn paused(page: &ReportData) -> Option<Concern> {
    let paused: Vec<_> = page.queues.iter().filter(|queue_row| queue_row.counts.paused).collect();
    let ready: u64 = paused.iter().map(|queue_row| queue_row.counts.ready).fold(0, u64::saturating_add);
    let which = match paused.as_slice() {
        [] => return None,
        [queue_row] => format!("queue {:?} is paused", queue_row.queue),
        queue_rows => format!("{} queues are paused", queue_rows.len()),
    };
    let what = if ready > 0 { format!(" with {} ready", count(ready, "task")) } else { String::new() };
    Some(concern(Section::Queues, format!("{which}{what}")))
}

/// Schedules that cannot make tasks. (Those that are paused or disabled make none on purpose.)
fn broken(page: &ReportData) -> Option<Concern> {
    let rows = &page.schedules.rows;
    let broken: Vec<_> =
        rows.iter().map(|row| &row.record).filter(|record| record.status == ScheduleStatus::Broken).collect();
    let text = match broken.as_slice() {
        [] => return None,
        [record] => format!("schedule {:?} is broken", record.schedule),
        // Of broken ones no more than half a page is shown.
        records if page.schedules.more && records.len() * 2 >= rows.len() => {
            format!("{} schedules or more are broken", records.len())
        }
        records => format!("{} schedules are broken", records.len()),
    };
    Some(concern(Section::Schedules, text))
}

/// A schedule that fires no more because nobody executes.
fn overdue(page: &ReportData) -> Option<Concern> {
    let first = page
        .schedules
        .rows
        .iter()
        .filter_map(|row| Some((row.record.fires_at?, row)))
        .min_by_key(|next| next.0);
    let (due, row) = first.filter(|_| page.file.owned == Some(false))?;
    let late = page.made_at.since(due);
    let text = || {
        format!(
            "nobody owns the file while schedule {:?} has been due for {}",
            row.record.schedule,
            span(late)
        )
    };
    (late >= LONG_READY_WAIT).then(|| concern(Section::Schedules, text()))
}

fn unknown(page: &ReportData) -> Option<Concern> {
    let n = page.total.unknown_name;
    (n > 0).then(|| concern(Section::Tasks, format!("no handler knows the names of {}", count(n, "task"))))
}

fn disk(page: &ReportData) -> Vec<Concern> {
    let file = &page.file;
    let mut all = Vec::new();
    if let Some(disk) = page.disk.filter(|disk| disk.is_nearly_full()) {
        all.push(format!("the disk has only {} free", bytes(disk.free_bytes)));
    }
    if file.wal.damaged {
        all.push("the header of the WAL is damaged".to_owned());
    }
    if file.wal.bytes > LARGE_WAL_BYTES {
        all.push(format!("the WAL has grown to {}", bytes(file.wal.bytes)));
    }
    if let Some(mode) = open_mode(file) {
        all.push(format!("other users may use the file (mode {mode})"));
    }
    all.extend(
        wrong_pragmas(file)
            .map(|pragma| format!("{} is {} instead of {}", pragma.name, pragma.found, pragma.wanted)),
    );
    all.into_iter().map(|text| concern(Section::File, text)).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::console::inspect::health::Disk;
    use crate::report::data::ReportOptions;
    use crate::testing::{ManualClock, SteppedQueue};
    use crate::{Clock, Context, Failure, Filter, Queue, Schedule, Task};

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Walk;

    impl Task for Walk {
        const NAME: &'static str = "walk";
        type Output = ();
    }

    fn look(queue: &Queue, clock: &ManualClock) -> ReportData {
        let options = ReportOptions { now: clock.now(), back: Duration::from_secs(3600), args: false };
        ReportData { disk: None, ..ReportData::gather(queue, options).unwrap() }
    }

    fn sentence(page: &ReportData) -> String {
        judge(page).sentence
    }

    #[test]
    fn the_sentence_says_what_needs_attention_and_nothing_else() {
        let clock = ManualClock::new();
        let fails = |_: Walk, _: &Context| Err::<(), _>(Failure::permanent("lost the way"));
        let mut queue = SteppedQueue::open(Queue::builder().handle(fails), &clock).unwrap();
        let said = |queue: &SteppedQueue| sentence(&look(queue.queue(), &clock));
        assert_eq!(said(&queue), "Nothing needs attention: no attempt ended in the last 1 h.");

        let _ = queue.queue().enqueue(&Walk).unwrap();
        queue.run_until_idle().unwrap();
        assert_eq!(said(&queue), "Needs attention: 1 task failed.");

        let _ = queue.queue().delete_all(Filter::new()).unwrap();
        assert_eq!(said(&queue), "Nothing needs attention: 1 attempt ended in the last 1 h.");

        let _ = queue.queue().enqueue(&Walk).unwrap();
        let _ = queue.queue().enqueue(&Walk).unwrap();
        queue.advance(LONG_READY_WAIT - Duration::from_millis(1)).unwrap();
        assert_eq!(said(&queue), "Nothing needs attention: 1 attempt ended in the last 1 h.");
        queue.advance(Duration::from_millis(1)).unwrap();
        assert_eq!(
            said(&queue),
            "Needs attention: of 2 tasks that are ready, the oldest has been for 5 min."
        );

        queue.queue().pause("default").unwrap();
        assert_eq!(said(&queue), "Needs attention: queue \"default\" is paused with 2 tasks ready.");
        queue.queue().pause("other").unwrap();
        assert_eq!(said(&queue), "Needs attention: 2 queues are paused with 2 tasks ready.");
    }

    #[test]
    fn a_schedule_that_is_broken_or_due_for_long_needs_attention_and_one_at_rest_does_not() {
        let clock = ManualClock::new();
        let queue = SteppedQueue::open(Queue::builder(), &clock).unwrap();
        for name in ["a", "b", "c"] {
            queue.queue().set_schedule(Schedule::every(name, Duration::from_secs(60)), &Walk).unwrap();
        }
        let said = |statuses: [ScheduleStatus; 3], owned| {
            let mut page = look(queue.queue(), &clock);
            for (row, status) in page.schedules.rows.iter_mut().zip(statuses) {
                row.record.status = status;
            }
            page.file.owned = owned;
            judge(&page).concerns.into_iter().map(|concern| concern.text).collect::<Vec<_>>()
        };
        use ScheduleStatus::{Active, Broken, Disabled, Over, Paused};
        assert_eq!(said([Disabled, Paused, Over], None), [""; 0]);
        assert_eq!(said([Broken, Paused, Active], None), ["schedule \"a\" is broken"]);
        assert_eq!(said([Broken, Broken, Active], None), ["2 schedules are broken"]);
        clock.advance(Duration::from_secs(60) + LONG_READY_WAIT - Duration::from_millis(1));
        assert_eq!(said([Active; 3], Some(false)), [""; 0]);
        clock.advance(Duration::from_millis(1));
        let due = ["nobody owns the file while schedule \"a\" has been due for 5 min"];
        assert_eq!(said([Active; 3], Some(false)), due);
        for owned in [None, Some(true)] {
            assert_eq!(said([Active; 3], owned), [""; 0], "its owner fires it, or may do so");
        }
    }

    #[test]
    fn a_file_that_nobody_owns_needs_attention_only_while_tasks_are_ready() {
        let clock = ManualClock::new();
        let queue = SteppedQueue::open(Queue::builder(), &clock).unwrap();
        let mut page = look(queue.queue(), &clock);
        page.file.owned = Some(false);
        assert!(judge(&page).concerns.is_empty());
        let _ = queue.queue().enqueue(&Walk).unwrap();
        let mut page = look(queue.queue(), &clock);
        page.file.owned = Some(false);
        let wanted = "Needs attention: nobody owns the file while 1 task is ready, the oldest for 0 ms.";
        assert_eq!(sentence(&page), wanted);
        page.file.owned = None;
        assert!(judge(&page).concerns.is_empty(), "it is not known that nobody does");
    }

    #[test]
    fn trouble_of_the_disk_is_named() {
        let clock = ManualClock::new();
        let queue = SteppedQueue::open(Queue::builder(), &clock).unwrap();
        let concerns = |change: &dyn Fn(&mut ReportData)| {
            let mut page = look(queue.queue(), &clock);
            change(&mut page);
            judge(&page).concerns.into_iter().map(|concern| concern.text).collect::<Vec<_>>()
        };
        let disk = |free_bytes| {
            move |page: &mut ReportData| page.disk = Some(Disk { total_bytes: 20 << 30, free_bytes })
        };
        assert_eq!(concerns(&disk(1 << 30)), [""; 0]);
        assert_eq!(concerns(&disk((1 << 30) - 1)), ["the disk has only 1.0 GiB free"]);
        assert_eq!(concerns(&|page| page.file.wal.damaged = true), ["the header of the WAL is damaged"]);
        assert_eq!(concerns(&|page| page.file.wal.bytes = LARGE_WAL_BYTES), [""; 0]);
        assert_eq!(
            concerns(&|page| page.file.wal.bytes = LARGE_WAL_BYTES + 1),
            ["the WAL has grown to 64.0 MiB"]
        );
        let mode = |mode: &'static str| move |page: &mut ReportData| page.file.mode = Some(mode.to_owned());
        assert_eq!(concerns(&mode("640")), ["other users may use the file (mode 640)"]);
        assert_eq!(concerns(&mode("700")), [""; 0]);
        let pragma = |page: &mut ReportData| page.file.pragmas[0].found = "delete".to_owned();
        assert_eq!(concerns(&pragma), ["journal_mode is delete instead of wal"]);
    }
}
