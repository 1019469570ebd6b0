//! The audit file: every record is in it before the reply goes out.
//!
//! Here are the files, their lock, sync, rotation and recovery; what a line says and how lines are
//! chained is `wire::audit`'s. One writer has the file for itself. A record is one write(2),
//! complete when [`AuditWriter::append`] returns, and on the disk within [`SYNC_DELAY`] and the
//! time that the disk takes. [`Recorded`] is made only here, so that a stage which asks for one
//! cannot be reached by a request without a record.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use wire::audit::{Chain, Kind, Mark, Outcome, Principal, Record};
use wire::code::Code;

use crate::clock::Clock;
use crate::peer;

mod end;
mod error;
mod file;
mod keeper;
mod mark;
mod older;
mod recorded;
mod refusals;
mod settings;
mod shared;
mod witness;

use error::{io_error, tail_error};
use file::LineFile;
use keeper::Upkeep;
use refusals::Admission;
use shared::{Shared, State};

pub use error::AuditError;
pub use keeper::{CHECKPOINT_EVERY, CHECKPOINT_LINES, CHECKPOINT_SOON};
pub use older::{OlderFile, older_files};
pub use recorded::{Evidence, Exempt, Recorded};
pub use refusals::{ALL_REFUSALS_PER_SECOND, COUNTED_USERS, REFUSALS_PER_SECOND};
pub use settings::{ROTATE_BYTES, ROTATE_BYTES_MIN, Settings};
pub use witness::Witness;

/// Longest time between a record's write and the beginning of its sync; half of the 100 ms that
/// a record may stay unsynced, so that the disk has the other half.
pub const SYNC_DELAY: Duration = Duration::from_millis(50);

/// An audit that was opened and not yet written to.
///
/// It knows what the last line says, so that the registry can be compared before the first record.
pub struct AuditTail {
    path: PathBuf,
    settings: Settings,
    lines: LineFile,
    older: Vec<OlderFile>,
    chain: Chain,
    generation: Option<u64>,
    first: u64,
    torn_bytes: u64,
    remembered: Option<u64>,
    lost: bool,
}

/// Opens the newest file of an audit, or creates it with mode 0600, for this process alone.
///
/// The last line must be a record. What stands after the last line break, left by a power cut in
/// the middle of a write, is cut off and counted; so are lines with zero bytes at the very end,
/// which some file systems leave. Where the file has no line, the audit goes on from the last line
/// of the newest of the older files: a crash came in the middle of a rotation, or just after it.
///
/// # Limits
/// Of the lines before, the last 1,000 of the newest file are checked, as far as they are within
/// its last 1 MiB: each is a record and follows the one before. The whole log is
/// `wire::audit::Verifier`'s matter.
///
/// # Errors
/// [`AuditError::Trust`], [`AuditError::NotAFile`], [`AuditError::InUse`], [`AuditError::Tail`],
/// [`AuditError::Broken`], [`AuditError::Io`]: the file is as it was found.
pub fn open(settings: &Settings) -> Result<AuditTail, AuditError> {
    let (mut lines, path) = file::open(&settings.path)?;
    let older = older_files(&path).map_err(io_error(&path, "listed"))?;
    let tail = lines.tail().map_err(io_error(&path, "read"))?;
    let (chain, generation, first) = match tail.last_line {
        None => {
            let (chain, generation) = match older.last() {
                None => (Chain::new(), None),
                Some(newest) => end::of_older(&newest.path)?,
            };
            let first = chain.next_sequence();
            if !lines.is_unfinished_first(first).map_err(io_error(&path, "read"))? {
                return Err(tail_error(&path, "is not a line of an audit"));
            }
            (chain, generation, first)
        }
        Some(line) => {
            let line = line.ok_or_else(|| tail_error(&path, "is too long"))?;
            let (chain, entry) =
                Chain::after(&line).map_err(|reason| tail_error(&path, &reason.to_string()))?;
            end::check(&path, &lines, lines.length().saturating_sub(tail.torn_bytes))?;
            (chain, Some(entry.generation), end::first_sequence(&path, &lines)?)
        }
    };
    lines.cut(tail.torn_bytes).map_err(io_error(&path, "shortened"))?;
    Ok(AuditTail {
        path,
        settings: settings.clone(),
        lines,
        older,
        chain,
        generation,
        first,
        torn_bytes: tail.torn_bytes,
        remembered: None,
        lost: false,
    })
}

impl AuditTail {
    /// Returns the registry generation of the last line; none in an empty audit.
    #[must_use]
    pub fn last_generation(&self) -> Option<u64> {
        self.generation
    }

    /// Returns how many bytes of an unfinished line were cut off.
    #[must_use]
    pub fn torn_bytes(&self) -> u64 {
        self.torn_bytes
    }

    /// Checks that the audit still has the checkpoint that is remembered elsewhere, and that
    /// everything after it holds together. Returns the last checkpoint after it, as its line: a
    /// crash came before that one was remembered, or somebody wrote it who is no witness.
    ///
    /// # Errors
    /// [`AuditError::CutOff`], [`AuditError::Rewritten`], [`AuditError::BeginsLater`],
    /// [`AuditError::Broken`], [`AuditError::Io`].
    pub fn check(&mut self, mark: Mark) -> Result<Option<Vec<u8>>, AuditError> {
        let newest = OlderFile { first: self.first, path: self.path.clone() };
        let after = mark::check(&self.path, &newest, &self.older, mark)?;
        self.remembered = Some(mark.sequence);
        Ok(after)
    }

    /// Has the first record say that an earlier audit is lost, which an operator accepts: its
    /// outcome is `integrity`.
    pub fn note_loss(&mut self) {
        self.lost = true;
    }

    /// Writes and syncs the first record of this run, of kind `Start`, which also says what was
    /// cut off, and starts the threads that sync and keep it.
    ///
    /// # Errors
    /// [`AuditError::Generation`]: `generation` is less than the last line's. Otherwise as
    /// [`AuditWriter::append_synced`].
    pub fn start(self, generation: u64, clock: Clock) -> Result<AuditWriter, AuditError> {
        let last = self.generation.unwrap_or(0);
        if generation < last {
            return Err(AuditError::Generation { path: self.path, found: generation, last });
        }
        let time = clock.now_text();
        let torn_bytes = (self.torn_bytes > 0).then_some(self.torn_bytes);
        let upkeep = Upkeep::new(self.first, self.remembered);
        let state = State::new(self.lines, self.chain, upkeep);
        let writer = AuditWriter::run(Shared::new(self.path, self.settings, clock, state))?;
        let outcome = self.lost.then_some(Outcome::Failed(Code::Integrity));
        let start = Record { torn_bytes, outcome, ..Record::new(Kind::Start, &time, generation) };
        let _start = writer.append_synced(&start)?;
        Ok(writer)
    }
}

/// Writes the audit, for any number of threads.
///
/// Dropped without [`AuditWriter::close`] it closes by itself and logs what goes wrong.
pub struct AuditWriter {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl AuditWriter {
    fn run(shared: Arc<Shared>) -> Result<Self, AuditError> {
        let thread = |name: &str, run: fn(&Shared)| {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new().name(name.into()).spawn(move || run(&shared))
        };
        let threads = [
            thread("audit-sync", Shared::sync_until_closed),
            thread("audit-keep", Shared::keep_until_closed),
        ];
        let threads = threads.into_iter().collect::<Result<_, _>>();
        let threads = threads.map_err(io_error(&shared.path, "synced"))?;
        Ok(Self { shared, threads: Mutex::new(threads) })
    }

    /// Has checkpoints made from now on, the first one before this returns: within
    /// [`CHECKPOINT_SOON`] after a key change or [`CHECKPOINT_LINES`] lines, within
    /// [`CHECKPOINT_EVERY`] after any line, before a rotation, and as the last line of all.
    ///
    /// A checkpoint that cannot be made is logged and tried again. Blocks for as long as the disk
    /// takes.
    pub fn witnessed_by(&self, witness: Arc<dyn Witness>) {
        self.shared.lock().upkeep.witness = Some(witness);
        self.shared.keep();
    }

    /// Has a file that another program moved away replaced by a new one soon.
    pub fn look_for_file(&self) {
        self.shared.ask_keeper();
    }

    /// Writes one record; it is in the file when this returns, and synced soon after.
    ///
    /// A record whose generation is less than one written before, because its request began
    /// before a key change that ended first, is written with the greater: lines never go back.
    ///
    /// # Errors
    /// [`AuditError::Io`]: nothing of the record is in the file; it may be tried again, as when
    /// the disk has room again. [`AuditError::Unsynced`]: an earlier record may be lost; for good.
    /// [`AuditError::Closed`]. [`AuditError::Record`]: the record is longer than a line may be.
    pub fn append(&self, record: &Record<'_>) -> Result<Recorded, AuditError> {
        let mut state = self.shared.lock();
        let sequence = self.shared.write(&mut state, record)?;
        Ok(Recorded::by(Evidence::Line(sequence)))
    }

    /// Writes one record and syncs it: it is on the disk when this returns.
    ///
    /// Blocks for as long as the disk takes; not to be called from an async task.
    ///
    /// # Errors
    /// As [`AuditWriter::append`].
    pub fn append_synced(&self, record: &Record<'_>) -> Result<Recorded, AuditError> {
        let recorded = self.append(record)?;
        self.shared.sync(self.shared.lock())?;
        Ok(recorded)
    }

    /// Writes the record of a refused or malformed request, or only counts it.
    ///
    /// Ten a second of each user are written; the rest of that second becomes one record of kind
    /// `Refused` with their number, written when the second is over or the writer closes.
    ///
    /// # Limits
    /// [`REFUSALS_PER_SECOND`] for each uid, [`ALL_REFUSALS_PER_SECOND`] for all; beyond
    /// [`COUNTED_USERS`] in a second, users share one count, as records without a principal do.
    ///
    /// # Errors
    /// As [`AuditWriter::append`]; what could not be written is not counted either.
    pub fn append_refusal(&self, record: &Record<'_>) -> Result<Recorded, AuditError> {
        let principal = record.principal;
        let mut state = self.shared.lock();
        self.shared.fit_to_write(&state)?;
        let now = self.shared.clock.passed();
        self.shared.write_due(&mut state, now);
        match state.refusals.admit(principal, now) {
            Admission::Written => {
                let written = self.shared.write(&mut state, record);
                if written.is_err() {
                    state.refusals.withdraw(principal);
                }
                Ok(Recorded::by(Evidence::Line(written?)))
            }
            Admission::Counted { first } => {
                if first {
                    self.shared.wake.notify_one();
                }
                Ok(Recorded::by(Evidence::Counted))
            }
        }
    }

    /// Writes the counts that wait and a last checkpoint, syncs everything, and refuses what comes
    /// later.
    ///
    /// Closing again changes nothing.
    ///
    /// # Errors
    /// [`AuditError::Io`]: a count could not be written. [`AuditError::Unsynced`]: the sync failed
    /// now or before.
    pub fn close(&self) -> Result<(), AuditError> {
        let keeping = self.shared.keeping.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.shared.lock();
        if state.closed {
            return Ok(());
        }
        let counts = state.refusals.all();
        let written =
            counts.iter().try_for_each(|counted| self.shared.write_count(&mut state, counted));
        drop(state);
        if let Err(error) = self.shared.checkpoint() {
            tracing::error!(%error, "no last checkpoint could be made in the audit");
        }
        let mut state = self.shared.lock();
        state.closed = true;
        self.shared.wake.notify_all();
        self.shared.wake_keeper.notify_all();
        let synced = self.shared.sync(state);
        drop(keeping);
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for thread in threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the audit panicked; please report");
            }
        }
        written.and(synced)
    }
}

impl Drop for AuditWriter {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "the audit was not closed cleanly");
        }
    }
}

impl From<&peer::Principal> for Principal {
    /// Writes a caller as the audit has it: a process that no number is known of as 0.
    fn from(caller: &peer::Principal) -> Self {
        let pid = caller.pid().and_then(|pid| i32::try_from(pid).ok()).unwrap_or(0);
        Self { uid: caller.uid(), gid: caller.gid(), pid }
    }
}

impl fmt::Debug for AuditTail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditTail").field("path", &self.path).finish_non_exhaustive()
    }
}

impl fmt::Debug for AuditWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditWriter").field("path", &self.shared.path).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
