//! How fast perdura is, beside a bare rusqlite loop that runs the same statements on the same schema, in the same run.
//!
//! ```sh
//! cargo bench --features sql-log -- --quick          # the table in about a minute
//! cargo bench --features sql-log                     # table and curves in about ten
//! cargo bench --features sql-log -- drain claim      # only rows whose name has one of these words
//! cargo bench --features sql-log -- --json FILE --svg DIR --peers FILE --rounds N --dir DIR
//! cargo bench --features sql-log -- --soak 60        # an hour of full load: how large the WAL gets, and the tails
//! ```
//!
//! `--svg` draws the curves, and with `--peers` what `benches/peers/run` has written, into DIR.
//!
//! A figure is the median of several rounds (the table says of how many); raw and perdura take turns within each. Machines with other tenants are noisy, so what
//! counts is the ratio. Nothing here asserts a time: a row that misses its target says so, and that is all.

mod chart;
mod conditions;
mod idle;
mod list;
mod measure;
mod probe;
mod raw;
mod report;
mod rows;
mod soak;
mod trace;
mod work;

use std::error::Error;
use std::path::PathBuf;

use report::Report;

/// What the program was asked to do.
pub struct Asked {
    /// Fewer rounds and smaller tables; no curves.
    pub quick: bool,
    pub rounds: usize,
    pub words: Vec<String>,
    pub dir: PathBuf,
    json: Option<PathBuf>,
    svg: Option<PathBuf>,
    peers: Option<PathBuf>,
    soak: Option<u64>,
}

impl Asked {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Asked, Box<dyn Error>> {
        let mut asked = Asked {
            quick: false,
            rounds: 0,
            words: Vec::new(),
            dir: PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("speed"),
            json: None,
            svg: None,
            peers: None,
            soak: None,
        };
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--bench" => {} // cargo says so
                "--quick" => asked.quick = true,
                "--rounds" => asked.rounds = value()?.parse()?,
                "--dir" => asked.dir = value()?.into(),
                "--json" => asked.json = Some(value()?.into()),
                "--svg" => asked.svg = Some(value()?.into()),
                "--peers" => asked.peers = Some(value()?.into()),
                "--soak" => asked.soak = Some(value()?.parse()?),
                word if !word.starts_with('-') => asked.words.push(word.to_owned()),
                other => return Err(format!("unknown option {other}; see benches/speed/main.rs").into()),
            }
        }
        if asked.rounds == 0 {
            asked.rounds = if asked.quick { 3 } else { 7 };
        }
        Ok(asked)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1).peekable();
    if let Some(role) = args.next_if(|arg| arg.starts_with("--child-")) {
        return idle::child(&role, args);
    }
    let asked = Asked::parse(args)?;
    std::fs::create_dir_all(&asked.dir)?;
    trace::install()?;
    let mut report = Report::new(conditions::of(&asked.dir)?);
    println!("{}", report.conditions);
    if let Some(minutes) = asked.soak {
        soak::run(&asked, minutes, &mut report)?;
    } else {
        for row in list::ROWS {
            if asked.words.is_empty() || asked.words.iter().any(|word| row.name.contains(word.as_str())) {
                if row.whole_only && asked.quick && asked.words.is_empty() {
                    continue;
                }
                (row.run)(&asked, &mut report)?;
            }
        }
        report.print_table();
    }
    if let Some(path) = &asked.json {
        std::fs::write(path, report.json_lines()?)?;
    }
    if let Some(dir) = &asked.svg {
        std::fs::create_dir_all(dir)?;
        chart::draw(&report, asked.peers.as_deref(), dir)?;
    }
    Ok(())
}
