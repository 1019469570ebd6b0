//! Who made the TPM, and what that says of it (TCG Vendor ID Registry, family 2.0).

use provider_core::Protection;

use crate::tcti::Reach;

/// How a TPM is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Make {
    /// A chip of its own, on a bus that can be listened to.
    Discrete,
    /// Inside the processor.
    Firmware,
    /// Software behind the interface of a TPM.
    Virtual,
    /// Nobody we know.
    Unknown,
}

/// Makers by their four characters, blanks cut off.
const MAKERS: &[(&str, Make)] = &[
    ("ATML", Make::Discrete),
    ("BRCM", Make::Discrete),
    ("IFX", Make::Discrete),
    ("NSM", Make::Discrete),
    ("NTC", Make::Discrete),
    ("NTZ", Make::Discrete),
    ("SNS", Make::Discrete),
    ("STM", Make::Discrete),
    ("TXN", Make::Discrete),
    ("WEC", Make::Discrete),
    ("AMD", Make::Firmware),
    ("INTC", Make::Firmware),
    ("QCOM", Make::Firmware),
    // libtpms, the base of swtpm, calls itself IBM; so do simulators derived from that code.
    ("IBM", Make::Virtual),
    ("MSFT", Make::Virtual),
    ("VMW", Make::Virtual),
    ("GOOG", Make::Virtual),
    ("AMZN", Make::Virtual),
    ("SIMU", Make::Virtual),
];

/// What the TPM says of its maker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Vendor {
    /// TPM_PT_MANUFACTURER.
    pub(crate) manufacturer: String,
    /// TPM_PT_VENDOR_STRING_1 to 4.
    pub(crate) string: String,
}

impl Vendor {
    /// How it is built, as far as its maker tells.
    pub(crate) fn make(&self) -> Make {
        if self.string.trim_end() == "SW   TPM" {
            return Make::Virtual;
        }
        let maker = self.manufacturer.trim_end();
        MAKERS.iter().find(|(name, _)| *name == maker).map_or(Make::Unknown, |(_, make)| *make)
    }

    /// The level of keys in it. An emulator's address overrules what answers there.
    pub(crate) fn protection(&self, reach: &Reach) -> Protection {
        match (reach, self.make()) {
            (Reach::Emulator { .. }, _) | (_, Make::Virtual | Make::Unknown) => {
                Protection::Emulated
            }
            (_, Make::Discrete | Make::Firmware) => Protection::Hardware,
        }
    }

    /// Whether what passes between us and it could be listened to by wire.
    pub(crate) fn is_on_a_bus(&self, reach: &Reach) -> bool {
        !matches!(reach, Reach::Emulator { .. })
            && matches!(self.make(), Make::Discrete | Make::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(manufacturer: &str, string: &str, protection: Protection, on_a_bus: bool) {
        let vendor = Vendor { manufacturer: manufacturer.into(), string: string.into() };
        let device = Reach::Device { path: "/dev/tpmrm0".into() };
        let emulator = Reach::Emulator { host: "localhost".into(), port: 2321 };
        assert_eq!(vendor.protection(&device), protection);
        assert_eq!(vendor.is_on_a_bus(&device), on_a_bus);
        assert_eq!(vendor.protection(&emulator), Protection::Emulated);
        assert!(!vendor.is_on_a_bus(&emulator));
    }

    #[test]
    fn chip_is_hardware_on_a_bus() {
        check("IFX ", "SLB9670", Protection::Hardware, true);
    }

    #[test]
    fn firmware_tpm_is_hardware_without_a_bus() {
        check("INTC", "Intel", Protection::Hardware, false);
    }

    #[test]
    fn emulator_passed_into_a_machine_is_emulated() {
        check("IBM ", "SW   TPM", Protection::Emulated, false);
    }

    #[test]
    fn software_string_overrules_the_maker() {
        check("IFX ", "SW   TPM", Protection::Emulated, false);
    }

    #[test]
    fn unknown_maker_is_emulated_and_taken_for_a_chip_on_a_bus() {
        check("ACME", "", Protection::Emulated, true);
    }
}
