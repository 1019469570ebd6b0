//! The subset of CBOR that our formats use, in its one deterministic encoding: unsigned integers,
//! byte strings, text strings, and heads of arrays and maps, each with the shortest head.
//! Anything else is refused (RFC 8949 section 4.2.1).
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

const UINT: u8 = 0;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;

/// Why bytes are not the deterministic encoding of what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotCanonical(pub(crate) &'static str);

pub(crate) fn uint(out: &mut Vec<u8>, value: u64) {
    head(out, UINT, value);
}

pub(crate) fn bytes(out: &mut Vec<u8>, value: &[u8]) {
    head(out, BYTES, length(value.len()));
    out.extend_from_slice(value);
}

pub(crate) fn text(out: &mut Vec<u8>, value: &str) {
    head(out, TEXT, length(value.len()));
    out.extend_from_slice(value.as_bytes());
}

pub(crate) fn array(out: &mut Vec<u8>, items: usize) {
    head(out, ARRAY, length(items));
}

pub(crate) fn map(out: &mut Vec<u8>, pairs: usize) {
    head(out, MAP, length(pairs));
}

/// Reads one item after the other from the front of its bytes.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn uint(&mut self) -> Result<u64, NotCanonical> {
        self.head(UINT)
    }

    pub(crate) fn array(&mut self) -> Result<u64, NotCanonical> {
        self.head(ARRAY)
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], NotCanonical> {
        let length = self.head(BYTES)?;
        self.take(length)
    }

    pub(crate) fn byte_array<const N: usize>(&mut self) -> Result<[u8; N], NotCanonical> {
        self.bytes()?.try_into().map_err(|_error| NotCanonical("a byte string of another length"))
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, NotCanonical> {
        let length = self.head(TEXT)?;
        str::from_utf8(self.take(length)?).map_err(|_error| NotCanonical("text that is not UTF-8"))
    }

    pub(crate) fn end(self) -> Result<(), NotCanonical> {
        if self.rest.is_empty() { Ok(()) } else { Err(NotCanonical("bytes after the end")) }
    }

    fn head(&mut self, major: u8) -> Result<u64, NotCanonical> {
        let [initial] = self.take_array()?;
        if initial >> 5 != major {
            return Err(NotCanonical("an item of another type"));
        }
        let (value, shortest) = match initial & 0x1f {
            direct @ 0..=23 => return Ok(u64::from(direct)),
            24 => (u64::from(u8::from_be_bytes(self.take_array()?)), 24),
            25 => (u64::from(u16::from_be_bytes(self.take_array()?)), 1 << 8),
            26 => (u64::from(u32::from_be_bytes(self.take_array()?)), 1 << 16),
            27 => (u64::from_be_bytes(self.take_array()?), 1 << 32),
            _ => return Err(NotCanonical("an indefinite or reserved length")),
        };
        if value < shortest {
            Err(NotCanonical("a head that is not the shortest"))
        } else {
            Ok(value)
        }
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], NotCanonical> {
        let (taken, rest) = usize::try_from(length)
            .ok()
            .and_then(|length| self.rest.split_at_checked(length))
            .ok_or(NotCanonical("truncated"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn take_array<const N: usize>(&mut self) -> Result<[u8; N], NotCanonical> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(NotCanonical("truncated"))?;
        self.rest = rest;
        Ok(*taken)
    }
}

fn head(out: &mut Vec<u8>, major: u8, value: u64) {
    let major = major << 5;
    if let Ok(value) = u8::try_from(value) {
        if value < 24 {
            out.push(major | value);
        } else {
            out.extend_from_slice(&[major | 24, value]);
        }
    } else if let Ok(value) = u16::try_from(value) {
        out.push(major | 25);
        out.extend_from_slice(&value.to_be_bytes());
    } else if let Ok(value) = u32::try_from(value) {
        out.push(major | 26);
        out.extend_from_slice(&value.to_be_bytes());
    } else {
        out.push(major | 27);
        out.extend_from_slice(&value.to_be_bytes());
    }
}

/// No platform has a `usize` wider than 64 bits.
fn length(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use ciborium::Value;
    use proptest::prelude::*;

    use super::*;

    fn refused(encoded: &[u8], reason: &'static str) {
        assert_eq!(Reader::new(encoded).uint(), Err(NotCanonical(reason)));
    }

    #[test]
    fn head_longer_than_needed_is_refused() {
        for encoded in [
            &[0x18, 23][..],
            &[0x19, 0, 255],
            &[0x1a, 0, 0, 255, 255],
            &[0x1b, 0, 0, 0, 0, 255, 255, 255, 255],
        ] {
            refused(encoded, "a head that is not the shortest");
        }
    }

    #[test]
    fn reserved_and_indefinite_heads_are_refused() {
        for initial in 0x1c..=0x1f {
            refused(&[initial], "an indefinite or reserved length");
        }
    }

    #[test]
    fn head_without_its_bytes_is_refused() {
        for encoded in [&[][..], &[0x18], &[0x19, 1], &[0x1b, 1, 0, 0, 0, 0, 0, 0]] {
            refused(encoded, "truncated");
        }
    }

    #[test]
    fn string_longer_than_the_input_is_refused() {
        let mut reader = Reader::new(&[0x5b, 255, 255, 255, 255, 255, 255, 255, 255, 0]);
        assert_eq!(reader.bytes(), Err(NotCanonical("truncated")));
    }

    proptest! {
        #[test]
        fn integer_is_written_as_ciborium_writes_it(value: u64, bits in 0_u32..64) {
            let value = value >> bits;
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            uint(&mut ours, value);
            ciborium::into_writer(&Value::from(value), &mut theirs).unwrap();
            prop_assert_eq!(&ours, &theirs);
            prop_assert_eq!(Reader::new(&ours).uint(), Ok(value));
        }

        #[test]
        fn string_is_written_as_ciborium_writes_it(value in ".{0,300}") {
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            text(&mut ours, &value);
            ciborium::into_writer(&Value::from(value.as_str()), &mut theirs).unwrap();
            prop_assert_eq!(&ours, &theirs);
            let mut reader = Reader::new(&ours);
            prop_assert_eq!(reader.text(), Ok(value.as_str()));
            prop_assert_eq!(reader.end(), Ok(()));
        }
    }
}
