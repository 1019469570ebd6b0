//! MQTT: drives the lifecycle of the secrets that the device is to have, and takes in what the
//! cloud sends without being asked.

use std::sync::Arc;
use std::time::Duration;

use daemon::shutdown::Shutdown;
use tokio::sync::{mpsc, watch};
use wire::secrets::{Author, SecretName, SecretVersion};

use crate::chain::{Chain, Freshness};
use crate::error::GetError;
use crate::lifecycle::{Action, Event, Lifecycle, Patience};
use crate::secret::Query;
use crate::source::Delivery;
use crate::source::mqtt::{LinkState, MqttSource, Push, Reported, draw};
use crate::store::Written;

/// What is reported of a secret.
type Entry = (SecretName, Option<SecretVersion>, Reported);

/// The source, the chain behind it, and where the lifecycle stands.
pub(in crate::serve) struct Feed {
    chain: Chain,
    source: Arc<MqttSource>,
    by: Author,
    wanted: Vec<SecretName>,
    machine: Lifecycle,
    /// What came of the last request or push, to be reported.
    report: Vec<Entry>,
    /// Whether the last request was given up.
    gave_up: bool,
}

impl Feed {
    /// Nothing is asked for until [`Feed::run`].
    pub(in crate::serve) fn new(
        chain: Chain,
        source: Arc<MqttSource>,
        by: Author,
        wanted: Vec<SecretName>,
        patience: Patience,
    ) -> Self {
        // The source itself asks as often as it is set to, for every caller alike.
        let machine = Lifecycle::new(Patience { attempts: 1, ..patience });
        Self { chain, source, by, wanted, machine, report: Vec::new(), gave_up: false }
    }

    /// Runs until the daemon is asked to stop; the broker is taken leave of then.
    pub(in crate::serve) async fn run(
        mut self,
        mut pushes: mpsc::Receiver<Push>,
        mut shutdown: Shutdown,
    ) {
        let mut link = self.source.link();
        tokio::select! {
            () = self.live(&mut pushes, &mut link) => {}
            () = shutdown.requested() => {}
        }
        self.source.stop().await;
    }

    async fn live(
        &mut self,
        pushes: &mut mpsc::Receiver<Push>,
        link: &mut watch::Receiver<LinkState>,
    ) {
        let complete = self.is_complete().await;
        let mut action = self.step(Event::Started { complete });
        loop {
            while let Some(next) = action {
                let event = self.perform(next).await;
                action = self.step(event);
            }
            action = tokio::select! {
                push = pushes.recv() => match push {
                    None => return,
                    Some(push) => match self.take_in(push).await {
                        true => self.step(Event::DeleteRequested),
                        false => None,
                    },
                },
                changed = link.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let is_up = *link.borrow_and_update() == LinkState::Up;
                    // What could not be asked for while there was no connection is asked for now.
                    let again = is_up && std::mem::take(&mut self.gave_up);
                    if again { self.step(Event::UpdateAvailable) } else { None }
                }
            };
        }
    }

    /// Whether something is stored of every secret that the device is to have.
    async fn is_complete(&self) -> bool {
        for name in &self.wanted {
            if !self.chain.versions(name).await.is_ok_and(|versions| !versions.is_empty()) {
                return false;
            }
        }
        true
    }

    fn step(&mut self, event: Event) -> Option<Action> {
        let jitter = draw().map_or(0, |[one, two, ..]| u64::from(one) << 8 | u64::from(two));
        self.machine.step(event, jitter)
    }

    async fn perform(&mut self, action: Action) -> Event {
        match action {
            Action::Send { timeout: _ } => self.ask().await,
            Action::Sleep { pause } => {
                tokio::time::sleep(pause).await;
                Event::Paused
            }
            // The chain stored it while it asked.
            Action::Store => Event::Stored,
            Action::Report => {
                self.tell();
                Event::Reported
            }
            // Deliveries are carried out as they come, deletions first.
            Action::Delete => Event::Deleted,
        }
    }

    /// Asks for all that the device is to have, and stores what comes.
    async fn ask(&mut self) -> Event {
        let query = |name: &SecretName| Query { name: name.clone(), version: None, at: None };
        let queries: Vec<_> = self.wanted.iter().map(query).collect();
        let found = self.chain.get_many(&queries, Freshness::Forced).await;
        if let Some(GetError::Source(error)) = found.iter().find_map(|found| found.as_ref().err()) {
            tracing::warn!(%error, "the secrets of this device were asked for in vain");
            self.gave_up = true;
            return Event::TimedOut;
        }
        let entries = self.wanted.iter().zip(found).map(|(name, found)| match found {
            Ok(got) => (name.clone(), Some(got.secret.metadata.version.clone()), Reported::Stored),
            Err(GetError::NotFound) => (name.clone(), None, Reported::Missing),
            Err(error) => {
                tracing::warn!(%error, "a secret of this device was not stored");
                (name.clone(), None, Reported::Failed)
            }
        });
        self.report = entries.collect();
        self.gave_up = false;
        Event::Received
    }

    /// Carries out what came without being asked for, acknowledges and reports it; tells whether
    /// something was to be deleted.
    async fn take_in(&mut self, push: Push) -> bool {
        let Push { delivery, ticket } = push;
        let Delivery { issued: _, secrets, removals } = &delivery;
        let named: Vec<_> =
            secrets.iter().map(|draft| (draft.name.clone(), draft.stored_version())).collect();
        let removed: Vec<_> = removals
            .iter()
            .map(|removal| (removal.name.clone(), removal.version.clone()))
            .collect();
        let delivered = self.chain.deliver(delivery, &self.by).await;
        let of_removed = if delivered.is_ok() { Reported::Deleted } else { Reported::Failed };
        let written = match delivered {
            Ok(written) => {
                ticket.done(&written);
                written
            }
            // A ticket that is not done says that it failed.
            Err(error) => {
                tracing::warn!(%error, "what came from the cloud could not be stored");
                Vec::new()
            }
        };
        let mut written = written.into_iter();
        let deletes = !removed.is_empty();
        let removed = removed.into_iter().map(|(name, version)| (name, version, of_removed));
        let stored = named.into_iter().map(|(name, version)| {
            let reported = match written.next() {
                Some(Written::Stored) => Reported::Stored,
                Some(Written::Outdated) => Reported::Outdated,
                None => Reported::Failed,
            };
            (name, Some(version), reported)
        });
        self.report = removed.chain(stored).collect();
        self.tell();
        deletes
    }

    fn tell(&mut self) {
        let entries = std::mem::take(&mut self.report);
        if !entries.is_empty() && !self.source.report(&entries) {
            tracing::warn!("too much waits to be sent; what became of secrets is not reported");
        }
    }
}

/// After how much silence the broker is asked whether it is still there, unless set.
pub(in crate::serve) const KEEP_ALIVE: Duration = Duration::from_secs(60);
