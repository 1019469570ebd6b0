#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sealctl::fuzz::keyd_config(data));
