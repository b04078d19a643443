//! A fixture for tests: a real queue with a manual clock, and a screen without threads or a terminal.

use std::path::Path;
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use unicode_width::UnicodeWidthStr;

use super::app::App;
use super::bulk::BulkAction;
use super::data_thread::summary;
use super::draw::draw;
use super::ink::Ink;
use super::requests::{KeyOutcome, Request, Response, Serial};
use super::running_now;
use super::search::ViewSearch;
use crate::console::times::Zone;
use crate::testing::{ManualClock, SteppedQueue};
use crate::{Clock, Context, Failure, Filter, Options, OutputStream, Queue, Schedule, Task, Timestamp};

/// 2026-11-23, noon: no failure depends on the time of the day.
const NOON: Timestamp = Timestamp::from_millis(1_795_435_200_000);

macro_rules! task {
    ($task:ident, $name:literal, $output:ty) => {
        #[derive(serde::Serialize, serde::Deserialize)]
        struct $task {
            number: u64,
            path: String,
        }
        impl Task for $task {
            const NAME: &'static str = $name;
            type Output = $output;
        }
    };
}

task!(Upload, "上传", u64);
task!(Mail, "mail.send", ());
task!(Report, "report", ());

/// A file, and a screen that looks at it.
pub(super) struct Stage {
    pub tests: SteppedQueue,
    pub app: App,
    monotonic: Duration,
    pub pending: Vec<Request>,
}

impl Stage {
    /// A file of every kind of task: some hundred uploads, of which some fail in two ways, mails that wait, reports in a paused queue.
    pub fn new() -> Stage {
        let clock = ManualClock::at(NOON.saturating_sub(Duration::from_secs(30 * 60)));
        let tests = SteppedQueue::open(handlers(), &clock).expect("a fresh file is made");
        let mut stage = Stage {
            tests,
            app: App::new("tasks.db".into(), Duration::from_secs(1)),
            monotonic: Duration::ZERO,
            pending: Vec::new(),
        };
        stage.fill().expect("a fresh file takes tasks");
        stage.settle();
        stage
    }

    pub fn queue(&self) -> &Queue {
        self.tests.queue()
    }

    fn fill(&mut self) -> Result<(), crate::Error> {
        for minute in 0..30 {
            for number in minute * 5..minute * 5 + 5 + minute % 4 {
                let path = format!("/srv/größe/{number}.bin");
                let tag = if number % 2 == 0 { "nightly" } else { "manual" };
                let options = Options::new().queue("uploads-任务").tag(tag).max_attempts(2);
                let _ = self
                    .queue()
                    .enqueue_with(&Upload { number, path }, options.backoff(Duration::from_secs(7)))?;
            }
            let _ = self
                .queue()
                .enqueue_with(&Mail { number: minute, path: "ada\u{1b}[2J".into() }, Options::new())?;
            self.tests.run_until_idle()?;
            self.tests.advance(Duration::from_secs(60))?;
            self.tests.run_until_idle()?;
        }
        let moved = self.queue().move_to_dead_letters(Filter::new().task_name("上传").limit(6))?;
        assert_eq!(moved.changed, 6);
        let letters = self.queue().dead_letters().list(Filter::new().limit(1))?;
        self.queue().dead_letters().replay(letters[0].task_id)?;
        self.tests.run_until_idle()?;
        self.queue().pause("reports")?;
        for number in 0..4 {
            let options = Options::new().queue("reports").priority(3);
            let _ = self.queue().enqueue_with(&Report { number, path: "q\u{202e}1".into() }, options)?;
        }
        self.tests.advance(Duration::from_secs(5))
    }

    /// Makes schedules: one that has made a run, one that waits for the end of its run, a paused one.
    pub fn schedules(&mut self) -> Result<(), crate::Error> {
        let minute = Duration::from_secs(60);
        self.set_schedule(Schedule::every("sync \u{202e}任务", minute * 2))?;
        self.set_schedule(Schedule::after_end("scan", minute))?;
        self.set_schedule(Schedule::every("paused", minute * 60))?;
        self.queue().pause_schedule("paused")?;
        self.tests.advance(minute * 2)?;
        self.tests.run_until_idle()?;
        self.queue().run_schedule_now("scan").map(drop)?;
        self.tests.advance(Duration::from_secs(5))?;
        self.refresh();
        Ok(())
    }

    pub fn set_schedule(&self, schedule: Schedule) -> Result<(), crate::Error> {
        let options = Options::new().queue("scheduled");
        self.queue().set_schedule(schedule.options(options), &Report { number: 1, path: "q2".into() })
    }

    /// Answers all requests, as if the data thread were infinitely fast.
    pub fn settle(&mut self) {
        for _ in 0..100 {
            let now = self.tests.clock().now();
            let requests = self.app.tick(now, self.monotonic);
            if requests.is_empty() {
                return;
            }
            requests.into_iter().for_each(|request| self.answer(request));
        }
        panic!("the screen asks for ever");
    }

    /// Lets the screen refresh.
    pub fn refresh(&mut self) {
        self.monotonic += Duration::from_secs(60);
        self.settle();
    }

    /// Answers as the data thread would.
    pub fn answer(&mut self, request: Request) {
        self.pending.push(request.clone());
        let now = || Duration::ZERO;
        match request {
            Request::Summary { with_overview } => {
                let time = self.tests.clock().now();
                let mut summary =
                    summary(self.queue(), with_overview.then_some(time)).expect("the file can be read");
                if let Some(overview) = summary.overview.as_mut().filter(|overview| overview.has_jobs()) {
                    overview.programs =
                        running_now::programs(self.queue(), &overview.running, &summary.counts, time)
                            .expect("the file can be read");
                }
                self.app.on_answer(Response::Summary(Box::new(summary)));
            }
            Request::View(serial, look) => {
                let mut search = ViewSearch::new(look);
                loop {
                    let found = search.step(self.tests.queue(), now).expect("the file can be read");
                    let is_over = found.searching.is_none();
                    self.app.on_answer(Response::View(serial, found));
                    if is_over {
                        return;
                    }
                }
            }
            Request::Count(serial, action) => self.bulk(serial, BulkAction::count(action)),
            Request::Do(serial, action) => self.bulk(serial, BulkAction::perform(action)),
            Request::Stop => {}
        }
    }

    fn bulk(&mut self, serial: Serial, mut bulk: BulkAction) {
        loop {
            let tally = bulk.step(self.tests.queue(), || Duration::ZERO).expect("the file can be written");
            let answer =
                if bulk.writes() { Response::Did(serial, tally) } else { Response::Count(serial, tally) };
            self.app.on_answer(answer);
            if tally.is_done {
                return;
            }
        }
    }

    /// Presses keys, with blanks between them: names of keys, or text that is typed. `" "` is a blank.
    pub fn keys(&mut self, keys: &str) {
        for word in keys.split(' ').filter(|word| !word.is_empty()) {
            let code = match word {
                "Enter" => Some(KeyCode::Enter),
                "Esc" => Some(KeyCode::Esc),
                "Tab" => Some(KeyCode::Tab),
                "Up" => Some(KeyCode::Up),
                "Down" => Some(KeyCode::Down),
                "PageDown" => Some(KeyCode::PageDown),
                "End" => Some(KeyCode::End),
                "Space" | "\"" => Some(KeyCode::Char(' ')),
                _ => None,
            };
            match code {
                Some(code) => self.press(code),
                None => word.chars().for_each(|c| self.press(KeyCode::Char(c))),
            }
        }
    }

    fn press(&mut self, code: KeyCode) {
        match self.app.on_key(KeyEvent::new(code, KeyModifiers::NONE)) {
            Some(KeyOutcome::Request(request)) => self.answer(*request),
            Some(KeyOutcome::Quit) => panic!("it quits"),
            None => {}
        }
        self.settle();
    }

    pub fn resize(&mut self, size: (u16, u16)) {
        self.app.resize(size);
        self.settle();
    }

    /// The screen as it would be.
    pub fn draw(&mut self, ink: Ink) -> Buffer {
        let (width, height) = self.app.size;
        let mut terminal =
            Terminal::new(TestBackend::new(width, height)).expect("memory is no terminal that fails");
        terminal.draw(|frame| draw(&self.app, ink, frame)).expect("memory is no terminal that fails");
        terminal.backend().buffer().clone()
    }

    /// Its text, a line for each row. What stands behind a wide character is no cell of its own.
    pub fn text(buffer: &Buffer) -> String {
        let width = usize::from(buffer.area.width);
        let row = |cells: &[ratatui::buffer::Cell]| {
            let (mut line, mut hidden) = (String::new(), 0);
            for cell in cells {
                if hidden > 0 {
                    hidden -= 1;
                    continue;
                }
                line.push_str(cell.symbol());
                hidden = cell.symbol().width().saturating_sub(1);
            }
            format!("{}\n", line.trim_end())
        };
        buffer.content().chunks(width.max(1)).map(row).collect()
    }

    /// The screen must be as it was written down; `PERDURA_BLESS=1` writes it down.
    #[track_caller]
    pub fn assert_screen(&mut self, name: &str) {
        let text = Stage::text(&self.draw(Ink { colors: true, zone: Zone::Utc }));
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/tui/screens/{name}.txt"));
        if std::env::var_os("PERDURA_BLESS").is_some() {
            std::fs::write(&path, &text).expect("the sources can be written where screens are blessed");
        }
        let wanted = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(text == wanted, "{name} is not as in {}:\n{text}\nPERDURA_BLESS=1 writes it", path.display());
    }
}

fn handlers() -> crate::Builder {
    Queue::builder()
        .handle(|upload: Upload, cx: &Context| -> Result<u64, Failure> {
            cx.write_output(OutputStream::Stdout, format!("uploading {}\n\u{1b}[31mred\n", upload.path));
            match upload.number % 10 {
                3 => Err(Failure::permanent(format!("the quota of user {} is used up: 任务", upload.number))),
                7 => Err(Failure::named("net.timeout", format!("no answer in {} s\u{1b}[2J", upload.number))),
                9 if upload.number > 100 => Err(Failure::cancel("not wanted")),
                _ => Ok(upload.number),
            }
        })
        .handle(|mail: Mail, cx: &Context| -> Result<(), Failure> {
            cx.save_checkpoint(&(mail.number, "half"))?;
            let busy = Failure::named("smtp.busy", "try later\u{202e}");
            if mail.number.is_multiple_of(3) {
                Err(busy.retry_after(Duration::from_secs(3600 + mail.number)))
            } else {
                Ok(())
            }
        })
        .handle(|_: Report, _: &Context| -> Result<(), Failure> { Ok(()) })
}
