//! Checkpoints of the audit: every open instance vouches for the log with a key of its own, and
//! the last checkpoint is remembered here, under the head that they MAC too.

use aws_lc_rs::hmac;
use daemon::audit::Witness;
use provider_core::key::SEAL_LABEL;
use wire::api::Verdict;
use wire::audit::{CHECKPOINT_MACS_MAX, Checkpoint, CheckpointMac, Hex32, Mark};
use wire::name::ProviderName;

use super::authentic::RegistryId;
use super::{Registry, RegistryError};

/// A key that vouches for the audit, of one instance. It is one device HMAC under the instance's
/// internal key, so without the device no checkpoint can be made or checked.
pub struct CheckpointKey(hmac::Key);

impl std::fmt::Debug for CheckpointKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("CheckpointKey")
    }
}

impl CheckpointKey {
    /// Takes the device's HMAC over [`checkpoint_key_input`].
    #[must_use]
    pub fn from_device_mac(mac: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, mac))
    }
}

/// What the device computes an instance's checkpoint key from.
///
/// # Spec
/// docs/audit.md section 4
#[must_use]
pub fn checkpoint_key_input(registry: &RegistryId) -> Vec<u8> {
    [SEAL_LABEL, &b"audit checkpoint key"[..], registry].concat()
}

impl Registry {
    /// The checkpoint that is remembered.
    #[must_use]
    pub fn audit_mark(&self) -> Option<Mark> {
        self.model().audit_mark
    }

    /// Remembers a checkpoint. No key changes by that, so that the generation stays.
    ///
    /// # Errors
    /// `NoneOpen`, `Store`. The one of before is remembered then.
    pub fn remember_checkpoint(&self, mark: Mark) -> Result<(), RegistryError> {
        let mut store = self.store();
        self.check_some_open()?;
        let mut next = self.model().clone();
        next.audit_mark = Some(mark);
        self.write(&mut store, next, |rows| rows.put_audit_mark(&mark)).map(drop)
    }

    /// Whether a checkpoint is of this registry, and which open instances decided it.
    #[must_use]
    pub fn verify_checkpoint(
        &self,
        checkpoint: &Checkpoint<'_>,
        macs: &[CheckpointMac],
    ) -> (Verdict, Vec<ProviderName>) {
        let input = checkpoint.mac_input(&self.id);
        let keys = self.instance_keys();
        let (mut right, mut wrong) = (Vec::new(), Vec::new());
        for CheckpointMac { provider, mac } in macs {
            let Some(key) = keys.get(provider) else { continue };
            let verified = hmac::verify(&key.checkpoint.0, &input, &mac.0);
            let by = if verified.is_ok() { &mut right } else { &mut wrong };
            by.push(provider.clone());
        }
        match (wrong.is_empty(), right.is_empty()) {
            (false, _) => (Verdict::Invalid, wrong),
            (true, false) => (Verdict::Valid, right),
            (true, true) => (Verdict::Unknown, right),
        }
    }
}

impl Witness for Registry {
    fn macs(&self, checkpoint: &Checkpoint<'_>) -> Vec<CheckpointMac> {
        let input = checkpoint.mac_input(&self.id);
        let keys = self.instance_keys();
        let mac = |(provider, key): (&ProviderName, &super::InstanceKeys)| {
            let mut mac = Hex32([0; 32]);
            mac.0.copy_from_slice(hmac::sign(&key.checkpoint.0, &input).as_ref());
            CheckpointMac { provider: provider.clone(), mac }
        };
        keys.iter().take(CHECKPOINT_MACS_MAX).map(mac).collect()
    }

    fn remember(&self, mark: Mark) -> Result<(), String> {
        self.remember_checkpoint(mark).map_err(|error| error.to_string())
    }
}
