//! From method, path and body to a request: one match over the endpoints of `docs/api.md`.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use daemon::http::{Query, segments};
use hyper::Method;
use wire::api::decode;
use wire::code::{Code, Fault};
use wire::name::{KeyName, ProviderName};

use crate::error::{Failure, HostError};
use crate::request::{CounterRequest, Request};

/// An endpoint with what its path and query say; its body is not read yet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Create(KeyName),
    Import(KeyName),
    Show(KeyName),
    List,
    Rotate(KeyName),
    Destroy(KeyName, Option<KeyName>),
    Seal(KeyName),
    Unseal(KeyName),
    Rewrap(KeyName),
    Mac(KeyName),
    Verify(KeyName),
    Sign(KeyName),
    Public(KeyName, Option<u32>),
    CreateCounter(KeyName),
    IncrementCounter(KeyName),
    ReadCounter(KeyName),
    DestroyCounter(KeyName, Option<KeyName>),
    ListCounters,
    Random,
    Status,
    Providers,
    Retry(ProviderName),
    VerifyAudit,
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
) -> Result<Endpoint, HostError> {
    let query = Query::parse(query)?;
    let parts = segments::<4>(path).ok_or_else(no_endpoint)?;
    let (post, get) = (*method == Method::POST, *method == Method::GET);
    let endpoint = match parts {
        [Some("metrics"), None, None, None] if get => Endpoint::Metrics,
        [Some("v1"), Some("status"), None, None] if get => Endpoint::Status,
        [Some("v1"), Some("providers"), None, None] if get => Endpoint::Providers,
        [Some("v1"), Some("providers"), Some(name), Some("retry")] if post => {
            Endpoint::Retry(ProviderName::parse(name).map_err(Fault::from)?)
        }
        [Some("v1"), Some("audit"), Some("verify"), None] if post => Endpoint::VerifyAudit,
        [Some("v1"), Some("random"), None, None] if post => Endpoint::Random,
        [Some("v1"), Some("keys"), None, None] if get => Endpoint::List,
        [Some("v1"), Some("counters"), None, None] if get => Endpoint::ListCounters,
        [Some("v1"), Some("counters"), Some(name), verb] => {
            return counter_endpoint(method, key_name(name)?, verb, query);
        }
        [Some("v1"), Some("keys"), Some(name), verb] => {
            return key_endpoint(method, key_name(name)?, verb, query);
        }
        _ => return Err(no_endpoint()),
    };
    query.only(&[])?;
    Ok(endpoint)
}

fn key_endpoint(
    method: &Method,
    key: KeyName,
    verb: Option<&str>,
    query: Query<'_>,
) -> Result<Endpoint, HostError> {
    let (post, get) = (*method == Method::POST, *method == Method::GET);
    let endpoint = match verb {
        None if post => Endpoint::Create(key),
        None if get => Endpoint::Show(key),
        None if *method == Method::DELETE => {
            query.only(&["confirm"])?;
            let confirm = query.value("confirm").map(key_name).transpose()?;
            return Ok(Endpoint::Destroy(key, confirm));
        }
        Some("import") if post => Endpoint::Import(key),
        Some("rotate") if post => Endpoint::Rotate(key),
        Some("seal") if post => Endpoint::Seal(key),
        Some("unseal") if post => Endpoint::Unseal(key),
        Some("rewrap") if post => Endpoint::Rewrap(key),
        Some("mac") if post => Endpoint::Mac(key),
        Some("verify") if post => Endpoint::Verify(key),
        Some("sign") if post => Endpoint::Sign(key),
        Some("public") if get => {
            query.only(&["version"])?;
            let version = query.value("version").map(version_number).transpose()?;
            return Ok(Endpoint::Public(key, version));
        }
        _ => return Err(no_endpoint()),
    };
    query.only(&[])?;
    Ok(endpoint)
}

fn counter_endpoint(
    method: &Method,
    counter: KeyName,
    verb: Option<&str>,
    query: Query<'_>,
) -> Result<Endpoint, HostError> {
    let post = *method == Method::POST;
    let endpoint = match verb {
        None if post => Endpoint::CreateCounter(counter),
        None if *method == Method::GET => Endpoint::ReadCounter(counter),
        None if *method == Method::DELETE => {
            query.only(&["confirm"])?;
            let confirm = query.value("confirm").map(key_name).transpose()?;
            return Ok(Endpoint::DestroyCounter(counter, confirm));
        }
        Some("increment") if post => Endpoint::IncrementCounter(counter),
        _ => return Err(no_endpoint()),
    };
    query.only(&[])?;
    Ok(endpoint)
}

impl Endpoint {
    /// The operation, as rules and audit call it.
    pub(super) const fn operation(&self) -> &'static str {
        match self {
            Self::Create(_) => "create",
            Self::Import(_) => "import",
            Self::Show(_) => "show",
            Self::List => "list",
            Self::Rotate(_) => "rotate",
            Self::Destroy(..) => "destroy",
            Self::Seal(_) => "seal",
            Self::Unseal(_) => "unseal",
            Self::Rewrap(_) => "rewrap",
            Self::Mac(_) => "mac",
            Self::Verify(_) => "verify",
            Self::Sign(_) => "sign",
            Self::Public(..) => "public",
            Self::CreateCounter(_) => "create_counter",
            Self::IncrementCounter(_) => "increment_counter",
            Self::ReadCounter(_) => "read_counter",
            Self::DestroyCounter(..) => "destroy_counter",
            Self::ListCounters => "list_counters",
            Self::Random => "random",
            Self::Status => "status",
            Self::Providers => "providers",
            Self::Retry(_) => "retry",
            Self::VerifyAudit => "verify_audit",
            Self::Metrics => "metrics",
        }
    }

    /// The key or counter that the path names.
    pub(super) const fn key(&self) -> Option<&KeyName> {
        match self {
            Self::Create(key)
            | Self::Import(key)
            | Self::Show(key)
            | Self::Rotate(key)
            | Self::Destroy(key, _)
            | Self::Seal(key)
            | Self::Unseal(key)
            | Self::Rewrap(key)
            | Self::Mac(key)
            | Self::Verify(key)
            | Self::Sign(key)
            | Self::Public(key, _)
            | Self::CreateCounter(key)
            | Self::IncrementCounter(key)
            | Self::ReadCounter(key)
            | Self::DestroyCounter(key, _) => Some(key),
            Self::List
            | Self::ListCounters
            | Self::Random
            | Self::Status
            | Self::Providers
            | Self::Retry(_)
            | Self::VerifyAudit
            | Self::Metrics => None,
        }
    }

    /// Reads the body that belongs to the endpoint.
    ///
    /// # Errors
    /// Those of `wire::api::decode`.
    pub(super) fn decode(self, body: &[u8]) -> Result<Request, HostError> {
        let request = match self {
            Self::Create(key) => Request::Create(key, decode(body)?),
            Self::Import(key) => Request::Import(key, decode(body)?),
            Self::Rotate(key) => {
                let wire::api::RotateRequest {} = decode(body)?;
                Request::Rotate(key)
            }
            Self::Seal(key) => Request::Seal(key, decode(body)?),
            Self::Unseal(key) => Request::Unseal(key, decode(body)?),
            Self::Rewrap(key) => Request::Rewrap(key, decode(body)?),
            Self::Mac(key) => Request::Mac(key, decode(body)?),
            Self::Verify(key) => Request::Verify(key, decode(body)?),
            Self::Sign(key) => Request::Sign(key, decode(body)?),
            Self::CreateCounter(counter) => {
                Request::Counter(counter, CounterRequest::Create(decode(body)?))
            }
            Self::IncrementCounter(counter) => {
                let wire::api::IncrementRequest { from } = decode(body)?;
                Request::Counter(counter, CounterRequest::Increment(from))
            }
            Self::ReadCounter(counter) => {
                bodiless(body, Request::Counter(counter, CounterRequest::Read))?
            }
            Self::DestroyCounter(counter, confirm) => {
                bodiless(body, Request::Counter(counter, CounterRequest::Destroy(confirm)))?
            }
            Self::ListCounters => bodiless(body, Request::ListCounters)?,
            Self::Random => Request::Random(decode(body)?),
            Self::Retry(name) => {
                let wire::api::RotateRequest {} = decode(body)?;
                Request::Retry(name)
            }
            Self::VerifyAudit => Request::VerifyAudit(decode(body)?),
            Self::Destroy(key, confirm) => bodiless(body, Request::Destroy(key, confirm))?,
            Self::Show(key) => bodiless(body, Request::Show(key))?,
            Self::List => bodiless(body, Request::List)?,
            Self::Public(key, version) => bodiless(body, Request::Public(key, version))?,
            Self::Status => bodiless(body, Request::Status)?,
            Self::Providers => bodiless(body, Request::Providers)?,
            Self::Metrics => bodiless(body, Request::Metrics)?,
        };
        Ok(request)
    }
}

fn bodiless(body: &[u8], request: Request) -> Result<Request, HostError> {
    if body.is_empty() {
        return Ok(request);
    }
    Err(Failure::Decode(Fault::new(Code::Malformed, "this endpoint takes no body")).into())
}

fn key_name(segment: &str) -> Result<KeyName, HostError> {
    Ok(KeyName::from_path_segment(segment).map_err(Fault::from)?)
}

fn version_number(text: &str) -> Result<u32, HostError> {
    text.parse().map_err(|_not_a_number| invalid("version is not a number"))
}

fn invalid(detail: &str) -> HostError {
    Failure::Decode(Fault::new(Code::Invalid, detail)).into()
}

fn no_endpoint() -> HostError {
    Failure::NotFound("there is no such endpoint; see docs/api.md").into()
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
        assert_eq!(
            endpoint(method, path, query).map_err(|error| error.code()),
            expected,
            "{target}"
        );
    }

    fn key(name: &str) -> KeyName {
        KeyName::parse(name).unwrap()
    }

    #[test]
    fn slash_in_a_name_is_escaped() {
        check(&Method::POST, "/v1/keys/a%2Fb/seal", Ok(Endpoint::Seal(key("a/b"))));
        check(&Method::POST, "/v1/keys/a/b/seal", Err(Code::NotFound));
    }

    #[test]
    fn internal_name_is_invalid() {
        check(&Method::GET, "/v1/keys/.records", Err(Code::Invalid));
    }

    #[test]
    fn destroy_takes_its_confirmation() {
        let destroy = Endpoint::Destroy(key("a/b"), Some(key("a/b")));
        check(&Method::DELETE, "/v1/keys/a%2Fb?confirm=a%2Fb", Ok(destroy));
        check(&Method::DELETE, "/v1/keys/a", Ok(Endpoint::Destroy(key("a"), None)));
        check(&Method::DELETE, "/v1/keys/a?force=1", Err(Code::Invalid));
    }

    #[test]
    fn counters_have_endpoints_of_their_own() {
        let path = "/v1/counters/a%2Fb";
        check(&Method::POST, path, Ok(Endpoint::CreateCounter(key("a/b"))));
        check(&Method::GET, path, Ok(Endpoint::ReadCounter(key("a/b"))));
        check(&Method::GET, "/v1/counters", Ok(Endpoint::ListCounters));
        let increment = "/v1/counters/a%2Fb/increment";
        check(&Method::POST, increment, Ok(Endpoint::IncrementCounter(key("a/b"))));
        check(&Method::GET, increment, Err(Code::NotFound));
        check(&Method::POST, "/v1/counters/a/seal", Err(Code::NotFound));
        check(&Method::POST, "/v1/counters/a?force=1", Err(Code::Invalid));
        let destroy = Endpoint::DestroyCounter(key("a"), Some(key("a")));
        check(&Method::DELETE, "/v1/counters/a?confirm=a", Ok(destroy));
    }

    #[test]
    fn audit_is_verified_by_post() {
        check(&Method::POST, "/v1/audit/verify", Ok(Endpoint::VerifyAudit));
        check(&Method::GET, "/v1/audit/verify", Err(Code::NotFound));
        check(&Method::POST, "/v1/audit", Err(Code::NotFound));
    }

    #[test]
    fn other_method_is_no_endpoint() {
        check(&Method::PUT, "/v1/keys/a", Err(Code::NotFound));
        check(&Method::GET, "/v1/keys/a/seal", Err(Code::NotFound));
    }

    #[test]
    fn unknown_path_is_no_endpoint() {
        for path in ["/", "/v1", "/v2/keys", "/v1/keys/", "/v1/keys/a/seal/x", "//v1/status"] {
            let code = if path == "/v1/keys/" { Code::Invalid } else { Code::NotFound };
            check(&Method::GET, path, Err(code));
        }
    }

    #[test]
    fn version_in_the_query_is_a_number() {
        check(&Method::GET, "/v1/keys/a/public?version=2", Ok(Endpoint::Public(key("a"), Some(2))));
        check(&Method::GET, "/v1/keys/a/public?version=x", Err(Code::Invalid));
    }
}
