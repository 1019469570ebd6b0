//! From a reply or an error to bytes, in the words of the peer.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use daemon::http::{self, Whole};
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use wire::code::Code;
use zeroize::Zeroizing;

use super::asked::CIPHERTEXT_V2;
use super::handle;
use super::refused::{A_PARAMETER, Refused, unauthorized};
use crate::error::{Failure, HostError};
use crate::reply::{Held, PublicHalf, Reply};
use wire::keyd::id_of;

/// DER of the object identifier 1.2.840.10045.3.1.7, P-256 (RFC 5480 section 2.1.1.1).
const P256_OID: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// The exponent of every RSA key, 65,537.
const RSA_EXPONENT: [u8; 3] = [1, 0, 1];

/// How the reply to a request is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// As what it is.
    Usual,
    /// Not at all.
    NoContent,
    /// One parameter of a key pair.
    Parameter(Parameter),
}

/// What can be asked of a key pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parameter {
    Algorithm,
    EcCurveOid,
    EcPoint,
    RsaModulus,
    RsaExponent,
}

impl Parameter {
    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "algorithm" => Self::Algorithm,
            "ec-curve-oid" => Self::EcCurveOid,
            "ec-point" => Self::EcPoint,
            "rsa-modulus" => Self::RsaModulus,
            "rsa-exponent" => Self::RsaExponent,
            _ => return None,
        })
    }

    /// Its value; `None` where such a pair has none.
    fn of(self, public: &PublicHalf) -> Option<String> {
        match (self, public) {
            (Self::Algorithm, PublicHalf::P256(_)) => Some("ECDSA".into()),
            (Self::Algorithm, PublicHalf::Rsa(_)) => Some("RSA".into()),
            (Self::EcCurveOid, PublicHalf::P256(_)) => Some(STANDARD.encode(P256_OID)),
            (Self::EcPoint, PublicHalf::P256(point)) => Some(STANDARD.encode(compressed(point)?)),
            (Self::RsaModulus, PublicHalf::Rsa(modulus)) => Some(STANDARD.encode(modulus)),
            (Self::RsaExponent, PublicHalf::Rsa(_)) => Some(STANDARD.encode(RSA_EXPONENT)),
            (Self::EcCurveOid | Self::EcPoint, PublicHalf::Rsa(_))
            | (Self::RsaModulus | Self::RsaExponent, PublicHalf::P256(_)) => None,
        }
    }
}

/// The compressed form of a point: the parity of y, then x.
///
/// # Spec
/// SEC 1 section 2.3.3.
fn compressed(point: &[u8; 65]) -> Option<Vec<u8>> {
    let (x, y) = point.get(1..)?.split_at_checked(32)?;
    let parity = 2 + (y.last()? & 1);
    Some([&[parity], x].concat())
}

/// One field of text, and what it holds is wiped.
struct Field(&'static str, Zeroizing<String>);

impl Serialize for Field {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(self.0, self.1.as_str())?;
        map.end()
    }
}

/// Writes a reply.
///
/// # Errors
/// The refusal of a parameter that the pair has not; a fault of ours.
pub(super) fn encode(reply: Reply, shape: Shape, id: &str) -> Result<Whole, NoReply> {
    let bytes = |bytes: &[u8]| Zeroizing::new(STANDARD.encode(bytes));
    let field = match (shape, reply) {
        (Shape::NoContent, _) | (Shape::Usual, Reply::Held(Held::Destroyed)) => {
            return Ok(no_content(id));
        }
        (Shape::Parameter(parameter), Reply::Held(Held::Public(public))) => {
            let value = parameter.of(&public).ok_or(Refused::Mechanism)?;
            Field("value", value.into())
        }
        (Shape::Usual, Reply::Handle(of)) => {
            let text = handle::write(&of).ok_or(Failure::Bug("a handle of another dialect"))?;
            Field("keyHandle", text.into())
        }
        (Shape::Usual, Reply::Held(Held::Mac(mac))) => Field("signature", bytes(mac.expose())),
        (Shape::Usual, Reply::Held(Held::Signature(der))) => Field("signature", bytes(&der)),
        (Shape::Usual, Reply::Held(Held::Encrypted(ciphertext))) => {
            Field("ciphertext", bytes(&[&[CIPHERTEXT_V2], &ciphertext[..]].concat()))
        }
        (Shape::Usual, Reply::Held(Held::Rsa(result))) => {
            Field("ciphertext", bytes(result.expose()))
        }
        (Shape::Usual, Reply::Held(Held::Decrypted(plaintext))) => {
            Field("plaintext", bytes(plaintext.expose()))
        }
        (Shape::Usual, Reply::Held(Held::Exported(key))) => Field("key", bytes(key.expose())),
        (Shape::Usual | Shape::Parameter(_), _) => {
            return Err(Failure::Bug("a reply of another dialect").into());
        }
    };
    let json = http::json(StatusCode::OK, &field, id);
    Ok(json.map_err(|_unencodable| Failure::Bug("a reply cannot be encoded"))?)
}

/// Why there is no reply.
pub(super) enum NoReply {
    Refused(Refused),
    Failed(HostError),
}

impl From<Refused> for NoReply {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl<F: Into<Failure>> From<F> for NoReply {
    fn from(failure: F) -> Self {
        Self::Failed(failure.into().into())
    }
}

fn no_content(id: &str) -> Whole {
    let type_of_nothing = HeaderValue::from_static("");
    let mut response = http::response(StatusCode::NO_CONTENT, type_of_nothing, Full::default(), id);
    response.headers_mut().remove(CONTENT_TYPE);
    response
}

/// What the peer answers, with a code to match on beside it.
#[derive(Serialize)]
struct ErrorBody {
    message: String,
    code: Code,
}

/// Writes a refusal of the dialect's own.
pub(super) fn refused(refused: &Refused, uid: u32, id: &str) -> Whole {
    let body = ErrorBody { message: refused.message(uid), code: refused.fault().code };
    error_body(refused.status(), &body, id)
}

/// Writes an error of the host.
pub(super) fn failed(error: &HostError, uid: u32, id: &str) -> Whole {
    let code = error.code();
    let (status, message) = words(error, code, uid);
    let mut response = error_body(status, &ErrorBody { message, code }, id);
    if let Some(after) = error.retry_after() {
        let seconds = HeaderValue::from(after.as_secs().max(1));
        response.headers_mut().insert(RETRY_AFTER, seconds);
    }
    response
}

fn words(error: &HostError, code: Code, uid: u32) -> (StatusCode, String) {
    let because = |because: &dyn fmt::Display| format!("{A_PARAMETER}\ncaused by: {because}");
    match (&error.failure, code) {
        (Failure::InvalidHandle, _) => (StatusCode::BAD_REQUEST, Refused::Handle.message(uid)),
        (_, Code::Denied) => {
            let id = error.key.as_ref().and_then(|key| id_of(key.as_str()));
            let id = id.as_ref().map(|(_, id)| id.as_str());
            (StatusCode::UNAUTHORIZED, unauthorized(uid, id))
        }
        (_, Code::WrongUsage) => (StatusCode::BAD_REQUEST, Refused::Mechanism.message(uid)),
        // One answer for all that does not decrypt, and for a key that is not there.
        (_, Code::Integrity | Code::NotFound) => (StatusCode::BAD_REQUEST, A_PARAMETER.into()),
        (_, Code::Malformed | Code::Invalid | Code::Unsupported | Code::Conflict) => {
            (StatusCode::BAD_REQUEST, because(&error.fault().detail))
        }
        (_, Code::Internal) => (StatusCode::INTERNAL_SERVER_ERROR, "internal error".into()),
        (_, Code::StateMismatch | Code::WrongDevice) => {
            (StatusCode::INTERNAL_SERVER_ERROR, error.fault().detail)
        }
        (_, Code::TooLarge | Code::Busy | Code::Unavailable | Code::LockedOut | Code::Timeout) => {
            let status = StatusCode::from_u16(code.http_status());
            (status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), error.fault().detail)
        }
    }
}

fn error_body(status: StatusCode, body: &ErrorBody, id: &str) -> Whole {
    http::json(status, body, id).unwrap_or_else(|_unencodable| {
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response.headers_mut().remove(CONTENT_TYPE);
        response
    })
}
