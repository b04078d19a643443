//! The walls within the rooms: which floor of a room uses which, and that no files of the crate use each other in a circle.
//!
//! A file uses another if it names something that is defined there, whatever path it takes. What tests name does not count.

use std::collections::{BTreeMap, BTreeSet};

use super::house::{File, House, Reference};

/// Each line of a room uses only those before it; the parts of one line do not use each other. A part is the first whose folder or file a
/// path begins with.
const FLOORS: &[&[&[&str]]] = &[
    &[
        &["src/store/error.rs"],
        &["src/store/file/"],
        &["src/store/commit/"],
        &["src/store/tasks/"],
        &["src/store/query/"],
        &["src/store/"],
    ],
    &[&["src/queue/runtime/"], &["src/queue/"]],
    &[&["src/console/"], &["src/tui/", "src/report/", "src/jobs/"], &["src/cli/"]],
];

/// What a part must not name at all: the group commit knows no rule and no state of a task.
const STRANGERS: &[(&str, &[&str])] = &[(
    "src/store/commit/",
    &[
        "crate::lifecycle",
        "crate::retry",
        "crate::task::state",
        "crate::task::options",
        "crate::task::rollup",
    ],
)];

/// Files that use each other all the same, with the reason.
const CIRCLES: &[(&str, &str)] = &[(
    "src/testing/model/",
    "a workload checks what the model of its tasks says, and the model is one of a workload",
)];

/// A use of one file by another.
struct Use<'a> {
    from: &'a str,
    line: usize,
    to: &'a str,
    written: String,
}

/// All violations: `src/store/file/path.rs:3: file must not refer to commit (crate::store::commit::tx::Tx)`.
pub fn check(house: &House) -> Vec<String> {
    let uses = uses(house);
    let mut found: Vec<String> = uses.iter().filter_map(|used| refused(used)).collect();
    for (file, reference) in house.references().filter(|(_, reference)| !reference.test) {
        for stage in house.stages(reference) {
            let stage = stage.join("::");
            let met = STRANGERS.iter().filter(|(part, _)| file.path.starts_with(part));
            for stranger in
                met.flat_map(|(_, all)| *all).filter(|s| format!("{stage}::").starts_with(&format!("{s}::")))
            {
                found.push(format!(
                    "{}:{}: {stranger} has no place here ({stage})",
                    file.path, reference.line
                ));
            }
        }
    }
    found.extend(circles(&uses));
    found
}

fn uses<'a>(house: &'a House) -> Vec<Use<'a>> {
    let defined_in = |reference: &Reference| -> Option<&'a File<'a>> {
        let stages = house.stages(reference);
        let last = stages.iter().rev().find(|stage| stage[0] == "crate")?;
        (1..=last.len()).rev().find_map(|n| house.file_of(&last[..n]))
    };
    let mut all = Vec::new();
    for (file, reference) in house.references().filter(|(_, reference)| !reference.test) {
        if let Some(target) = defined_in(reference).filter(|target| target.path != file.path) {
            let written = reference.path.join("::");
            all.push(Use { from: file.path, line: reference.line, to: target.path, written });
        }
    }
    all
}

fn refused(used: &Use) -> Option<String> {
    let place = |floors: &[&[&'static str]], path: &str| {
        floors.iter().enumerate().find_map(|(floor, parts)| {
            parts.iter().find(|part| path.starts_with(**part)).map(|part| (floor, *part))
        })
    };
    FLOORS.iter().find_map(|floors| {
        let (from, to) = (place(floors, used.from)?, place(floors, used.to)?);
        let allowed = from.1 == to.1 || to.0 < from.0;
        (!allowed).then(|| {
            format!("{}:{}: {} must not refer to {} ({})", used.from, used.line, from.1, to.1, used.written)
        })
    })
}

/// Files that use each other, each group once, with one use of each pair.
fn circles(uses: &[Use]) -> Vec<String> {
    let mut next: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for used in uses.iter().filter(|used| !used.to.ends_with("/lib.rs")) {
        next.entry(used.from).or_default().insert(used.to);
    }
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        next.keys().map(|file| (*file, reach(&next, file))).collect();
    let mut told = BTreeSet::new();
    let mut found = Vec::new();
    for (file, all) in &reached {
        let circle: BTreeSet<&str> = all
            .iter()
            .filter(|other| reached.get(**other).is_some_and(|back| back.contains(file)))
            .copied()
            .collect();
        let is_known = CIRCLES.iter().any(|(folder, _)| circle.iter().all(|file| file.starts_with(folder)));
        if circle.len() < 2 || is_known || !told.insert(circle.clone()) {
            continue;
        }
        let ties: Vec<String> = uses
            .iter()
            .filter(|used| circle.contains(used.from) && circle.contains(used.to))
            .map(|used| format!("\n    {}:{} -> {} ({})", used.from, used.line, used.to, used.written))
            .collect();
        found.push(format!("{file}:1: {} files use each other{}", circle.len(), ties.concat()));
    }
    found
}

/// The files that one uses, itself or through others.
fn reach<'a>(next: &BTreeMap<&'a str, BTreeSet<&'a str>>, start: &'a str) -> BTreeSet<&'a str> {
    let (mut seen, mut open) = (BTreeSet::new(), vec![start]);
    while let Some(at) = open.pop() {
        open.extend(next.get(at).into_iter().flatten().filter(|to| seen.insert(**to)));
    }
    seen
}
