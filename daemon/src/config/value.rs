//! Single values: from TOML to what they mean, each with its own limits.

use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Value;

use super::fault::Problem;
use super::{DURATION_MAX, DURATION_MIN};
use crate::sandbox::Demand;

/// Most bits of a mode that are permissions.
const PERMISSIONS: u32 = 0o777;

/// What a value is, for a message.
pub const fn kind(value: &Value) -> &'static str {
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
///
/// # Errors
/// [`Problem::Type`], [`Problem::Zero`].
pub fn any_text(value: &Value) -> Result<&str, Problem> {
    let Value::String(text) = value else {
        return Err(Problem::Type { found: kind(value), wanted: "a text in quotes" });
    };
    if text.contains('\0') { Err(Problem::Zero) } else { Ok(text) }
}

/// A text of at least one byte.
///
/// # Errors
/// [`Problem::Empty`], and as [`any_text`].
pub fn text(value: &Value) -> Result<String, Problem> {
    let text = any_text(value)?;
    if text.is_empty() { Err(Problem::Empty) } else { Ok(text.to_owned()) }
}

/// An absolute path.
///
/// # Errors
/// [`Problem::NotAbsolute`], and as [`text`].
pub fn path(value: &Value) -> Result<PathBuf, Problem> {
    absolute(&text(value)?)
}

/// Takes a text for an absolute path.
///
/// # Errors
/// [`Problem::NotAbsolute`].
pub fn absolute(text: &str) -> Result<PathBuf, Problem> {
    let path = Path::new(text);
    if path.is_absolute() { Ok(path.to_owned()) } else { Err(Problem::NotAbsolute(text.into())) }
}

/// A whole number of a range; the reader's errors are [`Problem::Type`] and [`Problem::Range`].
pub fn number<T: TryFrom<i64>>(least: i64, most: i64) -> impl Fn(&Value) -> Result<T, Problem> {
    move |value| {
        let Value::Integer(number) = value else {
            return Err(Problem::Type { found: kind(value), wanted: "a whole number" });
        };
        let range = Problem::Range { value: *number, least, most };
        let number = Some(*number).filter(|number| (least..=most).contains(number));
        number.and_then(|number| T::try_from(number).ok()).ok_or(range)
    }
}

/// `true` or `false`.
///
/// # Errors
/// [`Problem::Type`].
pub fn truth(value: &Value) -> Result<bool, Problem> {
    value.as_bool().ok_or_else(|| Problem::Type { found: kind(value), wanted: "true or false" })
}

/// How strictly a sandbox is wanted.
///
/// # Errors
/// [`Problem::Word`], and as [`any_text`].
pub fn demand(value: &Value) -> Result<Demand, Problem> {
    match any_text(value)? {
        "full" => Ok(Demand::Full),
        "required" => Ok(Demand::Required),
        "off" => Ok(Demand::Off),
        other => {
            Err(Problem::Word { found: other.into(), known: "\"full\", \"required\" or \"off\"" })
        }
    }
}

/// Permission bits, as octal text.
///
/// # Limits
/// Three or four digits, up to `0777`.
///
/// # Errors
/// [`Problem::Type`], [`Problem::Mode`].
pub fn mode(value: &Value) -> Result<u32, Problem> {
    let Value::String(text) = value else {
        let wanted = "octal digits in quotes, such as \"0660\"";
        return Err(Problem::Type { found: kind(value), wanted });
    };
    let digits = matches!(text.len(), 3 | 4) && text.bytes().all(|b| matches!(b, b'0'..=b'7'));
    let mode = if digits { u32::from_str_radix(text, 8).ok() } else { None };
    mode.filter(|mode| *mode <= PERMISSIONS).ok_or_else(|| Problem::Mode(text.clone()))
}

/// A time of the form `500ms`, `10s`, `2m`.
///
/// # Limits
/// From [`DURATION_MIN`] to [`DURATION_MAX`].
///
/// # Errors
/// [`Problem::Duration`], [`Problem::DurationRange`], and as [`any_text`].
pub fn duration(value: &Value) -> Result<Duration, Problem> {
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
