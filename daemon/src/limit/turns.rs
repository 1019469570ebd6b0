//! Turns of one user's connections at the processors.
//!
//! A runtime that finds five hundred connections of one user ready would serve them all before the
//! one of another user that became ready after them. Here each user has a queue of its own, and
//! only its first few are among what the runtime has to do: who comes later stands behind these.
//! A turn lasts until the connection has to wait, for its peer or for a device, so that a device
//! that hangs keeps nobody's turn.

use std::future::{Future, poll_fn};
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::thread::available_parallelism;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::PollSemaphore;

/// How many connections of a user go on at the same time beside those of others: half as many as
/// the runtime has threads, so that the others find one free.
pub(super) fn at_once() -> usize {
    (available_parallelism().map_or(1, NonZeroUsize::get) / 2).max(1)
}

/// The turns of one connection.
#[derive(Debug)]
pub(crate) struct Turns {
    /// Those that have a connection.
    users: Arc<AtomicUsize>,
    of_user: PollSemaphore,
    /// Given, and not begun.
    given: Option<OwnedSemaphorePermit>,
    /// Whether this connection stands in its user's queue.
    waits: bool,
}

impl Turns {
    pub(super) fn new(users: &Arc<AtomicUsize>, of_user: &Arc<Semaphore>) -> Self {
        let of_user = PollSemaphore::new(Arc::clone(of_user));
        Self { users: Arc::clone(users), of_user, given: None, waits: false }
    }

    /// Runs a connection to its end, in turns.
    pub(crate) async fn take<T>(mut self, connection: impl Future<Output = T>) -> T {
        let mut connection = pin!(connection);
        poll_fn(|context| {
            let _turn = ready!(self.poll_turn(context));
            connection.as_mut().poll(context)
        })
        .await
    }

    /// Waits for a turn; for none where there is nobody else.
    fn poll_turn(&mut self, context: &mut Context<'_>) -> Poll<Option<OwnedSemaphorePermit>> {
        if let Some(turn) = self.given.take() {
            return Poll::Ready(Some(turn));
        }
        if !self.waits && self.users.load(Ordering::Relaxed) < 2 {
            return Poll::Ready(None);
        }
        match self.of_user.poll_acquire(context) {
            Poll::Ready(turn) if self.waits => {
                self.waits = false;
                Poll::Ready(turn)
            }
            // Behind what the runtime has to do already: were it to begin now, all of a user's that
            // are ready would find the turn free, one after the other.
            Poll::Ready(turn) => {
                self.given = turn;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Pending => {
                self.waits = true;
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests;
