//! Runs the function's program under AWS's runtime interface emulator, which `sam local invoke` uses
//! too. As Lambda does, the emulator starts the program at [`BOOTSTRAP`], where
//! `scripts/runtime-check` installs the release build.

use std::{
    collections::BTreeMap,
    fmt::Display,
    net::{Ipv4Addr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use http_body_util::{BodyExt, Full};
use hyper::{Request, body::Bytes};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;

/// The path of the program that Lambda starts.
pub const BOOTSTRAP: &str = "/var/task/bootstrap";

/// Time limit for the function to become ready. It is long, because the machine may be busy.
const PATIENCE: Duration = Duration::from_mins(1);

/// The interval at which the emulator is asked again.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The running emulator with the function. The emulator stops when this is dropped, and the function
/// stops with it, or at the latest at the end of `scripts/runtime-check`.
pub struct RuntimeInterface {
    emulator: Child,
    url: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl RuntimeInterface {
    /// Starts `emulator`, which starts the function with these environment variables. With
    /// `AWS_LAMBDA_MAX_CONCURRENCY` in them, it runs that many invocations concurrently.
    pub async fn start(emulator: &Path, environment: &BTreeMap<&'static str, String>) -> Self {
        let (invocations, runtime_api) = (free_address(), free_address());
        let emulator = Command::new(emulator)
            .args(["--runtime-interface-emulator-address", &invocations])
            .args(["--runtime-api-address", &runtime_api])
            .env_clear()
            .envs(environment)
            .env("AWS_LAMBDA_FUNCTION_TIMEOUT", "8")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the emulator can be started");
        let interface = Self {
            emulator,
            url: format!("http://{invocations}/2015-03-31/functions/function/invocations"),
            client: Client::builder(TokioExecutor::new()).build_http(),
        };
        let started = tokio::time::timeout(PATIENCE, interface.started()).await;
        started.expect("the function answers after a while");
        interface
    }

    /// Waits until the function answers. The event is not a request, so the function calls no service.
    async fn started(&self) {
        while !self
            .try_invoke("null")
            .await
            .is_ok_and(|answer| answer["statusCode"].is_u64())
        {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Invokes the function with a gateway's event, and returns its response.
    pub async fn invoke(&self, event: &(impl Display + ?Sized)) -> Value {
        // The emulator does not queue an invocation for which no loop of the runtime has asked yet. It
        // refuses it, and the function has not seen it.
        let answered = async {
            loop {
                let answer = self.try_invoke(event).await.expect("an answer in JSON");
                if answer["errorType"] != "Runtime.Unavailable" {
                    return answer;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let answer = tokio::time::timeout(PATIENCE, answered).await;
        answer.expect("a loop of the runtime asks after a while")
    }

    async fn try_invoke(
        &self,
        event: &(impl Display + ?Sized),
    ) -> Result<Value, Box<dyn std::error::Error>> {
        let request = Request::post(&self.url).body(Full::from(event.to_string()))?;
        let response = self.client.request(request).await?.into_body();
        Ok(serde_json::from_slice(
            &response.collect().await?.to_bytes(),
        )?)
    }
}

impl Drop for RuntimeInterface {
    fn drop(&mut self) {
        let _gone_already = self.emulator.kill();
        let _status = self.emulator.wait();
    }
}

fn free_address() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().to_string()
}
