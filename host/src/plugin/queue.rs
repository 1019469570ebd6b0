//! The queue in front of an instance: so many turns, so many waiting, for so long. Those on whose
//! account calls are made take turns, so that nobody waits for another one's whole line.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::{CallError, Deadlines};

/// On whose account a call is made: who waits for whom, and for nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Account {
    /// The host's own: opening, asking after a device.
    Host,
    /// A user's.
    User(u32),
}

/// How long after two users have asked one of them may not have calls wait with the worker.
const COMPANY: Duration = Duration::from_secs(10);

/// Turns at an instance.
#[derive(Debug)]
pub(super) struct Queue(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Calls that the device takes at once.
    at_device: usize,
    /// Calls more that may be with it, so that it need not wait for the host; of a user who is
    /// alone. Beside others, one that comes would wait for them.
    ahead: usize,
    deadlines: Deadlines,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Turns that are taken, of all and of each.
    taken: usize,
    taken_of: BTreeMap<Account, usize>,
    /// Those who wait, each with at least one call.
    lines: Vec<Line>,
    waiting: usize,
    /// How many turns had been given when each had its last one.
    last_turn_of: BTreeMap<Account, u64>,
    turns_given: u64,
    next_number: u64,
    /// Who asked last, and when somebody else had asked before.
    last_user: Option<u32>,
    in_company: Option<Instant>,
    closed: bool,
}

#[derive(Debug)]
struct Line {
    account: Account,
    calls: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    reply: oneshot::Sender<Turn>,
}

/// A turn; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    shared: Arc<Shared>,
    account: Account,
}

impl Queue {
    pub(super) fn new(at_device: usize, ahead: usize, deadlines: Deadlines) -> Self {
        Self(Arc::new(Shared { at_device, ahead, deadlines, state: Mutex::default() }))
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// `Busy`: too many are waiting, or too many of this account, or it took too long. `Gone`: the
    /// instance is closed.
    pub(super) async fn turn(&self, account: Account) -> Result<Turn, CallError> {
        let shared = &self.0;
        let (mut place, granted) = {
            let mut state = shared.lock();
            if state.closed {
                return Err(closed());
            }
            let alone = state.note(account);
            if shared.may_take(&state, account, alone) {
                state.take(account);
                drop(state);
                return Ok(Turn { shared: Arc::clone(shared), account });
            }
            let (reply, granted) = oneshot::channel();
            let number = state.wait(account, reply, &shared.deadlines)?;
            (Place { shared, account, number, kept: true }, granted)
        };
        match timeout(shared.deadlines.queue, granted).await {
            Ok(Ok(turn)) => {
                place.kept = false;
                Ok(turn)
            }
            Ok(Err(_closed)) => Err(closed()),
            Err(_elapsed) => Err(CallError::Busy),
        }
    }

    /// Calls waiting now.
    pub(super) fn waiting(&self) -> usize {
        self.0.lock().waiting
    }

    /// Ends the waiting of all, with `Gone`.
    pub(super) fn close(&self) {
        let mut state = self.0.lock();
        state.closed = true;
        state.waiting = 0;
        let lines = std::mem::take(&mut state.lines);
        drop(state);
        drop(lines);
    }
}

fn closed() -> CallError {
    CallError::Gone("the instance is closed".into())
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is a turn for this account. Beside others nobody has more than a quarter of the
    /// device, where it takes several calls: those under way slow down the one that comes.
    fn may_take(&self, state: &State, account: Account, alone: bool) -> bool {
        let (all, one) = if alone {
            let all = self.at_device.saturating_add(self.ahead);
            (all, all)
        } else {
            (self.at_device, (self.at_device / 4).max(1))
        };
        let taken = state.taken_of.get(&account).copied().unwrap_or_default();
        state.taken < all && (taken < one || account == Account::Host)
    }

    /// Gives the turns that there are to those who wait, each in their turn.
    fn give(self: &Arc<Self>) {
        loop {
            let mut state = self.lock();
            let alone = state.is_alone();
            let may = |line: &Line| self.may_take(&state, line.account, alone);
            let Some(place) = state.next_line(may) else { return };
            let Some(line) = state.lines.get_mut(place) else { return };
            let account = line.account;
            let next = line.calls.pop_front();
            if line.calls.is_empty() {
                state.lines.remove(place);
            }
            let Some(next) = next else { continue };
            state.waiting = state.waiting.saturating_sub(1);
            state.take(account);
            drop(state);
            // One who has left drops it, which gives it to the next.
            let _left = next.reply.send(Turn { shared: Arc::clone(self), account });
        }
    }
}

impl State {
    /// Notes who asks, and says whether nobody else did lately.
    fn note(&mut self, account: Account) -> bool {
        if let Account::User(uid) = account {
            if self.last_user.is_some_and(|last| last != uid) {
                self.in_company = Some(Instant::now());
            }
            self.last_user = Some(uid);
        }
        self.is_alone()
    }

    fn is_alone(&self) -> bool {
        self.in_company.is_none_or(|at| at.elapsed() >= COMPANY)
    }

    /// The line, of those that may, whose account has waited longest for another turn: one who asks
    /// now and then is not behind one who has just had the device.
    fn next_line(&self, may: impl Fn(&Line) -> bool) -> Option<usize> {
        let lines = self.lines.iter().enumerate().filter(|(_, line)| may(line));
        let last_turn = |line: &Line| self.last_turn_of.get(&line.account);
        lines.min_by_key(|(_, line)| last_turn(line)).map(|(place, _)| place)
    }

    fn take(&mut self, account: Account) {
        self.turns_given = self.turns_given.wrapping_add(1);
        self.last_turn_of.insert(account, self.turns_given);
        self.taken = self.taken.saturating_add(1);
        let of = self.taken_of.entry(account).or_default();
        *of = of.saturating_add(1);
    }

    /// Puts a call at the end of its account's line.
    fn wait(
        &mut self,
        account: Account,
        reply: oneshot::Sender<Turn>,
        limits: &Deadlines,
    ) -> Result<u64, CallError> {
        if self.waiting >= limits.queue_length {
            return Err(CallError::Busy);
        }
        let number = self.next_number;
        let call = Waiting { number, reply };
        match self.lines.iter_mut().find(|line| line.account == account) {
            Some(line) => {
                let full = line.calls.len() >= limits.queue_length_per_uid;
                if full && account != Account::Host {
                    return Err(CallError::Busy);
                }
                line.calls.push_back(call);
            }
            None => self.lines.push(Line { account, calls: VecDeque::from([call]) }),
        }
        self.next_number = number.wrapping_add(1);
        self.waiting = self.waiting.saturating_add(1);
        Ok(number)
    }
}

/// A place among the waiting, given up when dropped.
struct Place<'a> {
    shared: &'a Arc<Shared>,
    account: Account,
    number: u64,
    kept: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if !self.kept {
            return;
        }
        let mut state = self.shared.lock();
        let Some(at) = state.lines.iter().position(|line| line.account == self.account) else {
            return;
        };
        let Some(line) = state.lines.get_mut(at) else { return };
        let before = line.calls.len();
        line.calls.retain(|call| call.number != self.number);
        let (after, empty) = (line.calls.len(), line.calls.is_empty());
        if empty {
            state.lines.remove(at);
        }
        state.waiting = state.waiting.saturating_sub(before.saturating_sub(after));
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.taken = state.taken.saturating_sub(1);
        if let Some(of) = state.taken_of.get_mut(&self.account) {
            *of = of.saturating_sub(1);
            if *of == 0 {
                state.taken_of.remove(&self.account);
            }
        }
        if state.taken == 0 && state.lines.is_empty() {
            state.last_turn_of.clear();
        }
        drop(state);
        self.shared.give();
    }
}

#[cfg(test)]
mod tests;
