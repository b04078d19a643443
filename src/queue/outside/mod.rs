//! Tasks whose work an engine does outside: which engines a queue has, and who follows their jobs.

mod attached;
mod ends;
mod engines;
mod poller;

pub(crate) use engines::Engines;
pub(crate) use poller::Poller;
