//! What every daemon of Sealhost needs: listener, peers, HTTP framing, rules, audit,
//! configuration files, hardening.
//!
//! This crate knows Unix sockets, the kernel's word on who is at the other end, HTTP but not what
//! is said by it, access rules, and the files of the configuration and of the audit. It never sees keys' material or providers, and does not know what a
//! request means: an operation is a name, a key is a name.

pub mod audit;
pub mod clock;
pub mod config;
pub mod harden;
pub mod http;
pub mod limit;
pub mod listener;
pub mod metrics;
pub mod notify;
pub mod peer;
pub mod process;
pub mod rules;
pub mod sandbox;
pub mod shutdown;
pub mod trust;
