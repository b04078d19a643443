//! The keys that change the file: what they mean, and the question before the change.

use super::app::{App, Confirmation, Overlay, Tab};
use super::filter_box::Query;
use super::input::Input;
use super::list::{List, Row};
use super::requests::{Action, ActionCount, ActionKind, ActionTarget, KeyOutcome, Request, request};
use crate::{ScheduleStatus, TaskId};

/// The default age of purged letters.
const DEFAULT_PURGE_AGE: &str = "30d";

impl App {
    /// A capital letter: an action. What it would change is counted first, and it must be confirmed.
    pub fn action(&mut self, key: char) -> Option<KeyOutcome> {
        let letters = match &self.detail {
            Some(detail) => detail.is_letter() || (detail.found.is_none() && self.tab == Tab::Letters),
            None => self.tab == Tab::Letters,
        };
        if self.tab == Tab::Schedules && self.detail.is_none() {
            let (verb, schedule) = self.of_schedule(key)?;
            return self.confirm(Action { verb, target: ActionTarget::Schedule(schedule), about: None });
        }
        if key == 'P' {
            let (verb, queue) = self.pause()?;
            return self.confirm(Action { verb, target: ActionTarget::Queue(queue), about: None });
        }
        if self.tab == Tab::Overview && self.detail.is_none() {
            return None;
        }
        let verb = match key {
            'R' if letters => ActionKind::Replay,
            'D' if letters && self.detail.is_none() => {
                self.overlay = Some(Overlay::Age(Input::new(DEFAULT_PURGE_AGE), None));
                return None;
            }
            _ if letters => return None,
            'R' => ActionKind::Retry,
            'C' => ActionKind::Cancel,
            'D' => ActionKind::Delete,
            'M' => ActionKind::MoveToDead,
            'N' => ActionKind::RunNow,
            _ => return None,
        };
        let (target, about) = (self.target()?, self.about());
        self.confirm(Action { verb, target, about })
    }

    /// What is selected; else all that match the filter; else what is under the cursor.
    fn target(&self) -> Option<ActionTarget> {
        fn of<R: Row>(list: &List<R>, all: fn(Query) -> ActionTarget) -> Option<ActionTarget> {
            if !list.selected.is_empty() {
                return Some(ActionTarget::Ids(list.selected.iter().copied().collect()));
            }
            if !list.query.is_all() {
                return Some(all(list.query.clone()));
            }
            list.current().map(|row| ActionTarget::Ids(vec![row.id()]))
        }
        if let Some(detail) = &self.detail {
            return Some(ActionTarget::Ids(vec![detail.id]));
        }
        match self.tab {
            Tab::Overview | Tab::Schedules => None,
            Tab::Tasks => of(&self.tasks, ActionTarget::Query),
            Tab::Waiting => of(&self.waiting, ActionTarget::Waiting),
            Tab::Letters => of(&self.letters, ActionTarget::Query),
            Tab::Failures => {
                // A group is what people mean there: those selected, or the one under the cursor.
                let groups = self.failures.rows.iter();
                let selected = groups.filter(|group| self.failures.selected.contains(&group.newest));
                let mut ids: Vec<TaskId> = selected.flat_map(|group| group.ids.clone()).collect();
                if ids.is_empty() {
                    ids.clone_from(&self.failures.current()?.ids);
                }
                Some(ActionTarget::Ids(ids))
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

    /// What a key does to the schedule under the cursor.
    fn of_schedule(&self, key: char) -> Option<(ActionKind, String)> {
        let record = &self.schedules.current()?.record;
        let verb = match key {
            'P' if record.status == ScheduleStatus::Paused => ActionKind::Resume,
            'P' => ActionKind::Pause,
            'N' => ActionKind::RunNow,
            _ => return None,
        };
        Some((verb, record.schedule.clone()))
    }

    /// Pauses, or resumes, the queue that the cursor is at.
    fn pause(&self) -> Option<(ActionKind, String)> {
        let queue = match (&self.detail, self.tab) {
            (Some(detail), _) => detail.queue()?,
            (None, Tab::Overview) => self.queues().nth(self.queue)?.0.clone(),
            (None, Tab::Tasks) => self.tasks.current()?.queue.clone(),
            (None, Tab::Waiting) => self.waiting.current()?.queue.clone(),
            (None, _) => return None,
        };
        let paused = self.summary.as_ref()?.counts.queues.get(&queue).is_some_and(|counts| counts.paused);
        Some((if paused { ActionKind::Resume } else { ActionKind::Pause }, queue))
    }

    pub fn confirm(&mut self, action: Action) -> Option<KeyOutcome> {
        if self.running_action.is_some() {
            self.note = Some("one thing at a time: wait, or stop it with Esc".to_owned());
            return None;
        }
        let serial = self.next_serial();
        self.overlay = Some(Overlay::Confirmation(Confirmation {
            serial,
            action: action.clone(),
            tally: ActionCount::default(),
        }));
        request(Request::Count(serial, action))
    }
}

#[cfg(test)]
mod tests {
    use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

    use super::*;
    use crate::tui::fixture::Stage;
    use crate::{Filter, State};

    fn counts(stage: &Stage) -> crate::QueueCounts {
        stage.queue().counts().unwrap().total()
    }

    fn question(stage: &Stage) -> String {
        match &stage.app.overlay {
            Some(Overlay::Confirmation(confirm)) => crate::tui::words::question(confirm).join("\n"),
            other => panic!("no question but {other:?}"),
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
            "3 l D Esc",
        ] {
            stage.keys(keys);
            stage.keys("Esc Esc");
        }
        assert_eq!(counts(&stage), before);
        assert!(!stage.pending.iter().any(|request| matches!(request, Request::Do(..))));
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
    fn a_schedule_is_paused_resumed_and_run() {
        let mut stage = Stage::new();
        stage.schedules().unwrap();
        let status = |stage: &Stage| stage.queue().schedule("paused").unwrap().status;
        stage.keys("6 Down P");
        assert!(question(&stage).starts_with("Resume the schedule paused?"), "{}", question(&stage));
        stage.keys("y");
        assert_eq!(status(&stage), crate::ScheduleStatus::Active);
        assert_eq!(
            stage.app.schedules.current().unwrap().record.schedule,
            "paused",
            "the cursor stays with it"
        );
        let before = counts(&stage).all();
        stage.keys("N");
        assert!(question(&stage).starts_with("Run the schedule paused now?"), "{}", question(&stage));
        assert_eq!(counts(&stage).all(), before);
        stage.keys("y");
        assert_eq!(counts(&stage).all(), before + 1);
        assert_eq!(stage.app.note.as_deref(), Some("made a run of the schedule paused"));
        stage.keys("P y");
        assert_eq!(status(&stage), crate::ScheduleStatus::Paused);
        for keys in ["R", "D", "C", "M"] {
            stage.keys(keys);
            assert_eq!(stage.app.overlay, None, "{keys} means no schedule");
        }
    }

    #[test]
    fn the_last_run_of_a_schedule_is_opened() {
        let mut stage = Stage::new();
        stage.schedules().unwrap();
        stage.keys("6 Enter");
        let run = stage.queue().next_schedules(1).unwrap()[0].last_run.unwrap();
        assert_eq!(stage.app.detail.as_ref().map(|detail| detail.id), Some(run));
        stage.keys("Esc");
        assert_eq!((stage.app.tab, &stage.app.detail), (Tab::Schedules, &None));
    }

    #[test]
    fn the_detail_of_a_letter_replays_and_of_a_task_retries() {
        let mut stage = Stage::new();
        stage.keys("5 Down Enter R");
        assert!(question(&stage).starts_with("Replay 1 dead letter?"));
        stage.keys("Esc Esc 3 l R y");
        let id = stage.app.detail.as_ref().unwrap().id;
        assert_eq!(stage.queue().get(id).unwrap().state, State::Queued);
    }
}
