//! `delivery`: the record as `docs/design.md` has it, and what its `--help` and `docs/operations.md` promise of its removal.

use std::fmt::Write;

use serde_json::{Value, json};
use titanx_testbed::titanx::now_ms;

use super::{Dice, Expected, State, in_worlds, item};

const IDS: [&str; 4] = ["delivery-1", "DELIVERY-1", "delivery-10", "delivery-"];
const HOUR_MS: i64 = 3_600_000;
const MINUTE_MS: i64 = 60_000;

fn now() -> i64 {
    i64::try_from(now_ms()).unwrap()
}

/// A record in one of its layouts, or of none. No limit is so near that a slow run would pass it.
fn record(dice: &mut Dice, id: &str) -> Value {
    let statuses = ["COMPLETED", "INPROGRESS", "INPROGRESS", "DONE", "completed"];
    let day_s = 24 * 3_600;
    let expires_s = dice.one_of(&[7 * day_s, 30 * day_s, 600, -1, -day_s]);
    // Whatever has expired was claimed days ago.
    let leases = [-HOUR_MS, -MINUTE_MS - 1, -MINUTE_MS / 2, -1, 10 * MINUTE_MS];
    let leases = &leases[..if expires_s < 0 { 1 } else { leases.len() }];
    let mut record = json!({
        "delivery_id": {"S": id},
        "status": {"S": dice.one_of(&statuses)},
        "in_progress_expiration": {"N": (now() + dice.one_of(leases)).to_string()},
        "expiration": {"N": (now() / 1_000 + expires_s).to_string()},
        "claimed_by": {"S": "0123456789abcdef"},
        "validation": {"S": "a-secret-digest"},
    });
    if dice.percent(60) {
        record["job_id"] = json!({"S": "job-1"});
        record["contact_keys"] =
            json!({"SS": ["leadId:hidden-1", "digest:hidden-2", "id:hidden-3"]});
    }
    if dice.percent(10) {
        record
            .as_object_mut()
            .unwrap()
            .remove("in_progress_expiration");
    }
    record
}

#[test]
fn the_record_of_a_delivery_is_told_and_removed_as_documented() {
    in_worlds(0..48, |model| {
        for id in &IDS[..3] {
            if model.dice.percent(85) {
                let record = record(&mut model.dice, id);
                model.note(record.to_string());
                model.system.emulators.deliveries.put(&item(&record));
            }
        }
        for _ in 0..3 {
            let dice = &mut model.dice;
            let (id, days) = (dice.one_of(&IDS), dice.one_of(&[7, 8, 30]));
            let removal = dice.one_of(&["", "", "--release", "--forget"]);
            let (both, yes) = (dice.percent(4), dice.percent(60));
            let mut line = format!("delivery {id} {removal}{}", dice.option(60, "--json"));
            line += if both { " --release --forget" } else { "" };
            line += if yes { " --yes" } else { "" };
            write!(line, " --delivery-retention-days {days}").unwrap();
            let run = model.run(&line, |before, _, _| match removal {
                _ if both || yes && removal.is_empty() => Expected::unchanged(2, before),
                _ => expected(before, id, days, removal, yes),
            });
            run.does_not_contain(&["hidden", "a-secret-digest"]);
        }
    });
}

fn expected(before: &State, id: &str, days: i64, removal: &str, yes: bool) -> Expected {
    let key = format!("deliveries/{id}");
    let record = before.get(&key);
    let text = |name: &str| record.map_or(Value::Null, |it| it[name]["S"].clone());
    let number = |name: &str| record?[name]["N"].as_str()?.parse::<i64>().ok();
    let lease = number("in_progress_expiration");
    let expires = number("expiration").map(|it| it * 1_000);
    let over = lease.map_or(0, |ends| now() - ends);
    // The words of the state, and what the claim of the next attempt comes to.
    let (state, words) = match (text("status").as_str(), expires) {
        (None, _) => ("absent", "no record"),
        (_, Some(expires)) if expires < now() => ("expired", "expired"),
        (Some("COMPLETED"), _) => ("completed", "completed"),
        (Some("INPROGRESS"), _) if over > 0 => ("lease_over", "lease over"),
        (Some("INPROGRESS"), _) if lease.is_some() => ("in_progress", "in progress"),
        _ => ("unknown", "unknown form"),
    };
    let keys = record.and_then(|it| it["contact_keys"]["SS"].as_array());
    let mut kinds: Vec<_> = keys
        .into_iter()
        .flatten()
        .filter_map(|key| key.as_str()?.split(':').next())
        .collect();
    kinds.sort_unstable();
    let mut told = json!({
        "id": id, "state": state, "claimed_by": text("claimed_by"), "lease_ends_at": lease,
        "written_at": expires.map(|it| it - days * 24 * HOUR_MS), "expires_at": expires,
        "job_id": text("job_id"), "contact_keys": kinds,
    });
    let mut expected = Expected::unchanged(0, before);
    expected.said = vec![format!("delivery   {id}\n"), words.to_owned()];
    if !removal.is_empty() && record.is_some() {
        let removable = match (removal, state) {
            ("--release", "lease_over" | "expired") => over >= MINUTE_MS,
            ("--forget", "completed" | "expired") => true,
            _ => false,
        };
        if !removable {
            return Expected::unchanged(1, before);
        }
        told["removed"] = json!(yes);
        if yes {
            expected.calls.push("DeleteItem".to_owned());
            expected.state.remove(&key);
        } else {
            expected.status = 3;
            expected.said.push("re-run with --yes".to_owned());
        }
    }
    expected.json = Some(told);
    expected
}
