//! From the text of a key, as Azure shows it, to the HMAC key, and into the host.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sealhost_client::Client;
use wire::api::{SecretBase64, Usage, VersionState};
use wire::code::{Code, Fault};
use wire::limits::IMPORT_KEY_MAX_BYTES;
use wire::sas::{ImportReply, ImportRequest, KeyForm, SasKeyName, Slot};
use zeroize::Zeroizing;

use crate::connection::ConnectionString;
use crate::host;

/// The shortest decoded key, in bytes: IoT Hub takes none below.
pub const DECODED_KEY_MIN_BYTES: usize = 16;

/// Why a text is no key of its form. The text is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// There are no bytes.
    #[error("the key is empty")]
    Empty,
    /// A decoded key is not the base64 of anything.
    #[error("the key is not base64, and keys of IoT Hub and DPS are")]
    NotBase64,
    /// A decoded key is too short.
    #[error(
        "the key has {bytes} bytes, and keys of IoT Hub and DPS have at least {DECODED_KEY_MIN_BYTES}"
    )]
    TooShort {
        /// Its length.
        bytes: usize,
    },
    /// The key is longer than the host imports.
    #[error("key of {bytes} bytes exceeds limit of {IMPORT_KEY_MAX_BYTES}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
}

impl From<KeyError> for Fault {
    fn from(error: KeyError) -> Self {
        let code = match error {
            KeyError::Empty | KeyError::NotBase64 | KeyError::TooShort { .. } => Code::Invalid,
            KeyError::TooLong { .. } => Code::TooLarge,
        };
        Self::new(code, error.to_string())
    }
}

/// The HMAC key that a text of this form stands for.
///
/// Event Hubs uses the text itself as the key, though it looks like base64; IoT Hub and DPS use
/// what it decodes to. Taken in the other form a key makes tokens that no service accepts.
///
/// # Limits
/// Raw, 1 to 1,024 bytes; decoded, 16 to 1,024.
///
/// # Errors
/// [`KeyError`].
///
/// # Secrets
/// Both the text and the key, which is wiped when dropped.
///
/// # Spec
/// RFC 4648 section 4, with padding and one spelling per value.
pub fn hmac_key(text: &str, form: KeyForm) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let key = match form {
        KeyForm::Raw => Zeroizing::new(text.as_bytes().to_vec()),
        KeyForm::Decoded => decoded(text)?,
    };
    match (key.len(), form) {
        (0, _) => Err(KeyError::Empty),
        (bytes, KeyForm::Decoded) if bytes < DECODED_KEY_MIN_BYTES => {
            Err(KeyError::TooShort { bytes })
        }
        (bytes, _) if bytes > IMPORT_KEY_MAX_BYTES => Err(KeyError::TooLong { bytes }),
        _ => Ok(key),
    }
}

/// Decodes into a buffer that is never moved, so that one wiping is enough.
fn decoded(text: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let mut bytes = Zeroizing::new(vec![0; base64::decoded_len_estimate(text.len())]);
    let length = STANDARD
        .decode_slice(text.as_bytes(), bytes.as_mut_slice())
        .map_err(|_error| KeyError::NotBase64)?;
    bytes.truncate(length);
    Ok(bytes)
}

/// Imports a key into the host and tells where it went. `active` is the slot that signs now.
///
/// The key is the host's from then on; the signer keeps nothing of it.
///
/// # Errors
/// `invalid`, `too_large`: the key or the connection string. `conflict`: a key stands in that slot
/// and is not to be replaced, or none does and is. What the host refuses.
///
/// # Secrets
/// The request, which the caller drops.
pub async fn import(
    host: &Client,
    name: &SasKeyName,
    request: &ImportRequest,
    active: Slot,
) -> Result<ImportReply, Fault> {
    let slot = request.slot.unwrap_or_default();
    let key = match (&request.connection_string, &request.key, request.form) {
        (Some(text), _, _) => {
            let connection = ConnectionString::parse(text.as_str())?;
            hmac_key(connection.key(), connection.form())?
        }
        (None, Some(text), Some(form)) => hmac_key(text.as_str(), form)?,
        (None, _, _) => {
            return Err(Fault::new(Code::Invalid, "give connection_string, or key and form"));
        }
    };
    let replace = request.replace == Some(true);
    let request = wire::api::ImportRequest {
        usage: Usage::Mac,
        key: SecretBase64::new(key)?,
        providers: request.providers.clone(),
        floor: request.floor,
        new_version: replace.then_some(true),
    };
    let host_key = name.host_key(slot);
    let record = host.import(&host_key, &request).await.map_err(|error| host::fault(&error).0)?;
    let version = record.versions.into_iter().rev().find(|it| it.state == VersionState::Active);
    let version =
        version.ok_or_else(|| Fault::new(Code::Internal, "the host imported no active version"))?;
    Ok(ImportReply {
        key: name.clone(),
        slot,
        active,
        host_key,
        version: version.version,
        provider: version.provider,
        protection: version.protection,
        origin: version.origin,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, form: KeyForm, expected: Result<&[u8], KeyError>) {
        let key = hmac_key(text, form);
        assert_eq!(key.as_ref().map(|key| key.as_slice()).map_err(|error| *error), expected);
    }

    #[test]
    fn key_of_either_form_is_the_text_or_what_it_decodes_to() {
        let text = "AAECAwQFBgcICQoLDA0ODw==";
        check(text, KeyForm::Raw, Ok(text.as_bytes()));
        check(text, KeyForm::Decoded, Ok(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]));
    }

    #[test]
    fn s9_text_that_is_no_base64_is_refused_for_iot_hub_and_taken_for_event_hubs() {
        for text in ["no base64!", "AAECAwQFBgcICQoLDA0ODw", "AAECAwQFBgcICQoLDA0OD-==", "AAA=A"] {
            check(text, KeyForm::Decoded, Err(KeyError::NotBase64));
            check(text, KeyForm::Raw, Ok(text.as_bytes()));
        }
    }

    #[test]
    fn s9_key_without_bytes_is_refused() {
        check("", KeyForm::Decoded, Err(KeyError::Empty));
        check("", KeyForm::Raw, Err(KeyError::Empty));
    }

    #[test]
    fn decoded_key_at_limits_is_taken_and_one_past_them_refused() {
        let text = |bytes: usize| STANDARD.encode(vec![7; bytes]);
        check(&text(16), KeyForm::Decoded, Ok(&[7; 16]));
        check(&text(15), KeyForm::Decoded, Err(KeyError::TooShort { bytes: 15 }));
        check(&text(1024), KeyForm::Decoded, Ok(&[7; 1024]));
        check(&text(1025), KeyForm::Decoded, Err(KeyError::TooLong { bytes: 1025 }));
        assert_eq!(text(1024).len(), wire::sas::limits::KEY_TEXT_MAX_BYTES);
    }

    #[test]
    fn raw_key_at_limits_is_taken_and_one_past_them_refused() {
        check("k", KeyForm::Raw, Ok(b"k"));
        check(&"k".repeat(1024), KeyForm::Raw, Ok(&[b'k'; 1024]));
        check(&"k".repeat(1025), KeyForm::Raw, Err(KeyError::TooLong { bytes: 1025 }));
    }
}
