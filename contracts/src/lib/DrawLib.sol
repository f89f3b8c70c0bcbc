// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

/// Which leaf of an inventory draw `i` asks for; the same off chain (docs/formats/contracts.md).
library DrawLib {
    uint8 private constant WORD = 0x20;

    /// `leafCount` is not 0. The remainder's bias is below 2^-192.
    function number(bytes32 seed, uint32 i, uint64 leafCount) internal pure returns (uint64) {
        // The remainder is below a number of 64 bits.
        // forge-lint: disable-next-line(unsafe-typecast)
        return uint64(uint256(sha256(abi.encodePacked(WORD, seed, i))) % leafCount);
    }
}
