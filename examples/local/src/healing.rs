//! The last part of the run: a contact that TitanX never delivers, and the healer that fetches it.

use std::{collections::BTreeSet, sync::Mutex, time::Duration};

use serde_json::{Value, json};
use titanx_healer::{
    config::Config,
    report::{Event, JobResult, State},
};
use titanx_testbed::{
    emulators::Message,
    titanx::now_ms,
    titanx_api::{Form, TitanxApi},
};

use crate::{
    error::Error,
    scenario::{CONTACTS, contact},
    screen::{Screen, Tone},
    system::System,
};

/// The number of the contact that TitanX has scored and never delivers.
const NEVER_DELIVERED: usize = 46;

/// Has TitanX list the job with one contact more than it delivered, and runs the healer. Returns whether
/// that contact is on the queue now, once, and nothing else was queued.
pub(crate) async fn heal(system: &System, job_id: &str, screen: Screen) -> Result<bool, Error> {
    screen.title("What TitanX never delivers");
    screen.text(
        "  TitanX lists one contact of the job that it never delivered. The healer compares.\n",
    );
    let titanx = titanx_with(job_id);
    let before = delivery_ids(&system.emulators.contacts.messages());
    let result = run_healer(system, &titanx).await?;
    let messages = system.emulators.contacts.messages();
    let queued = messages.iter().filter(|message| {
        let id = message.attribute("deliveryId").unwrap_or_default();
        !before.contains(id)
    });
    let queued: Vec<_> = queued.map(customer_contact_id).collect();
    let JobResult {
        state,
        contacts_at_titanx,
        received,
        backfilled,
        missing,
        ..
    } = &result;
    screen.row(
        "at TitanX",
        contacts_at_titanx,
        "contacts in its list of the job",
    );
    screen.row("received", received, "of these, delivered");
    screen.row("backfilled", backfilled, "of these, queued by the healer");
    screen.row("missing", missing, "of these, neither");
    screen.row("job", state, "state in the jobs table");
    let healed = is_healed(*state, &queued);
    let (mark, tone) = if healed {
        ("healed", Tone::Good)
    } else {
        ("NOT HEALED", Tone::Bad)
    };
    screen.text(&format!(
        "\n  {}  the contact that never came is on the queue once, and nothing else was queued",
        screen.tone(tone, mark)
    ));
    Ok(healed)
}

/// Whether the job is complete, and these contacts that were queued are the one that was never delivered.
fn is_healed(state: State, queued: &[String]) -> bool {
    state == State::Complete && queued == [format!("customer-contact-{NEVER_DELIVERED}")]
}

/// TitanX's API, with the contacts that were delivered and the one that was not.
fn titanx_with(job_id: &str) -> TitanxApi {
    let numbers = (1..=CONTACTS).chain([NEVER_DELIVERED]);
    let contacts: Vec<_> = numbers
        .map(|number| {
            let body = contact(number, job_id).body;
            let envelope: Value = serde_json::from_str(&body).expect("the body is JSON");
            envelope["payload"].clone()
        })
        .collect();
    let titanx = TitanxApi::start(Form::Schema);
    titanx.set_page_size(10);
    titanx.put_job(
        job_id,
        json!({"id": job_id, "status": "Finalized"}),
        &contacts,
    );
    titanx
}

async fn run_healer(system: &System, titanx: &TitanxApi) -> Result<JobResult, Error> {
    let mut environment = system.emulators.environment();
    environment.insert("TITANX_API_URL", titanx.url.clone());
    let config = Config::from_env(|name| environment.get(name).cloned())?;
    let mut healer = config.build().await?;
    // TitanX's three days of retries are seconds here, and they are over.
    healer.settings.delay = Duration::ZERO;
    let checked = Mutex::new(None);
    let report = |event: Event<'_>| {
        if let Event::JobChecked { result, .. } = event
            && let Ok(mut checked) = checked.lock()
        {
            *checked = Some(result.clone());
        }
    };
    let deadline = i64::try_from(now_ms())? + 60_000;
    healer.run(deadline, &report).await?;
    let checked = checked.into_inner().map_err(|error| error.to_string())?;
    checked.ok_or_else(|| "the healer has checked no job".into())
}

fn delivery_ids(messages: &[Message]) -> BTreeSet<String> {
    let ids = messages.iter().filter_map(|it| it.attribute("deliveryId"));
    ids.map(str::to_owned).collect()
}

fn customer_contact_id(message: &Message) -> String {
    let envelope: Value = serde_json::from_str(&message.body).unwrap_or_default();
    let id = envelope["payload"]["customerContactId"].as_str();
    id.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_healed_only_if_its_contact_was_queued_once_and_no_other() {
        for (state, queued, healed) in [
            (State::Complete, &[46][..], true),
            (State::Complete, &[], false),
            (State::Complete, &[46, 46], false),
            (State::Complete, &[45], false),
            (State::Complete, &[46, 1], false),
            (State::Incomplete, &[46], false),
            (State::Unproven, &[46], false),
            (State::Waiting, &[46], false),
        ] {
            let ids = queued.iter().map(|it| format!("customer-contact-{it}"));
            let queued: Vec<_> = ids.collect();
            assert_eq!(is_healed(state, &queued), healed, "{state} {queued:?}");
        }
    }
}
