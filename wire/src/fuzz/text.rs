//! Names, versions, dates and fields: what is accepted is within its limit, and read back alike
//! from every way in which it is written.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use crate::api::{Jwk, p256_pem};
use crate::limits::{KEY_NAME_MAX_BYTES, PROVIDER_NAME_MAX_BYTES};
use crate::name::{KeyName, ProviderName};
use crate::sas::{
    DeviceId, EntityName, HostName, IdScope, PolicyName, PublisherId, RegistrationId, SasKeyName,
    has_percent_escape,
};
use crate::secrets::{Author, ContentType, Date, SecretName, SecretVersion, Tags};

/// One text, as every kind of name.
pub fn names(data: &[u8]) {
    let _point = (Jwk::p256(data), p256_pem(data));
    let Ok(text) = str::from_utf8(data) else { return };
    let key = parsed::<KeyName>(text);
    if let Some(name) = &key {
        assert!(name.as_str().len() <= KEY_NAME_MAX_BYTES && !text.starts_with('.'));
        assert_eq!(KeyName::from_path_segment(&name.to_path_segment()).as_ref(), Ok(name));
    }
    if let Ok(name) = KeyName::from_path_segment(text) {
        assert_eq!(KeyName::parse(name.as_str()), Ok(name));
    }
    assert_eq!(parsed::<SecretName>(text).is_some(), key.is_some());
    if let Some(name) = parsed::<ProviderName>(text) {
        assert!(name.as_str().len() <= PROVIDER_NAME_MAX_BYTES);
    }
    if let Some(name) = parsed::<SasKeyName>(text) {
        assert!(SasKeyName::from_path_segment(&name.to_path_segment()).is_ok_and(|it| it == name));
        assert!(KeyName::parse(name.host_key(crate::sas::Slot::Primary).as_str()).is_ok());
    }
    let _version = parsed::<SecretVersion>(text);
    let _author = parsed::<Author>(text);
    let _content_type = parsed::<ContentType>(text);
    fields(text);
    dates(text);
    if let Ok(tags) = serde_json::from_str::<Tags>(text) {
        let again = serde_json::to_string(&tags).unwrap_or_default();
        assert!(serde_json::from_str::<Tags>(&again).is_ok_and(|it| it == tags));
    }
}

/// No field of a resource changes when it is decoded a second time, or leads elsewhere in a path.
fn fields(text: &str) {
    let accepted = [
        parsed::<DeviceId>(text).is_some(),
        parsed::<EntityName>(text).is_some(),
        parsed::<HostName>(text).is_some(),
        parsed::<IdScope>(text).is_some(),
        parsed::<PublisherId>(text).is_some(),
        parsed::<RegistrationId>(text).is_some(),
    ];
    if let Some(policy) = parsed::<PolicyName>(text) {
        // It stands in a parameter and in no path, and reads the same in every encoding.
        assert!(policy.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)));
    }
    if accepted.contains(&true) {
        assert!(!has_percent_escape(text) && !matches!(text, "" | "." | ".."));
        assert!(text.split('/').all(|segment| !matches!(segment, "" | "." | "..")));
    }
}

fn dates(text: &str) {
    let date = Date::parse(text);
    let legacy = Date::parse_legacy(text);
    assert!(date.is_err() || date == legacy);
    for date in [date, legacy].into_iter().flatten() {
        let written = date.to_string();
        assert_eq!((written.len(), Date::parse(&written)), (30, Ok(date)));
        let (seconds, nanos) = date.unix();
        assert_eq!(Date::from_unix(seconds, nanos), Some(date));
        assert!(date.next() >= date && date >= Date::MIN);
    }
}

/// What is accepted is written as it came, and in JSON too.
fn parsed<T>(text: &str) -> Option<T>
where
    T: FromStr + Display + PartialEq + Debug + serde::Serialize + serde::de::DeserializeOwned,
{
    let value = text.parse::<T>().ok()?;
    assert_eq!(value.to_string(), text);
    let json = serde_json::to_string(&value).unwrap_or_default();
    assert!(serde_json::from_str::<T>(&json).is_ok_and(|it| it == value));
    Some(value)
}
