//! The screen, as one sees it: in a real terminal.

use std::io::Write;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use perdura::{Config, Context, Failure, Filter, Options, Queue, State, Task};
use serde::{Deserialize, Serialize};

use crate::support::{Place, await_that};

#[derive(Serialize, Deserialize)]
struct Fetch {
    number: u64,
}

impl Task for Fetch {
    const NAME: &'static str = "fetch";
    type Output = u64;
}

/// A file with tasks that failed, succeeded and wait.
fn a_file(place: &Place) {
    let config = Config::default().max_task_attempts(1);
    let fetch = |fetch: Fetch, _: &Context| match fetch.number {
        0..20 => Err(Failure::named("fetch.gone", format!("there is no object {}", fetch.number))),
        20..23 => Err(Failure::named("fetch.denied", format!("not for {}", fetch.number))),
        number => Ok(number),
    };
    let queue =
        Queue::builder().config(config).workers(1).handle(fetch).open(place.path("tasks.db")).unwrap();
    for number in 0..30 {
        let _ = queue.enqueue(&Fetch { number }).unwrap();
    }
    let _ =
        queue.enqueue_with(&Fetch { number: 99 }, Options::new().delay(Duration::from_secs(3600))).unwrap();
    queue.drain().unwrap();
    queue.shutdown(Duration::from_secs(10)).unwrap();
}

/// A terminal in which a command runs. It ends with its test.
struct Terminal {
    socket: String,
}

impl Terminal {
    /// Runs this line of a shell in the folder of a place. None if there is no tmux, loudly; with `CI=true` that is a failure.
    #[track_caller]
    fn run(place: &Place, line: &str) -> Option<Terminal> {
        if Command::new("tmux").arg("-V").output().is_err() {
            assert!(
                std::env::var_os("CI").is_none_or(|ci| ci != "true"),
                "this machine has no tmux, and CI=true allows no skip"
            );
            eprintln!("SKIPPED: this machine has no tmux (at {})", std::panic::Location::caller());
            return None;
        }
        let folder = place.path("");
        // Of its own: the server of an earlier terminal may not have gone yet.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = folder.file_name().unwrap().to_str().unwrap();
        let socket = format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let terminal = Terminal { socket };
        let script = format!("PATH={}:$PATH; {line}; echo ended: $?; stty -a; exec cat", bin_folder());
        let place = folder.to_str().unwrap();
        let size = ["-x", "80", "-y", "24"];
        let began = terminal.tmux(
            ["-f", "/dev/null", "new-session", "-d", "-c", place].into_iter().chain(size).chain([&*script]),
        );
        assert!(began.status.success(), "{began:?}");
        Some(terminal)
    }

    fn tmux<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Output {
        // Not the shell of the user, who may have none that runs programs.
        Command::new("tmux").env("SHELL", "/bin/sh").args(["-L", &self.socket]).args(words).output().unwrap()
    }

    fn screen(&self) -> String {
        String::from_utf8_lossy(&self.tmux(["capture-pane", "-p"]).stdout).into_owned()
    }

    #[track_caller]
    fn shows(&self, text: &str) {
        let mut last = String::new();
        let caller = std::panic::Location::caller();
        let found = || {
            last = self.screen();
            last.contains(text)
        };
        await_that(&format!("{text:?} on the screen (at {caller})"), found);
    }

    fn press(&self, key: &str) {
        self.tmux(["send-keys", key]);
    }

    fn types(&self, text: &str) {
        self.tmux(["send-keys", "-l", text]);
    }

    /// The command has ended so, and the terminal is as it was.
    #[track_caller]
    fn is_restored(&self, ended: &str) {
        self.shows(ended);
        self.shows("icanon"); // the answer of stty is all there
        let screen = self.screen();
        let is_on = |flag: &str| screen.split([' ', '\n', ';']).any(|word| word == flag);
        assert!(is_on("icanon") && is_on("echo") && is_on("isig"), "{screen}");
        let state = self.tmux(["display-message", "-p", "#{alternate_on} #{cursor_flag}"]);
        assert_eq!(String::from_utf8_lossy(&state.stdout).trim(), "0 1", "alternate screen, cursor");
        assert!(!screen.contains("perdura watch  "), "{screen}");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(["kill-server"]);
    }
}

fn bin_folder() -> String {
    let command = std::path::Path::new(env!("CARGO_BIN_EXE_perdura"));
    format!("'{}'", command.parent().unwrap().display())
}

fn in_state(place: &Place, state: State) -> u64 {
    place.queue().count(Filter::new().state(state)).unwrap()
}

#[test]
fn a_group_of_failures_is_found_and_retried() {
    let place = Place::new();
    a_file(&place);
    let Some(terminal) = Terminal::run(&place, "perdura --db tasks.db watch --every 200ms") else { return };
    terminal.shows("FAILED 23");
    terminal.shows("SUCCEEDED 7");
    terminal.press("2");
    terminal.press("/");
    terminal.types("state:failed denied");
    terminal.press("Enter");
    terminal.shows("filter state:failed denied");
    terminal.shows("fetch.denied: not for 22");
    assert!(!terminal.screen().contains("fetch.gone"));
    terminal.press("3");
    terminal.shows("there is no object #");
    terminal.press("R");
    terminal.shows("Retry 20 tasks?");
    assert_eq!(in_state(&place, State::Failed), 23, "it waits for a yes");
    terminal.press("y");
    terminal.shows("retried 20 tasks");
    assert_eq!((in_state(&place, State::Failed), in_state(&place, State::Queued)), (3, 21));
    terminal.shows("3 Failures 3"); // by itself
    terminal.press("q");
    terminal.is_restored("ended: 0");
}

#[test]
fn sigterm_gives_the_terminal_back() {
    let place = Place::new();
    a_file(&place);
    let line = "(echo $$; exec sh -c 'echo $$ > pid; exec perdura --db tasks.db watch')";
    let Some(terminal) = Terminal::run(&place, line) else { return };
    terminal.shows("FAILED 23");
    let killed = Command::new("kill").args(["-TERM", place.read("pid").trim()]).status().unwrap();
    assert!(killed.success());
    terminal.is_restored("ended: 143");
}

#[test]
fn a_file_that_goes_and_comes_back_is_told_and_seen_again() {
    let place = Place::new();
    a_file(&place);
    let Some(terminal) = Terminal::run(&place, "perdura --db tasks.db watch --every 100ms") else { return };
    terminal.shows("FAILED 23");
    let aside = place.path("aside.db");
    std::fs::rename(place.path("tasks.db"), &aside).unwrap();
    terminal.shows("trying again");
    assert!(terminal.screen().contains("FAILED 23"), "what was known stays");
    assert!(!place.path("tasks.db").exists(), "looking makes no file");
    std::fs::rename(&aside, place.path("tasks.db")).unwrap();
    await_that("the trouble to end", || !terminal.screen().contains("trying again"));
    terminal.press("q");
    terminal.is_restored("ended: 0");
}

#[test]
fn the_screen_follows_the_size_of_the_terminal() {
    let place = Place::new();
    a_file(&place);
    let Some(terminal) = Terminal::run(&place, "NO_COLOR=1 perdura --db tasks.db watch") else { return };
    terminal.shows("FAILED 23");
    terminal.tmux(["resize-window", "-x", "50", "-y", "10"]);
    terminal.shows("Make it larger");
    terminal.tmux(["resize-window", "-x", "140", "-y", "40"]);
    terminal.shows("FAILED 23");
    let colored = terminal.tmux(["capture-pane", "-p", "-e"]);
    let colored = String::from_utf8_lossy(&colored.stdout).into_owned();
    assert!(!colored.contains("[31m") && !colored.contains(";31m"), "NO_COLOR: {colored:?}");
    terminal.press("C-c");
    terminal.is_restored("ended: 0");
}

#[test]
fn jobs_are_listed_by_their_commands() {
    let place = Place::new();
    place.add(["--max-attempts", "1", "--", "cp", "no such file", "elsewhere"]);
    assert_eq!(place.run(["work", "--drain"]).code, Some(1));
    place.add(["--", "gzip", "-9", "a b"]);
    let Some(terminal) = Terminal::run(&place, "perdura --db tasks.db watch") else { return };
    terminal.shows("FAILED 1");
    terminal.press("2");
    terminal.shows("gzip -9 'a b'");
    terminal.shows("cp 'no such file' elsewhere");
    let screen = terminal.screen();
    assert!(
        screen.contains("all jobs") && !screen.contains("NAME"),
        "the name of all says nothing: {screen}"
    );
    terminal.shows("newest first");
    terminal.press("s");
    terminal.shows("running first");
    terminal.press("3");
    terminal.shows("PROGRAM");
    terminal.shows(" cp ");
    terminal.shows("R retry 1 (this row)");
    terminal.press("Enter");
    terminal.shows("filter state:failed,lost name:perdura.job error:ExitCode.1");
    terminal.shows("R retry all of filter");
}

#[test]
fn what_runs_is_seen_with_an_estimate_and_its_output_is_followed() {
    let place = Place::new();
    for _ in 0..3 {
        place.add(["--", "sh", "-c", "echo short"]);
    }
    assert_eq!(place.run(["work", "--drain"]).code, Some(0));
    let script = "i=0; while [ ! -e stop ]; do i=$((i+1)); echo line $i; sleep 0.1; done";
    place.add(["--", "sh", "-c", script]);
    let _worker = place.start(place.command(["work"]));
    let Some(terminal) = Terminal::run(&place, "perdura --db tasks.db watch --every 200ms") else { return };
    terminal.shows("RUNNING 1");
    terminal.shows("over ~"); // its three forerunners ended at once
    terminal.shows("sh -c 'i=0; while");
    terminal.shows("PROGRAM");
    terminal.press("2");
    terminal.shows("    4  RUNNING"); // its row, on which the key acts
    terminal.press("f");
    terminal.shows("It is followed");
    terminal.shows("line 20"); // the newest line is seen, however many there are
    terminal.shows("line 40");
    terminal.press("Up");
    terminal.shows("f follow its output");
    std::fs::write(place.path("stop"), "").unwrap();
    terminal.press("f");
    terminal.shows("It has ended: SUCCEEDED.");
}

#[test]
fn the_mouse_shows_tabs_and_rows_and_can_be_left_to_the_terminal() {
    let place = Place::new();
    a_file(&place);
    let Some(terminal) = Terminal::run(&place, "perdura --db tasks.db watch --every 200ms") else { return };
    terminal.shows("FAILED 23");
    let click = |column: u16, line: u16| terminal.types(&format!("\u{1b}[<0;{column};{line}M"));
    click(30, 2);
    terminal.shows("Failures  23 failures");
    click(20, 2);
    terminal.shows("Tasks  31 tasks");
    terminal.shows("   31  QUEUED");
    click(5, 7); // the third row: once for the cursor, once more to open it
    click(5, 7);
    terminal.shows("Task 29");
    terminal.press("q");
    terminal.is_restored("ended: 0");
    let state = terminal.tmux(["display-message", "-p", "#{mouse_any_flag}"]);
    assert_eq!(String::from_utf8_lossy(&state.stdout).trim(), "0", "the mouse is the terminal's again");

    let Some(terminal) = Terminal::run(&place, "perdura --db tasks.db watch --no-mouse") else { return };
    terminal.shows("FAILED 23");
    let state = terminal.tmux(["display-message", "-p", "#{mouse_any_flag}"]);
    assert_eq!(String::from_utf8_lossy(&state.stdout).trim(), "0");
}

#[test]
fn a_terminal_that_cannot_be_drawn_on_is_refused() {
    let place = Place::new();
    a_file(&place);
    let Some(terminal) = Terminal::run(&place, "TERM=dumb perdura --db tasks.db watch") else { return };
    terminal.shows("this terminal (TERM=dumb) moves no cursor");
    terminal.shows("`stats`");
    terminal.shows("ended: 4");
}

#[test]
fn schedules_are_shown_paused_and_run() {
    let place = Place::new();
    for words in [
        &["schedule", "add", "nightly", "30 2 * * *", "--tz", "UTC", "--", "backup.sh"][..],
        &["schedule", "add", "sync", "--every", "1m", "--", "sync-mail"],
        &["queue", "limit", "ocr", "2"],
        &["queue", "rate", "ocr", "50/1m"],
    ] {
        assert_eq!(place.run(words).code, Some(0));
    }
    for _ in 0..3 {
        place.add(["--queue", "ocr", "--serial", "scanner", "--", "true"]);
    }
    let Some(terminal) = Terminal::run(&place, "TZ=UTC perdura --db tasks.db watch --every 200ms") else {
        return;
    };
    terminal.shows("limit 2, rate 50/1m, 2 held by key");
    terminal.shows("? help");
    terminal.press("?");
    terminal.shows("1-6, Tab     overview, tasks, failures, waiting, dead letters, schedules");
    terminal.press("Escape");
    terminal.press("6");
    terminal.shows("At 02:30 (30 2 *");
    terminal.shows("every 1 min");
    terminal.press("P");
    terminal.shows("Pause the schedule sync?");
    terminal.shows("y do it");
    terminal.press("y");
    terminal.shows("paused the schedule sync");
    let status = || place.queue().schedule("sync").unwrap().status;
    assert_eq!(status(), perdura::ScheduleStatus::Paused);
    terminal.press("N");
    terminal.shows("Run the schedule sync now?");
    terminal.shows("y do it");
    terminal.press("y");
    terminal.shows("made a run of the schedule sync");
    assert_eq!(in_state(&place, State::Queued), 4);
    terminal.tmux(["resize-window", "-x", "120", "-y", "40"]);
    terminal.shows(" 02:30:00");
    terminal.shows("backup.sh");
    terminal.press("q");
    terminal.is_restored("ended: 0");
}

#[test]
fn without_a_terminal_it_says_what_to_use() {
    let place = Place::new();
    a_file(&place);
    let said = place.run(["watch"]);
    assert_eq!((said.code, said.out.as_str()), (Some(4), ""));
    assert!(said.err.contains("`stats --json`"), "{}", said.err);
    let said = place.run(["watch", "--every", "1ms"]);
    assert!(said.code == Some(2) && said.err.contains("100ms to 1h"), "{}", said.err);
}

#[test]
#[cfg(target_os = "linux")]
fn a_terminal_that_is_gone_ends_the_screen() {
    let place = Place::new();
    a_file(&place);
    let line = "echo $$ > pid; exec perdura --db tasks.db watch";
    for _ in 0..3 {
        let Some(terminal) = Terminal::run(&place, line) else { return };
        terminal.shows("FAILED 23");
        terminal.press("2"); // whoever reads keys then meets the end of them
        terminal.shows("fetch.denied");
        let process = std::path::Path::new("/proc").join(place.read("pid").trim());
        assert!(process.exists());
        drop(terminal);
        await_that("the end of the screen", || !process.exists());
    }
}

/// Somebody has pressed Ctrl-S in a terminal, or looks at an older part of it, and has left.
#[test]
#[cfg(target_os = "linux")]
fn a_screen_that_nobody_reads_ends_with_a_signal_all_the_same() {
    use rustix::process::{Pid, Signal, kill_process};
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let place = Place::new();
    a_file(&place);
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
    let open = || std::fs::File::options().read(true).write(true).open(&name).unwrap();
    let full = open();
    rustix::io::ioctl_fionbio(&full, true).unwrap();
    while (&full).write(&[b' '; 64]).is_ok() {}
    let mut command = place.command(["watch"]);
    command.env("TERM", "xterm").stdin(open()).stdout(open());
    let watch = place.start_with(&mut command);
    let status = format!("/proc/{}/status", watch.id());
    await_that("that it hears signals", || {
        let status = std::fs::read_to_string(&status).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        u64::from_str_radix(caught.trim(), 16).unwrap() & (1 << (Signal::TERM.as_raw() - 1)) != 0
    });
    kill_process(Pid::from_raw(watch.id().try_into().unwrap()).unwrap(), Signal::TERM).unwrap();
    assert_eq!(watch.end().code, Some(143));
}

#[test]
fn a_worker_shows_on_a_terminal_how_far_it_has_come() {
    let place = Place::new();
    let items: String = (0..5).map(|n| format!("{n}\n")).collect();
    assert_eq!(
        place.feed(&items, ["add", "--shell", "--template", ": {}; test -e go || sleep 0.3"]).code,
        Some(0)
    );
    place.add(["--shell", "while [ ! -e go ]; do sleep 0.05; done"]);
    let command = "perdura --db tasks.db work --until-done --workers 1; echo ended: $?";
    let Some(terminal) = Terminal::run(&place, command) else { return };
    terminal.shows("5 of 6 done, 1 running");
    std::fs::write(place.path("go"), "").unwrap();
    terminal.shows("6 attempts in");
    let screen = terminal.screen();
    assert!(!screen.contains("of 6 done"), "it goes with the end: {screen}");
}
