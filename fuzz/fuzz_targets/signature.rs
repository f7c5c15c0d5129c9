#![no_main]
//! Runs the check of the same name, which the tests run too.

libfuzzer_sys::fuzz_target!(|input: &[u8]| titanx_testbed::checks::signature(input));
