//! The body of the fuzz target of this crate (`docs/fuzzing.md`). Compiled for the fuzzer and for
//! tests only.

use crate::head::{self, HEAD_MAX_BYTES};

/// The head of a reply, as it comes in: nothing is decided before it is whole, and nothing that
/// follows it changes it.
pub fn reply_head(data: &[u8]) {
    let data = data.get(..HEAD_MAX_BYTES).unwrap_or(data);
    match head::parse(data) {
        Ok(Some(head)) => {
            assert!(head.bytes <= data.len() && head.status >= 200);
            let (whole, _body) = data.split_at(head.bytes);
            assert_eq!(head::parse(whole).as_ref(), Ok(&Some(head)));
            for end in 0..whole.len() {
                let part = whole.get(..end).unwrap_or_default();
                assert_eq!(head::parse(part), Ok(None), "after {end} bytes");
            }
        }
        Ok(None) => {}
        Err(error) => assert!(error.to_string().len() <= 256),
    }
}

#[cfg(test)]
#[path = "../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    #[test]
    fn corpus_of_reply_heads_holds() {
        super::replay::replay("reply_head", super::reply_head);
    }
}
