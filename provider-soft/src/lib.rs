//! Software crypto provider for Sealhost.
