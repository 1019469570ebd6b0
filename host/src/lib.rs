//! The Sealhost daemon.

pub mod config;
pub mod plugin;
pub mod registry;
