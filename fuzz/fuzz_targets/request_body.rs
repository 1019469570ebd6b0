#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wire::fuzz::request_body(data));
