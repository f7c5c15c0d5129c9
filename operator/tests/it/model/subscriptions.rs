//! `subscriptions`, `pause`, `resume` and `delete`.

use serde_json::{Value, json};

use super::{Dice, Expected, State, in_worlds};
use crate::titanx_api::{Form, PagingStyle, Subscription};

pub(super) const EVENTS: [&str; 2] = ["job.contact.scored", "job.completed"];
/// In the order of their bytes, which is then TitanX's order.
const IDS: [&str; 5] = ["SUB-A", "sub-a", "sub-ab", "sub-b", "sub-c"];

/// Subscriptions, about half of which post to `url`, and the others to URLs that look like it.
pub(super) fn subscriptions(dice: &mut Dice, url: &str) -> Vec<Subscription> {
    let others = [
        format!("{url}/"),
        url.to_uppercase(),
        "https://example.com/hook".to_owned(),
    ];
    let ids = dice.some(&IDS);
    let create = |id: &str| Subscription {
        id: id.to_owned(),
        url: if dice.percent(60) {
            url.to_owned()
        } else {
            dice.one_of(&others)
        },
        events: dice.some(&EVENTS).into_iter().map(str::to_owned).collect(),
        active: dice.percent(60),
        secret: format!("wh_sk_synthetic-secret-of-{id}"),
    };
    ids.into_iter().map(create).collect()
}

#[test]
fn subscriptions_are_listed_and_changed_as_documented() {
    in_worlds(200..232, |model| {
        let url = model.system.gateway.url.clone();
        let all = subscriptions(&mut model.dice, &url);
        model.note(format!("{all:?}"));
        let api = &model.system.api;
        api.put_subscriptions(&all);
        let manages = model.dice.percent(85);
        if !manages {
            api.disable_management();
        }
        if model.dice.percent(60) {
            api.page_subscriptions();
            api.set_paging(model.dice.one_of(&PagingStyle::COMPLETE));
            api.set_page_size(model.dice.one_of(&[1, 2, 4, 5]));
        }
        for _ in 0..4 {
            let dice = &mut model.dice;
            let (command, yes) = (
                dice.one_of(&["list", "pause", "resume", "delete"]),
                dice.percent(60),
            );
            let (id, json) = (dice.one_of(&IDS), dice.option(70, "--json"));
            let confirmed = if yes && command != "resume" {
                " --yes"
            } else {
                ""
            };
            if command == "list" {
                let listed = manages.then(|| list(&model.system.api.subscriptions(), model.form));
                model.run(&format!("subscriptions{json}"), |before, _, _| {
                    let mut expected = Expected::unchanged(i32::from(!manages), before);
                    expected.json = listed;
                    expected
                });
                continue;
            }
            let listed = manages.then(|| model.system.api.subscriptions());
            model.run(
                &format!("{command} {id}{confirmed}{json}"),
                |before, _, run| {
                    let printed: Value = serde_json::from_str(&run.stdout).unwrap_or_default();
                    let (live, meaning) = meaning(id, listed.as_deref(), &url);
                    let mut expected = change(before, command, id, yes, manages);
                    let Some(told) = &mut expected.json else {
                        return expected;
                    };
                    if command == "resume" {
                        return expected;
                    }
                    if let Some(live) = live {
                        told["live"] = live.into();
                    }
                    // The words are free, but for what they have to contain.
                    told["consequence"] = printed["consequence"].clone();
                    let words = printed["consequence"].as_str();
                    assert!(
                        words.is_none_or(|it| meaning.iter().all(|part| it.contains(part))),
                        "{meaning:?} {words:?}"
                    );
                    expected.said.extend(meaning);
                    expected
                },
            );
        }
    });
}

/// The subscriptions as TitanX lists them, in its order.
fn list(subscriptions: &[Subscription], form: Form) -> Value {
    let name = (form == Form::Schema).then_some("titanx-receiver");
    let status = |active| if active { "active" } else { "inactive" };
    let told = subscriptions.iter().map(|it| {
        json!({"id": it.id, "name": name, "url": it.url, "events": it.events, "status": status(it.active)})
    });
    told.collect()
}

/// Whether the subscription is a live one of the stack, if that is known, and what its end means.
fn meaning(id: &str, listed: Option<&[Subscription]>, url: &str) -> (Option<bool>, Vec<String>) {
    let Some(listed) = listed else {
        return (None, vec!["it is unknown whether".to_owned()]);
    };
    let live = |it: &&Subscription| it.url == url && it.active;
    match listed.iter().find(|it| it.id == id) {
        None => (Some(false), vec![format!("no subscription {id}")]),
        Some(it) if it.url != url => (Some(false), vec![it.url.clone()]),
        Some(it) if !it.active => (Some(false), vec!["inactive".to_owned()]),
        Some(_) => {
            let others = listed.iter().filter(live).filter(|it| it.id != id);
            let others: Vec<_> = others.map(|it| it.id.clone()).collect();
            let alone = others.is_empty();
            (
                Some(true),
                if alone {
                    vec!["the only one".to_owned()]
                } else {
                    others
                },
            )
        }
    }
}

fn change(before: &State, command: &str, id: &str, yes: bool, manages: bool) -> Expected {
    let done = yes || command == "resume";
    let mut expected = Expected::unchanged(if done { 0 } else { 3 }, before);
    expected.json = Some(json!({"id": id, "action": command, "done": done}));
    if !done {
        return expected;
    }
    let path = match command {
        "delete" => format!("DELETE /webhooks/{id}"),
        "pause" => format!("POST /webhooks/{id}/inactive"),
        _ => format!("POST /webhooks/{id}/active"),
    };
    expected.calls.push(path);
    let key = format!("subscriptions/{id}");
    match expected.state.get_mut(&key) {
        Some(_) if command == "delete" && manages => _ = expected.state.remove(&key),
        Some(it) if command != "delete" => it["active"] = (command == "resume").into(),
        _ => (expected.status, expected.json) = (1, None),
    }
    expected
}
