//! When the screen asks the data thread for what, and what it does with the answers.

use std::time::Duration;

use super::app::{App, Asked, Overlay, Tab};
use super::messages::{Answer, Ask, Edge, Found, Look, Of, Page, Serial, Subject, What};
use super::words;
use crate::Timestamp;

/// Looks cost at most one part in so many of the time.
const SHARE: u32 = 10;

impl App {
    /// What there is to ask at this time. `monotonic` is a clock that does not go back.
    pub fn tick(&mut self, now: Timestamp, monotonic: Duration) -> Vec<Ask> {
        (self.now, self.monotonic) = (now, monotonic);
        let mut asks = Vec::new();
        if self.pulse_at.is_some_and(|at| at <= monotonic) {
            self.pulse_at = None;
            asks.push(Ask::Pulse { with_rates: self.tab == Tab::Overview });
        }
        let Some(look) = self.look() else {
            (self.asked, self.searching, self.look_trouble) = (None, None, None);
            return asks;
        };
        let is_known = self.asked.as_ref().is_some_and(|asked| asked.look == look);
        let is_due = match &self.asked {
            Some(asked) if is_known => asked.again.is_some_and(|at| at <= monotonic),
            _ => true,
        };
        if is_due {
            let serial = self.next_serial();
            self.searching = None;
            if !is_known {
                self.look_trouble = None;
            }
            self.asked = Some(Asked { serial, look: look.clone(), again: None, is_known });
            asks.push(Ask::Look(serial, look));
        }
        asks
    }

    /// Whether an answer may come at any moment.
    pub fn is_waiting(&self) -> bool {
        let looking = self.asked.as_ref().is_some_and(|asked| asked.again.is_none());
        let counting = matches!(&self.overlay, Some(Overlay::Confirm(confirm)) if !confirm.tally.is_done);
        self.pulse_at.is_none() || looking || counting || self.doing.is_some()
    }

    /// What is to be seen, beside the pulse.
    fn look(&self) -> Option<Look> {
        if let Some(detail) = &self.detail {
            return Some(Look::One(detail.id));
        }
        let of = self.tab.list()?;
        let (query, edge) = match of {
            Of::Tasks => (&self.tasks.query, self.tasks.edge),
            Of::Waiting => (&self.waiting.query, self.waiting.edge),
            Of::Letters => (&self.letters.query, self.letters.edge),
            Of::Failures => (&self.failures.query, Edge::Newest),
        };
        Some(Look::Page(Page { of, query: query.clone(), edge, limit: self.height() }))
    }

    /// When something that took so long may be asked again.
    fn again(&self, took: Duration) -> Duration {
        self.monotonic.saturating_add(self.every.max(took.saturating_mul(SHARE)))
    }

    pub fn on_answer(&mut self, answer: Answer) {
        match answer {
            Answer::Pulse(mut pulse) => {
                self.pulse_trouble = None;
                self.pulse_at = Some(self.again(pulse.took));
                if let Some(rollups) = pulse.rollups.take() {
                    self.rollups = rollups;
                }
                self.queue = self.queue.min(pulse.counts.queues.len().saturating_sub(1));
                self.pulse = Some(*pulse);
            }
            Answer::Look(serial, found) => self.on_found(serial, found),
            Answer::Count(serial, tally) => {
                if let Some(Overlay::Confirm(confirm)) = &mut self.overlay
                    && confirm.serial == serial
                {
                    confirm.tally = tally;
                }
            }
            Answer::Did(serial, tally) => {
                let Some(doing) = self.doing.as_mut().filter(|doing| doing.serial == serial) else { return };
                doing.tally = tally;
                if tally.is_done {
                    self.note = Some(words::done(&doing.deed, tally));
                    self.doing = None;
                    self.refresh();
                }
            }
            Answer::Trouble(subject, message) => self.on_trouble(subject, message),
        }
    }

    fn on_found(&mut self, serial: Serial, found: Found) {
        let again = self.again(found.took);
        let Some(asked) = self.asked.as_mut().filter(|asked| asked.serial == serial) else { return };
        let page = match &asked.look {
            Look::Page(page) => page.limit,
            Look::One(_) => 1,
        };
        self.look_trouble = None;
        self.searching = found.searching;
        self.took = found.took;
        let is_half = found.searching.is_some();
        if !is_half {
            asked.again = Some(again);
        }
        if is_half && asked.is_known {
            return;
        }
        match found.what {
            What::Tasks(rows) => self.tasks.show(rows, Some(page)),
            What::Letters(rows) => self.letters.show(rows, Some(page)),
            What::Waiting { tasks, soonest_first } => {
                self.soonest_first = soonest_first;
                self.waiting.show(tasks, (!soonest_first).then_some(page));
            }
            What::Failures(failures) => {
                self.grouped = (failures.looked_at, failures.more);
                self.failures.show(failures.groups, None);
            }
            What::One(found) => {
                if let Some(detail) = &mut self.detail {
                    detail.found = Some(found);
                }
            }
        }
        self.scroll();
    }

    /// The file cannot be read, or not be written. It is tried again in a while.
    fn on_trouble(&mut self, subject: Subject, message: String) {
        let again = self.again(Duration::ZERO);
        match subject {
            Subject::Pulse => {
                self.pulse_at = Some(again);
                self.pulse_trouble = Some(message);
            }
            Subject::Look(serial) => {
                if let Some(asked) = self.asked.as_mut().filter(|asked| asked.serial == serial) {
                    asked.again = Some(again);
                    self.searching = None;
                    self.look_trouble = Some(message);
                }
            }
            Subject::Deed(serial) => {
                if self.doing.as_ref().is_some_and(|doing| doing.serial == serial) {
                    self.doing = None;
                } else if matches!(&self.overlay, Some(Overlay::Confirm(confirm)) if confirm.serial == serial)
                {
                    self.overlay = None;
                } else {
                    return;
                }
                self.note = Some(message);
            }
        }
    }

    /// Why the file cannot be looked at.
    pub fn trouble(&self) -> Option<&str> {
        self.pulse_trouble.as_deref().or(self.look_trouble.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::messages::Listed;
    use crate::tui::query::Query;
    use crate::tui::stage::Stage;
    use crate::{TaskId, TaskRecord};

    fn found(rows: &[Listed<TaskRecord>], searching: Option<i64>, took_ms: u64) -> Found {
        Found {
            what: What::Tasks(rows.to_vec()),
            searching: searching.map(TaskId::from_i64),
            took: Duration::from_millis(took_ms),
        }
    }

    /// The question of the list, asked at this time.
    fn look(app: &mut App, ms: u64) -> Option<Serial> {
        let asks = app.tick(Timestamp::from_millis(0), Duration::from_millis(ms));
        asks.into_iter().find_map(|ask| match ask {
            Ask::Look(serial, _) => Some(serial),
            _ => None,
        })
    }

    #[test]
    fn looks_that_take_long_are_made_rarely() {
        let mut app = App::new("tasks.db".into(), Duration::from_secs(1));
        app.go(Tab::Tasks);
        let first = look(&mut app, 0).unwrap();
        assert_eq!(look(&mut app, 5_000), None, "it is not answered yet");
        app.on_answer(Answer::Look(first, found(&[], None, 3)));
        assert_eq!(look(&mut app, 5_999), None);
        let second = look(&mut app, 6_000).unwrap();
        app.on_answer(Answer::Look(second, found(&[], None, 700)));
        assert_eq!(look(&mut app, 12_999), None, "at most a tenth of the time");
        assert!(look(&mut app, 13_000).is_some());
    }

    #[test]
    fn answers_to_earlier_questions_are_no_answers() {
        let mut stage = Stage::new();
        stage.keys("2");
        let rows = stage.app.tasks.rows.clone();
        let app = &mut stage.app;
        app.tasks.ask(Query::parse("other").unwrap());
        let old = app.serial;
        let new = look(app, 0).unwrap();
        app.on_answer(Answer::Look(old, found(&rows, None, 0)));
        assert!(app.tasks.rows.is_empty());
        app.on_answer(Answer::Look(new, found(&rows[..1], Some(7), 0)));
        assert_eq!(
            (app.tasks.rows.len(), app.searching),
            (1, Some(TaskId::from_i64(7))),
            "half an answer is shown"
        );
    }

    #[test]
    fn a_list_does_not_shrink_while_it_is_looked_at_again() {
        let mut stage = Stage::new();
        stage.keys("2");
        let rows = stage.app.tasks.rows.clone();
        let app = &mut stage.app;
        let again = look(app, 60_000).unwrap();
        app.on_answer(Answer::Look(again, found(&rows[..1], Some(7), 0)));
        assert_eq!(app.tasks.rows.len(), rows.len());
        app.on_answer(Answer::Look(again, found(&rows[..1], None, 0)));
        assert_eq!(app.tasks.rows.len(), 1);
    }

    #[test]
    fn news_are_seen_and_the_cursor_stays_with_its_task() {
        let mut stage = Stage::new();
        stage.keys("2 Down Down");
        let id = stage.app.current();
        let first = stage.app.tasks.rows[0].task_id;
        stage.queue().delete(first).unwrap();
        stage.refresh();
        assert_ne!(stage.app.tasks.rows[0].task_id, first);
        assert_eq!((stage.app.current(), stage.app.tasks.cursor), (id, 1));
    }

    #[test]
    fn a_trouble_is_told_until_it_is_over_and_what_was_known_stays() {
        let mut stage = Stage::new();
        let app = &mut stage.app;
        app.on_answer(Answer::Trouble(Subject::Pulse, "the file is gone".into()));
        assert_eq!(app.trouble(), Some("the file is gone"));
        assert!(app.pulse.is_some());
        stage.refresh();
        assert_eq!(stage.app.trouble(), None);
    }
}
