//! Writes lines (`docs/audit.md` section 3).
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use aws_lc_rs::digest;
use serde::Serialize;

use super::hex::Hex32;
use super::record::{Entry, Record};
use super::verify::Reason;
use crate::code::{Code, Fault};
use crate::limits::AUDIT_LINE_MAX_BYTES;

/// `prev` of the first line.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Where a log ends: the sequence of its next line, and the hash of its last one.
///
/// A writer whose write failed goes on with the state of before, so keep a clone until the line
/// is in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    next: u64,
    prev: String,
    generation: u64,
}

impl Chain {
    /// An empty log.
    pub fn new() -> Self {
        Self { next: 1, prev: GENESIS.to_owned(), generation: 0 }
    }

    /// The log that ends with this line, given without its newline, and what the line says.
    ///
    /// # Errors
    /// `Reason`: it is not a line of an audit log. What stands before it is not checked.
    pub fn after(line: &[u8]) -> Result<(Self, Entry), Reason> {
        let entry = read_line(line)?;
        Ok((Self::following(&entry, hash(line))?, entry))
    }

    pub(super) fn following(entry: &Entry, hash: String) -> Result<Self, Reason> {
        let next = entry.seq.checked_add(1).ok_or(Reason::NotARecord)?;
        Ok(Self { next, prev: hash, generation: entry.generation })
    }

    /// The sequence of the next line.
    pub fn next_sequence(&self) -> u64 {
        self.next
    }

    /// The registry generation of the last line; 0 when there is none.
    pub fn last_generation(&self) -> u64 {
        self.generation
    }

    /// The hash of the last line, in lower-case hex; [`GENESIS`] when there is none.
    pub fn last_hash(&self) -> &str {
        &self.prev
    }

    /// Appends the line of a record, with its newline, to `out`, and gives its sequence.
    ///
    /// A generation below that of the line before is raised to it: requests overtake each other
    /// between looking at the registry and being recorded.
    ///
    /// # Limits
    /// A line has at most 4,096 bytes without its newline.
    ///
    /// # Errors
    /// `internal`: the line would be longer. Nothing is appended, and the chain is as before.
    pub fn append(&mut self, record: &Record<'_>, out: &mut Vec<u8>) -> Result<u64, Fault> {
        let start = out.len();
        let generation = record.generation.max(self.generation);
        let record = Record { generation, ..*record };
        let line = Line { seq: self.next, prev: &self.prev, record };
        let written = serde_json::to_writer(&mut *out, &line);
        let bytes = out.get(start..).unwrap_or_default();
        if written.is_err() || bytes.len() > AUDIT_LINE_MAX_BYTES {
            out.truncate(start);
            return Err(Fault::new(Code::Internal, "audit record does not fit a line"));
        }
        let sequence = self.next;
        self.prev = hash(bytes);
        self.generation = generation;
        self.next = sequence.saturating_add(1);
        out.push(b'\n');
        Ok(sequence)
    }
}

impl Default for Chain {
    fn default() -> Self {
        Self::new()
    }
}

#[derive(Serialize)]
struct Line<'a> {
    seq: u64,
    prev: &'a str,
    #[serde(flatten)]
    record: Record<'a>,
}

/// The hash of a line without its newline: `prev` of the line after it.
pub fn line_hash(line: &[u8]) -> Hex32 {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, line).as_ref());
    Hex32(bytes)
}

/// How a line of this sequence begins, in every log.
pub fn line_start(sequence: u64) -> Vec<u8> {
    format!("{{\"seq\":{sequence},").into_bytes()
}

/// Reads a line without its newline, by itself: what stands before it is not checked.
///
/// # Errors
/// `Reason`: it is not a line of an audit log.
pub fn read_line(line: &[u8]) -> Result<Entry, Reason> {
    if line.len() > AUDIT_LINE_MAX_BYTES {
        return Err(Reason::TooLong);
    }
    if !line.starts_with(b"{") {
        return Err(Reason::NotARecord);
    }
    serde_json::from_slice(line).map_err(|_error| Reason::NotARecord)
}

/// SHA-256 in lower-case hex (FIPS 180-4).
pub(super) fn hash(line: &[u8]) -> String {
    line_hash(line).to_string()
}
