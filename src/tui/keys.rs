//! What each key does. Those that change the file are in `actions`.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::app::{App, Confirmation, Overlay, RunningAction, Tab};
use super::filter_box::Query;
use super::help::help_end;
use super::input::Input;
use super::list::{CursorStep, List, Row};
use super::requests::{Action, ActionCount, ActionKind, ActionTarget, KeyOutcome, Request, request};

impl App {
    pub fn on_key(&mut self, key: KeyEvent) -> Option<KeyOutcome> {
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            return Some(KeyOutcome::Quit);
        }
        self.note = None;
        match self.overlay.take() {
            None => self.on_plain_key(key),
            Some(Overlay::Help(line)) => self.on_help_key(line, key),
            Some(Overlay::Filter(input, error)) => self.on_filter_key(input, error, key),
            Some(Overlay::Age(input, error)) => self.on_age_key(input, error, key),
            Some(Overlay::Confirmation(confirm)) => self.on_confirm_key(confirm, key),
        }
    }

    /// Scrolls if there are more lines than fit. Any other key closes the help.
    fn on_help_key(&mut self, line: usize, key: KeyEvent) -> Option<KeyOutcome> {
        let end = help_end(self);
        let page = self.height();
        let line = match key.code {
            _ if end == 0 => return None,
            KeyCode::Down | KeyCode::Char('j') => line + 1,
            KeyCode::Up | KeyCode::Char('k') => line.saturating_sub(1),
            KeyCode::PageDown | KeyCode::Char(' ') => line + page,
            KeyCode::PageUp => line.saturating_sub(page),
            KeyCode::Home | KeyCode::Char('g') => 0,
            KeyCode::End | KeyCode::Char('G') => end,
            _ => return None,
        };
        self.overlay = Some(Overlay::Help(line.min(end)));
        None
    }

    /// Text from the clipboard: it is typed where something can be typed, and never taken for keys.
    pub fn on_paste(&mut self, text: &str) {
        if let Some(Overlay::Filter(input, _) | Overlay::Age(input, _)) = &mut self.overlay {
            input.paste(text);
        }
    }

    fn on_plain_key(&mut self, key: KeyEvent) -> Option<KeyOutcome> {
        if key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) {
            return None; // an Esc that is typed quickly before a capital arrives as Alt
        }
        match key.code {
            KeyCode::Char('q') => return Some(KeyOutcome::Quit),
            KeyCode::Char('?') | KeyCode::F(1) => self.overlay = Some(Overlay::Help(0)),
            KeyCode::Char(c @ '1'..='6') => self.go(Tab::Overview.moved(c as usize - '1' as usize)),
            KeyCode::Tab => self.go(self.tab.moved(1)),
            KeyCode::BackTab => self.go(self.tab.moved(Tab::ALL.len() - 1)),
            KeyCode::Char('/') => self.open_filter(),
            KeyCode::Esc => return self.back(),
            KeyCode::Enter | KeyCode::Right => self.enter(),
            KeyCode::Left if self.detail.is_some() => self.detail = None,
            KeyCode::Up | KeyCode::Char('k') => self.step(CursorStep::Up),
            KeyCode::Down | KeyCode::Char('j') => self.step(CursorStep::Down),
            KeyCode::PageUp => self.step(CursorStep::PageUp),
            KeyCode::PageDown => self.step(CursorStep::PageDown),
            KeyCode::Home | KeyCode::Char('g') => self.step(CursorStep::Home),
            KeyCode::End | KeyCode::Char('G') => self.step(CursorStep::End),
            KeyCode::Char(' ') => self.toggle(false),
            KeyCode::Char('A') => self.toggle(true),
            KeyCode::Char('l') => self.open_latest(),
            KeyCode::Char('s') => self.sort(),
            KeyCode::Char('f') => self.follow(),
            KeyCode::Char(c) => return self.action(c),
            _ => {}
        }
        None
    }

    fn open_filter(&mut self) {
        if self.detail.is_none()
            && let Some(query) = self.query()
        {
            self.overlay = Some(Overlay::Filter(Input::new(&query.to_string()), None));
        }
    }

    fn on_filter_key(&mut self, mut input: Input, _: Option<String>, key: KeyEvent) -> Option<KeyOutcome> {
        match key.code {
            KeyCode::Esc => return None,
            KeyCode::Enter => {
                if let Ok(query) = Query::parse(&input.text()) {
                    self.filter_by(query);
                    return None;
                } // what is wrong is shown below the box
            }
            _ => input.on_key(key),
        }
        let error = Query::parse(&input.text()).err();
        self.overlay = Some(Overlay::Filter(input, error));
        None
    }

    fn on_age_key(&mut self, mut input: Input, _: Option<String>, key: KeyEvent) -> Option<KeyOutcome> {
        let mut error = None;
        match key.code {
            KeyCode::Esc => return None,
            KeyCode::Enter => match humantime::parse_duration(input.text().trim()) {
                Ok(age) => {
                    let verb = ActionKind::Purge(self.now.saturating_sub(age));
                    let target = ActionTarget::Query(Query::default());
                    return self.confirm(Action { verb, target, about: None });
                }
                Err(bad) => error = Some(format!("{bad}; write 30d, or 12h")),
            },
            _ => input.on_key(key),
        }
        self.overlay = Some(Overlay::Age(input, error));
        None
    }

    fn on_confirm_key(&mut self, confirm: Confirmation, key: KeyEvent) -> Option<KeyOutcome> {
        let Confirmation { tally, .. } = confirm;
        match key.code {
            KeyCode::Char('y') if tally.is_done && tally.changed > 0 => {
                let serial = self.next_serial();
                let (action, of) = (confirm.action, tally.changed);
                self.running_action =
                    Some(RunningAction { serial, action: action.clone(), of, tally: ActionCount::default() });
                self.clear_selection();
                request(Request::Do(serial, action))
            }
            KeyCode::Esc | KeyCode::Char('n' | 'q') => request(Request::Stop),
            _ => {
                self.overlay = Some(Overlay::Confirmation(confirm));
                None
            }
        }
    }

    /// One step back: from an action, a task, a selection, a filter.
    fn back(&mut self) -> Option<KeyOutcome> {
        if self.running_action.is_some() {
            return request(Request::Stop);
        }
        if self.detail.take().is_some() || self.clear_selection() {
            return None;
        }
        if self.query().is_some_and(|query| !query.is_all()) {
            self.filter_by(Query::default());
        }
        None
    }

    /// Clears the selection; true if something was selected.
    fn clear_selection(&mut self) -> bool {
        let selected = match self.tab {
            Tab::Overview | Tab::Schedules => return false,
            Tab::Tasks => &mut self.tasks.selected,
            Tab::Failures => &mut self.failures.selected,
            Tab::Waiting => &mut self.waiting.selected,
            Tab::Letters => &mut self.letters.selected,
        };
        !std::mem::take(selected).is_empty()
    }

    /// Opens what is under the cursor.
    pub fn enter(&mut self) {
        if self.detail.is_some() {
            return;
        }
        if self.tab == Tab::Failures {
            self.list_group();
        } else if self.tab == Tab::Overview {
            let queue = self.queues().nth(self.queue).map(|(queue, _)| queue.clone());
            if queue.is_some() {
                let query = Query { queue, ..Query::default() };
                self.go(Tab::Tasks);
                self.filter_by(query);
            }
        } else if let Some(id) = self.current() {
            self.open(id);
        }
    }

    /// Opens the newest task of the group under the cursor.
    fn open_latest(&mut self) {
        if self.tab == Tab::Failures
            && self.detail.is_none()
            && let Some(id) = self.current()
        {
            self.open(id);
        }
    }

    /// The next order of the tasks.
    fn sort(&mut self) {
        if self.tab == Tab::Tasks && self.detail.is_none() {
            self.sort = self.sort.next();
            self.tasks.restart();
        }
    }

    /// Follows the output of the task under the cursor. On its page: goes to the end of its output, and from there back to the page.
    fn follow(&mut self) {
        if self.detail.is_none()
            && matches!(self.tab, Tab::Tasks | Tab::Failures | Tab::Waiting)
            && let Some(id) = self.current()
        {
            self.open(id);
        }
        if let Some(detail) = &mut self.detail {
            detail.follow();
            self.clamp_scroll();
        }
    }

    /// Moves the cursor, or scrolls the page.
    pub fn step(&mut self, step: CursorStep) {
        let height = self.height();
        if let Some(detail) = &mut self.detail {
            detail.is_pinned = step == CursorStep::End && detail.is_output;
            detail.scroll = match step {
                CursorStep::Up => detail.scroll.saturating_sub(1),
                CursorStep::Down => detail.scroll.saturating_add(1),
                CursorStep::PageUp => detail.scroll.saturating_sub(height),
                CursorStep::PageDown => detail.scroll.saturating_add(height),
                CursorStep::Home => 0,
                CursorStep::End => usize::MAX,
            };
            return self.clamp_scroll();
        }
        match self.tab {
            Tab::Overview => {
                let last = self.queues().count().saturating_sub(1);
                self.queue = match step {
                    CursorStep::Up => self.queue.saturating_sub(1),
                    CursorStep::Down => (self.queue + 1).min(last),
                    CursorStep::PageUp | CursorStep::Home => 0,
                    CursorStep::PageDown | CursorStep::End => last,
                };
            }
            Tab::Tasks => self.tasks.step(step, height),
            Tab::Failures => self.failures.step(step, height),
            Tab::Waiting => self.waiting.step(step, height),
            Tab::Letters => self.letters.step(step, height),
            Tab::Schedules => self.schedules.step(step, height),
        }
    }

    fn toggle(&mut self, page: bool) {
        fn toggle<R: Row>(list: &mut List<R>, page: bool, height: usize) {
            if page { list.toggle_page() } else { list.toggle(height) }
        }
        if self.detail.is_some() {
            return;
        }
        let height = self.height();
        match self.tab {
            Tab::Overview | Tab::Schedules => {}
            Tab::Tasks => toggle(&mut self.tasks, page, height),
            Tab::Failures => toggle(&mut self.failures, page, height),
            Tab::Waiting => toggle(&mut self.waiting, page, height),
            Tab::Letters => toggle(&mut self.letters, page, height),
        }
    }

    /// Lists the tasks of the group under the cursor.
    fn list_group(&mut self) {
        if self.tab != Tab::Failures || self.detail.is_some() {
            return;
        }
        let Some(group) = self.failures.current().map(|group| &group.row) else { return };
        let query = Query {
            states: ActionKind::MoveToDead.allowed().to_vec(),
            name: Some(group.task_name.clone()),
            error: Some(group.error_type.clone()).filter(|error| !error.is_empty()),
            ..self.failures.query.clone()
        };
        self.go(Tab::Tasks);
        self.filter_by(query);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::fixture::Stage;
    use crate::tui::sort::Sort;

    fn counts(stage: &Stage) -> crate::QueueCounts {
        stage.queue().counts().unwrap().total()
    }

    #[test]
    fn numbers_and_tab_change_the_tab() {
        let mut stage = Stage::new();
        for (keys, tab) in [
            ("3", Tab::Failures),
            ("Tab", Tab::Waiting),
            ("Tab Tab Tab", Tab::Overview),
            ("6", Tab::Schedules),
        ] {
            stage.keys(keys);
            assert_eq!(stage.app.tab, tab);
        }
    }

    #[test]
    fn a_filter_is_typed_corrected_and_left() {
        let mut stage = Stage::new();
        stage.keys("2 / state:fialed Enter");
        assert!(
            matches!(&stage.app.overlay, Some(Overlay::Filter(_, Some(error))) if error.contains("fialed"))
        );
        assert!(stage.app.tasks.query.is_all());
        stage.keys("Esc");
        assert_eq!(stage.app.overlay, None);
        stage.keys("/ quota Enter");
        assert!(
            stage.app.tasks.rows.iter().all(|task| task.error_message.as_ref().unwrap().contains("quota"))
        );
        stage.keys("Esc");
        assert!(stage.app.tasks.query.is_all(), "Esc takes the filter back");
    }

    #[test]
    fn pasted_text_is_never_taken_for_keys() {
        let mut stage = Stage::new();
        stage.keys("2");
        stage.app.on_paste("Dy");
        assert_eq!(stage.app.overlay, None);
        stage.keys("/");
        stage.app.on_paste("quota");
        stage.keys("Enter");
        assert_eq!(stage.app.tasks.query.text.as_deref(), Some("quota"));
    }

    #[test]
    fn an_escape_before_a_capital_is_no_capital() {
        let mut stage = Stage::new();
        stage.keys("2");
        assert_eq!(stage.app.on_key(KeyEvent::new(KeyCode::Char('D'), KeyModifiers::ALT)), None);
        assert_eq!(stage.app.overlay, None);
    }

    #[test]
    fn all_tasks_are_met_going_down_and_up_the_pages() {
        let mut stage = Stage::new();
        stage.keys("2");
        let all = counts(&stage).all() as usize;
        let mut met = std::collections::BTreeSet::new();
        for _ in 0..all {
            met.insert(stage.app.current().unwrap());
            stage.keys("Down");
        }
        assert_eq!(met.len(), all);
        assert!(stage.app.tasks.is_last);
        for _ in 1..all {
            stage.keys("Up");
        }
        assert_eq!(stage.app.current(), met.last().copied());
    }

    #[test]
    fn one_key_sorts_the_tasks_and_the_cursor_goes_to_the_top() {
        let mut stage = Stage::new();
        stage.keys("2 End");
        let oldest = stage.app.current();
        stage.keys("s");
        assert_eq!((stage.app.sort, stage.app.tasks.cursor), (Sort::RunningFirst, 0));
        assert!(stage.app.tasks.is_whole && stage.app.tasks.rows.len() > 100, "a part, as a whole list");
        stage.keys("s s");
        let attempts: Vec<u32> = stage.app.tasks.rows.iter().map(|task| task.attempt_number).collect();
        assert!(attempts.is_sorted_by(|a, b| a >= b) && attempts[0] == 2, "{attempts:?}");
        stage.keys("s End");
        assert_eq!((stage.app.sort, stage.app.current()), (Sort::Newest, oldest));
    }

    #[test]
    fn output_is_followed_until_somebody_scrolls_and_again_with_the_key() {
        let mut stage = Stage::new();
        stage.resize((80, 16));
        stage.keys("2 / state:failed Enter f");
        let is = |stage: &Stage| stage.app.detail.as_ref().map(|d| (d.is_output, d.is_pinned));
        assert_eq!(is(&stage), Some((true, true)));
        let text = Stage::text(
            &stage.draw(crate::tui::ink::Ink { colors: true, zone: crate::console::times::Zone::Utc }),
        );
        assert!(text.contains("uploading ") && !text.contains("Args"), "{text}");
        stage.keys("Up");
        assert_eq!(is(&stage), Some((true, false)));
        stage.keys("f");
        assert_eq!(is(&stage), Some((true, true)));
        stage.keys("f");
        assert_eq!(is(&stage), Some((false, false)), "the whole page");
        stage.keys("Esc");
        assert_eq!(is(&stage), None);
    }

    #[test]
    fn a_queue_and_a_group_open_as_lists_of_tasks() {
        let mut stage = Stage::new();
        stage.keys("1 End Enter");
        assert_eq!(
            (stage.app.tab, stage.app.tasks.query.to_string()),
            (Tab::Tasks, "queue:uploads-任务".into())
        );
        stage.keys("3");
        let group = stage.app.failures.current().unwrap().clone();
        stage.keys("l");
        assert_eq!(stage.app.detail.as_ref().map(|detail| detail.id), Some(group.newest), "the latest");
        stage.keys("Esc Enter");
        assert_eq!(stage.app.tab, Tab::Tasks);
        assert_eq!(stage.app.tasks.query.error.as_deref(), Some(&*group.error_type));
        assert_eq!(stage.app.tasks.rows[0].task_id, group.newest);
    }
}
