//! From a plugin's source to a worker that has answered its first packet: asked for what its
//! provider needs, then started with no more than that.

use std::process::Child;
use std::sync::Arc;
use std::time::Duration;

use provider_core::Needs;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use tokio::net::UnixDatagram;
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use super::message::{self, PACKET_MAX_BYTES, Question};
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

/// Starts a worker and has it open the device, within the time of an opening.
pub(super) async fn start(
    source: &PluginSource,
    spawner: &Arc<Spawner>,
    request: &OpenRequest,
    limit: Duration,
) -> Result<Started, OpenFailure> {
    let starting = Starting { source, spawner, limit, until: Instant::now() + limit };
    let sandbox = match confine::to_ask(source, &request.settings) {
        None => None,
        Some(sandbox) => {
            let question = Question::Needs { sandbox: &sandbox };
            let mut asked = starting.ask(&question, request).await?;
            let needs = message::decode_needs(asked.reply());
            asked.child.end();
            let needs = needs.map_err(|error| gone("its first packet", &error))??;
            Some(starting.sandbox(request, &needs))
        }
    };
    let limits = confine::limits(source);
    let question = Question::Open { sandbox: sandbox.as_ref(), limits };
    let asked = starting.ask(&question, request).await?;
    let opened = message::decode_opened(asked.reply());
    let description = opened.map_err(|error| gone("its first packet", &error))??;
    let Asked { socket, mut child, buffer, .. } = asked;
    Ok(Started { socket, child: child.child.take(), description, buffer })
}

fn gone(what: &str, error: &dyn std::fmt::Display) -> CallError {
    CallError::Gone(format!("{what}: {error}"))
}

struct Starting<'a> {
    source: &'a PluginSource,
    spawner: &'a Arc<Spawner>,
    limit: Duration,
    until: Instant,
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

impl Starting<'_> {
    fn sandbox(&self, request: &OpenRequest, needs: &Needs) -> daemon::sandbox::Sandbox {
        confine::to_work(self.source, &request.settings, needs, self.spawner.own())
    }

    /// Starts a process and waits for its answer to one question.
    async fn ask(
        &self,
        question: &Question<'_>,
        request: &OpenRequest,
    ) -> Result<Asked, CallError> {
        let Self { source, spawner, .. } = *self;
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .map_err(|error| gone("no socket pair", &error))?;
        let socket = std::os::unix::net::UnixDatagram::from(ours);
        socket.set_nonblocking(true).map_err(|error| gone("socket", &error))?;
        let socket = UnixDatagram::from_std(socket).map_err(|error| gone("socket", &error))?;
        let parent = rustix::process::getpid().as_raw_nonzero().get();
        let packet = message::encode_question(source, request, question, parent)
            .map_err(|error| gone("settings or secrets are too long", &error))?;
        let packet = Zeroizing::new(packet);

        let environment = source.environment.clone();
        let child = spawner.spawn(source.provider.clone(), theirs, environment).await;
        let mut child = Unopened {
            child: Some(child.map_err(|error| gone("cannot start", &error))?),
            spawner: Arc::clone(spawner),
        };
        socket.send(&packet).await.map_err(|error| gone("it ended at once", &error))?;
        let mut buffer = Zeroizing::new(vec![0; PACKET_MAX_BYTES]);
        match timeout_at(self.until, receive(&socket, &mut buffer)).await {
            Err(_elapsed) => {
                child.kill();
                Err(CallError::Timeout(self.limit))
            }
            Ok(Err(error)) => Err(gone("its socket failed", &error)),
            Ok(Ok(None)) => {
                let end = child.wait_for_end();
                Err(CallError::Gone(format!("while opening it {end}")))
            }
            Ok(Ok(Some(length))) => Ok(Asked { socket, child, buffer, length }),
        }
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
