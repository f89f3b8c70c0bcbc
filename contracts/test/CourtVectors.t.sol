// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {Channels} from "../src/Channels.sol";
import {Court} from "../src/Court.sol";
import {ICourt} from "../src/ICourt.sol";
import {Providers} from "../src/Providers.sol";
import {InventoryLib} from "../src/lib/InventoryLib.sol";
import {MerkleLib} from "../src/lib/MerkleLib.sol";
import {Channel, ChannelState} from "../src/types/Channel.sol";
import {Commitment, InventoryStep, Release} from "../src/types/Dispute.sol";
import {Base} from "./Base.sol";

/// tests/vectors/court.json: answers and releases, good and bad, that Rust accepts and refuses. Here the Court itself judges them, in a dispute
/// with the vector's commitment; only the seed is put in its place, since no known secret leads to the vector's.
contract CourtVectorsTest is Base {
    uint256 private constant DISPUTES_SLOT = 2;
    uint256 private constant SEED_FIELD = 4;

    string private json;
    bytes32 private channel;

    function setUp() public override {
        super.setUp();
        json = vm.readFile("../tests/vectors/court.json");
        channel = vm.parseJsonBytes32(json, ".channel.channelId");
        vm.chainId(vm.parseJsonUint(json, ".court.chainId"));
        vm.warp(vm.parseJsonUint(json, ".court.issuedAt"));
        address at = vm.parseJsonAddress(json, ".court.contract");
        providers = new Providers(token, at);
        channels = new Channels(token);
        deployCodeTo("Court.sol", abi.encode(token, providers, channels), at);
        court = Court(at);
        vm.startPrank(owner);
        token.approve(address(providers), COLLATERAL);
        providers.register(keccak256("node key"), node, keccak256("offer"), COLLATERAL, nodeSignature);
        vm.stopPrank();
        client = vm.parseJsonAddress(json, ".channel.signer");
        token.mint(client, 100e18);
        vm.prank(client);
        token.approve(at, 100e18);
        Channel memory shown;
        (shown.payer, shown.payee, shown.signer) = (vm.parseJsonAddress(json, ".channel.payer"), owner, client);
        shown.state = ChannelState.Open;
        vm.mockCall(address(channels), abi.encodeCall(channels.channel, (channel)), abi.encode(shown));
    }

    function _at(string memory prefix, uint256 i) private pure returns (string memory) {
        return string.concat(prefix, "[", vm.toString(i), "]");
    }

    function _uint(string memory at, string memory key) private view returns (uint256) {
        return vm.parseJsonUint(json, string.concat(at, key));
    }

    function _word(string memory at, string memory key) private view returns (bytes32) {
        return vm.parseJsonBytes32(json, string.concat(at, key));
    }

    function _words(string memory at, string memory key) private view returns (bytes32[] memory) {
        return vm.parseJsonBytes32Array(json, string.concat(at, key));
    }

    function _dispute(string memory at) private returns (bytes32 dispute) {
        uint64 now_ = uint64(block.timestamp);
        Commitment memory c = Commitment(channel, _word(at, ".inventoryRoot"), uint64(_uint(at, ".leafCount")), now_, now_ + 72 hours, 1e18);
        dispute = challenge(c);
        joinAndReveal(dispute);
        bytes32 seed = _word(at, ".seed");
        uint256 slot = uint256(keccak256(abi.encode(dispute, DISPUTES_SLOT))) + SEED_FIELD;
        vm.store(address(court), bytes32(slot), seed);
        assertEq(court.dispute(dispute).seed, seed, "the layout of Dispute has changed");
    }

    /// All of an answer but the leaf.
    function _answer(string memory at) private view returns (Answer memory a) {
        a.entry.shardRoot = _word(at, ".entry.shardRoot");
        a.entry.leafCount = uint64(_uint(at, ".entry.leafCount"));
        a.entry.byteLen = uint64(_uint(at, ".entry.byteLen"));
        a.counts.entryCount = uint64(_uint(at, ".counts.entryCount"));
        a.counts.byteSum = uint64(_uint(at, ".counts.byteSum"));
        string memory path = string.concat(at, ".inventoryPath");
        uint256 length = 0;
        while (vm.keyExistsJson(json, _at(path, length))) ++length;
        a.path = new InventoryStep[](length);
        for (uint256 i = 0; i < length; ++i) {
            string memory step = _at(path, i);
            a.path[i].bit = uint8(_uint(step, ".bit"));
            a.path[i].siblingIsLeft = vm.parseJsonBool(json, string.concat(step, ".siblingIsLeft"));
            a.path[i].siblingSum = uint64(_uint(step, ".siblingSum"));
            a.path[i].siblingHash = _word(step, ".siblingHash");
        }
    }

    function _judged(string memory at, bytes memory call_) private {
        string memory name = vm.parseJsonString(json, string.concat(at, ".name"));
        (bool ok, bytes memory out) = address(court).call(call_);
        assertEq(ok, vm.parseJsonBool(json, string.concat(at, ".ok")), name);
        if (ok) return;
        bytes32 kind = keccak256(bytes(vm.parseJsonString(json, string.concat(at, ".error"))));
        assertTrue(_sameKind(kind, bytes4(out)), string.concat(name, ": refused for another reason"));
    }

    function _sameKind(bytes32 kind, bytes4 got) private pure returns (bool) {
        bool length = got == MerkleLib.WrongPathLength.selector;
        if (kind == keccak256("WrongLeaf")) {
            return length || got == ICourt.WrongLeaf.selector || got == MerkleLib.WrongLeafLength.selector;
        }
        if (kind == keccak256("NotReleased")) return length || got == ICourt.WrongRelease.selector;
        if (kind == keccak256("OldRelease") || kind == keccak256("OtherChannel")) return got == ICourt.WrongRelease.selector;
        if (kind == keccak256("NotTheirRelease")) return got == ICourt.BadSignature.selector;
        if (kind == keccak256("NoSuchDraw")) return got == ICourt.WrongDraw.selector;
        if (kind == keccak256("BadEntry")) return got == InventoryLib.WrongEntry.selector;
        if (kind == keccak256("OtherShard")) return got == InventoryLib.NotDrawn.selector;
        if (kind == keccak256("Overflow")) return got == bytes4(keccak256("Panic(uint256)"));
        return got == InventoryLib.WrongInventoryPath.selector; // BitOrder, WrongSide, WrongSum, WrongRoot, TooLong
    }

    function test_Answers() public {
        uint256 seen = 0;
        for (string memory at = _at(".answers", 0); vm.keyExistsJson(json, at); at = _at(".answers", ++seen)) {
            uint256 snapshot = vm.snapshotState();
            this.judgeAnswer(at);
            vm.revertToState(snapshot);
        }
        assertEq(seen, 47);
    }

    /// External, so that each case gives its memory back: every field read costs a copy of the file.
    function judgeAnswer(string memory at) external {
        bytes32 dispute = _dispute(at);
        Answer memory a = _answer(at);
        a.leaf = vm.parseJsonBytes(json, string.concat(at, ".leaf"));
        a.shardPath = _words(at, ".shardPath");
        uint8 i = uint8(_uint(at, ".index"));
        _judged(at, abi.encodeCall(court.respond, (dispute, i, a.entry, a.path, a.counts, a.leaf, a.shardPath)));
    }

    function _release(string memory at) private view returns (Release memory r) {
        r.channelId = _word(at, ".release.channelId");
        r.shardsRoot = _word(at, ".release.shardsRoot");
        r.shardCount = uint64(_uint(at, ".release.shardCount"));
        r.releasedAt = uint64(_uint(at, ".release.releasedAt"));
    }

    function _defence(string memory at, bytes32 dispute) private view returns (bytes memory) {
        Answer memory a = _answer(at);
        Release memory r = _release(at);
        bytes memory sig = vm.parseJsonBytes(json, string.concat(at, ".signature"));
        uint64 index = uint64(_uint(at, ".releaseIndex"));
        bytes32[] memory path = _words(at, ".releasePath");
        uint8 i = uint8(_uint(at, ".index"));
        return abi.encodeCall(court.respondReleased, (dispute, i, a.entry, a.path, a.counts, r, sig, index, path));
    }

    function test_Releases() public {
        uint256 seen = 0;
        for (string memory at = _at(".released", 0); vm.keyExistsJson(json, at); at = _at(".released", ++seen)) {
            uint256 snapshot = vm.snapshotState();
            this.judgeRelease(at);
            vm.revertToState(snapshot);
        }
        assertEq(seen, 11);
    }

    function judgeRelease(string memory at) external {
        _judged(at, _defence(at, _dispute(at)));
    }

    function test_Seeds() public view {
        bytes32 named = _word(".seeds", ".channelId");
        bytes32 secret = _word(".seeds", ".secret");
        bytes32 dispute = _word(".seeds", ".disputeId");
        assertEq(keccak256(abi.encode(secret, named)), _word(".seeds", ".secretHash"));
        assertEq(court.disputeId(named, _uint(".seeds", ".disputeNumber")), dispute);
        assertEq(keccak256(abi.encode(secret, _word(".seeds", ".entropy"), dispute)), _word(".seeds", ".seed"));
    }
}
