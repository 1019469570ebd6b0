//! The words that requests, replies, envelopes and the audit share.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a key is for. Usages are exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Usage {
    /// Sealing and unsealing.
    Seal,
    /// Message authentication codes.
    Mac,
    /// Signatures.
    Sign,
    /// Encryption under an initialization vector of the caller's; only the dialects that demand it
    /// have such keys.
    Aead,
    /// Bare private-key operations of RSA; only the dialects that demand it have such keys.
    Rsa,
}

impl Usage {
    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Seal => "seal",
            Self::Mac => "mac",
            Self::Sign => "sign",
            Self::Aead => "aead",
            Self::Rsa => "rsa",
        }
    }

    /// The algorithm that keys of this usage have when none is asked for.
    pub const fn algorithm(self) -> Algorithm {
        match self {
            Self::Seal | Self::Mac => Algorithm::HmacSha256,
            Self::Sign => Algorithm::EcdsaP256,
            Self::Aead => Algorithm::Aes256Gcm,
            Self::Rsa => Algorithm::Rsa2048,
        }
    }
}

/// What the device computes with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Algorithm {
    /// HMAC with SHA-256 (FIPS 198-1).
    #[serde(rename = "hmac-sha256")]
    HmacSha256,
    /// ECDSA on P-256 over a SHA-256 digest (FIPS 186-5).
    #[serde(rename = "ecdsa-p256")]
    EcdsaP256,
    /// AES-256 in GCM with a tag of 16 bytes (NIST SP 800-38D).
    #[serde(rename = "aes-256-gcm")]
    Aes256Gcm,
    /// RSA with a modulus of 2,048 bits (RFC 8017).
    #[serde(rename = "rsa-2048")]
    Rsa2048,
    /// RSA with a modulus of 4,096 bits (RFC 8017).
    #[serde(rename = "rsa-4096")]
    Rsa4096,
}

impl Algorithm {
    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HmacSha256 => "hmac-sha256",
            Self::EcdsaP256 => "ecdsa-p256",
            Self::Aes256Gcm => "aes-256-gcm",
            Self::Rsa2048 => "rsa-2048",
            Self::Rsa4096 => "rsa-4096",
        }
    }
}

/// What protects a key version. `Emulated` promises no more than `Software`; it exists so that
/// nobody mistakes an emulator for a chip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protection {
    /// The host's memory and files.
    Software,
    /// A key of the device while it is not used, the memory of a process while it is.
    Wrapped,
    /// A device in software, or one that is not known.
    Emulated,
    /// A known chip or module, or one that the operator states to be.
    Hardware,
}

impl Protection {
    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Software => "software",
            Self::Wrapped => "wrapped",
            Self::Emulated => "emulated",
            Self::Hardware => "hardware",
        }
    }
}

/// Where the key bytes came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// Made inside the provider.
    Generated,
    /// Given to the host in the clear, so that someone outside has or had it.
    ImportedClear,
}

impl Origin {
    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Generated => "generated",
            Self::ImportedClear => "imported-clear",
        }
    }
}

/// What a key version may still do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VersionState {
    /// Used for new work; one version of a key at most.
    Active,
    /// Opens and verifies what was made with it.
    DecryptOnly,
    /// Gone.
    Destroyed,
}

impl VersionState {
    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::DecryptOnly => "decrypt-only",
            Self::Destroyed => "destroyed",
        }
    }
}

/// The text form of an envelope, not yet read; see [`crate::envelope::Envelope::parse_text`].
///
/// `Debug` does not show it, because it holds a wrapped key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SealedText(pub String);

impl SealedText {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SealedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedText({} bytes)", self.0.len())
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
        for usage in [Usage::Seal, Usage::Mac, Usage::Sign] {
            same_word(usage, usage.as_str());
            same_word(usage.algorithm(), usage.algorithm().as_str());
        }
        for protection in [Protection::Software, Protection::Emulated, Protection::Hardware] {
            same_word(protection, protection.as_str());
        }
        for origin in [Origin::Generated, Origin::ImportedClear] {
            same_word(origin, origin.as_str());
        }
        for state in [VersionState::Active, VersionState::DecryptOnly, VersionState::Destroyed] {
            same_word(state, state.as_str());
        }
    }

    #[test]
    fn protection_rises_from_software_to_hardware() {
        assert!(Protection::Software < Protection::Emulated);
        assert!(Protection::Emulated < Protection::Hardware);
    }
}
