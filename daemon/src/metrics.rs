//! What every daemon counts of its requests, as OpenMetrics text. Labels are operations and codes,
//! never keys or callers, so their number is bounded.

use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabel, EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};
use wire::code::Code;

/// Upper bounds of the duration buckets, seconds: from memory to a slow chip.
const BUCKETS: [f64; 10] = [0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 10.0];

/// What was done since the start.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<OperationLabels, Histogram, fn() -> Histogram>,
    audit_failures: Counter,
    refused: Family<LimitLabels, Counter>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct LimitLabels {
    limit: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct RequestLabels {
    of: OperationLabels,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct OperationLabels {
    api: Option<&'static str>,
    operation: &'static str,
}

impl EncodeLabelSet for OperationLabels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> std::fmt::Result {
        if let Some(api) = self.api {
            ("api", api).encode(encoder.encode_label())?;
        }
        ("operation", self.operation).encode(encoder.encode_label())
    }
}

impl EncodeLabelSet for RequestLabels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> std::fmt::Result {
        self.of.encode(encoder)?;
        ("outcome", self.outcome).encode(encoder.encode_label())
    }
}

impl Metrics {
    /// Counts from nothing; every metric's name begins with `prefix` and an underscore.
    #[must_use]
    pub fn new(prefix: &'static str) -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix(prefix),
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            audit_failures: Counter::default(),
            refused: Family::default(),
        };
        let Self { registry, requests, durations, audit_failures, refused } = &mut metrics;
        registry.register(
            "refused",
            "Requests and connections answered busy, by the limit that was reached",
            refused.clone(),
        );
        registry.register("requests", "Requests answered", requests.clone());
        registry.register(
            "request_duration_seconds",
            "From decoding to the audit record",
            durations.clone(),
        );
        registry.register(
            "audit_write_failures",
            "Replies withheld because the audit could not be written",
            audit_failures.clone(),
        );
        metrics
    }

    /// Adds a metric of the daemon's own; its clones count together.
    #[must_use]
    pub fn with(mut self, name: &str, help: &str, metric: impl Metric) -> Self {
        self.registry.register(name, help, metric);
        self
    }

    /// Counts one request; `None` for one that was never decoded, or succeeded.
    pub fn count(&self, operation: Option<&'static str>, code: Option<Code>, duration: Duration) {
        self.count_of(None, operation, code, duration);
    }

    /// Counts one request, of one of several dialects of the daemon.
    pub fn count_of(
        &self,
        api: Option<&'static str>,
        operation: Option<&'static str>,
        code: Option<Code>,
        duration: Duration,
    ) {
        let operation = operation.unwrap_or("none");
        let outcome = code.map_or("ok", Code::as_str);
        let of = OperationLabels { api, operation };
        let durations = self.durations.get_or_create(&of);
        durations.observe(duration.as_secs_f64());
        drop(durations);
        self.requests.get_or_create(&RequestLabels { of, outcome }).inc();
    }

    /// Counts what was answered `busy`, by the key of the configuration that sets the limit.
    pub fn count_refused(&self, limit: &'static str) {
        self.refused.get_or_create(&LimitLabels { limit }).inc();
    }

    /// Counts a reply that was withheld because the audit could not be written.
    pub fn count_audit_failure(&self) {
        self.audit_failures.inc();
    }

    /// All of it, OpenMetrics text, which Prometheus reads.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        match encode(&mut text, &self.registry) {
            Ok(()) => text,
            // Writing to a string fails only where a metric is wrongly made.
            Err(std::fmt::Error) => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(code: Option<Code>, operation: Option<&'static str>, line: &str) {
        let metrics = Metrics::new("example");
        metrics.count_of(Some("native"), operation, code, Duration::from_millis(2));
        let text = metrics.text();
        assert!(text.lines().any(|found| found == line), "{text}");
    }

    #[test]
    fn request_is_counted_by_operation_and_outcome() {
        check(
            None,
            Some("seal"),
            "example_requests_total{api=\"native\",operation=\"seal\",outcome=\"ok\"} 1",
        );
        check(
            Some(Code::Busy),
            None,
            "example_requests_total{api=\"native\",operation=\"none\",outcome=\"busy\"} 1",
        );
    }

    #[test]
    fn duration_is_in_its_bucket() {
        let line = "example_request_duration_seconds_bucket{le=\"0.005\",api=\"native\",operation=\"seal\"} 1";
        check(None, Some("seal"), line);
    }

    #[test]
    fn refusal_is_counted_by_its_limit() {
        let metrics = Metrics::new("example");
        metrics.count_refused("in_flight");
        assert!(metrics.text().contains("example_refused_total{limit=\"in_flight\"} 1"));
    }

    #[test]
    fn metric_of_the_daemon_stands_beside_the_common_ones() {
        let own: Counter = Counter::default();
        let metrics = Metrics::new("example").with("own", "Its own", own.clone());
        own.inc();
        assert!(metrics.text().contains("example_own_total 1"));
    }
}
