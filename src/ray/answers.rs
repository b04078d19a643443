//! The meaning of Ray's answers, as read in the source of Ray 2.60 (`dashboard/modules/job`).

use std::time::Duration;

use serde::Deserialize;

use crate::engine::{EngineError, JobEnd, JobFailure, JobStatus};
use crate::planted::planted;

/// How many bytes of a message of Ray are shown: the last ones.
const MESSAGE_BYTES: usize = 2000;

/// Margin that is taken off the uptime of the head: dates have whole seconds, the head knows jobs before its node is there, and the date may be by
/// the clock of a proxy.
const START_MARGIN: Duration = Duration::from_secs(60);

/// What Ray tells of a job.
#[derive(Deserialize)]
pub(super) struct Details {
    pub submission_id: Option<String>,
    pub entrypoint: Option<String>,
    status: String,
    message: Option<String>,
    error_type: Option<String>,
    driver_exit_code: Option<i64>,
    driver_node_id: Option<String>,
    end_time: Option<u64>,
}

impl Details {
    /// Whether it has ended at least `time` before this date, by the head's clock. True if one of them cannot be read.
    pub(super) fn has_ended_for(&self, time: Duration, date: &str) -> bool {
        let now = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date).ok();
        let now = now.and_then(|now| u64::try_from(now.as_millisecond()).ok());
        self.end_time.zip(now).is_none_or(|(end, now)| now.saturating_sub(end) >= time.as_millis() as u64)
    }

    /// The node on which it ran, if it can stand in an address as it is.
    pub(super) fn node(&self) -> Option<&str> {
        let node = self.driver_node_id.as_deref()?;
        node.bytes().all(|byte| byte.is_ascii_alphanumeric()).then_some(node)
    }

    pub(super) fn status(&self) -> JobStatus {
        let message = tame(self.message.as_deref().unwrap_or_default());
        match (self.status.as_str(), self.error_type.as_deref()) {
            ("PENDING", _) => JobStatus::Pending,
            ("RUNNING", _) => JobStatus::Running,
            ("STOPPED", _) => JobStatus::Ended(JobEnd::Cancelled),
            ("SUCCEEDED", _) => JobStatus::Ended(JobEnd::Succeeded),
            ("FAILED", Some(kind)) if is_of_the_job(kind, self.driver_exit_code) => {
                let error_type = match self.driver_exit_code {
                    Some(code) if code < 0 => format!("Signal.{}", -code),
                    code => format!("ExitCode.{}", code.unwrap_or(1)),
                };
                JobStatus::Ended(JobEnd::Failed(JobFailure::new(error_type, message)))
            }
            ("FAILED", kind) => {
                let kind = kind.unwrap_or("without an error type");
                JobStatus::Ended(JobEnd::Lost(format!("Ray says FAILED, {kind}: {message}")))
            }
            _ => JobStatus::Unknown,
        }
    }
}

/// Whether the command line has failed: it has an exit code then. After any other failure the work may have been done. (Ray says
/// `JOB_ENTRYPOINT_COMMAND_START_ERROR` without a code of whatever went wrong around the command line, also when it could not write down that the
/// command line had succeeded.)
fn is_of_the_job(kind: &str, code: Option<i64>) -> bool {
    (kind.starts_with("JOB_ENTRYPOINT_") && code.is_some())
        || planted("g19-an-error-of-ray-is-a-failure-of-the-job")
}

/// Whether this is the answer of Ray to the submit of a job under this id, and of nobody else.
pub(super) fn names_job(text: &str, job: &str) -> bool {
    #[derive(Deserialize)]
    struct Submitted {
        submission_id: String,
    }
    serde_json::from_str::<Submitted>(text).is_ok_and(|submitted| submitted.submission_id == job)
}

/// What has become of a start that was answered with something else than success, once it is known whether Ray has the job.
///
/// A second submit of an id is answered with 400, or with 500 and the 400 inside, so a look at the job decides.
pub(super) fn start_failed(status: u16, body: &str, is_there: bool) -> Result<(), EngineError> {
    let said = tame(last_line(body));
    match status {
        _ if is_there => Ok(()),
        413 => Err(EngineError::refused(format!("Ray refuses the job as too large: {said}"))),
        // these may come from a proxy before the head: try again
        408 | 425 | 429 => Err(EngineError::not_now(format!("Ray answers HTTP {status}: {said}"))),
        _ if body.contains("already exists") => {
            Err(EngineError::unreachable("Ray has had a job of this id, and does not know it now"))
        }
        400..=499 => Err(EngineError::refused(format!("Ray refuses the job: {said}"))),
        500 if body.contains("status code 400") => {
            Err(EngineError::refused(format!("Ray refuses the job: {said}")))
        }
        500 if body.contains("No available agent") => {
            Err(EngineError::not_now(format!("Ray cannot start the job: {said}")))
        }
        _ => Err(EngineError::unreachable(format!("it answers HTTP {status}: {said}"))),
    }
}

/// Whether this answer says that Ray does not know the job. (The 404 of a proxy, or of another service, says nothing.)
pub(super) fn says_absent(status: u16, body: &str) -> bool {
    status == 404 && body.trim_end().ends_with("does not exist")
}

/// How long the head has been up, by its own clock: when it says that its node has started, and the date of that answer.
pub(super) fn uptime(date: &str, nodes: &str) -> Option<Duration> {
    #[derive(Deserialize)]
    struct NodesAnswer {
        data: Data,
    }
    #[derive(Deserialize)]
    struct Data {
        result: Listing,
    }
    #[derive(Deserialize)]
    struct Listing {
        result: Vec<Node>,
    }
    #[derive(Deserialize)]
    struct Node {
        #[serde(default)]
        is_head_node: bool,
        #[serde(default)]
        state: String,
        start_time_ms: Option<u64>,
    }
    let now = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date).ok()?;
    let nodes: NodesAnswer = serde_json::from_str(nodes).ok()?;
    let heads =
        nodes.data.result.result.into_iter().filter(|node| node.is_head_node && node.state == "ALIVE");
    let start = heads.map(|node| node.start_time_ms.filter(|at| *at > 0)).max()??;
    let now = u64::try_from(now.as_millisecond()).ok()?;
    Some(Duration::from_millis(now.checked_sub(start)?).saturating_sub(START_MARGIN))
}

/// Of a traceback the last line says what is wrong.
fn last_line(text: &str) -> &str {
    text.lines().map(str::trim).rfind(|line| line.chars().any(char::is_alphanumeric)).unwrap_or_default()
}

/// The end of a message, which says more than its beginning.
fn tame(text: &str) -> String {
    let text = text.trim();
    let from = text.len().saturating_sub(MESSAGE_BYTES);
    let from = (from..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    if from == 0 { text.to_owned() } else { format!("… {}", &text[from..]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn status(details: &str) -> JobStatus {
        serde_json::from_str::<Details>(details).unwrap().status()
    }

    #[test]
    fn g19_only_what_the_command_line_did_is_a_failure() {
        let failed = |error_type: &str, code: &str| {
            status(&format!(
                r#"{{"status":"FAILED","message":"why","error_type":{error_type},"driver_exit_code":{code}}}"#
            ))
        };
        let failure = |error_type| JobStatus::Ended(JobEnd::Failed(JobFailure::new(error_type, "why")));
        assert_eq!(failed("\"JOB_ENTRYPOINT_COMMAND_ERROR\"", "3"), failure("ExitCode.3"));
        assert_eq!(failed("\"JOB_ENTRYPOINT_COMMAND_ERROR\"", "-9"), failure("Signal.9"));
        let around = failed("\"JOB_ENTRYPOINT_COMMAND_START_ERROR\"", "null");
        assert!(matches!(around, JobStatus::Ended(JobEnd::Lost(_))), "it may have succeeded: {around:?}");
        for lost in [
            "RUNTIME_ENV_SETUP_FAILURE",
            "JOB_SUPERVISOR_ACTOR_START_TIMEOUT",
            "JOB_SUPERVISOR_ACTOR_START_FAILURE",
            "JOB_SUPERVISOR_ACTOR_UNSCHEDULABLE",
            "JOB_SUPERVISOR_ACTOR_UNKNOWN_FAILURE",
            "JOB_SUPERVISOR_ACTOR_DIED",
            "SOMETHING_NEW",
        ] {
            let told = failed(&format!("{lost:?}"), "1");
            assert!(matches!(&told, JobStatus::Ended(JobEnd::Lost(why)) if why.contains(lost)), "{told:?}");
        }
        assert!(matches!(failed("null", "1"), JobStatus::Ended(JobEnd::Lost(_))));
    }

    #[test]
    fn every_status_and_what_is_none() {
        assert_eq!(status(r#"{"status":"PENDING"}"#), JobStatus::Pending);
        assert_eq!(status(r#"{"status":"RUNNING","message":null}"#), JobStatus::Running);
        assert_eq!(status(r#"{"status":"STOPPED"}"#), JobStatus::Ended(JobEnd::Cancelled));
        assert_eq!(status(r#"{"status":"SUCCEEDED"}"#), JobStatus::Ended(JobEnd::Succeeded));
        assert_eq!(status(r#"{"status":"LATER"}"#), JobStatus::Unknown);
    }

    #[test]
    fn a_start_that_failed_is_judged_by_whether_the_job_is_there() {
        let twice =
            "RuntimeError: Request failed with status code 400: …\nValueError: Job … already exists\n.\n";
        assert!(start_failed(500, twice, true).is_ok());
        assert!(start_failed(400, twice, true).is_ok());
        let traceback = "Traceback:\n  File x\nTypeError: entrypoint must be a string\n\n";
        let refused = start_failed(400, traceback, false).unwrap_err();
        assert!(refused.is_refusal());
        assert_eq!(refused.message(), "Ray refuses the job: TypeError: entrypoint must be a string");
        let forgotten = start_failed(500, twice, false).unwrap_err();
        assert_eq!(
            forgotten,
            EngineError::unreachable("Ray has had a job of this id, and does not know it now")
        );
        assert_eq!(
            start_failed(500, "No available agent", false),
            Err(EngineError::not_now("Ray cannot start the job: No available agent"))
        );
        let later = start_failed(500, "Traceback", false); // its agent may come to it yet
        assert_eq!(later, Err(EngineError::unreachable("it answers HTTP 500: Traceback")));
        assert_eq!(
            start_failed(502, "bad", false),
            Err(EngineError::unreachable("it answers HTTP 502: bad"))
        );
        assert_eq!(start_failed(301, "", false), Err(EngineError::unreachable("it answers HTTP 301: ")));
    }

    #[test]
    fn only_ray_says_that_it_has_a_job() {
        assert!(names_job(r#"{"job_id":"1-2","submission_id":"1-2"}"#, "1-2"));
        for other in [r#"{"submission_id":"1-3"}"#, "{}", "<html>", ""] {
            assert!(!names_job(other, "1-2"), "{other}");
        }
    }

    #[test]
    fn only_ray_says_that_it_does_not_know_a_job() {
        assert!(says_absent(404, "Job 1-2 does not exist"));
        assert!(!says_absent(404, "<html>404 Not Found</html>"));
        assert!(!says_absent(404, ""));
        assert!(!says_absent(200, "Job 1-2 does not exist"));
    }

    #[test]
    fn how_long_the_head_is_up_is_by_its_own_clock() {
        let nodes = |head: &str| {
            format!(
                r#"{{"result":true,"data":{{"result":{{"result":[{{"is_head_node":false,"state":"ALIVE","start_time_ms":1}},{head}]}}}}}}"#
            )
        };
        let head = nodes(r#"{"is_head_node":true,"state":"ALIVE","start_time_ms":1796041976490}"#);
        let up = uptime("Mon, 30 Nov 2026 12:33:57 GMT", &head);
        assert_eq!(up, Some(Duration::from_millis(510)));
        assert_eq!(uptime("Mon, 30 Nov 2026 12:32:57 GMT", &head), Some(Duration::ZERO));
        assert_eq!(uptime("Mon, 30 Nov 2020 12:33:57 GMT", &head), None);
        assert_eq!(uptime("yesterday", &head), None);
        for other in [
            r#"{"is_head_node":true,"state":"DEAD","start_time_ms":1}"#,
            r#"{"is_head_node":true,"state":"ALIVE"}"#,
            "{}",
        ] {
            assert_eq!(uptime("Mon, 30 Nov 2026 12:33:57 GMT", &nodes(other)), None);
        }
        assert_eq!(uptime("Mon, 30 Nov 2026 12:33:57 GMT", "[]"), None);
    }

    #[test]
    fn a_long_message_keeps_its_end() {
        let text = format!("{}the end", "ü".repeat(5000));
        assert!(tame(&text).ends_with("the end") && tame(&text).len() < MESSAGE_BYTES + 10);
        assert_eq!(last_line("a\nb\n.\n"), "b");
        assert_eq!(last_line(""), "");
    }
}
