#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sealhost_client::fuzz::reply_head(data));
