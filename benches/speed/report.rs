//! What was measured: a table for people, JSON Lines for programs, curves for the charts.

use std::error::Error;

use serde::Serialize;
use serde_json::json;

use crate::conditions::Conditions;
use crate::measure::Rounds;

/// A row of the table.
pub struct Row {
    pub name: String,
    /// Durability of what was measured: `FULL` or `NORMAL`, or nothing where it does not matter.
    pub synchronous: &'static str,
    pub unit: &'static str,
    pub raw: Option<Rounds>,
    pub perdura: Rounds,
    /// What decides: a ratio of the two, or perdura's own figure.
    pub judged: Rounds,
    pub target: Target,
}

/// What a row has to reach.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    AtLeast(f64),
    AtMost(f64),
    /// Shown, not judged.
    None,
}

impl Target {
    fn is_met(self, value: f64) -> Option<bool> {
        match self {
            Target::AtLeast(bound) => Some(value >= bound),
            Target::AtMost(bound) => Some(value <= bound),
            Target::None => None,
        }
    }

    fn text(self) -> String {
        match self {
            Target::AtLeast(bound) => format!("≥ {bound}"),
            Target::AtMost(bound) => format!("≤ {bound}"),
            Target::None => String::new(),
        }
    }
}

/// Points of a curve: x, and the median at x.
#[derive(Debug, Clone, Serialize)]
pub struct Curve {
    /// The chart that it belongs to.
    pub chart: &'static str,
    pub name: String,
    pub x: &'static str,
    pub y: &'static str,
    pub points: Vec<(f64, f64)>,
}

pub struct Report {
    pub conditions: Conditions,
    pub rows: Vec<Row>,
    pub curves: Vec<Curve>,
}

impl Report {
    pub fn new(conditions: Conditions) -> Report {
        Report { conditions, rows: Vec::new(), curves: Vec::new() }
    }

    /// Adds a row, and says it at once: the whole run is long.
    pub fn row(&mut self, row: Row) {
        println!("{}", line(&row));
        self.rows.push(row);
    }

    pub fn curve(&mut self, curve: Curve) {
        let points = curve.points.iter().map(|(x, y)| format!("{}: {}", number(*x), number(*y)));
        println!(
            "{} – {} ({} by {}): {}",
            curve.chart,
            curve.name,
            curve.y,
            curve.x,
            points.collect::<Vec<_>>().join(", ")
        );
        self.curves.push(curve);
    }

    pub fn print_table(&self) {
        println!("\n{}", self.conditions);
        println!(
            "{:<72} {:>6} {:>12} {:>12} {:>9} {:>24} {:>9}",
            "", "sync", "raw", "perdura", "judged", "(min – max) of rounds", "target"
        );
        for row in &self.rows {
            println!("{}", line(row));
        }
        let missed =
            self.rows.iter().filter(|row| row.target.is_met(row.judged.median()) == Some(false)).count();
        let judged = self.rows.iter().filter(|row| row.target.is_met(0.0).is_some()).count();
        println!("{} of {judged} targets met", judged - missed);
    }

    pub fn json_lines(&self) -> Result<String, Box<dyn Error>> {
        let mut lines = vec![json!({ "conditions": self.conditions })];
        lines.extend(self.rows.iter().map(|row| {
            json!({
                "row": row.name, "synchronous": row.synchronous, "unit": row.unit,
                "raw": row.raw.as_ref().map(|raw| &raw.0), "perdura": row.perdura.0, "judged": row.judged.0,
                "target": row.target.text(), "met": row.target.is_met(row.judged.median()),
            })
        }));
        lines.extend(self.curves.iter().map(|curve| json!({ "curve": curve })));
        Ok(lines.iter().map(|line| format!("{line}\n")).collect())
    }
}

fn line(row: &Row) -> String {
    let raw = row.raw.as_ref().map_or("–".to_owned(), |raw| number(raw.median()));
    let verdict = match row.target.is_met(row.judged.median()) {
        Some(true) => "met",
        Some(false) => "MISSED",
        None => "",
    };
    format!(
        "{:<72} {:>6} {:>12} {:>12} {:>9} {:>24} {:>9} {verdict}",
        format!("{} [{}]", row.name, row.unit),
        row.synchronous,
        raw,
        number(row.perdura.median()),
        number(row.judged.median()),
        format!("({} – {}) of {}", number(row.judged.min()), number(row.judged.max()), row.judged.0.len()),
        row.target.text()
    )
}

/// Three digits that mean something.
fn number(x: f64) -> String {
    match x.abs() {
        a if a >= 1000.0 => {
            let whole = format!("{:.0}", x);
            let (digits, mut text) = (whole.len(), String::new());
            for (at, digit) in whole.chars().enumerate() {
                if at > 0 && (digits - at) % 3 == 0 {
                    text.push(',');
                }
                text.push(digit);
            }
            text
        }
        a if a >= 100.0 => format!("{x:.0}"),
        a if a >= 10.0 => format!("{x:.1}"),
        _ => format!("{x:.2}"),
    }
}
