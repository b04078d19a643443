//! Tasks whose work an engine does outside: which engines a queue has, and who follows their jobs.

mod attached_engine;
mod ends;
mod engines;
mod poller;
mod to_forget;
mod watched;

pub(crate) use engines::Engines;
pub(crate) use poller::Poller;
