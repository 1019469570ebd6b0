//! One task for each instance: opens it, watches over it, and opens it again when it is lost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::timeout_at;
use wire::api::BreakerCause;

use super::breaker::{Sign, sign_of};
use super::condition;
use super::opening::{OpenError, RecoveryLog};
use super::provider::{Availability, Provider};
use super::{Backoff, Router, is_fatal};
use crate::plugin::{Call, CallError, Isolation, Link};
use crate::registry::RegistryError;

/// Why the host does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The registry cannot be believed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// No provider opened.
    #[error("no provider could be opened:\n{0}")]
    NoProvider(String),
}

impl Router {
    /// Opens every instance, those first that the registry knows, and leaves a task with each.
    ///
    /// Returns when every one has answered its first try or missed its deadline.
    ///
    /// # Errors
    /// `Registry`: it was altered, or cannot be verified. `NoProvider`: none opened.
    pub async fn start(self: &Arc<Self>, log: &Arc<dyn RecoveryLog>) -> Result<(), StartError> {
        let (known, new): (Vec<_>, Vec<_>) = self
            .providers()
            .cloned()
            .partition(|provider| self.registry.instance(provider.name()).is_some());
        self.start_some(known, log).await?;
        self.registry.require_verified()?;
        self.start_some(new, log).await?;
        if self.providers().any(|provider| provider.link().is_ok()) {
            return Ok(());
        }
        let reasons = self.statuses().into_iter().map(|status| {
            format!("  {}: {}", status.name, status.reason.unwrap_or_else(|| "unknown".into()))
        });
        Err(StartError::NoProvider(reasons.collect::<Vec<_>>().join("\n")))
    }

    /// Leaves a task with each of these, and waits until it has answered its first try or missed
    /// its deadline; that try goes on all the same.
    async fn start_some(
        self: &Arc<Self>,
        providers: Vec<Arc<Provider>>,
        log: &Arc<dyn RecoveryLog>,
    ) -> Result<(), StartError> {
        let begun = tokio::time::Instant::now();
        let mut first_tries = Vec::new();
        for provider in providers {
            let (answer, answered) = oneshot::channel();
            let (router, log) = (Arc::clone(self), Arc::clone(log));
            first_tries.push((Arc::clone(&provider), answered));
            self.supervisors().spawn(async move {
                let opened = router.try_to_open(&provider, log.as_ref()).await;
                if let Some(opened) = tell(opened, answer) {
                    router.supervise(provider, opened, log).await;
                }
            });
        }
        for (provider, mut answered) in first_tries {
            let limit = provider.config.deadlines.open;
            let answer = match timeout_at(begun + limit, &mut answered).await {
                Ok(answer) => answer.ok(),
                Err(_elapsed) => {
                    // From here on nobody believes that we listen.
                    answered.close();
                    let answer = answered.try_recv().ok();
                    if answer.is_none() {
                        self.note_late(&provider, limit);
                    }
                    answer
                }
            };
            if let Some(Err(error)) = answer {
                return Err(error.into());
            }
        }
        Ok(())
    }

    fn note_late(&self, provider: &Provider, limit: Duration) {
        let error = OpenError::Call(CallError::Timeout(limit));
        let reason = error.reason(&provider.config.source);
        tracing::warn!(provider = %provider.name(), %reason, "provider is not open");
        provider.set_late(reason, self.clock.now_text());
    }

    /// Tries to open an instance and notes how that went.
    async fn try_to_open(
        &self,
        provider: &Provider,
        log: &dyn RecoveryLog,
    ) -> Result<Arc<Link>, OpenError> {
        let _under_way = provider.probe();
        let opened = self.open_once(provider, log).await;
        let now = self.clock.now_text();
        match &opened {
            Ok(link) => {
                condition::ask(provider, link).await;
                tracing::info!(provider = %provider.name(), info = ?link.info(), "provider is open");
                provider.set_open(Arc::clone(link), now);
            }
            Err(error) => {
                let known = self.registry.instance(provider.name()).is_some();
                let reason = error.reason(&provider.config.source);
                tracing::warn!(provider = %provider.name(), %reason, "provider is not open");
                let (availability, cause) = error.availability(known, reason);
                provider.set_closed(availability, cause, now);
            }
        }
        opened
    }

    /// Keeps an instance open for as long as the host lives.
    async fn supervise(
        self: Arc<Self>,
        provider: Arc<Provider>,
        mut opened: Result<Arc<Link>, OpenError>,
        log: Arc<dyn RecoveryLog>,
    ) {
        let in_process = provider.config.source.isolation == Isolation::InProcess;
        let mut backoff = Backoff::new();
        loop {
            let in_doubt = match opened {
                Ok(link) => {
                    let opened_at = Instant::now();
                    let lost = self.watch(&provider, &link, log.as_ref()).await;
                    drop(link);
                    self.registry.detach(provider.name());
                    provider.set_closed(lost.availability, lost.cause, self.clock.now_text());
                    // One that is lost as soon as it is open is not tried at the same pace for ever.
                    if opened_at.elapsed() >= Backoff::LAST {
                        backoff = Backoff::new();
                    }
                    lost.in_doubt
                }
                Err(error) => error.left_plugin_in_doubt(),
            };
            if in_process && in_doubt {
                // Its code is still in this process, in an unknown state, and each new try could
                // keep another thread.
                return refuse_retries(&provider).await;
            }
            wait_for_next_try(&provider, backoff.take()).await;
            opened = self.try_to_open(&provider, log.as_ref()).await;
        }
    }

    /// Waits until a link is dead, or its device was replaced by another or refuses its PIN, and
    /// tells how it was lost. Meanwhile, whenever its breaker opened, asks after its device until
    /// a self test passes and completes what was cut short, so that the way back does not depend
    /// on anybody's request.
    async fn watch(&self, provider: &Provider, link: &Link, log: &dyn RecoveryLog) -> Lost {
        let isolation = provider.config.source.isolation;
        let ask = async {
            loop {
                provider.doubt.notified().await;
                let mut backoff = Backoff::new();
                loop {
                    let under_way = provider.probe();
                    let asked = self.ask_after(provider, link, log).await;
                    drop(under_way);
                    match asked {
                        Err(error) if error.is_wrong_device() || error.is_refused() => {
                            let replaced = error.is_wrong_device();
                            let reason = OpenError::Call(error).reason(&provider.config.source);
                            return if replaced {
                                Availability::Replaced(reason)
                            } else {
                                Availability::Down(reason)
                            };
                        }
                        Ok(()) | Err(_) if provider.is_working() => break,
                        Ok(()) | Err(_) => {}
                    }
                    wait_for_next_try(provider, backoff.take().min(PROBE_WAIT_MAX)).await;
                }
            }
        };
        let forever = async {
            condition::watch(provider, link).await;
            std::future::pending().await
        };
        tokio::select! {
            death = link.died() => {
                let again = match isolation {
                    Isolation::Process => "; see the host's log; it is started again by itself",
                    Isolation::InProcess => "",
                };
                let availability = Availability::Down(death.reason + again);
                let cause = if death.gone { BreakerCause::Gone } else { BreakerCause::Silent };
                Lost { availability, cause, in_doubt: true }
            }
            // The provider answered all its calls.
            availability = ask => {
                Lost { availability, cause: BreakerCause::Refusing, in_doubt: false }
            }
            never = forever => never,
        }
    }

    /// Asks once whether a device works; if so, completes what its loss cut short, and lets calls
    /// through again.
    async fn ask_after(
        &self,
        provider: &Provider,
        link: &Link,
        log: &dyn RecoveryLog,
    ) -> Result<(), CallError> {
        let mut outcome = link.call(Call::SelfTest).await.map(drop);
        if outcome.is_ok() {
            match self.complete_leftovers(provider.name(), link, log).await {
                Ok(()) => {}
                Err(OpenError::Call(error)) if tells_of_the_device(&error) => outcome = Err(error),
                Err(error) => {
                    tracing::error!(provider = %provider.name(), %error, "a change stays unfinished");
                }
            }
        }
        provider.note_probe(&outcome);
        if let Err(error) = &outcome
            && let Err(error) = self.remember_refusal(provider, error, link.subject())
        {
            tracing::error!(provider = %provider.name(), %error, "the refusal is not remembered");
        }
        outcome
    }
}

/// Whether a destruction failed for the device's sake, or got no turn: not for its key's.
const fn tells_of_the_device(error: &CallError) -> bool {
    match sign_of(error) {
        Sign::Bad(_) | Sign::Fault => true,
        Sign::Works | Sign::Doubt | Sign::Nothing => matches!(error, CallError::Busy),
    }
}

/// The longest pause between two self tests of an open instance whose breaker is open.
const PROBE_WAIT_MAX: Duration = Duration::from_secs(1);

/// Lets a pause pass, and shows how long it is; an operator may end it.
async fn wait_for_next_try(provider: &Provider, wait: Duration) {
    provider.probe_in(wait);
    tokio::select! {
        () = tokio::time::sleep(wait) => {}
        () = provider.retry.notified() => {}
    }
}

/// Tells the start how a first try went. A fault that must stop it ends the supervision, if the
/// start still listens.
fn tell(
    opened: Result<Arc<Link>, OpenError>,
    answer: oneshot::Sender<Result<(), RegistryError>>,
) -> Option<Result<Arc<Link>, OpenError>> {
    match opened {
        Err(OpenError::Registry(error)) if is_fatal(&error) => match answer.send(Err(error)) {
            Err(Err(unheard)) => Some(Err(unheard.into())),
            Ok(()) | Err(Ok(())) => None,
        },
        opened => {
            // A start that waits no longer sees the outcome in the provider's state.
            let _ = answer.send(Ok(()));
            Some(opened)
        }
    }
}

/// How an open instance was lost.
struct Lost {
    /// How it is to be shown.
    availability: Availability,
    /// Why calls fail until it is open again.
    cause: BreakerCause,
    /// Whether a call is still inside the plugin, or left it in a state that nobody knows.
    in_doubt: bool,
}

/// Answers operators who want another try that there will be none.
async fn refuse_retries(provider: &Provider) {
    loop {
        provider.retry.notified().await;
        drop(provider.begin());
    }
}
