//! The functions of `Sign` keys at the caller's end.

use super::{Instance, absent, broken, key_to_c};
use crate::error::Result;
use crate::key::{KeyRef, PUBLIC_KEY_BYTES, PublicKey, SIGNATURE_BYTES, Signature};

impl Instance {
    /// See [`Provider::public_key`](crate::Provider::public_key).
    ///
    /// # Errors
    /// Those of the provider; `Internal` when the point is not an uncompressed one.
    pub fn public_key(&self, key: KeyRef<'_>) -> Result<PublicKey> {
        let function = self.table.public_key.ok_or_else(absent)?;
        let key = key_to_c(key);
        let mut point = [0; PUBLIC_KEY_BYTES];
        // SAFETY: ABI rules 1 and 2.
        let status = unsafe { function(self.pointer.as_ptr(), &raw const key, point.as_mut_ptr()) };
        self.table.check_status(status)?;
        if point.first() != Some(&4) {
            return Err(broken("public key is not an uncompressed point"));
        }
        Ok(PublicKey(point))
    }

    /// See [`Provider::sign`](crate::Provider::sign).
    ///
    /// # Errors
    /// Those of the provider.
    pub fn sign(&self, key: KeyRef<'_>, digest: &[u8; 32]) -> Result<Signature> {
        let function = self.table.sign.ok_or_else(absent)?;
        let key = key_to_c(key);
        let mut signature = [0; SIGNATURE_BYTES];
        // SAFETY: ABI rules 1 and 2.
        let status = unsafe {
            function(self.pointer.as_ptr(), &raw const key, digest.as_ptr(), signature.as_mut_ptr())
        };
        self.table.check_status(status)?;
        if signature == [0; SIGNATURE_BYTES] {
            return Err(broken("sign gave no bytes"));
        }
        Ok(Signature(signature))
    }
}
