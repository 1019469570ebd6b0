//! Between envelopes and key versions: wrapping a fresh data key under a version, and finding the
//! version that unwraps one. One device HMAC each.

use aws_lc_rs::rand;
use wire::code::{Code, Fault};
use wire::envelope::{DataKey, Envelope, Integrity, Kek, Method, Recipient, kdf_input};

use crate::error::{Failure, HostError};
use crate::plugin::{Account, Answer, Call};
use crate::registry::{Key, Version};
use crate::router::Router;

/// Wraps a data key for one version.
pub(super) async fn wrap_data_key(
    router: &Router,
    account: Account,
    key: &Key,
    version: &Version,
    data_key: &DataKey,
) -> Result<Recipient, HostError> {
    let mut salt = [0; 32];
    rand::fill(&mut salt).map_err(|_unspecified| Failure::Bug("no randomness"))?;
    let kek = kek_of(router, account, key, version, &salt).await?;
    let kind = router.provider(&version.provider)?.info().map(|info| info.kind);
    Ok(Recipient {
        method: Method::HmacKdf,
        key_id: version.id.0,
        version: version.number,
        provider_kind: kind.unwrap_or_default(),
        protection: version.protection,
        salt,
        wrapped: kek.wrap(data_key)?,
    })
}

/// A fresh data key.
pub(super) fn new_data_key() -> Result<DataKey, HostError> {
    let drawn = DataKey::fill_with(|bytes| rand::fill(bytes));
    Ok(drawn.map_err(|_unspecified| Failure::Bug("no randomness"))?)
}

/// Unwraps an envelope's data key by the first recipient that is a living version of the key, and
/// tells its number.
///
/// # Errors
/// `Integrity` when no recipient is of this key, or the data key does not unwrap; `NotFound` when
/// the version was destroyed; those of the provider.
pub(crate) async fn unwrap_envelope(
    router: &Router,
    account: Account,
    key: &Key,
    envelope: &Envelope,
) -> Result<(DataKey, u32), HostError> {
    if envelope.key_name() != &key.name {
        let detail = "the envelope was sealed by another key than the one in the path";
        return Err(Failure::Decode(Fault::new(Code::Invalid, detail)).into());
    }
    let mut was_destroyed = false;
    for recipient in envelope.recipients() {
        let version = key.versions.iter().find(|version| version.number == recipient.version);
        let Some(version) = version.filter(|version| version.id.0 == recipient.key_id) else {
            continue;
        };
        if !version.is_live() {
            was_destroyed = true;
            continue;
        }
        let kek = kek_of(router, account, key, version, &recipient.salt).await?;
        return Ok((kek.unwrap(&recipient.wrapped)?, version.number));
    }
    if was_destroyed {
        return Err(Failure::NotFound("the key version that sealed this is destroyed").into());
    }
    Err(Integrity.into())
}

/// Reads the text of an envelope.
pub(super) fn parse(sealed: &wire::api::SealedText) -> Result<Envelope, HostError> {
    Ok(Envelope::parse_text(sealed.as_str()).map_err(Failure::Decode)?)
}

async fn kek_of(
    router: &Router,
    account: Account,
    key: &Key,
    version: &Version,
    salt: &[u8; 32],
) -> Result<Kek, HostError> {
    let input = kdf_input(&version.id.0, version.number, salt);
    let answer =
        router.call(account, version, key.terms.usage, |key| Call::Mac(key, input)).await?;
    let Answer::Mac(mac) = answer else {
        return Err(Failure::Bug("mac did not answer with a mac").into());
    };
    let mac = mac.expose().try_into().map_err(|_length| Failure::Bug("a mac of another length"))?;
    Ok(Kek::from_device_mac(mac, salt)?)
}
