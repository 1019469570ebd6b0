//! Counters and durations, as Prometheus text. Labels are operations and codes, never keys,
//! resources or callers, so their number is bounded.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use wire::code::Code;

/// Upper bounds of the duration buckets, seconds: from the cache to a slow chip.
const BUCKETS: [f64; 10] = [0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 10.0];

/// What was done since the start.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<OperationLabels, Histogram, fn() -> Histogram>,
    tokens: Family<SourceLabels, Counter>,
    audit_failures: Counter,
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
struct SourceLabels {
    source: &'static str,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let requests = Family::default();
        let durations: Family<OperationLabels, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(BUCKETS));
        let tokens = Family::default();
        let audit_failures = Counter::default();
        let mut registry = Registry::with_prefix("sas_signer");
        registry.register("requests", "Requests answered", requests.clone());
        registry.register(
            "request_duration_seconds",
            "From decoding to the audit record",
            durations.clone(),
        );
        registry.register("tokens", "Tokens given, by where they came from", tokens.clone());
        registry.register(
            "audit_write_failures",
            "Replies withheld because the audit could not be written",
            audit_failures.clone(),
        );
        Self { registry, requests, durations, tokens, audit_failures }
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

    pub(crate) fn count_token(&self, from_cache: bool) {
        let source = if from_cache { "cache" } else { "host" };
        self.tokens.get_or_create(&SourceLabels { source }).inc();
    }

    pub(crate) fn count_audit_failure(&self) {
        self.audit_failures.inc();
    }

    /// All of it, OpenMetrics text, which Prometheus reads.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        match encode(&mut text, &self.registry) {
            Ok(()) => text,
            // Writing to a string fails only where a metric is wrongly made.
            Err(std::fmt::Error) => String::new(),
        }
    }
}
