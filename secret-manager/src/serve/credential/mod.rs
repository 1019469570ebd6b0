//! The socket that `LoadCredential=ID:/path` of a systemd unit names.
//!
//! systemd connects, says by its own address which credential of which unit it wants, and reads to
//! the end of the stream. Nobody but uid 0 is believed to be systemd, because any process may take
//! such an address. There is no way to say no but one: more bytes than a credential may have, upon
//! which systemd does not start the unit (243/CREDENTIALS). An empty answer would start it with an
//! empty credential.
//!
//! # Spec
//! systemd.exec(5), `LoadCredential=`; `docs/secrets.md` section 9.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod name;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use daemon::audit::Recorded;
use daemon::limit::{ConnectionPermit, Limiter};
use daemon::peer::{Peer, Principal, authenticate};
use daemon::shutdown::Shutdown;
use rustix::net::SocketAddrUnix;
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use wire::audit::{Kind, Outcome, Record};
use wire::code::{Code, Fault};

use self::name::Asked;
use super::config::Credential;
use super::error::ServeError;
use super::line::{About, Manager, Used, log_failure};
use crate::chain::Freshness;
use crate::secret::{Query, Value};

/// One byte more than systemd takes, so that it refuses to start the unit.
const REFUSAL_BYTES: usize = 1024 * 1024 + 1;
/// How long systemd may take to read.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long answers under way may take when the daemon is asked to stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after a failed accept, so that a lack of descriptors does not become a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The operation, as the audit calls it.
const OPERATION: &str = "credential";

/// What the connections of the socket share.
#[derive(Clone, Debug)]
pub(crate) struct Giver {
    pub(crate) manager: Arc<Manager>,
    pub(crate) credentials: Arc<[Credential]>,
    pub(crate) limiter: Limiter,
}

/// Answers connections until the daemon is asked to stop.
pub(crate) async fn serve(listener: UnixListener, giver: Giver, mut shutdown: Shutdown) {
    let mut answers = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _address)) => {
                    let giver = giver.clone();
                    answers.spawn(async move { giver.answer(stream).await });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection for a credential");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            _ = answers.join_next(), if !answers.is_empty() => {}
            () = shutdown.requested() => break,
        }
    }
    drop(listener);
    let drained = async { while answers.join_next().await.is_some() {} };
    if timeout(DRAIN_TIMEOUT, drained).await.is_err() {
        tracing::warn!(open = answers.len(), "credentials under way were cut");
    }
}

impl Giver {
    async fn answer(&self, mut stream: UnixStream) {
        let principal = Peer::of(&stream).map_err(Into::into).and_then(authenticate);
        let principal = match principal {
            Ok(principal) => principal,
            Err(error) => {
                tracing::warn!(%error, "connection of nobody for a credential");
                return;
            }
        };
        let permit = self.limiter.connection(principal.uid());
        let begun = Instant::now();
        let given = self.give(&stream, &principal, permit.as_ref()).await;
        let written = match &given {
            Ok((value, _recorded)) => {
                timeout(WRITE_TIMEOUT, write(&mut stream, value.as_bytes())).await
            }
            Err(_) => timeout(WRITE_TIMEOUT, write(&mut stream, &vec![0; REFUSAL_BYTES])).await,
        };
        // systemd stops to read a refusal before its end.
        if given.is_ok() && !matches!(written, Ok(Ok(()))) {
            tracing::warn!(after = ?begun.elapsed(), "systemd did not take a credential");
        }
    }

    /// Finds the value, and records that it is given or refused.
    async fn give(
        &self,
        stream: &UnixStream,
        principal: &Principal,
        permit: Result<&ConnectionPermit, &daemon::limit::Busy>,
    ) -> Result<(Value, Recorded), ServeError> {
        let begun = Instant::now();
        let manager = &self.manager;
        let request_id = manager.next_request_id();
        let mut used = Used::default();
        let mut about =
            About { request_id: &request_id, principal, operation: Some(OPERATION), name: None };
        let entry = permit
            .map_err(|busy| ServeError::Busy(*busy))
            .and_then(|_permit| self.entry(stream, principal, &mut used));
        about.name = entry.as_ref().ok().map(|entry| &entry.secret);
        let found = match &entry {
            Ok(entry) => self.read(entry, &mut used).await,
            Err(_) => Err(ServeError::NotFound("")),
        };
        let found = entry.and(found);
        let code = found.as_ref().err().map(ServeError::code);
        manager.metrics.count(Some(OPERATION), code, begun.elapsed());
        if let Err(error) = &found {
            manager.count_refused(error);
            log_failure(&request_id, Some(OPERATION), error);
        }
        let time = manager.clock.now_text();
        let record = Record {
            outcome: Some(code.map_or(Outcome::Ok, Outcome::Failed)),
            ..manager.record_of(&about, &used, Kind::Request, &time)
        };
        let recorded = match found {
            Ok(_) => manager.audit.append(&record),
            Err(_) => manager.audit.append_refusal(&record),
        };
        // No record, no value.
        let recorded = recorded.map_err(|error| manager.unrecorded(&request_id, &error))?;
        Ok((found?, recorded))
    }

    /// The configured credential that the peer asks for.
    fn entry(
        &self,
        stream: &UnixStream,
        principal: &Principal,
        used: &mut Used,
    ) -> Result<&Credential, ServeError> {
        if principal.uid() != 0 {
            return Err(daemon::rules::Denied.into());
        }
        let address = rustix::net::getpeername(stream).map_err(io::Error::from);
        let address = address.ok().flatten().and_then(|any| SocketAddrUnix::try_from(any).ok());
        let asked = address.as_ref().and_then(|address| Asked::parse(address.abstract_name()?));
        let asked = asked.ok_or_else(|| {
            Fault::new(Code::Malformed, "the address of the peer is not one that systemd takes")
        })?;
        used.unit = Some(asked.unit.to_owned());
        let entry = self.credentials.iter().find(|entry| {
            (entry.unit.as_str(), entry.credential.as_str()) == (asked.unit, asked.credential)
        });
        entry.ok_or(ServeError::NotFound("no [[credential]] is for this unit and name"))
    }

    async fn read(&self, entry: &Credential, used: &mut Used) -> Result<Value, ServeError> {
        let chain = &self.manager.chain;
        let query = Query {
            name: entry.secret.clone(),
            version: entry.version.clone(),
            at: Some(chain.now().date),
        };
        let got = chain.get(&query, Freshness::Stored).await?;
        used.version = Some(got.secret.metadata.version.to_string());
        used.from = Some(got.from);
        used.protection = got.protection;
        Ok(got.secret.value)
    }
}

async fn write(stream: &mut UnixStream, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.shutdown().await
}
