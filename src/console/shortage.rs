//! Errors that say only that the system is short of something: descriptors, memory, processes.

use std::error::Error;
use std::io;

/// Whether an error of the operating system is a shortage.
#[cfg(unix)]
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    use rustix::io::Errno;

    const SHORTAGES: [Errno; 4] = [Errno::AGAIN, Errno::MFILE, Errno::NFILE, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|errno| SHORTAGES.contains(&errno))
}

#[cfg(not(unix))]
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    const TOO_MANY_OPEN_FILES: i32 = 4;
    error.kind() == io::ErrorKind::OutOfMemory || error.raw_os_error() == Some(TOO_MANY_OPEN_FILES)
}

/// Whether a shortage is the source of an error.
pub(crate) fn comes_of_shortage(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |&error| error.source())
        .any(|error| error.downcast_ref().is_some_and(is_shortage))
}
