#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sealhost::fuzz::keyd_glob(data));
