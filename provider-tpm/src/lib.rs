//! TPM 2.0 crypto provider for Sealhost.
