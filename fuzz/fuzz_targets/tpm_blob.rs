#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| provider_tpm::fuzz::tpm_blob(data));
