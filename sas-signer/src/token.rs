//! From a profile to a token: the string to sign, and the text around the signature.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use wire::code::{Code, Fault};
use wire::limits::MAC_BYTES;
use wire::sas::limits::{STRING_TO_SIGN_MAX_BYTES, TOKEN_MAX_BYTES};
use wire::sas::{Encoder, Order, Profile, SecretText};
use zeroize::Zeroizing;

use crate::encode::{self, Ambiguous};
use crate::resource::Resource;

/// What every token begins with.
pub(crate) const PREFIX: &str = "SharedAccessSignature ";

/// Length of the base64 of a MAC.
const SIGNATURE_BYTES: usize = MAC_BYTES.div_ceil(3) * 4;

/// A token without its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsigned {
    sr: String,
    skn: Option<String>,
    se: u64,
    encoder: Encoder,
    order: Order,
}

/// A token that cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The encoder cannot write the resource.
    #[error(transparent)]
    Ambiguous(#[from] Ambiguous),
    /// The string to sign is longer than one HMAC command of a TPM.
    #[error("string to sign of {bytes} bytes exceeds limit of {STRING_TO_SIGN_MAX_BYTES}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
}

impl From<TokenError> for Fault {
    fn from(error: TokenError) -> Self {
        let code = match error {
            TokenError::Ambiguous(_) => Code::Unsupported,
            TokenError::TooLong { .. } => Code::TooLarge,
        };
        Self::new(code, error.to_string())
    }
}

impl Unsigned {
    /// A token for `profile` that expires at `expires_at`, in seconds since 1970, UTC.
    ///
    /// # Limits
    /// A string to sign of 1,024 bytes; one past it is [`TokenError::TooLong`].
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn new(
        profile: &Profile,
        encoder: Encoder,
        order: Order,
        expires_at: u64,
    ) -> Result<Self, TokenError> {
        let sr = encode::resource(encoder, Resource::of(profile).as_str())?;
        let skn = profile.policy().map(str::to_owned);
        let token = Self { sr, skn, se: expires_at, encoder, order };
        let bytes = token.string_to_sign().len();
        if bytes > STRING_TO_SIGN_MAX_BYTES {
            return Err(TokenError::TooLong { bytes });
        }
        Ok(token)
    }

    /// What the key authenticates: the encoded resource, a line feed, the expiry.
    ///
    /// # Spec
    /// `docs/sas.md` section 3.
    #[must_use]
    pub fn string_to_sign(&self) -> String {
        string_to_sign(&self.sr, self.se)
    }

    /// The token with its signature.
    ///
    /// # Secrets
    /// The token, which is wiped when dropped.
    #[must_use]
    pub fn sign(self, mac: &[u8; MAC_BYTES]) -> Token {
        let mut base64 = Zeroizing::new([0; SIGNATURE_BYTES]);
        // It fits: both lengths are constants.
        let _length = STANDARD.encode_slice(mac, base64.as_mut_slice());
        let base64 = std::str::from_utf8(base64.as_slice()).unwrap_or_default();

        // With room for all of it, the text is never moved, and no copy of it is left behind.
        let mut text = Zeroizing::new(String::with_capacity(TOKEN_MAX_BYTES));
        text.push_str(PREFIX);
        let parameters = match self.order {
            Order::SrSigSeSkn => [Parameter::Sr, Parameter::Sig, Parameter::Se, Parameter::Skn],
            Order::SrSeSigSkn => [Parameter::Sr, Parameter::Se, Parameter::Sig, Parameter::Skn],
            Order::SrSigSknSe => [Parameter::Sr, Parameter::Sig, Parameter::Skn, Parameter::Se],
        };
        for parameter in parameters {
            match (parameter, &self.skn) {
                (Parameter::Sr, _) => text.push_str("sr="),
                (Parameter::Sig, _) => text.push_str("&sig="),
                (Parameter::Se, _) => text.push_str("&se="),
                (Parameter::Skn, Some(_)) => text.push_str("&skn="),
                (Parameter::Skn, None) => {}
            }
            match (parameter, &self.skn) {
                (Parameter::Sr, _) => text.push_str(&self.sr),
                (Parameter::Sig, _) => encode::signature(self.encoder, base64, &mut text),
                (Parameter::Se, _) => text.push_str(&self.se.to_string()),
                // A policy name has no character that any encoder changes.
                (Parameter::Skn, Some(skn)) => text.push_str(skn),
                (Parameter::Skn, None) => {}
            }
        }
        Token { text, sr: self.sr, skn: self.skn, expires_at: self.se }
    }
}

#[derive(Clone, Copy)]
enum Parameter {
    Sr,
    Sig,
    Se,
    Skn,
}

/// A signed token.
///
/// # Secrets
/// The text: who has it has its access until it expires. It is wiped when dropped, and `Debug`
/// does not show it.
pub struct Token {
    text: Zeroizing<String>,
    sr: String,
    skn: Option<String>,
    expires_at: u64,
}

impl Token {
    /// The token as it goes into a header or a connection string.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// A copy for a reply.
    ///
    /// # Errors
    /// `too_large`, which no token is.
    pub fn to_secret(&self) -> Result<SecretText<TOKEN_MAX_BYTES>, Fault> {
        SecretText::new(Zeroizing::new(self.text().to_owned()))
    }

    /// The resource as it stands in the token.
    #[must_use]
    pub fn sr(&self) -> &str {
        &self.sr
    }

    /// The policy's name.
    #[must_use]
    pub fn skn(&self) -> Option<&str> {
        self.skn.as_deref()
    }

    /// When it expires, in seconds since 1970, UTC.
    #[must_use]
    pub fn expires_at(&self) -> u64 {
        self.expires_at
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("sr", &self.sr)
            .field("skn", &self.skn)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

pub(crate) fn string_to_sign(sr: &str, se: u64) -> String {
    format!("{sr}\n{se}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(device: &str) -> Profile {
        serde_json::from_str(&format!(
            r#"{{"profile":"iot-hub-device","hub":"h.net","device":"{device}"}}"#
        ))
        .unwrap()
    }

    fn service() -> Profile {
        serde_json::from_str(r#"{"profile":"iot-hub-service","hub":"h.net","policy":"p"}"#).unwrap()
    }

    #[track_caller]
    fn check(profile: &Profile, order: Order, text: &str) {
        let token = Unsigned::new(profile, Encoder::LowerHex, order, 7).unwrap();
        assert_eq!(token.sign(&[0xfb; MAC_BYTES]).text(), text);
    }

    const SIG: &str = "%2b%2fv7%2b%2fv7%2b%2fv7%2b%2fv7%2b%2fv7%2b%2fv7%2b%2fv7%2b%2fv7%2b%2fv7%2b%2fv7%2b%2fs%3d";

    #[test]
    fn parameters_stand_in_the_order_asked_for() {
        for (order, parameters) in [
            (Order::SrSigSeSkn, format!("&sig={SIG}&se=7&skn=p")),
            (Order::SrSeSigSkn, format!("&se=7&sig={SIG}&skn=p")),
            (Order::SrSigSknSe, format!("&sig={SIG}&skn=p&se=7")),
        ] {
            check(&service(), order, &format!("SharedAccessSignature sr=h.net{parameters}"));
        }
    }

    #[test]
    fn token_without_a_policy_has_no_skn() {
        for order in Order::ALL {
            let token = Unsigned::new(&device("d"), Encoder::LowerHex, order, 7).unwrap();
            assert!(!token.sign(&[0; MAC_BYTES]).text().contains("skn"));
        }
    }

    #[test]
    fn s8_expiry_past_32_bits_is_written_whole() {
        for se in [1 << 31, (1 << 32) + 1, u64::MAX] {
            let token = Unsigned::new(&device("d"), Encoder::LowerHex, Order::SrSigSeSkn, se);
            let token = token.unwrap();
            assert_eq!(token.string_to_sign(), format!("h.net%2fdevices%2fd\n{se}"));
            assert!(token.sign(&[0; MAC_BYTES]).text().ends_with(&format!("&se={se}")));
        }
    }

    #[test]
    fn string_to_sign_at_limit_is_signed_and_one_past_it_refused() {
        let profile = |entity: usize, publisher: usize| -> Profile {
            let (entity, publisher) = ("e".repeat(entity), "é".repeat(publisher));
            serde_json::from_str(&format!(
                r#"{{"profile":"event-hubs-publisher","namespace":"a.b","entity":"{entity}","publisher":"{publisher}","policy":"p"}}"#
            ))
            .unwrap()
        };
        let new = |entity, se| {
            Unsigned::new(&profile(entity, 128), Encoder::LowerHex, Order::SrSigSeSkn, se)
        };
        let shortest = new(1, 1_000_000_000).unwrap().string_to_sign().len();
        let longest = 1 + STRING_TO_SIGN_MAX_BYTES - shortest;
        let token = new(longest, 1_000_000_000).unwrap();
        assert_eq!(token.string_to_sign().len(), STRING_TO_SIGN_MAX_BYTES);
        assert!(token.sign(&[0xff; MAC_BYTES]).text().len() <= TOKEN_MAX_BYTES);
        assert_eq!(new(longest, 10_000_000_000), Err(TokenError::TooLong { bytes: 1025 }));
    }

    #[test]
    fn longest_token_is_within_its_limit() {
        // Everything but the string to sign: the words, the signature, the policy's name.
        let rest = "SharedAccessSignature sr=&sig=&se=&skn=".len() + 3 * SIGNATURE_BYTES;
        assert!(
            rest + wire::sas::limits::POLICY_NAME_MAX_BYTES
                <= TOKEN_MAX_BYTES - STRING_TO_SIGN_MAX_BYTES
        );
    }

    #[test]
    fn debug_of_a_token_shows_no_signature() {
        let token = Unsigned::new(&device("d"), Encoder::LowerHex, Order::SrSigSeSkn, 7).unwrap();
        let shown = format!("{:?}", token.sign(&[0xfb; MAC_BYTES]));
        assert!(shown.contains("devices") && !shown.contains("2fv7"), "{shown}");
    }
}
