//! A server that speaks as the head of a Ray cluster does, and does what a real one does rarely.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};

/// How a question is answered that is not answered as it should be.
#[derive(Debug, Clone)]
pub enum Fault {
    /// This status, and this text.
    Answer(u16, &'static str),
    /// The connection is cut before the question is acted upon.
    CutBefore,
    /// It is acted upon, and the connection cut.
    CutAfter,
    /// It is acted upon, and answered with this.
    After(u16, &'static str),
    /// No answer comes, for as long as the asker waits.
    Hang,
    /// The answer comes a byte at a time.
    Slow,
    /// The answer has no end.
    Endless,
}

pub struct Job {
    pub submission: Value,
    pub details: Value,
    pub log: String,
}

#[derive(Default)]
pub struct State {
    pub jobs: BTreeMap<String, Job>,
    /// How often each id has really begun.
    pub starts: BTreeMap<String, u32>,
    /// Names of folders that have come, and their bytes.
    pub packages: BTreeMap<String, Vec<u8>>,
    /// Faults of the next questions whose path contains the text.
    pub faults: Vec<(&'static str, Fault)>,
    /// Faults of all questions whose path contains the text.
    pub always: Vec<(&'static str, Fault)>,
    /// Who may ask; everybody if none.
    pub token: Option<String>,
    /// All questions: the method and the path.
    pub asked: Vec<String>,
    /// `stop` says that it is well and does nothing.
    pub ignores_stop: bool,
    /// Seconds that the head is up.
    pub up: u64,
    /// Whether jobs end as their command line says (`exit 3`, `sleep`), at once.
    pub runs: bool,
}

/// The server; it goes with the test.
pub struct Server {
    pub address: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State { up: 3600, ..State::default() }));
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = shared.clone();
                std::thread::spawn(move || serve(stream, &state));
            }
        });
        Server { address, state }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The next question about this is answered so.
    pub fn next(&self, path: &'static str, fault: Fault) {
        self.state().faults.push((path, fault));
    }

    pub fn the_job(&self) -> String {
        let state = self.state();
        assert_eq!(state.jobs.len(), 1);
        state.jobs.keys().next().unwrap().clone()
    }

    /// Sets what is told of a job.
    pub fn set(&self, job: &str, details: Value) {
        self.state().jobs.get_mut(job).unwrap().details = details;
    }

    pub fn succeed(&self, job: &str, log: &str) {
        self.set(job, json!({ "status": "SUCCEEDED", "error_type": null, "driver_exit_code": 0 }));
        self.state().jobs.get_mut(job).unwrap().log = log.to_owned();
    }

    /// The questions about this since the last time.
    pub fn asked(&self, path: &str) -> usize {
        self.state().asked.iter().filter(|asked| asked.contains(path)).count()
    }
}

struct Question {
    method: String,
    path: String,
    authorization: Option<String>,
    body: Vec<u8>,
}

fn read(stream: &mut BufReader<TcpStream>) -> Option<Question> {
    let mut line = String::new();
    stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let (mut length, mut authorization) = (0, None);
    loop {
        let mut header = String::new();
        stream.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().ok()?,
            "authorization" => authorization = Some(value.trim().to_owned()),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(Question { method, path, authorization, body })
}

fn serve(stream: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    while let Some(question) = read(&mut reader) {
        let fault = {
            let mut state = state.lock().unwrap();
            state.asked.push(format!("{} {}", question.method, question.path));
            let at = state
                .faults
                .iter()
                .position(|(path, _)| format!("{} {}", question.method, question.path).contains(path));
            match at {
                Some(at) => Some(state.faults.remove(at).1),
                None => {
                    let asked = format!("{} {} ", question.method, question.path); // a blank ends the path
                    let is_meant = |(path, _): &&(&str, Fault)| asked.contains(path);
                    state.always.iter().find(is_meant).map(|(_, fault)| fault.clone())
                }
            }
        };
        match fault {
            Some(Fault::Answer(status, text)) => say(&mut stream, status, text),
            Some(Fault::CutBefore) => return,
            Some(Fault::CutAfter) => {
                let _ = answer(&question, &mut state.lock().unwrap());
                return;
            }
            Some(Fault::After(status, text)) => {
                let _ = answer(&question, &mut state.lock().unwrap());
                say(&mut stream, status, text);
            }
            Some(Fault::Hang) => std::thread::sleep(Duration::from_secs(600)),
            Some(Fault::Slow) => {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
                while stream.write_all(b" ").is_ok() {
                    std::thread::sleep(Duration::from_millis(50));
                }
                return;
            }
            Some(Fault::Endless) => {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"logs\": \"");
                let piece = "an endless log\\n".repeat(4096);
                while stream.write_all(piece.as_bytes()).is_ok() {}
                return;
            }
            None => {
                let (status, text) = answer(&question, &mut state.lock().unwrap());
                say(&mut stream, status, &text);
            }
        }
    }
}

fn say(stream: &mut TcpStream, status: u16, text: &str) {
    let elsewhere = if (300..400).contains(&status) { "Location: http://127.0.0.1:9/\r\n" } else { "" };
    let date = "Mon, 30 Nov 2026 12:00:00 GMT";
    let length = text.len();
    let whole =
        format!("HTTP/1.1 {status} X\r\nDate: {date}\r\n{elsewhere}Content-Length: {length}\r\n\r\n{text}");
    let _ = stream.write_all(whole.as_bytes());
}

/// As Ray 2.60 answers.
fn answer(question: &Question, state: &mut State) -> (u16, String) {
    if let Some(token) = &state.token {
        match &question.authorization {
            None => return (401, "Unauthorized: Missing authentication token".to_owned()),
            Some(given) if *given != format!("Bearer {token}") => {
                return (403, "Forbidden: Invalid authentication token".to_owned());
            }
            Some(_) => {}
        }
    }
    let path = question.path.split('?').next().unwrap();
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let absent = |id: &str| (404, format!("Job {id} does not exist"));
    match (question.method.as_str(), parts.as_slice()) {
        ("GET", ["api", "v0", "nodes"]) => {
            let start = 1_796_040_000_000_u64 - state.up * 1000; // the date that is told with it
            let head = json!({ "is_head_node": true, "state": "ALIVE", "start_time_ms": start });
            (200, json!({ "result": true, "data": { "result": { "result": [head] } } }).to_string())
        }
        ("POST", ["api", "jobs"]) => {
            let Ok(submission) = serde_json::from_slice::<Value>(&question.body) else {
                return (400, "Traceback:\njson.decoder.JSONDecodeError: no".to_owned());
            };
            let id = submission["submission_id"].as_str().unwrap().to_owned();
            if submission["entrypoint"].as_str().is_none_or(str::is_empty) {
                return (
                    400,
                    "Traceback (most recent call last):\nTypeError: entrypoint must be a string\n\n"
                        .to_owned(),
                );
            }
            if state.jobs.contains_key(&id) {
                let text = "Traceback:\nRuntimeError: Request failed with status code 400: …\nValueError: Job with submission_id … already exists.\n.\n";
                return (500, text.to_owned());
            }
            *state.starts.entry(id.clone()).or_default() += 1;
            let entrypoint = submission["entrypoint"].as_str().unwrap();
            let details = match entrypoint {
                _ if !state.runs => json!({ "status": "PENDING" }),
                "exit 3" => {
                    json!({ "status": "FAILED", "error_type": "JOB_ENTRYPOINT_COMMAND_ERROR", "driver_exit_code": 3 })
                }
                "sleep" => json!({ "status": "RUNNING" }),
                _ => json!({ "status": "SUCCEEDED" }),
            };
            state.jobs.insert(id.clone(), Job { submission, details, log: String::new() });
            (200, json!({ "job_id": id, "submission_id": id }).to_string())
        }
        ("GET", ["api", "jobs"]) => {
            let told = |(id, job): (&String, &Job)| told(id, job);
            let mut jobs: Vec<Value> = state.jobs.iter().map(told).collect();
            jobs.push(
                json!({ "type": "DRIVER", "job_id": "02000000", "submission_id": null, "status": "RUNNING" }),
            );
            (200, Value::Array(jobs).to_string())
        }
        ("GET", ["api", "jobs", id]) => {
            state.jobs.get(*id).map_or_else(|| absent(id), |job| (200, told(id, job).to_string()))
        }
        ("GET", ["api", "jobs", id, "logs"]) => state
            .jobs
            .get(*id)
            .map_or_else(|| absent(id), |job| (200, json!({ "logs": job.log }).to_string())),
        ("GET", ["api", "v0", "logs", "file"]) => {
            let id =
                question.path.split("submission_id=").nth(1).and_then(|rest| rest.split('&').next()).unwrap();
            match state.jobs.get(id).filter(|_| question.path.contains("node_id=0a1b&")) {
                Some(job) => (200, job.log.clone()),
                None => (500, "no such log".to_owned()),
            }
        }
        ("POST", ["api", "jobs", id, "stop"]) => {
            let ignores = state.ignores_stop;
            let Some(job) = state.jobs.get_mut(*id) else { return absent(id) };
            let is_over = !matches!(job.details["status"].as_str(), Some("PENDING" | "RUNNING"));
            if !is_over && !ignores {
                job.details = json!({ "status": "STOPPED" });
            }
            (200, json!({ "stopped": !is_over }).to_string())
        }
        ("DELETE", ["api", "jobs", id]) => match state.jobs.remove(*id) {
            Some(_) => (200, json!({ "deleted": true }).to_string()),
            None => absent(id),
        },
        ("GET", ["api", "packages", "gcs", name]) => {
            let is_there = state.packages.contains_key(*name);
            if is_there { (200, String::new()) } else { (404, format!("Package {name} does not exist")) }
        }
        ("PUT", ["api", "packages", "gcs", name]) => {
            state.packages.insert((*name).to_owned(), question.body.clone());
            (200, String::new())
        }
        _ => (404, "404: Not Found".to_owned()),
    }
}

/// A job as the API tells of it.
fn told(id: &str, job: &Job) -> Value {
    let mut told = json!({ "type": "SUBMISSION", "job_id": null, "submission_id": id, "message": null, "runtime_env": {} });
    told["driver_node_id"] = json!("0a1b");
    told["entrypoint"] = job.submission["entrypoint"].clone();
    if let (Some(told), Some(details)) = (told.as_object_mut(), job.details.as_object()) {
        told.extend(details.clone());
    }
    told
}
