//! Single values: from TOML to what they mean, each with its own limits.

use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Value;
use wire::api::Protection;
use wire::name::ProviderName;

use super::fault::Problem;
use super::{DURATION_MAX, DURATION_MIN, SecretSource};

/// Longest name of a credential, in bytes: the longest file name.
const CREDENTIAL_NAME_MAX_BYTES: usize = 255;

/// Most bits of a mode that are permissions.
const PERMISSIONS: u32 = 0o777;

/// What a value is, for a message.
pub(super) const fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a text",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number with a fraction",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date or time",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    }
}

/// A text, possibly empty.
pub(super) fn any_text(value: &Value) -> Result<&str, Problem> {
    let Value::String(text) = value else {
        return Err(Problem::Type { found: kind(value), wanted: "a text in quotes" });
    };
    if text.contains('\0') { Err(Problem::Zero) } else { Ok(text) }
}

/// A text of at least one byte.
pub(super) fn text(value: &Value) -> Result<String, Problem> {
    let text = any_text(value)?;
    if text.is_empty() { Err(Problem::Empty) } else { Ok(text.to_owned()) }
}

/// An absolute path.
pub(super) fn path(value: &Value) -> Result<PathBuf, Problem> {
    absolute(&text(value)?)
}

fn absolute(text: &str) -> Result<PathBuf, Problem> {
    let path = Path::new(text);
    if path.is_absolute() { Ok(path.to_owned()) } else { Err(Problem::NotAbsolute(text.into())) }
}

/// A whole number of a range.
pub(super) fn number<T: TryFrom<i64>>(
    least: i64,
    most: i64,
) -> impl Fn(&Value) -> Result<T, Problem> {
    move |value| {
        let Value::Integer(number) = value else {
            return Err(Problem::Type { found: kind(value), wanted: "a whole number" });
        };
        let range = Problem::Range { value: *number, least, most };
        let number = Some(*number).filter(|number| (least..=most).contains(number));
        number.and_then(|number| T::try_from(number).ok()).ok_or(range)
    }
}

/// Permission bits, as octal text.
pub(super) fn mode(value: &Value) -> Result<u32, Problem> {
    let Value::String(text) = value else {
        let wanted = "octal digits in quotes, such as \"0660\"";
        return Err(Problem::Type { found: kind(value), wanted });
    };
    let digits = matches!(text.len(), 3 | 4) && text.bytes().all(|b| matches!(b, b'0'..=b'7'));
    let mode = if digits { u32::from_str_radix(text, 8).ok() } else { None };
    mode.filter(|mode| *mode <= PERMISSIONS).ok_or_else(|| Problem::Mode(text.clone()))
}

/// A time of the form `500ms`, `10s`, `2m`.
pub(super) fn duration(value: &Value) -> Result<Duration, Problem> {
    let text = any_text(value)?;
    let unit_at = text.find(|c: char| !c.is_ascii_digit());
    let (digits, unit) = text.split_at(unit_at.unwrap_or(text.len()));
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => return Err(Problem::Duration(text.into())),
    };
    if digits.is_empty() {
        return Err(Problem::Duration(text.into()));
    }
    // Digits alone fail to parse only when there are too many.
    let ms = digits.parse().ok().and_then(|number: u64| number.checked_mul(unit_ms));
    ms.map(Duration::from_millis)
        .filter(|time| (DURATION_MIN..=DURATION_MAX).contains(time))
        .ok_or_else(|| Problem::DurationRange(text.into()))
}

/// A word of protection.
pub(super) fn protection(value: &Value) -> Result<Protection, Problem> {
    match any_text(value)? {
        "hardware" => Ok(Protection::Hardware),
        "emulated" => Ok(Protection::Emulated),
        "software" => Ok(Protection::Software),
        other => Err(Problem::Word {
            found: other.into(),
            known: "\"hardware\", \"emulated\" or \"software\"",
        }),
    }
}

/// A provider's name.
pub(super) fn name(value: &Value) -> Result<ProviderName, Problem> {
    ProviderName::parse(any_text(value)?).map_err(Problem::Name)
}

/// A SHA-256 in hexadecimal digits of either case.
pub(super) fn digest(value: &Value) -> Result<[u8; 32], Problem> {
    let (pairs, rest) = any_text(value)?.as_bytes().as_chunks::<2>();
    let bytes: Option<Vec<u8>> = pairs.iter().map(|[high, low]| byte(*high, *low)).collect();
    let digest = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    digest.filter(|_| rest.is_empty()).ok_or(Problem::Digest)
}

fn byte(high: u8, low: u8) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    digit(high)?.checked_mul(16)?.checked_add(digit(low)?)
}

/// Where to read a secret.
///
/// # Spec
/// Names of credentials: systemd.exec(5), `LoadCredential=`.
pub(super) fn source(value: &Value) -> Result<SecretSource, Problem> {
    if any_text(value)? == "generated" {
        return Ok(SecretSource::Generated);
    }
    let (scheme, rest) = any_text(value)?.split_once(':').ok_or(Problem::Source)?;
    let path = || absolute(rest).map_err(|_secret| Problem::Source);
    match scheme {
        "file" => path().map(SecretSource::File),
        "sealed" => path().map(SecretSource::Sealed),
        "credential" if is_credential_name(rest) => Ok(SecretSource::Credential(rest.into())),
        _ => Err(Problem::Source),
    }
}

fn is_credential_name(name: &str) -> bool {
    (1..=CREDENTIAL_NAME_MAX_BYTES).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_graphic() && b != b'/' && b != b':')
        && name != "."
        && name != ".."
}
