//! Small random jobs, contacts and records, and what the documents say of them: how TitanX's lists are read, which contacts are missing,
//! and under which delivery id each is queued. For the model-based tests of `operator reconcile` and of the healer. It is written from
//! `docs/` and shares no code with `reconcile/`.

mod dice;
mod expected;
mod tables;

use std::fmt;

use aws_smithy_types::date_time::{DateTime, Format};
use serde_json::Value;

pub use self::{
    dice::Dice,
    expected::{backfill_job_id, compare, is_job, is_same, ordinal, send},
    tables::{lines, message, messages, put, stored},
};
use crate::titanx_api::PagingStyle;

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

impl fmt::Debug for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.json)
    }
}

/// A Unix time in seconds as TitanX writes it.
pub fn utc(seconds: i64) -> String {
    let written = DateTime::from_secs(seconds).fmt(Format::DateTime);
    written.expect("a year of four digits")
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
