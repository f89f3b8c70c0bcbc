// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {InventoryLib} from "../src/lib/InventoryLib.sol";
import {MerkleLib} from "../src/lib/MerkleLib.sol";
import {Counts, Entry, InventoryStep} from "../src/types/Dispute.sol";
import {Harness} from "./Harness.sol";
import {Trees} from "./independent/Trees.sol";
import {Test} from "forge-std/Test.sol";

/// The three trees against the second implementation, and against forgers.
contract TreesTest is Test {
    Harness private harness = new Harness();

    function testFuzz_EveryLeafOfAShard(uint256 len, uint256 seed) public view {
        bytes memory data = Trees.sample(bound(len, 1, 6000), seed % 256);
        uint256 count = Trees.leafCount(data.length);
        bytes32 root = Trees.shardRoot(data);
        for (uint256 i = 0; i < count; ++i) {
            bytes32[] memory path = Trees.shardPath(data, i);
            assertEq(harness.shardRoot(Trees.leafOf(data, i), uint64(i), uint64(count), uint64(data.length), path), root);
        }
    }

    function testFuzz_EveryShardOfARelease(uint256 count, bytes32 seed) public view {
        bytes32[] memory shards = new bytes32[](bound(count, 1, 40));
        for (uint256 i = 0; i < shards.length; ++i) {
            shards[i] = keccak256(abi.encode(seed, i));
        }
        bytes32 root = Trees.releaseRoot(shards);
        for (uint256 i = 0; i < shards.length; ++i) {
            assertEq(harness.releaseRoot(shards[i], uint64(i), uint64(shards.length), Trees.releasePath(shards, i)), root);
        }
    }

    function _entries(uint256 count, bytes32 seed) private pure returns (Entry[] memory list) {
        list = new Entry[](count);
        for (uint256 i = 0; i < count; ++i) {
            uint64 byteLen = uint64(uint256(keccak256(abi.encode(seed, "len", i))) % 9000 + 1);
            list[i] = Entry(keccak256(abi.encode(seed, i)), uint64(Trees.leafCount(byteLen)), byteLen);
        }
        Trees.sort(list);
    }

    function testFuzz_EveryLeafNumberOfAnInventory(uint256 count, bytes32 seed) public view {
        Entry[] memory list = _entries(bound(count, 1, 24), seed);
        (bytes32 root, uint64 sum) = Trees.inventoryRoot(list);
        Counts memory counts = Counts(uint64(list.length), Trees.byteSum(list));
        for (uint64 number = 0; number < sum; number += 1 + sum / 8) {
            (uint256 at, uint64 leaf) = Trees.find(list, number);
            InventoryStep[] memory path = Trees.inventoryPath(list, at, 0, list.length);
            assertEq(harness.leafIndex(root, sum, number, list[at], path, counts), leaf);
        }
    }

    function testFuzz_Attack_ALeafNumberHasOneEntry(uint256 count, bytes32 seed, uint64 number) public {
        Entry[] memory list = _entries(bound(count, 2, 12), seed);
        (bytes32 root, uint64 sum) = Trees.inventoryRoot(list);
        Counts memory counts = Counts(uint64(list.length), Trees.byteSum(list));
        number = uint64(bound(number, 0, sum - 1));
        (uint256 right,) = Trees.find(list, number);
        for (uint256 at = 0; at < list.length; ++at) {
            if (at == right) continue;
            InventoryStep[] memory path = Trees.inventoryPath(list, at, 0, list.length);
            vm.expectRevert(InventoryLib.NotDrawn.selector);
            harness.leafIndex(root, sum, number, list[at], path, counts);
        }
    }

    /// An inner node is shown as if it were a leaf's hash, or two hashes as if they were a leaf.
    function test_Attack_SecondPreimage() public view {
        bytes memory data = Trees.sample(4096, 7);
        bytes32[] memory hashes = Trees.leafHashes(data);
        bytes32 root = Trees.shardRoot(data);
        bytes memory pair = bytes.concat(hashes[0], hashes[1]);
        bytes32[] memory path = new bytes32[](1);
        path[0] = Trees.top(0x01, hashes, 2, 4);
        // A tree of two leaves of which the first would be the pair: the count is in the root, the tag in the leaf.
        bytes memory padded = bytes.concat(pair, new bytes(1024 - pair.length));
        assertTrue(harness.shardRoot(padded, 0, 2, 2048, path) != root);
        bytes32 forged = sha256(bytes.concat(hex"01", pair));
        assertTrue(forged != Trees.leafHash(pair, 0)); // same bytes, other tag
        // A node of the release tree as a shard of it.
        bytes32[] memory shards = new bytes32[](4);
        for (uint256 i = 0; i < 4; ++i) {
            shards[i] = bytes32(i + 1);
        }
        bytes32[] memory leaves = Trees.releaseHashes(shards);
        path[0] = Trees.top(0x31, leaves, 2, 4);
        assertTrue(harness.releaseRoot(Trees.top(0x31, leaves, 0, 2), 0, 2, path) != Trees.releaseRoot(shards));
    }

    function test_Attack_PathOfAnotherLength() public {
        bytes memory data = Trees.sample(5 * 1024, 7); // five leaves: the last has a path of 1, the others of 3
        bytes32[] memory path = Trees.shardPath(data, 4);
        assertEq(path.length, 1);
        vm.expectRevert(MerkleLib.WrongPathLength.selector);
        harness.shardRoot(Trees.leafOf(data, 4), 4, 5, 5120, Trees.append(path, bytes32(0)));
        vm.expectRevert(MerkleLib.WrongPathLength.selector);
        harness.shardRoot(Trees.leafOf(data, 4), 4, 5, 5120, new bytes32[](0));
        path = Trees.shardPath(data, 0);
        vm.expectRevert(MerkleLib.WrongPathLength.selector);
        harness.shardRoot(Trees.leafOf(data, 0), 0, 5, 5120, new bytes32[](2));
        vm.expectRevert(MerkleLib.WrongPathLength.selector);
        harness.shardRoot(Trees.leafOf(data, 0), 5, 5, 5120, path); // an index that is not below the count
        vm.expectRevert(MerkleLib.WrongPathLength.selector);
        harness.releaseRoot(bytes32(0), 0, 0, path);
        vm.expectRevert(MerkleLib.WrongPathLength.selector);
        harness.releaseRoot(bytes32(0), 0, 1, path);
    }

    function test_LastLeafHasItsOwnLength() public {
        bytes memory data = Trees.sample(1500, 7);
        bytes memory padded = bytes.concat(Trees.leafOf(data, 1), new bytes(548));
        bytes32[] memory path = Trees.shardPath(data, 1);
        vm.expectRevert(MerkleLib.WrongLeafLength.selector);
        harness.shardRoot(padded, 1, 2, 1500, path);
        assertEq(harness.shardRoot(Trees.leafOf(data, 1), 1, 2, 1500, path), Trees.shardRoot(data));
        vm.expectRevert(); // a byte length that leaves the last leaf less than nothing
        harness.shardRoot("", 1, 2, 1023, path);
    }

    function _two() private pure returns (Entry[] memory list, bytes32 root, uint64 sum, Counts memory counts) {
        list = new Entry[](2);
        list[0] = Entry(bytes32(uint256(1) << 100), 3, 3000);
        list[1] = Entry(bytes32(uint256(3) << 254), 2, 2048);
        Trees.sort(list);
        (root, sum) = Trees.inventoryRoot(list);
        counts = Counts(2, 5048);
    }

    function test_Attack_EntryWhoseCountsDoNotAgree() public {
        (Entry[] memory list, bytes32 root, uint64 sum, Counts memory counts) = _two();
        InventoryStep[] memory path = Trees.inventoryPath(list, 0, 0, 2);
        (uint64[3] memory leafCounts, uint64[3] memory byteLens) = ([uint64(0), 3, 3], [uint64(0), 2048, 3073]);
        for (uint256 i = 0; i < 3; ++i) {
            (list[0].leafCount, list[0].byteLen) = (leafCounts[i], byteLens[i]);
            vm.expectRevert(InventoryLib.WrongEntry.selector);
            harness.leafIndex(root, sum, 0, list[0], path, counts);
        }
    }

    function test_Attack_StepOnTheWrongSideOrOutOfOrder() public {
        (Entry[] memory list, bytes32 root, uint64 sum, Counts memory counts) = _two();
        InventoryStep[] memory path = Trees.inventoryPath(list, 0, 0, 2);
        path[0].siblingIsLeft = true; // would put the entry after its sibling's leaves
        vm.expectRevert(InventoryLib.WrongInventoryPath.selector);
        harness.leafIndex(root, sum, 0, list[0], path, counts);
        path[0].siblingIsLeft = false;
        // A trie that its maker has built with a bit twice: the hashes are in order, the bits are not.
        InventoryStep[] memory twice = new InventoryStep[](2);
        twice[0] = InventoryStep(5, false, 1, bytes32("a"));
        twice[1] = InventoryStep(5, false, 1, bytes32("b"));
        bytes32 hash = Trees.entryHash(list[0]);
        hash = sha256(bytes.concat(hex"1105", bytes8(uint64(3)), hash, bytes8(uint64(1)), bytes32("a")));
        hash = sha256(bytes.concat(hex"1105", bytes8(uint64(4)), hash, bytes8(uint64(1)), bytes32("b")));
        root = sha256(bytes.concat(hex"12", bytes8(uint64(2)), bytes8(uint64(5)), bytes8(uint64(5048)), hash));
        vm.expectRevert(InventoryLib.WrongInventoryPath.selector);
        harness.leafIndex(root, 5, 0, list[0], twice, counts);
    }

    function _ladder(uint256 steps) private pure returns (bytes32 root, uint64 sum, Entry memory entry, InventoryStep[] memory path) {
        entry = Entry(bytes32(0), 1, 1);
        path = new InventoryStep[](steps);
        bytes32 hash = Trees.entryHash(entry);
        sum = 1;
        for (uint256 i = 0; i < steps; ++i) {
            path[i] = InventoryStep(uint8(steps - 1 - i), false, 1, bytes32(i));
            hash = sha256(bytes.concat(hex"11", bytes1(path[i].bit), bytes8(sum), hash, bytes8(uint64(1)), bytes32(i)));
            ++sum;
        }
        root = sha256(bytes.concat(hex"12", bytes8(uint64(9)), bytes8(sum), bytes8(uint64(9)), hash));
    }

    function test_Attack_UnboundedInventoryPath() public {
        (bytes32 root, uint64 sum, Entry memory entry, InventoryStep[] memory path) = _ladder(64);
        assertEq(harness.leafIndex(root, sum, 0, entry, path, Counts(9, 9)), 0);
        (root, sum, entry, path) = _ladder(65);
        vm.expectRevert(InventoryLib.WrongInventoryPath.selector);
        harness.leafIndex(root, sum, 0, entry, path, Counts(9, 9));
    }

    function test_Attack_SumBeyond64Bits() public {
        Entry memory entry = Entry(bytes32(0), 1, 1);
        InventoryStep[] memory path = new InventoryStep[](1);
        path[0] = InventoryStep(0, false, type(uint64).max, bytes32(0));
        vm.expectRevert(abi.encodeWithSignature("Panic(uint256)", 0x11));
        harness.leafIndex(bytes32(0), 0, 0, entry, path, Counts(2, 2));
    }
}
