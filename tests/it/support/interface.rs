//! AWS's own runtime interface emulator around the function's program: what `sam local invoke` and
//! Lambda itself are to it.

use std::{
    collections::BTreeMap,
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

/// The emulator with the function in it. Both end when this is dropped.
pub(crate) struct RuntimeInterface {
    emulator: Child,
    url: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl RuntimeInterface {
    /// Starts `emulator`, which starts the function in this environment.
    pub(crate) async fn start(
        emulator: &Path,
        environment: &BTreeMap<&'static str, String>,
    ) -> Self {
        let (invocations, runtime_api) = (free_address(), free_address());
        let emulator = Command::new(emulator)
            .args(["--runtime-interface-emulator-address", &invocations])
            .args(["--runtime-api-address", &runtime_api])
            .arg(env!("CARGO_BIN_EXE_receiver"))
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
        interface.listens(&invocations).await;
        interface
    }

    async fn listens(&self, address: &str) {
        const PATIENCE: Duration = Duration::from_secs(20);
        let listening = async {
            while tokio::net::TcpStream::connect(address).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let listening = tokio::time::timeout(PATIENCE, listening).await;
        listening.expect("the emulator listens after a while");
    }

    /// Invokes the function with a gateway's event; what it returns is what a gateway would get.
    pub(crate) async fn invoke(&self, event: &Value) -> Value {
        let request = Request::post(&self.url)
            .body(Full::from(event.to_string()))
            .unwrap();
        let response = self.client.request(request).await.unwrap();
        let response = response.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice(&response).unwrap()
    }
}

impl Drop for RuntimeInterface {
    fn drop(&mut self) {
        // The emulator ends the function with itself.
        let _gone_already = self.emulator.kill();
        let _status = self.emulator.wait();
    }
}

fn free_address() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().to_string()
}
