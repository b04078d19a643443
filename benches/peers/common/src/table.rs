//! `peers-table FILE.jsonl`: the medians of all rounds, as two tables. Settings that survive a power cut and settings that do not
//! are never in one table: most of the difference between them would be the disk's syncs.

use std::collections::{BTreeMap, BTreeSet};

use peers_common::Work;
use serde_json::Value;

/// One program's runs of one work under one setting.
#[derive(Default)]
struct Cell {
    rates: Vec<f64>,
    p50s: Vec<f64>,
    p99s: Vec<f64>,
    bytes: Vec<f64>,
    setting: String,
    skipped: Option<String>,
}

type Column = String;
type Cells = BTreeMap<(Column, &'static str), Cell>;

fn main() {
    let file = std::env::args().nth(1).unwrap_or_else(|| {
        eprintln!("usage: peers-table FILE.jsonl");
        std::process::exit(2)
    });
    let text = std::fs::read_to_string(&file).unwrap_or_else(|e| {
        eprintln!("{file}: {e}");
        std::process::exit(1)
    });
    let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    for (durable, title) in [
        (true, "What was acknowledged survives a power cut (synchronous=FULL)"),
        (false, "A power cut may take acknowledged work (less than FULL)"),
    ] {
        let lines: Vec<&Value> = lines.iter().filter(|line| is_durable(line) == durable).collect();
        if !lines.is_empty() {
            println!("{title}\n");
            print_table(&lines);
        }
    }
}

/// Which table a line belongs to. A run that did not get to an answer belongs where its setting was meant to be.
fn is_durable(line: &Value) -> bool {
    let meant = line["full"] == true || line["peer"] == "perdura" && line["relaxed"] != true;
    line["durable"].as_bool().unwrap_or(meant)
}

fn print_table(lines: &[&Value]) {
    let mut cells = Cells::new();
    let mut sqlites: BTreeMap<Column, String> = BTreeMap::new();
    for line in lines {
        let Some(work) = Work::ALL.into_iter().find(|work| work.name() == line["work"]) else { continue };
        cells.entry((column(line), work.name())).or_default().add(line);
        if line["skipped"].is_null() {
            sqlites.insert(column(line), text(line, "libsqlite3_sys"));
        }
    }
    // Those without a single figure get no column, but their reasons below.
    let columns: Vec<&Column> = sqlites.keys().collect();
    let row = |label: String, figure: &dyn Fn(&Column) -> String| -> Vec<String> {
        std::iter::once(label).chain(columns.iter().map(|column| figure(column))).collect()
    };
    let mut rows = vec![
        row(String::new(), &|column| column.clone()),
        row("libsqlite3-sys".into(), &|column| sqlites[column].clone()),
    ];
    for work in Work::ALL {
        rows.push(row(label(work), &|column| figure(work, cells.get(&(column.clone(), work.name())))));
    }
    print_aligned(&rows);
    print_notes(lines);
}

fn column(line: &Value) -> Column {
    format!("{} {}", text(line, "peer"), text(line, "version"))
}

impl Cell {
    fn add(&mut self, line: &Value) {
        if let Some(reason) = line["skipped"].as_str() {
            self.skipped = Some(reason.into());
            return;
        }
        let setting = text(line, "durability");
        self.setting = setting.split(';').next().unwrap_or_default().into();
        let lists = [
            (&mut self.rates, "per_second"),
            (&mut self.p50s, "p50_us"),
            (&mut self.p99s, "p99_us"),
            (&mut self.bytes, "bytes_per_task"),
        ];
        for (list, field) in lists {
            list.extend(line[field].as_f64());
        }
    }
}

fn label(work: Work) -> String {
    let unit = match work {
        Work::Latency => "p50 / p99 ms",
        Work::Args100k => "KB written a task",
        _ => "tasks/s",
    };
    format!("{}, {unit}", work.name())
}

/// The medians, and the setting they were reached under.
fn figure(work: Work, cell: Option<&Cell>) -> String {
    let Some(cell) = cell.filter(|cell| !cell.rates.is_empty()) else { return "-".into() };
    let figure = match work {
        Work::Latency => format!("{:.2} / {:.2}", median(&cell.p50s) / 1e3, median(&cell.p99s) / 1e3),
        Work::Args100k => format!("{:.1}", median(&cell.bytes) / 1e3),
        _ => thousands(median(&cell.rates)),
    };
    // Some rounds gave no figure: a median of the others says too much without a mark.
    let mark = if cell.skipped.is_some() { "*" } else { "" };
    format!("{figure}{mark} ({})", cell.setting)
}

fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// Three significant digits and commas: the next digit changes from run to run.
fn thousands(figure: f64) -> String {
    let scale = 10f64.powf((figure.max(1.0).log10().floor() - 2.0).max(0.0));
    let digits = ((figure / scale).round() * scale).to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn print_aligned(rows: &[Vec<String>]) {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        println!("{}", cells.join("  ").trim_end());
    }
}

/// What the figures do not say: what a power cut takes, what was not measured and why, what a peer did differently.
fn print_notes(lines: &[&Value]) {
    let (mut takes, mut skipped, mut notes) = (Remarks::new(), Remarks::new(), Remarks::new());
    for line in lines {
        let remark = |remarks: &mut Remarks, about: String, field: &str| {
            if let Some(remark) = line[field].as_str() {
                remarks.entry((about, remark.into())).or_default().insert(text(line, "work"));
            }
        };
        let setting = format!("{}, {}", text(line, "peer"), text(line, "durability"));
        remark(&mut takes, setting, "power_cut_takes");
        remark(&mut skipped, text(line, "peer"), "skipped");
        remark(&mut notes, text(line, "peer"), "note");
    }
    print_remarks("What a power cut takes, by SQLite's documentation:", &takes, false);
    print_remarks("Not measured, or not in each round (*):", &skipped, true);
    print_remarks("Notes:", &notes, true);
    println!();
}

/// What is said about whom, and in which works.
type Remarks = BTreeMap<(String, String), BTreeSet<String>>;

fn print_remarks(title: &str, remarks: &Remarks, with_works: bool) {
    if remarks.is_empty() {
        return;
    }
    println!("\n{title}");
    for ((about, remark), works) in remarks {
        let works: Vec<&str> = works.iter().map(String::as_str).collect();
        let which = match works.len() {
            _ if !with_works => String::new(),
            all if all == Work::ALL.len() => ", all works".into(),
            _ => format!(", {}", works.join(" ")),
        };
        println!("  {about}{which}: {remark}");
    }
}

fn text(line: &Value, field: &str) -> String {
    line[field].as_str().unwrap_or("?").into()
}
