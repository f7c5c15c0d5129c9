//! Events of HTTP gateways, and the responses to them.
//!
//! API Gateway's HTTP API (v2) and REST API (v1), function URLs and load balancers send the headers
//! and the body of a request in different JSON. Only the signature header and the body are kept.
//!
//! `lambda_http` reads these events too, header values outside ASCII included. Its types are not
//! used because some events get no answer through them, or another one. Each point is held by a
//! test against the version in use (`tests::lambda_http_types`):
//!
//! - A body whose Base64 does not decode makes them panic.
//! - A newline in any header's value, a blank in a header's name, or an event of no known shape is an
//!   error. Either way the invocation fails, and the gateway answers by itself. Here every JSON value
//!   is a [`Request`], so that every request gets an answer of the table.
//! - Of a repeated header in a REST API's event the last value alone is left: a second signature
//!   goes unnoticed.
//! - The event is copied, and then parsed as each kind of gateway's until one fits: three or more
//!   times the memory of the body, which is read once here.

use std::{borrow::Cow, fmt};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
    ser::SerializeMap,
};
use serde_json::value::RawValue;

use crate::{
    json::Text,
    signature::{SIGNATURE_HEADER, Signature},
};

/// A request as the sender made it, not verified yet.
#[derive(Debug, Default)]
pub struct Request {
    /// The signature in `X-TitanX-Signature`; `None` when the header is missing, malformed or repeated.
    pub signature: Option<Signature>,
    /// The exact bytes of the body; `None` when the gateway's Base64 does not decode.
    pub body: Option<Vec<u8>>,
    /// The gateway's own id of the request, if it is one that may be logged: 1 to 64 characters of Base64
    /// or of a UUID. HTTP APIs send it to the client too, as `apigw-requestid`.
    pub gateway_id: Option<String>,
    /// The form of response that the gateway expects.
    layout: Layout,
}

/// The form of response that a gateway expects.
#[derive(Debug, Default, Clone, Copy)]
enum Layout {
    /// A REST API, or an HTTP API with payload version 1.0.
    #[default]
    RestApi,
    /// An HTTP API or a function URL: payload version 2.0.
    HttpApi,
    LoadBalancer {
        multi_value_headers: bool,
    },
}

impl Request {
    /// Parses a gateway's event. JSON of unknown form is a request without signature and body.
    ///
    /// # Errors
    ///
    /// If it is not JSON, as Lambda's events always are.
    pub fn from_event(event: &str) -> Result<Self, serde_json::Error> {
        let read = serde_json::from_str::<HttpEvent<'_>>(event);
        // A string that is read as bytes may hold control characters, which JSON does not allow. The minimum of all
        // bytes is computed many at a time.
        let has_control = event.bytes().fold(u8::MAX, u8::min) < b' ';
        if read.is_err() || has_control {
            serde_json::from_str::<&RawValue>(event)?;
        }
        Ok(read
            .ok()
            // serde would also accept an array, with one item for each member.
            .filter(|_| event.trim_start().starts_with('{'))
            .map_or_else(Self::default, Self::from))
    }

    /// The response with `answer`, in the form that the gateway of this request expects.
    #[must_use]
    pub fn respond(&self, answer: Answer) -> Response {
        Response {
            layout: self.layout,
            answer,
        }
    }
}

impl From<HttpEvent<'_>> for Request {
    fn from(event: HttpEvent<'_>) -> Self {
        let layout = event.layout();
        let context = event.request_context.as_ref();
        let gateway_id = context.and_then(RequestContext::loggable_id);
        // REST APIs send both maps. The plain one has only the last of repeated values.
        let values = event
            .multi_value_headers
            .filter(|values| values.count > 0)
            .or(event.headers)
            .unwrap_or_default();
        let Text(text) = event.body.unwrap_or_default();
        Self {
            signature: values.last.filter(|_| values.count == 1),
            body: if event.is_base64_encoded.unwrap_or(false) {
                BASE64_STANDARD.decode(text).ok()
            } else {
                Some(text)
            },
            gateway_id,
            layout,
        }
    }
}

/// The members that are read of an event. The four kinds of gateway share them.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HttpEvent<'a> {
    /// The payload version of an HTTP API or function URL. Kept as JSON, so that a version of another
    /// type does not make the event unreadable.
    #[serde(borrow)]
    version: Option<&'a RawValue>,
    headers: Option<SignatureValues>,
    multi_value_headers: Option<SignatureValues>,
    body: Option<Text>,
    is_base64_encoded: Option<bool>,
    #[serde(borrow)]
    request_context: Option<RequestContext<'a>>,
}

impl HttpEvent<'_> {
    fn layout(&self) -> Layout {
        let context = self.request_context.as_ref();
        if context.is_some_and(|context| context.elb.is_some()) {
            Layout::LoadBalancer {
                multi_value_headers: self.multi_value_headers.is_some(),
            }
        } else if self
            .version
            .is_some_and(|version| version.get() == r#""2.0""#)
        {
            Layout::HttpApi
        } else {
            Layout::RestApi
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext<'a> {
    elb: Option<IgnoredAny>,
    /// Kept as JSON, as the version is.
    #[serde(borrow)]
    request_id: Option<&'a RawValue>,
}

impl RequestContext<'_> {
    fn loggable_id(&self) -> Option<String> {
        const LONGEST: usize = 64;
        let id = self.request_id?.get();
        let id = id.strip_prefix('"')?.strip_suffix('"')?;
        let loggable = |it: u8| it.is_ascii_alphanumeric() || b"+/=-_".contains(&it);
        let is_loggable = (1..=LONGEST).contains(&id.len()) && id.bytes().all(loggable);
        is_loggable.then(|| id.to_owned())
    }
}

/// The values of the signature header in a map of headers, each a string or a list of strings.
#[derive(Default)]
struct SignatureValues {
    /// How many there are.
    count: usize,
    /// The last of them, if it is well-formed.
    last: Option<Signature>,
}

impl SignatureValues {
    fn push(&mut self, value: &str) {
        self.count += 1;
        self.last = Signature::parse(value);
    }
}

impl<'de> Deserialize<'de> for SignatureValues {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HeadersVisitor;
        impl<'de> Visitor<'de> for HeadersVisitor {
            type Value = SignatureValues;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a map of headers")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SignatureValues, A::Error> {
                let mut values = SignatureValues::default();
                while let Some(IsSignature(is_signature)) = map.next_key()? {
                    if is_signature {
                        map.next_value_seed(HeaderValue(&mut values))?;
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(values)
            }
        }
        deserializer.deserialize_map(HeadersVisitor)
    }
}

/// Whether a header's name is the signature's, in any case.
struct IsSignature(bool);

impl<'de> Deserialize<'de> for IsSignature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl Visitor<'_> for NameVisitor {
            type Value = IsSignature;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a header's name")
            }
            fn visit_bytes<E>(self, name: &[u8]) -> Result<IsSignature, E> {
                Ok(IsSignature(
                    name.eq_ignore_ascii_case(SIGNATURE_HEADER.as_bytes()),
                ))
            }
        }
        deserializer.deserialize_bytes(NameVisitor)
    }
}

/// Reads a header's value. REST APIs and load balancers also send lists.
struct HeaderValue<'a>(&'a mut SignatureValues);

impl<'de> DeserializeSeed<'de> for HeaderValue<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for HeaderValue<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a string or a list of strings")
    }
    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.0.push(value);
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(value) = list.next_element::<Cow<'_, str>>()? {
            self.0.push(&value);
        }
        Ok(())
    }
}

/// An HTTP answer: status, JSON body, and when to retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status code.
    pub status: u16,
    /// The JSON text of the body.
    pub body: &'static str,
    /// The value of `Retry-After`, in seconds.
    pub retry_after: Option<u64>,
}

/// An [`Answer`] in the form that a gateway expects.
#[derive(Debug)]
pub struct Response {
    layout: Layout,
    answer: Answer,
}

impl Serialize for Response {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Answer { status, body, .. } = self.answer;
        let mut response = serializer.serialize_map(None)?;
        response.serialize_entry("statusCode", &status)?;
        match self.layout {
            Layout::RestApi => response.serialize_entry("headers", &Headers(&self.answer))?,
            Layout::HttpApi => {
                response.serialize_entry("headers", &Headers(&self.answer))?;
                // Optional for AWS, required by `cargo lambda watch`.
                response.serialize_entry("cookies", &[(); 0])?;
            }
            Layout::LoadBalancer {
                multi_value_headers,
            } => {
                response.serialize_entry("statusDescription", &status_description(status))?;
                if multi_value_headers {
                    let headers = MultiValueHeaders(&self.answer);
                    response.serialize_entry("multiValueHeaders", &headers)?;
                } else {
                    response.serialize_entry("headers", &Headers(&self.answer))?;
                }
            }
        }
        response.serialize_entry("body", body)?;
        response.serialize_entry("isBase64Encoded", &false)?;
        response.end()
    }
}

/// A load balancer wants the reason phrase too, as in `200 OK`.
fn status_description(status: u16) -> String {
    lambda_http::http::StatusCode::from_u16(status)
        .map_or_else(|_| status.to_string(), |status| status.to_string())
}

/// The answer's headers, each name with one value.
struct Headers<'a>(&'a Answer);

impl Serialize for Headers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut headers = serializer.serialize_map(None)?;
        headers.serialize_entry("content-type", "application/json")?;
        if let Some(seconds) = self.0.retry_after {
            headers.serialize_entry("retry-after", &seconds.to_string())?;
        }
        headers.end()
    }
}

/// The same headers, each name with a list of values.
struct MultiValueHeaders<'a>(&'a Answer);

impl Serialize for MultiValueHeaders<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut headers = serializer.serialize_map(None)?;
        headers.serialize_entry("content-type", &["application/json"])?;
        if let Some(seconds) = self.0.retry_after {
            headers.serialize_entry("retry-after", &[seconds.to_string()])?;
        }
        headers.end()
    }
}

#[cfg(test)]
mod tests {
    use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpResponse;
    use serde_json::{Value, json};

    use super::*;

    /// Two well-formed values of the header.
    const SIGNATURE: &str = "YzzZKFd/hCf0djG3sdsaru2wIUTSgPQx4QB2M7OwMMI=";
    const ANOTHER: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

    fn read(event: &Value) -> Request {
        Request::from_event(&event.to_string()).unwrap()
    }

    fn responded(event: &Value, answer: Answer) -> Value {
        serde_json::to_value(read(event).respond(answer)).unwrap()
    }

    const AGAIN: Answer = Answer {
        status: 503,
        body: r#"{"error": "Unavailable"}"#,
        retry_after: Some(5),
    };

    #[test]
    fn the_header_is_found_in_any_case() {
        for name in [
            "X-TitanX-Signature",
            "x-titanx-signature",
            "X-TITANX-SIGNATURE",
        ] {
            let request = read(&json!({"headers": {"a": "b", name: SIGNATURE}, "body": "x"}));
            assert!(request.signature.is_some());
        }
    }

    #[test]
    fn a_rest_event_holds_both_maps_and_counts_once() {
        let request = read(&json!({
            "headers": {"X-TitanX-Signature": SIGNATURE},
            "multiValueHeaders": {"X-TitanX-Signature": [SIGNATURE]},
        }));
        assert!(request.signature.is_some());
    }

    #[test]
    fn an_empty_map_does_not_hide_the_other() {
        for empty in [json!({}), Value::Null] {
            let request = read(&json!({
                "headers": {"X-TitanX-Signature": SIGNATURE},
                "multiValueHeaders": empty,
            }));
            assert!(request.signature.is_some(), "{empty}");
        }
    }

    #[test]
    fn a_repeated_header_is_no_signature() {
        for headers in [
            json!({"headers": {"X-TitanX-Signature": SIGNATURE, "x-titanx-signature": ANOTHER}}),
            json!({"headers": {"X-TitanX-Signature": ANOTHER},
                   "multiValueHeaders": {"X-TitanX-Signature": [SIGNATURE, ANOTHER]}}),
            json!({"multiValueHeaders": {"X-TitanX-Signature": []}}),
        ] {
            assert!(read(&headers).signature.is_none(), "{headers}");
        }
    }

    #[test]
    fn the_body_is_the_exact_bytes() {
        let text = "{\"a\": \"\\u0041 \u{00e9}\u{FFFE}\u{1F600}\"}\r\n";
        assert_eq!(read(&json!({"body": text})).body.unwrap(), text.as_bytes());
        let encoded = json!({"body": "/wB7fQ==", "isBase64Encoded": true});
        assert_eq!(read(&encoded).body.unwrap(), [0xff, 0, b'{', b'}']);
    }

    /// Whatever is JSON gets an answer.
    #[test]
    fn only_json_is_a_request() {
        for json in [
            "{}",
            "[]",
            "null",
            "3",
            r#"{"body": 3}"#,
            r#"{"headers": [1]}"#,
        ] {
            let request = Request::from_event(json).unwrap();
            assert!(
                request.signature.is_none() && request.gateway_id.is_none(),
                "{json}"
            );
        }
        for text in [
            "",
            "{",
            r#"{"body": "x""#,
            r#"{"body": "x"} {}"#,
            r#"{"body": 3"#,
            "{\"body\": \"\n\"}",
        ] {
            assert!(Request::from_event(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_missing_body_is_an_empty_one() {
        assert_eq!(read(&json!({"headers": {}})).body.unwrap(), b"");
        assert_eq!(read(&json!({"body": null})).body.unwrap(), b"");
    }

    #[test]
    fn base64_that_does_not_decode_is_no_body() {
        let lie = json!({"body": "{\"a\":1}", "isBase64Encoded": true});
        assert_eq!(read(&lie).body, None);
    }

    #[test]
    fn a_lone_surrogate_in_the_event_is_no_error() {
        let event = r#"{"body": "\ud800", "headers": {"\ud800": "x"}}"#;
        let request = Request::from_event(event).unwrap();
        assert_eq!(request.body.unwrap(), [0xed, 0xa0, 0x80]);
    }

    #[test]
    fn every_json_value_is_a_request() {
        for event in [
            "null",
            "5",
            "[]",
            "\"text\"",
            "{}",
            r#"{"headers": 5}"#,
            r#"{"headers": {"a": {}}}"#,
            r#"{"headers": {"x-titanx-signature": 5}}"#,
            r#"{"body": {}}"#,
            r#"{"isBase64Encoded": "yes"}"#,
            r#"{"body": "a", "body": "b"}"#,
            r#"[{"x-titanx-signature": "s"}, null, "body", false, null]"#,
        ] {
            let request = Request::from_event(event).unwrap();
            assert!(request.signature.is_none(), "{event}");
        }
    }

    #[test]
    fn http_apis_and_function_urls_get_an_empty_list_of_cookies() {
        let event = json!({"version": "2.0", "headers": {}, "requestContext": {"stage": "x"}});
        let expected = json!({
            "statusCode": 503,
            "headers": {"content-type": "application/json", "retry-after": "5"},
            "cookies": [],
            "body": r#"{"error": "Unavailable"}"#,
            "isBase64Encoded": false,
        });
        assert_eq!(responded(&event, AGAIN), expected);
    }

    #[test]
    fn a_rest_api_gets_no_cookies() {
        let expected = json!({
            "statusCode": 503,
            "headers": {"content-type": "application/json", "retry-after": "5"},
            "body": r#"{"error": "Unavailable"}"#,
            "isBase64Encoded": false,
        });
        let context = json!({"stage": "x"});
        for event in [
            json!({"headers": {}, "multiValueHeaders": {}, "requestContext": context}),
            json!({"version": "1.0", "headers": {}, "requestContext": context}),
        ] {
            assert_eq!(responded(&event, AGAIN), expected, "{event}");
        }
    }

    #[test]
    fn a_version_of_another_type_makes_no_event_unreadable() {
        for version in [json!(2), json!(null), json!({"major": 2})] {
            let event = json!({"version": version, "headers": {"x-titanx-signature": SIGNATURE}});
            assert!(read(&event).signature.is_some(), "{event}");
        }
    }

    #[test]
    fn what_a_client_reads_of_an_http_api_s_answer_is_complete() {
        let event = json!({"version": "2.0", "headers": {}});
        let answer = serde_json::to_string(&read(&event).respond(AGAIN)).unwrap();
        let read: ApiGatewayV2httpResponse = serde_json::from_str(&answer).unwrap();
        assert_eq!(read.status_code, 503);
        assert_eq!(read.headers["retry-after"], "5");
        assert_eq!(read.cookies, [""; 0]);
    }

    #[test]
    fn a_load_balancer_gets_the_headers_in_the_form_it_sent_them() {
        let elb = json!({"elb": {"targetGroupArn": "arn"}});
        let plain = responded(&json!({"headers": {}, "requestContext": elb}), AGAIN);
        assert_eq!(plain["statusDescription"], "503 Service Unavailable");
        assert_eq!(plain["headers"]["retry-after"], "5");
        assert_eq!(plain.get("multiValueHeaders"), None);
        assert_eq!(plain.get("cookies"), None);
        let multi = responded(
            &json!({"multiValueHeaders": {}, "requestContext": elb}),
            AGAIN,
        );
        assert_eq!(multi["multiValueHeaders"]["retry-after"], json!(["5"]));
        assert_eq!(multi.get("headers"), None);
        assert_eq!(multi.get("cookies"), None);
    }

    /// What the head of this module says of `lambda_http`, tried on the version in use. Where one of
    /// these fails after an update, the head is wrong, and its reason may be gone.
    mod lambda_http_types {
        use std::{hint::black_box, panic::catch_unwind};

        use allocation_counter::measure;
        use lambda_http::request::from_str;
        use serde_json::{Value, json};

        use super::{ANOTHER, Request, SIGNATURE, read};

        /// An HTTP API's event with these headers.
        fn http_api(headers: &Value) -> Value {
            json!({
                "version": "2.0",
                "rawPath": "/webhooks/titanx",
                "headers": headers,
                "requestContext": {"http": {"method": "POST"}, "stage": "$default"},
                "body": "body",
                "isBase64Encoded": false,
            })
        }

        fn rest_api(headers: &Value, multi_value_headers: &Value) -> Value {
            json!({
                "path": "/webhooks/titanx",
                "httpMethod": "POST",
                "headers": headers,
                "multiValueHeaders": multi_value_headers,
                "requestContext": {"httpMethod": "POST", "stage": "prod"},
                "body": "body",
                "isBase64Encoded": false,
            })
        }

        #[test]
        fn they_read_a_header_value_outside_ascii() {
            let event = http_api(&json!({"x-name": "Zo\u{eb}", "x-titanx-signature": SIGNATURE}));
            let request = from_str(&event.to_string()).unwrap();
            assert_eq!(
                request.headers()["x-name"].as_bytes(),
                "Zo\u{eb}".as_bytes()
            );
            assert_eq!(request.headers()["x-titanx-signature"], SIGNATURE);
            assert_eq!(&request.body()[..], b"body");
        }

        #[test]
        fn they_fail_on_a_newline_in_a_value_and_on_a_blank_in_a_name() {
            for odd in [json!({"x-note": "a\nb"}), json!({"x note": "a"})] {
                let mut event = http_api(&odd);
                event["headers"]["x-titanx-signature"] = SIGNATURE.into();
                assert!(from_str(&event.to_string()).is_err(), "{event}");
                assert!(read(&event).signature.is_some(), "{event}");
                assert_eq!(read(&event).body.unwrap(), b"body");
            }
        }

        #[test]
        fn they_fail_on_an_event_of_no_known_shape() {
            assert!(from_str("{}").is_err());
            assert!(Request::from_event("{}").unwrap().signature.is_none());
        }

        #[test]
        fn they_keep_the_last_value_of_a_rest_api_s_repeated_header() {
            let name = "X-TitanX-Signature";
            let event = rest_api(&json!({name: "t"}), &json!({name: [SIGNATURE, ANOTHER]}));
            let request = from_str(&event.to_string()).unwrap();
            let values: Vec<_> = request.headers().get_all(name).iter().collect();
            assert_eq!(values, ["t"]);
            assert!(read(&event).signature.is_none());
        }

        #[test]
        fn they_panic_on_base64_that_does_not_decode() {
            let mut event = http_api(&json!({}));
            event["isBase64Encoded"] = true.into();
            event["body"] = "{}".into();
            let text = event.to_string();
            assert!(catch_unwind(|| from_str(&text)).is_err());
            assert_eq!(read(&event).body, None);
        }

        #[test]
        fn they_copy_a_body_three_times_or_more() {
            let body = "x".repeat(100_000);
            let mut rest = rest_api(&json!({}), &json!({}));
            let mut http = http_api(&json!({}));
            for event in [&mut rest, &mut http] {
                event["body"] = body.clone().into();
                let text = event.to_string();
                let theirs = measure(|| drop(black_box(from_str(&text).unwrap())));
                let ours = measure(|| drop(black_box(Request::from_event(&text).unwrap())));
                let copies = |bytes| bytes / u64::try_from(body.len()).unwrap();
                assert!(copies(theirs.bytes_total) >= 3, "{theirs:?}");
                assert_eq!(copies(ours.bytes_total), 1, "{ours:?}");
            }
        }
    }
}
