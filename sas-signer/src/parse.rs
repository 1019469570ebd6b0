//! Reading a token that somebody presents. Nothing it says is believed yet.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use wire::code::{Code, Fault};
use wire::limits::MAC_BYTES;
use wire::sas::PolicyName;
use wire::sas::limits::{STRING_TO_SIGN_MAX_BYTES, TOKEN_MAX_BYTES};
use zeroize::{Zeroize, Zeroizing};

use crate::encode;
use crate::scope::Path;
use crate::token::{self, PREFIX};

/// The most digits of an expiry; every number of so many fits 64 bits.
const EXPIRY_MAX_DIGITS: usize = 19;

/// A token as it came, taken apart.
///
/// # Secrets
/// The signature, which is wiped when dropped.
pub struct Received {
    sr: String,
    resource: Path,
    signature: Zeroizing<[u8; MAC_BYTES]>,
    expires_at: u64,
    policy: Option<PolicyName>,
}

/// The text is no token. What of it is wrong is not said, and nothing of it repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token is not a shared access signature")]
pub struct Malformed;

impl From<Malformed> for Fault {
    fn from(error: Malformed) -> Self {
        Self::new(Code::Malformed, error.to_string())
    }
}

impl Received {
    /// Reads a token: the scheme, then `sr`, `sig`, `se` and at most one `skn`, each once, in any
    /// order and any encoding.
    ///
    /// # Limits
    /// 1,536 bytes, and 1,024 of them to sign; the expiry has at most 19 digits, and no sign,
    /// fraction, exponent or leading zero.
    ///
    /// # Errors
    /// [`Malformed`].
    ///
    /// # Spec
    /// `docs/sas.md` section 5.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        Self::read(text).ok_or(Malformed)
    }

    fn read(text: &str) -> Option<Self> {
        // Of a line feed in `sr` or `se` the string to sign could be read in two ways.
        if text.len() > TOKEN_MAX_BYTES {
            return None;
        }
        let parameters = text.strip_prefix(PREFIX)?;
        if !parameters.bytes().all(|b| b.is_ascii_graphic()) {
            return None;
        }
        let (mut sr, mut sig, mut se, mut skn) = (None, None, None, None);
        for parameter in parameters.split('&') {
            let (name, value) = parameter.split_once('=')?;
            let place = match name {
                "sr" => &mut sr,
                "sig" => &mut sig,
                "se" => &mut se,
                "skn" => &mut skn,
                _ => return None,
            };
            if place.replace(value).is_some() {
                return None;
            }
        }
        let sr = sr?.to_owned();
        let received = Self {
            resource: Path::parse(&encode::decode(&sr)?)?,
            signature: signature(sig?)?,
            expires_at: expiry(se?)?,
            policy: skn.map(policy).transpose().ok()?,
            sr,
        };
        (received.string_to_sign().len() <= STRING_TO_SIGN_MAX_BYTES).then_some(received)
    }

    /// What the signature must authenticate: `sr` as it came, a line feed, the expiry.
    #[must_use]
    pub fn string_to_sign(&self) -> String {
        token::string_to_sign(&self.sr, self.expires_at)
    }

    /// The resource as it stands in the token.
    #[must_use]
    pub fn sr(&self) -> &str {
        &self.sr
    }

    /// The resource, decoded.
    #[must_use]
    pub fn resource(&self) -> &Path {
        &self.resource
    }

    /// When it says to expire, in seconds since 1970, UTC.
    #[must_use]
    pub fn expires_at(&self) -> u64 {
        self.expires_at
    }

    /// The policy that it names.
    #[must_use]
    pub fn policy(&self) -> Option<&PolicyName> {
        self.policy.as_ref()
    }

    pub(crate) fn signature(&self) -> &[u8; MAC_BYTES] {
        &self.signature
    }
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received")
            .field("sr", &self.sr)
            .field("expires_at", &self.expires_at)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

fn signature(text: &str) -> Option<Zeroizing<[u8; MAC_BYTES]>> {
    let base64 = Zeroizing::new(encode::decode(text)?);
    // The decoder estimates in whole quanta of four characters.
    let mut bytes = Zeroizing::new([0; MAC_BYTES.div_ceil(3) * 3]);
    let length = STANDARD.decode_slice(base64.as_bytes(), bytes.as_mut_slice()).ok()?;
    let mut mac = Zeroizing::new([0; MAC_BYTES]);
    if length != MAC_BYTES {
        return None;
    }
    mac.copy_from_slice(bytes.get(..MAC_BYTES)?);
    bytes.zeroize();
    Some(mac)
}

fn expiry(text: &str) -> Option<u64> {
    let plain = text.len() <= EXPIRY_MAX_DIGITS && text.bytes().all(|b| b.is_ascii_digit());
    let leading_zero = text.starts_with('0') && text != "0";
    if plain && !leading_zero { text.parse().ok() } else { None }
}

fn policy(text: &str) -> Result<PolicyName, Malformed> {
    let text = encode::decode(text).ok_or(Malformed)?;
    PolicyName::parse(&text).map_err(|_error| Malformed)
}

#[cfg(test)]
mod tests;
