//! Tasks whose work an engine does outside: which engines a queue has, and who follows their jobs.

mod attached;
mod ends;
mod engines;
mod forgotten;
mod poller;
mod watched;

pub(crate) use engines::Engines;
pub(crate) use poller::Poller;
