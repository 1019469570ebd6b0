//! The vectors of shared access signatures, signed inside each kind of provider by keys that were
//! imported as their owners have them (S12).
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "an integration test is one module, and its helpers are tests too"
)]

use std::fs;
use std::path::Path;
use std::time::Duration;

use daemon::clock::Clock;
use jiff::Timestamp;
use sas_signer::cache::RENEW_AT_PERCENT;
use sas_signer::key;
use sas_signer::rules::{Grant, RawTemplate, Template, grant};
use sas_signer::signer::Signer;
use sas_signer::slots::Slots;
use sealhost_client::Client;
use serde_json::{Value, json};
use swtpm_fixtures::{SoftHsm, Swtpm};
use tests::{Sealhost, Setup};
use wire::code::Code;
use wire::sas::{ImportRequest, SasKeyName, Slot};

/// Signs every vector on one provider.
fn check(host: &Sealhost, provider: &str, protection: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut signed = 0;
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/sas")).unwrap() {
        let path = entry.unwrap().path();
        let vector: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let name = format!("{provider}/{}", path.file_stem().unwrap().display());
        runtime.block_on(check_vector(host, provider, protection, &name, &vector));
        signed += 1;
    }
    assert!(signed >= 13, "{signed} vectors were found");
}

async fn check_vector(
    host: &Sealhost,
    provider: &str,
    protection: &str,
    name: &str,
    vector: &Value,
) {
    let client = Client::new(host.socket());
    let name: SasKeyName = name.parse().unwrap();
    let import = json!({"key": vector["key"], "form": vector["form"], "providers": [provider]});
    let import: ImportRequest = serde_json::from_value(import).unwrap();
    let imported = key::import(&client, &name, &import, Slot::Primary).await.unwrap();
    let imported = serde_json::to_value(imported).unwrap();
    let expected = json!({
        "key": name, "slot": "primary", "active": "primary",
        "host_key": format!("sas/{name}/primary"), "version": 1, "provider": provider,
        "protection": protection, "origin": "imported-clear",
    });
    assert_eq!(imported, expected);

    let expires_at = vector["expires_at"].as_i64().unwrap();
    let (clock, _hand) = Clock::manual(Timestamp::from_second(expires_at - 3600).unwrap());
    let signer = Signer::new(client, clock, RENEW_AT_PERCENT, Duration::ZERO, Slots::default());
    let reply = signer.token(&granted(&name, vector), 0).await.unwrap();
    let reply = serde_json::to_value(reply).unwrap();
    let expected = json!({
        "token": vector["token"], "expires_at": expires_at, "key": name, "slot": "primary",
        "version": 1, "provider": provider, "protection": protection, "origin": "imported-clear",
        "from_cache": false,
    });
    assert_eq!(reply, expected, "{}", vector["about"]);

    let request = json!({"token": vector["token"], "key": name, "policy": policy(vector)});
    let (verified, _by) = signer.verify(&serde_json::from_value(request).unwrap()).await.unwrap();
    assert!(verified.valid, "{}", vector["about"]);
}

fn granted(name: &SasKeyName, vector: &Value) -> Grant {
    let resource = vector["resource"].as_object().unwrap();
    let mut template = String::from("longest_ttl = \"1h\"\n");
    for field in resource.keys().filter(|field| *field != "profile") {
        match field.as_str() {
            "policy" => template.push_str("policies = [\"*\"]\n"),
            other => template.push_str(&format!("{other} = \"*\"\n")),
        }
    }
    template.push_str(&format!("profile = {}\n", resource["profile"]));
    let template: RawTemplate = toml::from_str(&template).unwrap();
    let request = json!({
        "resource": vector["resource"], "key": name, "encoder": vector["encoder"],
        "order": vector["order"],
    });
    let request = serde_json::from_value(request).unwrap();
    grant(&[Template::check(&template).unwrap()], &request).unwrap()
}

fn policy(vector: &Value) -> Value {
    match vector["resource"]["profile"].as_str().unwrap() {
        "dps-registration" => json!("registration"),
        _ => vector["resource"]["policy"].clone(),
    }
}

#[test]
fn s12_vectors_are_byte_equal_in_software() {
    check(&Setup::soft().start(), "soft", "software");
}

#[test]
fn s12_vectors_are_byte_equal_in_a_tpm() {
    let tpm = Swtpm::start().unwrap();
    check(&Setup::default().with_tpm(&tpm).start(), "tpm", "emulated");
}

#[test]
fn s12_vectors_are_byte_equal_in_a_token() {
    let hsm = SoftHsm::start("sas", "1234").unwrap();
    check(&Setup::default().with_hsm(&hsm).start(), "hsm", "emulated");
}

#[test]
fn key_in_a_slot_is_replaced_only_when_asked_to() {
    let host = Setup::soft().start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = Client::new(host.socket());
    let name: SasKeyName = "k".parse().unwrap();
    let import = |body: Value| {
        let body: ImportRequest = serde_json::from_value(body).unwrap();
        runtime.block_on(key::import(&client, &name, &body, Slot::Secondary))
    };
    let string = "HostName=h.net;DeviceId=d;SharedAccessKey=AAECAwQFBgcICQoLDA0ODw==";
    let body = json!({"connection_string": string});
    assert_eq!(import(body.clone()).unwrap().version, 1);
    assert_eq!(import(body).unwrap_err().code, Code::Conflict);
    let replaced = import(json!({"connection_string": string, "replace": true})).unwrap();
    assert_eq!((replaced.version, replaced.active), (2, Slot::Secondary));
    let other = json!({"connection_string": string, "slot": "secondary"});
    assert_eq!(import(other).unwrap().host_key.as_str(), "sas/k/secondary");
    let wrong = json!({"key": "no base64!", "form": "decoded"});
    assert_eq!(import(wrong).unwrap_err().code, Code::Invalid);
}
