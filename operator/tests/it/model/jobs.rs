//! `jobs`: which are listed, in which order, what their records tell, and how many contacts were received.

use serde_json::{Value, json};

use super::{Dice, Expected, State, in_worlds, item};

/// Spellings of two jobs, and a third job.
const IDS: [&str; 6] = [
    "AAAA-bbbb",
    "aaaabbbb",
    "aa-aa-BBBB",
    "aaaa-bbbc",
    "AAAABBBC",
    "job-1",
];
const STATES: [&str; 4] = ["waiting", "complete", "incomplete", "unproven"];
const TEXTS: [&str; 6] = [
    "status",
    "name",
    "type",
    "modified_at",
    "state",
    "state_reason",
];
const NUMBERS: [&str; 7] = [
    "completed_at",
    "contacts_at_titanx",
    "received",
    "backfilled",
    "unscored",
    "missing",
    "checked_at",
];

fn job(dice: &mut Dice, id: &str) -> Value {
    let mut record = json!({"job_id": {"S": id}, "delivery_id": {"S": "delivery-1"}});
    for name in dice.some(&TEXTS) {
        let text = if name == "state" {
            dice.one_of(&STATES)
        } else {
            name
        };
        record[name] = json!({ "S": text });
    }
    for name in dice.some(&NUMBERS) {
        let number = dice.one_of(&["0", "1", "1767614400000", "1767614400001"]);
        record[name] = json!({ "N": number });
    }
    record
}

fn delivery(dice: &mut Dice, number: usize) -> Value {
    let mut record = json!({
        "delivery_id": {"S": format!("delivery-{number}")},
        "status": {"S": dice.one_of(&["COMPLETED", "COMPLETED", "INPROGRESS"])},
        "expiration": {"N": "4102444800"},
    });
    if dice.percent(85) {
        record["job_id"] = json!({"S": dice.one_of(&IDS)});
    }
    if dice.percent(70) {
        record["contact_keys"] = json!({"SS": ["leadId:5uL7v5SzpdYP2MFkPrKKMg"]});
    }
    record
}

#[test]
fn jobs_are_listed_counted_and_selected_as_documented() {
    in_worlds(100..140, |model| {
        for id in model.dice.some(&IDS) {
            let record = job(&mut model.dice, id);
            model.note(record.to_string());
            model.system.emulators.jobs.put(&item(&record));
        }
        for number in 0..model.dice.0.usize(0..8) {
            let record = delivery(&mut model.dice, number);
            model.system.emulators.deliveries.put(&item(&record));
        }
        for _ in 0..3 {
            let dice = &mut model.dice;
            let id = dice.percent(50).then(|| dice.one_of(&IDS));
            let state = dice.percent(40).then(|| dice.one_of(&STATES));
            let counts = dice.percent(50);
            let mut line = format!(
                "jobs {}{}",
                id.unwrap_or_default(),
                dice.option(70, "--json")
            );
            line += &state.map_or_else(String::new, |it| format!(" --state {it}"));
            line += if counts { " --count" } else { "" };
            model.run(&line, |before, _, _| expected(before, id, state, counts));
        }
    });
}

/// Case and hyphens make no difference.
fn is_same(one: &str, other: &str) -> bool {
    let letters = |id: &str| id.replace('-', "").to_lowercase();
    letters(one) == letters(other)
}

fn expected(before: &State, id: Option<&str>, state: Option<&str>, counts: bool) -> Expected {
    let of = |table: &'static str| {
        before
            .iter()
            .filter(move |(name, _)| name.starts_with(table))
    };
    let text = |record: &Value, name: &str| record[name]["S"].as_str().map(str::to_owned);
    let job_id = |record: &Value| text(record, "job_id").unwrap_or_default();
    let mut jobs: Vec<_> = of("jobs/").map(|(_, it)| it).collect();
    jobs.retain(|it| id.is_none_or(|id| is_same(id, &job_id(it))));
    if id.is_some() && jobs.is_empty() {
        let mut expected = Expected::unchanged(1, before);
        expected.said.push("is not completed".to_owned());
        return expected;
    }
    jobs.retain(|it| state.is_none_or(|state| text(it, "state").as_deref() == Some(state)));
    let number = |record: &Value, name: &str| record[name]["N"].as_str()?.parse::<i64>().ok();
    // The last completed first, then by id.
    jobs.sort_by_key(|it| (std::cmp::Reverse(number(it, "completed_at")), job_id(it)));
    let received = |id: &str| {
        let deliveries = of("deliveries/").map(|(_, it)| it);
        let completed = deliveries
            .filter(|it| it["status"]["S"] == "COMPLETED" && it["contact_keys"].is_object());
        completed
            .filter(|it| text(it, "job_id").is_some_and(|it| is_same(id, &it)))
            .count()
    };
    let mut expected = Expected::unchanged(0, before);
    let document = jobs.iter().map(|job| {
        let mut told = json!({"job_id": job_id(job), "contacts": null});
        if counts {
            told["contacts"] = received(&job_id(job)).into();
        }
        for name in TEXTS {
            told[name] = json!(text(job, name));
        }
        for name in NUMBERS {
            told[name] = json!(number(job, name));
        }
        expected.said.push(job_id(job));
        if let (Some(state), Some(reason)) = (text(job, "state"), text(job, "state_reason")) {
            expected.said.push(format!("{state} ({reason})"));
        }
        told
    });
    expected.json = Some(document.collect());
    expected
}
