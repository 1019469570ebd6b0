//! Where a new key version goes. Absent is not down: a provider that this host never had is
//! passed over, one that it had and that is not there now stops the search, so that nobody turns
//! hardware keys into software keys by unplugging the device for a moment.

use std::sync::Arc;

use provider_core::Capabilities;
use wire::api::{Algorithm, Protection, Usage};
use wire::name::ProviderName;

use super::Router;
use super::provider::{Availability, Provider};
use crate::convert;
use crate::error::{Failure, HostError};

/// What a new key version needs.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// What it is for.
    pub usage: Usage,
    /// How it computes.
    pub algorithm: Algorithm,
    /// Whether its bytes are imported.
    pub import: bool,
    /// Whether it is bound to the machine's state.
    pub state_bound: bool,
    /// The least protection.
    pub floor: Protection,
    /// The providers it may live in, in order; `None` for the configured order.
    pub providers: Option<&'a [ProviderName]>,
    /// A provider that is known to be gone, for a fallback version.
    pub instead_of: Option<&'a ProviderName>,
}

/// Where it goes.
#[derive(Clone, Debug)]
pub struct Selected {
    /// The instance.
    pub provider: Arc<Provider>,
    /// What stands behind it.
    pub protection: Protection,
}

impl Router {
    /// Finds the instance for a new key version.
    ///
    /// # Errors
    /// `Unavailable`: a provider that is down stands before the first one that qualifies.
    /// `NoProvider`: none qualifies; the sentence says why each does not.
    pub fn select(&self, wanted: &Wanted<'_>) -> Result<Selected, HostError> {
        let order = wanted.providers.unwrap_or(&self.selection.order);
        let mut passed_over = Vec::new();
        for name in order {
            if wanted.instead_of == Some(name) {
                continue;
            }
            let Some(provider) = self.providers.get(name) else {
                passed_over.push(format!("{name} is not configured"));
                continue;
            };
            if let Some(reason) = provider.cannot(wanted) {
                passed_over.push(format!("{name} {reason}"));
                continue;
            }
            match provider.availability() {
                Availability::Open(_) if provider.is_working() => {
                    let protection = provider.protection_of(wanted.usage);
                    let protection = protection.unwrap_or(Protection::Software);
                    return Ok(Selected { provider: Arc::clone(provider), protection });
                }
                Availability::Absent(_) => passed_over.push(format!("{name} is absent")),
                // Fallback is what the operator asked for when providers are down.
                Availability::Open(_)
                | Availability::Opening
                | Availability::Down(_)
                | Availability::Replaced(_)
                    if wanted.instead_of.is_some() =>
                {
                    passed_over.push(format!("{name} is down"));
                }
                Availability::Open(_)
                | Availability::Opening
                | Availability::Down(_)
                | Availability::Replaced(_) => {
                    let down = format!(
                        "provider {name} is down and comes first for this key; bring it back, or \
                         name other providers"
                    );
                    return Err(HostError::from(Failure::Unavailable(down)).at(name));
                }
            }
        }
        let reasons = passed_over.join(", ");
        Err(Failure::NoProvider(format!("no provider can hold this key: {reasons}")).into())
    }
}

impl Provider {
    /// What stands behind its keys of a usage, as far as its last opening tells.
    fn protection_of(&self, usage: Usage) -> Option<Protection> {
        let device = self.protection()?;
        let inside = match usage {
            Usage::Aead => self.info()?.capabilities.contains(Capabilities::AEAD),
            Usage::Seal | Usage::Mac | Usage::Sign | Usage::Rsa => true,
        };
        Some(if inside { device } else { device.min(Protection::Wrapped) })
    }

    /// Why it could not hold a key even while open, as far as its last opening tells.
    fn cannot(&self, wanted: &Wanted<'_>) -> Option<String> {
        let info = self.info()?;
        let (has, usage) = (info.capabilities, convert::usage(wanted.usage));
        let algorithm = convert::algorithm(wanted.algorithm);
        let made =
            if wanted.import { has.can_import(usage) } else { has.can_generate(usage, algorithm) };
        if !made || (wanted.state_bound && !has.contains(Capabilities::STATE_BINDING)) {
            return Some(format!("cannot hold {} keys of this sort", wanted.usage.as_str()));
        }
        let protection = self.protection_of(wanted.usage)?;
        (protection < wanted.floor).then(|| {
            format!("gives {} protection, below {}", protection.as_str(), wanted.floor.as_str())
        })
    }
}

impl<'a> Wanted<'a> {
    /// What a generated version of a key needs.
    #[must_use]
    pub fn new(terms: &'a crate::registry::Terms) -> Self {
        Self {
            usage: terms.usage,
            algorithm: terms.algorithm,
            import: false,
            state_bound: terms.state.is_some(),
            floor: terms.floor,
            providers: terms.providers.as_deref(),
            instead_of: None,
        }
    }
}
