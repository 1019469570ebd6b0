//! What `status` and `providers` answer.

use serde::{Deserialize, Serialize};

use super::types::Protection;
use crate::name::ProviderName;

/// `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The host's version.
    pub version: String,
    /// When the host started: RFC 3339, UTC.
    pub started_at: String,
    /// The generation of the key registry; each change of a key raises it.
    pub generation: u64,
    /// The providers considered for a new key version, in this order.
    pub order: Vec<ProviderName>,
    /// The least protection of a new key version.
    pub floor: Protection,
    /// How far the host itself is confined.
    pub sandbox: Confined,
    /// Every configured provider.
    pub providers: Vec<ProviderStatus>,
}

/// How far a process is confined, as the kernel says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confined {
    /// Files: those that it does not need cannot be opened.
    pub filesystem: ConfinedLevel,
    /// Networks and sockets: those that it does not need cannot be reached.
    pub network: ConfinedLevel,
    /// System calls: those that no service needs are refused.
    pub syscalls: ConfinedLevel,
    /// Most memory of its own, bytes; absent where it is not limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Most open descriptors; absent where they are not limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
}

/// How far a restriction is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConfinedLevel {
    /// Not at all: it is not wanted, or the kernel cannot.
    None,
    /// In part: the kernel is too old for the rest.
    Partial,
    /// Wholly.
    Full,
}

impl ConfinedLevel {
    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Partial => "partial",
            Self::Full => "full",
        }
    }
}

/// `GET /v1/providers`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderList {
    /// Every configured provider, as configured.
    pub providers: Vec<ProviderStatus>,
}

/// One configured provider. What only an open provider knows is absent until it was open once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderStatus {
    /// The name in the configuration.
    pub name: ProviderName,
    /// Whether it can be used now.
    pub state: ProviderState,
    /// Since when it is in this state: RFC 3339, UTC.
    pub since: String,
    /// Whether calls go to it, or fail at once.
    pub breaker: BreakerStatus,
    /// Why it is not open, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Kind of device, as the plugin names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// What kind of protection it gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protection: Option<Protection>,
    /// Who made the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manufacturer: Option<String>,
    /// Version of the device's firmware or library.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware: Option<String>,
    /// What it can do.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// What an operator should know, such as a protection stated in the configuration.
    #[serde(default)]
    pub notes: Vec<String>,
    /// How far its worker is confined; absent while it has none, and where it is not confined at
    /// all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<Confined>,
    /// Whether keys of this provider are sealing with another one now.
    pub fallback_active: bool,
    /// What the device says of failed authorizations; absent where it counts none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lockout: Option<LockoutStatus>,
}

/// A device's memory of failed authorizations, by whomever, as it was last asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockoutStatus {
    /// Failures that it remembers, where it tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures: Option<u32>,
    /// How many of them lock it, where it tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
    /// Seconds until a lockout is over, or, while there is none, until one failure is forgotten, at
    /// most; absent where time does not help, or it does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_seconds: Option<u64>,
    /// Whether one more failure locks it.
    pub last_try: bool,
    /// Whether it refuses every authorization, right or wrong.
    pub locked: bool,
}

impl LockoutStatus {
    /// Whether an operator should look: it is locked, or one failure or half the tries from it.
    #[must_use]
    pub fn is_near(&self) -> bool {
        let past_half =
            self.failures.zip(self.max).is_some_and(|(failures, max)| failures > max / 2);
        self.locked || self.last_try || past_half
    }
}

impl std::fmt::Display for LockoutStatus {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(if self.locked {
            "lockout: the device is locked"
        } else {
            "lockout"
        })?;
        match (self.failures, self.max) {
            (Some(failures), Some(max)) => {
                write!(formatter, ": {failures} failed authorizations of {max}")?;
            }
            (Some(failures), None) => write!(formatter, ": {failures} failed authorizations")?,
            (None, _) if !self.locked => formatter.write_str(": authorizations failed")?,
            (None, _) => {}
        }
        if self.last_try {
            formatter.write_str("; one more locks the device")?;
        }
        match (self.recovery_seconds, self.locked) {
            (Some(seconds), true) => write!(formatter, "; over after at most {seconds} s"),
            (Some(seconds), false) => write!(formatter, "; one is forgotten in {seconds} s"),
            (None, _) => Ok(()),
        }
    }
}

/// Whether a provider can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProviderState {
    /// It answers.
    Open,
    /// It was never there on this host.
    Absent,
    /// It was there before and is not now.
    Down,
    /// It is being opened.
    Opening,
}

impl ProviderState {
    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Absent => "absent",
            Self::Down => "down",
            Self::Opening => "opening",
        }
    }
}

/// Whether calls go to a provider's device, or fail at once until the host has asked after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakerStatus {
    /// The state.
    pub state: BreakerState,
    /// What opened it; absent while it is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<BreakerCause>,
    /// Milliseconds until the host asks the device again, while open; absent where it never will.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_probe_ms: Option<u64>,
}

/// State of a circuit breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BreakerState {
    /// Calls go to the device.
    Closed,
    /// Calls fail at once.
    Open,
    /// Calls fail at once, and the host is asking the device.
    HalfOpen,
}

impl BreakerState {
    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

/// What opened a circuit breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BreakerCause {
    /// The first try at opening the provider has not ended.
    Untried,
    /// The device, or the worker in front of it, is not there.
    Gone,
    /// It did not answer in time.
    Silent,
    /// It failed too many calls in a row, or its self test.
    Failing,
    /// It answers and does not serve: another device, a refused PIN, a setting, lockout, no room.
    Refusing,
}

impl BreakerCause {
    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Untried => "untried",
            Self::Gone => "gone",
            Self::Silent => "silent",
            Self::Failing => "failing",
            Self::Refusing => "refusing",
        }
    }
}
