//! The Sealhost daemon.
