//! The environment of the function's program besides its configuration: proxies, and credentials from the
//! container's endpoint.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use titanx_testbed::{
    emulators::{Emulators, FaultProxy},
    front_door::{Answer, TIMEOUT, environment, read},
    lambda::{Lambda, Outcome},
    server::{self, Server},
    titanx::{contact, request, signature, signed},
};

/// A forward proxy for some hosts. It records the data that it forwards.
struct ForwardProxy {
    url: String,
    connections: Arc<AtomicUsize>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl ForwardProxy {
    /// Starts a proxy that forwards requests for each of `hosts` to its URL.
    fn start(hosts: BTreeMap<&'static str, String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let connections = Arc::<AtomicUsize>::default();
        let (seen, opened) = (Arc::clone(&heads), Arc::clone(&connections));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                opened.fetch_add(1, Ordering::SeqCst);
                let (hosts, seen) = (hosts.clone(), Arc::clone(&seen));
                thread::spawn(move || relay(stream, &hosts, &seen));
            }
        });
        Self {
            url,
            connections,
            heads,
        }
    }

    /// The number of connections to the proxy.
    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

/// Forwards a connection to the host in its first request. For an unknown host the response is 502.
fn relay(
    mut client: TcpStream,
    hosts: &BTreeMap<&'static str, String>,
    seen: &Mutex<Vec<String>>,
) -> Option<()> {
    let mut reader = BufReader::new(client.try_clone().ok()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    seen.lock().unwrap().push(head.clone());
    let known = |(host, _): &(&&str, &String)| head.contains(&format!(" http://{host}/"));
    let Some((_, url)) = hosts.iter().find(known) else {
        let refusal = b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n";
        return client.write_all(refusal).ok();
    };
    let mut server = TcpStream::connect(url.strip_prefix("http://")?).ok()?;
    server.write_all(head.as_bytes()).ok()?;
    let mut responses = server.try_clone().ok()?;
    thread::spawn(move || {
        let _either_side_may_go = io::copy(&mut responses, &mut client);
    });
    let mut buffer = [0; 8_192];
    loop {
        let length = reader.read(&mut buffer).ok().filter(|it| *it > 0);
        let Some(length) = length else { break };
        let request = String::from_utf8_lossy(&buffer[..length]).into_owned();
        seen.lock().unwrap().push(request);
        server.write_all(&buffer[..length]).ok()?;
    }
    server.shutdown(Shutdown::Both).ok()
}

/// Delivers one contact to a process of the function in this environment.
async fn deliver(environment: &BTreeMap<&'static str, String>) -> Answer {
    let lambda = Lambda::new(TIMEOUT);
    let program = env!("CARGO_BIN_EXE_receiver").as_ref();
    let _process = lambda.start(program, environment);
    match lambda.invoke(&signed(&contact("delivery-1"))).await {
        Outcome::Answered(response) => read(&response),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn calls_go_through_the_configured_proxy_except_for_the_hosts_in_no_proxy() {
    let emulators = Emulators::start();
    let hosts = BTreeMap::from([
        ("dynamodb.test", emulators.dynamodb_url.clone()),
        ("sqs.test", emulators.sqs_url.clone()),
    ]);
    let proxy = ForwardProxy::start(hosts);
    // The secret is read at 127.0.0.1.
    let mut environment = emulators.environment();
    environment.insert(
        "AWS_ENDPOINT_URL_DYNAMODB",
        "http://dynamodb.test".to_owned(),
    );
    environment.insert("AWS_ENDPOINT_URL_SQS", "http://sqs.test".to_owned());
    environment.insert("HTTP_PROXY", proxy.url.clone());
    environment.insert("NO_PROXY", "127.0.0.1".to_owned());
    assert_eq!(deliver(&environment).await, Answer::accepted());
    assert_eq!(emulators.contacts.len(), 1);
    let heads = proxy.heads();
    for host in ["dynamodb.test", "sqs.test"] {
        assert!(
            heads.iter().any(|it| it.contains(host)),
            "{host}: {heads:?}"
        );
    }
    assert!(
        !heads.iter().any(|it| it.contains("GetSecretValue")),
        "{heads:?}"
    );

    // No proxy is used for any host, so these hosts are not found.
    environment.insert("NO_PROXY", "*".to_owned());
    assert_eq!(deliver(&environment).await.status, 503);
    assert_eq!(emulators.contacts.len(), 1);
}

#[tokio::test]
async fn https_goes_through_a_tunnel_of_the_proxy() {
    let emulators = Emulators::start();
    let proxy = ForwardProxy::start(BTreeMap::new());
    let mut environment = environment(&emulators);
    environment.remove("AWS_ENDPOINT_URL_DYNAMODB");
    environment.insert("HTTPS_PROXY", proxy.url.clone());
    assert_eq!(deliver(&environment).await.status, 503);
    let heads = proxy.heads();
    let tunnel = "CONNECT dynamodb.us-east-1.amazonaws.com:443 HTTP/1.1";
    assert!(heads.iter().all(|it| it.starts_with(tunnel)), "{heads:?}");
    assert!(!heads.is_empty());
}

/// A container's credentials endpoint, and its requests with their tokens.
fn container_endpoint(answer: Value) -> (Server, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let seen = Arc::clone(&asked);
    let server = Server::start("credentials", move |request| {
        let token = request.headers()["authorization"].to_str().unwrap();
        let (method, path) = (request.method(), request.uri().path());
        seen.lock()
            .unwrap()
            .push(format!("{method} {path} {token}"));
        let answer = server::json(200, &answer);
        async { Some(answer) }
    });
    (server, asked)
}

#[tokio::test]
async fn container_credentials_sign_the_calls_if_there_are_no_others() {
    let (endpoint, asked) = container_endpoint(json!({
        "AccessKeyId": "AKIDCONTAINER", "SecretAccessKey": "key", "Token": "token",
        "Expiration": "2100-01-01T00:00:00Z",
    }));
    let url = format!("{}/credentials", endpoint.origin);
    let emulators = Emulators::start();
    let proxy = ForwardProxy::start(BTreeMap::from([(
        "dynamodb.test",
        emulators.dynamodb_url.clone(),
    )]));
    let mut environment = environment(&emulators);
    environment.remove("AWS_ACCESS_KEY_ID");
    environment.remove("AWS_SECRET_ACCESS_KEY");
    environment.insert("AWS_CONTAINER_CREDENTIALS_FULL_URI", url);
    environment.insert("AWS_CONTAINER_AUTHORIZATION_TOKEN", "let-me-in".to_owned());
    environment.insert(
        "AWS_ENDPOINT_URL_DYNAMODB",
        "http://dynamodb.test".to_owned(),
    );
    // Calls to SQS and to the credentials endpoint do not use the proxy.
    environment.insert("HTTP_PROXY", proxy.url.clone());
    environment.insert("NO_PROXY", "127.0.0.1".to_owned());

    assert_eq!(deliver(&environment).await, Answer::accepted());
    let heads = proxy.heads();
    let is_signed = |head: &String| head.contains("Credential=AKIDCONTAINER/");
    assert!(heads.iter().any(is_signed), "{heads:?}");
    // Credentials are cached until they expire.
    assert_eq!(*asked.lock().unwrap(), ["GET /credentials let-me-in"]);
}

/// A service that answers every call with `ExpiredTokenException`.
fn expired_session() -> Server {
    Server::start("expired-session", |_| async {
        let error = json!({"__type": "com.amazon.coral.service#ExpiredTokenException"});
        Some(server::json(400, &error))
    })
}

#[tokio::test]
async fn an_expired_session_is_answered_503_and_ends_the_process() {
    for at_once in ["1", "4"] {
        let emulators = Emulators::start();
        let mut environment = environment(&emulators);
        environment.insert("AWS_LAMBDA_MAX_CONCURRENCY", at_once.to_owned());
        let service = expired_session();
        environment.insert("AWS_ENDPOINT_URL_DYNAMODB", service.origin.clone());
        let lambda = Lambda::new(TIMEOUT);
        let program = env!("CARGO_BIN_EXE_receiver").as_ref();
        let mut process = lambda.start(program, &environment);
        let event = signed(&contact("delivery-1"));
        let Outcome::Answered(response) = lambda.invoke(&event).await else {
            panic!("it is answered");
        };
        assert_eq!(read(&response).status, 503);
        let ended = process.ended(Duration::from_secs(5)).await;
        assert_eq!(ended.expect("it ends by itself").code(), Some(1));
        process.kill();
        let lines = process.take_output();
        let [delivery, end] = &lines[..] else {
            panic!("{lines:?}");
        };
        assert!(delivery.contains("ExpiredTokenException"), "{delivery}");
        assert!(
            end.contains("the receiver stopped") && end.contains("expired"),
            "{end}"
        );
    }
}

#[tokio::test]
async fn a_restored_snapshot_has_fresh_secrets_and_connections() {
    let emulators = Emulators::start();
    let mut environment = emulators.environment();
    let proxy = FaultProxy::start(&emulators.secrets_manager_url, 1);
    environment.insert("AWS_ENDPOINT_URL_SECRETS_MANAGER", proxy.url.clone());
    environment.insert("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start".to_owned());
    // A proxy to DynamoDB that counts connections.
    let dynamodb = emulators.dynamodb_url.clone();
    let way = ForwardProxy::start(BTreeMap::from([("dynamodb.test", dynamodb)]));
    environment.insert(
        "AWS_ENDPOINT_URL_DYNAMODB",
        "http://dynamodb.test".to_owned(),
    );
    environment.insert("HTTP_PROXY", way.url.clone());
    environment.insert("NO_PROXY", "127.0.0.1".to_owned());
    let lambda = Lambda::new(TIMEOUT);
    let program = env!("CARGO_BIN_EXE_receiver").as_ref();
    let process = lambda.start(program, &environment);
    process.is_ready_for_snapshot().await;
    assert_eq!(proxy.calls().len(), 1);
    assert_eq!(way.connections(), 1);

    // A week passes.
    emulators.secret.rotate("wh_sk_rotated");
    process.restore();
    process.has_asked(1).await;
    assert_eq!(proxy.calls().len(), 2);
    assert_eq!(way.connections(), 2, "the one of before is not used again");
    let body = contact("delivery-1");
    let event = request(&body, Some(&signature("wh_sk_rotated", body.as_bytes())));
    let Outcome::Answered(response) = lambda.invoke(&event).await else {
        panic!("it is answered");
    };
    assert_eq!(read(&response), Answer::accepted());
    // Secrets that were read before the snapshot are not used.
    let Outcome::Answered(response) = lambda.invoke(&signed(&body)).await else {
        panic!("it is answered");
    };
    assert_eq!(read(&response).status, 401);
}
