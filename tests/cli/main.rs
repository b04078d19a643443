//! The command `perdura`, as one runs it: the real program on real files.

#[cfg(unix)]
mod admin;
#[cfg(unix)]
mod answers;
#[cfg(unix)]
mod care;
#[cfg(unix)]
mod conditions;
#[cfg(unix)]
mod display;
#[cfg(unix)]
mod doctor;
#[cfg(unix)]
mod engines;
#[cfg(unix)]
mod foreign;
#[cfg(unix)]
mod jobs;
#[cfg(unix)]
mod jobs_daily;
#[cfg(unix)]
mod jobs_ended;
#[cfg(unix)]
mod jobs_killed;
#[cfg(unix)]
mod jobs_late;
#[cfg(unix)]
mod jobs_whole;
#[cfg(unix)]
mod keeping;
#[cfg(unix)]
#[path = "../it/helpers/needs.rs"]
mod needs;
#[cfg(unix)]
mod outside;
#[cfg(unix)]
mod refused;
#[cfg(feature = "report")]
mod report;
#[cfg(feature = "report")]
mod report_files;
#[cfg(unix)]
mod schedules;
#[cfg(unix)]
mod scripts;
mod support;
#[cfg(unix)]
mod times;
#[cfg(all(unix, feature = "tui"))]
mod watch;
