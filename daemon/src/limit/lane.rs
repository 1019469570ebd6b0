//! One user's connections take turns at being worked on, so that hundreds of them do not stand
//! between the runtime and another user's one.
//!
//! The runtime works on tasks in the order in which they become ready. A lane lets few of a user's
//! tasks be ready at once; the others wait here, in their order, where they cost nobody anything.

use std::collections::{BTreeSet, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// A user's turns.
#[derive(Debug)]
pub(crate) struct Lane {
    /// How many are worked on at once.
    width: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Turns that are taken, or given and not used yet.
    taken: usize,
    next_number: u64,
    waiting: VecDeque<(u64, Waker)>,
    /// Those of the waiting that were given a turn.
    given: BTreeSet<u64>,
}

impl Default for Lane {
    /// As wide as the machine, so that one user alone can have all of it.
    fn default() -> Self {
        let width = std::thread::available_parallelism().map_or(1, usize::from);
        Self { width, state: Mutex::default() }
    }
}

/// Work that is done in turns.
#[derive(Debug)]
pub(crate) struct InTurns<W> {
    work: Pin<Box<W>>,
    lane: Arc<Lane>,
    /// Its number among the waiting.
    waits: Option<u64>,
}

impl<W> InTurns<W> {
    pub(crate) fn new(work: W, lane: Arc<Lane>) -> Self {
        Self { work: Box::pin(work), lane, waits: None }
    }
}

impl<W: Future> Future for InTurns<W> {
    type Output = W::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<W::Output> {
        let this = &mut *self;
        if !this.lane.enter(&mut this.waits, context.waker()) {
            return Poll::Pending;
        }
        let _turn = Turn(&this.lane);
        this.work.as_mut().poll(context)
    }
}

impl<W> Drop for InTurns<W> {
    fn drop(&mut self) {
        let Some(number) = self.waits else { return };
        let mut state = self.lane.lock();
        if state.given.remove(&number) {
            drop(state);
            self.lane.leave();
        } else {
            state.waiting.retain(|(waiting, _)| *waiting != number);
        }
    }
}

/// A turn that ends when it is dropped, also by a panic.
struct Turn<'a>(&'a Lane);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl Lane {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a turn, or a place among the waiting.
    fn enter(&self, waits: &mut Option<u64>, waker: &Waker) -> bool {
        let mut state = self.lock();
        match *waits {
            Some(number) if state.given.remove(&number) => {
                *waits = None;
                true
            }
            // It became ready once more; it has its place already.
            Some(_) => false,
            None if state.taken < self.width => {
                state.taken = state.taken.saturating_add(1);
                true
            }
            None => {
                let number = state.next_number;
                state.next_number = number.wrapping_add(1);
                state.waiting.push_back((number, waker.clone()));
                *waits = Some(number);
                false
            }
        }
    }

    /// Gives a turn that is over to the next.
    fn leave(&self) {
        let mut state = self.lock();
        match state.waiting.pop_front() {
            Some((number, waker)) => {
                state.given.insert(number);
                drop(state);
                waker.wake();
            }
            None => state.taken = state.taken.saturating_sub(1),
        }
    }
}
