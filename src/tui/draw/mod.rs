//! The screen as a function of the state in `app`. It draws, and knows nothing of files, threads and keys.

mod chart;
mod detail;
mod lists;
mod overlay;
mod overview;
mod running;
mod schedules;
mod table;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use super::app::{App, MIN_SCREEN_SIZE, RunningAction, Tab};
use super::hints::{Hint, hints};
use super::ink::Ink;
use super::layout;
use super::tab_line::TabLine;
use super::words;
use crate::console::table::shorten;
use crate::console::text::safe;

/// Draws everything.
pub(super) fn draw(app: &App, ink: Ink, frame: &mut Frame<'_>) {
    let area = frame.area();
    if area.width < MIN_SCREEN_SIZE.0 || area.height < MIN_SCREEN_SIZE.1 {
        return too_small(area, frame.buffer_mut());
    }
    let [top, tabs, body, status, hints] = layout::screen(area);
    let buf = frame.buffer_mut();
    bar(app, ink, top, buf);
    tab_line(app, ink, tabs, buf);
    match (&app.detail, app.tab) {
        (Some(detail), _) => detail::draw(detail, app.now, ink, body, buf),
        (None, Tab::Overview) => overview::draw(app, ink, body, buf),
        (None, Tab::Schedules) => schedules::draw(app, ink, body, buf),
        (None, _) => lists::draw(app, ink, body, buf),
    }
    status_line(app, ink, status, buf);
    hint_line(app, ink, hints, buf);
    let above_hints = Rect { height: area.height - 1, ..area };
    if let Some(cursor) = overlay::draw(app, ink, above_hints, buf) {
        frame.set_cursor_position(cursor);
    }
}

fn too_small(area: Rect, buf: &mut Buffer) {
    let lines = [
        format!("The screen is {}x{};", area.width, area.height),
        format!("this needs {}x{}.", MIN_SCREEN_SIZE.0, MIN_SCREEN_SIZE.1),
        "Make it larger, or q quits.".to_owned(),
    ];
    for (text, y) in lines.iter().zip(area.y..area.bottom()) {
        buf.set_stringn(area.x, y, text, usize::from(area.width), Style::new());
    }
}

/// The bar at the top: the file, its owner, the time.
fn bar(app: &App, ink: Ink, area: Rect, buf: &mut Buffer) {
    buf.set_style(area, ink.bar());
    let clock = app.now.to_string();
    let clock = clock.get(11..19).map(|time| format!("{time} UTC ")).unwrap_or_default();
    let owner = match app.summary.as_ref().and_then(|summary| summary.file.as_ref()) {
        None => String::new(),
        Some(file) => match (file.owned, file.owner_process) {
            (Some(true), Some(process)) => format!("process {process} runs them  "),
            (Some(true), None) => "a process runs them  ".to_owned(),
            (Some(false), _) => "no worker runs  ".to_owned(),
            (None, _) => String::new(),
        },
    };
    let right = format!("{owner}{clock}");
    let room = usize::from(area.width).saturating_sub(right.width() + 2);
    let left = shorten(&format!(" perdura watch  {}", safe(&app.file)), room);
    buf.set_stringn(area.x, area.y, left, room, ink.bar().patch(ink.bold()));
    let x = area.right().saturating_sub(right.width() as u16);
    buf.set_stringn(x, area.y, right, usize::from(area.width), ink.bar());
}

fn tab_line(app: &App, ink: Ink, area: Rect, buf: &mut Buffer) {
    let line = TabLine::of(app, area.width);
    let mut spans = Vec::new();
    for (tab, label) in line.labels {
        let style = if tab == app.tab { ink.cursor().patch(ink.bold()) } else { ink.plain() };
        spans.extend([Span::styled(label, style), Span::raw(" ".repeat(line.gap))]);
    }
    buf.set_line(area.x, area.y, &Line::from(spans), area.width);
}

/// The most important status.
fn status_line(app: &App, ink: Ink, area: Rect, buf: &mut Buffer) {
    let (text, style) = if let Some(error) = app.error() {
        (format!("! trying again: {}", safe(error)), ink.bad())
    } else if let Some(RunningAction { action, tally, of, .. }) = &app.running_action {
        (words::running_action(action, *tally, *of), ink.warn())
    } else if let Some(note) = &app.note {
        (safe(note).into_owned(), ink.bold())
    } else if let Some(at) = app.searching {
        (format!("searching: at task {at}; what was found so far is shown"), ink.warn())
    } else if app.summary.is_none() {
        ("opening the file".to_owned(), ink.dim())
    } else {
        return;
    };
    let width = usize::from(area.width).saturating_sub(1);
    buf.set_stringn(area.x, area.y, format!(" {}", shorten(&text, width.saturating_sub(1))), width, style);
}

/// As many keys as there is room for; help and quit always.
fn hint_line(app: &App, ink: Ink, area: Rect, buf: &mut Buffer) {
    let hints = hints(app);
    let width = |(key, what): &Hint| key.width() + what.width() + 3;
    let mut room = usize::from(area.width).saturating_sub(1);
    let last = hints.len().saturating_sub(2);
    room = room.saturating_sub(hints[last..].iter().map(width).sum());
    let mut spans = vec![Span::raw(" ")];
    for (i, hint) in hints.iter().enumerate() {
        if i < last {
            let Some(left) = room.checked_sub(width(hint)) else { continue };
            room = left;
        }
        spans.push(Span::styled(hint.0, ink.key()));
        spans.push(Span::styled(format!(" {}  ", hint.1), ink.plain()));
    }
    buf.set_line(area.x, area.y, &Line::from(spans), area.width);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::times::Zone;
    use crate::tui::fixture::Stage;

    /// Each screen in both sizes.
    #[track_caller]
    fn golden(name: &str, keys: &str) {
        let mut stage = Stage::new();
        for (size, suffix) in [((80, 24), "80x24"), ((140, 40), "140x40")] {
            stage.resize(size);
            stage.keys(keys);
            stage.assert_screen(&format!("{name}_{suffix}"));
            stage.keys("Esc Esc Esc Esc");
        }
    }

    #[test]
    fn overview() {
        golden("overview", "1");
    }

    #[test]
    fn tasks() {
        golden("tasks", "2");
    }

    #[test]
    fn tasks_filtered_and_selected() {
        golden("filtered", "2 / state:failed,cancelled \" \" name:上传 Enter Space Down A Up Up Space");
    }

    #[test]
    fn a_filter_that_cannot_be_meant() {
        golden("filter_error", "2 / state:fialed");
    }

    #[test]
    fn failures() {
        golden("failures", "3 Down");
    }

    #[test]
    fn waiting() {
        golden("waiting", "4");
    }

    #[test]
    fn letters() {
        golden("letters", "5");
    }

    #[test]
    fn one_task() {
        golden("task", "3 l");
    }

    #[test]
    fn one_task_further_down() {
        golden("task_end", "3 l End");
    }

    #[test]
    fn one_letter() {
        golden("letter", "5 Enter");
    }

    #[test]
    fn a_question() {
        golden("question", "3 R");
    }

    #[test]
    fn schedules() {
        let mut stage = Stage::new();
        stage.schedules().unwrap();
        for (size, suffix) in [((80, 24), "80x24"), ((140, 40), "140x40")] {
            stage.resize(size);
            stage.keys("6");
            stage.assert_screen(&format!("schedules_{suffix}"));
        }
    }

    #[test]
    fn a_file_with_more_schedules_than_are_shown_says_so() {
        let mut stage = Stage::new();
        let all = crate::tui::schedules::MAX_SCHEDULES + 1;
        for n in 0..all {
            let each = std::time::Duration::from_secs(3600 + n as u64);
            stage.set_schedule(crate::Schedule::every(format!("s{n}"), each)).unwrap();
        }
        stage.keys("6");
        let text = Stage::text(&stage.draw(Ink { colors: true, zone: Zone::Utc }));
        assert!(text.contains("the next 200 schedules; there are more"), "{text}");
        stage.keys("End");
        let text = Stage::text(&stage.draw(Ink { colors: true, zone: Zone::Utc }));
        assert!(text.contains(" s199 ") && !text.contains(" s200 "), "{text}");
    }

    #[test]
    fn help() {
        golden("help", "?");
    }

    #[test]
    fn the_smallest_screen_cuts_no_count_no_tab_and_no_help() {
        let mut stage = Stage::new();
        stage.resize(MIN_SCREEN_SIZE);
        stage.keys("1");
        stage.assert_screen("overview_60x16");
        let seen = |stage: &mut Stage| Stage::text(&stage.draw(Ink { colors: true, zone: Zone::Utc }));
        let text = seen(&mut stage);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].ends_with("6 Sched."), "{text}");
        assert!(lines[2].ends_with("LOST 0"), "that nothing is lost is seen: {text}");
        assert!(lines[7].contains("52 min ago") && lines[7].ends_with("now"), "{text}");
        assert!(lines[2].contains("FAILED") && !lines[2].trim_end().ends_with(char::is_alphabetic), "{text}");
        stage.keys("?");
        let mut met = String::new();
        for _ in 0..40 {
            met += &seen(&mut stage);
            stage.keys("j");
        }
        for words in ["1-6, Tab", "letters", "whole group).", "pause or resume the queue", "for the list."] {
            assert!(met.contains(words), "{words}: {met}");
        }
        assert!(matches!(stage.app.overlay, Some(crate::tui::app::Overlay::Help(_))), "it scrolls");
        stage.keys("x");
        assert_eq!(stage.app.overlay, None);
    }

    #[test]
    fn without_colours_marks_and_modifiers_say_the_same() {
        let mut stage = Stage::new();
        stage.keys("1");
        let buffer = stage.draw(Ink { colors: false, zone: Zone::Utc });
        let colored = buffer.content().iter().filter(|cell| {
            [cell.fg, cell.bg] != [ratatui::style::Color::Reset, ratatui::style::Color::Reset]
        });
        assert_eq!(colored.count(), 0);
        let text = Stage::text(&buffer);
        assert!(text.contains("F failed") && text.contains("PAUSED"), "{text}");
    }

    #[test]
    fn only_the_sixteen_colours_are_used() {
        let mut stage = Stage::new();
        for keys in ["1", "2", "3", "4", "5", "5 Enter", "6", "?"] {
            stage.keys(keys);
            let buffer = stage.draw(Ink { colors: true, zone: Zone::Utc });
            for cell in buffer.content() {
                let plain = |color| {
                    !matches!(color, ratatui::style::Color::Rgb(..) | ratatui::style::Color::Indexed(_))
                };
                assert!(plain(cell.fg) && plain(cell.bg), "{cell:?}");
            }
        }
    }

    #[test]
    fn a_screen_of_any_size_is_drawn() {
        let mut stage = Stage::new();
        stage.schedules().unwrap();
        for keys in ["1", "2", "3", "3 l", "3 l f", "4", "5", "6", "2 s", "2 /", "?", "Esc 3 R"] {
            stage.keys(keys);
            for (width, height) in
                [(1, 1), (10, 3), (59, 16), (60, 15), (60, 16), (79, 23), (300, 100), (500, 16)]
            {
                stage.resize((width, height));
                let text = Stage::text(&stage.draw(Ink { colors: true, zone: Zone::Utc }));
                let hints = text.lines().last().unwrap_or_default().trim();
                let is_drawn = ["quit", "leave it", "close"].iter().any(|end| hints.ends_with(end));
                let is_large = width >= MIN_SCREEN_SIZE.0 && height >= MIN_SCREEN_SIZE.1;
                assert_eq!(is_large, is_drawn, "{width}x{height} {keys}: {text}");
            }
            stage.keys("Esc Esc Esc");
        }
    }

    #[test]
    fn no_text_of_the_file_reaches_the_terminal_raw() {
        let mut stage = Stage::new();
        stage.schedules().unwrap();
        for keys in ["1", "2", "3", "3 l", "3 l End", "3 l f", "4", "5", "5 Enter", "6"] {
            stage.keys(keys);
            let buffer = stage.draw(Ink { colors: true, zone: Zone::Utc });
            let wild =
                |symbol: &str| symbol.chars().any(|c| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}'));
            assert!(buffer.content().iter().all(|cell| !wild(cell.symbol())), "{keys}");
            stage.keys("Esc");
        }
    }
}
