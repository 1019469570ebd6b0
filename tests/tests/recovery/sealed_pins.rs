//! PINs in envelopes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use swtpm_fixtures::{SoftHsm, Swtpm};
use tests::Setup;

use crate::{mac, reason};

/// A provider on a token whose PIN is in an envelope.
fn hsm_with_sealed_pin(hsm: &SoftHsm, envelope: &Path) -> String {
    format!(
        "name = \"hsm\"\nplugin = \"provider_pkcs11\"\n\
         [provider.settings]\nmodule = \"{}\"\ntoken = \"pkcs11:token={}\"\n\
         pin_source = \"sealed:{}\"\n[provider.env]\nSOFTHSM2_CONF = \"{}\"\n",
        hsm.module_path(),
        hsm.label(),
        envelope.display(),
        hsm.conf_path().display(),
    )
}

fn write_secret(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn pin_sealed_by_a_tpm_key_opens_the_token() {
    let mut swtpm = Swtpm::start().unwrap();
    let hsm = SoftHsm::start("edge", "1234").unwrap();
    let mut host = Setup::default().with_tpm(&swtpm).start();
    host.create("pins", "seal", "tpm");
    let envelope = host.dir().join("pin.sealed");
    write_secret(&envelope, &format!("{}\n", host.seal("pins", "1234")));
    let provider = hsm_with_sealed_pin(&hsm, &envelope);
    host.reconfigure(|setup| setup.with_provider(&provider));
    host.restart();
    assert_eq!(host.provider("hsm")["state"], "open", "{}", reason(&host, "hsm"));
    host.create("a", "mac", "hsm");
    let before = mac(&host, "a").text("mac");
    // Both providers are known now, and open at once.
    host.restart();
    assert_eq!(host.provider("hsm")["state"], "open", "{}", reason(&host, "hsm"));
    assert_eq!(mac(&host, "a").text("mac"), before);

    // Without the TPM there is no PIN; the reason says so, and both come back together.
    assert!(host.stop().success());
    swtpm.stop().unwrap();
    assert!(!host.try_start().unwrap_err().success());
    assert!(host.log().contains("sealed by key pins"), "{}", host.log());
    swtpm.start_again().unwrap();
    host.start();
    assert_eq!(mac(&host, "a").text("mac"), before);
}

#[test]
fn pin_sealed_by_a_key_of_its_own_token_is_a_cycle() {
    let hsm = SoftHsm::start("edge", "1234").unwrap();
    let mut host = Setup::soft().with_hsm(&hsm).start();
    host.create("pins", "seal", "hsm");
    let envelope = host.dir().join("pin.sealed");
    write_secret(&envelope, &host.seal("pins", "1234"));
    assert!(host.stop().success());
    let cyclic = Setup::soft().with_provider(&hsm_with_sealed_pin(&hsm, &envelope));
    host.reconfigure(|_| cyclic);
    host.start();
    let why = reason(&host, "hsm");
    assert!(why.contains("lead back here") && why.contains("another provider"), "{why}");
}

#[test]
fn envelope_of_a_pin_that_was_edited_is_refused_with_the_reason() {
    let hsm = SoftHsm::start("edge", "1234").unwrap();
    let mut host = Setup::soft().start();
    host.create("pins", "seal", "soft");
    let sealed = host.seal("pins", "1234");
    let envelope = host.dir().join("pin.sealed");
    let provider = hsm_with_sealed_pin(&hsm, &envelope);
    host.reconfigure(|setup| setup.with_provider(&provider));
    for (text, why) in [
        ("not an envelope".to_owned(), "pin"),
        (format!("{}AAAA", &sealed[..sealed.len() - 4]), "pins"),
    ] {
        write_secret(&envelope, &text);
        host.restart();
        let reason = reason(&host, "hsm");
        assert!(reason.contains(why), "{reason}");
    }
    write_secret(&envelope, &sealed);
    host.wait_until("the provider opens", |host| host.provider("hsm")["state"] == "open");
}
