//! The comparison as an SVG bar chart: a panel for each figure, a bar for each contender, axes starting at zero.

use std::fmt::Write;

use crate::compare::Results;
use crate::contenders::{Contender, FLOOR, NOOP, RECEIVER};
use crate::figures::{self, Figure};
use crate::report::number;

const PANELS: [(&str, &str, &str, Figure); 6] = [
    (
        "Cold start: init + first delivery",
        "ms",
        "tls",
        figures::cold_answer,
    ),
    (
        "First delivery with the CPU share of 128 MB",
        "ms",
        "5ms-128",
        figures::first_answer,
    ),
    (
        "Warm delivery with the CPU share of 128 MB, median",
        "ms",
        "5ms-128",
        figures::warm_answer_ms,
    ),
    ("Warm delivery, CPU", "µs", "tls", figures::warm_cpu),
    (
        "Warm delivery, 99th percentile",
        "ms",
        "tls",
        figures::warm_answer_p99_ms,
    ),
    ("Resident memory", "MB", "tls", figures::rss),
];

const WIDTH: f64 = 880.0;
const MARGIN: f64 = 20.0;
const HEADER: f64 = 30.0;
const ROW: f64 = 19.0;
const BAR: f64 = 13.0;
const LABELS: f64 = 130.0;
const NUMBERS: f64 = 60.0;
const PER_LINE: usize = 2;

/// Renders the chart.
pub fn svg(results: &Results, contenders: &[Contender]) -> String {
    let panel_width = (WIDTH - MARGIN) / count(PER_LINE) - MARGIN;
    let panel_height = HEADER + ROW * count(contenders.len()) + MARGIN;
    let height = MARGIN + panel_height * count(PANELS.len().div_ceil(PER_LINE)) + 2.0 * MARGIN;
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="system-ui, sans-serif" font-size="12" fill="#24292f">
<title>The receiver compared with its peers; shorter bars are better</title>
<rect width="{WIDTH}" height="{height}" rx="6" fill="#ffffff"/>
"##
    );
    for (index, panel) in PANELS.iter().enumerate() {
        let x = MARGIN + count(index % PER_LINE) * (panel_width + MARGIN);
        let y = MARGIN + count(index / PER_LINE) * panel_height;
        svg.push_str(&draw(results, contenders, panel, (x, y, panel_width)));
    }
    let rounds = results.rounds;
    let (first, second) = (height - 26.0, height - 11.0);
    let _ = writeln!(
        svg,
        r##"<g font-size="11" fill="#57606a">
<text x="{MARGIN}" y="{first}">Shorter is better. Medians of {rounds} alternating rounds; times until the answer. A new contact with three AWS calls over TLS; 5 ms of added latency a call in the panels with the share of 128 MB.</text>
<text x="{MARGIN}" y="{second}">The no-op makes no calls. The floor makes the calls over plain HTTP, without verification, signatures or retries.</text>
</g>
</svg>"##
    );
    svg
}

fn draw(
    results: &Results,
    contenders: &[Contender],
    (title, unit, scene, figure): &(&str, &str, &str, Figure),
    (x, y, width): (f64, f64, f64),
) -> String {
    let value = |contender: &Contender| {
        results
            .scene(scene)
            .and_then(|it| it.median(contender.name, figure))
    };
    let largest = contenders
        .iter()
        .filter_map(value)
        .fold(f64::MIN_POSITIVE, f64::max);
    let mut svg = String::new();
    let _ = writeln!(
        svg,
        r#"<text x="{x}" y="{:.1}" font-size="13" font-weight="600">{title}, {unit}</text>"#,
        y + 14.0
    );
    for (row, contender) in contenders.iter().enumerate() {
        let Some(value) = value(contender) else {
            continue;
        };
        let top = y + HEADER + ROW * count(row);
        let length = ((width - LABELS - NUMBERS) * value / largest).max(1.0);
        let (colour, weight) = match contender.name {
            RECEIVER => ("#b7410e", "700"),
            NOOP | FLOOR => ("#c6cbd1", "400"),
            _ => ("#6e7f91", "400"),
        };
        let (bar, baseline) = (x + LABELS, top + BAR - 2.0);
        let _ = writeln!(
            svg,
            r#"<text x="{:.1}" y="{baseline:.1}" text-anchor="end" font-weight="{weight}">{}</text><rect x="{bar:.1}" y="{top:.1}" width="{length:.1}" height="{BAR}" fill="{colour}"/><text x="{:.1}" y="{baseline:.1}" font-weight="{weight}">{}</text>"#,
            bar - 6.0,
            contender.title,
            bar + length + 5.0,
            number(Some(value)),
        );
    }
    svg
}

fn count(number: usize) -> f64 {
    number as f64
}
