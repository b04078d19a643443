//! Fresh files for tests: copies of an image, which is faster than SQL.

use crate::sync::{Mutex, lock};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use super::create::{create_private, file_error};
use super::open;
use super::opening::{Location, Opening};
use super::temporary::TemporaryFolder;
use crate::config::Durability;
use crate::error::Error;
use crate::store::error::Fault;

/// The id of every file that is copied from the image: what is derived from it (jitter) is the same
/// in each run of a test.
const IMAGE_FILE_ID: [u8; 16] = *b"perdura testing\0";

impl Location {
    /// A new file in a folder of its own, in memory if the system has such a file system.
    pub(crate) fn fresh() -> Result<Location, Error> {
        let folder = TemporaryFolder::in_memory()?;
        let image = image()?;
        write(&folder.file(), &image).map_err(|e| file_error("the file cannot be created", e))?;
        Ok(Location::Private(Arc::new(folder)))
    }
}

fn write(path: &Path, image: &[u8]) -> std::io::Result<()> {
    create_private(path)?.write_all(image)
}

/// The bytes of a newly created file. Made once in each process.
fn image() -> Result<Arc<[u8]>, Error> {
    static IMAGE: Mutex<Option<Arc<[u8]>>> = Mutex::new(None);
    let mut image = lock(&IMAGE);
    if let Some(image) = &*image {
        return Ok(image.clone());
    }
    let folder = Arc::new(TemporaryFolder::in_memory()?);
    let opening = Opening::plain(Location::Private(folder.clone()), Durability::Relaxed);
    let connection = open::first(&folder.file(), &opening)?.connection;
    let sql = "UPDATE perdura_meta SET file_id = ?1, created_at_ms = 0 WHERE id = 1";
    if connection.execute(sql, [IMAGE_FILE_ID]).map_err(Fault::from)? != 1 {
        return Err(Error::internal("a new file has no identity"));
    }
    drop(connection); // moves the WAL into the file
    let bytes = std::fs::read(folder.file()).map_err(|e| file_error("the file cannot be read", e))?;
    Ok(image.insert(bytes.into()).clone())
}
