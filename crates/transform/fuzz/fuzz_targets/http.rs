//! The framer under libFuzzer: `make fuzz`. What holds is in `tests/common`.
#![no_main]

#[path = "../../tests/common/mod.rs"]
mod common;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    common::check(input);
});
