//! The list of schedules: broken ones, then those that fire next, without pages; and the cursor, which stays with its schedule.

use super::list::CursorStep;
use crate::console::inspect::schedule::{NextSchedules, ScheduleFacts};

/// Schedules that are shown.
pub(super) const MAX_SCHEDULES: usize = 200;

#[derive(Debug, Clone, Default)]
pub(super) struct ScheduleList {
    pub found: NextSchedules,
    /// Whether `found` was read.
    pub is_known: bool,
    pub cursor: usize,
    /// The first row that is seen.
    pub offset: usize,
}

impl ScheduleList {
    /// The schedule under the cursor.
    pub fn current(&self) -> Option<&ScheduleFacts> {
        self.found.rows.get(self.cursor)
    }

    /// Takes what was found. The order changes with each tick, and the cursor follows its schedule.
    pub fn show(&mut self, found: NextSchedules) {
        let name = self.current().map(|schedule| schedule.record.schedule.as_str());
        let same = found.rows.iter().position(|schedule| Some(schedule.record.schedule.as_str()) == name);
        self.cursor = same.unwrap_or(self.cursor).min(found.rows.len().saturating_sub(1));
        (self.found, self.is_known) = (found, true);
    }

    pub fn step(&mut self, step: CursorStep, height: usize) {
        let last = self.found.rows.len().saturating_sub(1);
        self.cursor = match step {
            CursorStep::Up => self.cursor.saturating_sub(1),
            CursorStep::Down => (self.cursor + 1).min(last),
            CursorStep::PageUp => self.cursor.saturating_sub(height),
            CursorStep::PageDown => (self.cursor + height).min(last),
            CursorStep::Home => 0,
            CursorStep::End => last,
        };
        self.scroll(height);
    }

    /// Scrolls so that the cursor is visible.
    pub fn scroll(&mut self, height: usize) {
        let lowest = (self.cursor + 1).saturating_sub(height.max(1));
        self.offset = self.offset.clamp(lowest, self.cursor.max(lowest));
    }
}
