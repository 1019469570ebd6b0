//! Reading and writing the stored forms. They are read strictly: one version, exact lengths, nothing
//! behind the end.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use provider_core::{ErrorKind, ProviderError, Result};

/// Appends a text of a token, which has at most 32 characters of at most 3 bytes (a broken byte
/// becomes U+FFFD); what is past 255 bytes is cut.
pub(crate) fn push_text(bytes: &mut Vec<u8>, text: &str) {
    let kept = (0..=text.len().min(255)).rev().find_map(|end| text.get(..end)).unwrap_or_default();
    bytes.push(u8::try_from(kept.len()).unwrap_or_default());
    bytes.extend_from_slice(kept.as_bytes());
}

pub(crate) fn malformed() -> ProviderError {
    ProviderError::new(ErrorKind::Integrity, "blob is malformed")
}

/// What is left to read.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take(N)?.try_into().map_err(|_length| malformed())
    }

    pub(crate) fn expect(&mut self, magic: &[u8]) -> Result<()> {
        if self.take(magic.len())? == magic { Ok(()) } else { Err(malformed()) }
    }

    pub(crate) fn text(&mut self) -> Result<String> {
        let [length] = self.array()?;
        let bytes = self.take(length.into())?;
        String::from_utf8(bytes.to_vec()).map_err(|_not_utf8| malformed())
    }

    pub(crate) fn end(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(malformed()) }
    }
}
