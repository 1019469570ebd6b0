//! Pairs of neighboring TCP ports on the loopback address that no other fixture on this machine
//! uses, also while nothing listens on them.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use crate::{Error, Result};

/// First port handed out. The range lies below the kernel's ephemeral ports (32768 and up), so
/// that no outgoing connection can take a port while its emulator is stopped.
const FIRST: u16 = 12_000;
const PAIRS: u16 = 10_000;
const ATTEMPTS: u32 = 500;

/// A reserved pair; free again when dropped, or when this process ends in any way.
#[derive(Debug)]
pub(crate) struct PortPair {
    first: u16,
    /// An abstract socket name can be bound once on a machine and is released by the kernel.
    _reservation: UnixListener,
}

impl PortPair {
    /// Reserves a pair on which nothing listens now.
    pub(crate) fn reserve() -> Result<Self> {
        for _ in 0..ATTEMPTS {
            let first = FIRST.saturating_add(random_below(PAIRS).saturating_mul(2));
            let Some(reservation) = claim(first) else { continue };
            if listen(first).is_ok() && listen(first.saturating_add(1)).is_ok() {
                return Ok(Self { first, _reservation: reservation });
            }
        }
        Err(Error::Ports { tried: ATTEMPTS })
    }

    /// The lower port.
    pub(crate) const fn first(&self) -> u16 {
        self.first
    }

    /// The higher port.
    pub(crate) const fn second(&self) -> u16 {
        self.first.saturating_add(1)
    }
}

/// Listens on a loopback port.
pub(crate) fn listen(port: u16) -> std::io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
}

fn claim(first: u16) -> Option<UnixListener> {
    let name = format!("sealhost-fixture-port-{first}");
    let address = SocketAddr::from_abstract_name(name).ok()?;
    UnixListener::bind_addr(&address).ok()
}

fn random_below(limit: u16) -> u16 {
    // Each `RandomState` has fresh keys.
    let drawn = RandomState::new().build_hasher().finish() % u64::from(limit);
    u16::try_from(drawn).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_pair_is_claimed_until_dropped() {
        let pair = PortPair::reserve().unwrap();
        let first = pair.first();
        assert!(claim(first).is_none());
        drop(pair);
        // A process that a parallel test is just starting holds the socket until it is exec'ed.
        let patience = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while claim(first).is_none() {
            assert!(std::time::Instant::now() < patience, "it is still claimed");
            std::thread::yield_now();
        }
    }

    #[test]
    fn pairs_stay_below_the_ephemeral_range() {
        assert!(u32::from(FIRST) + 2 * u32::from(PAIRS) < 32_768);
    }
}
