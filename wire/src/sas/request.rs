//! What each endpoint of the signer reads. The endpoints are in `docs/sas.md`.

use serde::{Deserialize, Deserializer, Serialize};

use super::field::{PolicyName, SasKeyName};
use super::form::{Encoder, KeyForm, Order, Slot};
use super::limits::{
    CONNECTION_STRING_MAX_BYTES, KEY_TEXT_MAX_BYTES, RESOURCE_MAX_BYTES, TOKEN_MAX_BYTES,
    TTL_MAX_SECONDS,
};
use super::profile::Profile;
use super::secret::SecretText;
use crate::api::{Protection, Request, Strict};
use crate::code::{Code, Fault};
use crate::name::ProviderName;

/// `POST /v1/tokens`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// What the token is for.
    #[serde(deserialize_with = "strict")]
    pub resource: Profile,
    /// The key that signs.
    pub key: SasKeyName,
    /// Seconds until it expires, 1 to 31,622,400; one hour, or the longest that the rule allows
    /// where that is less, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u64>,
    /// Whether to sign anew what could come from the cache. False when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fresh: Option<bool>,
    /// How URI and signature are written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoder: Option<Encoder>,
    /// The order of the parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
}

impl Request for TokenRequest {
    fn check(&self) -> Result<(), Fault> {
        match self.ttl {
            Some(0) => Err(invalid("ttl is at least 1")),
            Some(ttl) if ttl > TTL_MAX_SECONDS => {
                Err(invalid(&format!("ttl of {ttl} s exceeds limit of {TTL_MAX_SECONDS}")))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// `POST /v1/verify`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifyRequest {
    /// The token.
    pub token: SecretText<TOKEN_MAX_BYTES>,
    /// The key that must have signed it, by either slot.
    pub key: SasKeyName,
    /// The policy that it must name; it must name none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyName>,
    /// What is accessed, for example `contoso.servicebus.windows.net/telemetry`, not
    /// percent-encoded; not asked when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// The publisher that the event's body claims; not asked when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publisher: Option<String>,
}

impl Request for VerifyRequest {
    fn check(&self) -> Result<(), Fault> {
        for (what, text) in [("resource", &self.resource), ("publisher", &self.publisher)] {
            let bytes = text.as_ref().map_or(0, String::len);
            if bytes > RESOURCE_MAX_BYTES {
                return Err(Fault::over(what, bytes, RESOURCE_MAX_BYTES));
            }
        }
        Ok(())
    }
}

/// `POST /v1/keys/{name}/import`: a connection string, or a key and its form.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportRequest {
    /// A connection string as Azure shows it; what it is for says the form of its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_string: Option<SecretText<CONNECTION_STRING_MAX_BYTES>>,
    /// The text of a key as Azure shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<SecretText<KEY_TEXT_MAX_BYTES>>,
    /// How the HMAC key comes from `key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub form: Option<KeyForm>,
    /// Which of the two keys it is; the primary when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<Slot>,
    /// Whether to replace a key that stands there; without it that is `conflict`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace: Option<bool>,
    /// The providers that may hold it, in this order; the host's order when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub providers: Option<Vec<ProviderName>>,
    /// The least protection; the host's floor when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<Protection>,
}

impl Request for ImportRequest {
    fn check(&self) -> Result<(), Fault> {
        match (&self.connection_string, &self.key, self.form) {
            (Some(_), None, None) | (None, Some(_), Some(_)) => {}
            (Some(_), _, _) => return Err(invalid("connection_string excludes key and form")),
            (None, Some(_), None) => return Err(invalid("key needs its form, raw or decoded")),
            (None, None, _) => return Err(invalid("give connection_string, or key and form")),
        }
        if self.replace == Some(true) && (self.providers.is_some() || self.floor.is_some()) {
            return Err(invalid("a key that is replaced keeps its providers and its floor"));
        }
        Ok(())
    }
}

/// `POST /v1/keys/{name}/rotate`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotateRequest {
    /// The slot to sign with from now on; the other one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Slot>,
}

impl Request for RotateRequest {}

fn strict<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Profile, D::Error> {
    let Strict(profile) = Strict::deserialize(deserializer)?;
    Ok(profile)
}

fn invalid(detail: &str) -> Fault {
    Fault::new(Code::Invalid, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::decode;

    const DEVICE: &str = r#"{"profile":"iot-hub-device","hub":"h.net","device":"d"}"#;

    #[track_caller]
    fn check<T: Request + std::fmt::Debug>(body: &str, fault: &str) {
        let said = decode::<T>(body.as_bytes()).map_err(|fault| fault.to_string());
        match said {
            Ok(_) => assert_eq!(fault, "", "{body}"),
            Err(said) => {
                assert!(!fault.is_empty() && said.starts_with(fault), "{body}: {said}");
            }
        }
    }

    fn token(more: &str) -> String {
        format!(r#"{{"resource":{DEVICE},"key":"k"{more}}}"#)
    }

    #[test]
    fn token_request_with_every_field_is_read_and_written_alike() {
        let body = token(r#","ttl":60,"fresh":true,"encoder":"upper-hex","order":"sr-sig-skn-se""#);
        let request: TokenRequest = decode(body.as_bytes()).unwrap();
        assert_eq!(serde_json::to_string(&request).unwrap(), body);
    }

    #[test]
    fn s8_ttl_of_zero_or_less_is_refused() {
        check::<TokenRequest>(&token(r#","ttl":0"#), "invalid: ttl is at least 1");
        check::<TokenRequest>(&token(r#","ttl":-1"#), "malformed: a value has another type");
        check::<TokenRequest>(&token(r#","ttl":1.5"#), "malformed: a value has another type");
    }

    #[test]
    fn s8_ttl_at_limit_is_read_and_one_past_it_refused() {
        check::<TokenRequest>(&token(r#","ttl":31622400"#), "");
        check::<TokenRequest>(
            &token(r#","ttl":31622401"#),
            "invalid: ttl of 31622401 s exceeds limit of 31622400",
        );
    }

    #[test]
    fn token_request_with_an_array_for_its_resource_is_malformed() {
        check::<TokenRequest>(r#"{"resource":["iot-hub-device","h","d"],"key":"k"}"#, "malformed");
        check::<TokenRequest>(r#"{"resource":"h/devices/d","key":"k"}"#, "malformed");
    }

    #[test]
    fn token_request_never_takes_a_uri() {
        check::<TokenRequest>(&token(r#","uri":"h/devices/d""#), "malformed: unknown field `uri`");
    }

    #[test]
    fn s7_publisher_that_leaves_its_segment_is_invalid() {
        let body = |publisher: &str| {
            let fields =
                r#""profile":"event-hubs-publisher","namespace":"c.net","entity":"t","policy":"p""#;
            format!(r#"{{"resource":{{{fields},"publisher":"{publisher}"}},"key":"k"}}"#)
        };
        check::<TokenRequest>(&body("0001"), "");
        for publisher in ["a/b", "..", "", "a\\r\\nb", "%2f"] {
            check::<TokenRequest>(&body(publisher), "invalid: publisher id");
        }
        check::<TokenRequest>(&body(&"p".repeat(129)), "invalid: publisher id of 129 exceeds");
    }

    #[test]
    fn verify_request_at_limits_is_read_and_one_past_them_refused() {
        let body = |token: usize, resource: usize| {
            let (token, resource) = ("t".repeat(token), "r".repeat(resource));
            format!(r#"{{"token":"{token}","key":"k","resource":"{resource}"}}"#)
        };
        check::<VerifyRequest>(&body(TOKEN_MAX_BYTES, RESOURCE_MAX_BYTES), "");
        check::<VerifyRequest>(&body(TOKEN_MAX_BYTES + 1, 1), "too_large: value of 1537");
        check::<VerifyRequest>(&body(1, RESOURCE_MAX_BYTES + 1), "too_large: resource of 2049");
    }

    #[test]
    fn import_request_has_a_connection_string_or_a_key_with_its_form() {
        check::<ImportRequest>(r#"{"connection_string":"c"}"#, "");
        check::<ImportRequest>(r#"{"key":"k","form":"raw","slot":"secondary"}"#, "");
        check::<ImportRequest>("{}", "invalid: give connection_string");
        check::<ImportRequest>(r#"{"form":"raw"}"#, "invalid: give connection_string");
        check::<ImportRequest>(r#"{"key":"k"}"#, "invalid: key needs its form");
        for more in [r#""key":"k""#, r#""form":"raw""#] {
            let body = format!(r#"{{"connection_string":"c",{more}}}"#);
            check::<ImportRequest>(&body, "invalid: connection_string excludes");
        }
    }

    #[test]
    fn import_request_that_replaces_keeps_where_the_key_is() {
        check::<ImportRequest>(r#"{"connection_string":"c","replace":true}"#, "");
        let body = r#"{"connection_string":"c","replace":true,"floor":"hardware"}"#;
        check::<ImportRequest>(body, "invalid: a key that is replaced");
    }

    #[test]
    fn import_request_at_limits_is_read_and_one_past_them_refused() {
        let key = |bytes| format!(r#"{{"key":"{}","form":"raw"}}"#, "k".repeat(bytes));
        check::<ImportRequest>(&key(KEY_TEXT_MAX_BYTES), "");
        check::<ImportRequest>(&key(KEY_TEXT_MAX_BYTES + 1), "too_large: value of 1369");
        let string = |bytes| format!(r#"{{"connection_string":"{}"}}"#, "c".repeat(bytes));
        check::<ImportRequest>(&string(CONNECTION_STRING_MAX_BYTES), "");
        check::<ImportRequest>(
            &string(CONNECTION_STRING_MAX_BYTES + 1),
            "too_large: value of 4097",
        );
    }

    #[test]
    fn debug_of_a_request_shows_no_secret() {
        let import: ImportRequest = decode(br#"{"key":"marker","form":"raw"}"#).unwrap();
        let verify: VerifyRequest = decode(br#"{"key":"k","token":"marker"}"#).unwrap();
        assert!(!format!("{import:?}{verify:?}").contains("marker"));
    }
}
