//! The events that a gateway sends to the function: payload format 2.0, which HTTP APIs and function
//! URLs have
//! (<https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>).
//! Samples of the other gateways' events are files in `events/`.

use std::{collections::BTreeMap, str};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

/// The path of the webhook URL. The API has the default route alone, so every other path reaches the
/// function too.
pub const PATH: &str = "/webhooks/titanx";
const ROUTE: &str = "$default";

const DOMAIN: &str = "abcdefghij.execute-api.us-east-1.amazonaws.com";

/// Method, path and query string of a request.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub query: &'a str,
}

/// What TitanX requests.
const WEBHOOK: Target<'_> = Target {
    method: "POST",
    path: PATH,
    query: "",
};

/// The event for a request of TitanX with these headers, to which the gateway adds its own, and this
/// body. A body that is not UTF-8 is encoded as Base64.
pub fn event<N, V>(headers: impl IntoIterator<Item = (N, V)>, body: &[u8]) -> Value
where
    N: AsRef<str>,
    V: Into<String>,
{
    event_for(WEBHOOK, headers, body)
}

/// As [`event`], for a request with any method, path and query string.
pub fn event_for<N, V>(
    target: Target<'_>,
    headers: impl IntoIterator<Item = (N, V)>,
    body: &[u8],
) -> Value
where
    N: AsRef<str>,
    V: Into<String>,
{
    let headers = with_gateway_headers(headers, body.len());
    match str::from_utf8(body) {
        Ok(text) => payload_2_0(target, &headers, text, false),
        Err(_) => payload_2_0(target, &headers, &BASE64_STANDARD.encode(body), true),
    }
}

/// As [`event`], with the body encoded as Base64 in any case. A gateway does so if it is configured to
/// treat the content type as binary.
pub fn base64_event<N, V>(headers: impl IntoIterator<Item = (N, V)>, body: &[u8]) -> Value
where
    N: AsRef<str>,
    V: Into<String>,
{
    let headers = with_gateway_headers(headers, body.len());
    payload_2_0(WEBHOOK, &headers, &BASE64_STANDARD.encode(body), true)
}

fn payload_2_0(
    target: Target<'_>,
    headers: &BTreeMap<String, String>,
    body: &str,
    is_base64_encoded: bool,
) -> Value {
    let Target {
        method,
        path,
        query,
    } = target;
    let user_agent = headers.get("user-agent").map_or("", String::as_str);
    json!({
        "version": "2.0",
        "routeKey": ROUTE,
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers,
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "abcdefghij",
            "domainName": DOMAIN,
            "domainPrefix": "abcdefghij",
            "http": {
                "method": method, "path": path, "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1", "userAgent": user_agent,
            },
            "requestId": "AAAAAAAAAAAAAAA=",
            "routeKey": ROUTE,
            "stage": "$default",
            "time": "05/Jan/2026:12:00:00 +0000",
            "timeEpoch": 1_767_614_400_000_u64,
        },
        "body": body,
        "isBase64Encoded": is_base64_encoded,
    })
}

/// The headers with lower-case names and without repetitions: the gateway joins the values of one name
/// with commas. It also adds headers of its own.
fn with_gateway_headers<N, V>(
    headers: impl IntoIterator<Item = (N, V)>,
    length: usize,
) -> BTreeMap<String, String>
where
    N: AsRef<str>,
    V: Into<String>,
{
    let mut all = BTreeMap::<String, String>::new();
    for (name, value) in headers {
        let (name, value) = (name.as_ref().to_ascii_lowercase(), value.into());
        all.entry(name)
            .and_modify(|values| *values = format!("{values},{value}"))
            .or_insert(value);
    }
    for (name, value) in [
        ("content-length", &*length.to_string()),
        ("host", DOMAIN),
        (
            "x-amzn-trace-id",
            "Root=1-00000000-000000000000000000000000",
        ),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-port", "443"),
        ("x-forwarded-proto", "https"),
    ] {
        all.entry(name.to_owned())
            .or_insert_with(|| value.to_owned());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_is_not_utf8_is_encoded_as_base64() {
        let text = event([("a", "1")], "é".as_bytes());
        assert_eq!(
            (&text["body"], &text["isBase64Encoded"]),
            (&json!("é"), &json!(false))
        );
        let bytes = event([("a", "1")], b"\xff\xfe{}");
        assert_eq!(
            (&bytes["body"], &bytes["isBase64Encoded"]),
            (&json!("//57fQ=="), &json!(true))
        );
    }

    #[test]
    fn headers_with_one_name_are_joined_and_the_gateway_adds_its_own() {
        let event = event(
            [("X-One", "1"), ("x-one", "2"), ("Host", "example.com")],
            b"{}",
        );
        let headers = &event["headers"];
        assert_eq!(headers["x-one"], "1,2");
        assert_eq!(headers["host"], "example.com");
        assert_eq!(headers["content-length"], "2");
        assert_eq!(headers["x-forwarded-proto"], "https");
    }
}
