// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {Entry, InventoryStep} from "../../src/types/Dispute.sol";

/// A second implementation of the trees, from the pages in docs/formats and not from src: recursive where src climbs.
library Trees {
    uint256 internal constant LEAF = 1024;

    /// docs/formats/merkle.md: byte i is (31 i + floor(i / 251) + seed) mod 256.
    function sample(uint256 len, uint256 seed) internal pure returns (bytes memory data) {
        data = new bytes(len);
        for (uint256 i = 0; i < len; ++i) {
            data[i] = bytes1(uint8((31 * i + i / 251 + seed) & 0xff));
        }
    }

    function leafCount(uint256 byteLen) internal pure returns (uint256) {
        return byteLen / LEAF + (byteLen % LEAF == 0 ? 0 : 1);
    }

    function leafOf(bytes memory data, uint256 index) internal pure returns (bytes memory leaf) {
        uint256 end = (index + 1) * LEAF > data.length ? data.length : (index + 1) * LEAF;
        leaf = new bytes(end - index * LEAF);
        for (uint256 i = 0; i < leaf.length; ++i) {
            leaf[i] = data[index * LEAF + i];
        }
    }

    function leafHash(bytes memory leaf, uint256 index) internal pure returns (bytes32) {
        return sha256(bytes.concat(hex"00", bytes8(uint64(index)), bytes4(uint32(leaf.length)), leaf));
    }

    function leafHashes(bytes memory data) internal pure returns (bytes32[] memory hashes) {
        hashes = new bytes32[](leafCount(data.length));
        for (uint256 i = 0; i < hashes.length; ++i) {
            hashes[i] = leafHash(leafOf(data, i), i);
        }
    }

    function shardRoot(bytes memory data) internal pure returns (bytes32) {
        bytes32[] memory hashes = leafHashes(data);
        return wrap(0x02, hashes.length, data.length, top(0x01, hashes, 0, hashes.length));
    }

    function shardPath(bytes memory data, uint256 index) internal pure returns (bytes32[] memory) {
        bytes32[] memory hashes = leafHashes(data);
        return path(0x01, hashes, index, 0, hashes.length);
    }

    function wrap(uint8 tag, uint256 count, uint256 len, bytes32 hash) internal pure returns (bytes32) {
        return sha256(bytes.concat(bytes1(tag), bytes8(uint64(count)), bytes8(uint64(len)), hash));
    }

    function releaseHashes(bytes32[] memory shards) internal pure returns (bytes32[] memory hashes) {
        hashes = new bytes32[](shards.length);
        for (uint256 i = 0; i < shards.length; ++i) {
            hashes[i] = sha256(bytes.concat(hex"30", shards[i]));
        }
    }

    function releaseRoot(bytes32[] memory shards) internal pure returns (bytes32) {
        return sha256(bytes.concat(hex"32", bytes8(uint64(shards.length)), top(0x31, releaseHashes(shards), 0, shards.length)));
    }

    function releasePath(bytes32[] memory shards, uint256 index) internal pure returns (bytes32[] memory) {
        return path(0x31, releaseHashes(shards), index, 0, shards.length);
    }

    /// RFC 6962: split at the largest power of two below the number of leaves.
    function top(uint8 tag, bytes32[] memory hashes, uint256 from, uint256 to) internal pure returns (bytes32) {
        if (to - from == 1) return hashes[from];
        uint256 middle = from + split(to - from);
        return sha256(bytes.concat(bytes1(tag), top(tag, hashes, from, middle), top(tag, hashes, middle, to)));
    }

    function path(uint8 tag, bytes32[] memory hashes, uint256 index, uint256 from, uint256 to) internal pure returns (bytes32[] memory) {
        if (to - from == 1) return new bytes32[](0);
        uint256 middle = from + split(to - from);
        return index < middle
            ? append(path(tag, hashes, index, from, middle), top(tag, hashes, middle, to))
            : append(path(tag, hashes, index, middle, to), top(tag, hashes, from, middle));
    }

    function split(uint256 count) internal pure returns (uint256 power) {
        power = 1;
        while (power * 2 < count) power *= 2;
    }

    function append(bytes32[] memory list, bytes32 last) internal pure returns (bytes32[] memory longer) {
        longer = new bytes32[](list.length + 1);
        for (uint256 i = 0; i < list.length; ++i) {
            longer[i] = list[i];
        }
        longer[list.length] = last;
    }

    // Inventories. Entries are sorted by root and distinct, so each subtree of the trie is a run of them.

    function sort(Entry[] memory entries) internal pure {
        for (uint256 i = 1; i < entries.length; ++i) {
            for (uint256 j = i; j > 0 && entries[j].shardRoot < entries[j - 1].shardRoot; --j) {
                (entries[j], entries[j - 1]) = (entries[j - 1], entries[j]);
            }
        }
    }

    function entryHash(Entry memory entry) internal pure returns (bytes32) {
        return sha256(bytes.concat(hex"10", entry.shardRoot, bytes8(entry.leafCount), bytes8(entry.byteLen)));
    }

    /// First bit at which the run's first and last key differ, and where the keys with that bit set begin.
    function crit(Entry[] memory entries, uint256 from, uint256 to) internal pure returns (uint8 bit, uint256 middle) {
        uint256 differing = uint256(entries[from].shardRoot ^ entries[to - 1].shardRoot);
        while (differing < 1 << (255 - bit)) ++bit;
        middle = from;
        while (uint256(entries[middle].shardRoot) & (1 << (255 - bit)) == 0) ++middle;
    }

    function subtree(Entry[] memory entries, uint256 from, uint256 to) internal pure returns (bytes32 hash, uint64 sum) {
        if (to == from) return (0, 0);
        if (to - from == 1) return (entryHash(entries[from]), entries[from].leafCount);
        (uint8 bit, uint256 middle) = crit(entries, from, to);
        (bytes32 left, uint64 leftSum) = subtree(entries, from, middle);
        (bytes32 right, uint64 rightSum) = subtree(entries, middle, to);
        return (sha256(bytes.concat(hex"11", bytes1(bit), bytes8(leftSum), left, bytes8(rightSum), right)), leftSum + rightSum);
    }

    function byteSum(Entry[] memory entries) internal pure returns (uint64 sum) {
        for (uint256 i = 0; i < entries.length; ++i) {
            sum += entries[i].byteLen;
        }
    }

    function inventoryRoot(Entry[] memory entries) internal pure returns (bytes32 root, uint64 leafSum) {
        bytes32 hash;
        (hash, leafSum) = subtree(entries, 0, entries.length);
        root = sha256(bytes.concat(hex"12", bytes8(uint64(entries.length)), bytes8(leafSum), bytes8(byteSum(entries)), hash));
    }

    function inventoryPath(Entry[] memory entries, uint256 index, uint256 from, uint256 to) internal pure returns (InventoryStep[] memory) {
        if (to - from == 1) return new InventoryStep[](0);
        (uint8 bit, uint256 middle) = crit(entries, from, to);
        bool isLeft = index < middle;
        (bytes32 hash, uint64 sum) = isLeft ? subtree(entries, middle, to) : subtree(entries, from, middle);
        InventoryStep[] memory below = isLeft ? inventoryPath(entries, index, from, middle) : inventoryPath(entries, index, middle, to);
        InventoryStep[] memory steps = new InventoryStep[](below.length + 1);
        for (uint256 i = 0; i < below.length; ++i) {
            steps[i] = below[i];
        }
        steps[below.length] = InventoryStep(bit, !isLeft, sum, hash);
        return steps;
    }

    /// Which entry holds leaf `number`, and which of its leaves that is, by counting from the left.
    function find(Entry[] memory entries, uint64 number) internal pure returns (uint256 index, uint64 leaf) {
        while (number >= entries[index].leafCount) {
            number -= entries[index].leafCount;
            ++index;
        }
        return (index, number);
    }
}
