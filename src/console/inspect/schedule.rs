//! A schedule in words: when it makes tasks, by which rules, and which.

use crate::console::words::span;
use crate::{Missed, Overlap, Queue, ScheduleKind, ScheduleRecord, ScheduleStatus};

/// Whether it makes tasks.
pub(crate) fn status(status: ScheduleStatus) -> &'static str {
    match status {
        ScheduleStatus::Active => "active",
        ScheduleStatus::Paused => "paused",
        ScheduleStatus::Disabled => "disabled",
        ScheduleStatus::Broken => "broken",
        ScheduleStatus::Over => "over",
    }
}

/// When it makes tasks: `At 02:30. (30 2 * * *, Europe/Berlin)`, `every 15 min`, `1 h after its run`.
pub(crate) fn rhythm(record: &ScheduleRecord) -> String {
    let period = record.period.map(span).unwrap_or_default();
    match (record.kind, &record.pattern) {
        (Some(ScheduleKind::Every), _) => format!("every {period}"),
        (Some(ScheduleKind::AfterEnd), _) => format!("{period} after its run"),
        (Some(ScheduleKind::Cron), Some(pattern)) => {
            let zone = record.time_zone.as_deref().unwrap_or("local time");
            match record.words.as_deref().map(|words| words.trim_end_matches('.')) {
                Some(words) => format!("{words} ({pattern}, {zone})"),
                None => format!("{pattern} ({zone})"),
            }
        }
        _ => String::new(),
    }
}

/// What it does about missed ticks, overlaps and jitter.
pub(crate) fn rules(record: &ScheduleRecord) -> String {
    if record.kind == Some(ScheduleKind::AfterEnd) {
        return record
            .jitter
            .filter(|jitter| !jitter.is_zero())
            .map_or_else(String::new, |jitter| format!("up to {} later", span(jitter)));
    }
    let missed = record.missed.map(|missed| match missed {
        Missed::Latest => "of missed times the latest runs".to_owned(),
        Missed::Skip => "missed times are left out".to_owned(),
        Missed::All { cap } => format!("up to {cap} missed times run"),
    });
    let overlap = record.overlap.map(|overlap| {
        let rule = match overlap {
            Overlap::Skip => "a time that comes while a run is live is left out",
            Overlap::Queue => "one run waits for the run before",
            Overlap::Replace => "the newest run waits for the run before",
            Overlap::Allow => "runs go on beside each other",
        };
        rule.to_owned()
    });
    let grace = record.grace.map(|grace| format!("not those older than {}", span(grace)));
    let jitter = record.jitter.filter(|jitter| !jitter.is_zero());
    let jitter = jitter.map(|jitter| format!("up to {} later", span(jitter)));
    let all: Vec<String> = missed.into_iter().chain(grace).chain(overlap).chain(jitter).collect();
    all.join("; ")
}

/// The command line of its jobs, if it makes any.
pub(crate) fn command(queue: &Queue, record: &ScheduleRecord) -> Option<String> {
    #[cfg(unix)]
    {
        let name = record.task_name.as_deref()?;
        let args =
            super::job::may_be_job(name).then(|| queue.schedule_args_json(&record.schedule).ok())??;
        super::job::describe(&args)
    }
    #[cfg(not(unix))]
    {
        let _ = (queue, record);
        None
    }
}

/// What it makes: the command line of its jobs, or the name of its tasks.
pub(crate) fn what(queue: &Queue, record: &ScheduleRecord) -> String {
    command(queue, record).or_else(|| record.task_name.clone()).unwrap_or_default()
}
