//! The private operation of RSA, and what is put round a message before it.

use aws_lc_rs::digest;
use provider_core::SecretBytes;
use wire::code::{Code, Fault};
use zeroize::Zeroizing;

use super::Job;
use crate::error::{Failure, HostError};
use crate::plugin::{Answer, Call};
use crate::registry::{Key, Version};
use crate::request::RsaPadding;

/// Least bytes of a block of type 1 that are not the message.
const BLOCK_OVERHEAD_BYTES: usize = 11;

pub(super) async fn private(
    job: &Job<'_>,
    key: &Key,
    version: &Version,
    padding: RsaPadding,
    message: &[u8],
) -> Result<SecretBytes, HostError> {
    let size = modulus(job, key, version).await?.len();
    let block = match padding {
        RsaPadding::Block => type_1_block(message, size),
        RsaPadding::None => Some(Zeroizing::new(message.to_vec())),
    };
    let block = block.filter(|block| block.len() == size).ok_or_else(wrong_length)?;
    let call = |key| Call::RsaPrivate(key, SecretBytes::new(block));
    let answer = job.host.router.call(job.account(), version, key.terms.usage, call).await?;
    let Answer::Rsa(result) = answer else {
        return Err(Failure::Bug("rsa_private did not answer with a number").into());
    };
    Ok(result)
}

pub(super) async fn modulus(
    job: &Job<'_>,
    key: &Key,
    version: &Version,
) -> Result<Vec<u8>, HostError> {
    let answer =
        job.host.router.call(job.account(), version, key.terms.usage, Call::RsaPublic).await?;
    let Answer::RsaModulus(modulus) = answer else {
        return Err(Failure::Bug("rsa_public did not answer with a modulus").into());
    };
    Ok(modulus.0)
}

fn wrong_length() -> HostError {
    HostError::from(Fault::new(Code::Invalid, "the message does not fit the modulus"))
}

/// `00 01 FF ... FF 00` and the message, as long as the modulus.
///
/// # Spec
/// RFC 8017 section 9.2, steps 3 to 5, of a message that its caller has encoded.
fn type_1_block(message: &[u8], size: usize) -> Option<Zeroizing<Vec<u8>>> {
    let filling = size.checked_sub(message.len())?.checked_sub(3)?;
    if message.len() + BLOCK_OVERHEAD_BYTES > size {
        return None;
    }
    let mut block = Zeroizing::new(Vec::with_capacity(size));
    block.extend_from_slice(&[0, 1]);
    block.resize(2 + filling, 0xff);
    block.push(0);
    block.extend_from_slice(message);
    Some(block)
}

/// What a signature of a message is the private operation on.
///
/// # Spec
/// RFC 8017 section 9.2, with SHA-256.
pub(super) fn signature_block(message: &[u8], size: usize) -> Option<Zeroizing<Vec<u8>>> {
    let digest = digest::digest(&digest::SHA256, message);
    type_1_block(&[&SHA256_INFO, digest.as_ref()].concat(), size)
}

/// What stands before a SHA-256 digest, RFC 8017 section 9.2, note 1.
const SHA256_INFO: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05,
    0x00, 0x04, 0x20,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(message: &[u8], size: usize, block: Option<&[u8]>) {
        assert_eq!(type_1_block(message, size).as_deref().map(Vec::as_slice), block);
    }

    #[test]
    fn message_at_the_limit_has_eight_bytes_of_filling() {
        check(b"ab", 13, Some(b"\x00\x01\xff\xff\xff\xff\xff\xff\xff\xff\x00ab"));
    }

    #[test]
    fn longer_message_and_shorter_modulus_are_refused() {
        check(b"abc", 13, None);
        check(b"", 2, None);
    }
}
