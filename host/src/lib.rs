//! The Sealhost daemon.

pub mod plugin;
pub mod registry;
