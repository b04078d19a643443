//! Pages of the documentation that say what is in the tests.
//!
//! After a test of a promise has come or gone: `PERDURA_BLESS=1 cargo test --test it documents` writes docs/tests.md anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

/// The tests of each promise: their files, and their names.
type Tests = BTreeMap<u8, BTreeSet<(String, String)>>;

/// Finds the tests of a folder that carry the number of a promise.
fn tests_below(root: &Path, folder: &str, into: &mut Tests) {
    for entry in std::fs::read_dir(root.join(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{folder}/{}", entry.file_name().to_str().unwrap());
        if entry.path().is_dir() {
            tests_below(root, &path, into);
        } else if path.ends_with(".rs") {
            let text = std::fs::read_to_string(entry.path()).unwrap();
            let names =
                text.split("#[test]").skip(1).filter_map(|after| after.split_once("fn ")?.1.split_once('('));
            for (name, _) in names {
                for promise in promises(name) {
                    into.entry(promise).or_default().insert((path.clone(), name.to_owned()));
                }
            }
        }
    }
}

/// The promises that a test is of: `g05_g08_…` is of two, and `s07_g12_…` of one.
fn promises(test: &str) -> Vec<u8> {
    let number = |part: &str| part.get(1..).filter(|_| part.len() == 3)?.parse::<u8>().ok();
    let numbers = test.split('_').map_while(|part| number(part).map(|n| (part, n)));
    numbers.filter(|(part, _)| part.starts_with('g')).map(|(_, n)| n).collect()
}

#[test]
fn the_page_of_tests_lists_every_test_of_each_promise() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tests = Tests::new();
    for folder in ["src", "tests/it", "tests/schedules"] {
        tests_below(root, folder, &mut tests);
    }
    let promised = std::fs::read_to_string(root.join("docs/guarantees.md")).unwrap();
    let titles: Vec<&str> = promised.lines().filter_map(|line| line.strip_prefix("## G")).collect();
    let mut list = String::from(
        "# Tests of each promise\n\nWritten from the tests themselves; `tests/it/documents.rs` says how. What they do to a promise is in [trust.md](trust.md).\n",
    );
    for title in &titles {
        let number = title.split(' ').next().unwrap().parse().unwrap();
        write!(list, "\n## G{title}\n\n").unwrap();
        let tests = tests.remove(&number).unwrap_or_else(|| panic!("promise {number} has no test"));
        for (path, name) in tests {
            writeln!(list, "- [`{name}`](../{path})").unwrap();
        }
    }
    assert!(titles.len() >= 14, "these are not the promises: {titles:?}");
    assert!(tests.is_empty(), "tests of promises that nobody has made: {tests:?}");
    is_written(root, "docs/tests.md", &list);
}

/// Finds the names of the bugs that a folder of the source can plant.
fn bugs_below(folder: &Path, into: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            bugs_below(&path, into);
        } else {
            let text = std::fs::read_to_string(path).unwrap();
            let names = text.split("planted(\"").skip(1).filter_map(|after| after.split_once('"'));
            into.extend(names.map(|(name, _)| name.to_owned()));
        }
    }
}

#[test]
fn the_page_of_trust_counts_the_planted_bugs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut bugs, page) = (BTreeSet::new(), std::fs::read_to_string(root.join("docs/trust.md")).unwrap());
    bugs_below(&root.join("src"), &mut bugs);
    let said = format!("| planted bugs | {} bugs, one at a time", bugs.len());
    assert!(page.contains(&said), "docs/trust.md does not say \"{said}\"");
}

/// Code without comments at the ends of lines, and without any space: formatting is not what is compared.
fn bare(code: &str) -> String {
    let lines = code.lines().map(|line| line.split(" // ").next().unwrap());
    lines.flat_map(str::split_whitespace).collect()
}

#[test]
fn the_first_page_shows_a_program_that_runs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("README.md")).unwrap();
    let runs = bare(&std::fs::read_to_string(root.join("examples/quickstart.rs")).unwrap());
    let shown: Vec<&str> =
        page.split("```rust").skip(1).map(|block| block.split("```").next().unwrap()).collect();
    assert_eq!(shown.len(), 1);
    let code = shown[0].lines().filter(|line| !line.starts_with("use ")).map(|line| format!("{line}\n"));
    assert!(runs.contains(&bare(&code.collect::<String>())), "this is in no example:\n{}", shown[0]);
}

/// A link's definition: its label, and the file to which it leads, from the root of the tree, with `#` and an anchor if it has one.
type Definitions = BTreeMap<String, String>;

/// The definitions of a page of this folder, and the inline links in it that lead to other files.
fn links_of(folder: &str, page: &str) -> (Definitions, Vec<String>) {
    let is_foreign = |target: &str| target.starts_with("http") || target.starts_with('#');
    let definition = |line: &str| {
        let (label, target) = line.strip_prefix('[')?.split_once("]: ")?;
        (!is_foreign(target)).then(|| (label.to_owned(), from_root(folder, target)))
    };
    let inline = page.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    let inline = inline.filter(|target| !is_foreign(target) && !target.contains([' ', '|', '"', ',']));
    (page.lines().filter_map(definition).collect(), inline.map(str::to_owned).collect())
}

fn from_root(folder: &str, target: &str) -> String {
    match target.strip_prefix("../") {
        Some(target) => target.to_owned(),
        None => format!("{folder}{target}"),
    }
}

/// The anchors of a page's headings, as both readers of Markdown make them.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut is_code = false;
    let mut headings = BTreeSet::new();
    for line in page.lines() {
        is_code ^= line.starts_with("```");
        if let Some(title) = line.strip_prefix('#').filter(|_| !is_code) {
            let title = title.trim_start_matches('#').trim();
            let kept = title.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
            headings.insert(kept.collect::<String>().to_lowercase().replace(' ', "-"));
        }
    }
    headings
}

/// Where a link leads in the crate's documentation.
fn in_the_documentation(target: &str, modules: &BTreeMap<String, String>) -> String {
    let (file, anchor) =
        target.split_once('#').map_or((target, String::new()), |(file, anchor)| (file, format!("#{anchor}")));
    match modules.get(file) {
        Some(module) => format!("crate::guide::{module}{anchor}"),
        None if file == "docs/README.md" => format!("crate::guide{anchor}"),
        None if file == "README.md" => format!("crate{anchor}"),
        None => format!("<https://docs.rs/crate/perdura/latest/source/{target}>"),
    }
}

/// A picture as a text that stands for it in a link.
fn data_uri(root: &Path, file: &str) -> String {
    use base64::Engine as _;
    let kind = if file.ends_with(".svg") { "svg+xml" } else { "png" };
    let bytes = std::fs::read(root.join(file)).unwrap();
    format!("data:image/{kind};base64,{}", base64::engine::general_purpose::STANDARD.encode(bytes))
}

fn is_picture(file: &str) -> bool {
    file.ends_with(".svg") || file.ends_with(".png")
}

/// Compares with what a file of the tree holds, or writes it.
fn is_written(root: &Path, file: &str, text: &str) {
    if std::env::var_os("PERDURA_BLESS").is_some() {
        return std::fs::write(root.join(file), text).unwrap();
    }
    let is = std::fs::read_to_string(root.join(file)).unwrap();
    assert!(is == text, "PERDURA_BLESS=1 writes {file} anew");
}

#[test]
fn the_links_of_the_guide_lead_somewhere_in_files_and_in_the_documentation() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guide = std::fs::read_to_string(root.join("src/guide.rs")).unwrap();
    let module = |line: &str| {
        let (name, file) = line.trim().split_once(" = \"")?;
        Some((format!("docs/{}", file.strip_suffix("\";")?), name.to_owned()))
    };
    let modules: BTreeMap<String, String> = guide.lines().filter_map(module).collect();
    assert!(modules.len() > 20, "these are not the pages: {modules:?}");
    let mut all = Definitions::new();
    let pages = modules.keys().map(String::as_str).chain(["README.md", "docs/README.md"]);
    for page in pages {
        let text = std::fs::read_to_string(root.join(page)).unwrap();
        let (definitions, inline) = links_of(if page.starts_with("docs/") { "docs/" } else { "" }, &text);
        assert_eq!(
            inline,
            Vec::<String>::new(),
            "{page}: links to files are written [text][label], see src/guide.rs"
        );
        for (label, target) in definitions {
            assert!(text.contains(&format!("][{label}]")), "{page}: nothing leads to {label}");
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            assert!(root.join(file).exists(), "{page}: {label} leads to {file}, which is not there");
            if !anchor.is_empty() {
                let there = std::fs::read_to_string(root.join(file)).unwrap();
                assert!(anchors(&there).contains(anchor), "{page}: {file} has no heading {anchor}");
            }
            let before = all.insert(label.clone(), target.clone());
            assert!(before.is_none_or(|before| before == target), "{label} means two files");
        }
        for (_, rest) in text.match_indices("][").map(|(at, _)| text.split_at(at + 2)) {
            let label = rest.split_once(']').map_or("", |(label, _)| label);
            let is_label = !label.is_empty() && !label.contains([' ', '"', '\n']);
            assert!(!is_label || text.contains(&format!("\n[{label}]: ")), "{page}: {label} is not defined");
        }
    }
    let (pictures, links): (Definitions, Definitions) =
        all.into_iter().partition(|(_, target)| is_picture(target));
    let links = links
        .iter()
        .map(|(label, target)| format!("[{label}]: {}\n", in_the_documentation(target, &modules)));
    is_written(root, "src/guide/links.md", &format!("{}\n", links.collect::<String>()));
    let pictures = pictures.iter().map(|(label, file)| format!("[{label}]: {}\n", data_uri(root, file)));
    is_written(root, "src/guide/pictures.md", &format!("{}\n", pictures.collect::<String>()));
}

/// The names that lines of this item of a file declare: those of an enum's variants, or of a struct's public fields.
fn names_in(root: &Path, file: &str, item: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root.join(file)).unwrap();
    let (_, behind) = text.split_once(item).unwrap_or_else(|| panic!("{file} has no {item}"));
    let body = behind.split("\n}").next().unwrap();
    let name = |line: &str| {
        let line = line.strip_prefix("    ").filter(|line| !line.starts_with([' ', '/', '#']))?;
        let name = line.strip_prefix("pub ").unwrap_or(line).split([':', ',', '(']).next()?;
        Some(name.to_owned())
    };
    body.lines().filter_map(name).collect()
}

#[test]
fn the_guide_names_every_error_every_setting_and_every_example() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let names = |page: &str, all: &[String]| {
        let text = std::fs::read_to_string(root.join(page)).unwrap();
        assert!(all.len() > 15, "these are not all: {all:?}");
        let missing: Vec<&String> = all.iter().filter(|name| !text.contains(&format!("`{name}`"))).collect();
        assert!(missing.is_empty(), "{page} does not name {missing:?}");
    };
    names("docs/error-kinds.md", &names_in(root, "src/error.rs", "pub enum ErrorKind {"));
    names("docs/configuration.md", &names_in(root, "src/config.rs", "pub struct Config {"));
    let examples = std::fs::read_dir(root.join("examples")).unwrap();
    let examples = examples.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let page = std::fs::read_to_string(root.join("docs/examples.md")).unwrap();
    let missing: Vec<String> = examples.filter(|name| !page.contains(&format!("examples/{name}"))).collect();
    assert!(missing.is_empty(), "docs/examples.md does not name {missing:?}");
}
