//! What the TPM says of itself (TPM 2.0 Part 2, 6.13 TPM_PT).

use std::time::Duration;

use provider_core::{Condition, Standing};
use tss_esapi::Context;
use tss_esapi::constants::{CapabilityType, PropertyTag};
use tss_esapi::interface_types::key_bits::RsaKeyBits;
use tss_esapi::structures::{CapabilityData, PublicParameters, TaggedTpmPropertyList};

use super::{Outcome, command, template, unexpected};
use crate::error::{Fault, RC_COMMAND_CODE};
use crate::vendor::Vendor;

/// Slots that every TPM has (TCG PC Client Platform TPM Profile, 5.5: MAX_LOADED_OBJECTS).
const SLOTS_MIN: u32 = 3;

/// ownerAuthSet (TPM 2.0 Part 2, 8.6 TPMA_PERMANENT).
const OWNER_AUTH_SET: u32 = 1;

/// inLockout (TPM 2.0 Part 2, 8.6 TPMA_PERMANENT).
const IN_LOCKOUT: u32 = 1 << 9;

/// What an operator wants to know of a TPM.
pub(crate) struct About {
    pub(crate) vendor: Vendor,
    /// The firmware version as vendors print it.
    pub(crate) firmware: String,
    /// Whether the owner hierarchy has a password, which we do not know.
    pub(crate) owner_has_password: bool,
    /// Whether it makes RSA keys of 2,048 bits.
    pub(crate) rsa_2048: bool,
    /// Whether it makes RSA keys of 4,096 bits.
    pub(crate) rsa_4096: bool,
}

/// Asks for one property, which every TPM that was started answers.
pub(super) fn is_there(context: &mut Context) -> Outcome<()> {
    property(context, PropertyTag::Manufacturer).map(drop)
}

pub(super) fn about(context: &mut Context) -> Outcome<About> {
    let manufacturer = characters(&[needed(context, PropertyTag::Manufacturer)?]);
    let mut strings = Vec::new();
    for tag in [
        PropertyTag::VendorString1,
        PropertyTag::VendorString2,
        PropertyTag::VendorString3,
        PropertyTag::VendorString4,
    ] {
        strings.push(property(context, tag)?.unwrap_or_default());
    }
    let firmware = [
        needed(context, PropertyTag::FirmwareVersion1)?,
        property(context, PropertyTag::FirmwareVersion2)?.unwrap_or_default(),
    ];
    let numbers = firmware.map(|half| format!("{}.{}", half >> 16, half & 0xFFFF));
    let vendor = Vendor { manufacturer, string: characters(&strings) };
    let permanent = property(context, PropertyTag::Permanent)?.unwrap_or_default();
    let owner_has_password = permanent & OWNER_AUTH_SET != 0;
    Ok(About {
        vendor,
        firmware: numbers.join("."),
        owner_has_password,
        rsa_2048: has_rsa(context, RsaKeyBits::Rsa2048)?,
        rsa_4096: has_rsa(context, RsaKeyBits::Rsa4096)?,
    })
}

/// Asks whether it would take the parameters of such a key (TPM 2.0 Part 3, 30.3 TPM2_TestParms).
fn has_rsa(context: &mut Context, bits: RsaKeyBits) -> Outcome<bool> {
    let parameters = PublicParameters::Rsa(template::rsa(bits));
    match command(context, None, |tpm| tpm.test_parms(parameters)) {
        Ok(()) => Ok(true),
        Err(Fault::Code(code)) if code.is_about_parameter() => Ok(false),
        // It cannot be asked, so it is not used for that.
        Err(fault) if fault.is(RC_COMMAND_CODE) => Ok(false),
        Err(fault) => Err(fault),
    }
}

/// How many more objects can be loaded now.
pub(super) fn free_slots(context: &mut Context) -> Outcome<usize> {
    let free = property(context, PropertyTag::HrTransientAvail)?.unwrap_or(SLOTS_MIN - 1);
    Ok(usize::try_from(free).unwrap_or(usize::MAX))
}

/// The dictionary-attack state (TPM 2.0 Part 1, 19.8; Part 2, 6.13), by two commands.
pub(super) fn condition(context: &mut Context) -> Outcome<Condition> {
    let counters = properties(context, PropertyTag::LockoutCounter, 4)?;
    let counter = |tag| {
        let found = counters.as_ref().and_then(|list| list.find(tag));
        found
            .map(tss_esapi::structures::TaggedProperty::value)
            .ok_or_else(|| unexpected(&format!("the TPM has no property {tag:?}")))
    };
    let failures = counter(PropertyTag::LockoutCounter)?;
    let max = counter(PropertyTag::MaxAuthFail)?;
    let interval = counter(PropertyTag::LockoutInterval)?;
    let bars = counter(PropertyTag::LockoutRecovery)?;
    let permanent = property(context, PropertyTag::Permanent)?.unwrap_or_default();
    let locked = permanent & IN_LOCKOUT != 0 || (max > 0 && failures >= max);
    let standing = if locked {
        Standing::Locked
    } else if failures == 0 {
        Standing::Calm
    } else if failures.saturating_add(1) == max {
        Standing::LastTry
    } else {
        Standing::TriesUsed
    };
    // With an interval of 0 the TPM does not count, so there is nothing to wait for.
    let recovery = (interval > 0).then(|| lockout_seconds(failures, max, interval));
    let notes = if locked {
        format!(
            "the TPM refuses authorizations of objects that are not noDA; this host's keys are, \
             and go on; tpm2_dictionarylockout --clear-lockout ends it, and a wrong lockout \
             password there bars it for {bars} seconds"
        )
    } else {
        String::new()
    };
    Ok(Condition {
        standing,
        auth_failures: Some(failures),
        auth_failures_max: Some(max),
        recovery: recovery.map(|seconds| Duration::from_secs(seconds.into())),
        notes,
    })
}

/// How long until a lockout is over, or until one failure is forgotten: each interval takes one
/// failure back.
const fn lockout_seconds(failures: u32, max: u32, interval: u32) -> u32 {
    failures.saturating_sub(max).saturating_add(1).saturating_mul(interval)
}

/// How long a lockout lasts (TPM 2.0 Part 1, 19.8): each interval takes one failure back.
pub(super) fn lockout(context: &mut Context) -> Outcome<String> {
    let failures = needed(context, PropertyTag::LockoutCounter)?;
    let limit = needed(context, PropertyTag::MaxAuthFail)?;
    let interval = needed(context, PropertyTag::LockoutInterval)?;
    let seconds = lockout_seconds(failures, limit, interval);
    Ok(format!(
        "{failures} failed authorizations of a limit of {limit}, over after at most {seconds} \
         seconds, or at once by tpm2_dictionarylockout --clear-lockout"
    ))
}

fn needed(context: &mut Context, tag: PropertyTag) -> Outcome<u32> {
    property(context, tag)?.ok_or_else(|| unexpected(&format!("the TPM has no property {tag:?}")))
}

/// One property, asked for alone: the library refuses a whole answer when it holds a property
/// newer than itself.
fn property(context: &mut Context, tag: PropertyTag) -> Outcome<Option<u32>> {
    let list = properties(context, tag, 1)?;
    let found = list.as_ref().and_then(|list| list.find(tag));
    Ok(found.map(tss_esapi::structures::TaggedProperty::value))
}

/// So many properties from one on, in the order of their numbers.
fn properties(
    context: &mut Context,
    first: PropertyTag,
    count: u32,
) -> Outcome<Option<TaggedTpmPropertyList>> {
    let answer = command(context, None, |tpm| {
        match tpm.get_capability(CapabilityType::TpmProperties, first.into(), count) {
            // The TPM has the next property instead, and it is one the library does not know.
            Err(tss_esapi::Error::WrapperError(_)) => Ok(None),
            outcome => outcome.map(Some),
        }
    })?;
    let Some((CapabilityData::TpmProperties(list), _)) = answer else { return Ok(None) };
    Ok(Some(list))
}

fn characters(words: &[u32]) -> String {
    let bytes = words.iter().flat_map(|word| word.to_be_bytes());
    let shown = bytes.filter(|byte| *byte == b' ' || byte.is_ascii_graphic());
    shown.map(char::from).collect::<String>().trim().to_owned()
}
