//! Signs digests and tells public keys.

use wire::api::{Base64Bytes, Jwk, PublicReply, SignReply, SignRequest, Usage, p256_pem};
use wire::name::KeyName;

use super::{Job, living_key, version_of};
use crate::error::{Failure, HostError};
use crate::plugin::{Answer, Call};
use crate::registry::{Key, Version};
use crate::reply::{Reply, Used};

pub(super) async fn sign(
    job: &Job<'_>,
    name: &KeyName,
    request: &SignRequest,
    used: &mut Used,
) -> Result<Reply, HostError> {
    let key = living_key(job, name, Usage::Sign, "sign")?;
    let version = version_of(&key, request.version)?;
    used.note(version);
    let signature = signature_of(job, &key, version, *request.digest.as_bytes()).await?;
    Ok(Reply::Signed(SignReply {
        signature: Base64Bytes::new(signature)?,
        key: key.name.clone(),
        version: version.number,
        provider: version.provider.clone(),
        protection: version.protection,
        origin: version.origin,
    }))
}

pub(super) async fn public(
    job: &Job<'_>,
    name: &KeyName,
    number: Option<u32>,
    used: &mut Used,
) -> Result<Reply, HostError> {
    let key = living_key(job, name, Usage::Sign, "public")?;
    let version = version_of(&key, number)?;
    used.note(version);
    let point = public_point(job, &key, version).await?;
    Ok(Reply::Public(PublicReply {
        pem: p256_pem(&point)?,
        jwk: Jwk::p256(&point)?,
        key: key.name.clone(),
        version: version.number,
        provider: version.provider.clone(),
        protection: version.protection,
        origin: version.origin,
    }))
}

/// A signature by one version, in DER.
pub(super) async fn signature_of(
    job: &Job<'_>,
    key: &Key,
    version: &Version,
    digest: [u8; 32],
) -> Result<Vec<u8>, HostError> {
    let call = |key| Call::Sign(key, digest);
    let answer = job.host.router.call(job.account(), version, key.terms.usage, call).await?;
    let Answer::Signature(signature) = answer else {
        return Err(Failure::Bug("sign did not answer with a signature").into());
    };
    let (r, s) = signature.0.split_at(32);
    Ok(der_signature(r, s))
}

/// The public point of one version.
pub(super) async fn public_point(
    job: &Job<'_>,
    key: &Key,
    version: &Version,
) -> Result<[u8; 65], HostError> {
    let answer =
        job.host.router.call(job.account(), version, key.terms.usage, Call::PublicKey).await?;
    let Answer::PublicKey(point) = answer else {
        return Err(Failure::Bug("public_key did not answer with a point").into());
    };
    Ok(point.0)
}

/// `Ecdsa-Sig-Value`, RFC 3279 section 2.2.3, in DER. Both integers are of 32 bytes, so every
/// length fits one byte.
fn der_signature(r: &[u8], s: &[u8]) -> Vec<u8> {
    let body = [der_integer(r), der_integer(s)].concat();
    let mut der = vec![0x30, short_length(&body)];
    der.extend_from_slice(&body);
    der
}

fn der_integer(big_endian: &[u8]) -> Vec<u8> {
    let start = big_endian.iter().position(|&byte| byte != 0).unwrap_or(big_endian.len());
    let digits = big_endian.get(start..).unwrap_or_default();
    let mut value = Vec::with_capacity(digits.len() + 1);
    // Zero has one digit, and a set top bit would make it negative.
    if digits.first().is_none_or(|&byte| byte >= 0x80) {
        value.push(0);
    }
    value.extend_from_slice(digits);
    let mut der = vec![0x02, short_length(&value)];
    der.extend_from_slice(&value);
    der
}

fn short_length(bytes: &[u8]) -> u8 {
    u8::try_from(bytes.len()).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(integer: &[u8], der: &[u8]) {
        assert_eq!(der_integer(integer), der);
    }

    #[test]
    fn integer_loses_leading_zeros() {
        check(&[0, 0, 1], &[2, 1, 1]);
    }

    #[test]
    fn integer_with_top_bit_gains_a_zero() {
        check(&[0x80], &[2, 2, 0, 0x80]);
    }

    #[test]
    fn zero_has_one_digit() {
        check(&[0, 0], &[2, 1, 0]);
    }

    #[test]
    fn signature_of_small_numbers_is_the_smallest_sequence() {
        assert_eq!(der_signature(&[1], &[1]), [0x30, 6, 2, 1, 1, 2, 1, 1]);
    }
}
