//! TitanX's API as its documents describe it, in both of their forms, and what they leave open in
//! several ways. Written from the contract, not with the operator's own code.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use titanx_testbed::emulators::Background;
use tokio::net::TcpStream;
use uuid::Uuid;

pub(crate) const API_KEY: &str = "synthetic-api-key";
const BASE: &str = "/api/public/v2";

/// The two documented forms of a subscription.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Form {
    /// `events`, answered under `payload` with `triggers`.
    Schema,
    /// `eventTypes`, answered flat; `events` is refused.
    Prose,
}

/// How a job's contacts come.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Paging {
    /// All at once in an array at the root, without a mark of paging.
    Bare,
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
    /// Says that there is more, and gives the same page again and again.
    Stuck,
    /// Says that there are more than it gives.
    Short,
    /// A link that leads elsewhere.
    Astray,
}

/// What happens to a call instead of its answer.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// It is answered so, and has no effect.
    Answer(u16),
    /// It takes effect, and the connection ends before the answer.
    Lost,
    /// 429, until a second of this window resets.
    Limited { window: &'static str, reset_s: u64 },
    /// 429 with `Retry-After`.
    RetryAfter(u64),
}

/// The service. It ends when this is dropped.
pub(crate) struct TitanxApi {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
    _background: Background,
}

struct State {
    form: Form,
    paging: Paging,
    /// Whether lists, single subscriptions and deletion are there at all.
    manages: bool,
    granted: Vec<String>,
    /// Whether a new subscription is answered with its secret, and made as inactive as was asked.
    keeps_its_word: bool,
    subscriptions: Vec<Subscription>,
    jobs: BTreeMap<String, Value>,
    contacts: BTreeMap<String, Vec<Value>>,
    failures: Vec<Script>,
    calls: Vec<(String, SystemTime)>,
}

/// A failure that waits for its call.
struct Script {
    call: String,
    /// Calls that are still let through.
    calls: usize,
    failure: Failure,
}

/// A subscription as TitanX keeps it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Subscription {
    pub(crate) id: String,
    pub(crate) url: String,
    pub(crate) events: Vec<String>,
    pub(crate) active: bool,
    pub(crate) secret: String,
}

impl TitanxApi {
    pub(crate) fn start(form: Form) -> Self {
        let background = Background::start("titanx");
        let (listener, origin) = background.listen();
        let state = Arc::new(Mutex::new(State {
            form,
            paging: Paging::Total,
            manages: true,
            granted: vec!["job.contact.scored".to_owned(), "job.completed".to_owned()],
            keeps_its_word: true,
            subscriptions: Vec::new(),
            jobs: BTreeMap::new(),
            contacts: BTreeMap::new(),
            failures: Vec::new(),
            calls: Vec::new(),
        }));
        let served = Arc::clone(&state);
        background.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&served)));
            }
        });
        Self {
            url: format!("{origin}{BASE}"),
            state,
            _background: background,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers lists, single subscriptions and deletion with 404.
    pub(crate) fn manages_nothing(&self) {
        self.state().manages = false;
    }

    /// Grants no more event types than these.
    pub(crate) fn grants(&self, events: &[&str]) {
        self.state().granted = events.iter().map(|&it| it.to_owned()).collect();
    }

    /// Makes subscriptions active, whatever was asked, and tells no secret of them.
    pub(crate) fn tells_no_secret(&self) {
        self.state().keeps_its_word = false;
    }

    pub(crate) fn pages(&self, paging: Paging) {
        self.state().paging = paging;
    }

    /// Lets the next call whose method and path begin so fail; of several, one after the other.
    pub(crate) fn fail(&self, call: &str, failure: Failure) {
        self.fail_after(0, call, failure);
    }

    /// The same after so many calls that begin so and do not fail.
    pub(crate) fn fail_after(&self, calls: usize, call: &str, failure: Failure) {
        self.state().failures.push(Script {
            call: call.to_owned(),
            calls,
            failure,
        });
    }

    pub(crate) fn subscriptions(&self) -> Vec<Subscription> {
        self.state().subscriptions.clone()
    }

    pub(crate) fn active(&self) -> Vec<Subscription> {
        let mut subscriptions = self.subscriptions();
        subscriptions.retain(|it| it.active);
        subscriptions
    }

    pub(crate) fn put_job(&self, id: &str, job: Value, contacts: &[Value]) {
        let mut state = self.state();
        state.jobs.insert(id.to_owned(), job);
        state.contacts.insert(id.to_owned(), contacts.to_vec());
    }

    /// Method and path of every call so far.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.state()
            .calls
            .iter()
            .map(|(call, _)| call.clone())
            .collect()
    }

    /// How long passed between the first two calls.
    pub(crate) fn pause(&self) -> Duration {
        let state = self.state();
        let [(_, first), (_, second), ..] = &state.calls[..] else {
            panic!("there were no two calls");
        };
        second.duration_since(*first).unwrap_or_default()
    }
}

async fn serve(stream: TcpStream, state: Arc<Mutex<State>>) {
    let answer = service_fn(move |request| answer(Arc::clone(&state), request));
    let _client_gone = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), answer)
        .await;
}

/// The call is done, but its answer never arrives.
#[derive(Debug)]
struct Lost;

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the answer is lost")
    }
}

impl std::error::Error for Lost {}

async fn answer(
    state: Arc<Mutex<State>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Lost> {
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
    let body = request
        .into_body()
        .collect()
        .await
        .map_err(|_| Lost)?
        .to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let call = format!("{method} {path}");
    state.calls.push((call.clone(), SystemTime::now()));
    if !authorized {
        return Ok(respond(401, &json!({"error": "Unauthorized"})));
    }
    let failure = state.next_failure(&call);
    match failure {
        Some(Failure::Answer(status)) => return Ok(respond(status, &json!({"error": "No."}))),
        Some(Failure::Limited { window, reset_s }) => return Ok(limited(window, reset_s)),
        Some(Failure::RetryAfter(seconds)) => {
            let mut response = respond(429, &json!({"error": "Too many requests"}));
            response.headers_mut().insert("retry-after", seconds.into());
            return Ok(response);
        }
        Some(Failure::Lost) | None => {}
    }
    let response = state.route(&method, &path, &query, &body, &origin);
    match failure {
        Some(Failure::Lost) => Err(Lost),
        _ => Ok(response),
    }
}

fn limited(window: &str, reset_s: u64) -> Response<Full<Bytes>> {
    let mut response = respond(429, &json!({"error": "Too many requests"}));
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs();
    let day = now + 86_400;
    let headers = response.headers_mut();
    for (name, remaining, reset) in [
        ("second", 0, now + reset_s),
        ("minute", 50, now + reset_s),
        ("day", 500, day),
    ] {
        let used_up = name == window;
        let remaining = if used_up { 0 } else { remaining.max(1) };
        let header = |kind: &str| -> hyper::header::HeaderName {
            format!("x-ratelimit-{kind}-{name}")
                .parse()
                .expect("a header's name")
        };
        headers.insert(header("limit"), 1000.into());
        headers.insert(header("remaining"), remaining.into());
        headers.insert(header("reset"), reset.into());
    }
    response
}

fn respond(status: u16, body: &Value) -> Response<Full<Bytes>> {
    let response = Response::builder().status(status);
    let response = response.header("content-type", "application/json");
    response
        .body(Full::from(body.to_string()))
        .expect("a valid response")
}

fn not_found() -> Response<Full<Bytes>> {
    respond(404, &json!({"error": "Not found"}))
}

impl State {
    fn next_failure(&mut self, call: &str) -> Option<Failure> {
        let meant = |script: &Script| call.starts_with(&script.call);
        let index = self.failures.iter().position(meant)?;
        if self.failures[index].calls > 0 {
            self.failures[index].calls -= 1;
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
            ("GET", ["webhooks"]) if self.manages => self.list(),
            ("DELETE", ["webhooks", id]) if self.manages => {
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
            ("GET", ["jobs", id, "contacts"]) => self.page(id, path, query, origin),
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
            active: body["status"] != "inactive" || !self.keeps_its_word,
            secret: format!("{prefix}{}", Uuid::new_v4().simple()),
        };
        let mut told = self.told(&subscription);
        if self.keeps_its_word {
            told["secret"] = subscription.secret.clone().into();
        }
        self.subscriptions.push(subscription);
        match self.form {
            Form::Schema => respond(201, &json!({ "payload": told })),
            Form::Prose => respond(201, &told),
        }
    }

    fn told(&self, subscription: &Subscription) -> Value {
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

    fn list(&self) -> Response<Full<Bytes>> {
        let all: Vec<_> = self.subscriptions.iter().map(|it| self.told(it)).collect();
        match self.form {
            Form::Schema => respond(200, &json!({ "payload": all })),
            Form::Prose => respond(200, &json!(all)),
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

    fn page(&self, job: &str, path: &str, query: &str, origin: &str) -> Response<Full<Bytes>> {
        const SIZE: usize = 2;
        let Some(contacts) = self.contacts.get(job) else {
            return not_found();
        };
        let parameter = |name: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            let (_, value) = pairs.find(|(it, _)| *it == name)?;
            value.parse::<usize>().ok()
        };
        let page = parameter("page").or(parameter("cursor")).unwrap_or(1);
        let begin = ((page - 1) * SIZE).min(contacts.len());
        let end = (page * SIZE).min(contacts.len());
        let items = &contacts[begin..end];
        let is_last = end == contacts.len();
        let link = format!("http://{origin}{BASE}{path}?page={}", page + 1);
        match self.paging {
            Paging::Bare => respond(200, &json!(contacts)),
            Paging::Total => {
                let data = json!({"contacts": items, "totalCount": contacts.len()});
                respond(200, &json!({"data": data, "error": null}))
            }
            Paging::Cursor => {
                let cursor = (!is_last).then(|| (page + 1).to_string());
                respond(
                    200,
                    &json!({"data": {"items": items, "nextCursor": cursor}}),
                )
            }
            Paging::Link => {
                let next = (!is_last).then_some(link);
                respond(200, &json!({"payload": items, "links": {"next": next}}))
            }
            Paging::LinkHeader => {
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
            Paging::HasMore => respond(200, &json!({"data": items, "meta": {"hasMore": !is_last}})),
            Paging::Stuck => {
                let first = &contacts[..SIZE.min(contacts.len())];
                respond(200, &json!({"data": first, "hasMore": true}))
            }
            Paging::Short => {
                let total = contacts.len() + 1;
                respond(200, &json!({"data": items, "pagination": {"total": total}}))
            }
            Paging::Astray => {
                let next = "http://127.0.0.1:9/elsewhere";
                respond(200, &json!({"data": items, "next": next}))
            }
        }
    }
}
