//! What each endpoint reads. The endpoint and its rules are in `docs/api.md`.

use serde::{Deserialize, Deserializer, Serialize};

use super::base64::{Base64Array, SecretBase64};
use super::decode::{Request, Strict};
use super::types::{Algorithm, Protection, SealedText, Usage};
use crate::code::{Code, Fault};
use crate::context::EncryptionContext;
use crate::limits::{
    DIGEST_BYTES, IMPORT_KEY_MAX_BYTES, MAC_BYTES, MESSAGE_MAX_BYTES, PLAINTEXT_MAX_BYTES,
    PRIVATE_NUMBER_BYTES, RANDOM_MAX_BYTES,
};
use crate::name::ProviderName;

/// Greatest number of a PCR; a bank has 24 (TCG PC Client Platform TPM Profile).
const PCR_MAX: u8 = 23;

/// `POST /v1/keys/{name}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateRequest {
    /// What the key is for.
    pub usage: Usage,
    /// The one algorithm of the usage, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<Algorithm>,
    /// The providers to consider, in this order; the configured order when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub providers: Option<Vec<ProviderName>>,
    /// The least protection; never below the configured floor, which holds when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<Protection>,
    /// Whether new seals may use another provider while the key's own is down. False when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<bool>,
    /// The platform state to bind the key to; none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "selection")]
    pub pcrs: Option<PcrSelection>,
}

impl Request for CreateRequest {
    fn check(&self) -> Result<(), Fault> {
        if matches!(self.usage, Usage::Aead | Usage::Rsa) {
            return Err(invalid(
                "keys with usage aead or rsa are made by the dialects that use them",
            ));
        }
        if self.algorithm.is_some_and(|algorithm| algorithm != self.usage.algorithm()) {
            return Err(invalid("the algorithm does not fit the usage"));
        }
        if self.fallback == Some(true) && self.usage != Usage::Seal {
            return Err(invalid("fallback is for keys with usage seal"));
        }
        if self.fallback == Some(true) && self.pcrs.is_some() {
            return Err(invalid("fallback and pcrs exclude each other"));
        }
        check_providers(self.providers.as_deref())?;
        self.pcrs.as_ref().map_or(Ok(()), PcrSelection::check)
    }
}

/// PCRs that a key is bound to, by bank.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PcrSelection {
    /// Numbers in the SHA-256 bank: 0 to 23, each once, at least one.
    pub sha256: Vec<u8>,
}

impl PcrSelection {
    fn check(&self) -> Result<(), Fault> {
        let mut numbers = self.sha256.clone();
        numbers.sort_unstable();
        numbers.dedup();
        if numbers.is_empty() || numbers.len() != self.sha256.len() {
            return Err(invalid("pcrs.sha256 has at least one number, each once"));
        }
        match numbers.last() {
            Some(&number) if number > PCR_MAX => {
                Err(invalid(&format!("pcr {number} exceeds {PCR_MAX}")))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// `POST /v1/keys/{name}/import`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportRequest {
    /// What the key is for: `mac` or `sign`.
    pub usage: Usage,
    /// The HMAC key, 1 to 1,024 bytes; or the private number of a P-256 key, 32 bytes, the most
    /// significant first (SEC 1 section 2.3.7).
    pub key: SecretBase64<IMPORT_KEY_MAX_BYTES>,
    /// As in [`CreateRequest`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub providers: Option<Vec<ProviderName>>,
    /// As in [`CreateRequest`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<Protection>,
    /// Whether to add a version to a key that exists; without it that is `conflict`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_version: Option<bool>,
}

impl Request for ImportRequest {
    fn check(&self) -> Result<(), Fault> {
        let bytes = self.key.as_bytes().len();
        match self.usage {
            Usage::Mac if bytes == 0 => return Err(invalid("key has no bytes")),
            Usage::Sign if bytes != PRIVATE_NUMBER_BYTES => {
                return Err(invalid("the private number of a key with usage sign has 32 bytes"));
            }
            Usage::Mac | Usage::Sign => {}
            Usage::Seal | Usage::Aead | Usage::Rsa => {
                return Err(invalid("only keys with usage mac or sign are imported"));
            }
        }
        check_providers(self.providers.as_deref())
    }
}

/// `POST /v1/keys/{name}/rotate`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotateRequest {}

impl Request for RotateRequest {}

/// `POST /v1/keys/{name}/seal`, one item.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealItem {
    /// What to seal; may be empty.
    pub plaintext: SecretBase64<PLAINTEXT_MAX_BYTES>,
    /// What to bind it to.
    #[serde(
        default,
        skip_serializing_if = "EncryptionContext::is_empty",
        deserialize_with = "null_is_default"
    )]
    pub context: EncryptionContext,
}

impl Request for SealItem {}

/// `POST /v1/keys/{name}/unseal`, one item.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnsealItem {
    /// The envelope.
    pub sealed: SealedText,
    /// The context given when sealing.
    #[serde(
        default,
        skip_serializing_if = "EncryptionContext::is_empty",
        deserialize_with = "null_is_default"
    )]
    pub context: EncryptionContext,
}

impl Request for UnsealItem {}

/// `POST /v1/keys/{name}/rewrap`, one item.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RewrapItem {
    /// The envelope.
    pub sealed: SealedText,
    /// Whether the result may have lower protection than the envelope has. False when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_lower: Option<bool>,
}

impl Request for RewrapItem {}

/// `POST /v1/keys/{name}/mac`, one item.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MacItem {
    /// The message, at most 1,024 bytes.
    pub message: SecretBase64<MESSAGE_MAX_BYTES>,
    /// The version; the active one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
}

impl Request for MacItem {}

/// `POST /v1/keys/{name}/verify`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifyRequest {
    /// The message, at most 1,024 bytes.
    pub message: SecretBase64<MESSAGE_MAX_BYTES>,
    /// The 32-byte MAC.
    pub mac: Base64Array<MAC_BYTES>,
    /// The version; every usable one is tried when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
}

impl Request for VerifyRequest {}

/// `POST /v1/keys/{name}/sign`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignRequest {
    /// The SHA-256 digest.
    pub digest: Base64Array<DIGEST_BYTES>,
    /// The version; the active one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
}

impl Request for SignRequest {}

/// `POST /v1/random`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomRequest {
    /// How many bytes: 1 to 1,024.
    pub bytes: usize,
}

impl Request for RandomRequest {
    fn check(&self) -> Result<(), Fault> {
        match self.bytes {
            0 => Err(invalid("bytes is at least 1")),
            bytes if bytes > RANDOM_MAX_BYTES => {
                Err(Fault::over("random value", bytes, RANDOM_MAX_BYTES))
            }
            _ => Ok(()),
        }
    }
}

/// Refuses an empty list of providers, and one with a name twice.
pub(super) fn check_providers(providers: Option<&[ProviderName]>) -> Result<(), Fault> {
    let Some(providers) = providers else { return Ok(()) };
    let mut once: Vec<_> = providers.iter().collect();
    once.sort_unstable();
    once.dedup();
    if once.is_empty() || once.len() != providers.len() {
        return Err(invalid("providers has at least one name, each once"));
    }
    Ok(())
}

fn selection<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PcrSelection>, D::Error> {
    Ok(Option::deserialize(deserializer)?.map(|Strict(selection)| selection))
}

fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A value that is out of its range.
pub(super) fn invalid(detail: &str) -> Fault {
    Fault::new(Code::Invalid, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::decode;

    fn accepted<T: Request>(body: &str) -> T {
        decode(body.as_bytes()).unwrap()
    }

    fn refused<T: Request + std::fmt::Debug>(body: &str, fault: &str) {
        assert_eq!(decode::<T>(body.as_bytes()).unwrap_err().to_string(), fault, "{body}");
    }

    fn encoded_zeros(bytes: usize) -> String {
        serde_json::to_string(
            &SecretBase64::<{ 2 * PLAINTEXT_MAX_BYTES }>::new(vec![0; bytes].into()).unwrap(),
        )
        .unwrap()
    }

    #[test]
    fn create_with_every_field_is_read_and_written_alike() {
        let body = r#"{"usage":"seal","algorithm":"hmac-sha256","providers":["tpm","hsm_2"],"floor":"emulated","fallback":false,"pcrs":{"sha256":[7,0,23]}}"#;
        let request: CreateRequest = accepted(body);
        assert_eq!(serde_json::to_string(&request).unwrap(), body);
    }

    #[test]
    fn create_with_algorithm_of_another_usage_is_invalid() {
        refused::<CreateRequest>(
            r#"{"usage":"sign","algorithm":"hmac-sha256"}"#,
            "invalid: the algorithm does not fit the usage",
        );
    }

    #[test]
    fn create_with_fallback_where_there_is_none_is_invalid() {
        refused::<CreateRequest>(
            r#"{"usage":"mac","fallback":true}"#,
            "invalid: fallback is for keys with usage seal",
        );
        refused::<CreateRequest>(
            r#"{"usage":"seal","fallback":true,"pcrs":{"sha256":[7]}}"#,
            "invalid: fallback and pcrs exclude each other",
        );
    }

    #[test]
    fn pcr_one_past_the_last_is_invalid() {
        refused::<CreateRequest>(
            r#"{"usage":"seal","pcrs":{"sha256":[24]}}"#,
            "invalid: pcr 24 exceeds 23",
        );
    }

    #[test]
    fn pcrs_none_or_twice_are_invalid() {
        for body in [
            r#"{"usage":"seal","pcrs":{"sha256":[]}}"#,
            r#"{"usage":"seal","pcrs":{"sha256":[7,7]}}"#,
        ] {
            refused::<CreateRequest>(
                body,
                "invalid: pcrs.sha256 has at least one number, each once",
            );
        }
    }

    #[test]
    fn providers_none_or_twice_are_invalid() {
        for body in
            [r#"{"usage":"mac","providers":[]}"#, r#"{"usage":"mac","providers":["tpm","tpm"]}"#]
        {
            refused::<CreateRequest>(body, "invalid: providers has at least one name, each once");
        }
    }

    #[test]
    fn import_key_at_limit_is_read() {
        let body = format!(r#"{{"usage":"mac","key":{}}}"#, encoded_zeros(IMPORT_KEY_MAX_BYTES));
        assert_eq!(accepted::<ImportRequest>(&body).key.as_bytes().len(), IMPORT_KEY_MAX_BYTES);
    }

    #[test]
    fn import_key_one_past_limit_is_too_large() {
        let body = format!(r#"{{"usage":"mac","key":{}}}"#, encoded_zeros(1025));
        refused::<ImportRequest>(
            &body,
            "too_large: value of 1025 bytes exceeds limit of 1024 at line 1 column 1392",
        );
    }

    #[test]
    fn import_without_bytes_or_of_another_usage_is_invalid() {
        refused::<ImportRequest>(r#"{"usage":"mac","key":""}"#, "invalid: key has no bytes");
        refused::<ImportRequest>(
            r#"{"usage":"seal","key":"AA=="}"#,
            "invalid: only keys with usage mac or sign are imported",
        );
    }

    #[test]
    fn import_of_a_private_number_has_its_length() {
        let body = |bytes| format!(r#"{{"usage":"sign","key":{}}}"#, encoded_zeros(bytes));
        assert_eq!(accepted::<ImportRequest>(&body(32)).usage, Usage::Sign);
        for bytes in [0, 31, 33, 65] {
            let fault = "invalid: the private number of a key with usage sign has 32 bytes";
            refused::<ImportRequest>(&body(bytes), fault);
        }
    }

    #[test]
    fn plaintext_at_limit_is_read() {
        let body = format!(r#"{{"plaintext":{}}}"#, encoded_zeros(PLAINTEXT_MAX_BYTES));
        let item: SealItem = accepted(&body);
        assert_eq!(item.plaintext.as_bytes().len(), PLAINTEXT_MAX_BYTES);
        assert!(item.context.is_empty());
    }

    #[test]
    fn plaintext_one_past_limit_is_too_large() {
        let body = format!(r#"{{"plaintext":{}}}"#, encoded_zeros(PLAINTEXT_MAX_BYTES + 1));
        assert_eq!(decode::<SealItem>(body.as_bytes()).unwrap_err().code, Code::TooLarge);
    }

    #[test]
    fn message_at_limit_is_read() {
        let body = format!(r#"{{"message":{}}}"#, encoded_zeros(MESSAGE_MAX_BYTES));
        assert_eq!(accepted::<MacItem>(&body).message.as_bytes().len(), MESSAGE_MAX_BYTES);
    }

    #[test]
    fn message_one_past_limit_is_too_large() {
        let body = format!(r#"{{"message":{}}}"#, encoded_zeros(MESSAGE_MAX_BYTES + 1));
        assert_eq!(decode::<MacItem>(body.as_bytes()).unwrap_err().code, Code::TooLarge);
    }

    #[test]
    fn context_one_past_limit_is_too_large() {
        let body = format!(r#"{{"plaintext":"","context":{{"k":"{}"}}}}"#, "v".repeat(8187));
        assert_eq!(decode::<SealItem>(body.as_bytes()).unwrap_err().code, Code::TooLarge);
    }

    #[test]
    fn context_that_is_null_is_no_context() {
        let item: SealItem = accepted(r#"{"plaintext":"","context":null}"#);
        assert!(item.context.is_empty());
        let item: UnsealItem = accepted(r#"{"sealed":"","context":null}"#);
        assert!(item.context.is_empty());
    }

    #[test]
    fn digest_of_another_length_is_invalid() {
        let body = format!(r#"{{"digest":{}}}"#, encoded_zeros(31));
        assert_eq!(decode::<SignRequest>(body.as_bytes()).unwrap_err().code, Code::Invalid);
    }

    #[test]
    fn random_at_limits_is_read() {
        assert_eq!(accepted::<RandomRequest>(r#"{"bytes":1}"#).bytes, 1);
        assert_eq!(accepted::<RandomRequest>(r#"{"bytes":1024}"#).bytes, RANDOM_MAX_BYTES);
    }

    #[test]
    fn random_past_limits_is_refused() {
        refused::<RandomRequest>(r#"{"bytes":0}"#, "invalid: bytes is at least 1");
        refused::<RandomRequest>(
            r#"{"bytes":1025}"#,
            "too_large: random value of 1025 bytes exceeds limit of 1024",
        );
    }

    #[test]
    fn debug_of_a_request_shows_no_value() {
        let item: SealItem = accepted(r#"{"plaintext":"bWFya2Vy","context":{"marker":"marker"}}"#);
        let item = format!("{item:?}");
        assert!(!item.contains("marker") && !item.contains("bWFya2Vy"), "{item}");
    }
}
