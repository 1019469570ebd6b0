//! The upkeep of the audit, in a thread of its own: checkpoints, and rotation.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use wire::audit::{Checkpoint, Hex32, Kind, Mark, Record};

use super::error::{AuditError, io_error};
use super::file;
use super::older::{self, Place};
use super::shared::{Shared, State};
use super::witness::Witness;

/// Lines after which a checkpoint is due soon.
pub const CHECKPOINT_LINES: u64 = 1000;

/// Longest time from a line to the checkpoint after it, while somebody vouches.
pub const CHECKPOINT_EVERY: Duration = Duration::from_secs(60);

/// What soon is: the least time between two checkpoints.
pub const CHECKPOINT_SOON: Duration = Duration::from_secs(1);

/// What is to be done for a file, and since when.
pub(super) struct Upkeep {
    pub(super) witness: Option<Arc<dyn Witness>>,
    /// The checkpoint that the witness remembers.
    pub(super) remembered: Option<u64>,
    /// The sequence of the file's first line.
    first: u64,
    /// Lines since the last upkeep.
    lines: u64,
    changed: bool,
    full: bool,
    /// Somebody asked for a look at once.
    asked: bool,
    last: Duration,
    /// A rotation that failed is not tried again before.
    not_before: Duration,
}

impl Upkeep {
    pub(super) const fn new(first: u64, remembered: Option<u64>) -> Self {
        Self {
            witness: None,
            remembered,
            first,
            lines: 0,
            changed: false,
            full: false,
            asked: false,
            last: Duration::ZERO,
            not_before: Duration::ZERO,
        }
    }

    /// Notes a line, and tells whether the keeper should look.
    pub(super) fn note(&mut self, kind: Kind, full: bool) -> bool {
        let (before, changed) = (self.lines, matches!(kind, Kind::Outcome | Kind::Recovered));
        let grown = full && !self.full;
        self.full = full;
        if matches!(kind, Kind::Checkpoint | Kind::Removed) {
            return grown;
        }
        self.lines += 1;
        let newly_changed = changed && !self.changed;
        self.changed |= changed;
        before == 0 || self.lines == CHECKPOINT_LINES || newly_changed || grown
    }

    /// How long the keeper may sleep at `now`; none while there is nothing to do.
    pub(super) fn due_in(&self, now: Duration) -> Option<Duration> {
        if self.asked {
            return Some(Duration::ZERO);
        }
        let rotation = self.full.then(|| self.not_before.saturating_sub(now));
        let soon = self.changed || self.lines >= CHECKPOINT_LINES;
        let wait = if soon { CHECKPOINT_SOON } else { CHECKPOINT_EVERY };
        let look = (self.lines > 0).then(|| (self.last + wait).saturating_sub(now));
        rotation.into_iter().chain(look).min()
    }

    fn done(&mut self, now: Duration) {
        (self.lines, self.changed, self.asked, self.last) = (0, false, false, now);
    }
}

impl Shared {
    pub(super) fn keep_until_closed(&self) {
        let mut state = self.lock();
        while !state.closed {
            state = match state.upkeep.due_in(self.clock.passed()) {
                Some(Duration::ZERO) => {
                    drop(state);
                    self.keep();
                    self.lock()
                }
                // The clock of a test may be moved by hand meanwhile.
                Some(time) => {
                    let time = time.min(CHECKPOINT_SOON);
                    let woken = self.wake_keeper.wait_timeout(state, time);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.wake_keeper.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Asks the keeper for a look at once.
    pub(super) fn ask_keeper(&self) {
        let mut state = self.lock();
        (state.upkeep.asked, state.upkeep.not_before) = (true, Duration::ZERO);
        drop(state);
        self.wake_keeper.notify_one();
    }

    /// Writes a checkpoint, and rotates where that is due. What fails is logged and tried again.
    pub(super) fn keep(&self) {
        let _alone = self.keeping.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = self.checkpoint() {
            tracing::error!(%error, "no checkpoint could be made in the audit");
        }
        let mut state = self.lock();
        let now = self.clock.passed();
        if let Err(error) = self.rotate_where_due(&mut state, now) {
            state.upkeep.not_before = now + CHECKPOINT_EVERY;
            tracing::error!(%error, "the audit could not be rotated; it goes on in the old file");
        }
    }

    /// Writes a checkpoint, where somebody vouches for it, and has it remembered.
    pub(super) fn checkpoint(&self) -> Result<(), AuditError> {
        let mut state = self.lock();
        state.upkeep.done(self.clock.passed());
        let Some(witness) = state.upkeep.witness.clone() else { return Ok(()) };
        if state.closed {
            return Ok(());
        }
        let time = self.clock.now_text();
        let generation = state.chain.last_generation();
        let checkpoint = Checkpoint {
            sequence: state.chain.next_sequence(),
            prev: last_hash(&state),
            generation,
            time: &time,
        };
        let macs = witness.macs(&checkpoint);
        if macs.is_empty() {
            state.upkeep.lines = 1;
            return Ok(());
        }
        let record =
            Record { macs: Some(&macs), ..Record::new(Kind::Checkpoint, &time, generation) };
        let written = self.write(&mut state, &record);
        if written.is_err() {
            state.upkeep.lines = 1;
        }
        let sequence = written?;
        let mark = Mark { sequence, hash: last_hash(&state) };
        // First on the disk, then remembered: what is remembered is there after any crash.
        self.sync(state)?;
        match witness.remember(mark) {
            Ok(()) => self.lock().upkeep.remembered = Some(sequence),
            Err(error) => tracing::error!(%error, "the last checkpoint is not remembered"),
        }
        Ok(())
    }

    /// Begins a new file where the one that is written is long enough, or was moved away.
    fn rotate_where_due(&self, state: &mut State, now: Duration) -> Result<(), AuditError> {
        if self.fit_to_write(state).is_err() || now < state.upkeep.not_before {
            return Ok(());
        }
        let file = state.lines.handle();
        let place = older::place(&self.path, &file).map_err(io_error(&self.path, "examined"))?;
        match place {
            Place::Here if !state.upkeep.full => return Ok(()),
            Place::Here | Place::Moved => {}
            Place::Removed => {
                self.note_unsynced(state, "another program removed the file".into());
                return Err(AuditError::Removed { path: self.path.clone() });
            }
        }
        // Under the lock: whoever waits for its line to be synced syncs the new file.
        file.sync_data().map_err(|error| self.note_unsynced(state, error.to_string()))?;
        let first = state.upkeep.first;
        match place {
            Place::Here => older::set_aside(&self.path, first),
            Place::Moved | Place::Removed => older::name_moved(&self.path, &file, first),
        }
        .map_err(io_error(&self.path, "renamed"))?;
        match file::open_empty(&self.path) {
            Ok(lines) => state.lines = lines,
            Err(error) => {
                if place == Place::Here
                    && let Err(error) = older::put_back(&self.path, first)
                {
                    // The next start goes on from it under either name.
                    tracing::error!(%error, "the audit's file has the name of an older one");
                }
                return Err(error);
            }
        }
        state.upkeep.first = state.chain.next_sequence();
        state.upkeep.full = false;
        tracing::info!(first = state.upkeep.first, "the audit goes on in a new file");
        if let Err(error) = self.remove_old(state) {
            tracing::error!(%error, "older files of the audit could not be removed");
        }
        Ok(())
    }

    /// Removes the older files that need not be kept, after saying so.
    fn remove_old(&self, state: &mut State) -> Result<(), AuditError> {
        let Some(keep) = self.settings.keep else { return Ok(()) };
        let mut files = older::older_files(&self.path).map_err(io_error(&self.path, "listed"))?;
        let kept = files.split_off(files.len().saturating_sub(keep));
        // Each ends before the next begins; the next start needs what is remembered.
        let nexts = files.iter().skip(1).chain(kept.first());
        let needed = match (state.upkeep.remembered, &state.upkeep.witness) {
            (Some(remembered), _) => remembered,
            (None, Some(_)) => 0,
            (None, None) => u64::MAX,
        };
        let removable: Vec<_> = files
            .iter()
            .zip(nexts)
            .take_while(|(_, next)| next.first <= needed)
            .map(|(file, next)| (&file.path, next.first.saturating_sub(1)))
            .collect();
        let Some((_, through)) = removable.last().copied() else { return Ok(()) };
        let time = self.clock.now_text();
        let generation = state.chain.last_generation();
        let record =
            Record { through: Some(through), ..Record::new(Kind::Removed, &time, generation) };
        self.write(state, &record)?;
        let synced = state.lines.handle().sync_data();
        synced.map_err(|error| self.note_unsynced(state, error.to_string()))?;
        for (path, _) in removable {
            std::fs::remove_file(path).map_err(io_error(path, "removed"))?;
        }
        Ok(())
    }
}

/// The hash of the last line; of a log without lines, what its first line has in its place.
fn last_hash(state: &State) -> Hex32 {
    // A chain makes nothing else than such a hash.
    Hex32::parse(state.chain.last_hash()).unwrap_or(Hex32([0; 32]))
}
