//! Counters and durations, as Prometheus text. Labels are operations, codes and provider names,
//! never keys or callers, so their number is bounded.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use wire::api::ProviderState;
use wire::code::Code;

use crate::router::Router;

/// Upper bounds of the duration buckets, seconds: from software to a slow chip.
const BUCKETS: [f64; 10] = [0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 10.0];

/// What was done since the start.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<OperationLabels, Histogram, fn() -> Histogram>,
    fallback_versions: Counter,
    audit_failures: Counter,
    provider_up: Family<ProviderLabels, Gauge>,
    provider_waiting: Family<ProviderLabels, Gauge>,
    fallback_active: Family<ProviderLabels, Gauge>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    operation: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OperationLabels {
    operation: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ProviderLabels {
    provider: String,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("sealhost"),
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            fallback_versions: Counter::default(),
            audit_failures: Counter::default(),
            provider_up: Family::default(),
            provider_waiting: Family::default(),
            fallback_active: Family::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("requests", "Requests answered", self.requests.clone());
        registry.register(
            "request_duration_seconds",
            "From decoding to the audit record",
            self.durations.clone(),
        );
        registry.register(
            "fallback_versions",
            "Key versions made because a provider was gone",
            self.fallback_versions.clone(),
        );
        registry.register(
            "audit_write_failures",
            "Replies withheld because the audit could not be written",
            self.audit_failures.clone(),
        );
        registry.register(
            "provider_up",
            "Whether a provider is open and its device answered last",
            self.provider_up.clone(),
        );
        registry.register(
            "provider_queue_length",
            "Calls waiting for a turn at a provider",
            self.provider_waiting.clone(),
        );
        registry.register(
            "fallback_active",
            "Whether keys of a provider seal elsewhere now",
            self.fallback_active.clone(),
        );
    }

    /// Counts one request; `None` for one that was never decoded, or succeeded.
    pub(crate) fn count(
        &self,
        operation: Option<&'static str>,
        code: Option<Code>,
        duration: Duration,
    ) {
        let operation = operation.unwrap_or("none");
        let outcome = code.map_or("ok", Code::as_str);
        self.requests.get_or_create(&RequestLabels { operation, outcome }).inc();
        let durations = self.durations.get_or_create(&OperationLabels { operation });
        durations.observe(duration.as_secs_f64());
    }

    pub(crate) fn count_fallback_version(&self) {
        self.fallback_versions.inc();
    }

    pub(crate) fn count_audit_failure(&self) {
        self.audit_failures.inc();
    }

    /// All of it, OpenMetrics text, which Prometheus reads.
    pub(crate) fn text(&self, router: &Router) -> String {
        for status in router.statuses() {
            let labels = ProviderLabels { provider: status.name.as_str().to_owned() };
            let up = status.state == ProviderState::Open;
            self.provider_up.get_or_create(&labels).set(i64::from(up));
            let active = i64::from(status.fallback_active);
            self.fallback_active.get_or_create(&labels).set(active);
            let waiting = router.provider(&status.name).map_or(0, |provider| provider.waiting());
            let waiting = i64::try_from(waiting).unwrap_or(i64::MAX);
            self.provider_waiting.get_or_create(&labels).set(waiting);
        }
        let mut text = String::new();
        match encode(&mut text, &self.registry) {
            Ok(()) => text,
            // Writing to a string fails only where a metric is wrongly made.
            Err(std::fmt::Error) => String::new(),
        }
    }
}
