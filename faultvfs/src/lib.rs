//! A VFS that injects faults below SQLite, for tests of programs that must not lose data.
//!
//! The crate registers one SQLite VFS, [`VFS`]. It wraps the platform's VFS and passes everything
//! on to it, including locks and shared memory, so WAL mode works as usual. For the files of a
//! database that a test has [attached](Faults::attach) it can
//!
//! - let the n-th operation fail, once or from then on, as a broken or full disk does: [`Faults::fail`] with a [`Plan`];
//! - refuse the write lock, as if another connection held it, without any waiting: [`Kind::Busy`];
//! - keep the files below a size, as a full file system does: [`Faults::limit_space`];
//! - copy the files as they are at a moment, which is what remains if the process dies:
//!   [`Faults::copy_to`];
//! - record every change, and make images of what a power cut may leave after each:
//!   [`Faults::record`].
//!
//! It needs no root, no mount and no second process, and it is deterministic if the program is.
//!
//! ```
//! use perdura_faultvfs::{Faults, Kind, Plan, VFS};
//! use rusqlite::{Connection, OpenFlags};
//!
//! # let folder = std::env::temp_dir().join(format!("perdura-faultvfs-doc-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder)?;
//! # let path = folder.join("doc.db");
//! let faults = Faults::attach(&path)?;
//! let db = Connection::open_with_flags_and_vfs(&path, OpenFlags::default(), VFS)?;
//! db.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (n)")?;
//!
//! faults.fail(Plan::at(1, Kind::Full).from_then_on());
//! assert!(db.execute("INSERT INTO t VALUES (1)", []).is_err());
//! assert_eq!(faults.hits()[0].kind, Kind::Full);
//!
//! faults.clear(); // somebody has made room
//! db.execute("INSERT INTO t VALUES (2)", [])?;
//! # drop(db);
//! # std::fs::remove_dir_all(&folder)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Only operations of SQLite get faults: what a program does with files itself goes to the real
//! disk. Memory-mapped reads are turned off for attached files, since they could not fail. Written
//! for and tested on Unix.
//!
//! All unsafe code is in the modules `vfs` and `real`, which know nothing of faults: `vfs` turns C
//! calls into calls of safe functions, `real` calls the platform's VFS.

mod disk;
mod entry;
mod error;
mod faults;
mod image;
mod log;
mod plan;
mod real;
mod recording;
mod vfs;

pub use error::Error;
pub use faults::Faults;
pub use image::Tear;
pub use plan::{Class, Hit, Kind, Plan, Role};
pub use recording::Recording;

/// The name of the VFS: for `Connection::open_with_flags_and_vfs`, `vfs=` in a URI, or the option
/// of a library.
///
/// The first [`Faults::attach`] of a process registers it, and it stays registered. Files that are
/// not attached are passed through.
pub const VFS: &str = "perdura-faults";
