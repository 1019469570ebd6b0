//! The one table between the words of the API and those of the plugin boundary, so that the rooms
//! on either side of it know only their own.

use daemon::sandbox::{Level, Reached};
use provider_core as core;
use wire::api::{self, CreateRequest, KeyRecord, PcrSelection, VersionRecord, VersionState};

use crate::error::{Failure, HostError};
use crate::registry::{Key, Stage, Version};

/// The boundary's word for a usage.
pub(crate) const fn usage(usage: api::Usage) -> core::Usage {
    match usage {
        api::Usage::Seal => core::Usage::Seal,
        api::Usage::Mac => core::Usage::Mac,
        api::Usage::Sign => core::Usage::Sign,
        api::Usage::Aead => core::Usage::Aead,
        api::Usage::Rsa => core::Usage::Rsa,
    }
}

/// The boundary's word for an algorithm.
pub(crate) const fn algorithm(algorithm: api::Algorithm) -> core::Algorithm {
    match algorithm {
        api::Algorithm::HmacSha256 => core::Algorithm::HmacSha256,
        api::Algorithm::EcdsaP256 => core::Algorithm::EcdsaP256,
        api::Algorithm::Aes256Gcm => core::Algorithm::Aes256Gcm,
        api::Algorithm::Rsa2048 => core::Algorithm::Rsa2048,
        api::Algorithm::Rsa4096 => core::Algorithm::Rsa4096,
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

/// The API's words for how far a process is confined.
pub(crate) fn confined(reached: &Reached) -> api::Confined {
    let level = |level: Level| match level {
        Level::None => api::ConfinedLevel::None,
        Level::Partial => api::ConfinedLevel::Partial,
        Level::Full => api::ConfinedLevel::Full,
    };
    api::Confined {
        filesystem: level(reached.filesystem),
        network: level(reached.network),
        syscalls: level(reached.syscalls),
        memory_bytes: reached.memory_bytes,
        files: reached.files,
    }
}

/// The API's words for what a device says of failed authorizations.
pub(crate) fn lockout(condition: &core::Condition) -> api::LockoutStatus {
    api::LockoutStatus {
        failures: condition.auth_failures,
        max: condition.auth_failures_max,
        recovery_seconds: condition.recovery.map(|recovery| recovery.as_secs()),
        last_try: condition.standing == core::Standing::LastTry,
        locked: condition.standing == core::Standing::Locked,
    }
}

/// The API's words for what a provider can do.
pub(crate) fn capabilities(capabilities: core::Capabilities) -> Vec<String> {
    const WORDS: [(core::Capabilities, &str); 11] = [
        (core::Capabilities::SEAL, "seal"),
        (core::Capabilities::MAC, "mac"),
        (core::Capabilities::IMPORT_MAC, "import-mac"),
        (core::Capabilities::SIGN, "sign"),
        (core::Capabilities::STATE_BINDING, "state-binding"),
        (core::Capabilities::COUNTER, "counter"),
        (core::Capabilities::AEAD, "aead"),
        (core::Capabilities::AEAD_WRAPPED, "aead-wrapped"),
        (core::Capabilities::RSA_2048, "rsa-2048"),
        (core::Capabilities::RSA_4096, "rsa-4096"),
        (core::Capabilities::IMPORT_SIGN, "import-sign"),
    ];
    let named = WORDS.iter().filter(|(capability, _)| capabilities.contains(*capability));
    named.map(|(_, word)| (*word).to_owned()).collect()
}

/// A key as clients see it. A version that is being made is not there yet.
pub(crate) fn key_record(key: &Key) -> KeyRecord {
    let active = key.active().map(|version| version.number);
    let version = |version: &Version| VersionRecord {
        version: version.number,
        state: match version.stage {
            Stage::Live if active == Some(version.number) => VersionState::Active,
            Stage::Live => VersionState::DecryptOnly,
            Stage::Creating | Stage::Destroying | Stage::Destroyed => VersionState::Destroyed,
        },
        provider: version.provider.clone(),
        protection: version.protection,
        origin: version.origin,
        fallback: version.fallback,
        created_at: version.created_at.clone(),
    };
    let state = key.terms.state.as_ref();
    let made = key.versions.iter().filter(|version| version.stage != Stage::Creating);
    KeyRecord {
        name: key.name.clone(),
        usage: key.terms.usage,
        algorithm: key.terms.algorithm,
        floor: key.terms.floor,
        fallback: key.terms.fallback,
        providers: key.terms.providers.clone(),
        pcrs: state.and_then(|state| pcrs_of(state.as_str())),
        versions: made.map(version).collect(),
    }
}

/// The bank that the API speaks of; this word and the numbers are what providers read.
const STATE_BANK: &str = "sha256:";

/// The state binding that a request asks for.
pub(crate) fn state_binding(
    request: &CreateRequest,
) -> Result<Option<core::StateBinding>, HostError> {
    let Some(pcrs) = &request.pcrs else { return Ok(None) };
    let mut numbers = pcrs.sha256.clone();
    numbers.sort_unstable();
    let numbers: Vec<_> = numbers.iter().map(u8::to_string).collect();
    let text = format!("{STATE_BANK}{}", numbers.join(","));
    let binding = core::StateBinding::new(&text);
    Ok(Some(binding.map_err(|_invalid| Failure::Bug("state binding"))?))
}

/// The selection that a state binding stands for.
fn pcrs_of(state: &str) -> Option<PcrSelection> {
    let numbers = state.strip_prefix(STATE_BANK)?;
    let sha256 = numbers.split(',').map(str::parse).collect::<Result<_, _>>().ok()?;
    Some(PcrSelection { sha256 })
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
