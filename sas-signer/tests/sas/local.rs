//! HMAC-SHA256 in this process, by keys that tests put there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use aws_lc_rs::hmac;
use sas_signer::key::hmac_key;
use sas_signer::mac::{By, Mac, MacError, Maced};
use wire::api::{Origin, Protection};
use wire::code::{Code, Fault};
use wire::name::KeyName;
use wire::sas::{KeyForm, Slot};
use zeroize::Zeroizing;

/// Keys by name, or the code that all of them fail with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Local(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    keys: HashMap<KeyName, (u32, hmac::Key)>,
    fault: Option<(KeyName, Code)>,
}

impl Local {
    /// Puts a key into a slot of the key `k`, as its next version.
    #[must_use]
    pub(crate) fn with(self, slot: Slot, text: &str, form: KeyForm) -> Self {
        let key = hmac_key(text, form).unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        let mut state = self.0.lock().unwrap();
        let name = host_key(slot);
        let version = state.keys.get(&name).map_or(1, |(version, _)| version + 1);
        state.keys.insert(name, (version, key));
        drop(state);
        self
    }

    /// Takes the key of a slot away.
    pub(crate) fn remove(&self, slot: Slot) {
        self.0.lock().unwrap().keys.remove(&host_key(slot));
    }

    /// Lets a slot fail from now on.
    pub(crate) fn fail(&self, slot: Slot, code: Code) {
        self.0.lock().unwrap().fault = Some((host_key(slot), code));
    }
}

fn host_key(slot: Slot) -> KeyName {
    KeyName::parse(&format!("sas/k/{}", slot.as_str())).unwrap()
}

impl Mac for Local {
    async fn mac(&self, key: &KeyName, message: &[u8]) -> Result<Maced, MacError> {
        let state = self.0.lock().unwrap();
        if let Some((_, code)) = state.fault.as_ref().filter(|(failing, _)| failing == key) {
            return Err(Fault::new(*code, "as told").into());
        }
        let absent = || Fault::new(Code::NotFound, "no such key");
        let (version, key) = state.keys.get(key).ok_or_else(absent)?;
        let mac = Zeroizing::new(hmac::sign(key, message).as_ref().try_into().unwrap());
        let by = By {
            version: *version,
            provider: "local".parse().unwrap(),
            protection: Protection::Software,
            origin: Origin::ImportedClear,
        };
        Ok(Maced { mac, by })
    }
}
