//! The events in which a gateway hands requests to the function: payload format 2.0, which HTTP APIs
//! and function URLs have
//! (<https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>).
//! Samples of the other gateways' events are files in `events/`.

use std::{collections::BTreeMap, str};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

/// The one route.
pub const PATH: &str = "/webhooks/titanx";
const ROUTE: &str = "$default";

const DOMAIN: &str = "abcdefghij.execute-api.us-east-1.amazonaws.com";

/// The event for a request with this body and these headers, to which the gateway's own are added.
/// Text stands in it as it is, anything else in Base64.
pub fn event<N, V>(headers: impl IntoIterator<Item = (N, V)>, body: &[u8]) -> Value
where
    N: AsRef<str>,
    V: Into<String>,
{
    match str::from_utf8(body) {
        Ok(text) => around(headers, body, text, false),
        Err(_) => base64_event(headers, body),
    }
}

/// The same with the body in Base64, whatever it is: a gateway may be told that the body's type is
/// binary.
pub fn base64_event<N, V>(headers: impl IntoIterator<Item = (N, V)>, body: &[u8]) -> Value
where
    N: AsRef<str>,
    V: Into<String>,
{
    around(headers, body, &BASE64_STANDARD.encode(body), true)
}

fn around<N, V>(
    headers: impl IntoIterator<Item = (N, V)>,
    body: &[u8],
    encoded: &str,
    is_base64_encoded: bool,
) -> Value
where
    N: AsRef<str>,
    V: Into<String>,
{
    let headers = with_the_gateways(headers, body.len());
    let user_agent = headers.get("user-agent").map_or("", String::as_str);
    json!({
        "version": "2.0",
        "routeKey": ROUTE,
        "rawPath": PATH,
        "rawQueryString": "",
        "headers": headers,
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "abcdefghij",
            "domainName": DOMAIN,
            "domainPrefix": "abcdefghij",
            "http": {
                "method": "POST", "path": PATH, "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1", "userAgent": user_agent,
            },
            "requestId": "AAAAAAAAAAAAAAA=",
            "routeKey": ROUTE,
            "stage": "$default",
            "time": "05/Jan/2026:12:00:00 +0000",
            "timeEpoch": 1_767_614_400_000_u64,
        },
        "body": encoded,
        "isBase64Encoded": is_base64_encoded,
    })
}

/// The headers by their names in small letters. Those of one name are one, with all the values.
fn with_the_gateways<N, V>(
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
    fn text_stands_as_it_is_and_anything_else_in_base64() {
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
    fn headers_of_one_name_are_one_and_the_gateway_adds_its_own() {
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
