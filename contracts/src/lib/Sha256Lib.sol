// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

/// The two hashes of which an answer takes some thirty, at a third of the price of `sha256(abi.encodePacked(…))`.
/// Both write past the free memory pointer and leave nothing there. A chain without the precompile reverts.
library Sha256Lib {
    /// SHA-256 of tag ‖ left ‖ right.
    function node(uint8 tag, bytes32 left, bytes32 right) internal view returns (bytes32 hash) {
        assembly ("memory-safe") {
            let at := mload(0x40)
            mstore8(at, tag)
            mstore(add(at, 1), left)
            mstore(add(at, 33), right)
            if iszero(and(eq(returndatasize(), 32), staticcall(gas(), 2, at, 65, 0, 32))) { revert(0, 0) }
            hash := mload(0)
        }
    }

    /// SHA-256 of tag ‖ bit ‖ leftSum ‖ left ‖ rightSum ‖ right.
    function sumNode(uint8 tag, uint8 bit, uint64 leftSum, bytes32 left, uint64 rightSum, bytes32 right)
        internal
        view
        returns (bytes32 hash)
    {
        assembly ("memory-safe") {
            let at := mload(0x40)
            mstore8(at, tag)
            mstore8(add(at, 1), bit)
            mstore(add(at, 2), shl(192, leftSum))
            mstore(add(at, 10), left)
            mstore(add(at, 42), shl(192, rightSum))
            mstore(add(at, 50), right)
            if iszero(and(eq(returndatasize(), 32), staticcall(gas(), 2, at, 82, 0, 32))) { revert(0, 0) }
            hash := mload(0)
        }
    }
}
