//! What the host says of the checkpoints of a log.

use std::collections::BTreeSet;

use sealhost_client::Call;
use wire::api::Verdict;
use wire::audit::{Checkpoint, Mark, read_line};
use wire::limits::BATCH_MAX_ITEMS;
use wire::name::ProviderName;

use crate::command::Session;
use crate::exit::Failure;

/// The host, while a log is read.
pub(super) struct Host<'a> {
    session: &'a Session,
    pub(super) confirmed: Confirmed,
    pending: Vec<String>,
}

/// What it said.
#[derive(Default)]
pub(super) struct Confirmed {
    /// The last checkpoint on its record, before the log was read.
    pub(super) last: Option<Mark>,
    /// Checkpoints that are its own.
    pub(super) valid: u64,
    /// The last of these.
    pub(super) last_valid: Option<u64>,
    /// Checkpoints of which it can say nothing, because no provider of theirs is open.
    pub(super) unknown: u64,
    /// Those providers.
    pub(super) closed: BTreeSet<ProviderName>,
    /// The first checkpoint that is not its own, and whose MAC it should have been.
    pub(super) forged: Option<(u64, Vec<ProviderName>)>,
}

impl<'a> Host<'a> {
    /// Asks for the last checkpoint on record.
    pub(super) fn ask(session: &'a Session) -> Result<Self, Failure> {
        let reply = session.ask(&Call::verify_audit(Vec::new())?)?.value;
        let confirmed = Confirmed { last: reply.last, ..Confirmed::default() };
        Ok(Self { session, confirmed, pending: Vec::new() })
    }

    /// Takes a checkpoint's line, to be asked about with others.
    pub(super) fn note(&mut self, line: &[u8]) -> Result<(), Failure> {
        // Who read it as a record has read it as text.
        self.pending.push(String::from_utf8_lossy(line).into_owned());
        if self.pending.len() >= BATCH_MAX_ITEMS { self.confirm() } else { Ok(()) }
    }

    /// Asks about those that were taken.
    pub(super) fn confirm(&mut self) -> Result<(), Failure> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let lines = std::mem::take(&mut self.pending);
        let reply = self.session.ask(&Call::verify_audit(lines.clone())?)?.value;
        let confirmed = &mut self.confirmed;
        for (line, result) in lines.iter().zip(reply.results) {
            match result.verdict {
                Verdict::Valid => {
                    confirmed.valid = confirmed.valid.saturating_add(1);
                    confirmed.last_valid = confirmed.last_valid.max(Some(result.sequence));
                }
                Verdict::Invalid => {
                    confirmed.forged.get_or_insert((result.sequence, result.providers));
                }
                Verdict::Unknown => {
                    confirmed.unknown = confirmed.unknown.saturating_add(1);
                    confirmed.closed.extend(named(line));
                }
            }
        }
        Ok(())
    }
}

impl Confirmed {
    /// How far the log is what the host wrote.
    pub(super) fn through(&self, reaches_mark: bool) -> Option<u64> {
        let mark = self.last.filter(|_| reaches_mark).map(|mark| mark.sequence);
        self.last_valid.max(mark)
    }
}

/// The providers that a checkpoint names.
fn named(line: &str) -> Vec<ProviderName> {
    let entry = read_line(line.as_bytes()).ok();
    let macs = entry.as_ref().and_then(Checkpoint::of).map(|(_, macs)| macs);
    macs.unwrap_or_default().iter().map(|mac| mac.provider.clone()).collect()
}
