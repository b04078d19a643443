//! Calls of the platform's VFS: names, paths, the content of a file. It knows nothing of our VFS.

use std::ffi::{CString, c_int};
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::OnceLock;

use rusqlite::ffi::{self, sqlite3_file, sqlite3_int64, sqlite3_vfs};

use crate::plan::Role;

struct Real(*mut sqlite3_vfs);

// SAFETY: SQLite hands the VFS to every thread itself; it is never written after its registration.
unsafe impl Send for Real {}
// SAFETY: as above.
unsafe impl Sync for Real {}

/// The default VFS at the time of the first call.
pub(crate) fn real_vfs() -> Result<*mut sqlite3_vfs, c_int> {
    static REAL: OnceLock<Option<Real>> = OnceLock::new();
    let real = REAL.get_or_init(|| {
        // SAFETY: a null name asks for the default VFS; the call initialises SQLite if need be.
        let real = unsafe { ffi::sqlite3_vfs_find(ptr::null()) };
        (!real.is_null()).then_some(Real(real))
    });
    real.as_ref().map(|real| real.0).ok_or(ffi::SQLITE_ERROR)
}

/// The path of a name.
pub(crate) fn path(name: &[u8]) -> PathBuf {
    #[cfg(unix)]
    return std::path::PathBuf::from(std::os::unix::ffi::OsStrExt::from_bytes(name) as &std::ffi::OsStr);
    #[cfg(not(unix))]
    return PathBuf::from(String::from_utf8_lossy(name).into_owned());
}

/// The name under which SQLite opens a path.
pub(crate) fn full_name(path: &Path) -> Result<Vec<u8>, c_int> {
    let real = real_vfs()?;
    let path = CString::new(path.as_os_str().as_encoded_bytes()).map_err(|_| ffi::SQLITE_CANTOPEN)?;
    // SAFETY: `real` is a registered VFS.
    let (full_pathname, size) = unsafe { ((*real).xFullPathname, (*real).mxPathname + 1) };
    let mut out = vec![0_u8; size as usize];
    let Some(full_pathname) = full_pathname else { return Err(ffi::SQLITE_ERROR) };
    // SAFETY: the path ends with a NUL, and `out` has the bytes that its length promises.
    match unsafe { full_pathname(real, path.as_ptr(), size, out.as_mut_ptr().cast()) } {
        ffi::SQLITE_OK | ffi::SQLITE_OK_SYMLINK => {}
        code => return Err(code),
    }
    out.truncate(out.iter().position(|byte| *byte == 0).unwrap_or(out.len()));
    Ok(out)
}

/// The content of a file, read through the real VFS, which does not close descriptors whose close
/// would drop locks.
pub(crate) fn read_file(name: &[u8], role: Role) -> Result<Vec<u8>, c_int> {
    let real = real_vfs()?;
    let kind = match role {
        Role::Database => ffi::SQLITE_OPEN_MAIN_DB,
        Role::Wal => ffi::SQLITE_OPEN_WAL,
        Role::Journal | Role::Shm => ffi::SQLITE_OPEN_MAIN_JOURNAL,
    };
    // SQLite's names have four zero bytes before them, and an empty list of URI parameters after
    // them.
    let name = [&[0; 4], name, &[0; 4]].concat();
    // SAFETY: `real` is a registered VFS.
    let (x_open, size) = unsafe { ((*real).xOpen, (*real).szOsFile as usize) };
    let Some(x_open) = x_open else { return Err(ffi::SQLITE_ERROR) };
    let mut memory = vec![0_u64; size.div_ceil(8)];
    let file = RealFile(memory.as_mut_ptr().cast());
    let mut flags = 0;
    // SAFETY: the name ends with NULs and, like the memory, which has the size and alignment asked for, outlives the file.
    let opened = unsafe {
        x_open(real, name[4..].as_ptr().cast(), file.0, kind | ffi::SQLITE_OPEN_READONLY, &raw mut flags)
    };
    // SAFETY: the file has been through `xOpen`; it is closed once, and not used after that.
    unsafe {
        let read = if opened == ffi::SQLITE_OK { file.read_all() } else { Err(opened) };
        file.close();
        read
    }
}

/// Bytes of one read: SQLite's lengths are C ints.
const READ_AT_ONCE: usize = 1 << 20;

/// A file of the real VFS.
#[derive(Clone, Copy)]
pub(crate) struct RealFile(pub *mut sqlite3_file);

/// Calls a method of the real file; an error if its VFS does not have the method.
macro_rules! call {
    ($file:expr, $method:ident $(, $arg:expr)*) => {
        match (*(*$file.0).pMethods).$method {
            Some(method) => method($file.0 $(, $arg)*),
            None => ffi::SQLITE_IOERR,
        }
    };
}

pub(crate) use call;

impl RealFile {
    /// # Safety
    /// The file must be open.
    unsafe fn read_all(self) -> Result<Vec<u8>, c_int> {
        let mut size: sqlite3_int64 = 0;
        // SAFETY: the file is open.
        match unsafe { call!(self, xFileSize, &raw mut size) } {
            ffi::SQLITE_OK => {}
            code => return Err(code),
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
        for (n, piece) in bytes.chunks_mut(READ_AT_ONCE).enumerate() {
            let (length, offset) = (piece.len() as c_int, (n * READ_AT_ONCE) as sqlite3_int64);
            // SAFETY: the file is open, and the piece has room for what is read.
            match unsafe { call!(self, xRead, piece.as_mut_ptr().cast(), length, offset) } {
                ffi::SQLITE_OK | ffi::SQLITE_IOERR_SHORT_READ => {}
                code => return Err(code),
            }
        }
        Ok(bytes)
    }

    /// Closes the file, if `xOpen` left it to be closed.
    ///
    /// # Safety
    /// `xOpen` must have returned, and the file must not be used again.
    pub(crate) unsafe fn close(self) -> c_int {
        // SAFETY: `xOpen` sets the methods, to null if there is nothing to close.
        unsafe { if (*self.0).pMethods.is_null() { ffi::SQLITE_OK } else { call!(self, xClose) } }
    }
}
