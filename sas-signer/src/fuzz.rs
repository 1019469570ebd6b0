//! The bodies of the fuzz targets of this crate (`docs/fuzzing.md`). Compiled for the fuzzer and
//! for tests only.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use wire::sas::limits::{STRING_TO_SIGN_MAX_BYTES, TOKEN_MAX_BYTES};
use wire::sas::{Encoder, KeyForm};

use crate::connection::{ConnectionString, Target};
use crate::encode;
use crate::parse::Received;
use crate::scope::Path;
use crate::token::PREFIX;

pub use crate::config::fuzz::config_sas;
pub use crate::front::fuzz::http_sas;

/// A token that somebody presents: what was read says the same when it is put together again.
pub fn sas_token(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let Ok(received) = Received::parse(text) else { return };
    assert!(text.len() <= TOKEN_MAX_BYTES);
    let signed = received.string_to_sign();
    assert!(signed.len() <= STRING_TO_SIGN_MAX_BYTES && signed.matches('\n').count() == 1);
    assert_eq!(
        encode::decode(received.sr()).and_then(|sr| Path::parse(&sr)).as_ref(),
        Some(received.resource())
    );
    let mut again = format!("{PREFIX}sr={}&sig=", received.sr());
    encode::signature(Encoder::Rfc3986, &STANDARD.encode(received.signature()), &mut again);
    again.push_str(&format!("&se={}", received.expires_at()));
    if let Some(policy) = received.policy() {
        let policy = encode::resource(Encoder::Rfc3986, policy.as_str()).unwrap_or_default();
        again.push_str(&format!("&skn={policy}"));
    }
    if again.len() > TOKEN_MAX_BYTES {
        return;
    }
    let read = Received::parse(&again);
    assert!(read.is_ok_and(|read| {
        read.string_to_sign() == signed
            && read.signature() == received.signature()
            && read.policy() == received.policy()
    }));
}

/// A connection string: the key is not shown, and what it is for is read again.
pub fn connection_string(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    match ConnectionString::parse(text) {
        Ok(read) => {
            let key = read.key();
            let (form, again) = match read.target() {
                Target::EventHubs { namespace, policy, entity } => {
                    let entity = entity.as_ref().map(|it| format!(";EntityPath={it}"));
                    let entity = entity.unwrap_or_default();
                    let head = format!("Endpoint=sb://{namespace}/;SharedAccessKeyName={policy}");
                    (KeyForm::Raw, format!("{head};SharedAccessKey={key}{entity}"))
                }
                Target::Device { hub, device, module } => {
                    let module = module.as_ref().map(|it| format!(";ModuleId={it}"));
                    let module = module.unwrap_or_default();
                    let head = format!("HostName={hub};DeviceId={device}{module}");
                    (KeyForm::Decoded, format!("{head};SharedAccessKey={key};"))
                }
                Target::Service { host, policy } => {
                    let head = format!("HostName={host};SharedAccessKeyName={policy}");
                    (KeyForm::Decoded, format!("{head};SharedAccessKey={key};"))
                }
            };
            assert_eq!(read.form(), form);
            let shown = format!("ConnectionString {{ target: {:?}, .. }}", read.target());
            assert_eq!(format!("{read:?}"), shown);
            let again = ConnectionString::parse(&again);
            let same = |it: &ConnectionString| it.target() == read.target() && it.key() == key;
            assert!(again.as_ref().is_ok_and(same), "{:?}", read.target());
        }
        Err(error) => assert!(error.to_string().len() <= 128),
    }
}

/// Every encoding of a resource is undone; a path covers itself, and is read as it is shown.
pub fn sas_encode(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    for encoder in Encoder::ALL {
        if let Ok(encoded) = encode::resource(encoder, text) {
            assert_eq!(encode::decode(&encoded).as_deref(), Some(text), "{encoder:?}");
            assert!(encoded.bytes().all(|byte| byte.is_ascii_graphic()));
        }
    }
    let _text = encode::decode(text);
    if let Some(path) = Path::parse(text) {
        assert!(path.covers(&path));
        assert_eq!(Path::parse(&path.to_string()).as_ref(), Some(&path));
        let below = Path::parse(&format!("{path}/below"));
        assert!(below.is_some_and(|below| path.covers(&below) && !below.covers(&path)));
    }
}

#[cfg(test)]
#[path = "../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay::replay;

    #[test]
    fn corpus_of_connections_holds() {
        replay("http_sas", super::http_sas);
    }

    #[test]
    fn corpus_of_configurations_holds() {
        replay("config_sas", super::config_sas);
    }

    #[test]
    fn corpus_of_tokens_and_connection_strings_holds() {
        replay("sas_token", super::sas_token);
        replay("connection_string", super::connection_string);
        replay("sas_encode", super::sas_encode);
    }
}
