//! Asks devices how near they are to refusing every authorization, so that operators see a
//! lockout before it bites: when an instance opens, now and then, and after a refusal. Status and
//! metrics answer from what was learnt, and so cost no device command.

use std::time::Duration;

use provider_core::ErrorKind;
use tokio::time::{MissedTickBehavior, interval};

use super::breaker::{Sign, sign_of};
use super::provider::Provider;
use crate::plugin::{Answer, Call, CallError, Link};

/// The shortest pause between two questions, whatever callers have a device refuse.
const PAUSE: Duration = Duration::from_secs(1);

/// Asks once, and notes the answer. Returns whether it makes sense to ask this link again.
pub(super) async fn ask(provider: &Provider, link: &Link) -> bool {
    match link.call(Call::Condition).await {
        Ok(Answer::Condition(condition)) => provider.set_condition(Some(condition)),
        Err(CallError::Provider(error)) if error.kind == ErrorKind::Unsupported => {
            provider.set_condition(None);
            return false;
        }
        Ok(_) => {
            tracing::error!(provider = %provider.name(), "condition did not answer with one");
            return false;
        }
        Err(error) => {
            // That the device is not there is worth knowing before a caller's call finds out.
            if let Sign::Bad(_) = sign_of(&error) {
                provider.note(sign_of(&error));
            }
            let provider = provider.name();
            tracing::warn!(%provider, %error, "how near a lockout is, is not known");
        }
    }
    true
}

/// Asks an open instance now and then while its breaker is closed, and soon after a refusal, for
/// as long as it is polled.
pub(super) async fn watch(provider: &Provider, link: &Link) {
    let every = provider.config.condition_every;
    let mut turns = interval(every);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first is at once, and the opening has asked just now.
    turns.tick().await;
    loop {
        tokio::select! {
            _ = turns.tick() => {}
            () = provider.refused.notified() => {}
        }
        if provider.is_working() && !ask(provider, link).await {
            return;
        }
        tokio::time::sleep(PAUSE.min(every)).await;
    }
}
