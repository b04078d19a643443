//! A folder that is sent along with a job, packed as Ray unpacks it: a ZIP file under a name drawn from what is in it.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::rc::Rc;

use ignore::WalkBuilder;
use sha2::{Digest, Sha256};
use zip::write::SimpleFileOptions;
use zip::{DateTime, ZipWriter};

use crate::engine::EngineError;

/// Names that are not sent, as Ray's own client does not send them unless it is told otherwise.
const STAY: [&str; 4] = [".git", ".venv", "venv", "__pycache__"];

/// A folder, packed.
pub(super) struct Package {
    /// Its name in the cluster: the same for the same files.
    pub name: String,
    pub bytes: Vec<u8>,
}

/// Packs a folder, without what `.gitignore`, `.rayignore` and [`STAY`] name.
///
/// # Errors
/// A refusal: it is no folder, cannot be read, or is too large packed.
pub(super) fn pack(folder: &Path, max: u64) -> Result<Package, EngineError> {
    let refused =
        |problem: String| EngineError::refused(format!("the working folder {} {problem}", folder.display()));
    if !folder.is_dir() {
        return Err(refused("is no folder".to_owned()));
    }
    let is_full = Rc::new(Cell::new(false));
    let mut zip = ZipWriter::new(Bounded { bytes: Cursor::new(Vec::new()), max, is_full: is_full.clone() });
    let walk = WalkBuilder::new(folder)
        .hidden(false)
        .ignore(false)
        .follow_links(true)
        .require_git(false)
        .parents(false)
        .git_global(false)
        .git_exclude(false)
        .add_custom_ignore_filename(".rayignore")
        .filter_entry(|entry| !STAY.iter().any(|name| entry.file_name() == *name))
        .sort_by_file_name(Ord::cmp)
        .build();
    for entry in walk {
        let entry = match entry {
            Ok(entry) => entry,
            Err(e) if is_gone(e.io_error()) => continue, // a link that leads nowhere, or a file that goes meanwhile
            Err(e) => return Err(refused(format!("cannot be read: {e}"))),
        };
        let path = entry.path();
        let Ok(name) = path.strip_prefix(folder) else { continue };
        let Some(name) = name.to_str() else {
            return Err(refused(format!("has a name that is no UTF-8: {}", path.display())));
        };
        let kind = entry.file_type();
        let mut added = Ok(());
        if kind.is_some_and(|kind| kind.is_dir()) && !name.is_empty() {
            added = zip.add_directory(name, options(path)).map_err(io::Error::from);
        } else if kind.is_some_and(|kind| kind.is_file()) {
            let mut file = match File::open(path) {
                Ok(file) => file,
                Err(e) if is_gone(Some(&e)) => continue,
                Err(e) => return Err(refused(format!("cannot be packed: {}: {e}", path.display()))),
            };
            added = zip
                .start_file(name, options(path))
                .map_err(io::Error::from)
                .and_then(|()| copy(&mut file, &mut zip, &is_full));
        }
        added.map_err(|e| refused(format!("cannot be packed: {}: {e}", path.display())))?;
        if is_full.get() {
            break;
        }
    }
    let bytes = zip.finish().map_err(|e| refused(format!("cannot be packed: {e}")))?.bytes.into_inner();
    if is_full.get() {
        return Err(refused(format!(
            "has more than the {max} bytes, packed, that may go along (max_package); name what is to stay here in its .rayignore"
        )));
    }
    let digest = Sha256::digest(&bytes);
    let name = digest[..16].iter().fold(String::new(), |name, byte| name + &format!("{byte:02x}"));
    Ok(Package { name: format!("_ray_pkg_{name}.zip"), bytes })
}

/// Copies a file, as long as there is room.
fn copy(from: &mut impl Read, to: &mut impl Write, is_full: &Cell<bool>) -> io::Result<()> {
    let mut piece = vec![0; 128 * 1024];
    while !is_full.get() {
        match from.read(&mut piece)? {
            0 => break,
            n => to.write_all(&piece[..n])?,
        }
    }
    Ok(())
}

fn is_gone(e: Option<&io::Error>) -> bool {
    e.is_some_and(|e| e.kind() == io::ErrorKind::NotFound)
}

/// The options of a file in the package: the same whenever it was written.
fn options(path: &Path) -> SimpleFileOptions {
    #[cfg(unix)]
    let mode = std::fs::metadata(path)
        .map_or(0o644, |file| std::os::unix::fs::PermissionsExt::mode(&file.permissions()) & 0o777);
    #[cfg(not(unix))]
    let mode = if path.extension().is_some_and(|extension| extension == "exe") { 0o755 } else { 0o644 };
    SimpleFileOptions::default().last_modified_time(DateTime::default()).unix_permissions(mode)
}

/// Keeps at most `max` bytes. Later writes count as written and are dropped: [`pack`] ends at the next file.
struct Bounded {
    bytes: Cursor<Vec<u8>>,
    max: u64,
    is_full: Rc<Cell<bool>>,
}

impl Write for Bounded {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let end = self.bytes.position() + piece.len() as u64;
        if end <= self.max {
            return self.bytes.write(piece);
        }
        self.is_full.set(true);
        self.bytes.set_position(end);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Bounded {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.bytes.seek(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> std::path::PathBuf {
        let folder =
            std::env::temp_dir().join(format!("perdura-package-{}-{}", std::process::id(), files.len()));
        for (name, text) in files {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn the_same_files_have_the_same_name_and_what_is_ignored_stays() {
        let here = folder(&[
            ("train.py", "print(1)"),
            (".gitignore", "data\n"),
            (".rayignore", "*.ckpt\n"),
            ("data/large", "x"),
            ("model.ckpt", "x"),
            (".git/config", "x"),
            ("lib/util.py", "x"),
            ("lib/__pycache__/util.pyc", "x"),
            (".venv/bin/python", "x"),
            (".ignore", "train.py\n"),
            (".env", "A=1"),
        ]);
        let package = pack(&here, 1 << 20).unwrap();
        let zip = zip::ZipArchive::new(Cursor::new(&package.bytes)).unwrap();
        let mut names: Vec<_> = zip.file_names().collect::<Result<_, _>>().unwrap();
        names.sort_unstable();
        assert_eq!(names, [".env", ".gitignore", ".ignore", ".rayignore", "lib/", "lib/util.py", "train.py"]);
        std::fs::write(here.join("train.py"), "print(1)").unwrap();
        assert_eq!(pack(&here, 1 << 20).unwrap().name, package.name);
        std::fs::write(here.join("train.py"), "print(2)").unwrap();
        assert_ne!(pack(&here, 1 << 20).unwrap().name, package.name);
        std::fs::remove_dir_all(here).unwrap();
    }

    #[test]
    fn what_is_no_folder_or_too_large_is_refused() {
        let error = pack(Path::new("no-such-folder"), 1 << 20).err().unwrap();
        assert!(error.is_refusal() && error.message().contains("no-such-folder is no folder"), "{error}");
        let here = folder(&[("a", "some text")]);
        let error = pack(&here, 10).err().unwrap();
        assert!(error.is_refusal() && error.message().contains("max_package"), "{error}");
        std::fs::remove_dir_all(here).unwrap();
    }
}
