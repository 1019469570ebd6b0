//! What the host says of checkpoints of its audit.

use serde::{Deserialize, Serialize};

use super::decode::Request;
use super::request::invalid;
use crate::audit::Mark;
use crate::code::{Code, Fault};
use crate::limits::{AUDIT_LINE_MAX_BYTES, BATCH_MAX_ITEMS};
use crate::name::ProviderName;

/// `POST /v1/audit/verify`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifyAuditRequest {
    /// Checkpoint lines as they stand in the audit, without their line feeds; none, to ask
    /// only for the last one on record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoints: Option<Vec<String>>,
}

impl Request for VerifyAuditRequest {
    fn check(&self) -> Result<(), Fault> {
        let checkpoints = self.checkpoints.as_deref().unwrap_or_default();
        if checkpoints.len() > BATCH_MAX_ITEMS {
            let detail = format!("checkpoints exceed limit of {BATCH_MAX_ITEMS}");
            return Err(Fault::new(Code::TooLarge, detail));
        }
        if checkpoints.iter().any(|line| line.len() > AUDIT_LINE_MAX_BYTES) {
            return Err(invalid("a line of the audit is shorter"));
        }
        Ok(())
    }
}

/// The reply to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyAuditReply {
    /// The last checkpoint on record; absent where there was none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Mark>,
    /// One for each line, in order.
    pub results: Vec<CheckpointResult>,
}

/// What the host says of one checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointResult {
    /// Sequence of its line.
    pub sequence: u64,
    /// Whether it is a checkpoint of this host.
    pub verdict: Verdict,
    /// The open providers whose MAC decided.
    pub providers: Vec<ProviderName>,
}

/// Whether a checkpoint is the host's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Every open provider that is named in it made its MAC.
    Valid,
    /// An open provider that is named in it did not make its MAC.
    Invalid,
    /// No provider that is named in it is open.
    Unknown,
}
