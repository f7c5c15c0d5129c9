//! Paged lists. TitanX documents neither how to request a page nor how to recognise the last one.

use std::{collections::HashMap, fmt::Write};

use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use sha2::{Digest, Sha256};

use super::{Error, TitanxClient};
use crate::http::{HttpResponse, origin};

/// The query parameters of a page request. TitanX does not document them, so each can be set.
#[derive(Debug, Clone)]
pub struct PagingParameters {
    /// The query parameter for the page number, which starts at 1.
    pub page_parameter: String,
    /// The query parameter for the cursor.
    pub cursor_parameter: String,
    /// The query parameter for the page size, and the page size.
    pub size: Option<(String, u32)>,
    /// The maximum number of pages to read.
    pub max_pages: u32,
}

impl Default for PagingParameters {
    fn default() -> Self {
        Self {
            page_parameter: "page".to_owned(),
            cursor_parameter: "cursor".to_owned(),
            size: None,
            max_pages: 1_000,
        }
    }
}

/// Whether the whole list was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Completeness {
    /// TitanX's responses state it: by a total, or by the end of the links or cursors.
    Proven,
    /// The responses had no paging metadata, or it contradicts the items.
    NotProven,
}

/// The part of a list that has been read so far. Serialize it to resume later.
#[derive(Debug, Serialize, Deserialize)]
pub struct PagedList {
    /// The items, byte for byte.
    pub items: Vec<Box<RawValue>>,
    /// The number of pages read.
    pub pages: u32,
    /// The number of items in the whole list, if TitanX states it.
    pub total: Option<u64>,
    path: String,
    next: NextPage,
    /// Digest of the last page.
    last_page: Option<String>,
    /// The number of items that were taken out.
    #[serde(default)]
    taken: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum NextPage {
    Page(u32),
    Cursor(String),
    Link(String),
    End(Completeness),
}

impl PagedList {
    pub(crate) fn new(path: &str) -> Self {
        Self {
            items: Vec::new(),
            pages: 0,
            total: None,
            path: path.to_owned(),
            next: NextPage::Page(1),
            last_page: None,
            taken: 0,
        }
    }

    /// Takes out the items read so far, so that a long list need not be kept whole.
    pub fn take_items(&mut self) -> Vec<Box<RawValue>> {
        self.taken += self.items.len() as u64;
        std::mem::take(&mut self.items)
    }

    /// The number of items that were read, whether they were taken out or not.
    #[must_use]
    pub fn items_read(&self) -> u64 {
        self.taken + self.items.len() as u64
    }

    /// Whether there is no further page to read.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        matches!(self.next, NextPage::End(_))
    }

    /// Whether the whole list was read.
    #[must_use]
    pub fn completeness(&self) -> Completeness {
        match self.next {
            NextPage::End(completeness) => completeness,
            _ => Completeness::NotProven,
        }
    }

    fn query(&self, paging: &PagingParameters) -> String {
        let mut query = Vec::new();
        if let Some((parameter, size)) = &paging.size {
            query.push((parameter, size.to_string()));
        }
        match &self.next {
            // The first page is requested without an undocumented parameter.
            NextPage::Page(1) | NextPage::Link(_) | NextPage::End(_) => {}
            NextPage::Page(page) => query.push((&paging.page_parameter, page.to_string())),
            NextPage::Cursor(cursor) => {
                query.push((&paging.cursor_parameter, percent_encode(cursor)));
            }
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

    /// Adds a page, and determines the next one.
    fn add_page(
        &mut self,
        page: Vec<Box<RawValue>>,
        metadata: PageMetadata,
        paging: &PagingParameters,
    ) {
        let digest = digest(&page);
        let repeated = self.last_page.as_ref() == Some(&digest);
        // After a repeated or empty page, a further request would return the same again.
        let has_new_items = !repeated && !page.is_empty();
        let page_number = if let NextPage::Page(number) = self.next {
            number
        } else {
            1
        };
        self.pages += 1;
        if !repeated {
            self.items.extend(page);
            self.last_page = Some(digest);
        }
        self.total = metadata.total.or(self.total);
        let items = self.items_read();
        let below_total = self.total.is_some_and(|total| items < total);
        self.next = match metadata.next {
            Some(NextPageHint::Next(next)) if has_new_items => next,
            Some(NextPageHint::More) if has_new_items => NextPage::Page(page_number + 1),
            Some(NextPageHint::Last) if !below_total => NextPage::End(Completeness::Proven),
            None if has_new_items && below_total => NextPage::Page(page_number + 1),
            None if self.total.is_some() && !below_total => NextPage::End(Completeness::Proven),
            _ => NextPage::End(Completeness::NotProven),
        };
        if !self.is_at_end() && self.pages >= paging.max_pages {
            self.next = NextPage::End(Completeness::NotProven);
        }
    }
}

impl TitanxClient {
    /// Reads the next page of a list.
    ///
    /// # Errors
    ///
    /// Any response other than a 2xx with a list. The list is then unchanged.
    pub async fn read_page(
        &self,
        list: &mut PagedList,
        paging: &PagingParameters,
    ) -> Result<(), Error> {
        let path = match &list.next {
            NextPage::Link(link) => self.path_of_link(link, &list.path)?,
            _ => format!("{}{}", list.path, list.query(paging)),
        };
        let response = self.send_with_retries("GET", &path).await?;
        let unreadable = |missing| Error::Unreadable {
            request: format!("GET {}", list.path),
            missing,
        };
        let body = std::str::from_utf8(&response.body).map_err(|_| unreadable("JSON"))?;
        let value: Value = serde_json::from_str(body).map_err(|_| unreadable("JSON"))?;
        let items = items(body).ok_or_else(|| unreadable("list"))?;
        list.add_page(items, PageMetadata::read(&value, &response), paging);
        Ok(())
    }

    /// The path of a link below the base URL. A link to another host is an error, since that host
    /// must not get the API key.
    fn path_of_link(&self, link: &str, path: &str) -> Result<String, Error> {
        let below_base = link.strip_prefix(&self.base_url);
        if let Some(path) = below_base.filter(|path| path.starts_with(['/', '?'])) {
            return Ok(path.to_owned());
        }
        let host = origin(&self.base_url);
        let below_host = &self.base_url[host.len()..];
        if link.starts_with('?') {
            return Ok(format!("{path}{link}"));
        }
        let from_root = if link.contains("://") {
            link.strip_prefix(host).filter(|rest| rest.starts_with('/'))
        } else {
            link.starts_with('/').then_some(link)
        };
        let from_root = from_root.ok_or_else(|| Error::ForeignLink(origin(link).to_owned()))?;
        let below_base = from_root.strip_prefix(below_host).unwrap_or(from_root);
        Ok(below_base.to_owned())
    }
}

/// The items of a page. They are an array at the root, or nested in one or more members with the
/// names below.
fn items(json: &str) -> Option<Vec<Box<RawValue>>> {
    if let Ok(items) = serde_json::from_str(json) {
        return Some(items);
    }
    let members: HashMap<String, &RawValue> = serde_json::from_str(json).ok()?;
    let names = [
        "payload", "data", "contacts", "items", "jobs", "webhooks", "results",
    ];
    let mut nested = names.iter().filter_map(|name| members.get(*name));
    nested.find_map(|value| items(value.get()))
}

/// The paging metadata of a response.
struct PageMetadata {
    next: Option<NextPageHint>,
    total: Option<u64>,
}

/// What a response states about the next page.
enum NextPageHint {
    /// How to request it.
    Next(NextPage),
    /// That there is one.
    More,
    /// That there is none.
    Last,
}

impl PageMetadata {
    fn read(value: &Value, response: &HttpResponse) -> Self {
        let objects = metadata_objects(value);
        let find = |names: &[&str]| {
            let mut objects = objects.iter();
            objects.find_map(|object| names.iter().find_map(|name| object.get(*name)))
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
        let next = link_header(response)
            .or_else(|| link.map(next_member))
            .or_else(|| cursor.filter(|_| more != Some(false)).map(cursor_member))
            .or_else(|| {
                more.map(|more| {
                    if more {
                        NextPageHint::More
                    } else {
                        NextPageHint::Last
                    }
                })
            })
            .or_else(|| {
                Some(if page? < pages? {
                    NextPageHint::More
                } else {
                    NextPageHint::Last
                })
            });
        Self { next, total }
    }
}

/// The objects that may contain paging metadata.
fn metadata_objects(value: &Value) -> Vec<&Value> {
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
        .flat_map(|wrapper| {
            names
                .iter()
                .filter_map(|name| wrapper.get(*name))
                .chain([wrapper])
        })
        .collect()
}

/// Interprets a member called `next`: a link, an object with a link, a page number or nothing.
fn next_member(value: &Value) -> NextPageHint {
    match value {
        Value::String(link) if is_link(link) => NextPageHint::Next(NextPage::Link(link.clone())),
        Value::String(cursor) if is_cursor(cursor) => {
            NextPageHint::Next(NextPage::Cursor(cursor.clone()))
        }
        Value::Number(page) => page
            .as_u64()
            .and_then(|page| u32::try_from(page).ok())
            .map_or(NextPageHint::Last, |page| {
                NextPageHint::Next(NextPage::Page(page))
            }),
        Value::Object(object) => object.get("href").map_or(NextPageHint::Last, next_member),
        _ => NextPageHint::Last,
    }
}

/// Interprets a member that holds a cursor.
fn cursor_member(value: &Value) -> NextPageHint {
    match value {
        Value::String(cursor) if is_cursor(cursor) => {
            NextPageHint::Next(NextPage::Cursor(cursor.clone()))
        }
        Value::Number(cursor) => NextPageHint::Next(NextPage::Cursor(cursor.to_string())),
        _ => NextPageHint::Last,
    }
}

/// Interprets the header `Link: <…>; rel="next"`. A `Link` header without `next` marks the last page.
fn link_header(response: &HttpResponse) -> Option<NextPageHint> {
    let header = response.headers.get("link")?;
    let next = header.split(',').find(|link| {
        let relation = link.replace(['"', ' '], "");
        relation.contains(";rel=next")
    });
    Some(next.map_or(NextPageHint::Last, |link| {
        let link = link.trim().trim_start_matches('<');
        let link = link.split('>').next().unwrap_or_default();
        NextPageHint::Next(NextPage::Link(link.to_owned()))
    }))
}

/// Whether a text is a cursor. Some servers write the end of a list as the text `null`.
fn is_cursor(text: &str) -> bool {
    !matches!(text, "" | "null")
}

fn is_link(text: &str) -> bool {
    text.contains("://") || text.starts_with(['/', '?'])
}

/// A digest of a page, to detect a page that repeats the previous one.
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

/// Percent-encodes `text` for the path or query of a URL.
pub(crate) fn percent_encode(text: &str) -> String {
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
