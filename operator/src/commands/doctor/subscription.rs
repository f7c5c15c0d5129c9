//! Asks TitanX whether its events reach this stack.

use titanx_client::{EVENT_TYPES, Error, Subscription, http::origin, without};

use super::Finding;
use crate::{stack::Stack, titanx::TitanxOptions};

const SUBJECT: &str = "subscription";

/// Checks that one active subscription posts all event types to this stack.
pub(super) async fn check(
    options: &TitanxOptions,
    stack: &Stack<'_>,
) -> anyhow::Result<Vec<Finding>> {
    if !options.has_key() {
        return Ok(vec![Finding::note(
            SUBJECT,
            "TitanX was not asked, because no API key is given",
            "set TITANX_API_KEY to check that an active subscription posts to this stack",
        )]);
    }
    let url = stack.url().await?;
    let listed = match options.connect()?.subscriptions().await {
        Ok(listed) => listed,
        Err(error) => {
            let advice = match error {
                Error::ApiKey { .. } => {
                    "use an API key of the TitanX user who owns the subscription"
                }
                Error::NotSupported { .. } => {
                    "look in TitanX's app whether an active subscription posts to the webhook URL"
                }
                _ => "run this command again later",
            };
            let unknown = Finding::unknown(SUBJECT, &error.into());
            let advice = Some(advice);
            return Ok(vec![Finding { advice, ..unknown }]);
        }
    };
    Ok(of_stack(&listed, &url))
}

fn of_stack(listed: &[Subscription], url: &str) -> Vec<Finding> {
    let ours = listed.iter().filter(|it| it.url.as_deref() == Some(url));
    let (active, paused): (Vec<_>, Vec<_>) = ours.partition(|it| it.is_active());
    let mut findings = Vec::new();
    match (&active[..], &paused[..]) {
        ([], []) => findings.push(none(listed, url)),
        ([], paused) => findings.push(Finding::problem(
            SUBJECT,
            format!(
                "{} for this stack is {}, so TitanX delivers no events",
                ids(paused),
                paused[0].status.as_deref().unwrap_or("of unknown status")
            ),
            "activate it with `operator resume`, then recover the contacts of the meantime with \
             `operator reconcile`",
        )),
        ([one], _) => findings.push(Finding::fine(
            SUBJECT,
            format!("{} is active and posts to {url}", one.id),
        )),
        (several, _) => findings.push(Finding::note(
            SUBJECT,
            format!(
                "{} are active for this stack, so each event arrives more than once, with several \
                 delivery ids",
                ids(several)
            ),
            "unless a rotation is in progress, delete all but one with `operator delete`",
        )),
    }
    let granted = |event: &str| {
        let mut events = active.iter().flat_map(|it| &it.events);
        events.any(|it| it == event)
    };
    let states_events = active.iter().any(|it| !it.events.is_empty());
    if !active.is_empty() && !states_events {
        findings.push(Finding::note(
            SUBJECT,
            "TitanX does not say which event types it delivers",
            "look for the event types in TitanX's app",
        ));
    }
    for event in EVENT_TYPES.into_iter().filter(|it| !granted(it)) {
        if states_events {
            findings.push(Finding::problem(
                SUBJECT,
                format!("does not have the event type {event}: {}", without(event)),
                "ask TitanX to grant it, or replace the subscription with `operator rotate`",
            ));
        }
    }
    findings
}

/// The finding that no subscription posts to this stack, with one that nearly does.
fn none(listed: &[Subscription], url: &str) -> Finding {
    let host = origin(url).to_ascii_lowercase();
    let mut urls = listed.iter().filter_map(|it| it.url.as_deref());
    let near = urls.find(|it| origin(it).to_ascii_lowercase() == host);
    let near = near.map_or_else(String::new, |near| {
        format!("; one posts to {near}, which is another URL of the same host")
    });
    Finding::problem(
        SUBJECT,
        format!(
            "none of the {} subscriptions at TitanX posts to {url}{near}",
            listed.len()
        ),
        "run `operator subscribe`; if there should be one, check that the API key is of the user who \
         owns it",
    )
}

fn ids(subscriptions: &[&Subscription]) -> String {
    let ids: Vec<_> = subscriptions.iter().map(|it| it.id.as_str()).collect();
    ids.join(", ")
}
