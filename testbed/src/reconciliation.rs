//! Small random jobs, contacts and records, and what the documents say of them: how TitanX's lists are read, which contacts are missing,
//! and under which delivery id each is queued. For the model-based tests of `operator reconcile` and of the healer. It is written from
//! `docs/` and shares no code with `reconcile/`.

use std::{collections::BTreeSet, fmt, ops::Range};

use aws_smithy_types::date_time::{DateTime, Format};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::{
    emulators::{AttributeValue, Emulators, Item, Message},
    titanx::now_ms,
    titanx_api::PagingStyle,
};

pub const HOUR_MS: i64 = 3_600_000;

/// What a contact is recognised by, the strongest first: five ids, and its person.
pub const KINDS: [&str; 6] = [
    "id",
    "databaseContactId",
    "customerContactId",
    "contactCrmId",
    "leadId",
    "digest",
];

/// The value of each of [`KINDS`] that a contact has.
pub type Identity = [Option<u8>; 6];

/// A seeded source of choices.
pub struct Dice(fastrand::Rng);

/// A contact in TitanX's list.
#[derive(Clone, PartialEq)]
pub struct Contact {
    pub identity: Identity,
    pub scored: bool,
    pub json: Value,
}

/// A record of the deliveries table.
#[derive(Clone, Debug)]
pub struct Record {
    pub delivery_id: String,
    pub job: Option<String>,
    /// `None` if it has no keys, like that of a completed job.
    pub identity: Option<Identity>,
    pub status: Status,
    /// In how many hours it expires.
    pub expires_h: i64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Status {
    Completed,
    /// In progress, until so many milliseconds from now.
    Unfinished(i64),
    /// Written by somebody else.
    Unknown,
}

/// The contacts of a job at TitanX.
#[derive(Clone, Debug, Default)]
pub struct List {
    pub contacts: Vec<Contact>,
    /// A contact that is put first once this page, from 1, was served.
    pub insertion: Option<(usize, Contact)>,
}

/// How TitanX pages its lists.
#[derive(Clone, Copy, Debug)]
pub struct Paging {
    pub style: PagingStyle,
    pub size: usize,
    pub max_pages: usize,
}

/// A list that is read page by page.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    pub pages: usize,
    pub contacts: Vec<Contact>,
    pub total: Option<usize>,
    last_page: Option<Vec<Contact>>,
    pub end: Option<ListEnd>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ListEnd {
    Proven,
    NotProven,
    /// It goes on at another host.
    Unreadable,
}

/// What comparing the contacts of a job with the records finds.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Index and delivery id.
    pub missing: Vec<(usize, String)>,
    pub received: usize,
    pub without_job: usize,
    pub backfilled: usize,
    pub unscored: usize,
    scored: usize,
    received_unscored: usize,
    unmatched: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Doubt {
    Expired,
    AgeUnknown,
    Unmatched(usize),
    ScoresNotShown(usize),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sent {
    Queued,
    Before,
    Failed,
}

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

/// A Unix time in seconds as TitanX writes it.
pub fn utc(seconds: i64) -> String {
    let written = DateTime::from_secs(seconds).fmt(Format::DateTime);
    written.expect("a year of four digits")
}

impl fmt::Debug for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.json)
    }
}

impl Reading {
    /// The next page, whose new contacts are returned. Reading stops at the end that TitanX tells, and at a page that is empty or repeats
    /// the one before. Only the former proves that the list is whole.
    pub fn next(&mut self, list: &mut List, paging: Paging) -> Vec<Contact> {
        let Paging {
            style,
            size,
            max_pages,
        } = paging;
        let all = &list.contacts;
        let from = if style == PagingStyle::Repeating {
            0
        } else {
            (self.pages * size).min(all.len())
        };
        let to = if style == PagingStyle::NoMetadata {
            all.len()
        } else {
            (from + size).min(all.len())
        };
        let page = all[from..to].to_vec();
        let is_last = to == all.len();
        let repeats = self.last_page.as_ref() == Some(&page);
        self.pages += 1;
        if !repeats {
            self.contacts.extend(page.iter().cloned());
            self.last_page = Some(page.clone());
        }
        self.total = match style {
            PagingStyle::Total => Some(all.len()),
            PagingStyle::BelowTotal => Some(all.len() + 1),
            _ => None,
        };
        let goes_on = match style {
            PagingStyle::NoMetadata => false,
            PagingStyle::Repeating | PagingStyle::ForeignLink => true,
            _ => self
                .total
                .map_or(!is_last, |total| self.contacts.len() < total),
        };
        self.end = if repeats
            || style == PagingStyle::NoMetadata
            || goes_on && (page.is_empty() || self.pages == max_pages)
        {
            Some(ListEnd::NotProven)
        } else if !goes_on {
            Some(ListEnd::Proven)
        } else {
            (style == PagingStyle::ForeignLink).then_some(ListEnd::Unreadable)
        };
        if let Some((_, contact)) = list.insertion.take_if(|(after, _)| *after == self.pages) {
            list.contacts.insert(0, contact);
        }
        if repeats { Vec::new() } else { page }
    }
}

/// Compares the contacts of jobs with the records, by the keys of these kinds. `None` if the result depends on the order in which the
/// records are read, or the contacts are sent.
pub fn compare(
    jobs: &[(&str, &[Contact])],
    records: &[Record],
    kinds: &[usize],
) -> Option<Vec<Found>> {
    let mut free: Vec<_> = records
        .iter()
        .filter(|it| it.identity.is_some_and(|it| it.iter().any(Option::is_some)))
        .collect();
    let each = jobs
        .iter()
        .map(|&(job, contacts)| compare_job(job, contacts, &mut free, kinds));
    each.collect()
}

fn compare_job(
    job: &str,
    contacts: &[Contact],
    free: &mut Vec<&Record>,
    kinds: &[usize],
) -> Option<Found> {
    let mut matched: Vec<Option<&Record>> = vec![None; contacts.len()];
    for (scored, unfinished) in [(true, false), (true, true), (false, false), (false, true)] {
        for &kind in kinds {
            for (index, contact) in contacts.iter().enumerate() {
                if matched[index].is_some() || contact.scored != scored {
                    continue;
                }
                let is_same = |record: &Record| {
                    let theirs = record.identity.unwrap_or_default();
                    let common = kinds
                        .iter()
                        .find(|&&kind| contact.identity[kind].and(theirs[kind]).is_some());
                    common == Some(&kind)
                        && contact.identity[kind] == theirs[kind]
                        && (record.status != Status::Completed) == unfinished
                };
                let of_job = |record: &&&Record| {
                    is_same(record) && record.job.as_deref().is_some_and(|it| is_job(it, job))
                };
                let of_none = |record: &&&Record| is_same(record) && record.job.is_none() && scored;
                let mut fit: Vec<_> = free.iter().filter(of_job).copied().collect();
                if fit.is_empty() {
                    fit = free.iter().filter(of_none).copied().collect();
                }
                let kind_of = |it: &Record| {
                    (
                        it.identity,
                        it.delivery_id.starts_with("backfill-"),
                        unfinished.then(|| it.delivery_id.clone()),
                    )
                };
                if fit.iter().any(|it| kind_of(it) != kind_of(fit[0])) {
                    return None;
                }
                matched[index] = fit.first().copied();
                free.retain(|it| {
                    fit.first()
                        .is_none_or(|taken| taken.delivery_id != it.delivery_id)
                });
            }
        }
    }
    let unmatched = free.iter().filter(|it| {
        it.status == Status::Completed && it.job.as_deref().is_some_and(|it| is_job(it, job))
    });
    let mut found = Found {
        unmatched: unmatched.count(),
        ..Found::default()
    };
    for (index, (contact, record)) in contacts.iter().zip(&matched).enumerate() {
        found.scored += usize::from(contact.scored);
        match record {
            None if !contact.scored => found.unscored += 1,
            // Another contact with the same keys may have been queued under one of these ids.
            None => {
                let is_taken = |id: &str| {
                    let matched = matched.iter().flatten();
                    matched
                        .clone()
                        .any(|it| it.delivery_id == id && it.identity == Some(contact.identity))
                };
                let is_free = |id: &String| {
                    !is_taken(id) && !found.missing.iter().any(|(_, other)| other == id)
                };
                let mut ids = (0..).map(|ordinal| backfill_id(job, contact, ordinal));
                let id = ids.find(is_free).expect("there is always a further one");
                found.missing.push((index, id));
            }
            Some(record) if contact.scored && record.status != Status::Completed => {
                found.missing.push((index, record.delivery_id.clone()));
            }
            Some(record) => {
                let is_backfill = record.delivery_id.starts_with("backfill-")
                    && record.status == Status::Completed;
                found.received += 1;
                found.without_job += usize::from(record.job.is_none());
                found.backfilled += usize::from(is_backfill);
                found.received_unscored += usize::from(!contact.scored);
            }
        }
    }
    Some(found)
}

impl Found {
    /// The doubts about a job whose contacts may have been delivered since so many milliseconds.
    pub fn doubts(&self, delivered_ms: Option<i64>, retention_ms: i64) -> Vec<Doubt> {
        let mut doubts = Vec::new();
        if !self.missing.is_empty() {
            match delivered_ms {
                None => doubts.push(Doubt::AgeUnknown),
                Some(age) if age > retention_ms => doubts.push(Doubt::Expired),
                Some(_) => {}
            }
            if self.unmatched > 0 {
                doubts.push(Doubt::Unmatched(self.unmatched));
            }
        }
        if self.unscored > 0 && (self.scored == 0 || self.received_unscored > 0) {
            doubts.push(Doubt::ScoresNotShown(self.received_unscored));
        }
        doubts
    }
}

/// Claims a backfill's delivery, sends the contact and completes the record, as the receiver would.
pub fn send(
    records: &mut Vec<Record>,
    job: &str,
    contact: &Contact,
    delivery_id: &str,
    retention_h: i64,
) -> Sent {
    let old = records.iter().position(|it| it.delivery_id == delivery_id);
    let lives = old.filter(|&old| records[old].expires_h > 0);
    match lives.map(|old| records[old].status) {
        Some(Status::Completed) => return Sent::Before,
        Some(Status::Unknown) => return Sent::Failed,
        // A lease that is not over yet is waited for.
        Some(Status::Unfinished(_)) | None => {}
    }
    if let Some(old) = old {
        records.remove(old);
    }
    records.push(Record {
        delivery_id: delivery_id.to_owned(),
        job: Some(job.to_owned()),
        identity: Some(contact.identity),
        status: Status::Completed,
        expires_h: retention_h,
    });
    Sent::Queued
}

/// Whether both are the same job's id: case and hyphens do not matter.
pub fn is_job(one: &str, other: &str) -> bool {
    job_key(one) == job_key(other)
}

fn job_key(id: &str) -> String {
    id.to_lowercase().chars().filter(|it| *it != '-').collect()
}

/// The position among the job's scored contacts with the same keys; of those without a key, with the same bytes.
pub fn ordinal(contacts: &[Contact], index: usize) -> usize {
    let ours = &contacts[index];
    contacts[..index]
        .iter()
        .filter(|it| it.scored && is_same(it, ours))
        .count()
}

pub fn is_same(one: &Contact, other: &Contact) -> bool {
    let keyless = one.identity == [None; 6];
    one.identity == other.identity && (!keyless || one.json == other.json)
}

fn backfill_id(job: &str, contact: &Contact, ordinal: usize) -> String {
    let keys = keys(contact.identity).into_iter().map(|key| key + "\0");
    let keys: String = keys.collect();
    let recognised = if keys.is_empty() {
        contact.json.to_string()
    } else {
        keys
    };
    let hash = Sha256::digest(format!("{}\0{recognised}{ordinal}", job_key(job)));
    format!("backfill-{}", URL_SAFE_NO_PAD.encode(&hash[..16]))
}

/// The delivery id of a job whose completion was never received.
pub fn backfill_job_id(job: &str) -> String {
    let hash = Sha256::digest(job_key(job));
    format!("backfill-job-{}", URL_SAFE_NO_PAD.encode(&hash[..16]))
}

fn keys(identity: Identity) -> Vec<String> {
    let each = KINDS.into_iter().zip(identity).enumerate();
    let each = each.filter_map(|(index, (kind, value))| {
        let value = value?;
        let text = if index < 5 {
            value.to_string()
        } else {
            stable(value)
        };
        Some(format!(
            "{kind}:{}",
            STANDARD_NO_PAD.encode(&Sha256::digest(text)[..16])
        ))
    });
    each.collect()
}

/// The members that scoring does not change. One person is known by the address of a profile alone.
fn person(person: u8) -> Vec<(&'static str, String)> {
    if person == 2 {
        return vec![("linkedInUrl", "https://example.com/in/sample".to_owned())];
    }
    vec![
        ("firstName", "Sample".to_owned()),
        ("lastName", format!("Person {person}")),
        ("email", format!("sample.{person}@example.com")),
        ("companyAccount", "Example Co".to_owned()),
        ("phone", format!("+1 (206) 555-01{person:02}")),
        ("phone2", format!("+1 (206) 555-02{person:02}")),
    ]
}

/// What the digest of a person is made of: five texts, and five phone numbers in order.
fn stable(number: u8) -> String {
    let members = person(number);
    let member = |name: &str| {
        members
            .iter()
            .find(|it| it.0 == name)
            .map_or("", |it| &it.1)
    };
    let texts = [
        "firstName",
        "lastName",
        "email",
        "companyAccount",
        "linkedInUrl",
    ]
    .map(|name| member(name).to_lowercase());
    let mut phones =
        ["phone", "phone2", "phone3", "phone4", "phone5"].map(|name| digits(member(name)));
    phones.sort();
    texts
        .into_iter()
        .chain(phones)
        .map(|it| it + "\0")
        .collect()
}

fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

/// Puts these records into the deliveries table.
pub fn put(emulators: &Emulators, records: &[Record]) {
    let now = i64::try_from(now_ms()).unwrap();
    for record in records {
        let number = |number: i64| AttributeValue::N(number.to_string());
        let (status, lease) = match record.status {
            Status::Completed => ("COMPLETED", now - HOUR_MS),
            Status::Unfinished(ms) => ("INPROGRESS", now + ms),
            Status::Unknown => ("OTHER", now),
        };
        let mut item = Item::from([
            (
                "delivery_id".to_owned(),
                AttributeValue::S(record.delivery_id.clone()),
            ),
            ("status".to_owned(), AttributeValue::S(status.to_owned())),
            ("in_progress_expiration".to_owned(), number(lease)),
            (
                "expiration".to_owned(),
                number((now + record.expires_h * HOUR_MS) / 1_000),
            ),
            (
                "claimed_by".to_owned(),
                AttributeValue::S("somebody".to_owned()),
            ),
            (
                "validation".to_owned(),
                AttributeValue::S("of another payload".to_owned()),
            ),
        ]);
        if let Some(job) = &record.job {
            item.insert("job_id".to_owned(), AttributeValue::S(job.clone()));
        }
        let keys = keys(record.identity.unwrap_or_default());
        if !keys.is_empty() {
            item.insert("contact_keys".to_owned(), AttributeValue::SS(keys));
        }
        emulators.deliveries.put(&item);
    }
}

/// The records that a table should have, each in one line.
pub fn lines(records: &[Record]) -> BTreeSet<String> {
    let each = records.iter().map(|it| {
        let status = match it.status {
            Status::Completed => "COMPLETED",
            Status::Unfinished(_) => "INPROGRESS",
            Status::Unknown => "OTHER",
        };
        let keys: BTreeSet<_> = keys(it.identity.unwrap_or_default()).into_iter().collect();
        format!(
            "{} {status} of {:?}, {} h, {keys:?}",
            it.delivery_id, it.job, it.expires_h
        )
    });
    each.collect()
}

/// The records that the table has.
pub fn stored(emulators: &Emulators) -> BTreeSet<String> {
    let now_s = i64::try_from(now_ms()).unwrap() / 1_000;
    let each = emulators.deliveries.items().into_iter().map(|item| {
        let text = |name: &str| match item.get(name) {
            Some(AttributeValue::S(text) | AttributeValue::N(text)) => Some(text.clone()),
            _ => None,
        };
        let keys: BTreeSet<_> = match item.get("contact_keys") {
            Some(AttributeValue::SS(keys)) => keys.iter().cloned().collect(),
            _ => BTreeSet::new(),
        };
        let expires_s = text("expiration").unwrap().parse::<i64>().unwrap() - now_s;
        // Rounded, since time passes.
        let hours = (expires_s + 1_800).div_euclid(3_600);
        format!(
            "{} {} of {:?}, {hours} h, {keys:?}",
            text("delivery_id").unwrap(),
            text("status").unwrap(),
            text("job_id")
        )
    });
    each.collect()
}

/// The message of a backfilled contact: its delivery id, job and payload.
pub fn message(job: &str, contact: &Contact, delivery_id: &str) -> String {
    format!("{delivery_id} of {job}: {}", contact.json)
}

/// The messages that a queue has, in the form of [`message`].
pub fn messages(queued: &[Message]) -> Vec<String> {
    let each = queued.iter().map(|message| {
        let attribute = |name: &str| message.attribute(name).unwrap_or_else(|| panic!("{name}"));
        let body: Value = serde_json::from_str(&message.body).unwrap();
        let id = attribute("deliveryId");
        assert_eq!(
            [
                attribute("source"),
                attribute("eventType"),
                attribute("apiVersion")
            ],
            ["backfill", "job.contact.scored", "v2"]
        );
        assert_eq!(
            [&body["id"], &body["eventType"], &body["apiVersion"]],
            [id, "job.contact.scored", "v2"]
        );
        format!("{id} of {}: {}", attribute("jobId"), body["payload"])
    });
    let mut all: Vec<_> = each.collect();
    all.sort();
    all
}
