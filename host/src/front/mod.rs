//! Front-ends: each turns the bytes of one dialect into a request and a reply into bytes. They
//! know nothing of keys or providers.

#[cfg(any(test, fuzzing))]
#[path = "../../../fuzz/http.rs"]
mod connection;
pub(crate) mod http;
pub(crate) mod keyd;
