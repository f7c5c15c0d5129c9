//! The function's answers, parsed as a gateway parses them.

use serde_json::{Value, json};

/// An answer of the function.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub status: u64,
    pub body: Value,
    pub retry_after: Option<u64>,
}

impl Answer {
    /// An answer with this status and JSON body, and without `Retry-After`.
    pub fn of(status: u64, body: Value) -> Self {
        Self {
            status,
            body,
            retry_after: None,
        }
    }

    pub fn accepted() -> Self {
        Self::of(200, json!({"received": true}))
    }

    pub fn duplicate() -> Self {
        Self::of(200, json!({"received": true, "duplicate": true}))
    }

    pub fn quarantined() -> Self {
        Self::of(200, json!({"received": true, "quarantined": true}))
    }

    pub fn refused() -> Self {
        Self::of(401, json!({"error": "Invalid signature"}))
    }

    /// Whether the member `name` of the body is true.
    pub fn has_flag(&self, name: &str) -> bool {
        self.body[name] == true
    }

    /// Whether the answer is in the answer table.
    pub fn is_in_the_table(&self) -> bool {
        TABLE.iter().any(|&(status, body, has_retry_after)| {
            let body: Value = serde_json::from_str(body).expect("the table has JSON");
            let retry_after = match self.retry_after {
                Some(seconds) => has_retry_after && seconds >= 1,
                None => !has_retry_after,
            };
            self.status == status && self.body == body && retry_after
        })
    }
}

/// The answer table: status, body, and whether the answer has a `Retry-After` header.
const TABLE: [(u64, &str, bool); 8] = [
    (200, r#"{"received": true}"#, false),
    (200, r#"{"received": true, "duplicate": true}"#, false),
    (200, r#"{"received": true, "quarantined": true}"#, false),
    (401, r#"{"error": "Invalid signature"}"#, false),
    (413, r#"{"error": "Too large"}"#, false),
    (429, r#"{"error": "Already in progress"}"#, true),
    (429, r#"{"error": "Signature not recognised yet"}"#, true),
    (503, r#"{"error": "Unavailable"}"#, true),
];

/// Parses the function's response, which a gateway converts to an HTTP response.
pub fn read(response: &Value) -> Answer {
    let (one, list) = ("/headers/retry-after", "/multiValueHeaders/retry-after/0");
    let retry_after = response.pointer(one).or(response.pointer(list));
    let retry_after = retry_after.and_then(Value::as_str);
    Answer {
        status: response["statusCode"].as_u64().unwrap(),
        body: serde_json::from_str(response["body"].as_str().unwrap()).unwrap(),
        retry_after: retry_after.map(|seconds| seconds.parse().unwrap()),
    }
}
