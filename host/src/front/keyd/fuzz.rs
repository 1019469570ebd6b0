//! The bodies of the fuzz targets of this dialect (`docs/fuzzing.md`).
#![expect(clippy::unwrap_used, reason = "what is missing here is what the fuzzer looks for")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use daemon::listener::Endpoint as Listening;
use hyper::body::Bytes;
use serde_json::{Map, Value};
use wire::api::{Protection, Usage};
use wire::keyd::{BadId, Kind, id_of, name_of};
use wire::name::ProviderName;

use super::asked::{Asked, TAG_BYTES, asked};
use super::glob;
use super::handle::{self, DERIVATION_MAX_BYTES, Named};
use super::refused::Refused;
use super::route::{self, Endpoint};
use crate::config::KeydSettings;
use crate::front::connection;
use crate::request::{
    Claims, Handle, HandleRequest, HandleTerms, HeldRequest, NONCE_BYTES, Request,
};

/// Longest message, bytes: that of a version of 32 characters, each escaped.
const MESSAGE_MAX_BYTES: usize = 512;
/// What a field holds that no message may repeat, and what it is the base64 of.
const MARKER: &str = "TUFSS0VSTUFSS0VS";
const MARKED: &str = "MARKERMARKER";
/// The same as `Debug` shows bytes.
const MARKED_BYTES: &str = "77, 65, 82, 75, 69, 82";
/// The fields that hold secrets.
const SECRETS: [&str; 3] = ["plaintext", "keyBytes", "message"];

/// The bytes of a connection: heads, ids, bodies.
pub fn http_keyd(data: &[u8]) {
    connection::requests(data, |head, body| {
        let uri = &head.uri;
        let read = route::head(&head.method, uri.path(), uri.query(), &head.headers);
        let head = match read {
            Ok(head) => head,
            Err(refused) => return check_refused(&refused),
        };
        if let Endpoint::Load(kind, id) | Endpoint::Move(kind, id) = &head.endpoint {
            check_id(*kind, id);
        }
        let body = if head.has_json { body } else { &[] };
        check_body(&head.endpoint, body);
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => check_fields(&head.endpoint, &fields),
            Ok(_) | Err(_) => {
                let (begin, end) = body.split_at(body.len() / 2);
                let marked = [begin, MARKER.as_bytes(), end].concat();
                check_silent(&check_body(&head.endpoint, &marked));
            }
        }
    });
}

/// A handle, and the claims of one.
pub fn keyd_handle(data: &[u8]) {
    if let Ok(text) = str::from_utf8(data) {
        check_handle(text);
    }
    check_handle(&format!("sr={}&sig={}", STANDARD.encode(data), STANDARD.encode([9; 32])));
}

/// A pattern, and after the end of its line an id.
pub fn keyd_glob(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (pattern, id) = text.split_once('\n').unwrap_or((&text, ""));
    assert_eq!(glob::matches(pattern, id), reached(pattern, id), "{pattern:?} {id:?}");
}

/// Whether a pattern matches, by all the places of the id that each beginning of it reaches.
fn reached(pattern: &str, id: &str) -> bool {
    let id: Vec<char> = id.chars().collect();
    let mut places = vec![false; id.len() + 1];
    places[0] = true;
    for wanted in pattern.chars() {
        if wanted == '*' {
            let first = places.iter().position(|place| *place).unwrap_or(places.len());
            places[first..].fill(true);
        } else {
            let step = |place: usize| wanted == '?' || id[place] == wanted;
            for place in (0..id.len()).rev() {
                places[place + 1] = places[place] && step(place);
            }
            places[0] = false;
        }
    }
    places[id.len()]
}

/// Every field in turn holds what must not be repeated, also where the handle is a good one.
fn check_fields(endpoint: &Endpoint, fields: &Map<String, Value>) {
    for derived_by in [None, Some(b"data".to_vec())] {
        let mut fields = fields.clone();
        for name in ["keyHandle", "baseKeyHandle"] {
            let text = handle::write(&some_handle(derived_by.clone())).unwrap();
            fields.entry(name).and_modify(|value| *value = text.into());
        }
        let mut fields = Value::Object(fields);
        check_body(endpoint, fields.to_string().as_bytes());
        let mut places = Vec::new();
        for (name, value) in fields.as_object().unwrap() {
            places.push((format!("/{}", escaped(name)), name.clone()));
            for (inner, _) in value.as_object().into_iter().flatten() {
                places.push((format!("/{}/{}", escaped(name), escaped(inner)), inner.clone()));
            }
        }
        for (place, name) in places.into_iter().take(16) {
            let field = fields.pointer_mut(&place).unwrap();
            let before = std::mem::replace(field, MARKER.into());
            let marked = fields.to_string();
            let said = check_body(endpoint, marked.as_bytes());
            check_silent(&said);
            if SECRETS.contains(&&*name) {
                check_hidden(endpoint, marked.as_bytes());
            }
            *fields.pointer_mut(&place).unwrap() = before;
        }
    }
}

/// A name as a part of a JSON pointer (RFC 6901 section 3).
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// What is said of a body, nothing if it is taken.
fn check_body(endpoint: &Endpoint, body: &[u8]) -> String {
    let body = Bytes::copy_from_slice(body);
    let mut said = String::new();
    for generous in [false, true] {
        match asked(endpoint, &body, &settings(generous)) {
            Ok(Asked::One(request, _)) => check_request(&request, generous),
            Ok(Asked::FindOrCreate(name, terms)) => {
                assert!(id_of(name.as_str()).is_some());
                check_terms(&terms, generous);
            }
            Err(refused) => {
                check_refused(&refused);
                said.push_str(&refused.message(7));
            }
        }
    }
    said
}

fn check_request(request: &Request, generous: bool) {
    let id = request.key().and_then(|key| id_of(key.as_str()));
    let (kind, id) = id.unwrap();
    check_id(kind, &id);
    if let Request::Handle(_, HandleRequest::Import(terms, import)) = request {
        assert_eq!(import.replace, generous);
        check_terms(terms, generous);
    }
    let Request::Held(handle, request) = request else { return };
    check_returns(handle);
    if let HeldRequest::Decrypt { with, .. } | HeldRequest::Encrypt { with, .. } = request {
        assert!(!with.iv.is_empty());
    }
    if let HeldRequest::Decrypt { ciphertext, .. } = request {
        assert!(ciphertext.len() >= TAG_BYTES);
    }
    if let HeldRequest::Derive(data) = request {
        assert!(data.len() <= DERIVATION_MAX_BYTES);
    }
}

fn check_terms(terms: &HandleTerms, generous: bool) {
    assert!(!terms.kinds.is_empty());
    assert!(generous || terms.kinds.iter().all(|(usage, _)| *usage != Usage::Rsa));
}

fn check_refused(refused: &Refused) {
    let message = refused.message(7);
    assert!(message.len() <= MESSAGE_MAX_BYTES, "{} bytes: {message}", message.len());
    let status = refused.status();
    assert!(status.is_client_error(), "{status}");
    assert_eq!(refused.fault().code.http_status() / 100, 4);
}

fn check_silent(said: &str) {
    assert!(!said.contains(MARKER) && !said.contains(MARKED), "{said}");
}

/// A secret is not shown by `Debug` either.
fn check_hidden(endpoint: &Endpoint, body: &[u8]) {
    let asked = asked(endpoint, &Bytes::copy_from_slice(body), &settings(true));
    let shown = format!("{asked:?}");
    check_silent(&shown);
    assert!(!shown.contains(MARKED_BYTES), "{shown}");
}

fn check_id(kind: Kind, id: &str) {
    match name_of(kind, id) {
        Ok(name) => assert_eq!(id_of(name.as_str()), Some((kind, id.to_owned()))),
        Err(BadId::Invalid(why)) => assert!(why.len() <= 64),
        Err(BadId::Reserved) => check_refused(&Refused::Reserved(id.to_owned())),
    }
}

fn check_handle(text: &str) {
    if let Some(Named { handle, kind }) = handle::read(text) {
        assert_eq!(id_of(handle.claims.key.as_str()).map(|(kind, _)| kind), Some(kind));
        check_returns(&handle);
    }
}

/// A handle that was read is written so that it is read as the same.
fn check_returns(handle: &Handle) {
    let text = handle::write(handle).unwrap();
    assert_eq!(handle::read(&text).map(|named| named.handle).as_ref(), Some(handle));
    assert_eq!(handle::write(handle), Some(text));
}

fn some_handle(derived_by: Option<Vec<u8>>) -> Handle {
    let claims = Claims {
        key: name_of(Kind::Key, "a").unwrap(),
        generation: 1,
        uid: 7,
        provider: ProviderName::parse("tpm").unwrap(),
        derived_by,
        nonce: [7; NONCE_BYTES],
    };
    Handle { claims, mac: [9; 32] }
}

fn settings(generous: bool) -> KeydSettings {
    let listen = Listening { path: "/k".into(), mode: 0o660, group: None };
    KeydSettings {
        listen,
        providers: None,
        floor: Protection::Software,
        rsa: generous,
        import_over: generous,
        refuse_repeated_ivs: generous,
    }
}
