//! The two encodings: binary (section 1) and text (section 7). Every value has one encoding, and
//! nothing else is read.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{Envelope, FORMAT_VERSION, Method, NONCE_BYTES, Recipient, TAG_BYTES, TEXT_PREFIX};
use crate::api::Protection;
use crate::cbor::{self, NotCanonical, Reader};
use crate::code::{Code, Fault};
use crate::limits::{ENVELOPE_MAX_BYTES, PLAINTEXT_MAX_BYTES, RECIPIENTS_MAX};
use crate::name::{KeyName, ProviderName};

const MAGIC: &str = "sealhost";
const FIELDS: u64 = 7;
const RECIPIENT_FIELDS: u64 = 7;

impl Envelope {
    /// Writes the binary form.
    ///
    /// # Spec
    /// `docs/envelope.md` section 1.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = encode_header(&self.key_name, &self.recipients, &self.nonce);
        cbor::bytes(&mut out, &self.ciphertext);
        cbor::bytes(&mut out, &self.header_mac);
        out
    }

    /// Reads the binary form.
    ///
    /// # Limits
    /// 1 MiB and 4 KiB; one past it is `too_large`.
    ///
    /// # Errors
    /// `malformed`: not the one encoding of an envelope of this version. Nothing is
    /// authenticated yet.
    ///
    /// # Spec
    /// `docs/envelope.md` section 1.
    pub fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        if bytes.len() > ENVELOPE_MAX_BYTES {
            return Err(Fault::over("envelope", bytes.len(), ENVELOPE_MAX_BYTES));
        }
        read(bytes).map_err(|error| malformed(&error.to_string()))
    }

    /// Writes the text form: one line without an end of line.
    ///
    /// # Spec
    /// `docs/envelope.md` section 7.
    pub fn to_text(&self) -> String {
        let mut text = TEXT_PREFIX.to_owned();
        URL_SAFE_NO_PAD.encode_string(self.encode(), &mut text);
        text
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// `malformed`: another prefix, or base64url that is padded or not canonical. Otherwise as
    /// [`Envelope::decode`].
    ///
    /// # Spec
    /// `docs/envelope.md` section 7.
    pub fn parse_text(text: &str) -> Result<Self, Fault> {
        let encoded = text
            .strip_prefix(TEXT_PREFIX)
            .ok_or_else(|| malformed("text that does not begin with sealhost:1:"))?;
        let bytes = URL_SAFE_NO_PAD
            .decode(encoded)
            .map_err(|_error| malformed("text that is not base64url without padding"))?;
        Self::decode(&bytes)
    }
}

/// What the header MAC covers: the binary form from its first byte to the end of the nonce.
pub(super) fn encode_header(
    key_name: &KeyName,
    recipients: &[Recipient],
    nonce: &[u8; NONCE_BYTES],
) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    cbor::array(&mut out, 7);
    cbor::text(&mut out, MAGIC);
    cbor::uint(&mut out, u64::from(FORMAT_VERSION));
    cbor::text(&mut out, key_name.as_str());
    cbor::array(&mut out, recipients.len());
    for recipient in recipients {
        cbor::array(&mut out, 7);
        cbor::uint(&mut out, method_number(recipient.method));
        cbor::bytes(&mut out, &recipient.key_id);
        cbor::uint(&mut out, u64::from(recipient.version));
        cbor::text(&mut out, &recipient.provider_kind);
        cbor::uint(&mut out, protection_number(recipient.protection));
        cbor::bytes(&mut out, &recipient.salt);
        cbor::bytes(&mut out, &recipient.wrapped);
    }
    cbor::bytes(&mut out, nonce);
    out
}

fn read(bytes: &[u8]) -> Result<Envelope, NotCanonical> {
    let mut reader = Reader::new(bytes);
    if reader.array()? != FIELDS || reader.text()? != MAGIC {
        return Err(NotCanonical("not an envelope"));
    }
    if reader.uint()? != u64::from(FORMAT_VERSION) {
        return Err(NotCanonical("an unknown format version"));
    }
    let key_name =
        KeyName::parse(reader.text()?).map_err(|_error| NotCanonical("a bad key name"))?;
    let recipients = (0..recipient_count(&mut reader)?)
        .map(|_| read_recipient(&mut reader))
        .collect::<Result<_, _>>()?;
    let nonce = reader.byte_array()?;
    let ciphertext = reader.bytes()?;
    let Some(0..=PLAINTEXT_MAX_BYTES) = ciphertext.len().checked_sub(TAG_BYTES) else {
        return Err(NotCanonical("a ciphertext of another length"));
    };
    let header_mac = reader.byte_array()?;
    reader.end()?;
    Ok(Envelope { key_name, recipients, nonce, ciphertext: ciphertext.to_vec(), header_mac })
}

fn recipient_count(reader: &mut Reader<'_>) -> Result<usize, NotCanonical> {
    let Ok(count @ 1..=RECIPIENTS_MAX) = usize::try_from(reader.array()?) else {
        return Err(NotCanonical("a number of recipients out of range"));
    };
    Ok(count)
}

fn read_recipient(reader: &mut Reader<'_>) -> Result<Recipient, NotCanonical> {
    if reader.array()? != RECIPIENT_FIELDS {
        return Err(NotCanonical("not a recipient"));
    }
    let method = match reader.uint()? {
        1 => Method::HmacKdf,
        _ => return Err(NotCanonical("an unknown method")),
    };
    let key_id = reader.byte_array()?;
    let Ok(version @ 1..) = u32::try_from(reader.uint()?) else {
        return Err(NotCanonical("a key version out of range"));
    };
    let provider_kind = reader.text()?.to_owned();
    ProviderName::parse(&provider_kind).map_err(|_error| NotCanonical("a bad provider kind"))?;
    let protection = match reader.uint()? {
        1 => Protection::Software,
        2 => Protection::Emulated,
        3 => Protection::Hardware,
        _ => return Err(NotCanonical("an unknown protection")),
    };
    let salt = reader.byte_array()?;
    let wrapped = reader.byte_array()?;
    Ok(Recipient { method, key_id, version, provider_kind, protection, salt, wrapped })
}

fn method_number(method: Method) -> u64 {
    match method {
        Method::HmacKdf => 1,
    }
}

fn protection_number(protection: Protection) -> u64 {
    match protection {
        Protection::Software => 1,
        Protection::Emulated => 2,
        Protection::Hardware => 3,
        // No seal key has it, and none is read; the number is reserved.
        Protection::Wrapped => 4,
    }
}

fn malformed(what: &str) -> Fault {
    Fault::new(Code::Malformed, format!("envelope: {what}"))
}
