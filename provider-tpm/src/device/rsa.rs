//! The bare private operation of RSA keys.

use provider_core::{KeyRef, ProviderError, RsaResult, SecretBytes};
use tss_esapi::structures::{Data, PublicKeyRsa, RsaDecryptionScheme};
use zeroize::Zeroizing;

use super::key::{right_align, wipe_stack};
use super::{Device, Outcome, fault};

impl Device {
    /// TPM2_RSA_Decrypt without padding (TPM 2.0 Part 3, 14.3; Part 1, B.6).
    ///
    /// # Errors
    /// `InvalidParameter`: the input is not as long as the modulus, or not less than it.
    pub(crate) fn rsa_private(&mut self, key: KeyRef<'_>, input: &[u8]) -> Outcome<RsaResult> {
        let modulus = self.modulus(key)?;
        // Of the same length, so that the order of the bytes is that of the numbers.
        if input.len() != modulus.len() || input >= &modulus[..] {
            let detail = "the input is not a number as long as the modulus and less than it";
            return Err(ProviderError::invalid(detail).into());
        }
        let number = PublicKeyRsa::try_from(input).map_err(fault)?;
        let answer = self.with_key(key, |tpm, handle| {
            tpm.rsa_decrypt(handle, number.clone(), RsaDecryptionScheme::Null, Data::default())
        })?;
        let mut output = Zeroizing::new(vec![0; modulus.len()]);
        right_align(&mut output, &answer)?;
        wipe_stack();
        Ok(SecretBytes::new(output))
    }
}
