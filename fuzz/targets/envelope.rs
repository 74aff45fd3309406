#![no_main]

#[path = "../decoders.rs"]
#[expect(dead_code, reason = "each target is one of them")]
mod decoders;

libfuzzer_sys::fuzz_target!(
    init: {
        // What Arrow panics over is caught and is a miss; only what escapes is a fault, and that the fuzzer notices without a hook.
        std::panic::set_hook(Box::new(|_| {}));
    },
    |bytes: &[u8]| decoders::envelope(bytes)
);
