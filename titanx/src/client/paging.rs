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
        // Contacts are not deduplicated, so a repeated page may be one of equal contacts, which are not read.
        let is_whole = !below_total && !repeated;
        self.next = match metadata.next {
            Some(NextPageHint::Next(next)) if has_new_items => next,
            Some(NextPageHint::More) if has_new_items => NextPage::Page(page_number + 1),
            Some(NextPageHint::Last) if is_whole => NextPage::End(Completeness::Proven),
            None if has_new_items && below_total => NextPage::Page(page_number + 1),
            None if self.total.is_some() && is_whole => NextPage::End(Completeness::Proven),
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
    // Not split at commas: a URL may have some.
    let links = header.split('<').filter_map(|link| link.split_once('>'));
    let mut next = links.filter(|(_, parameters)| {
        let relation = parameters.replace(['"', ' '], "");
        relation.contains(";rel=next")
    });
    Some(next.next().map_or(NextPageHint::Last, |(link, _)| {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_smithy_runtime_api::http::Headers;
    use serde_json::json;

    use super::*;
    use crate::http::HttpClient;

    /// What was read: the query or link of each page, the items, and whether these are all.
    #[derive(Debug, PartialEq)]
    struct Read(Vec<String>, Vec<String>, Completeness);

    fn response(link: Option<&str>) -> HttpResponse {
        let mut headers = Headers::new();
        if let Some(link) = link {
            headers.insert("link", link.to_owned());
        }
        HttpResponse {
            status: 200,
            headers,
            body: Vec::new(),
        }
    }

    /// Whatever follows the base URL may belong to the name of another host.
    #[test]
    fn a_link_is_followed_on_the_same_host_alone() {
        for base in ["https://api.example.com", "https://api.example.com/v2"] {
            let http = HttpClient::new().unwrap();
            let client = TitanxClient::new(http, base, "key".to_owned(), Duration::ZERO).unwrap();
            let path = |link: &str| client.path_of_link(link, "/list").ok();
            let whole = format!("{base}/list?cursor=2");
            for own in ["?cursor=2", "/list?cursor=2", &whole] {
                assert_eq!(path(own).as_deref(), Some("/list?cursor=2"), "{base} {own}");
            }
            for foreign in [
                "https://api.example.com@other.example/list",
                "https://api.example.com.other.example/list",
                "https://api.example.com:8443/list",
                "https://api.example.community/list",
                "http://api.example.com/list",
                "https://other.example/https://api.example.com/list",
                "https://other.example/list?of=https://api.example.com/v2/list",
            ] {
                assert_eq!(path(foreign), None, "{base} {foreign}");
            }
        }
    }

    /// Whatever TitanX or a person names a job, it is one segment of the path.
    #[test]
    fn a_job_id_is_one_segment_of_the_path() {
        for (id, segment) in [
            ("job-1", "job-1"),
            ("a/b", "a%2Fb"),
            ("a?b#c", "a%3Fb%23c"),
            ("a b%", "a%20b%25"),
            ("é", "%C3%A9"),
        ] {
            let list = TitanxClient::contacts(id);
            assert_eq!(list.path, format!("/jobs/{segment}/contacts"));
        }
    }

    /// Reads these pages, as far as the list goes on.
    fn read_with(paging: &PagingParameters, pages: &[Value]) -> Read {
        let mut list = PagedList::new("/list");
        let mut asked = Vec::new();
        for page in pages {
            assert_eq!(list.completeness(), Completeness::NotProven);
            asked.push(match &list.next {
                NextPage::Link(link) => link.clone(),
                _ => list.query(paging),
            });
            let found = items(&page.to_string()).expect("a list");
            list.add_page(found, PageMetadata::read(page, &response(None)), paging);
            if list.is_at_end() {
                break;
            }
        }
        assert_eq!(list.pages as usize, asked.len());
        let read = list.items.iter().map(|it| it.get().to_owned()).collect();
        Read(asked, read, list.completeness())
    }

    fn read(pages: &[Value]) -> Read {
        read_with(&PagingParameters::default(), pages)
    }

    fn expected(asked: &[&str], items: &[&str], completeness: Completeness) -> Read {
        let owned = |texts: &[&str]| texts.iter().map(|&it| it.to_owned()).collect();
        Read(owned(asked), owned(items), completeness)
    }

    use Completeness::{NotProven, Proven};

    #[test]
    fn a_list_without_metadata_is_not_proven_to_be_whole() {
        assert_eq!(
            read(&[json!([1, 2]), json!([3])]),
            expected(&[""], &["1", "2"], NotProven)
        );
        assert_eq!(read(&[json!([])]), expected(&[""], &[], NotProven));
    }

    #[test]
    fn a_total_proves_the_end() {
        let page = |items: &[u8], total: Option<u8>| json!({"data": items, "total": total});
        assert_eq!(
            read(&[page(&[1, 2], Some(2)), page(&[3], None)]),
            expected(&[""], &["1", "2"], Proven)
        );
        assert_eq!(
            read(&[
                page(&[1], Some(3)),
                page(&[2], None),
                page(&[3], None),
                page(&[4], None)
            ]),
            expected(&["", "?page=2", "?page=3"], &["1", "2", "3"], Proven)
        );
        // An empty page, or one that repeats the last, is the end, before the total.
        for again in [&[][..], &[2]] {
            assert_eq!(
                read(&[
                    page(&[1], Some(4)),
                    page(&[2], None),
                    page(again, None),
                    page(&[3], None)
                ]),
                expected(&["", "?page=2", "?page=3"], &["1", "2"], NotProven)
            );
        }
        assert_eq!(read(&[page(&[], Some(0))]), expected(&[""], &[], Proven));
    }

    #[test]
    fn the_end_is_not_proven_below_the_total() {
        let page = |items: &[u8], more: bool| json!({"data": items, "hasMore": more, "total": 3});
        assert_eq!(
            read(&[page(&[1], true), page(&[2], false), page(&[3], false)]),
            expected(&["", "?page=2"], &["1", "2"], NotProven)
        );
        assert_eq!(
            read(&[page(&[1], true), page(&[2, 3], false)]),
            expected(&["", "?page=2"], &["1", "2", "3"], Proven)
        );
    }

    #[test]
    fn a_page_without_new_items_ends_the_list() {
        let by_cursor = |items: &[u8]| json!({"data": items, "nextCursor": "more"});
        let by_flag = |items: &[u8]| json!({"data": items, "hasMore": true});
        for (page, second) in [
            (&by_cursor as &dyn Fn(&[u8]) -> Value, "?cursor=more"),
            (&by_flag, "?page=2"),
        ] {
            for again in [&[][..], &[1]] {
                assert_eq!(
                    read(&[page(&[1]), page(again), page(&[2])]),
                    expected(&["", second], &["1"], NotProven)
                );
            }
        }
    }

    /// It may be a page of equal contacts: TitanX does not deduplicate them.
    #[test]
    fn a_last_page_that_repeats_the_one_before_proves_nothing() {
        let page = |more: bool| json!({"data": [1], "hasMore": more});
        assert_eq!(
            read(&[page(true), page(false)]),
            expected(&["", "?page=2"], &["1"], NotProven)
        );
    }

    #[test]
    fn no_more_pages_are_read_than_the_maximum() {
        let paging = PagingParameters {
            max_pages: 2,
            ..PagingParameters::default()
        };
        let page = |item: u8, more: bool| json!({"data": [item], "hasMore": more});
        assert_eq!(
            read_with(&paging, &[page(1, true), page(2, true), page(3, true)]),
            expected(&["", "?page=2"], &["1", "2"], NotProven)
        );
        assert_eq!(
            read_with(&paging, &[page(1, true), page(2, false)]),
            expected(&["", "?page=2"], &["1", "2"], Proven)
        );
    }

    #[test]
    fn the_parameters_have_the_given_names() {
        let paging = PagingParameters {
            page_parameter: "p".to_owned(),
            cursor_parameter: "after".to_owned(),
            size: Some(("n".to_owned(), 50)),
            max_pages: 9,
        };
        let pages = [
            json!({"data": [1], "hasMore": true}),
            json!({"data": [2], "nextCursor": "a b"}),
            json!({"data": [3], "hasMore": false}),
        ];
        assert_eq!(
            read_with(&paging, &pages),
            expected(
                &["?n=50", "?n=50&p=2", "?n=50&after=a%20b"],
                &["1", "2", "3"],
                Proven
            )
        );
    }

    /// What the answer to the first page says of the second: its query or link; none at the end.
    fn second(page: &Value, link: Option<&str>) -> Option<String> {
        let paging = PagingParameters::default();
        let mut list = PagedList::new("/list");
        let metadata = PageMetadata::read(page, &response(link));
        list.add_page(items("[1]").expect("a list"), metadata, &paging);
        match &list.next {
            NextPage::End(_) => None,
            NextPage::Link(link) => Some(link.clone()),
            _ => Some(list.query(&paging)),
        }
    }

    #[test]
    fn a_next_page_is_a_link_a_cursor_or_a_number() {
        for (next, expected) in [
            (json!("https://a.example/x"), Some("https://a.example/x")),
            (json!("/x?page=2"), Some("/x?page=2")),
            (json!("?page=2"), Some("?page=2")),
            (json!("abc"), Some("?cursor=abc")),
            (json!(2), Some("?page=2")),
            (json!({"href": "/x"}), Some("/x")),
            (json!({"href": null}), None),
            (json!({"rel": "next"}), None),
            (json!(""), None),
            (json!("null"), None),
            (json!(null), None),
            (json!(false), None),
            (json!(-1), None),
            (json!(5_000_000_000_u64), None),
        ] {
            for name in ["next", "nextUrl", "nextLink", "nextPageUrl", "nextPage"] {
                let page = json!({ name: next });
                assert_eq!(second(&page, None).as_deref(), expected, "{page}");
            }
        }
        // A link is better than a number.
        let both = json!({"nextPage": 2, "nextUrl": "/x"});
        assert_eq!(second(&both, None).as_deref(), Some("/x"));
    }

    #[test]
    fn a_cursor_counts_unless_there_are_no_more_pages() {
        for name in ["nextCursor", "next_cursor", "nextPageToken", "endCursor"] {
            assert_eq!(
                second(&json!({ name: "c" }), None).as_deref(),
                Some("?cursor=c")
            );
            assert_eq!(
                second(&json!({ name: 7 }), None).as_deref(),
                Some("?cursor=7")
            );
            for more in ["hasMore", "hasNextPage", "has_more"] {
                let page = |is: bool| json!({ name: "c", more: is });
                assert_eq!(second(&page(true), None).as_deref(), Some("?cursor=c"));
                assert_eq!(second(&page(false), None), None);
                assert_eq!(
                    second(&json!({ more: true }), None).as_deref(),
                    Some("?page=2")
                );
            }
        }
    }

    #[test]
    fn page_numbers_count_only_together() {
        for number in ["page", "currentPage", "pageNumber", "current_page"] {
            for count in ["totalPages", "pageCount", "total_pages"] {
                let page = |of: u8| json!({ number: 1, count: of });
                assert_eq!(second(&page(2), None).as_deref(), Some("?page=2"));
                assert_eq!(second(&page(1), None), None);
                assert_eq!(second(&json!({ count: 2 }), None), None);
            }
            assert_eq!(second(&json!({ number: 1 }), None), None);
        }
    }

    #[test]
    fn a_total_has_many_names() {
        for name in [
            "total",
            "totalCount",
            "totalRecordCount",
            "totalItems",
            "total_count",
        ] {
            assert_eq!(
                second(&json!({ name: 2 }), None).as_deref(),
                Some("?page=2"),
                "{name}"
            );
            assert_eq!(second(&json!({ name: 1 }), None), None, "{name}");
        }
    }

    #[test]
    fn metadata_stands_beside_the_items_or_above_them() {
        let metadata = json!({"hasMore": true});
        for wrapper in [
            "pagination",
            "paging",
            "meta",
            "pageInfo",
            "links",
            "_links",
        ] {
            for page in [
                json!({ wrapper: metadata }),
                json!({"payload": { wrapper: metadata }}),
                json!({"data": { wrapper: metadata }}),
            ] {
                assert_eq!(second(&page, None).as_deref(), Some("?page=2"), "{page}");
            }
        }
        for page in [json!({"payload": metadata}), json!({"data": metadata})] {
            assert_eq!(second(&page, None).as_deref(), Some("?page=2"), "{page}");
        }
        assert_eq!(second(&json!({"other": metadata}), None), None);
    }

    #[test]
    fn a_link_header_names_the_next_page_or_there_is_none() {
        for (header, expected) in [
            (
                r#"<https://a.example/x?page=2>; rel="next""#,
                Some("https://a.example/x?page=2"),
            ),
            ("</x>; rel=next", Some("/x")),
            (
                r#"</1>; rel="first", </2>; title="x"; rel="next""#,
                Some("/2"),
            ),
            (r#"</1>; rel="prev""#, None),
            // A cursor may have commas, and be any word.
            (r#"</2?after=1,2>; rel="next""#, Some("/2?after=1,2")),
            (r#"</1?at=next>; rel="first", </2>; rel="next""#, Some("/2")),
            (r#"</1?at=next>; rel="prev""#, None),
        ] {
            // It has precedence over the body.
            let page = json!({"nextCursor": "c"});
            assert_eq!(second(&page, Some(header)).as_deref(), expected, "{header}");
        }
    }

    #[test]
    fn a_link_leads_below_the_api_or_is_an_error() {
        let http = HttpClient::new().expect("a client");
        let url = "https://a.example/api/v2/";
        let client = TitanxClient::new(http, url, "key".to_owned(), Duration::ZERO);
        let client = client.expect("a client");
        for (link, path) in [
            ("https://a.example/api/v2/jobs?page=2", "/jobs?page=2"),
            ("https://a.example/api/v2?page=2", "?page=2"),
            ("?page=2", "/list?page=2"),
            ("/api/v2/jobs?page=2", "/jobs?page=2"),
            ("/jobs?page=2", "/jobs?page=2"),
            ("https://a.example/jobs?page=2", "/jobs?page=2"),
        ] {
            assert_eq!(client.path_of_link(link, "/list").expect("a path"), path);
        }
        for link in [
            "https://b.example/api/v2/jobs",
            "https://a.example.b.example/api/v2/jobs",
            "https://a.example@b.example/api/v2/jobs",
            "http://a.example/api/v2/jobs",
            "jobs",
        ] {
            let error = client.path_of_link(link, "/list").expect_err(link);
            assert!(matches!(error, Error::ForeignLink(_)), "{link}: {error}");
        }
    }

    #[test]
    fn items_are_nested_in_known_members() {
        for name in [
            "payload", "data", "contacts", "items", "jobs", "webhooks", "results",
        ] {
            for page in [json!({ name: [1] }), json!({"data": { name: [1] }})] {
                let found = items(&page.to_string()).map(|it| it.len());
                assert_eq!(found, Some(1), "{page}");
            }
        }
        for page in [json!({"other": [1]}), json!({"data": 1}), json!("x")] {
            assert!(items(&page.to_string()).is_none(), "{page}");
        }
    }

    #[test]
    fn reserved_characters_are_encoded() {
        assert_eq!(percent_encode("aZ09-_.~"), "aZ09-_.~");
        assert_eq!(
            percent_encode("a/b?c=d&é +%"),
            "a%2Fb%3Fc%3Dd%26%C3%A9%20%2B%25"
        );
    }
}
