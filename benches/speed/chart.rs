//! Draws the curves, and the comparison with peers, as SVG.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;
use serde_json::Value;

use crate::measure::Rounds;
use crate::report::{Curve, Report};

type Outcome<T> = Result<T, Box<dyn Error>>;

const SIZE: (u32, u32) = (760, 440);
const COLOURS: [RGBColor; 5] = [
    RGBColor(0, 90, 181),
    RGBColor(220, 110, 0),
    RGBColor(90, 90, 90),
    RGBColor(0, 130, 90),
    RGBColor(150, 60, 150),
];
const INK: RGBColor = RGBColor(40, 40, 40);

/// How a chart is drawn that the curves name.
struct Plan {
    name: &'static str,
    title: &'static str,
    log_x: bool,
    log_y: bool,
    legend: SeriesLabelPosition,
}

const PLANS: &[Plan] = &[
    Plan {
        name: "callers",
        title: "Enqueue one by one, from several threads",
        log_x: true,
        log_y: true,
        legend: SeriesLabelPosition::LowerRight,
    },
    Plan {
        name: "workers",
        title: "Drain of no-op tasks with results",
        log_x: false,
        log_y: false,
        legend: SeriesLabelPosition::LowerRight,
    },
    Plan {
        name: "claim",
        title: "Claim + settle beside finished tasks (FULL)",
        log_x: true,
        log_y: true,
        legend: SeriesLabelPosition::MiddleRight,
    },
    Plan {
        name: "wear",
        title: "Bytes written per task, by the size of its args (FULL)",
        log_x: true,
        log_y: true,
        legend: SeriesLabelPosition::UpperLeft,
    },
];

/// Draws every chart that there are figures for.
pub fn draw(report: &Report, peers: Option<&Path>, dir: &Path) -> Outcome<()> {
    let conditions = short_conditions(report);
    for plan in PLANS {
        let curves: Vec<&Curve> = report.curves.iter().filter(|curve| curve.chart == plan.name).collect();
        if !curves.is_empty() {
            draw_curves(plan, &curves, &conditions, &dir.join(format!("{}.svg", plan.name)))?;
        }
    }
    if let Some(file) = peers {
        let c = &report.conditions;
        let foot = format!(
            "each with the SQLite that it brings; {} × {}, {}; perdura \"one at a time\" is its testing kit, without threads",
            c.processors, c.processor, c.file_system
        );
        draw_peers(&Rates::read(&std::fs::read_to_string(file)?)?, &foot, &dir.join("peers.svg"))?;
    }
    Ok(())
}

fn short_conditions(report: &Report) -> String {
    let c = &report.conditions;
    format!(
        "SQLite {}, WAL; {} × {}; {}; one 4 KiB write + fdatasync {:.0} µs",
        c.sqlite, c.processors, c.processor, c.file_system, c.sync_us
    )
}

/// The smallest range of whole decades around the values.
fn decades(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let least = values.clone().fold(f64::INFINITY, f64::min).max(1e-3);
    let most = values.fold(0.0, f64::max).max(least);
    (10_f64.powf(least.log10().floor()), 10_f64.powf(most.log10().ceil()))
}

fn draw_curves(plan: &Plan, curves: &[&Curve], conditions: &str, file: &Path) -> Outcome<()> {
    let xs = curves.iter().flat_map(|curve| curve.points.iter().map(|p| p.0));
    let ys = curves.iter().flat_map(|curve| curve.points.iter().map(|p| p.1));
    let (x0, x1) = (xs.clone().fold(f64::INFINITY, f64::min), xs.fold(0.0, f64::max));
    let (low, high) = decades(ys.clone());
    let top = ys.fold(0.0, f64::max) * 1.15;
    match (plan.log_x, plan.log_y) {
        (true, true) => {
            draw_on(plan, curves, conditions, file, (x0..x1).log_scale(), (low..high).log_scale())
        }
        (true, false) => draw_on(plan, curves, conditions, file, (x0..x1).log_scale(), 0.0..top),
        (false, true) => draw_on(plan, curves, conditions, file, x0..x1, (low..high).log_scale()),
        (false, false) => draw_on(plan, curves, conditions, file, x0..x1, 0.0..top),
    }
}

fn draw_on<X, Y>(plan: &Plan, curves: &[&Curve], conditions: &str, file: &Path, x: X, y: Y) -> Outcome<()>
where
    X: AsRangedCoord<Value = f64>,
    Y: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let area = canvas(file, conditions)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(plan.title, ("sans-serif", 20).into_font().color(&INK))
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(82)
        .build_cartesian_2d(x, y)?;
    chart
        .configure_mesh()
        .x_desc(curves[0].x)
        .y_desc(curves[0].y)
        .x_label_formatter(&|x| figure(*x))
        .y_label_formatter(&|y| figure(*y))
        .label_style(("sans-serif", 13).into_font().color(&INK))
        .bold_line_style(RGBColor(222, 222, 222))
        .light_line_style(TRANSPARENT)
        .draw()?;
    for (curve, colour) in curves.iter().zip(COLOURS) {
        let line =
            chart.draw_series(LineSeries::new(curve.points.iter().copied(), colour.stroke_width(2)))?;
        line.label(format!("{}   ", curve.name))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(3)));
        chart.draw_series(curve.points.iter().map(|point| Circle::new(*point, 3, colour.filled())))?;
    }
    legend(&mut chart, plan.legend.clone())?;
    area.present()?;
    Ok(())
}

/// A white page with the conditions at its foot; what is above them is to draw on.
fn canvas<'a>(file: &'a Path, conditions: &str) -> Outcome<DrawingArea<SVGBackend<'a>, Shift>> {
    let page = SVGBackend::new(file, SIZE).into_drawing_area();
    page.fill(&WHITE)?;
    let (area, foot) = page.split_vertically(SIZE.1 as i32 - 26);
    let style = ("sans-serif", 12).into_font().color(&RGBColor(90, 90, 90));
    foot.draw(&Text::new(conditions.to_owned(), (14, 6), style))?;
    Ok(area)
}

/// Draws the names of what the chart has.
fn legend<'a, X, Y>(
    chart: &mut ChartContext<'a, SVGBackend<'a>, Cartesian2d<X, Y>>,
    position: SeriesLabelPosition,
) -> Outcome<()>
where
    X: Ranged,
    Y: Ranged,
{
    chart
        .configure_series_labels()
        .position(position)
        .background_style(WHITE.mix(0.85))
        .border_style(RGBColor(200, 200, 200))
        .label_font(("sans-serif", 14).into_font().color(&INK))
        .draw()?;
    Ok(())
}

/// 12,000 is 12k.
fn figure(x: f64) -> String {
    match x.abs() {
        a if a >= 1e6 => format!("{}M", round(x / 1e6)),
        a if a >= 1e3 => format!("{}k", round(x / 1e3)),
        _ => round(x),
    }
}

fn round(x: f64) -> String {
    let text = format!("{x:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// The works of the peer comparison that are rates, and how they are called.
const WORKS: [(&str, &str); 4] = [
    ("enqueue-one", "enqueue one by one"),
    ("enqueue-batch", "enqueue by 1,000"),
    ("drain", "drain, 2 workers"),
    ("one-at-a-time", "one at a time"),
];

/// Tasks a second by work and peer, of durable settings only: a mode that may lose confirmed work is not compared with one that may not.
struct Rates {
    peers: Vec<String>,
    by_work_and_peer: BTreeMap<(String, String), Rounds>,
}

impl Rates {
    /// Reads what `benches/peers/run` has written.
    fn read(lines: &str) -> Outcome<Rates> {
        let mut rates = Rates { peers: Vec::new(), by_work_and_peer: BTreeMap::new() };
        for line in lines.lines().filter(|line| !line.trim().is_empty()) {
            let line: Value = serde_json::from_str(line)?;
            let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
            let Some(rate) = line["per_second"].as_f64().filter(|_| line["durable"] == true) else {
                continue;
            };
            if !rates.peers.contains(&text("peer")) {
                rates.peers.push(text("peer"));
            }
            rates.by_work_and_peer.entry((text("work"), text("peer"))).or_default().0.push(rate);
        }
        Ok(rates)
    }

    fn of(&self, work: &str, peer: &str) -> Option<f64> {
        Some(self.by_work_and_peer.get(&(work.to_owned(), peer.to_owned()))?.median())
    }
}

/// Bars, by work and peer.
fn draw_peers(rates: &Rates, conditions: &str, file: &Path) -> Outcome<()> {
    let groups = WORKS.len() as f64;
    let (low, high) =
        decades(rates.by_work_and_peer.values().map(Rounds::median).collect::<Vec<_>>().into_iter());
    let area = canvas(file, conditions)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(
            "Tasks a second, every queue with synchronous=FULL (log scale)",
            ("sans-serif", 20).into_font().color(&INK),
        )
        .margin(12)
        .x_label_area_size(34)
        .y_label_area_size(66)
        .build_cartesian_2d(0.0..groups, (low..high).log_scale())?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(WORKS.len() * 2 + 1)
        .x_label_formatter(&|x| match (x.fract() * 10.0).round() as i64 {
            5 => WORKS.get(*x as usize).map_or(String::new(), |(_, name)| (*name).to_owned()),
            _ => String::new(),
        })
        .y_label_formatter(&|y| figure(*y))
        .label_style(("sans-serif", 13).into_font().color(&INK))
        .bold_line_style(RGBColor(222, 222, 222))
        .light_line_style(TRANSPARENT)
        .draw()?;
    let width = 0.84 / rates.peers.len().max(1) as f64;
    for (at, (peer, colour)) in rates.peers.iter().zip(COLOURS).enumerate() {
        let bars: Vec<(f64, f64)> = (0..WORKS.len())
            .filter_map(|group| {
                Some((group as f64 + 0.08 + at as f64 * width, rates.of(WORKS[group].0, peer)?))
            })
            .collect();
        let boxes = bars
            .iter()
            .map(|(x, rate)| Rectangle::new([(*x, low), (x + width * 0.92, *rate)], colour.filled()));
        chart
            .draw_series(boxes)?
            .label(format!("{peer}   "))
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 14, y + 5)], colour.filled()));
        let style = ("sans-serif", 12).into_font().color(&INK);
        chart.draw_series(
            bars.iter().map(|(x, rate)| Text::new(figure(*rate), (*x, *rate * 1.28), style.clone())),
        )?;
    }
    legend(&mut chart, SeriesLabelPosition::UpperRight)?;
    area.present()?;
    Ok(())
}
