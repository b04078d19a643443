//! Polling: when the screen sends which request, and what it does with the answers.

use std::time::Duration;

use super::app::{App, Overlay, PendingView, Tab};
use super::requests::{
    Edge, ListKind, PageRequest, Request, RequestKind, Response, Serial, View, ViewContent, ViewResult,
};
use super::sort::Sort;
use super::words;
use crate::Timestamp;

/// A read that took some time is repeated after this many times as long, at the earliest: so reads take less than a tenth of the time.
const MAX_TIME_SHARE: u32 = 10;

impl App {
    /// The requests that are due. `monotonic` is a clock that does not go back.
    pub fn tick(&mut self, now: Timestamp, monotonic: Duration) -> Vec<Request> {
        (self.now, self.monotonic) = (now, monotonic);
        let mut requests = Vec::new();
        if self.summary_at.is_some_and(|at| at <= monotonic) {
            self.summary_at = None;
            requests.push(Request::Summary { with_overview: self.tab == Tab::Overview });
        }
        let Some(look) = self.look() else {
            (self.pending, self.searching, self.view_error) = (None, None, None);
            return requests;
        };
        let is_known = self.pending.as_ref().is_some_and(|pending| pending.look == look);
        let is_due = match &self.pending {
            Some(pending) if is_known => pending.again.is_some_and(|at| at <= monotonic),
            _ => true,
        };
        if is_due {
            let serial = self.next_serial();
            self.searching = None;
            if !is_known {
                self.view_error = None;
            }
            self.pending = Some(PendingView { serial, look: look.clone(), again: None, is_known });
            requests.push(Request::View(serial, look));
        }
        requests
    }

    /// Whether a request is not answered yet.
    pub fn is_waiting(&self) -> bool {
        let looking = self.pending.as_ref().is_some_and(|pending| pending.again.is_none());
        let counting =
            matches!(&self.overlay, Some(Overlay::Confirmation(confirm)) if !confirm.tally.is_done);
        self.summary_at.is_none() || looking || counting || self.running_action.is_some()
    }

    /// The view that is shown now; none on the overview, which needs only the summary.
    fn look(&self) -> Option<View> {
        if let Some(detail) = &self.detail {
            return Some(View::One(detail.id));
        }
        if self.tab == Tab::Schedules {
            return Some(View::Schedules);
        }
        let of = self.tab.list()?;
        let sort = if of == ListKind::Tasks { self.sort } else { Sort::default() };
        let (query, edge) = match of {
            ListKind::Tasks => (&self.tasks.query, self.tasks.edge),
            ListKind::Waiting => (&self.waiting.query, self.waiting.edge),
            ListKind::Letters => (&self.letters.query, self.letters.edge),
            ListKind::Failures => (&self.failures.query, Edge::Newest),
        };
        Some(View::Page(PageRequest { of, query: query.clone(), edge, sort, limit: self.height() }))
    }

    /// When a request that took so long may be sent again.
    fn again(&self, took: Duration) -> Duration {
        self.monotonic.saturating_add(self.every.max(took.saturating_mul(MAX_TIME_SHARE)))
    }

    pub fn on_answer(&mut self, answer: Response) {
        match answer {
            Response::Summary(mut summary) => {
                self.summary_error = None;
                self.summary_at = Some(self.again(summary.took));
                if let Some(overview) = summary.overview.take() {
                    self.overview = overview;
                }
                self.queue = self.queue.min(summary.counts.queues.len().saturating_sub(1));
                self.summary = Some(*summary);
            }
            Response::View(serial, found) => self.on_found(serial, found),
            Response::Count(serial, tally) => {
                if let Some(Overlay::Confirmation(confirm)) = &mut self.overlay
                    && confirm.serial == serial
                {
                    confirm.tally = tally;
                }
            }
            Response::Did(serial, tally) => {
                let Some(running_action) =
                    self.running_action.as_mut().filter(|running_action| running_action.serial == serial)
                else {
                    return;
                };
                running_action.tally = tally;
                if tally.is_done {
                    self.note = Some(words::done(&running_action.action, tally));
                    self.running_action = None;
                    self.refresh();
                }
            }
            Response::Error(subject, message) => self.on_error(subject, message),
        }
    }

    fn on_found(&mut self, serial: Serial, found: ViewResult) {
        let again = self.again(found.took);
        let Some(pending) = self.pending.as_mut().filter(|pending| pending.serial == serial) else { return };
        // None: what was found is all that the list will have.
        let page = match &pending.look {
            View::Page(page) if page.sort.is_bounded() => None,
            View::Page(page) => Some(page.limit),
            View::One(_) | View::Schedules => Some(1),
        };
        self.view_error = None;
        self.searching = found.searching;
        self.took = found.took;
        let is_half = found.searching.is_some();
        if !is_half {
            pending.again = Some(again);
        }
        if is_half && pending.is_known {
            return;
        }
        match found.what {
            ViewContent::Tasks(mut rows) => {
                self.sort.apply(&mut rows, |row| &row.row, self.now);
                self.tasks.show(rows, page);
            }
            ViewContent::Letters(rows) => self.letters.show(rows, page),
            ViewContent::Waiting { tasks, soonest_first } => {
                self.soonest_first = soonest_first;
                self.waiting.show(tasks, page.filter(|_| !soonest_first));
            }
            ViewContent::Failures { groups, looked_at, more } => {
                self.grouped = (looked_at, more);
                self.failures.show(groups, None);
            }
            ViewContent::Schedules(found) => self.schedules.show(found),
            ViewContent::One(found) => {
                if let Some(detail) = &mut self.detail {
                    detail.found = Some(found);
                }
            }
        }
        self.scroll();
    }

    /// The file cannot be read or written. Reads are sent again in a while.
    fn on_error(&mut self, subject: RequestKind, message: String) {
        let again = self.again(Duration::ZERO);
        match subject {
            RequestKind::Summary => {
                self.summary_at = Some(again);
                self.summary_error = Some(message);
            }
            RequestKind::View(serial) => {
                if let Some(pending) = self.pending.as_mut().filter(|pending| pending.serial == serial) {
                    pending.again = Some(again);
                    self.searching = None;
                    self.view_error = Some(message);
                }
            }
            RequestKind::Action(serial) => {
                if self.running_action.as_ref().is_some_and(|running_action| running_action.serial == serial)
                {
                    self.running_action = None;
                } else if matches!(&self.overlay, Some(Overlay::Confirmation(confirm)) if confirm.serial == serial)
                {
                    self.overlay = None;
                } else {
                    return;
                }
                self.note = Some(message);
            }
        }
    }

    /// Why the file cannot be read.
    pub fn error(&self) -> Option<&str> {
        self.summary_error.as_deref().or(self.view_error.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::filter_box::Query;
    use crate::tui::fixture::Stage;
    use crate::tui::requests::Listed;
    use crate::{TaskId, TaskRecord};

    fn found(rows: &[Listed<TaskRecord>], searching: Option<i64>, took_ms: u64) -> ViewResult {
        ViewResult {
            what: ViewContent::Tasks(rows.to_vec()),
            searching: searching.map(TaskId::from_i64),
            took: Duration::from_millis(took_ms),
        }
    }

    /// The request for the list at this time.
    fn look(app: &mut App, ms: u64) -> Option<Serial> {
        let requests = app.tick(Timestamp::from_millis(0), Duration::from_millis(ms));
        requests.into_iter().find_map(|request| match request {
            Request::View(serial, _) => Some(serial),
            _ => None,
        })
    }

    #[test]
    fn looks_that_take_long_are_made_rarely() {
        let mut app = App::new("tasks.db".into(), Duration::from_secs(1));
        app.go(Tab::Tasks);
        let first = look(&mut app, 0).unwrap();
        assert_eq!(look(&mut app, 5_000), None, "it is not answered yet");
        app.on_answer(Response::View(first, found(&[], None, 3)));
        assert_eq!(look(&mut app, 5_999), None);
        let second = look(&mut app, 6_000).unwrap();
        app.on_answer(Response::View(second, found(&[], None, 700)));
        assert_eq!(look(&mut app, 12_999), None, "at most a tenth of the time");
        assert!(look(&mut app, 13_000).is_some());
    }

    #[test]
    fn answers_to_earlier_questions_are_no_answers() {
        let mut stage = Stage::new();
        stage.keys("2");
        let rows = stage.app.tasks.rows.clone();
        let app = &mut stage.app;
        app.tasks.filter_by(Query::parse("other").unwrap());
        let old = app.serial;
        let new = look(app, 0).unwrap();
        app.on_answer(Response::View(old, found(&rows, None, 0)));
        assert!(app.tasks.rows.is_empty());
        app.on_answer(Response::View(new, found(&rows[..1], Some(7), 0)));
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
        app.on_answer(Response::View(again, found(&rows[..1], Some(7), 0)));
        assert_eq!(app.tasks.rows.len(), rows.len());
        app.on_answer(Response::View(again, found(&rows[..1], None, 0)));
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
        app.on_answer(Response::Error(RequestKind::Summary, "the file is gone".into()));
        assert_eq!(app.error(), Some("the file is gone"));
        assert!(app.summary.is_some());
        stage.refresh();
        assert_eq!(stage.app.error(), None);
    }
}
