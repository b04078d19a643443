//! What is said, and what is true, when the disk takes no more.

use std::collections::HashMap;
use std::process::Command;

use perdura::{Durability, EnqueueToken, Filter, Options, Queue};

use crate::child::{Child, Wide};
use crate::support::*;

/// A role under a limit of the size that any file may have (`ulimit -f`, in blocks of 512 bytes): writes beyond it fail.
fn narrow(folder: &Folder, blocks: u32) -> Vec<String> {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"")]);
    command.arg(std::env::current_exe().unwrap());
    let (said, well) = Child::start_through(command, "narrow", &folder.file()).finish();
    assert!(well, "{said:?}");
    said
}

#[test]
fn g02_g03_errors_say_what_happened_and_batches_are_whole() {
    let (mut not_done, mut unknown) = (0, 0);
    for blocks in (600..760).step_by(8) {
        let folder = Folder::new();
        let said = narrow(&folder, blocks);
        let queue = Queue::builder().open(folder.file()).unwrap();
        let mut found: HashMap<u64, usize> = HashMap::new();
        for record in queue.tasks(Filter::new().limit(usize::MAX)).unwrap() {
            let args: Wide = serde_json::from_str(&queue.args_json(record.task_id).unwrap()).unwrap();
            *found.entry(args.n).or_default() += 1;
        }
        assert!(found.values().all(|n| *n == 2), "a batch of two is there whole or not at all: {found:?}");
        for line in &said {
            let words: Vec<_> = line.split(' ').collect();
            match words.as_slice() {
                ["acked", n, _] => assert!(found.contains_key(&n.parse().unwrap()), "{line}"),
                ["failed", n, "NotDone", "-"] => {
                    not_done += 1;
                    assert!(!found.contains_key(&n.parse().unwrap()), "{line}");
                }
                ["failed", n, "Unknown", token] => {
                    unknown += 1;
                    let n: u64 = n.parse().unwrap();
                    let token: EnqueueToken = token.parse().unwrap();
                    assert_eq!(
                        queue.find_by_token(token).unwrap().is_some(),
                        found.contains_key(&n),
                        "{line}"
                    );
                    let task = Wide { n, text: String::new() };
                    let again = queue.enqueue_with(&task, Options::new().token(token)).unwrap();
                    assert_eq!(
                        again.is_new(),
                        !found.contains_key(&n),
                        "the repetition makes no second task"
                    );
                }
                ["after", "false"] => {}
                other => panic!("{other:?}"),
            }
        }
        assert_sound(&queue);
    }
    assert!(not_done > 0, "no failed commit was settled by its probe");
    assert!(unknown > 0, "no outcome stayed unknown");
}

#[test]
fn the_wal_starts_again_without_threads_that_would_see_to_it() {
    let folder = Folder::new();
    let queue = Queue::builder().durability(Durability::Relaxed).open(folder.file()).unwrap();
    for n in 0..2000 {
        let _ = queue.enqueue(&Wide { n, text: "x".repeat(2000) }).unwrap();
    }
    let mut wal = folder.file().into_os_string();
    wal.push("-wal");
    let bytes = std::fs::metadata(wal).unwrap().len();
    assert!((1_000_000..6_000_000).contains(&bytes), "the WAL has {bytes} bytes");
}
