#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sealhost::fuzz::config_host(data));
