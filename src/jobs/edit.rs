//! `perdura edit`: changes a job that waits.

use std::ffi::OsString;
use std::time::Duration;

use super::given::with;
use super::job_options::{attempts, priority};
use super::option_names::OptionStyle;
use crate::console::inspect::job::{Job, may_be_job};
use crate::console::os_word::Word;
use crate::console::times::{age, future};
use crate::console::{CliError, CliResult, Exit, Session};
use crate::{Options, Queue, TaskId, Timestamp};

const STYLE: OptionStyle = OptionStyle::CommandLine;

/// What to change of it.
#[derive(Debug, clap::Args)]
pub(crate) struct EditArgs {
    /// The job, or any other task that is queued
    #[arg(value_name = "ID")]
    id: TaskId,
    /// Higher runs first, within the queue
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = priority)]
    priority: Option<i16>,
    /// Start no sooner than so long from now, such as 10m; 0s: as soon as it can
    #[arg(long, value_name = "TIME", value_parser = age, conflicts_with = "at")]
    delay: Option<Duration>,
    /// Start no sooner than this; as in `add`
    #[arg(long, value_name = "TIME", value_parser = future)]
    at: Option<Timestamp>,
    /// How often it may be tried, what it has had included
    #[arg(long, value_name = "N", value_parser = attempts)]
    max_attempts: Option<u32>,
    /// The wait after the first failure; it doubles with each further one
    #[arg(long, value_name = "WAIT", value_parser = age)]
    backoff: Option<Duration>,
    /// End an attempt that takes longer
    #[arg(long, value_name = "TIME", value_parser = age)]
    timeout: Option<Duration>,
    /// A text to find it by
    #[arg(long)]
    tag: Option<String>,
    /// Another program with its arguments, in the same folder and with the same environment
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

impl EditArgs {
    pub(super) fn run(self, session: &mut Session) -> CliResult {
        let options = with(Options::new(), self.priority, Options::priority);
        let options = with(options, self.delay, Options::delay);
        let options = with(options, self.at.map(Timestamp::to_system_time), Options::run_at);
        let options = with(options, self.max_attempts, Options::max_attempts);
        let options = with(options, self.backoff, Options::backoff);
        let options = with(options, self.timeout, Options::timeout);
        let options = with(options, self.tag.as_deref(), Options::tag);
        if options == Options::new() && self.command.is_empty() {
            return Err(CliError::usage(
                "edit what? name an option such as --priority 5, or give another command behind --",
            ));
        }
        let queue = session.writable_queue()?;
        let done = match self.command.is_empty() {
            true => queue.edit(self.id, options).map_err(|e| STYLE.error(e)),
            false => self.edit_command(&queue, options),
        };
        done.map_err(|e| session.explainer(&queue).unless_letter(&queue, self.id, e))?;
        session.screen.remark(format_args!("task {} is changed", self.id));
        if session.json {
            session.screen.json(&queue.get(self.id)?)?;
        }
        Ok(Exit::Done)
    }

    fn edit_command(&self, queue: &Queue, options: Options) -> Result<(), CliError> {
        let task_name = queue.get(self.id)?.task_name;
        let args = may_be_job(&task_name).then(|| queue.args_json(self.id)).transpose()?;
        let job = args.as_deref().and_then(|args| serde_json::from_str::<Job>(args).ok());
        let Some(job) = job.filter(Job::is_local) else {
            let message = format!(
                "task {} is no job that a worker runs itself: its command cannot be changed",
                self.id
            );
            return Err(CliError::new(Exit::Refused, message));
        };
        let argv = self.command.iter().map(|word| Word(word.clone())).collect();
        let job = Job { argv, shell: false, ..job };
        job.check().map_err(|problem| STYLE.problem(problem))?;
        queue.edit_as(self.id, options, vec![task_name.into()], &job, args).map_err(|e| STYLE.error(e))
    }
}
