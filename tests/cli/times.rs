//! Times, as people type and read them.

use std::time::{Duration, SystemTime};

use crate::support::{Place, Said};

impl Place {
    /// Runs the command as if in this time zone.
    #[track_caller]
    fn run_in(&self, zone: &str, words: &[&str]) -> Said {
        let mut command = self.command(words);
        command.env("TZ", zone);
        self.start(command).end()
    }
}

/// When the newest job may start, in UTC.
fn run_at(place: &Place) -> String {
    let newest = place.queue().tasks(perdura::Filter::new().newest_first().limit(1)).unwrap();
    newest[0].run_at.unwrap().to_string()
}

#[test]
fn a_time_without_a_zone_is_local_and_the_answer_names_it() {
    let place = Place::new();
    for (text, utc, answer) in [
        ("2999-01-01 08:00", "2999-01-01T13:00:00.000Z", "2999-01-01 08:00:00-05:00"),
        ("2999-01-01T08:00:00", "2999-01-01T13:00:00.000Z", "2999-01-01 08:00:00-05:00"),
        ("2999-01-01", "2999-01-01T05:00:00.000Z", "2999-01-01 00:00:00-05:00"),
        ("2999-01-01T08:00:00+02:00", "2999-01-01T06:00:00.000Z", "2999-01-01 01:00:00-05:00"),
        ("2999-01-01T08:00:00z", "2999-01-01T08:00:00.000Z", "2999-01-01 03:00:00-05:00"),
        ("@32472144000", "2999-01-01T00:00:00.000Z", "2998-12-31 19:00:00-05:00"),
    ] {
        let said = place.run_in("America/New_York", &["add", "--at", text, "--", "true"]);
        assert_eq!(said.code, Some(0), "{said:?}");
        assert_eq!(run_at(&place), utc, "{text}");
        assert!(said.err.contains(&format!("starts at {answer} (in ")), "{said:?}");
    }
    let line = r#"{"argv": ["true"], "at": "2999-01-01 08:00"}"#;
    std::fs::write(place.path("line"), line).unwrap();
    let mut command = place.command(["add", "--from", "jsonl", "--json"]);
    command.env("TZ", "Asia/Kolkata").stdin(std::fs::File::open(place.path("line")).unwrap());
    let said = place.start(command).end();
    assert!(said.out.contains(r#""run_at":"2999-01-01T02:30:00.000Z""#), "{said:?}");
}

#[test]
fn a_time_of_day_is_its_next_one() {
    let place = Place::new();
    for text in ["08:00", "tomorrow 08:00"] {
        assert_eq!(
            place.run_in("Asia/Kolkata", &["add", "--at", text, "--", "true"]).code,
            Some(0),
            "{text}"
        );
        let at =
            place.queue().tasks(perdura::Filter::new().newest_first().limit(1)).unwrap()[0].run_at.unwrap();
        let wait = at.to_system_time().duration_since(SystemTime::now()).unwrap();
        assert!(wait <= Duration::from_secs(49 * 3600), "{text}: {wait:?}");
        assert!(at.to_string().ends_with("T02:30:00.000Z"), "{text}: {at}");
    }
}

#[test]
fn a_wrong_form_names_right_ones_and_adds_nothing() {
    let place = Place::new();
    for (option, text, part) in [
        ("--at", "noon", "write 08:00, tomorrow 08:00, 2026-11-30"),
        ("--at", "2030-02-30", "\"2030-02-30\" is not a time"),
        ("--at", "20300601T0800", "2026-11-30T08:00:00+01:00 or @1796022000"),
        ("--delay", "5", "write it as 90s, 5m, 12h or 7d"),
        ("--backoff", "-5s", "write it as 90s, 5m, 12h or 7d"),
        ("--priority", "high", "a whole number"),
    ] {
        let said = place.run(["add", &format!("{option}={text}"), "--", "true"]);
        assert_eq!(said.code, Some(2), "{said:?}");
        assert!(said.err.contains(part), "{said:?}");
    }
    let said = place.feed(r#"{"argv": ["true"], "at": "noon"}"#, ["add", "--from", "jsonl"]);
    assert!(said.err.contains("line 1: at: \"noon\" is not a time; write 08:00"), "{said:?}");
    assert!(!place.path("tasks.db").exists());
}

#[test]
fn a_job_that_expires_before_it_may_start_is_refused() {
    let place = Place::new();
    for options in [["--delay", "5m"], ["--at", "2999-01-01"]] {
        let said = place.run(["add", options[0], options[1], "--expires", "1m", "--", "true"]);
        assert_eq!(said.code, Some(2), "{said:?}");
        assert!(said.err.contains("expires"), "{said:?}");
    }
}

#[test]
fn times_are_shown_in_local_time_and_in_utc_if_asked_and_in_json() {
    let place = Place::new();
    let id = place.add(["--at", "2999-01-01T12:00:00Z", "--", "true"]).to_string();
    for (verb, local) in [("show", "2999-01-01 07:00:00-05:00"), ("explain", "2999-01-01 07:00:00-05:00")] {
        let zone = "America/New_York";
        let said = place.run_in(zone, &[verb, &id]);
        assert!(said.out.contains(local), "{said:?}");
        let said = place.run_in(zone, &[verb, &id, "--utc"]);
        assert!(said.out.contains("2999-01-01 12:00:00Z") && !said.out.contains("-05:00"), "{said:?}");
        let said = place.run_in(zone, &[verb, &id, "--json"]);
        assert!(said.out.contains("2999-01-01") && !said.out.contains("-05:00"), "{said:?}");
    }
    let said = place.run_in("America/New_York", &["work", "--drain"]);
    assert!(said.err.contains("(2999-01-01 07:00:00-05:00)"), "{said:?}");
}

#[test]
fn a_flag_of_the_past_takes_an_age_or_a_time() {
    let place = Place::new();
    place.add(["--", "true"]);
    let listed = |time: &str| {
        let said = place.run_in("America/New_York", &["list", "--json", "--created-before", time]);
        assert_eq!(said.code, Some(0), "{said:?}");
        said.out.lines().count()
    };
    assert_eq!(
        [listed("0s"), listed("1h"), listed("yesterday"), listed("@0"), listed("2020-01-01 08:00")],
        [1, 0, 0, 0, 0]
    );
    for (words, part) in [
        (&["stats", "--since", "2d"][..], "at most 24h ago"),
        (&["stats", "--since", "2020-01-01"], "at most 24h ago"),
        (&["stats", "--since", "2999-01-01"], "lies in the future"),
        (&["list", "--finished-before", "last week"], "or an age: 90s, 12h, 7d"),
        (&["purge", "--older-than", "x"], "or an age: 90s, 12h, 7d"),
    ] {
        let said = place.run(words);
        assert_eq!(said.code, Some(2), "{said:?}");
        assert!(said.err.contains(part), "{said:?}");
    }
    assert_eq!(place.run(["stats", "--since", "@9999999999"]).code, Some(2));
    let an_hour_ago =
        format!("@{}", SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() - 3600);
    let said = place.run(["stats", "--since", &an_hour_ago]);
    assert!(said.code == Some(0) && said.out.contains("no attempt has ended since 20"), "{said:?}");
}

#[test]
fn a_zone_that_is_not_known_is_told_once() {
    let place = Place::new();
    place.add(["--", "true"]);
    let said = place.run_in("Nonsense", &["show", "1"]);
    assert_eq!(
        said.err.matches("TZ=Nonsense: there is no such time zone; times are in UTC").count(),
        1,
        "{said:?}"
    );
    for words in [&["show", "1", "--utc"][..], &["show", "1", "--json"]] {
        assert_eq!(place.run_in("Nonsense", words).err, "", "it asks for no zone");
    }
    assert_eq!(place.run_in("Europe/Berlin", &["show", "1"]).err, "");
}
