//! Handles of keys: authenticated by the device of an open instance, and so by this registry
//! alone, across restarts and without anything on the disk.

use aws_lc_rs::hmac;
use provider_core::key::SEAL_LABEL;
use wire::name::ProviderName;

use super::Registry;
use super::authentic::RegistryId;

/// A key that authenticates handles, of one instance. It is one device HMAC under the instance's
/// internal key.
pub struct HandleKey(hmac::Key);

impl std::fmt::Debug for HandleKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("HandleKey")
    }
}

impl HandleKey {
    /// Takes the device's HMAC over [`handle_key_input`].
    #[must_use]
    pub fn from_device_mac(mac: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, mac))
    }
}

/// What the device computes an instance's handle key from.
#[must_use]
pub fn handle_key_input(registry: &RegistryId) -> Vec<u8> {
    [SEAL_LABEL, &b"key handle key"[..], registry].concat()
}

impl Registry {
    /// The MAC of a handle; `None` while the instance is not open.
    #[must_use]
    pub fn mac_handle(&self, provider: &ProviderName, claims: &[u8]) -> Option<[u8; 32]> {
        let keys = self.instance_keys();
        let mut mac = [0; 32];
        mac.copy_from_slice(hmac::sign(&keys.get(provider)?.handle.0, claims).as_ref());
        Some(mac)
    }

    /// Whether a handle is ours; `None` while the instance is not open.
    #[must_use]
    pub fn handle_verifies(
        &self,
        provider: &ProviderName,
        claims: &[u8],
        mac: &[u8; 32],
    ) -> Option<bool> {
        let keys = self.instance_keys();
        Some(hmac::verify(&keys.get(provider)?.handle.0, claims, mac).is_ok())
    }
}
