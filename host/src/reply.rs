//! Everything that the host can answer, and what the audit is told of it.

use wire::api::{
    CounterList, CounterReply, DestroyCounterReply, DestroyReply, KeyList, KeyRecord, MacReply,
    Origin, Protection, ProviderList, ProviderStatus, PublicReply, RandomReply, RewrapReply,
    SealReply, SignReply, Status, UnsealReply, VerifyAuditReply, VerifyReply,
};
use wire::name::ProviderName;

use crate::error::HostError;

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
