//! Whether a presented token is good for what is asked, by a key that the host holds.

use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use wire::sas::{PolicyName, SasKeyName, Slot};

use crate::mac::{By, Mac, MacError};
use crate::parse::Received;
use crate::scope::Path;

/// How long after its expiry a token is still taken, unless set otherwise: not at all.
pub const SKEW_DEFAULT: Duration = Duration::ZERO;

/// The longest that can be set.
pub const SKEW_MAX: Duration = Duration::from_secs(300);

/// What a token must be good for.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The key that signed it, by either slot.
    pub key: &'a SasKeyName,
    /// The policy that it names. The signature does not cover the name, so it is the verifier who
    /// says which name belongs to the key.
    pub policy: Option<&'a PolicyName>,
    /// What is accessed.
    pub resource: Option<&'a str>,
    /// The publisher that the event's body claims.
    pub publisher: Option<&'a str>,
    /// How long after its expiry it is still taken.
    pub skew: Duration,
}

/// A token that is good for what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Which of the two keys signed.
    pub slot: Slot,
    /// The key version that did.
    pub by: By,
}

/// Why a token is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// Its time is over, as anybody can read in it.
    #[error("the token has expired")]
    Expired,
    /// Signature, policy, resource or publisher do not fit. Which, is not told: it would help
    /// who forges one.
    #[error("the token is not valid for this")]
    Rejected,
    /// The host could not say.
    #[error(transparent)]
    Mac(#[from] MacError),
}

/// Verifies a token at `now`, in seconds since 1970, UTC.
///
/// The MAC is computed over `sr` as it came, by the active version of both slots of the key, and
/// compared in constant time. Everything is computed before anything is judged, so that the time
/// it takes does not tell what did not fit.
///
/// # Errors
/// [`VerifyError::Expired`] from the very second of the expiry, plus the skew.
/// [`VerifyError::Rejected`]: anything else about the token. [`VerifyError::Mac`]: no slot fits and
/// the host could not compute one of them.
///
/// # Spec
/// `docs/sas.md` section 5.
pub async fn verify(
    mac: &impl Mac,
    token: &Received,
    expected: &Expected<'_>,
    now: u64,
) -> Result<Verified, VerifyError> {
    let skew = expected.skew.min(SKEW_MAX).as_secs();
    if now >= token.expires_at().saturating_add(skew) {
        return Err(VerifyError::Expired);
    }
    let message = token.string_to_sign();
    let mut found = None;
    let mut failed = None;
    for slot in Slot::ALL {
        match mac.mac(&expected.key.host_key(slot), message.as_bytes()).await {
            Ok(maced) => {
                let equal = verify_slices_are_equal(maced.mac.as_slice(), token.signature());
                if equal.is_ok() {
                    found = Some(Verified { slot, by: maced.by });
                }
            }
            Err(error) if error.is_absent() => {}
            Err(error) => failed = Some(error),
        }
    }
    let covers =
        |resource: &str| Path::parse(resource).is_some_and(|it| token.resource().covers(&it));
    let fits = [
        token.policy() == expected.policy,
        expected.resource.is_none_or(covers),
        expected.publisher.is_none_or(|claimed| token.resource().publisher() == Some(claimed)),
    ];
    match (found, failed) {
        (Some(verified), _) if fits == [true; 3] => Ok(verified),
        (Some(_), _) | (None, None) => Err(VerifyError::Rejected),
        (None, Some(error)) => Err(error.into()),
    }
}
