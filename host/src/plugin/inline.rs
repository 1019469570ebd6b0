//! An instance in this process, for trusted code. A provider that never waits is called where the
//! caller is; any other on a thread for blocking work, as many at once as it takes.
//!
//! Nothing contains its faults: a crash is the host's, and a call that hangs keeps its thread, so
//! the instance is refused from then on.

use std::sync::{Arc, PoisonError, RwLock};

use provider_core::call::Instance;
use provider_core::{Capabilities, ErrorKind};
use tokio::sync::watch;
use tokio::time::timeout;

use super::opening::{self, Description, OpenFailure, Opening};
use super::queue::{Queue, Turn};
use super::{
    Account, Answer, Call, CallError, Deadlines, Death, OpenRequest, PluginSource, Spawner, perform,
};

/// An opened instance in this process.
#[derive(Debug)]
pub(super) struct InlineLink {
    held: Arc<Held>,
    never_waits: bool,
    deadlines: Deadlines,
    queue: Queue,
    death: watch::Sender<Option<Death>>,
    /// Why it takes no more calls.
    retired: RwLock<Option<&'static str>>,
}

/// Loads a plugin into this process and opens its device.
pub(super) async fn open(
    source: &PluginSource,
    spawner: Arc<Spawner>,
    request: OpenRequest,
    deadlines: Deadlines,
) -> Result<(Arc<InlineLink>, Description), OpenFailure> {
    let source = source.clone();
    let opening = tokio::task::spawn_blocking(move || {
        opening::open(&Opening {
            plugin: &source.path,
            sha256: source.sha256,
            settings: &request.settings,
            secrets: &request.secrets,
            known: request.known.as_ref(),
            refused: &request.refused,
        })
    });
    let opened = timeout(deadlines.open, opening).await;
    let opened = opened.map_err(|_elapsed| CallError::Timeout(deadlines.open))?;
    let opened = opened.map_err(|error| CallError::Gone(error.to_string()))??;
    let (instance, description) = (opened.instance, opened.description);
    let concurrency = usize::try_from(description.info.concurrency).unwrap_or(1).max(1);
    let link = InlineLink {
        held: Arc::new(Held { instance: Some(instance), spawner }),
        never_waits: description.info.capabilities.contains(Capabilities::NEVER_WAITS),
        deadlines,
        queue: Queue::new(concurrency, 0, deadlines),
        death: watch::Sender::new(None),
        retired: RwLock::new(None),
    };
    Ok((Arc::new(link), description))
}

impl InlineLink {
    /// Makes one call; see [`super::Link::call`].
    pub(super) async fn call(
        self: &Arc<Self>,
        account: Account,
        call: Call,
    ) -> Result<Answer, CallError> {
        if let Some(reason) = &*self.retired.read().unwrap_or_else(PoisonError::into_inner) {
            return Err(CallError::Gone((*reason).to_owned()));
        }
        if self.never_waits && !matches!(call, Call::SelfTest) {
            let answer = self.held.perform(&call);
            self.note(&answer);
            return answer;
        }
        let turn = self.queue.turn(account).await?;
        let link = Arc::clone(self);
        // A task of its own: the deadline holds even when the caller leaves.
        let calling = tokio::spawn(async move {
            let answer = link.call_on_a_thread(call, turn).await;
            link.note(&answer);
            answer
        });
        calling.await.map_err(|error| CallError::Gone(error.to_string()))?
    }

    async fn call_on_a_thread(&self, call: Call, turn: Turn) -> Result<Answer, CallError> {
        let limit = self.deadlines.of(&call);
        let held = Arc::clone(&self.held);
        let running = tokio::task::spawn_blocking(move || {
            let answer = held.perform(&call);
            drop(turn);
            answer
        });
        let answer = timeout(limit, running).await;
        let answer = answer.map_err(|_elapsed| CallError::Timeout(limit))?;
        answer.map_err(|error| CallError::Gone(error.to_string()))?
    }

    /// Gives the provider up after an answer that leaves its state unknown.
    fn note(&self, answer: &Result<Answer, CallError>) {
        match answer {
            Err(CallError::Timeout(_)) => self.retire("a call hung; restart the host", false),
            Err(CallError::Provider(error)) if error.kind == ErrorKind::Panicked => {
                self.retire("its provider panicked; restart the host", true);
            }
            Ok(_) | Err(_) => {}
        }
    }

    fn retire(&self, reason: &'static str, gone: bool) {
        *self.retired.write().unwrap_or_else(PoisonError::into_inner) = Some(reason);
        self.death.send_replace(Some(Death { reason: reason.to_owned(), gone }));
    }

    pub(super) fn waiting(&self) -> usize {
        self.queue.waiting()
    }

    pub(super) fn death(&self) -> watch::Receiver<Option<Death>> {
        self.death.subscribe()
    }
}

/// An instance that is closed on a thread of its own, because closing may hang.
#[derive(Debug)]
struct Held {
    instance: Option<Instance>,
    spawner: Arc<Spawner>,
}

impl Held {
    fn perform(&self, call: &Call) -> Result<Answer, CallError> {
        let closed = || CallError::Gone("the instance is closed".into());
        let instance = self.instance.as_ref().ok_or_else(closed)?;
        perform(instance, call).map_err(CallError::Provider)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(instance) = self.instance.take() {
            self.spawner.end(move || drop(instance));
        }
    }
}
