//! `operator status`
//!
//! The figures are those of the stack's dashboard, whose text says which metrics they are.

mod dashboard;

use std::{io::IsTerminal, time::Duration};

use anyhow::{Context, bail};
use aws_sdk_cloudwatch::{
    Client,
    primitives::DateTime,
    types::{Dimension, Metric, MetricDataQuery, MetricStat, ScanBy},
};
use clap::Args;
use serde::Serialize;
use titanx_receiver::budget::now_ms;

use self::dashboard::Figure;
use crate::{
    commands::CommandStatus,
    screen::{Screen, escape_control, format_time, output_failed},
    stack::{Stack, StackOptions},
};

/// Show the dashboard's figures of the last hour and the last day
///
/// Reads the stack's dashboard from CloudWatch, and the metrics that it names. A figure that counts
/// is the sum over the hour or the day. Any other (a depth, an age, a time) is the highest of its
/// five minutes, or of its two hours. On a terminal, a line of bars shows how it went. Figures without data are
/// left out; --json has them too.
///
/// CloudWatch takes 1 US cent for a thousand metrics, so a look costs about 0.1 cent.
#[derive(Args)]
#[command(after_help = "\
Examples:
  operator status --stack titanx-receiver
  operator status --stack titanx-receiver --watch
  operator status --stack titanx-receiver --json | jq '.[] | select(.label == \"accepted\").day'")]
pub(crate) struct Status {
    /// Show them again every so many seconds, until interrupted [default: 60]
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        default_missing_value = "60",
        value_parser = clap::value_parser!(u64).range(1..=3600)
    )]
    watch: Option<u64>,
    #[command(flatten)]
    stack: StackOptions,
}

/// A time until now, in periods.
struct Window {
    period_s: i32,
    count: i64,
}

const HOUR: Window = Window {
    period_s: 300,
    count: 12,
};
const DAY: Window = Window {
    period_s: 7_200,
    count: 12,
};

/// What a request for metrics may ask for.
const MOST_QUERIES: usize = 500;

/// A figure of the dashboard, with its data.
#[derive(Serialize)]
struct Row {
    /// The title of its widget.
    widget: String,
    label: String,
    unit: Option<String>,
    hour: Series,
    day: Series,
}

#[derive(Serialize)]
struct Series {
    /// The sum or the maximum of the points. `None` without data.
    value: Option<f64>,
    /// Seconds of a point.
    period: i32,
    /// The oldest first. `None` without data.
    points: Vec<Option<f64>>,
}

impl Status {
    pub(crate) async fn run(self, screen: Screen) -> anyhow::Result<CommandStatus> {
        let stack = self.stack.connect().await?;
        let client = Client::new(&stack.sdk);
        let figures = figures(&stack, &client).await?;
        loop {
            let now = now_ms();
            let rows = rows(&client, &figures, now).await?;
            if self.watch.is_some() {
                screen.clear();
            }
            let lines = lines(stack.name()?, &rows, now, std::io::stdout().is_terminal());
            screen.result(&rows, || {
                for line in &lines {
                    print_line!("{line}");
                }
            })?;
            let Some(seconds) = self.watch.filter(|_| !output_failed()) else {
                return Ok(CommandStatus::Success);
            };
            tokio::time::sleep(Duration::from_secs(seconds)).await;
        }
    }
}

/// What the stack's dashboard shows.
async fn figures(stack: &Stack<'_>, client: &Client) -> anyhow::Result<Vec<Figure>> {
    let name = stack.dashboard().await?;
    let got = client.get_dashboard().dashboard_name(&name).send().await;
    let got = got.with_context(|| format!("cannot read the dashboard {name}"))?;
    let body = got.dashboard_body().unwrap_or_default();
    let figures = dashboard::figures(body)
        .with_context(|| format!("the dashboard {name} has an unknown form"))?;
    if figures.is_empty() {
        bail!("the dashboard {name} shows no metric: deploy the template again");
    }
    Ok(figures)
}

async fn rows(client: &Client, figures: &[Figure], now_ms: i64) -> anyhow::Result<Vec<Row>> {
    let hours = HOUR.read(client, figures, now_ms).await?;
    let days = DAY.read(client, figures, now_ms).await?;
    let series = figures.iter().zip(hours.into_iter().zip(days));
    let rows = series.map(|(figure, (hour, day))| Row {
        widget: figure.widget.clone(),
        label: figure.label.clone(),
        unit: figure.unit.clone(),
        hour: HOUR.series(figure, hour),
        day: DAY.series(figure, day),
    });
    Ok(rows.collect())
}

type Points = Vec<Option<f64>>;

impl Window {
    /// The beginning of the first period, in Unix seconds. The last one is that of now.
    fn start(&self, now_ms: i64) -> i64 {
        let period = i64::from(self.period_s);
        let last = now_ms.div_euclid(1_000).div_euclid(period);
        (last + 1 - self.count) * period
    }

    /// The points of each figure.
    async fn read(
        &self,
        client: &Client,
        figures: &[Figure],
        now_ms: i64,
    ) -> anyhow::Result<Vec<Points>> {
        let start = self.start(now_ms);
        let count = usize::try_from(self.count).unwrap_or_default();
        let mut all = vec![vec![None; count]; figures.len()];
        for (part, figures) in figures.chunks(MOST_QUERIES).enumerate() {
            let queries = figures.iter().enumerate();
            let queries = queries.map(|(index, figure)| self.query(index, figure));
            let mut pages = client
                .get_metric_data()
                .set_metric_data_queries(Some(queries.collect()))
                .start_time(DateTime::from_secs(start))
                .end_time(DateTime::from_secs(
                    start + self.count * i64::from(self.period_s),
                ))
                .scan_by(ScanBy::TimestampAscending)
                .into_paginator()
                .send();
            while let Some(page) = pages.next().await {
                let page = page.context("cannot read the metrics")?;
                for result in page.metric_data_results() {
                    let index = result
                        .id()
                        .and_then(|id| id.strip_prefix('m')?.parse().ok());
                    let index = index.map(|index: usize| part * MOST_QUERIES + index);
                    let Some(points) = index.and_then(|index| all.get_mut(index)) else {
                        continue;
                    };
                    let values = result.timestamps().iter().zip(result.values());
                    for (time, value) in values {
                        let place = (time.secs() - start).div_euclid(i64::from(self.period_s));
                        let place = usize::try_from(place).ok();
                        if let Some(point) = place.and_then(|place| points.get_mut(place)) {
                            *point = Some(*value);
                        }
                    }
                }
            }
        }
        Ok(all)
    }

    fn query(&self, index: usize, figure: &Figure) -> MetricDataQuery {
        let mut dimensions = Vec::new();
        for (name, value) in &figure.dimensions {
            dimensions.push(Dimension::builder().name(name).value(value).build());
        }
        let metric = Metric::builder()
            .namespace(&figure.namespace)
            .metric_name(&figure.metric)
            .set_dimensions(Some(dimensions))
            .build();
        let stat = MetricStat::builder()
            .metric(metric)
            .period(self.period_s)
            .stat(&figure.stat)
            .build();
        MetricDataQuery::builder()
            .id(format!("m{index}"))
            .metric_stat(stat)
            .build()
    }

    fn series(&self, figure: &Figure, points: Points) -> Series {
        let values = points.iter().flatten().copied();
        let value = if figure.counts() {
            values.reduce(|sum, value| sum + value)
        } else {
            values.reduce(f64::max)
        };
        Series {
            value,
            period: self.period_s,
            points,
        }
    }
}

/// The widths of a line: the label and the values. With two lines of bars, it fits 80 columns.
const LABEL: usize = 36;
const VALUE: usize = 7;

/// What is shown of the figures that have data, as lines.
fn lines(stack: &str, rows: &[Row], now_ms: i64, with_bars: bool) -> Vec<String> {
    let head = |name: &str, window: &Window| {
        let bars = usize::try_from(window.count).unwrap_or_default();
        let bars = if with_bars { bars + 1 } else { 0 };
        format!("{name:>width$}", width = VALUE + bars)
    };
    let (hour, day) = (head("hour", &HOUR), head("day", &DAY));
    let title = format!("{}, {}", escape_control(stack), format_time(now_ms));
    let mut lines = vec![title, format!("{:LABEL$}  {hour}  {day}", "")];
    let mut widget = "";
    for row in rows.iter().filter(|row| row.day.value.is_some()) {
        if row.widget != widget {
            widget = &row.widget;
            lines.push(row.heading());
        }
        let [hour, day] = [&row.hour, &row.day].map(|series| series.cell(with_bars));
        let label = escape_control(&row.label);
        let label: String = label.chars().take(LABEL - 2).collect();
        lines.push(format!(
            "  {label:width$}  {hour}  {day}",
            width = LABEL - 2
        ));
    }
    if lines.len() == 2 {
        lines.push("no data of the last day: nothing has arrived".to_owned());
    }
    lines
}

impl Row {
    fn heading(&self) -> String {
        let unit = self.unit.as_ref();
        let unit = unit.map_or_else(String::new, |unit| format!(" ({unit})"));
        escape_control(&format!("{}{unit}", self.widget))
    }
}

impl Series {
    fn cell(&self, with_bars: bool) -> String {
        let value = self.value.map_or_else(|| "-".to_owned(), short);
        if with_bars {
            format!("{} {value:>VALUE$}", bars(&self.points))
        } else {
            format!("{value:>VALUE$}")
        }
    }
}

/// One character for each point, from an eighth to the whole height. Zero is the lowest, and a blank
/// is a time without data.
fn bars(points: &[Option<f64>]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let highest = points.iter().flatten().copied().fold(0.0, f64::max);
    let bar = |point: &Option<f64>| {
        let Some(point) = point else {
            return ' ';
        };
        let share = if highest > 0.0 { point / highest } else { 0.0 };
        let steps = BARS.iter().enumerate().rev();
        let reached =
            |index: usize| share * 7.0 >= f64::from(u8::try_from(index).unwrap_or(7)) - 0.5;
        let found = steps.into_iter().find(|(index, _)| reached(*index));
        found.map_or(BARS[0], |(_, bar)| *bar)
    };
    points.iter().map(bar).collect()
}

/// A number of at most seven characters.
fn short(value: f64) -> String {
    /// From which number on it is a number of which units: one less would be rounded to another digit.
    const STEPS: [(f64, f64, &str); 4] = [
        (999.95e9, 1e12, "T"),
        (999.95e6, 1e9, "G"),
        (999.95e3, 1e6, "M"),
        (99_999.95, 1e3, "k"),
    ];
    for (least, size, unit) in STEPS {
        if value >= least {
            return format!("{:.1}{unit}", value / size);
        }
    }
    if value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.1}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(label: &str, unit: Option<&str>, points: [Option<f64>; 12], value: f64) -> Row {
        let series = || Series {
            value: Some(value),
            period: 300,
            points: points.to_vec(),
        };
        Row {
            widget: "Widget".to_owned(),
            label: label.to_owned(),
            unit: unit.map(str::to_owned),
            hour: series(),
            day: series(),
        }
    }

    #[test]
    fn a_line_of_bars_fits_eighty_columns() {
        let points: [Option<f64>; 12] = std::array::from_fn(|index| match index {
            0 => None,
            index => Some(f64::from(u32::try_from(index).unwrap()) - 1.0),
        });
        let long = "a label that is longer than any other of them";
        let rows = [row(long, Some("milliseconds"), points, 123_456.0)];
        let lines = lines("titanx-receiver", &rows, 1_767_614_400_000, true);
        let expected = "\
titanx-receiver, 2026-01-05T12:00:00Z
                                                      hour                   day
Widget (milliseconds)
  a label that is longer than any ot   \u{2581}\u{2582}\u{2582}\u{2583}\u{2584}\u{2585}\u{2585}\u{2586}\u{2587}\u{2587}\u{2588}  123.5k   \u{2581}\u{2582}\u{2582}\u{2583}\u{2584}\u{2585}\u{2585}\u{2586}\u{2587}\u{2587}\u{2588}  123.5k";
        assert_eq!(lines.join("\n"), expected);
        assert!(lines.iter().all(|line| line.chars().count() <= 80));
    }

    #[test]
    fn numbers_have_at_most_seven_characters() {
        let cases = [
            (0.0, "0"),
            (0.25, "0.2"),
            (99_999.96, "100.0k"),
            (999_960.0, "1.0M"),
            (100_000.0, "100.0k"),
            (999_940.0, "999.9k"),
            (1_500_000.0, "1.5M"),
            (86_400_000_000.0, "86.4G"),
        ];
        for (value, expected) in cases {
            assert_eq!(short(value), expected);
        }
    }

    #[test]
    fn the_last_period_is_that_of_now() {
        // 12:03:20 on 2026-01-05.
        let now_ms = 1_767_614_600_000;
        assert_eq!(HOUR.start(now_ms), 1_767_614_400 - 11 * 300);
        assert_eq!(DAY.start(now_ms), 1_767_614_400 - 11 * 7_200);
    }
}
