//! Whatever bytes a file and its WAL have: it is opened, and every call answers with a value or a typed error; or it is refused, and
//! its bytes are what they were.
//!
//! The input is either a whole file, or (first byte odd) a list of damages to a sound one: where, what, five bytes each. Bit 1 says that
//! they are done to the WAL of a killed process.

#![no_main]

#[path = "../../tests/it/helpers/files.rs"]
mod files;
mod place;

use std::sync::OnceLock;

use files::{Used, make, use_everything};
use libfuzzer_sys::fuzz_target;
use place::Place;

/// A closed file; and one of a killed process, with its WAL.
struct Seeds {
    closed: Vec<u8>,
    killed: (Vec<u8>, Vec<u8>),
}

fn seeds() -> &'static Seeds {
    static SEEDS: OnceLock<Seeds> = OnceLock::new();
    SEEDS.get_or_init(|| {
        let place = Place::new();
        make(place.path());
        let read = |suffix| std::fs::read(place.companion(suffix)).expect("the file is there");
        let closed = read("");
        let queue = perdura::Queue::builder().open(place.path()).expect("it is sound");
        for n in 0..9 {
            let _ = queue.enqueue(&files::Step::Succeed(n)).expect("it is sound");
        }
        Seeds { closed, killed: (read(""), read("-wal")) }
    })
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    let (main, wal) = match kind & 3 {
        0 => (data.to_vec(), None),
        2 => {
            let at = data.first().map_or(0, |n| usize::from(*n) * 16).min(data.len());
            (data[at..].to_vec(), Some(data[..at].to_vec()))
        }
        1 => (damaged(&seeds().closed, data), None),
        _ => (seeds().killed.0.clone(), Some(damaged(&seeds().killed.1, data))),
    };
    let place = Place::new();
    std::fs::write(place.path(), &main).expect("it can be written");
    if let Some(wal) = &wal {
        std::fs::write(place.companion("-wal"), wal).expect("it can be written");
    }
    let used = use_everything(place.path());
    if let (Used::Refused(_), None) = (used, &wal) {
        let after = std::fs::read(place.path()).expect("it is there");
        assert!(same_content(&after, &main), "refused, but changed: {:?}", files::errors());
    }
});

/// Damages of five bytes each: three say where, one how, one what.
fn damaged(sound: &[u8], damages: &[u8]) -> Vec<u8> {
    let mut bytes = sound.to_vec();
    for damage in damages.chunks_exact(5) {
        let at = (usize::from(damage[0]) << 16 | usize::from(damage[1]) << 8 | usize::from(damage[2]))
            % sound.len();
        match damage[3] % 4 {
            0 => bytes[at..].iter_mut().take(1).for_each(|byte| *byte = damage[4]),
            1 => bytes[at..].iter_mut().take(1).for_each(|byte| *byte ^= damage[4]),
            2 => bytes[at..].iter_mut().take(usize::from(damage[4]) * 16).for_each(|byte| *byte = 0),
            _ => bytes.truncate(at.max(1)),
        }
        if bytes.len() < sound.len() {
            break;
        }
    }
    bytes
}

/// All bytes but those that say how the file is written, which SQLite may set before anything is known to be wrong.
fn same_content(after: &[u8], before: &[u8]) -> bool {
    let bare = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        for range in [18..20, 24..28, 92..100] {
            if let Some(part) = bytes.get_mut(range) {
                part.fill(0);
            }
        }
        bytes
    };
    after == before || bare(after) == bare(before)
}
