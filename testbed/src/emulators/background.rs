//! A thread on which servers run beside a test.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle, Runtime};

/// A runtime of its own on a thread of its own: what it serves goes on while the test's runtime is
/// blocked, and does not see the test's paused clock. Dropping it closes every socket at once.
pub struct Background(Option<Runtime>);

impl Background {
    pub fn start(name: &str) -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name(name)
            .enable_all()
            .build()
            .expect("a thread can be started");
        Self(Some(runtime))
    }

    /// A listener on a free port of the loopback interface, and its URL.
    pub fn listen(&self) -> (TcpListener, String) {
        let _context = self.handle().enter();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = std::net::TcpListener::bind(address).expect("a loopback port is free");
        listener
            .set_nonblocking(true)
            .expect("a socket can be non-blocking");
        let listener = TcpListener::from_std(listener).expect("the runtime takes the listener");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        (listener, format!("http://{address}"))
    }

    pub fn spawn(&self, server: impl Future<Output = ()> + Send + 'static) {
        self.handle().spawn(server);
    }

    pub fn handle(&self) -> &Handle {
        self.0.as_ref().expect("taken only by drop").handle()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Not the plain drop, which blocks and so panics inside a test's own runtime.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
