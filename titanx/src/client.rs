//! The client: requests, retries, rate limits, and the forms of responses.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use titanx_receiver::event::{CONTACT_SCORED, JOB_COMPLETED};

use crate::http::{HttpClient, HttpResponse, InsecureUrl, NoResponse, require_secure};

mod paging;
pub use paging::{Completeness, PagedList, PagingParameters};

/// Base URL of TitanX's API.
pub const BASE_URL: &str = "https://app.titanx.io/api/public/v2";
/// All event types that TitanX has.
pub const EVENT_TYPES: [&str; 2] = [CONTACT_SCORED, JOB_COMPLETED];

/// What is missing without an event type.
#[must_use]
pub fn without(event: &str) -> &'static str {
    match event {
        CONTACT_SCORED => "no contacts arrive",
        JOB_COMPLETED => "no job is marked completed; contacts arrive all the same",
        _ => "its events do not arrive",
    }
}

/// The first wait after a response that does not say when to retry. Each further wait is twice as
/// long.
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
const MAX_BACKOFF: Duration = Duration::from_mins(1);
/// Attempts of a request that is safe to repeat.
const MAX_ATTEMPTS: u32 = 6;

/// A client of TitanX's API with one API key.
pub struct TitanxClient {
    http: HttpClient,
    base_url: String,
    api_key: String,
    /// The longest single wait for a rate limit.
    max_wait: Duration,
    /// When the exhausted rate limit resets, if one is known to be exhausted.
    rate_limited_until: Mutex<Option<SystemTime>>,
}

/// Does not print the API key.
impl fmt::Debug for TitanxClient {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "TitanxClient({})", self.base_url)
    }
}

/// A webhook subscription, with the members that TitanX's response has.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Subscription {
    /// The subscription id.
    pub id: String,
    /// The name. Only one of the two documented forms has it.
    pub name: Option<String>,
    /// The URL that TitanX posts events to.
    pub url: Option<String>,
    /// The event types.
    pub events: Vec<String>,
    /// `active` or `inactive`.
    pub status: Option<String>,
}

/// A new subscription with its signing secret. TitanX returns the secret only in the response to
/// the creation.
pub struct NewSubscription {
    /// The subscription.
    pub subscription: Subscription,
    /// The signing secret. Never print it.
    pub secret: String,
}

/// Why a request to TitanX failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// TitanX answered 404 or 405.
    #[error("{request}: not supported by TitanX, or no such id (TitanX answered {status})")]
    NotSupported {
        /// Method and path.
        request: String,
        /// 404 or 405.
        status: u16,
    },
    /// TitanX answered 401 or 403.
    #[error(
        "{request}: TitanX answered {status}{message}: it does not accept the API key for this; \
         check TITANX_API_KEY or the file of --api-key-file"
    )]
    ApiKey {
        /// Method and path.
        request: String,
        /// 401 or 403.
        status: u16,
        /// The error message of the response after a colon, or empty.
        message: String,
    },
    /// TitanX answered with another error status.
    #[error("{request}: TitanX answered {status}{message}")]
    Refused {
        /// Method and path.
        request: String,
        /// The status code.
        status: u16,
        /// The error message of the response after a colon, or empty.
        message: String,
    },
    /// The rate limit resets, or an answer asks to come again, later than the client is willing to wait.
    #[error(
        "{request}: {} {} s: run the command again later, or raise --patience",
        match failed {
            Some(status) => format!("TitanX answered {status} and takes the next request in"),
            None => "TitanX's rate limit is exhausted and resets in".to_owned(),
        },
        wait.as_secs()
    )]
    RateLimited {
        /// Method and path.
        request: String,
        /// The status of the answer, if it is not about the rate limit.
        failed: Option<u16>,
        /// The time until the reset.
        wait: Duration,
    },
    /// It is unknown whether TitanX created the subscription. A retry could create a second one.
    #[error(
        "it is unknown whether TitanX created the subscription: list the subscriptions with \
         `operator subscriptions`, delete the new one if it is there, and run this command again"
    )]
    UnknownOutcome(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// TitanX created a subscription without returning its secret, which cannot be read later.
    #[error(
        "TitanX created the subscription {id} but did not return its secret; the subscription is \
         {}: delete it with `operator delete {id} --yes` and run this command \
         again",
        if *inactive { "inactive" } else { "possibly active" }
    )]
    MissingSecret {
        /// The subscription id.
        id: String,
        /// Whether the subscription is known to be inactive.
        inactive: bool,
    },
    /// There was no response.
    #[error(transparent)]
    NoResponse(#[from] NoResponse),
    /// The response lacks something required.
    #[error("{request}: TitanX's response has no {missing}")]
    Unreadable {
        /// Method and path.
        request: String,
        /// What is missing.
        missing: &'static str,
    },
    /// The API key would be sent unencrypted.
    #[error(transparent)]
    InsecureUrl(#[from] InsecureUrl),
    /// The link to the next page leads to another host, which must not get the API key.
    #[error("TitanX's link to the next page leads to {0}, which is not TitanX's API")]
    ForeignLink(String),
}

impl TitanxClient {
    /// A client of the API at `base_url`. It waits up to `max_wait` for a rate limit to reset.
    ///
    /// # Errors
    ///
    /// [`Error::InsecureUrl`] if the API key would be sent unencrypted.
    pub fn new(
        http: HttpClient,
        base_url: &str,
        api_key: String,
        max_wait: Duration,
    ) -> Result<Self, Error> {
        require_secure(base_url)?;
        Ok(Self {
            http,
            base_url: base_url.trim_end_matches('/').to_owned(),
            api_key,
            max_wait,
            rate_limited_until: Mutex::new(None),
        })
    }

    /// Creates a subscription.
    ///
    /// The request is not retried, with these exceptions: after a 429, and if TitanX's refusal
    /// mentions the event types. Then it is retried with the other documented name of their member,
    /// and at last without `job.completed`, which one version of the documentation does not allow.
    ///
    /// # Errors
    ///
    /// - [`Error::UnknownOutcome`] if there was no response, a 5xx, or a 2xx that does not identify
    ///   the subscription. A subscription whose secret is lost may exist.
    /// - [`Error::MissingSecret`] if TitanX created a subscription without returning its secret.
    pub async fn create_subscription(
        &self,
        name: &str,
        url: &str,
        events: &[String],
        status: &str,
    ) -> Result<NewSubscription, Error> {
        let body = |member: &str, events: &[String]| {
            json!({"name": name, "url": url, member: events, "status": status}).to_string()
        };
        let (jobs, contacts): (Vec<_>, Vec<_>) =
            events.iter().cloned().partition(|it| it == JOB_COMPLETED);
        let fewer = (!jobs.is_empty() && !contacts.is_empty()).then_some(&contacts[..]);
        let mut refusals = Vec::new();
        for events in std::iter::once(events).chain(fewer) {
            for member in ["events", "eventTypes"] {
                let response = self.post_subscription(body(member, events)).await?;
                let Err(refusal) = self.check_status("POST", "/webhooks", &response) else {
                    return self.created(&response).await;
                };
                if !matches!(response.status, 400 | 422) {
                    return Err(refusal);
                }
                // If every form is refused, the first refusal is the most useful one.
                refusals.push(refusal);
                if !mentions_event_types(&response) {
                    return Err(refusals.swap_remove(0));
                }
            }
        }
        Err(refusals.swap_remove(0))
    }

    /// The new subscription in the response to its creation.
    async fn created(&self, response: &HttpResponse) -> Result<NewSubscription, Error> {
        let unreadable =
            |missing| Error::UnknownOutcome(format!("TitanX's response has no {missing}").into());
        let created: Value =
            serde_json::from_slice(&response.body).map_err(|_| unreadable("JSON"))?;
        let created = unwrap_payload(&created);
        let subscription = Subscription::read(created).ok_or_else(|| unreadable("id"))?;
        let Some(secret) = string_member(created, &["secret"]) else {
            let id = subscription.id;
            let inactive = self.deactivate(&id).await.is_ok();
            return Err(Error::MissingSecret { id, inactive });
        };
        Ok(NewSubscription {
            subscription,
            secret,
        })
    }

    /// Sends the creation request. Retries only after a 429, since that created nothing.
    async fn post_subscription(&self, body: String) -> Result<HttpResponse, Error> {
        for attempt in 1.. {
            self.wait_for_rate_limit("POST /webhooks").await?;
            let response = match self.send("POST", "/webhooks", body.clone()).await {
                Ok(response) if response.status >= 500 => {
                    let answered = format!("TitanX answered {}", response.status);
                    return Err(Error::UnknownOutcome(answered.into()));
                }
                Ok(response) => response,
                Err(no_response) => return Err(Error::UnknownOutcome(no_response.into())),
            };
            if response.status != 429 || attempt == MAX_ATTEMPTS {
                return Ok(response);
            }
            self.wait_before_retry("POST /webhooks", &response, attempt)
                .await?;
        }
        unreachable!("the last attempt returns")
    }

    /// Lists all subscriptions.
    ///
    /// # Errors
    ///
    /// [`Error::NotSupported`] among others: TitanX mentions this request but does not document it.
    pub async fn subscriptions(&self) -> Result<Vec<Subscription>, Error> {
        let mut list = PagedList::new("/webhooks");
        while !list.is_at_end() {
            self.read_page(&mut list, &PagingParameters::default())
                .await?;
        }
        let items = list.items.iter();
        Ok(items
            .filter_map(|item| Subscription::read(&serde_json::from_str(item.get()).ok()?))
            .collect())
    }

    /// Activates a subscription: TitanX delivers its events.
    ///
    /// # Errors
    ///
    /// Any response other than a 2xx.
    pub async fn activate(&self, id: &str) -> Result<(), Error> {
        self.modify("POST", &format!("/webhooks/{}/active", path_segment(id)))
            .await
    }

    /// Whether a subscription was deleted, after a request about it failed with `error`. The list
    /// of subscriptions decides. Without a list, a 404 to the documented request does.
    pub async fn is_deleted(&self, id: &str, error: &Error) -> bool {
        match (error, self.subscriptions().await) {
            (Error::NotSupported { .. }, Ok(all)) => all.iter().all(|it| it.id != id),
            (Error::NotSupported { status, .. }, Err(Error::NotSupported { .. })) => *status == 404,
            _ => false,
        }
    }

    /// Deactivates a subscription: TitanX does not deliver its events. TitanX presumably drops the
    /// events of that time.
    ///
    /// # Errors
    ///
    /// Any response other than a 2xx.
    pub async fn deactivate(&self, id: &str) -> Result<(), Error> {
        self.modify("POST", &format!("/webhooks/{}/inactive", path_segment(id)))
            .await
    }

    /// Deletes a subscription.
    ///
    /// # Errors
    ///
    /// Any response other than a 2xx.
    pub async fn delete(&self, id: &str) -> Result<(), Error> {
        self.modify("DELETE", &format!("/webhooks/{}", path_segment(id)))
            .await
    }

    /// Reads a job.
    ///
    /// # Errors
    ///
    /// Any response other than a 2xx with JSON.
    pub async fn job(&self, id: &str) -> Result<Value, Error> {
        let path = format!("/jobs/{}", path_segment(id));
        let response = self.send_with_retries("GET", &path).await?;
        let job: Value = serde_json::from_slice(&response.body).map_err(|_| Error::Unreadable {
            request: format!("GET {path}"),
            missing: "JSON",
        })?;
        Ok(unwrap_payload(&job).clone())
    }

    /// The list of all jobs, of which no page has been read yet.
    #[must_use]
    pub fn jobs() -> PagedList {
        PagedList::new("/jobs")
    }

    /// The list of a job's contacts, of which no page has been read yet.
    #[must_use]
    pub fn contacts(job_id: &str) -> PagedList {
        PagedList::new(&format!("/jobs/{}/contacts", path_segment(job_id)))
    }

    async fn modify(&self, method: &str, path: &str) -> Result<(), Error> {
        self.send_with_retries(method, path).await.map(|_| ())
    }

    /// Sends a request that is safe to repeat, and retries it after no response, a 429 or a 5xx.
    async fn send_with_retries(&self, method: &str, path: &str) -> Result<HttpResponse, Error> {
        let request = format!("{method} {path}");
        for attempt in 1.. {
            self.wait_for_rate_limit(&request).await?;
            let sent = self.send(method, path, String::new()).await;
            let is_last = attempt == MAX_ATTEMPTS;
            match sent {
                Ok(response) if !is_last && (response.status == 429 || response.status >= 500) => {
                    self.wait_before_retry(&request, &response, attempt).await?;
                }
                Ok(response) => {
                    self.check_status(method, path, &response)?;
                    return Ok(response);
                }
                Err(no_response) if is_last => return Err(no_response.into()),
                Err(_) => tokio::time::sleep(backoff(attempt)).await,
            }
        }
        unreachable!("the last attempt returns")
    }

    /// Sends one request.
    async fn send(
        &self,
        method: &str,
        path: &str,
        body: String,
    ) -> Result<HttpResponse, NoResponse> {
        let authorization = format!("Bearer {}", self.api_key);
        let mut headers = vec![
            ("authorization", authorization.as_str()),
            ("accept", "application/json"),
        ];
        if !body.is_empty() {
            headers.push(("content-type", "application/json"));
        }
        let url = format!("{}{path}", self.base_url);
        let response = self.http.call(method, &url, &headers, body).await?;
        *self.rate_limited_until() = rate_limit_reset(&response, true);
        Ok(response)
    }

    fn rate_limited_until(&self) -> std::sync::MutexGuard<'_, Option<SystemTime>> {
        let until = self.rate_limited_until.lock();
        until.unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no rate limit is known to be exhausted. TitanX also counts refused requests, so
    /// none is sent that is known to be refused.
    async fn wait_for_rate_limit(&self, request: &str) -> Result<(), Error> {
        let until = *self.rate_limited_until();
        match until.and_then(|until| until.duration_since(SystemTime::now()).ok()) {
            Some(wait) => self.wait(request, None, wait).await,
            None => Ok(()),
        }
    }

    /// Waits before the next attempt: until the latest reset of the rate limits, else for the time
    /// in `Retry-After`, else for the backoff.
    async fn wait_before_retry(
        &self,
        request: &str,
        response: &HttpResponse,
        attempt: u32,
    ) -> Result<(), Error> {
        let reset =
            || rate_limit_reset(response, true).or_else(|| rate_limit_reset(response, false));
        let reset = (response.status == 429).then(reset).flatten();
        let reset = reset.map(|end| end.duration_since(SystemTime::now()).unwrap_or_default());
        let retry_after = || {
            let seconds = response.headers.get("retry-after")?.trim().parse().ok()?;
            Some(Duration::from_secs(seconds))
        };
        let wait = reset.or_else(retry_after);
        let failed = (response.status != 429).then_some(response.status);
        let wait = wait.unwrap_or_else(|| backoff(attempt));
        self.wait(request, failed, wait).await
    }

    async fn wait(&self, request: &str, failed: Option<u16>, wait: Duration) -> Result<(), Error> {
        if wait > self.max_wait {
            return Err(Error::RateLimited {
                request: request.to_owned(),
                failed,
                wait,
            });
        }
        tokio::time::sleep(wait).await;
        Ok(())
    }

    fn check_status(&self, method: &str, path: &str, response: &HttpResponse) -> Result<(), Error> {
        let request = format!("{method} {path}");
        match response.status {
            200..300 => Ok(()),
            status @ (404 | 405) => Err(Error::NotSupported { request, status }),
            status => {
                let message = error_message(&response.body, &self.api_key);
                Err(match status {
                    401 | 403 => Error::ApiKey {
                        request,
                        status,
                        message,
                    },
                    _ => Error::Refused {
                        request,
                        status,
                        message,
                    },
                })
            }
        }
    }
}

impl Subscription {
    fn read(value: &Value) -> Option<Self> {
        let events = ["triggers", "events", "eventTypes"];
        let events = events.iter().find_map(|name| value.get(name)?.as_array());
        let events = events.into_iter().flatten();
        Some(Self {
            id: string_member(value, &["id"])?,
            name: string_member(value, &["name"]),
            url: string_member(value, &["url"]),
            events: events
                .filter_map(|it| it.as_str())
                .map(str::to_owned)
                .collect(),
            status: string_member(value, &["status"]),
        })
    }

    /// Whether TitanX reports the subscription as active.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.status.as_deref() == Some("active")
    }

    /// The event types in `requested` that the subscription does not have.
    pub fn not_granted<'a>(&'a self, requested: &'a [String]) -> impl Iterator<Item = &'a String> {
        requested
            .iter()
            .filter(|event| !self.events.contains(event))
    }
}

/// The first of the members `names` that is a nonempty string, or a number as a string.
#[must_use]
pub fn string_member(value: &Value, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| match value.get(name)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    })
}

/// The content of a response: its `payload` or `data` member, or the whole value.
fn unwrap_payload(value: &Value) -> &Value {
    let wrapped = ["payload", "data"].iter().find_map(|name| value.get(name));
    wrapped.filter(|value| !value.is_null()).unwrap_or(value)
}

/// Whether the refusal of a new subscription mentions the event types or their member.
fn mentions_event_types(response: &HttpResponse) -> bool {
    let body = String::from_utf8_lossy(&response.body);
    matches!(response.status, 400 | 422)
        && ["events", "eventTypes", JOB_COMPLETED]
            .iter()
            .any(|name| body.contains(name))
}

/// The error message in a response body, shortened and after a colon. The API key is taken out first, so that
/// none is left that the end cuts in two.
fn error_message(body: &[u8], api_key: &str) -> String {
    const MAX_CHARS: usize = 300;
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let error = value.get("error").unwrap_or(&value);
    let message = string_member(&value, &["message", "error", "detail"])
        .or_else(|| string_member(error, &["message"]));
    message.map_or_else(String::new, |message| {
        let message = message.replace(api_key, "[REDACTED]");
        format!(": {}", message.chars().take(MAX_CHARS).collect::<String>())
    })
}

/// An id as one segment of a URL path.
fn path_segment(id: &str) -> String {
    paging::percent_encode(id)
}

/// The latest reset of the rate limits in the response's headers: of the exhausted ones only, or of
/// all.
fn rate_limit_reset(response: &HttpResponse, exhausted_only: bool) -> Option<SystemTime> {
    let header = |kind: &str, window: &str| -> Option<u64> {
        let name = format!("x-ratelimit-{kind}-{window}");
        response.headers.get(name)?.trim().parse().ok()
    };
    let windows = ["second", "minute", "day"].into_iter();
    windows
        .filter(|window| !exhausted_only || header("remaining", window) == Some(0))
        .filter_map(|window| header("reset", window))
        .max()
        .map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds))
}

/// Exponential backoff with jitter.
fn backoff(attempt: u32) -> Duration {
    let longest = MAX_BACKOFF.min(FIRST_BACKOFF * 2_u32.saturating_pow(attempt - 1));
    longest.mul_f64(0.5 + fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_printed_without_its_key() {
        let (url, key) = ("https://api.example.com", "synthetic-key".to_owned());
        let http = HttpClient::new().unwrap();
        let client = TitanxClient::new(http, url, key, Duration::ZERO).unwrap();
        assert_eq!(
            format!("{client:?}"),
            "TitanxClient(https://api.example.com)"
        );
    }

    /// Nobody may believe that events come before TitanX says so.
    #[test]
    fn a_subscription_is_active_only_if_titanx_says_so() {
        let listed = |status: Value| json!({"id": "one", "status": status});
        let active = Subscription::read(&listed("active".into())).unwrap();
        assert!(active.is_active());
        for status in [
            "inactive",
            "paused",
            "pending",
            "activating",
            "not active",
            "",
        ] {
            let other = Subscription::read(&listed(status.into())).unwrap();
            assert!(!other.is_active(), "{status}");
        }
        for status in [
            Value::Null,
            true.into(),
            1.into(),
            json!({}),
            json!(["active"]),
        ] {
            let unknown = Subscription::read(&listed(status.clone())).unwrap();
            assert!(!unknown.is_active(), "{status}");
        }
        let unstated = Subscription::read(&json!({"id": "one"})).unwrap();
        assert!(!unstated.is_active());
    }

    /// The documented forms differ in the name of the member. Another one may be there, and empty.
    #[test]
    fn event_types_are_read_from_the_member_that_lists_them() {
        let types = ["job.contact.scored", "job.completed"];
        for name in ["triggers", "events", "eventTypes"] {
            for empty in [Value::Null, "all".into(), true.into(), json!({})] {
                for other in ["triggers", "events", "eventTypes"] {
                    let mut listed = json!({"id": "one"});
                    listed[other] = empty.clone();
                    listed[name] = json!(types);
                    let read = Subscription::read(&listed).unwrap();
                    assert_eq!(read.events, types, "{listed}");
                }
            }
        }
    }

    #[test]
    fn no_part_of_the_key_is_left_in_an_error_message() {
        for before in [0, 280, 290, 299, 300] {
            let quoted = format!("{}synthetic-key", "x".repeat(before));
            let body = serde_json::json!({ "message": quoted }).to_string();
            let message = error_message(body.as_bytes(), "synthetic-key");
            assert!(!message.contains("synth"), "{message}");
            assert!(message.chars().count() <= 302, "{message}");
        }
    }

    #[test]
    fn the_backoff_doubles_up_to_a_minute_and_half_of_it_is_random() {
        for (attempt, longest_ms) in [
            (1, 500),
            (2, 1_000),
            (3, 2_000),
            (7, 32_000),
            (8, 60_000),
            (40, 60_000),
        ] {
            let longest = Duration::from_millis(longest_ms);
            let waits: Vec<_> = (0..200).map(|_| backoff(attempt)).collect();
            assert!(waits.iter().all(|it| (longest / 2..=longest).contains(it)));
            // By chance, one in 2^200 runs has no wait in one of the two halves.
            let middle = longest * 3 / 4;
            assert!(waits.iter().any(|it| *it < middle) && waits.iter().any(|it| *it > middle));
        }
    }
}
