//! TCP ports that stay ours for as long as a test needs them, also while the server that listened
//! there is dead: a restart must find the same port free.
//!
//! They lie below the range from which the system picks ports for outgoing connections, because
//! a client that keeps trying to reconnect may otherwise be given the very port it dials (and
//! then talks to itself). A locked file per port keeps other tests away; the lock ends with the
//! process, whatever ends it.

use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

/// Above what is commonly in use, below where outgoing ports begin (32768 on Linux).
const RANGE: std::ops::Range<u16> = 12_000..32_000;

/// A port of 127.0.0.1 that no other test gets until this is dropped.
#[derive(Debug)]
pub struct Port {
    number: u16,
    /// Held for its lock, which other processes and other threads respect.
    _lock: File,
}

impl Port {
    /// Takes a free one.
    ///
    /// # Panics
    /// When none is free.
    #[must_use]
    pub fn lease() -> Self {
        let folder = lock_folder();
        std::fs::create_dir_all(&folder).expect("making the folder of port locks");
        // Starting anywhere keeps tests that run at once from trying the same ports in turn.
        let size = RANGE.end - RANGE.start;
        let start = RandomState::new().hash_one(0) % u64::from(size);
        let start = u16::try_from(start).expect("a remainder is less than its divisor");
        (0..size)
            .map(|step| RANGE.start + (start + step) % size)
            .find_map(|number| {
                let lock = File::create(folder.join(number.to_string())).ok()?;
                lock.try_lock().ok()?;
                TcpListener::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
                Some(Self { number, _lock: lock })
            })
            .expect("not one port is free")
    }

    /// Its number.
    #[must_use]
    pub const fn number(&self) -> u16 {
        self.number
    }
}

/// One folder for each person, since another's files cannot be opened.
fn lock_folder() -> PathBuf {
    let person = rustix::process::getuid().as_raw();
    std::env::temp_dir().join(format!("sinew-testkit-ports-{person}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn leased_ports_differ_though_nobody_listens() {
        let ports: Vec<Port> = (0..100).map(|_| Port::lease()).collect();
        let numbers: HashSet<u16> = ports.iter().map(Port::number).collect();
        assert_eq!(numbers.len(), ports.len());
    }
}
