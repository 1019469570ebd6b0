//! One computation of AES-256-GCM by AWS-LC's EVP functions, as safe Rust. `aws-lc-rs` has a safe
//! face to this cipher, and it takes no initialization vector but one of 96 bits.
#![expect(unsafe_code, reason = "calls functions of AWS-LC that have no safe face")]

use std::ffi::c_int;
use std::ptr::{NonNull, null, null_mut};

use aws_lc_sys::{
    EVP_CIPHER_CTX, EVP_CIPHER_CTX_ctrl, EVP_CIPHER_CTX_free, EVP_CIPHER_CTX_new,
    EVP_CTRL_AEAD_GET_TAG, EVP_CTRL_AEAD_SET_IVLEN, EVP_CTRL_AEAD_SET_TAG, EVP_CipherFinal_ex,
    EVP_CipherInit_ex, EVP_CipherUpdate, EVP_aes_256_gcm,
};

use crate::{Failed, KEY_BYTES, TAG_BYTES};

/// What a computation does.
#[derive(Clone, Copy)]
pub(crate) enum Direction {
    Encrypt,
    Decrypt,
}

/// One computation: [`authenticate`](Self::authenticate) and [`convert`](Self::convert) at most
/// once each and in this order, then the tag.
pub(crate) struct Context(NonNull<EVP_CIPHER_CTX>);

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: `EVP_CIPHER_CTX_new` made it, and it is used no more. The library wipes the key
        // schedule as it wipes every block that it frees.
        unsafe { EVP_CIPHER_CTX_free(self.0.as_ptr()) }
    }
}

impl Context {
    /// Begins a computation; an empty initialization vector fails.
    pub(crate) fn new(
        direction: Direction,
        key: &[u8; KEY_BYTES],
        iv: &[u8],
    ) -> Result<Self, Failed> {
        // The safe library's own, once: it looks which instructions the processor has.
        aws_lc_rs::init();
        let encrypts = match direction {
            Direction::Encrypt => 1,
            Direction::Decrypt => 0,
        };
        let iv_bytes = length(iv)?;
        // SAFETY: it has no duties; NULL is checked here.
        let context = Self(NonNull::new(unsafe { EVP_CIPHER_CTX_new() }).ok_or(Failed)?);
        let raw = context.0.as_ptr();
        // SAFETY: it has no duties, and gives a table that lives as long as the process.
        let cipher = unsafe { EVP_aes_256_gcm() };
        // SAFETY: a context of ours; without key and IV it only takes the cipher; no engine.
        check(unsafe { EVP_CipherInit_ex(raw, cipher, null_mut(), null(), null(), encrypts) })?;
        // SAFETY: a context of ours with its cipher set; this command takes no pointer, and refuses
        // a length that is not positive.
        check(unsafe { EVP_CIPHER_CTX_ctrl(raw, EVP_CTRL_AEAD_SET_IVLEN, iv_bytes, null_mut()) })?;
        // SAFETY: a context of ours that keeps its cipher; the key has the 32 bytes that this cipher
        // reads, and the IV as many as were set above.
        check(unsafe {
            EVP_CipherInit_ex(raw, null(), null_mut(), key.as_ptr(), iv.as_ptr(), encrypts)
        })?;
        Ok(context)
    }

    /// Takes the associated data.
    pub(crate) fn authenticate(&mut self, aad: &[u8]) -> Result<(), Failed> {
        let (aad_bytes, mut taken) = (length(aad)?, 0);
        // SAFETY: a context of ours; the input has the length given; an output of NULL says that it
        // is associated data, of which nothing is written but the count.
        check(unsafe {
            EVP_CipherUpdate(self.0.as_ptr(), null_mut(), &raw mut taken, aad.as_ptr(), aad_bytes)
        })?;
        if taken == aad_bytes { Ok(()) } else { Err(Failed) }
    }

    /// Encrypts or decrypts the whole text; both have one length.
    pub(crate) fn convert(&mut self, text: &[u8], out: &mut [u8]) -> Result<(), Failed> {
        if out.len() != text.len() {
            return Err(Failed);
        }
        let (text_bytes, mut written) = (length(text)?, 0);
        // SAFETY: a context of ours; the input has the length given, and the output as much: this
        // cipher works byte by byte and writes as many as it reads. Neither is NULL, being slices,
        // nor do they overlap, one being borrowed for writing.
        check(unsafe {
            EVP_CipherUpdate(
                self.0.as_ptr(),
                out.as_mut_ptr(),
                &raw mut written,
                text.as_ptr(),
                text_bytes,
            )
        })?;
        if written == text_bytes { Ok(()) } else { Err(Failed) }
    }

    /// Ends an encryption and gives its tag.
    pub(crate) fn tag(mut self) -> Result<[u8; TAG_BYTES], Failed> {
        self.finish()?;
        let mut tag = [0; TAG_BYTES];
        // SAFETY: a context of ours; this command writes as many bytes as it is told, and refuses
        // where nothing was encrypted.
        check(unsafe {
            let out = tag.as_mut_ptr().cast();
            EVP_CIPHER_CTX_ctrl(self.0.as_ptr(), EVP_CTRL_AEAD_GET_TAG, length(&tag)?, out)
        })?;
        Ok(tag)
    }

    /// Ends a decryption; fails unless this is its tag.
    pub(crate) fn verify(mut self, tag: &[u8; TAG_BYTES]) -> Result<(), Failed> {
        let mut tag = *tag;
        // SAFETY: a context of ours; this command reads as many bytes as it is told, and refuses
        // where something was encrypted.
        check(unsafe {
            let input = tag.as_mut_ptr().cast();
            EVP_CIPHER_CTX_ctrl(self.0.as_ptr(), EVP_CTRL_AEAD_SET_TAG, length(&tag)?, input)
        })?;
        self.finish()
    }

    fn finish(&mut self) -> Result<(), Failed> {
        let (mut rest, mut written) = ([0; 16], 0);
        // SAFETY: a context of ours; the output has a block's 16 bytes, more than this cipher, which
        // keeps nothing back, writes.
        check(unsafe { EVP_CipherFinal_ex(self.0.as_ptr(), rest.as_mut_ptr(), &raw mut written) })?;
        if written == 0 { Ok(()) } else { Err(Failed) }
    }
}

/// The functions above give 1 for success and nothing else.
fn check(status: c_int) -> Result<(), Failed> {
    if status == 1 { Ok(()) } else { Err(Failed) }
}

fn length(bytes: &[u8]) -> Result<c_int, Failed> {
    c_int::try_from(bytes.len()).map_err(|_error| Failed)
}
