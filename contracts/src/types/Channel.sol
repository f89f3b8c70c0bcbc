// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

/// None: never opened. Closed is for ever: the id of a closed channel cannot be opened again.
enum ChannelState {
    None,
    Open,
    Closing,
    Closed
}

/// One payer, one payee, one deposit. Amounts in base units of the token.
/// `deposit` is what was ever put in, `settled` what the payee ever got; while not Closed the escrow holds `deposit - settled`.
/// `closesAt`: from this second on `withdraw` is possible; 0 unless Closing.
struct Channel {
    address payer;
    address payee;
    address signer;
    uint128 deposit;
    uint128 settled;
    uint64 closesAt;
    ChannelState state;
}

/// A voucher of `redeemMany`.
struct Claim {
    bytes32 id;
    uint128 cumulative;
    bytes sig;
}

/// The payer or the session signer lets `delegate` sign vouchers up to `cumulativeMax`, redeemable up to and in second `validUntil`.
struct Mandate {
    bytes32 channelId;
    address delegate;
    uint128 cumulativeMax;
    uint64 validUntil;
}
