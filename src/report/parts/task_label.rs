//! What a task is: its name; of a job its program, or its command line where args are shown.

use maud::html;

use crate::report::data::JobFacts;
use crate::report::table::PageCell;
use crate::report::words::text;

/// The heading of the column that says it.
pub(super) fn what_heading<'j>(jobs: impl Iterator<Item = &'j JobFacts>) -> &'static str {
    let (mut named, mut programs, mut commands) = (0, 0, 0);
    for job in jobs {
        match (&job.program, &job.command) {
            (_, Some(_)) => commands += 1,
            (Some(_), None) => programs += 1,
            (None, None) => named += 1,
        }
    }
    match (named, programs, commands) {
        (0, 0, 1..) => "Command",
        (0, 1.., _) => "Program",
        (_, 0, 0) => "Task name",
        (1.., 0, 1..) => "Name or command",
        _ => "Name or program",
    }
}

/// The cell in that column.
pub(super) fn what_cell(task_name: &str, job: &JobFacts) -> PageCell {
    match (&job.command, &job.program) {
        (Some(command), _) => PageCell::by(html! { code { (text(command)) } }, command),
        (None, Some(program)) => PageCell::text(program),
        (None, None) => PageCell::text(task_name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heading_says_what_is_in_the_column() {
        let name = || JobFacts::default();
        let program = || JobFacts { program: Some("gzip".to_owned()), command: None };
        let command = || JobFacts { command: Some("gzip -9".to_owned()), ..program() };
        for (jobs, heading) in [
            (vec![name(), name()], "Task name"),
            (vec![program()], "Program"),
            (vec![command()], "Command"),
            (vec![name(), program()], "Name or program"),
            (vec![name(), command()], "Name or command"),
            (vec![], "Task name"),
        ] {
            assert_eq!(what_heading(jobs.iter()), heading);
        }
    }
}
