//! TitanX's lists: every form of paging, lists that change while they are read, and rate limits.

use std::time::Duration;

use serde_json::{Value, json};
use titanx_healer::report::{End, Event, State};
use titanx_testbed::titanx_api::{Failure, PagingStyle};

use crate::system::{JOB, System, contact, now_ms, result, run};

fn contacts(count: usize) -> Vec<Value> {
    (0..count).map(|number| contact(JOB, number)).collect()
}

fn all(count: usize) -> Vec<String> {
    let mut all: Vec<_> = (0..count).map(|number| format!("{JOB}-{number}")).collect();
    all.sort();
    all
}

/// A job of which every second contact was delivered.
async fn half_delivered(count: usize) -> System {
    let system = System::start();
    let contacts = contacts(count);
    let odd: Vec<_> = contacts.iter().skip(1).step_by(2).cloned().collect();
    system.deliver(Some(JOB), &odd).await;
    system.complete(JOB, 80, &contacts).await;
    system
}

#[tokio::test(flavor = "multi_thread")]
async fn every_documented_form_of_paging_is_read_whole() {
    for paging in PagingStyle::COMPLETE {
        // One page, and several.
        for (count, delivered) in [(2, 1), (7, 3)] {
            let system = half_delivered(count).await;
            system.api.set_paging(paging);
            let told = system.heal().await;
            let counts = [count, delivered, count - delivered, 0, 0];
            let complete = result(State::Complete, None, counts.map(|it| it as u64));
            assert_eq!(told.checked[0].1, complete, "{paging:?} {count}");
            assert_eq!(system.queued_contacts(), all(count), "{paging:?} {count}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_queued_of_a_list_that_is_not_proven_whole() {
    for paging in [
        PagingStyle::NoMetadata,
        PagingStyle::Repeating,
        PagingStyle::BelowTotal,
    ] {
        let system = half_delivered(7).await;
        system.api.set_paging(paging);
        let told = system.heal().await;
        let (_, result) = &told.checked[0];
        assert_eq!(result.state, State::Incomplete, "{paging:?}");
        assert_eq!(system.emulators.contacts.len(), 3, "{paging:?}");
    }
    // All that is listed was received, which proves nothing either.
    let system = System::start();
    system.deliver(Some(JOB), &contacts(3)).await;
    system.complete(JOB, 80, &contacts(3)).await;
    system.api.set_paging(PagingStyle::NoMetadata);
    let told = system.heal().await;
    let unproven = result(State::Unproven, Some("completeness"), [3, 3, 0, 0, 0]);
    assert_eq!(told.checked[0].1, unproven);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_not_to_be_had_is_unproven() {
    let system = half_delivered(3).await;
    system
        .api
        .fail(&format!("GET /jobs/{JOB}/contacts"), Failure::Status(404));
    let told = system.heal().await;
    let unproven = result(State::Unproven, Some("not_listed"), [0; 5]);
    assert_eq!(told.checked[0].1, unproven);
    system.let_a_day_pass();
    let told = system.heal().await;
    assert_eq!(
        told.checked[0].1,
        result(State::Complete, None, [3, 1, 2, 0, 0])
    );
}

/// What was read and saved of the list is not compared with the records.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_list_that_breaks_off_nothing_is_compared() {
    let system = System::start();
    system.complete(JOB, 80, &contacts(51)).await;
    system.api.set_page_size(1);
    let path = format!("GET /jobs/{JOB}/contacts");
    system.api.fail_after(50, &path, Failure::Status(404));
    let told = system.heal().await;
    let unproven = result(State::Unproven, Some("not_listed"), [0; 5]);
    assert_eq!(told.checked[0].1, unproven);
    assert_eq!(told.scans, []);
}

/// The newest jobs are in the first pages.
#[tokio::test(flavor = "multi_thread")]
async fn twenty_pages_of_the_list_of_jobs_are_read() {
    let system = System::start();
    for number in 0..41 {
        let job = format!("job-{number}");
        let listed = json!({"id": job, "status": "Processing"});
        system.api.put_job(&job, listed, &[]);
    }
    assert_eq!(system.heal().await.began, [(0, 0, 40)]);
}

/// A contact that moves to the next page while the list is read looks like two. Whatever the form of
/// paging, it is queued once at most, and what was received is not queued again.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_grows_between_two_pages_queues_no_contact_twice() {
    for paging in PagingStyle::COMPLETE {
        for (page, received) in [(1, true), (2, true), (1, false), (2, false)] {
            let system = System::start();
            let contacts = contacts(6);
            let delivered = if received {
                &contacts[..]
            } else {
                &contacts[..1]
            };
            system.deliver(Some(JOB), delivered).await;
            system.complete(JOB, 80, &contacts).await;
            system.api.set_paging(paging);
            system.api.insert_after_page(JOB, page, contact(JOB, 6));
            let told = system.heal().await;
            let mut queued = system.queued_contacts();
            let count = queued.len();
            queued.dedup();
            let context = format!("{paging:?} {page} {received} {:?}", told.checked);
            assert_eq!(queued.len(), count, "{context}");
            assert!(count <= 7, "{context}");
            let state = told.checked[0].1.state;
            assert_eq!(state == State::Complete, count == 7, "{context}");
            if paging != PagingStyle::COMPLETE[0] {
                continue;
            }
            // Another check finds the rest, whatever the form of paging.
            system.let_a_day_pass();
            let _ = run(&system.healer().await, Duration::from_mins(15)).await;
            let mut record = system.emulators.jobs.get(JOB).unwrap();
            record.remove("checked_at");
            system.emulators.jobs.put(&record);
            system.let_a_day_pass();
            system.heal().await;
            assert_eq!(system.queued_contacts(), all(7), "{context}");
        }
    }
}

/// What was read of it before may lack contacts. Read once more, it is whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_whose_total_changes_is_read_once_more() {
    let system = System::start();
    let contacts = contacts(6);
    system.deliver(Some(JOB), &contacts).await;
    system.complete(JOB, 80, &contacts).await;
    system.api.insert_after_page(JOB, 1, contact(JOB, 6));
    let told = system.heal().await;
    assert_eq!(
        told.checked[0].1,
        result(State::Complete, None, [7, 6, 1, 0, 0])
    );
}

/// It may change as often as it is read.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_whose_total_changes_each_time_is_read_twice() {
    let system = System::start();
    let contacts = contacts(6);
    system.deliver(Some(JOB), &contacts).await;
    system.complete(JOB, 80, &contacts).await;
    for number in 6..9 {
        system.api.insert_after_page(JOB, 1, contact(JOB, number));
    }
    let told = system.heal().await;
    let unproven = result(State::Incomplete, Some("completeness"), [8, 6, 0, 0, 2]);
    assert_eq!(told.checked[0].1, unproven);
    let pages = system.api.requests().into_iter();
    let pages = pages.filter(|it| it.ends_with("/contacts"));
    // Four each time.
    assert_eq!(pages.count(), 8);
}

/// The new contact comes after the last page, before the list is read again to backfill.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_changes_before_the_backfill_is_unproven() {
    let system = System::start();
    let contacts = contacts(6);
    system.deliver(Some(JOB), &contacts[1..]).await;
    system.complete(JOB, 80, &contacts).await;
    system.api.insert_after_page(JOB, 3, contact(JOB, 6));
    let told = system.heal().await;
    let unproven = result(State::Unproven, Some("list_changed"), [6, 5, 1, 0, 0]);
    assert_eq!(told.checked[0].1, unproven);
    assert_eq!(system.queued_contacts(), all(6));
}

/// It is the same list, but TitanX states no total any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_not_proven_whole_a_second_time_is_unproven() {
    let system = half_delivered(6).await;
    let report = |event: Event<'_>| {
        if matches!(event, Event::Scanned { .. }) {
            system.api.set_paging(PagingStyle::NoMetadata);
        }
    };
    let healer = system.healer().await;
    let end = healer.run(now_ms() + 900_000, &report).await;
    assert_eq!(end.unwrap(), End::RoundFinished { more: false });
    assert_eq!(system.recorded(JOB, "state").as_deref(), Some("unproven"));
    assert_eq!(
        system.recorded(JOB, "state_reason").as_deref(),
        Some("list_changed")
    );
    assert_eq!(system.queued_contacts(), all(6));
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_limit_of_the_day_runs_wait_for_the_reset_and_go_on_where_they_were() {
    let system = half_delivered(120).await;
    // Sixty pages, twice, and the list and the job itself.
    system.api.limit(55, Duration::from_mins(10));
    let healer = system.healer().await;
    let (end, _) = run(&healer, Duration::from_mins(15)).await;
    let End::RateLimited { until } = end.unwrap() else {
        panic!("the limit is exhausted");
    };
    assert!(until > now_ms());
    let calls = system.api.requests().len();
    // No run calls TitanX before. The function has a new client in each, which remembers no limit.
    let (end, _) = run(&system.healer().await, Duration::from_mins(15)).await;
    assert_eq!(end.unwrap(), End::RateLimited { until });
    assert_eq!(system.api.requests().len(), calls);
    assert_eq!(system.emulators.contacts.len(), 60);

    system.api.limit(usize::MAX, Duration::from_secs(1));
    let mut round = system.emulators.checks.get("round").unwrap();
    round.remove("not_before");
    system.emulators.checks.put(&round);
    // Long before the first run would have been killed.
    let told = system.heal().await;
    assert_eq!(
        told.checked[0].1,
        result(State::Complete, None, [120, 60, 60, 0, 0])
    );
    assert_eq!(system.queued_contacts(), all(120));
    // Of the 53 pages that were read, the first fifty were saved.
    let pages = system.api.requests().into_iter();
    let pages = pages.filter(|it| it.ends_with("/contacts"));
    assert_eq!(pages.count(), 53 + 10 + 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_of_titanx_are_waited_for_and_never_queue_anything_twice() {
    let system = half_delivered(5).await;
    let path = format!("GET /jobs/{JOB}/contacts");
    system.api.fail(&path, Failure::Status(502));
    system.api.fail(
        &path,
        Failure::RateLimited {
            window: "second",
            reset_s: 1,
        },
    );
    system.api.fail_after(3, &path, Failure::LostResponse);
    system.heal().await;
    assert_eq!(system.queued_contacts(), all(5));
}

/// Whichever request TitanX refuses: the list of jobs, a job, or its contacts.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_api_key_fails_the_run_and_checks_nothing() {
    for path in REQUESTS {
        let system = half_delivered(3).await;
        let path = path.replace("JOB", JOB);
        system.api.fail(&path, Failure::Quoting { status: 401 });
        let (end, told) = run(&system.healer().await, Duration::from_mins(15)).await;
        let error = end.unwrap_err();
        let text = titanx_receiver::error::Chain(&error).to_string();
        assert!(text.contains("does not accept the API key"), "{text}");
        assert!(
            !text.contains(titanx_testbed::titanx_api::API_KEY),
            "{text}"
        );
        assert_eq!(told.checked.len(), 0, "{path}");
        // The next run need not wait for the lease of this one.
        system.heal().await;
        assert_eq!(system.queued_contacts(), all(3), "{path}");
    }
}

const REQUESTS: [&str; 3] = ["GET /jobs", "GET /jobs/JOB", "GET /jobs/JOB/contacts"];

/// A job that was not read because of it is no job that TitanX knows nothing of.
#[tokio::test(flavor = "multi_thread")]
async fn at_an_exhausted_limit_the_run_ends_whatever_it_asked_for() {
    for path in REQUESTS {
        let system = half_delivered(3).await;
        let path = path.replace("JOB", JOB);
        let limit = Failure::RateLimited {
            window: "day",
            reset_s: 600,
        };
        system.api.fail(&path, limit);
        let (end, told) = run(&system.healer().await, Duration::from_mins(15)).await;
        let End::RateLimited { until } = end.unwrap() else {
            panic!("{path}");
        };
        assert!(until > now_ms() + 500_000, "{path}");
        assert_eq!(told.checked.len(), 0, "{path}");
        let last = system.api.requests().pop().unwrap();
        assert!(last.starts_with(&path), "{path}: {last}");
    }
}
