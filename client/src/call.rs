//! Every request of `docs/api.md`, once: what is sent, and what its reply is read as.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use wire::api::{
    Base64Array, CounterList, CounterReply, CreateCounterRequest, CreateRequest,
    DestroyCounterReply, DestroyReply, ImportRequest, IncrementRequest, ItemResult, KeyList,
    KeyRecord, MacItem, MacReply, OneOrResults, ProviderList, ProviderStatus, PublicReply,
    RandomReply, RandomRequest, RewrapItem, RewrapReply, RotateRequest, SealItem, SealReply,
    SealedText, SecretBase64, SignReply, SignRequest, Status, UnsealItem, UnsealReply,
    VerifyAuditReply, VerifyAuditRequest, VerifyReply, VerifyRequest,
};
use wire::code::{Code, Fault};
use wire::context::EncryptionContext;
use wire::limits::{BODY_MAX_BYTES, DIGEST_BYTES, MAC_BYTES};
use wire::name::{KeyName, ProviderName};
use zeroize::Zeroizing;

use crate::buffer::WipedBuffer;
use crate::connection::Message;
use crate::error::{Error, ProtocolError};

/// A request, ready to be sent, as often as wanted.
///
/// # Limits
/// Those of `docs/api.md` section 1. A body over 4 MiB, or a plaintext or message over its own
/// limit, is [`Error::Limit`] when the call is made; what else the host refuses, it says.
///
/// # Secrets
/// The body is wiped when the call is dropped. `Debug` shows method and path.
pub struct Call<T> {
    line: String,
    message: Message,
    is_change: bool,
    decode: Box<Decode<T>>,
}

type Decode<T> = dyn Fn(&[u8]) -> Result<T, ProtocolError> + Send + Sync;

/// A reply: what it says, and the document as it came.
///
/// # Secrets
/// The document is wiped when dropped. `Debug` shows neither.
pub struct Reply<T> {
    /// What the reply says.
    pub value: T,
    /// The body as it came: JSON, but for metrics.
    pub document: Zeroizing<Vec<u8>>,
    /// The request id, as in the audit.
    pub request_id: Option<String>,
}

impl<T> fmt::Debug for Call<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Call({})", self.line)
    }
}

impl<T> fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reply({:?}, {} bytes)", self.request_id, self.document.len())
    }
}

impl<T> Call<T> {
    pub(crate) fn message(&self) -> &Message {
        &self.message
    }

    /// Whether it changes a key, a counter or a secret, so that it is not sent twice.
    pub(crate) fn is_change(&self) -> bool {
        self.is_change
    }

    /// The same call, known as one that changes something.
    pub(crate) fn change(self) -> Self {
        Self { is_change: true, ..self }
    }

    pub(crate) fn decode(&self, body: &[u8]) -> Result<T, ProtocolError> {
        (self.decode)(body)
    }
}

impl Call<KeyRecord> {
    /// `POST /v1/keys/{name}`: makes a key.
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub fn create(name: &KeyName, request: &CreateRequest) -> Result<Self, Error> {
        changing(post(&key_path(name, ""), request, json)?)
    }

    /// `POST /v1/keys/{name}/import`: imports an HMAC key, or the private number of a P-256 key.
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub fn import(name: &KeyName, request: &ImportRequest) -> Result<Self, Error> {
        changing(post(&key_path(name, "/import"), request, json)?)
    }

    /// `POST /v1/keys/{name}/rotate`: makes a new active version.
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub fn rotate(name: &KeyName) -> Result<Self, Error> {
        changing(post(&key_path(name, "/rotate"), &RotateRequest {}, json)?)
    }

    /// `GET /v1/keys/{name}`: the key record.
    pub fn key(name: &KeyName) -> Self {
        get(&key_path(name, ""), json)
    }
}

impl Call<KeyList> {
    /// `GET /v1/keys`: the keys that the caller may know of.
    pub fn keys() -> Self {
        get("/v1/keys", json)
    }
}

impl Call<DestroyReply> {
    /// `DELETE /v1/keys/{name}`: destroys every version. The name is confirmed by being given.
    pub fn destroy(name: &KeyName) -> Self {
        let path = key_path(name, &format!("?confirm={}", name.to_path_segment()));
        call("DELETE", &path, None, json).change()
    }
}

impl Call<SealReply> {
    /// `POST /v1/keys/{name}/seal`, one item.
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub fn seal(
        name: &KeyName,
        plaintext: &[u8],
        context: &EncryptionContext,
    ) -> Result<Self, Error> {
        let item = SealItem { plaintext: secret(plaintext)?, context: context.clone() };
        post(&key_path(name, "/seal"), &item, json)
    }
}

impl Call<Vec<ItemResult<SealReply>>> {
    /// `POST /v1/keys/{name}/seal`, a batch.
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub fn seal_batch(name: &KeyName, items: &[SealItem]) -> Result<Self, Error> {
        batch(&key_path(name, "/seal"), items)
    }
}

impl Call<UnsealReply> {
    /// `POST /v1/keys/{name}/unseal`, one item.
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub fn unseal(
        name: &KeyName,
        sealed: &SealedText,
        context: &EncryptionContext,
    ) -> Result<Self, Error> {
        let item = UnsealItem { sealed: sealed.clone(), context: context.clone() };
        post(&key_path(name, "/unseal"), &item, json)
    }
}

impl Call<Vec<ItemResult<UnsealReply>>> {
    /// `POST /v1/keys/{name}/unseal`, a batch.
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub fn unseal_batch(name: &KeyName, items: &[UnsealItem]) -> Result<Self, Error> {
        batch(&key_path(name, "/unseal"), items)
    }
}

impl Call<RewrapReply> {
    /// `POST /v1/keys/{name}/rewrap`, one item.
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub fn rewrap(name: &KeyName, item: &RewrapItem) -> Result<Self, Error> {
        post(&key_path(name, "/rewrap"), item, json)
    }
}

impl Call<Vec<ItemResult<RewrapReply>>> {
    /// `POST /v1/keys/{name}/rewrap`, a batch.
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub fn rewrap_batch(name: &KeyName, items: &[RewrapItem]) -> Result<Self, Error> {
        batch(&key_path(name, "/rewrap"), items)
    }
}

impl Call<MacReply> {
    /// `POST /v1/keys/{name}/mac`, one item; the active version when none is given.
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub fn mac(name: &KeyName, message: &[u8], version: Option<u32>) -> Result<Self, Error> {
        let item = MacItem { message: secret(message)?, version };
        post(&key_path(name, "/mac"), &item, json)
    }
}

impl Call<Vec<ItemResult<MacReply>>> {
    /// `POST /v1/keys/{name}/mac`, a batch.
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub fn mac_batch(name: &KeyName, items: &[MacItem]) -> Result<Self, Error> {
        batch(&key_path(name, "/mac"), items)
    }
}

impl Call<VerifyReply> {
    /// `POST /v1/keys/{name}/verify`; every usable version is tried when none is given.
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub fn verify(
        name: &KeyName,
        message: &[u8],
        mac: &[u8; MAC_BYTES],
        version: Option<u32>,
    ) -> Result<Self, Error> {
        let message = secret(message)?;
        let request = VerifyRequest { message, mac: Base64Array::new(*mac), version };
        post(&key_path(name, "/verify"), &request, json)
    }
}

impl Call<SignReply> {
    /// `POST /v1/keys/{name}/sign`; the active version when none is given.
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub fn sign(
        name: &KeyName,
        digest: &[u8; DIGEST_BYTES],
        version: Option<u32>,
    ) -> Result<Self, Error> {
        let request = SignRequest { digest: Base64Array::new(*digest), version };
        post(&key_path(name, "/sign"), &request, json)
    }
}

impl Call<PublicReply> {
    /// `GET /v1/keys/{name}/public`; the active version when none is given.
    pub fn public(name: &KeyName, version: Option<u32>) -> Self {
        let query = version.map(|version| format!("?version={version}")).unwrap_or_default();
        get(&key_path(name, &format!("/public{query}")), json)
    }
}

impl Call<CounterReply> {
    /// `POST /v1/counters/{name}`: makes a counter.
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub fn create_counter(name: &KeyName, request: &CreateCounterRequest) -> Result<Self, Error> {
        changing(post(&counter_path(name, ""), request, json)?)
    }

    /// `POST /v1/counters/{name}/increment`: raises a counter, from this value only if one is given.
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub fn increment_counter(name: &KeyName, from: Option<u64>) -> Result<Self, Error> {
        changing(post(&counter_path(name, "/increment"), &IncrementRequest { from }, json)?)
    }

    /// `GET /v1/counters/{name}`: a counter and its value.
    pub fn counter(name: &KeyName) -> Self {
        get(&counter_path(name, ""), json)
    }
}

impl Call<CounterList> {
    /// `GET /v1/counters`: the counters that the caller may know of.
    pub fn counters() -> Self {
        get("/v1/counters", json)
    }
}

impl Call<DestroyCounterReply> {
    /// `DELETE /v1/counters/{name}`: destroys a counter. The name is confirmed by being given.
    pub fn destroy_counter(name: &KeyName) -> Self {
        let path = counter_path(name, &format!("?confirm={}", name.to_path_segment()));
        call("DELETE", &path, None, json).change()
    }
}

impl Call<RandomReply> {
    /// `POST /v1/random`.
    ///
    /// # Limits
    /// 1 to 1,024 bytes, as the host checks.
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub fn random(bytes: usize) -> Result<Self, Error> {
        post("/v1/random", &RandomRequest { bytes }, json)
    }
}

impl Call<Status> {
    /// `GET /v1/status`.
    pub fn status() -> Self {
        get("/v1/status", json)
    }
}

impl Call<ProviderList> {
    /// `GET /v1/providers`.
    pub fn providers() -> Self {
        get("/v1/providers", json)
    }
}

impl Call<ProviderStatus> {
    /// `POST /v1/providers/{name}/retry`: tries a provider again, a refused PIN included.
    pub fn retry_provider(name: &ProviderName) -> Self {
        call("POST", &format!("/v1/providers/{name}/retry"), Some(Zeroizing::default()), json)
    }
}

impl Call<VerifyAuditReply> {
    /// `POST /v1/audit/verify`: says of checkpoint lines of the audit whether they are the host's.
    ///
    /// # Limits
    /// 256 lines, as the host checks.
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub fn verify_audit(checkpoints: Vec<String>) -> Result<Self, Error> {
        let checkpoints = Some(checkpoints).filter(|lines| !lines.is_empty());
        post("/v1/audit/verify", &VerifyAuditRequest { checkpoints }, json)
    }
}

impl Call<String> {
    /// `GET /metrics`: counters in the Prometheus text format.
    pub fn metrics() -> Self {
        get("/metrics", |body| {
            let text = std::str::from_utf8(body);
            text.map(str::to_owned).map_err(|_error| ProtocolError::Body { line: 0, column: 0 })
        })
    }
}

fn key_path(name: &KeyName, rest: &str) -> String {
    format!("/v1/keys/{}{rest}", name.to_path_segment())
}

fn counter_path(name: &KeyName, rest: &str) -> String {
    format!("/v1/counters/{}{rest}", name.to_path_segment())
}

pub(crate) fn secret<const MAX: usize>(bytes: &[u8]) -> Result<SecretBase64<MAX>, Error> {
    SecretBase64::new(Zeroizing::new(bytes.to_vec())).map_err(Error::Limit)
}

pub(crate) fn changing<T>(call: Call<T>) -> Result<Call<T>, Error> {
    Ok(call.change())
}

pub(crate) fn get<T>(path: &str, decode: fn(&[u8]) -> Result<T, ProtocolError>) -> Call<T>
where
    T: 'static,
{
    call("GET", path, None, decode)
}

pub(crate) fn post<T: 'static>(
    path: &str,
    request: &impl Serialize,
    decode: impl Fn(&[u8]) -> Result<T, ProtocolError> + Send + Sync + 'static,
) -> Result<Call<T>, Error> {
    with_body("POST", path, request, decode)
}

/// A call whose body is a JSON document.
pub(crate) fn with_body<T: 'static>(
    method: &str,
    path: &str,
    request: &impl Serialize,
    decode: impl Fn(&[u8]) -> Result<T, ProtocolError> + Send + Sync + 'static,
) -> Result<Call<T>, Error> {
    let mut body = WipedBuffer::new(BODY_MAX_BYTES);
    serde_json::to_writer(&mut body, request).map_err(|_error| {
        let detail = format!("body exceeds limit of {BODY_MAX_BYTES} bytes");
        Error::Limit(Fault::new(Code::TooLarge, detail))
    })?;
    Ok(call(method, path, Some(body.into_bytes()), decode))
}

/// The reply to a batch has one result per item.
fn batch<I: Serialize, R: DeserializeOwned + 'static>(
    path: &str,
    items: &[I],
) -> Result<Call<Vec<ItemResult<R>>>, Error> {
    #[derive(Serialize)]
    struct Batch<'a, I> {
        items: &'a [I],
    }
    let asked = items.len();
    post(path, &Batch { items }, move |body| match json(body)? {
        OneOrResults::Items(results) if results.len() == asked => Ok(results),
        OneOrResults::Items(_) | OneOrResults::One(_) => {
            Err(ProtocolError::Body { line: 0, column: 0 })
        }
    })
}

/// The path is made of names and numbers only, so that nothing in it can end the line.
pub(crate) fn call<T: 'static>(
    method: &str,
    path: &str,
    body: Option<Zeroizing<Vec<u8>>>,
    decode: impl Fn(&[u8]) -> Result<T, ProtocolError> + Send + Sync + 'static,
) -> Call<T> {
    let line = format!("{method} {path}");
    let mut head = format!("{line} HTTP/1.1\r\nHost: localhost\r\n");
    if let Some(body) = &body {
        head.push_str("Content-Type: application/json\r\n");
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    let message = Message { head, body: body.unwrap_or_default() };
    Call { line, message, is_change: false, decode: Box::new(decode) }
}

/// serde's message could repeat a value, so only the place is kept.
pub(crate) fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, ProtocolError> {
    serde_json::from_slice(body)
        .map_err(|error| ProtocolError::Body { line: error.line(), column: error.column() })
}
