//! One provider instance as the router sees it: open, opening, absent or down, and since when it
//! is gone.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use provider_core::{ErrorKind, Info, ProviderError};
use tokio::sync::{Notify, watch};
use wire::api::{Protection, ProviderState, ProviderStatus};
use wire::name::ProviderName;

use crate::config::{ProviderConfig, SecretSource};
use crate::convert;
use crate::error::{Failure, HostError};
use crate::plugin::{Account, Answer, Call, CallError, Link};

/// A provider instance.
#[derive(Debug)]
pub struct Provider {
    pub(super) config: ProviderConfig,
    state: RwLock<State>,
    /// Since when its device or worker is gone; `None` while it works or only refuses.
    gone_since: Mutex<Option<Instant>>,
    /// Told when the device of an open link is gone, another one, or refuses us, so that somebody
    /// asks after it.
    pub(super) doubt: Notify,
    /// Told when an operator wants another try now.
    pub(super) retry: Notify,
    /// Whether an operator wants its PIN tried though it was refused before; until it was.
    pub(super) may_try_again: AtomicBool,
    /// How many tries at opening have ended.
    pub(super) tries: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    availability: Availability,
    since: String,
    /// What its last opening said.
    info: Option<Info>,
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

/// Why an open instance is shown as down.
const SILENT: &str = "the device does not answer; connect it again; it is asked after by itself";

impl Provider {
    pub(super) fn new(config: ProviderConfig, now: String) -> Self {
        let state = State { availability: Availability::Opening, since: now, info: None };
        Self {
            config,
            state: RwLock::new(state),
            gone_since: Mutex::new(None),
            doubt: Notify::new(),
            retry: Notify::new(),
            may_try_again: AtomicBool::new(false),
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

    /// Makes a call on somebody's account.
    ///
    /// # Errors
    /// `Unavailable` where it is not open, or what the call failed with; about this provider.
    pub async fn call(&self, account: Account, call: Call) -> Result<Answer, HostError> {
        let link = self.link()?;
        let shows_life = call.shows_life();
        let outcome = link.call_for(account, call).await;
        if shows_life || outcome.is_err() {
            self.note(&outcome);
        }
        outcome.map_err(|error| {
            tracing::warn!(provider = %self.name(), %error, "provider call failed");
            HostError::from(Failure::Call(error)).at(self.name())
        })
    }

    /// The open link.
    pub(super) fn link(&self) -> Result<Arc<Link>, HostError> {
        let reason = match &self.read().availability {
            Availability::Open(link) => return Ok(Arc::clone(link)),
            Availability::Opening => "is being opened",
            Availability::Absent(_) => "is not there",
            Availability::Down(_) => "is down",
            Availability::Replaced(reason) => {
                let error = ProviderError::new(ErrorKind::WrongDevice, reason.clone());
                return Err(HostError::from(Failure::Call(error.into())).at(self.name()));
            }
        };
        let name = self.name();
        let text = format!("provider {name} {reason}; see GET /v1/providers");
        Err(HostError::from(Failure::Unavailable(text)).at(name))
    }

    /// Whether it is open and its device answered last.
    #[must_use]
    pub fn is_working(&self) -> bool {
        matches!(self.read().availability, Availability::Open(_)) && self.gone_for().is_none()
    }

    /// For how long its device or worker has been gone.
    #[must_use]
    pub fn gone_for(&self) -> Option<Duration> {
        self.gone_since().map(|since| since.elapsed())
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
        let gone = self.gone_for();
        let state = self.read();
        let (word, reason) = match (&state.availability, gone) {
            (Availability::Open(_), None) => (ProviderState::Open, None),
            (Availability::Open(_), Some(_)) => (ProviderState::Down, Some(SILENT.to_owned())),
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
        let known = info.map(|info| convert::protection(info.protection));
        ProviderStatus {
            name: self.name().clone(),
            state: word,
            since: state.since.clone(),
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
        }
    }

    pub(super) fn availability(&self) -> Availability {
        self.read().availability.clone()
    }

    pub(super) fn set_open(&self, link: Arc<Link>, now: String) {
        let info = link.info().clone();
        *self.write() =
            State { availability: Availability::Open(link), since: now, info: Some(info) };
        self.note_alive();
    }

    /// Notes that it is not open; `gone` where its device or worker is not there.
    pub(super) fn set_closed(&self, availability: Availability, gone: bool, now: String) {
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
        drop(state);
        if gone {
            self.gone_since_mut().get_or_insert_with(Instant::now);
        } else {
            *self.gone_since_mut() = None;
        }
    }

    /// Notes that its first try takes longer than it may.
    pub(super) fn set_late(&self, reason: String, now: String) {
        let mut state = self.write();
        if matches!(state.availability, Availability::Opening) {
            *state = State { availability: Availability::Down(reason), since: now, info: None };
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

    /// Has it tried again, with its PIN though that was refused, and waits until a try at opening
    /// that began after now has ended; does nothing while it is open.
    pub(super) async fn try_again(&self) {
        if matches!(self.read().availability, Availability::Open(_)) {
            return;
        }
        self.may_try_again.store(true, Ordering::Relaxed);
        let mut tries = self.tries.subscribe();
        let before = *tries.borrow_and_update();
        self.retry.notify_one();
        // The supervisor lives as long as the host; without it there is nothing to wait for.
        let _ = tries.wait_for(|tries| *tries > before).await;
    }

    /// Notes what a call to the open link tells about its device: gone, or, by any answer of its
    /// own, there. A lost worker and a silent device are the supervisor's to note.
    pub(super) fn note(&self, outcome: &Result<Answer, CallError>) {
        match outcome {
            Err(CallError::Provider(error)) if error.kind == ErrorKind::DeviceGone => {
                self.note_gone();
            }
            Ok(_) => self.note_alive(),
            Err(CallError::Provider(error)) => {
                self.note_alive();
                if matches!(error.kind, ErrorKind::WrongDevice | ErrorKind::DeviceAuth) {
                    self.doubt.notify_one();
                }
            }
            Err(
                CallError::Busy | CallError::Timeout(_) | CallError::Gone(_) | CallError::Plugin(_),
            ) => {}
        }
    }

    fn note_alive(&self) {
        if self.gone_since().is_some() {
            tracing::info!(provider = %self.name(), "device is back");
            *self.gone_since_mut() = None;
        }
    }

    fn note_gone(&self) {
        self.gone_since_mut().get_or_insert_with(Instant::now);
        self.doubt.notify_one();
    }

    fn gone_since(&self) -> Option<Instant> {
        *self.gone_since_mut()
    }

    fn gone_since_mut(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.gone_since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}
