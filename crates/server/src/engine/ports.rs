//! Picks the ports that the server listens on. A port that is free here may be taken a moment
//! later; who starts the server on it copes with that.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

use sinew_model::limits::{ENGINE_MONITOR_PORT, ENGINE_PORT, ENGINE_PORTS};

use super::StartError;

/// Where the server listens on 127.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ports {
    pub(super) client: u16,
    pub(super) monitor: u16,
}

impl Ports {
    pub(super) fn url(self) -> String {
        format!("nats://127.0.0.1:{}", self.client)
    }

    pub(super) fn monitor_url(self) -> String {
        format!("http://127.0.0.1:{}", self.monitor)
    }
}

/// Picks two free ports: the client port that was asked for, and no other; else the `last` one.
pub(super) fn pick(asked: Option<u16>, last: Option<u16>) -> Result<Ports, StartError> {
    let client = match asked.filter(|port| *port != 0) {
        Some(port) => take(port)?,
        None => match last.filter(|port| try_listen(*port).is_ok()) {
            Some(port) => port,
            None => first_free(ENGINE_PORT, None)?,
        },
    };
    Ok(Ports { client, monitor: first_free(ENGINE_MONITOR_PORT, Some(client))? })
}

/// The port of an address such as `nats://127.0.0.1:4222`.
pub(super) fn port_of(url: &str) -> Option<u16> {
    url.rsplit_once(':')?.1.parse().ok()
}

fn take(port: u16) -> Result<u16, StartError> {
    match try_listen(port) {
        Ok(()) => Ok(port),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            Err(StartError::PortTaken { port })
        }
        Err(source) => Err(StartError::PortRefused { port, source }),
    }
}

fn first_free(first: u16, but_not: Option<u16>) -> Result<u16, StartError> {
    (first..first.saturating_add(ENGINE_PORTS))
        .find(|port| Some(*port) != but_not && try_listen(*port).is_ok())
        .ok_or(StartError::NoPort { first, tried: ENGINE_PORTS })
}

fn try_listen(port: u16) -> io::Result<()> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken() -> (TcpListener, u16) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    #[test]
    fn a_taken_port_is_an_error_only_if_it_was_asked_for() {
        let (_listener, port) = taken();
        assert!(
            matches!(pick(Some(port), None), Err(StartError::PortTaken { port: p }) if p == port)
        );
        assert_ne!(pick(None, Some(port)).unwrap().client, port);
    }

    #[test]
    fn the_last_port_is_taken_again() {
        let (listener, port) = taken();
        drop(listener);
        assert_eq!(pick(None, Some(port)).unwrap().client, port);
        assert_ne!(pick(Some(0), None).unwrap().client, 0);
    }

    #[test]
    fn the_two_ports_differ() {
        let ports = pick(None, Some(ENGINE_MONITOR_PORT)).unwrap();
        assert_ne!(ports.client, ports.monitor);
    }

    #[test]
    fn a_port_is_read_from_an_address() {
        let ports = Ports { client: 4223, monitor: 8222 };
        assert_eq!(port_of(&ports.url()), Some(4223));
        assert_eq!(port_of("nats://elsewhere"), None);
    }
}
