//! The whole file: from its path to a [`Config`], and the sections that are read nowhere else.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use daemon::limit::Limits;
use daemon::listener::{Endpoint, SOCKET_PATH_BYTES};
use toml::Value;
use wire::name::ProviderName;

use super::fault::{ConfigError, ConfigFault, Problem};
use super::provider::{self, Providers};
use super::rule;
use super::section::{Read, Section};
use super::value;
use super::{Config, FALLBACK_AFTER, FILE_MAX_BYTES, FLOOR, LIMIT_MAX, SOCKET_MODE, Selection};

/// Opens, reads and checks a file.
pub(super) fn load(path: &Path) -> Result<Config, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { file: path.into(), source };
    let file = daemon::trust::open_trusted(path)?;
    let mut bytes = Vec::new();
    file.take(FILE_MAX_BYTES.saturating_add(1)).read_to_end(&mut bytes).map_err(unreadable)?;
    if u64::try_from(bytes.len()).map_or(true, |length| length > FILE_MAX_BYTES) {
        return Err(ConfigError::TooLarge { file: path.into() });
    }
    check(path, &bytes)
}

/// Checks the content of a file; `path` is for messages only.
pub(super) fn check(path: &Path, bytes: &[u8]) -> Result<Config, ConfigError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
        ConfigError::NotText { file: path.into(), line: line_number(valid) }
    })?;
    let table = toml::from_str(text).map_err(|error: toml::de::Error| {
        let start = error.span().map_or(0, |span| span.start);
        let before = text.get(..start).unwrap_or(text);
        let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count());
        ConfigError::Syntax {
            file: path.into(),
            line: line_number(before.as_bytes()),
            column: column.saturating_add(1),
            // Without the line itself: it may hold what should not be in a log.
            message: error.message().to_owned(),
        }
    })?;
    let mut faults: Vec<ConfigFault> = Vec::new();
    match whole(Section::root(table, &mut faults)) {
        Ok(config) if faults.is_empty() => Ok(config),
        Ok(_) | Err(_) => Err(ConfigError::Faults { file: path.into(), faults }),
    }
}

/// The line that comes after `before`, from 1.
fn line_number(before: &[u8]) -> usize {
    before.iter().filter(|byte| **byte == b'\n').count().saturating_add(1)
}

fn whole(mut root: Section<'_>) -> Read<Config> {
    let listen = root.table("listen").and_then(listen);
    let state_dir = root.table("state").and_then(|mut state| {
        let dir = state.required("dir", "dir = \"/var/lib/sealhost\"", value::path);
        state.finish();
        dir
    });
    let plugin_dir = root.table("plugins").and_then(|mut plugins| {
        let dir = plugins.optional("dir", value::path);
        plugins.finish();
        dir
    });
    let plugin_dir = plugin_dir.as_ref().map(Option::as_deref).map_err(|noted| *noted);
    let Providers { names, configs } = provider::read_all(&mut root, plugin_dir);
    let selection = root.table("selection").and_then(|section| selection(section, &names));
    let rules = rule::read_all(&mut root);
    let audit_path = root.table("audit").and_then(|mut audit| {
        let path = audit.required("path", "path = \"/var/log/sealhost/audit.log\"", value::path);
        audit.finish();
        path
    });
    let limits = root.table("limits").and_then(limits);
    root.finish();
    Ok(Config {
        listen: listen?,
        state_dir: state_dir?,
        providers: configs?,
        selection: selection?,
        rules: rules?,
        audit_path: audit_path?,
        limits: limits?,
    })
}

fn listen(mut section: Section<'_>) -> Read<Endpoint> {
    let path = section.required("socket", "socket = \"/run/sealhost/sealhost.sock\"", socket);
    let mode = section.defaulted("mode", SOCKET_MODE, value::mode);
    let group = section.optional("group", value::text);
    section.finish();
    Ok(Endpoint { path: path?, mode: mode?, group: group? })
}

fn socket(value: &Value) -> Result<PathBuf, Problem> {
    let path = value::path(value)?;
    match path.as_os_str().len() {
        bytes if bytes > SOCKET_PATH_BYTES => Err(Problem::SocketPath(bytes)),
        _ => Ok(path),
    }
}

fn selection(mut section: Section<'_>, names: &[ProviderName]) -> Read<Selection> {
    let order = section.list("order", "a list of providers' names", value::name);
    let order = order.and_then(|order| match order {
        None => Ok(names.to_vec()),
        Some(order) => check_order(&mut section, order, names),
    });
    let floor = section.defaulted("floor", FLOOR, value::protection);
    let fallback_after = section.defaulted("fallback_after", FALLBACK_AFTER, value::duration);
    section.finish();
    Ok(Selection { order: order?, floor: floor?, fallback_after: fallback_after? })
}

fn check_order(
    section: &mut Section<'_>,
    order: Vec<ProviderName>,
    names: &[ProviderName],
) -> Read<Vec<ProviderName>> {
    if order.is_empty() {
        return Err(section.fault("order", Problem::EmptyOrder));
    }
    let mut noted = None;
    for (index, name) in order.iter().enumerate() {
        if order.iter().take(index).any(|before| before == name) {
            noted = Some(section.fault("order", Problem::Repeated(name.clone())));
        } else if !names.contains(name) {
            noted = Some(section.fault("order", Problem::NoSuchProvider(name.clone())));
        }
    }
    noted.map_or(Ok(order), Err)
}

fn limits(mut section: Section<'_>) -> Read<Limits> {
    let defaults = Limits::default();
    let mut limit = |key, default| section.defaulted(key, default, value::number(1, LIMIT_MAX));
    let connections = limit("connections", defaults.connections);
    let connections_per_uid = limit("connections_per_uid", defaults.connections_per_uid);
    let in_flight = limit("in_flight", defaults.in_flight);
    let in_flight_per_uid = limit("in_flight_per_uid", defaults.in_flight_per_uid);
    section.finish();
    Ok(Limits {
        connections: connections?,
        connections_per_uid: connections_per_uid?,
        in_flight: in_flight?,
        in_flight_per_uid: in_flight_per_uid?,
    })
}
