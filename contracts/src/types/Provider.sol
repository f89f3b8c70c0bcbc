// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

/// A provider, by the address that owns it. Amounts in base units of the token, times in seconds.
/// Stake is `collateral + unbonding`: what is on its way out can be slashed until it has left.
/// `locked` is the sum of what open disputes claim. Two disputes may claim the same stake, so it can exceed the stake.
struct Provider {
    bytes32 nodeKey;
    address signer;
    bytes32 offerHash;
    uint128 collateral;
    uint128 unbonding;
    uint64 unbondAt;
    uint256 locked;
    uint64 registeredAt;
}
