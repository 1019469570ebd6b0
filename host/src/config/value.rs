//! Single values that only this daemon has: from TOML to what they mean.

use daemon::config;
use daemon::config::value::{absolute, any_text};
use toml::Value;
use wire::api::Protection;
use wire::name::ProviderName;

use super::SecretSource;
use super::fault::Problem;

/// Longest name of a credential, in bytes: the longest file name.
const CREDENTIAL_NAME_MAX_BYTES: usize = 255;

/// A word of protection.
pub(super) fn protection(value: &Value) -> Result<Protection, config::Problem> {
    match any_text(value)? {
        "hardware" => Ok(Protection::Hardware),
        "emulated" => Ok(Protection::Emulated),
        "software" => Ok(Protection::Software),
        other => Err(config::Problem::Word {
            found: other.into(),
            known: "\"hardware\", \"emulated\" or \"software\"",
        }),
    }
}

/// A word of protection, or `wrapped`, which keys may have and no provider.
pub(super) fn floor(value: &Value) -> Result<Protection, config::Problem> {
    match any_text(value)? {
        "wrapped" => Ok(Protection::Wrapped),
        _ => protection(value),
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
