//! What each key does, and what is said of it at the bottom and in the help.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::app::{App, Confirm, Doing, Overlay, Tab};
use super::ask::{Ask, Deed, Tally, Target, Verb};
use super::input::Input;
use super::list::{List, Row, Step};
use super::query::Query;
use crate::TaskId;

/// What a key asks of the rest of the program.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Command {
    Ask(Ask),
    Quit,
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
            Some(Overlay::Help) => None, // any key ends it
            Some(Overlay::Filter(input, error)) => self.on_filter_key(input, error, key),
            Some(Overlay::Age(input, error)) => self.on_age_key(input, error, key),
            Some(Overlay::Confirm(confirm)) => self.on_confirm_key(confirm, key),
        }
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
            KeyCode::Char('?') | KeyCode::F(1) => self.overlay = Some(Overlay::Help),
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
            KeyCode::Enter => match Query::parse(&input.text()) {
                Ok(query) => {
                    self.filter_by(query);
                    return None;
                }
                Err(_) => {} // it is shown below the box
            },
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
                Some(Command::Ask(Ask::Do(serial, deed)))
            }
            KeyCode::Esc | KeyCode::Char('n' | 'q') => Some(Command::Ask(Ask::Stop)),
            _ => {
                self.overlay = Some(Overlay::Confirm(confirm));
                None
            }
        }
    }

    /// One step back: from a deed, a task, a selection, a filter.
    fn back(&mut self) -> Option<Command> {
        if self.doing.is_some() {
            return Some(Command::Ask(Ask::Stop));
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

    /// What is selected; else all that the filter means; else what is under the cursor.
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
        Some(Command::Ask(Ask::Count(serial, deed)))
    }
}

/// What the keys do in what is shown: the most useful first.
pub(super) fn hints(app: &App) -> Vec<(&'static str, &'static str)> {
    match &app.overlay {
        Some(Overlay::Help) => return vec![("any key", "close")],
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
        (Some(_), _) => vec![
            ("Esc", "back"),
            ("j/k", "scroll"),
            ("R", "retry"),
            ("N", "run now"),
            ("C", "cancel"),
            ("M", "to letters"),
            ("D", "delete"),
        ],
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
