//! `perdura schedule add`: makes a schedule whose tasks are jobs.

use std::ffi::OsString;
use std::time::Duration;

use super::engines::{EngineEntry, EnginesOption};
use super::job_options::{RunOptions, task_name};
use super::option_names::OptionStyle;
use crate::console::os_word::Word;
use crate::console::times::{age, future};
use crate::console::words::distance;
use crate::console::{CliError, CliResult, Exit, Session, filter};
use crate::{Config, Missed, Overlap, Queue, Schedule, Timestamp};

/// So many missed times are made good at most.
const MISSED_CAP: u32 = 1000;

/// What to run, and when.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  perdura schedule add nightly \"30 2 * * *\" --tz Europe/Berlin -- backup.sh
  perdura schedule add sync --every 15m --missed skip -- sync-mail
  perdura schedule add scan --after-end 1h -- scan-disk /srv

`perdura work` makes the jobs and runs them.")]
pub(crate) struct ScheduleArgs {
    /// The name of the schedule
    #[arg(value_name = "NAME", value_parser = filter::text())]
    name: String,
    /// A cron pattern: minute, hour, day, month, weekday, and a second before them if there are six; or @daily and the like
    #[arg(value_name = "CRON", required_unless_present_any = ["every", "after_end"], conflicts_with_all = ["every", "after_end"])]
    cron: Option<String>,
    /// Each so often, such as 15m; the first time so long from now
    #[arg(long, value_name = "TIME", value_parser = age, conflicts_with = "after_end")]
    every: Option<Duration>,
    /// So long after the last run has ended, however it ended
    #[arg(long, value_name = "TIME", value_parser = age)]
    after_end: Option<Duration>,
    /// The time zone of the pattern, such as Europe/Berlin [default: local time]
    #[arg(long, value_name = "ZONE", conflicts_with_all = ["every", "after_end"])]
    tz: Option<String>,
    /// What becomes of times at which no worker ran: the latest runs, none does, or all do, up to 1000 [default: latest]
    #[arg(long, value_enum, value_name = "RULE")]
    missed: Option<MissedRule>,
    /// How late a missed time may be made good [default: one period, at most 24h]
    #[arg(long, value_name = "TIME", value_parser = age)]
    grace: Option<Duration>,
    /// What a time does while the run before is not finished: nothing, its run waits, its run waits in the place of one that does, or it
    /// starts all the same [default: skip]
    #[arg(long, value_enum, value_name = "RULE")]
    overlap: Option<OverlapRule>,
    /// Start each run up to so much later, always by the same chance
    #[arg(long, value_name = "TIME", value_parser = age)]
    jitter: Option<Duration>,
    /// Run at no time after this, in local time as for `add --at`
    #[arg(long, value_name = "TIME", value_parser = future)]
    until: Option<Timestamp>,
    #[command(flatten)]
    options: RunOptions,
    #[command(flatten)]
    engines: EnginesOption,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum MissedRule {
    Latest,
    Skip,
    All,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum OverlapRule {
    Skip,
    Queue,
    Replace,
    Allow,
}

impl ScheduleArgs {
    pub(crate) fn run(self, session: &mut Session) -> CliResult {
        let argv = self.command.iter().map(|word| Word(word.clone())).collect();
        let engines = self.engines.engines(session.db());
        let engine = self.options.engine(&engines)?;
        let job = self.options.job(argv, None, engine)?;
        let name = task_name(engine);
        let style = OptionStyle::CommandLine;
        job.check_size(Config::default().max_args_bytes).map_err(|problem| style.problem(problem))?;
        let schedule = self.schedule(engine)?;
        // What is wrong with it is said before there is a file.
        let trial = Queue::builder().open_temporary().map_err(CliError::of_file)?;
        trial.set_schedule_as(schedule.clone(), &name, &job).map_err(|e| style.error(e))?;
        let queue = session.open(Queue::builder().share_as_found(true))?;
        queue.set_schedule_as(schedule, &name, &job).map_err(|e| style.error(e))?;
        session.note_done(format!("schedule {:?} was set", self.name));
        let record = queue.schedule(&self.name)?;
        if session.json {
            session.screen.json(&record)?;
        } else {
            session.screen.line(crate::console::text::safe(&self.name))?;
        }
        if let Some(at) = record.fires_at {
            let told = format!("{} ({})", session.time(at), distance(at, session.now()));
            session.screen.remark(format_args!("it runs next at {told}"));
        }
        Ok(Exit::Done)
    }

    fn schedule(&self, engine: Option<&EngineEntry>) -> Result<Schedule, CliError> {
        let name = self.name.as_str();
        let mut schedule = match (&self.cron, self.every, self.after_end) {
            (Some(pattern), ..) => Schedule::cron(name, pattern),
            (None, Some(period), _) => Schedule::every(name, period),
            (None, None, pause) => Schedule::after_end(name, pause.unwrap_or_default()),
        };
        if let Some(zone) = &self.tz {
            schedule = schedule.time_zone(zone);
        }
        if let Some(missed) = self.missed {
            schedule = schedule.missed(match missed {
                MissedRule::Latest => Missed::Latest,
                MissedRule::Skip => Missed::Skip,
                MissedRule::All => Missed::All { cap: MISSED_CAP },
            });
        }
        if let Some(overlap) = self.overlap {
            schedule = schedule.overlap(match overlap {
                OverlapRule::Skip => Overlap::Skip,
                OverlapRule::Queue => Overlap::Queue,
                OverlapRule::Replace => Overlap::Replace,
                OverlapRule::Allow => Overlap::Allow,
            });
        }
        if let Some(grace) = self.grace {
            schedule = schedule.grace(grace);
        }
        if let Some(jitter) = self.jitter {
            schedule = schedule.jitter(jitter);
        }
        if let Some(until) = self.until {
            schedule = schedule.until(until.to_system_time());
        }
        Ok(schedule.options(self.options.options(None, engine)?))
    }
}
