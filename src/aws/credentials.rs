//! The credentials that sign the function's calls.

use aws_config::{ecs::EcsCredentialsProvider, provider_config::ProviderConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_smithy_http_client::Builder;
use aws_smithy_runtime::client::identity::IdentityCache;
use aws_smithy_runtime_api::client::identity::SharedIdentityCache;

/// A provider of credentials, and the cache of what it provides.
#[derive(Debug, Clone)]
pub struct Identity {
    credentials: SharedCredentialsProvider,
    cache: SharedIdentityCache,
}

impl Identity {
    /// Credentials that are valid as long as the process lives, as those in the environment of a
    /// function: Lambda ends the process before they expire.
    #[must_use]
    pub fn fixed(credentials: Credentials) -> Self {
        Self {
            credentials: SharedCredentialsProvider::new(credentials),
            cache: IdentityCache::no_cache(),
        }
    }

    /// Credentials of a provider that is asked anew shortly before they expire.
    #[must_use]
    pub fn cached(credentials: SharedCredentialsProvider) -> Self {
        Self {
            credentials,
            cache: IdentityCache::lazy().build(),
        }
    }

    /// Credentials from the container endpoint (`AWS_CONTAINER_CREDENTIALS_FULL_URI` and the variables of
    /// its token), as functions with SnapStart get them. The endpoint is local, so no proxy is used.
    #[must_use]
    pub fn container() -> Self {
        let config = ProviderConfig::without_region().with_http_client(Builder::new().build_http());
        let provider = EcsCredentialsProvider::builder().configure(&config).build();
        Self::cached(SharedCredentialsProvider::new(provider))
    }

    pub(super) fn into_parts(self) -> (SharedCredentialsProvider, SharedIdentityCache) {
        (self.credentials, self.cache)
    }
}
