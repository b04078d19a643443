//! Power cuts without hardware: a file system on a loop device is shut down under a working process, and nothing that it has not
//! written by then reaches the device any more. It is mounted again, and the file is held against what was acknowledged before.
//!
//! The cut is the ioctl that ext4 and xfs have for this (EXT4_IOC_SHUTDOWN, XFS_IOC_GOINGDOWN), with the flag that leaves the log
//! unwritten. Acknowledgements leave through a pipe; only those that were read before the cut began count.
//!
//! Two controls must lose: without them a harness that cuts nothing would pass.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use perdura::{Filter, Queue, State};

use crate::child::{Child, Wide};
use crate::loop_device::{Disk, is_program};
use crate::support::*;
use crate::told::{Chance, Told};
use crate::workload::block;

/// Cuts on each file system in each CI run.
const CUTS: u64 = 100;
const CUTS_A_FILE: u64 = 6;
/// Cuts of each control.
const CONTROLS: u64 = 20;

/// What a process had said when the power was cut.
struct Cut {
    /// Before the cut began.
    before: Vec<String>,
    /// While it was made.
    during: Vec<String>,
    /// When it was done.
    after: Vec<String>,
}

/// Starts a role on the disk, cuts the power some time after it has said `word`, and mounts the disk again.
fn one_cut(disk: &Disk, role: &str, file: &Path, word: &str, wait: Duration) -> Cut {
    let cutter = disk.cutter();
    let child = Child::start(role, file).listen();
    child.await_line(|line| line == word);
    std::thread::sleep(wait);
    let before = child.so_far();
    cutter.cut();
    let at_end = child.so_far();
    let mut said = child.kill();
    disk.unmount();
    disk.mount();
    as_after_a_boot(file);
    let after = said.split_off(at_end);
    let during = said.split_off(before);
    Cut { before: said, during, after }
}

/// The start notes beside the file tell by the boot id that they survived a power cut by luck only; here the boot is the same.
fn as_after_a_boot(file: &Path) {
    let mut name = file.as_os_str().to_owned();
    name.push("-owner");
    if let Ok(notes) = std::fs::OpenOptions::new().write(true).open(name)
        && notes.metadata().unwrap().len() >= 64
    {
        notes.write_all_at(&[0; 48], 16).unwrap();
    }
}

/// Cut after cut: what was acknowledged before is there, whole, counted, and can be run to its end.
fn nothing_is_lost(kind: &'static str, options: &'static str) {
    let Some(disk) = Disk::new(kind, options) else { return };
    let seed = seed();
    eprintln!("seed of power on {kind}{options}: {seed}");
    let mut chance = Chance(seed);
    let (mut cuts, mut acked, mut with_work, mut opening, mut late, mut late_lost) = (0, 0, 0, 0, 0, 0);
    let file = disk.path().join("tasks.db");
    let mut rounds = rounds(CUTS).peekable();
    while rounds.peek().is_some() {
        disk.format();
        let mut told = Told::default();
        for _ in rounds.by_ref().take(usize::try_from(CUTS_A_FILE).unwrap()) {
            let is_opening = chance.below(4) == 0;
            let (word, limit) = if is_opening { ("opening", 12) } else { ("open", 120) };
            let cut = one_cut(&disk, "work", &file, word, chance.time(Duration::from_millis(limit)));
            let end = told.take(&cut.before);
            let acked_during = told.take_late(&cut.during);
            told.take_late(&cut.after);
            cuts += 1;
            with_work += u64::from(end.running > 0);
            opening += u64::from(end.opening);
            if chance.below(2) == 0 {
                let queue = Queue::builder().open(&file).unwrap();
                told.check(&queue);
                late += acked_during.len();
                late_lost += acked_during.iter().filter(|id| queue.get(**id).is_err()).count();
            }
        }
        told.finish(&file);
        acked += told.acked();
        disk.unmount();
    }
    report(
        &format!("power on {kind}{options}"),
        format_args!(
            "{cuts} cuts, {with_work} with attempts running, {opening} while opening, {acked} tasks acknowledged before and none \
             lost; of {late} acknowledged while the cut was made {late_lost} were lost"
        ),
    );
    assert!(with_work >= cuts / 4, "only {with_work} of {cuts} cuts met work in flight");
}

#[test]
fn g01_g03_g06_g08_g15_g16_nothing_is_lost_by_power_cuts_on_ext4() {
    nothing_is_lost("ext4", "");
}

#[test]
fn g01_g03_g06_g08_g15_g16_nothing_is_lost_by_power_cuts_on_ext4_that_writes_data_back_late() {
    nothing_is_lost("ext4", ",data=writeback");
}

#[test]
fn g01_g03_g06_g08_g15_g16_nothing_is_lost_by_power_cuts_on_xfs() {
    nothing_is_lost("xfs", "");
}

/// Whoever closes a file last removes its WAL. Before the first write into the next one it is durable that the old one is gone: else a file
/// system that gives freed blocks away early could bring the old one back with a block of the new one in its middle.
#[test]
fn g03_a_new_wal_is_begun_when_it_is_durable_that_the_old_one_is_gone() {
    if !has("strace", is_program("strace")) {
        return;
    }
    let folder = Folder::new();
    let (file, trace) = (folder.file(), folder.path().join("trace"));
    std::fs::write(file.with_extension("go"), "").unwrap();
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-s", "0", "-e", "trace=unlink,pwrite64,fsync", "-o"]).arg(&trace);
    strace.arg(std::env::current_exe().unwrap());
    let (said, status) = Child::start_through(strace, "once", &file).finish_within(MINUTE); // opens, closes, and opens again
    assert!(status.is_some_and(|status| status.success()), "{said:?}");
    let (mut is_durable, mut removed, mut begun) = (false, 0, 0);
    for line in std::fs::read_to_string(&trace).unwrap().lines() {
        if line.contains("unlink(") && line.contains("tasks.db-wal\"") {
            (is_durable, removed) = (false, removed + 1);
        } else if line.contains("fsync(") && line.contains(&format!("<{}>", folder.path().display())) {
            is_durable = true;
        } else if line.contains("pwrite64(") && line.contains("tasks.db-wal>") && line.contains(", 32, 0") {
            begun += 1;
            assert!(is_durable, "{line}");
        }
    }
    assert!(removed >= 2 && begun >= 2, "{removed} WALs were removed, {begun} begun");
}

/// What the other tests may rely on, without perdura: an fsync that returned before the cut began has reached the device. What is
/// said of one that returns while the cut is made need not be true: the log can be given up between the write and the answer, and the
/// answer is Ok all the same. So such acknowledgements do not count.
#[test]
fn an_fsync_that_returns_before_the_cut_has_reached_the_device() {
    for (kind, options) in [("ext4", ""), ("ext4", ",data=writeback"), ("xfs", "")] {
        let Some(disk) = Disk::new(kind, options) else { continue };
        let mut chance = Chance(seed());
        let (mut cuts, mut late, mut late_lost) = (0, 0, 0);
        for _ in rounds(CONTROLS) {
            disk.format();
            let file = disk.path().join("blocks");
            let cut = one_cut(&disk, "bare-fsync", &file, "open", chance.time(Duration::from_millis(60)));
            let (before, during) = (done(&cut.before), done(&cut.during));
            let bytes = std::fs::read(&file).unwrap_or_default();
            let is_there =
                |n: &u64| bytes.chunks(4096).nth(*n as usize).is_some_and(|found| found == block(*n));
            let lost: Vec<_> = before.iter().filter(|n| !is_there(n)).collect();
            assert!(lost.is_empty(), "{kind}{options}: of {} blocks {lost:?} were lost", before.len());
            late += during.len();
            late_lost += during.iter().filter(|n| !is_there(n)).count();
            cuts += 1;
            disk.unmount();
        }
        report(
            &format!("power, bare fsync on {kind}{options}"),
            format_args!("{cuts} cuts, none lost before; of {late} while the cut was made {late_lost} lost"),
        );
    }
}

/// The numbers of the steps that a role has said it has done.
fn done(said: &[String]) -> Vec<u64> {
    said.iter().filter_map(|line| line.strip_prefix("done ")?.parse().ok()).collect()
}

/// Which steps of the role `ordered` the file still knows: an even one is a task, the next one that it was cancelled.
fn steps_kept(file: &Path) -> Vec<u64> {
    let queue = Queue::builder().open(file).unwrap();
    assert_sound(&queue);
    let mut kept = Vec::new();
    for record in queue.tasks(Filter::new().limit(usize::MAX)).unwrap() {
        let args: Wide = serde_json::from_str(&queue.args_json(record.task_id).unwrap()).unwrap();
        kept.push(args.n);
        kept.extend((record.state == State::Cancelled).then_some(args.n + 1));
    }
    kept.sort_unstable();
    kept
}

/// Relaxed durability loses a suffix of the commits and nothing else; full durability, in the same place, nothing.
#[test]
fn g01_relaxed_durability_loses_a_suffix_in_a_power_cut_and_full_nothing() {
    let Some(disk) = Disk::new("ext4", "") else { return };
    let mut chance = Chance(seed());
    let (mut cuts, mut lost, mut acked, mut in_part) = (0, 0, 0, 0);
    // Only some of these cuts meet commits that are not on the disk yet, so there are more of them.
    for round in rounds(2 * CONTROLS) {
        disk.format();
        for role in ["ordered relaxed", "ordered"] {
            let file = disk.path().join(format!("{}.db", role.replace(' ', "-")));
            let cut = one_cut(&disk, role, &file, "open", chance.time(Duration::from_millis(150)));
            let (done, kept) = (done(&cut.before), steps_kept(&file));
            let is_prefix = kept.iter().copied().eq(0..kept.len() as u64);
            assert!(
                is_prefix,
                "round {round}, {role}: what is left is not a prefix of the commits: {kept:?}"
            );
            if role == "ordered" {
                assert!(kept.len() >= done.len(), "round {round}: {} of {} are left", kept.len(), done.len());
            } else {
                lost += done.len().saturating_sub(kept.len());
                in_part += u64::from(!kept.is_empty() && kept.len() < done.len());
                acked += done.len();
            }
        }
        cuts += 1;
        disk.unmount();
    }
    report(
        "power, relaxed",
        format_args!("{cuts} cuts, {lost} of {acked} commits lost, a part of them in {in_part} cuts"),
    );
    assert!(lost > 0, "relaxed durability lost nothing: are these power cuts?");
}

/// The harness can see a loss: a loop that nobody syncs loses.
#[test]
fn a_loop_without_syncs_loses_commits_in_a_power_cut() {
    let Some(disk) = Disk::new("ext4", "") else { return };
    let mut chance = Chance(seed());
    let (mut cuts, mut lost, mut acked) = (0, 0, 0);
    for _ in rounds(CONTROLS) {
        disk.format();
        let file = disk.path().join("raw.db");
        let cut = one_cut(&disk, "raw-without-syncs", &file, "open", chance.time(Duration::from_millis(100)));
        let done = done(&cut.before).len();
        let count =
            |conn: rusqlite::Connection| conn.query_row("SELECT count(*) FROM t", [], |row| row.get(0));
        let kept: usize = rusqlite::Connection::open(&file).and_then(count).unwrap_or(0);
        lost += done.saturating_sub(kept);
        acked += done;
        cuts += 1;
        disk.unmount();
    }
    report("power, no syncs", format_args!("{cuts} cuts, {lost} of {acked} commits lost"));
    assert!(lost > 0, "commits without syncs were not lost: are these power cuts?");
}
