//! Random jobs, contacts and records.

use std::ops::Range;

use serde_json::{Map, Value, json};

use super::{
    Contact, HOUR_MS, Identity, KINDS, Paging, Record, Status, digits,
    expected::{backfill_id, ordinal},
    person, utc,
};
use crate::titanx_api::PagingStyle;

/// A seeded source of choices.
pub struct Dice(fastrand::Rng);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    pub fn one_in(&mut self, sides: usize) -> bool {
        self.0.usize(..sides) == 0
    }

    pub fn below(&mut self, end: usize) -> usize {
        self.0.usize(..end)
    }

    pub fn of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.0.usize(..choices.len())].clone()
    }

    /// An age in milliseconds: of a minute more or less than a limit, or of some hours.
    pub fn age(&mut self, limits: &[i64]) -> i64 {
        let around = limits.iter().flat_map(|it| [it - 60_000, it + 60_000]);
        let mut ages: Vec<_> = around.collect();
        ages.extend([100 * HOUR_MS; 3]);
        self.of(&ages)
    }

    /// Another spelling of a job's id.
    pub fn spelled(&mut self, id: &str) -> String {
        self.of(&[id.to_uppercase(), id.replace('-', ""), id.to_owned()])
    }

    /// A time as TitanX may write it, or something that is none.
    pub fn time(&mut self, at_ms: Option<i64>) -> Value {
        let Some(at_ms) = at_ms else {
            return self.of(&[Value::Null, "".into(), "yesterday".into()]);
        };
        let utc = utc(at_ms.div_euclid(1_000));
        let seconds = utc.trim_end_matches('Z');
        self.of(&[
            utc.clone(),
            format!("{seconds}.000Z"),
            format!("{seconds}+00:00"),
        ])
        .into()
    }

    pub fn paging(&mut self) -> Paging {
        let mut styles = PagingStyle::COMPLETE.repeat(2);
        styles.extend([
            PagingStyle::NoMetadata,
            PagingStyle::Repeating,
            PagingStyle::BelowTotal,
            PagingStyle::ForeignLink,
        ]);
        Paging {
            style: self.of(&styles),
            size: self.of(&[1, 2, 2, 3]),
            max_pages: self.of(&[1_000, 1_000, 1_000, 1, 2, 3]),
        }
    }

    /// Contacts with some of two kinds of ids, of few persons.
    pub fn contacts(&mut self, count: Range<usize>) -> Vec<Contact> {
        let kinds = [self.0.usize(..5), self.0.usize(..5)];
        let count = self.0.usize(count);
        let all_scored = self.one_in(2);
        let mut last = [None; 6];
        let each = (0..count).map(|_| {
            // Some are equal: TitanX does not deduplicate them.
            if !self.one_in(5) {
                for kind in kinds {
                    last[kind] = (!self.one_in(3)).then(|| self.0.u8(..4));
                }
                last[5] = (!self.one_in(4)).then(|| self.0.u8(..3));
            }
            let scored = all_scored || !self.one_in(3);
            self.contact(last, scored)
        });
        each.collect()
    }

    /// Some more contacts than a healer reads between two positions that it saves, most of them received.
    pub fn long_list(&mut self, job: &str, records: &mut Vec<Record>) -> Vec<Contact> {
        let mut contacts = Vec::new();
        for id in 0..self.0.u8(50..60) {
            let identity = [Some(id), None, None, None, None, None];
            contacts.push(self.contact(identity, true));
            if !self.one_in(8) {
                records.push(Record {
                    delivery_id: format!("received-{id}"),
                    job: Some(job.to_owned()),
                    identity: Some(identity),
                    status: Status::Completed,
                    expires_h: 100,
                });
            }
        }
        contacts
    }

    /// The contact in any spelling that means the same.
    pub fn contact(&mut self, identity: Identity, scored: bool) -> Contact {
        let mut json = Map::new();
        for (kind, id) in KINDS.into_iter().zip(identity).take(5) {
            let written = match id {
                Some(id) => self.of(&[id.into(), id.to_string().into(), format!(" {id} ").into()]),
                None => self.of(&[Value::Null, "".into(), " ".into(), true.into()]),
            };
            if id.is_some() || self.one_in(8) {
                json.insert(kind.to_owned(), written);
            }
        }
        for (name, text) in identity[5].into_iter().flat_map(person) {
            let text = if name.starts_with("phone") {
                self.of(&[digits(&text), text])
            } else {
                self.of(&[text.to_uppercase(), text])
            };
            json.insert(name.to_owned(), text.into());
        }
        if self.one_in(2)
            && let (Some(one), Some(other)) = (json.get("phone"), json.get("phone2"))
        {
            let (one, other) = (one.clone(), other.clone());
            json.insert("phone".to_owned(), other);
            json.insert("phone2".to_owned(), one);
        }
        let status = if scored {
            self.of(&[
                ("leadStatus", json!("High")),
                ("phoneStatus", json!("Low")),
                ("phone5Status", json!("x")),
            ])
        } else {
            self.of(&[
                ("leadStatus", json!(" ")),
                ("phoneStatus", Value::Null),
                ("phone6Status", json!("High")),
                ("title", json!("High")),
            ])
        };
        json.insert(status.0.to_owned(), status.1);
        Contact {
            identity,
            scored,
            json: json.into(),
        }
    }

    /// Records that may be of these contacts of a job, and some that are not.
    pub fn records(&mut self, job: &str, contacts: &[Contact], records: &mut Vec<Record>) {
        for (index, contact) in contacts.iter().enumerate() {
            let spelled = self.spelled(job);
            let mut record = Record {
                delivery_id: format!("delivery-{}", records.len()),
                job: self.of(&[Some(job.to_owned()), Some(spelled), None]),
                identity: Some(contact.identity),
                status: Status::Completed,
                expires_h: self.of(&[100, 1, -1]),
            };
            let own = backfill_id(job, contact, ordinal(contacts, index));
            match self.below(16) {
                0..4 => continue,
                4..7 => {}
                // One side knows less of the contact.
                7 | 8 => {
                    record.identity = record
                        .identity
                        .map(|identity| identity.map(|it| it.filter(|_| !self.one_in(3))));
                }
                9 | 10 => record.status = Status::Unfinished(self.of(&[-1, -1, 1_500])),
                11 => record.delivery_id = own,
                12 => {
                    record = Record {
                        delivery_id: own,
                        identity: self.of(&[None, Some([Some(9); 6])]),
                        ..record
                    }
                }
                13 => {
                    record = Record {
                        delivery_id: own,
                        status: Status::Unfinished(-1),
                        ..record
                    }
                }
                14 => record.job = Some("another-job".to_owned()),
                _ if self.one_in(2) => {
                    record = Record {
                        delivery_id: own,
                        identity: None,
                        job: None,
                        status: Status::Unknown,
                        expires_h: 100,
                    }
                }
                _ => record.identity = Some([None, None, None, None, Some(8), Some(8)]),
            }
            if self.one_in(6) {
                let delivery_id = format!("twin-{}", records.len());
                records.push(Record {
                    delivery_id,
                    job: record.job.is_none().then(|| job.to_owned()),
                    ..record.clone()
                });
            }
            if records
                .iter()
                .all(|it| it.delivery_id != record.delivery_id)
            {
                records.push(record);
            }
        }
    }
}
