//! Which jobs are checked, what is queued, and what their records say.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use titanx_healer::{
    job_records::Taken,
    report::{End, State},
};
use titanx_reconcile::JobId;
use titanx_testbed::emulators::{AttributeValue, FaultProxy, Item};

use crate::system::{JOB, System, contact, hours_ago, now_ms, result, run};

/// A job of ten contacts, of which TitanX has dropped those in `dropped`.
async fn with_dropped(dropped: &[usize]) -> System {
    let system = System::start();
    let contacts: Vec<_> = (0..10).map(|number| contact(JOB, number)).collect();
    let delivered = contacts.iter().enumerate();
    let delivered = delivered.filter(|(number, _)| !dropped.contains(number));
    let delivered: Vec<_> = delivered.map(|(_, contact)| contact.clone()).collect();
    system.deliver(Some(JOB), &delivered).await;
    system.complete(JOB, 80, &contacts).await;
    system
}

fn expected(job: &str, count: usize) -> Vec<String> {
    let mut ids: Vec<_> = (0..count).map(|number| format!("{job}-{number}")).collect();
    ids.sort();
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn every_dropped_contact_is_queued_once_and_nothing_again() {
    let system = with_dropped(&[0, 3, 9]).await;
    let told = system.heal().await;
    let complete = result(State::Complete, None, [10, 7, 3, 0, 0]);
    assert_eq!(told.checked, [(JOB.to_owned(), complete)]);
    assert_eq!(told.began, [(1, 0, 0)]);
    // The ten deliveries less three, and the completion. Half a unit for each segment.
    assert_eq!(told.scans, [(8, 7, 2.0)]);
    assert_eq!(system.queued_contacts(), expected(JOB, 10));
    for (attribute, value) in [
        ("state", Some("complete")),
        ("state_reason", None),
        ("contacts_at_titanx", Some("10")),
        ("received", Some("7")),
        ("backfilled", Some("3")),
        ("unscored", Some("0")),
        ("missing", Some("0")),
        ("checked_by", None),
        ("check_ends", None),
    ] {
        assert_eq!(
            system.recorded(JOB, attribute).as_deref(),
            value,
            "{attribute}"
        );
    }
    let checked_at: i64 = system.recorded(JOB, "checked_at").unwrap().parse().unwrap();
    assert!((now_ms() - 60_000..=now_ms()).contains(&checked_at));
    let backfills = system.emulators.contacts.messages().into_iter();
    let backfills = backfills.filter(|it| it.attribute("source") == Some("backfill"));
    assert!(
        backfills
            .clone()
            .all(|it| it.attribute("jobId") == Some(JOB))
    );
    assert_eq!(backfills.count(), 3);

    // Another round finds nothing to do, and another check nothing to queue.
    system.let_a_day_pass();
    assert_eq!(system.heal().await.began, [(0, 0, 0)]);
    let mut again = system.emulators.jobs.get(JOB).unwrap();
    again.remove("checked_at");
    system.emulators.jobs.put(&again);
    system.let_a_day_pass();
    let told = system.heal().await;
    assert_eq!(
        told.checked[0].1,
        result(State::Complete, None, [10, 7, 3, 0, 0])
    );
    assert_eq!(system.queued_contacts(), expected(JOB, 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_day_that_was_dropped_is_fetched_jobs_without_a_report_too() {
    let system = System::start();
    let mut all = Vec::new();
    for job in ["job-a", "job-b", "job-c"] {
        let contacts: Vec<_> = (0..5).map(|number| contact(job, number)).collect();
        all.extend(expected(job, 5));
        if job == "job-c" {
            // Neither a contact nor the completion has arrived.
            system.list(job, 80, &contacts);
        } else {
            system.complete(job, 80, &contacts).await;
        }
    }
    let undecided = json!({"id": "job-d", "status": "Processing", "modifiedAt": hours_ago(80)});
    system
        .api
        .put_job("job-d", undecided, &[contact("job-d", 0)]);
    let recent = json!({"id": "job-e", "status": "Finalized", "modifiedAt": hours_ago(72)});
    system.api.put_job("job-e", recent, &[contact("job-e", 0)]);
    let told = system.heal().await;
    assert_eq!(told.began, [(3, 1, 1)]);
    assert_eq!(told.checked.len(), 3);
    let complete = result(State::Complete, None, [5, 0, 5, 0, 0]);
    assert!(told.checked.iter().all(|(_, result)| *result == complete));
    assert_eq!(system.queued_contacts(), all);
    let record = system.emulators.jobs.get("job-c").unwrap();
    let id = record["delivery_id"].clone();
    assert!(matches!(id, AttributeValue::S(id) if id.starts_with("backfill-job-")));
    assert_eq!(
        system.recorded("job-c", "status").as_deref(),
        Some("Finalized")
    );
}

/// When a job was created says nothing of when TitanX gives up retrying.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_last_change_is_unknown_is_left_alone() {
    for known in [
        json!({"createdAt": hours_ago(80)}),
        json!({"createdAt": hours_ago(80), "modifiedAt": null}),
        json!({"createdAt": hours_ago(80), "modifiedAt": "yesterday"}),
        json!({"updatedAt": hours_ago(80), "completedAt": hours_ago(80)}),
        json!({}),
    ] {
        let system = System::start();
        let mut job = json!({"id": JOB, "status": "Finalized"});
        let members = job.as_object_mut().unwrap();
        members.extend(known.as_object().unwrap().clone());
        system.api.put_job(JOB, job, &[contact(JOB, 0)]);
        assert_eq!(system.heal().await.began, [(0, 0, 1)], "{known}");
        assert_eq!(system.emulators.contacts.len(), 0, "{known}");
        assert_eq!(system.emulators.jobs.len(), 0, "{known}");
    }
}

/// TitanX has two words for a job that it works on no more. After the retention, no record tells what has come of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_in_either_last_state_is_found_without_its_event() {
    for (status, hours, began) in [
        ("Finalized", 80, (1, 1, 0)),
        ("Not Enriched", 80, (1, 1, 0)),
        ("Processing", 80, (0, 0, 1)),
        ("finalized", 80, (0, 0, 1)),
        ("Finalized", 7 * 24 + 1, (0, 0, 0)),
    ] {
        let system = System::start();
        let job = json!({"id": JOB, "status": status, "modifiedAt": hours_ago(hours)});
        system.api.put_job(JOB, job, &[contact(JOB, 0)]);
        let told = system.heal().await;
        assert_eq!(told.began, [began], "{status}");
        let queued = system.queued_contacts().len();
        assert_eq!(queued, began.0, "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_not_checked_before_titanx_has_given_up() {
    let system = System::start();
    system.complete(JOB, 72, &[contact(JOB, 0)]).await;
    assert_eq!(system.heal().await.began, [(0, 0, 0)]);
    assert_eq!(system.recorded(JOB, "state"), None);
    assert_eq!(system.queued_contacts(), [""; 0]);
    // The next round is not due, whoever asks.
    let (end, _) = run(&system.healer().await, Duration::from_mins(15)).await;
    assert_eq!(end.unwrap(), End::Idle);
}

/// A run works until it is killed. Until then nobody else may have its round or its jobs.
#[tokio::test(flavor = "multi_thread")]
async fn leases_end_a_second_after_the_run() {
    let system = with_dropped(&[3]).await;
    let proxy = FaultProxy::start(&system.emulators.dynamodb_url, 1);
    let ends = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&ends);
    proxy.observe(move |call| {
        let request: Value = serde_json::from_slice(&call.request).unwrap();
        for name in [":lease_ends", ":ends"] {
            let at = request["ExpressionAttributeValues"][name]["N"].as_str();
            seen.lock()
                .unwrap()
                .extend(at.map(|at| (name, at.to_owned())));
        }
    });
    let endpoint = ("AWS_ENDPOINT_URL_DYNAMODB", proxy.url.clone());
    let healer = system.healer_with(&[endpoint]).await;
    let deadline = now_ms() + 900_000;
    let end = healer.run(deadline, &|_| ()).await.unwrap();
    assert_eq!(end, End::RoundFinished { more: false });
    let at = (deadline + 1_000).to_string();
    let ends = ends.lock().unwrap();
    let mut kinds: Vec<_> = ends.iter().map(|(name, at)| (*name, at.as_str())).collect();
    kinds.dedup();
    // The round is taken, the job twice: to list and to backfill. At last the round is given up.
    let taken = [(":lease_ends", &*at), (":ends", &at), (":lease_ends", "0")];
    assert_eq!(kinds, taken);
    assert_eq!(ends.len(), 4, "{ends:?}");
}

/// DynamoDB deletes an item when the time in its TTL attribute, in seconds, is over.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_round_remembers_expires_after_two_weeks() {
    let system = with_dropped(&[3, 4]).await;
    let (before, _) = (now_ms() / 1_000, system.heal().await);
    let weeks = 14 * 24 * 3_600;
    let expected = before + weeks..=now_ms() / 1_000 + weeks;
    let items = system.emulators.checks.items();
    // The round, its jobs, the check, the keys, and both missing contacts.
    assert_eq!(items.len(), 5);
    for item in items {
        let AttributeValue::N(expiration) = &item["expiration"] else {
            panic!("{item:?}");
        };
        let expiration = expiration.parse::<i64>().unwrap();
        assert!(expected.contains(&expiration), "{item:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_on_any_page_of_its_table_is_due() {
    const JOBS: usize = 12;
    let system = System::start();
    let completed_at = (now_ms() - 80 * 3_600_000).to_string();
    for number in 0..JOBS {
        let record = [
            ("job_id", AttributeValue::S(format!("job-{number}"))),
            ("completed_at", AttributeValue::N(completed_at.clone())),
            // A page of a scan has at most 1 MiB.
            ("name", AttributeValue::S("x".repeat(300_000))),
        ];
        let record = record.map(|(name, value)| (name.to_owned(), value));
        system.emulators.jobs.put(&Item::from(record));
    }
    assert_eq!(system.heal().await.began, [(JOBS, 0, 0)]);
}

/// TitanX may spell an id in two ways, and answer to both.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_received_is_queued_again_for_another_spelling_of_the_job() {
    let system = System::start();
    let contacts: Vec<_> = (0..4).map(|number| contact(JOB, number)).collect();
    system.deliver(Some(JOB), &contacts[1..]).await;
    system.complete(JOB, 80, &contacts).await;
    system.complete(&JOB.replace('-', ""), 79, &contacts).await;
    for more in [true, false] {
        let (end, _) = run(&system.healer().await, Duration::from_mins(15)).await;
        assert_eq!(end.unwrap(), End::RoundFinished { more });
    }
    assert_eq!(system.queued_contacts(), expected(JOB, 4));
    for job in [JOB, &JOB.replace('-', "")] {
        assert_eq!(system.recorded(job, "state").as_deref(), Some("complete"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn contacts_that_were_never_scored_are_counted_and_not_queued() {
    let system = System::start();
    let mut unscored = contact(JOB, 1);
    unscored.as_object_mut().unwrap().remove("phoneStatus");
    let contacts = [contact(JOB, 0), unscored, contact(JOB, 2)];
    system.deliver(Some(JOB), &contacts[..1]).await;
    system.complete(JOB, 80, &contacts).await;
    let told = system.heal().await;
    assert_eq!(
        told.checked[0].1,
        result(State::Complete, None, [3, 1, 1, 1, 0])
    );
    let queued = [format!("{JOB}-0"), format!("{JOB}-2")];
    assert_eq!(system.queued_contacts(), queued);
}

/// Asserts that the job's only missing contact was not queued, for this reason.
async fn assert_not_queued(system: &System, queued: usize, reason: &str, missing: u64) {
    let told = system.heal().await;
    let (_, result) = &told.checked[0];
    assert_eq!(result.reason.as_deref(), Some(reason));
    let state = if missing > 0 {
        State::Incomplete
    } else {
        State::Unproven
    };
    assert_eq!((result.state, result.missing), (state, missing), "{reason}");
    assert_eq!(system.emulators.contacts.len(), queued, "{reason}");
    assert_eq!(
        system.recorded(JOB, "state").as_deref(),
        Some(state.as_str())
    );
    assert_eq!(
        system.recorded(JOB, "state_reason").as_deref(),
        Some(reason)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_queued_on_a_doubt() {
    // The first records of a job may have expired although it was completed well within the retention.
    let old = System::start();
    old.complete(JOB, 100, &[contact(JOB, 0)]).await;
    let job = json!({"id": JOB, "createdAt": hours_ago(169)});
    old.api.put_job(JOB, job, &[contact(JOB, 0)]);
    assert_not_queued(&old, 0, "records_expired", 1).await;

    // Without `createdAt` a job is assumed to take a day.
    let unknown = System::start();
    unknown.complete(JOB, 145, &[contact(JOB, 0)]).await;
    unknown
        .api
        .put_job(JOB, json!({"id": JOB}), &[contact(JOB, 0)]);
    assert_not_queued(&unknown, 0, "records_expired", 1).await;

    // Other ids, be it beside the same other keys or beside none that the list has, too.
    let mut with_same_keys = contact(JOB, 0);
    with_same_keys["id"] = "contact-99".into();
    let with_other_keys = json!({"id": "contact-99", "phoneStatus": "High"});
    for delivered in [with_same_keys, with_other_keys] {
        let other_ids = System::start();
        let mut here = contact(JOB, 0);
        here["id"] = "row-1".into();
        other_ids.deliver(Some(JOB), &[delivered]).await;
        other_ids.complete(JOB, 80, &[here]).await;
        assert_not_queued(&other_ids, 1, "unmatched_records", 1).await;
    }

    let no_scores = System::start();
    let mut plain = contact(JOB, 0);
    plain.as_object_mut().unwrap().remove("phoneStatus");
    no_scores.complete(JOB, 80, &[plain]).await;
    assert_not_queued(&no_scores, 0, "scores_not_shown", 0).await;
}

/// Of a job that took longer than a day, only TitanX knows that its first records may have expired. A request
/// that failed is no answer; one that TitanX does not support is.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_queued_while_titanx_fails_to_tell_when_the_job_was_created() {
    use titanx_testbed::titanx_api::Failure;
    for status in [400, 409, 422] {
        let system = System::start();
        system.complete(JOB, 100, &[contact(JOB, 0)]).await;
        let job = json!({"id": JOB, "createdAt": hours_ago(169)});
        system.api.put_job(JOB, job, &[contact(JOB, 0)]);
        let asked = format!("GET /jobs/{JOB}");
        system.api.fail(&asked, Failure::Status(status));
        let told = system.heal().await;
        let (_, result) = &told.checked[0];
        assert_eq!(result.reason.as_deref(), Some("titanx_failed"), "{status}");
        assert_eq!(result.state, State::Unproven, "{status}");
        assert_eq!(system.emulators.contacts.len(), 0, "{status}");
    }
    for status in [404, 405] {
        let system = System::start();
        system.complete(JOB, 100, &[contact(JOB, 0)]).await;
        let asked = format!("GET /jobs/{JOB}");
        system.api.fail(&asked, Failure::Status(status));
        let told = system.heal().await;
        assert_eq!(told.checked[0].1.backfilled, 1, "{status}");
    }
}

/// A person who runs it wants to know what a healer would do.
#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_tells_what_is_missing_and_changes_nothing() {
    let system = with_dropped(&[5]).await;
    let record = system.emulators.jobs.get(JOB);
    let mut healer = system.healer().await;
    healer.settings.dry_run = true;
    let (end, told) = run(&healer, Duration::from_mins(15)).await;
    assert_eq!(end.unwrap(), End::RoundFinished { more: false });
    let missing = result(State::Incomplete, Some("dry_run"), [10, 9, 0, 0, 1]);
    assert_eq!(told.checked[0].1, missing);
    assert_eq!(system.emulators.jobs.get(JOB), record);
    assert_eq!(system.emulators.contacts.len(), 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_without_contacts_is_complete() {
    let system = System::start();
    system.complete(JOB, 80, &[]).await;
    let told = system.heal().await;
    assert_eq!(told.checked[0].1, result(State::Complete, None, [0; 5]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_was_sent_and_never_marked_is_sent_again_under_its_own_id() {
    let system = with_dropped(&[]).await;
    let mut record = system.emulators.deliveries.get("delivery-4").unwrap();
    record.insert(
        "status".to_owned(),
        AttributeValue::S("INPROGRESS".to_owned()),
    );
    system.emulators.deliveries.put(&record);
    let told = system.heal().await;
    assert_eq!(
        told.checked[0].1,
        result(State::Complete, None, [10, 9, 1, 0, 0])
    );
    let mut ids = system.queued();
    assert_eq!(ids.len(), 11);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 10, "a consumer drops the second");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_a_person_works_on_is_left_out() {
    let system = with_dropped(&[2]).await;
    let mut record = system.emulators.jobs.get(JOB).unwrap();
    let set = |record: &mut Item, name: &str, value| record.insert(name.to_owned(), value);
    set(
        &mut record,
        "checked_by",
        AttributeValue::S("operator-1".to_owned()),
    );
    let ends = (now_ms() + 60_000).to_string();
    set(&mut record, "check_ends", AttributeValue::N(ends));
    system.emulators.jobs.put(&record);
    let told = system.heal().await;
    assert_eq!((told.held, told.checked.len()), (vec![JOB.to_owned()], 0));
    assert_eq!(system.emulators.contacts.len(), 9);
    assert_eq!(
        system.recorded(JOB, "checked_by").as_deref(),
        Some("operator-1")
    );
    // It is due in the next round.
    system.let_leases_end();
    system.let_a_day_pass();
    assert_eq!(system.heal().await.checked.len(), 1);
    assert_eq!(system.queued_contacts(), expected(JOB, 10));
}

/// Whoever has lost a job to somebody else gives nothing up.
#[tokio::test(flavor = "multi_thread")]
async fn only_its_owner_gives_a_job_up() {
    let system = with_dropped(&[]).await;
    let (records, job) = (system.healer().await.jobs, JobId::from(JOB));
    let times = (now_ms(), now_ms() + 60_000);
    let taken = records.take(&job, "first", times, None).await.unwrap();
    assert_eq!(taken, Taken::Taken);
    records.release(&job, "second").await.unwrap();
    assert_eq!(system.recorded(JOB, "checked_by").as_deref(), Some("first"));
    let refused = records.take(&job, "second", times, None).await.unwrap();
    assert_eq!(refused, Taken::Held { until: times.1 });
    records.release(&job, "first").await.unwrap();
    assert_eq!(system.recorded(JOB, "checked_by"), None);
}

/// TitanX lists a contact twice, and has scored it once.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_contact_listed_twice_the_scored_one_is_queued() {
    let system = System::start();
    let mut unscored = contact(JOB, 0);
    unscored.as_object_mut().unwrap().remove("phoneStatus");
    let scored = contact(JOB, 0);
    let other = contact(JOB, 1);
    system
        .deliver(Some(JOB), std::slice::from_ref(&other))
        .await;
    system.complete(JOB, 80, &[unscored, scored, other]).await;
    let told = system.heal().await;
    assert_eq!(
        told.checked[0].1,
        result(State::Complete, None, [3, 1, 1, 1, 0])
    );
    let messages = system.emulators.contacts.messages().into_iter();
    let mut backfilled = messages.filter(|it| it.attribute("source") == Some("backfill"));
    let body: Value = serde_json::from_str(&backfilled.next().unwrap().body).unwrap();
    assert_eq!(body["payload"]["phoneStatus"], "High");
    assert!(backfilled.next().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_queued_is_incomplete_and_tried_again() {
    let system = with_dropped(&[5]).await;
    let nowhere = [("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:9".to_owned())];
    let healer = system.healer_with(&nowhere).await;
    // After the last page of the list, before it is read again. That it has changed is the weaker reason.
    system.api.insert_after_page(JOB, 5, contact(JOB, 10));
    let (end, told) = run(&healer, Duration::from_mins(15)).await;
    assert_eq!(end.unwrap(), End::RoundFinished { more: false });
    let incomplete = result(State::Incomplete, Some("failed"), [10, 9, 0, 0, 1]);
    assert_eq!(told.checked[0].1, incomplete);
    let [(job, error)] = &told.failed[..] else {
        panic!("{:?}", told.failed)
    };
    assert_eq!(job, JOB);
    let said = "the event with delivery id backfill-";
    assert!(error.starts_with(said), "{error}");
    system.let_leases_end();
    system.let_a_day_pass();
    let told = system.heal().await;
    assert_eq!(
        told.checked[0].1,
        result(State::Complete, None, [11, 9, 2, 0, 0])
    );
    assert_eq!(system.queued_contacts(), expected(JOB, 11));
    assert_eq!(system.recorded(JOB, "state_reason"), None);
}

/// Which of the equal contacts was not queued cannot be told. The delivery id that no record has can.
#[tokio::test(flavor = "multi_thread")]
async fn of_equal_contacts_the_one_that_an_earlier_round_could_not_queue_is_queued() {
    for left in 0..3 {
        let system = System::start();
        system.complete(JOB, 80, &vec![contact(JOB, 1); 3]).await;
        let due = system.emulators.jobs.get(JOB).unwrap();
        system.heal().await;
        let mut ids = system.queued();
        assert_eq!(ids.len(), 3);
        ids.sort();
        system.emulators.deliveries.delete(&ids[left]);
        system.emulators.jobs.put(&due);
        system.let_a_day_pass();
        let told = system.heal().await;
        let complete = result(State::Complete, None, [3, 0, 3, 0, 0]);
        assert_eq!(told.checked, [(JOB.to_owned(), complete)]);
        ids.push(ids[left].clone());
        let mut queued = system.queued();
        queued.sort();
        ids.sort();
        assert_eq!(queued, ids);
    }
}

/// What has come to the list since it was compared was neither received nor queued.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_changes_before_its_contacts_are_sent_proves_nothing() {
    let system = with_dropped(&[5]).await;
    // After the last page, before the list is read again.
    system.api.insert_after_page(JOB, 5, contact(JOB, 10));
    let told = system.heal().await;
    assert_eq!(
        told.checked[0].1,
        result(State::Unproven, Some("list_changed"), [10, 9, 1, 0, 0])
    );
    system.let_a_day_pass();
    let told = system.heal().await;
    assert_eq!(
        told.checked[0].1,
        result(State::Complete, None, [11, 9, 2, 0, 0])
    );
    assert_eq!(system.queued_contacts(), expected(JOB, 11));
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_without_a_job_id_are_matched_as_well() {
    let system = System::start();
    let lists: Vec<Vec<Value>> = ["job-a", "job-b"]
        .map(|job| (0..6).map(|number| contact(job, number)).collect())
        .into();
    for (job, list) in ["job-a", "job-b"].iter().zip(&lists) {
        system.deliver(None, &list[..4]).await;
        system.complete(job, 80, list).await;
    }
    let told = system.heal().await;
    assert_eq!(told.checked.len(), 2);
    let complete = result(State::Complete, None, [6, 4, 2, 0, 0]);
    assert!(told.checked.iter().all(|(_, result)| *result == complete));
    let all = [expected("job-a", 6), expected("job-b", 6)].concat();
    assert_eq!(system.queued_contacts(), all);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_contacts_than_a_round_takes_are_left_to_the_next_which_begins_at_once() {
    let system = System::start();
    for (job, hours) in [("job-a", 90), ("job-b", 85), ("job-c", 80)] {
        let contacts: Vec<_> = (0..4).map(|number| contact(job, number)).collect();
        system.complete(job, hours, &contacts).await;
    }
    let mut healer = system.healer().await;
    healer.settings.max_contacts = 8;
    let (end, told) = run(&healer, Duration::from_mins(15)).await;
    assert_eq!(end.unwrap(), End::RoundFinished { more: true });
    let oldest: Vec<_> = told.checked.iter().map(|(job, _)| job.as_str()).collect();
    assert_eq!(oldest, ["job-a", "job-b"]);
    let (end, told) = run(&healer, Duration::from_mins(15)).await;
    assert_eq!(end.unwrap(), End::RoundFinished { more: false });
    assert_eq!(told.checked[0].0, "job-c");
    assert_eq!(system.emulators.contacts.len(), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_completed_again_meanwhile_is_due_again() {
    let system = with_dropped(&[1]).await;
    let completed_again = |system: &System| {
        let mut record = system.emulators.jobs.get(JOB).unwrap();
        let at = (now_ms() - 75 * 3_600_000).to_string();
        record.insert("completed_at".to_owned(), AttributeValue::N(at));
        system.emulators.jobs.put(&record);
    };
    let healer = system.healer().await;
    let (end, _) = run_until_listed(&system, &healer).await;
    completed_again(&system);
    assert_eq!(end.unwrap(), End::OutOfTime);
    system.let_leases_end();
    let told = system.heal().await;
    // It is taken, and its result is not written.
    assert_eq!((told.held.len(), told.checked.len()), (0, 0));
    assert_eq!(told.changed, [JOB]);
    assert_eq!(system.recorded(JOB, "checked_at"), None);
    system.let_leases_end();
    system.let_a_day_pass();
    let told = system.heal().await;
    assert_eq!(
        told.checked[0].1,
        result(State::Complete, None, [10, 9, 1, 0, 0])
    );
    assert_eq!(system.queued_contacts(), expected(JOB, 10));
}

/// A run that has no time for the scan, since TitanX answers slowly.
async fn run_until_listed(
    system: &System,
    healer: &titanx_healer::Healer,
) -> (
    Result<End, titanx_healer::error::Error>,
    crate::system::Told,
) {
    system.api.fail(
        &format!("GET /jobs/{JOB}/contacts"),
        titanx_testbed::titanx_api::Failure::RetryAfter(3),
    );
    run(healer, Duration::from_secs(8)).await
}
