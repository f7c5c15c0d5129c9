//! Minimal DynamoDB and SQS endpoints, over TLS and plain HTTP, with a configurable latency for each call.
//!
//! They store the delivery records, so that duplicates are recognised, and count the calls: a contender that skips a call
//! fails instead of looking fast. They check neither expressions nor request signatures; the integration tests do.
//!
//! The testbed's emulators are not used here: they have no TLS, and their CPU time would disturb the measurement.

mod dynamodb;
mod sqs;
mod tls;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde::{Deserialize, Serialize};
use titanx_testbed::http::{Connection, Request, Response};

pub use sqs::hex;

/// How a function reaches the services.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    Tls,
    Plain,
}

/// The running endpoints of both services.
pub struct Endpoints {
    /// Root certificate that the functions have to trust.
    pub authority: PathBuf,
    dynamodb: Addresses,
    sqs: Addresses,
    services: Arc<Services>,
}

struct Addresses {
    plain: SocketAddr,
    tls: SocketAddr,
}

#[derive(Default)]
struct Services {
    dynamodb: dynamodb::DynamoDb,
    sqs: sqs::Sqs,
    delay_us: AtomicU64,
    calls: AtomicU64,
}

type Service = fn(&Services, &Request) -> Result<Response>;

impl Endpoints {
    /// Starts both services; the test authority's certificate is written into `directory`.
    pub fn start(directory: &Path) -> Result<Self> {
        let services = Arc::new(Services::default());
        let authority = directory.join("authority.pem");
        let server = Arc::new(tls::server(&authority)?);
        let listen = |service| {
            anyhow::Ok(Addresses {
                plain: listen(service, &services, None)?,
                tls: listen(service, &services, Some(&server))?,
            })
        };
        Ok(Self {
            authority,
            dynamodb: listen(Services::dynamodb)?,
            sqs: listen(Services::sqs)?,
            services: Arc::clone(&services),
        })
    }

    pub fn dynamodb_url(&self, transport: Transport) -> String {
        self.dynamodb.url(transport)
    }

    pub fn sqs_url(&self, transport: Transport) -> String {
        self.sqs.url(transport)
    }

    /// Every later request waits so long before it is answered.
    pub fn delay(&self, delay: Duration) {
        let micros = u64::try_from(delay.as_micros()).expect("a short delay");
        self.services.delay_us.store(micros, Ordering::Relaxed);
    }

    /// Forgets every item, message and count.
    pub fn clear(&self) {
        self.services.dynamodb.clear();
        self.services.sqs.take();
        self.services.calls.store(0, Ordering::Relaxed);
    }

    /// AWS calls since this was last asked.
    pub fn take_calls(&self) -> u64 {
        self.services.calls.swap(0, Ordering::Relaxed)
    }

    /// Digests (MD5) of the messages sent since this was last asked, in their order.
    pub fn take_messages(&self) -> Vec<String> {
        self.services.sqs.take()
    }
}

impl Addresses {
    fn url(&self, transport: Transport) -> String {
        match transport {
            Transport::Tls => format!("https://{}", self.tls),
            Transport::Plain => format!("http://{}", self.plain),
        }
    }
}

impl Services {
    fn dynamodb(&self, request: &Request) -> Result<Response> {
        self.serve(request, |operation, body| {
            self.dynamodb.answer(operation, body)
        })
    }

    fn sqs(&self, request: &Request) -> Result<Response> {
        self.serve(request, |operation, body| self.sqs.answer(operation, body))
    }

    fn serve(
        &self,
        request: &Request,
        answer: impl Fn(&str, &[u8]) -> Result<Response>,
    ) -> Result<Response> {
        thread::sleep(Duration::from_micros(self.delay_us.load(Ordering::Relaxed)));
        // `GET /ping` opens a connection and asks for nothing.
        let Some(target) = request.header("x-amz-target") else {
            return Ok(Response::new(200, "healthy"));
        };
        self.calls.fetch_add(1, Ordering::Relaxed);
        let (_, operation) = target.split_once('.').context("an operation")?;
        Ok(answer(operation, &request.body)?
            .with("x-amzn-requestid", "00000000-0000-4000-8000-000000000000"))
    }
}

/// Serves on a free port of the loopback address, a thread for each connection, until the program ends.
fn listen(
    service: Service,
    services: &Arc<Services>,
    tls: Option<&Arc<ServerConfig>>,
) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let (services, tls) = (Arc::clone(services), tls.cloned());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (services, tls) = (Arc::clone(&services), tls.clone());
            thread::spawn(move || {
                let _ = stream.set_nodelay(true);
                match tls.map(ServerConnection::new) {
                    None => converse(stream, service, &services),
                    Some(session) => {
                        converse(
                            StreamOwned::new(session.expect("a valid configuration"), stream),
                            service,
                            &services,
                        );
                    }
                }
            });
        }
    });
    Ok(address)
}

fn converse<S: Read + Write>(stream: S, service: Service, services: &Services) {
    let mut connection = Connection::new(stream);
    while let Ok(Some(request)) = connection.read() {
        let response = service(services, &request).unwrap_or_else(|error| {
            eprintln!("endpoint: {} {}: {error:#}", request.method, request.path);
            Response::new(500, "")
        });
        if connection.write(&response).is_err() {
            break;
        }
    }
}
