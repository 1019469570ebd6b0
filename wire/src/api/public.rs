//! A P-256 public key in the two forms that programs read.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use crate::code::{Code, Fault};

/// Length of a coordinate, in bytes.
const COORDINATE_BYTES: usize = 32;

/// Leads an uncompressed point (SEC 1 section 2.3.3).
const UNCOMPRESSED: u8 = 0x04;

/// DER of a SubjectPublicKeyInfo up to the point: id-ecPublicKey, prime256v1, BIT STRING
/// (RFC 5480 section 2).
const SPKI_HEAD: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// Characters of base64 in a line (RFC 7468 section 2).
const PEM_LINE_CHARS: usize = 64;

/// A P-256 public key.
///
/// # Spec
/// RFC 7518 section 6.2.1; the id is the RFC 7638 thumbprint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwk {
    /// `EC`.
    pub kty: String,
    /// `P-256`.
    pub crv: String,
    /// The x coordinate, base64url.
    pub x: String,
    /// The y coordinate, base64url.
    pub y: String,
    /// `sig`.
    #[serde(rename = "use")]
    pub purpose: String,
    /// `ES256`.
    pub alg: String,
    /// The thumbprint, base64url.
    pub kid: String,
}

impl Jwk {
    /// Writes a point as a JSON Web Key. Whether the point is on the curve is not checked.
    ///
    /// # Errors
    /// `internal`: not an uncompressed point of 65 bytes.
    pub fn p256(point: &[u8]) -> Result<Self, Fault> {
        let (x, y) = coordinates(point)?;
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let thumbprint = digest::digest(&digest::SHA256, canonical.as_bytes());
        Ok(Self {
            kty: "EC".to_owned(),
            crv: "P-256".to_owned(),
            x,
            y,
            purpose: "sig".to_owned(),
            alg: "ES256".to_owned(),
            kid: URL_SAFE_NO_PAD.encode(thumbprint),
        })
    }
}

/// Writes a P-256 point as SubjectPublicKeyInfo in PEM. Whether it is on the curve is not checked.
///
/// # Errors
/// `internal`: not an uncompressed point of 65 bytes.
///
/// # Spec
/// RFC 7468 section 13; RFC 5480 section 2.
pub fn p256_pem(point: &[u8]) -> Result<String, Fault> {
    coordinates(point)?;
    let encoded = STANDARD.encode([&SPKI_HEAD, point].concat());
    let mut pem = "-----BEGIN PUBLIC KEY-----\n".to_owned();
    let mut rest = encoded.as_str();
    while let Some((line, tail)) = rest.split_at_checked(PEM_LINE_CHARS) {
        pem.push_str(line);
        pem.push('\n');
        rest = tail;
    }
    pem.push_str(rest);
    pem.push_str("\n-----END PUBLIC KEY-----\n");
    Ok(pem)
}

fn coordinates(point: &[u8]) -> Result<([u8; COORDINATE_BYTES], [u8; COORDINATE_BYTES]), Fault> {
    let fault = || Fault::new(Code::Internal, "the device gave no uncompressed P-256 point");
    let (&first, rest) = point.split_first().ok_or_else(fault)?;
    let (x, y) = rest.split_first_chunk().ok_or_else(fault)?;
    let y = y.try_into().map_err(|_error| fault())?;
    if first == UNCOMPRESSED { Ok((*x, y)) } else { Err(fault()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPENSSL: &str = "\
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEYP7UuiVanTHJYet0xjVtaMBJuJI7
Yfps5mliLmDyn7Z5A/4QCLi8maQa6elWKLxk8vGyDC1+n1F3o8KU1EYimQ==
-----END PUBLIC KEY-----
";

    fn check(point: &[u8], reason: &str) {
        assert_eq!(p256_pem(point).unwrap_err().detail, reason);
        assert_eq!(Jwk::p256(point).unwrap_err().detail, reason);
    }

    /// The public key of RFC 6979 appendix A.2.5, and what `openssl ec -pubin` writes for it.
    fn point() -> Vec<u8> {
        let x = "60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6";
        let y = "7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299";
        let hex = format!("04{x}{y}");
        (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
    }

    #[test]
    fn point_of_another_form_is_refused() {
        let reason = "the device gave no uncompressed P-256 point";
        check(&[], reason);
        check(&[4; 64], reason);
        check(&[4; 66], reason);
        check(&[2; 65], reason);
    }

    #[test]
    fn pem_is_what_openssl_writes() {
        assert_eq!(p256_pem(&point()).unwrap(), OPENSSL);
    }

    #[test]
    fn jwk_has_coordinates_and_thumbprint() {
        let jwk = Jwk::p256(&point()).unwrap();
        assert_eq!(jwk.x, "YP7UuiVanTHJYet0xjVtaMBJuJI7Yfps5mliLmDyn7Y");
        assert_eq!(jwk.y, "eQP-EAi4vJmkGunpVii8ZPLxsgwtfp9Rd6PClNRGIpk");
        assert_eq!(jwk.kid, "DOvxvJiAdIqVWIkFt5hDtCunXLF0BV4-JGv4f-ALSm0");
    }
}
