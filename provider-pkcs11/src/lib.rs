//! PKCS#11 crypto provider for Sealhost.
