//! Updates of the table of checks and of the jobs table that fail, or whose condition does not hold.

use std::time::Duration;

use aws_sdk_dynamodb::{Client, config::retry::RetryConfig};
use serde_json::{Value, json};
use titanx_healer::{
    checks::Checks,
    error::Error,
    job_records::{JobRecords, Taken},
    report::{End, State},
};
use titanx_reconcile::JobId;
use titanx_testbed::{
    emulators::{AttributeValue, Fault, FaultProxy, Harm, Item, When},
    server::{self, Server},
    titanx_api::Failure,
};

use crate::system::{JOB, System, contact, hours_ago, now_ms, run};

const TIMEOUT: Duration = Duration::from_mins(15);

/// A client of DynamoDB whose `nth` update fails, without any effect.
async fn failing_at(system: &System, nth: usize) -> (Client, FaultProxy) {
    let proxy = FaultProxy::start(&system.emulators.dynamodb_url, 1);
    let nth = When::NthOf(nth, "UpdateItem");
    proxy.inject(nth, Fault::Before(Harm::ServerError));
    let endpoint = ("AWS_ENDPOINT_URL_DYNAMODB", proxy.url.clone());
    let client = system.healer_with(&[endpoint]).await.dynamodb;
    let config = client.config().to_builder();
    let config = config.retry_config(RetryConfig::disabled());
    (Client::from_conf(config.build()), proxy)
}

/// Otherwise the round would be taken for another run's: no error, and no alarm.
#[tokio::test(flavor = "multi_thread")]
async fn an_update_of_the_round_that_fails_is_an_error() {
    let system = System::start();
    let mut failed = 0;
    for nth in 1.. {
        let (client, _proxy) = failing_at(&system, nth).await;
        let mut healer = system.healer().await;
        let Checks::Table { table, .. } = healer.checks else {
            panic!("a function's round is in a table");
        };
        healer.checks = Checks::Table { client, table };
        let (end, _) = run(&healer, TIMEOUT).await;
        system.emulators.checks.delete("round");
        match end {
            Err(Error::Checks(_)) => failed += 1,
            end => {
                assert_eq!(end.unwrap(), End::RoundFinished { more: false }, "{nth}");
                break;
            }
        }
    }
    // To take the round, to save it, and to give it up.
    assert_eq!(failed, 3);
}

/// A system whose healer failed in this step, and the ids of what it had stored.
async fn failed_in(step: &str) -> (System, Vec<String>) {
    let system = System::start();
    system.complete(JOB, 80, &[contact(JOB, 0)]).await;
    let mut healer = system.healer().await;
    let _proxy;
    match step {
        "List" => {
            let contacts = format!("GET /jobs/{JOB}/contacts");
            system.api.fail(&contacts, Failure::Status(401));
        }
        "Compare" => "none".clone_into(&mut healer.deliveries_table),
        // The first update takes the job to list it, the second to queue what is missing.
        _ => (healer.jobs.client, _proxy) = failing_at(&system, 2).await,
    }
    let (end, _) = run(&healer, TIMEOUT).await;
    end.unwrap_err();
    let items = system.emulators.checks.items().into_iter();
    let ids = items.map(|item| match &item["check_id"] {
        AttributeValue::S(id) => id.clone(),
        other => panic!("{other:?}"),
    });
    let ids = ids.collect();
    let round = format!("{:?}", system.emulators.checks.get("round"));
    assert!(round.contains(step), "{step}: {round}");
    (system, ids)
}

/// It may have been written by another version. To take it for absent would begin something anew, or check nothing.
#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_cannot_be_read_is_an_error() {
    for (step, items) in [("List", 2), ("Compare", 4), ("Backfill", 5)] {
        let (_, ids) = failed_in(step).await;
        assert_eq!(ids.len(), items, "{step}: {ids:?}");
        for id in ids {
            // The keys are compared by then.
            if step == "Backfill" && id.starts_with("keys#") {
                continue;
            }
            let (system, _) = failed_in(step).await;
            let mut item = system.emulators.checks.get(&id).unwrap();
            for (name, value) in &mut item {
                match value {
                    AttributeValue::S(json) if name == "json" => json.insert_str(0, "unreadable"),
                    AttributeValue::B(bytes) => _ = bytes.pop(),
                    _ => {}
                }
            }
            system.emulators.checks.put(&item);
            let (end, told) = run(&system.healer().await, TIMEOUT).await;
            let error = end.expect_err(&id);
            let named = matches!(&error, Error::UnknownItem(of) if *of == id);
            assert!(named, "{step} {id}: {error:?}");
            let said = format!("an item of the table of checks is of unknown form: {id}");
            assert_eq!(error.to_string(), said);
            assert_eq!((told.held.len(), told.checked.len()), (0, 0), "{step} {id}");
            assert_eq!(system.emulators.contacts.len(), 0, "{step} {id}");
        }
    }
}

/// A round may wait for days for TitanX's limit, and records expire meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn whether_records_have_expired_is_judged_when_they_are_read() {
    let system = System::start();
    let contacts = [contact(JOB, 0)];
    system.complete(JOB, 100, &contacts).await;
    let job = json!({"id": JOB, "createdAt": hours_ago(169)});
    system.api.put_job(JOB, job, &contacts);
    let mut healer = system.healer().await;
    "none".clone_into(&mut healer.deliveries_table);
    run(&healer, TIMEOUT).await.0.unwrap_err();
    // As if the round had begun before that.
    let mut item = system.emulators.checks.get("round").unwrap();
    let Some(AttributeValue::S(text)) = item.get_mut("json") else {
        panic!("a round is text");
    };
    let mut round: Value = serde_json::from_str(text).unwrap();
    let began_at = round["began_at"].as_i64().unwrap();
    round["began_at"] = (began_at - 3 * 3_600_000).into();
    *text = round.to_string();
    system.emulators.checks.put(&item);
    let (end, told) = run(&system.healer().await, TIMEOUT).await;
    end.unwrap();
    let (_, result) = &told.checked[0];
    assert_eq!(result.reason.as_deref(), Some("records_expired"));
    assert_eq!(system.emulators.contacts.len(), 0);
}

/// Between a run's look at the round and its update, another run may take it.
#[tokio::test(flavor = "multi_thread")]
async fn a_round_that_another_run_has_taken_meanwhile_is_left_to_it() {
    let system = System::start();
    system.list(JOB, 80, &[contact(JOB, 0)]);
    let ends = (now_ms() + 60_000).to_string();
    let round = [
        ("check_id", AttributeValue::S("round".to_owned())),
        ("owner", AttributeValue::S("another".to_owned())),
        ("lease_ends", AttributeValue::N(ends)),
    ];
    let round = Item::from(round.map(|(name, value)| (name.to_owned(), value)));
    system.emulators.checks.put(&round);
    let healer = system.healer().await;
    // A check of one job does not look first.
    let end = healer.run_job((JOB, now_ms()), now_ms() + 900_000, &|_| ());
    assert_eq!(end.await.unwrap(), End::Held);
    assert_eq!(system.emulators.checks.get("round").unwrap(), round);
    assert_eq!(system.emulators.contacts.len(), 0);
}

/// Otherwise the job would be left out of the round, or its result lost.
#[tokio::test(flavor = "multi_thread")]
async fn an_update_of_a_job_that_fails_is_an_error() {
    let system = System::start();
    let contacts = [contact(JOB, 0)];
    system.deliver(Some(JOB), &contacts).await;
    system.complete(JOB, 80, &contacts).await;
    let mut failed = 0;
    for nth in 1.. {
        let (client, _proxy) = failing_at(&system, nth).await;
        let mut healer = system.healer().await;
        healer.jobs.client = client;
        let (end, told) = run(&healer, TIMEOUT).await;
        if nth > 3 {
            assert_eq!(end.unwrap(), End::RoundFinished { more: false });
            break;
        }
        assert!(matches!(end, Err(Error::Jobs(_))), "{nth}: {end:?}");
        assert_eq!((told.held.len(), told.checked.len()), (0, 0), "{nth}");
        failed += 1;
        system.let_leases_end();
        system.emulators.checks.delete("round");
    }
    // To take it twice, and to write the result.
    assert_eq!(failed, 3);
    assert_eq!(system.recorded(JOB, "state").as_deref(), Some("complete"));
}

/// Two jobs have the same contact, which was delivered once and without a job's id: that is the older job's.
#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_counts_for_one_job_wherever_a_run_is_interrupted() {
    const YOUNGER: &str = "22222222-3333-4444-8555-666666666666";
    let mut interrupted = 0;
    for nth in 1.. {
        let system = System::start();
        let same = [contact("", 0)];
        system.deliver(None, &same).await;
        system.complete(JOB, 90, &same).await;
        system.complete(YOUNGER, 80, &same).await;
        let (client, _proxy) = failing_at(&system, nth).await;
        let mut healer = system.healer().await;
        let Checks::Table { table, .. } = healer.checks else {
            panic!("a function's round is in a table");
        };
        healer.checks = Checks::Table { client, table };
        let (end, _) = run(&healer, TIMEOUT).await;
        if end.is_err() {
            interrupted += 1;
            system.let_leases_end();
            let (end, _) = run(&system.healer().await, TIMEOUT).await;
            end.unwrap();
        }
        for (job, received) in [(JOB, "1"), (YOUNGER, "0")] {
            let recorded = |attribute| system.recorded(job, attribute);
            assert_eq!(recorded("state").as_deref(), Some("complete"), "{nth}");
            assert_eq!(recorded("received").as_deref(), Some(received), "{nth}");
        }
        // As delivered, and backfilled.
        assert_eq!(system.emulators.contacts.len(), 2, "{nth}");
        if end.is_ok() {
            break;
        }
    }
    assert!(interrupted > 4, "{interrupted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_cannot_be_taken_or_given_up_is_an_error() {
    let system = System::start();
    let records = JobRecords {
        table: "none".to_owned(),
        ..system.healer().await.jobs
    };
    let job = JobId::from(JOB);
    let times = (now_ms(), now_ms() + 60_000);
    let taken = records.take(&job, "first", times, None).await;
    assert!(matches!(taken, Err(Error::Jobs(_))), "{taken:?}");
    let released = records.release(&job, "first").await;
    assert!(matches!(released, Err(Error::Jobs(_))), "{released:?}");
}

/// Whoever has deleted a job's record does not want another one, which would have nothing of the job.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_record_has_vanished_is_left_out() {
    let system = System::start();
    system.list(JOB, 80, &[contact(JOB, 0)]);
    let mut healer = system.healer().await;
    let times = (now_ms(), now_ms() + 60_000);
    let (job, state) = (JobId::from(JOB), Some(State::Waiting));
    let taken = healer.jobs.take(&job, "first", times, state).await;
    assert_eq!(taken.unwrap(), Taken::NoRecord);
    healer.jobs.release(&job, "first").await.unwrap();
    // An item without its key is none either.
    let empty = Server::start("empty", |_| async {
        let kind = "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException";
        Some(server::json(400, &json!({"__type": kind, "Item": {}})))
    });
    let endpoint = ("AWS_ENDPOINT_URL_DYNAMODB", empty.origin.clone());
    let jobs = system.healer_with(&[endpoint]).await.jobs;
    let taken = jobs.take(&job, "first", times, state).await;
    assert_eq!(taken.unwrap(), Taken::NoRecord);

    healer.checks = Checks::in_memory();
    let end = healer.run_job((JOB, now_ms()), now_ms() + 900_000, &|_| ());
    assert_eq!(end.await.unwrap(), End::RoundFinished { more: false });
    assert_eq!(system.emulators.jobs.len(), 0);
    assert_eq!(system.emulators.contacts.len(), 0);
}
