//! The floor: what the traffic of a delivery costs when nothing else is done.
//!
//! Standard library only, plain HTTP, requests written by hand: take the event, put, send, answer, update.
//! It verifies nothing, signs nothing, retries nothing. Nobody should run it; nobody can be faster.

use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

fn main() -> io::Result<()> {
    let runtime = &mut Connection::open(&variable("AWS_LAMBDA_RUNTIME_API"))?;
    let dynamodb = &mut Connection::open(&variable("AWS_ENDPOINT_URL_DYNAMODB"))?;
    let sqs = &mut Connection::open(&variable("AWS_ENDPOINT_URL_SQS"))?;
    let table = variable("DELIVERIES_TABLE");
    let queue = variable("CONTACTS_QUEUE_URL");
    loop {
        let event = runtime.get("/2018-06-01/runtime/invocation/next")?;
        let body = body_of(&event.body);
        let delivery = delivery_id(body);

        let put = format!(
            r#"{{"TableName":"{table}","Item":{{"delivery_id":{{"S":"{delivery}"}},"status":{{"S":"INPROGRESS"}}}},"ConditionExpression":"attribute_not_exists(delivery_id)"}}"#
        );
        let claimed = dynamodb.call("DynamoDB_20120810.PutItem", &put)?.ok;
        if claimed {
            let send = format!(r#"{{"QueueUrl":"{queue}","MessageBody":"{body}"}}"#);
            sqs.call("AmazonSQS.SendMessage", &send)?;
        }

        let path = format!(
            "/2018-06-01/runtime/invocation/{}/response",
            event.request_id
        );
        runtime.post(
            &path,
            "",
            r#"{"statusCode":200,"body":"{\"received\": true}"}"#,
        )?;

        if claimed {
            let update = format!(
                r##"{{"TableName":"{table}","Key":{{"delivery_id":{{"S":"{delivery}"}}}},"UpdateExpression":"SET #s = :s","ExpressionAttributeNames":{{"#s":"status"}},"ExpressionAttributeValues":{{":s":{{"S":"COMPLETED"}}}}}}"##
            );
            dynamodb.call("DynamoDB_20120810.UpdateItem", &update)?;
        }
    }
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

/// The request's body as it stands in the event: a JSON string's contents, still escaped.
fn body_of(event: &str) -> &str {
    let opening = r#""body":""#;
    let start = event.find(opening).expect("the event has a body") + opening.len();
    let mut escaped = false;
    let length = event[start..].bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    });
    &event[start..start + length.expect("the body ends")]
}

/// The envelope's `id`, which TitanX writes last.
fn delivery_id(body: &str) -> &str {
    let opening = r#"\"id\":\""#;
    let start = body.rfind(opening).expect("the envelope has an id") + opening.len();
    body[start..].split('\\').next().unwrap_or_default()
}

struct Connection {
    stream: BufReader<TcpStream>,
    host: String,
}

struct Answer {
    ok: bool,
    request_id: String,
    body: String,
}

impl Connection {
    fn open(address: &str) -> io::Result<Self> {
        let host = address
            .trim_start_matches("http://")
            .trim_end_matches('/')
            .to_owned();
        let stream = TcpStream::connect(&host)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::new(stream),
            host,
        })
    }

    fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.exchange(&format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n",
            self.host
        ))
    }

    fn call(&mut self, target: &str, body: &str) -> io::Result<Answer> {
        let headers =
            format!("x-amz-target: {target}\r\ncontent-type: application/x-amz-json-1.0\r\n");
        self.post("/", &headers, body)
    }

    fn post(&mut self, path: &str, headers: &str, body: &str) -> io::Result<Answer> {
        let (host, length) = (&self.host, body.len());
        self.exchange(&format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\n{headers}content-length: {length}\r\n\r\n{body}"
        ))
    }

    fn exchange(&mut self, request: &str) -> io::Result<Answer> {
        self.stream.get_mut().write_all(request.as_bytes())?;
        let (mut line, mut length, mut request_id) = (String::new(), 0, String::new());
        self.stream.read_line(&mut line)?;
        let ok = line.as_bytes().get(9) == Some(&b'2');
        loop {
            line.clear();
            self.stream.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.parse().map_err(io::Error::other)?;
            } else if name.eq_ignore_ascii_case("lambda-runtime-aws-request-id") {
                value.clone_into(&mut request_id);
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        let body = String::from_utf8(body).map_err(io::Error::other)?;
        Ok(Answer {
            ok,
            request_id,
            body,
        })
    }
}
