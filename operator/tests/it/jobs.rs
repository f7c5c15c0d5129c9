use titanx_testbed::emulators::AttributeValue;

use crate::{System, titanx_api::Form};

#[test]
fn lists_completed_jobs_with_the_number_of_received_contacts() {
    let system = System::start(Form::Schema);
    let operator = &system.operator;
    operator
        .run("send --count 1 --event job.completed --job job-a")
        .exits(0);
    operator
        .run("send --count 1 --event job.completed --job job-b")
        .exits(0);
    operator.run("send --count 3 --job job-a").exits(0);

    let jobs = operator.run("--json jobs --count").exits(0).json();
    let jobs = jobs.as_array().unwrap();
    assert_eq!(jobs.len(), 2);
    let of = |id: &str| jobs.iter().find(|job| job["job_id"] == id).unwrap();
    assert_eq!(of("job-a")["contacts"], 3);
    assert_eq!(of("job-b")["contacts"], 0);
    assert_eq!(of("job-a")["status"], "Finalized");

    let one = operator.run("--json jobs job-a").exits(0).json();
    assert_eq!(one.as_array().unwrap().len(), 1);
    assert_eq!(one[0]["contacts"], serde_json::Value::Null);

    let table = operator.run("jobs").exits(0).stdout;
    let mut lines = table.lines();
    let header: Vec<_> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(header, ["JOB", "STATUS", "COMPLETED", "NAME"]);
    assert_eq!(lines.count(), 2);
    let counted = operator.run("jobs --count").exits(0).stdout;
    assert!(counted.contains("CONTACTS"), "{counted}");
}

#[test]
fn fails_for_a_job_that_is_not_completed() {
    let system = System::start(Form::Schema);
    let run = system.operator.run("jobs job-a").exits(1);
    run.tells("error: job job-a is not completed: no job.completed event was received");
}

#[test]
fn names_the_options_that_are_missing() {
    let operator = crate::operator::Operator::default().set("AWS_REGION", "us-east-1");
    let run = operator.run("jobs").exits(1);
    run.tells("error: JobsTable is not set: use --stack or --jobs-table");
}

#[test]
fn escapes_control_characters_in_a_job_name() {
    let system = System::start(Form::Schema);
    let payload = serde_json::json!({"jobId": "job-a", "jobName": "two\nlines\u{1b}[2J"});
    let body = titanx_testbed::titanx::envelope("delivery-1", "job.completed", &payload);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("body.json");
    std::fs::write(&file, body).unwrap();
    let line = format!("send {}", file.display());
    system.operator.run(&line).exits(0);
    let table = system.operator.run("jobs").exits(0).stdout;
    assert_eq!(table.lines().count(), 2, "{table}");
    assert!(table.contains(r"two\nlines\u{1b}[2J"), "{table}");
}

#[test]
fn ids_that_differ_by_case_or_hyphens_are_the_same_job() {
    let system = System::start(Form::Schema);
    let operator = &system.operator;
    let written = "AAAAAAAA-BBBB-4CCC-8DDD-EEEEEEEEEEEE";
    let other = "aaaaaaaabbbb4ccc8dddeeeeeeeeeeee";
    operator
        .run(&format!(
            "send --count 1 --event job.completed --job {written}"
        ))
        .exits(0);
    operator
        .run(&format!("send --count 2 --job {other}"))
        .exits(0);
    operator
        .run(&format!("send --count 1 --job {written}"))
        .exits(0);
    for id in [written, other, "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"] {
        let jobs = operator
            .run(&format!("--json jobs --count {id}"))
            .exits(0)
            .json();
        assert_eq!(jobs.as_array().unwrap().len(), 1, "{id}");
        assert_eq!(jobs[0]["job_id"], written);
        assert_eq!(jobs[0]["contacts"], 3);
    }
    // The table holds the ids as TitanX wrote them.
    assert!(system.emulators.jobs.get(written).is_some());
    assert!(system.emulators.jobs.get(other).is_none());
}

#[test]
fn each_count_of_a_check_stands_below_its_name() {
    let system = System::start(Form::Schema);
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let number = |number: u64| AttributeValue::N(number.to_string());
    let record = [
        ("job_id", text("job-1")),
        ("completed_at", number(1_767_614_400_000)),
        ("state", text("incomplete")),
        ("contacts_at_titanx", number(1_111)),
        ("received", number(1_000)),
        ("backfilled", number(100)),
        ("unscored", number(10)),
        ("missing", number(1)),
    ];
    let record = record.map(|(name, value)| (name.to_owned(), value));
    system.emulators.jobs.put(&record.into());
    let of_width = |columns: &str| {
        let operator = system.operator.clone().set("COLUMNS", columns);
        operator.run("jobs").exits(0).stdout
    };
    let (wide, narrow) = (of_width("300"), of_width("40"));
    let [header, row] = wide.lines().collect::<Vec<_>>()[..] else {
        panic!("{wide}");
    };
    for (name, count) in [
        ("AT TITANX", "1111"),
        ("RECEIVED", "1000"),
        ("BACKFILLED", "100"),
        ("UNSCORED", "10"),
        ("MISSING", "1"),
    ] {
        let column = header.find(name).unwrap();
        let below = row[column..].split_whitespace().next();
        assert_eq!(below, Some(count), "{name}: {wide}");
        let line = narrow
            .lines()
            .find(|it| it.starts_with(&name.to_lowercase()));
        let shown = line.and_then(|it| it.split_whitespace().last());
        assert_eq!(shown, Some(count), "{name}: {narrow}");
    }
}

#[test]
fn a_table_wider_than_the_terminal_becomes_blocks() {
    let system = System::start(Form::Schema);
    let job = "11111111-2222-4333-8444-555555555555";
    let line = format!("send --count 1 --event job.completed --job {job}");
    system.operator.run(&line).exits(0);
    for columns in [200, 80, 60] {
        let operator = system.operator.clone().set("COLUMNS", columns.to_string());
        let printed = operator.run("jobs --count").exits(0).stdout;
        assert!(printed.lines().all(|it| it.len() <= columns), "{printed}");
        assert!(printed.contains(job), "{printed}");
        assert_eq!(
            printed.contains("\nstatus     Finalized\n"),
            columns < 200,
            "{printed}"
        );
    }
}
