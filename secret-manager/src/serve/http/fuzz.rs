//! The body of the fuzz target of this dialect (`docs/fuzzing.md`).

use wire::secrets::SecretName;

use super::route;

#[path = "../../../../fuzz/http.rs"]
mod http;

/// The bytes of a connection: heads, endpoints, bodies.
pub fn http_secrets(data: &[u8]) {
    http::requests(data, |head, body| {
        let endpoint = match route::endpoint(&head.method, head.uri.path(), head.uri.query()) {
            Ok(endpoint) => endpoint,
            Err(error) => return assert!(error.to_string().len() <= 256, "{error}"),
        };
        if let Some(name) = endpoint.name() {
            assert_eq!(SecretName::from_path_segment(&name.to_path_segment()).as_ref(), Ok(name));
        }
        assert!(!endpoint.operation().is_empty());
        if let Err(error) = endpoint.decode(body) {
            assert!(error.to_string().len() <= 16 * 1024, "{} bytes", error.to_string().len());
        }
    });
}
