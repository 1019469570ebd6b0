//! Private TPM emulators and SoftHSM tokens for tests and the demo.
