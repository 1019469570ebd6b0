//! A counter as its client knows it.

use crate::http::Response;
use crate::sealhost::Sealhost;

use super::client::Change;

/// A counter as its client knows it: from answers only.
#[derive(Debug)]
pub(super) struct KnownCounter {
    pub(super) kind: &'static str,
    /// Whether it is there.
    pub(super) lives: bool,
    /// The highest value that was answered since it was made, or of the one before it.
    pub(super) highest: u64,
}

impl KnownCounter {
    pub(super) const fn new(kind: &'static str) -> Self {
        Self { kind, lives: false, highest: 0 }
    }

    /// Takes over an answer: the value is above each that was answered before.
    pub(super) fn answered(&mut self, change: Change, name: &str, reply: &Response) {
        self.lives = change != Change::Destroy;
        if self.lives {
            let value = reply.ok()["value"].as_u64().unwrap();
            assert!(value > self.highest, "{name}: {value} after {}", self.highest);
            self.highest = value;
        }
    }

    /// Settles what was not answered; the counter has not gone back and still goes up.
    pub(super) fn check(&mut self, host: &Sealhost, name: &str, change: Option<Change>) -> bool {
        let found = host.get(&format!("/v1/counters/{name}"));
        let before = self.lives;
        if matches!(change, Some(Change::Make | Change::Destroy)) {
            self.lives = found.status == 200;
        }
        if !self.lives {
            let _absent = found.problem(404, "not_found");
            return before;
        }
        let value = found.ok()["value"].as_u64().unwrap();
        assert!(value >= self.highest, "{name}: {value} after {}", self.highest);
        let done = value > self.highest;
        let target = format!("/v1/counters/{name}/increment");
        let raised = host.post(&target, serde_json::json!({})).ok()["value"].as_u64().unwrap();
        assert!(raised > value, "{name}: {raised} after {value}");
        self.highest = raised;
        done || before != self.lives
    }
}
