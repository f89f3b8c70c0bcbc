// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {Channels} from "../src/Channels.sol";
import {Court} from "../src/Court.sol";
import {Mandate} from "../src/types/Channel.sol";
import {Commitment, Counts, Entry, InventoryStep, Release} from "../src/types/Dispute.sol";
import {Base} from "./Base.sol";
import {Harness} from "./Harness.sol";
import {Trees} from "./independent/Trees.sol";

/// The golden vectors that Rust reads too. Each field is read by its name: the order in which parseJson packs a whole object depends on which
/// structs the project has.
contract VectorsTest is Base {
    Harness private harness;

    function setUp() public override {
        super.setUp();
        harness = new Harness();
    }

    function _read(string memory name) private view returns (string memory) {
        return vm.readFile(string.concat("../tests/vectors/", name, ".json"));
    }

    function _at(string memory prefix, uint256 i) private pure returns (string memory) {
        return string.concat(prefix, "[", vm.toString(i), "]");
    }

    function _hash(string memory json, string memory key) private pure returns (bytes32) {
        return vm.parseBytes32(string.concat("0x", vm.parseJsonString(json, key)));
    }

    function _hashes(string memory json, string memory key) private pure returns (bytes32[] memory list) {
        string[] memory texts = vm.parseJsonStringArray(json, key);
        list = new bytes32[](texts.length);
        for (uint256 i = 0; i < list.length; ++i) {
            list[i] = vm.parseBytes32(string.concat("0x", texts[i]));
        }
    }

    /// Bytes [from, to) of sample(len, 0).
    function _sampled(uint256 from, uint256 to) private pure returns (bytes memory data) {
        data = new bytes(to - from);
        for (uint256 i = from; i < to; ++i) {
            data[i - from] = bytes1(uint8((31 * i + i / 251) & 0xff));
        }
    }

    function test_Merkle() public view {
        string memory json = _read("merkle");
        uint256 paths = 0;
        uint256 shardsSeen = 0;
        for (string memory at = _at(".shards", 0); vm.keyExistsJson(json, at); at = _at(".shards", ++shardsSeen)) {
            uint256 len = vm.parseJsonUint(json, string.concat(at, ".byte_len"));
            uint256 count = vm.parseJsonUint(json, string.concat(at, ".leaf_count"));
            bytes32 root = _hash(json, string.concat(at, ".root"));
            assertEq(Trees.leafCount(len), count);
            string memory list = string.concat(at, ".leaf_paths");
            uint256 i = 0;
            for (string memory one = _at(list, 0); vm.keyExistsJson(json, one); one = _at(list, ++i)) {
                uint256 leaf = vm.parseJsonUint(json, string.concat(one, ".leaf"));
                bytes32[] memory path = _hashes(json, string.concat(one, ".path"));
                uint256 end = (leaf + 1) * 1024 < len ? (leaf + 1) * 1024 : len;
                assertEq(harness.shardRoot(_sampled(leaf * 1024, end), uint64(leaf), uint64(count), uint64(len), path), root);
                ++paths;
            }
            if (len > 0 && len <= 6000) assertEq(Trees.shardRoot(Trees.sample(len, 0)), root);
        }
        assertEq(shardsSeen, 13);
        assertEq(paths, 28);
    }

    function test_Draw() public view {
        string memory json = _read("draw");
        uint256 seen = 0;
        for (string memory at = _at(".draws", 0); vm.keyExistsJson(json, at); at = _at(".draws", ++seen)) {
            uint256 sum = vm.parseJsonUint(json, string.concat(at, ".leafSum"));
            bytes32 seed = vm.parseJsonBytes32(json, string.concat(at, ".seed"));
            for (uint32 i = 0; i < 8; ++i) {
                string memory word = _at(string.concat(at, ".words"), i);
                assertEq(vm.parseJsonUint(json, string.concat(word, ".index")), i);
                uint256 number = vm.parseJsonUint(json, string.concat(word, ".leafNumber"));
                assertEq(harness.draw(seed, i, uint64(sum)), number);
                assertEq(drawn(seed, i, uint64(sum)), number);
            }
        }
        assertEq(seen, 36);
    }

    function test_Release() public view {
        string memory json = _read("release");
        uint256 seen = 0;
        for (string memory at = _at(".releases", 0); vm.keyExistsJson(json, at); at = _at(".releases", ++seen)) {
            bytes32[] memory list = vm.parseJsonBytes32Array(json, string.concat(at, ".shards"));
            bytes32 root = vm.parseJsonBytes32(json, string.concat(at, ".shardsRoot"));
            assertEq(Trees.releaseRoot(list), root);
            for (uint256 i = 0; i < 3; ++i) {
                string memory one = _at(string.concat(at, ".paths"), i);
                uint256 index = vm.parseJsonUint(json, string.concat(one, ".index"));
                bytes32[] memory path = vm.parseJsonBytes32Array(json, string.concat(one, ".path"));
                assertEq(keccak256(abi.encode(path)), keccak256(abi.encode(Trees.releasePath(list, index))));
                assertEq(harness.releaseRoot(list[index], uint64(index), uint64(list.length), path), root);
            }
        }
        assertEq(seen, 9);
    }

    function test_Inventory() public {
        string memory json = _read("inventory");
        uint256 seen = 0;
        for (string memory at = _at(".inventories", 0); vm.keyExistsJson(json, at); at = _at(".inventories", ++seen)) {
            _inventory(json, at);
        }
        assertEq(seen, 7);
    }

    struct Inventory {
        Entry[] list;
        bytes32 root;
        uint64 sum;
        Counts counts;
    }

    function _inventory(string memory json, string memory at) private {
        Inventory memory given;
        given.root = vm.parseJsonBytes32(json, string.concat(at, ".root"));
        given.sum = uint64(vm.parseJsonUint(json, string.concat(at, ".leafSum")));
        given.list = _entries(json, string.concat(at, ".entries"));
        given.counts = Counts(uint64(given.list.length), uint64(vm.parseJsonUint(json, string.concat(at, ".byteSum"))));
        (bytes32 ownRoot, uint64 ownSum) = Trees.inventoryRoot(given.list);
        assertEq(ownRoot, given.root);
        assertEq(ownSum, given.sum);
        if (given.list.length == 0) return;
        uint256 seen = 0;
        string memory paths = string.concat(at, ".paths");
        for (string memory one = _at(paths, 0); vm.keyExistsJson(json, one); one = _at(paths, ++seen)) {
            _shown(given, json, one);
        }
        assertGe(seen, 1);
        for (uint256 i = 0; i < 4; ++i) {
            string memory one = _at(string.concat(at, ".located"), i);
            (uint256 index, uint64 leaf) = Trees.find(given.list, uint64(vm.parseJsonUint(json, string.concat(one, ".number"))));
            assertEq(given.list[index].shardRoot, vm.parseJsonBytes32(json, string.concat(one, ".shardRoot")));
            assertEq(leaf, vm.parseJsonUint(json, string.concat(one, ".leaf")));
        }
    }

    function _length(string memory json, string memory list) private view returns (uint256 length) {
        while (vm.keyExistsJson(json, _at(list, length))) ++length;
    }

    function _entries(string memory json, string memory at) private view returns (Entry[] memory list) {
        list = new Entry[](_length(json, at));
        for (uint256 i = 0; i < list.length; ++i) {
            string memory one = _at(at, i);
            list[i].shardRoot = vm.parseJsonBytes32(json, string.concat(one, ".shardRoot"));
            list[i].leafCount = uint64(vm.parseJsonUint(json, string.concat(one, ".leafCount")));
            list[i].byteLen = uint64(vm.parseJsonUint(json, string.concat(one, ".byteLen")));
            assertEq(Trees.entryHash(list[i]), vm.parseJsonBytes32(json, string.concat(one, ".hash")));
        }
        Trees.sort(list);
    }

    function _shown(Inventory memory given, string memory json, string memory at) private {
        uint64 first = uint64(vm.parseJsonUint(json, string.concat(at, ".firstLeaf")));
        InventoryStep[] memory path = _path(json, string.concat(at, ".path"));
        (uint256 index, uint64 leaf) = Trees.find(given.list, first);
        Entry memory entry = given.list[index];
        assertEq(entry.shardRoot, vm.parseJsonBytes32(json, string.concat(at, ".entry.shardRoot")));
        assertEq(leaf, 0);
        bytes32 own = keccak256(abi.encode(Trees.inventoryPath(given.list, index, 0, given.list.length)));
        assertEq(keccak256(abi.encode(path)), own);
        assertEq(_index(given, first, entry, path), 0);
        first += entry.leafCount;
        assertEq(_index(given, first - 1, entry, path), entry.leafCount - 1);
        vm.expectRevert();
        _index(given, first, entry, path);
    }

    function _index(Inventory memory given, uint64 number, Entry memory entry, InventoryStep[] memory path) private view returns (uint64) {
        return harness.leafIndex(given.root, given.sum, number, entry, path, given.counts);
    }

    function _path(string memory json, string memory at) private view returns (InventoryStep[] memory path) {
        path = new InventoryStep[](_length(json, at));
        for (uint256 i = 0; i < path.length; ++i) {
            string memory step = _at(at, i);
            path[i].bit = uint8(vm.parseJsonUint(json, string.concat(step, ".bit")));
            path[i].siblingIsLeft = vm.parseJsonBool(json, string.concat(step, ".siblingIsLeft"));
            path[i].siblingSum = uint64(vm.parseJsonUint(json, string.concat(step, ".siblingSum")));
            path[i].siblingHash = vm.parseJsonBytes32(json, string.concat(step, ".siblingHash"));
        }
    }

    // EIP-712: the digests are taken from contracts at the vectors' addresses, and the signatures from Rust.

    function test_Eip712() public {
        string memory json = _read("eip712");
        address channelsAt = vm.parseJsonAddress(json, ".channelsContract");
        address courtAt = vm.parseJsonAddress(json, ".courtContract");
        uint256 chains = 0;
        for (string memory at = _at(".chains", 0); vm.keyExistsJson(json, at); at = _at(".chains", ++chains)) {
            vm.chainId(vm.parseJsonUint(json, string.concat(at, ".chainId")));
            deployCodeTo("Channels.sol", abi.encode(token), channelsAt);
            address registry = vm.computeCreateAddress(address(this), vm.getNonce(address(this)));
            deployCodeTo("Providers.sol", abi.encode(token, courtAt), registry);
            deployCodeTo("Court.sol", abi.encode(token, registry, channelsAt), courtAt);
            address[5] memory by;
            for (uint256 i = 0; i < 5; ++i) {
                by[i] = vm.parseJsonAddress(json, string.concat(_at(".keys", i), ".address")); // payer payee signer delegate providerSigner
            }
            bytes32 channel = vm.parseJsonBytes32(json, string.concat(at, ".channelId"));
            bytes32 salt = vm.parseJsonBytes32(json, ".salt");
            assertEq(Channels(channelsAt).channelId(by[0], by[1], by[2], salt), channel);
            for (uint256 i = 0; i < 4; ++i) {
                _voucher(json, _at(string.concat(at, ".channels.voucher"), i), Channels(channelsAt));
                _close(json, _at(string.concat(at, ".channels.close"), i), Channels(channelsAt));
            }
            for (uint256 i = 0; i < 2; ++i) {
                _mandate(json, _at(string.concat(at, ".channels.mandate"), i), Channels(channelsAt));
                _released(json, _at(string.concat(at, ".court.release"), i), Court(courtAt));
            }
            for (uint256 i = 0; i < 3; ++i) {
                _commitment(json, _at(string.concat(at, ".court.commitment"), i), Court(courtAt));
            }
        }
        assertEq(chains, 3);
    }

    function _signed(string memory json, string memory at, bytes32 hash) private pure {
        assertEq(vm.parseJsonBytes32(json, string.concat(at, ".digest")), hash);
        bytes memory sig = vm.parseJsonBytes(json, string.concat(at, ".signature"));
        (bytes32 r, bytes32 s, uint8 v) = (bytes32(0), bytes32(0), 0);
        assembly ("memory-safe") {
            r := mload(add(sig, 32))
            s := mload(add(sig, 64))
            v := byte(0, mload(add(sig, 96)))
        }
        assertEq(ecrecover(hash, v, r, s), vm.parseJsonAddress(json, string.concat(at, ".recovered")));
    }

    function _uint(string memory json, string memory at, string memory key) private pure returns (uint256) {
        return vm.parseJsonUint(json, string.concat(at, ".message.", key));
    }

    function _word(string memory json, string memory at, string memory key) private pure returns (bytes32) {
        return vm.parseJsonBytes32(json, string.concat(at, ".message.", key));
    }

    function _voucher(string memory json, string memory at, Channels on) private view {
        bytes32 channel = _word(json, at, "channelId");
        _signed(json, at, on.voucherDigest(channel, uint128(_uint(json, at, "cumulative"))));
    }

    function _close(string memory json, string memory at, Channels on) private view {
        bytes32 channel = _word(json, at, "channelId");
        _signed(json, at, on.closeDigest(channel, uint128(_uint(json, at, "cumulative"))));
    }

    function _mandate(string memory json, string memory at, Channels on) private view {
        Mandate memory m = Mandate({
            channelId: _word(json, at, "channelId"),
            delegate: vm.parseJsonAddress(json, string.concat(at, ".message.delegate")),
            cumulativeMax: uint128(_uint(json, at, "cumulativeMax")),
            validUntil: uint64(_uint(json, at, "validUntil"))
        });
        _signed(json, at, on.mandateDigest(m));
    }

    function _commitment(string memory json, string memory at, Court on) private view {
        Commitment memory c = Commitment({
            channelId: _word(json, at, "channelId"),
            inventoryRoot: _word(json, at, "inventoryRoot"),
            leafCount: uint64(_uint(json, at, "leafCount")),
            issuedAt: uint64(_uint(json, at, "issuedAt")),
            validUntil: uint64(_uint(json, at, "validUntil")),
            atRisk: uint128(_uint(json, at, "atRisk"))
        });
        _signed(json, at, on.commitmentDigest(c));
    }

    function _released(string memory json, string memory at, Court on) private view {
        Release memory r = Release({
            channelId: _word(json, at, "channelId"),
            shardsRoot: _word(json, at, "shardsRoot"),
            shardCount: uint64(_uint(json, at, "shardCount")),
            releasedAt: uint64(_uint(json, at, "releasedAt"))
        });
        _signed(json, at, on.releaseDigest(r));
    }
}
