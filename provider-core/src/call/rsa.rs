//! The functions of `Rsa` keys at the caller's end.

use zeroize::Zeroizing;

use super::{Instance, absent, broken, cut, key_to_c};
use crate::abi;
use crate::error::Result;
use crate::key::{KeyRef, RSA_MAX_BYTES, RsaModulus, RsaResult};

/// Both functions; a plugin that lacks one has no such keys.
#[derive(Clone, Copy, Debug)]
pub(super) struct Functions {
    public: PublicFn,
    private: PrivateFn,
}

type PublicFn =
    unsafe extern "C" fn(*mut abi::Instance, *const abi::KeyRef, *mut u8, *mut usize) -> i32;
type PrivateFn = unsafe extern "C" fn(
    *mut abi::Instance,
    *const abi::KeyRef,
    *const u8,
    usize,
    *mut u8,
    *mut usize,
) -> i32;

impl Functions {
    pub(super) fn of(table: &abi::Table) -> Option<Self> {
        Some(Self { public: table.rsa_public?, private: table.rsa_private? })
    }
}

impl Instance {
    /// See [`Provider::rsa_public`](crate::Provider::rsa_public).
    ///
    /// # Errors
    /// Those of the provider; `Unsupported` also where the plugin has no such function; `Internal`
    /// when it is no modulus of one of the two sizes.
    pub fn rsa_public(&self, key: KeyRef<'_>) -> Result<RsaModulus> {
        let function = self.table.rsa.ok_or_else(absent)?.public;
        let key = key_to_c(key);
        let mut modulus = vec![0; RSA_MAX_BYTES];
        let mut modulus_len = usize::MAX;
        // SAFETY: ABI rules 1 and 2: every pointer is valid for its length or capacity.
        let status = unsafe {
            function(
                self.pointer.as_ptr(),
                &raw const key,
                modulus.as_mut_ptr(),
                &raw mut modulus_len,
            )
        };
        self.table.check_status(status)?;
        let modulus = RsaModulus(cut(modulus, modulus_len, "modulus")?);
        if modulus.is_whole() { Ok(modulus) } else { Err(broken("that is no rsa modulus")) }
    }

    /// See [`Provider::rsa_private`](crate::Provider::rsa_private).
    ///
    /// # Errors
    /// Those of the provider; `Unsupported` also where the plugin has no such function; `Internal`
    /// when the result is not as long as the input, or zero.
    ///
    /// # Secrets
    /// The result; what a plugin writes and then fails is wiped.
    pub fn rsa_private(&self, key: KeyRef<'_>, input: &[u8]) -> Result<RsaResult> {
        let function = self.table.rsa.ok_or_else(absent)?.private;
        let key = key_to_c(key);
        let mut result = Zeroizing::new(vec![0; RSA_MAX_BYTES]);
        let mut result_len = usize::MAX;
        // SAFETY: ABI rules 1 and 2: every pointer is valid for its length or capacity.
        let status = unsafe {
            function(
                self.pointer.as_ptr(),
                &raw const key,
                input.as_ptr(),
                input.len(),
                result.as_mut_ptr(),
                &raw mut result_len,
            )
        };
        self.table.check_status(status)?;
        if result_len != input.len() || result_len > result.len() {
            return Err(broken("rsa_private gave a number of another length"));
        }
        result.truncate(result_len);
        // Only zero gives zero: this is a plugin that wrote nothing.
        if result.iter().all(|&byte| byte == 0) && input.iter().any(|&byte| byte != 0) {
            return Err(broken("rsa_private gave no bytes"));
        }
        Ok(RsaResult::new(result))
    }
}
