//! The audit file: every record is in it before the reply goes out.
//!
//! Here is the file, its lock, its sync and its recovery; what a line says and how lines are
//! chained is `wire::audit`'s. One writer has the file for itself. A record is one write(2),
//! complete when [`AuditWriter::append`] returns, and on the disk within [`SYNC_DELAY`] and the
//! time that the disk takes. [`Recorded`] is made only here, so that a stage which asks for one
//! cannot be reached by a request without a record.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use wire::audit::{Chain, Kind, Principal, Record};

use crate::clock::Clock;
use crate::peer;

mod end;
mod error;
mod file;
mod recorded;
mod refusals;

use error::{io_error, tail_error};
use file::LineFile;
use refusals::{Admission, Refusals};

pub use error::AuditError;
pub use recorded::{Evidence, Exempt, Recorded};
pub use refusals::REFUSALS_PER_SECOND;

/// Longest time between a record's write and the beginning of its sync; half of the 100 ms that
/// a record may stay unsynced, so that the disk has the other half.
pub const SYNC_DELAY: Duration = Duration::from_millis(50);

/// An audit file that was opened and not yet written to.
///
/// It knows what the last line says, so that the registry can be compared before the first record.
pub struct AuditTail {
    path: PathBuf,
    lines: LineFile,
    chain: Chain,
    generation: Option<u64>,
    torn_bytes: u64,
}

/// Opens the audit file at `path`, or creates it with mode 0600, for this process alone.
///
/// The last line must be a record. What stands after the last line break, left by a power cut in
/// the middle of a write, is cut off and counted; so are lines with zero bytes at the very end,
/// which some file systems leave.
///
/// # Limits
/// Of the lines before, the last 1,000 are checked, as far as they are within the last 1 MiB: each
/// is a record and follows the one before. The whole file is `wire::audit::Verifier`'s matter.
///
/// # Errors
/// [`AuditError::Trust`], [`AuditError::NotAFile`], [`AuditError::InUse`], [`AuditError::Tail`],
/// [`AuditError::Broken`], [`AuditError::Io`]: the file is as it was found.
pub fn open(path: &Path) -> Result<AuditTail, AuditError> {
    let (mut lines, path) = file::open(path)?;
    let tail = lines.tail().map_err(io_error(&path, "read"))?;
    if tail.last_line.is_none() && !lines.is_unfinished_first().map_err(io_error(&path, "read"))? {
        return Err(tail_error(&path, "is not a line of an audit"));
    }
    let (chain, generation) = match tail.last_line {
        None => (Chain::new(), None),
        Some(line) => {
            let line = line.ok_or_else(|| tail_error(&path, "is too long"))?;
            let (chain, entry) =
                Chain::after(&line).map_err(|reason| tail_error(&path, &reason.to_string()))?;
            end::check(&path, &lines, lines.length().saturating_sub(tail.torn_bytes))?;
            (chain, Some(entry.generation))
        }
    };
    lines.cut(tail.torn_bytes).map_err(io_error(&path, "shortened"))?;
    Ok(AuditTail { path, lines, chain, generation, torn_bytes: tail.torn_bytes })
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

    /// Writes and syncs the first record of this run, of kind `Start`, which also says what was
    /// cut off, and starts the thread that syncs.
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
        let writer = AuditWriter::run(self.path, self.lines, self.chain, clock)?;
        let _start = writer
            .append_synced(&Record { torn_bytes, ..Record::new(Kind::Start, &time, generation) })?;
        Ok(writer)
    }
}

/// Writes the audit, for any number of threads.
///
/// Dropped without [`AuditWriter::close`] it closes by itself and logs what goes wrong.
pub struct AuditWriter {
    shared: Arc<Shared>,
    syncer: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    path: PathBuf,
    file: Arc<File>,
    clock: Clock,
    state: Mutex<State>,
    wake: Condvar,
}

struct State {
    lines: LineFile,
    chain: Chain,
    generation: u64,
    line: Vec<u8>,
    refusals: Refusals,
    /// When the sync of what was written is to begin; none when all is synced.
    sync_due: Option<Instant>,
    /// Why a sync failed: from then on everything is refused.
    unsynced: Option<String>,
    closed: bool,
}

impl AuditWriter {
    fn run(path: PathBuf, lines: LineFile, chain: Chain, clock: Clock) -> Result<Self, AuditError> {
        let file = lines.handle();
        let state = Mutex::new(State {
            lines,
            chain,
            generation: 0,
            line: Vec::new(),
            refusals: Refusals::default(),
            sync_due: None,
            unsynced: None,
            closed: false,
        });
        let shared = Arc::new(Shared { path, file, clock, state, wake: Condvar::new() });
        let syncing = Arc::clone(&shared);
        let syncer = std::thread::Builder::new()
            .name("audit-sync".into())
            .spawn(move || syncing.sync_until_closed())
            .map_err(io_error(&shared.path, "synced"))?;
        Ok(Self { shared, syncer: Mutex::new(Some(syncer)) })
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
    /// [`REFUSALS_PER_SECOND`] for each uid; a record without a principal is always written.
    ///
    /// # Errors
    /// As [`AuditWriter::append`]; what could not be written is not counted either.
    pub fn append_refusal(&self, record: &Record<'_>) -> Result<Recorded, AuditError> {
        let Some(principal) = record.principal else { return self.append(record) };
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

    /// Writes the counts that wait, syncs everything, and refuses what comes later.
    ///
    /// Closing again changes nothing.
    ///
    /// # Errors
    /// [`AuditError::Io`]: a count could not be written. [`AuditError::Unsynced`]: the sync failed
    /// now or before.
    pub fn close(&self) -> Result<(), AuditError> {
        let mut state = self.shared.lock();
        if state.closed {
            return Ok(());
        }
        let counts = state.refusals.all();
        let written =
            counts.iter().try_for_each(|counted| self.shared.write_count(&mut state, counted));
        state.closed = true;
        self.shared.wake.notify_all();
        let synced = self.shared.sync(state);
        let syncer = self.syncer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(syncer) = syncer
            && syncer.join().is_err()
        {
            tracing::error!("the thread that syncs the audit panicked; please report");
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

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fit_to_write(&self, state: &State) -> Result<(), AuditError> {
        if state.closed {
            return Err(AuditError::Closed);
        }
        match &state.unsynced {
            None => Ok(()),
            Some(reason) => Err(self.unsynced(reason)),
        }
    }

    fn unsynced(&self, reason: &str) -> AuditError {
        AuditError::Unsynced { path: self.path.clone(), reason: reason.to_owned() }
    }

    fn write(&self, state: &mut State, record: &Record<'_>) -> Result<u64, AuditError> {
        self.fit_to_write(state)?;
        let generation = record.generation.max(state.generation);
        let before = state.chain.clone();
        state.line.clear();
        let sequence = state.chain.append(&Record { generation, ..*record }, &mut state.line)?;
        if let Err(error) = state.lines.append(&state.line) {
            state.chain = before;
            return Err(io_error(&self.path, "written")(error));
        }
        state.generation = generation;
        if state.sync_due.is_none() {
            state.sync_due = Some(Instant::now() + SYNC_DELAY);
            self.wake.notify_one();
        }
        Ok(sequence)
    }

    fn write_count(
        &self,
        state: &mut State,
        counted: &refusals::Counted,
    ) -> Result<(), AuditError> {
        let time = self.clock.now_text();
        let record = Record {
            principal: Some(counted.principal),
            repeated: Some(counted.count),
            ..Record::new(Kind::Refused, &time, state.generation)
        };
        self.write(state, &record).map(|_sequence| ())
    }

    /// Writes the counts whose second is over; one that cannot be written waits on.
    fn write_due(&self, state: &mut State, now: Duration) {
        for counted in state.refusals.due(now) {
            if let Err(error) = self.write_count(state, &counted) {
                tracing::error!(%error, count = counted.count, "refusals could not be recorded yet");
                state.refusals.put_back(counted, now);
            }
        }
    }

    /// Syncs everything written so far, without holding others up meanwhile.
    fn sync(&self, mut state: MutexGuard<'_, State>) -> Result<(), AuditError> {
        state.sync_due = None;
        if let Some(reason) = &state.unsynced {
            return Err(self.unsynced(reason));
        }
        drop(state);
        // After a failed sync the kernel forgets what it could not write, so that a second try
        // would succeed and prove nothing: the failure stays.
        self.file.sync_data().map_err(|error| {
            let reason = error.to_string();
            let error = self.unsynced(&reason);
            self.lock().unsynced.get_or_insert(reason);
            error
        })
    }

    fn sync_until_closed(&self) {
        let mut state = self.lock();
        while !state.closed {
            let now = Instant::now();
            if state.sync_due.is_some_and(|due| due <= now) {
                if let Err(error) = self.sync(state) {
                    tracing::error!(%error, "the audit is broken; every request is refused");
                }
                state = self.lock();
                continue;
            }
            let waiting = state.refusals.is_waiting();
            state = match state.sync_due {
                None if !waiting => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
                due => {
                    let time = due.map_or(SYNC_DELAY, |due| due.duration_since(now));
                    let woken = self.wake.wait_timeout(state, time);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
            if !state.closed && state.unsynced.is_none() {
                self.write_due(&mut state, self.clock.passed());
            }
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
