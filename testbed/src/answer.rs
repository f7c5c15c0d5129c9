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

    /// Whether the answer is in the answer table.
    pub fn is_in_the_table(&self) -> bool {
        let received = self.body["received"] == true && self.retry_after.is_none();
        let error = self.body["error"].is_string();
        match self.status {
            200 => received,
            401 | 413 => error && self.retry_after.is_none(),
            429 | 503 => error && self.retry_after.is_some_and(|seconds| seconds >= 1),
            _ => false,
        }
    }
}

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
