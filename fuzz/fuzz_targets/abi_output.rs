#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| provider_core::fuzz::abi_output(data));
