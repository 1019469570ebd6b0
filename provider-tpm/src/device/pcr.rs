//! Reading PCRs and running the policy of a bound key (TPM 2.0 Part 3, 22.4 and 23.7).

use provider_core::{ErrorKind, ProviderError};
use tss_esapi::Context;
use tss_esapi::constants::CapabilityType;
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::session_handles::PolicySession;
use tss_esapi::structures::{CapabilityData, Digest, PcrSelectionList, PcrSlot};

use super::session::Sessions;
use super::{Outcome, command, fault, unexpected};
use crate::binding::{Bank, Binding};
use crate::blob::Bound;
use crate::error::{Fault, RC_VALUE};

/// Values that one TPM2_PCR_Read returns (TPML_DIGEST, TPM 2.0 Part 2, 10.9.6).
const READ_MAX: usize = 8;

/// Reads the values that a new key will be bound to, authenticated, so that nobody on the bus
/// can choose the state to which it is bound.
///
/// # Errors
/// `Unsupported`: the TPM does not keep that bank or PCR.
pub(super) fn values(
    context: &mut Context,
    sessions: &Sessions,
    binding: &Binding,
) -> Outcome<Vec<Vec<u8>>> {
    check_allocated(context, binding)?;
    let mut values = Vec::new();
    for pcrs in binding.pcrs.chunks(READ_MAX) {
        let wanted = selection(binding.bank, pcrs)?;
        let (_, _, digests) = sessions.audited(context, |tpm| tpm.pcr_read(wanted.clone()))?;
        let read: Vec<_> = digests.value().iter().map(|digest| digest.to_vec()).collect();
        let whole = read.iter().all(|value| value.len() == binding.bank.value_bytes());
        if read.len() != pcrs.len() || !whole {
            return Err(unexpected("the TPM did not return every PCR asked for"));
        }
        values.extend(read);
    }
    Ok(values)
}

/// Brings a policy session to the state that the key demands: one command.
///
/// # Errors
/// `StateMismatch`, naming the PCRs that differ.
pub(super) fn satisfy(
    context: &mut Context,
    sessions: &Sessions,
    session: PolicySession,
    bound: &Bound,
) -> Outcome<()> {
    let Bound { binding, values } = bound;
    let wanted = selection(binding.bank, &binding.pcrs)?;
    let expected = Binding::values_digest(values);
    let outcome = command(context, None, |tpm| {
        let expected = Digest::try_from(&expected[..])?;
        tpm.policy_pcr(session, expected, wanted.clone())
    });
    match outcome {
        Err(fault) if fault.is(RC_VALUE) => Err(mismatch(context, sessions, bound)?),
        outcome => outcome,
    }
}

/// The error for a state that is not the one at the key's creation.
pub(super) fn mismatch(
    context: &mut Context,
    sessions: &Sessions,
    bound: &Bound,
) -> Outcome<Fault> {
    let now = values(context, sessions, &bound.binding)?;
    let pairs = bound.binding.pcrs.iter().zip(bound.values.iter().zip(&now));
    let differing: Vec<_> =
        pairs.filter(|(_, (then, now))| then != now).map(|(pcr, _)| pcr.to_string()).collect();
    let bank = bound.binding.bank.name();
    let detail = if differing.is_empty() {
        format!("the PCRs of bank {bank} changed while the key was used")
    } else {
        format!("PCR {} of bank {bank} differ from the key's creation", differing.join(", "))
    };
    Ok(ProviderError::new(ErrorKind::StateMismatch, detail).into())
}

fn check_allocated(context: &mut Context, binding: &Binding) -> Outcome<()> {
    let (data, _) =
        command(context, None, |tpm| tpm.get_capability(CapabilityType::AssignedPcr, 0, 1))?;
    let CapabilityData::AssignedPcr(list) = data else {
        return Err(unexpected("the TPM answered with another capability"));
    };
    let slots = binding.pcrs.iter().map(|pcr| slot(*pcr)).collect::<Outcome<Vec<_>>>()?;
    let hash = hash(binding.bank);
    let kept = list.get_selections().iter().any(|bank| {
        bank.hashing_algorithm() == hash && slots.iter().all(|slot| bank.is_selected(*slot))
    });
    if kept {
        return Ok(());
    }
    let detail = format!("the TPM does not keep all of {}", binding.text());
    Err(ProviderError::new(ErrorKind::Unsupported, detail).into())
}

fn selection(bank: Bank, pcrs: &[u8]) -> Outcome<PcrSelectionList> {
    let slots = pcrs.iter().map(|pcr| slot(*pcr)).collect::<Outcome<Vec<_>>>()?;
    PcrSelectionList::builder().with_selection(hash(bank), &slots).build().map_err(fault)
}

fn slot(pcr: u8) -> Outcome<PcrSlot> {
    PcrSlot::try_from(1_u32 << (pcr % 32)).map_err(fault)
}

const fn hash(bank: Bank) -> HashingAlgorithm {
    match bank {
        Bank::Sha1 => HashingAlgorithm::Sha1,
        Bank::Sha256 => HashingAlgorithm::Sha256,
        Bank::Sha384 => HashingAlgorithm::Sha384,
        Bank::Sha512 => HashingAlgorithm::Sha512,
    }
}
