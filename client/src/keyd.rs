//! What is asked of the dialect of the aziot Key Service (`docs/keyd.md`), as far as keys are moved
//! into it. Sent by the same clients: a [`Client`](crate::Client) of that socket.

use serde::{Deserialize, Serialize};
use wire::api::{Base64Bytes, SecretBase64};
use wire::code::{Code, Fault, Problem};
use wire::keyd::Kind;
use wire::limits::BODY_MAX_BYTES;

use crate::call::{Call, changing, get, json, post, secret};
use crate::error::Error;

const VERSION: &str = "api-version=2021-05-01";

/// A handle of a key, by which its owner uses it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyHandle {
    /// Opaque.
    #[serde(rename = "keyHandle")]
    pub text: String,
}

/// What an imported key is for, in the words of the dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeydUsage {
    /// AES-256-GCM.
    Encrypt,
    /// HMAC-SHA256; the same as `derive`.
    Sign,
}

/// What `sign` returns: an HMAC-SHA256 or a signature in DER.
#[derive(Debug, Deserialize)]
pub struct KeydSignature {
    /// The bytes.
    pub signature: Base64Bytes<BODY_MAX_BYTES>,
}

/// What `encrypt` returns.
#[derive(Debug, Deserialize)]
pub struct KeydCiphertext {
    /// The byte 2, the ciphertext, the tag of 16 bytes.
    pub ciphertext: Base64Bytes<BODY_MAX_BYTES>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Import<'a> {
    key_id: &'a str,
    usage: KeydUsage,
    key_bytes: SecretBase64<BODY_MAX_BYTES>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Held<'a, P> {
    key_handle: &'a str,
    algorithm: &'static str,
    parameters: P,
    #[serde(skip_serializing_if = "Option::is_none")]
    plaintext: Option<SecretBase64<BODY_MAX_BYTES>>,
}

#[derive(Serialize)]
struct Message {
    message: SecretBase64<BODY_MAX_BYTES>,
}

#[derive(Serialize)]
struct Digest {
    digest: SecretBase64<BODY_MAX_BYTES>,
}

#[derive(Serialize)]
struct Aead {
    iv: SecretBase64<BODY_MAX_BYTES>,
    aad: SecretBase64<BODY_MAX_BYTES>,
}

impl Call<KeyHandle> {
    /// `GET /key/{id}` or `GET /keypair/{id}`: a handle of a key that is there.
    pub fn keyd_handle(kind: Kind, id: &str) -> Self {
        let word = match kind {
            Kind::Key => "key",
            Kind::Pair => "keypair",
        };
        get(&format!("/{word}/{}?{VERSION}", escaped(id)), json)
    }

    /// `POST /key` with the bytes of the key.
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub fn keyd_import(id: &str, usage: KeydUsage, key: &[u8]) -> Result<Self, Error> {
        let request = Import { key_id: id, usage, key_bytes: secret(key)? };
        changing(post(&format!("/key?{VERSION}"), &request, json)?)
    }
}

impl Call<KeydSignature> {
    /// `POST /sign` with a key of usage `sign`: the HMAC-SHA256 of a message.
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub fn keyd_mac(handle: &KeyHandle, message: &[u8]) -> Result<Self, Error> {
        let parameters = Message { message: secret(message)? };
        let (algorithm, key_handle) = ("HMAC-SHA256", handle.text.as_str());
        let request = Held { key_handle, algorithm, parameters, plaintext: None };
        post(&format!("/sign?{VERSION}"), &request, json)
    }

    /// `POST /sign` with a P-256 pair: the signature of a digest.
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub fn keyd_sign(handle: &KeyHandle, digest: &[u8]) -> Result<Self, Error> {
        let parameters = Digest { digest: secret(digest)? };
        let (algorithm, key_handle) = ("ECDSA", handle.text.as_str());
        let request = Held { key_handle, algorithm, parameters, plaintext: None };
        post(&format!("/sign?{VERSION}"), &request, json)
    }
}

impl Call<KeydCiphertext> {
    /// `POST /encrypt` with a key of usage `encrypt`: AES-256-GCM under an IV of the caller's.
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub fn keyd_encrypt(
        handle: &KeyHandle,
        iv: &[u8],
        aad: &[u8],
        plaintext: &[u8],
    ) -> Result<Self, Error> {
        let parameters = Aead { iv: secret(iv)?, aad: secret(aad)? };
        let (algorithm, key_handle) = ("AEAD", handle.text.as_str());
        let plaintext = Some(secret(plaintext)?);
        let request = Held { key_handle, algorithm, parameters, plaintext };
        post(&format!("/encrypt?{VERSION}"), &request, json)
    }
}

/// Reads a refusal of the dialect. `None` for one that has no code, as those of another program.
pub(crate) fn problem(status: u16, request_id: Option<&str>, document: &[u8]) -> Option<Problem> {
    #[derive(Deserialize)]
    struct Refusal {
        message: String,
        code: Code,
    }
    let Refusal { message, code } = serde_json::from_slice(document).ok()?;
    let fault = Fault::new(code, message.replace("\ncaused by: ", ": "));
    Some(Problem { status, ..Problem::new(fault, request_id.unwrap_or_default()) })
}

/// The id as one segment of a path: letters, digits and `-`, `.`, `_`, `~` stand for themselves.
///
/// # Spec
/// RFC 3986 section 2.3.
fn escaped(id: &str) -> String {
    id.bytes().fold(String::new(), |mut segment, byte| {
        match byte {
            b'-' | b'.' | b'_' | b'~' => segment.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => segment.push(char::from(byte)),
            _ => segment.push_str(&format!("%{byte:02X}")),
        }
        segment
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_is_one_segment_of_the_path() {
        let call = Call::keyd_handle(Kind::Pair, "a/b c%é~");
        let line = "Call(GET /keypair/a%2Fb%20c%25%C3%A9~?api-version=2021-05-01)";
        assert_eq!(format!("{call:?}"), line);
    }

    #[test]
    fn refusal_is_read_with_its_code_and_its_causes_on_one_line() {
        let body = br#"{"message":"a\ncaused by: b","code":"conflict"}"#;
        let problem = problem(400, Some("r-1"), body).unwrap();
        assert_eq!((problem.status, problem.code), (400, Code::Conflict));
        assert_eq!((problem.detail.as_str(), problem.instance.as_str()), ("a: b", "r-1"));
    }

    #[test]
    fn refusal_of_another_program_is_none() {
        assert!(problem(400, None, br#"{"message":"not found"}"#).is_none());
        assert!(problem(400, None, br#"{"message":"not found","code":"else"}"#).is_none());
    }
}
