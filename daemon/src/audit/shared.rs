//! What the threads of a writer share: the file that is written, and how a line gets into it and
//! onto the disk.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use wire::audit::{Chain, Kind, Record};

use super::error::{AuditError, io_error};
use super::file::LineFile;
use super::keeper::Upkeep;
use super::refusals::{Counted, Refusals};
use super::{SYNC_DELAY, Settings};
use crate::clock::Clock;

pub(super) struct Shared {
    pub(super) path: PathBuf,
    pub(super) settings: Settings,
    pub(super) clock: Clock,
    state: Mutex<State>,
    /// Wakes the thread that syncs.
    pub(super) wake: Condvar,
    /// Wakes the keeper.
    pub(super) wake_keeper: Condvar,
    /// Held by whoever writes a checkpoint or rotates.
    pub(super) keeping: Mutex<()>,
}

pub(super) struct State {
    pub(super) lines: LineFile,
    pub(super) chain: Chain,
    pub(super) generation: u64,
    line: Vec<u8>,
    pub(super) refusals: Refusals,
    /// When the sync of what was written is to begin; none when all is synced.
    pub(super) sync_due: Option<Instant>,
    /// Why a sync failed: from then on everything is refused.
    pub(super) unsynced: Option<String>,
    pub(super) upkeep: Upkeep,
    pub(super) closed: bool,
}

impl State {
    pub(super) fn new(lines: LineFile, chain: Chain, upkeep: Upkeep) -> Self {
        Self {
            lines,
            chain,
            generation: 0,
            line: Vec::new(),
            refusals: Refusals::default(),
            sync_due: None,
            unsynced: None,
            upkeep,
            closed: false,
        }
    }
}

impl Shared {
    pub(super) fn new(path: PathBuf, settings: Settings, clock: Clock, state: State) -> Arc<Self> {
        Arc::new(Self {
            path,
            settings,
            clock,
            state: Mutex::new(state),
            wake: Condvar::new(),
            wake_keeper: Condvar::new(),
            keeping: Mutex::new(()),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn fit_to_write(&self, state: &State) -> Result<(), AuditError> {
        if state.closed {
            return Err(AuditError::Closed);
        }
        match &state.unsynced {
            None => Ok(()),
            Some(reason) => Err(self.unsynced(reason)),
        }
    }

    pub(super) fn unsynced(&self, reason: &str) -> AuditError {
        AuditError::Unsynced { path: self.path.clone(), reason: reason.to_owned() }
    }

    pub(super) fn write(&self, state: &mut State, record: &Record<'_>) -> Result<u64, AuditError> {
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
        let full = self.settings.is_full(state.lines.length());
        if state.upkeep.note(record.kind, full) {
            self.wake_keeper.notify_one();
        }
        Ok(sequence)
    }

    pub(super) fn write_count(
        &self,
        state: &mut State,
        counted: &Counted,
    ) -> Result<(), AuditError> {
        let time = self.clock.now_text();
        let record = Record {
            principal: counted.principal,
            repeated: Some(counted.count),
            ..Record::new(Kind::Refused, &time, state.generation)
        };
        self.write(state, &record).map(|_sequence| ())
    }

    /// Writes the counts whose second is over; one that cannot be written waits on.
    pub(super) fn write_due(&self, state: &mut State, now: Duration) {
        for counted in state.refusals.due(now) {
            if let Err(error) = self.write_count(state, &counted) {
                tracing::error!(%error, count = counted.count, "refusals could not be recorded yet");
                state.refusals.put_back(counted, now);
            }
        }
    }

    /// Syncs everything written so far, without holding others up meanwhile.
    ///
    /// What is in a file that was rotated since was synced when that was.
    pub(super) fn sync(&self, mut state: MutexGuard<'_, State>) -> Result<(), AuditError> {
        state.sync_due = None;
        if let Some(reason) = &state.unsynced {
            return Err(self.unsynced(reason));
        }
        let file = state.lines.handle();
        drop(state);
        // After a failed sync the kernel forgets what it could not write, so that a second try
        // would succeed and prove nothing: the failure stays.
        file.sync_data().map_err(|error| self.note_unsynced(&mut self.lock(), error.to_string()))
    }

    /// Refuses everything from now on.
    pub(super) fn note_unsynced(&self, state: &mut State, reason: String) -> AuditError {
        let error = self.unsynced(&reason);
        state.unsynced.get_or_insert(reason);
        error
    }

    pub(super) fn sync_until_closed(&self) {
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
