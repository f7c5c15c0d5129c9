//! Signature Version 4 for the one kind of request there is: a POST of JSON to a service's root.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>
//! The SDK's signer takes any request apart, sorts and escapes it; this one is known beforehand. The
//! keyed part is left to it, and a test holds the whole to what it makes of the same request.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use aws_smithy_types::{DateTime, date_time::Format};
use sha2::{Digest, Sha256};

/// What a signature holds for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) region: &'a str,
    /// The service's name.
    pub(super) service: &'a str,
}

/// The values of the headers that are signed besides those that signing adds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signed<'a> {
    pub(super) content_type: &'a str,
    pub(super) host: &'a str,
    pub(super) target: &'a str,
}

/// The values of the headers that signing adds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Signature {
    /// `x-amz-date`
    pub(super) date: String,
    /// `authorization`
    pub(super) authorization: String,
}

/// Signs a request with `headers` and `body`, made at `now`.
pub(super) fn sign(
    headers: Signed<'_>,
    body: &[u8],
    scope: Scope<'_>,
    credentials: &Credentials,
    now: SystemTime,
) -> Signature {
    let date = basic_format(now);
    let token = credentials.session_token();
    let (token_header, token_name) = match token {
        Some(token) => (
            format!("x-amz-security-token:{token}\n"),
            "x-amz-security-token;",
        ),
        None => (String::new(), ""),
    };
    let Signed {
        content_type,
        host,
        target,
    } = headers;
    let signed_headers = format!("content-type;host;x-amz-date;{token_name}x-amz-target");
    let canonical_request = format!(
        "POST\n/\n\n\
         content-type:{content_type}\nhost:{host}\nx-amz-date:{date}\n{token_header}x-amz-target:{target}\n\n\
         {signed_headers}\n{}",
        digest(body)
    );
    let Scope { region, service } = scope;
    let scope = format!("{}/{region}/{service}/aws4_request", &date[..8]);
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{date}\n{scope}\n{}",
        digest(canonical_request.as_bytes())
    );
    let key = generate_signing_key(credentials.secret_access_key(), now, region, service);
    let signature = calculate_signature(key, to_sign.as_bytes());
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={signed_headers}, Signature={signature}",
        credentials.access_key_id()
    );
    Signature {
        date,
        authorization,
    }
}

/// ISO 8601's basic format, for example `20260105T120000Z`.
fn basic_format(now: SystemTime) -> String {
    let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH);
    let seconds = since_epoch.unwrap_or(Duration::ZERO).as_secs();
    let now = DateTime::from_secs(i64::try_from(seconds).unwrap_or_default());
    let now = now.fmt(Format::DateTime).expect("within our era");
    now.replace(['-', ':'], "")
}

/// SHA-256 in lower-case hexadecimal.
fn digest(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digest = Sha256::digest(bytes);
    let digits = digest.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits
        .map(|it| char::from(DIGITS[usize::from(it)]))
        .collect()
}

#[cfg(test)]
mod tests {
    use aws_sigv4::{
        http_request::{self, SignableBody, SignableRequest, SigningSettings},
        sign::v4::SigningParams,
    };
    use proptest::prelude::*;

    use super::*;

    /// The same request as the SDK signs it.
    fn oracle(
        headers: Signed<'_>,
        body: &[u8],
        scope: Scope<'_>,
        credentials: &Credentials,
        now: SystemTime,
    ) -> Signature {
        let identity = credentials.clone().into();
        let params = SigningParams::builder()
            .identity(&identity)
            .region(scope.region)
            .name(scope.service)
            .time(now)
            .settings(SigningSettings::default())
            .build()
            .unwrap()
            .into();
        let url = format!("https://{}/", headers.host);
        let named = [
            ("content-type", headers.content_type),
            ("x-amz-target", headers.target),
        ];
        let request =
            SignableRequest::new("POST", url, named.into_iter(), SignableBody::Bytes(body));
        let (instructions, _) = http_request::sign(request.unwrap(), &params)
            .unwrap()
            .into_parts();
        let value = |name| instructions.headers().find(|it| it.0 == name).unwrap().1;
        assert_eq!(
            instructions
                .headers()
                .find(|it| it.0 == "x-amz-security-token")
                .map(|it| it.1),
            credentials.session_token()
        );
        Signature {
            date: value("x-amz-date").to_owned(),
            authorization: value("authorization").to_owned(),
        }
    }

    proptest! {
        #[test]
        fn every_request_is_signed_as_the_sdk_would(
            host in "[a-z]{1,8}(\\.[a-z0-9-]{1,8}){0,3}(:[1-9][0-9]{3})?",
            content_type in "application/x-amz-json-1\\.[01]",
            target in "[A-Za-z0-9_]{1,30}\\.[A-Za-z]{1,30}",
            body in proptest::collection::vec(any::<u8>(), 0..300),
            region in "[a-z]{2}-[a-z]{4,9}-[1-9]",
            service in "dynamodb|sqs|secretsmanager",
            access_key_id in "[A-Z0-9]{1,20}",
            secret_access_key in "[A-Za-z0-9/+]{1,60}",
            session_token in proptest::option::of("[A-Za-z0-9/+=]{1,900}"),
            // Up to the year 9999.
            seconds in 0_u64..253_402_300_000,
            nanoseconds in 0_u32..1_000_000_000,
        ) {
            let headers = Signed { content_type: &content_type, host: &host, target: &target };
            let scope = Scope { region: &region, service: &service };
            let credentials =
                Credentials::new(access_key_id, secret_access_key, session_token, None, "test");
            let now = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds);
            prop_assert_eq!(
                sign(headers, &body, scope, &credentials, now),
                oracle(headers, &body, scope, &credentials, now)
            );
        }
    }
}
