//! A key as its client knows it.

use std::path::Path;

use serde_json::{Value, json};

use super::Unsettled;
use super::client::{Ask, Change};
use crate::http::b64;
use crate::sealhost::Sealhost;

/// A key as its client knows it: from answers only.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) provider: &'static str,
    pub(super) usage: &'static str,
    pub(super) versions: usize,
    pub(super) destroyed: bool,
    /// What its versions sealed, and the MAC or public key of its first version.
    envelopes: Vec<String>,
    first: Option<String>,
}

impl Known {
    /// A key of one version that is about to be made; an imported one has its name as its bytes.
    pub(super) fn new(provider: &'static str, usage: &'static str, name: &str) -> Self {
        let imported = usage == "import";
        Self {
            provider,
            usage: if imported { "mac" } else { usage },
            versions: 1,
            destroyed: false,
            envelopes: Vec::new(),
            first: imported.then(|| mac_of(name)),
        }
    }

    /// Takes over what an unanswered change came to; returns whether it was done.
    pub(super) fn settle(&mut self, change: Change, states: &[String]) -> bool {
        match change {
            Change::Make => true,
            Change::Rotate if states.len() > self.versions => {
                self.versions += 1;
                true
            }
            Change::Destroy if states.iter().all(|state| state == "destroyed") => {
                self.destroyed = true;
                true
            }
            Change::Rotate | Change::Destroy | Change::Raise => false,
        }
    }

    pub(super) fn expected_states(&self) -> Vec<String> {
        let mut states =
            vec![if self.destroyed { "destroyed" } else { "decrypt-only" }; self.versions];
        if !self.destroyed {
            *states.last_mut().unwrap() = "active";
        }
        states.into_iter().map(str::to_owned).collect()
    }

    /// Seals once, or keeps what tells the first version from others.
    pub(super) fn use_once(
        &mut self,
        ask: &Ask,
        socket: &Path,
        name: &str,
    ) -> Result<(), Unsettled> {
        if self.usage == "seal" {
            let body = json!({"plaintext": b64(name)});
            let sealed = ask.send(socket, "POST", &format!("/v1/keys/{name}/seal"), &body)?;
            self.envelopes.push(sealed.text("sealed"));
        } else if self.first.is_none() && self.versions == 1 {
            self.first = Some(first_of(self.usage, name, ask, socket)?);
        }
        Ok(())
    }

    /// Opens what was sealed before, or computes again what was computed before.
    pub(super) fn use_again(&self, ask: &Ask, socket: &Path, name: &str) -> Result<(), Unsettled> {
        for sealed in &self.envelopes {
            let target = format!("/v1/keys/{name}/unseal");
            let opened = ask.send(socket, "POST", &target, &json!({"sealed": sealed}))?;
            assert_eq!(opened.text("plaintext"), b64(name), "another plaintext");
        }
        if let Some(first) = &self.first {
            let now = first_of(self.usage, name, ask, socket)?;
            assert_eq!(*first, now, "{name} is another key than before");
        }
        Ok(())
    }

    /// The key does what it did before; a destroyed one does nothing.
    pub(super) fn check(&mut self, host: &Sealhost, name: &str) {
        if self.destroyed {
            if let Some(sealed) = self.envelopes.pop() {
                host.unseal(name, &sealed).problem(404, "not_found");
            }
            return;
        }
        let (ask, socket) = (Ask::default(), host.socket());
        let used = self.use_again(&ask, &socket, name);
        used.and_then(|()| self.use_once(&ask, &socket, name)).expect("no answer");
        if self.usage == "seal" {
            let sealed = self.envelopes.pop().unwrap();
            assert_eq!(host.unseal(name, &sealed).text("plaintext"), b64(name));
        }
    }
}

pub(super) fn states_of(record: &Value) -> Vec<String> {
    let versions = record["versions"].as_array().unwrap();
    versions.iter().map(|version| version["state"].as_str().unwrap().to_owned()).collect()
}

/// HMAC-SHA256 over `x` with the key's name as the key.
fn mac_of(name: &str) -> String {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, name.as_bytes());
    b64(aws_lc_rs::hmac::sign(&key, b"x"))
}

/// What tells the first version of a mac or sign key from any other key.
fn first_of(usage: &str, name: &str, ask: &Ask, socket: &Path) -> Result<String, Unsettled> {
    if usage == "mac" {
        let body = json!({"message": b64("x"), "version": 1});
        return Ok(ask.send(socket, "POST", &format!("/v1/keys/{name}/mac"), &body)?.text("mac"));
    }
    let target = format!("/v1/keys/{name}/public?version=1");
    Ok(ask.send(socket, "GET", &target, &Value::Null)?.text("pem"))
}
