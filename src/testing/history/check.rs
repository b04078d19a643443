//! Checks a history, in one pass over its events.

use std::collections::HashSet;

use super::event::{Asked, Event, History, HowEnded, Invariant, Made, Observation, Seen, Violation};
use super::keys::check_unique_keys;
use super::known::{Call, Checker, KnownTask, Last};
use super::observed::{check_shape, check_whole};
use super::starts::{check_limits, check_rate};
use super::ticks::{check_tick, check_ticks};
use crate::task::{Hold, State, TaskId, Timestamp};

/// Checks the invariants I1 to I17 of a history.
///
/// # Errors
/// The first violation.
pub fn check_history(history: &History) -> Result<(), Violation> {
    let mut checker = Checker::new(history);
    for (at, event) in history.events.iter().enumerate() {
        checker.at = at;
        checker.take(event)?;
    }
    checker.at_the_end()
}

impl<'h> Checker<'h> {
    fn take(&mut self, event: &'h Event) -> Result<(), Violation> {
        match event {
            Event::Opened { process, workers } => {
                self.workers.insert(*process, *workers);
                Ok(())
            }
            Event::Crashed { process } => {
                self.crash(*process);
                Ok(())
            }
            Event::Enqueueing { process, call, asked } => {
                self.open_calls.insert((*process, *call), Call { asked, begun: self.at });
                Ok(())
            }
            Event::Enqueued { process, call, made } => self.acknowledge((*process, *call), made),
            Event::NotDone { process, call } => {
                self.open_calls.remove(&(*process, *call));
                Ok(())
            }
            Event::Unknown { .. } => Ok(()),
            Event::Started {
                process,
                id,
                generation,
                attempt_number,
                max_attempts,
                at,
                claimed_at,
                tick,
            } => {
                let known = self.known(*id);
                let before = known.last.map(|last| last.at);
                let (is_retried, asked_at) = (known.retried, known.asked_at);
                let last = Last {
                    process: *process,
                    generation: *generation,
                    attempt_number: *attempt_number,
                    at: self.at,
                    claimed_after: before.or(asked_at),
                    ended: None,
                    crashed: false,
                };
                self.check_committed(*id, None)?;
                self.start(*id, last, *max_attempts, *at)?;
                check_limits(self, *id, before, is_retried)?;
                check_rate(self, *id, *claimed_at)?;
                check_tick(self, *id, *tick, *at)
            }
            Event::Ended { id, generation, how } => self.end(*id, *generation, *how),
            Event::Retried { id } => {
                let known = self.known(*id);
                (known.retried, known.retried_since_seen) = (true, true);
                Ok(())
            }
            Event::RunNow { id } => {
                let known = self.known(*id);
                (known.hurried, known.hurried_since_seen) = (true, true);
                Ok(())
            }
            Event::Deleted { id } => {
                let at = self.at;
                self.known(*id).deleted = Some(at);
                Ok(())
            }
            Event::Replayed { letter, id } => {
                let letter = self.known(*letter);
                let (asked, replaced_by) = (letter.asked, letter.replaced_by.clone());
                self.make(*id, asked)?;
                let known = self.known(*id);
                (known.replaced_by, known.is_replay) = (replaced_by, true);
                Ok(())
            }
            Event::Purged { count } => {
                self.purged += count;
                Ok(())
            }
            Event::Bounding { queue, bound } => {
                self.bounds.set(self.at, queue, *bound, false);
                Ok(())
            }
            Event::Bounded { queue, bound } => {
                self.bounds.set(self.at, queue, *bound, true);
                Ok(())
            }
            Event::Scheduled { schedule, asked } => {
                self.schedules.push((schedule, asked));
                Ok(())
            }
            Event::RunByHand { id } => {
                self.known(*id).by_hand = true;
                Ok(())
            }
            Event::Committed { id } => self.commit(*id),
            Event::Effects { of } => self.see_effects(of),
            Event::ClockSet => {
                self.clock_went_back = true;
                self.bounds.clock_went_back();
                Ok(())
            }
            Event::Observed(seen) => self.observe(seen),
        }
    }

    fn crash(&mut self, process: u64) {
        for known in self.tasks.values_mut() {
            if let Some(last) = known.last.as_mut().filter(|last| last.process == process) {
                last.crashed = true;
                known.running = None;
            }
        }
    }

    // ---- Enqueue ----

    fn make(&mut self, id: TaskId, asked: Option<&'h Asked>) -> Result<(), Violation> {
        let at = self.at;
        if let Some(before) = self.known(id).made {
            return Err(self.broken(
                Invariant::NoGhosts,
                id,
                &[before, at],
                "was made twice: an id is given once",
            ));
        }
        let known = self.known(id);
        (known.made, known.asked) = (Some(at), asked);
        Ok(())
    }

    fn acknowledge(&mut self, call: (u64, u64), made: &[Made]) -> Result<(), Violation> {
        let at = self.at;
        let Some(Call { asked, begun }) = self.open_calls.remove(&call) else {
            return Err(self.broken(
                Invariant::NoGhosts,
                None,
                &[at],
                "an enqueue was answered that nobody began, or twice",
            ));
        };
        if asked.len() != made.len() {
            return Err(self.broken(
                Invariant::NoGhosts,
                None,
                &[begun, at],
                "a batch has another number of answers",
            ));
        }
        for (asked, made) in asked.iter().zip(made) {
            if made.is_new {
                self.make(made.id, Some(asked))?;
                self.known(made.id).asked_at = Some(begun);
                continue;
            }
            self.found_holder(asked, made, begun)?;
        }
        Ok(())
    }

    // ---- Run ----

    fn start(&mut self, id: TaskId, now: Last, max: u32, wall: Timestamp) -> Result<(), Violation> {
        let at = self.at;
        self.note_open_replacements(id);
        self.clock_went_back |= self.latest.is_some_and(|latest| latest > wall);
        self.latest = Some(self.latest.map_or(wall, |latest| latest.max(wall)));
        self.check_alone(id, &now)?;
        self.check_number(id, &now, max)?;
        self.check_wanted(id)?;
        self.check_order(id, &now)?;
        self.check_time(id, wall)?;
        let known = self.known(id);
        known.starts.insert(now.generation, at);
        (known.running, known.last) = (Some((now.generation, at)), Some(now));
        (known.retried, known.hurried) = (false, false);
        Ok(())
    }

    /// I7, I8.
    fn check_alone(&mut self, id: TaskId, now: &Last) -> Result<(), Violation> {
        let at = self.at;
        let known = self.known(id);
        if let Some(before) = known.starts.get(&now.generation).copied() {
            return Err(self.broken(
                Invariant::NeverTwiceAtOnce,
                id,
                &[before, at],
                "started one claim twice",
            ));
        }
        if let Some((_, before)) = known.running {
            let problem = "started while an attempt of it was running";
            return Err(self.broken(Invariant::NeverTwiceAtOnce, id, &[before, at], problem));
        }
        let running: Vec<Last> =
            self.tasks.values().filter(|k| k.running.is_some()).filter_map(|k| k.last).collect();
        if let Some(other) = running.iter().find(|last| last.process != now.process) {
            let problem = "started while another process was running tasks";
            return Err(self.broken(Invariant::OneOwner, id, &[other.at, at], problem));
        }
        let workers = self.workers.get(&now.process).copied().unwrap_or(usize::MAX);
        if running.len() >= workers {
            let mut events: Vec<usize> = running.iter().map(|last| last.at).collect();
            events.push(at);
            return Err(self.broken(
                Invariant::OneOwner,
                id,
                &events,
                format!("is one more than {workers} workers run"),
            ));
        }
        Ok(())
    }

    /// I5: each start counts one attempt more than the one before, unless that was refunded; after
    /// a manual retry the count begins anew.
    fn check_number(&mut self, id: TaskId, now: &Last, max: u32) -> Result<(), Violation> {
        let at = self.at;
        let known = self.known(id);
        let n = now.attempt_number;
        let before = known.last.filter(|_| !known.retried);
        let (events, least, most) = match (before, known.last) {
            (Some(last), _) => {
                let unheard =
                    u32::try_from(now.generation.saturating_sub(last.generation + 1)).unwrap_or(u32::MAX);
                let refunded = matches!(last.ended, Some((HowEnded::Refunded, _)));
                let least = last.attempt_number + u32::from(!refunded);
                let most = last.attempt_number + u32::from(!refunded || last.crashed);
                (vec![last.at, at], least, most.saturating_add(unheard))
            }
            (None, _) => (vec![at], 1, u32::try_from(now.generation).unwrap_or(u32::MAX)),
        };
        if let Some(last) = known.last.filter(|last| last.generation >= now.generation) {
            let problem = format!("started generation {} after {}", now.generation, last.generation);
            return Err(self.broken(Invariant::Counted, id, &[last.at, at], problem));
        }
        if n > max || !(least..=most).contains(&n) {
            let problem = format!("started attempt {n} of {max}, and not one of {least}..={most}");
            return Err(self.broken(Invariant::Counted, id, &events, problem));
        }
        Ok(())
    }

    /// I6: it has not ended, or was retried by hand.
    fn check_wanted(&mut self, id: TaskId) -> Result<(), Violation> {
        let at = self.at;
        let known = self.known(id);
        if let Some(deleted) = known.deleted {
            return Err(self.broken(Invariant::EndsStay, id, &[deleted, at], "started after it was deleted"));
        }
        if let Some((seen, look)) = known.seen.filter(|_| !known.retried_since_seen && !known.seen_running)
            && seen.state.is_finished()
        {
            let problem = format!("started after it was {}", seen.state);
            return Err(self.broken(Invariant::EndsStay, id, &[look, at], problem));
        }
        if let Some(Last { ended: Some((HowEnded::Succeeded, ended)), crashed: false, .. }) = known.last
            && !known.retried
        {
            return Err(self.broken(
                Invariant::EndsStay,
                id,
                &[ended, at],
                "started again after it had succeeded",
            ));
        }
        Ok(())
    }

    /// I10: with one worker, the first starts in a lane come in the order of ids, for tasks that
    /// wait for nothing. Tasks whose key has a limit have a lane of their own.
    fn check_order(&mut self, id: TaskId, now: &Last) -> Result<(), Violation> {
        let at = self.at;
        let known = self.known(id);
        let (asked, is_first) =
            (known.asked, known.starts.is_empty() && now.generation == 1 && !known.retried);
        let asked = asked.filter(|_| is_first && known.replaced_by.is_empty() && known.schedule.is_none());
        // A task that waits for a condition may be overtaken.
        let Some(asked) = asked.filter(|asked| !asked.needs) else { return Ok(()) };
        let key = asked.limit.map(|limit| limit.key);
        let lane = (asked.queue.as_str(), asked.task_name.as_str(), asked.priority, key);
        let is_plain =
            asked.not_before.is_none() && !self.workers.is_empty() && self.workers.values().all(|n| *n == 1);
        if let Some((newer, before)) =
            self.lanes.get(&lane).copied().filter(|(newer, _)| *newer > id && is_plain)
        {
            let problem =
                format!("started after task {newer}, which is younger and of the same queue and priority");
            return Err(self.broken(Invariant::Order, id, &[before, at], problem));
        }
        let newest = self.lanes.entry(lane).or_insert((id, at));
        if newest.0 < id {
            *newest = (id, at);
        }
        Ok(())
    }

    /// I11, unless the clock went back.
    fn check_time(&mut self, id: TaskId, wall: Timestamp) -> Result<(), Violation> {
        let (at, went_back) = (self.at, self.clock_went_back);
        let known = self.known(id);
        if went_back {
            return Ok(());
        }
        let asked = known.asked.and_then(|asked| asked.not_before).filter(|_| known.starts.is_empty());
        let asked = asked.filter(|_| !known.retried && !known.hurried && known.replaced_by.is_empty());
        let asked = asked.zip(known.made);
        let seen = known.seen.filter(|(seen, _)| seen.hold == Some(Hold::Time));
        let seen = seen.filter(|_| !known.retried_since_seen && !known.hurried_since_seen);
        let is_next = |seen: &Seen| known.starts.range(seen.generation + 1..).next().is_none();
        let seen = seen.filter(|(seen, _)| is_next(seen)).and_then(|(seen, look)| Some((seen.run_at?, look)));
        for (due, why) in asked.into_iter().chain(seen) {
            if due > wall {
                let problem = format!("started at {wall}, before its time {due}");
                return Err(self.broken(Invariant::NotBefore, id, &[why, at], problem));
            }
        }
        Ok(())
    }

    fn end(&mut self, id: TaskId, generation: u64, how: HowEnded) -> Result<(), Violation> {
        let at = self.at;
        let known = self.known(id);
        let Some(begun) = known.starts.get(&generation).copied() else {
            return Err(self.broken(Invariant::NeverTwiceAtOnce, id, &[at], "ended and had not started"));
        };
        let Some(last) = known.last.as_mut().filter(|last| last.generation == generation) else {
            let problem = "ended after a later attempt of it had started";
            return Err(self.broken(Invariant::NeverTwiceAtOnce, id, &[begun, at], problem));
        };
        if let Some((_, before)) = last.ended {
            return Err(self.broken(Invariant::NeverTwiceAtOnce, id, &[begun, before, at], "ended twice"));
        }
        last.ended = Some((how, at));
        known.running = None;
        Ok(())
    }

    // ---- Look ----

    fn observe(&mut self, observed: &'h Observation) -> Result<(), Violation> {
        check_shape(self, observed)?;
        for seen in &observed.tasks {
            self.check_seen(seen)?;
        }
        check_whole(self, observed)?;
        check_unique_keys(self, observed)?;
        check_ticks(self)?;
        let at = self.at;
        for seen in &observed.tasks {
            let known = self.known(seen.id);
            known.seen_running = known.running.is_some();
            (known.seen, known.retried_since_seen, known.hurried_since_seen) =
                (Some((seen, at)), false, false);
            known.anew_since_seen = false;
        }
        Ok(())
    }

    /// Compares a task with what was known of it: I1, I5, I6, I9, I17.
    fn check_seen(&mut self, seen: &'h Seen) -> Result<(), Violation> {
        let (at, id) = (self.at, seen.id);
        self.check_committed(id, Some(seen))?;
        self.note_open_replacements(id);
        let known = self.known(id);
        if let Some(made) = known.made.or(known.found).filter(|_| !known.may_be(seen)) {
            return Err(self.broken(Invariant::Durable, id, &[made, at], "is not what was enqueued"));
        }
        if let Some((newest, begun)) = known.starts.last_key_value().map(|(g, at)| (*g, *at))
            && newest > seen.generation
        {
            let problem = format!("is at generation {}, and {newest} has started", seen.generation);
            return Err(self.broken(Invariant::ClaimedFirst, id, &[begun, at], problem));
        }
        let Some((before, look)) = known.seen else { return Ok(()) };
        if seen.generation < before.generation {
            let problem = format!("fell from generation {} to {}", before.generation, seen.generation);
            return Err(self.broken(Invariant::Counted, id, &[look, at], problem));
        }
        let same = before.state == seen.state && before.generation == seen.generation;
        if before.state.is_finished() && !same && !known.retried_since_seen && !known.seen_running {
            let problem = format!("was {} and is {}", before.state, seen.state);
            return Err(self.broken(Invariant::EndsStay, id, &[look, at], problem));
        }
        let fell = seen.attempt_number < before.attempt_number;
        let refunds = seen.generation > before.generation || before.state == State::Running;
        if fell && !known.retried_since_seen && !known.anew_since_seen && !refunds {
            let problem = format!("fell from attempt {} to {}", before.attempt_number, seen.attempt_number);
            return Err(self.broken(Invariant::Counted, id, &[look, at], problem));
        }
        Ok(())
    }

    /// I2: whatever started was enqueued; I16 once more.
    fn at_the_end(&mut self) -> Result<(), Violation> {
        check_ticks(self)?;
        if !self.open_calls.is_empty() {
            return Ok(()); // the task may come from one of them
        }
        let ghost = self
            .tasks
            .iter()
            .filter(|(_, known)| known.tick.is_none() || self.schedules.is_empty())
            .find(|(_, known)| known.made.or(known.found).is_none() && !known.starts.is_empty());
        match ghost.and_then(|(id, known)| Some((*id, *known.starts.values().next()?))) {
            Some((id, begun)) => {
                Err(self.broken(Invariant::NoGhosts, id, &[begun], "started, and nobody enqueued it"))
            }
            None => Ok(()),
        }
    }

    /// Ids of tasks that were made and not deleted.
    pub fn there(&self) -> HashSet<TaskId> {
        let there = |k: &KnownTask<'_>| k.made.or(k.found).is_some() && k.deleted.is_none();
        self.tasks.iter().filter(|(_, known)| there(known)).map(|(id, _)| *id).collect()
    }
}
