//! AWS's own runtime interface emulator around the function's program: what `sam local invoke` and
//! Lambda itself are to it. Like Lambda it takes the program from [`BOOTSTRAP`], where
//! `scripts/runtime-check` puts the release build.

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

/// Where Lambda finds a function.
pub const BOOTSTRAP: &str = "/var/task/bootstrap";

/// How long the function may take to its first answer; a machine may be busy.
const PATIENCE: Duration = Duration::from_mins(1);

/// The emulator with the function in it. It ends when this is dropped, and the function with it or
/// at the latest with the script that started all of it.
pub struct RuntimeInterface {
    emulator: Child,
    url: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl RuntimeInterface {
    /// Starts `emulator`, which starts the function in this environment. It offers several
    /// invocations at once if the environment says how many.
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

    /// Returns once the function answers; what it is asked is no request, and takes no call to AWS.
    async fn started(&self) {
        while !self
            .try_invoke("null")
            .await
            .is_ok_and(|answer| answer["statusCode"].is_u64())
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Invokes the function with a gateway's event; what it returns is what a gateway would get.
    pub async fn invoke(&self, event: &(impl Display + ?Sized)) -> Value {
        self.try_invoke(event).await.expect("an answer in JSON")
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
