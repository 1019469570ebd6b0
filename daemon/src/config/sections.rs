//! The sections that every daemon has.

use std::num::NonZeroU32;
use std::path::PathBuf;

use toml::{Table, Value};

use super::fault::Problem;
use super::section::{Read, Section};
use super::{BODY_BYTES_MAX, BODY_BYTES_MIN, LIMIT_MAX, RATE_MAX, SOCKET_MODE, value};
use crate::audit::{ROTATE_BYTES, ROTATE_BYTES_MIN, Settings};
use crate::http::Timeouts;
use crate::limit::Limits;
use crate::listener::{Endpoint, SOCKET_PATH_BYTES};
use crate::rules::{Operation, RawPrincipal, RawRule, Rules};
use crate::sandbox::Demand;

/// Reads `[listen]`; `example` is how an operator would write its socket.
///
/// # Limits
/// 107 bytes of path.
///
/// # Errors
/// The proof that something is wrong; each fault is noted.
pub fn listen(root: &mut Section<'_>, example: &'static str) -> Read<Endpoint> {
    endpoint(root.table("listen")?, example)
}

/// Reads `[listen]` with a further listener in it, which may be absent; `further` is its key and
/// how an operator would write its socket.
///
/// # Errors
/// As [`listen`]; two listeners on one socket besides.
pub fn listen_twice(
    root: &mut Section<'_>,
    example: &'static str,
    further: (&'static str, &'static str),
) -> Read<(Endpoint, Option<Endpoint>)> {
    let mut section = root.table("listen")?;
    let (key, further_example) = further;
    let second = optional_listen(&mut section, key, further_example);
    let first = endpoint(section, example)?;
    let second = second?;
    if second.as_ref().is_some_and(|second| second.path == first.path) {
        let mut section = root.inner("[listen] ".to_owned(), Table::new());
        return Err(section.fault(key, Problem::SameSocket));
    }
    Ok((first, second))
}

/// Reads another section of the form of `[listen]`, which may be absent.
///
/// # Errors
/// As [`listen`].
pub fn optional_listen(
    root: &mut Section<'_>,
    name: &'static str,
    example: &'static str,
) -> Read<Option<Endpoint>> {
    if !root.has(name) {
        return Ok(None);
    }
    endpoint(root.table(name)?, example).map(Some)
}

fn endpoint(mut section: Section<'_>, example: &'static str) -> Read<Endpoint> {
    let path = section.required("socket", example, socket);
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

/// Reads `[state]`: the directory that the daemon has for itself.
///
/// # Errors
/// The proof that something is wrong; each fault is noted.
pub fn state_dir(root: &mut Section<'_>, example: &'static str) -> Read<PathBuf> {
    let mut section = root.table("state")?;
    let dir = section.required("dir", example, value::path);
    section.finish();
    dir
}

/// Reads `[audit]`: where the audit log is, and when it is rotated; `example` is how an operator
/// would write its path.
///
/// # Limits
/// `rotate_bytes` is 0 or from [`ROTATE_BYTES_MIN`] on.
///
/// # Errors
/// The proof that something is wrong; each fault is noted.
pub fn audit(root: &mut Section<'_>, example: &'static str) -> Read<Settings> {
    let mut section = root.table("audit")?;
    let path = section.required("path", example, value::path);
    let rotate_bytes = section.defaulted("rotate_bytes", ROTATE_BYTES, rotate_bytes);
    let keep = section.optional("keep", value::number(1, KEEP_MAX));
    section.finish();
    Ok(Settings { path: path?, rotate_bytes: rotate_bytes?, keep: keep? })
}

/// Most older files that can be configured to stay.
const KEEP_MAX: i64 = 1_000_000;

fn rotate_bytes(value: &Value) -> Result<u64, Problem> {
    let least = i64::try_from(ROTATE_BYTES_MIN).unwrap_or(i64::MAX);
    value::number(0, 0)(value).or_else(|_not_never| value::number(least, i64::MAX)(value))
}

/// Reads `[sandbox]`: how strictly the daemon confines itself.
///
/// # Errors
/// The proof that something is wrong; each fault is noted.
pub fn sandbox(root: &mut Section<'_>) -> Read<Demand> {
    let mut section = root.table("sandbox")?;
    let level = section.defaulted("level", Demand::Full, value::demand);
    section.finish();
    level
}

/// Reads `[limits]`: how many connections and requests, and how long they may take.
///
/// # Limits
/// Numbers from 1 to [`LIMIT_MAX`], rates to [`RATE_MAX`], bytes from one longest body to
/// [`BODY_BYTES_MAX`]; durations as everywhere.
///
/// # Errors
/// The proof that something is wrong; each fault is noted.
pub fn limits(root: &mut Section<'_>) -> Read<(Limits, Timeouts)> {
    let mut section = root.table("limits")?;
    let defaults = Limits::default();
    let mut limit = |key, default| section.defaulted(key, default, value::number(1, LIMIT_MAX));
    let connections = limit("connections", defaults.connections);
    let connections_per_uid = limit("connections_per_uid", defaults.connections_per_uid);
    let in_flight = limit("in_flight", defaults.in_flight);
    let in_flight_per_uid = limit("in_flight_per_uid", defaults.in_flight_per_uid);
    let mut rate = |key| section.optional(key, value::number(1, RATE_MAX));
    let (rate_per_uid, burst_per_uid) = (rate("rate_per_uid"), rate("burst_per_uid"));
    let rate_per_uid = rate_per_uid.map(|rate| rate.and_then(NonZeroU32::new));
    let burst_per_uid = burst_per_uid.map(|burst| burst.and_then(NonZeroU32::new));
    let mut bytes = |key, default| {
        section.defaulted(key, default, value::number(BODY_BYTES_MIN, BODY_BYTES_MAX))
    };
    let body_bytes = bytes("body_bytes", defaults.body_bytes);
    let body_bytes_per_uid = bytes("body_bytes_per_uid", defaults.body_bytes_per_uid);
    let defaults = Timeouts::default();
    let mut timeout = |key, default| section.defaulted(key, default, value::duration);
    let head = timeout("head_timeout", defaults.head);
    let body = timeout("body_timeout", defaults.body);
    let write = timeout("write_timeout", defaults.write);
    let drain = timeout("drain_timeout", defaults.drain);
    section.finish();
    let limits = Limits {
        connections: connections?,
        connections_per_uid: connections_per_uid?,
        in_flight: in_flight?,
        in_flight_per_uid: in_flight_per_uid?,
        rate_per_uid: rate_per_uid?,
        burst_per_uid: burst_per_uid?,
        body_bytes: body_bytes?,
        body_bytes_per_uid: body_bytes_per_uid?,
    };
    Ok((limits, Timeouts { head: head?, body: body?, write: write?, drain: drain? }))
}

/// Reads `[[rule]]`, each against the operations that the daemon has.
///
/// # Errors
/// The proof that something is wrong with a rule; each fault is noted with the rule's number.
pub fn rules(root: &mut Section<'_>, operations: &'static [Operation]) -> Read<Rules> {
    let tables = root.tables("rule")?;
    let mut noted = None;
    // Rules of the right shape, and the number that each has in the file.
    let (mut raw, mut numbers) = (Vec::new(), Vec::new());
    for (index, table) in tables.into_iter().enumerate() {
        let number = index.saturating_add(1);
        let mut section = of_rule(root, number, table);
        let read = rule(&mut section);
        section.finish();
        match read {
            Ok(rule) => {
                raw.push(rule);
                numbers.push(number);
            }
            Err(shape) => noted = Some(shape),
        }
    }
    match (Rules::check(&raw, operations), noted) {
        (Ok(rules), None) => Ok(rules),
        (Ok(_), Some(noted)) => Err(noted),
        (Err(faults), mut noted) => {
            for fault in faults.0 {
                let number = numbers.get(fault.rule.saturating_sub(1)).copied().unwrap_or_default();
                let mut section = of_rule(root, number, Table::new());
                noted = Some(section.fault(fault.key, Problem::Rule(fault.fault)));
            }
            noted.map_or_else(|| Ok(Rules::none(operations)), Err)
        }
    }
}

fn of_rule<'f>(root: &'f mut Section<'_>, number: usize, table: Table) -> Section<'f> {
    root.inner(format!("[[rule]] #{number} "), table)
}

/// Reads what every rule has, for a daemon whose rules have keys of their own too.
///
/// # Errors
/// The proof that something is wrong; each fault is noted.
pub fn rule(section: &mut Section<'_>) -> Read<RawRule> {
    const TEXTS: &str = "a list of texts in quotes";
    let owned = |value: &Value| value::any_text(value).map(str::to_owned);
    let principal = section.table("principal").and_then(principal);
    let keys = section.list("keys", TEXTS, owned);
    let operations = section.list("operations", TEXTS, owned);
    Ok(RawRule {
        principal: principal?,
        keys: keys?.unwrap_or_default(),
        operations: operations?.unwrap_or_default(),
    })
}

fn principal(mut section: Section<'_>) -> Read<RawPrincipal> {
    let uid = section.optional("uid", value::number(0, u32::MAX.into()));
    let user = section.optional("user", value::text);
    let gid = section.optional("gid", value::number(0, u32::MAX.into()));
    let group = section.optional("group", value::text);
    let unit = section.optional("unit", value::text);
    section.finish();
    Ok(RawPrincipal { uid: uid?, user: user?, gid: gid?, group: group?, unit: unit? })
}
