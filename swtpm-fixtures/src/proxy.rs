//! A TCP proxy in front of an emulator that counts the commands which reach the TPM, and can
//! answer some of them itself.

mod deed;

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use deed::Orders;
pub use deed::{Aim, Deed};

use crate::ports::{self, PortPair};
use crate::swtpm::{self, Swtpm};
use crate::{Error, Result};

/// Bytes of the header of every command and response: tag, size, code (TPM 2.0 Part 1, 18.1).
const HEADER_BYTES: usize = 10;
/// Largest command or response forwarded, bytes; no TPM takes more.
const MESSAGE_MAX_BYTES: usize = 65_536;
/// Bytes of traffic remembered; what comes later is only forwarded.
const TRAFFIC_MAX_BYTES: usize = 1 << 20;

/// Counts by command code (TPM 2.0 Part 2, table 12).
pub type Counts = BTreeMap<u32, u64>;

/// A proxy with ports of its own. It forwards the command port and the control port (the next
/// one) and looks only at the former.
#[derive(Debug)]
pub struct CommandCounter {
    ports: PortPair,
    shared: Arc<Shared>,
    acceptors: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    closing: AtomicBool,
    counts: Mutex<Counts>,
    orders: Mutex<Orders>,
    traffic: Mutex<Vec<u8>>,
}

impl CommandCounter {
    /// Starts a proxy in front of an emulator; it finds the emulator again after a restart.
    ///
    /// # Errors
    /// `Ports`, `Io`: no ports to listen on.
    pub fn in_front_of(swtpm: &Swtpm) -> Result<Self> {
        let ports = PortPair::reserve()?;
        let shared = Arc::new(Shared::default());
        let commands = listener(ports.first())?;
        let control = listener(ports.second())?;
        let upstream = swtpm.port();
        let counted = Arc::clone(&shared);
        let acceptors = vec![
            accept(commands, Arc::clone(&shared), move |client| {
                forward_commands(client, upstream, &counted)
            }),
            accept(control, Arc::clone(&shared), move |client| {
                forward_bytes(client, upstream.saturating_add(1))
            }),
        ];
        Ok(Self { ports, shared, acceptors })
    }

    /// The address for a TPM library.
    #[must_use]
    pub fn tcti(&self) -> String {
        swtpm::tcti_of(self.ports.first())
    }

    /// The commands seen since the start or the last [`reset`](Self::reset).
    #[must_use]
    pub fn counts(&self) -> Counts {
        lock(&self.shared.counts).clone()
    }

    /// Forgets the commands seen and the traffic.
    pub fn reset(&self) {
        lock(&self.shared.counts).clear();
        lock(&self.shared.traffic).clear();
    }

    /// Whether these bytes passed in a command or a response, as a wiretap would see them. Only
    /// the first mebibyte since the last [`reset`](Self::reset) is remembered.
    #[must_use]
    pub fn saw(&self, bytes: &[u8]) -> bool {
        let traffic = lock(&self.shared.traffic);
        !bytes.is_empty() && traffic.windows(bytes.len()).any(|window| window == bytes)
    }

    /// Answers the next `times` commands of code `command` with the bare response code
    /// `response`; the TPM does not see them, and they are counted.
    pub fn answer_next(&self, command: u32, response: u32, times: u32) {
        self.order(Aim { command: Some(command), skip: 0, times }, Deed::Answer(response));
    }

    /// Flips one bit in the middle of the TPM's responses to the next `times` commands of code
    /// `command`.
    pub fn alter_next(&self, command: u32, times: u32) {
        self.order(Aim { command: Some(command), skip: 0, times }, Deed::Alter);
    }

    /// Does this to these commands. Of several orders that a command fits, the first given is
    /// the one that it meets.
    pub fn order(&self, aim: Aim, deed: Deed) {
        lock(&self.shared.orders).add(aim, deed);
    }

    /// Forgets all orders: commands only pass from now on.
    pub fn forget_orders(&self) {
        lock(&self.shared.orders).clear();
    }
}

impl Drop for CommandCounter {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        for port in [self.ports.first(), self.ports.second()] {
            // Wakes the acceptor, which then sees the flag.
            let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
        }
        for acceptor in self.acceptors.drain(..) {
            let _ = acceptor.join();
        }
    }
}

impl Shared {
    fn record(&self, message: &[u8]) {
        let mut traffic = lock(&self.traffic);
        if traffic.len().saturating_add(message.len()) <= TRAFFIC_MAX_BYTES {
            traffic.extend_from_slice(message);
        }
    }

    /// Counts a command and returns what to do with it, if anything was ordered.
    fn see(&self, command: u32) -> Option<Deed> {
        let mut counts = lock(&self.counts);
        let count = counts.entry(command).or_default();
        *count = count.saturating_add(1);
        lock(&self.orders).meet(command)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn listener(port: u16) -> Result<TcpListener> {
    ports::listen(port).map_err(Error::io(format!("listen on port {port}")))
}

fn accept(
    listener: TcpListener,
    shared: Arc<Shared>,
    serve: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static,
) -> JoinHandle<()> {
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for client in listener.incoming() {
            if shared.closing.load(Ordering::SeqCst) {
                return;
            }
            let (Ok(client), serve) = (client, Arc::clone(&serve)) else { continue };
            // A broken connection ends like one to the emulator itself: the client sees it closed.
            thread::spawn(move || serve(client));
        }
    })
}

fn forward_commands(mut client: TcpStream, upstream: u16, shared: &Shared) -> io::Result<()> {
    client.set_nodelay(true)?;
    // The emulator serves one connection at a time, so that one whose command is held back has none.
    let mut server = None;
    while let Some(command) = read_message(&mut client)? {
        let deed = code_of(&command).and_then(|code| shared.see(code));
        if let Some(answer) = deed.and_then(Deed::own_answer) {
            client.write_all(&answer)?;
            continue;
        }
        match deed {
            Some(Deed::Close) => return Ok(()),
            Some(Deed::Delay(time)) => thread::sleep(time),
            Some(_) | None => {}
        }
        let server = match &mut server {
            Some(server) => server,
            none => none.insert(connect(upstream)?),
        };
        shared.record(&command);
        server.write_all(&command)?;
        let Some(mut response) = read_message(server)? else { return Ok(()) };
        if let Some(deed) = deed {
            deed.falsify(&mut response);
        }
        shared.record(&response);
        client.write_all(&response)?;
        if deed == Some(Deed::Truncate) {
            return Ok(());
        }
    }
    Ok(())
}

fn forward_bytes(client: TcpStream, upstream: u16) -> io::Result<()> {
    let server = connect(upstream)?;
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    let upward = thread::spawn(move || {
        let result = io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Write);
        result
    });
    let (mut from_server, mut to_client) = (server, client);
    io::copy(&mut from_server, &mut to_client)?;
    let _ = to_client.shutdown(Shutdown::Both);
    let _ = upward.join();
    Ok(())
}

fn connect(port: u16) -> io::Result<TcpStream> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    server.set_nodelay(true)?;
    Ok(server)
}

/// Reads one whole message, or nothing at the end of the stream.
fn read_message(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut message = vec![0; HEADER_BYTES];
    match stream.read_exact(&mut message) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        outcome => outcome?,
    }
    let total = size_of_message(&message).ok_or(io::ErrorKind::InvalidData)?;
    message.resize(total, 0);
    stream.read_exact(message.get_mut(HEADER_BYTES..).unwrap_or_default())?;
    Ok(Some(message))
}

fn size_of_message(header: &[u8]) -> Option<usize> {
    let size = usize::try_from(u32_at(header, 2)?).ok()?;
    (HEADER_BYTES..=MESSAGE_MAX_BYTES).contains(&size).then_some(size)
}

fn code_of(message: &[u8]) -> Option<u32> {
    u32_at(message, 6)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*field))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_size_is_bounded() {
        let header = |size: u32| [&[0x80, 1][..], &size.to_be_bytes(), &[0; 4]].concat();
        assert_eq!(size_of_message(&header(9)), None);
        assert_eq!(size_of_message(&header(10)), Some(10));
        assert_eq!(size_of_message(&header(65_536)), Some(65_536));
        assert_eq!(size_of_message(&header(65_537)), None);
    }
}
