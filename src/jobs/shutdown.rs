//! How a worker stops: running jobs may go on for the grace, then they are ended; outcomes that cannot be written are given up.

use std::thread;
use std::time::Duration;

use crossbeam_channel::Sender;

use super::worker::{CHECK_INTERVAL, SETTLE_POLL, Worker};
use super::worker_event::WorkerEvent;
use crate::console::words::{count, span};
use crate::console::{CliError, Exit, Session};
use crate::{Clock, ShutdownReport, TaskId};

/// How long the worker waits, after the queue has ended, for the end of a job to be written: the write may wait for another process's lock.
const LAST_WRITE_TIMEOUT: Duration = Duration::from_secs(12);

/// How many tasks are named in a message.
const MAX_NAMED_TASKS: usize = 20;

/// The shutdowns that were asked for. Only one of them stops the queue, and it may be any: so the reports of all are awaited.
struct Shutdowns {
    asked: usize,
    done: Vec<Result<ShutdownReport, crate::Error>>,
}

impl Shutdowns {
    fn are_done(&self) -> bool {
        self.done.len() == self.asked
    }

    /// Whether jobs went on when the queue had ended. They write their own outcomes.
    fn has_stragglers(&self) -> bool {
        self.done.iter().flatten().any(|report| !report.still_running.is_empty())
    }

    fn not_recorded(self) -> Result<Vec<TaskId>, crate::Error> {
        let reports: Vec<_> = self.done.into_iter().collect::<Result<_, _>>()?;
        Ok(reports.into_iter().flat_map(|report| report.not_recorded).collect())
    }
}

impl Worker {
    /// Stops claiming, lets jobs go on for the grace, hands the rest back. Outcomes that cannot be written are given up, so the worker ends even if
    /// the file is gone.
    ///
    /// # Errors
    /// The jobs that have ended and whose outcome could not be recorded.
    pub(super) fn stop(
        &mut self,
        signal: Option<i32>,
        to_tell: Sender<WorkerEvent>,
        session: &Session,
    ) -> Result<(), CliError> {
        self.runner.give_up();
        self.hide_progress();
        let grace = if self.signals > 1 { Duration::ZERO } else { self.options.grace };
        if signal.is_some() {
            self.tell_stop(grace);
        }
        let queue = self.queue.clone();
        let stopper = thread::Builder::new().name("perdura-stop".to_owned());
        let stopper =
            stopper.spawn(move || drop(to_tell.send(WorkerEvent::Stopped(queue.shutdown(grace)))))?;
        let (mut shutdowns, mut idle_since) = (Shutdowns { asked: 1, done: Vec::new() }, None);
        loop {
            let has_ended = shutdowns.are_done() && self.runner.running() == 0;
            let is_decided = has_ended && self.is_decided(&mut idle_since);
            while let Ok(event) = self.events.try_recv() {
                self.take_last(event, &mut shutdowns);
            }
            self.reap();
            let told = self.reporter.tell(&self.queue, &self.output, session);
            if is_decided || (has_ended && !self.reporter.are_pending() && !shutdowns.has_stragglers()) {
                break;
            }
            let is_soon = self.reporter.are_pending() && told.is_ok() && !has_ended;
            if let Ok(event) =
                self.events.recv_timeout(if is_soon { SETTLE_POLL } else { CHECK_INTERVAL / 4 })
            {
                self.take_last(event, &mut shutdowns);
            }
        }
        let _ = stopper.join(); // it has sent its event
        if signal.is_some() {
            self.tell_outside(session);
            self.close();
        }
        let mut lost = shutdowns.not_recorded()?;
        lost.extend(self.reporter.pending());
        lost.sort_unstable();
        lost.dedup();
        if lost.is_empty() { Ok(()) } else { Err(self.unrecorded(&lost)) }
    }

    fn take_last(&mut self, event: WorkerEvent, shutdowns: &mut Shutdowns) {
        match event {
            WorkerEvent::Ended(ended) => self.reporter.add(ended),
            WorkerEvent::WentOutside(attempt) => self.followed.add(attempt),
            WorkerEvent::Stopped(report) => shutdowns.done.push(report),
            WorkerEvent::Signal(_) => {
                self.signals += 1;
                match self.signals {
                    1 => self.tell_stop(self.options.grace),
                    2 => {
                        self.output.remark("ending what runs");
                        shutdowns.asked += 1;
                        shutdowns.done.push(self.queue.shutdown(Duration::ZERO)); // ends the grace of the one that goes on
                    }
                    _ => self.output.remark("killing what runs"),
                }
            }
        }
    }

    fn tell_stop(&self, grace: Duration) {
        match self.runner.running() {
            0 => self.output.remark("stopping"),
            _ if grace.is_zero() => self.output.remark("stopping: ending what runs"),
            n => self.output.remark(format_args!(
                "stopping: {} may go on for {}, then what still runs is ended and handed back; a second signal does so now",
                count(n as u64, "job"),
                span(grace)
            )),
        }
    }

    /// Says how many jobs go on at engines.
    fn tell_outside(&mut self, session: &Session) {
        for ended in self.followed.ended(&self.queue).unwrap_or_default() {
            self.reporter.add(ended);
        }
        let _ = self.reporter.tell(&self.queue, &self.output, session); // their ends were read a moment ago
        let n = self.followed.count();
        if n > 0 {
            let verb = if n == 1 { "goes" } else { "go" };
            let jobs = count(n, "job");
            self.output.remark(format_args!(
                "{jobs} {verb} on outside; the next worker that has the engine follows"
            ));
        }
    }

    /// Whether no more outcomes will be written: this process no longer owns the file (it does until the last one is written), or it has
    /// waited for [`LAST_WRITE_TIMEOUT`].
    fn is_decided(&self, idle_since: &mut Option<Duration>) -> bool {
        let now = self.clock.monotonic();
        !self.queue.executes() || now.saturating_sub(*idle_since.get_or_insert(now)) >= LAST_WRITE_TIMEOUT
    }

    fn unrecorded(&self, lost: &[TaskId]) -> CliError {
        let named: Vec<_> = lost.iter().take(MAX_NAMED_TASKS).map(ToString::to_string).collect();
        let more = match lost.len().saturating_sub(MAX_NAMED_TASKS) {
            0 => String::new(),
            n => format!(" and {n} more"),
        };
        let them = if lost.len() == 1 { "it" } else { "them" };
        let message = format!(
            "{} ended, but the file {} could not be written, so nothing is known of {them}: the next worker counts {them} as LOST, and runs {them} again if attempts are left: {}{more}",
            count(lost.len() as u64, "job"),
            self.queue.path().display(),
            named.join(", "),
        );
        CliError::new(Exit::File, message)
    }
}
