//! The blocking client.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use wire::api::{
    CounterRecord, CounterReply, CreateCounterRequest, CreateRequest, DestroyCounterReply,
    DestroyReply, ImportRequest, ItemResult, KeyRecord, MacItem, MacReply, ProviderStatus,
    PublicReply, RandomReply, RewrapItem, RewrapReply, SealItem, SealReply, SealedText, SignReply,
    Status, UnsealItem, UnsealReply, VerifyReply,
};
use wire::context::EncryptionContext;
use wire::limits::{DIGEST_BYTES, MAC_BYTES};
use wire::name::{KeyName, ProviderName};

use crate::call::{Call, Reply};
use crate::error::Error;

/// A client of one host, for programs without an async runtime: [`crate::Client`] with a runtime
/// of its own that runs while a call is under way. Threads may share it.
///
/// From async code use [`crate::Client`]; this one panics there, as tokio does when a runtime is
/// entered twice.
#[derive(Debug)]
pub struct Client {
    client: crate::Client,
    runtime: Runtime,
}

impl Client {
    /// A client of the host that listens on `socket`. Connects when first used.
    ///
    /// # Errors
    /// The operating system has no file descriptors left for the runtime.
    pub fn new(socket: impl AsRef<Path>) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        Ok(Self { client: crate::Client::new(socket), runtime })
    }

    /// As [`crate::Client::expect_server_uid`].
    #[must_use]
    pub fn expect_server_uid(self, uid: u32) -> Self {
        Self { client: self.client.expect_server_uid(uid), ..self }
    }

    /// As [`crate::Client::timeout`].
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { client: self.client.timeout(timeout), ..self }
    }

    /// As [`crate::Client::reply_limit_bytes`].
    #[must_use]
    pub fn reply_limit_bytes(self, reply_limit: usize) -> Self {
        Self { client: self.client.reply_limit_bytes(reply_limit), ..self }
    }

    /// Sends a call.
    ///
    /// # Errors
    /// Any of [`Error`] but `Limit`.
    pub fn send<T>(&self, call: &Call<T>) -> Result<Reply<T>, Error> {
        self.runtime.block_on(self.client.send(call))
    }
}

/// One method per endpoint of `docs/api.md`, where the codes of its refusals stand.
///
/// # Errors
/// Each: any of [`Error`].
impl Client {
    /// Makes a key.
    pub fn create(&self, name: &KeyName, request: &CreateRequest) -> Result<KeyRecord, Error> {
        self.runtime.block_on(self.client.create(name, request))
    }

    /// Imports an HMAC key, or the private number of a P-256 key.
    pub fn import(&self, name: &KeyName, request: &ImportRequest) -> Result<KeyRecord, Error> {
        self.runtime.block_on(self.client.import(name, request))
    }

    /// The keys that the caller may know of, by name.
    pub fn keys(&self) -> Result<Vec<KeyRecord>, Error> {
        self.runtime.block_on(self.client.keys())
    }

    /// A key record.
    pub fn key(&self, name: &KeyName) -> Result<KeyRecord, Error> {
        self.runtime.block_on(self.client.key(name))
    }

    /// Makes a new active version.
    pub fn rotate(&self, name: &KeyName) -> Result<KeyRecord, Error> {
        self.runtime.block_on(self.client.rotate(name))
    }

    /// Destroys every version. What they sealed can never be opened again.
    pub fn destroy(&self, name: &KeyName) -> Result<DestroyReply, Error> {
        self.runtime.block_on(self.client.destroy(name))
    }

    /// Seals at most 1 MiB. The reply says what protects it, and whether by fallback.
    pub fn seal(
        &self,
        name: &KeyName,
        plaintext: &[u8],
        context: &EncryptionContext,
    ) -> Result<SealReply, Error> {
        self.runtime.block_on(self.client.seal(name, plaintext, context))
    }

    /// Seals 1 to 256 items; one result each, in order.
    pub fn seal_batch(
        &self,
        name: &KeyName,
        items: &[SealItem],
    ) -> Result<Vec<ItemResult<SealReply>>, Error> {
        self.runtime.block_on(self.client.seal_batch(name, items))
    }

    /// Unseals. The plaintext in the reply is wiped when dropped.
    pub fn unseal(
        &self,
        name: &KeyName,
        sealed: &SealedText,
        context: &EncryptionContext,
    ) -> Result<UnsealReply, Error> {
        self.runtime.block_on(self.client.unseal(name, sealed, context))
    }

    /// Unseals 1 to 256 items; one result each, in order.
    pub fn unseal_batch(
        &self,
        name: &KeyName,
        items: &[UnsealItem],
    ) -> Result<Vec<ItemResult<UnsealReply>>, Error> {
        self.runtime.block_on(self.client.unseal_batch(name, items))
    }

    /// Moves an envelope to the active version.
    pub fn rewrap(&self, name: &KeyName, item: &RewrapItem) -> Result<RewrapReply, Error> {
        self.runtime.block_on(self.client.rewrap(name, item))
    }

    /// Rewraps 1 to 256 items; one result each, in order.
    pub fn rewrap_batch(
        &self,
        name: &KeyName,
        items: &[RewrapItem],
    ) -> Result<Vec<ItemResult<RewrapReply>>, Error> {
        self.runtime.block_on(self.client.rewrap_batch(name, items))
    }

    /// HMAC-SHA256 of at most 1,024 bytes, by the version given or the active one.
    pub fn mac(
        &self,
        name: &KeyName,
        message: &[u8],
        version: Option<u32>,
    ) -> Result<MacReply, Error> {
        self.runtime.block_on(self.client.mac(name, message, version))
    }

    /// MACs of 1 to 256 items; one result each, in order.
    pub fn mac_batch(
        &self,
        name: &KeyName,
        items: &[MacItem],
    ) -> Result<Vec<ItemResult<MacReply>>, Error> {
        self.runtime.block_on(self.client.mac_batch(name, items))
    }

    /// Whether a MAC is that of a message, by the version given or any usable one. One that is
    /// not is no error.
    pub fn verify(
        &self,
        name: &KeyName,
        message: &[u8],
        mac: &[u8; MAC_BYTES],
        version: Option<u32>,
    ) -> Result<VerifyReply, Error> {
        self.runtime.block_on(self.client.verify(name, message, mac, version))
    }

    /// Signs a SHA-256 digest with ECDSA P-256, by the version given or the active one.
    pub fn sign(
        &self,
        name: &KeyName,
        digest: &[u8; DIGEST_BYTES],
        version: Option<u32>,
    ) -> Result<SignReply, Error> {
        self.runtime.block_on(self.client.sign(name, digest, version))
    }

    /// The public key of the version given or the active one.
    pub fn public(&self, name: &KeyName, version: Option<u32>) -> Result<PublicReply, Error> {
        self.runtime.block_on(self.client.public(name, version))
    }

    /// Makes a counter, which begins at 1 or above.
    pub fn create_counter(
        &self,
        name: &KeyName,
        request: &CreateCounterRequest,
    ) -> Result<CounterReply, Error> {
        self.runtime.block_on(self.client.create_counter(name, request))
    }

    /// The counters that the caller may know of, by name, without their values.
    pub fn counters(&self) -> Result<Vec<CounterRecord>, Error> {
        self.runtime.block_on(self.client.counters())
    }

    /// A counter and its value.
    pub fn counter(&self, name: &KeyName) -> Result<CounterReply, Error> {
        self.runtime.block_on(self.client.counter(name))
    }

    /// Raises a counter; with `from` only one that has that value, otherwise it is a `conflict`.
    ///
    /// The value in the reply is given to no other call; one that is not answered may have been
    /// taken all the same, and may yet be taken later unless `from` was given.
    pub fn increment_counter(
        &self,
        name: &KeyName,
        from: Option<u64>,
    ) -> Result<CounterReply, Error> {
        self.runtime.block_on(self.client.increment_counter(name, from))
    }

    /// Destroys a counter.
    pub fn destroy_counter(&self, name: &KeyName) -> Result<DestroyCounterReply, Error> {
        self.runtime.block_on(self.client.destroy_counter(name))
    }

    /// Random bytes, 1 to 1,024.
    pub fn random(&self, bytes: usize) -> Result<RandomReply, Error> {
        self.runtime.block_on(self.client.random(bytes))
    }

    /// The host and its providers.
    pub fn status(&self) -> Result<Status, Error> {
        self.runtime.block_on(self.client.status())
    }

    /// Every configured provider.
    pub fn providers(&self) -> Result<Vec<ProviderStatus>, Error> {
        self.runtime.block_on(self.client.providers())
    }

    /// Tries a provider again, a refused PIN included.
    pub fn retry_provider(&self, name: &ProviderName) -> Result<ProviderStatus, Error> {
        self.runtime.block_on(self.client.retry_provider(name))
    }

    /// Counters in the Prometheus text format.
    pub fn metrics(&self) -> Result<String, Error> {
        self.runtime.block_on(self.client.metrics())
    }
}
