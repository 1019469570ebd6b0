//! The bodies of the fuzz targets of this crate (`docs/fuzzing.md`). Compiled for the fuzzer and
//! for tests only.

use provider_core::{CounterRef, KeyId};

use crate::binding::Binding;
use crate::blob::Blob;
use crate::counter::Counter;
use crate::tcti::{Reach, Tcti};

/// The setting `tcti`: what is accepted is in the form that tss-esapi reads as it stands.
pub fn tcti(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    match Tcti::parse(text) {
        Ok(tcti) => {
            // What was left out is written out, and may be too much to be read.
            assert!(tcti.text.len() > 256 || Tcti::parse(&tcti.text).as_ref() == Ok(&tcti));
            assert!(!tcti.text.contains('\0'));
            let form = match &tcti.reach {
                Reach::Device { path } => path.starts_with('/') && tcti.text.ends_with(path),
                Reach::Emulator { .. } => {
                    tcti.text.contains(":host=") && tcti.text.contains(",port=")
                }
                Reach::Broker { .. } => tcti.text.starts_with("tabrmd:bus_name="),
            };
            assert!(form, "{}", tcti.text);
        }
        Err(message) => assert!(message.len() <= 1536, "{} bytes", message.len()),
    }
}

/// Blobs of keys and counters, and PCR bindings: one encoding of each.
pub fn tpm_blob(data: &[u8]) {
    if let Ok(blob) = Blob::decode(data) {
        assert_eq!(blob.encode().as_deref(), Ok(data));
        let _digests = (blob.name(), blob.purpose.policy());
    }
    let id = data.get(5..21).and_then(|id| id.try_into().ok());
    let id = KeyId(id.unwrap_or_default());
    if let Ok(counter) = Counter::decode(CounterRef { id, blob: data }) {
        assert_eq!(counter.encode().as_deref(), Ok(data));
    }
    if let Some(binding) = str::from_utf8(data).ok().and_then(|text| Binding::parse(text).ok()) {
        assert_eq!(binding.text().as_bytes(), data);
    }
}

#[cfg(test)]
#[path = "../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay::replay;

    #[test]
    fn corpus_of_tctis_and_blobs_holds() {
        replay("tcti", super::tcti);
        replay("tpm_blob", super::tpm_blob);
    }
}
