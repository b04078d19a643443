//! The right to execute tasks from a file: how it is got, what a new owner does first, how it is given up.

use std::sync::Arc;

use super::core::{Core, Ownership, RetentionRule, TASKS_PER_COMMIT};
use crate::clock;
use crate::error::Error;
use crate::logging::{OBSTACLES, OUTCOMES, tell};
use crate::store::{self, Lifting, OwnerSettings, Rank, Recovered};
use crate::sync::lock;
use crate::timer::NextTick;

impl Core {
    /// Asks for the right to execute, and on getting it settles what the owner before was running. None if another has it.
    pub(crate) fn acquire(&self) -> Result<Option<Recovered>, Error> {
        let Some(owner_lock) = self.store.try_own()? else { return Ok(None) };
        let booted_at = clock::booted_at();
        let started = owner_lock.read_notes(booted_at);
        let (rules, now) = (self.rules.clone(), self.now());
        let retention = self.config.own_retention().filter(|_| self.retention == RetentionRule::Config);
        let engines = self.lanes.get().map_or_else(Vec::new, |lanes| lanes.engines.clone());
        let settings = OwnerSettings { served: self.served.clone(), engines, retention };
        let declared = self.declared.clone();
        let said = lock(&self.said).clone();
        let recovered = self.commit(Rank::Change, move |tx| {
            let recovered = store::recover(tx, &started, &rules, &settings, now)?;
            store::reconcile(tx, &declared, now)?;
            store::say_again(tx, &said, recovered.epoch, now)?;
            Ok(recovered)
        })?;
        let notes = Arc::new(owner_lock.begin_notes(recovered.epoch, booted_at)?);
        *lock(&self.ownership) = Some(Ownership { notes, _lock: owner_lock });
        self.shared.gate.set_lifting(true);
        self.shared.gate.set_epoch(Some(recovered.epoch));
        self.shared.running.forget_unrecorded();
        if recovered.lost + recovered.handed_back > 0 {
            tell!(
                Info,
                "settled what another process left: attempts that it had started: {}, claims that it had not: {}",
                recovered.lost,
                recovered.handed_back
            );
        }
        for (id, name) in &recovered.lost_for_good {
            tell!(target: OUTCOMES, Warn, "task {id} ({name}) is LOST: TaskLost");
        }
        Ok(Some(recovered))
    }

    /// Asks for the right to execute; false if another has it. On getting it, [`Core::begin`] is to follow.
    ///
    /// # Errors
    /// What is in the way; it has been logged.
    pub(crate) fn take_over(&self) -> Result<bool, Error> {
        let acquired = self.acquire();
        if let Err(why) = &acquired {
            if self.obstacle.meet(why, self.shared.monotonic()) {
                let path = self.store.path().display();
                tell!(
                    target: OBSTACLES,
                    Warn,
                    "this process cannot execute tasks from {path}, and tries again each second: {why}"
                );
                self.shared.changes.tell_all();
            }
        } else if self.obstacle.pass() {
            self.shared.changes.tell_all();
        }
        if acquired?.is_none() {
            return Ok(false);
        }
        self.trouble.pass(); // of an ownership before this one
        self.provide_reserve();
        self.shared.gate.set_claiming(true);
        self.shared.gate.set_behind(true);
        self.shared.alarm.set(NextTick::at(self.now()));
        self.shared.followers.ring();
        Ok(true)
    }

    /// The owner cannot write, and will try again.
    pub(crate) fn note_trouble(&self, why: &Error) {
        if self.trouble.meet(why, self.shared.monotonic()) {
            tell!(
                target: OBSTACLES,
                Warn,
                "the file cannot be written, trying again each second: {why}"
            );
            self.shared.changes.tell_all();
        }
    }

    /// The owner can write again.
    pub(crate) fn trouble_is_over(&self) {
        if self.trouble.pass() {
            tell!(target: OBSTACLES, Info, "the file can be written again");
        }
    }

    /// What a new owner does after its recovery: lifts the hold of tasks that are known now, one chunk at a time, and claims. Answers
    /// with where to go on, unless all is done.
    pub(crate) fn begin(&self, from: Lifting) -> Result<Option<Lifting>, Error> {
        let (known, now) = (self.shared.handled.clone(), self.now());
        let next = self.owner_write(move |tx| store::lift_known(tx, &known, from, TASKS_PER_COMMIT, now))?;
        if next.is_none() {
            self.shared.gate.set_lifting(false);
            self.shared.changes.tell_all(); // whoever waits for a drain
            self.claim_more()?;
        }
        Ok(next)
    }

    /// Gives up the right to execute, if nothing runs any more.
    pub(crate) fn release_if_idle(&self) {
        if self.shared.running.nothing_runs() {
            self.shared.gate.set_epoch(None);
            if lock(&self.ownership).take().is_some() {
                self.shared.siblings.tell_of_release();
            }
        }
    }

    /// Ends as its process ends: nothing more is written, the lock is released. Answers with where the file lies.
    pub(crate) fn crash(&self) -> Result<store::Location, Error> {
        let place = self.store.crash()?;
        lock(&self.ownership).take();
        Ok(place)
    }

    /// Makes room for what running tasks have to record on a full disk. Without it nothing is claimed; it is tried again then.
    pub(crate) fn provide_reserve(&self) {
        if let Err(e) = self.store.provide_reserve() {
            tell!(Warn, "there is no room for a reserve in the file: {e}");
        }
    }
}
