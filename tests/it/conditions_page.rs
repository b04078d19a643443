//! What docs/conditions.md says of an upload, of a handler that finds out by itself, and of work on the mains, on a clock of its own.

use perdura::testing::{ManualClock, SteppedQueue};
use perdura::{Context, Error, Failure, Hold, Options, Queue, State, Task};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Upload {
    folder: String,
}

impl Task for Upload {
    const NAME: &'static str = "upload";
    type Output = ();
    fn options(&self) -> Options {
        Options::new().needs("online").needs_free_disk(50 << 20) // 50 MiB for the archive that it packs
    }
}

#[derive(Serialize, Deserialize)]
struct LookForMail {
    host: String,
}

impl Task for LookForMail {
    const NAME: &'static str = "look for mail";
    type Output = usize;
}

#[derive(Serialize, Deserialize)]
struct Transcode {
    frames: u32,
}

impl Task for Transcode {
    const NAME: &'static str = "transcode";
    type Output = u32;
}

fn fetch(host: &str) -> std::io::Result<usize> {
    if host == "nowhere" { Err(std::io::ErrorKind::NetworkUnreachable.into()) } else { Ok(3) }
}

fn look_for_mail(task: LookForMail, _: &Context) -> Result<usize, Failure> {
    match fetch(&task.host) {
        Err(e) if e.kind() == std::io::ErrorKind::NetworkUnreachable => Err(Failure::until("online")),
        fetched => Ok(fetched?), // another error is retried with backoff
    }
}

fn transcode(task: Transcode, cx: &Context) -> Result<u32, Failure> {
    let first = cx.checkpoint::<u32>()?.unwrap_or(0);
    for frame in first..task.frames {
        cx.ensure_active()?; // on battery for ten seconds: handed back
        cx.save_checkpoint(&(frame + 1))?;
    }
    Ok(task.frames)
}

#[test]
fn an_upload_waits_for_the_network_and_a_handler_that_finds_out_does() -> Result<(), Error> {
    let upload = |_: Upload, _: &Context| Ok::<(), Failure>(());
    let builder = Queue::builder().handle(upload).handle(look_for_mail);
    let tests = SteppedQueue::open(builder, &ManualClock::new())?;
    let queue = tests.queue().clone();
    tests.set_free_disk(1 << 30);
    queue.set_condition("online", false)?; // whenever the system says so
    let id = queue.enqueue(&Upload { folder: "photos".into() })?.id();
    let mail = queue.enqueue(&LookForMail { host: "nowhere".into() })?.id();
    tests.run_until_idle()?;
    for id in [id, mail] {
        assert_eq!((queue.get(id)?.hold, queue.get(id)?.attempt_number), (Some(Hold::Condition), 0));
    }
    queue.set_condition("online", true)?;
    tests.run_until_idle()?;
    assert_eq!(queue.get(id)?.state, State::Succeeded);
    let mail = queue.get(mail)?; // its host is still nowhere, and that is no matter of the network
    assert_eq!((mail.hold, mail.error_type.as_deref()), (Some(Hold::Time), Some("Condition")));
    Ok(())
}

#[test]
fn a_transcode_needs_the_mains() -> Result<(), Error> {
    let tests = SteppedQueue::open(Queue::builder().handle(transcode), &ManualClock::new())?;
    let queue = tests.queue();
    let options = Options::new().needs_throughout("on_mains");
    let id = queue.enqueue_with(&Transcode { frames: 3 }, options)?.id();
    tests.run_until_idle()?;
    assert_eq!(queue.get(id)?.hold, Some(Hold::Condition));
    queue.set_condition("on_mains", true)?;
    tests.run_until_idle()?;
    assert_eq!(queue.result::<Transcode>(id)?, Some(3));
    Ok(())
}
