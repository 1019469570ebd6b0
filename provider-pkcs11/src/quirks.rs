//! What is known of particular modules. Everything else is found out by doing.

use cryptoki::object::KeyType;
use provider_core::Protection;

/// Beginnings of the manufacturer texts of tokens that keep keys in hardware. An emulator may
/// claim to be one: whoever has its PIN chose it, and an operator who must be sure states the
/// protection and pins the serial number.
const HARDWARE_MANUFACTURERS: &[&str] = &[
    "Atos",
    "Cavium",
    "Entrust",
    "Gemalto",
    "Marvell",
    "Nitrokey",
    "nCipher",
    "SafeNet",
    "Securosys",
    "Thales",
    "Utimaco",
    "www.CardContact.de",
    "Yubico",
];

/// The key types of an HMAC key, in the order in which they are tried. Most modules take an HMAC
/// key as a generic secret; tpm2-pkcs11 wants the type of its own.
pub(crate) const HMAC_KEY_TYPES: &[KeyType] = &[KeyType::GENERIC_SECRET, KeyType::SHA256_HMAC];

/// What a token of this manufacturer is taken for. SoftHSM, NSS and everything unknown is
/// emulated.
pub(crate) fn protection_of(manufacturer: &str) -> Protection {
    if HARDWARE_MANUFACTURERS.iter().any(|name| manufacturer.starts_with(name)) {
        Protection::Hardware
    } else {
        Protection::Emulated
    }
}

/// Whether a module of this manufacturer must do nothing else while it makes or destroys an object.
///
/// A thread of SoftHSM 2.6 that looks for objects takes up the unfinished file of one that another
/// thread is making; the making then fails, or leaves a part of an object, or two for one file.
pub(crate) fn changes_alone(manufacturer: &str) -> bool {
    manufacturer.starts_with("SoftHSM")
}

/// The uncompressed point in a CKA_EC_POINT: DER-wrapped as the specification says (an OCTET
/// STRING), or bare as some modules give it.
pub(crate) fn point_of(attribute: &[u8]) -> Option<[u8; 65]> {
    let bare = attribute.strip_prefix(&[0x04, 0x41]).filter(|rest| rest.len() == 65);
    let point: [u8; 65] = bare.unwrap_or(attribute).try_into().ok()?;
    (point.first() == Some(&0x04)).then_some(point)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_point(attribute: &[u8], expected: Option<[u8; 65]>) {
        assert_eq!(point_of(attribute), expected);
    }

    fn point() -> [u8; 65] {
        let mut point = [0x11; 65];
        point[0] = 0x04;
        point
    }

    #[test]
    fn bare_point_is_taken() {
        check_point(&point(), Some(point()));
    }

    #[test]
    fn bare_point_that_looks_wrapped_is_taken() {
        let mut point = point();
        point[1] = 0x41;
        check_point(&point, Some(point));
    }

    #[test]
    fn wrapped_point_is_unwrapped() {
        check_point(&[&[0x04, 0x41], point().as_slice()].concat(), Some(point()));
    }

    #[test]
    fn compressed_point_is_refused() {
        check_point(&[2; 33], None);
    }

    #[test]
    fn point_of_another_curve_is_refused() {
        check_point(&[&[0x04, 0x61, 0x04], [7; 96].as_slice()].concat(), None);
    }

    #[test]
    fn unknown_manufacturer_is_emulated() {
        assert_eq!(protection_of("SoftHSM project"), Protection::Emulated);
        assert_eq!(protection_of("Mozilla Foundation"), Protection::Emulated);
        assert_eq!(protection_of(""), Protection::Emulated);
    }

    #[test]
    fn known_manufacturer_is_hardware() {
        assert_eq!(protection_of("Yubico (www.yubico.com)"), Protection::Hardware);
    }
}
