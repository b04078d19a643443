//! Keeps the end of a log of any length. Ray returns a log whole, as one JSON object.

use std::io::{self, Read};

/// How many of the last bytes of a log are kept, with the escapes of JSON. With these, a result of a mebibyte is at most six times as long.
const KEPT: usize = 8 << 20;

/// The longest log that can be followed while it grows, in bytes: it is held in memory whole.
const SHOWN: u64 = 64 << 20;

/// How many bytes of a log are read. The rest of a longer one is not looked at.
const READ: u64 = 256 << 20;

/// Reads `{"logs": "…"}`, and keeps the end of the text; none if it is longer than what is read.
///
/// # Errors
/// What the connection says; a text that is no such object.
pub(super) fn end_of_log(body: impl Read) -> io::Result<Option<String>> {
    end_within(body, READ, KEPT)
}

fn end_within(body: impl Read, read: u64, kept: usize) -> io::Result<Option<String>> {
    let mut body = body.take(read);
    let (end, is_cut) = end_of(&mut body, kept)?;
    if body.limit() == 0 {
        return Ok(None);
    }
    if !is_cut {
        return whole(&end).map(Some);
    }
    let text = std::str::from_utf8(from_a_line(&end)).map_err(|_| no_log())?;
    let text = text.trim_end().strip_suffix('}').map_or(text, str::trim_end);
    let text = text.strip_suffix('"').unwrap_or(text);
    serde_json::from_str(&format!("\"{text}\"")).map(Some).map_err(|_| no_log())
}

/// The last bytes of a text, as they are; what is no UTF-8 is replaced.
///
/// # Errors
/// What the connection says.
pub(super) fn last_bytes(body: impl Read) -> io::Result<String> {
    let (end, _) = end_of(&mut body.take(READ), KEPT)?;
    Ok(String::from_utf8_lossy(&end).into_owned())
}

/// The last bytes, at least so many if there are, and whether others came before them.
fn end_of(body: &mut impl Read, kept: usize) -> io::Result<(Vec<u8>, bool)> {
    let (mut end, mut piece, mut is_cut) = (Vec::new(), vec![0; 64 * 1024], false);
    loop {
        match body.read(&mut piece) {
            Ok(0) => return Ok((end, is_cut)),
            Ok(n) => end.extend_from_slice(&piece[..n]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
        if end.len() > 2 * kept {
            end.drain(..end.len() - kept);
            is_cut = true;
        }
    }
}

/// Reads `{"logs": "…"}`, and gives the text from this byte on.
///
/// # Errors
/// What the connection says; a text that is no such object; one that is too long.
pub(super) fn log_from(body: impl Read, from: u64) -> io::Result<Vec<u8>> {
    let (mut body, mut json) = (body.take(SHOWN), Vec::new());
    body.read_to_end(&mut json)?;
    if body.limit() == 0 {
        return Err(io::Error::other(
            "its log is too long to be followed; its end is kept when it has ended",
        ));
    }
    let log = whole(&json)?.into_bytes();
    Ok(usize::try_from(from).ok().and_then(|from| log.get(from..)).unwrap_or_default().to_vec())
}

fn whole(json: &[u8]) -> io::Result<String> {
    #[derive(serde::Deserialize)]
    struct Whole {
        logs: String,
    }
    serde_json::from_slice::<Whole>(json).map(|whole| whole.logs).map_err(|_| no_log())
}

/// The last line that the job has written, if it is JSON.
///
/// Ray itself writes to the log which command it runs, and its line may come behind those of a quick job: it is buffered while the job writes already.
pub(super) fn result(log: &str, job: &str, entrypoint: &str) -> Option<String> {
    let of_ray = format!("Running entrypoint for job {job}: {entrypoint}\n");
    let log = log.replacen(&of_ray, "", 1);
    let last = log.trim_end().lines().next_back()?.trim();
    serde_json::from_str::<serde::de::IgnoredAny>(last).is_ok().then(|| last.to_owned())
}

/// What follows the first line end: an `n` behind an odd number of backslashes.
fn from_a_line(json: &[u8]) -> &[u8] {
    let mut backslashes = 0;
    for (at, byte) in json.iter().enumerate() {
        match byte {
            b'\\' => backslashes += 1,
            // At the very front some backslashes may be cut away.
            b'n' if backslashes % 2 == 1 && at > backslashes => return &json[at + 1..],
            _ => backslashes = 0,
        }
    }
    json
}

fn no_log() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the log that it has sent is none")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> String {
        serde_json::json!({ "logs": text }).to_string()
    }

    #[test]
    fn a_short_log_is_whole() {
        let text = "one\n\"two\" \\ ü\u{1}\n";
        assert_eq!(end_within(json(text).as_bytes(), 1000, 100).unwrap().unwrap(), text);
        assert_eq!(end_within(json("").as_bytes(), 1000, 100).unwrap().unwrap(), "");
    }

    #[test]
    fn of_a_long_log_the_last_lines_are_kept() {
        for tail in ["", "\n", "\\", "\\n", "\"", "}", "\"}", "ü"] {
            let text = (0..1000).fold(String::new(), |text, n| text + &format!("C:\\new {n} ü\n")) + tail;
            let end = end_within(json(&text).as_bytes(), 1 << 20, 100).unwrap().unwrap();
            assert!(text.ends_with(&end) && end.len() > 50, "{tail:?}: {end:?}");
            assert!(end.starts_with("C:\\new "), "{tail:?}: {end:?}");
        }
    }

    #[test]
    fn the_last_line_of_the_job_is_its_result_wherever_ray_says_what_it_runs() {
        for entrypoint in ["echo 7", "cat <<E\n{}\nE\n8"] {
            let of_ray = format!("Running entrypoint for job a-1: {entrypoint}\n");
            let given = |log: String| result(&log, "a-1", entrypoint);
            assert_eq!(given(format!("{of_ray}6\n7\n")).as_deref(), Some("7"));
            assert_eq!(given(format!("INFO: set up\n7\n{of_ray}")).as_deref(), Some("7"));
            assert_eq!(given(format!("6\n{of_ray}[7] \n\n")).as_deref(), Some("[7]"));
            assert_eq!(given(of_ray.clone()), None);
            assert_eq!(given(format!("{of_ray}7\nno JSON\n")), None);
            assert_eq!(given(String::new()), None);
        }
    }

    #[test]
    fn the_last_bytes_are_text_whatever_they_were() {
        assert_eq!(last_bytes(&b"a\n\xff\n42\n"[..]).unwrap(), "a\n\u{fffd}\n42\n");
    }

    #[test]
    fn a_log_that_grows_is_told_from_where_it_was() {
        assert_eq!(log_from(json("one\nü").as_bytes(), 0).unwrap(), "one\nü".as_bytes());
        assert_eq!(log_from(json("one\nü").as_bytes(), 4).unwrap(), "ü".as_bytes());
        assert_eq!(log_from(json("one").as_bytes(), 9).unwrap(), b"");
        assert!(log_from(&b"<html>"[..], 0).is_err());
    }

    #[test]
    fn an_endless_log_ends() {
        let endless = std::io::repeat(b'a');
        assert_eq!(end_within(b"{\"logs\": \"".chain(endless), 10_000, 100).unwrap(), None);
    }

    #[test]
    fn what_is_no_log_is_said_to_be_none() {
        for text in ["", "<html>", "[]", "{}", "{\"logs\": 1}", "{\"logs\": \"cut"] {
            assert!(end_within(text.as_bytes(), 1000, 100).is_err(), "{text}");
        }
    }
}
