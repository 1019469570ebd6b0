//! Where input comes from: a file, or standard input.

use std::convert::Infallible;
use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal as _, Read};
use std::path::PathBuf;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use wire::sas::SecretText;
use zeroize::Zeroizing;

use crate::exit::Failure;
use crate::screen::note;

/// A file, or `-` for standard input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Stdin,
    File(PathBuf),
}

impl FromStr for Source {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(if text == "-" { Self::Stdin } else { Self::File(text.into()) })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdin => f.write_str("standard input"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Source {
    /// Opens it. A person at a terminal is told what is waited for.
    pub(crate) fn open(&self, what: &str) -> Result<Box<dyn Read>, Failure> {
        match self {
            Self::Stdin => {
                if io::stdin().is_terminal() {
                    note(&format!("reading {what} from the terminal; end with Ctrl-D"));
                }
                Ok(Box::new(io::stdin()))
            }
            Self::File(path) => {
                let file = File::open(path).map_err(|error| self.unreadable(&error))?;
                Ok(Box::new(file))
            }
        }
    }

    /// Reads it whole. More than `limit` bytes are not read.
    pub(crate) fn read(&self, what: &str, limit: usize) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let mut bytes = Zeroizing::new(Vec::new());
        let one_more = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        let read = self.open(what)?.take(one_more).read_to_end(&mut bytes);
        read.map_err(|error| self.unreadable(&error))?;
        if bytes.len() > limit {
            return Err(Failure::usage(
                format!("{what} from {self} exceeds limit of {limit} bytes"),
                "give less",
            ));
        }
        Ok(bytes)
    }

    /// Reads a line of base64.
    pub(crate) fn read_base64(
        &self,
        what: &str,
        limit: usize,
    ) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let text = self.read(what, limit.div_ceil(3).saturating_mul(4).saturating_add(2))?;
        decode(&text).ok_or_else(|| {
            Failure::usage(
                format!("{what} from {self} is not base64"),
                "give the standard alphabet with padding (RFC 4648 section 4)",
            )
        })
    }

    /// Reads a secret line of text; one line break may end it.
    pub(crate) fn read_line<const MAX: usize>(
        &self,
        what: &str,
        limit: usize,
    ) -> Result<SecretText<MAX>, Failure> {
        let bytes = self.read(what, limit.saturating_add(2))?;
        let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = std::str::from_utf8(line).map_err(|_error| {
            Failure::usage(format!("{what} from {self} is no text"), "give one line of UTF-8")
        })?;
        SecretText::new(Zeroizing::new(text.to_owned()))
            .map_err(|fault| Failure::usage(format!("{what}: {}", fault.detail), "give less"))
    }

    pub(crate) fn unreadable(&self, error: &io::Error) -> Failure {
        Failure::usage(format!("cannot read {self}: {error}"), "check the path and who may read it")
    }
}

/// Decodes base64 with white space around it.
pub(crate) fn decode(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    STANDARD.decode(text.trim_ascii()).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], limit: usize) -> Result<Vec<u8>, Failure> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        Ok(Source::File(file.path().to_owned()).read("text", limit)?.to_vec())
    }

    #[test]
    fn input_at_limit_is_read() {
        assert_eq!(check(b"abc", 3).unwrap(), b"abc");
    }

    #[test]
    fn input_one_past_limit_is_refused() {
        let Failure::Usage { what, .. } = check(b"abcd", 3).unwrap_err() else { panic!() };
        assert!(what.starts_with("text from ") && what.ends_with("exceeds limit of 3 bytes"));
    }

    #[test]
    fn line_at_limit_is_read_without_its_break_and_one_past_it_refused() {
        let read = |bytes: &[u8]| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), bytes).unwrap();
            let line = Source::File(file.path().to_owned()).read_line::<3>("text", 3);
            line.map(|line| line.as_str().to_owned()).ok()
        };
        for text in [&b"abc"[..], b"abc\n", b"abc\r\n"] {
            assert_eq!(read(text).as_deref(), Some("abc"));
        }
        for text in [&b"abcd"[..], b"abcd\n", b"ab\xff"] {
            assert_eq!(read(text), None);
        }
        assert_eq!(read(b"a\n\n").as_deref(), Some("a\n"));
    }

    #[test]
    fn base64_may_end_with_a_line_feed() {
        assert_eq!(decode(b"AAEC\n").unwrap().as_slice(), [0, 1, 2]);
    }

    #[test]
    fn other_spellings_of_base64_are_refused() {
        for text in [&b"AA-_"[..], b"AAE", b"AA EC", b"="] {
            assert!(decode(text).is_none());
        }
    }
}
