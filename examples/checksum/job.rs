//! The task: the checksum of one file. What perdura is told, and what it is trusted with.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use perdura::{Context, Failure, Options, Task};
use serde::{Deserialize, Serialize};
use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest, Sha256};

use crate::meter::Meter;
use crate::tree::{self, Stamp};

/// How much of a file is read between two checkpoints, and so the most that is read twice after a kill. Hashing it takes a quarter of
/// a second or less; a checkpoint costs one commit, about a millisecond on most disks, so they can hardly be noticed.
const CHUNK: u64 = 64 * 1024 * 1024;

/// How much is read at once.
const BUFFER: usize = 64 * 1024;

/// Attempts at a file that cannot be read, or changes while it is read, and the wait after the first; it doubles once.
const ATTEMPTS: u32 = 3;
const BACKOFF: Duration = Duration::from_millis(200);

/// Compute the SHA-256 of a file.
#[derive(Serialize, Deserialize)]
pub struct Checksum {
    pub path: Name,
}

impl Task for Checksum {
    const NAME: &'static str = "checksum.file";
    type Output = Sum;

    /// The key sees to it that a file has at most one live task; the tag finds the task of a file again, live or not.
    fn options(&self) -> Options {
        let key = key(&self.path.to_path());
        Options::new().unique(key.clone()).tag(key).max_attempts(ATTEMPTS).backoff(BACKOFF)
    }
}

/// Stands for a path, which may be longer than a key and have characters that no key has.
pub fn key(path: &Path) -> String {
    hex(&Sha256::digest(path.as_os_str().as_bytes()))
}

/// A path in JSON. Not every name is UTF-8; those that are stay readable.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub enum Name {
    Text(String),
    Bytes(Vec<u8>),
}

impl Name {
    pub fn of(path: &Path) -> Name {
        match path.to_str() {
            Some(text) => Name::Text(text.to_owned()),
            None => Name::Bytes(path.as_os_str().as_bytes().to_owned()),
        }
    }

    pub fn to_path(&self) -> PathBuf {
        match self {
            Name::Text(text) => text.into(),
            Name::Bytes(bytes) => std::ffi::OsString::from_vec(bytes.clone()).into(),
        }
    }
}

/// The task's result.
#[derive(Serialize, Deserialize)]
pub struct Sum {
    pub sha256: String,
    /// Of the file that was read: another stamp, another checksum.
    pub stamp: Stamp,
}

/// The task's checkpoint.
#[derive(Serialize, Deserialize)]
struct Halfway {
    stamp: Stamp,
    offset: u64,
    /// The state of SHA-256 after `offset` bytes.
    hasher: Vec<u8>,
}

/// Runs the task. What a failed attempt has read does not count as done.
pub fn checksum(task: &Checksum, cx: &Context, meter: &Meter) -> Result<Sum, Failure> {
    let mut share = meter.share();
    let mut file = tree::open(&task.path.to_path())?;
    let stamp = Stamp::of(&file.metadata()?);
    let (mut hasher, mut offset) = resume(cx, stamp)?;
    file.seek(SeekFrom::Start(offset))?;
    share.add(offset);
    loop {
        let read = hash_chunk(&mut file, &mut hasher, |bytes| share.add(bytes))?;
        offset += read;
        if read < CHUNK {
            break;
        }
        cx.ensure_active()?;
        cx.save_checkpoint(&Halfway { stamp, offset, hasher: hasher.serialize().to_vec() })?;
        cx.progress(offset, stamp.size);
    }
    if Stamp::of(&file.metadata()?) != stamp {
        return Err(Failure::named("file.changed", "it changed while it was read"));
    }
    share.keep();
    Ok(Sum { sha256: hex(&hasher.finalize()), stamp })
}

/// Where an earlier attempt, or an earlier process, got to with this very file; else its beginning.
fn resume(cx: &Context, stamp: Stamp) -> Result<(Sha256, u64), Failure> {
    let Some(halfway) = cx.checkpoint::<Halfway>()?.filter(|halfway| halfway.stamp == stamp) else {
        return Ok((Sha256::new(), 0));
    };
    let state = SerializedState::<Sha256>::try_from(&halfway.hasher[..])?;
    Ok((Sha256::deserialize(&state)?, halfway.offset))
}

/// Hashes up to a chunk; less only at the end of the file.
fn hash_chunk(file: &mut File, hasher: &mut Sha256, mut on_read: impl FnMut(u64)) -> io::Result<u64> {
    let mut buffer = vec![0; BUFFER];
    let (mut chunk, mut total) = (file.take(CHUNK), 0);
    loop {
        match chunk.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Ok(n) => {
                hasher.update(&buffer[..n]);
                on_read(n as u64);
                total += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
