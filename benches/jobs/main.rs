//! How fast `perdura work` runs programs that do nothing, against a bare loop that starts them from as many threads, and against other
//! tools, where they are installed.
//!
//! `cargo bench --features cli --bench jobs`; `JOBS=1000`, `ROUNDS=9`, `WORKERS=2` say how much. All take turns within a round, so that
//! what else the machine does meets all of them; ratios are taken within a round.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What is started, again and again.
const PROGRAM: &str = "true";

struct Setting {
    jobs: usize,
    rounds: usize,
    workers: usize,
}

fn main() {
    let number =
        |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let setting =
        Setting { jobs: number("JOBS", 1000), rounds: number("ROUNDS", 9), workers: number("WORKERS", 2) };
    let folder = std::env::temp_dir().join(format!("perdura-bench-{}", std::process::id()));
    std::fs::create_dir(&folder).expect("a folder of its own");
    let mut rivals: Vec<Rival> = vec![
        ("bare loop", bare as Run),
        ("perdura work", perdura),
        ("parallel --joblog --resume", parallel),
        ("pueue", pueue),
    ];
    rivals.retain(|(name, _)| {
        let tool = name.split(' ').next().unwrap_or(name);
        let found = matches!(tool, "bare" | "perdura") || is_installed(tool);
        if !found {
            println!("{tool} is not installed; it is left out");
        }
        found
    });
    let mut times: Vec<Vec<Duration>> = vec![Vec::new(); rivals.len()];
    for _ in 0..setting.rounds {
        for ((_, run), times) in rivals.iter().zip(&mut times) {
            times.push(run(&setting, &folder));
        }
    }
    println!("{} × `{PROGRAM}`, {} at a time, {} rounds:", setting.jobs, setting.workers, setting.rounds);
    for ((name, _), own) in rivals.iter().zip(&times) {
        let per_second = median(own.iter().map(|t| setting.jobs as f64 / t.as_secs_f64()));
        let ratio =
            median(times[0].iter().zip(own).map(|(bare, own)| bare.as_secs_f64() / own.as_secs_f64()));
        println!("{name:<28} {per_second:>7.0} jobs/s   {ratio:.2} × the bare loop");
    }
    let _ = std::fs::remove_dir_all(&folder);
}

type Run = fn(&Setting, &Path) -> Duration;
type Rival = (&'static str, Run);

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Threads that start the program and wait for it, and nothing else.
fn bare(setting: &Setting, _: &Path) -> Duration {
    let began = Instant::now();
    std::thread::scope(|scope| {
        for worker in 0..setting.workers {
            let share = setting.jobs / setting.workers + usize::from(worker < setting.jobs % setting.workers);
            scope.spawn(move || {
                for _ in 0..share {
                    let status = Command::new(PROGRAM).stdin(Stdio::null()).status().expect("it starts");
                    assert!(status.success());
                }
            });
        }
    });
    began.elapsed()
}

/// The jobs are in the file already, as they would be after a restart, and so is the reserve that the file's first worker made.
fn perdura(setting: &Setting, folder: &Path) -> Duration {
    let db = folder.join("jobs.db");
    let command = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_perdura"));
        command.args(words).env("PERDURA_DB", &db).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    assert!(command(&["init"]).status().expect("it makes the file").success());
    timed(&mut command(&["work", "--drain", "--quiet"]));
    let list = folder.join("list");
    std::fs::write(&list, format!("{PROGRAM}\n").repeat(setting.jobs)).expect("a list of jobs");
    let list = std::fs::File::open(list).expect("the list");
    assert!(command(&["add", "--from", "lines"]).stdin(list).status().expect("it adds").success());
    let workers = setting.workers.to_string();
    let time = timed(&mut command(&["work", "--drain", "--quiet", "--workers", &workers]));
    let queue = perdura::Queue::builder().open(&db).expect("the file");
    let done = queue.counts().expect("its counts").total().succeeded;
    assert_eq!(usize::try_from(done), Ok(setting.jobs));
    drop(queue);
    for name in ["jobs.db", "jobs.db-wal", "jobs.db-shm", "jobs.db-owner", "jobs.db-jobs"] {
        let _ = std::fs::remove_file(folder.join(name));
    }
    time
}

/// GNU parallel, which writes down what is done and can go on there.
fn parallel(setting: &Setting, folder: &Path) -> Duration {
    let log = folder.join("joblog");
    let list = folder.join("parallel");
    std::fs::write(&list, format!("{PROGRAM}\n").repeat(setting.jobs)).expect("a list of jobs");
    let time = timed(
        Command::new("parallel")
            .arg(format!("-j{}", setting.workers))
            .arg("--joblog")
            .arg(&log)
            .arg("--resume")
            .stdin(std::fs::File::open(list).expect("the list"))
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
    );
    let _ = std::fs::remove_file(log);
    time
}

/// pueue, with a daemon of its own. Adding is timed too: it has no other way to take jobs.
fn pueue(setting: &Setting, folder: &Path) -> Duration {
    let home = folder.join("pueue");
    let with_home = |program: &str| {
        let mut command = Command::new(program);
        command
            .env("HOME", &home)
            .env("XDG_DATA_HOME", &home)
            .env("XDG_CONFIG_HOME", &home)
            .env("XDG_RUNTIME_DIR", &home);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    std::fs::create_dir_all(&home).expect("a home for pueue");
    let mut daemon = with_home("pueued").spawn().expect("pueued starts");
    let began = Instant::now();
    while !with_home("pueue").arg("status").status().expect("pueue runs").success() {
        assert!(began.elapsed() < Duration::from_secs(10), "pueued does not answer");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(
        with_home("pueue")
            .args(["parallel", &setting.workers.to_string()])
            .status()
            .expect("pueue runs")
            .success()
    );
    let began = Instant::now();
    for _ in 0..setting.jobs {
        assert!(with_home("pueue").args(["add", "--", PROGRAM]).status().expect("pueue runs").success());
    }
    assert!(with_home("pueue").args(["wait", "--quiet"]).status().expect("pueue runs").success());
    let time = began.elapsed();
    let _ = with_home("pueue").arg("shutdown").status();
    let _ = daemon.wait();
    let _ = std::fs::remove_dir_all(&home);
    time
}

fn timed(command: &mut Command) -> Duration {
    let began = Instant::now();
    let status = command.status().expect("it starts");
    assert!(status.success(), "{command:?}: {status}");
    began.elapsed()
}

fn is_installed(tool: &str) -> bool {
    Command::new(tool)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|s| s.success())
}
