//! The credentials that sign the function's calls.

use aws_config::{ecs::EcsCredentialsProvider, provider_config::ProviderConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_smithy_http_client::Builder;
use aws_smithy_runtime::client::identity::IdentityCache;
use aws_smithy_runtime_api::client::identity::SharedIdentityCache;

/// Credentials, and how long they are kept before they are asked for again.
#[derive(Debug, Clone)]
pub struct Identity {
    credentials: SharedCredentialsProvider,
    cache: SharedIdentityCache,
}

impl Identity {
    /// Credentials that hold as long as the process. Lambda gives a function such ones in its
    /// environment, and ends the process before they expire.
    #[must_use]
    pub fn fixed(credentials: Credentials) -> Self {
        Self {
            credentials: SharedCredentialsProvider::new(credentials),
            cache: IdentityCache::no_cache(),
        }
    }

    /// Credentials of a provider that is asked again shortly before they expire.
    #[must_use]
    pub fn cached(credentials: SharedCredentialsProvider) -> Self {
        Self {
            credentials,
            cache: IdentityCache::lazy().build(),
        }
    }

    /// Credentials of the container's endpoint (`AWS_CONTAINER_CREDENTIALS_FULL_URI` and its
    /// companions), from which a function has them under SnapStart. The
    /// endpoint is on this machine, so no proxy stands before it.
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
