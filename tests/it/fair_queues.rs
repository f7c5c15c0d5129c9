//! On a standard queue, a contact's message belongs to the group of its job, among whose groups SQS is
//! fair. A group never costs a delivery.

use serde_json::{Value, json};
use titanx_testbed::{
    emulators::Emulators,
    front_door::{Answer, deliver, environment, receiver},
    titanx::{contact, envelope, signed},
};

/// Delivers a contact of each job, and returns the groups of the messages.
async fn groups(job_ids: &[Value]) -> Vec<Option<String>> {
    let emulators = Emulators::start();
    let receiver = receiver(&environment(&emulators));
    for (number, job_id) in job_ids.iter().enumerate() {
        let payload = json!({ "jobId": job_id, "phone": "+1 202-555-0101" });
        let body = envelope(
            &format!("delivery-{number}"),
            "job.contact.scored",
            &payload,
        );
        let answer = deliver(&receiver, &signed(&body)).await;
        assert_eq!(answer, Answer::accepted(), "{job_id}");
    }
    let messages = emulators.contacts.messages();
    assert!(messages.iter().all(|it| it.deduplication_id.is_none()));
    messages.into_iter().map(|it| it.group_id).collect()
}

#[tokio::test]
async fn the_contacts_of_a_job_are_a_group() {
    let found = groups(&[json!("job-1"), json!("job-2"), json!("job-1")]).await;
    let expected = ["job-1", "job-2", "job-1"].map(|it| Some(it.to_owned()));
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_contact_of_no_job_is_in_no_group() {
    assert_eq!(groups(&[json!(null), json!("")]).await, [None, None]);
}

/// SQS takes 128 letters, digits and punctuation marks. The expectations are of `printf %s … | openssl
/// dgst -sha256 -binary | base64`.
#[tokio::test]
async fn a_job_whose_id_sqs_would_refuse_is_a_group_all_the_same() {
    let longest = "j".repeat(128);
    let jobs = [
        json!(longest),
        json!("j".repeat(129)),
        json!("job 1"),
        json!("j\u{f6}b"),
    ];
    let expected = [
        longest.as_str(),
        "Mvt1gZcOyug6+gBpBLwtzdKXLO78Ixm+emRD8lP+gl8=",
        "W6I8h1+M1raV5qmU7b+NhTUD6FIsCtvlJCFZZiMy6mA=",
        "Ux4pWYPve914EZIB3/5Lg63DoxkFW6wCRK2usYhi8uo=",
    ];
    let expected = expected.map(|it| Some(it.to_owned()));
    assert_eq!(groups(&jobs).await, expected);
}

#[tokio::test]
async fn what_goes_to_quarantine_is_in_no_group() {
    let emulators = Emulators::start();
    let receiver = receiver(&environment(&emulators));
    deliver(&receiver, &signed(&contact("delivery-1"))).await;
    let other = json!({ "jobId": "job-1", "phone": "+1 202-555-0102" });
    let reused = envelope("delivery-1", "job.contact.scored", &other);
    let answer = deliver(&receiver, &signed(&reused)).await;
    assert_eq!(answer, Answer::quarantined());
    let [message] = &emulators.quarantine.messages()[..] else {
        panic!("not one message");
    };
    assert_eq!(message.group_id, None);
}
