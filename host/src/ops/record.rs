//! A key as clients see it, and state bindings as the API writes them.

use wire::api::{KeyRecord, PcrSelection, VersionRecord, VersionState};

use crate::error::{Failure, HostError};
use crate::registry::{Key, Stage, Version};

/// The key record. A version that is being made is not there yet.
pub(super) fn record_of(key: &Key) -> KeyRecord {
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

/// The state binding that a selection stands for.
pub(super) fn state_of(pcrs: &PcrSelection) -> Result<provider_core::StateBinding, HostError> {
    let mut numbers = pcrs.sha256.clone();
    numbers.sort_unstable();
    let numbers: Vec<_> = numbers.iter().map(u8::to_string).collect();
    let text = format!("{STATE_BANK}{}", numbers.join(","));
    provider_core::StateBinding::new(&text).map_err(|_invalid| Failure::Bug("state binding").into())
}

/// The selection that a state binding stands for.
fn pcrs_of(state: &str) -> Option<PcrSelection> {
    let numbers = state.strip_prefix(STATE_BANK)?;
    let sha256 = numbers.split(',').map(str::parse).collect::<Result<_, _>>().ok()?;
    Some(PcrSelection { sha256 })
}
