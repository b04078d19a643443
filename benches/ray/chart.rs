//! Draws how many jobs have ended, by time.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;

const COLOURS: [RGBColor; 2] = [RGBColor(220, 110, 0), RGBColor(0, 90, 181)];
const INK: RGBColor = RGBColor(40, 40, 40);

/// Draws curves, each with a name and the seconds at which jobs have ended.
pub fn draw(curves: &[(&str, Vec<f64>)], at_once: u32, path: &Path) -> Result<(), Box<dyn Error>> {
    let last = curves.iter().flat_map(|(_, ends)| ends).copied().fold(0.0, f64::max);
    let jobs = curves.iter().map(|(_, ends)| ends.len()).max().unwrap_or(0);
    let area = SVGBackend::new(path, (760, 440)).into_drawing_area();
    area.fill(&WHITE)?;
    let title = format!("{jobs} jobs on a Ray cluster, {at_once} at once: how many have ended");
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 20).into_font().color(&INK))
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..last * 1.02, 0..jobs)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc("seconds")
        .y_desc("jobs that have ended")
        .label_style(("sans-serif", 14))
        .draw()?;
    for ((name, ends), colour) in curves.iter().zip(COLOURS) {
        let mut ends = ends.clone();
        ends.sort_by(f64::total_cmp);
        let points = ends.into_iter().zip(1..);
        let line = chart.draw_series(LineSeries::new(points, colour.stroke_width(2)))?;
        line.label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], colour.stroke_width(3)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.9))
        .border_style(INK.mix(0.3))
        .label_font(("sans-serif", 15))
        .draw()?;
    area.present()?;
    Ok(())
}
