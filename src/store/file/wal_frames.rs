//! Reads a WAL and counts its valid frames.
//!
//! A frame is valid if its salts are the header's and its checksum continues that of the frame
//! before. A transaction is committed if its last frame, which has the size of the database after
//! it, is valid. Whatever follows is old, or was cut off by a crash. (SQLite's file format,
//! <https://www.sqlite.org/fileformat2.html#walformat>.)

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use serde::Serialize;

/// What a WAL holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WalReport {
    /// Its length in bytes; 0 if there is none.
    pub bytes: u64,
    /// Frames (pages) up to the first whose checksum or salt is wrong.
    pub frames: u64,
    /// Those of them that belong to committed transactions.
    pub committed: u64,
    /// Its header is invalid: SQLite takes such a WAL for empty.
    pub damaged: bool,
}

const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;
const MAGIC: u32 = 0x377f_0682;

/// Reads a WAL file. Opening and closing it drops none of SQLite's locks, which are on other files.
pub(crate) fn read(path: &Path) -> std::io::Result<WalReport> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(WalReport::default()),
        Err(e) => return Err(e),
    };
    let bytes = file.metadata()?.len();
    Ok(WalReport { bytes, ..follow(BufReader::new(file)) })
}

/// Follows the chain of checksums to its end.
fn follow(mut wal: impl Read) -> WalReport {
    let mut report = WalReport::default();
    let mut header = [0; HEADER_BYTES];
    if wal.read_exact(&mut header).is_err() {
        return report;
    }
    let magic = word(&header, 0);
    let page = word(&header, 8) as usize;
    let mut sum = Checksum { big_endian: magic & 1 == 1, s: (0, 0) };
    sum.add(&header[..24]);
    if magic & !1 != MAGIC
        || !(512..=65_536).contains(&page)
        || sum.s != (word(&header, 24), word(&header, 28))
    {
        report.damaged = true;
        return report;
    }
    let mut frame = vec![0; FRAME_HEADER_BYTES + page];
    while wal.read_exact(&mut frame).is_ok() {
        let (head, data) = frame.split_at(FRAME_HEADER_BYTES);
        sum.add(&head[..8]);
        sum.add(data);
        if head[8..16] != header[16..24] || sum.s != (word(head, 16), word(head, 20)) {
            break;
        }
        report.frames += 1;
        if word(head, 4) != 0 {
            report.committed = report.frames;
        }
    }
    report
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().fold(0, |word, byte| word << 8 | u32::from(*byte))
}

/// The running checksum of a WAL.
struct Checksum {
    big_endian: bool,
    s: (u32, u32),
}

impl Checksum {
    fn add(&mut self, bytes: &[u8]) {
        for pair in bytes.chunks_exact(8) {
            let [a, b] =
                [0, 4].map(|at| if self.big_endian { word(pair, at) } else { word(pair, at).swap_bytes() });
            self.s.0 = self.s.0.wrapping_add(a).wrapping_add(self.s.1);
            self.s.1 = self.s.1.wrapping_add(b).wrapping_add(self.s.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_ends_where_a_byte_is_wrong_or_missing() {
        let folder = crate::store::file::temporary::TemporaryFolder::new().unwrap();
        let path = folder.file();
        let conn = rusqlite::Connection::open(&path).unwrap();
        conn.execute_batch(
            "PRAGMA journal_mode = WAL; CREATE TABLE t (x); INSERT INTO t VALUES (randomblob(20000));",
        )
        .unwrap();
        let wal = std::fs::read(crate::store::file::identity::beside(&path, "-wal")).unwrap();
        let whole = follow(&wal[..]);
        assert!(whole.frames > 5 && whole.committed == whole.frames && !whole.damaged, "{whole:?}");
        let cut = follow(&wal[..wal.len() - 1]);
        assert_eq!(
            (cut.frames, cut.committed < cut.frames),
            (whole.frames - 1, true),
            "the last commit was cut"
        );
        let mut changed = wal.clone();
        let middle = wal.len() / 2;
        changed[middle] ^= 1;
        assert!(follow(&changed[..]).frames < whole.frames - 1);
        changed = wal.clone();
        changed[20] ^= 1;
        assert!(follow(&changed[..]).damaged);
        assert_eq!(follow(&[][..]), WalReport::default());
    }
}
