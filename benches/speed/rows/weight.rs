//! What it costs to build a program that links perdura.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::Asked;
use crate::measure::Rounds;
use crate::report::{Report, Row, Target};

/// A program with one dependency, in a folder of its own.
struct Program(PathBuf);

impl Program {
    fn new(dir: &Path, name: &str, dependency: &str) -> Result<Program, Box<dyn Error>> {
        let program = Program(dir.join(name));
        std::fs::create_dir_all(program.0.join("src"))?;
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n[dependencies]\n{dependency}\n"
        );
        std::fs::write(program.0.join("Cargo.toml"), manifest)?;
        std::fs::write(program.0.join("src/main.rs"), "fn main() {}\n")?;
        Ok(program)
    }

    fn cargo(&self, args: &[&str]) -> Result<String, Box<dyn Error>> {
        let mut cargo = Command::new("cargo");
        cargo.args(args).current_dir(&self.0).env("CARGO_TARGET_DIR", self.0.join("target"));
        let output = cargo.output()?;
        match output.status.success() {
            true => Ok(String::from_utf8(output.stdout)?),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned().into()),
        }
    }

    /// Crates that are linked or run at build time, this program not counted.
    fn crates(&self) -> Result<usize, Box<dyn Error>> {
        let tree = self.cargo(&["tree", "--edges", "normal,build", "--prefix", "none", "--format", "{p}"])?;
        let names = tree.lines().map(|line| line.trim_end_matches(" (*)"));
        Ok(names.collect::<std::collections::BTreeSet<_>>().len() - 1)
    }

    /// Seconds of a clean build, with everything downloaded.
    fn build(&self) -> Result<f64, Box<dyn Error>> {
        self.cargo(&["clean"])?;
        let began = Instant::now();
        self.cargo(&["build", "--release"])?;
        Ok(began.elapsed().as_secs_f64())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn weight(asked: &Asked, report: &mut Report) -> Result<(), Box<dyn Error>> {
    let ours = format!("perdura = {{ path = {:?} }}", env!("CARGO_MANIFEST_DIR"));
    let ours = Program::new(&asked.dir, "with-perdura", &ours)?;
    let bare = Program::new(
        &asked.dir,
        "with-rusqlite",
        r#"rusqlite = { version = "0.40", features = ["bundled"] }"#,
    )?;
    let one = |n: usize| Rounds(vec![n as f64]);
    let (raw, crates) = (one(bare.crates()?), one(ours.crates()?));
    report.row(Row {
        name: "crates of a program; raw: rusqlite bundled alone".into(),
        synchronous: "",
        unit: "crates",
        raw: Some(raw),
        judged: crates.clone(),
        perdura: crates,
        target: Target::AtMost(50.0),
    });
    let (mut raw, mut times) = (Rounds::default(), Rounds::default());
    for _ in 0..asked.rounds.min(2) {
        raw.0.push(bare.build()?);
        times.0.push(ours.build()?);
    }
    report.row(Row {
        name: "clean release build; raw: rusqlite bundled alone".into(),
        synchronous: "",
        unit: "s",
        judged: times.over(&raw),
        raw: Some(raw),
        perdura: times,
        target: Target::AtMost(1.3),
    });
    Ok(())
}
