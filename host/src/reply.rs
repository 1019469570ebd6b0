//! Everything that the host can answer, and what the audit is told of it.

use provider_core::SecretBytes;
use wire::api::{
    CounterList, CounterReply, DestroyCounterReply, DestroyReply, KeyList, KeyRecord, MacReply,
    Origin, Protection, ProviderList, ProviderStatus, PublicReply, RandomReply, RewrapReply,
    SealReply, SignReply, Status, UnsealReply, VerifyAuditReply, VerifyReply,
};
use wire::name::ProviderName;

use crate::error::HostError;
use crate::request::Handle;

/// One reply.
#[derive(Debug)]
pub enum Reply {
    /// A key that was made, or got a new version.
    Created(KeyRecord),
    /// A key.
    Key(KeyRecord),
    /// Keys.
    Keys(KeyList),
    /// A key is destroyed.
    Destroyed(DestroyReply),
    /// Envelopes.
    Sealed(Batch<SealReply>),
    /// Plaintexts.
    Unsealed(Batch<UnsealReply>),
    /// Envelopes, moved.
    Rewrapped(Batch<RewrapReply>),
    /// MACs.
    Macs(Batch<MacReply>),
    /// Whether a MAC fits.
    Verified(VerifyReply),
    /// A signature.
    Signed(SignReply),
    /// A public key.
    Public(PublicReply),
    /// A counter that was made.
    CounterCreated(CounterReply),
    /// A counter with its value.
    Counter(CounterReply),
    /// Counters.
    Counters(CounterList),
    /// A counter is destroyed.
    CounterDestroyed(DestroyCounterReply),
    /// A handle.
    Handle(Handle),
    /// What was done with the key that a handle is of.
    Held(Held),
    /// Random bytes.
    Random(RandomReply),
    /// The host.
    Status(Status),
    /// The providers.
    Providers(ProviderList),
    /// One provider, after it was tried again.
    Provider(ProviderStatus),
    /// Checkpoints of the audit.
    AuditVerified(VerifyAuditReply),
    /// Counters, as Prometheus text.
    Metrics(String),
}

/// What was done with the key that a handle is of.
#[derive(Debug)]
pub enum Held {
    /// HMAC-SHA256, of 32 bytes.
    Mac(SecretBytes),
    /// `Ecdsa-Sig-Value` in DER.
    Signature(Vec<u8>),
    /// A ciphertext, then its tag.
    Encrypted(Vec<u8>),
    /// A plaintext.
    Decrypted(SecretBytes),
    /// The result of RSA's private operation.
    Rsa(SecretBytes),
    /// The bytes of a derived key.
    Exported(SecretBytes),
    /// A public half.
    Public(PublicHalf),
    /// It is destroyed, or was.
    Destroyed,
}

/// The public half of a key pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicHalf {
    /// An uncompressed point of P-256.
    P256([u8; 65]),
    /// The modulus of an RSA key; the exponent is 65,537.
    Rsa(Vec<u8>),
}

/// What one or several items came to.
#[derive(Debug)]
pub enum Batch<T> {
    /// The request was one item.
    One(T),
    /// The request was a list: a result or an error for each, in order.
    Items(Vec<Result<T, HostError>>),
}

/// What was really used for a reply. Every audit record of a key operation carries it.
#[derive(Clone, Debug, Default)]
pub struct Used {
    /// The key version.
    pub version: Option<u32>,
    /// The provider that holds it.
    pub provider: Option<ProviderName>,
    /// What stands behind it.
    pub protection: Option<Protection>,
    /// Where its bytes come from.
    pub origin: Option<Origin>,
    /// Whether it stood in for a provider that was gone.
    pub fallback: bool,
    /// Items asked for and failed, of a batch.
    pub items: Option<(usize, usize)>,
}
