//! A schedule in words: when it makes tasks, by which rules, and which; and what became of its newest run.

use serde::Serialize;

use crate::console::words::{distance, span};
use crate::{
    Error, Filter, Missed, Overlap, Queue, ScheduleKind, ScheduleRecord, ScheduleStatus, State, Timestamp,
};

/// A schedule as it is shown: its record, the command line of its jobs, its newest run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ScheduleFacts {
    #[serde(flatten)]
    pub record: ScheduleRecord,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Where its newest run stands, and since when.
    pub last_run_state: Option<State>,
    pub last_run_at: Option<Timestamp>,
}

/// Some schedules of a file, those that matter next.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct NextSchedules {
    pub rows: Vec<ScheduleFacts>,
    /// Whether there are more.
    pub more: bool,
}

impl NextSchedules {
    /// Reads up to `limit` of them.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(crate) fn read(queue: &Queue, limit: usize) -> Result<NextSchedules, Error> {
        let mut records = queue.next_schedules(limit.saturating_add(1))?;
        let more = records.len() > limit;
        records.truncate(limit);
        let runs: Vec<_> = records.iter().filter_map(|record| record.last_run).collect();
        let mut known = std::collections::HashMap::new();
        if !runs.is_empty() {
            let page = || Filter::new().ids(runs.iter().copied()).limit(runs.len());
            let letters = queue.dead_letters().list(page())?;
            known.extend(letters.iter().map(|letter| (letter.task_id, (letter.state, letter.finished_at))));
            known.extend(queue.tasks(page())?.iter().map(|task| {
                let since = task.finished_at.or(task.started_at).unwrap_or(task.created_at);
                (task.task_id, (task.state, since))
            }));
        }
        let facts = |record: ScheduleRecord| {
            let run = record.last_run.and_then(|id| known.get(&id)).copied();
            ScheduleFacts {
                command: command(queue, &record),
                last_run_state: run.map(|(state, _)| state),
                last_run_at: run.map(|(_, at)| at),
                record,
            }
        };
        Ok(NextSchedules { rows: records.into_iter().map(facts).collect(), more })
    }
}

impl ScheduleFacts {
    /// What it makes: the command line of its jobs, or the name of its tasks.
    #[cfg(any(feature = "report", feature = "tui"))]
    pub(crate) fn makes(&self) -> &str {
        self.command.as_deref().or(self.record.task_name.as_deref()).unwrap_or_default()
    }

    /// When it makes tasks; of a broken one, why it does not.
    pub(crate) fn when(&self) -> String {
        self.record.broken.clone().unwrap_or_else(|| rhythm(&self.record))
    }
}

/// How soon it makes its next task: `in 5 min`, `due 2 s ago`, `after its run`; else why it makes none: `paused`, `broken`.
pub(crate) fn next(record: &ScheduleRecord, now: Timestamp) -> String {
    match (record.status, record.fires_at) {
        (ScheduleStatus::Active, Some(at)) if at > now => distance(at, now),
        (ScheduleStatus::Active, Some(at)) => format!("due {}", distance(at, now)),
        (ScheduleStatus::Active, None) => "after its run".to_owned(),
        (other, _) => status(other).to_owned(),
    }
}

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
        super::job::describe(name, &args)
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
