//! Reverts: what a contract said when it refused, in words.
//!
//! Never: fails on bytes that nobody knows. Limits: the endpoint keeps few of them.

use alloy_sol_types::{SolInterface, decode_revert_reason};

use crate::bindings::Channels::ChannelsErrors;
use crate::bindings::Court::CourtErrors;
use crate::bindings::CreditToken::CreditTokenErrors;
use crate::bindings::Faucet::FaucetErrors;
use crate::bindings::Providers::ProvidersErrors;

/// The name and fields of a custom error of ours, the text of a `require`, or hex.
pub(crate) fn reason(data: &[u8]) -> String {
    if data.is_empty() {
        return "reverted without a reason".into();
    }
    // Debug shows `NothingToRedeem(NothingToRedeem)`; what is inside the first pair of brackets is the error.
    let inner = |shown: String| shown.split_once('(').map_or(shown.clone(), |(_, rest)| rest.trim_end_matches(')').to_owned());
    ChannelsErrors::abi_decode(data)
        .map(|error| inner(format!("{error:?}")))
        .or_else(|_| ProvidersErrors::abi_decode(data).map(|error| inner(format!("{error:?}"))))
        .or_else(|_| CourtErrors::abi_decode(data).map(|error| inner(format!("{error:?}"))))
        .or_else(|_| CreditTokenErrors::abi_decode(data).map(|error| inner(format!("{error:?}"))))
        .or_else(|_| FaucetErrors::abi_decode(data).map(|error| inner(format!("{error:?}"))))
        .unwrap_or_else(|_| decode_revert_reason(data).unwrap_or_else(|| format!("0x{}", alloy_primitives::hex::encode(data))))
}

#[cfg(test)]
mod tests {
    use alloy_sol_types::{Revert, SolError};

    use super::*;
    use crate::bindings::{Channels, Faucet};

    #[test]
    fn reverts_are_told_by_name() {
        assert_eq!(reason(&Channels::NothingToRedeem {}.abi_encode()), "NothingToRedeem");
        let again = alloy_primitives::U256::from(7);
        assert_eq!(reason(&Faucet::TooSoon { again }.abi_encode()), "TooSoon { again: 7 }");
        assert!(reason(&Revert::from("no").abi_encode()).contains("no"));
        assert_eq!(reason(&[0xde, 0xad, 0xbe, 0xef]), "0xdeadbeef");
        assert_eq!(reason(&[]), "reverted without a reason");
    }
}
