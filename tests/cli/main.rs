//! The command `perdura`, as one runs it: the real program on real files.

#[cfg(feature = "report")]
mod report;
#[cfg(feature = "report")]
mod report_files;
