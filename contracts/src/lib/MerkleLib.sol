// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {Sha256Lib} from "./Sha256Lib.sol";

/// Roots of shards and of releases from a leaf and its path: docs/formats/merkle.md and docs/formats/contracts.md.
/// Both trees have RFC 6962's shape, so which side a sibling is on and how many there are follow from index and count alone.
/// Never: accepts a leaf's hash in place of its bytes, a path of another length, or a leaf of another length than its place demands.
library MerkleLib {
    /// The path has another length than index and count demand, or the index is not below the count.
    error WrongPathLength();
    /// The bytes are fewer or more than the leaf at this index holds.
    error WrongLeafLength();

    uint64 internal constant LEAF_LEN = 1024;

    uint8 private constant SHARD_LEAF = 0x00;
    uint8 private constant SHARD_NODE = 0x01;
    uint8 private constant SHARD_ROOT = 0x02;
    uint8 private constant RELEASE_LEAF = 0x30;
    uint8 private constant RELEASE_NODE = 0x31;
    uint8 private constant RELEASE_ROOT = 0x32;

    /// The root of the shard of `byteLen` bytes that has these bytes as leaf `index`.
    function shardRoot(bytes calldata leaf, uint64 index, uint64 leafCount, uint64 byteLen, bytes32[] calldata path)
        internal
        view
        returns (bytes32)
    {
        if (index >= leafCount) revert WrongPathLength();
        uint256 lenWanted = index + 1 < leafCount ? LEAF_LEN : uint256(byteLen) - uint256(LEAF_LEN) * (leafCount - 1);
        if (leaf.length != lenWanted) revert WrongLeafLength();
        bytes32 hash = sha256(abi.encodePacked(SHARD_LEAF, index, uint32(leaf.length), leaf));
        return sha256(abi.encodePacked(SHARD_ROOT, leafCount, byteLen, _top(SHARD_NODE, hash, index, leafCount, path)));
    }

    /// The root of the release of `count` shards that has this shard at `index`.
    function releaseRoot(bytes32 shard, uint64 index, uint64 count, bytes32[] calldata path) internal view returns (bytes32) {
        if (index >= count) revert WrongPathLength();
        bytes32 hash = sha256(abi.encodePacked(RELEASE_LEAF, shard));
        return sha256(abi.encodePacked(RELEASE_ROOT, count, _top(RELEASE_NODE, hash, index, count, path)));
    }

    /// At most 64 rounds, since `count` has 64 bits.
    function _top(uint8 tag, bytes32 hash, uint256 index, uint256 count, bytes32[] calldata path) private view returns (bytes32) {
        uint256 used = 0;
        for (uint256 last = count - 1; last > 0; (index, last) = (index >> 1, last >> 1)) {
            if (index == last && index & 1 == 0) continue; // an odd last one is carried up and has no sibling
            if (used == path.length) revert WrongPathLength();
            bytes32 sibling = path[used++];
            hash = index & 1 == 0 ? Sha256Lib.node(tag, hash, sibling) : Sha256Lib.node(tag, sibling, hash);
        }
        if (used != path.length) revert WrongPathLength();
        return hash;
    }
}
