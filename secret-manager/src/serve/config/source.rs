//! `[source]`: where secrets come from.

use std::path::PathBuf;
use std::time::Duration;

use daemon::config::{Read, Section, value};
use toml::Value;
use wire::secrets::SecretName;

use super::fault::Problem;
use super::store::label;
use super::{MqttConfig, SourceConfig};
use crate::lifecycle::Patience;
use crate::serve::feed::mqtt::KEEP_ALIVE;
use crate::source::mqtt::{Broker, Policy, Profile};

const NEGATIVE_TTL: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_secs(30);
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
const ATTEMPTS_MAX: i64 = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Directory,
    Mqtt,
}

/// An absent or empty table is no source.
pub(super) fn source(mut section: Section<'_>) -> Read<(Option<SourceConfig>, Duration)> {
    let negative_ttl = section.defaulted("negative_ttl", NEGATIVE_TTL, value::duration);
    let source = match section.optional("type", kind) {
        Ok(None) => Ok(None),
        Ok(Some(Kind::Directory)) => directory(&mut section).map(Some),
        Ok(Some(Kind::Mqtt)) => mqtt(&mut section).map(Some),
        Err(noted) => Err(noted),
    };
    section.finish();
    Ok((source?, negative_ttl?))
}

fn directory(section: &mut Section<'_>) -> Read<SourceConfig> {
    let name = section.defaulted("label", "directory".to_owned(), label);
    let path = section.required("path", "path = \"/var/lib/deliveries\"", value::path);
    let poll = section.defaulted("poll", POLL, value::duration);
    Ok(SourceConfig::Directory { label: name?, path: path?, poll: poll? })
}

fn mqtt(section: &mut Section<'_>) -> Read<SourceConfig> {
    let name = section.defaulted("label", "mqtt".to_owned(), label);
    let profile = profile(section);
    let ca = section.defaulted("ca", PathBuf::from(AUTHORITIES), value::path);
    let clear = section.defaulted("danger_clear", false, boolean);
    let broker = section.required("broker", "broker = \"tls://broker.example:8883\"", address);
    let user = section.optional("user", value::text);
    let password = section.optional("password_source", password);
    let unsolicited = section.defaulted("unsolicited_updates", false, boolean);
    let deletes = section.defaulted("deletes", false, boolean);
    let defaults = Patience::default();
    let timeout = section.defaulted("timeout", defaults.timeout, value::duration);
    let attempts = section.defaulted("attempts", defaults.attempts, value::number(1, ATTEMPTS_MAX));
    let first_pause = section.defaulted("first_pause", defaults.first_pause, value::duration);
    let longest_pause = section.defaulted("longest_pause", defaults.longest_pause, value::duration);
    let keep_alive = section.defaulted("keep_alive", KEEP_ALIVE, value::duration);
    let wanted = section.list("wanted", "a list of names of secrets", secret);
    let broker = match (broker?, clear?) {
        (Address::Unix(path), _) => Broker::Unix(path),
        (Address::Tls { host, port }, _) => Broker::Tls { host, port, ca: ca? },
        (Address::Clear { host, port }, true) => Broker::DangerClear { host, port },
        (Address::Clear { .. }, false) => return Err(section.fault("broker", Problem::Clear)),
    };
    Ok(SourceConfig::Mqtt(Box::new(MqttConfig {
        label: name?,
        profile: profile?,
        broker,
        user: user?,
        password: password?,
        policy: Policy { unsolicited_updates: unsolicited?, deletes: deletes? },
        patience: Patience {
            timeout: timeout?,
            attempts: attempts?,
            first_pause: first_pause?,
            longest_pause: longest_pause?,
        },
        keep_alive: keep_alive?,
        wanted: wanted?.unwrap_or_default(),
    })))
}

/// With a hub, its topics; without one, the plain ones.
fn profile(section: &mut Section<'_>) -> Read<Profile> {
    let device = section.required("device", "device = \"edge-1\"", value::text);
    let hub = section.optional("hub", value::text);
    let module = section.optional("module", value::text);
    let (device, hub, module) = (device?, hub?, module?);
    let profile = match (&hub, &module) {
        (Some(hub), module) => Profile::iot_hub(hub, &device, module.as_deref()),
        (None, None) => Profile::plain(&device),
        (None, Some(_)) => return Err(section.fault("module", Problem::ModuleWithoutHub)),
    };
    profile.map_err(|error| section.fault("device", Problem::Profile(error)))
}

fn kind(value: &Value) -> Result<Kind, Problem> {
    match value::text(value)?.as_str() {
        "directory" => Ok(Kind::Directory),
        "mqtt" => Ok(Kind::Mqtt),
        other => {
            let found = other.to_owned();
            Err(Problem::Word { found, wanted: "\"directory\" or \"mqtt\"" })
        }
    }
}

/// A broker as it is written.
enum Address {
    Unix(PathBuf),
    Tls { host: String, port: u16 },
    Clear { host: String, port: u16 },
}

fn address(value: &Value) -> Result<Address, Problem> {
    let text = value::text(value)?;
    if let Some(path) = text.strip_prefix("unix:") {
        return Ok(Address::Unix(value::absolute(path)?));
    }
    let host_and_port = |rest: &str| {
        let (host, port) = rest.rsplit_once(':')?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = port.parse().ok().filter(|port| *port != 0)?;
        (!host.is_empty() && !host.contains('/')).then(|| (host.to_owned(), port))
    };
    let tls = text.strip_prefix("tls://").and_then(host_and_port);
    let clear = text.strip_prefix("clear://").and_then(host_and_port);
    match (tls, clear) {
        (Some((host, port)), _) => Ok(Address::Tls { host, port }),
        (None, Some((host, port))) => Ok(Address::Clear { host, port }),
        (None, None) => Err(Problem::Broker(text)),
    }
}

/// Only a file: the daemon reads it anew for each connection.
fn password(value: &Value) -> Result<PathBuf, Problem> {
    let text = value::text(value)?;
    // What is no source may be the password, and is not repeated.
    let path = text.strip_prefix("file:").ok_or(Problem::PasswordSource)?;
    Ok(value::absolute(path)?)
}

fn boolean(value: &Value) -> Result<bool, Problem> {
    let other =
        daemon::config::Problem::Type { found: value::kind(value), wanted: "true or false" };
    value.as_bool().ok_or(Problem::Any(other))
}

fn secret(value: &Value) -> Result<SecretName, Problem> {
    SecretName::parse(&value::text(value)?).map_err(|error| Problem::Secret(error.to_string()))
}
