#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sas_signer::fuzz::sas_encode(data));
