//! Every file of `tests/vectors/sas`, byte by byte.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sas_signer::mac::Mac;
use sas_signer::parse::Received;
use sas_signer::resource::{Resource, lowered};
use sas_signer::token::Unsigned;
use serde::Deserialize;
use wire::sas::{Encoder, KeyForm, Order, Profile, Slot};

use crate::local::Local;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    about: String,
    resource: Profile,
    key: String,
    form: KeyForm,
    encoder: Encoder,
    order: Order,
    expires_at: u64,
    uri: String,
    string_to_sign: String,
    signature: String,
    token: String,
    differs_from: Option<String>,
}

fn read(name: &str) -> Vector {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/sas");
    serde_json::from_slice(&fs::read(directory.join(format!("{name}.json"))).unwrap()).unwrap()
}

async fn check(name: &str) {
    let vector = read(name);
    let about = &vector.about;
    let profile = match vector.encoder.lowers() {
        true => lowered(&vector.resource).unwrap(),
        false => vector.resource.clone(),
    };
    assert_eq!(Resource::of(&profile).as_str(), vector.uri, "{about}");
    let unsigned =
        Unsigned::new(&profile, vector.encoder, vector.order, vector.expires_at).unwrap();
    assert_eq!(unsigned.string_to_sign(), vector.string_to_sign, "{about}");

    let local = Local::default().with(Slot::Primary, &vector.key, vector.form);
    let host_key = "sas/k/primary".parse().unwrap();
    let maced = local.mac(&host_key, vector.string_to_sign.as_bytes()).await.unwrap();
    assert_eq!(STANDARD.encode(maced.mac.as_slice()), vector.signature, "{about}");
    assert_eq!(unsigned.sign(&maced.mac).text(), vector.token, "{about}");

    let received = Received::parse(&vector.token).unwrap();
    assert_eq!(received.string_to_sign(), vector.string_to_sign, "{about}");
    let natural = vector.form == vector.resource.kind().key_form();
    assert_eq!(natural, vector.differs_from.is_none(), "{about}");
    if let Some(other) = vector.differs_from {
        let other = read(&other);
        assert_eq!(vector.string_to_sign, other.string_to_sign, "{about}");
        assert_ne!(vector.signature, other.signature, "{about}");
    }
}

#[tokio::test]
async fn vectors_of_publishers_and_event_hubs_are_byte_equal() {
    for name in ["V01", "V04", "V06", "V16", "V18"] {
        check(name).await;
    }
}

#[tokio::test]
async fn vectors_of_devices_modules_and_registrations_are_byte_equal() {
    for name in ["V08", "V11", "V14", "V15", "V21", "V21-padded"] {
        check(name).await;
    }
}

#[tokio::test]
async fn vectors_of_the_wrong_key_form_differ_from_the_right_one() {
    for name in ["V03", "V10"] {
        check(name).await;
    }
}

#[test]
fn vectors_are_all_run() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/sas");
    let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
    let source = include_str!("vectors.rs");
    for name in names {
        let name = name.into_string().unwrap();
        let stem = name.strip_suffix(".json").unwrap();
        assert!(source.contains(&format!("\"{stem}\"")), "{name} is run by no test");
    }
}
