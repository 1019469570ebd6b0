//! From method, path and body to a request: one match over the endpoints of `docs/secrets.md`.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use daemon::http::{Query, segments};
use hyper::Method;
use wire::api::decode;
use wire::code::{Code, Fault};
use wire::secrets::{Date, GetItem, SecretName, SecretVersion};

use crate::legacy::{self, ImportFault};
use crate::serve::error::ServeError;
use crate::serve::request::{DELETE, GET, LIST, METRICS, PUT, Request, STATUS};

/// An endpoint with what its path and query say; its body is not read yet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Get { item: GetItem, fresh: bool },
    Put(SecretName),
    Delete(SecretName, Option<SecretVersion>),
    Versions(SecretName),
    List(String),
    Import,
    Export(String),
    Batch,
    Watch,
    Status,
    Metrics,
}

/// Finds the endpoint.
///
/// # Errors
/// `not_found`: there is none; `invalid`: a name or parameter in the path is none.
pub(super) fn endpoint(
    method: &Method,
    path: &str,
    query: Option<&str>,
) -> Result<Endpoint, ServeError> {
    let query = Query::parse(query)?;
    let parts = segments::<4>(path).ok_or_else(no_endpoint)?;
    let (get, post) = (*method == Method::GET, *method == Method::POST);
    let (endpoint, known): (_, &[&str]) = match parts {
        [Some("metrics"), None, None, None] if get => (Endpoint::Metrics, &[]),
        [Some("v1"), Some("status"), None, None] if get => (Endpoint::Status, &[]),
        [Some("v1"), Some("watch"), None, None] if get => (Endpoint::Watch, &[]),
        [Some("v1"), Some("batch"), None, None] if post => (Endpoint::Batch, &[]),
        [Some("v1"), Some("import"), None, None] if post => (Endpoint::Import, &[]),
        [Some("v1"), Some("export"), None, None] if get => {
            let prefix = query.value("prefix").unwrap_or_default();
            (Endpoint::Export(unescaped(prefix)?), &["prefix"])
        }
        [Some("v1"), Some("secrets"), None, None] if get => {
            let prefix = query.value("prefix").unwrap_or_default();
            (Endpoint::List(unescaped(prefix)?), &["prefix"])
        }
        [Some("v1"), Some("secrets"), Some(name), Some("versions")] if get => {
            (Endpoint::Versions(secret_name(name)?), &[])
        }
        [Some("v1"), Some("secrets"), Some(name), None] if get => {
            let (version, at) = (version(query)?, date(query)?);
            let item = GetItem { name: secret_name(name)?, version, at };
            (Endpoint::Get { item, fresh: force(query)? }, &["version", "at", "force"])
        }
        [Some("v1"), Some("secrets"), Some(name), None] if *method == Method::PUT => {
            (Endpoint::Put(secret_name(name)?), &[])
        }
        [Some("v1"), Some("secrets"), Some(name), None] if *method == Method::DELETE => {
            (Endpoint::Delete(secret_name(name)?, version(query)?), &["version"])
        }
        _ => return Err(no_endpoint()),
    };
    query.only(known)?;
    Ok(endpoint)
}

impl Endpoint {
    /// The operation, as rules and audit call it.
    pub(super) const fn operation(&self) -> &'static str {
        match self {
            Self::Get { .. } | Self::Batch | Self::Export(_) => GET,
            Self::Put(_) | Self::Import => PUT,
            Self::Delete(..) => DELETE,
            Self::Versions(_) | Self::List(_) | Self::Watch => LIST,
            Self::Status => STATUS,
            Self::Metrics => METRICS,
        }
    }

    /// The secret that the path names.
    pub(super) const fn name(&self) -> Option<&SecretName> {
        match self {
            Self::Get { item, .. } => Some(&item.name),
            Self::Put(name) | Self::Delete(name, _) | Self::Versions(name) => Some(name),
            Self::List(_)
            | Self::Import
            | Self::Export(_)
            | Self::Batch
            | Self::Watch
            | Self::Status
            | Self::Metrics => None,
        }
    }

    /// Reads the body that belongs to the endpoint.
    ///
    /// # Errors
    /// Those of `wire::api::decode`.
    pub(super) fn decode(self, body: &[u8]) -> Result<Request, ServeError> {
        let request = match self {
            Self::Put(name) => Request::Put(name, decode(body)?),
            Self::Batch => Request::Batch(decode(body)?),
            Self::Import => Request::Import(legacy::import(body).map_err(import_fault)?),
            Self::Export(prefix) => bodiless(body, Request::Export(prefix))?,
            Self::Get { item, fresh } => bodiless(body, Request::Get { item, fresh })?,
            Self::Delete(name, version) => bodiless(body, Request::Delete(name, version))?,
            Self::Versions(name) => bodiless(body, Request::Versions(name))?,
            Self::List(prefix) => bodiless(body, Request::List(prefix))?,
            Self::Watch => bodiless(body, Request::Watch)?,
            Self::Status => bodiless(body, Request::Status)?,
            Self::Metrics => bodiless(body, Request::Metrics)?,
        };
        Ok(request)
    }
}

/// Every entry that cannot be taken, up to a screenful.
#[expect(clippy::needless_pass_by_value, reason = "map_err gives it away")]
fn import_fault(faults: Vec<ImportFault>) -> Fault {
    const SHOWN: usize = 20;
    let code = match faults.first() {
        Some(ImportFault::Malformed { .. }) => Code::Malformed,
        Some(ImportFault::TooLong { .. }) => Code::TooLarge,
        Some(ImportFault::Entry { .. }) | None => Code::Invalid,
    };
    let mut details: Vec<_> = faults.iter().take(SHOWN).map(ToString::to_string).collect();
    if faults.len() > SHOWN {
        details.push(format!("and {} more", faults.len().saturating_sub(SHOWN)));
    }
    Fault::new(code, details.join("; "))
}

fn bodiless(body: &[u8], request: Request) -> Result<Request, ServeError> {
    if body.is_empty() {
        return Ok(request);
    }
    Err(Fault::new(Code::Malformed, "this endpoint takes no body").into())
}

fn secret_name(segment: &str) -> Result<SecretName, ServeError> {
    Ok(SecretName::from_path_segment(segment).map_err(Fault::from)?)
}

/// A prefix of names is what a name may hold, with its slashes escaped or not.
fn unescaped(prefix: &str) -> Result<String, ServeError> {
    let prefix = prefix.replace("%2F", "/").replace("%2f", "/");
    if prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/".contains(&b)) {
        return Ok(prefix);
    }
    Err(invalid("prefix is not the beginning of a name"))
}

fn version(query: Query<'_>) -> Result<Option<SecretVersion>, ServeError> {
    let version = query.value("version").map(SecretVersion::parse).transpose();
    Ok(version.map_err(Fault::from)?)
}

fn date(query: Query<'_>) -> Result<Option<Date>, ServeError> {
    Ok(query.value("at").map(Date::parse).transpose().map_err(Fault::from)?)
}

fn force(query: Query<'_>) -> Result<bool, ServeError> {
    match query.value("force") {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(invalid("force is neither true nor false")),
    }
}

fn invalid(detail: &str) -> ServeError {
    Fault::new(Code::Invalid, detail).into()
}

const fn no_endpoint() -> ServeError {
    ServeError::NotFound("there is no such endpoint; see docs/secrets.md")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "so that cases are short")]
    fn check(method: &Method, target: &str, expected: Result<Endpoint, Code>) {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let found = endpoint(method, path, query).map_err(|error| error.code());
        assert_eq!(found, expected, "{target}");
    }

    fn name(text: &str) -> SecretName {
        SecretName::parse(text).unwrap()
    }

    fn get(version: Option<&str>, at: Option<&str>, fresh: bool) -> Endpoint {
        let version = version.map(|version| SecretVersion::parse(version).unwrap());
        let at = at.map(|at| Date::parse(at).unwrap());
        Endpoint::Get { item: GetItem { name: name("web/db"), version, at }, fresh }
    }

    #[test]
    fn secret_is_got_by_version_date_and_force() {
        check(&Method::GET, "/v1/secrets/web%2Fdb", Ok(get(None, None, false)));
        check(
            &Method::GET,
            "/v1/secrets/web%2Fdb?version=v1&at=2026-01-01T00:00:00Z&force=true",
            Ok(get(Some("v1"), Some("2026-01-01T00:00:00Z"), true)),
        );
        check(&Method::GET, "/v1/secrets/web%2Fdb?at=yesterday", Err(Code::Invalid));
        check(&Method::GET, "/v1/secrets/web%2Fdb?force=yes", Err(Code::Invalid));
        check(&Method::GET, "/v1/secrets/web%2Fdb?version=a%2Fb", Err(Code::Invalid));
        check(&Method::GET, "/v1/secrets/web%2Fdb?verson=v1", Err(Code::Invalid));
    }

    #[test]
    fn slash_in_a_name_is_escaped() {
        check(&Method::PUT, "/v1/secrets/a%2Fb", Ok(Endpoint::Put(name("a/b"))));
        check(&Method::PUT, "/v1/secrets/a/b", Err(Code::NotFound));
        check(&Method::GET, "/v1/secrets/a/versions", Ok(Endpoint::Versions(name("a"))));
        check(&Method::GET, "/v1/secrets/.hidden", Err(Code::Invalid));
    }

    #[test]
    fn list_takes_the_beginning_of_a_name() {
        check(&Method::GET, "/v1/secrets", Ok(Endpoint::List(String::new())));
        check(&Method::GET, "/v1/secrets?prefix=web%2F", Ok(Endpoint::List("web/".into())));
        check(&Method::GET, "/v1/secrets?prefix=web%00", Err(Code::Invalid));
    }

    #[test]
    fn delete_takes_a_version() {
        let version = SecretVersion::parse("v1").unwrap();
        let one = Endpoint::Delete(name("a"), Some(version));
        check(&Method::DELETE, "/v1/secrets/a?version=v1", Ok(one));
        check(&Method::DELETE, "/v1/secrets/a", Ok(Endpoint::Delete(name("a"), None)));
    }

    #[test]
    fn other_method_or_path_is_no_endpoint() {
        check(&Method::POST, "/v1/secrets/a", Err(Code::NotFound));
        check(&Method::GET, "/v1/batch", Err(Code::NotFound));
        check(&Method::GET, "/v1/secrets/a/versions/b", Err(Code::NotFound));
        check(&Method::GET, "/", Err(Code::NotFound));
    }
}
