//! Secrets by MQTT: the request and response contract of edge-secrets, over any broker or Azure IoT
//! Hub (`docs/mqtt.md`).
//!
//! A task keeps the connection; requests wait for their answers beside it. What comes without
//! having been asked for is handed out as [`Push`], and acknowledged when it is carried out.

mod broker;
mod contract;
mod credentials;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod inbox;
mod link;
mod packet;
mod requests;
mod topics;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use wire::secrets::{SecretName, SecretVersion};

pub use self::broker::Broker;
pub use self::contract::{
    MESSAGE_SECRETS_MAX, PAYLOAD_MAX_BYTES, REPORT_SECRETS_MAX, REQUEST_ID_MAX_BYTES,
};
pub use self::credentials::{
    Credentials, CredentialsError, NoPassword, PASSWORD_MAX_BYTES, PasswordFile,
};
pub use self::inbox::{DELIVERIES_WAITING_MAX, Push, Ticket};
pub use self::link::LinkState;
pub use self::topics::{DEVICE_ID_MAX_BYTES, HUB_NAME_MAX_BYTES, Profile, ProfileError};

use self::contract::{Named, Outcome, RequestId};
use self::inbox::{Inbox, Outgoing};
use self::link::{Link, Sent};
use self::requests::{Answer, Request, Requests};
use crate::clock::StoreClock;
use crate::error::SourceError;
use crate::lifecycle::Patience;
use crate::pending::Pending;
use crate::secret::Draft;
use crate::source::{Source, Wanted};

/// Messages that may wait to be sent.
const OUTBOX_MAX: usize = 64;

/// Gives 16 random bytes; none when there are none to be had.
pub type Draw = fn() -> Option<[u8; 16]>;

/// Random bytes of the cryptographic library.
#[must_use]
pub fn draw() -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).ok()?;
    Some(bytes)
}

/// What a source does with messages that nobody asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Whether secrets are taken that come without a request. Whoever may publish to the device
    /// can set any secret then.
    pub unsolicited_updates: bool,
    /// Whether requests to delete are followed.
    pub deletes: bool,
}

/// How a source is set up.
#[derive(Clone, Debug)]
pub struct MqttOptions {
    /// Its name, in authors and in the log: lower-case letters, digits, `.`, `_`, `-`.
    pub label: String,
    /// The topics, and who we are.
    pub profile: Profile,
    /// Where the broker is.
    pub broker: Broker,
    /// The user name, where the profile has none of its own.
    pub user: Option<String>,
    /// Who says the password.
    pub credentials: Arc<dyn Credentials>,
    /// What is taken without having been asked for.
    pub policy: Policy,
    /// How long an answer is waited for, how often it is asked for, and after which pauses;
    /// connections are made again after the same pauses.
    pub patience: Patience,
    /// After how much silence the broker is asked whether it is still there; at least 1 s.
    pub keep_alive: Duration,
    /// The dates of messages.
    pub clock: StoreClock,
    /// Ids of requests, and the jitter of pauses.
    pub draw: Draw,
}

impl MqttOptions {
    /// A random number; without randomness, devices return all at once, and that is all.
    fn jitter(&self) -> u64 {
        (self.draw)().map_or(0, |bytes| {
            let (low, _) = bytes.split_at(8);
            low.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
        })
    }
}

/// What became of a secret here, for a status report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reported {
    /// It is stored.
    Stored,
    /// Something later is stored, or it was deleted here since.
    Outdated,
    /// It is deleted.
    Deleted,
    /// The cloud did not have it.
    Missing,
    /// It could not be stored or deleted.
    Failed,
}

/// A source of secrets behind an MQTT broker.
///
/// Its task ends with [`MqttSource::stop`], or soon after this is dropped.
pub struct MqttSource {
    options: Arc<MqttOptions>,
    requests: Requests,
    outbox: mpsc::Sender<Outgoing>,
    state: watch::Receiver<LinkState>,
    stop: watch::Sender<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for MqttSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MqttSource").field("options", &self.options).finish_non_exhaustive()
    }
}

impl MqttSource {
    /// Starts the task that connects, within the current tokio runtime, and gives what comes
    /// without having been asked for.
    ///
    /// # Limits
    /// 16 deliveries wait; more are answered `busy`.
    #[must_use]
    pub fn start(mut options: MqttOptions) -> (Self, mpsc::Receiver<Push>) {
        options.keep_alive = options.keep_alive.max(Duration::from_secs(1));
        let options = Arc::new(options);
        let requests = Requests::default();
        let (outbox, sent) = mpsc::channel(OUTBOX_MAX);
        let (deliveries, pushes) = mpsc::channel(DELIVERIES_WAITING_MAX);
        let (state, seen) = watch::channel(LinkState::Down("it was not tried yet".to_owned()));
        let (stop, stopped) = watch::channel(false);
        let inbox = Inbox {
            label: options.label.clone(),
            profile: options.profile.clone(),
            policy: options.policy,
            clock: options.clock.clone(),
            requests: requests.clone(),
            deliveries,
            outbox: outbox.downgrade(),
        };
        let link = Link {
            options: Arc::clone(&options),
            inbox,
            outbox: sent,
            state,
            stop: stopped,
            sent: Sent::default(),
        };
        let task = Mutex::new(Some(tokio::spawn(link.run())));
        (Self { options, requests, outbox, state: seen, stop, task }, pushes)
    }

    /// Whether there is a connection, now and as it changes.
    #[must_use]
    pub fn link(&self) -> watch::Receiver<LinkState> {
        self.state.clone()
    }

    /// Tells the cloud what became of secrets here. True when the report is on its way: it is
    /// kept until the broker has it, while this process runs.
    ///
    /// # Limits
    /// 64 secrets; of more, the first, and how many more there are.
    #[must_use]
    pub fn report(&self, secrets: &[(SecretName, Option<SecretVersion>, Reported)]) -> bool {
        let Some(id) = (self.options.draw)().map(RequestId::from_random) else { return false };
        let secrets: Vec<_> = secrets.iter().map(reported).collect();
        let profile = &self.options.profile;
        let now = self.options.clock.now().date;
        let payload = contract::status(now, &secrets, profile.has_twin());
        let outgoing = Outgoing { topic: profile.status(&id), payload, receipt: None };
        self.outbox.try_send(outgoing).is_ok()
    }

    /// Sends what waits, takes leave of the broker, and ends the task.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        if let Some(task) = self.task.lock().await.take() {
            // A task that panicked has ended, too.
            let _ = task.await;
        }
    }

    async fn ask(&self, wanted: &[Wanted]) -> Result<Vec<Vec<Draft>>, SourceError> {
        let draw = self.options.draw;
        let id = draw().map(RequestId::from_random);
        let id = id.ok_or_else(|| self.silent("there is no randomness for an id"))?;
        let request = self.requests.open(&id, wanted);
        let mut request = request.ok_or_else(|| self.silent("a random id came twice"))?;
        let patience = &self.options.patience;
        let attempts = patience.attempts.max(1);
        for attempt in 1..=attempts {
            let answer = timeout(patience.timeout, self.attempt(&mut request, wanted)).await;
            if let Ok(answer) = answer {
                return self.checked(answer?);
            }
            // Without a connection, none of the attempts would be heard.
            if let LinkState::Down(reason) = &*self.state.borrow() {
                return Err(self.silent(reason));
            }
            if attempt < attempts {
                let pause = patience.pause(attempt, self.options.jitter());
                // An answer that comes a little late is still one.
                if let Ok(answer) = timeout(pause, &mut request.answer).await {
                    return self.checked(answer.map_err(|_gone| self.ended())?);
                }
            }
        }
        let seconds = patience.timeout.as_secs_f32();
        Err(self.silent(&format!("{attempts} requests were not answered within {seconds} s each")))
    }

    /// Sends the request, and waits for the answer without an end.
    async fn attempt(
        &self,
        request: &mut Request,
        wanted: &[Wanted],
    ) -> Result<Answer, SourceError> {
        let mut state = self.state.clone();
        state.wait_for(|state| *state == LinkState::Up).await.map_err(|_gone| self.ended())?;
        let names = wanted.iter().map(|wanted| (&wanted.name, wanted.version.as_ref()));
        let now = self.options.clock.now().date;
        let payload = contract::request(&request.id, now, names);
        let topic = self.options.profile.request(&request.id);
        let outgoing = Outgoing { topic, payload, receipt: None };
        self.outbox.send(outgoing).await.map_err(|_gone| self.ended())?;
        (&mut request.answer).await.map_err(|_gone| self.ended())
    }

    fn checked(&self, answer: Answer) -> Result<Vec<Vec<Draft>>, SourceError> {
        let Answer { drafts, refused } = answer;
        if refused && drafts.iter().all(Vec::is_empty) {
            return Err(SourceError::Malformed {
                source_label: self.options.label.clone(),
                reason: "not one secret in it can be used".to_owned(),
            });
        }
        Ok(drafts)
    }

    fn ended(&self) -> SourceError {
        self.silent("it was stopped")
    }

    fn silent(&self, reason: &str) -> SourceError {
        let source_label = self.options.label.clone();
        SourceError::Silent { source_label, reason: reason.to_owned() }
    }
}

impl Source for MqttSource {
    fn label(&self) -> &str {
        &self.options.label
    }

    fn fetch<'a>(
        &'a self,
        wanted: &'a [Wanted],
    ) -> Pending<'a, Result<Vec<Vec<Draft>>, SourceError>> {
        Box::pin(async move {
            let mut fetched = Vec::with_capacity(wanted.len());
            for part in wanted.chunks(MESSAGE_SECRETS_MAX) {
                fetched.extend(self.ask(part).await?);
            }
            Ok(fetched)
        })
    }
}

fn reported(
    (name, version, reported): &(SecretName, Option<SecretVersion>, Reported),
) -> (Named, Outcome) {
    let outcome = match reported {
        Reported::Stored => Outcome::Stored,
        Reported::Outdated => Outcome::Outdated,
        Reported::Deleted => Outcome::Deleted,
        Reported::Missing => Outcome::Missing,
        Reported::Failed => Outcome::Failed,
    };
    (Named { name: Some(name.clone()), version: version.clone() }, outcome)
}
