//! What each key does, and what is said of it at the bottom and in the help.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::app::{App, Confirm, Doing, Overlay, Tab};
use super::draw::help_end;
use super::input::Input;
use super::list::{List, Row, Step};
use super::messages::{Ask, Deed, Tally, Target, Verb};
use super::query::Query;
use crate::TaskId;

/// What a key asks of the rest of the program.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Command {
    Ask(Box<Ask>),
    Quit,
}

fn ask(ask: Ask) -> Option<Command> {
    Some(Command::Ask(Box::new(ask)))
}

/// How old purged letters are, if nobody says.
const AGE: &str = "30d";

impl App {
    pub fn on_key(&mut self, key: KeyEvent) -> Option<Command> {
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            return Some(Command::Quit);
        }
        self.note = None;
        match self.overlay.take() {
            None => self.on_plain_key(key),
            Some(Overlay::Help(line)) => self.on_help_key(line, key),
            Some(Overlay::Filter(input, error)) => self.on_filter_key(input, error, key),
            Some(Overlay::Age(input, error)) => self.on_age_key(input, error, key),
            Some(Overlay::Confirm(confirm)) => self.on_confirm_key(confirm, key),
        }
    }

    /// Scrolls, if there is more than fits. Any other key ends it.
    fn on_help_key(&mut self, line: usize, key: KeyEvent) -> Option<Command> {
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

    fn on_plain_key(&mut self, key: KeyEvent) -> Option<Command> {
        if key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) {
            return None; // an Esc that is typed quickly before a capital arrives as Alt
        }
        match key.code {
            KeyCode::Char('q') => return Some(Command::Quit),
            KeyCode::Char('?') | KeyCode::F(1) => self.overlay = Some(Overlay::Help(0)),
            KeyCode::Char(c @ '1'..='5') => self.go(Tab::Overview.moved(c as usize - '1' as usize)),
            KeyCode::Tab => self.go(self.tab.moved(1)),
            KeyCode::BackTab => self.go(self.tab.moved(Tab::ALL.len() - 1)),
            KeyCode::Char('/') => self.open_filter(),
            KeyCode::Esc => return self.back(),
            KeyCode::Enter | KeyCode::Right => self.enter(),
            KeyCode::Left if self.detail.is_some() => self.detail = None,
            KeyCode::Up | KeyCode::Char('k') => self.step(Step::Up),
            KeyCode::Down | KeyCode::Char('j') => self.step(Step::Down),
            KeyCode::PageUp => self.step(Step::PageUp),
            KeyCode::PageDown => self.step(Step::PageDown),
            KeyCode::Home | KeyCode::Char('g') => self.step(Step::Home),
            KeyCode::End | KeyCode::Char('G') => self.step(Step::End),
            KeyCode::Char(' ') => self.toggle(false),
            KeyCode::Char('A') => self.toggle(true),
            KeyCode::Char('l') => self.list_group(),
            KeyCode::Char(c) => return self.deed(c),
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

    /// The filter of what is shown.
    pub fn query(&self) -> Option<&Query> {
        match self.tab {
            Tab::Overview => None,
            Tab::Tasks => Some(&self.tasks.query),
            Tab::Failures => Some(&self.failures.query),
            Tab::Waiting => Some(&self.waiting.query),
            Tab::Letters => Some(&self.letters.query),
        }
    }

    /// Filters what is shown.
    pub fn filter_by(&mut self, query: Query) {
        match self.tab {
            Tab::Overview => {}
            Tab::Tasks => self.tasks.ask(query),
            Tab::Failures => self.failures.ask(query),
            Tab::Waiting => self.waiting.ask(query),
            Tab::Letters => self.letters.ask(query),
        }
    }

    fn on_filter_key(&mut self, mut input: Input, _: Option<String>, key: KeyEvent) -> Option<Command> {
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

    fn on_age_key(&mut self, mut input: Input, _: Option<String>, key: KeyEvent) -> Option<Command> {
        let mut error = None;
        match key.code {
            KeyCode::Esc => return None,
            KeyCode::Enter => match humantime::parse_duration(input.text().trim()) {
                Ok(age) => {
                    let verb = Verb::Purge(self.now.before(age));
                    let target = Target::Query(Query::default());
                    return self.confirm(Deed { verb, target, about: None });
                }
                Err(bad) => error = Some(format!("{bad}; write 30d, or 12h")),
            },
            _ => input.on_key(key),
        }
        self.overlay = Some(Overlay::Age(input, error));
        None
    }

    fn on_confirm_key(&mut self, confirm: Confirm, key: KeyEvent) -> Option<Command> {
        let Confirm { tally, .. } = confirm;
        match key.code {
            KeyCode::Char('y') if tally.is_done && tally.changed > 0 => {
                let serial = self.next_serial();
                let (deed, of) = (confirm.deed, tally.changed);
                self.doing = Some(Doing { serial, deed: deed.clone(), of, tally: Tally::default() });
                self.clear_selection();
                ask(Ask::Do(serial, deed))
            }
            KeyCode::Esc | KeyCode::Char('n' | 'q') => ask(Ask::Stop),
            _ => {
                self.overlay = Some(Overlay::Confirm(confirm));
                None
            }
        }
    }

    /// One step back: from a deed, a task, a selection, a filter.
    fn back(&mut self) -> Option<Command> {
        if self.doing.is_some() {
            return ask(Ask::Stop);
        }
        if self.detail.take().is_some() || self.clear_selection() {
            return None;
        }
        if self.query().is_some_and(|query| !query.is_all()) {
            self.filter_by(Query::default());
        }
        None
    }

    /// Whether there was one.
    fn clear_selection(&mut self) -> bool {
        let selected = match self.tab {
            Tab::Overview => return false,
            Tab::Tasks => &mut self.tasks.selected,
            Tab::Failures => &mut self.failures.selected,
            Tab::Waiting => &mut self.waiting.selected,
            Tab::Letters => &mut self.letters.selected,
        };
        !std::mem::take(selected).is_empty()
    }

    fn enter(&mut self) {
        if self.detail.is_some() {
            return;
        }
        if self.tab == Tab::Overview {
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

    fn step(&mut self, step: Step) {
        let height = self.height();
        if let Some(detail) = &mut self.detail {
            detail.scroll = match step {
                Step::Up => detail.scroll.saturating_sub(1),
                Step::Down => detail.scroll.saturating_add(1),
                Step::PageUp => detail.scroll.saturating_sub(height),
                Step::PageDown => detail.scroll.saturating_add(height),
                Step::Home => 0,
                Step::End => usize::MAX,
            };
            return self.clamp_scroll();
        }
        match self.tab {
            Tab::Overview => {
                let last = self.queues().count().saturating_sub(1);
                self.queue = match step {
                    Step::Up => self.queue.saturating_sub(1),
                    Step::Down => (self.queue + 1).min(last),
                    Step::PageUp | Step::Home => 0,
                    Step::PageDown | Step::End => last,
                };
            }
            Tab::Tasks => self.tasks.step(step, height),
            Tab::Failures => self.failures.step(step, height),
            Tab::Waiting => self.waiting.step(step, height),
            Tab::Letters => self.letters.step(step, height),
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
            Tab::Overview => {}
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
        let Some(group) = self.failures.current() else { return };
        let query = Query {
            states: Verb::Bury.allowed().to_vec(),
            name: Some(group.task_name.clone()),
            error: Some(group.error_type.clone()).filter(|error| !error.is_empty()),
            ..self.failures.query.clone()
        };
        self.go(Tab::Tasks);
        self.filter_by(query);
    }

    /// A capital: something is to be done. It is counted, and asked about first.
    fn deed(&mut self, key: char) -> Option<Command> {
        let letters = match &self.detail {
            Some(detail) => detail.is_letter() || (detail.found.is_none() && self.tab == Tab::Letters),
            None => self.tab == Tab::Letters,
        };
        if key == 'P' {
            let (verb, queue) = self.pause()?;
            return self.confirm(Deed { verb, target: Target::Queue(queue), about: None });
        }
        if self.tab == Tab::Overview && self.detail.is_none() {
            return None;
        }
        let verb = match key {
            'R' if letters => Verb::Replay,
            'D' if letters && self.detail.is_none() => {
                self.overlay = Some(Overlay::Age(Input::new(AGE), None));
                return None;
            }
            _ if letters => return None,
            'R' => Verb::Retry,
            'C' => Verb::Cancel,
            'D' => Verb::Delete,
            'M' => Verb::Bury,
            'N' => Verb::RunNow,
            _ => return None,
        };
        let (target, about) = (self.target()?, self.about());
        self.confirm(Deed { verb, target, about })
    }

    /// What is selected; else all that match the filter; else what is under the cursor.
    fn target(&self) -> Option<Target> {
        fn of<R: Row>(list: &List<R>, all: fn(Query) -> Target) -> Option<Target> {
            if !list.selected.is_empty() {
                return Some(Target::Ids(list.selected.iter().copied().collect()));
            }
            if !list.query.is_all() {
                return Some(all(list.query.clone()));
            }
            list.current().map(|row| Target::Ids(vec![row.id()]))
        }
        if let Some(detail) = &self.detail {
            return Some(Target::Ids(vec![detail.id]));
        }
        match self.tab {
            Tab::Overview => None,
            Tab::Tasks => of(&self.tasks, Target::Query),
            Tab::Waiting => of(&self.waiting, Target::Waiting),
            Tab::Letters => of(&self.letters, Target::Query),
            Tab::Failures => {
                // A group is what people mean there: those selected, or the one under the cursor.
                let selected = |group: &&crate::FailureGroup| self.failures.selected.contains(&group.newest);
                let mut ids: Vec<TaskId> =
                    self.failures.rows.iter().filter(selected).flat_map(|group| group.ids.clone()).collect();
                if ids.is_empty() {
                    ids.clone_from(&self.failures.current()?.ids);
                }
                Some(Target::Ids(ids))
            }
        }
    }

    /// What a group of failures, or one task, is called.
    fn about(&self) -> Option<String> {
        if self.detail.is_some() {
            return None;
        }
        match self.tab {
            Tab::Failures => {
                let group = self.failures.current()?;
                let mut about = match self.failures.selected.len() {
                    0 | 1 => format!("{}: {}: {}", group.task_name, group.error_type, group.message),
                    n => format!("All of {n} groups"),
                };
                if self.grouped.1 {
                    about = format!("Of the newest {} failures: {about}", self.grouped.0);
                }
                Some(about)
            }
            Tab::Tasks if self.tasks.selected.is_empty() && self.tasks.query.is_all() => {
                let task = self.tasks.current()?;
                Some(format!("Task {}, {}, {}", task.task_id, task.task_name, task.state))
            }
            _ => None,
        }
    }

    /// Pauses, or resumes, the queue that the cursor is at.
    fn pause(&self) -> Option<(Verb, String)> {
        let queue = match (&self.detail, self.tab) {
            (Some(detail), _) => detail.queue()?,
            (None, Tab::Overview) => self.queues().nth(self.queue)?.0.clone(),
            (None, Tab::Tasks) => self.tasks.current()?.queue.clone(),
            (None, Tab::Waiting) => self.waiting.current()?.queue.clone(),
            (None, _) => return None,
        };
        let paused = self.pulse.as_ref()?.counts.queues.get(&queue).is_some_and(|counts| counts.paused);
        Some((if paused { Verb::Resume } else { Verb::Pause }, queue))
    }

    fn confirm(&mut self, deed: Deed) -> Option<Command> {
        if self.doing.is_some() {
            self.note = Some("one thing at a time: wait, or stop it with Esc".to_owned());
            return None;
        }
        let serial = self.next_serial();
        self.overlay =
            Some(Overlay::Confirm(Confirm { serial, deed: deed.clone(), tally: Tally::default() }));
        ask(Ask::Count(serial, deed))
    }
}

/// What the keys do in what is shown: the most useful first.
pub(super) fn hints(app: &App) -> Vec<(&'static str, &'static str)> {
    match &app.overlay {
        Some(Overlay::Help(_)) if help_end(app) > 0 => {
            return vec![("j/k", "scroll"), ("any other key", "close")];
        }
        Some(Overlay::Help(_)) => return vec![("any key", "close")],
        Some(Overlay::Filter(..)) => return vec![("Enter", "filter"), ("Esc", "leave it")],
        Some(Overlay::Age(..)) => return vec![("Enter", "count them"), ("Esc", "leave it")],
        Some(Overlay::Confirm(confirm)) if confirm.tally.is_done && confirm.tally.changed > 0 => {
            return vec![("y", "do it"), ("Esc", "leave it")];
        }
        Some(Overlay::Confirm(_)) => return vec![("Esc", "leave it")],
        None => {}
    }
    let mut hints = match (&app.detail, app.tab) {
        (Some(detail), _) if detail.is_letter() => vec![("Esc", "back"), ("j/k", "scroll"), ("R", "replay")],
        (Some(detail), _) => {
            let can = |verb: Verb| detail.state().is_some_and(|state| verb.allowed().contains(&state));
            let verbs = [
                (Verb::Retry, "R", "retry"),
                (Verb::RunNow, "N", "run now"),
                (Verb::Cancel, "C", "cancel"),
                (Verb::Bury, "M", "to letters"),
                (Verb::Delete, "D", "delete"),
            ];
            let mut hints = vec![("Esc", "back"), ("j/k", "scroll")];
            hints.extend(verbs.into_iter().filter(|verb| can(verb.0)).map(|(_, key, what)| (key, what)));
            hints
        }
        (None, Tab::Overview) => vec![("j/k", "queue"), ("Enter", "its tasks"), ("P", "pause/resume")],
        (None, Tab::Tasks) => vec![
            ("Enter", "open"),
            ("/", "filter"),
            ("Space", "select"),
            ("R", "retry"),
            ("C", "cancel"),
            ("N", "run now"),
            ("M", "to letters"),
            ("D", "delete"),
        ],
        (None, Tab::Failures) => vec![
            ("Enter", "newest"),
            ("l", "list"),
            ("/", "filter"),
            ("R", "retry all of it"),
            ("M", "to letters"),
            ("D", "delete"),
        ],
        (None, Tab::Waiting) => {
            vec![("Enter", "open"), ("/", "filter"), ("Space", "select"), ("N", "run now"), ("C", "cancel")]
        }
        (None, Tab::Letters) => {
            vec![
                ("Enter", "open"),
                ("/", "filter"),
                ("Space", "select"),
                ("R", "replay"),
                ("D", "purge by age"),
            ]
        }
    };
    hints.extend([("?", "help"), ("q", "quit")]);
    hints
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::stage::Stage;
    use crate::{Filter, State};

    fn counts(stage: &Stage) -> crate::QueueCounts {
        stage.queue().counts().unwrap().total()
    }

    fn question(stage: &Stage) -> String {
        match &stage.app.overlay {
            Some(Overlay::Confirm(confirm)) => crate::tui::words::question(confirm).join("\n"),
            other => panic!("no question but {other:?}"),
        }
    }

    #[test]
    fn numbers_and_tab_change_the_tab() {
        let mut stage = Stage::new();
        for (keys, tab) in
            [("3", Tab::Failures), ("Tab", Tab::Waiting), ("Tab Tab", Tab::Overview), ("5", Tab::Letters)]
        {
            stage.keys(keys);
            assert_eq!(stage.app.tab, tab);
        }
    }

    #[test]
    fn nothing_is_changed_without_a_yes() {
        let mut stage = Stage::new();
        let before = counts(&stage);
        for keys in [
            "2 R Esc",
            "2 D n",
            "3 R x Esc",
            "3 D Enter Esc",
            "1 P n",
            "5 R Esc",
            "5 D Enter Esc",
            "4 N q",
            "3 Enter D Esc",
        ] {
            stage.keys(keys);
            stage.keys("Esc Esc");
        }
        assert_eq!(counts(&stage), before);
        assert!(!stage.asked.iter().any(|ask| matches!(ask, Ask::Do(..))));
    }

    #[test]
    fn a_capital_means_all_that_the_filter_means_not_only_the_page() {
        let mut stage = Stage::new();
        stage.resize((80, 16));
        let failed = counts(&stage).failed;
        assert!(failed as usize > stage.app.height(), "more than a page");
        stage.keys("2 / state:failed Enter R");
        assert_eq!(question(&stage), format!("Retry {failed} tasks?\nAll that match state:failed (FAILED)"));
        stage.keys("y");
        assert_eq!((counts(&stage).failed, counts(&stage).ready), (0, 4 + failed));
        assert_eq!(stage.app.note, Some(format!("retried {failed} tasks")));
    }

    #[test]
    fn what_is_selected_comes_before_the_filter() {
        let mut stage = Stage::new();
        let failed = counts(&stage).failed;
        stage.keys("2 / state:failed Enter Space Space M");
        assert!(question(&stage).starts_with("To the dead letters: 2 tasks?"), "{}", question(&stage));
        stage.keys("y");
        assert_eq!(counts(&stage).failed, failed - 2);
        assert!(stage.app.tasks.selected.is_empty());
    }

    #[test]
    fn without_filter_and_selection_it_is_the_row_under_the_cursor() {
        let mut stage = Stage::new();
        let all = counts(&stage).all();
        stage.keys("2 Down D");
        let id = stage.app.tasks.current().unwrap().task_id;
        assert_eq!(question(&stage), format!("Delete for good 1 task?\nTask {id}, report, QUEUED"));
        stage.keys("y");
        assert_eq!(counts(&stage).all(), all - 1);
        assert!(stage.queue().get(id).is_err());
    }

    #[test]
    fn a_group_of_failures_is_retried_as_a_whole() {
        let mut stage = Stage::new();
        stage.keys("3");
        let group = stage.app.failures.current().unwrap().clone();
        stage.keys("R y");
        let still = stage.queue().count(Filter::new().ids(group.ids.clone()).state(State::Failed)).unwrap();
        assert_eq!((still, group.ids.len() as u64), (0, group.count));
        assert!(
            stage.app.failures.rows.iter().all(|row| row.message != group.message),
            "it is looked at again"
        );
    }

    #[test]
    fn what_a_verb_cannot_change_is_told_before() {
        let mut stage = Stage::new();
        stage.keys("2 / state:succeeded Enter R");
        assert!(question(&stage).starts_with("Retry: none of them can be"), "{}", question(&stage));
        stage.keys("y");
        assert!(stage.app.overlay.is_some(), "y does nothing");
        stage.keys("Esc Esc / id:1,2,99999 Enter A D");
        assert!(question(&stage).starts_with("Delete for good 2 tasks?"), "{}", question(&stage));
    }

    #[test]
    fn only_what_waits_is_meant_where_the_waiting_are_listed() {
        let mut stage = Stage::new();
        let before = counts(&stage);
        assert!(before.waiting > 3 && before.ready == 4);
        stage.keys("4 / state:queued Enter N");
        assert!(
            question(&stage).starts_with(&format!("Run now {} tasks?", before.waiting)),
            "{}",
            question(&stage)
        );
        stage.keys("Esc C y");
        assert_eq!((counts(&stage).waiting, counts(&stage).ready), (0, 4), "the ready ones stay");
    }

    #[test]
    fn letters_are_replayed_and_purged_by_age() {
        let mut stage = Stage::new();
        let all = stage.queue().dead_letters().list(Filter::new()).unwrap().len();
        stage.keys("5 / name:上传 Enter R");
        assert!(
            question(&stage).starts_with(&format!("Replay {} dead letters?", all - 1)),
            "one was replayed before"
        );
        stage.keys("y");
        assert_eq!(counts(&stage).ready, 4 + all as u64 - 1);
        stage.keys("D");
        stage.app.on_key(KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL));
        stage.keys("1x Enter");
        assert!(
            matches!(&stage.app.overlay, Some(Overlay::Age(_, Some(error))) if error.contains("write 30d"))
        );
        stage.app.on_key(KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL));
        stage.keys("1s Enter");
        assert!(
            question(&stage).starts_with(&format!("Delete for good {all} dead letters?")),
            "{}",
            question(&stage)
        );
        stage.keys("y");
        assert_eq!(stage.queue().dead_letters().list(Filter::new()).unwrap().len(), 0);
    }

    #[test]
    fn a_queue_is_paused_and_resumed() {
        let mut stage = Stage::new();
        let paused = |stage: &Stage, queue: &str| stage.queue().counts().unwrap().queues[queue].paused;
        stage.keys("1 P y");
        assert!(paused(&stage, "default"));
        stage.keys("Down P");
        assert!(question(&stage).starts_with("Resume the queue reports?"));
        stage.keys("y");
        assert!(!paused(&stage, "reports"));
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
        assert_eq!(stage.app.tab, Tab::Tasks);
        assert_eq!(stage.app.tasks.query.error.as_deref(), Some(&*group.error_type));
        assert_eq!(stage.app.tasks.rows[0].task_id, group.newest);
    }

    #[test]
    fn the_detail_of_a_letter_replays_and_of_a_task_retries() {
        let mut stage = Stage::new();
        stage.keys("5 Down Enter R");
        assert!(question(&stage).starts_with("Replay 1 dead letter?"));
        stage.keys("Esc Esc 3 Enter R y");
        let id = stage.app.detail.as_ref().unwrap().id;
        assert_eq!(stage.queue().get(id).unwrap().state, State::Queued);
    }
}
