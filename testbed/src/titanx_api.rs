//! A server with TitanX's API, in both documented forms and with several kinds of behaviour where
//! the documentation says nothing. It is written from the documentation and shares no code with the
//! operator or the healer.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http_body_util::Full;
use hyper::{HeaderMap, Request, Response, body::Bytes, header::HeaderName};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::server::{Server, json as respond};

pub const API_KEY: &str = "synthetic-api-key";
const BASE: &str = "/api/public/v2";

/// The two documented forms of a subscription.
#[derive(Clone, Copy, PartialEq)]
pub enum Form {
    /// `events`, answered under `payload` with `triggers`.
    Schema,
    /// `eventTypes`, answered flat; `events` is refused.
    Prose,
}

/// How the server returns a job's contacts.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum PagingStyle {
    /// All contacts in an array at the root, without paging metadata.
    NoMetadata,
    /// Pages of two in `data.contacts`, with a total.
    Total,
    /// Pages of two in `data.items`, with a cursor.
    Cursor,
    /// Pages of two in `payload`, with a link to the next.
    Link,
    /// Pages of two at the root, with a `Link` header.
    LinkHeader,
    /// Pages of two in `data`, with `hasMore`.
    HasMore,
    /// States that there are more pages, but always returns the first one.
    Repeating,
    /// States a total that is greater than the number of contacts it returns.
    BelowTotal,
    /// A link to another host.
    ForeignLink,
    /// Pages of two in `data`, with `page` and `totalPages`.
    PageOfPages,
    /// Pages of two in `payload.contacts`, with `currentPage` and `pageCount` in `meta`.
    PageOfPagesInMeta,
    /// Pages of two in `data`, with a cursor that is a number, and `null` at the end.
    NumericCursor,
    /// Pages of two in `data`, with a cursor, and the text `null` at the end.
    TextNullCursor,
    /// Pages of two in `data`, with a cursor of characters that mean something in a query.
    ReservedCursor,
    /// Pages of two in `data`, with a cursor, `hasNextPage`, and a cursor at the end too.
    EndCursor,
    /// Pages of two in `results`, with a link that is only a query.
    QueryLink,
    /// Pages of two in `items`, with a link without the host.
    PathLink,
    /// Pages of two in `data`, with an object that holds a link.
    Href,
    /// Pages of two in `data`, with the number of the next page.
    NextPage,
}

impl PagingStyle {
    /// The styles that say which page is the last.
    pub const COMPLETE: [Self; 15] = [
        Self::Total,
        Self::Cursor,
        Self::Link,
        Self::LinkHeader,
        Self::HasMore,
        Self::PageOfPages,
        Self::PageOfPagesInMeta,
        Self::NumericCursor,
        Self::TextNullCursor,
        Self::ReservedCursor,
        Self::EndCursor,
        Self::QueryLink,
        Self::PathLink,
        Self::Href,
        Self::NextPage,
    ];
}

/// A failure of one request.
#[derive(Clone, Debug)]
pub enum Failure {
    /// The request has no effect, and is answered with this status.
    Status(u16),
    /// The request takes effect, but the connection is closed before the response.
    LostResponse,
    /// The request has no effect, and is answered 429 with the headers of an exhausted rate limit.
    RateLimited { window: &'static str, reset_s: u64 },
    /// The request has no effect, and is answered 429 with `Retry-After`, in seconds.
    RetryAfter(u64),
    /// The request has no effect, and the answer quotes its `Authorization` header.
    Quoting { status: u16 },
}

/// The running server. It stops when this is dropped.
pub struct TitanxApi {
    pub url: String,
    state: Arc<Mutex<State>>,
    _server: Server,
}

struct State {
    form: Form,
    paging: PagingStyle,
    /// Whether the server supports listing and deleting subscriptions.
    has_management: bool,
    /// Whether it lists subscriptions in pages.
    pages_subscriptions: bool,
    granted: Vec<String>,
    /// Event types that a creation may ask for, if not all.
    allowed: Option<Vec<String>>,
    /// Whether the server returns the secret of a new subscription, and respects its `status`.
    returns_secret: bool,
    subscriptions: Vec<Subscription>,
    jobs: BTreeMap<String, Value>,
    contacts: BTreeMap<String, Vec<Value>>,
    failures: Vec<PlannedFailure>,
    requests: Vec<(String, SystemTime)>,
    page_size: usize,
    /// Contacts that are put first in a job's list once a page of it was served.
    insertions: Vec<Insertion>,
    limits: Vec<Limit>,
}

/// A change of a list while it is read.
struct Insertion {
    job: String,
    after_page: usize,
    contact: Value,
}

/// A rate limit.
#[derive(Clone, Copy)]
pub struct RateLimit {
    /// The window's name in the headers: `second`, `minute` or `day`.
    pub name: &'static str,
    /// The calls that one window takes. Those that are refused count too.
    pub calls: usize,
    /// How long a window is. It may be shorter than its name says, so that a test need not wait.
    pub window: Duration,
}

/// The state of a rate limit.
struct Limit {
    plan: RateLimit,
    /// Calls that are left until the limit resets.
    left: usize,
    /// Unix time.
    reset: Duration,
}

/// A failure of a future request.
struct PlannedFailure {
    /// The start of the request's method and path.
    prefix: String,
    /// The number of matching requests that succeed first.
    after: usize,
    failure: Failure,
}

/// A subscription as the server stores it.
#[derive(Clone, Debug, PartialEq)]
pub struct Subscription {
    pub id: String,
    pub url: String,
    pub events: Vec<String>,
    pub active: bool,
    pub secret: String,
}

impl TitanxApi {
    pub fn start(form: Form) -> Self {
        let state = Arc::new(Mutex::new(State {
            form,
            paging: PagingStyle::Total,
            has_management: true,
            pages_subscriptions: false,
            granted: vec!["job.contact.scored".to_owned(), "job.completed".to_owned()],
            allowed: None,
            returns_secret: true,
            subscriptions: Vec::new(),
            jobs: BTreeMap::new(),
            contacts: BTreeMap::new(),
            failures: Vec::new(),
            requests: Vec::new(),
            page_size: 2,
            insertions: Vec::new(),
            limits: Vec::new(),
        }));
        let shared = Arc::clone(&state);
        let server = Server::start("titanx", move |request| {
            let answer = answer(&shared, &request);
            async { answer }
        });
        Self {
            url: format!("{}{BASE}", server.origin),
            state,
            _server: server,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers requests that list or delete subscriptions with 404.
    pub fn disable_management(&self) {
        self.state().has_management = false;
    }

    /// Grants only these event types to new subscriptions.
    pub fn set_granted(&self, events: &[&str]) {
        self.state().granted = events.iter().map(|&it| it.to_owned()).collect();
    }

    /// Refuses a creation that asks for other event types than these.
    pub fn set_allowed(&self, events: &[&str]) {
        self.state().allowed = Some(events.iter().map(|&it| it.to_owned()).collect());
    }

    /// Creates only active subscriptions, and does not return their secrets.
    pub fn omit_secret(&self) {
        self.state().returns_secret = false;
    }

    pub fn set_paging(&self, paging: PagingStyle) {
        self.state().paging = paging;
    }

    /// Returns so many items a page instead of two.
    pub fn set_page_size(&self, size: usize) {
        self.state().page_size = size;
    }

    /// Puts a contact first in a job's list, once this page of it was served: what follows moves on by one. Of several for
    /// one page, each time it is served the next.
    pub fn insert_after_page(&self, job: &str, after_page: usize, contact: Value) {
        self.state().insertions.push(Insertion {
            job: job.to_owned(),
            after_page,
            contact,
        });
    }

    /// Takes no more than this many calls in each window. It is told as the limit of a day.
    pub fn limit(&self, calls: usize, window: Duration) {
        let name = "day";
        self.set_limits(&[RateLimit {
            name,
            calls,
            window,
        }]);
    }

    /// Sets the rate limits. Their first windows begin with the current second, since resets are told in whole
    /// seconds.
    pub fn set_limits(&self, limits: &[RateLimit]) {
        let begin = Duration::from_secs(unix_time().as_secs());
        let limits = limits.iter().map(|&plan| Limit {
            plan,
            left: plan.calls,
            reset: begin + plan.window,
        });
        self.state().limits = limits.collect();
    }

    /// Lists subscriptions in pages, as it does contacts.
    pub fn page_subscriptions(&self) {
        self.state().pages_subscriptions = true;
    }

    /// Has these subscriptions and no others, as if they had been created in its app.
    pub fn put_subscriptions(&self, subscriptions: &[Subscription]) {
        self.state().subscriptions = subscriptions.to_vec();
    }

    /// Fails the next request whose method and path start with `prefix`. Failures with the same
    /// prefix apply one after the other.
    pub fn fail(&self, prefix: &str, failure: Failure) {
        self.fail_after(0, prefix, failure);
    }

    /// As [`Self::fail`], but lets `after` matching requests succeed first.
    pub fn fail_after(&self, after: usize, prefix: &str, failure: Failure) {
        self.state().failures.push(PlannedFailure {
            prefix: prefix.to_owned(),
            after,
            failure,
        });
    }

    /// The only subscription. Panics if there are none or several.
    pub fn only_subscription(&self) -> Subscription {
        let [subscription] = self.subscriptions().try_into().unwrap();
        subscription
    }

    pub fn subscriptions(&self) -> Vec<Subscription> {
        self.state().subscriptions.clone()
    }

    pub fn active(&self) -> Vec<Subscription> {
        let mut subscriptions = self.subscriptions();
        subscriptions.retain(|it| it.active);
        subscriptions
    }

    pub fn put_job(&self, id: &str, job: Value, contacts: &[Value]) {
        let mut state = self.state();
        state.jobs.insert(id.to_owned(), job);
        state.contacts.insert(id.to_owned(), contacts.to_vec());
    }

    /// What this TitanX has told in confidence: the secrets, and every text of a contact if asked.
    pub fn confidential(&self) -> impl Fn(bool) -> Vec<String> + Send + Sync + use<> {
        let state = Arc::clone(&self.state);
        move |with_contacts| {
            let state = state.lock().unwrap_or_else(PoisonError::into_inner);
            let secrets = state.subscriptions.iter().map(|it| it.secret.clone());
            let contacts = state.contacts.values().flatten();
            let contacts = contacts.filter(|_| with_contacts);
            let texts = contacts.flat_map(|it| it.as_object().into_iter().flatten());
            let texts = texts.filter_map(|(_, value)| Some(value.as_str()?.to_owned()));
            secrets.chain(texts).collect()
        }
    }

    /// Method and path of every request so far, with the time of each.
    pub fn times(&self) -> Vec<(String, SystemTime)> {
        self.state().requests.clone()
    }

    /// Method and path of every request so far.
    pub fn requests(&self) -> Vec<String> {
        self.state()
            .requests
            .iter()
            .map(|(request, _)| request.clone())
            .collect()
    }

    /// The time between the first two requests.
    pub fn time_between_requests(&self) -> Duration {
        let state = self.state();
        let [(_, first), (_, second), ..] = &state.requests[..] else {
            panic!("there were fewer than two requests");
        };
        second.duration_since(*first).unwrap_or_default()
    }
}

/// The response to a request. `None` closes the connection instead.
fn answer(state: &Mutex<State>, request: &Request<Bytes>) -> Option<Response<Full<Bytes>>> {
    let mut response = respond_to(state, request)?;
    let state = state.lock().unwrap_or_else(PoisonError::into_inner);
    for limit in &state.limits {
        limit.tell(response.headers_mut());
    }
    Some(response)
}

fn respond_to(state: &Mutex<State>, request: &Request<Bytes>) -> Option<Response<Full<Bytes>>> {
    let method = request.method().to_string();
    let path = request
        .uri()
        .path()
        .strip_prefix(BASE)
        .unwrap_or("/")
        .to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let key = request.headers().get("authorization");
    let authorized = key.is_some_and(|it| it.as_bytes() == format!("Bearer {API_KEY}").as_bytes());
    let origin = request.headers()["host"]
        .to_str()
        .unwrap_or_default()
        .to_owned();
    let body: Value = serde_json::from_slice(request.body()).unwrap_or_default();
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let call = format!("{method} {path}");
    state.requests.push((call.clone(), SystemTime::now()));
    if !authorized {
        return Some(respond(401, &json!({"error": "Unauthorized"})));
    }
    if !state.is_within_limits() {
        return Some(respond(429, &json!({"error": "Too many requests"})));
    }
    let failure = state.next_failure(&call);
    match failure {
        Some(Failure::Status(status)) => return Some(respond(status, &json!({"error": "No."}))),
        Some(Failure::Quoting { status }) => {
            let message = format!("Bearer {API_KEY} may not do this");
            return Some(respond(status, &json!({"error": {"message": message}})));
        }
        Some(Failure::RateLimited { window, reset_s }) => {
            return Some(rate_limited(window, reset_s));
        }
        Some(Failure::RetryAfter(seconds)) => {
            let mut response = respond(429, &json!({"error": "Too many requests"}));
            response.headers_mut().insert("retry-after", seconds.into());
            return Some(response);
        }
        Some(Failure::LostResponse) | None => {}
    }
    let response = state.route(&method, &path, &query, &body, &origin);
    match failure {
        Some(Failure::LostResponse) => None,
        _ => Some(response),
    }
}

fn rate_limited(window: &str, reset_s: u64) -> Response<Full<Bytes>> {
    let mut response = respond(429, &json!({"error": "Too many requests"}));
    let now = unix_time().as_secs();
    let day = if window == "day" {
        now + reset_s
    } else {
        now + 86_400
    };
    for (name, remaining, reset) in [
        ("second", 0, now + reset_s),
        ("minute", 50, now + reset_s),
        ("day", 500, day),
    ] {
        let exhausted = name == window;
        let remaining = if exhausted { 0 } else { remaining.max(1) };
        tell_limit(response.headers_mut(), name, [1_000, remaining, reset]);
    }
    response
}

/// Adds the headers of a rate limit: its calls, those that remain, and when it resets.
fn tell_limit(headers: &mut HeaderMap, window: &str, values: [u64; 3]) {
    for (kind, value) in ["limit", "remaining", "reset"].into_iter().zip(values) {
        let name = format!("x-ratelimit-{kind}-{window}");
        let name: HeaderName = name.parse().expect("a header's name");
        headers.insert(name, value.into());
    }
}

impl Limit {
    fn tell(&self, headers: &mut HeaderMap) {
        let [calls, left] = [self.plan.calls, self.left].map(|it| it as u64);
        let reset = self.reset.as_millis().div_ceil(1_000);
        let reset = u64::try_from(reset).expect("a time of this millennium");
        tell_limit(headers, self.plan.name, [calls, left, reset]);
    }
}

fn unix_time() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("after 1970")
}

fn not_found() -> Response<Full<Bytes>> {
    respond(404, &json!({"error": "Not found"}))
}

impl State {
    /// Counts a call, and tells whether every limit still takes it.
    fn is_within_limits(&mut self) -> bool {
        let now = unix_time();
        let mut is_within = true;
        for limit in &mut self.limits {
            while limit.reset <= now {
                limit.left = limit.plan.calls;
                limit.reset += limit.plan.window;
            }
            is_within &= limit.left > 0;
            limit.left = limit.left.saturating_sub(1);
        }
        is_within
    }

    /// Applies the next change that is due after a page of a job's contacts.
    fn insert_after(&mut self, job: &str, query: &str) {
        let page = asked_page(query);
        let is_due = |it: &Insertion| it.job == job && it.after_page == page;
        if let Some(due) = self.insertions.iter().position(is_due) {
            let contact = self.insertions.remove(due).contact;
            if let Some(contacts) = self.contacts.get_mut(job) {
                contacts.insert(0, contact);
            }
        }
    }

    fn next_failure(&mut self, call: &str) -> Option<Failure> {
        let matches = |planned: &PlannedFailure| call.starts_with(&planned.prefix);
        let index = self.failures.iter().position(matches)?;
        if self.failures[index].after > 0 {
            self.failures[index].after -= 1;
            return None;
        }
        Some(self.failures.remove(index).failure)
    }

    fn route(
        &mut self,
        method: &str,
        path: &str,
        query: &str,
        body: &Value,
        origin: &str,
    ) -> Response<Full<Bytes>> {
        let segments: Vec<_> = path.trim_matches('/').split('/').collect();
        match (method, &segments[..]) {
            ("POST", ["webhooks"]) => self.create(body),
            ("POST", ["webhooks", id, "active"]) => self.set_active(id, true),
            ("POST", ["webhooks", id, "inactive"]) => self.set_active(id, false),
            ("GET", ["webhooks"]) if self.has_management => self.list(path, query, origin),
            ("DELETE", ["webhooks", id]) if self.has_management => {
                let before = self.subscriptions.len();
                self.subscriptions.retain(|it| it.id != *id);
                if self.subscriptions.len() == before {
                    return not_found();
                }
                respond(200, &json!({"deleted": true}))
            }
            ("GET", ["jobs", id]) => match self.jobs.get(*id) {
                Some(job) => respond(200, &json!({ "data": job })),
                None => not_found(),
            },
            ("GET", ["jobs"]) => {
                let jobs: Vec<_> = self.jobs.values().cloned().collect();
                self.page(&jobs, path, query, origin)
            }
            ("GET", ["jobs", id, "contacts"]) => match self.contacts.get(*id) {
                Some(contacts) => {
                    let page = self.page(contacts, path, query, origin);
                    self.insert_after(id, query);
                    page
                }
                None => not_found(),
            },
            _ => not_found(),
        }
    }

    fn create(&mut self, body: &Value) -> Response<Full<Bytes>> {
        let (wanted, unwanted) = match self.form {
            Form::Schema => ("events", "eventTypes"),
            Form::Prose => ("eventTypes", "events"),
        };
        if body.get(unwanted).is_some() || !body[wanted].is_array() {
            let message = format!("{unwanted} is not allowed; {wanted} is required");
            let status = if self.form == Form::Prose { 422 } else { 400 };
            return respond(status, &json!({ "error": message }));
        }
        let asked = body[wanted].as_array().into_iter().flatten();
        let refused = asked.clone().filter_map(Value::as_str).find(|event| {
            let allowed = self.allowed.as_ref();
            allowed.is_some_and(|allowed| allowed.iter().all(|it| it != event))
        });
        if let Some(event) = refused {
            return respond(422, &json!({"error": format!("invalid value: {event}")}));
        }
        let events = asked.filter_map(Value::as_str).map(str::to_owned);
        let granted = events.filter(|event| self.granted.contains(event));
        let prefix = if self.form == Form::Schema {
            "wh_sk_"
        } else {
            "whsec_"
        };
        let subscription = Subscription {
            id: Uuid::new_v4().to_string(),
            url: body["url"].as_str().unwrap_or_default().to_owned(),
            events: granted.collect(),
            active: body["status"] != "inactive" || !self.returns_secret,
            secret: format!("{prefix}{}", Uuid::new_v4().simple()),
        };
        let mut created = self.to_json(&subscription);
        if self.returns_secret {
            created["secret"] = subscription.secret.clone().into();
        }
        self.subscriptions.push(subscription);
        match self.form {
            Form::Schema => respond(201, &json!({ "payload": created })),
            Form::Prose => respond(201, &created),
        }
    }

    /// The subscription as the documented form returns it.
    fn to_json(&self, subscription: &Subscription) -> Value {
        let Subscription {
            id,
            url,
            events,
            active,
            ..
        } = subscription;
        let status = if *active { "active" } else { "inactive" };
        match self.form {
            Form::Schema => json!({
                "id": id, "name": "titanx-receiver", "url": url, "triggers": events,
                "status": status, "createdAt": "2026-01-05T12:00:00Z",
                "updatedAt": "2026-01-05T12:00:00Z",
            }),
            Form::Prose => json!({
                "id": id, "url": url, "eventTypes": events, "status": status,
                "createdAt": "2026-01-05T12:00:00Z",
            }),
        }
    }

    fn list(&self, path: &str, query: &str, origin: &str) -> Response<Full<Bytes>> {
        let all = self.subscriptions.iter().map(|it| self.to_json(it));
        let all: Vec<_> = all.collect();
        match (self.pages_subscriptions, self.form) {
            (true, _) => self.page(&all, path, query, origin),
            (false, Form::Schema) => respond(200, &json!({ "payload": all })),
            (false, Form::Prose) => respond(200, &json!(all)),
        }
    }

    fn set_active(&mut self, id: &str, active: bool) -> Response<Full<Bytes>> {
        match self.subscriptions.iter_mut().find(|it| it.id == id) {
            Some(subscription) => {
                subscription.active = active;
                respond(200, &json!({}))
            }
            None => not_found(),
        }
    }

    fn page(
        &self,
        contacts: &[Value],
        path: &str,
        query: &str,
        origin: &str,
    ) -> Response<Full<Bytes>> {
        let size = self.page_size;
        let page = asked_page(query);
        if page == 0 {
            return respond(400, &json!({"error": "no such page"}));
        }
        let begin = ((page - 1) * size).min(contacts.len());
        let end = (page * size).min(contacts.len());
        let items = &contacts[begin..end];
        let is_last = end == contacts.len();
        let link = format!("http://{origin}{BASE}{path}?page={}", page + 1);
        match self.paging {
            PagingStyle::NoMetadata => respond(200, &json!(contacts)),
            PagingStyle::Total => {
                let data = json!({"contacts": items, "totalCount": contacts.len()});
                respond(200, &json!({"data": data, "error": null}))
            }
            PagingStyle::Cursor => {
                let cursor = (!is_last).then(|| (page + 1).to_string());
                respond(
                    200,
                    &json!({"data": {"items": items, "nextCursor": cursor}}),
                )
            }
            PagingStyle::Link => {
                let next = (!is_last).then_some(link);
                respond(200, &json!({"payload": items, "links": {"next": next}}))
            }
            PagingStyle::LinkHeader => {
                let mut response = respond(200, &json!(items));
                let first = format!("<http://{origin}{BASE}{path}>; rel=\"first\"");
                let value = if is_last {
                    first
                } else {
                    format!("{first}, <{link}>; rel=\"next\"")
                };
                let value = value.parse().expect("a header's value");
                response.headers_mut().insert("link", value);
                response
            }
            PagingStyle::HasMore => {
                respond(200, &json!({"data": items, "meta": {"hasMore": !is_last}}))
            }
            PagingStyle::Repeating => {
                let first = &contacts[..size.min(contacts.len())];
                respond(200, &json!({"data": first, "hasMore": true}))
            }
            PagingStyle::BelowTotal => {
                let total = contacts.len() + 1;
                respond(200, &json!({"data": items, "pagination": {"total": total}}))
            }
            PagingStyle::ForeignLink => {
                let next = "http://127.0.0.1:9/another-host";
                respond(200, &json!({"data": items, "next": next}))
            }
            more => respond(
                200,
                &more.body(items, page, contacts.len().div_ceil(size), path),
            ),
        }
    }
}

/// The number of the page that a query asks for; 0 if it is none, such as the text `null`.
fn asked_page(query: &str) -> usize {
    let parameter = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let (_, value) = pairs.find(|(it, _)| *it == name)?;
        Some(decoded(value))
    };
    let asked = parameter("page").or(parameter("cursor"));
    asked.map_or(1, |it| it.trim_start_matches(RESERVED).parse().unwrap_or(0))
}

/// Characters that mean something in a query, or in its encoding.
const RESERVED: &str = "a+b/c==&page=9#é%2B ";

/// A value of a query, in which `+` stands for a blank.
fn decoded(value: &str) -> String {
    let value = value.replace('+', " ");
    let mut bytes = Vec::new();
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'%' {
            let digits = [rest.next(), rest.next()].map(|it| it.unwrap_or(b'?'));
            let digits = String::from_utf8_lossy(&digits).into_owned();
            u8::from_str_radix(&digits, 16).unwrap_or(b'?')
        } else {
            byte
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl PagingStyle {
    /// A page of one of the styles that differ only by the body.
    fn body(self, items: &[Value], page: usize, pages: usize, path: &str) -> Value {
        let is_last = page >= pages;
        let next = page + 1;
        match self {
            Self::PageOfPages => json!({"data": items, "page": page, "totalPages": pages}),
            Self::PageOfPagesInMeta => json!({
                "payload": {"contacts": items},
                "meta": {"currentPage": page, "pageCount": pages},
            }),
            Self::NumericCursor => {
                json!({"data": items, "nextCursor": (!is_last).then_some(next)})
            }
            Self::TextNullCursor => {
                let cursor = if is_last {
                    "null".to_owned()
                } else {
                    next.to_string()
                };
                json!({"data": items, "next_cursor": cursor})
            }
            Self::ReservedCursor => {
                let cursor = (!is_last).then(|| format!("{RESERVED}{next}"));
                json!({"data": items, "nextCursor": cursor})
            }
            Self::EndCursor => json!({
                "data": items,
                "pageInfo": {"endCursor": next.to_string(), "hasNextPage": !is_last},
            }),
            Self::QueryLink => {
                json!({"results": items, "next": (!is_last).then(|| format!("?page={next}"))})
            }
            Self::PathLink => {
                let link = format!("{BASE}{path}?page={next}");
                json!({"items": items, "nextUrl": (!is_last).then_some(link)})
            }
            Self::Href => {
                let link = json!({"href": format!("?page={next}")});
                json!({"data": items, "_links": {"next": (!is_last).then_some(link)}})
            }
            Self::NextPage => json!({"data": items, "nextPage": (!is_last).then_some(next)}),
            other => unreachable!("{other:?} is answered elsewhere"),
        }
    }
}
