//! Says of checkpoints of the audit whether they are this host's.

use wire::api::{CheckpointResult, VerifyAuditReply, VerifyAuditRequest};
use wire::audit::{Checkpoint, read_line};
use wire::code::{Code, Fault};

use super::Job;
use crate::error::{Failure, HostError};
use crate::reply::Reply;

/// Checks each line by itself; whether lines are missing between is for who has the log.
///
/// # Errors
/// `Decode` (`invalid`): a line is no checkpoint.
pub(super) fn verify(job: &Job<'_>, request: &VerifyAuditRequest) -> Result<Reply, HostError> {
    let registry = &job.host.registry;
    let result = |line: &String| {
        let entry = read_line(line.as_bytes()).ok();
        let (checkpoint, macs) = entry.as_ref().and_then(Checkpoint::of).ok_or_else(|| {
            let fault = Fault::new(Code::Invalid, "a line of checkpoints is no checkpoint");
            HostError::from(Failure::Decode(fault))
        })?;
        let (verdict, providers) = registry.verify_checkpoint(&checkpoint, macs);
        Ok(CheckpointResult { sequence: checkpoint.sequence, verdict, providers })
    };
    // What is on record before the lines are looked at is not newer than they are.
    let last = registry.audit_mark();
    let lines = request.checkpoints.as_deref().unwrap_or_default();
    let results = lines.iter().map(result).collect::<Result<_, HostError>>()?;
    Ok(Reply::AuditVerified(VerifyAuditReply { last, results }))
}
