//! `status`, and how providers are shown.

use sealhost_client::Call;
use wire::api::{BreakerState, BreakerStatus, Confined, LockoutStatus, ProviderStatus, Status};

use super::Session;
use crate::exit::{Exit, Failure};
use crate::screen::{NOTHING, plain, table, time};

pub(super) fn run(session: &Session) -> Result<Exit, Failure> {
    session.ask_and_print(&Call::status(), text)
}

fn text(status: &Status) -> String {
    let order: Vec<_> = status.order.iter().map(|name| name.as_str()).collect();
    format!(
        "sealhost {}, started {}, registry generation {}\nnew keys go to: {} (floor: {})\n\
         confined: {}\n\n{}",
        plain(&status.version),
        time(&status.started_at),
        status.generation,
        order.join(", "),
        status.floor.as_str(),
        confined(&status.sandbox),
        providers(&status.providers),
    )
}

/// The least that a process is confined, for a table.
fn least(confined: &Confined) -> &'static str {
    let Confined { filesystem, network, syscalls, .. } = *confined;
    filesystem.min(network).min(syscalls).as_str()
}

/// How far a process is confined; its limits are in the JSON.
fn confined(confined: &Confined) -> String {
    let Confined { filesystem, network, syscalls, .. } = confined;
    let [filesystem, network, syscalls] =
        [filesystem, network, syscalls].map(|level| level.as_str());
    if filesystem == network && network == syscalls {
        return filesystem.to_owned();
    }
    format!("filesystem {filesystem}, network {network}, syscalls {syscalls}")
}

/// A table, and under it what does not fit one.
pub(super) fn providers(providers: &[ProviderStatus]) -> String {
    let head =
        ["PROVIDER", "STATE", "BREAKER", "KIND", "PROTECTION", "DEVICE", "SANDBOX", "CAN", "SINCE"];
    let mut text = table(&head, providers.iter().map(row));
    for provider in providers {
        let mut say = |what: &str| text.push_str(&format!("\n{}: {}", provider.name, plain(what)));
        if let Some(reason) = &provider.reason {
            say(reason);
        }
        if let Some(calls) = breaker(&provider.breaker) {
            say(&calls);
        }
        if let Some(lockout) = provider.lockout.filter(LockoutStatus::is_near) {
            say(&format!("warning: {lockout}"));
        }
        if provider.fallback_active {
            say("new seals go to another provider now; rewrap them when this one is back");
        }
        provider.notes.iter().for_each(|note| say(note));
    }
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// What a breaker that is not closed means for callers.
fn breaker(breaker: &BreakerStatus) -> Option<String> {
    let cause = breaker.cause.map_or(NOTHING, |cause| cause.as_str());
    match (breaker.state, breaker.next_probe_ms) {
        (BreakerState::Closed, _) => None,
        (BreakerState::HalfOpen, _) => {
            Some(format!("calls fail at once ({cause}); the device is being asked now"))
        }
        (BreakerState::Open, Some(wait)) => {
            Some(format!("calls fail at once ({cause}); the device is asked again in {wait} ms"))
        }
        (BreakerState::Open, None) => {
            Some(format!("calls fail at once ({cause}); the device is not asked again by itself"))
        }
    }
}

fn row(provider: &ProviderStatus) -> Vec<String> {
    let or_nothing = |text: Option<&str>| text.unwrap_or(NOTHING).to_owned();
    let device: Vec<_> =
        [&provider.manufacturer, &provider.firmware].into_iter().flatten().cloned().collect();
    let joined = |words: &[String], with: &str| match words {
        [] => NOTHING.to_owned(),
        words => words.join(with),
    };
    vec![
        provider.name.to_string(),
        provider.state.as_str().to_owned(),
        provider.breaker.state.as_str().to_owned(),
        or_nothing(provider.kind.as_deref()),
        or_nothing(provider.protection.map(|protection| protection.as_str())),
        joined(&device, " "),
        or_nothing(provider.sandbox.as_ref().map(least)),
        joined(&provider.capabilities, ","),
        time(&provider.since),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const API: &str = include_str!("../../../docs/api.md");

    #[test]
    fn status_of_the_page_is_shown_with_reasons_under_the_table() {
        let (_, section) = API.split_once("### `GET /v1/status`").unwrap();
        let document = section.split("```json\n").nth(1).unwrap().split("\n```").next().unwrap();
        let status = serde_json::from_str(document).unwrap();
        assert_eq!(
            text(&status),
            "\
sealhost 0.1.0, started 2026-01-02T03:04:05Z, registry generation 4
new keys go to: tpm, hsm (floor: hardware)
confined: filesystem none, network none, syscalls full

PROVIDER  STATE  BREAKER  KIND    PROTECTION  DEVICE    SANDBOX  CAN                                             SINCE
tpm       open   closed   tpm     hardware    IFX 7.85  full     seal,mac,import-mac,sign,state-binding,counter  2026-01-02T03:04:05Z
hsm       down   open     pkcs11  -           -         -        -                                               2026-01-02T08:00:00Z

tpm: warning: lockout: 17 failed authorizations of 32; one is forgotten in 7200 s
hsm: the token is gone; plug it in, or look at the log of the worker
hsm: calls fail at once (gone); the device is asked again in 800 ms
hsm: new seals go to another provider now; rewrap them when this one is back
"
        );
    }
}
