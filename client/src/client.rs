//! The async client.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use wire::api::{
    CounterRecord, CounterReply, CreateCounterRequest, CreateRequest, DestroyCounterReply,
    DestroyReply, ImportRequest, ItemResult, KeyRecord, MacItem, MacReply, ProviderStatus,
    PublicReply, RandomReply, RewrapItem, RewrapReply, SealItem, SealReply, SealedText, SignReply,
    Status, UnsealItem, UnsealReply, VerifyReply,
};
use wire::code::Problem;
use wire::context::EncryptionContext;
use wire::limits::{DIGEST_BYTES, MAC_BYTES};
use wire::name::{KeyName, ProviderName};

use crate::call::{Call, Reply};
use crate::connection::{Answer, Broken, Connection, Message};
use crate::error::{ConnectError, ConnectReason, Error, ProtocolError};
use crate::keyd;
use crate::pool::Pool;

/// Longer than the host gives a device to generate a key (120 s), so that the host's own answer
/// comes first.
const TIMEOUT: Duration = Duration::from_secs(130);

/// Longest body of a reply, unless set otherwise: the list of some 50,000 keys.
const REPLY_MAX_BYTES: usize = 16 * 1024 * 1024;

/// A client of one host, for programs on tokio. Clones share their connections.
///
/// As many connections are opened as calls are under way at once; idle ones are used again and
/// closed after 30 s. A call that is dropped closes its connection; the host may still do it.
///
/// After a restart of the host a kept connection is dead. That is noticed before it is used, or
/// the call is sent once more on a new connection: always when not a byte of it was taken, and
/// otherwise when not a byte of a reply came and the call changes no key or counter. One that does
/// is [`Error::Unanswered`] then.
///
/// Use a client and its clones within one tokio runtime, with I/O and time enabled.
///
/// # Limits
/// A reply has at most 16 MiB, and is waited for 130 s at most, connecting included; both can be
/// set.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
    server_uid: Option<u32>,
    timeout: Duration,
    reply_limit: usize,
    pool: Arc<Pool>,
}

impl Client {
    /// A client of the host that listens on `socket`. Connects when first used.
    pub fn new(socket: impl AsRef<Path>) -> Self {
        Self {
            socket: socket.as_ref().to_owned(),
            server_uid: None,
            timeout: TIMEOUT,
            reply_limit: REPLY_MAX_BYTES,
            pool: Arc::new(Pool::default()),
        }
    }

    /// Accepts a host that runs as this user, and no other. Otherwise root, the caller's own
    /// user and the owner of the socket file are accepted.
    ///
    /// With socket activation by systemd the listener is root's.
    #[must_use]
    pub fn expect_server_uid(self, uid: u32) -> Self {
        Self { server_uid: Some(uid), pool: Arc::new(Pool::default()), ..self }
    }

    /// Waits at most this long for each reply.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Refuses replies with a longer body.
    #[must_use]
    pub fn reply_limit_bytes(self, reply_limit: usize) -> Self {
        Self { reply_limit, ..self }
    }

    /// Sends a call.
    ///
    /// # Errors
    /// Any of [`Error`] but `Limit`.
    pub async fn send<T>(&self, call: &Call<T>) -> Result<Reply<T>, Error> {
        let exchange = self.exchange(call.message(), call.is_change());
        let after = self.timeout;
        let answer = tokio::time::timeout(after, exchange).await;
        let answer = answer.map_err(|_elapsed| Error::Timeout { after })??;
        let Answer { status, request_id, body: document } = answer;
        if !(200..300).contains(&status) {
            return Err(refusal(status, request_id.as_deref(), &document));
        }
        let value = call.decode(&document)?;
        Ok(Reply { value, document, request_id })
    }

    async fn exchange(&self, message: &Message, is_change: bool) -> Result<Answer, Error> {
        if let Some(kept) = self.pool.take() {
            match self.exchange_on(kept, message).await {
                Err(Broken::NotSent(_)) => {}
                Err(Broken::Unanswered) if !is_change => {}
                Err(Broken::Unanswered) => return Err(Error::Unanswered { is_change }),
                Err(Broken::Protocol(error)) => return Err(error.into()),
                Ok(answer) => return Ok(answer),
            }
        }
        let fresh = Connection::open(&self.socket, self.server_uid).await;
        let fresh = fresh.map_err(|reason| self.connect_error(reason))?;
        self.exchange_on(fresh, message).await.map_err(|broken| match broken {
            Broken::NotSent(error) => self.connect_error(error.into()).into(),
            Broken::Unanswered => Error::Unanswered { is_change },
            Broken::Protocol(error) => error.into(),
        })
    }

    async fn exchange_on(&self, on: Connection, message: &Message) -> Result<Answer, Broken> {
        let (answer, kept) = on.exchange(message, self.reply_limit).await?;
        if let Some(connection) = kept {
            self.pool.put(connection);
        }
        Ok(answer)
    }

    fn connect_error(&self, reason: ConnectReason) -> ConnectError {
        ConnectError { socket: self.socket.clone(), reason }
    }
}

/// One method per endpoint of `docs/api.md`, where the codes of its refusals stand.
///
/// # Errors
/// Each: any of [`Error`].
impl Client {
    /// Makes a key.
    pub async fn create(
        &self,
        name: &KeyName,
        request: &CreateRequest,
    ) -> Result<KeyRecord, Error> {
        Ok(self.send(&Call::create(name, request)?).await?.value)
    }

    /// Imports an HMAC key, or the private number of a P-256 key.
    pub async fn import(
        &self,
        name: &KeyName,
        request: &ImportRequest,
    ) -> Result<KeyRecord, Error> {
        Ok(self.send(&Call::import(name, request)?).await?.value)
    }

    /// The keys that the caller may know of, by name.
    pub async fn keys(&self) -> Result<Vec<KeyRecord>, Error> {
        Ok(self.send(&Call::keys()).await?.value.keys)
    }

    /// A key record.
    pub async fn key(&self, name: &KeyName) -> Result<KeyRecord, Error> {
        Ok(self.send(&Call::key(name)).await?.value)
    }

    /// Makes a new active version.
    pub async fn rotate(&self, name: &KeyName) -> Result<KeyRecord, Error> {
        Ok(self.send(&Call::rotate(name)?).await?.value)
    }

    /// Destroys every version. What they sealed can never be opened again.
    pub async fn destroy(&self, name: &KeyName) -> Result<DestroyReply, Error> {
        Ok(self.send(&Call::destroy(name)).await?.value)
    }

    /// Seals at most 1 MiB. The reply says what protects it, and whether by fallback.
    pub async fn seal(
        &self,
        name: &KeyName,
        plaintext: &[u8],
        context: &EncryptionContext,
    ) -> Result<SealReply, Error> {
        Ok(self.send(&Call::seal(name, plaintext, context)?).await?.value)
    }

    /// Seals 1 to 256 items; one result each, in order.
    pub async fn seal_batch(
        &self,
        name: &KeyName,
        items: &[SealItem],
    ) -> Result<Vec<ItemResult<SealReply>>, Error> {
        Ok(self.send(&Call::seal_batch(name, items)?).await?.value)
    }

    /// Unseals. The plaintext in the reply is wiped when dropped.
    pub async fn unseal(
        &self,
        name: &KeyName,
        sealed: &SealedText,
        context: &EncryptionContext,
    ) -> Result<UnsealReply, Error> {
        Ok(self.send(&Call::unseal(name, sealed, context)?).await?.value)
    }

    /// Unseals 1 to 256 items; one result each, in order.
    pub async fn unseal_batch(
        &self,
        name: &KeyName,
        items: &[UnsealItem],
    ) -> Result<Vec<ItemResult<UnsealReply>>, Error> {
        Ok(self.send(&Call::unseal_batch(name, items)?).await?.value)
    }

    /// Moves an envelope to the active version.
    pub async fn rewrap(&self, name: &KeyName, item: &RewrapItem) -> Result<RewrapReply, Error> {
        Ok(self.send(&Call::rewrap(name, item)?).await?.value)
    }

    /// Rewraps 1 to 256 items; one result each, in order.
    pub async fn rewrap_batch(
        &self,
        name: &KeyName,
        items: &[RewrapItem],
    ) -> Result<Vec<ItemResult<RewrapReply>>, Error> {
        Ok(self.send(&Call::rewrap_batch(name, items)?).await?.value)
    }

    /// HMAC-SHA256 of at most 1,024 bytes, by the version given or the active one.
    pub async fn mac(
        &self,
        name: &KeyName,
        message: &[u8],
        version: Option<u32>,
    ) -> Result<MacReply, Error> {
        Ok(self.send(&Call::mac(name, message, version)?).await?.value)
    }

    /// MACs of 1 to 256 items; one result each, in order.
    pub async fn mac_batch(
        &self,
        name: &KeyName,
        items: &[MacItem],
    ) -> Result<Vec<ItemResult<MacReply>>, Error> {
        Ok(self.send(&Call::mac_batch(name, items)?).await?.value)
    }

    /// Whether a MAC is that of a message, by the version given or any usable one. One that is
    /// not is no error.
    pub async fn verify(
        &self,
        name: &KeyName,
        message: &[u8],
        mac: &[u8; MAC_BYTES],
        version: Option<u32>,
    ) -> Result<VerifyReply, Error> {
        Ok(self.send(&Call::verify(name, message, mac, version)?).await?.value)
    }

    /// Signs a SHA-256 digest with ECDSA P-256, by the version given or the active one.
    pub async fn sign(
        &self,
        name: &KeyName,
        digest: &[u8; DIGEST_BYTES],
        version: Option<u32>,
    ) -> Result<SignReply, Error> {
        Ok(self.send(&Call::sign(name, digest, version)?).await?.value)
    }

    /// The public key of the version given or the active one.
    pub async fn public(&self, name: &KeyName, version: Option<u32>) -> Result<PublicReply, Error> {
        Ok(self.send(&Call::public(name, version)).await?.value)
    }

    /// Makes a counter, which begins at 1 or above.
    pub async fn create_counter(
        &self,
        name: &KeyName,
        request: &CreateCounterRequest,
    ) -> Result<CounterReply, Error> {
        Ok(self.send(&Call::create_counter(name, request)?).await?.value)
    }

    /// The counters that the caller may know of, by name, without their values.
    pub async fn counters(&self) -> Result<Vec<CounterRecord>, Error> {
        Ok(self.send(&Call::counters()).await?.value.counters)
    }

    /// A counter and its value.
    pub async fn counter(&self, name: &KeyName) -> Result<CounterReply, Error> {
        Ok(self.send(&Call::counter(name)).await?.value)
    }

    /// Raises a counter; with `from` only one that has that value, otherwise it is a `conflict`.
    ///
    /// The value in the reply is given to no other call; one that is not answered may have been
    /// taken all the same, and may yet be taken later unless `from` was given.
    pub async fn increment_counter(
        &self,
        name: &KeyName,
        from: Option<u64>,
    ) -> Result<CounterReply, Error> {
        Ok(self.send(&Call::increment_counter(name, from)?).await?.value)
    }

    /// Destroys a counter.
    pub async fn destroy_counter(&self, name: &KeyName) -> Result<DestroyCounterReply, Error> {
        Ok(self.send(&Call::destroy_counter(name)).await?.value)
    }

    /// Random bytes, 1 to 1,024.
    pub async fn random(&self, bytes: usize) -> Result<RandomReply, Error> {
        Ok(self.send(&Call::random(bytes)?).await?.value)
    }

    /// The host and its providers.
    pub async fn status(&self) -> Result<Status, Error> {
        Ok(self.send(&Call::status()).await?.value)
    }

    /// Every configured provider.
    pub async fn providers(&self) -> Result<Vec<ProviderStatus>, Error> {
        Ok(self.send(&Call::providers()).await?.value.providers)
    }

    /// Tries a provider again, a refused PIN included.
    pub async fn retry_provider(&self, name: &ProviderName) -> Result<ProviderStatus, Error> {
        Ok(self.send(&Call::retry_provider(name)).await?.value)
    }

    /// Counters in the Prometheus text format.
    pub async fn metrics(&self) -> Result<String, Error> {
        Ok(self.send(&Call::metrics()).await?.value)
    }
}

/// A status that is not success. An error without a document is not one of the host's.
fn refusal(status: u16, request_id: Option<&str>, document: &[u8]) -> Error {
    match serde_json::from_slice::<Problem>(document) {
        Ok(problem) if problem.status == status => Error::Refused(Box::new(problem)),
        Ok(_) | Err(_) => match keyd::problem(status, request_id, document) {
            Some(problem) => Error::Refused(Box::new(problem)),
            None => ProtocolError::Status { status }.into(),
        },
    }
}
