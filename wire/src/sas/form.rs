//! How keys come from texts, how tokens are written, and which key of two signs.

use serde::{Deserialize, Serialize};

/// How the HMAC key comes from the text of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyForm {
    /// The UTF-8 bytes of the text, as Event Hubs takes it.
    Raw,
    /// The bytes that the text is the base64 of, as IoT Hub and DPS take it.
    Decoded,
}

impl KeyForm {
    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Decoded => "decoded",
        }
    }
}

/// How the URI and the signature are written into a token. A service checks the MAC over the
/// resource as it came, so every one is accepted; they exist to be byte-equal to others.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Encoder {
    /// Lower-case hex, a space is `+`, and `- _ . ! * ( )` stay: .NET `HttpUtility`; when none is
    /// given.
    #[default]
    LowerHex,
    /// The same in upper-case hex: .NET `WebUtility`.
    UpperHex,
    /// Upper-case hex, a space is `%20`, and `- _ . ~` stay: RFC 3986, Python `quote`.
    Rfc3986,
    /// Upper-case hex, a space is `+`, and `- _ . ~` stay: Python `quote_plus`.
    QuotePlus,
    /// Upper-case hex, a space is `%20`, and `- _ . ~ ! * ' ( )` stay: JavaScript
    /// `encodeURIComponent`.
    Javascript,
    /// As [`Self::Rfc3986`], but `*` is `%2a`: Microsoft's Node.js libraries for IoT.
    AzureNode,
    /// The resource in lower case, then as [`Self::LowerHex`]: what the prose of IoT Hub asks for.
    LowerCase,
    /// The resource in lower case, then upper-case hex for the fewest characters: Azure IoT
    /// Identity Service. Refused for a resource with `%`, `&` or `+`, which it does not escape.
    Identityd,
}

impl Encoder {
    /// All encoders.
    pub const ALL: [Self; 8] = [
        Self::LowerHex,
        Self::UpperHex,
        Self::Rfc3986,
        Self::QuotePlus,
        Self::Javascript,
        Self::AzureNode,
        Self::LowerCase,
        Self::Identityd,
    ];

    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LowerHex => "lower-hex",
            Self::UpperHex => "upper-hex",
            Self::Rfc3986 => "rfc3986",
            Self::QuotePlus => "quote-plus",
            Self::Javascript => "javascript",
            Self::AzureNode => "azure-node",
            Self::LowerCase => "lower-case",
            Self::Identityd => "identityd",
        }
    }

    /// Whether it signs the resource in lower case. Rules are asked about that resource then.
    pub const fn lowers(self) -> bool {
        match self {
            Self::LowerCase | Self::Identityd => true,
            Self::LowerHex
            | Self::UpperHex
            | Self::Rfc3986
            | Self::QuotePlus
            | Self::Javascript
            | Self::AzureNode => false,
        }
    }
}

/// The order of a token's parameters. It does not matter to a service.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// `sr`, `sig`, `se`, `skn`; when none is given.
    #[default]
    SrSigSeSkn,
    /// `sr`, `se`, `sig`, `skn`.
    SrSeSigSkn,
    /// `sr`, `sig`, `skn`, `se`: Microsoft's Node.js libraries.
    SrSigSknSe,
}

impl Order {
    /// All orders.
    pub const ALL: [Self; 3] = [Self::SrSigSeSkn, Self::SrSeSigSkn, Self::SrSigSknSe];

    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SrSigSeSkn => "sr-sig-se-skn",
            Self::SrSeSigSkn => "sr-se-sig-skn",
            Self::SrSigSknSe => "sr-sig-skn-se",
        }
    }
}

/// One of the two keys that Azure has for each policy and device.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Slot {
    /// The first, in use until the key is rotated.
    #[default]
    Primary,
    /// The second.
    Secondary,
}

impl Slot {
    /// Both slots.
    pub const ALL: [Self; 2] = [Self::Primary, Self::Secondary];

    /// The word in JSON, and the last segment of the host's key name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Secondary => "secondary",
        }
    }

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Primary => Self::Secondary,
            Self::Secondary => Self::Primary,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same_word(value: impl Serialize, word: &str) {
        assert_eq!(serde_json::to_string(&value).unwrap(), format!("\"{word}\""));
    }

    #[test]
    fn word_in_json_is_as_str() {
        Encoder::ALL.iter().for_each(|encoder| same_word(encoder, encoder.as_str()));
        Order::ALL.iter().for_each(|order| same_word(order, order.as_str()));
        Slot::ALL.iter().for_each(|slot| same_word(slot, slot.as_str()));
        [KeyForm::Raw, KeyForm::Decoded].iter().for_each(|form| same_word(form, form.as_str()));
    }
}
