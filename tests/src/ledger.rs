//! What clients know from answers alone, and whether the host still keeps all of it.
//!
//! A [`Client`] changes keys and counters of its own and writes down what was answered. Whatever
//! happens to the host meanwhile, [`check_nothing_is_lost`] then holds it to that: what was
//! answered is there and works, what was not answered is wholly there or wholly absent, no device
//! keeps more than the registry knows, and no counter went back. [`check_audit`] holds the audit
//! to it.

mod audit;
mod client;
mod counter;
mod key;

use std::process::Command;

use swtpm_fixtures::{SoftHsm, Swtpm};

use crate::sealhost::Sealhost;

pub use audit::check_audit;
pub use client::{Change, Client};

/// Objects that the provider keeps on a token for itself: its identity marker and its internal
/// key. Objects are counted by their files, so that what a module killed in the middle leaves
/// counts too.
pub const OWN_OBJECTS: usize = 2;

/// Which objects of a token are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objects {
    /// Every file, so that what a module leaves half made counts too.
    All,
    /// Without those that have no id: a module that is killed may have begun an object and not
    /// written id, label and value; nothing tells then whose it is, and there is no key in it.
    Identified,
}

/// The devices behind a host, where what is left on them is counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Devices<'a> {
    /// The token of provider `hsm`, and what counts on it.
    pub hsm: Option<(&'a SoftHsm, Objects)>,
    /// The TPM of provider `tpm`.
    pub tpm: Option<&'a Swtpm>,
}

/// What a whole run did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// How often something was killed, or failed.
    pub faults: usize,
    /// Steps that were answered.
    pub answered: usize,
    /// Unanswered changes that were found done.
    pub done: usize,
    /// Unanswered changes that were found undone.
    pub undone: usize,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.faults += other.faults;
        self.answered += other.answered;
        self.done += other.done;
        self.undone += other.undone;
    }
}

/// No answer, or one that the client was told to expect in a fault.
#[derive(Debug)]
pub struct Unsettled;

/// Holds a host that serves again to what its clients know, and settles what was not answered.
///
/// # Panics
/// When anything that was answered is not so, anything else is there by half, or a device keeps
/// what the registry does not know.
pub fn check_nothing_is_lost(
    host: &Sealhost,
    clients: &mut [Client],
    devices: Devices<'_>,
    tally: &mut Tally,
) {
    for client in clients.iter_mut() {
        client.check(host, tally);
    }
    if let Some((hsm, counted)) = devices.hsm {
        let living: usize = clients.iter().map(|client| client.versions_on("hsm")).sum();
        let found = match counted {
            Objects::All => hsm.objects(),
            Objects::Identified => hsm.identified_objects(),
        };
        assert_eq!(found.unwrap(), living + OWN_OBJECTS, "objects on the token");
    }
    if let Some(tpm) = devices.tpm {
        let living: usize = clients.iter().map(|client| client.counters_of("device")).sum();
        assert_eq!(handles(tpm, "handles-nv-index", "0x18"), living, "counters in the TPM");
        assert!(handles(tpm, "handles-persistent", "0x81") <= 1, "more than the root key is kept");
    }
}

/// How many handles of a kind a TPM has.
fn handles(tpm: &Swtpm, kind: &str, begin: &str) -> usize {
    let output = Command::new("tpm2_getcap").args([kind, "-T", &tpm.tcti()]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().matches(begin).count()
}
