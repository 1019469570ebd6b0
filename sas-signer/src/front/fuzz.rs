//! The body of the fuzz target of this file (`docs/fuzzing.md`).

use super::endpoint;

#[path = "../../../fuzz/http.rs"]
mod http;

/// The bytes of a connection: heads, endpoints, bodies.
pub fn http_sas(data: &[u8]) {
    http::requests(data, |head, body| {
        match endpoint(&head.method, head.uri.path(), head.uri.query()) {
            Ok(endpoint) => {
                assert!(!endpoint.operation().is_empty());
                if let Err(fault) = endpoint.decode(body) {
                    assert!(fault.detail.len() <= 1024, "{fault}");
                }
            }
            Err(fault) => assert!(fault.detail.len() <= 256, "{fault}"),
        }
    });
}
