//! The daemon around the library: `secret-manager`, on a Unix socket of its own.
//!
//! A request walks one line, as in the host: decode, authenticate, authorize, perform, audit,
//! encode. [`line`] is the file to read first.

pub mod config;
mod credential;
mod error;
mod feed;
mod http;
mod line;
mod ops;
mod request;
pub mod run;
