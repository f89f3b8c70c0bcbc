// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {DrawLib} from "../src/lib/DrawLib.sol";
import {InventoryLib} from "../src/lib/InventoryLib.sol";
import {MerkleLib} from "../src/lib/MerkleLib.sol";
import {Counts, Entry, InventoryStep} from "../src/types/Dispute.sol";

/// The libraries' functions, callable by themselves.
contract Harness {
    function shardRoot(bytes calldata leaf, uint64 index, uint64 leafCount, uint64 byteLen, bytes32[] calldata path)
        external
        view
        returns (bytes32)
    {
        return MerkleLib.shardRoot(leaf, index, leafCount, byteLen, path);
    }

    function releaseRoot(bytes32 shard, uint64 index, uint64 count, bytes32[] calldata path) external view returns (bytes32) {
        return MerkleLib.releaseRoot(shard, index, count, path);
    }

    function leafIndex(
        bytes32 root,
        uint64 leafSum,
        uint64 number,
        Entry calldata entry,
        InventoryStep[] calldata path,
        Counts calldata counts
    ) external view returns (uint64) {
        return InventoryLib.leafIndex(root, leafSum, number, entry, path, counts);
    }

    function draw(bytes32 seed, uint32 i, uint64 leafCount) external pure returns (uint64) {
        return DrawLib.number(seed, i, leafCount);
    }
}
