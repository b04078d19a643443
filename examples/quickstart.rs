//! A whole program: a task fails, is tried again, and succeeds. `cargo run --example quickstart`

use perdura::{Context, Failure, Options, Queue, Task};

#[derive(serde::Serialize, serde::Deserialize)]
struct Mail {
    to: String,
}

impl Task for Mail {
    const NAME: &'static str = "mail";
    type Output = String;
}

fn send(mail: Mail, cx: &Context) -> Result<String, Failure> {
    println!("attempt {} of {}", cx.attempt_number(), cx.max_attempts());
    match cx.attempt_number() {
        1 => Err(Failure::named("smtp.busy", "the server is busy")), // tried again after the backoff
        _ => Ok(format!("sent to {}", mail.to)),
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let queue = Queue::builder().handle(send).open_temporary()?; // or .open("tasks.db")
    let soon = Options::new().backoff(std::time::Duration::from_millis(200)); // else a minute
    let id = queue.enqueue_with(&Mail { to: "ada@example.org".into() }, soon)?.id();
    println!("{}", queue.wait_result::<Mail>(id, std::time::Duration::from_secs(10))?);
    Ok(())
}
