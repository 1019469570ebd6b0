//! Devices, tokens and workers that go and come back under a running host, and secrets of
//! providers that are wrong, gone or sealed.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "integration tests, and what they share"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;
use serde_json::{Value, json};
use swtpm_fixtures::{CommandCounter, SoftHsm, Swtpm};
use tests::{Response, Sealhost, Setup, b64, sealhost};

fn mac(host: &Sealhost, key: &str) -> Response {
    host.post(&format!("/v1/keys/{key}/mac"), json!({"message": b64("x")}))
}

/// The workers, by the name of their provider.
fn worker_of(host: &Sealhost, provider: &str) -> Option<u32> {
    host.workers().into_iter().find(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).nth(2) == Some(provider.as_bytes())
    })
}

#[test]
fn tpm_that_is_restarted_serves_again_within_two_seconds() {
    let mut swtpm = Swtpm::start().unwrap();
    let host = Setup::default().with_tpm(&swtpm).start();
    host.create("a", "seal", "tpm");
    let sealed = host.seal("a", "x");
    swtpm.stop().unwrap();
    host.unseal("a", &sealed).problem(503, "unavailable");
    assert_eq!(host.provider("tpm")["state"], "down");
    swtpm.start_again().unwrap();
    let back = Instant::now();
    host.wait_until("the TPM is back", |host| host.unseal("a", &sealed).status == 200);
    assert!(back.elapsed() < Duration::from_secs(2), "{:?}", back.elapsed());
    assert_eq!(host.provider("tpm")["state"], "open");
}

#[test]
fn way_back_needs_no_request() {
    let mut swtpm = Swtpm::start().unwrap();
    let host = Setup::default().with_tpm(&swtpm).start();
    host.create("a", "mac", "tpm");
    swtpm.stop().unwrap();
    mac(&host, "a").problem(503, "unavailable");
    swtpm.start_again().unwrap();
    let back = Instant::now();
    // Asking for the state makes no call to the device.
    host.wait_until("the host has noticed", |host| host.provider("tpm")["state"] == "open");
    assert!(back.elapsed() < Duration::from_secs(3), "{:?}", back.elapsed());
}

#[test]
fn twenty_keys_of_a_tpm_survive_its_restarts() {
    let mut swtpm = Swtpm::start().unwrap();
    let mut host = Setup::default().with_tpm(&swtpm).start();
    let names: Vec<_> = (0..20).map(|number| format!("k{number}")).collect();
    let before: Vec<_> = names
        .iter()
        .map(|name| {
            host.create(name, "mac", "tpm");
            mac(&host, name).text("mac")
        })
        .collect();
    let check = |host: &Sealhost| {
        for (name, before) in names.iter().zip(&before) {
            assert_eq!(mac(host, name).text("mac"), *before, "{name}");
        }
    };
    for _ in 0..3 {
        // A restart between two requests is not even noticed.
        swtpm.start_again().unwrap();
        check(&host);
    }
    host.restart();
    check(&host);
}

#[test]
fn power_cuts_do_not_lock_the_tpm() {
    let mut swtpm = Swtpm::start().unwrap();
    let mut host = Setup::default().with_tpm(&swtpm).start();
    host.create("a", "mac", "tpm");
    let before = mac(&host, "a").text("mac");
    for _ in 0..6 {
        swtpm.start_again().unwrap();
        assert_eq!(mac(&host, "a").text("mac"), before);
        host.kill();
        host.start();
    }
    assert_eq!(mac(&host, "a").text("mac"), before);
}

#[test]
fn token_that_is_removed_and_restored_serves_again() {
    let hsm = SoftHsm::start("edge", "1234").unwrap();
    let host = Setup::default().with_hsm(&hsm).start();
    host.create("a", "seal", "hsm");
    host.create("s", "sign", "hsm");
    let sealed = host.seal("a", "x");
    for _ in 0..3 {
        hsm.remove_token().unwrap();
        host.unseal("a", &sealed).problem(503, "unavailable");
        assert_eq!(host.provider("hsm")["state"], "down");
        hsm.restore_token().unwrap();
        let back = Instant::now();
        host.wait_until("the token is back", |host| host.unseal("a", &sealed).status == 200);
        assert!(back.elapsed() < Duration::from_secs(2), "{:?}", back.elapsed());
        host.post("/v1/keys/s/sign", json!({"digest": b64([1; 32])})).done();
    }
}

#[test]
fn change_that_a_lost_token_cut_short_is_completed_when_it_is_back() {
    let hsm = SoftHsm::start("edge", "1234").unwrap();
    let host = Setup::default().with_hsm(&hsm).start();
    host.create("a", "mac", "hsm");
    let before = mac(&host, "a").text("mac");
    let objects = hsm.objects().unwrap();
    hsm.remove_token().unwrap();
    host.post("/v1/keys/a/rotate", json!({})).problem(503, "unavailable");
    host.post("/v1/keys/b", json!({"usage": "mac"})).problem(503, "unavailable");
    host.delete("/v1/keys/a?confirm=a").problem(503, "unavailable");
    hsm.restore_token().unwrap();
    host.wait_until("the token is back", |host| host.provider("hsm")["state"] == "open");
    assert_eq!(mac(&host, "a").text("mac"), before);
    host.get("/v1/keys/b").problem(404, "not_found");
    host.wait_until("the leftovers are gone", |_| hsm.objects().unwrap() == objects);
    let rotated = host.post("/v1/keys/a/rotate", json!({})).ok();
    assert_eq!(rotated["versions"].as_array().unwrap().len(), 2);
    host.create("b", "mac", "hsm");
    host.delete("/v1/keys/a?confirm=a").done();
    assert_eq!(hsm.objects().unwrap(), objects);
}

#[test]
fn destruction_that_a_lost_token_cut_short_is_completed() {
    let hsm = SoftHsm::start("edge", "1234").unwrap();
    let mut host = Setup::default().with_hsm(&hsm).start();
    let own = hsm.objects().unwrap();
    host.create("a", "mac", "hsm");
    hsm.remove_token().unwrap();
    // The host has not noticed yet, so it begins.
    host.delete("/v1/keys/a?confirm=a").problem(503, "unavailable");
    hsm.restore_token().unwrap();
    host.wait_until("the token is back", |host| host.provider("hsm")["state"] == "open");
    // What was begun is done without anybody asking again.
    host.wait_until("the destruction is completed", |_| hsm.objects().unwrap() == own);
    mac(&host, "a").problem(404, "not_found");
    host.restart();
    mac(&host, "a").problem(404, "not_found");
    let recovered = host.audit().iter().filter(|line| line["kind"] == "recovered").count();
    assert_eq!(recovered, 1);
}

#[test]
fn killed_worker_is_replaced_and_its_keys_serve_again() {
    let (swtpm, hsm) = (Swtpm::start().unwrap(), SoftHsm::start("edge", "1234").unwrap());
    let host = Setup::default().with_tpm(&swtpm).with_hsm(&hsm).with_soft_worker("soft").start();
    for provider in ["tpm", "hsm", "soft"] {
        host.create(provider, "mac", provider);
        let before = mac(&host, provider).text("mac");
        let worker = worker_of(&host, provider).unwrap();
        sealhost::signal(worker, "KILL");
        let killed = Instant::now();
        host.wait_until("a new worker serves", |host| {
            let reply = mac(host, provider);
            if reply.status == 200 {
                assert_eq!(reply.text("mac"), before);
                return worker_of(host, provider).is_some_and(|now| now != worker);
            }
            reply.problem(503, "unavailable");
            false
        });
        assert!(killed.elapsed() < Duration::from_secs(5), "{:?}", killed.elapsed());
    }
}

#[test]
fn hung_tpm_is_a_timeout_and_does_not_slow_the_others() {
    let mut swtpm = Swtpm::start().unwrap();
    let tpm = format!(
        "name = \"tpm\"\nplugin = \"provider_tpm\"\n[provider.settings]\ntcti = \"{}\"\n\
         [provider.deadlines]\nmac = \"1s\"\nopen = \"1s\"\n",
        swtpm.tcti()
    );
    let host = Setup::default().with_provider(&tpm).with_soft().start();
    host.create("t", "mac", "tpm");
    host.create("s", "mac", "soft");
    let before = mac(&host, "t").text("mac");
    swtpm.suspend().unwrap();
    std::thread::scope(|scope| {
        let hung = scope.spawn(|| {
            let begun = Instant::now();
            mac(&host, "t").problem(504, "timeout");
            begun.elapsed()
        });
        let mut served = 0;
        let mut slowest = Duration::ZERO;
        while !hung.is_finished() {
            let begun = Instant::now();
            mac(&host, "s").done();
            host.get("/v1/keys/nobody").problem(404, "not_found");
            host.get("/v1/status").done();
            slowest = slowest.max(begun.elapsed());
            served += 1;
        }
        let took = hung.join().unwrap();
        assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(4), "{took:?}");
        assert!(served >= 20, "{served} rounds on the other provider meanwhile");
        assert!(slowest < Duration::from_millis(900), "one round took {slowest:?}");
    });
    swtpm.resume().unwrap();
    host.wait_until("the TPM serves again", |host| mac(host, "t").status == 200);
    assert_eq!(mac(&host, "t").text("mac"), before);
}

#[test]
fn create_on_a_hung_tpm_is_a_timeout_and_is_undone() {
    let mut swtpm = Swtpm::start().unwrap();
    let tpm = format!(
        "name = \"tpm\"\nplugin = \"provider_tpm\"\n[provider.settings]\ntcti = \"{}\"\n\
         [provider.deadlines]\ngenerate = \"500ms\"\nopen = \"1s\"\n",
        swtpm.tcti()
    );
    let host = Setup::default().with_provider(&tpm).start();
    swtpm.suspend().unwrap();
    host.post("/v1/keys/a", json!({"usage": "mac"})).problem(504, "timeout");
    swtpm.resume().unwrap();
    host.wait_until("the TPM is back", |host| host.provider("tpm")["state"] == "open");
    host.get("/v1/keys/a").problem(404, "not_found");
    host.create("a", "mac", "tpm");
    mac(&host, "a").done();
}

/// A token whose PIN file holds another PIN than the token's.
fn wrong_pin() -> (SoftHsm, String, Sealhost) {
    let hsm = SoftHsm::start("edge", "1234").unwrap();
    let setup = Setup::soft().with_hsm(&hsm);
    let right = fs::read_to_string(hsm.pin_file()).unwrap();
    fs::write(hsm.pin_file(), "9999").unwrap();
    (hsm, right, setup.start())
}

fn reason(host: &Sealhost, provider: &str) -> String {
    let status = host.provider(provider);
    status["reason"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn refused_pin_is_not_tried_again_until_an_operator_says_so() {
    let (hsm, right, mut host) = wrong_pin();
    assert_eq!(host.provider("hsm")["state"], "down");
    assert!(reason(&host, "hsm").contains("PIN"), "{}", reason(&host, "hsm"));
    // With the right PIN in place any further attempt would succeed, and none does.
    fs::write(hsm.pin_file(), &right).unwrap();
    let attempts = |host: &Sealhost| {
        let log = host.log();
        let refused = log.lines().filter(|line| line.contains("CKR_PIN_INCORRECT"));
        refused.filter(|line| !line.contains("was refused before")).count()
    };
    let logged = |host: &Sealhost| host.log().matches("its PIN was refused before").count();
    let before = attempts(&host);
    host.wait_until("several tries have passed", |host| logged(host) > 3);
    assert_eq!(host.provider("hsm")["state"], "down");
    for _ in 0..3 {
        host.restart();
        assert_eq!(host.provider("hsm")["state"], "down");
        assert!(reason(&host, "hsm").contains("sealctl provider retry"));
    }
    assert_eq!((before, attempts(&host)), (1, 1));
    let retried = host.post("/v1/providers/hsm/retry", json!({})).ok();
    assert_eq!(retried["state"], "open");
    host.create("a", "mac", "hsm");
    mac(&host, "a").done();
    host.restart();
    mac(&host, "a").done();
}

#[test]
fn retry_with_the_wrong_pin_is_one_more_attempt_and_no_other() {
    let (hsm, right, host) = wrong_pin();
    let retried = host.post("/v1/providers/hsm/retry", json!({})).ok();
    assert_eq!(retried["state"], "down");
    fs::write(hsm.pin_file(), &right).unwrap();
    let logged = |host: &Sealhost| host.log().matches("its PIN was refused before").count();
    let before = logged(&host);
    host.wait_until("several tries have passed", |host| logged(host) > before + 3);
    assert_eq!(host.provider("hsm")["state"], "down");
    assert_eq!(host.post("/v1/providers/hsm/retry", json!({})).ok()["state"], "open");
}

/// Where the process that changes a PIN finds the token store.
const STORE: &str = "SEALHOST_TEST_STORE";

#[test]
fn pin_that_was_changed_on_the_token_is_tried_once() {
    if let Some(store) = std::env::var_os(STORE) {
        return change_pin(&SoftHsm::attach(Path::new(&store)).unwrap());
    }
    let hsm = SoftHsm::start("edge", "1234").unwrap();
    let mut host = Setup::soft().with_hsm(&hsm).start();
    host.create("a", "mac", "hsm");
    let before = mac(&host, "a").text("mac");
    // The module takes its configuration from the environment, so another process changes it.
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "pin_that_was_changed_on_the_token_is_tried_once", "--nocapture"])
        .env(STORE, hsm.directory())
        .env("SOFTHSM2_CONF", hsm.conf_path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    // The login stands until the token is pulled.
    assert_eq!(mac(&host, "a").text("mac"), before);
    hsm.remove_token().unwrap();
    mac(&host, "a").problem(503, "unavailable");
    hsm.restore_token().unwrap();
    let refused = |host: &Sealhost| reason(host, "hsm").contains("was refused before");
    host.wait_until("the old PIN is refused", refused);
    // With the right PIN in place any further attempt would succeed, and none does.
    fs::write(hsm.pin_file(), "567890").unwrap();
    let tries = |host: &Sealhost| host.log().matches("was refused before").count();
    let so_far = tries(&host);
    host.wait_until("several tries have passed", |host| tries(host) > so_far + 2);
    host.restart();
    assert!(refused(&host), "{}", reason(&host, "hsm"));
    mac(&host, "a").problem(503, "unavailable");
    assert_eq!(host.post("/v1/providers/hsm/retry", json!({})).ok()["state"], "open");
    assert_eq!(mac(&host, "a").text("mac"), before);
}

fn change_pin(hsm: &SoftHsm) {
    let pkcs11 = Pkcs11::new(hsm.module_path()).unwrap();
    pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
    let slot = pkcs11.get_slots_with_initialized_token().unwrap()[0];
    let session = pkcs11.open_rw_session(slot).unwrap();
    let (old, new) = (AuthPin::new("1234".into()), AuthPin::new("567890".into()));
    session.login(UserType::User, Some(&old)).unwrap();
    session.set_pin(&old, &new).unwrap();
}

#[test]
fn pin_file_that_is_gone_is_no_refused_pin() {
    let hsm = SoftHsm::start("edge", "1234").unwrap();
    let mut host = Setup::soft().with_hsm(&hsm).start();
    let kept = fs::read(hsm.pin_file()).unwrap();
    fs::remove_file(hsm.pin_file()).unwrap();
    host.restart();
    assert!(reason(&host, "hsm").contains("pin"), "{}", reason(&host, "hsm"));
    fs::write(hsm.pin_file(), kept).unwrap();
    fs::set_permissions(hsm.pin_file(), fs::Permissions::from_mode(0o600)).unwrap();
    host.wait_until("the provider opens", |host| host.provider("hsm")["state"] == "open");
}

#[test]
fn software_provider_without_its_root_is_refused_and_makes_no_other() {
    let hsm = SoftHsm::start("edge", "1234").unwrap();
    let mut host = Setup::soft().with_hsm(&hsm).start();
    host.create("a", "seal", "soft");
    let sealed = host.seal("a", "x");
    assert!(host.stop().success());
    let root = host.state_dir().join("soft.root");
    let kept = fs::read(&root).unwrap();
    fs::remove_file(&root).unwrap();
    host.start();
    let why = reason(&host, "soft");
    assert!(why.contains("soft.root is gone") && why.contains("backup"), "{why}");
    host.unseal("a", &sealed).problem(503, "unavailable");
    assert!(!root.exists(), "another root was made");
    // Another root in its place is noticed.
    fs::write(&root, [7; 32]).unwrap();
    fs::set_permissions(&root, fs::Permissions::from_mode(0o600)).unwrap();
    host.restart();
    assert_eq!(host.provider("soft")["state"], "down");
    host.unseal("a", &sealed).problem(409, "wrong_device");
    fs::write(&root, kept).unwrap();
    host.restart();
    assert_eq!(host.unseal("a", &sealed).text("plaintext"), b64("x"));
}

#[test]
fn host_with_nothing_but_a_lost_root_does_not_start() {
    let mut host = Setup::soft().start();
    assert!(host.stop().success());
    fs::remove_file(host.state_dir().join("soft.root")).unwrap();
    assert!(!host.try_start().unwrap_err().success());
    assert!(host.log().contains("soft.root is gone"), "{}", host.log());
}

#[test]
fn root_that_others_can_read_is_refused() {
    let mut host = Setup::soft().start();
    assert!(host.stop().success());
    let root = host.state_dir().join("soft.root");
    assert_eq!(fs::metadata(&root).unwrap().permissions().mode() & 0o777, 0o600);
    fs::set_permissions(&root, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(!host.try_start().unwrap_err().success());
    assert!(host.log().contains("soft.root"), "{}", host.log());
}

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

#[test]
fn lockout_is_told_apart_from_absence_and_passes() {
    let swtpm = Swtpm::start().unwrap();
    let proxy = CommandCounter::in_front_of(&swtpm).unwrap();
    let host = Setup::default().with_tpm_at(&proxy.tcti()).start();
    host.create("a", "mac", "tpm");
    mac(&host, "a").done();
    proxy.answer_next(0x155, 0x921, 1);
    let reply = mac(&host, "a");
    let problem = reply.problem(503, "locked_out");
    assert_eq!((&problem["retryable"], &problem["provider"]), (&json!(true), &json!("tpm")));
    assert!(reply.header("retry-after").is_some());
    assert_ne!(problem["detail"], Value::Null);
    assert!(host.log().contains("over after at most"), "how long it lasts is in the log");
    assert_eq!(host.provider("tpm")["state"], "open");
    mac(&host, "a").done();
}
