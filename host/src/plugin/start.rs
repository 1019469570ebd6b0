//! From a plugin's source to a worker that has answered its first packet: asked for what its
//! provider needs, then started with no more than that.

use std::process::Child;
use std::sync::Arc;
use std::time::Duration;

use provider_core::{Needs, Settings};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use tokio::net::UnixDatagram;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::message::{self, Malformed, PACKET_MAX_BYTES};
use super::opening::{Description, OpenFailure};
use super::process::{end_of, receive};
use super::{CallError, OpenRequest, PluginSource, Spawner, confine};

/// A worker that opened its device.
pub(super) struct Started {
    pub(super) socket: UnixDatagram,
    pub(super) child: Option<Child>,
    pub(super) description: Description,
    /// To receive into.
    pub(super) buffer: Zeroizing<Vec<u8>>,
}

/// Starts a process that asks the provider what it needs, and gets no secret.
pub(super) async fn needs(
    source: &PluginSource,
    spawner: &Arc<Spawner>,
    settings: &Settings,
    limit: Duration,
) -> Result<Needs, CallError> {
    let sandbox = confine::to_ask(source, settings);
    let packet = message::encode_question(source, settings, &sandbox, own_pid());
    let mut asked = ask(source, spawner, packet, limit).await?;
    let needs = message::decode_needs(asked.reply());
    asked.child.end();
    needs.map_err(|error| gone("its first packet", &error))?
}

/// Starts a worker and has it open the device.
pub(super) async fn open(
    source: &PluginSource,
    spawner: &Arc<Spawner>,
    request: &OpenRequest,
    limit: Duration,
) -> Result<Started, OpenFailure> {
    let sandbox = source
        .is_confined()
        .then(|| confine::to_work(source, &request.settings, &request.needs, spawner.own()));
    let limits = confine::limits(source);
    let packet = message::encode_open(source, request, sandbox.as_ref(), limits, own_pid());
    let asked = ask(source, spawner, packet, limit).await?;
    let opened = message::decode_opened(asked.reply());
    let description = opened.map_err(|error| gone("its first packet", &error))??;
    let Asked { socket, mut child, buffer, .. } = asked;
    Ok(Started { socket, child: child.child.take(), description, buffer })
}

fn own_pid() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}

fn gone(what: &str, error: &dyn std::fmt::Display) -> CallError {
    CallError::Gone(format!("{what}: {error}"))
}

/// A worker that has answered.
struct Asked {
    socket: UnixDatagram,
    child: Unopened,
    buffer: Zeroizing<Vec<u8>>,
    length: usize,
}

impl Asked {
    fn reply(&self) -> &[u8] {
        self.buffer.get(..self.length).unwrap_or_default()
    }
}

/// Starts a process and waits for its answer to one packet.
async fn ask(
    source: &PluginSource,
    spawner: &Arc<Spawner>,
    packet: Result<Vec<u8>, Malformed>,
    limit: Duration,
) -> Result<Asked, CallError> {
    let packet = packet.map_err(|error| gone("settings or secrets are too long", &error))?;
    let packet = Zeroizing::new(packet);
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(|error| gone("no socket pair", &error))?;
    let socket = std::os::unix::net::UnixDatagram::from(ours);
    socket.set_nonblocking(true).map_err(|error| gone("socket", &error))?;
    let socket = UnixDatagram::from_std(socket).map_err(|error| gone("socket", &error))?;

    let child = spawner.spawn(source.provider.clone(), theirs, source.environment.clone()).await;
    let mut child = Unopened {
        child: Some(child.map_err(|error| gone("cannot start", &error))?),
        spawner: Arc::clone(spawner),
    };
    socket.send(&packet).await.map_err(|error| gone("it ended at once", &error))?;
    drop(packet);
    let mut buffer = Zeroizing::new(vec![0; PACKET_MAX_BYTES]);
    match timeout(limit, receive(&socket, &mut buffer)).await {
        Err(_elapsed) => {
            child.kill();
            Err(CallError::Timeout(limit))
        }
        Ok(Err(error)) => Err(gone("its socket failed", &error)),
        Ok(Ok(None)) => {
            let end = child.wait_for_end();
            Err(CallError::Gone(format!("while opening it {end}")))
        }
        Ok(Ok(Some(length))) => Ok(Asked { socket, child, buffer, length }),
    }
}

/// A worker that has not opened its device yet; ended when dropped.
struct Unopened {
    child: Option<Child>,
    spawner: Arc<Spawner>,
}

impl Unopened {
    fn kill(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended already; then there is nothing to kill.
            let _ = child.kill();
        }
    }

    /// The socket is closed, so the process is ending or gone.
    fn wait_for_end(&mut self) -> String {
        self.child.take().map_or_else(String::new, |child| end_of(child, &self.spawner))
    }

    /// Ends a process that has said all it had to say.
    fn end(&mut self) {
        self.kill();
        let _how = self.wait_for_end();
    }
}

impl Drop for Unopened {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            self.spawner.reap(child);
        }
    }
}
