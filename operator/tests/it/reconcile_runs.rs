//! What a run of `reconcile` leaves behind and prints, and which time of a job it believes.

use std::{
    cmp::Ordering,
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use aws_smithy_types::{DateTime, date_time::Format};
use serde_json::{Value, json};
use tempfile::TempDir;
use titanx_testbed::{
    emulators::{AttributeValue, Fault, FaultProxy, Harm, When},
    front_door,
    titanx::{envelope, signed},
};

use crate::{
    System,
    operator::Run,
    titanx_api::{Form, PagingStyle},
};

const JOB: &str = "11111111-2222-4333-8444-555555555555";

/// A system with one job, whose contacts are missing.
fn system(job: Value, contacts: &[Value]) -> System {
    let system = System::start(Form::Schema);
    system.api.put_job(JOB, job, contacts);
    system
}

fn young() -> Value {
    json!({"id": JOB, "modifiedAt": "2100-01-05T12:00:00Z"})
}

fn contact(status: Option<&str>) -> Value {
    json!({"customerContactId": "contact-1", "leadStatus": status})
}

/// The checkpoint holds what was read from TitanX, which a run after the failure need not read again.
#[test]
fn a_checkpoint_stays_until_every_contact_is_queued() {
    let system = system(young(), &[contact(Some("High"))]);
    let proxy = FaultProxy::start(&system.emulators.sqs_url, 1);
    for nth in 1..60 {
        proxy.inject(
            When::NthOf(nth, "SendMessage"),
            Fault::Before(Harm::ServerError),
        );
    }
    let behind = system.operator.clone();
    let behind = behind.set("AWS_ENDPOINT_URL_SQS", &proxy.url);
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("job.json");
    let line = format!("reconcile {JOB} --yes --checkpoint {}", file.display());
    let run = behind.run(&line).exits(1);
    assert!(file.exists());
    assert_eq!(
        run.stdout,
        format!(
            "job {JOB}: 1 contacts at TitanX, 0 received\n  \
             1 missing: 0 queued, 0 queued before, 1 failed\n"
        )
    );
    system.operator.run(&line).exits(0);
    assert!(!file.exists());
    let reads = system.api.requests();
    let reads = reads.iter().filter(|it| it.ends_with("/contacts"));
    assert_eq!(reads.count(), 1);
}

/// Renaming is possible only within a file system.
#[cfg(target_os = "linux")]
#[test]
fn a_checkpoint_in_another_file_system_is_written_there() {
    let system = system(young(), &[contact(Some("High"))]);
    let folder = TempDir::new_in("/dev/shm").unwrap();
    let file = folder.path().join("job.json");
    let line = format!("reconcile {JOB} --yes --checkpoint {}", file.display());
    system.operator.run(&line).exits(0);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// A run whose contact is queued, and whose checkpoint is changed after it was written.
async fn with_changed_checkpoint(folder: &TempDir, change: fn(&Path)) -> Run {
    let system = system(young(), &[contact(Some("High"))]);
    let proxy = FaultProxy::start(&system.emulators.dynamodb_url, 1);
    // Of the deliveries table, which is read after the contacts.
    proxy.inject(When::NthOf(1, "DescribeTable"), Fault::Before(Harm::Stop));
    let behind = system.operator.clone();
    let behind = behind
        .set("AWS_ENDPOINT_URL_DYNAMODB", &proxy.url)
        // The stopped call is reset in the end.
        .set("AWS_MAX_ATTEMPTS", "3");
    let file = folder.path().join("job.json");
    let line = format!("reconcile {JOB} --yes --checkpoint {}", file.display());
    let child = behind.start_with_pipes(&line);
    tokio::time::timeout(Duration::from_mins(1), proxy.stopped())
        .await
        .unwrap();
    change(&file);
    proxy.heal();
    let run = Run::from(child.wait_with_output().unwrap());
    assert_eq!(system.emulators.contacts.len(), 1);
    run
}

/// Whatever a person names a job, it is one segment of the path.
#[test]
fn a_job_is_asked_for_by_its_whole_id() {
    let system = System::start(Form::Schema);
    let arguments = ["reconcile", "a/b c?d", "--yes"];
    system.operator.run_with(&arguments);
    let contacts = json!([{"customerContactId": "contact-1", "leadStatus": "High"}]);
    let contacts = contacts.as_array().unwrap();
    system
        .api
        .put_job("a%2Fb%20c%3Fd", json!({"id": "a/b c?d"}), contacts);
    system.operator.run_with(&arguments);
    let asked = system.api.requests();
    let of_job = "GET /jobs/a%2Fb%20c%3Fd";
    assert!(asked.iter().all(|it| it.starts_with(of_job)), "{asked:?}");
    assert!(asked.contains(&of_job.to_owned()), "{asked:?}");
}

/// It has personal data, so whoever runs the command has to know that it is still there.
#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_cannot_be_deleted_is_an_error() {
    let folder = TempDir::new().unwrap();
    let run = with_changed_checkpoint(&folder, |file| {
        fs::remove_file(file).unwrap();
        fs::create_dir(file).unwrap();
    });
    run.await.exits(1).tells(&format!(
        "error: cannot delete the checkpoint {}/job.json: Is a directory (os error 21)",
        folder.path().display()
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_has_vanished_is_no_error() {
    let folder = TempDir::new().unwrap();
    let run = with_changed_checkpoint(&folder, |file| fs::remove_file(file).unwrap());
    run.await.exits(0);
}

#[test]
fn what_is_no_checkpoint_is_an_error() {
    let system = system(young(), &[contact(Some("High"))]);
    let folder = TempDir::new().unwrap();
    let line = format!("reconcile {JOB} --checkpoint {}", folder.path().display());
    let run = system.operator.run(&line).exits(1);
    run.tells(&format!(
        "error: cannot read the checkpoint {}: Is a directory (os error 21)",
        folder.path().display()
    ));
    assert_eq!(system.api.requests(), [""; 0]);

    let line = format!("reconcile {JOB} --checkpoint /nonexistent/job.json");
    let run = system.operator.run(&line).exits(1);
    let said = "error: cannot write the checkpoint /nonexistent/job.json: ";
    assert!(run.stderr.starts_with(said), "{}", run.stderr);
}

/// The time so many days ago, as TitanX writes it.
fn days_ago(days: u64) -> String {
    let time = SystemTime::now() - Duration::from_hours(24 * days);
    let whole_seconds = DateTime::from_secs(DateTime::from(time).secs());
    whole_seconds.fmt(Format::DateTime).unwrap()
}

/// Contacts may have been delivered since the creation of the job. If TitanX does not tell it, a time of
/// its completion counts.
#[test]
fn the_best_known_time_of_a_job_counts() {
    let members = ["createdAt", "completedAt", "modifiedAt", "updatedAt"];
    for best in 0..members.len() {
        let mut job = json!({"id": JOB});
        for (index, member) in members.iter().enumerate() {
            job[*member] = match index.cmp(&best) {
                // What is no time is passed over.
                Ordering::Less => "yesterday".into(),
                Ordering::Equal => days_ago(5).into(),
                Ordering::Greater => days_ago(30).into(),
            };
        }
        let system = system(job.clone(), &[contact(Some("High"))]);
        let line = format!("--json reconcile {JOB}");
        let run = system.operator.run(&line).exits(3);
        assert_eq!(run.json()[0]["doubts"], json!([]), "{job}");
    }
    let created = days_ago(30);
    let job = json!({"id": JOB, "completedAt": days_ago(5), "createdAt": created});
    let system = system(job, &[contact(Some("High"))]);
    let line = format!("--json reconcile {JOB}");
    let run = system.operator.run(&line).exits(3);
    assert_eq!(
        run.json()[0]["doubts"],
        json!([format!(
            "contacts of the job may have been delivered since {created}, and the deliveries table \
             keeps records for 7 days: the contacts may have been received"
        )])
    );
}

#[test]
fn a_report_says_what_is_missing_and_what_to_do() {
    let head = |received: usize| format!("job {JOB}: 1 contacts at TitanX, {received} received\n");
    let line = |more: &str| format!("reconcile {JOB} {more}");

    let missing = system(young(), &[contact(Some("High"))]);
    let run = missing.operator.run(&line("")).exits(3);
    let advice = "  1 missing: re-run with --yes to backfill them\n";
    assert_eq!(run.stdout, head(0) + advice);
    let run = missing.operator.run(&line("--yes")).exits(0);
    let queued = "  1 missing: 1 queued, 0 queued before, 0 failed\n";
    assert_eq!(run.stdout, head(0) + queued);
    let run = missing.operator.run(&line("--yes")).exits(0);
    assert_eq!(run.stdout, head(1) + "  nothing is missing\n");
    missing.api.set_paging(PagingStyle::NoMetadata);
    let run = missing.operator.run(&line("")).exits(3);
    let not_proven = "  nothing is missing\n  completeness not proven: TitanX's responses do not \
                      state that these are all contacts of the job\n";
    assert_eq!(run.stdout, head(1) + not_proven);

    let doubtful = system(json!({"id": JOB}), &[contact(Some("High"))]);
    let run = doubtful.operator.run(&line("--yes")).exits(3);
    let doubt = "  1 missing: re-run with --yes --despite-doubts to backfill them\n  \
                 doubt: the completion time of the job is unknown, and the deliveries table keeps \
                 records for 7 days: the contacts may have been received\n";
    assert_eq!(run.stdout, head(0) + doubt);

    let unscored = system(young(), &[contact(None)]);
    let run = unscored.operator.run(&line("")).exits(3);
    let rejected = "  1 unscored: TitanX has rejected them or not scored them yet, so they are not \
                    queued\n  doubt: TitanX's list may not show scores: no contact in it has one, \
                    so the unscored contacts may be missing\n";
    assert_eq!(run.stdout, head(0) + rejected);
}

/// The second run finds no record of what the first one has queued, and queues it under the same id.
#[tokio::test(flavor = "multi_thread")]
async fn a_report_says_what_was_received_without_a_job_or_queued_before() {
    let contacts = [
        contact(Some("High")),
        json!({"customerContactId": "contact-2", "leadStatus": "High"}),
    ];
    let system = system(young(), &contacts);
    let receiver = front_door::receiver(&front_door::environment(&system.emulators));
    let body = envelope("delivery-1", "job.contact.scored", &contacts[0]);
    let answer = front_door::deliver(&receiver, &signed(&body)).await;
    assert_eq!(answer, front_door::Answer::accepted());
    let line = format!("reconcile {JOB} --yes");
    let head = format!(
        "job {JOB}: 2 contacts at TitanX, 1 received\n  1 of them match records without a job id\n"
    );
    let run = system.operator.run(&line).exits(0);
    let queued = "  1 missing: 1 queued, 0 queued before, 0 failed\n";
    assert_eq!(run.stdout, head.clone() + queued);
    for mut record in system.emulators.deliveries.items() {
        if record["delivery_id"] != AttributeValue::S("delivery-1".to_owned()) {
            record.remove("contact_keys");
            system.emulators.deliveries.put(&record);
        }
    }
    let run = system.operator.run(&line).exits(0);
    let queued = "  1 missing: 0 queued, 1 queued before, 0 failed\n";
    assert_eq!(run.stdout, head + queued);
    assert_eq!(system.emulators.contacts.len(), 2);
}
