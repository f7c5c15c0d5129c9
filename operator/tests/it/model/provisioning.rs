//! `subscribe` and `rotate`, from any state in which an earlier run may have stopped.

use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use titanx_testbed::{emulators::SIGNING_SECRET, titanx::now_ms};

use super::{
    Dice, Expected, Model, State, in_worlds,
    subscriptions::{EVENTS, subscriptions},
    to_json,
};
use crate::System;
use crate::titanx_api::{Failure, Subscription};

const DEAD_URL: &str = "http://127.0.0.1:9/webhooks/titanx";
const HOUR_MS: i64 = 3_600_000;
const MINUTE_MS: i64 = 60_000;

/// The ledger as it is stored.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Ledger {
    subscriptions: Vec<Known>,
    rotation: Option<Rotation>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Known {
    id: String,
    url: String,
    /// The fingerprint of the secret.
    secret: String,
    stored_ms: i64,
}

#[derive(Clone, Serialize, Deserialize)]
struct Rotation {
    new: Known,
    old: Vec<String>,
    activated: bool,
    deactivated_ms: Option<i64>,
}

/// The first 9 bytes of its SHA-256.
fn fingerprint(secret: &str) -> String {
    BASE64_STANDARD_NO_PAD.encode(&Sha256::digest(secret)[..9])
}

fn now() -> i64 {
    i64::try_from(now_ms()).unwrap()
}

/// How TitanX behaves.
#[derive(Clone, Debug)]
struct TitanX {
    granted: Vec<&'static str>,
    /// Whether it refuses whoever asks for `job.completed`.
    refuses_jobs: bool,
    lists: bool,
    /// Whether it refuses the next change of a subscription.
    fails: bool,
}

#[derive(Clone, Debug)]
struct Options {
    events: Vec<&'static str>,
    another: bool,
    url: String,
    skip_probe: bool,
    old: Vec<String>,
    grace: i64,
    yes: bool,
}

#[test]
fn subscribe_and_rotate_do_what_is_documented_from_every_state() {
    in_worlds(400..500, |model| {
        let url = model.system.gateway.url.clone();
        let mut titanx = prepare(model, &url);
        for _ in 0..3 {
            let dice = &mut model.dice;
            if dice.percent(12) && !titanx.fails {
                titanx.fails = true;
                model
                    .system
                    .api
                    .fail("POST /webhooks/", Failure::Status(403));
            }
            let dice = &mut model.dice;
            let other_url = dice.percent(20);
            let options = Options {
                events: if dice.percent(60) {
                    Vec::new()
                } else {
                    dice.some(&EVENTS)
                },
                another: dice.percent(15),
                url: if other_url {
                    DEAD_URL.to_owned()
                } else {
                    url.clone()
                },
                skip_probe: dice.percent(if other_url { 70 } else { 20 }),
                old: if dice.percent(80) {
                    Vec::new()
                } else {
                    dice.some(&["sub-a", "sub-b", "gone"].map(str::to_owned))
                },
                grace: dice.one_of(&[96, 96, 72, 71, 0]),
                yes: dice.percent(60),
            };
            let rotates = dice.percent(65);
            let line = line(rotates, &options) + &dice.option(75, "--json");
            let store = model.system.emulators.secret.arn.clone();
            let mut left = titanx.clone();
            model.run(&line, |before, after, _| {
                let mut oracle = Oracle {
                    titanx: &mut left,
                    options: &options,
                    after,
                    started: now() - 10 * MINUTE_MS,
                    expected: Expected::unchanged(0, before),
                };
                let done = if rotates {
                    oracle.rotate()
                } else {
                    oracle.subscribe(&store)
                };
                oracle.expected.status = done.unwrap_or(1);
                oracle.expected
            });
            titanx = left;
        }
    });
}

fn line(rotates: bool, options: &Options) -> String {
    let Options {
        events,
        another,
        url,
        skip_probe,
        old,
        grace,
        yes,
    } = options;
    let mut words = vec![
        if rotates { "rotate" } else { "subscribe" },
        "--settle",
        "0",
        "--url",
        url,
    ];
    words.extend(skip_probe.then_some("--skip-probe"));
    let grace = grace.to_string();
    if rotates {
        words.extend(old.iter().flat_map(|it| ["--old", it]));
        words.extend(["--grace", &grace]);
        words.extend(yes.then_some("--yes"));
    } else {
        words.extend(events.iter().flat_map(|it| ["--event", it]));
        words.extend(another.then_some("--another"));
    }
    words.join(" ")
}

/// Subscriptions, live secrets, and a ledger that need not agree with each other.
fn prepare(model: &mut Model, url: &str) -> TitanX {
    let dice = &mut model.dice;
    let mut all = subscriptions(dice, url);
    for it in all
        .iter_mut()
        .filter(|it| it.active && it.events.is_empty())
    {
        it.events = vec![dice.one_of(&EVENTS).to_owned()];
    }
    let gone = Subscription {
        id: "gone".to_owned(),
        url: url.to_owned(),
        events: Vec::new(),
        active: false,
        secret: "wh_sk_synthetic-secret-of-gone".to_owned(),
    };
    let of_each: Vec<_> = all
        .iter()
        .chain([&gone])
        .map(|it| it.secret.clone())
        .collect();
    let mut live = [SIGNING_SECRET, "wh_sk_stored-by-hand"]
        .map(str::to_owned)
        .to_vec();
    live = dice.some(&live);
    live.extend(of_each.into_iter().filter(|_| dice.percent(75)));
    dice.0.shuffle(&mut live);
    if live.is_empty() {
        live.push(SIGNING_SECRET.to_owned());
    }
    let ledger = ledger(dice, url, &all, &gone, &live);
    let titanx = TitanX {
        granted: if dice.percent(60) {
            EVENTS.to_vec()
        } else {
            dice.some(&EVENTS)
        },
        refuses_jobs: dice.percent(12),
        lists: dice.percent(75),
        fails: false,
    };
    let System { api, emulators, .. } = &model.system;
    api.put_subscriptions(&all);
    api.set_granted(&titanx.granted);
    if titanx.refuses_jobs {
        api.set_allowed(&EVENTS[..1]);
    }
    if !titanx.lists {
        api.disable_management();
    }
    emulators.secret.rotate(&match &live[..] {
        [secret] => secret.clone(),
        secrets => json!(secrets).to_string(),
    });
    if let Some(ledger) = &ledger {
        emulators
            .secret
            .stage("OPERATOR_LEDGER", &to_json(ledger).to_string());
    }
    model.note(format!(
        "{all:#?}\nlive: {live:?}\nledger: {:#}\n{titanx:?}",
        to_json(&ledger)
    ));
    titanx
}

/// A ledger of some of them, in which at most one of each URL can be continued, and perhaps of a rotation that was
/// interrupted.
fn ledger(
    dice: &mut Dice,
    url: &str,
    all: &[Subscription],
    gone: &Subscription,
    live: &[String],
) -> Option<Ledger> {
    let known = |it: &Subscription| Known {
        id: it.id.clone(),
        url: it.url.clone(),
        secret: fingerprint(&it.secret),
        stored_ms: 1_767_614_400_000,
    };
    let mut all: Vec<_> = all.iter().chain([gone]).collect();
    dice.0.shuffle(&mut all);
    let rotation = dice.percent(55).then(|| {
        let new = all.pop().expect("at least one is gone");
        let posts_to = if dice.percent(20) { DEAD_URL } else { url };
        let new = Known {
            url: posts_to.to_owned(),
            ..known(new)
        };
        let old = all.iter().map(|it| it.id.clone()).collect::<Vec<_>>();
        let activated = dice.percent(60);
        let ages = [
            0,
            72 * HOUR_MS - 10 * MINUTE_MS,
            72 * HOUR_MS,
            96 * HOUR_MS - 10 * MINUTE_MS,
            96 * HOUR_MS,
        ];
        let deactivated = activated && dice.percent(70);
        let deactivated_ms = deactivated.then(|| now() - dice.one_of(&ages));
        Rotation {
            new,
            old: dice.some(&old),
            activated,
            deactivated_ms,
        }
    });
    let mut continued = Vec::new();
    let mut subscriptions = Vec::new();
    for it in all {
        let is_live = live.contains(&it.secret);
        if dice.percent(65) && !(is_live && continued.contains(&&it.url)) {
            continued.extend(is_live.then_some(&it.url));
            subscriptions.push(known(it));
        }
    }
    dice.percent(90).then_some(Ledger {
        subscriptions,
        rotation,
    })
}

/// The command does not go on.
struct Failed;

/// Does to a state what the documents say.
struct Oracle<'a> {
    titanx: &'a mut TitanX,
    options: &'a Options,
    /// What is there afterwards, for new ids, secrets and times.
    after: &'a State,
    /// New times are later.
    started: i64,
    expected: Expected,
}

impl Oracle<'_> {
    fn subscribe(&mut self, store: &str) -> Result<i32, Failed> {
        let Options { url, another, .. } = self.options;
        self.probe(url)?;
        let all = or_all(&self.options.events);
        let mut ledger = self.ledger();
        let continued = ledger.subscriptions.iter().find(|it| {
            let exists = !self.titanx.lists || self.subscription(&it.id).is_some();
            it.url == *url && !another && exists && self.is_live(&it.secret)
        });
        let (id, events) = if let Some(known) = continued {
            let listed = self.subscription(&known.id).filter(|_| self.titanx.lists);
            let events = listed.map(events_of).filter(|it| !it.is_empty());
            let is_active = listed.is_some_and(|it| it["active"] == true);
            let id = known.id.clone();
            if !is_active {
                self.change(&id, true)?;
            }
            (id, events)
        } else {
            let posts = |it: &Value| it["url"] == *url && it["active"] == true;
            if !another && self.titanx.lists && self.subscriptions().any(|(_, it)| posts(it)) {
                return Err(Failed);
            }
            let (known, events) = self.create(url, &all)?;
            self.store(&known.id);
            let id = known.id.clone();
            ledger.subscriptions.push(known);
            self.put_ledger(&ledger);
            self.change(&id, true)?;
            (id, Some(events))
        };
        let granted = events.clone().unwrap_or_else(|| all.clone());
        let not_granted: Vec<_> = all.iter().filter(|it| !granted.contains(it)).collect();
        self.expected.json = Some(json!({
            "id": id, "url": url, "events": events.unwrap_or_default(), "not_granted": not_granted,
            "secret_stored_in": store, "live_secrets": self.live().len(),
        }));
        self.expected
            .said
            .push(format!("subscribed: the subscription {id} posts to {url}"));
        Ok(if not_granted.is_empty() { 0 } else { 3 })
    }

    fn rotate(&mut self) -> Result<i32, Failed> {
        let Options { grace, yes, .. } = self.options;
        if *grace < 72 && !yes {
            return Err(Failed);
        }
        let mut ledger = self.ledger();
        let mut status = 0;
        if let Some(rotation) = &ledger.rotation {
            if !rotation.activated {
                self.probe(&rotation.new.url)?;
            }
        } else {
            status = self.begin(&mut ledger)?;
        }
        let mut rotation = ledger.rotation.clone().expect("it has begun");
        self.switch(&mut ledger, &mut rotation)?;
        let removable = rotation.deactivated_ms.unwrap() + grace * HOUR_MS;
        let finished = now() >= removable;
        if finished {
            let is_old = |it: &Known| rotation.old.contains(&it.id);
            ledger.subscriptions.retain(|it| !is_old(it));
            ledger.subscriptions.push(rotation.new.clone());
            ledger.rotation = None;
            let known = |secret: &String| {
                let mut all = ledger.subscriptions.iter();
                all.any(|it| it.secret == fingerprint(secret))
            };
            if !self.is_live(&rotation.new.secret) {
                return Err(Failed);
            }
            let live: Vec<_> = self.live().into_iter().filter(known).collect();
            self.put_live(&live);
            self.put_ledger(&ledger);
        }
        self.expected.json = Some(json!({
            "new": rotation.new.id, "old": rotation.old, "finished": finished,
            "old_secret_removable_at": (!finished).then_some(removable),
            "live_secrets": self.live().len(),
        }));
        let said = if finished {
            "rotation complete"
        } else {
            "new secret active"
        };
        self.expected.said.push(said.to_owned());
        Ok(status)
    }

    /// Creates the subscription that replaces the old ones, and stores its secret beside theirs.
    fn begin(&mut self, ledger: &mut Ledger) -> Result<i32, Failed> {
        let Options { url, old, yes, .. } = self.options;
        self.probe(url)?;
        if self.titanx.lists {
            ledger
                .subscriptions
                .retain(|it| self.subscription(&it.id).is_some());
        }
        let mut replaced = old.clone();
        if old.is_empty() {
            let known = ledger.subscriptions.iter().filter(|it| it.url == *url);
            replaced.extend(known.map(|it| it.id.clone()));
            if self.titanx.lists {
                let posts = |it: &Value| it["url"] == *url && it["active"] == true;
                let others = self
                    .subscriptions()
                    .filter(|(_, it)| posts(it))
                    .map(|(id, _)| id);
                let others: Vec<_> = others.filter(|id| !replaced.contains(id)).collect();
                replaced.extend(others);
            }
        }
        if replaced.is_empty() {
            return Err(Failed);
        }
        let mut events: Vec<String> = Vec::new();
        if self.titanx.lists {
            for event in replaced
                .iter()
                .filter_map(|id| self.subscription(id))
                .flat_map(events_of)
            {
                if !events.contains(&event) {
                    events.push(event);
                }
            }
        }
        let all = if events.is_empty() {
            EVENTS.map(str::to_owned).to_vec()
        } else {
            events.clone()
        };
        let (new, granted) = self.create(url, &all)?;
        let loses = |of: &[String]| of.iter().any(|it| !granted.contains(it));
        if loses(&events) && !yes {
            return Err(Failed);
        }
        self.store(&new.id);
        ledger.rotation = Some(Rotation {
            new,
            old: replaced,
            activated: false,
            deactivated_ms: None,
        });
        self.put_ledger(ledger);
        Ok(if loses(&all) { 3 } else { 0 })
    }

    /// Activates the new subscription, and deactivates the old ones after that.
    fn switch(&mut self, ledger: &mut Ledger, rotation: &mut Rotation) -> Result<(), Failed> {
        let new = rotation.new.id.clone();
        if !rotation.activated {
            let exists = self.subscription(&new).is_some();
            let stored = self.is_live(&rotation.new.secret);
            let was_refused = self.titanx.fails;
            if self.change(&new, stored).is_err() || !stored {
                // What cannot go on is forgotten, so that the next run begins anew.
                if !stored || !exists && !was_refused {
                    ledger.rotation = None;
                    self.put_ledger(ledger);
                }
                return Err(Failed);
            }
            rotation.activated = true;
            ledger.rotation = Some(rotation.clone());
            self.put_ledger(ledger);
        }
        if rotation.deactivated_ms.is_none() {
            for old in &rotation.old {
                let was_refused = self.titanx.fails;
                if self.change(old, false).is_err() && was_refused {
                    return Err(Failed);
                }
            }
            let noted = self.new_time("/rotation/deactivated_ms");
            rotation.deactivated_ms = noted.or(Some(now()));
            ledger.rotation = Some(rotation.clone());
            self.put_ledger(ledger);
        }
        Ok(())
    }

    /// Only the receiver's own answer lets a command go on, or somebody who knows better.
    fn probe(&self, url: &str) -> Result<(), Failed> {
        if url == DEAD_URL && !self.options.skip_probe {
            Err(Failed)
        } else {
            Ok(())
        }
    }

    /// Creates an inactive subscription. Also returns the event types that TitanX grants.
    fn create(&mut self, url: &str, asked: &[String]) -> Result<(Known, Vec<String>), Failed> {
        let contacts = [EVENTS[0].to_owned()];
        let asks_jobs = asked.iter().any(|it| it == EVENTS[1]);
        self.expected.calls.push("POST /webhooks".to_owned());
        let asked = match (self.titanx.refuses_jobs && asks_jobs, asked.len()) {
            (true, 1) => return Err(Failed),
            (true, _) => &contacts[..],
            (false, _) => asked,
        };
        let granted: Vec<_> = asked
            .iter()
            .filter(|it| self.titanx.granted.contains(&it.as_str()))
            .cloned()
            .collect();
        let mut created = self.after.iter().filter(|(name, _)| {
            name.starts_with("subscriptions/") && !self.expected.state.contains_key(*name)
        });
        let (name, created) = created.next().expect("a subscription was created");
        let id = name.split('/').nth(1).unwrap().to_owned();
        let secret = created["secret"].as_str().unwrap();
        let inactive = json!({"url": url, "events": granted, "active": false, "secret": secret});
        self.expected.state.insert(name.clone(), inactive);
        let known = Known {
            id,
            url: url.to_owned(),
            secret: fingerprint(secret),
            stored_ms: 0,
        };
        Ok((known, granted))
    }

    /// Stores the secret of a new subscription beside the live ones.
    fn store(&mut self, id: &str) {
        let secret = self.subscription(id).unwrap()["secret"]
            .as_str()
            .unwrap()
            .to_owned();
        let live = [self.live(), vec![secret]].concat();
        self.put_live(&live);
    }

    /// Activates or deactivates a subscription.
    fn change(&mut self, id: &str, active: bool) -> Result<(), Failed> {
        let action = if active { "active" } else { "inactive" };
        self.expected
            .calls
            .push(format!("POST /webhooks/{id}/{action}"));
        if std::mem::take(&mut self.titanx.fails) {
            return Err(Failed);
        }
        let subscription = self.expected.state.get_mut(&format!("subscriptions/{id}"));
        subscription.ok_or(Failed)?["active"] = active.into();
        Ok(())
    }

    fn subscriptions(&self) -> impl Iterator<Item = (String, &Value)> {
        let state = self.expected.state.iter();
        state.filter_map(|(name, it)| Some((name.strip_prefix("subscriptions/")?.to_owned(), it)))
    }

    fn subscription(&self, id: &str) -> Option<&Value> {
        self.expected.state.get(&format!("subscriptions/{id}"))
    }

    fn live(&self) -> Vec<String> {
        serde_json::from_value(self.expected.state["secret"].clone()).unwrap()
    }

    fn is_live(&self, known: &str) -> bool {
        self.live().iter().any(|it| fingerprint(it) == known)
    }

    fn put_live(&mut self, live: &[String]) {
        self.expected.calls.push("PutSecretValue".to_owned());
        self.expected.state.insert("secret".to_owned(), json!(live));
    }

    fn ledger(&self) -> Ledger {
        let ledger = self.expected.state.get("ledger");
        ledger.map_or_else(Ledger::default, |it| {
            serde_json::from_value(it.clone()).unwrap()
        })
    }

    /// Writes the ledger. When the new secret was stored is known only afterwards.
    fn put_ledger(&mut self, ledger: &Ledger) {
        self.expected
            .calls
            .push("PutSecretValue of the ledger".to_owned());
        let mut ledger = to_json(ledger);
        let places = (0..ledger["subscriptions"].as_array().unwrap().len())
            .map(|index| format!("/subscriptions/{index}/stored_ms"));
        for place in places.chain(["/rotation/new/stored_ms".to_owned()]) {
            if let Some(stored) = ledger.pointer_mut(&place).filter(|it| **it == 0) {
                *stored = self.new_time(&place).into();
            }
        }
        self.expected.state.insert("ledger".to_owned(), ledger);
    }

    /// A time in the ledger that is one of this run; none if it is another, or no more there.
    fn new_time(&self, place: &str) -> Option<i64> {
        let time = self.after.get("ledger")?.pointer(place)?.as_i64()?;
        (self.started..=now()).contains(&time).then_some(time)
    }
}

fn or_all(events: &[&str]) -> Vec<String> {
    let events = if events.is_empty() { &EVENTS } else { events };
    events.iter().map(|&it| it.to_owned()).collect()
}

fn events_of(subscription: &Value) -> Vec<String> {
    serde_json::from_value(subscription["events"].clone()).unwrap()
}
