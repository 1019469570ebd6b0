//! The queue in front of an instance: so many turns, so many waiting, for so long.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::{CallError, Deadlines};

/// Turns at an instance, given in the order of asking.
#[derive(Debug)]
pub(super) struct Queue {
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
    deadlines: Deadlines,
}

impl Queue {
    pub(super) fn new(turns: usize, deadlines: Deadlines) -> Self {
        Self { turns: Arc::new(Semaphore::new(turns)), waiting: AtomicUsize::new(0), deadlines }
    }

    /// Waits for a turn; it ends when the permit is dropped.
    ///
    /// # Errors
    /// `Busy`: too many are waiting, or it took too long. `Gone`: the instance is closed.
    pub(super) async fn turn(&self) -> Result<OwnedSemaphorePermit, CallError> {
        if let Ok(turn) = Arc::clone(&self.turns).try_acquire_owned() {
            return Ok(turn);
        }
        let _place = Place::take(&self.waiting, self.deadlines.queue_length)?;
        match timeout(self.deadlines.queue, Arc::clone(&self.turns).acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_closed)) => Err(CallError::Gone("the instance is closed".into())),
            Err(_elapsed) => Err(CallError::Busy),
        }
    }

    /// Calls waiting now.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Ends the waiting of all, with `Gone`.
    pub(super) fn close(&self) {
        self.turns.close();
    }
}

/// A place among the waiting, given back when dropped.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize, limit: usize) -> Result<Self, CallError> {
        if waiting.fetch_add(1, Ordering::Relaxed) >= limit {
            waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(CallError::Busy);
        }
        Ok(Self(waiting))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
