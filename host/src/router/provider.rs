//! One provider instance as the router sees it: open, opening, absent or down, and whether calls
//! go to its device.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use provider_core::{Condition, ErrorKind, Info, ProviderError};
use tokio::sync::{Notify, watch};
use wire::api::{BreakerCause, Protection, ProviderState, ProviderStatus};
use wire::name::ProviderName;

use super::breaker::{Breaker, Sign, sign_of};
use crate::config::{ProviderConfig, SecretSource};
use crate::convert;
use crate::error::{Failure, HostError, NotServing};
use crate::plugin::{Account, Answer, Call, CallError, Link};

/// A provider instance.
#[derive(Debug)]
pub struct Provider {
    pub(super) config: ProviderConfig,
    state: RwLock<State>,
    /// How often its breaker opened.
    trips: AtomicU64,
    /// Told when the device of an open link is bad, another one, or refuses us, so that somebody
    /// asks after it.
    pub(super) doubt: Notify,
    /// Told when the device refused an authorization, so that somebody asks how near a lockout is.
    pub(super) refused: Notify,
    /// Told when an operator wants another try now.
    pub(super) retry: Notify,
    /// Whether an operator wants its PIN tried though it was refused before; until it was.
    pub(super) may_try_again: AtomicBool,
    /// How many tries at opening or asking after it have begun.
    begun: AtomicU64,
    /// How many of them have ended; they follow one another.
    tries: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    availability: Availability,
    /// Closed only where the instance is open.
    breaker: Breaker,
    since: String,
    /// What its last opening said.
    info: Option<Info>,
    /// What its device last said of failed authorizations.
    condition: Option<Condition>,
}

/// Whether an instance can be used.
#[derive(Clone, Debug)]
pub(super) enum Availability {
    /// A try is under way, and nothing is known yet.
    Opening,
    /// It answers.
    Open(Arc<Link>),
    /// It was never opened on this host, and is not there.
    Absent(String),
    /// It was opened before and is not there now, or is there and refuses.
    Down(String),
    /// Another device is in its place.
    Replaced(String),
}

impl Provider {
    pub(super) fn new(config: ProviderConfig, now: String) -> Self {
        let (availability, breaker) = (Availability::Opening, Breaker::untried(Instant::now()));
        let state = State { availability, breaker, since: now, info: None, condition: None };
        Self {
            config,
            state: RwLock::new(state),
            trips: AtomicU64::new(0),
            doubt: Notify::new(),
            refused: Notify::new(),
            retry: Notify::new(),
            may_try_again: AtomicBool::new(false),
            begun: AtomicU64::new(0),
            tries: watch::Sender::new(0),
        }
    }

    /// Its name in the configuration.
    #[must_use]
    pub const fn name(&self) -> &ProviderName {
        &self.config.name
    }

    /// Whether opening it shows its device a secret of the operator's, of which a wrong one may
    /// use up a try.
    pub(super) fn shows_a_pin(&self) -> bool {
        self.config.secrets.iter().any(|(_, source)| *source != SecretSource::Generated)
    }

    /// Makes a call on somebody's account, while the breaker is closed.
    ///
    /// # Errors
    /// `NotServing`, at once, where it is not open or its device is known to be bad; or what the
    /// call failed with; about this provider.
    pub async fn call(&self, account: Account, call: Call) -> Result<Answer, HostError> {
        let link = self.link()?;
        let shows_life = call.shows_life();
        let outcome = link.call_for(account, call).await;
        match &outcome {
            Ok(_) if shows_life => self.note(Sign::Works),
            Ok(_) => {}
            Err(error) => {
                self.note(sign_of(error));
                if error.is_refused() || error.is_locked_out() {
                    self.refused.notify_one();
                }
            }
        }
        outcome.map_err(|error| {
            tracing::warn!(provider = %self.name(), %error, "provider call failed");
            let failure = if error.is_locked_out() {
                let recovery = self.read().condition.as_ref().and_then(|it| it.recovery);
                Failure::LockedOut { error, recovery }
            } else {
                Failure::Call(error)
            };
            HostError::from(failure).at(self.name())
        })
    }

    /// The open link, while the breaker is closed.
    pub(super) fn link(&self) -> Result<Arc<Link>, HostError> {
        let state = self.read();
        let reason = match (&state.availability, state.breaker.trip()) {
            (Availability::Open(link), None) => return Ok(Arc::clone(link)),
            (Availability::Open(_), Some(trip)) => word_of(trip.cause),
            (Availability::Opening, _) => "is being opened",
            (Availability::Absent(_), _) => "is not there",
            (Availability::Down(_), _) => "is down",
            (Availability::Replaced(reason), _) => {
                let error = ProviderError::new(ErrorKind::WrongDevice, reason.clone());
                return Err(HostError::from(Failure::Call(error.into())).at(self.name()));
            }
        };
        let name = self.name();
        let not_serving = NotServing {
            reason: format!("provider {name} {reason}; see GET /v1/providers"),
            gone: state.breaker.gone_since().is_some(),
            next_probe: state.breaker.next_probe(Instant::now()),
        };
        Err(HostError::from(Failure::NotServing(not_serving)).at(name))
    }

    /// Whether calls go to its device.
    #[must_use]
    pub fn is_working(&self) -> bool {
        let state = self.read();
        matches!(state.availability, Availability::Open(_)) && state.breaker.is_closed()
    }

    /// For how long its device or worker has been gone.
    #[must_use]
    pub fn gone_for(&self) -> Option<Duration> {
        self.read().breaker.gone_since().map(|since| since.elapsed())
    }

    /// How often its breaker opened since the start.
    #[must_use]
    pub fn trips(&self) -> u64 {
        self.trips.load(Ordering::Relaxed)
    }

    /// What stands behind its keys: as the operator stated, else as its device is known for.
    #[must_use]
    pub fn protection(&self) -> Option<Protection> {
        let stated = self.config.protection;
        let info = self.info();
        stated.or_else(|| info.map(|info| convert::protection(info.protection)))
    }

    /// Calls that wait for a turn at it.
    #[must_use]
    pub fn waiting(&self) -> usize {
        match &self.read().availability {
            Availability::Open(link) => link.waiting(),
            Availability::Opening
            | Availability::Absent(_)
            | Availability::Down(_)
            | Availability::Replaced(_) => 0,
        }
    }

    /// What its last opening said.
    #[must_use]
    pub fn info(&self) -> Option<Info> {
        self.read().info.clone()
    }

    /// What there is to say of it, but for whether fallback is active.
    pub(super) fn status(&self) -> ProviderStatus {
        let state = self.read();
        let (word, reason) = match (&state.availability, state.breaker.trip()) {
            (Availability::Open(_), None) => (ProviderState::Open, None),
            (Availability::Open(_), Some(trip)) => {
                (ProviderState::Down, Some(advice_on(trip.cause).to_owned()))
            }
            (Availability::Opening, _) => (ProviderState::Opening, None),
            (Availability::Absent(reason), _) => (ProviderState::Absent, Some(reason.clone())),
            (Availability::Down(reason) | Availability::Replaced(reason), _) => {
                (ProviderState::Down, Some(reason.clone()))
            }
        };
        let sandbox = match &state.availability {
            Availability::Open(link) => link.sandbox().map(convert::confined),
            Availability::Opening
            | Availability::Absent(_)
            | Availability::Down(_)
            | Availability::Replaced(_) => None,
        };
        let info = state.info.as_ref();
        let mut notes: Vec<_> = info
            .map(|info| info.notes.clone())
            .filter(|notes| !notes.is_empty())
            .into_iter()
            .collect();
        if let (Some(stated), Some(info)) = (self.config.protection, info) {
            let known = convert::protection(info.protection);
            if stated != known {
                notes.push(format!(
                    "protection is stated by the configuration; the provider says {}",
                    known.as_str()
                ));
            }
        }
        let condition = state.condition.as_ref();
        notes.extend(condition.map(|it| it.notes.clone()).filter(|notes| !notes.is_empty()));
        let known = info.map(|info| convert::protection(info.protection));
        ProviderStatus {
            name: self.name().clone(),
            state: word,
            since: state.since.clone(),
            breaker: state.breaker.status(Instant::now()),
            reason,
            kind: info.map(|info| info.kind.clone()),
            protection: info.and(self.config.protection).or(known),
            manufacturer: info.map(|info| info.manufacturer.clone()),
            firmware: info.map(|info| info.firmware.clone()),
            capabilities: info
                .map(|info| convert::capabilities(info.capabilities))
                .unwrap_or_default(),
            notes,
            sandbox,
            fallback_active: false,
            lockout: condition.map(convert::lockout),
        }
    }

    pub(super) fn availability(&self) -> Availability {
        self.read().availability.clone()
    }

    pub(super) fn set_open(&self, link: Arc<Link>, now: String) {
        let info = Some(link.info().clone());
        let mut state = self.write();
        state.availability = Availability::Open(link);
        state.breaker.close();
        state.since = now;
        state.info = info;
    }

    /// Notes that it is not open, and why calls fail until it is.
    pub(super) fn set_closed(&self, availability: Availability, cause: BreakerCause, now: String) {
        let mut state = self.write();
        let same = match (&state.availability, &availability) {
            (Availability::Absent(_), Availability::Absent(_))
            | (Availability::Down(_), Availability::Down(_))
            | (Availability::Replaced(_), Availability::Replaced(_)) => true,
            (_, _) => false,
        };
        state.availability = availability;
        if !same {
            state.since = now;
        }
        if state.breaker.is_closed() {
            self.trips.fetch_add(1, Ordering::Relaxed);
        }
        state.breaker.open(cause, Instant::now());
    }

    /// Notes that its first try, which goes on, takes longer than it may.
    pub(super) fn set_late(&self, reason: String, now: String) {
        let mut state = self.write();
        if matches!(state.availability, Availability::Opening) {
            state.availability = Availability::Down(reason);
            state.since = now;
            state.breaker.open(BreakerCause::Silent, Instant::now());
            state.breaker.probe();
        }
    }

    /// Drops the link, so that its worker ends.
    pub(super) fn close(&self) {
        self.write().availability = Availability::Down("the host is stopping".into());
    }

    /// Waits until the first try at opening it has ended, or should have.
    pub(super) async fn first_try(&self) {
        let mut tries = self.tries.subscribe();
        let ended = tries.wait_for(|tries| *tries > 0);
        // Whoever needs it finds out how the try ended.
        let _ = tokio::time::timeout(self.config.deadlines.open, ended).await;
    }

    /// Has it tried again, with its PIN though that was refused, and waits until it works, or until
    /// a try that began after now has ended; does nothing while it works.
    pub(super) async fn try_again(&self) {
        if self.is_working() {
            return;
        }
        self.may_try_again.store(true, Ordering::SeqCst);
        let mut tries = self.tries.subscribe();
        // One that is under way may have read of the refusal already.
        let begun = self.begun.load(Ordering::SeqCst);
        self.retry.notify_one();
        // No other follows one that is under way and succeeds. The supervisor lives as long as the
        // host; without it there is nothing to wait for.
        let _ = tries.wait_for(|tries| *tries > begun || self.is_working()).await;
    }

    /// Notes what a caller's call to the open link tells about its device.
    pub(super) fn note(&self, sign: Sign) {
        match sign {
            Sign::Nothing => return,
            Sign::Works if self.read().breaker == (Breaker::Closed { failures: 0 }) => return,
            Sign::Works | Sign::Bad(_) | Sign::Fault | Sign::Doubt => {}
        }
        let opened = self.write().breaker.note(sign, Instant::now());
        if opened {
            self.tripped();
        }
        if opened || sign == Sign::Doubt {
            self.doubt.notify_one();
        }
    }

    /// Notes what the device says of failed authorizations, and says so once when it changed.
    pub(super) fn set_condition(&self, condition: Option<Condition>) {
        let now = condition.as_ref().map(convert::lockout);
        let before = std::mem::replace(&mut self.write().condition, condition);
        let before = before.as_ref().map(convert::lockout);
        if before == now {
            return;
        }
        let provider = self.name();
        match (now, before) {
            (Some(now), _) if now.is_near() => tracing::warn!(%provider, "{now}"),
            (Some(now), Some(before)) if before.is_near() => {
                tracing::info!(%provider, "no longer near: {now}");
            }
            (Some(_) | None, _) => {}
        }
    }

    /// Says that the supervisor begins to ask.
    pub(super) fn probe(&self) -> Try<'_> {
        self.write().breaker.probe();
        self.begin()
    }

    /// Counts a try that begins.
    pub(super) fn begin(&self) -> Try<'_> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        Try(self)
    }

    /// Says when the supervisor asks next.
    pub(super) fn probe_in(&self, wait: Duration) {
        self.write().breaker.probe_at(Instant::now() + wait);
    }

    /// Notes how the supervisor's self test of the open link ended.
    pub(super) fn note_probe<T>(&self, outcome: &Result<T, CallError>) {
        let mut state = self.write();
        let before = state.breaker.is_closed();
        state.breaker.probed(outcome, Instant::now());
        let after = state.breaker.is_closed();
        drop(state);
        match (before, after) {
            (false, true) => {
                tracing::info!(provider = %self.name(), "device is back: breaker is closed");
            }
            (true, false) => self.tripped(),
            (true, true) | (false, false) => {}
        }
    }

    fn tripped(&self) {
        self.trips.fetch_add(1, Ordering::Relaxed);
        if let Some(trip) = self.read().breaker.trip() {
            let (provider, cause) = (self.name(), trip.cause.as_str());
            tracing::warn!(%provider, cause, "breaker is open: calls fail until a self test passes");
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A try that is under way; it ends when this is dropped, also where nobody waits for it any more.
#[must_use]
pub(super) struct Try<'a>(&'a Provider);

impl Drop for Try<'_> {
    fn drop(&mut self) {
        self.0.tries.send_modify(|tries| *tries += 1);
    }
}

/// What a caller is told of an open instance whose breaker is not closed.
const fn word_of(cause: BreakerCause) -> &'static str {
    match cause {
        BreakerCause::Untried => "is being opened",
        BreakerCause::Gone => "has lost its device",
        BreakerCause::Silent => "did not answer in time",
        BreakerCause::Failing => "failed too many calls in a row",
        BreakerCause::Refusing => "does not serve now",
    }
}

/// Why an open instance is shown as down, and what to do.
const fn advice_on(cause: BreakerCause) -> &'static str {
    match cause {
        BreakerCause::Untried => "it is being opened",
        BreakerCause::Gone => {
            "the device does not answer; connect it again; it is asked after by itself"
        }
        BreakerCause::Silent => {
            "the device did not answer in time; look after it; it is asked after by itself"
        }
        BreakerCause::Failing => {
            "the device failed too many calls in a row, or its self test; see the host's log; it \
             is asked after by itself"
        }
        BreakerCause::Refusing => {
            "the device is there and refuses its self test; see the host's log; it is asked after \
             by itself"
        }
    }
}
