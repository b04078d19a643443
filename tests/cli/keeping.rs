//! Nothing is deleted that nobody asked for.

use std::path::Path;

use perdura::Filter;

use crate::support::{Place, Said};

fn edit(path: &Path, sql: &str) {
    rusqlite::Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

/// A file with a job that finished nine days ago, and one of an hour ago that shows that the clock has run on.
fn place() -> Place {
    let place = Place::new();
    place.add(["true"]);
    place.add(["true"]);
    drain(&place, &["--keep", "never"]);
    for (id, hours) in [(1, 9 * 24), (2, 1)] {
        let ago = format!("- {hours} * 3600000");
        let sql = format!(
            "UPDATE perdura_tasks SET created_at_ms = created_at_ms {ago}, started_at_ms = started_at_ms {ago},
                 finished_at_ms = finished_at_ms {ago} WHERE task_id = {id}"
        );
        edit(&place.path("tasks.db"), &sql);
    }
    place
}

fn drain(place: &Place, options: &[&str]) -> Said {
    let said = place.run(["work", "--drain"].iter().chain(options));
    assert_eq!(said.code, Some(0), "{said:?}");
    said
}

fn kept(place: &Place) -> usize {
    place.queue().tasks(Filter::new()).unwrap().len()
}

#[test]
fn a_worker_deletes_by_age_what_it_was_told_to_and_nothing_else() {
    let place = place();
    let said = drain(&place, &[]);
    assert!(said.err.contains("finished jobs are kept"), "{said:?}");
    assert_eq!(kept(&place), 2);
    let said = drain(&place, &["--keep", "10d"]);
    assert!(said.err.contains("is deleted after 10 d (--keep)"), "{said:?}");
    assert_eq!(kept(&place), 2);
    drain(&place, &["--keep", "7d"]);
    assert_eq!(kept(&place), 1, "a week, although that is what a program says by saying nothing");
    assert_eq!(
        place.queue().inspect().unwrap().retention,
        None,
        "what is said to one worker is told to no other"
    );
    let said = place.run(["work", "--drain", "--keep", ""]);
    assert_eq!(said.code, Some(2), "{said:?}");
}

#[test]
fn a_worker_follows_what_a_program_has_said_of_its_file() {
    let place = place();
    edit(&place.path("tasks.db"), "UPDATE perdura_meta SET retention_ms = 86400000");
    assert!(place.run(["doctor", "--json"]).out.contains("\"retention\":\"1day\""));
    drain(&place, &["--keep", "never"]);
    assert_eq!(kept(&place), 2);
    let said = drain(&place, &[]);
    assert!(said.err.contains("is deleted after 1 d (as the file says)"), "{said:?}");
    assert_eq!(kept(&place), 1);
}

/// What a filter means whose value is an unset variable of the shell: nothing, and never all.
#[test]
fn an_empty_value_of_a_filter_is_refused_by_every_verb() {
    let place = place();
    for verb in [
        &["list"][..],
        &["retry", "--yes"],
        &["cancel", "--yes"],
        &["delete", "--yes"],
        &["move-to-dead", "--yes"],
        &["dead", "list"],
        &["dead", "replay", "--yes"],
    ] {
        for filter in [
            "--text=",
            "--error=",
            "--tag=",
            "--name=",
            "--queue=",
            "--state=",
            "--finished-before=",
            "--created-before=",
        ] {
            let said = place.run(verb.iter().chain([&filter]));
            assert_eq!(said.code, Some(2), "{verb:?} {filter}: {said:?}");
            assert!(said.err.contains(filter.trim_end_matches('=')), "{said:?}");
        }
    }
    for line in [
        &["work", "--drain", "--queue="][..],
        &["pause", ""],
        &["resume", ""],
        &["purge", "--older-than="],
        &["add", "--queue=", "--", "true"],
        &["add", "--tag=", "--", "true"],
        &["add", "--unique=", "--", "true"],
        &["delete", ""],
        &["stats", "--since="],
    ] {
        let said = place.run(line);
        assert_eq!(said.code, Some(2), "{line:?}: {said:?}");
    }
    assert_eq!(kept(&place), 2);
}
