//! Lists that come in pages, of which TitanX documents neither form nor end.

use std::{collections::HashMap, fmt::Write};

use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use sha2::{Digest, Sha256};

use super::{Error, Titanx};
use crate::http::{Answer, origin};

/// How pages are asked for. None of it is documented, so all of it can be set.
#[derive(Debug, Clone)]
pub(crate) struct Paging {
    /// The query parameter for the number of a page, which counts from 1.
    pub(crate) page_parameter: String,
    /// The query parameter for a cursor.
    pub(crate) cursor_parameter: String,
    /// A query parameter for the size of a page, and the size.
    pub(crate) size: Option<(String, u32)>,
    /// No more pages than these are read.
    pub(crate) max_pages: u32,
}

impl Default for Paging {
    fn default() -> Self {
        Self {
            page_parameter: "page".to_owned(),
            cursor_parameter: "cursor".to_owned(),
            size: None,
            max_pages: 1_000,
        }
    }
}

/// Whether all of a list was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Completeness {
    /// TitanX itself says that nothing is left: by a total, or by the end of its links or cursors.
    Proven,
    /// There was no mark of paging, or it contradicts what came.
    NotProven,
}

/// A list, as far as it has been read. It can be kept, and gone on with later.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Reading {
    /// The items so far, exactly as they came.
    pub(crate) items: Vec<Box<RawValue>>,
    /// The pages so far.
    pub(crate) pages: u32,
    /// How many items there are, where TitanX says so.
    pub(crate) total: Option<u64>,
    path: String,
    next: Next,
    last_page: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Next {
    Page(u32),
    Cursor(String),
    Link(String),
    End(Completeness),
}

impl Reading {
    pub(super) fn new(path: &str) -> Self {
        Self {
            items: Vec::new(),
            pages: 0,
            total: None,
            path: path.to_owned(),
            next: Next::Page(1),
            last_page: None,
        }
    }

    /// Whether there is no further page to read.
    #[must_use]
    pub(crate) fn ended(&self) -> bool {
        matches!(self.next, Next::End(_))
    }

    /// Whether all was read.
    #[must_use]
    pub(crate) fn completeness(&self) -> Completeness {
        match self.next {
            Next::End(completeness) => completeness,
            _ => Completeness::NotProven,
        }
    }

    fn query(&self, paging: &Paging) -> String {
        let mut query = Vec::new();
        if let Some((parameter, size)) = &paging.size {
            query.push((parameter, size.to_string()));
        }
        match &self.next {
            // The first page is asked for as plainly as can be.
            Next::Page(1) | Next::Link(_) | Next::End(_) => {}
            Next::Page(page) => query.push((&paging.page_parameter, page.to_string())),
            Next::Cursor(cursor) => query.push((&paging.cursor_parameter, percent_encoded(cursor))),
        }
        let query: Vec<_> = query
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if query.is_empty() {
            return String::new();
        }
        format!("?{}", query.join("&"))
    }

    /// Takes a page in, and finds out where the next one is.
    fn take(&mut self, page: Vec<Box<RawValue>>, marks: Marks, paging: &Paging) {
        let digest = digest(&page);
        let repeated = self.last_page.as_ref() == Some(&digest);
        // A page that repeats the one before, or is empty, leads nowhere.
        let goes_on = !repeated && !page.is_empty();
        let read = if let Next::Page(page) = self.next {
            page
        } else {
            1
        };
        self.pages += 1;
        if !repeated {
            self.items.extend(page);
            self.last_page = Some(digest);
        }
        self.total = marks.total.or(self.total);
        let items = self.items.len() as u64;
        let short_of_total = self.total.is_some_and(|total| items < total);
        self.next = match marks.next {
            Some(Mark::Next(next)) if goes_on => next,
            Some(Mark::More) if goes_on => Next::Page(read + 1),
            Some(Mark::Last) if !short_of_total => Next::End(Completeness::Proven),
            None if goes_on && short_of_total => Next::Page(read + 1),
            None if self.total.is_some() && !short_of_total => Next::End(Completeness::Proven),
            _ => Next::End(Completeness::NotProven),
        };
        if !self.ended() && self.pages >= paging.max_pages {
            self.next = Next::End(Completeness::NotProven);
        }
    }
}

impl Titanx {
    /// Reads the next page of a list.
    ///
    /// # Errors
    ///
    /// Whatever TitanX answers but a 2xx with a list; the reading stays as it was.
    pub(crate) async fn read_page(
        &self,
        reading: &mut Reading,
        paging: &Paging,
    ) -> Result<(), Error> {
        let path = match &reading.next {
            Next::Link(link) => self.own_path(link, &reading.path)?,
            _ => format!("{}{}", reading.path, reading.query(paging)),
        };
        let answer = self.repeatedly("GET", &path).await?;
        let unreadable = |missing| Error::Unreadable {
            call: format!("GET {}", reading.path),
            missing,
        };
        let body = std::str::from_utf8(&answer.body).map_err(|_| unreadable("JSON"))?;
        let value: Value = serde_json::from_str(body).map_err(|_| unreadable("JSON"))?;
        let items = items(body).ok_or_else(|| unreadable("list"))?;
        reading.take(items, Marks::read(&value, &answer), paging);
        Ok(())
    }

    /// The path behind a link, if it leads to TitanX: nobody else is to get the API key.
    fn own_path(&self, link: &str, path: &str) -> Result<String, Error> {
        let below_base = link.strip_prefix(&self.base);
        if let Some(path) = below_base.filter(|path| path.starts_with(['/', '?'])) {
            return Ok(path.to_owned());
        }
        let host = origin(&self.base);
        let below_host = &self.base[host.len()..];
        if link.starts_with('?') {
            return Ok(format!("{path}{link}"));
        }
        let from_root = if link.contains("://") {
            link.strip_prefix(host).filter(|rest| rest.starts_with('/'))
        } else {
            link.starts_with('/').then_some(link)
        };
        let from_root = from_root.ok_or_else(|| Error::ForeignLink(origin(link).to_owned()))?;
        let own = from_root.strip_prefix(below_host).unwrap_or(from_root);
        Ok(own.to_owned())
    }
}

/// The items of a page, wherever they stand: at the root, under `payload` or `data`, and there as
/// they are or under a name.
fn items(json: &str) -> Option<Vec<Box<RawValue>>> {
    if let Ok(items) = serde_json::from_str(json) {
        return Some(items);
    }
    let members: HashMap<String, &RawValue> = serde_json::from_str(json).ok()?;
    let below = [
        "payload", "data", "contacts", "items", "jobs", "webhooks", "results",
    ];
    let mut below = below.iter().filter_map(|name| members.get(*name));
    below.find_map(|value| items(value.get()))
}

/// What an answer says of the pages after it.
struct Marks {
    next: Option<Mark>,
    total: Option<u64>,
}

enum Mark {
    Next(Next),
    More,
    Last,
}

impl Marks {
    fn read(value: &Value, answer: &Answer) -> Self {
        let places = places(value);
        let find = |names: &[&str]| {
            let mut places = places.iter();
            places.find_map(|place| names.iter().find_map(|name| place.get(*name)))
        };
        let number = |names: &[&str]| find(names).and_then(Value::as_u64);
        let link = find(&["next", "nextUrl", "nextLink", "nextPageUrl"]).or(find(&["nextPage"]));
        let cursor = find(&["nextCursor", "next_cursor", "nextPageToken", "endCursor"]);
        let more = find(&["hasMore", "hasNextPage", "has_more"]).and_then(Value::as_bool);
        let pages = number(&["totalPages", "pageCount", "total_pages"]);
        let page = number(&["page", "currentPage", "pageNumber", "current_page"]);
        let total = number(&[
            "total",
            "totalCount",
            "totalRecordCount",
            "totalItems",
            "total_count",
        ]);
        let next = link_header(answer)
            .or_else(|| link.map(following))
            .or_else(|| cursor.filter(|_| more != Some(false)).map(cursor_mark))
            .or_else(|| more.map(|more| if more { Mark::More } else { Mark::Last }))
            .or_else(|| {
                Some(if page? < pages? {
                    Mark::More
                } else {
                    Mark::Last
                })
            });
        Self { next, total }
    }
}

/// The objects in which marks of paging may stand.
fn places(value: &Value) -> Vec<&Value> {
    let wrappers = [Some(value), value.get("payload"), value.get("data")];
    let names = [
        "pagination",
        "paging",
        "meta",
        "pageInfo",
        "links",
        "_links",
    ];
    let wrappers = wrappers.into_iter().flatten();
    wrappers
        .flat_map(|place| {
            names
                .iter()
                .filter_map(|name| place.get(*name))
                .chain([place])
        })
        .collect()
}

/// What a member called "next" says: a link, a link in an object, a number of a page, or nothing.
fn following(value: &Value) -> Mark {
    match value {
        Value::String(link) if is_link(link) => Mark::Next(Next::Link(link.clone())),
        Value::String(cursor) if !cursor.is_empty() => Mark::Next(Next::Cursor(cursor.clone())),
        Value::Number(page) => page
            .as_u64()
            .and_then(|page| u32::try_from(page).ok())
            .map_or(Mark::Last, |page| Mark::Next(Next::Page(page))),
        Value::Object(object) => object.get("href").map_or(Mark::Last, following),
        _ => Mark::Last,
    }
}

fn cursor_mark(value: &Value) -> Mark {
    match value {
        Value::String(cursor) if !cursor.is_empty() => Mark::Next(Next::Cursor(cursor.clone())),
        Value::Number(cursor) => Mark::Next(Next::Cursor(cursor.to_string())),
        _ => Mark::Last,
    }
}

/// The header `Link: <…>; rel="next"`; one without it says that this is the last page.
fn link_header(answer: &Answer) -> Option<Mark> {
    let header = answer.headers.get("link")?;
    let next = header.split(',').find(|link| {
        let relation = link.replace(['"', ' '], "");
        relation.contains(";rel=next")
    });
    Some(next.map_or(Mark::Last, |link| {
        let link = link.trim().trim_start_matches('<');
        let link = link.split('>').next().unwrap_or_default();
        Mark::Next(Next::Link(link.to_owned()))
    }))
}

fn is_link(text: &str) -> bool {
    text.contains("://") || text.starts_with(['/', '?'])
}

/// So that a page that repeats the one before is noticed.
fn digest(page: &[Box<RawValue>]) -> String {
    let hash = page
        .iter()
        .fold(Sha256::new(), |hash, item| hash.chain_update(item.get()));
    hex(&hash.finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a String grows");
        hex
    })
}

/// `text` as part of a URL's path or query.
pub(super) fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => write!(encoded, "%{byte:02X}").expect("a String grows"),
        }
        encoded
    })
}
