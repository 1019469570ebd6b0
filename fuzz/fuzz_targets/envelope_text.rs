#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wire::fuzz::envelope_text(data));
