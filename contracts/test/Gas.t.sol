// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {Claim} from "../src/types/Channel.sol";
import {Commitment, Counts, Entry, InventoryStep, Release} from "../src/types/Dispute.sol";
import {Base} from "./Base.sol";
import {Trees} from "./independent/Trees.sol";

/// What the calls cost as transactions of their own, with the 21,000 and the calldata. Kept in snapshots/Gas.json.
/// forge-config: default.isolate = true
contract GasTest is Base {
    uint256 private constant SHARD_DEPTH = 16;
    uint256 private constant INVENTORY_DEPTH = 14;

    function test_Open() public {
        vm.prank(payer);
        channels.open(owner, client, DEPOSIT, keccak256("second"));
        assertLe(vm.snapshotGasLastCall("Gas", "open"), 120_000);
    }

    function test_OpenWithPermit() public {
        vm.prank(payer);
        token.approve(address(channels), 0);
        (uint8 v, bytes32 r, bytes32 s) = permitSig(PAYER_KEY, address(channels), DEPOSIT);
        vm.prank(payer);
        channels.openWithPermit(owner, client, DEPOSIT, keccak256("second"), type(uint256).max, v, r, s);
        vm.snapshotGasLastCall("Gas", "openWithPermit");
    }

    function test_Redeem() public {
        uint256 all = token.balanceOf(owner);
        vm.prank(owner);
        token.transfer(stranger, all); // a payee that has nothing yet is the dearest
        bytes memory sig = voucher(CLIENT_KEY, id, 40e18);
        channels.redeem(id, 40e18, sig);
        assertLe(vm.snapshotGasLastCall("Gas", "redeem, first"), 90_000);
        sig = voucher(CLIENT_KEY, id, 41e18);
        channels.redeem(id, 41e18, sig);
        assertLe(vm.snapshotGasLastCall("Gas", "redeem, later"), 90_000);
    }

    function test_RedeemMany() public {
        Claim[] memory claims = new Claim[](10);
        for (uint256 i = 0; i < claims.length; ++i) {
            vm.prank(payer);
            bytes32 channel = channels.open(owner, client, DEPOSIT, bytes32(i));
            claims[i] = Claim(channel, 1e18, voucher(CLIENT_KEY, channel, 1e18));
        }
        channels.redeemMany(claims);
        vm.snapshotGasLastCall("Gas", "redeemMany, 10 channels");
    }

    function test_Close() public {
        bytes memory sig = voucher(CLIENT_KEY, id, 40e18);
        bytes memory close = consent(OWNER_KEY, id, 40e18);
        channels.closeCooperative(id, 40e18, sig, close);
        vm.snapshotGasLastCall("Gas", "closeCooperative");
    }

    function test_RequestCloseAndWithdraw() public {
        vm.prank(payer);
        channels.requestClose(id);
        vm.snapshotGasLastCall("Gas", "requestClose");
        vm.warp(block.timestamp + 24 hours);
        channels.withdraw(id);
        vm.snapshotGasLastCall("Gas", "withdraw");
    }

    function test_Register() public {
        vm.prank(stranger);
        providers.register(keccak256("other"), client, keccak256("offer"), COLLATERAL, nodeSignature);
        vm.snapshotGasLastCall("Gas", "register");
    }

    /// One leaf of 1 KiB in a shard of 2^16 leaves in an inventory 14 deep: 30 hashes. All other draws before it.
    function test_Dispute() public {
        (Commitment memory c, Answer[5] memory answers) = _deep();
        bytes memory sig = commitmentSig(NODE_KEY, c);
        vm.prank(client);
        bytes32 dispute = court.challenge(c, sig, secretHash(id));
        vm.snapshotGasLastCall("Gas", "challenge");
        vm.prank(node);
        court.join(dispute, ENTROPY);
        vm.snapshotGasLastCall("Gas", "join");
        court.reveal(dispute, SECRET);
        vm.snapshotGasLastCall("Gas", "reveal");
        for (uint8 i = 0; i < 5; ++i) {
            Answer memory a = answers[i];
            court.respond(dispute, i, a.entry, a.path, a.counts, a.leaf, a.shardPath);
            string memory name = i == 4 ? "respond, 1 KiB at depth 30, last draw" : "respond, 1 KiB at depth 30";
            if (i == 0 || i == 4) assertLe(vm.snapshotGasLastCall("Gas", name), 150_000);
        }
    }

    function test_Timeout() public {
        storeSome();
        pay(10e18);
        bytes32 dispute = challenge(commitment(id, 50e18));
        vm.warp(block.timestamp + 6 hours);
        court.timeout(dispute);
        vm.snapshotGasLastCall("Gas", "timeout, upheld");
    }

    function test_RespondReleased() public {
        storeSome();
        Commitment memory c = commitment(id, 50e18);
        bytes32[] memory roots = new bytes32[](entries.length);
        for (uint256 i = 0; i < roots.length; ++i) {
            roots[i] = entries[i].shardRoot;
        }
        Release memory release = Release(id, Trees.releaseRoot(roots), uint64(roots.length), uint64(block.timestamp));
        bytes memory sig = releaseSig(CLIENT_KEY, release);
        bytes32 dispute = challenge(c);
        joinAndReveal(dispute);
        uint64 number = drawn(seedOf(dispute), 0, c.leafCount);
        Answer memory a = answerOf(number);
        (uint256 at,) = Trees.find(entries, number);
        bytes32[] memory path = Trees.releasePath(roots, at);
        court.respondReleased(dispute, 0, a.entry, a.path, a.counts, release, sig, uint64(at), path);
        vm.snapshotGasLastCall("Gas", "respondReleased, 4 shards");
    }

    /// A shard too large to build: subtrees without a drawn leaf are made up. The other shards of the inventory have no leaves, so every
    /// draw falls into this one.
    function _deep() private view returns (Commitment memory c, Answer[5] memory answers) {
        bytes memory leaf = new bytes(1024);
        for (uint256 i = 0; i < 1024; ++i) {
            leaf[i] = bytes1(uint8(uint256(keccak256(abi.encode(i))) % 255 + 1));
        }
        uint64 sum = uint64(1 << SHARD_DEPTH);
        bytes32 seed = seedOf(court.disputeId(id, 0));
        uint64[5] memory numbers;
        for (uint8 i = 0; i < 5; ++i) {
            numbers[i] = drawn(seed, i, sum);
        }
        bytes32 top = _node(numbers, leaf, SHARD_DEPTH, 0);
        Entry memory entry = Entry(sha256(abi.encodePacked(uint8(2), sum, sum * 1024, top)), sum, sum * 1024);
        InventoryStep[] memory path = new InventoryStep[](INVENTORY_DEPTH);
        bytes32 hash = sha256(abi.encodePacked(uint8(0x10), entry.shardRoot, entry.leafCount, entry.byteLen));
        for (uint256 i = 0; i < INVENTORY_DEPTH; ++i) {
            uint8 bit = uint8(INVENTORY_DEPTH - i);
            bool left = (uint256(entry.shardRoot) >> (255 - bit)) & 1 == 1;
            path[i] = InventoryStep(bit, left, 0, keccak256(abi.encode("sibling", i)));
            hash = left
                ? sha256(abi.encodePacked(uint8(0x11), bit, uint64(0), path[i].siblingHash, sum, hash))
                : sha256(abi.encodePacked(uint8(0x11), bit, sum, hash, uint64(0), path[i].siblingHash));
        }
        Counts memory counts = Counts(uint64(1 << INVENTORY_DEPTH), sum * 1024);
        bytes32 root = sha256(abi.encodePacked(uint8(0x12), counts.entryCount, sum, counts.byteSum, hash));
        c = Commitment(id, root, sum, uint64(block.timestamp), uint64(block.timestamp) + 72 hours, 50e18);
        for (uint8 i = 0; i < 5; ++i) {
            bytes32[] memory siblings = new bytes32[](SHARD_DEPTH);
            for (uint256 level = 0; level < SHARD_DEPTH; ++level) {
                siblings[level] = _node(numbers, leaf, level, (numbers[i] >> level) ^ 1);
            }
            answers[i] = Answer(entry, path, counts, leaf, siblings);
        }
    }

    function _node(uint64[5] memory numbers, bytes memory leaf, uint256 level, uint256 index) private pure returns (bytes32) {
        bool real;
        for (uint256 i = 0; i < 5; ++i) {
            real = real || numbers[i] >> level == index;
        }
        if (!real) return keccak256(abi.encode(level, index));
        if (level == 0) return sha256(abi.encodePacked(uint8(0), uint64(index), uint32(1024), leaf));
        return
            sha256(abi.encodePacked(uint8(1), _node(numbers, leaf, level - 1, 2 * index), _node(numbers, leaf, level - 1, 2 * index + 1)));
    }
}
