//! Front-ends: each turns the bytes of one dialect into a request and a reply into bytes. They
//! know nothing of keys or providers.

pub(crate) mod http;
pub(crate) mod keyd;
