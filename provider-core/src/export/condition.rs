//! The function that tells of failed authorizations, at the plugin's end.

use super::{fixed_text, guard_instance};
use crate::abi;
use crate::condition::Condition;
use crate::error::{ProviderError, Result};
use crate::provider::Provider;

#[expect(clippy::cast_possible_truncation, reason = "the size of a small struct, known here")]
const CONDITION_BYTES: u32 = size_of::<abi::Condition>() as u32;

pub(super) unsafe extern "C" fn condition<P: Provider>(
    instance: *mut abi::Instance,
    condition_out: *mut abi::Condition,
) -> i32 {
    let body = |provider: &P| {
        // SAFETY: ABI rule 2: NULL or a struct of the caller, whose first field is its size.
        let size = unsafe { condition_out.cast::<u32>().as_ref() };
        if size.is_none_or(|size| *size < CONDITION_BYTES) {
            return Err(ProviderError::invalid("condition_out is NULL or too small"));
        }
        let condition = to_c(&provider.condition()?);
        // SAFETY: ABI rule 2; not NULL and of sufficient size, by the check above.
        unsafe { condition_out.write(condition) };
        Result::Ok(())
    };
    // SAFETY: the caller's promise of `Table::condition`.
    unsafe { guard_instance(instance, body) }
}

fn to_c(condition: &Condition) -> abi::Condition {
    let seconds = |recovery: std::time::Duration| u32::try_from(recovery.as_secs());
    let recovery = condition.recovery.map(|recovery| seconds(recovery).unwrap_or(u32::MAX));
    let bit = |bit: u32, value: Option<u32>| if value.is_some() { bit } else { 0 };
    abi::Condition {
        size: CONDITION_BYTES,
        standing: condition.standing.number(),
        known: bit(abi::CONDITION_KNOWS_FAILURES, condition.auth_failures)
            | bit(abi::CONDITION_KNOWS_FAILURES_MAX, condition.auth_failures_max)
            | bit(abi::CONDITION_KNOWS_RECOVERY, recovery),
        auth_failures: condition.auth_failures.unwrap_or_default(),
        auth_failures_max: condition.auth_failures_max.unwrap_or_default(),
        recovery_seconds: recovery.unwrap_or_default(),
        notes: fixed_text(&condition.notes),
    }
}
