//! The ids of the dialect of the aziot Key Service (`docs/keyd.md`), which may be any text, as names
//! of keys, and back.
//!
//! A key is `keyd/key/ID`, a key pair `keyd/pair/ID`, so that both have a name space of their own
//! and no other key of the host can be named. Of an id, letters and digits stand for themselves, as
//! do `.` and `-` but at the beginning; every other byte is `_` and two hexadecimal digits.

use std::fmt::Write;

use crate::name::KeyName;

/// What an id is of. A key and a pair of one id are two keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A symmetric key.
    Key,
    /// A key pair.
    Pair,
}

/// Longest pattern of ids in a configuration, characters.
pub const PATTERN_MAX_CHARS: usize = 512;

/// Ids that nobody has: the peer authenticates its handles with keys of these names.
const RESERVED: [&str; 1] = ["handle-validation-key"];

/// Why an id names no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadId {
    /// It is empty, has a zero byte, or is too long.
    Invalid(&'static str),
    /// It is reserved.
    Reserved,
}

impl Kind {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Key => "keyd/key/",
            Self::Pair => "keyd/pair/",
        }
    }
}

/// The name of the key of an id.
///
/// # Limits
/// A name has at most 128 bytes, of which 9 or 10 are the prefix; an escaped byte takes three.
///
/// # Errors
/// [`BadId`].
pub fn name_of(kind: Kind, id: &str) -> Result<KeyName, BadId> {
    if id.is_empty() {
        return Err(BadId::Invalid("it is empty"));
    }
    if id.contains('\0') {
        return Err(BadId::Invalid("it has a zero byte"));
    }
    if RESERVED.contains(&id) {
        return Err(BadId::Reserved);
    }
    let mut name = kind.prefix().to_owned();
    for (place, byte) in id.bytes().enumerate() {
        if stands_for_itself(byte, place) {
            name.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(name, "_{byte:02X}");
        }
    }
    KeyName::parse(&name).map_err(|_too_long| BadId::Invalid("it is too long"))
}

/// The id of the key of a name; `None` for a name that is not one of the dialect, or is not written
/// as [`name_of`] writes it: no two names have one id.
pub fn id_of(name: &str) -> Option<(Kind, String)> {
    let of = |kind: Kind| name.strip_prefix(kind.prefix()).map(|rest| (kind, rest));
    let (kind, rest) = of(Kind::Key).or_else(|| of(Kind::Pair))?;
    let mut id = Vec::with_capacity(rest.len());
    let mut bytes = rest.bytes();
    while let Some(byte) = bytes.next() {
        let (meant, escaped) = match byte {
            b'_' => (digit(bytes.next()?)? * 16 + digit(bytes.next()?)?, true),
            other => (other, false),
        };
        if escaped == stands_for_itself(meant, id.len()) {
            return None;
        }
        id.push(meant);
    }
    Some((kind, String::from_utf8(id).ok()?))
}

const fn stands_for_itself(byte: u8, place: usize) -> bool {
    byte.is_ascii_alphanumeric() || (place > 0 && matches!(byte, b'.' | b'-'))
}

/// The value of a digit as [`name_of`] writes it.
fn digit(byte: u8) -> Option<u8> {
    let digit = char::from(byte).to_digit(16).filter(|_| !byte.is_ascii_lowercase());
    digit.and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(id: &str, name: Result<&str, BadId>) {
        let named = name_of(Kind::Key, id);
        assert_eq!(named.as_ref().map(KeyName::as_str).map_err(|bad| *bad), name);
        if let Ok(name) = name {
            assert_eq!(id_of(name), Some((Kind::Key, id.to_owned())));
        }
    }

    #[test]
    fn plain_id_stands_for_itself() {
        check("mysymmtestkey", Ok("keyd/key/mysymmtestkey"));
        check("a-1.b", Ok("keyd/key/a-1.b"));
    }

    #[test]
    fn other_bytes_are_escaped_and_come_back() {
        check("preX/Y", Ok("keyd/key/preX_2FY"));
        check("-a_b c", Ok("keyd/key/_2Da_5Fb_20c"));
        check("é", Ok("keyd/key/_C3_A9"));
        check("..", Ok("keyd/key/_2E."));
    }

    #[test]
    fn id_that_names_no_key_is_refused() {
        check("", Err(BadId::Invalid("it is empty")));
        check("a\0b", Err(BadId::Invalid("it has a zero byte")));
        check("handle-validation-key", Err(BadId::Reserved));
    }

    #[test]
    fn id_at_the_limit_is_taken_and_a_longer_one_is_not() {
        let longest = "a".repeat(119);
        check(&longest, Ok(&format!("keyd/key/{longest}")));
        check(&"a".repeat(120), Err(BadId::Invalid("it is too long")));
    }

    #[test]
    fn pair_has_a_name_space_of_its_own() {
        let name = name_of(Kind::Pair, "a").unwrap();
        assert_eq!(id_of(name.as_str()), Some((Kind::Pair, "a".to_owned())));
    }

    #[test]
    fn name_of_another_key_has_no_id() {
        for name in ["a", "keyd/a", "keyd/key/a/b", "keyd/key/_G0", "keyd/key/_2"] {
            assert_eq!(id_of(name), None, "{name}");
        }
    }

    #[test]
    fn name_that_writes_an_id_otherwise_has_none() {
        for name in
            ["keyd/key/_61", "keyd/key/a_2Eb", "keyd/key/_2f", "keyd/key/.a", "keyd/key/a b"]
        {
            assert_eq!(id_of(name), None, "{name}");
        }
    }
}
