//! TitanX's API: webhook subscriptions, jobs and the contacts of jobs.
//!
//! TitanX documents parts of this API in two different forms and leaves other parts undocumented.
//! Requests therefore use only what both forms share, and every documented form of a response is
//! accepted. What TitanX does not state is reported as unknown, never guessed: see
//! [`Error::NotSupported`] and [`Completeness::NotProven`].
//!
//! [`TitanxClient`] waits for TitanX's rate limits and never retries a request that may have created
//! something. [`http`] is the connection below it, which the operator's command also uses for other
//! hosts.

mod client;
pub mod http;

pub use client::{
    BASE_URL, Completeness, EVENT_TYPES, Error, NewSubscription, PagedList, PagingParameters,
    Subscription, TitanxClient, string_member, without,
};
