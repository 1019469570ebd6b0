//! Whole files: what they mean, and how they are opened.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use daemon::rules::{RawPrincipal, RawRule};

use crate::plugin::Confinement;

use super::*;

/// The example of the project's design, with the sections that it leaves out.
pub(super) const EXAMPLE: &str = r#"
[listen]
socket = "/run/sealhost/sealhost.sock"
mode = "0666"
group = "edge"

[state]
dir = "/var/lib/sealhost"

[plugins]
dir = "/usr/lib/sealhost"

[[provider]]
name = "tpm"
plugin = "provider_tpm"
[provider.settings]
tcti = "device:/dev/tpmrm0"

[[provider]]
name = "hsm"
plugin = "provider_pkcs11"
sha256 = "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F"
protection = "emulated"
[provider.settings]
module = "/usr/lib/softhsm/libsofthsm2.so"
token = "pkcs11:token=edge"
sessions = 4
strict = true
pin_source = "credential:hsm-pin"
[provider.env]
SOFTHSM2_CONF = "/etc/sealhost/softhsm2.conf"
[provider.deadlines]
open = "1m"
queue = "500ms"
generate = "60m"
mac = "10s"
queue_length = 16

[[provider]]
name = "soft"
plugin = "/opt/soft.so"
isolation = "in-process"
[provider.settings]
root_source = "sealed:/etc/sealhost/root"

[selection]
order = ["tpm", "soft"]
floor = "software"
fallback_after = "20ms"

[[rule]]
principal = { uid = 1000 }
keys = ["secrets/*"]
operations = ["seal", "unseal"]

[[rule]]
principal = { group = "root" }
operations = ["status", "list"]

[audit]
path = "/var/log/sealhost/audit.log"
rotate_bytes = 16777216
keep = 60

[limits]
connections = 100
connections_per_uid = 50
in_flight = 10
in_flight_per_uid = 5
rate_per_uid = 6
burst_per_uid = 7
body_bytes = 4194306
body_bytes_per_uid = 4194305
write_timeout = "4s"
head_timeout = "1s"
body_timeout = "2s"
drain_timeout = "3s"

[sandbox]
level = "required"
"#;

const DEADLINES: Deadlines = Deadlines {
    open: Duration::from_secs(10),
    queue: Duration::from_secs(5),
    generate: Duration::from_secs(120),
    mac: Duration::from_secs(5),
    queue_length: 768,
    queue_length_per_uid: 512,
};

fn provider(name: &str, path: &str) -> ProviderConfig {
    ProviderConfig {
        name: super::name(name),
        source: PluginSource {
            provider: name.into(),
            path: path.into(),
            sha256: None,
            isolation: Isolation::Process,
            environment: Vec::new(),
            confinement: Confinement::default(),
        },
        protection: None,
        settings: Settings::default(),
        secrets: Vec::new(),
        deadlines: DEADLINES,
        condition_every: Duration::from_secs(60),
    }
}

fn example() -> Config {
    let raw = [
        RawRule {
            principal: RawPrincipal { uid: Some(1000), ..RawPrincipal::default() },
            keys: vec!["secrets/*".into()],
            operations: vec!["seal".into(), "unseal".into()],
        },
        RawRule {
            principal: RawPrincipal { group: Some("root".into()), ..RawPrincipal::default() },
            keys: Vec::new(),
            operations: vec!["status".into(), "list".into()],
        },
    ];
    let tpm = ProviderConfig {
        settings: Settings::new([("tcti", "device:/dev/tpmrm0")]),
        ..provider("tpm", "/usr/lib/sealhost/libprovider_tpm.so")
    };
    let hsm = ProviderConfig {
        name: name("hsm"),
        source: PluginSource {
            provider: "hsm".into(),
            path: "/usr/lib/sealhost/libprovider_pkcs11.so".into(),
            sha256: Some(std::array::from_fn(|index| u8::try_from(index).unwrap())),
            isolation: Isolation::Process,
            environment: vec![("SOFTHSM2_CONF".into(), "/etc/sealhost/softhsm2.conf".into())],
            confinement: Confinement::default(),
        },
        protection: Some(Protection::Emulated),
        settings: Settings::new([
            ("module", "/usr/lib/softhsm/libsofthsm2.so"),
            ("token", "pkcs11:token=edge"),
            ("sessions", "4"),
            ("strict", "true"),
        ]),
        secrets: vec![("pin".into(), SecretSource::Credential("hsm-pin".into()))],
        deadlines: Deadlines {
            open: Duration::from_secs(60),
            queue: Duration::from_millis(500),
            generate: Duration::from_secs(3600),
            mac: Duration::from_secs(10),
            queue_length: 16,
            queue_length_per_uid: 11,
        },
        condition_every: Duration::from_secs(60),
    };
    let mut soft = ProviderConfig {
        secrets: vec![("root".into(), SecretSource::Sealed("/etc/sealhost/root".into()))],
        ..provider("soft", "/opt/soft.so")
    };
    soft.source.isolation = Isolation::InProcess;
    Config {
        listen: Endpoint {
            path: "/run/sealhost/sealhost.sock".into(),
            mode: 0o666,
            group: Some("edge".into()),
        },
        state_dir: "/var/lib/sealhost".into(),
        providers: vec![tpm, hsm, soft],
        selection: Selection {
            order: vec![name("tpm"), name("soft")],
            floor: Protection::Software,
            fallback_after: Duration::from_millis(20),
        },
        rules: Rules::check(&raw, OPERATIONS).unwrap(),
        audit: audit::Settings {
            path: "/var/log/sealhost/audit.log".into(),
            rotate_bytes: 16 * 1024 * 1024,
            keep: Some(60),
        },
        limits: Limits {
            connections: 100,
            connections_per_uid: 50,
            in_flight: 10,
            in_flight_per_uid: 5,
            rate_per_uid: std::num::NonZeroU32::new(6),
            burst_per_uid: std::num::NonZeroU32::new(7),
            body_bytes: 4_194_306,
            body_bytes_per_uid: 4_194_305,
        },
        timeouts: Timeouts {
            head: Duration::from_secs(1),
            body: Duration::from_secs(2),
            write: Duration::from_secs(4),
            drain: Duration::from_secs(3),
        },
        sandbox: Demand::Required,
        keyd: None,
    }
}

fn check_parsed(text: &str, expected: &Config) {
    assert_eq!(format!("{:#?}", parse(text)), format!("{expected:#?}"));
}

/// Writes a file of these bytes and mode, and loads it.
fn load(content: &[u8], mode: u32) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sealhost.toml");
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    Config::load(&path)
}

#[track_caller]
fn check_error(text: &str, expected: &str) {
    assert_eq!(read(text).unwrap_err().to_string(), expected);
}

#[test]
fn example_is_read_in_full() {
    check_parsed(EXAMPLE, &example());
}

#[test]
fn shortest_file_has_every_default() {
    let mut soft = provider("soft", "/usr/lib/libprovider_soft.so");
    soft.secrets = vec![("root".into(), SecretSource::Generated)];
    let expected = Config {
        listen: Endpoint { path: "/run/sealhost.sock".into(), mode: 0o660, group: None },
        state_dir: "/var/lib/sealhost".into(),
        providers: vec![soft],
        selection: Selection {
            order: vec![name("soft")],
            floor: Protection::Hardware,
            fallback_after: Duration::from_secs(10),
        },
        rules: Rules::none(OPERATIONS),
        audit: audit::Settings::at("/var/log/sealhost.log"),
        limits: Limits::default(),
        timeouts: Timeouts::default(),
        sandbox: Demand::Full,
        keyd: None,
    };
    check_parsed(SHORTEST, &expected);
}

#[test]
fn in_process_provider_and_missing_rules_are_warned_of() {
    assert_eq!(parse(EXAMPLE).warnings(), [Warning::InProcess(name("soft"))]);
    assert_eq!(parse(SHORTEST).warnings(), [Warning::NoRules]);
}

#[test]
fn file_of_root_is_loaded() {
    assert_eq!(load(EXAMPLE.as_bytes(), 0o644).unwrap().providers.len(), 3);
}

#[test]
fn every_fault_of_a_file_is_listed_with_the_file_and_the_key() {
    let text = r#"
[listen]
mode = 660
[state]
dir = "state"
[[provider]]
name = "soft"
plugin = "provider_soft"
isolation = "thread"
"#;
    check_error(
        text,
        "/f: [listen] socket: is missing; add for example: \
         socket = \"/run/sealhost/sealhost.sock\"\n\
         /f: [listen] mode: is a whole number; give octal digits in quotes, such as \"0660\"\n\
         /f: [state] dir: \"state\" is not an absolute path; begin it with \"/\"\n\
         /f: [[provider]] #1 (\"soft\") plugin: is a bare name and no directory is given; add \
         [plugins] dir, or give the absolute path of the plugin\n\
         /f: [[provider]] #1 (\"soft\") isolation: \"thread\" is not known; use \"process\" or \
         \"in-process\"\n\
         /f: [audit] path: is missing; add for example: path = \"/var/log/sealhost/audit.log\"",
    );
}

#[test]
fn empty_file_misses_what_has_no_default() {
    check(
        "",
        &[
            "[listen] socket: is missing",
            "[state] dir: is missing",
            "[[provider]]: is missing; add at least one provider",
            "[audit] path: is missing",
        ],
    );
}
