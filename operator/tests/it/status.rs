//! `operator status` with the dashboard of the template.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read},
    process::Stdio,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use crate::doctor::DoctorTest;

/// The text of the template's dashboard, for an HTTP API. A name stands for what is put in.
pub(crate) fn dashboard() -> String {
    let template = include_str!("../../../template.yaml");
    let (_, rest) = template
        .split_once("\n      DashboardBody: !Sub\n        - |\n")
        .unwrap();
    let (body, _) = rest.split_once("\n        - EntranceId:").unwrap();
    let mut body = body.to_owned();
    for (name, value) in [
        ("AWS::Region", "us-east-1"),
        ("AWS::StackName", "titanx-receiver"),
        ("Namespace", "AWS/ApiGateway"),
        ("Dimension", "ApiId"),
        ("EntranceId", "an-api"),
        ("Requests", "Count"),
        ("ClientErrors", "4xx"),
        ("ServerErrors", "5xx"),
        ("Latency", "Latency"),
        ("ContactsQueue.QueueName", "contacts"),
        ("ContactsDeadLetterQueue.QueueName", "dead-letters"),
        ("QuarantineQueue.QueueName", "quarantine"),
        (
            "QuarantineDeadLetterQueue.QueueName",
            "quarantine-dead-letters",
        ),
        ("DeliveriesTable", "deliveries"),
        ("JobsTable", "jobs"),
        ("ReceiverFunction", "receiver"),
        ("ReceiverLogGroup", "a-log-group"),
    ] {
        body = body.replace(&format!("${{{name}}}"), value);
    }
    assert!(!body.contains("${"), "{body}");
    body
}

fn now_s() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_secs().cast_signed()
}

const ACCEPTED: &str = "TitanxReceiver/titanx-receiver Deliveries Outcome accepted";

/// A stack with what was measured so many minutes ago.
pub(crate) fn with(measured: &[(&str, &[(i64, f64)])]) -> DoctorTest {
    let test = DoctorTest::new();
    let now = now_s();
    let metrics: BTreeMap<_, _> = measured
        .iter()
        .map(|(name, points)| {
            let points = points
                .iter()
                .map(|(minutes, value)| (now - minutes * 60, *value));
            ((*name).to_owned(), points.collect())
        })
        .collect();
    test.control.update(|it| {
        it.dashboard = dashboard();
        it.metrics = metrics;
    });
    test
}

/// The figure of the day and that of the hour, by title of the widget and label.
fn figures(rows: &Value) -> BTreeMap<(String, String), (Value, Value)> {
    let rows = rows.as_array().unwrap().iter();
    let text = |it: &Value| it.as_str().unwrap().to_owned();
    let figures = rows.map(|row| {
        let key = (text(&row["widget"]), text(&row["label"]));
        (
            key,
            (row["hour"]["value"].clone(), row["day"]["value"].clone()),
        )
    });
    figures.collect()
}

#[test]
fn sums_counts_and_takes_the_highest_of_everything_else() {
    let test = with(&[
        // The third is a day and more ago.
        (
            ACCEPTED,
            &[(0, 5.0), (20, 7.0), (300, 100.0), (1_500, 1_000.0)],
        ),
        (
            "TitanxReceiver/titanx-receiver AnswerTime",
            &[(1, 10.0), (1, 12.0), (1, 200.0), (600, 900.0)],
        ),
        (
            "AWS/SQS ApproximateNumberOfMessagesVisible QueueName contacts",
            &[(1, 3.0), (10, 8.0), (700, 2.0)],
        ),
    ]);
    let rows = test.operator.run("--json status").exits(0).json();
    let figures = figures(&rows);
    // Every metric of the dashboard, with data or without.
    assert_eq!(rows.as_array().unwrap().len(), 44);
    let with_data = [
        ("Deliveries by outcome", "accepted", 12.0, 112.0),
        ("Time to answer", "function p50", 12.0, 900.0),
        ("Time to answer", "function p99", 200.0, 900.0),
        ("Messages that wait", "contacts", 8.0, 8.0),
    ];
    for (widget, label, hour, day) in with_data {
        let found = &figures[&(widget.to_owned(), label.to_owned())];
        assert_eq!(*found, (json!(hour), json!(day)), "{widget} {label}");
    }
    let without = figures
        .values()
        .filter(|it| **it == (Value::Null, Value::Null));
    assert_eq!(without.count(), figures.len() - with_data.len());
    let accepted = &rows[0];
    assert_eq!(accepted["label"], "accepted");
    for (window, period) in [("hour", 300), ("day", 7_200)] {
        assert_eq!(accepted[window]["period"], period);
        let points = accepted[window]["points"].as_array().unwrap();
        assert_eq!(points.len(), 12);
        // A period may have begun since the measurement.
        let latest = &points[10..];
        assert!(
            latest.iter().any(|it| it.as_f64() >= Some(5.0)),
            "{points:?}"
        );
    }
}

#[test]
fn a_metric_has_all_its_dimensions() {
    let metric = "AWS/DynamoDB SystemErrors TableName deliveries Operation PutItem";
    let test = with(&[(metric, &[(0, 2.0)])]);
    let names: Vec<_> = metric.split(' ').collect();
    let properties = json!({"title": "Errors", "stat": "Sum", "metrics": [names]});
    let dashboard = json!({"widgets": [{"type": "metric", "properties": properties}]});
    test.control
        .update(|it| it.dashboard = dashboard.to_string());
    let rows = test.operator.run("--json status").exits(0).json();
    assert_eq!(rows[0]["day"]["value"], 2.0);
}

/// A request for metrics has 500 of them at most.
#[test]
fn reads_every_metric_of_a_large_dashboard() {
    const METRICS: usize = 501;
    let name = |number: usize| format!("TitanxReceiver/titanx-receiver Metric{number}");
    let (first, last) = (name(0), name(METRICS - 1));
    let test = with(&[(&first, &[(0, 2.0)]), (&last, &[(0, 3.0)])]);
    let metrics: Vec<Vec<_>> = (0..METRICS)
        .map(|number| name(number).split(' ').map(str::to_owned).collect())
        .collect();
    let properties = json!({"title": "Many", "stat": "Sum", "metrics": metrics});
    let dashboard = json!({"widgets": [{"type": "metric", "properties": properties}]});
    test.control
        .update(|it| it.dashboard = dashboard.to_string());
    let rows = test.operator.run("--json status").exits(0).json();
    let sums = rows.as_array().unwrap().iter();
    let sums: Vec<_> = sums.map(|row| row["day"]["value"].as_f64()).collect();
    let mut expected = vec![None; METRICS];
    expected[0] = Some(2.0);
    expected[METRICS - 1] = Some(3.0);
    assert_eq!(sums, expected);
}

#[test]
fn prints_what_has_data_in_eighty_columns_and_no_bars_in_a_pipe() {
    let test = with(&[
        (ACCEPTED, &[(0, 5.0)]),
        ("TitanxReceiver/titanx-receiver EventAge", &[(0, 123_456.5)]),
    ]);
    let printed = test.operator.run("status").exits(0).stdout;
    let lines: Vec<_> = printed.lines().collect();
    assert!(lines[0].starts_with("titanx-receiver, 20"), "{printed}");
    let expected = "                                         hour      day\n\
                    Deliveries by outcome\n  accepted                                  5        5\n\
                    Age of events when they arrive (milliseconds)\n  p50                                  123.5k   123.5k\n  \
                    p99                                  123.5k   123.5k\n  oldest                               123.5k   123.5k";
    assert_eq!(lines[1..].join("\n"), expected);
    assert!(
        lines.iter().all(|line| line.chars().count() <= 80),
        "{printed}"
    );
}

#[test]
fn prints_what_has_data_in_the_day_alone() {
    let test = with(&[(ACCEPTED, &[(300, 5.0)])]);
    let printed = test.operator.run("status").exits(0).stdout;
    let expected = "  accepted                                  -        5\n";
    assert!(printed.ends_with(expected), "{printed}");
}

#[test]
fn says_that_there_is_no_data() {
    let printed = with(&[]).operator.run("status").exits(0).stdout;
    assert!(
        printed.ends_with("\nno data of the last day: nothing has arrived\n"),
        "{printed}"
    );
}

#[test]
fn watches_until_nobody_reads() {
    let test = with(&[(ACCEPTED, &[(0, 5.0)])]);
    let mut child = test
        .operator
        .start_with_output("status --watch 1", Stdio::piped());
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut titles = Vec::new();
    while titles.len() < 2 {
        let line = lines.next().unwrap().unwrap();
        assert!(!line.contains('\x1b'), "{line}");
        if line.starts_with("titanx-receiver, 20") {
            titles.push(line);
        }
    }
    // Each has the time of its own figures, a second and more after the one before.
    assert!(titles[0] < titles[1], "{titles:?}");
    drop(lines);
    assert!(child.wait().unwrap().success());
}

#[test]
fn on_a_terminal_each_result_takes_the_place_of_the_one_before() {
    let test = with(&[(ACCEPTED, &[(0, 5.0)])]);
    for (line, begin) in [
        ("status --watch 60", "\x1b[H\x1b[2J"),
        ("--json status --watch 60", "["),
    ] {
        let (mut child, mut terminal) = test.operator.start_on_terminal(line);
        let mut shown = vec![0; begin.len()];
        terminal.read_exact(&mut shown).unwrap();
        assert_eq!(String::from_utf8_lossy(&shown), begin, "{line}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn a_dashboard_that_shows_nothing_is_an_error() {
    let test = with(&[]);
    for (dashboard, said) in [
        (
            "",
            "has an unknown form: EOF while parsing a value at line 1 column 0",
        ),
        (
            "{\"widgets\": []}",
            "shows no metric: deploy the template again",
        ),
    ] {
        test.control
            .update(|it| it.dashboard = dashboard.to_owned());
        let run = test.operator.run("status").exits(1);
        run.tells(&format!("error: the dashboard dashboard {said}"));
    }
    test.control.update(|it| _ = it.outputs.remove("Dashboard"));
    let run = test.operator.run("status").exits(1);
    run.tells("error: the stack titanx-receiver has no output Dashboard: use the receiver's stack");
}
