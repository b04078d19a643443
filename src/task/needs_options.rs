//! The options for conditions and free disk.

use super::options::Options;

impl Options {
    /// Starts only while this condition is met: 1-200 bytes, no control characters. May be called
    /// for several; defaults to none. If the options of a call name conditions, these replace those
    /// of the type.
    ///
    /// Programs set conditions with [`set_condition`](crate::Queue::set_condition); an unknown
    /// condition is not met. A task that waits for a condition holds no worker, and nothing polls.
    /// A file can have 62 names of conditions.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Hold, Options, Queue, State, testing::{ManualClock, SteppedQueue}};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Upload;
    /// # impl perdura::Task for Upload { const NAME: &'static str = "upload"; type Output = (); }
    /// # let upload = |_: Upload, _: &Context| Ok::<(), Failure>(());
    /// # let tests = SteppedQueue::open(Queue::builder().handle(upload), &ManualClock::new())?;
    /// # let queue = tests.queue();
    /// let id = queue.enqueue_with(&Upload, Options::new().needs("online"))?.id();
    /// # tests.run_until_idle()?;
    /// assert_eq!(queue.get(id)?.hold, Some(Hold::Condition));
    /// queue.set_condition("online", true)?; // when the system says so
    /// # tests.run_until_idle()?;
    /// assert_eq!(queue.get(id)?.state, State::Succeeded);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn needs(mut self, condition: impl Into<String>) -> Options {
        self.needs.add(condition.into(), false);
        self
    }

    /// Like [`needs`](Options::needs), and the task needs the condition while it runs, too: ten
    /// seconds after it is no longer met, the handler is asked to stop
    /// ([`ensure_active`](crate::Context::ensure_active),
    /// [`StopReason::Condition`](crate::StopReason::Condition)). The attempt does not count then,
    /// and the task waits for the condition again.
    ///
    /// ```
    /// # use perdura::Options;
    /// let options = Options::new().needs_throughout("on_mains"); // a transcode that is not for the battery
    /// # let queue = perdura::Queue::builder().open_temporary()?;
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Transcode;
    /// # impl perdura::Task for Transcode { const NAME: &'static str = "transcode"; type Output = (); }
    /// let task = queue.get(queue.enqueue_with(&Transcode, options)?.id())?;
    /// assert_eq!(task.needs.unwrap().throughout, ["on_mains"]);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn needs_throughout(mut self, condition: impl Into<String>) -> Options {
        self.needs.add(condition.into(), true);
        self
    }

    /// Starts only while this many bytes are free on the file's disk, for the user who runs the
    /// program. Defaults to 0: any. Range up to 2⁶³ − 1.
    ///
    /// Free disk is measured when the task could start, and every five seconds while tasks wait for
    /// it.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Hold, Options, Queue, State, testing::{ManualClock, SteppedQueue}};
    /// # use std::time::Duration;
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Download;
    /// # impl perdura::Task for Download { const NAME: &'static str = "download"; type Output = (); }
    /// # let download = |_: Download, _: &Context| Ok::<(), Failure>(());
    /// # let mut tests = SteppedQueue::open(Queue::builder().handle(download), &ManualClock::new())?;
    /// tests.set_free_disk(1 << 30);
    /// let id = tests.queue().enqueue_with(&Download, Options::new().needs_free_disk(5 << 30))?.id();
    /// tests.run_until_idle()?;
    /// assert_eq!(tests.queue().get(id)?.hold, Some(Hold::Condition));
    /// tests.set_free_disk(6 << 30);
    /// tests.advance(Duration::from_secs(5))?;
    /// tests.run_until_idle()?;
    /// assert_eq!(tests.queue().get(id)?.state, State::Succeeded);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn needs_free_disk(mut self, bytes: u64) -> Options {
        self.needs.free_bytes = bytes;
        self
    }
}
