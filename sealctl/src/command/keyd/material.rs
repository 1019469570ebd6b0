//! What is in a key file of an aziot Key Service: the bytes of a symmetric key, or the PEM of a
//! pair.

use aws_lc_rs::encoding::{AsBigEndian as _, EcPrivateKeyBin};
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// A key, as its file has it.
pub(super) enum Material<'a> {
    Symmetric(&'a [u8]),
    P256(Box<P256>),
    Rsa,
    /// PEM of something else.
    Other,
}

/// A P-256 pair.
pub(super) struct P256 {
    /// The private number.
    pub(super) number: Zeroizing<Vec<u8>>,
    /// The public point, uncompressed.
    pub(super) point: Vec<u8>,
}

/// Tells what is in a file. The service writes PKCS#8; preloaded files may have the older forms.
///
/// # Spec
/// RFC 7468 sections 2 and 10; RFC 5208; RFC 5915; RFC 8017 appendix A.1.2.
pub(super) fn read(bytes: &[u8]) -> Material<'_> {
    if !bytes.trim_ascii_start().starts_with(b"-----BEGIN ") {
        return Material::Symmetric(bytes);
    }
    let Some((label, der)) = pem(bytes) else { return Material::Other };
    let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
    let pair = match label {
        "PRIVATE KEY" => EcdsaKeyPair::from_pkcs8(algorithm, &der),
        "EC PRIVATE KEY" => EcdsaKeyPair::from_private_key_der(algorithm, &der),
        "RSA PRIVATE KEY" => return Material::Rsa,
        _ => return Material::Other,
    };
    match pair {
        Ok(pair) => p256(&pair).map_or(Material::Other, |pair| Material::P256(Box::new(pair))),
        Err(_) if rsa::KeyPair::from_pkcs8(&der).is_ok() => Material::Rsa,
        Err(_) => Material::Other,
    }
}

fn p256(pair: &EcdsaKeyPair) -> Option<P256> {
    let number: EcPrivateKeyBin<'_> = pair.private_key().as_be_bytes().ok()?;
    let number = Zeroizing::new(number.as_ref().to_vec());
    Some(P256 { number, point: pair.public_key().as_ref().to_vec() })
}

/// The label and the content of the first PEM block, if it is whole.
fn pem(bytes: &[u8]) -> Option<(&str, Zeroizing<Vec<u8>>)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (label, rest) = text.trim_start().strip_prefix("-----BEGIN ")?.split_once("-----")?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    let body: Zeroizing<String> =
        Zeroizing::new(body.chars().filter(|c| !c.is_ascii_whitespace()).collect());
    Some((label, Zeroizing::new(STANDARD.decode(body.as_str()).ok()?)))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn openssl(words: &str) -> Vec<u8> {
        let output = Command::new("openssl").args(words.split(' ')).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn ec(curve: &str) -> Vec<u8> {
        openssl(&format!("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:{curve}"))
    }

    #[test]
    fn bytes_are_a_symmetric_key() {
        assert!(matches!(read(b"\0\x01 anything"), Material::Symmetric(b"\0\x01 anything")));
        assert!(matches!(read(b""), Material::Symmetric(b"")));
    }

    #[test]
    fn pair_of_p256_is_read_in_both_forms() {
        let Material::P256(pair) = read(&ec("P-256")) else { panic!("no pair") };
        assert_eq!((pair.number.len(), pair.point.len()), (32, 65));
        let old = openssl("ecparam -name prime256v1 -genkey -noout");
        assert!(matches!(read(&old), Material::P256(_)));
    }

    #[test]
    fn pair_of_rsa_is_told() {
        let rsa = openssl("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -quiet");
        assert!(matches!(read(&rsa), Material::Rsa));
    }

    #[test]
    fn other_pem_is_none_of_them() {
        for other in [ec("P-384"), b"-----BEGIN ".to_vec(), openssl("genpkey -algorithm ED25519")] {
            assert!(matches!(read(&other), Material::Other));
        }
        assert!(matches!(read(b"-----BEGIN X-----\nAAAA\n-----END X-----\n"), Material::Other));
    }
}
