//! Starts a job's program, and says what is wrong when it cannot be started.

use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::io::{self, PipeReader};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::fs::{Access, Mode, OFlags, RawMode, access};
use rustix::io::Errno;
use rustix::process;

use super::protocol::{Launch, LaunchError, LaunchSettings};
use crate::console::shortage::is_shortage;
use crate::console::system;

/// Where programs are looked for if there is no PATH: what the C library does.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// A job that runs, and the pipes of its output.
pub(super) struct Launched {
    pub child: Child,
    pub out: PipeReader,
    pub err: PipeReader,
}

/// Starts it, as the leader of a process group of its own.
///
/// The program is looked up here, and nothing runs between fork and exec, so that the standard library can use `posix_spawn`.
pub(super) fn launch(launch: &Launch) -> Result<Launched, LaunchError> {
    let name = word(&launch.argv[0]); // a launch without words does not decode
    let dir = Path::new(word(&launch.dir));
    let program =
        if name.as_bytes().contains(&b'/') { PathBuf::from(name) } else { look_up(name, dir, launch)? };
    let (out, its_out) = io::pipe().map_err(|e| failed(&e))?;
    let (err, its_err) = io::pipe().map_err(|e| failed(&e))?;
    let LaunchSettings { own_env, umask, nice, stdin } = &launch.surroundings;
    let stdin = stdin.as_ref().map_or(Ok(Stdio::null()), |path| open_input(Path::new(word(path))))?;
    let mut command = Command::new(&program);
    if *own_env {
        command.env_clear();
    }
    command
        .arg0(name)
        .args(launch.argv[1..].iter().map(|argument| word(argument)))
        .envs(launch.env.iter().map(|(key, value)| (word(key), word(value))))
        .current_dir(dir)
        .stdin(stdin)
        .stdout(its_out)
        .stderr(its_err)
        .process_group(0);
    let own_umask = umask.map(|mask| process::umask(mode(mask))); // this process has one thread
    let spawned = command.spawn();
    if let Some(mask) = own_umask {
        process::umask(mask);
    }
    let child = spawned.map_err(|e| explain(&e, &program, dir))?;
    if *nice > 0 {
        be_nice(&child, *nice);
    }
    Ok(Launched { child, out, err })
}

/// A mode has 16 bits on some systems.
fn mode(bits: u32) -> Mode {
    Mode::from_bits_truncate(RawMode::try_from(i64::from(bits)).unwrap_or(0))
}

/// The highest nice value: such a process gets the least time of the processor.
const MAX_NICENESS: i32 = 19;

/// Makes the process group of a job nicer than this process, by `by`: the processes that it has started so far, and all that they will start. One
/// that has ended needs nothing.
fn be_nice(leader: &Child, by: u8) {
    let own = process::getpriority_process(None).unwrap_or(0);
    let niceness = own.saturating_add(by.into()).min(MAX_NICENESS);
    let _ = process::setpriority_pgrp(Some(process::Pid::from_child(leader)), niceness);
}

/// Opens the file of a job's standard input. If it is missing, another attempt may find it: its disk may not be mounted yet. Only a regular file is
/// taken: a pipe could block this process, which then could not end the job.
fn open_input(path: &Path) -> Result<Stdio, LaunchError> {
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let opened = opened.and_then(|file| match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is no file")),
    });
    opened.map(Stdio::from).map_err(|e| match Errno::from_io_error(&e) {
        Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM) => failed(&e),
        _ => {
            let message = format!("the standard input {} cannot be read: {}", path.display(), system(&e));
            launch_error("InputNotFound", message, true)
        }
    })
}

fn word(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}

/// Finds a program in the job's PATH.
fn look_up(name: &OsStr, dir: &Path, launch: &Launch) -> Result<PathBuf, LaunchError> {
    let own =
        launch.env.iter().rev().find(|(key, _)| key == b"PATH").map(|(_, value)| word(value).to_owned());
    let is_alone = launch.surroundings.own_env;
    let whose = match (&own, is_alone) {
        (Some(_), true) => "the PATH that was kept with it",
        (Some(_), false) => "the PATH that its --env sets",
        (None, true) => "the default PATH (it was added without one)",
        (None, false) => "the worker's PATH",
    };
    let path = own
        .or_else(|| std::env::var_os("PATH").filter(|_| !is_alone))
        .unwrap_or_else(|| OsString::from(DEFAULT_PATH));
    let mut locked = None;
    if !name.is_empty() {
        for folder in std::env::split_paths(&path) {
            let found = dir.join(folder).join(name); // a relative entry means the job's folder
            match std::fs::metadata(&found) {
                Ok(file) if file.is_file() && access(&found, Access::EXEC_OK).is_ok() => return Ok(found),
                Ok(file) if file.is_file() => locked = Some(found),
                _ => {}
            }
        }
    }
    Err(match locked {
        Some(found) => not_executable(&found, "its permissions do not allow it; try chmod +x"),
        None => {
            let message = format!("there is no program {name:?} in {whose}; name its path");
            launch_error("ProgramNotFound", message, false)
        }
    })
}

/// Finds out why a program could not be started: the system gives only an error number.
fn explain(error: &io::Error, program: &Path, dir: &Path) -> LaunchError {
    if let Some(problem) = trouble_with_folder(dir) {
        // Another attempt may find it: its disk may not be mounted yet.
        return launch_error("FolderNotFound", format!("the folder {} {problem}", dir.display()), true);
    }
    let place = dir.join(program);
    let errno = Errno::from_io_error(error);
    match std::fs::metadata(&place) {
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            launch_error("ProgramNotFound", format!("there is no program {}", place.display()), false)
        }
        Ok(file) if !file.is_file() => not_executable(&place, "it is no file"),
        Ok(_) if errno == Some(Errno::NOENT) => {
            let message =
                format!("{} is there, but not the interpreter that its first line names", place.display());
            launch_error("ProgramNotFound", message, false)
        }
        _ if errno == Some(Errno::ACCESS) => {
            not_executable(&place, "its permissions do not allow it; try chmod +x")
        }
        _ if errno == Some(Errno::NOEXEC) => not_executable(
            &place,
            "the system does not know its format; does a script lack its first line, #!/bin/sh?",
        ),
        _ if errno == Some(Errno::TOOBIG) => launch_error(
            "ArgumentsTooLong",
            "arguments and environment are longer than the system takes".to_owned(),
            false,
        ),
        _ => failed(error),
    }
}

fn trouble_with_folder(dir: &Path) -> Option<&'static str> {
    match std::fs::metadata(dir) {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Some("cannot be entered: permission denied"),
        Err(_) => Some("is not there"),
        Ok(found) if !found.is_dir() => Some("is no folder"),
        Ok(_) => access(dir, Access::EXEC_OK).is_err().then_some("cannot be entered: permission denied"),
    }
}

fn not_executable(program: &Path, problem: &str) -> LaunchError {
    launch_error("ProgramNotExecutable", format!("{} cannot be run: {problem}", program.display()), false)
}

/// The error type when no job can be started: the system is short of descriptors, memory or processes.
pub(super) const SHORTAGE: &str = "Shortage";

fn failed(error: &io::Error) -> LaunchError {
    let error_type = if is_shortage(error) { SHORTAGE } else { "SpawnFailed" };
    launch_error(error_type, format!("the program could not be started: {error}"), true)
}

fn launch_error(error_type: &str, message: String, may_pass: bool) -> LaunchError {
    LaunchError { error_type: error_type.to_owned(), message, may_pass }
}
