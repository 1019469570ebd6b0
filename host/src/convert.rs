//! The one table between the words of the API and those of the plugin boundary.

use provider_core as core;
use wire::api;

/// The boundary's word for a usage.
pub(crate) const fn usage(usage: api::Usage) -> core::Usage {
    match usage {
        api::Usage::Seal => core::Usage::Seal,
        api::Usage::Mac => core::Usage::Mac,
        api::Usage::Sign => core::Usage::Sign,
    }
}

/// The boundary's word for an algorithm.
pub(crate) const fn algorithm(algorithm: api::Algorithm) -> core::Algorithm {
    match algorithm {
        api::Algorithm::HmacSha256 => core::Algorithm::HmacSha256,
        api::Algorithm::EcdsaP256 => core::Algorithm::EcdsaP256,
    }
}

/// The API's word for a protection.
pub(crate) const fn protection(protection: core::Protection) -> api::Protection {
    match protection {
        core::Protection::Software => api::Protection::Software,
        core::Protection::Emulated => api::Protection::Emulated,
        core::Protection::Hardware => api::Protection::Hardware,
    }
}

/// The API's words for what a provider can do.
pub(crate) fn capabilities(capabilities: core::Capabilities) -> Vec<String> {
    const WORDS: [(core::Capabilities, &str); 5] = [
        (core::Capabilities::SEAL, "seal"),
        (core::Capabilities::MAC, "mac"),
        (core::Capabilities::IMPORT_MAC, "import-mac"),
        (core::Capabilities::SIGN, "sign"),
        (core::Capabilities::STATE_BINDING, "state-binding"),
    ];
    let named = WORDS.iter().filter(|(capability, _)| capabilities.contains(*capability));
    named.map(|(_, word)| (*word).to_owned()).collect()
}

const _: () = assert!(matches_label(), "wire and provider-core disagree on the seal label");

const fn matches_label() -> bool {
    let (ours, theirs) = (core::key::SEAL_LABEL, wire::envelope::DEVICE_LABEL);
    let mut index = 0;
    while index < ours.len() {
        if ours[index] != theirs[index] {
            return false;
        }
        index += 1;
    }
    ours.len() == theirs.len()
}
