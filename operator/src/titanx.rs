//! TitanX's own API: webhook subscriptions, jobs and their contacts. For the operator alone.
//!
//! Much of it is documented twice and differently, or not at all. So requests hold what both forms
//! share, answers are read in every documented form, and whatever is not known is said instead of
//! guessed: [`Error::NotSupported`], [`Completeness::NotProven`].

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use titanx_receiver::event::{CONTACT_SCORED, JOB_COMPLETED};

use crate::http::{Answer, Http, NoAnswer, NotPrivate, private};

mod paging;
pub(crate) use paging::{Completeness, Paging, Reading};

/// Where TitanX's API is.
pub(crate) const BASE_URL: &str = "https://app.titanx.io/api/public/v2";
/// Every event type there is.
pub(crate) const EVENT_TYPES: [&str; 2] = [CONTACT_SCORED, JOB_COMPLETED];

/// The first wait after an answer that says nothing of when to come again; each further one is
/// twice as long.
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
const LONGEST_BACKOFF: Duration = Duration::from_mins(1);
/// How often a call that is safe to repeat is made.
const ATTEMPTS: u32 = 6;

/// TitanX's API, as one user.
pub(crate) struct Titanx {
    http: Http,
    base: String,
    api_key: String,
    /// No single wait for a rate limit is longer.
    patience: Duration,
    /// The end of a rate limit's window that is known to be used up.
    used_up_until: Mutex<Option<SystemTime>>,
}

impl fmt::Debug for Titanx {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Titanx({})", self.base)
    }
}

/// A webhook subscription, as far as TitanX tells of it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Subscription {
    /// Its id.
    pub(crate) id: String,
    /// Its name; one of TitanX's two documented forms knows none.
    pub(crate) name: Option<String>,
    /// Where its events go.
    pub(crate) url: Option<String>,
    /// The event types it is for.
    pub(crate) events: Vec<String>,
    /// `active` or `inactive`.
    pub(crate) status: Option<String>,
}

/// A subscription just made, with the signing secret that TitanX tells only this once.
pub(crate) struct NewSubscription {
    /// The subscription.
    pub(crate) subscription: Subscription,
    /// Its signing secret: opaque, and never to be printed.
    pub(crate) secret: String,
}

/// Why TitanX did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It answered 404 or 405.
    #[error("{call}: not supported by TitanX (it answered {status}), or no such id")]
    NotSupported {
        /// Method and path.
        call: String,
        /// 404 or 405.
        status: u16,
    },
    /// It refused.
    #[error("{call}: TitanX answered {status}{message}")]
    Refused {
        /// Method and path.
        call: String,
        /// The status code.
        status: u16,
        /// What it said, after a colon, if anything.
        message: String,
    },
    /// A rate limit is used up for longer than one is willing to wait.
    #[error("{call}: TitanX's rate limit is used up for another {} s", wait.as_secs())]
    RateLimited {
        /// Method and path.
        call: String,
        /// How long.
        wait: Duration,
    },
    /// Whether a subscription was made is not known, and to ask again could make a second one.
    #[error(
        "it is not known whether TitanX made the subscription: look for it with `operator \
         subscriptions` and delete it, then subscribe again"
    )]
    Uncertain(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A subscription was made, but its secret was not told, and never will be.
    #[error(
        "TitanX told no secret of {id}, which it made; it is {}: delete it with `operator delete \
         {id}` and run this command again",
        if *inactive { "inactive" } else { "maybe active" }
    )]
    WithoutSecret {
        /// The subscription.
        id: String,
        /// Whether it could be deactivated.
        inactive: bool,
    },
    /// There was no answer.
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
    /// The answer lacks what it must have.
    #[error("{call}: TitanX's answer has no {missing}")]
    Unreadable {
        /// Method and path.
        call: String,
        /// What is missing.
        missing: &'static str,
    },
    /// It may be asked over TLS only.
    #[error(transparent)]
    NotPrivate(#[from] NotPrivate),
    /// TitanX pointed to another place for the next page; the API key is not for it.
    #[error("TitanX's link to the next page leads to {0}, which is not TitanX")]
    ForeignLink(String),
}

impl Titanx {
    /// The API at `base`, asked with `api_key`. A rate limit is waited for up to `patience`.
    ///
    /// # Errors
    ///
    /// [`Error::NotPrivate`] when the key would go out in the clear.
    pub(crate) fn new(
        http: Http,
        base: &str,
        api_key: String,
        patience: Duration,
    ) -> Result<Self, Error> {
        private(base)?;
        Ok(Self {
            http,
            base: base.trim_end_matches('/').to_owned(),
            api_key,
            patience,
            used_up_until: Mutex::new(None),
        })
    }

    /// Makes a subscription. Asked once: only a refusal that names the member for the event types
    /// is answered by the other documented spelling of it.
    ///
    /// # Errors
    ///
    /// [`Error::Uncertain`] when there was no answer, a server's error, or one that does not say
    /// what was made: there may be a new subscription, whose secret is lost.
    /// [`Error::WithoutSecret`] when there is one, of no use.
    pub(crate) async fn subscribe(
        &self,
        name: &str,
        url: &str,
        events: &[String],
        status: &str,
    ) -> Result<NewSubscription, Error> {
        let body = |member: &str| {
            json!({"name": name, "url": url, member: events, "status": status}).to_string()
        };
        let mut answer = self.create(body("events")).await?;
        if let Err(refusal) = self.checked("POST", "/webhooks", &answer)
            && names_event_types(&answer)
        {
            answer = self.create(body("eventTypes")).await?;
            // A refusal of this form too: the first one tells more.
            if matches!(answer.status, 400 | 422) {
                return Err(refusal);
            }
        }
        self.checked("POST", "/webhooks", &answer)?;
        let unreadable = |missing| Error::Uncertain(format!("its answer has no {missing}").into());
        let created: Value =
            serde_json::from_slice(&answer.body).map_err(|_| unreadable("JSON"))?;
        let created = unwrapped(&created);
        let subscription = Subscription::read(created).ok_or_else(|| unreadable("id"))?;
        let Some(secret) = text(created, &["secret"]) else {
            let id = subscription.id;
            let inactive = self.deactivate(&id).await.is_ok();
            return Err(Error::WithoutSecret { id, inactive });
        };
        Ok(NewSubscription {
            subscription,
            secret,
        })
    }

    /// Asks once, or again after a 429, which made nothing.
    async fn create(&self, body: String) -> Result<Answer, Error> {
        for attempt in 1.. {
            self.wait_for_window("POST /webhooks").await?;
            let answer = match self.ask("POST", "/webhooks", body.clone()).await {
                Ok(answer) if answer.status >= 500 => {
                    let answered = format!("it answered {}", answer.status);
                    return Err(Error::Uncertain(answered.into()));
                }
                Ok(answer) => answer,
                Err(no_answer) => return Err(Error::Uncertain(no_answer.into())),
            };
            if answer.status != 429 || attempt == ATTEMPTS {
                return Ok(answer);
            }
            self.wait("POST /webhooks", &answer, attempt).await?;
        }
        unreachable!("the last attempt returns")
    }

    /// Every subscription.
    ///
    /// # Errors
    ///
    /// [`Error::NotSupported`] among others: this call is said to exist, and documented nowhere.
    pub(crate) async fn subscriptions(&self) -> Result<Vec<Subscription>, Error> {
        let mut reading = Reading::new("/webhooks");
        while !reading.ended() {
            self.read_page(&mut reading, &Paging::default()).await?;
        }
        let items = reading.items.iter();
        Ok(items
            .filter_map(|item| Subscription::read(&serde_json::from_str(item.get()).ok()?))
            .collect())
    }

    /// Lets a subscription's events be delivered.
    ///
    /// # Errors
    ///
    /// Whatever TitanX answers but a 2xx.
    pub(crate) async fn activate(&self, id: &str) -> Result<(), Error> {
        self.change("POST", &format!("/webhooks/{}/active", segment(id)))
            .await
    }

    /// Whether a subscription is not there any more, after a call about it was answered with
    /// `refusal`: as the list says, else because the call is a documented one and the answer 404.
    pub(crate) async fn is_gone(&self, id: &str, refusal: &Error) -> bool {
        match (refusal, self.subscriptions().await) {
            (Error::NotSupported { .. }, Ok(all)) => all.iter().all(|it| it.id != id),
            (Error::NotSupported { status, .. }, Err(Error::NotSupported { .. })) => *status == 404,
            _ => false,
        }
    }

    /// Stops the delivery of a subscription's events. Those that happen meanwhile are presumably
    /// lost.
    ///
    /// # Errors
    ///
    /// Whatever TitanX answers but a 2xx.
    pub(crate) async fn deactivate(&self, id: &str) -> Result<(), Error> {
        self.change("POST", &format!("/webhooks/{}/inactive", segment(id)))
            .await
    }

    /// Deletes a subscription.
    ///
    /// # Errors
    ///
    /// Whatever TitanX answers but a 2xx.
    pub(crate) async fn delete(&self, id: &str) -> Result<(), Error> {
        self.change("DELETE", &format!("/webhooks/{}", segment(id)))
            .await
    }

    /// One job, as TitanX describes it.
    ///
    /// # Errors
    ///
    /// Whatever TitanX answers but a 2xx with JSON.
    pub(crate) async fn job(&self, id: &str) -> Result<Value, Error> {
        let path = format!("/jobs/{}", segment(id));
        let answer = self.repeatedly("GET", &path).await?;
        let job: Value = serde_json::from_slice(&answer.body).map_err(|_| Error::Unreadable {
            call: format!("GET {path}"),
            missing: "JSON",
        })?;
        Ok(unwrapped(&job).clone())
    }

    /// Begins to read the contacts of a job.
    #[must_use]
    pub(crate) fn contacts(job_id: &str) -> Reading {
        Reading::new(&format!("/jobs/{}/contacts", segment(job_id)))
    }

    async fn change(&self, method: &str, path: &str) -> Result<(), Error> {
        self.repeatedly(method, path).await.map(|_| ())
    }

    /// Makes a call that is safe to repeat, until it is answered with other than 429 or 5xx.
    async fn repeatedly(&self, method: &str, path: &str) -> Result<Answer, Error> {
        let call = format!("{method} {path}");
        for attempt in 1.. {
            self.wait_for_window(&call).await?;
            let answer = self.ask(method, path, String::new()).await;
            let last = attempt == ATTEMPTS;
            match answer {
                Ok(answer) if !last && (answer.status == 429 || answer.status >= 500) => {
                    self.wait(&call, &answer, attempt).await?;
                }
                Ok(answer) => {
                    self.checked(method, path, &answer)?;
                    return Ok(answer);
                }
                Err(no_answer) if last => return Err(no_answer.into()),
                Err(_) => tokio::time::sleep(backoff(attempt)).await,
            }
        }
        unreachable!("the last attempt returns")
    }

    async fn ask(&self, method: &str, path: &str, body: String) -> Result<Answer, NoAnswer> {
        let authorization = format!("Bearer {}", self.api_key);
        let mut headers = vec![
            ("authorization", authorization.as_str()),
            ("accept", "application/json"),
        ];
        if !body.is_empty() {
            headers.push(("content-type", "application/json"));
        }
        let url = format!("{}{path}", self.base);
        let answer = self.http.call(method, &url, &headers, body).await?;
        *self.used_up_until() = window_end(&answer, true);
        Ok(answer)
    }

    fn used_up_until(&self) -> std::sync::MutexGuard<'_, Option<SystemTime>> {
        let until = self.used_up_until.lock();
        until.unwrap_or_else(PoisonError::into_inner)
    }

    /// Failed calls count too, so none is made that is known to fail.
    async fn wait_for_window(&self, call: &str) -> Result<(), Error> {
        let until = *self.used_up_until();
        match until.and_then(|until| until.duration_since(SystemTime::now()).ok()) {
            Some(wait) => self.sleep(call, wait).await,
            None => Ok(()),
        }
    }

    /// Waits before the next attempt: for the latest reset, else as long as `Retry-After` says,
    /// else a while that grows.
    async fn wait(&self, call: &str, answer: &Answer, attempt: u32) -> Result<(), Error> {
        let reset = || window_end(answer, true).or_else(|| window_end(answer, false));
        let reset = (answer.status == 429).then(reset).flatten();
        let reset = reset.map(|end| end.duration_since(SystemTime::now()).unwrap_or_default());
        let retry_after = || {
            let seconds = answer.headers.get("retry-after")?.trim().parse().ok()?;
            Some(Duration::from_secs(seconds))
        };
        let wait = reset.or_else(retry_after);
        self.sleep(call, wait.unwrap_or_else(|| backoff(attempt)))
            .await
    }

    async fn sleep(&self, call: &str, wait: Duration) -> Result<(), Error> {
        if wait > self.patience {
            return Err(Error::RateLimited {
                call: call.to_owned(),
                wait,
            });
        }
        tokio::time::sleep(wait).await;
        Ok(())
    }

    fn checked(&self, method: &str, path: &str, answer: &Answer) -> Result<(), Error> {
        let call = format!("{method} {path}");
        match answer.status {
            200..300 => Ok(()),
            status @ (404 | 405) => Err(Error::NotSupported { call, status }),
            status => Err(Error::Refused {
                call,
                status,
                message: message(&answer.body).replace(&self.api_key, "[REDACTED]"),
            }),
        }
    }
}

impl Subscription {
    fn read(value: &Value) -> Option<Self> {
        let events = ["triggers", "events", "eventTypes"];
        let events = events.iter().find_map(|name| value.get(name)?.as_array());
        let events = events.into_iter().flatten();
        Some(Self {
            id: text(value, &["id"])?,
            name: text(value, &["name"]),
            url: text(value, &["url"]),
            events: events
                .filter_map(|it| it.as_str())
                .map(str::to_owned)
                .collect(),
            status: text(value, &["status"]),
        })
    }

    /// Whether TitanX says that it is active.
    #[must_use]
    pub(crate) fn is_active(&self) -> bool {
        self.status.as_deref() == Some("active")
    }

    /// The event types of `asked` that TitanX did not grant.
    pub(crate) fn not_granted<'a>(
        &'a self,
        asked: &'a [String],
    ) -> impl Iterator<Item = &'a String> {
        asked.iter().filter(|event| !self.events.contains(event))
    }
}

/// The first of the members `names` that is a text, or a number as text.
#[must_use]
pub(crate) fn text(value: &Value, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| match value.get(name)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    })
}

/// What an answer is about: its `payload`, its `data`, or all of it.
fn unwrapped(value: &Value) -> &Value {
    let wrapped = ["payload", "data"].iter().find_map(|name| value.get(name));
    wrapped.filter(|value| !value.is_null()).unwrap_or(value)
}

/// Whether a refusal of a new subscription is about the member that holds the event types.
fn names_event_types(answer: &Answer) -> bool {
    let body = String::from_utf8_lossy(&answer.body);
    matches!(answer.status, 400 | 422)
        && ["events", "eventTypes"]
            .iter()
            .any(|name| body.contains(name))
}

/// What a refusal says, shortened.
fn message(body: &[u8]) -> String {
    const LENGTH: usize = 300;
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let error = value.get("error").unwrap_or(&value);
    let said = text(&value, &["message", "error", "detail"]).or_else(|| text(error, &["message"]));
    said.map_or_else(String::new, |said| {
        format!(": {}", said.chars().take(LENGTH).collect::<String>())
    })
}

/// An id as one segment of a path.
fn segment(id: &str) -> String {
    paging::percent_encoded(id)
}

/// When the latest of the rate limits' windows ends: of those used up, or of all.
fn window_end(answer: &Answer, used_up: bool) -> Option<SystemTime> {
    let header = |kind: &str, window: &str| -> Option<u64> {
        let name = format!("x-ratelimit-{kind}-{window}");
        answer.headers.get(name)?.trim().parse().ok()
    };
    let windows = ["second", "minute", "day"].into_iter();
    windows
        .filter(|window| !used_up || header("remaining", window) == Some(0))
        .filter_map(|window| header("reset", window))
        .max()
        .map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds))
}

/// Twice as long each time, and never quite the same for two who failed together.
fn backoff(attempt: u32) -> Duration {
    let longest = LONGEST_BACKOFF.min(FIRST_BACKOFF * 2_u32.saturating_pow(attempt - 1));
    longest.mul_f64(0.5 + fastrand::f64() / 2.0)
}
