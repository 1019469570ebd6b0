//! The signer: grants in, tokens out; tokens in, verdicts out.

use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use daemon::clock::Clock;
use wire::code::Fault;
use wire::sas::{
    Invalid, IssuedList, IssuedToken, SasKeyName, Slot, TokenReply, VerifyReply, VerifyRequest,
};

use crate::cache::{Cache, Signed, Wanted};
use crate::issued::Issued;
use crate::mac::{By, Mac, MacError};
use crate::parse::Received;
use crate::rules::Grant;
use crate::slots::Slots;
use crate::token::Unsigned;
use crate::verify::{Expected, VerifyError, verify};

/// A signer over one host.
#[derive(Debug)]
pub struct Signer<M> {
    mac: M,
    clock: Clock,
    skew: Duration,
    cache: Cache,
    issued: Issued,
    slots: RwLock<Slots>,
}

impl<M: Mac> Signer<M> {
    /// A signer that asks `mac` for its MACs.
    ///
    /// # Limits
    /// `renew_at_percent`, the part of its life after which a cached token is renewed: 1 to 99.
    /// `skew`, how long after its expiry a token is verified: at most 300 s.
    #[must_use]
    pub fn new(mac: M, clock: Clock, renew_at_percent: u8, skew: Duration, slots: Slots) -> Self {
        let cache = Cache::new(clock.clone(), renew_at_percent);
        let slots = RwLock::new(slots);
        Self { mac, clock, skew, cache, issued: Issued::default(), slots }
    }

    /// The token that was granted, from the cache or signed now for `uid`.
    ///
    /// # Errors
    /// `too_large`, `unsupported`: the resource cannot be signed or written so. `not_found`: the
    /// key is not in the host. `timeout`: the token would expire before it is signed. What the
    /// host refuses.
    ///
    /// # Secrets
    /// The token in the reply.
    pub async fn token(&self, grant: &Grant, uid: u32) -> Result<TokenReply, Fault> {
        let key = grant.key();
        let slot = self.active(key);
        let wanted = Wanted {
            profile: grant.profile().clone(),
            key: key.clone(),
            slot,
            ttl_seconds: grant.ttl_seconds(),
            encoder: grant.encoder(),
            order: grant.order(),
        };
        let sign = |expires_at| self.sign(&wanted, expires_at, uid);
        let (signed, from_cache) = self.cache.token(&wanted, grant.fresh(), sign).await?;
        let Signed { token, by } = &*signed;
        Ok(TokenReply {
            token: token.to_secret()?,
            expires_at: token.expires_at(),
            key: key.clone(),
            slot,
            version: by.version,
            provider: by.provider.clone(),
            protection: by.protection,
            origin: by.origin,
            from_cache,
        })
    }

    /// Whether a token is good for what is asked, and by which key version.
    ///
    /// # Errors
    /// `malformed`: it is no token. What the host refuses. A token that is not good is no error.
    pub async fn verify(
        &self,
        request: &VerifyRequest,
    ) -> Result<(VerifyReply, Option<By>), Fault> {
        let token = Received::parse(request.token.as_str())?;
        let expected = Expected {
            key: &request.key,
            policy: request.policy.as_ref(),
            resource: request.resource.as_deref(),
            publisher: request.publisher.as_deref(),
            skew: self.skew,
        };
        let key = request.key.clone();
        let reason = match verify(&self.mac, &token, &expected, self.now()).await {
            Ok(verified) => {
                let reply = VerifyReply {
                    valid: true,
                    reason: None,
                    key,
                    slot: Some(verified.slot),
                    resource: Some(token.resource().to_string()),
                    publisher: token.resource().publisher().map(str::to_owned),
                    expires_at: Some(token.expires_at()),
                };
                return Ok((reply, Some(verified.by)));
            }
            Err(VerifyError::Expired) => Invalid::Expired,
            Err(VerifyError::Rejected) => Invalid::Rejected,
            Err(VerifyError::Mac(MacError(fault))) => return Err(fault),
        };
        let reply = VerifyReply {
            valid: false,
            reason: Some(reason),
            key,
            slot: None,
            resource: None,
            publisher: None,
            expires_at: None,
        };
        Ok((reply, None))
    }

    /// The tokens that were signed and have not expired, of the keys that `visible` lets through.
    #[must_use]
    pub fn issued(&self, visible: impl Fn(&SasKeyName) -> bool) -> IssuedList {
        self.issued.list_at(self.now(), visible)
    }

    /// The slot that a key signs with.
    #[must_use]
    pub fn active(&self, key: &SasKeyName) -> Slot {
        self.slots.read().unwrap_or_else(PoisonError::into_inner).active(key)
    }

    /// Signs with these slots from now on. Tokens of keys whose slot changes stay valid until they
    /// expire, and are not given from memory any more.
    pub fn set_slots(&self, slots: Slots) {
        *self.slots.write().unwrap_or_else(PoisonError::into_inner) = slots;
    }

    /// Forgets the cached tokens of a key that was imported anew.
    pub fn forget(&self, key: &SasKeyName) {
        self.cache.forget(key);
    }

    /// How many tokens are in memory.
    #[must_use]
    pub fn cached(&self) -> usize {
        self.cache.len()
    }

    async fn sign(&self, wanted: &Wanted, expires_at: u64, uid: u32) -> Result<Signed, Fault> {
        let Wanted { profile, key, slot, encoder, order, .. } = wanted;
        let unsigned = Unsigned::new(profile, *encoder, *order, expires_at)?;
        let message = unsigned.string_to_sign();
        let maced = self.mac.mac(&key.host_key(*slot), message.as_bytes()).await;
        let maced = maced.map_err(|MacError(fault)| fault)?;
        let token = unsigned.sign(&maced.mac);
        let now = self.now();
        let issued = IssuedToken {
            sr: token.sr().to_owned(),
            skn: token.skn().map(str::to_owned),
            se: token.expires_at(),
            key: key.clone(),
            slot: *slot,
            version: maced.by.version,
            issued_at: now,
            uid,
        };
        self.issued.add(issued, now);
        Ok(Signed { token, by: maced.by })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.clock.now().as_second()).unwrap_or(0)
    }
}
