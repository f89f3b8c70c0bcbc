//! Rows of a provider's index, as a damaged disk may give them: one byte of key length, the key, the value.
#![no_main]

use cairn_provider::store::fuzzing::row;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((key_len, rest)) = input.split_first() else { return };
    let (key, value) = rest.split_at(rest.len().min((*key_len).into()));
    let _ = row(key, value);
});
