//! Tokens beside those of Microsoft's own libraries, byte by byte: same key, same resource, same
//! expiry. The libraries are installed by the test, in the versions and with the hashes that
//! `tests/sdk` pins.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "an integration test is one module, and its helpers are tests too"
)]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use daemon::clock::Clock;
use jiff::Timestamp;
use sas_signer::cache::RENEW_AT_PERCENT;
use sas_signer::key;
use sas_signer::rules::{RawTemplate, Template, grant};
use sas_signer::signer::Signer;
use sas_signer::slots::Slots;
use sealhost_client::Client;
use serde_json::{Value, json};
use tests::Setup;
use wire::sas::{ImportRequest, SasKeyName, Slot};

/// When the tokens are made; they live for an hour.
const NOW: i64 = 1_700_000_000;

/// 32 bytes, 64 bytes, and a text that is no base64 but a fine key of Event Hubs.
const K1: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const K2: &str =
    "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw==";
const TEXT: &str = "not base64!";

static INSTALLING: Mutex<()> = Mutex::new(());

/// One token: what a library is asked, and what the signer is.
struct Case {
    library: Value,
    resource: Value,
    key: &'static str,
}

fn case(library: Value, resource: Value, key: &'static str) -> Case {
    let mut library = library;
    library["key"] = key.into();
    Case { library, resource, key }
}

/// Tokens of the signer, over keys in a real host.
fn ours(cases: &[Case], encoder: &str, order: &str) -> Vec<String> {
    let host = Setup::soft().start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = Client::new(host.socket());
        let (clock, _hand) = Clock::manual(Timestamp::from_second(NOW).unwrap());
        let slots = Slots::default();
        let signer = Signer::new(client.clone(), clock, RENEW_AT_PERCENT, Duration::ZERO, slots);
        let mut tokens = Vec::new();
        for (number, case) in cases.iter().enumerate() {
            let name: SasKeyName = format!("sdk/{number}").parse().unwrap();
            let raw = case.resource["profile"].as_str().unwrap().starts_with("event-hubs");
            let form = if raw { "raw" } else { "decoded" };
            let import: ImportRequest =
                serde_json::from_value(json!({"key": case.key, "form": form})).unwrap();
            key::import(&client, &name, &import, Slot::Primary).await.unwrap();
            let request = json!({
                "resource": case.resource, "key": name, "encoder": encoder, "order": order,
            });
            let request = serde_json::from_value(request).unwrap();
            let granted = grant(&[everything_of(&case.resource)], &request).unwrap();
            tokens.push(signer.token(&granted, 0).await.unwrap().token.as_str().to_owned());
        }
        tokens
    })
}

fn everything_of(resource: &Value) -> Template {
    let mut template = format!("profile = {}\nlongest_ttl = \"1h\"\n", resource["profile"]);
    for field in resource.as_object().unwrap().keys() {
        match field.as_str() {
            "profile" | "scheme" => {}
            "policy" => template.push_str("policies = [\"*\"]\n"),
            other => template.push_str(&format!("{other} = \"*\"\n")),
        }
    }
    let template: RawTemplate = toml::from_str(&template).unwrap();
    Template::check(&template).unwrap()
}

/// A directory of the build for these pinned versions, made whole or not at all.
fn installed(pins: &str, install: impl FnOnce(&Path)) -> PathBuf {
    let pins_path = sdk(pins);
    let digest =
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &fs::read(&pins_path).unwrap());
    let digest: String = digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let _one_at_a_time = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("sas-sdk-{digest}"));
    let done = directory.join("done");
    if !done.exists() {
        let _absent_or_half_made = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).unwrap();
        fs::copy(&pins_path, directory.join(pins)).unwrap();
        install(&directory);
        fs::write(done, "").unwrap();
    }
    directory
}

fn sdk(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sdk").join(name)
}

/// Runs a program to its end, with some input, and gives its output.
fn run(command: &mut Command, input: &Value) -> Vec<u8> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?} ended with {}", output.status);
    output.stdout
}

fn tokens_of_python(cases: &[Case]) -> Vec<String> {
    let directory = installed("requirements.txt", |directory| {
        let venv = directory.join("venv");
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv), &Value::Null);
        let mut pip = Command::new(venv.join("bin/pip"));
        pip.args(["install", "--quiet", "--require-hashes", "--requirement"]);
        run(pip.arg(directory.join("requirements.txt")), &Value::Null);
    });
    let cases: Vec<_> = cases.iter().map(|case| &case.library).collect();
    let mut python = Command::new(directory.join("venv/bin/python"));
    let work = json!({"now": NOW, "cases": cases});
    serde_json::from_slice(&run(python.arg(sdk("tokens.py")), &work)).unwrap()
}

fn tokens_of_node(cases: &[Case]) -> Vec<String> {
    let directory = installed("package-lock.json", |directory| {
        fs::copy(sdk("package.json"), directory.join("package.json")).unwrap();
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]);
        run(npm.current_dir(directory), &Value::Null);
    });
    let cases: Vec<_> = cases.iter().map(|case| &case.library).collect();
    let mut node = Command::new("node");
    // Where the program looks for the library.
    node.env("NODE_PATH", directory.join("node_modules")).arg(sdk("tokens.js"));
    let work = json!({"expires_at": NOW + 3600, "cases": cases});
    serde_json::from_slice(&run(&mut node, &work)).unwrap()
}

#[test]
fn tokens_of_devices_and_modules_are_those_of_azure_iot_device() {
    let hub = "myhub.azure-devices.net";
    let mut cases = Vec::new();
    for (device, key) in [("device1", K1), ("Dev_2", K2), ("a-b.c%_*?!(),:@$'z", K1)] {
        cases.push(case(
            json!({"kind": "device", "hub": hub, "device": device}),
            json!({"profile": "iot-hub-device", "hub": hub, "device": device}),
            key,
        ));
        cases.push(case(
            json!({"kind": "module", "hub": hub, "device": device, "module": "$edgeAgent"}),
            json!({
                "profile": "iot-hub-module", "hub": hub, "device": device, "module": "$edgeAgent",
            }),
            key,
        ));
    }
    assert_eq!(ours(&cases, "rfc3986", "sr-sig-se-skn"), tokens_of_python(&cases));
}

#[test]
fn token_of_a_registration_is_that_of_azure_iot_device_with_the_policy_that_dps_documents() {
    let cases = [case(
        json!({"kind": "registration", "id_scope": "0ne000A1B2C", "registration": "reg-1.a_b:c"}),
        json!({
            "profile": "dps-registration", "id_scope": "0ne000A1B2C", "registration": "reg-1.a_b:c",
        }),
        K1,
    )];
    let theirs = tokens_of_python(&cases).into_iter().map(|token| token + "&skn=registration");
    assert_eq!(ours(&cases, "rfc3986", "sr-sig-se-skn"), theirs.collect::<Vec<_>>());
}

#[test]
fn tokens_of_event_hubs_and_publishers_are_those_of_azure_eventhub() {
    let namespace = "contoso.servicebus.windows.net";
    let entity = case(
        json!({
            "kind": "event_hub", "namespace": namespace, "policy": "send1", "entity": "telemetry",
        }),
        json!({
            "profile": "event-hubs-entity", "namespace": namespace, "entity": "telemetry",
            "policy": "send1", "scheme": "sb",
        }),
        TEXT,
    );
    let publisher = |id: &str| {
        case(
            json!({
                "kind": "event_hub", "namespace": namespace, "policy": "send1",
                "entity": format!("telemetry/publishers/{id}"),
            }),
            json!({
                "profile": "event-hubs-publisher", "namespace": namespace, "entity": "telemetry",
                "publisher": id, "policy": "send1", "scheme": "sb",
            }),
            K2,
        )
    };
    let cases = [entity, publisher("0001"), publisher("dev ice+~é(1)!"), publisher("100%&=*'")];
    assert_eq!(ours(&cases, "quote-plus", "sr-sig-se-skn"), tokens_of_python(&cases));
}

#[test]
fn tokens_of_every_profile_of_iot_are_those_of_azure_iot_common() {
    let of = |uri: &str, policy: Option<&str>, resource: Value| {
        case(json!({"uri": uri, "policy": policy}), resource, K1)
    };
    let hub = "myhub.azure-devices.net";
    let cases = [
        of(
            "myhub.azure-devices.net/devices/a-b.c%_*?!(),:=@$'z",
            None,
            json!({"profile": "iot-hub-device", "hub": hub, "device": "a-b.c%_*?!(),:=@$'z"}),
        ),
        of(
            "myhub.azure-devices.net/devices/d/modules/m",
            None,
            json!({"profile": "iot-hub-module", "hub": hub, "device": "d", "module": "m"}),
        ),
        of(
            hub,
            Some("iothubowner"),
            json!({
                "profile": "iot-hub-service", "hub": hub, "policy": "iothubowner", "scope": "hub",
            }),
        ),
        of(
            "myhub.azure-devices.net/devices",
            Some("registryReadWrite"),
            json!({
                "profile": "iot-hub-service", "hub": hub, "policy": "registryReadWrite",
                "scope": "devices",
            }),
        ),
        of(
            "0ne000A1B2C/registrations/reg1",
            Some("registration"),
            json!({
                "profile": "dps-registration", "id_scope": "0ne000A1B2C", "registration": "reg1",
            }),
        ),
    ];
    assert_eq!(ours(&cases, "azure-node", "sr-sig-skn-se"), tokens_of_node(&cases));
}
