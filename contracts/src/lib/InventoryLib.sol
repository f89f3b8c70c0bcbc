// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {Counts, Entry, InventoryStep} from "../types/Dispute.sol";
import {Sha256Lib} from "./Sha256Lib.sol";

/// Inventories: docs/formats/contracts.md. A crit-bit trie over shard roots in which every node carries its sum of leaves, so a leaf number
/// and a path name exactly one leaf of one shard.
library InventoryLib {
    /// The path does not lead from this entry to this root and sum.
    error WrongInventoryPath();
    /// The entry's leaf count does not follow from its byte length.
    error WrongEntry();
    /// The path is good, but the number falls into another shard.
    error NotDrawn();

    uint256 internal constant DEPTH_MAX = 64;

    uint8 private constant ENTRY = 0x10;
    uint8 private constant NODE = 0x11;
    uint8 private constant ROOT = 0x12;

    /// The index in the entry's shard of leaf `number` of the inventory.
    function leafIndex(
        bytes32 root,
        uint64 leafSum,
        uint64 number,
        Entry calldata entry,
        InventoryStep[] calldata path,
        Counts calldata counts
    ) internal view returns (uint64) {
        if (entry.leafCount == 0 || entry.leafCount != (uint256(entry.byteLen) + 1023) / 1024) {
            revert WrongEntry();
        }
        (bytes32 top, uint64 sum, uint64 before) = _climb(entry, path);
        if (sum != leafSum || sha256(abi.encodePacked(ROOT, counts.entryCount, sum, counts.byteSum, top)) != root) {
            revert WrongInventoryPath();
        }
        if (number < before || number - before >= entry.leafCount) revert NotDrawn();
        return number - before;
    }

    /// Top hash, sum of all leaves, and how many leaves lie left of the entry's. A sum beyond 64 bits reverts.
    function _climb(Entry calldata entry, InventoryStep[] calldata path) private view returns (bytes32 hash, uint64 sum, uint64 before) {
        if (path.length > DEPTH_MAX) revert WrongInventoryPath();
        hash = sha256(abi.encodePacked(ENTRY, entry.shardRoot, entry.leafCount, entry.byteLen));
        sum = entry.leafCount;
        uint256 bitBelow = 256;
        for (uint256 i = 0; i < path.length; ++i) {
            InventoryStep calldata step = path[i];
            (uint256 bit, bool siblingIsLeft, uint64 siblingSum) = (step.bit, step.siblingIsLeft, step.siblingSum);
            bool keyIsRight = (uint256(entry.shardRoot) >> (255 - bit)) & 1 == 1;
            if (bit >= bitBelow || siblingIsLeft != keyIsRight) revert WrongInventoryPath();
            bitBelow = bit;
            if (siblingIsLeft) before += siblingSum;
            hash = _join(step, siblingIsLeft, siblingSum, sum, hash);
            sum += siblingSum;
        }
    }

    function _join(InventoryStep calldata step, bool siblingIsLeft, uint64 siblingSum, uint64 sum, bytes32 hash)
        private
        view
        returns (bytes32)
    {
        return siblingIsLeft
            ? Sha256Lib.sumNode(NODE, step.bit, siblingSum, step.siblingHash, sum, hash)
            : Sha256Lib.sumNode(NODE, step.bit, sum, hash, siblingSum, step.siblingHash);
    }
}
