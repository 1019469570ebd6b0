//! The Sealhost daemon.
//!
//! Read [`pipeline`] first: it is the line that every request walks. `front` turns bytes into a
//! request and a reply into bytes; `ops` does what was asked; `router` finds the provider
//! instance; `plugin` loads, calls and isolates providers; `registry` knows the keys.

mod changes;
pub mod config;
mod convert;
pub mod error;
mod front;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod ivs;
mod metrics;
mod ops;
pub mod pipeline;
pub mod plugin;
pub mod registry;
pub mod reply;
pub mod request;
pub mod router;
pub mod run;
