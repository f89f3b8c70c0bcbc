//! Rows of the ledgers of client and provider, as a damaged disk may give them: one byte says whose, one of which kind.
#![no_main]

use cairn_client::ledger_fuzzing as client;
use cairn_provider::ledger_fuzzing as provider;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let [whose, kind, bytes @ ..] = input else { return };
    match whose % 3 {
        0 => client::record(*kind, bytes),
        1 => client::account(bytes),
        _ => provider::row(*kind, bytes),
    }
});
