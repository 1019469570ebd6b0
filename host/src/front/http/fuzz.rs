//! The body of the fuzz target of this dialect (`docs/fuzzing.md`).

use wire::name::KeyName;

use super::route;
use crate::front::connection;

/// The bytes of a connection: heads, endpoints, bodies.
pub fn http_host(data: &[u8]) {
    connection::requests(data, |head, body| {
        let endpoint = match route::endpoint(&head.method, head.uri.path(), head.uri.query()) {
            Ok(endpoint) => endpoint,
            Err(error) => return assert!(error.to_string().len() <= 256, "{error}"),
        };
        if let Some(key) = endpoint.key() {
            assert_eq!(KeyName::from_path_segment(&key.to_path_segment()).as_ref(), Ok(key));
        }
        assert!(!endpoint.operation().is_empty());
        if let Err(error) = endpoint.decode(body) {
            assert!(error.to_string().len() <= 1024, "{error}");
        }
    });
}
