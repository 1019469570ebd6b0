//! Counters and durations, as Prometheus text. Labels are operations and codes, never keys,
//! resources or callers, so their number is bounded.

use std::time::Duration;

use daemon::metrics;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use wire::code::Code;

/// What was done since the start.
#[derive(Debug)]
pub(crate) struct Metrics {
    requests: metrics::Metrics,
    tokens: Family<SourceLabels, Counter>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct SourceLabels {
    source: &'static str,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let tokens = Family::default();
        let help = "Tokens given, by where they came from";
        let requests = metrics::Metrics::new("sas_signer").with("tokens", help, tokens.clone());
        Self { requests, tokens }
    }

    /// Counts one request; `None` for one that was never decoded, or succeeded.
    pub(crate) fn count(
        &self,
        operation: Option<&'static str>,
        code: Option<Code>,
        duration: Duration,
    ) {
        self.requests.count(operation, code, duration);
    }

    pub(crate) fn count_token(&self, from_cache: bool) {
        let source = if from_cache { "cache" } else { "host" };
        self.tokens.get_or_create(&SourceLabels { source }).inc();
    }

    pub(crate) fn count_refused(&self, limit: &'static str) {
        self.requests.count_refused(limit);
    }

    pub(crate) fn count_audit_failure(&self) {
        self.requests.count_audit_failure();
    }

    /// All of it, OpenMetrics text, which Prometheus reads.
    pub(crate) fn text(&self) -> String {
        self.requests.text()
    }
}
