//! A healer that is killed at each of its calls, and two of them at once.

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value;
use titanx_healer::error::Error;
use titanx_testbed::emulators::{Fault, FaultProxy, Harm, When};

use crate::system::{System, contact, run};

const JOBS: [&str; 2] = ["job-a", "job-b"];

/// Two jobs, of which TitanX has dropped a contact each, and one that is unfinished.
async fn system() -> System {
    let system = System::start();
    for job in JOBS {
        let contacts: Vec<_> = (0..3).map(|number| contact(job, number)).collect();
        system.deliver(Some(job), &contacts[1..]).await;
        system.complete(job, 80, &contacts).await;
    }
    system
}

fn expected() -> Vec<String> {
    let ids = JOBS
        .iter()
        .flat_map(|job| (0..3).map(move |n| format!("{job}-{n}")));
    ids.collect()
}

/// Runs a healer whose `nth` call to a service takes effect and is never answered, and kills it there: so
/// with every `nth` it is once killed between each call and the next. Returns whether it came so far.
async fn kill_at(system: &System, variable: &'static str, url: &str, nth: usize) -> bool {
    let proxy = FaultProxy::start(url, 0);
    proxy.inject(When::Nth(nth), Fault::After(Harm::Stop));
    let healer = system.healer_with(&[(variable, proxy.url.clone())]).await;
    let run = run(&healer, Duration::from_mins(15));
    tokio::select! {
        (end, _) = run => {
            end.unwrap();
            false
        }
        () = proxy.stopped() => true,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_each_call_the_next_runs_finish_the_round() {
    for service in ["DYNAMODB", "SQS"] {
        let mut kills = 0;
        for nth in 1.. {
            let system = system().await;
            let (variable, url) = match service {
                "SQS" => ("AWS_ENDPOINT_URL_SQS", system.emulators.sqs_url.clone()),
                _ => (
                    "AWS_ENDPOINT_URL_DYNAMODB",
                    system.emulators.dynamodb_url.clone(),
                ),
            };
            if !kill_at(&system, variable, &url, nth).await {
                break;
            }
            kills += 1;
            if service == "SQS" {
                // Until its contact is sent, a job is not whole.
                let states = JOBS.map(|job| system.recorded(job, "state"));
                assert_eq!(states[1].as_deref(), Some("waiting"), "{nth}");
            }
            system.let_leases_end();
            let _ = run(&system.healer().await, Duration::from_mins(15)).await;
            for job in JOBS {
                let context = format!("{service} {nth}");
                assert_eq!(
                    system.recorded(job, "state").as_deref(),
                    Some("complete"),
                    "{context}"
                );
                assert_eq!(
                    system.recorded(job, "missing").as_deref(),
                    Some("0"),
                    "{context}"
                );
            }
            // A second message of a delivery has the same id.
            let messages = system.emulators.contacts.messages();
            let ids: BTreeSet<_> = messages
                .iter()
                .map(|it| it.attribute("deliveryId"))
                .collect();
            assert_eq!(ids.len(), 6, "{service} {nth}");
            let contacts: BTreeSet<_> = system.queued_contacts().into_iter().collect();
            assert_eq!(
                contacts,
                expected().into_iter().collect(),
                "{service} {nth}"
            );
            // Only a killed send may be repeated.
            assert!(messages.len() <= 7, "{service} {nth}");
        }
        let at_least = if service == "SQS" { 2 } else { 25 };
        assert!(kills >= at_least, "{service}: only {kills} calls");
    }
}

/// The contacts before the first stored position in a list: fifty pages of two.
const SAVED: usize = 100;

/// A list with one page after that position.
fn past_the_stored_position() -> Vec<Value> {
    let numbers = 0..SAVED + 2;
    numbers.map(|number| contact(JOBS[0], number)).collect()
}

/// The position in a list is stored after its fiftieth page, whose contacts must be sent before.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_a_send_of_the_page_before_a_stored_position_the_next_run_sends_its_contacts() {
    let contacts = past_the_stored_position();
    let dropped = SAVED - 2..SAVED;
    // The first send may be the one of either contact.
    for nth in [1, 2] {
        let system = System::start();
        let delivered = [&contacts[..dropped.start], &contacts[dropped.end..]].concat();
        system.deliver(Some(JOBS[0]), &delivered).await;
        system.complete(JOBS[0], 80, &contacts).await;
        let sqs = system.emulators.sqs_url.clone();
        assert!(kill_at(&system, "AWS_ENDPOINT_URL_SQS", &sqs, nth).await);
        system.let_leases_end();
        system.heal().await;
        let state = system.recorded(JOBS[0], "state");
        assert_eq!(state.as_deref(), Some("complete"), "{nth}");
        let queued: BTreeSet<_> = system.queued_contacts().into_iter().collect();
        let all = (0..contacts.len()).map(|number| format!("{}-{number}", JOBS[0]));
        assert_eq!(queued, all.collect(), "{nth}");
    }
}

/// What the first run has sent up to the stored position counts once, whatever the next run reads again.
#[tokio::test(flavor = "multi_thread")]
async fn killed_after_a_stored_position_the_next_run_counts_each_contact_once() {
    let contacts = past_the_stored_position();
    let system = System::start();
    // Two are missing on the last page before the position, and one after it.
    let delivered = [&contacts[..SAVED - 2], &contacts[SAVED + 1..]].concat();
    system.deliver(Some(JOBS[0]), &delivered).await;
    system.complete(JOBS[0], 80, &contacts).await;
    let sqs = system.emulators.sqs_url.clone();
    assert!(kill_at(&system, "AWS_ENDPOINT_URL_SQS", &sqs, 3).await);
    system.let_leases_end();
    system.heal().await;
    let recorded = |attribute| system.recorded(JOBS[0], attribute);
    assert_eq!(recorded("backfilled").as_deref(), Some("3"));
    assert_eq!(recorded("missing").as_deref(), Some("0"));
    // The contact that it was killed at may be queued twice.
    let queued: BTreeSet<_> = system.queued_contacts().into_iter().collect();
    let all = (0..contacts.len()).map(|number| format!("{}-{number}", JOBS[0]));
    assert_eq!(queued, all.collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_healers_at_once_queue_nothing_twice() {
    let system = system().await;
    let (first, second) = (system.healer().await, system.healer().await);
    let timeout = Duration::from_mins(15);
    let (one, two) = tokio::join!(run(&first, timeout), run(&second, timeout));
    let finished = [one.0.unwrap(), two.0.unwrap()];
    let finished = finished
        .iter()
        .filter(|end| format!("{end:?}").contains("RoundFinished"));
    assert_eq!(finished.count(), 1);
    assert_eq!(system.queued_contacts(), expected());
}

/// As if Lambda had frozen a run until after its lease.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_has_lost_the_round_fails() {
    let system = system().await;
    let proxy = FaultProxy::start(&system.emulators.dynamodb_url, 0);
    // To read the jobs table is the first of it.
    proxy.inject(When::NthOf(1, "Scan"), Fault::Before(Harm::Stop));
    let endpoint = ("AWS_ENDPOINT_URL_DYNAMODB", proxy.url.clone());
    let frozen = system.healer_with(&[endpoint]).await;
    let frozen = run(&frozen, Duration::from_mins(15));
    let other = async {
        proxy.stopped().await;
        system.let_leases_end();
        system.heal().await;
        proxy.heal();
    };
    let ((end, _), ()) = tokio::join!(frozen, other);
    assert!(matches!(end, Err(Error::RoundLost)), "{end:?}");
    assert_eq!(system.queued_contacts(), expected());
}

/// As with clocks that differ by hours: no lease holds.
#[tokio::test(flavor = "multi_thread")]
async fn two_healers_without_leases_queue_nothing_twice() {
    let system = system().await;
    let healers = [system.healer().await, system.healer().await];
    let timeout = Duration::from_mins(15);
    let runs = healers.each_ref().map(|healer| run(healer, timeout));
    let [one, two] = runs;
    let steal = async {
        for _ in 0..200 {
            system.let_leases_end_of_checks();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let _ = tokio::join!(one, two, steal);
    system.let_leases_end();
    let _ = run(&healers[0], timeout).await;
    assert_eq!(system.queued_contacts(), expected());
}
