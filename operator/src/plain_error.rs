//! Errors as one plain line. The SDK's errors name each layer that an error passed through, and show
//! responses of AWS in the form of Rust's `Debug`.

use std::{error::Error, fmt};

use aws_smithy_types::error::ErrorMetadata;

/// Layers that say nothing themselves: their source says what happened.
const LAYERS: [&str; 10] = [
    "service error",
    "dispatch failure",
    "unhandled error",
    "io error",
    "other",
    "client error (Connect)",
    "client error (SendRequest)",
    "error trying to connect",
    "an error occurred while loading an access token",
    "the credentials provider was not properly configured",
];

/// Displays an error with its sources on one line: of AWS's answers, the code and the message.
pub(crate) struct PlainError<'a>(pub(crate) &'a (dyn Error + 'static));

impl fmt::Display for PlainError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let mut parts: Vec<String> = Vec::new();
        let mut next = Some(self.0);
        while let Some(error) = next {
            let part = match error.downcast_ref::<ErrorMetadata>() {
                Some(answer) => answer_of_aws(answer),
                None => of_credentials(&error.to_string()),
            };
            let is_last = error.source().is_none();
            let is_layer =
                LAYERS.iter().any(|it| *it == part) || part.starts_with("unhandled error (");
            // Some errors repeat their source in their own text.
            let is_repeated = parts.last().is_some_and(|it| it.contains(&part));
            if (is_last || !is_layer) && !is_repeated {
                parts.push(part);
            }
            next = error.source();
        }
        f.write_str(&escape_control(&parts.join(": ")))
    }
}

/// The text of an error, plainer if it is one of the SDK's about credentials.
fn of_credentials(text: &str) -> String {
    const LOADING: [&str; 2] = [
        "an error occurred while loading credentials",
        "unexpected credentials error",
    ];
    if LOADING.contains(&text) {
        return "cannot load credentials".to_owned();
    }
    // It lists each provider of the chain with a reason. Only a profile that is wrong is one.
    if text.contains("no credentials found in chain") {
        let profile = text.lines().find_map(|line| {
            let (_, reason) = line.trim().strip_prefix("Profile: ")?.split_once(": ")?;
            Some(format!(": {reason}"))
        });
        return format!("found no credentials{}", profile.unwrap_or_default());
    }
    // One line, whatever a credential process printed.
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Escapes control characters in untrusted `text`, so that it cannot break the line or control the
/// terminal.
pub(crate) fn escape_control(text: &str) -> String {
    let escaped = |it: char| match it {
        it if it.is_control() => it.escape_default().to_string(),
        it => it.to_string(),
    };
    text.chars().map(escaped).collect()
}

fn answer_of_aws(answer: &ErrorMetadata) -> String {
    match (answer.code(), answer.message()) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(text), None) | (None, Some(text)) => text.to_owned(),
        (None, None) => "AWS answered with an error that it did not describe".to_owned(),
    }
}

/// Signs in the plain line of an error, with what to do about it. The first that fits counts.
const HINTS: [(&[&str], &str); 11] = [
    (
        &["SSO token", "sso/cache"],
        "sign in with `aws sso login`, for the same --profile",
    ),
    (
        &["login/cache", "login session"],
        "sign in with `aws login`, for the same --profile",
    ),
    (
        &["Missing Region"],
        "use --region, set AWS_REGION, or set a region in the profile",
    ),
    (
        &[
            "ExpiredToken",
            "RequestExpired",
            "token has expired",
            "token is expired",
            "refresh",
        ],
        "your session has expired: sign in again with `aws sso login` or `aws login`",
    ),
    (
        &["AccessDenied", "NotAuthorized", "not authorized to perform"],
        "your credentials lack this permission: docs/operations.md lists what each command needs",
    ),
    (
        &[
            "InvalidClientTokenId",
            "UnrecognizedClient",
            "InvalidAccessKeyId",
            "SignatureDoesNotMatch",
            "InvalidSignatureException",
            "AuthFailure",
        ],
        "AWS does not know these credentials: check --profile, the environment's AWS_ variables, \
         and this machine's clock",
    ),
    (
        &[
            "does not exist",
            "ResourceNotFound",
            "NonExistentQueue",
            "QueueDoesNotExist",
            "there is no stack",
            "there is no table",
        ],
        "check the name, and that --region and --profile are those of the stack",
    ),
    (
        &[
            "Throttling",
            "TooManyRequests",
            "ProvisionedThroughputExceeded",
            "RequestLimitExceeded",
        ],
        "AWS limits the rate: run the command again later",
    ),
    (
        &["certificate", "UnknownIssuer"],
        "if a proxy inspects TLS, name its certificate's file in AWS_CA_BUNDLE",
    ),
    (
        &[
            "dns error",
            "tcp connect error",
            "Connection refused",
            "timed out",
            "timeout",
        ],
        "check the network, the URL or --region, and the proxy variables HTTPS_PROXY and NO_PROXY",
    ),
    (
        &["credential", "profile"],
        "use --profile or set AWS_PROFILE; sign in with `aws sso login` or `aws login` if the \
         profile needs it",
    ),
];

/// What to do about an error of AWS, which does not know this command's options. `message` is the
/// plain line.
pub(crate) fn hint(message: &str) -> Option<&'static str> {
    let mut hints = HINTS.into_iter();
    hints
        .find(|(signs, _)| signs.iter().any(|sign| message.contains(sign)))
        .map(|(_, hint)| hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: Option<Box<dyn Error + Send + Sync>>,
    }

    fn chain(texts: &[&'static str], innermost: Option<ErrorMetadata>) -> String {
        let innermost = innermost.map(|it| Box::new(it) as Box<dyn Error + Send + Sync>);
        let error = texts.iter().rev().fold(innermost, |source, text| {
            Some(Box::new(Layer { text, source }))
        });
        PlainError(&*error.unwrap()).to_string()
    }

    #[test]
    fn an_answer_of_aws_is_its_code_and_message() {
        let metadata = ErrorMetadata::builder()
            .code("AccessDenied")
            .message("Not for you.")
            .build();
        let layers = [
            "cannot read the stack x",
            "service error",
            "unhandled error (AccessDenied)",
        ];
        assert_eq!(
            chain(&layers, Some(metadata)),
            "cannot read the stack x: AccessDenied: Not for you."
        );
    }

    #[test]
    fn what_repeats_its_source_is_said_once() {
        let layers = [
            "cannot read x",
            "service error",
            "NotFound: no x",
            "NotFound: no x",
        ];
        assert_eq!(chain(&layers, None), "cannot read x: NotFound: no x");
        assert_eq!(
            chain(&["cannot read x", "dispatch failure"], None),
            "cannot read x: dispatch failure"
        );
    }

    /// It may say more than the layer above.
    #[test]
    fn what_contains_the_text_above_it_is_told() {
        assert_eq!(
            chain(&["cannot read x", "cannot read x: no such file"], None),
            "cannot read x: cannot read x: no such file"
        );
        assert_eq!(
            chain(&["cannot read x: no such file", "no such file"], None),
            "cannot read x: no such file"
        );
    }

    /// C0, delete, and C1, of which U+009B alone begins a control sequence.
    #[test]
    fn every_control_character_is_escaped_and_nothing_else() {
        for code in (0..=0x1f).chain(0x7f..=0x9f) {
            let text = format!("a{}b", char::from(code));
            let escaped = escape_control(&text);
            assert!(escaped.is_ascii(), "{code:x}: {escaped}");
            assert!(!escaped.contains(char::from(code)), "{code:x}: {escaped}");
            let shown = PlainError(&std::io::Error::other(text)).to_string();
            assert!(!shown.chars().any(char::is_control), "{code:x}: {shown}");
        }
        let plain = "it's \"a\\b\" – žluťoučký 名前\u{a0}";
        assert_eq!(escape_control(plain), plain);
    }

    /// An error has signs of several hints. The one for what has happened counts, not the one for where.
    #[test]
    fn the_most_particular_hint_is_given() {
        for (message, expected) in [
            (
                "cannot load credentials: the SSO token of the profile a has expired",
                "for the same --profile",
            ),
            (
                "cannot load credentials: login session expired, refresh failed",
                "sign in with `aws login`",
            ),
            ("cannot load credentials: Missing Region", "set AWS_REGION"),
            (
                "ExpiredTokenException: the credential of the profile is over",
                "your session has expired",
            ),
            (
                "AccessDenied: the credential of the profile may not",
                "lack this permission",
            ),
            (
                "InvalidClientTokenId: credential unknown",
                "does not know these credentials",
            ),
            (
                "ResourceNotFoundException: no table for this profile",
                "check the name",
            ),
            ("ThrottlingException: timeout", "limits the rate"),
            (
                "tcp connect error: invalid peer certificate: UnknownIssuer",
                "AWS_CA_BUNDLE",
            ),
            ("cannot load credentials: dns error", "check the network"),
            ("cannot load credentials", "use --profile"),
        ] {
            let hint = hint(message).unwrap_or_default();
            assert!(hint.contains(expected), "{message}: {hint}");
        }
        assert_eq!(hint("the queue is empty"), None);
    }

    #[test]
    fn of_a_chain_of_providers_only_a_wrong_profile_is_told() {
        let text = "the credential provider was not enabled: no credentials found in chain. Attempted:\n  \
                    Environment: the credential provider was not enabled: not set\n  \
                    Profile: the credential provider was not enabled: profile `a` was not defined\n  \
                    EcsContainer: the credential provider was not enabled: not configured";
        assert_eq!(
            of_credentials(text),
            "found no credentials: profile `a` was not defined"
        );
        assert_eq!(of_credentials("a\n  b\n"), "a b");
    }
}
