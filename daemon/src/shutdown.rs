//! How a daemon is told to end or to read its configuration again.
//!
//! SIGTERM and SIGINT ask for the end, SIGHUP for a reload. What draining and reloading mean is
//! the daemon's own matter.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Tells everybody who holds a clone whether the daemon is to end.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

/// Asks for the end from inside: a fault that leaves no sense in going on.
#[derive(Clone, Debug)]
pub struct ShutdownTrigger(watch::Sender<bool>);

/// The reloads that were asked for.
#[derive(Debug)]
pub struct Reloads(Signal);

/// Begins to listen to the signals, inside a tokio runtime.
///
/// From here on the three signals no longer end the process by themselves. Signals that come
/// while one of their kind is being answered count once.
///
/// # Errors
/// The answer of the operating system when a handler cannot be set.
pub fn listen() -> io::Result<(Shutdown, ShutdownTrigger, Reloads)> {
    let reloads = Reloads(signal(SignalKind::hangup())?);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (shutdown, trigger) = channel();
    let on_signal = trigger.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        on_signal.request();
    });
    Ok((shutdown, trigger, reloads))
}

/// Returns a shutdown that only its trigger asks for.
#[must_use]
pub fn channel() -> (Shutdown, ShutdownTrigger) {
    let (sender, receiver) = watch::channel(false);
    (Shutdown(receiver), ShutdownTrigger(sender))
}

impl Shutdown {
    /// Waits until the end is asked for; returns at once when it was before.
    ///
    /// A trigger that is gone without having asked counts as asking: nobody could ask any more.
    /// Safe to drop and await again, as in `select!`.
    pub async fn requested(&mut self) {
        let _gone_counts_too = self.0.wait_for(|asked| *asked).await;
    }

    /// Tells whether the end was asked for.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }
}

impl ShutdownTrigger {
    /// Asks for the end; asking again changes nothing.
    pub fn request(&self) {
        self.0.send_replace(true);
    }
}

impl Reloads {
    /// Waits for the next reload; safe to drop and await again, as in `select!`.
    pub async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            // The signal driver is gone with its runtime: no reload will come.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(run: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(run);
    }

    #[test]
    fn shutdown_asked_before_the_wait_is_noticed() {
        check(async {
            let (mut shutdown, trigger) = channel();
            assert!(!shutdown.is_requested());
            trigger.request();
            shutdown.requested().await;
            assert!(shutdown.is_requested());
        });
    }

    #[test]
    fn shutdown_asked_during_the_wait_reaches_every_clone() {
        check(async {
            let (mut one, trigger) = channel();
            let mut two = one.clone();
            let asks = async { trigger.request() };
            tokio::join!(one.requested(), two.requested(), asks);
        });
    }

    #[test]
    fn shutdown_whose_trigger_is_gone_is_asked_for() {
        check(async {
            let (mut shutdown, trigger) = channel();
            drop(trigger);
            shutdown.requested().await;
        });
    }
}
