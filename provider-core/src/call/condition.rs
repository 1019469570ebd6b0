//! The function that tells of failed authorizations, at the caller's end.

use std::time::Duration;

use super::{Instance, absent, broken, fixed_text, struct_bytes};
use crate::abi;
use crate::condition::{Condition, Standing};
use crate::error::Result;

impl Instance {
    /// See [`Provider::condition`](crate::Provider::condition).
    ///
    /// # Errors
    /// Those of the provider; `Unsupported` also where the plugin has no such function; `Internal`
    /// when a number or text is outside the contract.
    pub fn condition(&self) -> Result<Condition> {
        let function = self.table.condition.ok_or_else(absent)?;
        let mut condition = abi::Condition {
            size: struct_bytes::<abi::Condition>(),
            standing: 0,
            known: 0,
            auth_failures: 0,
            auth_failures_max: 0,
            recovery_seconds: 0,
            notes: [0; abi::NOTES_BYTES],
        };
        // SAFETY: ABI rule 2: a struct of ours, with its size set.
        let status = unsafe { function(self.pointer.as_ptr(), &raw mut condition) };
        self.table.check_status(status)?;
        let known = |bit: u32, value: u32| (condition.known & bit != 0).then_some(value);
        let seconds = known(abi::CONDITION_KNOWS_RECOVERY, condition.recovery_seconds);
        let max = condition.auth_failures_max;
        Ok(Condition {
            standing: Standing::from_number(condition.standing)
                .ok_or_else(|| broken("unknown standing number"))?,
            auth_failures: known(abi::CONDITION_KNOWS_FAILURES, condition.auth_failures),
            auth_failures_max: known(abi::CONDITION_KNOWS_FAILURES_MAX, max),
            recovery: seconds.map(|seconds| Duration::from_secs(seconds.into())),
            notes: fixed_text(&condition.notes, "notes")?,
        })
    }
}
