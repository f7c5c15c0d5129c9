//! The whole stack: `doctor`, `status`.

use serde_json::Value;
use titanx_testbed::titanx::contact;

use super::Screens;
use crate::{
    doctor_limits::{WRONG, Well},
    status,
};

#[test]
fn doctor() {
    let well = Well::new();
    let test = &well.test;
    let mut screens = Screens::of(&test.system);
    // URLs have ports of any length.
    let operator = test.operator.clone().set("COLUMNS", "0");
    screens.show("All is well", &operator, "doctor");
    screens.show("All is well", &operator, "doctor --verbose");
    let without = operator.clone().unset("TITANX_API_KEY");
    screens.show("Without an API key", &without, "doctor");

    for (number, changes) in (1..).zip(WRONG) {
        for (change, _) in changes {
            change(&well);
        }
        let heading = format!("At the limits, round {number}");
        screens.show(&heading, &operator, "doctor");
        well.restore();
    }

    test.system.emulators.quarantine.put(&contact("a"), &[]);
    test.control.update(|it| {
        it.function["Timeout"] = 30.into();
        it.denied.push("dynamodb:DeleteItem".to_owned());
        it.alarms[0]["StateValue"] = "ALARM".into();
        it.parameters
            .insert("SilenceAlarmHours".to_owned(), "0".to_owned());
        it.outputs.remove("JobsTable");
    });
    screens.show("Several cannot be read", &operator, "doctor");
    screens.compare("doctor");
}

/// Namespace, metric and dimensions of each figure of a dashboard, as its text has them.
fn metrics(dashboard: &str) -> Vec<String> {
    let dashboard: Value = serde_json::from_str(dashboard).unwrap();
    let widgets = dashboard["widgets"].as_array().unwrap().iter();
    let entries = widgets.filter_map(|it| it["properties"]["metrics"].as_array());
    let names = entries.flatten().map(|entry| {
        let names = entry.as_array().unwrap().iter();
        let names: Vec<_> = names.filter_map(Value::as_str).collect();
        names.join(" ")
    });
    names.collect()
}

#[test]
fn status() {
    let dashboard = status::dashboard();
    let metrics = metrics(&dashboard);
    let points: Vec<_> = (1..=u32::try_from(metrics.len()).unwrap())
        .map(|number| {
            let number = f64::from(number);
            [(1, number), (2, 10.0 * number), (300, 1_000.5 * number)]
        })
        .collect();
    let measured = metrics.iter().map(String::as_str).zip(&points);
    let measured: Vec<_> = measured.map(|(name, points)| (name, &points[..])).collect();
    let test = status::with(&measured);
    let mut screens = Screens::of(&test.system);
    screens.show("Every figure", &test.operator, "status");
    test.control.update(|it| {
        it.metrics
            .retain(|name, _| name.contains("Outcome accepted"));
        for points in it.metrics.values_mut() {
            points.retain(|(_, value)| *value > 1_000.0);
        }
    });
    screens.show("A quiet hour", &test.operator, "status");
    test.control.update(|it| it.metrics.clear());
    screens.show("A quiet day", &test.operator, "status");
    let without = test.operator.clone().unset("RECEIVER_STACK");
    screens.show("No stack is named", &without, "status");
    screens.compare("status");
}
