//! `status`: sums and highest values of the last hour and the last day, and what has no data.

use std::{collections::BTreeMap, fmt::Write};

use serde_json::{Value, json};
use titanx_testbed::titanx::now_ms;

use super::{Dice, Expected, in_worlds};
use crate::doctor::DoctorTest;

/// Minutes ago: within the hour, within the day, and before that. None is near the limits, where the period counts
/// in which it falls.
const AGES: [i64; 9] = [0, 4, 20, 50, 66, 125, 1_300, 1_445, 3_000];

struct Figure {
    widget: String,
    label: String,
    stat: &'static str,
    unit: Option<&'static str>,
    /// Minutes ago, and value.
    measured: Vec<(i64, f64)>,
}

fn figures(dice: &mut Dice) -> Vec<Figure> {
    let mut figures = Vec::new();
    for widget in 0..dice.0.usize(1..4) {
        let unit = dice.one_of(&[None, Some("milliseconds")]);
        let stat = dice.one_of(&["Sum", "Maximum", "p99"]);
        for metric in 0..dice.0.usize(1..4) {
            let ages: Vec<_> = AGES.into_iter().filter(|_| dice.percent(25)).collect();
            let measured = ages
                .into_iter()
                .map(|age| (age, dice.one_of(&[0.0, 0.0, 0.0, 1.0, 2.5, 40.0])));
            let measured = measured.collect();
            figures.push(Figure {
                widget: format!("Widget {widget}"),
                label: format!("figure-{widget}-{metric}"),
                stat,
                unit,
                measured,
            });
        }
    }
    figures
}

fn dashboard(figures: &[Figure]) -> String {
    let mut widgets: BTreeMap<&str, Value> = BTreeMap::new();
    for Figure {
        widget,
        label,
        stat,
        unit,
        ..
    } in figures
    {
        let new = || json!({"title": widget, "yAxis": {"left": {"label": unit}}, "metrics": []});
        let metrics = widgets.entry(widget).or_insert_with(new)["metrics"].as_array_mut();
        metrics
            .unwrap()
            .push(json!(["Names", label, {"stat": stat}]));
    }
    let widgets = widgets.into_values();
    let widgets = widgets.map(|it| json!({"type": "metric", "properties": it}));
    json!({"widgets": widgets.collect::<Value>()}).to_string()
}

impl Figure {
    fn counts(&self) -> bool {
        self.stat == "Sum"
    }

    /// The sum, or else the highest value, of what was measured within so many minutes.
    fn value(&self, minutes: i64) -> Option<f64> {
        let within = self
            .measured
            .iter()
            .filter(|it| it.0 < minutes)
            .map(|it| it.1);
        within.reduce(if self.counts() {
            |a, b| a + b
        } else {
            f64::max
        })
    }

    /// The period and the value of a time. Its points are where the clock puts them.
    fn series(&self, minutes: i64, period: i64, printed: &Value) -> Value {
        let points = printed["points"].as_array().expect("points");
        assert_eq!(points.len(), 12);
        let values = points.iter().filter_map(Value::as_f64);
        let value = values.reduce(if self.counts() {
            |a, b| a + b
        } else {
            f64::max
        });
        assert_eq!(value, self.value(minutes), "points of {}", self.label);
        json!({"value": value, "period": period, "points": points})
    }
}

#[test]
fn the_figures_of_an_hour_and_a_day_are_told_as_documented() {
    in_worlds(600..624, |model| {
        let test = DoctorTest::new();
        let figures = figures(&mut model.dice);
        let now_s = i64::try_from(now_ms() / 1_000).unwrap();
        let metrics = figures.iter().map(|it| {
            let at = it
                .measured
                .iter()
                .map(|(age, value)| (now_s - age * 60, *value));
            (format!("Names {}", it.label), at.collect())
        });
        let metrics = metrics.collect();
        model.note(format!("{metrics:?}"));
        test.control.update(|it| {
            it.dashboard = dashboard(&figures);
            it.metrics = metrics;
        });
        model.operator = test.operator.clone();
        let json = model.dice.percent(50);
        model.run(if json { "status --json" } else { "status" }, |state, _, run| {
            let mut expected = Expected::unchanged(0, state);
            if json {
                let printed = run.json();
                let document = figures.iter().zip(printed.as_array().unwrap()).map(|(it, row)| {
                    json!({
                        "widget": it.widget, "label": it.label, "unit": it.unit.filter(|_| !it.counts()),
                        "hour": it.series(60, 300, &row["hour"]), "day": it.series(24 * 60, 7_200, &row["day"]),
                    })
                });
                expected.json = Some(document.collect());
            } else {
                let words = text(&figures);
                assert!(run.stdout.ends_with(&words), "{words}\n{}", run.stdout);
            }
            expected
        });
    });
}

/// What has data, under the titles of the widgets that have some.
fn text(figures: &[Figure]) -> String {
    let with_data = figures.iter().filter(|it| it.value(24 * 60).is_some());
    let mut text = String::new();
    let mut widget = "";
    for it in with_data {
        if it.widget != widget {
            widget = &it.widget;
            let unit = it.unit.filter(|_| !it.counts());
            let unit = unit.map_or_else(String::new, |unit| format!(" ({unit})"));
            writeln!(text, "{widget}{unit}").unwrap();
        }
        let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |it| it.to_string());
        let [hour, day] = [60, 24 * 60].map(|minutes| number(it.value(minutes)));
        writeln!(text, "  {:<33} {hour:>9}{day:>9}", it.label).unwrap();
    }
    if text.is_empty() {
        "\nno data of the last day: nothing has arrived\n".to_owned()
    } else {
        text
    }
}
