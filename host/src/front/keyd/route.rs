//! From method, path, query and the head's fields to an endpoint.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use daemon::http::segments;
use hyper::Method;
use hyper::header::{CONTENT_TYPE, HeaderMap};
use percent_encoding::percent_decode_str;

use super::refused::Refused;
use wire::keyd::Kind;

/// The versions of the peer's API; they differ in nothing here.
const VERSIONS: [&str; 2] = ["2020-09-01", "2021-05-01"];

/// An endpoint; its body is not read yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Create(Kind),
    Load(Kind, String),
    Delete(Kind),
    Move(Kind, String),
    Parameter(String),
    Sign,
    Encrypt,
    Decrypt,
    Derive,
    ExportDerived,
}

/// A request whose head was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(super) endpoint: Endpoint,
    /// Whether what comes is read as JSON; nothing else is.
    pub(super) has_json: bool,
}

/// Reads a head. The version is asked for first, as the peer does.
///
/// # Errors
/// [`Refused`].
pub(super) fn head(
    method: &Method,
    path: &str,
    query: Option<&str>,
    headers: &HeaderMap,
) -> Result<Head, Refused> {
    check_version(query.unwrap_or_default())?;
    let has_json = is_json(headers);
    let methods = methods(path).ok_or(Refused::NotFound)??;
    let endpoint = match *method {
        Method::POST => methods.post,
        Method::GET => methods.get,
        Method::DELETE => methods.delete,
        Method::PUT if !has_json => return Err(Refused::MediaType),
        _ => None,
    };
    Ok(Head { endpoint: endpoint.ok_or(Refused::Method)?, has_json })
}

#[derive(Default)]
struct Methods {
    post: Option<Endpoint>,
    get: Option<Endpoint>,
    delete: Option<Endpoint>,
}

/// What the methods of a path mean; `None` for a path that is none.
fn methods(path: &str) -> Option<Result<Methods, Refused>> {
    let post = |endpoint| Methods { post: Some(endpoint), ..Methods::default() };
    let kind = |word: &str| match word {
        "key" => Some(Kind::Key),
        "keypair" => Some(Kind::Pair),
        _ => None,
    };
    let methods = match segments::<2>(path)? {
        [Some("parameters"), Some(name)] if !name.is_empty() => {
            decoded(name).map(|name| post(Endpoint::Parameter(name)))
        }
        [Some("sign"), None] => Ok(post(Endpoint::Sign)),
        [Some("encrypt"), None] => Ok(post(Endpoint::Encrypt)),
        [Some("decrypt"), None] => Ok(post(Endpoint::Decrypt)),
        [Some("derivedkey"), None] => Ok(post(Endpoint::Derive)),
        [Some("derivedkey"), Some("export")] => Ok(post(Endpoint::ExportDerived)),
        [Some(word), None] => {
            let kind = kind(word)?;
            Ok(Methods { delete: Some(Endpoint::Delete(kind)), ..post(Endpoint::Create(kind)) })
        }
        [Some(word), Some(id)] if !id.is_empty() => {
            let kind = kind(word)?;
            decoded(id).map(|id| Methods {
                get: Some(Endpoint::Load(kind, id.clone())),
                ..post(Endpoint::Move(kind, id))
            })
        }
        _ => return None,
    };
    Some(methods)
}

fn decoded(segment: &str) -> Result<String, Refused> {
    let decoded = percent_decode_str(segment).decode_utf8();
    decoded.map(String::from).map_err(|_not_utf8| Refused::Id("it is not UTF-8"))
}

/// The last one counts where there are several.
fn check_version(query: &str) -> Result<(), Refused> {
    let of = |pair: &str| match pair.split_once('=') {
        Some(("api-version", value)) => Some(value.to_owned()),
        Some(_) => None,
        None => (pair == "api-version").then(String::new),
    };
    let version = query.split('&').filter_map(of).next_back().ok_or(Refused::NoVersion)?;
    let version = percent_decode_str(&version).decode_utf8_lossy().into_owned();
    if VERSIONS.contains(&version.as_str()) {
        return Ok(());
    }
    Err(Refused::UnknownVersion(version))
}

/// Whether a body is JSON: a type of `application/json`, or none.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE) else { return true };
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: &str, target: &str, expected: &Result<Endpoint, Refused>) {
        let (path, query) = target.split_once('?').map_or((target, None), |(p, q)| (p, Some(q)));
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let read = head(&method, path, query, &HeaderMap::new());
        assert_eq!(&read.map(|head| head.endpoint), expected, "{target}");
    }

    fn id(id: &str) -> String {
        id.to_owned()
    }

    const V: &str = "api-version=2020-09-01";

    #[test]
    fn endpoint_is_found_under_both_versions() {
        for version in VERSIONS {
            let target = format!("/sign?api-version={version}");
            check("POST", &target, &Ok(Endpoint::Sign));
        }
    }

    #[test]
    fn version_is_asked_for_before_the_path() {
        check("GET", "/nothing", &Err(Refused::NoVersion));
        check("GET", "/nothing?api-version=1", &Err(Refused::UnknownVersion(id("1"))));
        check("GET", "/nothing?api-version", &Err(Refused::UnknownVersion(id(""))));
        check("GET", &format!("/nothing?{V}"), &Err(Refused::NotFound));
    }

    #[test]
    fn last_version_counts() {
        check("POST", &format!("/sign?api-version=1&{V}"), &Ok(Endpoint::Sign));
        check("POST", &format!("/sign?{V}&api-version=1"), &Err(Refused::UnknownVersion(id("1"))));
    }

    #[test]
    fn id_is_one_percent_decoded_segment() {
        check("GET", &format!("/key/a%2Fb?{V}"), &Ok(Endpoint::Load(Kind::Key, id("a/b"))));
        check("GET", &format!("/keypair/a?{V}"), &Ok(Endpoint::Load(Kind::Pair, id("a"))));
        check("POST", &format!("/keypair/b?{V}"), &Ok(Endpoint::Move(Kind::Pair, id("b"))));
        check("GET", &format!("/key/a/b?{V}"), &Err(Refused::NotFound));
        check("GET", &format!("/key/?{V}"), &Err(Refused::NotFound));
        check("GET", &format!("/key/%ff?{V}"), &Err(Refused::Id("it is not UTF-8")));
    }

    #[test]
    fn method_that_a_path_has_not_is_refused() {
        check("GET", &format!("/sign?{V}"), &Err(Refused::Method));
        check("DELETE", &format!("/key/a?{V}"), &Err(Refused::Method));
        check("PUT", &format!("/key?{V}"), &Err(Refused::Method));
    }

    #[test]
    fn put_of_another_type_is_refused_for_its_type() {
        let headers = [(CONTENT_TYPE, "text/plain".parse().unwrap())].into_iter().collect();
        let read = head(&Method::PUT, "/key", Some(V), &headers);
        assert_eq!(read, Err(Refused::MediaType));
    }
}
