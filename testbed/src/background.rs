//! A thread that runs servers during a test.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle, Runtime};

/// A Tokio runtime with its own thread. Its servers run even while the test's runtime is blocked, and
/// are not affected if the test pauses its clock. Dropping it closes all sockets.
pub(crate) struct Background(Option<Runtime>);

impl Background {
    pub(crate) fn start(name: &str) -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name(name)
            .enable_all()
            .build()
            .expect("a thread can be started");
        Self(Some(runtime))
    }

    /// Listens on a free port of the loopback interface. Returns the listener and its URL.
    pub(crate) fn listen(&self) -> (TcpListener, String) {
        self.listen_on(0).expect("a loopback port is free")
    }

    /// Listens on this port of the loopback interface, or on a free port if it is 0.
    pub(crate) fn listen_on(&self, port: u16) -> io::Result<(TcpListener, String)> {
        let _context = self.handle().enter();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        Ok((listener, format!("http://{address}")))
    }

    pub(crate) fn spawn(&self, server: impl Future<Output = ()> + Send + 'static) {
        self.handle().spawn(server);
    }

    pub(crate) fn handle(&self) -> &Handle {
        self.0.as_ref().expect("taken only by drop").handle()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Dropping a runtime blocks, which panics inside a test's own runtime.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
