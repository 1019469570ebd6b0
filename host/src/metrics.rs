//! Counters and durations, as Prometheus text. Labels are operations, codes and provider names,
//! never keys or callers, so their number is bounded.

use std::time::Duration;

use daemon::metrics;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use wire::api::{BreakerState, LockoutStatus, ProviderState};
use wire::code::Code;

use crate::request::Api;
use crate::router::Router;

/// What was done since the start.
#[derive(Debug)]
pub(crate) struct Metrics {
    requests: metrics::Metrics,
    fallback_versions: Counter,
    repeated_vectors: Counter,
    provider_up: Family<ProviderLabels, Gauge>,
    provider_waiting: Family<ProviderLabels, Gauge>,
    fallback_active: Family<ProviderLabels, Gauge>,
    breaker_state: Family<ProviderLabels, Gauge>,
    breaker_openings: Family<ProviderLabels, Counter>,
    lockout: Lockout,
}

/// What devices say of failed authorizations.
#[derive(Debug, Default)]
struct Lockout {
    failures: Family<ProviderLabels, Gauge>,
    max: Family<ProviderLabels, Gauge>,
    locked: Family<ProviderLabels, Gauge>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ProviderLabels {
    provider: String,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let fallback_versions = Counter::default();
        let repeated_vectors = Counter::default();
        let provider_up = Family::default();
        let provider_waiting = Family::default();
        let fallback_active = Family::default();
        let breaker_state = Family::default();
        let breaker_openings = Family::default();
        let lockout = Lockout::default();
        let requests = metrics::Metrics::new("sealhost")
            .with(
                "fallback_versions",
                "Key versions made because a provider was gone",
                fallback_versions.clone(),
            )
            .with(
                "repeated_ivs",
                "Encryptions under an initialization vector that the key had before",
                repeated_vectors.clone(),
            )
            .with(
                "provider_up",
                "Whether a provider is open and its device answered last",
                provider_up.clone(),
            )
            .with(
                "provider_queue_length",
                "Calls waiting for a turn at a provider",
                provider_waiting.clone(),
            )
            .with(
                "fallback_active",
                "Whether keys of a provider seal elsewhere now",
                fallback_active.clone(),
            )
            .with(
                "breaker_state",
                "Whether calls go to a provider: 0 closed, 1 half-open, 2 open",
                breaker_state.clone(),
            )
            .with(
                "breaker_openings",
                "How often a provider's breaker opened",
                breaker_openings.clone(),
            )
            .with(
                "lockout_failures",
                "Failed authorizations that a provider's device remembers",
                lockout.failures.clone(),
            )
            .with(
                "lockout_failures_max",
                "Failed authorizations that lock a provider's device",
                lockout.max.clone(),
            )
            .with(
                "lockout_locked",
                "Whether a provider's device refuses every authorization",
                lockout.locked.clone(),
            );
        Self {
            requests,
            fallback_versions,
            repeated_vectors,
            provider_up,
            provider_waiting,
            fallback_active,
            breaker_state,
            breaker_openings,
            lockout,
        }
    }

    /// Counts one request; `None` for one that was never decoded, or succeeded.
    pub(crate) fn count(
        &self,
        api: Api,
        operation: Option<&'static str>,
        code: Option<Code>,
        duration: Duration,
    ) {
        self.requests.count_of(Some(api.as_str()), operation, code, duration);
    }

    pub(crate) fn count_fallback_version(&self) {
        self.fallback_versions.inc();
    }

    pub(crate) fn count_repeated_vector(&self) {
        self.repeated_vectors.inc();
    }

    pub(crate) fn count_refused(&self, limit: &'static str) {
        self.requests.count_refused(limit);
    }

    pub(crate) fn count_audit_failure(&self) {
        self.requests.count_audit_failure();
    }

    /// All of it, OpenMetrics text, which Prometheus reads.
    pub(crate) fn text(&self, router: &Router) -> String {
        for status in router.statuses() {
            let labels = ProviderLabels { provider: status.name.as_str().to_owned() };
            let up = status.state == ProviderState::Open;
            self.provider_up.get_or_create(&labels).set(i64::from(up));
            let active = i64::from(status.fallback_active);
            self.fallback_active.get_or_create(&labels).set(active);
            self.breaker_state.get_or_create(&labels).set(match status.breaker.state {
                BreakerState::Closed => 0,
                BreakerState::HalfOpen => 1,
                BreakerState::Open => 2,
            });
            if let Some(lockout) = status.lockout {
                self.lockout.set(&labels, lockout);
            }
            let provider = router.provider(&status.name);
            let trips = provider.as_ref().map_or(0, |provider| provider.trips());
            let counter = self.breaker_openings.get_or_create(&labels);
            counter.inc_by(trips.saturating_sub(counter.get()));
            let waiting = provider.map_or(0, |provider| provider.waiting());
            let waiting = i64::try_from(waiting).unwrap_or(i64::MAX);
            self.provider_waiting.get_or_create(&labels).set(waiting);
        }
        self.requests.text()
    }
}

impl Lockout {
    fn set(&self, labels: &ProviderLabels, status: LockoutStatus) {
        let known = [(&self.failures, status.failures), (&self.max, status.max)];
        for (family, value) in known {
            if let Some(value) = value {
                family.get_or_create(labels).set(value.into());
            }
        }
        self.locked.get_or_create(labels).set(status.locked.into());
    }
}
