//! What the service manager is told: ready, reloading, stopping, still alive.
//!
//! Without a service manager (no `NOTIFY_SOCKET`) every message is a no-op. A message that cannot
//! be delivered is logged and changes nothing else: the daemon serves on.

use std::time::Duration;

use sd_notify::NotifyState;

/// Tells the service manager that the daemon serves, with a line for `systemctl status`.
///
/// # Spec
/// sd_notify(3): `READY=1`, `STATUS=`.
pub fn ready(status_line: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(&one_line(status_line))]);
}

/// Replaces the line that `systemctl status` shows; a line break becomes a space.
pub fn status(line: &str) {
    send(&[NotifyState::Status(&one_line(line))]);
}

/// Tells the service manager that a reload has begun; [`ready`] ends it.
///
/// # Spec
/// sd_notify(3): `RELOADING=1` with `MONOTONIC_USEC=`, as `Type=notify-reload` needs.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "the service manager was not told of the reload"),
    }
}

/// Tells the service manager that the daemon finishes what it has begun and then ends.
pub fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// Returns how often the watchdog is to be fed: half of `WATCHDOG_USEC`; none without a watchdog.
#[must_use]
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2).filter(|half| !half.is_zero())
}

/// Feeds the watchdog for ever; ends at once where there is none.
///
/// Run as a task of the runtime that serves, so that a runtime that hangs is noticed.
pub async fn feed_watchdog() {
    let Some(interval) = watchdog_interval() else { return };
    let mut ticks = tokio::time::interval(interval);
    loop {
        ticks.tick().await;
        send(&[NotifyState::Watchdog]);
    }
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager was not told: {states:?}");
    }
}

/// A line break in a status would begin another message.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_with_a_line_break_cannot_begin_another_message() {
        assert_eq!(one_line("fine\nSTOPPING=1\r"), "fine STOPPING=1 ");
    }
}
