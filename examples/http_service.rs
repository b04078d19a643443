//! An HTTP service without an async runtime: `POST /jobs` answers 202 when the job is on the disk, `GET /jobs/ID` with its state and result.
//!
//! `cargo run --example http_service`

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use perdura::{Context, Error, ErrorKind, Queue, Task, TaskId};
use serde_json::{Value, json};

#[derive(serde::Serialize, serde::Deserialize)]
struct Count(String);

impl Task for Count {
    const NAME: &'static str = "count";
    type Output = usize;
}

fn answer(queue: &Queue, request: &str, body: String) -> Result<(&'static str, Value), Error> {
    if request.starts_with("POST /jobs ") {
        return Ok(("202 Accepted", json!({ "id": queue.enqueue(&Count(body))?.id() })));
    }
    let id = request.strip_prefix("GET /jobs/").and_then(|rest| rest.split(' ').next()).unwrap_or_default();
    let task = queue.get(id.parse::<TaskId>()?)?;
    Ok(("200 OK", json!({ "state": task.state, "words": queue.result::<Count>(task.task_id)? })))
}

fn serve(stream: &TcpStream, queue: &Queue) -> io::Result<()> {
    let (mut request, mut head) = (BufReader::new(stream.take(1 << 20)), String::new());
    while request.read_line(&mut head)? > 2 {} // an empty line ends the head
    let length = |line: &str| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok();
    let body = io::read_to_string(request.take(head.lines().find_map(length).unwrap_or(0)))?;
    let (status, answer) = answer(queue, &head, body).unwrap_or_else(|e| match e.kind() {
        ErrorKind::NotFound | ErrorKind::InvalidInput => ("404 Not Found", json!({ "error": e.to_string() })),
        ErrorKind::TaskFailed => ("200 OK", json!({ "error": e.to_string() })), // the job's own error
        _ => ("503 Service Unavailable", json!({ "error": e.to_string() })), // a full disk: no job was made
    });
    write!(&*stream, "HTTP/1.1 {status}\r\nConnection: close\r\n\r\n{answer}\r\n")
}

fn ask(server: SocketAddr, request: &str, body: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect(server)?;
    write!(stream, "{request} HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
    let answer = io::read_to_string(stream)?;
    println!("{request}: {}", answer.replace("\r\nConnection: close\r\n\r\n", " ").trim_end());
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count = |Count(text): Count, _: &Context| Ok(text.split_whitespace().count());
    let queue = Queue::builder().handle(count).open_temporary()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let (address, server) = (listener.local_addr()?, queue.clone());
    std::thread::spawn(move || listener.incoming().flatten().for_each(|s| drop(serve(&s, &server))));
    ask(address, "POST /jobs", "to be or not to be")?;
    queue.drain()?; // your clients ask again, until the state is SUCCEEDED
    ask(address, "GET /jobs/1", "")?;
    Ok(ask(address, "GET /jobs/2", "")?)
}
