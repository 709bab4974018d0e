//! Curves over time, as SVG.

use plotters::backend::SVGBackend;
use plotters::chart::{ChartBuilder, SeriesLabelPosition};
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, IntoDrawingArea as _};
use plotters::element::PathElement;
use plotters::element::Text;
use plotters::series::LineSeries;
use plotters::style::{BLACK, Color as _, IntoFont as _, RGBColor, WHITE};

use super::judge::Report;
use super::outcome::{Outcome, Usage};

/// The width of a figure, in pixels.
const WIDTH: u32 = 960;
/// The height of one panel.
const PANEL: u32 = 220;
/// The height of a line of text above.
const LINE: u32 = 18;
/// Lines in one panel; more streams are left out of the picture, not of the report.
const CURVES: usize = 12;
/// Colours that can be told apart.
const COLOURS: [RGBColor; 6] = [
    RGBColor(31, 119, 180),
    RGBColor(214, 39, 40),
    RGBColor(44, 160, 44),
    RGBColor(148, 103, 189),
    RGBColor(255, 127, 14),
    RGBColor(23, 158, 158),
];

/// Why there is no figure.
#[derive(Debug, thiserror::Error)]
#[error("the figure can't be drawn: {0}")]
pub struct PlotError(String);

/// One panel: curves over seconds.
#[derive(Debug, Clone)]
pub struct Panel {
    /// What stands above.
    pub title: String,
    /// What is drawn.
    pub curves: Vec<Curve>,
}

/// One line of a [`Panel`].
#[derive(Debug, Clone)]
pub struct Curve {
    /// What it is called, where there is more than one.
    pub name: String,
    /// Seconds, and values.
    pub points: Vec<(f64, f64)>,
}

/// A figure of an outcome: latency, frame rate and bit rate of each stream; with `resources` also this
/// process's memory, threads, descriptors and processors. Lines of text stand above.
///
/// # Errors
/// If it can't be drawn.
pub fn figure(outcome: &Outcome, text: &[String], resources: bool) -> Result<String, PlotError> {
    let mut panels = streams(outcome);
    if resources {
        panels.extend(used(&outcome.resources.samples));
    }
    panels.retain(|panel| !panel.curves.is_empty());
    draw(&panels, text)
}

fn streams(outcome: &Outcome) -> Vec<Panel> {
    let reports = &outcome.connections;
    let latency = |maximum: bool| {
        curves(reports, move |point| match maximum {
            true => point.latency_max_ms,
            false => point.latency_ms,
        })
    };
    vec![
        Panel::new("latency, ms (mean of each step)", latency(false)),
        Panel::new("latency, ms (greatest of each step)", latency(true)),
        Panel::new(
            "pictures per second",
            curves(reports, |point| Some(point.frame_rate)),
        ),
        Panel::new(
            "Mbit/s",
            curves(reports, |point| Some(point.bitrate? / 1e6)),
        ),
    ]
}

/// A curve of each video stream.
fn curves(reports: &[Report], value: impl Fn(&super::judge::Point) -> Option<f64>) -> Vec<Curve> {
    let mut all = Vec::new();
    for report in reports {
        let videos = report
            .streams
            .iter()
            .filter(|stream| stream.video.is_some());
        for stream in videos {
            let step = stream.curve.step_seconds;
            let points = stream.curve.points.iter().enumerate();
            let points: Vec<_> = points
                .filter_map(|(at, point)| Some(((at as f64 + 0.5) * step, value(point)?)))
                .collect();
            if !points.is_empty() {
                all.push(Curve {
                    name: report.name.clone(),
                    points,
                });
            }
        }
    }
    all.truncate(CURVES);
    all
}

fn used(samples: &[Usage]) -> Vec<Panel> {
    let curve = |name: &str, value: &dyn Fn(&Usage) -> Option<f64>| {
        let points: Vec<_> = samples
            .iter()
            .filter_map(|it| Some((it.at, value(it)?)))
            .collect();
        Some(Curve {
            name: name.to_owned(),
            points,
        })
        .filter(|curve| !curve.points.is_empty())
    };
    let panel = |title, curves: Vec<Option<Curve>>| {
        Panel::new(title, curves.into_iter().flatten().collect())
    };
    vec![
        panel(
            "age of pictures when they were sent, ms (mean of a second)",
            vec![curve("frame age", &|it| it.frame_age_ms)],
        ),
        panel(
            "resident memory, MiB",
            vec![curve("memory", &|it| Some(it.memory as f64 / 1_048_576.0))],
        ),
        panel(
            "threads and descriptors",
            vec![
                curve("threads", &|it| Some(it.threads as f64)),
                curve("descriptors", &|it| Some(it.descriptors as f64)),
            ],
        ),
        panel(
            "busy processors",
            vec![curve("processors", &|it| Some(it.processors))],
        ),
    ]
}

impl Panel {
    fn new(title: &str, curves: Vec<Curve>) -> Self {
        Self {
            title: title.to_owned(),
            curves,
        }
    }

    /// Where the axes end: a little above everything, and never empty.
    fn bounds(&self) -> (f64, f64) {
        let points = || self.curves.iter().flat_map(|curve| &curve.points);
        let right = points().map(|(x, _)| *x).fold(1.0, f64::max);
        let top = points().map(|(_, y)| *y).fold(0.0, f64::max);
        (right, if top > 0.0 { top * 1.15 } else { 1.0 })
    }
}

/// Panels, one below the other, with lines of text above.
///
/// # Errors
/// If they can't be drawn.
pub fn draw(panels: &[Panel], text: &[String]) -> Result<String, PlotError> {
    let count = |n: usize| u32::try_from(n).unwrap_or(0);
    let head = LINE * (count(text.len()) + 1);
    let height = head + PANEL * count(panels.len()).max(1);
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        let failed = |error: &dyn std::fmt::Display| PlotError(error.to_string());
        root.fill(&WHITE).map_err(|error| failed(&error))?;
        let (top, rest) = root.split_vertically(head);
        for (number, line) in text.iter().enumerate() {
            let place = (
                12,
                i32::try_from(LINE * count(number) + LINE / 2).unwrap_or(0),
            );
            let line = Text::new(line.clone(), place, ("sans-serif", 13).into_font());
            top.draw(&line).map_err(|error| failed(&error))?;
        }
        let areas = rest.split_evenly((panels.len().max(1), 1));
        for (panel, area) in panels.iter().zip(&areas) {
            plot(panel, area)?;
        }
        root.present().map_err(|error| failed(&error))?;
    }
    Ok(svg)
}

fn plot(panel: &Panel, area: &DrawingArea<SVGBackend<'_>, Shift>) -> Result<(), PlotError> {
    let failed = |error: &dyn std::fmt::Display| PlotError(error.to_string());
    let (right, top) = panel.bounds();
    let mut chart = ChartBuilder::on(area)
        .caption(&panel.title, ("sans-serif", 15))
        .margin(8)
        .x_label_area_size(28)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..right, 0.0..top)
        .map_err(|error| failed(&error))?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc("seconds")
        .draw()
        .map_err(|error| failed(&error))?;
    for (curve, colour) in panel.curves.iter().zip(COLOURS.iter().cycle()) {
        let line = LineSeries::new(curve.points.iter().copied(), colour.stroke_width(1));
        let colour = *colour;
        chart
            .draw_series(line)
            .map_err(|error| failed(&error))?
            .label(curve.name.clone())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour));
    }
    if panel.curves.len() > 1 {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .draw()
            .map_err(|error| failed(&error))?;
    }
    Ok(())
}
