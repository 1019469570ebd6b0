//! Where a new counter goes. As for keys, a provider that this host never had is passed over, and
//! one that it had and that is not there now stops the search.

use std::sync::Arc;

use provider_core::Capabilities;
use wire::api::Protection;
use wire::name::ProviderName;

use super::provider::{Availability, Provider};
use super::{Router, Selected};
use crate::error::{Failure, HostError};

impl Router {
    /// Finds the first instance in an order (the configured one when none is given) that keeps
    /// counters with at least this protection.
    ///
    /// Returns why each one does not when none does.
    ///
    /// # Errors
    /// `Unavailable`: a provider that is down stands before the first one that qualifies.
    pub fn select_for_counter(
        &self,
        order: Option<&[ProviderName]>,
        floor: Protection,
    ) -> Result<Result<Selected, String>, HostError> {
        let mut passed_over = Vec::new();
        for name in order.unwrap_or(&self.selection.order) {
            let Some(provider) = self.providers.get(name) else {
                passed_over.push(format!("{name} is not configured"));
                continue;
            };
            if let Some(reason) = provider.keeps_no_counter(floor) {
                passed_over.push(format!("{name} {reason}"));
                continue;
            }
            match provider.availability() {
                Availability::Open(_) if provider.is_working() => {
                    let protection = provider.protection().unwrap_or(Protection::Software);
                    return Ok(Ok(Selected { provider: Arc::clone(provider), protection }));
                }
                Availability::Absent(_) => passed_over.push(format!("{name} is absent")),
                Availability::Open(_)
                | Availability::Opening
                | Availability::Down(_)
                | Availability::Replaced(_) => {
                    let down = format!(
                        "provider {name} is down and comes first for this counter; bring it back, \
                         or name other providers or kind registry"
                    );
                    return Err(HostError::from(Failure::Unavailable(down)).at(name));
                }
            }
        }
        Ok(Err(passed_over.join(", ")))
    }
}

impl Provider {
    /// Why it could not keep a counter even while open, as far as its last opening tells.
    fn keeps_no_counter(&self, floor: Protection) -> Option<String> {
        if !self.info()?.capabilities.contains(Capabilities::COUNTER) {
            return Some("has no counters".into());
        }
        let protection = self.protection()?;
        (protection < floor)
            .then(|| format!("gives {} protection, below {}", protection.as_str(), floor.as_str()))
    }
}
