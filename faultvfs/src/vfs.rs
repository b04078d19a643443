//! The VFS: turns SQLite's C calls into calls of safe functions. It knows nothing of faults.
//!
//! A file of this VFS is a [`File`] with the real VFS's file behind it, in the memory that SQLite
//! provides (`szOsFile` is the sum of both). SQLite does not zero or move that memory; `x_open`
//! makes the [`File`] and `x_close` drops it.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;
use std::sync::OnceLock;

use rusqlite::ffi::{self, sqlite3_file, sqlite3_int64, sqlite3_io_methods, sqlite3_vfs};

use crate::VFS;
use crate::disk::{DiskFile, find, waits_for_nobody, waits_for_somebody};
use crate::real::{RealFile, call, real_vfs};

/// Our header in front of the real file.
#[repr(C)]
struct File {
    /// SQLite reads the method table here.
    base: sqlite3_file,
    /// Which file of which disk it is; none if it is not attached.
    disk: Option<DiskFile>,
}

/// SQLite aligns files to 8 bytes.
const HEADER: usize = size_of::<File>().next_multiple_of(8);
const _: () = assert!(align_of::<File>() <= 8);

// ---- Registration ----

/// Registers the VFS, once. It wraps the default one at that time.
pub(crate) fn register() -> Result<(), c_int> {
    static REGISTERED: OnceLock<Result<(), c_int>> = OnceLock::new();
    *REGISTERED.get_or_init(|| {
        let real = real_vfs()?;
        let name = CString::new(VFS).expect("the name is a constant without NUL").into_raw();
        // SAFETY: a registered VFS is valid for reads.
        let ours = unsafe { wrapper(&*real, name) };
        // SAFETY: the VFS and its name are leaked, so they live as long as SQLite may use them.
        match unsafe { ffi::sqlite3_vfs_register(Box::into_raw(Box::new(ours)), 0) } {
            ffi::SQLITE_OK => Ok(()),
            code => Err(code),
        }
    })
}

fn wrapper(real: &sqlite3_vfs, name: *const c_char) -> sqlite3_vfs {
    sqlite3_vfs {
        iVersion: real.iVersion.min(3),
        szOsFile: real.szOsFile + HEADER as c_int,
        mxPathname: real.mxPathname,
        pNext: ptr::null_mut(),
        zName: name,
        pAppData: ptr::from_ref(real).cast_mut().cast(),
        xOpen: Some(x_open),
        xDelete: Some(x_delete),
        xAccess: Some(x_access),
        xFullPathname: Some(x_full_pathname),
        xDlOpen: real.xDlOpen.map(|_| x_dl_open as _),
        xDlError: real.xDlError.map(|_| x_dl_error as _),
        xDlSym: real.xDlSym.map(|_| x_dl_sym as _),
        xDlClose: real.xDlClose.map(|_| x_dl_close as _),
        xRandomness: Some(x_randomness),
        xSleep: Some(x_sleep),
        xCurrentTime: Some(x_current_time),
        xGetLastError: real.xGetLastError.map(|_| x_get_last_error as _),
        xCurrentTimeInt64: real.xCurrentTimeInt64.map(|_| x_current_time_int64 as _),
        // System calls can be replaced in the real VFS, under its own name.
        xSetSystemCall: None,
        xGetSystemCall: None,
        xNextSystemCall: None,
    }
}

// ---- Methods of the VFS ----

/// # Safety
/// `vfs` must be ours.
unsafe fn real_of(vfs: *mut sqlite3_vfs) -> *mut sqlite3_vfs {
    // SAFETY: `wrapper` put the real VFS there.
    unsafe { (*vfs).pAppData.cast() }
}

/// Calls a method of the real VFS; `$otherwise` if it does not have the method.
macro_rules! pass {
    ($vfs:expr, $method:ident ($($arg:expr),*) else $otherwise:expr) => {{
        // SAFETY: `vfs` is ours, and its arguments are passed on unchanged.
        unsafe {
            let real = real_of($vfs);
            match (*real).$method {
                Some(method) => method(real, $($arg),*),
                None => $otherwise,
            }
        }
    }};
}

unsafe extern "C" fn x_open(
    vfs: *mut sqlite3_vfs,
    name: *const c_char,
    file: *mut sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: SQLite gives memory of `szOsFile` bytes: room for our header and the real file behind it; a name is null or ends with
    // a NUL. No methods means for SQLite that there is nothing to close.
    let (real, disk) = unsafe {
        (*file).pMethods = ptr::null();
        let disk = if name.is_null() { None } else { find(CStr::from_ptr(name).to_bytes()) };
        (behind(file), disk)
    };
    // SAFETY: the real file's memory is ours until it is opened.
    unsafe { (*real.0).pMethods = ptr::null() };
    let pass = || pass!(vfs, xOpen(name, real.0, flags, out_flags) else ffi::SQLITE_CANTOPEN);
    let code = match &disk {
        None => pass(),
        Some((disk, role)) => disk.open(*role, flags & ffi::SQLITE_OPEN_CREATE != 0, pass),
    };
    // SAFETY: the real file has been through `xOpen`, or has no methods yet. The header is made once, here.
    unsafe {
        if code != ffi::SQLITE_OK {
            real.close();
            return code;
        }
        let version = (*(*real.0).pMethods).iVersion;
        let methods: &'static sqlite3_io_methods = &METHODS[version.clamp(1, 3) as usize - 1];
        ptr::write(file.cast::<File>(), File { base: sqlite3_file { pMethods: methods }, disk });
    }
    code
}

unsafe extern "C" fn x_delete(vfs: *mut sqlite3_vfs, name: *const c_char, sync: c_int) -> c_int {
    let pass = || pass!(vfs, xDelete(name, sync) else ffi::SQLITE_IOERR_DELETE);
    // SAFETY: SQLite's names end with a NUL.
    match find(unsafe { CStr::from_ptr(name) }.to_bytes()) {
        None => pass(),
        Some((disk, role)) => disk.delete(role, sync & 1 != 0, pass),
    }
}

unsafe extern "C" fn x_access(
    vfs: *mut sqlite3_vfs,
    name: *const c_char,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    pass!(vfs, xAccess(name, flags, out) else ffi::SQLITE_IOERR_ACCESS)
}

unsafe extern "C" fn x_full_pathname(
    vfs: *mut sqlite3_vfs,
    name: *const c_char,
    size: c_int,
    out: *mut c_char,
) -> c_int {
    pass!(vfs, xFullPathname(name, size, out) else ffi::SQLITE_CANTOPEN)
}

unsafe extern "C" fn x_dl_open(vfs: *mut sqlite3_vfs, name: *const c_char) -> *mut c_void {
    pass!(vfs, xDlOpen(name) else ptr::null_mut())
}

unsafe extern "C" fn x_dl_error(vfs: *mut sqlite3_vfs, size: c_int, out: *mut c_char) {
    pass!(vfs, xDlError(size, out) else ());
}

type Symbol = unsafe extern "C" fn(*mut sqlite3_vfs, *mut c_void, *const c_char);

unsafe extern "C" fn x_dl_sym(
    vfs: *mut sqlite3_vfs,
    library: *mut c_void,
    name: *const c_char,
) -> Option<Symbol> {
    pass!(vfs, xDlSym(library, name) else None)
}

unsafe extern "C" fn x_dl_close(vfs: *mut sqlite3_vfs, library: *mut c_void) {
    pass!(vfs, xDlClose(library) else ());
}

unsafe extern "C" fn x_randomness(vfs: *mut sqlite3_vfs, size: c_int, out: *mut c_char) -> c_int {
    pass!(vfs, xRandomness(size, out) else 0)
}

unsafe extern "C" fn x_sleep(vfs: *mut sqlite3_vfs, microseconds: c_int) -> c_int {
    if waits_for_nobody() { microseconds } else { pass!(vfs, xSleep(microseconds) else 0) }
}

unsafe extern "C" fn x_current_time(vfs: *mut sqlite3_vfs, out: *mut f64) -> c_int {
    pass!(vfs, xCurrentTime(out) else ffi::SQLITE_ERROR)
}

unsafe extern "C" fn x_get_last_error(vfs: *mut sqlite3_vfs, size: c_int, out: *mut c_char) -> c_int {
    pass!(vfs, xGetLastError(size, out) else 0)
}

unsafe extern "C" fn x_current_time_int64(vfs: *mut sqlite3_vfs, out: *mut sqlite3_int64) -> c_int {
    pass!(vfs, xCurrentTimeInt64(out) else ffi::SQLITE_ERROR)
}

// ---- Methods of a file ----

/// # Safety
/// `file` must be memory of `szOsFile` bytes.
unsafe fn behind(file: *mut sqlite3_file) -> RealFile {
    // SAFETY: the real file begins there, within the same memory.
    RealFile(unsafe { file.cast::<u8>().add(HEADER) }.cast())
}

/// Which file of which disk this is, and the real file.
///
/// # Safety
/// `file` must have been opened by `x_open`, and not be closed while the answer is used.
unsafe fn parts<'a>(file: *mut sqlite3_file) -> (Option<&'a DiskFile>, RealFile) {
    // SAFETY: `x_open` has written the header; nothing changes it until `x_close`.
    unsafe { ((*file.cast::<File>()).disk.as_ref(), behind(file)) }
}

/// Begins a method: which file of which disk this is, and the real file.
macro_rules! parts {
    ($file:expr) => {
        // SAFETY: SQLite calls methods only between `x_open` and `x_close`.
        unsafe { parts($file) }
    };
}

/// Passes a call on to the real file.
macro_rules! forward {
    ($real:expr, $method:ident $(, $arg:expr)*) => {
        // SAFETY: the real file is open as long as ours is, and the arguments are passed on unchanged, or shortened.
        unsafe { call!($real, $method $(, $arg)*) }
    };
}

unsafe extern "C" fn x_close(file: *mut sqlite3_file) -> c_int {
    let (_, real) = parts!(file);
    let code = forward!(real, xClose);
    // SAFETY: the header was made by `x_open`; SQLite does not use a file after closing it, whatever the answer.
    unsafe {
        ptr::drop_in_place(file.cast::<File>());
        (*file).pMethods = ptr::null();
    }
    code
}

unsafe extern "C" fn x_read(
    file: *mut sqlite3_file,
    out: *mut c_void,
    length: c_int,
    offset: sqlite3_int64,
) -> c_int {
    let (disk, real) = parts!(file);
    let pass = || forward!(real, xRead, out, length, offset);
    disk.map_or_else(pass, |(disk, role)| disk.read(*role, pass))
}

unsafe extern "C" fn x_write(
    file: *mut sqlite3_file,
    bytes: *const c_void,
    length: c_int,
    offset: sqlite3_int64,
) -> c_int {
    let (disk, real) = parts!(file);
    let Some((disk, role)) = disk else { return forward!(real, xWrite, bytes, length, offset) };
    // SAFETY: SQLite provides `length` bytes, which do not change during the call.
    let bytes = unsafe { std::slice::from_raw_parts(bytes.cast::<u8>(), length as usize) };
    disk.write(*role, offset as u64, bytes, |bytes| {
        forward!(real, xWrite, bytes.as_ptr().cast(), bytes.len() as c_int, offset)
    })
}

unsafe extern "C" fn x_truncate(file: *mut sqlite3_file, size: sqlite3_int64) -> c_int {
    let (disk, real) = parts!(file);
    let pass = || forward!(real, xTruncate, size);
    disk.map_or_else(pass, |(disk, role)| disk.truncate(*role, size as u64, pass))
}

unsafe extern "C" fn x_sync(file: *mut sqlite3_file, flags: c_int) -> c_int {
    let (disk, real) = parts!(file);
    let pass = || forward!(real, xSync, flags);
    disk.map_or_else(pass, |(disk, role)| disk.sync(*role, pass))
}

unsafe extern "C" fn x_file_size(file: *mut sqlite3_file, out: *mut sqlite3_int64) -> c_int {
    let (disk, real) = parts!(file);
    let pass = || forward!(real, xFileSize, out);
    disk.map_or_else(pass, |(disk, role)| disk.size(*role, pass))
}

unsafe extern "C" fn x_lock(file: *mut sqlite3_file, level: c_int) -> c_int {
    let (_, real) = parts!(file);
    forward!(real, xLock, level)
}

unsafe extern "C" fn x_unlock(file: *mut sqlite3_file, level: c_int) -> c_int {
    let (_, real) = parts!(file);
    forward!(real, xUnlock, level)
}

unsafe extern "C" fn x_check_reserved_lock(file: *mut sqlite3_file, out: *mut c_int) -> c_int {
    let (_, real) = parts!(file);
    forward!(real, xCheckReservedLock, out)
}

unsafe extern "C" fn x_file_control(file: *mut sqlite3_file, op: c_int, arg: *mut c_void) -> c_int {
    let (_, real) = parts!(file);
    forward!(real, xFileControl, op, arg)
}

unsafe extern "C" fn x_sector_size(file: *mut sqlite3_file) -> c_int {
    let (_, real) = parts!(file);
    // SAFETY: the real file is open.
    unsafe { (*(*real.0).pMethods).xSectorSize.map_or(0, |method| method(real.0)) }
}

/// For an attached file, hides that the file system has atomic batch writes: these would not be
/// counted.
unsafe extern "C" fn x_device_characteristics(file: *mut sqlite3_file) -> c_int {
    let (disk, real) = parts!(file);
    // SAFETY: the real file is open.
    let real = unsafe { (*(*real.0).pMethods).xDeviceCharacteristics.map_or(0, |method| method(real.0)) };
    if disk.is_some() { real & !ffi::SQLITE_IOCAP_BATCH_ATOMIC } else { real }
}

unsafe extern "C" fn x_shm_map(
    file: *mut sqlite3_file,
    region: c_int,
    size: c_int,
    extend: c_int,
    out: *mut *mut c_void,
) -> c_int {
    let (disk, real) = parts!(file);
    // SAFETY: SQLite gives a place for the answer; null says that there is no memory.
    unsafe { *out = ptr::null_mut() };
    let pass = || forward!(real, xShmMap, region, size, extend, out);
    let Some((disk, _)) = disk else { return pass() };
    let end = (extend != 0).then(|| (region as u64 + 1) * size as u64);
    disk.map(end, pass)
}

unsafe extern "C" fn x_shm_lock(file: *mut sqlite3_file, offset: c_int, n: c_int, flags: c_int) -> c_int {
    /// The first of the locks of a WAL (`WAL_WRITE_LOCK` in SQLite's wal.c; see section 2.3 of its walformat.html).
    const WRITE: c_int = 0;
    let (disk, real) = parts!(file);
    let pass = || forward!(real, xShmLock, offset, n, flags);
    match disk {
        Some((disk, _)) if offset == WRITE && flags == ffi::SQLITE_SHM_LOCK | ffi::SQLITE_SHM_EXCLUSIVE => {
            disk.write_lock(pass)
        }
        _ => {
            if flags & ffi::SQLITE_SHM_LOCK != 0 {
                waits_for_somebody();
            }
            pass()
        }
    }
}

unsafe extern "C" fn x_shm_barrier(file: *mut sqlite3_file) {
    let (_, real) = parts!(file);
    // SAFETY: the real file is open.
    unsafe {
        if let Some(barrier) = (*(*real.0).pMethods).xShmBarrier {
            barrier(real.0);
        }
    }
}

unsafe extern "C" fn x_shm_unmap(file: *mut sqlite3_file, delete: c_int) -> c_int {
    let (_, real) = parts!(file);
    forward!(real, xShmUnmap, delete)
}

/// An attached file is never mapped: reads of mapped memory cannot fail.
unsafe extern "C" fn x_fetch(
    file: *mut sqlite3_file,
    offset: sqlite3_int64,
    length: c_int,
    out: *mut *mut c_void,
) -> c_int {
    let (disk, real) = parts!(file);
    if disk.is_none() {
        return forward!(real, xFetch, offset, length, out);
    }
    // SAFETY: SQLite gives a place for the answer; null says that it has to read.
    unsafe { *out = ptr::null_mut() };
    ffi::SQLITE_OK
}

unsafe extern "C" fn x_unfetch(file: *mut sqlite3_file, offset: sqlite3_int64, memory: *mut c_void) -> c_int {
    let (disk, real) = parts!(file);
    if disk.is_none() { forward!(real, xUnfetch, offset, memory) } else { ffi::SQLITE_OK }
}

/// The method tables for real files of versions 1, 2 (shared memory) and 3 (memory mapping): the
/// version tells SQLite what a file can do.
static METHODS: [sqlite3_io_methods; 3] = [methods(1), methods(2), methods(3)];

const fn methods(version: c_int) -> sqlite3_io_methods {
    sqlite3_io_methods {
        iVersion: version,
        xClose: Some(x_close),
        xRead: Some(x_read),
        xWrite: Some(x_write),
        xTruncate: Some(x_truncate),
        xSync: Some(x_sync),
        xFileSize: Some(x_file_size),
        xLock: Some(x_lock),
        xUnlock: Some(x_unlock),
        xCheckReservedLock: Some(x_check_reserved_lock),
        xFileControl: Some(x_file_control),
        xSectorSize: Some(x_sector_size),
        xDeviceCharacteristics: Some(x_device_characteristics),
        xShmMap: Some(x_shm_map),
        xShmLock: Some(x_shm_lock),
        xShmBarrier: Some(x_shm_barrier),
        xShmUnmap: Some(x_shm_unmap),
        xFetch: Some(x_fetch),
        xUnfetch: Some(x_unfetch),
    }
}
