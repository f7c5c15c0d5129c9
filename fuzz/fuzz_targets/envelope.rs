#![no_main]
//! Runs the check of the same name, which the tests run too.

#[allow(
    dead_code,
    unreachable_pub,
    reason = "each target runs one of the checks"
)]
#[path = "../../tests/it/hostile/checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::envelope(input));
