//! What the TPM says of itself (TPM 2.0 Part 2, 6.13 TPM_PT).

use tss_esapi::Context;
use tss_esapi::constants::{CapabilityType, PropertyTag};
use tss_esapi::structures::CapabilityData;

use super::{Outcome, command, unexpected};
use crate::vendor::Vendor;

/// Slots that every TPM has (TCG PC Client Platform TPM Profile, 5.5: MAX_LOADED_OBJECTS).
const SLOTS_MIN: u32 = 3;

/// ownerAuthSet (TPM 2.0 Part 2, 8.6 TPMA_PERMANENT).
const OWNER_AUTH_SET: u32 = 1;

/// What an operator wants to know of a TPM.
pub(crate) struct About {
    pub(crate) vendor: Vendor,
    /// The firmware version as vendors print it.
    pub(crate) firmware: String,
    /// Whether the owner hierarchy has a password, which we do not know.
    pub(crate) owner_has_password: bool,
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
    Ok(About { vendor, firmware: numbers.join("."), owner_has_password })
}

/// How many more objects can be loaded now.
pub(super) fn free_slots(context: &mut Context) -> Outcome<usize> {
    let free = property(context, PropertyTag::HrTransientAvail)?.unwrap_or(SLOTS_MIN - 1);
    Ok(usize::try_from(free).unwrap_or(usize::MAX))
}

/// How long a lockout lasts (TPM 2.0 Part 1, 19.8): each interval takes one failure back.
pub(super) fn lockout(context: &mut Context) -> Outcome<String> {
    let failures = needed(context, PropertyTag::LockoutCounter)?;
    let limit = needed(context, PropertyTag::MaxAuthFail)?;
    let interval = needed(context, PropertyTag::LockoutInterval)?;
    let intervals = failures.saturating_sub(limit).saturating_add(1);
    let seconds = intervals.saturating_mul(interval);
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
    let answer = command(context, None, |tpm| {
        match tpm.get_capability(CapabilityType::TpmProperties, tag.into(), 1) {
            // The TPM has the next property instead, and it is one the library does not know.
            Err(tss_esapi::Error::WrapperError(_)) => Ok(None),
            outcome => outcome.map(Some),
        }
    })?;
    let Some((CapabilityData::TpmProperties(list), _)) = answer else { return Ok(None) };
    Ok(list.find(tag).map(tss_esapi::structures::TaggedProperty::value))
}

fn characters(words: &[u32]) -> String {
    let bytes = words.iter().flat_map(|word| word.to_be_bytes());
    let shown = bytes.filter(|byte| *byte == b' ' || byte.is_ascii_graphic());
    shown.map(char::from).collect::<String>().trim().to_owned()
}
