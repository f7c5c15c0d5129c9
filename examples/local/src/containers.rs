//! Makes the services reachable for a function in a Docker container, as `sam local invoke` starts
//! it.
//!
//! Inside a container, 127.0.0.1 is the container itself, and [`HOST`] is the host. Docker Desktop
//! forwards connections to that name to the host's loopback interface
//! (<https://docs.docker.com/desktop/features/networking/>). With an engine on Linux, the name is the
//! host's address on Docker's bridge, if the container is started with `--add-host
//! host.docker.internal:host-gateway`. On Linux, the services therefore also listen on that address.

/// The name of the host inside its containers.
pub(crate) const HOST: &str = "host.docker.internal";

/// Replaces the loopback address in a URL with the host's name. Other values are returned unchanged.
pub(crate) fn url(value: &str) -> String {
    value.replace("http://127.0.0.1:", &format!("http://{HOST}:"))
}

/// Makes these ports of the loopback interface reachable from containers, and describes the result.
#[cfg(not(target_os = "linux"))]
pub(crate) async fn expose(_ports: &[u16]) -> String {
    "Containers of Docker Desktop can connect to the services.".to_owned()
}

#[cfg(target_os = "linux")]
pub(crate) use self::bridge::expose;

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

    /// The interface of Docker's default bridge, unless the engine is configured otherwise.
    const DEFAULT_INTERFACE: &str = "docker0";
    /// Time limit for the `docker` command.
    const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);

    /// Makes these ports of the loopback interface reachable from containers, and describes the
    /// result.
    pub(crate) async fn expose(ports: &[u16]) -> String {
        expose_on(&bridge_interface().await, ports)
    }

    fn expose_on(interface: &str, ports: &[u16]) -> String {
        let listening = address(interface).and_then(|address| {
            listen(interface, address, ports)?;
            Ok(address)
        });
        match listening {
            Ok(address) => format!(
                "Containers can connect to the services over Docker's bridge ({interface}, {address})."
            ),
            Err(error) => format!(
                "The services listen only on the loopback interface ({interface}: {error}).\n  \
                 Containers of Docker Desktop can connect to them. For another Docker engine, start it\n  \
                 and run this example again."
            ),
        }
    }

    /// Asks the engine for the interface of its default bridge. Like SAM, the `docker` command
    /// respects `DOCKER_HOST`.
    async fn bridge_interface() -> String {
        let inspect = spawn_blocking(|| {
            let name = r#"{{index .Options "com.docker.network.bridge.name"}}"#;
            let mut docker = Command::new("docker");
            docker.args(["network", "inspect", "bridge", "--format", name]);
            docker.output()
        });
        let name = match timeout(COMMAND_TIMEOUT, inspect).await {
            Ok(Ok(Ok(output))) if output.status.success() => output.stdout,
            _ => return DEFAULT_INTERFACE.to_owned(),
        };
        let name = String::from_utf8_lossy(&name).trim().to_owned();
        if name.is_empty() {
            DEFAULT_INTERFACE.to_owned()
        } else {
            name
        }
    }

    /// Listens on each of these ports of the interface's address, and relays connections to the same port of
    /// the loopback interface.
    fn listen(interface: &str, address: Ipv4Addr, ports: &[u16]) -> io::Result<()> {
        let listeners: io::Result<Vec<_>> = ports
            .iter()
            .map(|&port| listener(interface, SocketAddr::from((address, port))))
            .collect();
        for (listener, &port) in listeners?.into_iter().zip(ports) {
            tokio::spawn(relay(listener, port));
        }
        Ok(())
    }

    fn address(interface: &str) -> io::Result<Ipv4Addr> {
        let mut interfaces = if_addrs::get_if_addrs()?.into_iter();
        let address = interfaces.find_map(|found| match found.ip() {
            IpAddr::V4(address) if found.name == interface => Some(address),
            _ => None,
        });
        address.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such interface"))
    }

    /// A listener that accepts only connections over this interface. Binding the address does not
    /// suffice, because Linux accepts packets for any of its addresses on every interface.
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

    /// Relays data in both directions until both sides are closed.
    async fn connect(mut container: TcpStream, port: u16) -> io::Result<()> {
        let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        container.set_nodelay(true)?;
        server.set_nodelay(true)?;
        copy_bidirectional(&mut container, &mut server).await?;
        Ok(())
    }

    #[cfg(test)]
    mod tests {
        use std::{
            io::{Read, Write},
            net::{self, Shutdown},
            thread,
        };

        use super::*;

        /// Another address of the loopback interface, in place of the bridge's.
        const BRIDGE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

        /// A service that answers each client, once that has sent everything, with its port and what it got.
        fn service() -> u16 {
            let listener = net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let port = listener.local_addr().unwrap().port();
            thread::spawn(move || {
                for stream in listener.incoming() {
                    let (mut stream, mut got) = (stream.unwrap(), String::new());
                    stream.read_to_string(&mut got).unwrap();
                    write!(stream, "{port} got {got}").unwrap();
                }
            });
            port
        }

        /// What a client gets at this port of the bridge.
        fn answer(port: u16, sent: &str) -> String {
            let mut stream = net::TcpStream::connect((BRIDGE, port)).unwrap();
            stream.write_all(sent.as_bytes()).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn each_port_of_the_bridge_leads_to_the_service_on_that_port() {
            let ports = [service(), service(), service()];
            listen("lo", BRIDGE, &ports).unwrap();
            // A port serves more than one client.
            for sent in ["one", "two"] {
                for port in ports {
                    let got = spawn_blocking(move || answer(port, sent)).await.unwrap();
                    assert_eq!(got, format!("{port} got {sent}"));
                }
            }
        }

        /// Else the services would be open to every machine in the network.
        #[tokio::test]
        async fn a_listener_is_bound_to_the_interface_and_not_only_to_its_address() {
            let free = SocketAddr::from((BRIDGE, 0));
            assert!(listener("lo", free).is_ok());
            assert!(listener("no-interface", free).is_err());
        }

        #[tokio::test]
        async fn services_that_no_container_can_reach_are_not_called_reachable() {
            let taken = service();
            for (interface, reason) in [
                ("no-interface", "no-interface: no such interface"),
                // Another process listens on that port of its address.
                ("lo", "lo: "),
            ] {
                let exposed = expose_on(interface, &[taken]);
                let only = "The services listen only on the loopback interface";
                assert!(
                    exposed.starts_with(&format!("{only} ({reason}")),
                    "{exposed}"
                );
            }
        }
    }
}
