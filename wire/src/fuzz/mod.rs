//! The bodies of the fuzz targets of this crate (`docs/fuzzing.md`): foreign bytes go in, and what
//! the decoders promise is asserted. Compiled for the fuzzer and for tests only.

mod audit;
mod envelope;
mod request;
mod text;

use crate::code::Fault;

pub use audit::{audit_log, audit_written};
pub use envelope::{cbor, context, envelope, envelope_text, sealed};
pub use request::{reply_body, request_body};
pub use text::names;

/// More than any fault of a decoder says: 200 characters of up to four bytes, and a place.
const FAULT_MAX_BYTES: usize = 1024;

/// A fault is short, whatever was sent.
fn check_fault(fault: &Fault) {
    assert!(fault.detail.len() <= FAULT_MAX_BYTES, "{} bytes of detail", fault.detail.len());
}

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay::replay;

    #[test]
    fn corpus_of_envelopes_holds() {
        replay("envelope", super::envelope);
        replay("envelope_text", super::envelope_text);
        replay("sealed", super::sealed);
    }

    #[test]
    fn corpus_of_bodies_holds() {
        replay("request_body", super::request_body);
        replay("reply_body", super::reply_body);
    }

    #[test]
    fn corpus_of_cbor_and_contexts_holds() {
        replay("cbor", super::cbor);
        replay("context", super::context);
    }

    #[test]
    fn corpus_of_audits_holds() {
        replay("audit_log", super::audit_log);
        replay("audit_written", super::audit_written);
    }

    #[test]
    fn corpus_of_names_holds() {
        replay("names", super::names);
    }
}
