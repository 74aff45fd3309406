#![no_main]

#[path = "../decoders.rs"]
#[expect(dead_code, reason = "each target is one of them")]
mod decoders;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| decoders::manifest(bytes));
