//! Definitions: see `crates/guard/tests/it/fuzzed/definition.rs`, which the usual tests run for a short while.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../../crates/guard/tests/it/fuzzed/definition.rs"]
mod held;

fuzz_target!(|data: &[u8]| held::check(data));
