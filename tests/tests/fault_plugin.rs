//! The fault plugin: in front of a provider it changes nothing but what its plan says, and each
//! fault is one that the host answers in bounded time while another provider works on.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "integration tests, and what they share"
)]

use std::time::{Duration, Instant};

use libloading::Library;
use provider_core::abi;
use provider_core::call::Plugin;
use provider_core::conformance;
use provider_core::{
    AeadInput, ErrorKind, KeyId, KeyRef, KeySpec, SecretBytes, Secrets, Settings, Usage,
};
use serde_json::json;
use tests::sealhost::built;
use tests::{Response, Sealhost, Setup, b64};

/// Deadlines that a hang does not make a test long by.
const DEADLINES: &str = "[provider.deadlines]\nmac = \"300ms\"\ngenerate = \"300ms\"\n";

/// A host with `soft`, and `faulty` behind the plugin with a mac key `m` and a seal key `s`.
fn start() -> Sealhost {
    let host = Setup::soft().with_soft_behind_faults("faulty", DEADLINES).start();
    host.create("m", "mac", "faulty");
    host.create("s", "seal", "faulty");
    host.create("other", "mac", "soft");
    host
}

fn mac(host: &Sealhost, key: &str) -> Response {
    host.post(&format!("/v1/keys/{key}/mac"), json!({"message": b64("x")}))
}

/// Lets the first MAC of a key have a fault: the caller is told this in bounded time, the other
/// provider is not touched, and the same request works when it is repeated.
#[track_caller]
fn check(fault: &str, status: u16, code: &str, retryable: bool) {
    let host = start();
    let before = mac(&host, "m").text("mac");
    host.plan("faulty", &format!("mac:1 {fault}"));
    let begun = Instant::now();
    let problem = mac(&host, "m").problem(status, code);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(problem["retryable"], retryable, "{problem}");
    mac(&host, "other").done();
    assert_eq!(host.journal("faulty")[0], format!("mac {fault}"));
    host.wait_until("answering again", |host| mac(host, "m").status == 200);
    assert_eq!(mac(&host, "m").text("mac"), before);
}

#[test]
fn gone_is_unavailable() {
    check("gone", 503, "unavailable", true);
}

#[test]
fn unplugging_is_unavailable_until_the_plan_changes() {
    let host = start();
    host.plan("faulty", "mac:1 unplug");
    mac(&host, "m").problem(503, "unavailable");
    let asked = |host: &Sealhost, line: &str| host.journal("faulty").iter().any(|it| it == line);
    host.wait_until("asking after it", |host| asked(host, "self_test unplug"));
    assert_eq!(host.provider("faulty")["state"], "down");
    // The worker that is started anew finds it unplugged too.
    tests::sealhost::signal(host.workers()[0], "KILL");
    host.wait_until("an opening in vain", |host| asked(host, "open unplug"));
    mac(&host, "m").problem(503, "unavailable");
    host.plan("faulty", "");
    host.wait_until("answering again", |host| mac(host, "m").status == 200);
}

#[test]
fn locked_out_says_so() {
    check("locked_out", 503, "locked_out", true);
}

#[test]
fn busy_says_so() {
    check("busy", 429, "busy", true);
}

#[test]
fn internal_is_an_error_of_this_call() {
    check("internal", 500, "internal", false);
}

#[test]
fn integrity_says_so() {
    check("integrity", 400, "integrity", false);
}

#[test]
fn exhausted_is_unavailable() {
    check("exhausted", 503, "unavailable", true);
}

#[test]
fn hang_ends_at_the_deadline() {
    check("hang", 504, "timeout", true);
}

#[test]
fn crash_is_unavailable() {
    check("crash", 503, "unavailable", true);
}

#[test]
fn exit_is_unavailable() {
    check("exit", 503, "unavailable", true);
}

#[test]
fn panic_is_internal() {
    check("panic", 500, "internal", false);
}

#[test]
fn slow_is_only_slow() {
    let host = start();
    host.plan("faulty", "mac slow 100ms");
    let begun = Instant::now();
    mac(&host, "m").done();
    assert!(begun.elapsed() >= Duration::from_millis(100), "{:?}", begun.elapsed());
}

#[test]
fn unwritten_mac_is_found_out() {
    check("unwritten", 500, "internal", false);
}

#[test]
fn wrong_mac_in_an_unsealing_is_integrity_and_gives_nothing() {
    let host = start();
    let sealed = host.seal("s", "kept");
    host.plan("faulty", "mac:1 wrong");
    host.unseal("s", &sealed).problem(400, "integrity");
    assert_eq!(host.unseal("s", &sealed).text("plaintext"), b64("kept"));
}

/// Lets the making of a key have a fault: nothing is made, and it can be made when repeated.
#[track_caller]
fn check_generate(fault: &str, status: u16, code: &str) {
    let host = start();
    host.plan("faulty", &format!("generate:1 {fault}"));
    let body = json!({"usage": "mac", "providers": ["faulty"]});
    host.post("/v1/keys/new", body.clone()).problem(status, code);
    let made = |host: &Sealhost| host.post("/v1/keys/new", body.clone()).status;
    host.wait_until("making it", |host| matches!(made(host), 200 | 201));
    mac(&host, "new").done();
}

#[test]
fn blob_of_a_length_that_is_a_lie_is_found_out() {
    check_generate("long", 500, "internal");
}

#[test]
fn blob_without_bytes_is_found_out() {
    check_generate("empty", 500, "internal");
}

#[test]
fn key_that_is_made_and_not_told_of_is_made_anew() {
    check_generate("after crash", 503, "unavailable");
    check_generate("after gone", 503, "unavailable");
}

#[test]
fn counts_go_on_after_a_crash() {
    let host = start();
    host.plan("faulty", "mac:2 crash");
    mac(&host, "m").done();
    mac(&host, "m").problem(503, "unavailable");
    // Counted anew, one of these would be the second.
    for _ in 0..3 {
        host.wait_until("answering again", |host| mac(host, "m").status == 200);
    }
    let journal = host.journal("faulty");
    assert_eq!(journal.iter().filter(|line| line.ends_with("crash")).count(), 1, "{journal:?}");
}

#[test]
fn leak_is_memory_of_the_worker_alone() {
    let host = start();
    let worker = host.workers()[0];
    let resident = |pid: u32| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = text.lines().find(|line| line.starts_with("VmRSS:")).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let before = (resident(worker), resident(host.pid()));
    host.plan("faulty", "mac leak 16MiB");
    mac(&host, "m").done();
    mac(&host, "m").done();
    assert!(resident(worker) >= before.0 + 32 * 1024);
    assert!(resident(host.pid()) < before.1 + 16 * 1024);
}

#[test]
fn plan_that_becomes_wrong_is_told_to_the_log() {
    let host = start();
    host.plan("faulty", "mac:1 explode");
    mac(&host, "m").problem(400, "invalid");
    assert!(host.log().contains("there is no such fault"), "{}", host.log());
    host.plan("faulty", "");
    mac(&host, "m").done();
}

#[test]
fn instance_behind_it_says_so() {
    let host = start();
    let shown = host.provider("faulty").to_string();
    assert!(shown.contains("a fault plugin is in front"), "{shown}");
}

#[test]
fn plugin_that_others_may_write_is_not_loaded() {
    use std::os::unix::fs::PermissionsExt;
    let mut host = Setup::soft().with_soft_behind_faults("faulty", "").prepare();
    let inner = host.plugin_dir().join("libprovider_soft.so");
    let copy = host.plugin_dir().join("copy.so");
    std::fs::copy(&inner, &copy).unwrap();
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o777)).unwrap();
    let config = std::fs::read_to_string(host.config_path()).unwrap();
    let named = inner.display().to_string();
    std::fs::write(host.config_path(), config.replace(&named, &copy.display().to_string()))
        .unwrap();
    host.start();
    let reason = host.provider("faulty")["reason"].to_string();
    assert!(reason.contains("can be written by others"), "{reason}");
}

/// The entry of the fault plugin, in this process.
#[expect(unsafe_code, reason = "a library is loaded")]
fn entry() -> abi::Entry {
    // SAFETY: it is the one of this workspace, whose initializers do no harm.
    let library = unsafe { Library::new(built("libprovider_fault.so")) }.unwrap();
    // Plugins are never unloaded.
    let library: &'static Library = Box::leak(Box::new(library));
    // SAFETY: the symbol is the entry of `docs/abi.md`, of this type.
    *unsafe { library.get::<abi::Entry>(abi::ENTRY_SYMBOL) }.unwrap()
}

/// What opens the software provider behind it.
fn device(root: u8, plan: &str) -> (Settings, Secrets) {
    let inner = built("libprovider_soft.so").display().to_string();
    let settings = Settings::new([("plugin", inner.as_str()), ("plan", plan)]);
    (settings, Secrets::new([("root", SecretBytes::copy_of(&[root; 32]))]))
}

/// Lets the first call of a verb of aead keys have a fault; the next ones work.
#[track_caller]
#[expect(unsafe_code, reason = "functions of a library are called")]
fn check_aead(verb: &str, fault: &str, expected: ErrorKind) {
    // SAFETY: the entry is that of a library that is never unloaded.
    let plugin = unsafe { Plugin::from_entry(entry()) }.unwrap();
    let (settings, secrets) = device(1, &format!("{verb}:1 {fault}"));
    let (instance, _identity) = plugin.open(&settings, &secrets, None).unwrap();
    let (usage, id) = (Usage::Aead, KeyId([7; 16]));
    let spec = KeySpec { usage, algorithm: usage.default_algorithm(), id, state: None };
    let blob = instance.generate(&spec).unwrap().0;
    let key = KeyRef { usage, id, blob: &blob };
    let input = AeadInput { iv: b"0123456", aad: b"aad", text: b"text" };
    let there_and_back = || {
        let sealed = instance.aead_encrypt(key, input)?;
        instance.aead_decrypt(key, AeadInput { text: &sealed, ..input })
    };
    assert_eq!(there_and_back().unwrap_err().kind, expected);
    assert_eq!(there_and_back().unwrap().expose(), b"text");
}

#[test]
fn fault_of_an_encryption_is_found_out() {
    check_aead("aead_encrypt", "empty", ErrorKind::Internal);
    check_aead("aead_encrypt", "long", ErrorKind::Internal);
    check_aead("aead_encrypt", "wrong", ErrorKind::Integrity);
    check_aead("aead_encrypt", "locked_out", ErrorKind::LockedOut);
}

#[test]
fn fault_of_a_decryption_is_found_out() {
    check_aead("aead_decrypt", "empty", ErrorKind::Internal);
    check_aead("aead_decrypt", "long", ErrorKind::Internal);
    check_aead("aead_decrypt", "after gone", ErrorKind::DeviceGone);
}

#[test]
fn provider_behind_it_keeps_the_whole_contract() {
    #[expect(unsafe_code, reason = "functions of a library are called")]
    fn run() -> Result<(), Vec<String>> {
        let setup = conformance::Setup {
            entry: entry(),
            device: &|| device(1, ""),
            other_device: &|| device(2, ""),
            verify: &|point, digest, signature| verifies(point, digest, signature),
            // The software provider has no rsa keys, so nothing is to be verified.
            verify_rsa: &|_, _, _| false,
        };
        // SAFETY: the entry is that of a library that is never unloaded.
        unsafe { conformance::run(&setup) }
    }
    assert_eq!(run(), Ok(()));
}

fn verifies(point: &[u8; 65], digest: &[u8; 32], signature: &[u8; 64]) -> bool {
    use aws_lc_rs::digest::{Digest, SHA256};
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
    let digest = Digest::import_less_safe(digest, &SHA256).unwrap();
    let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).unwrap();
    key.verify_digest_sig(&digest, signature).is_ok()
}
