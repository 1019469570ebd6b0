//! The dialect of the aziot Key Service, as a client speaks it.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::http::{self, Response, b64, bytes};
use crate::{Sealhost, Setup, User};

/// The version that the first clients ask for.
pub const VERSION: &str = "api-version=2020-09-01";

impl Setup {
    /// Switches the dialect on, for keys in these providers and root with every id; `more` is added
    /// to `[keyd]`.
    #[must_use]
    pub fn with_keyd(self, providers: &[&str], more: &str) -> Self {
        let root = "[[keyd.principal]]\nuid = 0\nkeys = [\"*\"]\n";
        self.with_keyd_for(providers, more, root)
    }

    /// The same for other principals.
    #[must_use]
    pub fn with_keyd_for(self, providers: &[&str], more: &str, principals: &str) -> Self {
        let keyd = format!("[keyd]\nproviders = {providers:?}\n{more}\n{principals}");
        let mut setup = self;
        setup.keyd = Some(keyd);
        setup
    }
}

impl Setup {
    /// Whether it has a provider of this name.
    #[must_use]
    pub fn has_provider(&self, name: &str) -> bool {
        self.providers_text().contains(&format!("name = \"{name}\""))
    }
}

impl Sealhost {
    /// Its socket for the dialect.
    #[must_use]
    pub fn keyd_socket(&self) -> PathBuf {
        self.dir().join("keyd.sock")
    }

    /// Sends a request of the dialect.
    #[must_use]
    pub fn keyd(&self, method: &str, path: &str, body: &Value) -> Response {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        http::request(&self.keyd_socket(), method, &versioned(path), body.as_bytes())
    }

    /// The same as another user.
    #[must_use]
    pub fn keyd_as(&self, uid: u32, method: &str, path: &str, body: &Value) -> Response {
        User::new(uid).does(|| self.keyd(method, path, body))
    }

    /// Makes a key and returns a handle of it.
    #[must_use]
    #[track_caller]
    pub fn keyd_create(&self, id: &str, usage: &str) -> String {
        self.keyd("POST", "/key", &json!({"keyId": id, "usage": usage})).text("keyHandle")
    }

    /// Imports a key and returns a handle of it.
    #[must_use]
    #[track_caller]
    pub fn keyd_import(&self, id: &str, usage: &str, key: &[u8]) -> String {
        let body = json!({"keyId": id, "usage": usage, "keyBytes": b64(key)});
        self.keyd("POST", "/key", &body).text("keyHandle")
    }

    /// Makes a key pair and returns a handle of it.
    #[must_use]
    #[track_caller]
    pub fn keyd_pair(&self, id: &str, preferred: &str) -> String {
        let body = json!({"keyId": id, "preferredAlgorithms": preferred});
        self.keyd("POST", "/keypair", &body).text("keyHandle")
    }

    /// A handle of a key that is there.
    #[must_use]
    pub fn keyd_load(&self, path: &str) -> Response {
        self.keyd("GET", path, &Value::Null)
    }
}

/// A path with the version.
#[must_use]
pub fn versioned(path: &str) -> String {
    if path.contains('?') { path.to_owned() } else { format!("{path}?{VERSION}") }
}

/// The body that encrypts.
#[must_use]
pub fn encrypt(handle: &str, iv: &[u8], aad: &[u8], plaintext: &[u8]) -> Value {
    json!({
        "keyHandle": handle,
        "algorithm": "AEAD",
        "plaintext": b64(plaintext),
        "parameters": {"iv": b64(iv), "aad": b64(aad)},
    })
}

/// The body that decrypts.
#[must_use]
pub fn decrypt(handle: &str, iv: &[u8], aad: &[u8], ciphertext: &str) -> Value {
    json!({
        "keyHandle": handle,
        "algorithm": "AEAD",
        "ciphertext": ciphertext,
        "parameters": {"iv": b64(iv), "aad": b64(aad)},
    })
}

/// The body that signs a message with a symmetric key.
#[must_use]
pub fn sign(handle: &str, message: &[u8]) -> Value {
    json!({
        "keyHandle": handle,
        "algorithm": "HMAC-SHA256",
        "parameters": {"message": b64(message)},
    })
}

/// The body that signs a digest with a key pair.
#[must_use]
pub fn sign_digest(handle: &str, digest: &[u8]) -> Value {
    json!({"keyHandle": handle, "algorithm": "ECDSA", "parameters": {"digest": b64(digest)}})
}

/// The bytes of a field.
#[must_use]
#[track_caller]
pub fn bytes_of(response: &Response, field: &str) -> Vec<u8> {
    bytes(&response.ok()[field])
}

/// Compares status and message of a refusal.
///
/// # Panics
/// When they differ.
#[track_caller]
pub fn refused(response: &Response, status: u16, message: &str) {
    let body = response.json();
    assert_eq!((response.status, body["message"].as_str()), (status, Some(message)), "{body}");
    assert!(response.head.to_lowercase().contains("content-type: application/json"));
    assert!(body["code"].is_string(), "{body}");
}
