//! What a power cut leaves of a file: all that was synced, and a selection of later writes.

use std::collections::BTreeMap;

use crate::entry::Entry;
use crate::plan::Role;

/// The unit that a device writes atomically.
const SECTOR: usize = 512;

/// Which of the writes since the last sync a power cut leaves. The variants with a seed are
/// deterministic for each seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Tear {
    /// All of them, as if every cache had been written back before the cut.
    All,
    /// None of them.
    Nothing,
    /// Each sector, length and file has any state that it had since the last sync, independent of
    /// the others: writes are there, missing or there in part, in no order. Sectors within the
    /// length that never arrived are zeros, or old content of the disk.
    Sectors(u64),
    /// All but the last write that is not synced; some of its sectors are there.
    LastWrite(u64),
    /// The files have their newest lengths, but none of the content has arrived: zeros behind the
    /// old end.
    ZeroTail,
    /// The same, with old content of the disk behind the old end.
    StaleTail(u64),
}

/// The files at the moment of the cut.
pub(crate) struct Cut {
    files: BTreeMap<usize, Place>,
    writes: u64,
}

/// The file of one name, and the one before it.
#[derive(Default)]
struct Place {
    now: Option<File>,
    /// The removed file of this name, as long as neither its removal nor a new file is durable.
    before: Option<File>,
}

/// One file: its content for its users, and what is certainly on the device.
#[derive(Clone, Default)]
struct File {
    /// Its existence is durable.
    is_durable: bool,
    durable: Vec<u8>,
    current: Vec<u8>,
    /// The versions of each sector since its last sync, oldest first. No versions: as in `durable`.
    sectors: BTreeMap<usize, Vec<Version>>,
    /// The lengths since the last sync, each with the number of cuts (truncations) until then.
    lengths: Vec<(usize, u32)>,
    cuts: u32,
    durable_cuts: u32,
}

#[derive(Clone)]
struct Version {
    /// The entry that made it.
    write: u64,
    /// A sync of it failed: no later sync makes it durable.
    is_lost: bool,
    /// The number of cuts until then; `is_cut`: this version is the zeros that a cut left.
    cuts: u32,
    is_cut: bool,
    bytes: Box<[u8]>,
}

impl Cut {
    pub(crate) fn new(base: &[(Role, Vec<u8>)]) -> Cut {
        let files = base
            .iter()
            .map(|(role, bytes)| (index(*role), Place { now: Some(File::durable(bytes)), before: None }));
        Cut { files: files.collect(), writes: 0 }
    }

    pub(crate) fn apply(&mut self, entry: &Entry) {
        self.writes += 1;
        let write = self.writes;
        let role = match entry {
            Entry::Create(role)
            | Entry::Appear(role, _)
            | Entry::Delete(role, _)
            | Entry::Write(role, _, _)
            | Entry::Truncate(role, _)
            | Entry::Sync(role)
            | Entry::LostSync(role) => *role,
            Entry::Mark(_) => return,
        };
        let place = self.files.entry(index(role)).or_default();
        let is_new = place.now.as_ref().is_some_and(|file| !file.is_durable);
        match entry {
            Entry::Create(_) => place.now = Some(File::default()),
            Entry::Appear(_, bytes) => *place = Place { now: Some(File::durable(bytes)), before: None },
            Entry::Delete(..) => place.delete(),
            Entry::Sync(_) => place.sync(),
            // A file that was removed while open has no name: changes of it cannot be seen after
            // the cut.
            change => {
                let Some(file) = &mut place.now else { return };
                match change {
                    Entry::Write(_, offset, bytes) => file.write(*offset as usize, bytes, write),
                    Entry::Truncate(_, length) => file.truncate(*length as usize, write),
                    _ => file.lose_sync(),
                }
            }
        }
        // SQLite syncs the folder with the first sync of a WAL or journal, and with a removal that
        // must be durable.
        let folder_too = match entry {
            Entry::Sync(_) => is_new && role != Role::Database,
            Entry::Delete(_, durably) => *durably,
            _ => false,
        };
        if folder_too {
            self.files.values_mut().for_each(Place::settle);
        }
    }

    /// The files that exist after the power cut.
    pub(crate) fn image(&self, tear: Tear) -> Vec<(Role, Vec<u8>)> {
        let mut chance = Chance::of(tear);
        let last_write = self.last_write();
        let mut found = Vec::new();
        for (n, place) in &self.files {
            if let Some(file) = place.choose(tear, &mut chance) {
                found.push((Role::LASTING[*n], file.image(tear, last_write, &mut chance)));
            }
        }
        found
    }

    /// The newest write that is not synced.
    fn last_write(&self) -> Option<u64> {
        let files = self.files.values().filter_map(|place| place.now.as_ref());
        files
            .flat_map(|file| file.sectors.values())
            .filter_map(|versions| versions.last())
            .map(|v| v.write)
            .max()
    }
}

fn index(role: Role) -> usize {
    Role::LASTING.iter().position(|other| *other == role).expect("only lasting files are recorded")
}

impl Place {
    fn delete(&mut self) {
        if let Some(removed) = self.now.take() {
            // If this one was durable, an older file of its name cannot come back.
            if removed.is_durable || self.before.is_none() {
                self.before = Some(removed);
            }
        }
    }

    /// The folder was synced: the existence of files is durable, their content is not.
    fn settle(&mut self) {
        self.before = None;
        if let Some(file) = &mut self.now {
            file.is_durable = true;
        }
    }

    fn sync(&mut self) {
        if let Some(file) = &mut self.now {
            file.sync();
            self.before = None;
        }
    }

    /// The file of this name that exists after the power cut.
    fn choose(&self, tear: Tear, chance: &mut Chance) -> Option<&File> {
        match (&self.now, &self.before) {
            (Some(now), _) if now.is_durable => Some(now),
            (now, before) => match tear {
                Tear::Nothing => before.as_ref(),
                Tear::Sectors(_) if chance.coin() => before.as_ref(),
                _ => now.as_ref(),
            },
        }
    }
}

impl File {
    fn durable(bytes: &[u8]) -> File {
        File { is_durable: true, durable: bytes.to_vec(), current: bytes.to_vec(), ..File::default() }
    }

    fn write(&mut self, offset: usize, bytes: &[u8], write: u64) {
        let end = offset + bytes.len();
        if end > self.current.len() {
            self.current.resize(end, 0);
            self.lengths.push((end, self.cuts));
        }
        self.current[offset..end].copy_from_slice(bytes);
        self.note(offset, end, write, false);
    }

    /// A truncation is atomic (file systems guarantee that), and no later write is there without
    /// it. The truncated part reads as zeros if the file grows again.
    fn truncate(&mut self, length: usize, write: u64) {
        let old = self.current.len();
        self.current.resize(length, 0);
        if length < old {
            self.cuts += 1;
            self.note(length, old, write, true);
        }
        self.lengths.push((length, self.cuts));
    }

    /// Adds the present content of the sectors between two offsets as versions.
    fn note(&mut self, from: usize, to: usize, write: u64, is_cut: bool) {
        for n in from / SECTOR..to.div_ceil(SECTOR) {
            let bytes = sector(&self.current, n).into();
            let version = Version { write, is_lost: false, cuts: self.cuts, is_cut, bytes };
            self.sectors.entry(n).or_default().push(version);
        }
    }

    fn sync(&mut self) {
        self.is_durable = true;
        self.durable.resize(self.current.len(), 0);
        self.lengths.clear();
        self.durable_cuts = self.cuts;
        let durable = &mut self.durable;
        self.sectors.retain(|n, versions| {
            let newest = versions.last().expect("a sector is noted with its version");
            if !newest.is_lost {
                put(durable, *n, &newest.bytes);
            }
            newest.is_lost
        });
    }

    fn lose_sync(&mut self) {
        self.sectors.values_mut().flatten().for_each(|version| version.is_lost = true);
    }

    fn image(&self, tear: Tear, last_write: Option<u64>, chance: &mut Chance) -> Vec<u8> {
        match tear {
            Tear::All => self.current.clone(),
            Tear::Nothing => self.durable.clone(),
            Tear::LastWrite(_) => self.torn(last_write, chance),
            Tear::Sectors(_) => self.scattered(chance),
            Tear::ZeroTail | Tear::StaleTail(_) => {
                let mut bytes = self.durable.clone();
                let shortest = self.lengths.iter().map(|(length, _)| *length).min();
                let old_end = shortest.unwrap_or(usize::MAX).min(bytes.len());
                bytes.truncate(old_end);
                bytes.resize(self.current.len(), 0);
                if let Tear::StaleTail(_) = tear {
                    bytes[old_end..].fill_with(|| chance.byte());
                }
                bytes
            }
        }
    }

    /// Each sector of the last write is as before it or as after it.
    fn torn(&self, last_write: Option<u64>, chance: &mut Chance) -> Vec<u8> {
        let mut bytes = self.current.clone();
        for (n, versions) in &self.sectors {
            if versions.last().map(|newest| newest.write) == last_write && chance.coin() {
                match versions.len().checked_sub(2) {
                    Some(before) => put(&mut bytes, *n, &versions[before].bytes),
                    None => put(&mut bytes, *n, &sector(&self.durable, *n)),
                }
            }
        }
        bytes
    }

    fn scattered(&self, chance: &mut Chance) -> Vec<u8> {
        let (length, cuts) = match chance.below(self.lengths.len() + 1) {
            0 => (self.durable.len(), self.durable_cuts),
            n => self.lengths[n - 1],
        };
        let mut bytes = self.durable.clone();
        bytes.resize(length, 0);
        let stale = chance.coin();
        // Few, half or nearly all sectors arrive: three different kinds of cases.
        let newest_of_16 = [2, 8, 14][chance.below(3)];
        for (n, versions) in &self.sectors {
            let possible = versions.iter().take_while(|version| version.cuts <= cuts).count();
            let versions = &versions[..possible];
            let oldest = versions.iter().rposition(|version| version.is_cut).map_or(0, |cut| cut + 1);
            let is_newest = chance.below(16) < newest_of_16;
            match if is_newest { possible } else { oldest + chance.below(possible - oldest + 1) } {
                0 if stale && n * SECTOR >= self.durable.len() => {
                    let garbage: Vec<u8> = (0..SECTOR).map(|_| chance.byte()).collect();
                    put(&mut bytes, *n, &garbage);
                }
                0 => {}
                chosen => put(&mut bytes, *n, &versions[chosen - 1].bytes),
            }
        }
        bytes
    }
}

/// A sector of a file, filled up with zeros.
fn sector(bytes: &[u8], n: usize) -> [u8; SECTOR] {
    let mut found = [0; SECTOR];
    let bytes = bytes.get(n * SECTOR..).unwrap_or_default();
    let length = bytes.len().min(SECTOR);
    found[..length].copy_from_slice(&bytes[..length]);
    found
}

/// Writes a sector into a file, up to the end of the file.
fn put(bytes: &mut [u8], n: usize, sector: &[u8]) {
    let bytes = bytes.get_mut(n * SECTOR..).unwrap_or_default();
    let length = bytes.len().min(SECTOR);
    bytes[..length].copy_from_slice(&sector[..length]);
}

/// Random numbers from a seed (SplitMix64).
struct Chance(u64);

impl Chance {
    fn of(tear: Tear) -> Chance {
        Chance(match tear {
            Tear::All | Tear::Nothing | Tear::ZeroTail => 0,
            Tear::Sectors(seed) | Tear::LastWrite(seed) | Tear::StaleTail(seed) => seed,
        })
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }

    fn byte(&mut self) -> u8 {
        self.next() as u8
    }
}
