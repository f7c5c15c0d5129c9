//! How the function in a Docker container reaches what runs here, for `sam local invoke`.
//!
//! Inside a container, 127.0.0.1 is the container; the machine around it is called [`HOST`]. Docker
//! Desktop forwards connections to that name from a process on the machine, so they reach what
//! listens on loopback (<https://docs.docker.com/desktop/features/networking/>). With an engine on
//! Linux the name is the machine's address on Docker's bridge, if the container is started with
//! `--add-host host.docker.internal:host-gateway`. So on Linux there is a listener on that address too.

/// The name of the machine inside its containers.
pub(crate) const HOST: &str = "host.docker.internal";

/// The URL inside a container of what listens on loopback here. Anything else stays as it is.
pub(crate) fn url(value: &str) -> String {
    value.replace("http://127.0.0.1:", &format!("http://{HOST}:"))
}

/// Lets containers in to these ports of the loopback interface, and says how that went.
#[cfg(not(target_os = "linux"))]
pub(crate) async fn admit(_ports: &[u16]) -> String {
    "Docker Desktop reaches the services on loopback.".to_owned()
}

#[cfg(target_os = "linux")]
pub(crate) use self::bridge::admit;

#[cfg(target_os = "linux")]
mod bridge {
    use std::{
        io,
        net::{IpAddr, Ipv4Addr, SocketAddr},
        process::Command,
        time::Duration,
    };

    use tokio::{
        io::copy_bidirectional,
        net::{TcpListener, TcpSocket, TcpStream},
        task::spawn_blocking,
        time::timeout,
    };

    /// The interface of Docker's default bridge, unless the engine is told another one.
    const DEFAULT: &str = "docker0";
    /// How long Docker's command may take.
    const PATIENCE: Duration = Duration::from_secs(5);

    /// Lets containers in to these ports of the loopback interface, and says how that went.
    pub(crate) async fn admit(ports: &[u16]) -> String {
        let interface = name().await;
        match listen(&interface, ports) {
            Ok(address) => format!(
                "The services listen on Docker's bridge too ({interface}, {address}), for containers alone."
            ),
            Err(error) => format!(
                "The services listen on loopback alone ({interface}: {error}).\n  \
                 Docker Desktop reaches them there. For any other engine, start this again once it runs."
            ),
        }
    }

    /// Asks the engine for the interface of its default bridge; the command goes by `DOCKER_HOST`, as
    /// SAM does.
    async fn name() -> String {
        let asked = spawn_blocking(|| {
            let name = r#"{{index .Options "com.docker.network.bridge.name"}}"#;
            let mut docker = Command::new("docker");
            docker.args(["network", "inspect", "bridge", "--format", name]);
            docker.output()
        });
        let name = match timeout(PATIENCE, asked).await {
            Ok(Ok(Ok(output))) if output.status.success() => output.stdout,
            _ => return DEFAULT.to_owned(),
        };
        let name = String::from_utf8_lossy(&name).trim().to_owned();
        if name.is_empty() {
            DEFAULT.to_owned()
        } else {
            name
        }
    }

    /// Listens on the interface at each of these ports, for the server on loopback at the same port.
    fn listen(interface: &str, ports: &[u16]) -> io::Result<Ipv4Addr> {
        let address = address(interface)?;
        let listeners: io::Result<Vec<_>> = ports
            .iter()
            .map(|&port| listener(interface, SocketAddr::from((address, port))))
            .collect();
        for (listener, &port) in listeners?.into_iter().zip(ports) {
            tokio::spawn(relay(listener, port));
        }
        Ok(address)
    }

    fn address(interface: &str) -> io::Result<Ipv4Addr> {
        let mut interfaces = if_addrs::get_if_addrs()?.into_iter();
        let address = interfaces.find_map(|found| match found.ip() {
            IpAddr::V4(address) if found.name == interface => Some(address),
            _ => None,
        });
        address.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such interface"))
    }

    /// A listener for connections that come over this interface only. Its address alone would not keep
    /// others out: Linux takes a packet for any of its addresses on every interface.
    fn listener(interface: &str, address: SocketAddr) -> io::Result<TcpListener> {
        let socket = TcpSocket::new_v4()?;
        socket.bind_device(Some(interface.as_bytes()))?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(128)
    }

    async fn relay(listener: TcpListener, port: u16) {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(connect(stream, port));
        }
    }

    /// Passes on what comes either way, until both sides have closed.
    async fn connect(mut container: TcpStream, port: u16) -> io::Result<()> {
        let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        container.set_nodelay(true)?;
        server.set_nodelay(true)?;
        copy_bidirectional(&mut container, &mut server).await?;
        Ok(())
    }
}
