#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sas_signer::fuzz::connection_string(data));
