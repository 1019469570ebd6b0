//! An instance in this process, for trusted code. A provider that never waits is called where the
//! caller is; any other on a thread for blocking work, as many at once as it takes.
//!
//! Nothing contains its faults: a crash is the host's, and a call that hangs keeps its thread, so
//! the instance is refused from then on.

use std::sync::{Arc, PoisonError, RwLock};

use provider_core::call::Instance;
use provider_core::{Capabilities, ErrorKind, Identity, Info, Secrets, Settings};
use tokio::sync::watch;
use tokio::time::timeout;

use super::queue::Queue;
use super::{Answer, Call, CallError, Deadlines, Death, PluginSource, ffi, perform};

/// An opened instance in this process.
#[derive(Debug)]
pub(super) struct InlineLink {
    instance: Arc<Instance>,
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
    settings: Settings,
    secrets: Secrets,
    known: Option<Identity>,
    deadlines: Deadlines,
) -> Result<(Arc<InlineLink>, Info, Identity), CallError> {
    let source = source.clone();
    let opening = tokio::task::spawn_blocking(move || {
        let plugin = ffi::load(&source.path, source.sha256)?;
        let (instance, identity) = plugin.open(&settings, &secrets, known.as_ref())?;
        let info = instance.info()?;
        Ok::<_, CallError>((instance, info, identity))
    });
    let opened = timeout(deadlines.open, opening).await;
    let opened = opened.map_err(|_elapsed| CallError::Timeout(deadlines.open))?;
    let (instance, info, identity) =
        opened.map_err(|error| CallError::Gone(error.to_string()))??;
    let concurrency = usize::try_from(info.concurrency).unwrap_or(1).max(1);
    let link = InlineLink {
        instance: Arc::new(instance),
        never_waits: info.capabilities.contains(Capabilities::NEVER_WAITS),
        deadlines,
        queue: Queue::new(concurrency, deadlines),
        death: watch::Sender::new(None),
        retired: RwLock::new(None),
    };
    Ok((Arc::new(link), info, identity))
}

impl InlineLink {
    /// Makes one call; see [`super::Link::call`].
    pub(super) async fn call(&self, call: Call) -> Result<Answer, CallError> {
        if let Some(reason) = &*self.retired.read().unwrap_or_else(PoisonError::into_inner) {
            return Err(CallError::Gone((*reason).to_owned()));
        }
        let answer = if self.never_waits && !matches!(call, Call::SelfTest) {
            perform(&self.instance, &call).map_err(CallError::Provider)
        } else {
            self.call_on_a_thread(call).await
        };
        match &answer {
            Err(CallError::Timeout(_)) => self.retire("a call hung; restart the host", false),
            Err(CallError::Provider(error)) if error.kind == ErrorKind::Panicked => {
                self.retire("its provider panicked; restart the host", true);
            }
            Ok(_) | Err(_) => {}
        }
        answer
    }

    async fn call_on_a_thread(&self, call: Call) -> Result<Answer, CallError> {
        let turn = self.queue.turn().await?;
        let limit = self.deadlines.of(&call);
        let instance = Arc::clone(&self.instance);
        let running = tokio::task::spawn_blocking(move || {
            let answer = perform(&instance, &call);
            drop(turn);
            answer
        });
        let answer = timeout(limit, running).await;
        let answer = answer.map_err(|_elapsed| CallError::Timeout(limit))?;
        answer.map_err(|error| CallError::Gone(error.to_string()))?.map_err(CallError::Provider)
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
