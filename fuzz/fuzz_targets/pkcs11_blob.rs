#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| provider_pkcs11::fuzz::pkcs11_blob(data));
