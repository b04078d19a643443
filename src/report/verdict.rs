//! What needs attention, in one sentence. Pure.

use super::data::{Attention, Concern, ReportData, ReportOptions, Section};
use crate::ScheduleStatus;
use crate::console::inspect::explain::quoted;
use crate::console::inspect::health::{LONG_READY_WAIT, is_large_wal, open_mode, wrong_pragmas};
use crate::console::inspect::queue::waits_on_purpose;
use crate::console::inspect::task::is_job_name;
use crate::console::words::{bytes, count, span};

/// What of a page needs attention.
pub(super) fn judge(page: &ReportData, options: &ReportOptions) -> Attention {
    let mut concerns: Vec<Concern> =
        [ended_badly(page), ready(page), paused(page), broken(page), overdue(page), unknown(page)]
            .into_iter()
            .flatten()
            .chain(disk(page))
            .collect();
    for concern in &mut concerns {
        concern.command = concern.command.take().map(|words| options.verb(&words));
    }
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
        0 => format!("Nothing needs attention: no attempt ended in the last {window}{}", retrying(page)),
        _ => {
            let ended = count(ended, "attempt");
            format!("Nothing needs attention: {ended} ended in the last {window}{}", retrying(page))
        }
    }
}

/// What has failed, and will be tried again without anybody.
fn retrying(page: &ReportData) -> String {
    match page.failures.retrying_tasks {
        n if page.failures.more_queued => {
            format!("; at least {} failed and will be tried again", count(n, "task"))
        }
        0 => String::new(),
        1 => "; 1 task has failed and will be tried again".to_owned(),
        n => format!("; {} have failed and will be tried again", count(n, "task")),
    }
}

/// A concern with the verb that mends it, or tells more.
fn concern(about: Section, text: String, words: impl Into<Option<String>>) -> Concern {
    Concern { about, text, command: words.into() }
}

fn ended_badly(page: &ReportData) -> Option<Concern> {
    let (failed, lost) = (page.total.failed, page.total.lost);
    let text = match (failed, lost) {
        (0, 0) => return None,
        (failed, 0) => format!("{} failed", count(failed, "task")),
        (0, lost) => format!("{} lost", were(lost)),
        (failed, lost) => format!("{} failed and {} lost", count(failed, "task"), count(lost, "task")),
    };
    // Errors of one type can be retried by that type; with several, the groups are worth a look first.
    let groups = page.failures.groups.rows.iter().map(|group| group.group.error_type.as_str());
    let types: std::collections::BTreeSet<&str> = groups.collect();
    let words = match Vec::from_iter(types).as_slice() {
        [error] if !error.is_empty() && !page.failures.more => format!("retry --error {}", quoted(error)),
        _ => "failures".to_owned(),
    };
    Some(concern(Section::Failures, text, words))
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
            format!("no worker runs while {} ready{age}", are(ready))
        }
        (ready, _) => format!("of {} ready, the oldest has been for {}", are_the(ready), span(long?)),
    };
    let first = page.queued.ready.rows.first();
    let words = match page.file.owned {
        Some(false) => page
            .queued
            .ready
            .rows
            .iter()
            .all(|row| is_job_name(&row.task.task_name))
            .then(|| "work".to_owned()),
        _ => first.map(|row| format!("explain {}", row.task.task_id)),
    };
    Some(concern(Section::Queues, text, words.filter(|_| first.is_some())))
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
    let (which, words) = match paused.as_slice() {
        [] => return None,
        [row] => (format!("queue {:?} is paused", row.queue), format!("resume {}", quoted(&row.queue))),
        rows => (format!("{} queues are paused", rows.len()), "queue list".to_owned()),
    };
    let what = if ready > 0 { format!(" with {} ready", count(ready, "task")) } else { String::new() };
    Some(concern(Section::Queues, format!("{which}{what}"), words))
}

/// Schedules that cannot make tasks. (Those that are paused or disabled make none on purpose.)
fn broken(page: &ReportData) -> Option<Concern> {
    let rows = &page.schedules.rows;
    let broken: Vec<_> =
        rows.iter().map(|row| &row.record).filter(|record| record.status == ScheduleStatus::Broken).collect();
    let mut words = "schedule list".to_owned();
    let text = match broken.as_slice() {
        [] => return None,
        [record] => {
            words = format!("schedule show {}", quoted(&record.schedule));
            format!("schedule {:?} is broken", record.schedule)
        }
        // Of broken ones no more than half a page is shown.
        records if page.schedules.more && records.len() * 2 >= rows.len() => {
            format!("{} schedules or more are broken", records.len())
        }
        records => format!("{} schedules are broken", records.len()),
    };
    Some(concern(Section::Schedules, text, words))
}

/// A schedule that is overdue because no process executes.
fn overdue(page: &ReportData) -> Option<Concern> {
    let first = page
        .schedules
        .rows
        .iter()
        .filter_map(|row| Some((row.record.fires_at?, row)))
        .min_by_key(|next| next.0);
    let (due, row) = first.filter(|_| page.file.owned == Some(false))?;
    let late = page.made_at.since(due);
    let text =
        || format!("no worker runs while schedule {:?} has been due for {}", row.record.schedule, span(late));
    let words = row.record.task_name.as_deref().is_some_and(is_job_name).then(|| "work".to_owned());
    (late >= LONG_READY_WAIT).then(|| concern(Section::Schedules, text(), words))
}

fn unknown(page: &ReportData) -> Option<Concern> {
    let n = page.total.unknown_name;
    (n > 0)
        .then(|| concern(Section::Tasks, format!("no handler knows the names of {}", count(n, "task")), None))
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
    if is_large_wal(file.wal.bytes) {
        all.push(format!("the WAL has grown to {}", bytes(file.wal.bytes)));
    }
    if let Some(mode) = open_mode(file) {
        all.push(format!("other users may use the file (mode {mode})"));
    }
    all.extend(
        wrong_pragmas(file)
            .map(|pragma| format!("{} is {} instead of {}", pragma.name, pragma.found, pragma.wanted)),
    );
    all.into_iter().map(|text| concern(Section::File, text, "doctor".to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::console::inspect::health::Disk;
    use crate::testing::{ManualClock, SteppedQueue};
    use crate::{Clock, Context, Failure, Filter, Queue, Schedule, Task};

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Walk;

    impl Task for Walk {
        const NAME: &'static str = "walk";
        type Output = ();
    }

    fn look(queue: &Queue, clock: &ManualClock) -> ReportData {
        ReportData { disk: None, ..ReportData::gather(queue, options(clock)).unwrap() }
    }

    fn options(clock: &ManualClock) -> ReportOptions {
        let back = Duration::from_secs(3600);
        ReportOptions { now: clock.now(), back, args: false, is_mounted: false }
    }

    fn judge(page: &ReportData) -> Attention {
        super::judge(page, &options(&ManualClock::new()))
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
        let due = ["no worker runs while schedule \"a\" has been due for 5 min"];
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
        let wanted = "Needs attention: no worker runs while 1 task is ready, the oldest for 0 ms.";
        assert_eq!(sentence(&page), wanted);
        page.file.owned = None;
        assert!(judge(&page).concerns.is_empty(), "it is not known that nobody does");
    }

    #[test]
    fn each_concern_has_the_command_that_mends_it_or_tells_more() {
        let clock = ManualClock::new();
        let fails =
            |_: Walk, _: &Context| Err::<(), _>(Failure::named("way.lost", "lost the way").never_retry());
        let queue = SteppedQueue::open(Queue::builder().handle(fails), &clock).unwrap();
        let _ = queue.queue().enqueue(&Walk).unwrap();
        queue.run_until_idle().unwrap();
        queue.queue().pause("night jobs").unwrap();
        let mut page = look(queue.queue(), &clock);
        page.file.wal.damaged = true;
        let commands = |attention: Attention| -> Vec<Option<String>> {
            attention.concerns.into_iter().map(|concern| concern.command).collect()
        };
        let wanted = ["retry --error way.lost", "resume 'night jobs'", "doctor"];
        assert_eq!(commands(judge(&page)), wanted.map(|words| Some(format!("perdura {words}"))));
        let mounted = ReportOptions { is_mounted: true, ..options(&clock) };
        assert_eq!(commands(super::judge(&page, &mounted))[0].as_deref(), Some(wanted[0]));
        page.failures.groups.rows[0].group.error_type = String::new();
        assert_eq!(commands(judge(&page))[0].as_deref(), Some("perdura failures"));
    }

    #[test]
    fn what_will_be_tried_again_is_said_and_needs_no_attention() {
        let clock = ManualClock::new();
        let fails = |_: Walk, _: &Context| Err::<(), _>(Failure::named("way.lost", "lost the way"));
        let queue = SteppedQueue::open(Queue::builder().handle(fails), &clock).unwrap();
        let _ = queue.queue().enqueue(&Walk).unwrap();
        queue.run_until_idle().unwrap();
        let said = sentence(&look(queue.queue(), &clock));
        let wanted = "Nothing needs attention: 1 attempt ended in the last 1 h; 1 task has failed and will be tried again.";
        assert_eq!(said, wanted);
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
        assert_eq!(concerns(&|page| page.file.wal.bytes = 64 << 20), [""; 0]);
        assert_eq!(concerns(&|page| page.file.wal.bytes = (64 << 20) + 1), ["the WAL has grown to 64.0 MiB"]);
        let mode = |mode: &'static str| move |page: &mut ReportData| page.file.mode = Some(mode.to_owned());
        assert_eq!(concerns(&mode("640")), ["other users may use the file (mode 640)"]);
        assert_eq!(concerns(&mode("700")), [""; 0]);
        let pragma = |page: &mut ReportData| page.file.pragmas[0].found = "delete".to_owned();
        assert_eq!(concerns(&pragma), ["journal_mode is delete instead of wal"]);
    }
}
