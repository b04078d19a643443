//! The example `checksum`, as its users run it: the manifest that it writes, killed and not killed.
#![cfg(unix)]

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::support::{Folder, has, is_root};

/// The unprivileged user `nobody`: permissions mean nothing to root.
const NOBODY: u32 = 65_534;

/// A tree with files that try a manifest: odd names, no contents, several chunks (sparse), and things that are no files.
fn odd_tree(folder: &Folder) -> BTreeSet<OsString> {
    let tree = folder.path().join("tree");
    fs::create_dir_all(tree.join("a/b")).unwrap();
    let names: &[&[u8]] = &[
        b"plain",
        b"a/b/deep",
        b"a.b",
        b"with space",
        b" lead",
        b"new\nline",
        b"back\\slash",
        b"carriage\rreturn",
        b"\\n",
        b"tab\there",
        b"not utf-8 \xff\xfe",
        b"-dash",
        b"*star",
        b"quote'\"",
        "ümläut".as_bytes(),
    ];
    for (n, name) in names.iter().enumerate() {
        fs::write(tree.join(OsStr::from_bytes(name)), "x".repeat(n * 1000)).unwrap();
    }
    fs::File::create(tree.join("large")).unwrap().set_len(130 << 20).unwrap();
    symlink("plain", tree.join("link")).unwrap();
    symlink("/", tree.join("a/link to root")).unwrap();
    assert!(Command::new("mkfifo").arg(tree.join("pipe")).status().unwrap().success());
    let _socket = std::os::unix::net::UnixListener::bind(tree.join("socket")).unwrap();
    names
        .iter()
        .copied()
        .chain([&b"large"[..]])
        .map(|name| OsString::from_vec([b"tree/", name].concat()))
        .collect()
}

/// A tree of many small files and a few of several chunks.
fn big_tree(folder: &Folder) -> BTreeSet<OsString> {
    let tree = folder.path().join("tree");
    let mut names = BTreeSet::new();
    for dir in 0..20 {
        fs::create_dir_all(tree.join(format!("{dir}"))).unwrap();
        for n in 0..100 {
            let name = format!("tree/{dir}/{n}");
            fs::write(folder.path().join(&name), name.repeat(n)).unwrap();
            names.insert(name.into());
        }
    }
    for n in 1..3 {
        let name = format!("tree/large {n}");
        fs::File::create(folder.path().join(&name)).unwrap().set_len(n * (90 << 20)).unwrap();
        names.insert(name.into());
    }
    names
}

/// The example's binary, which cargo builds with the tests.
fn checksum(folder: &Folder, args: &[&str]) -> Command {
    let deps = std::env::current_exe().unwrap();
    let binary = deps.ancestors().nth(2).unwrap().join("examples/checksum");
    assert!(
        binary.exists(),
        "{binary:?} is missing; run `cargo build --examples` (a full `cargo test` does)"
    );
    let mut command = Command::new(binary);
    command.args(args).current_dir(folder.path()).stdin(Stdio::null());
    command
}

#[track_caller]
fn run(command: &mut Command, code: i32) -> Output {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
    output
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A manifest that `sha256sum -c` accepts, with exactly these names, in the order of their bytes.
#[track_caller]
fn assert_right(folder: &Folder, manifest: &[u8], names: &BTreeSet<OsString>) {
    let mut check = Command::new("sha256sum");
    check.args(["--check", "--strict", "--quiet"]).current_dir(folder.path()).stdin(Stdio::piped());
    let mut check = check.stdout(Stdio::piped()).spawn().unwrap();
    check.stdin.take().unwrap().write_all(manifest).unwrap();
    let check = check.wait_with_output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
    let listed: Vec<OsString> = manifest.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(name).collect();
    assert_eq!(listed, names.iter().cloned().collect::<Vec<_>>());
}

/// The name on a line of a manifest.
fn name(line: &[u8]) -> OsString {
    const SUM_AND_SPACES: usize = 64 + 2;
    let Some(line) = line.strip_prefix(b"\\") else {
        return OsString::from_vec(line[SUM_AND_SPACES..].to_vec());
    };
    let (mut name, mut bytes) = (Vec::new(), line[SUM_AND_SPACES..].iter());
    while let Some(byte) = bytes.next() {
        name.push(match byte {
            b'\\' => match bytes.next() {
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                _ => b'\\',
            },
            byte => *byte,
        });
    }
    OsString::from_vec(name)
}

fn state_files(folder: &Folder) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.to_string_lossy().contains(".db")).collect()
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn the_manifest_is_what_sha256sum_reads() {
    let folder = Folder::new();
    let names = odd_tree(&folder);
    let output = run(&mut checksum(&folder, &["tree"]), 0);
    assert_right(&folder, &output.stdout, &names);
    assert_eq!(state_files(&folder), Vec::<PathBuf>::new());
    let again = run(&mut checksum(&folder, &["--workers=1", "--db", "x.db", "./tree/"]), 0);
    assert!(again.stdout.len() > output.stdout.len() && stderr(&again).contains("0 of them known"));
}

#[test]
fn killed_again_and_again_it_ends_with_the_whole_manifest() {
    let folder = Folder::new();
    let names = big_tree(&folder);
    let mut kills = 0;
    let (manifest, told) = (folder.path().join("manifest"), folder.path().join("told"));
    loop {
        // Files, not pipes: nobody reads while the child runs, and it must not wait for a reader.
        let mut command = checksum(&folder, &["tree"]);
        command.stdout(fs::File::create(&manifest).unwrap()).stderr(fs::File::create(&told).unwrap());
        let mut child = command.spawn().unwrap();
        // Not luck: whatever moment it hits, the outcome must be the same, and at last it is not hit at all.
        std::thread::sleep(Duration::from_millis(5) * kills * kills);
        child.kill().unwrap();
        match child.wait().unwrap().code() {
            Some(0) => break,
            None => kills += 1,
            Some(code) => panic!("exit code {code}: {}", fs::read_to_string(&told).unwrap()),
        }
        assert!(kills < 100, "it gets nowhere");
    }
    assert!(kills > 2, "{kills}");
    assert_right(&folder, &fs::read(&manifest).unwrap(), &names);
    assert_eq!(state_files(&folder), Vec::<PathBuf>::new());
}

#[test]
fn what_failed_is_listed_and_tried_again_alone() {
    if !has("root to become another user", is_root()) {
        return;
    }
    let folder = Folder::new();
    let (tree, secret) = (folder.path().join("tree"), folder.path().join("tree/secret"));
    fs::create_dir_all(tree.join("closed")).unwrap();
    fs::write(tree.join("open"), "open").unwrap();
    fs::write(&secret, "secret").unwrap();
    for path in [folder.path(), &tree, &secret, &tree.join("closed")] {
        chown(path, Some(NOBODY), None).unwrap();
    }
    set_mode(&secret, 0o000);
    set_mode(&tree.join("closed"), 0o000);
    let as_nobody = || {
        let mut command = checksum(&folder, &["--db", "state.db", "tree"]);
        command.uid(NOBODY).gid(NOBODY);
        command
    };

    let first = run(&mut as_nobody(), 1);
    assert_right(&folder, &first.stdout, &["tree/open".into()].into());
    let told = stderr(&first);
    assert!(
        told.contains("2 failed") && told.contains("secret\": std::io::error::Error: Permission denied"),
        "{told}"
    );
    assert!(told.contains("attempts: 3"), "{told}");

    set_mode(&secret, 0o600);
    set_mode(&tree.join("closed"), 0o700);
    let second = run(&mut as_nobody(), 0);
    assert_right(&folder, &second.stdout, &["tree/open".into(), "tree/secret".into()].into());
    assert!(stderr(&second).contains("1 of them known from an earlier run"), "{}", stderr(&second));
    assert_eq!(state_files(&folder), Vec::<PathBuf>::new());
}
