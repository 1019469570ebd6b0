//! End-to-end tests of Sealhost against its built binaries.
