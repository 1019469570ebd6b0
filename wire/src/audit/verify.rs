//! Reads a log and says whether it is whole (`docs/audit.md` section 6).
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::collections::BTreeMap;

use super::chain::{Chain, hash, read_line};
use super::checkpoint::Checkpoint;
use super::record::{Entry, Kind};
use crate::limits::AUDIT_LINE_MAX_BYTES;

/// Checks lines, one after the other. It ends with the first fault.
#[derive(Debug)]
pub struct Verifier {
    expected: Option<Chain>,
    whole: bool,
    lines: u64,
    first: u64,
    open: BTreeMap<String, u64>,
    checkpoints: u64,
    last_checkpoint: Option<u64>,
    removed_through: Option<u64>,
}

impl Verifier {
    /// For a log from its first line.
    pub fn from_start() -> Self {
        Self { expected: Some(Chain::new()), whole: true, ..Self::continued() }
    }

    /// For a log whose beginning may be elsewhere: its first line is taken as it is, and an
    /// outcome may belong to an intent of before. Where its first line is the first of all, this
    /// is as [`from_start`](Self::from_start).
    pub fn continued() -> Self {
        Self {
            expected: None,
            whole: false,
            lines: 0,
            first: 0,
            open: BTreeMap::new(),
            checkpoints: 0,
            last_checkpoint: None,
            removed_through: None,
        }
    }

    /// Checks the next line, given without its newline, and gives what it says.
    ///
    /// # Errors
    /// `LineFault`: the first fault, with the number of its line. A line that was changed shows
    /// at the line after it.
    pub fn feed(&mut self, line: &[u8]) -> Result<Entry, LineFault> {
        let number = self.lines.saturating_add(1);
        let entry = self.check(line).map_err(|reason| LineFault { line: number, reason })?;
        if self.lines == 0 {
            self.first = entry.seq;
        }
        self.lines = number;
        Ok(entry)
    }

    /// What was read.
    pub fn finish(self) -> Summary {
        let end = self.expected.unwrap_or_default();
        let open = self.open.into_iter();
        let mut open_intents: Vec<_> =
            open.map(|(request, sequence)| OpenIntent { sequence, request }).collect();
        open_intents.sort_by_key(|intent| intent.sequence);
        Summary {
            lines: self.lines,
            first_sequence: self.first,
            last_sequence: end.next_sequence().saturating_sub(1),
            last_generation: end.last_generation(),
            last_hash: end.last_hash().to_owned(),
            open_intents,
            checkpoints: self.checkpoints,
            last_checkpoint: self.last_checkpoint,
            removed_through: self.removed_through,
        }
    }

    fn check(&mut self, line: &[u8]) -> Result<Entry, Reason> {
        let entry = read_line(line)?;
        if self.expected.is_none() && entry.seq == 1 {
            self.expected = Some(Chain::new());
            self.whole = true;
        }
        if let Some(chain) = &self.expected {
            let (expected, found) = (chain.next_sequence(), entry.seq);
            if found > expected {
                return Err(Reason::Missing { expected, found });
            }
            if found < expected {
                return Err(Reason::Order { expected, found });
            }
            if entry.prev != chain.last_hash() {
                return Err(Reason::Chain);
            }
            if entry.generation < chain.last_generation() {
                let before = chain.last_generation();
                return Err(Reason::Generation { before, found: entry.generation });
            }
        }
        self.pair(&entry)?;
        self.expected = Some(Chain::following(&entry, hash(line))?);
        Ok(entry)
    }

    fn pair(&mut self, entry: &Entry) -> Result<(), Reason> {
        match entry.kind {
            Kind::Intent => {
                let request = entry.request.clone().ok_or(Reason::NoRequestId)?;
                match self.open.insert(request, entry.seq) {
                    None => Ok(()),
                    Some(_) => Err(Reason::IntentTwice),
                }
            }
            Kind::Outcome => {
                let request = entry.request.as_ref().ok_or(Reason::NoRequestId)?;
                let found = self.open.remove(request).is_some();
                if found || !self.whole { Ok(()) } else { Err(Reason::OutcomeWithoutIntent) }
            }
            Kind::Checkpoint => {
                Checkpoint::of(entry).ok_or(Reason::Fields)?;
                self.checkpoints = self.checkpoints.saturating_add(1);
                self.last_checkpoint = Some(entry.seq);
                Ok(())
            }
            Kind::Removed => {
                let through = entry.through.filter(|through| *through < entry.seq);
                let through = through.ok_or(Reason::Fields)?;
                self.removed_through = self.removed_through.max(Some(through));
                Ok(())
            }
            Kind::Start
            | Kind::Stop
            | Kind::Reload
            | Kind::Request
            | Kind::Refused
            | Kind::Recovered => Ok(()),
        }
    }
}

/// What a whole log holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// How many lines.
    pub lines: u64,
    /// Sequence of the first line; 0 when there is none.
    pub first_sequence: u64,
    /// Sequence of the last line; 0 when there is none.
    pub last_sequence: u64,
    /// Registry generation of the last line.
    pub last_generation: u64,
    /// Hash of the last line, in lower-case hex; [`super::GENESIS`] when there is none.
    pub last_hash: String,
    /// Changes without an outcome, rising: the host was stopped hard while it made them, or could
    /// not write how they ended.
    pub open_intents: Vec<OpenIntent>,
    /// How many checkpoints. Their MACs are not checked here.
    pub checkpoints: u64,
    /// Sequence of the last one.
    pub last_checkpoint: Option<u64>,
    /// How far the log says that its oldest lines were removed. A log that begins later than with
    /// the line after these lacks lines that nobody removed in order.
    pub removed_through: Option<u64>,
}

impl Summary {
    /// Whether the log begins with its first line, or lacks only what it says was removed.
    pub fn begins_in_order(&self) -> bool {
        let before = self.first_sequence.saturating_sub(1);
        before <= self.removed_through.unwrap_or(0)
    }
}

/// A change without an outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenIntent {
    /// Sequence of the intent.
    pub sequence: u64,
    /// Its request id.
    pub request: String,
}

/// The first fault of a log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct LineFault {
    /// Number of the line in what was read, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub reason: Reason,
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// It has too many bytes.
    #[error("longer than {AUDIT_LINE_MAX_BYTES} bytes")]
    TooLong,
    /// It is not a JSON object with the fields of a record.
    #[error("not an audit record")]
    NotARecord,
    /// Its `prev` is not the hash of the line before.
    #[error("does not follow the line before: one of the two was changed")]
    Chain,
    /// Its sequence is beyond the next.
    #[error("sequence {found} where {expected} follows: the lines between are missing")]
    Missing {
        /// What follows.
        expected: u64,
        /// What stands there.
        found: u64,
    },
    /// Its sequence was there before.
    #[error(
        "sequence {found} where {expected} follows: lines or files are repeated or out of order"
    )]
    Order {
        /// What follows.
        expected: u64,
        /// What stands there.
        found: u64,
    },
    /// The generation of the registry fell.
    #[error("registry generation {found} after {before}")]
    Generation {
        /// That of the line before.
        before: u64,
        /// That of this line.
        found: u64,
    },
    /// An intent or outcome without a request id.
    #[error("an intent or outcome without a request id")]
    NoRequestId,
    /// A second intent with the same request id, without an outcome between.
    #[error("a second intent with the same request id")]
    IntentTwice,
    /// An outcome whose intent is not in the log.
    #[error("an outcome without its intent")]
    OutcomeWithoutIntent,
    /// A checkpoint or removal without what belongs to it.
    #[error("a checkpoint or removal without its fields")]
    Fields,
}
