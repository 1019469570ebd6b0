//! The life of the secrets of a device, as a machine: ask for them, store them, report, wait, and
//! begin again when they are to be updated or deleted.
//!
//! ```text
//! Initialize --(secrets are there)--> Wait
//!     |                                | ^
//!     | (none)       update available  | | attempts are used up
//!     v                                v |
//!  Request <---------------------------+-+
//!     | ^ timed out: pause, ask again
//!     v |
//!   Store --> Report Status --> Wait        Wait --(delete)--> Delete Secrets --> Request
//! ```
//!
//! The machine is pure: it is told what happened and says what to do. Time is not kept here, and
//! the jitter of pauses comes from the caller.

use std::time::Duration;

/// Where the machine stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nobody has looked yet whether there are secrets.
    Initialize,
    /// There is nothing to do.
    Wait,
    /// A request is under way; which attempt, from 1.
    Request {
        /// The attempt.
        attempt: u32,
    },
    /// The pause before another attempt.
    Pause {
        /// The attempt that comes next.
        next: u32,
    },
    /// What was received is being stored.
    Store,
    /// The source is being told what came of it.
    ReportStatus,
    /// Secrets are being deleted.
    DeleteSecrets,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The stores were looked at.
    Started {
        /// Whether every secret that is wanted is there.
        complete: bool,
    },
    /// The source answered the request.
    Received,
    /// The request was not answered in time, or could not be sent.
    TimedOut,
    /// The pause is over.
    Paused,
    /// What was received was stored, or could not be: the report says which.
    Stored,
    /// The report was sent, or could not be.
    Reported,
    /// The source has something new.
    UpdateAvailable,
    /// The source wants secrets deleted.
    DeleteRequested,
    /// They were deleted.
    Deleted,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send a request, and wait this long for its answer.
    Send {
        /// How long.
        timeout: Duration,
    },
    /// Wait before the next attempt.
    Sleep {
        /// How long.
        pause: Duration,
    },
    /// Store what was received.
    Store,
    /// Tell the source.
    Report,
    /// Delete what the source wants deleted.
    Delete,
}

/// How often, and after which pauses, a request is made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// How long an answer is waited for; 10 s unless set.
    pub timeout: Duration,
    /// Attempts until the machine waits for another occasion; 5 unless set, at least 1.
    pub attempts: u32,
    /// The longest pause after the first attempt; 1 s unless set. It doubles with each attempt.
    pub first_pause: Duration,
    /// The longest pause at all; 60 s unless set.
    pub longest_pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            attempts: 5,
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(60),
        }
    }
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    patience: Patience,
    state: State,
    /// Occasions that came while it was busy.
    update_waits: bool,
    delete_waits: bool,
}

impl Lifecycle {
    /// A machine that has not looked yet.
    #[must_use]
    pub const fn new(patience: Patience) -> Self {
        Self { patience, state: State::Initialize, update_waits: false, delete_waits: false }
    }

    /// Where it stands.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Takes a step. An event that means nothing in this state changes nothing: answers come
    /// twice, or after they were given up.
    ///
    /// An update or deletion that comes while the machine is busy is remembered, and is taken up
    /// as soon as it waits; deletions first. `jitter` is a random number; a pause is drawn with it
    /// from the upper half of its length, so that a fleet that lost its source does not return to
    /// it in one moment.
    pub fn step(&mut self, event: Event, jitter: u64) -> Option<Action> {
        match (self.state, event) {
            (_, Event::UpdateAvailable) => self.update_waits = true,
            (_, Event::DeleteRequested) => self.delete_waits = true,
            (State::Initialize, Event::Started { complete: true })
            | (State::ReportStatus, Event::Reported) => self.state = State::Wait,
            (State::Initialize, Event::Started { complete: false })
            | (State::DeleteSecrets, Event::Deleted) => return Some(self.request(1)),
            (State::Pause { next }, Event::Paused) => return Some(self.request(next)),
            (State::Request { .. } | State::Pause { .. }, Event::Received) => {
                self.state = State::Store;
                return Some(Action::Store);
            }
            (State::Request { attempt }, Event::TimedOut) if attempt < self.patience.attempts => {
                self.state = State::Pause { next: attempt.saturating_add(1) };
                return Some(Action::Sleep { pause: self.patience.pause(attempt, jitter) });
            }
            (State::Request { .. }, Event::TimedOut) => self.state = State::Wait,
            (State::Store, Event::Stored) => {
                self.state = State::ReportStatus;
                return Some(Action::Report);
            }
            (
                State::Initialize
                | State::Wait
                | State::Request { .. }
                | State::Pause { .. }
                | State::Store
                | State::ReportStatus
                | State::DeleteSecrets,
                _,
            ) => return None,
        }
        self.take_up()
    }

    /// Takes up what waits, when there is nothing else to do.
    fn take_up(&mut self) -> Option<Action> {
        if self.state != State::Wait {
            return None;
        }
        if std::mem::take(&mut self.delete_waits) {
            // The request that follows a deletion brings every update with it.
            self.update_waits = false;
            self.state = State::DeleteSecrets;
            return Some(Action::Delete);
        }
        std::mem::take(&mut self.update_waits).then(|| self.request(1))
    }

    fn request(&mut self, attempt: u32) -> Action {
        self.state = State::Request { attempt };
        Action::Send { timeout: self.patience.timeout }
    }
}

impl Patience {
    /// The pause after an attempt: between half of its length and all of it.
    pub(crate) fn pause(&self, attempt: u32, jitter: u64) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        let length = self.first_pause.saturating_mul(1_u32 << doublings).min(self.longest_pause);
        let half = length / 2;
        let nanos = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX);
        half.saturating_add(Duration::from_nanos(jitter % nanos.saturating_add(1)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PATIENCE: Patience = Patience {
        timeout: Duration::from_secs(10),
        attempts: 3,
        first_pause: Duration::from_secs(2),
        longest_pause: Duration::from_secs(3),
    };
    const SEND: Option<Action> = Some(Action::Send { timeout: Duration::from_secs(10) });

    const fn sleep(millis: u64) -> Option<Action> {
        Some(Action::Sleep { pause: Duration::from_millis(millis) })
    }

    /// Walks a table of events, actions and states.
    #[track_caller]
    fn check(table: &[(Event, Option<Action>, State)]) {
        let mut machine = Lifecycle::new(PATIENCE);
        for (step, (event, action, state)) in table.iter().enumerate() {
            assert_eq!(machine.step(*event, 0), *action, "step {step}: {event:?}");
            assert_eq!(machine.state(), *state, "step {step}: {event:?}");
        }
    }

    #[test]
    fn start_with_all_secrets_waits() {
        check(&[(Event::Started { complete: true }, None, State::Wait)]);
    }

    #[test]
    fn start_without_secrets_requests_stores_reports_and_waits() {
        check(&[
            (Event::Started { complete: false }, SEND, State::Request { attempt: 1 }),
            (Event::Received, Some(Action::Store), State::Store),
            (Event::Stored, Some(Action::Report), State::ReportStatus),
            (Event::Reported, None, State::Wait),
        ]);
    }

    #[test]
    fn m14_silent_source_is_asked_with_pauses_until_attempts_are_used_up_then_waits() {
        check(&[
            (Event::Started { complete: false }, SEND, State::Request { attempt: 1 }),
            (Event::TimedOut, sleep(1000), State::Pause { next: 2 }),
            (Event::Paused, SEND, State::Request { attempt: 2 }),
            (Event::TimedOut, sleep(1500), State::Pause { next: 3 }),
            (Event::Paused, SEND, State::Request { attempt: 3 }),
            (Event::TimedOut, None, State::Wait),
            (Event::UpdateAvailable, SEND, State::Request { attempt: 1 }),
        ]);
    }

    #[test]
    fn m16_delete_request_deletes_then_requests_anew() {
        check(&[
            (Event::Started { complete: true }, None, State::Wait),
            (Event::DeleteRequested, Some(Action::Delete), State::DeleteSecrets),
            (Event::Deleted, SEND, State::Request { attempt: 1 }),
            (Event::Received, Some(Action::Store), State::Store),
        ]);
    }

    #[test]
    fn update_while_waiting_requests() {
        check(&[
            (Event::Started { complete: true }, None, State::Wait),
            (Event::UpdateAvailable, SEND, State::Request { attempt: 1 }),
        ]);
    }

    #[test]
    fn occasions_that_come_while_busy_are_taken_up_later_deletions_first() {
        check(&[
            (Event::Started { complete: false }, SEND, State::Request { attempt: 1 }),
            (Event::UpdateAvailable, None, State::Request { attempt: 1 }),
            (Event::DeleteRequested, None, State::Request { attempt: 1 }),
            (Event::Received, Some(Action::Store), State::Store),
            (Event::Stored, Some(Action::Report), State::ReportStatus),
            (Event::Reported, Some(Action::Delete), State::DeleteSecrets),
            (Event::Deleted, SEND, State::Request { attempt: 1 }),
            (Event::Received, Some(Action::Store), State::Store),
            (Event::Stored, Some(Action::Report), State::ReportStatus),
            (Event::Reported, None, State::Wait),
        ]);
    }

    #[test]
    fn m13_answer_that_comes_twice_or_late_changes_nothing() {
        check(&[
            (Event::Started { complete: false }, SEND, State::Request { attempt: 1 }),
            (Event::Received, Some(Action::Store), State::Store),
            (Event::Received, None, State::Store),
            (Event::TimedOut, None, State::Store),
            (Event::Stored, Some(Action::Report), State::ReportStatus),
            (Event::Reported, None, State::Wait),
            (Event::Received, None, State::Wait),
            (Event::Paused, None, State::Wait),
        ]);
    }

    #[test]
    fn answer_during_a_pause_is_taken() {
        check(&[
            (Event::Started { complete: false }, SEND, State::Request { attempt: 1 }),
            (Event::TimedOut, sleep(1000), State::Pause { next: 2 }),
            (Event::Received, Some(Action::Store), State::Store),
        ]);
    }

    fn event() -> impl Strategy<Value = Event> {
        proptest::sample::select(vec![
            Event::Started { complete: true },
            Event::Started { complete: false },
            Event::Received,
            Event::TimedOut,
            Event::Paused,
            Event::Stored,
            Event::Reported,
            Event::UpdateAvailable,
            Event::DeleteRequested,
            Event::Deleted,
        ])
    }

    proptest! {
        #[test]
        fn pause_is_between_half_and_all_of_its_length(attempt in 1_u32.., jitter: u64) {
            let pause = PATIENCE.pause(attempt, jitter);
            let length = if attempt == 1 { PATIENCE.first_pause } else { PATIENCE.longest_pause };
            prop_assert!(length / 2 <= pause && pause <= length);
        }

        #[test]
        fn no_events_ask_more_often_than_allowed(events in proptest::collection::vec(event(), 0..200)) {
            let mut machine = Lifecycle::new(PATIENCE);
            for event in events {
                machine.step(event, 7);
                if let State::Request { attempt } | State::Pause { next: attempt } = machine.state() {
                    prop_assert!((1..=PATIENCE.attempts).contains(&attempt));
                }
            }
        }
    }
}
