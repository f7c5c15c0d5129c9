//! `quarantine list`, `show` and `redrive`, with the receiver behind them.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read, Write},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use serde_json::{Value, json};
use titanx_testbed::{
    emulators::SIGNING_SECRET,
    titanx::{completed_job, envelope, envelope_at, now_ms},
};

use super::{Dice, Expected, Model, State, in_worlds, item};
use crate::operator::Run;

const PRIVATE: &str = "private.person@example.com";
/// The most bytes that the contacts queue takes.
const LIMIT: usize = 20_000;

/// What the receiver makes of a body.
#[derive(Clone, Debug, PartialEq)]
enum Meaning {
    /// A contact or a job with this delivery id.
    Understood(&'static str),
    /// Not understood, for this reason.
    Quarantined(&'static str),
}
use Meaning::{Quarantined, Understood};

type Body = (Vec<u8>, Meaning);

/// Bodies with what they mean. Those of one delivery id are different events; a live lease holds `held`.
fn bodies() -> Vec<Body> {
    let contact = |id: &str, size: usize| {
        let payload = json!({"jobId": "job-1", "email": PRIVATE, "leadStatus": null, "notes": "x".repeat(size)});
        envelope(id, "job.contact.scored", &payload).into_bytes()
    };
    let nothing = json!({
        "email": PRIVATE,
        "eventType": PRIVATE,
        "apiVersion": {"timestamp": 7},
        "tags": [true, 1.5, {"timestamp": 7}],
    });
    let stale = envelope_at(
        1_577_836_800_000_i64,
        "stale",
        "job.contact.scored",
        &nothing,
    );
    let version = envelope("version", "job.contact.scored", &nothing).replace("\"v2\"", "\"v9\"");
    vec![
        (contact("contact-1", 1), Understood("contact-1")),
        (contact("contact-1", 2), Understood("contact-1")),
        (contact("contact-2", 1), Understood("contact-2")),
        (contact("held", 1), Understood("held")),
        (
            completed_job("job-delivery", "job-9").into_bytes(),
            Understood("job-delivery"),
        ),
        (contact("large", LIMIT), Quarantined("too_large")),
        (stale.into_bytes(), Quarantined("stale")),
        (version.into_bytes(), Quarantined("unknown_api_version")),
        (
            envelope("new", "job.unheard_of", &nothing).into_bytes(),
            Quarantined("unknown_event_type"),
        ),
        (contact("a blank", 1), Quarantined("unusable_id")),
        (b"{\"id\": [\"a\"]}\n".to_vec(), Quarantined("not_envelope")),
        (
            json!({"eventType": {"email": PRIVATE}, "timestamp": [PRIVATE]})
                .to_string()
                .into_bytes(),
            Quarantined("not_envelope"),
        ),
        (
            format!("{PRIVATE} is no JSON\r\n").into_bytes(),
            Quarantined("not_json"),
        ),
        (vec![0, 159, 146, 150, 10], Quarantined("not_json")),
        (Vec::new(), Quarantined("not_json")),
    ]
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The text of a message that holds these bytes, in one of the forms that can, with its encoding; or one
/// that holds nothing that can be read.
fn message(dice: &mut Dice, bytes: &[u8]) -> (String, Option<&'static str>) {
    let compressed = gzip(bytes);
    let unreadable = [
        ("AAAA".to_owned(), Some("zstd-base64")),
        ("{}".to_owned(), None),
        ("AAA".to_owned(), Some("base64")),
        (
            BASE64_STANDARD.encode(&compressed[..compressed.len() - 4]),
            Some("gzip-base64"),
        ),
    ];
    if dice.percent(6) {
        return dice.one_of(&unreadable);
    }
    let mut forms = vec![
        (BASE64_STANDARD.encode(bytes), Some("base64")),
        (BASE64_STANDARD.encode(compressed), Some("gzip-base64")),
    ];
    match std::str::from_utf8(bytes) {
        Ok("") => forms = vec![("-".to_owned(), Some("empty"))],
        Ok(text) => forms.push((text.to_owned(), Some("text"))),
        Err(_) => {}
    }
    dice.one_of(&forms)
}

/// The bytes that a message holds.
fn held(message: &Value) -> Option<Vec<u8>> {
    let body = message["body"].as_str()?;
    match message["attributes"]["encoding"].as_str()? {
        "text" => Some(body.as_bytes().to_vec()),
        "base64" => BASE64_STANDARD.decode(body).ok(),
        "empty" => Some(Vec::new()),
        "gzip-base64" => {
            let mut bytes = Vec::new();
            let compressed = BASE64_STANDARD.decode(body).ok()?;
            GzDecoder::new(&compressed[..])
                .read_to_end(&mut bytes)
                .ok()?;
            Some(bytes)
        }
        _ => None,
    }
}

/// The messages of a queue, by id.
fn queue<'a>(state: &'a State, name: &str) -> BTreeMap<&'a str, &'a Value> {
    let messages = state.iter().filter_map(|(key, message)| {
        let (queue, id) = key.split_once('/')?;
        (queue == name).then_some((id, message))
    });
    messages.collect()
}

fn put_messages(model: &mut Model) {
    let reasons = [
        "not_json",
        "stale",
        "id_reused",
        "too_large",
        "unknown_event_type",
        "unheard_of",
    ];
    let bodies = bodies();
    for _ in 0..model.dice.one_of(&[0, 1, 2, 5, 9, 10, 11, 12]) {
        let dice = &mut model.dice;
        let understood = dice.percent(50);
        let is_wanted = |it: &&Body| matches!(it.1, Understood(_)) == understood;
        let wanted: Vec<_> = bodies.iter().filter(is_wanted).cloned().collect();
        let (bytes, _) = dice.one_of(&wanted);
        let (text, encoding) = message(dice, &bytes);
        let mut attributes = Vec::from_iter(encoding.map(|it| ("encoding", it)));
        if dice.percent(90) {
            attributes.push(("reason", dice.one_of(&reasons)));
        }
        if dice.percent(50) {
            attributes.push(("deliveryId", "delivery-1"));
        }
        model.note(format!("{attributes:?} {text:.80}"));
        model.system.emulators.quarantine.put(&text, &attributes);
    }
}

#[test]
fn what_is_quarantined_is_shown_and_redriven_as_documented() {
    in_worlds(300..324, |model| {
        let emulators = &model.system.emulators;
        emulators.contacts.set_maximum_message_size(LIMIT);
        emulators.secret.rotate(&model.dice.one_of(&[
            SIGNING_SECRET.to_owned(),
            json!([SIGNING_SECRET, "wh_sk_another-synthetic-secret"]).to_string(),
        ]));
        let lease = json!({
            "delivery_id": {"S": "held"}, "status": {"S": "INPROGRESS"}, "claimed_by": {"S": "another"},
            "in_progress_expiration": {"N": (now_ms() + 600_000).to_string()},
            "expiration": {"N": "4102444800"}, "validation": {"S": "a digest"},
        });
        emulators.deliveries.put(&item(&lease));
        put_messages(model);
        let mut completed = BTreeMap::new();
        for _ in 0..4 {
            // In the order in which they came, which is the same whatever their ids.
            let messages = model.system.emulators.quarantine.messages();
            let present: Vec<_> = messages.into_iter().map(|it| it.id).collect();
            let dice = &mut model.dice;
            let mut ids = dice.some(&present[..present.len().min(4)]);
            if dice.percent(15) {
                ids.push("absent".to_owned());
            }
            ids.extend(ids.first().cloned().filter(|_| dice.percent(30)));
            let json = dice.option(70, "--json");
            match dice.one_of(&["list", "show", "show", "redrive", "redrive"]) {
                "list" => list(model, &format!("quarantine list{json}")),
                "show" => {
                    let id = ids.first().map_or("absent", String::as_str);
                    let reveal = dice.option(50, "--reveal");
                    show(model, id, &format!("quarantine show {id}{json}{reveal}"));
                }
                _ => {
                    let all = dice.percent(35);
                    let line = format!(
                        "quarantine redrive{json}{}",
                        if all { " --all" } else { "" }
                    );
                    redrive(
                        model,
                        &mut completed,
                        &ids,
                        all,
                        &format!("{line} {}", ids.join(" ")),
                    );
                }
            }
        }
        // Whatever stays can be seen at once.
        list(model, "quarantine list --json");
    });
}

/// What is told of each message. When it came is known to the queue alone.
fn told(id: &str, message: &Value, since: &Value) -> Value {
    assert!(
        since
            .as_u64()
            .is_some_and(|it| now_ms().abs_diff(it) < 600_000),
        "since {since}"
    );
    json!({
        "id": id, "since": since, "bytes": held(message).map(|it| it.len()),
        "reason": message["attributes"]["reason"].as_str().unwrap_or("unknown"),
        "delivery_id": message["attributes"]["deliveryId"],
    })
}

fn list(model: &mut Model, line: &str) {
    let run = model.run(line, |before, _, run| {
        let messages = queue(before, "quarantine");
        let mut expected = Expected::unchanged(0, before);
        expected.calls = vec!["ChangeMessageVisibility".to_owned(); messages.len()];
        expected.said = messages.keys().map(|&id| id.to_owned()).collect();
        let printed: Value = serde_json::from_str(&run.stdout).unwrap_or_default();
        let listed = printed.as_array().into_iter().flatten();
        assert!(
            listed.clone().is_sorted_by_key(|it| it["since"].as_u64()),
            "{printed}"
        );
        let ids: BTreeSet<_> = listed.clone().filter_map(|it| it["id"].as_str()).collect();
        assert!(
            !line.contains("json") || ids == messages.keys().copied().collect(),
            "{printed}"
        );
        expected.json = Some(
            listed
                .map(|it| {
                    let id = it["id"].as_str().unwrap();
                    told(id, messages[id], &it["since"])
                })
                .collect(),
        );
        expected
    });
    run.does_not_contain(&[PRIVATE]);
}

fn show(model: &mut Model, id: &str, line: &str) {
    let reveals = line.contains("--reveal");
    let run = model.run(line, |before, _, run| {
        let messages = queue(before, "quarantine");
        let mut expected = Expected::unchanged(0, before);
        expected.calls = vec!["ChangeMessageVisibility".to_owned(); messages.len()];
        let Some(message) = messages.get(id) else {
            expected.status = 1;
            return expected;
        };
        let printed: Value = serde_json::from_str(&run.stdout).unwrap_or_default();
        let bytes = held(message);
        let value = bytes
            .as_ref()
            .and_then(|it| serde_json::from_slice(it).ok());
        expected.said = vec![format!("id           {id}\n")];
        if line.contains("--json") {
            let mut document = told(id, message, &printed["since"]);
            document["form"] = value.as_ref().map(form).into();
            match &bytes {
                Some(bytes) if reveals => document["body"] = String::from_utf8_lossy(bytes).into(),
                Some(_) => {}
                None => {
                    assert!(printed["error"].is_string(), "a reason");
                    document["error"] = printed["error"].clone();
                }
            }
            expected.json = Some(document);
        } else if let (Some(Ok(text)), true) = (bytes.map(String::from_utf8), reveals) {
            expected.said.push(format!("\n\n{text}\n"));
        }
        expected
    });
    if !reveals {
        run.does_not_contain(&[PRIVATE]);
    }
}

/// Three members of the envelope as they are, if they are scalars; everything else as its type.
fn form(value: &Value) -> Value {
    fn types(value: &Value) -> Value {
        match value {
            Value::Null => "null".into(),
            Value::Bool(_) => "boolean".into(),
            Value::Number(_) => "number".into(),
            Value::String(text) => format!("string of {}", text.chars().count()).into(),
            Value::Array(items) => items.iter().map(types).collect(),
            Value::Object(members) => members
                .iter()
                .map(|(name, it)| (name.clone(), types(it)))
                .collect(),
        }
    }
    let mut form = types(value);
    for name in ["eventType", "apiVersion", "timestamp"] {
        if let Some(value) = value
            .get(name)
            .filter(|it| it.is_string() || it.is_number())
        {
            form[name] = value.clone();
        }
    }
    form
}

/// `completed` has the bytes of each delivery id that was completed in this world.
fn redrive(
    model: &mut Model,
    completed: &mut BTreeMap<&'static str, Vec<u8>>,
    ids: &[String],
    all: bool,
    line: &str,
) {
    let run = model.run(line, |before, after, run| {
        if all != ids.is_empty() {
            return Expected::unchanged(2, before);
        }
        let messages = queue(before, "quarantine");
        let (selected, others): (Vec<_>, Vec<_>) = messages
            .keys()
            .copied()
            .partition(|id| all || ids.iter().any(|it| it == id));
        let results = results(run, line.contains("--json"));
        let redriven: BTreeSet<_> = results.iter().map(|it| it.0.as_str()).collect();
        assert_eq!(
            redriven,
            selected.iter().copied().collect(),
            "what was redriven"
        );
        assert_eq!(results.len(), selected.len(), "each of them once");

        let mut expected = Expected::unchanged(0, before);
        expected.calls = vec!["ChangeMessageVisibility".to_owned(); others.len()];
        let (mut document, mut queued, mut parked) = (Vec::new(), Vec::new(), Vec::new());
        let mut completed_now = BTreeSet::new();
        for (id, status) in &results {
            let message = messages[id.as_str()];
            let bytes = held(message);
            let meaning = bytes.as_ref().map(|bytes| meaning(bytes, completed));
            let answered = match (&meaning, &bytes) {
                (None, _) => None,
                (Some(Understood("held")), _) => Some(429),
                // Its completion mark follows the answer, so that its lease may be seen still.
                (Some(Understood(id)), _) if completed_now.contains(id) && *status == Some(429) => {
                    Some(429)
                }
                (Some(Quarantined("id_reused")), _) if *status == Some(429) => Some(429),
                _ => Some(200),
            };
            let removed = answered == Some(200);
            if let (true, Some(meaning), Some(bytes)) = (removed, &meaning, bytes) {
                match meaning {
                    Quarantined(reason) => parked.push((bytes, (*reason).to_owned())),
                    Understood(id) => {
                        if completed.insert(id, bytes.clone()).is_none() {
                            completed_now.insert(*id);
                            expected.take(after, &format!("deliveries/{id}"));
                            match *id {
                                "job-delivery" => expected.take(after, "jobs/job-9"),
                                id => queued.push((bytes, id.to_owned())),
                            }
                        }
                    }
                }
            }
            if removed {
                expected.state.remove(&format!("quarantine/{id}"));
            }
            expected.calls.push(
                if removed {
                    "DeleteMessage"
                } else {
                    "ChangeMessageVisibility"
                }
                .to_owned(),
            );
            let again = removed && matches!(meaning, Some(Quarantined(_)));
            document.push(json!({
                "id": id, "status": answered, "quarantined_again": again, "removed": removed,
                "reason": message["attributes"]["reason"].as_str().unwrap_or("unknown"),
            }));
            expected.said.push(
                match (removed, again) {
                    (false, _) => "kept in quarantine",
                    (true, true) => "quarantined again",
                    (true, false) => "received",
                }
                .to_owned(),
            );
            let kept = if removed { expected.status } else { 1 };
            expected.status = if again && kept == 0 { 3 } else { kept };
        }
        if ids.iter().any(|id| !messages.contains_key(id.as_str())) {
            expected.status = 1;
        }
        with_errors(&mut document, run);
        expected.json = Some(document.into());
        expect_new(&mut expected, before, after, queued, parked);
        expected
    });
    run.does_not_contain(&[PRIVATE]);
}

fn meaning(bytes: &[u8], completed: &BTreeMap<&str, Vec<u8>>) -> Meaning {
    let bodies = bodies();
    let (_, meaning) = bodies
        .iter()
        .find(|it| it.0 == bytes)
        .expect("one of these bodies");
    match meaning {
        Understood(id) if completed.get(id).is_some_and(|it| it != bytes) => {
            Quarantined("id_reused")
        }
        meaning => meaning.clone(),
    }
}

/// Each message that was redriven, in this order, with its status.
fn results(run: &Run, is_json: bool) -> Vec<(String, Option<u64>)> {
    if is_json {
        let results = run.json();
        let results = results.as_array().unwrap().iter();
        return results
            .map(|it| (it["id"].as_str().unwrap().to_owned(), it["status"].as_u64()))
            .collect();
    }
    let words = run
        .stdout
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    words
        .map(|words| (words[0].to_owned(), words[1].parse().ok()))
        .collect()
}

/// What could not be read has a reason, in free words; nothing else has.
fn with_errors(document: &mut [Value], run: &Run) {
    let printed: Value = serde_json::from_str(&run.stdout).unwrap_or_default();
    for (index, result) in document.iter_mut().enumerate() {
        if result["status"].is_null() && printed[index]["error"].is_string() {
            result["error"] = printed[index]["error"].clone();
        }
    }
}

impl Expected {
    /// Something that the receiver has written, so that only its presence is expected.
    fn take(&mut self, after: &State, name: &str) {
        let value = after
            .get(name)
            .unwrap_or_else(|| panic!("{name} is missing"));
        self.state.insert(name.to_owned(), value.clone());
    }
}

/// Bodies of messages, each with the value of an attribute.
type Bodies = Vec<(Vec<u8>, String)>;

/// Exactly these contacts are new on their queue, and these bodies in quarantine, byte for byte.
fn expect_new(
    expected: &mut Expected,
    before: &State,
    after: &State,
    mut queued: Bodies,
    mut parked: Bodies,
) {
    let mut new =
        [("contacts", "deliveryId"), ("quarantine", "reason")].map(|(name, attribute)| {
            let mut new = Vec::new();
            for (id, message) in queue(after, name) {
                let key = format!("{name}/{id}");
                if !before.contains_key(&key) {
                    let bytes = held(message)
                        .or_else(|| Some(message["body"].as_str()?.as_bytes().to_vec()));
                    new.push((
                        bytes.unwrap(),
                        message["attributes"][attribute]
                            .as_str()
                            .unwrap()
                            .to_owned(),
                    ));
                    expected.state.insert(key, message.clone());
                }
            }
            new
        });
    for list in new.iter_mut().chain([&mut queued, &mut parked]) {
        list.sort_unstable();
    }
    assert!(
        new == [queued, parked],
        "new contacts, or new messages in quarantine"
    );
}
