// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {Deploy} from "../script/Deploy.s.sol";
import {Channels} from "../src/Channels.sol";
import {Court} from "../src/Court.sol";
import {CreditToken} from "../src/CreditToken.sol";
import {Faucet} from "../src/Faucet.sol";
import {Providers} from "../src/Providers.sol";
import {Mandate} from "../src/types/Channel.sol";
import {Commitment, Counts, Entry, InventoryStep, Release} from "../src/types/Dispute.sol";
import {Trees} from "./independent/Trees.sol";
import {Test} from "forge-std/Test.sol";

/// The five contracts, one client with a session key, one provider with a session key, and a channel between them.
/// EIP-712 digests are made here from the types' text, not taken from src.
abstract contract Base is Test {
    uint256 internal constant PAYER_KEY = uint256(keccak256("payer"));
    uint256 internal constant CLIENT_KEY = uint256(keccak256("session/gateway/0"));
    uint256 internal constant OWNER_KEY = uint256(keccak256("owner"));
    uint256 internal constant NODE_KEY = uint256(keccak256("session/provider/0"));
    uint256 internal constant STRANGER_KEY = uint256(keccak256("stranger"));
    uint128 internal constant DEPOSIT = 100e18;
    uint128 internal constant COLLATERAL = 1000e18;
    bytes32 internal constant SALT = keccak256("salt");
    bytes32 internal constant SECRET = keccak256("secret");
    bytes32 internal constant ENTROPY = keccak256("entropy");

    address internal payer = vm.addr(PAYER_KEY);
    address internal client = vm.addr(CLIENT_KEY);
    address internal owner = vm.addr(OWNER_KEY);
    address internal node = vm.addr(NODE_KEY);
    address internal stranger = vm.addr(STRANGER_KEY);

    CreditToken internal token;
    Faucet internal faucet;
    Channels internal channels;
    Providers internal providers;
    Court internal court;
    bytes32 internal id;
    bytes internal nodeSignature = new bytes(64);

    bytes[] internal shards;
    Entry[] internal entries;

    function setUp() public virtual {
        vm.warp(1_800_000_000);
        Deploy deploy = new Deploy();
        Deploy.Deployment memory deployed = deploy.deploy(address(deploy), token, address(this), deploy.CAP());
        token = CreditToken(address(deployed.token));
        channels = deployed.channels;
        providers = deployed.providers;
        court = deployed.court;
        faucet = new Faucet(token);
        address[4] memory funded = [payer, client, owner, stranger];
        for (uint256 i = 0; i < funded.length; ++i) {
            token.mint(funded[i], 100_000e18);
            vm.startPrank(funded[i]);
            token.approve(address(channels), type(uint256).max);
            token.approve(address(providers), type(uint256).max);
            token.approve(address(court), type(uint256).max);
            vm.stopPrank();
        }
        vm.prank(owner);
        providers.register(keccak256("node key"), node, keccak256("offer"), COLLATERAL, nodeSignature);
        vm.prank(payer);
        id = channels.open(owner, client, DEPOSIT, SALT);
    }

    function digest(string memory name, address at, bytes32 structHash) internal view returns (bytes32) {
        return digestOn(name, at, block.chainid, structHash);
    }

    function digestOn(string memory name, address at, uint256 chainId, bytes32 structHash) internal pure returns (bytes32) {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256(bytes(name)),
                keccak256("1"),
                chainId,
                at
            )
        );
        return keccak256(abi.encodePacked(hex"1901", domain, structHash));
    }

    function sign(uint256 key, bytes32 hash) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, hash);
        return abi.encodePacked(r, s, v);
    }

    function voucherHash(bytes32 channel, uint128 cumulative) internal pure returns (bytes32) {
        return keccak256(abi.encode(keccak256("Voucher(bytes32 channelId,uint128 cumulative)"), channel, cumulative));
    }

    function voucher(uint256 key, bytes32 channel, uint128 cumulative) internal view returns (bytes memory) {
        return sign(key, digest("Cairn Channels", address(channels), voucherHash(channel, cumulative)));
    }

    function consent(uint256 key, bytes32 channel, uint128 cumulative) internal view returns (bytes memory) {
        bytes32 hash = keccak256(abi.encode(keccak256("Close(bytes32 channelId,uint128 cumulative)"), channel, cumulative));
        return sign(key, digest("Cairn Channels", address(channels), hash));
    }

    function mandateSig(uint256 key, Mandate memory m) internal view returns (bytes memory) {
        bytes32 typeHash = keccak256("Mandate(bytes32 channelId,address delegate,uint128 cumulativeMax,uint64 validUntil)");
        bytes32 hash = keccak256(abi.encode(typeHash, m.channelId, m.delegate, m.cumulativeMax, m.validUntil));
        return sign(key, digest("Cairn Channels", address(channels), hash));
    }

    function commitmentSig(uint256 key, Commitment memory c) internal view returns (bytes memory) {
        bytes32 typeHash = keccak256(
            "Commitment(bytes32 channelId,bytes32 inventoryRoot,uint64 leafCount,uint64 issuedAt,uint64 validUntil,uint128 atRisk)"
        );
        bytes32 hash = keccak256(abi.encode(typeHash, c.channelId, c.inventoryRoot, c.leafCount, c.issuedAt, c.validUntil, c.atRisk));
        return sign(key, digest("Cairn Court", address(court), hash));
    }

    function releaseSig(uint256 key, Release memory r) internal view returns (bytes memory) {
        bytes32 typeHash = keccak256("Release(bytes32 channelId,bytes32 shardsRoot,uint64 shardCount,uint64 releasedAt)");
        bytes32 hash = keccak256(abi.encode(typeHash, r.channelId, r.shardsRoot, r.shardCount, r.releasedAt));
        return sign(key, digest("Cairn Court", address(court), hash));
    }

    function permitSig(uint256 key, address spender, uint256 amount) internal view returns (uint8 v, bytes32 r, bytes32 s) {
        bytes32 typeHash = keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
        address from = vm.addr(key);
        bytes32 hash = keccak256(abi.encode(typeHash, from, spender, amount, token.nonces(from), type(uint256).max));
        return vm.sign(key, digest("Cairn Credit", address(token), hash));
    }

    /// Shards of these lengths, and their inventory.
    function store(uint256[] memory lens) internal {
        delete shards;
        delete entries;
        Entry[] memory sorted = new Entry[](lens.length);
        bytes[] memory data = new bytes[](lens.length);
        for (uint256 i = 0; i < lens.length; ++i) {
            data[i] = Trees.sample(lens[i], i);
            sorted[i] = Entry(Trees.shardRoot(data[i]), uint64(Trees.leafCount(lens[i])), uint64(lens[i]));
        }
        Trees.sort(sorted);
        for (uint256 i = 0; i < sorted.length; ++i) {
            entries.push(sorted[i]);
            for (uint256 j = 0; j < data.length; ++j) {
                if (data[j].length == sorted[i].byteLen && Trees.shardRoot(data[j]) == sorted[i].shardRoot) {
                    shards.push(data[j]);
                    break;
                }
            }
        }
    }

    function storeSome() internal {
        uint256[] memory lens = new uint256[](4);
        (lens[0], lens[1], lens[2], lens[3]) = (5000, 1, 3072, 7 * 1024 + 5);
        store(lens);
    }

    function commitment(bytes32 channel, uint128 atRisk) internal view returns (Commitment memory) {
        (bytes32 root, uint64 sum) = Trees.inventoryRoot(entries);
        return Commitment(channel, root, sum, uint64(block.timestamp), uint64(block.timestamp) + 72 hours, atRisk);
    }

    function secretHash(bytes32 channel) internal pure returns (bytes32) {
        return keccak256(abi.encode(SECRET, channel));
    }

    function challenge(Commitment memory c) internal returns (bytes32) {
        bytes memory sig = commitmentSig(NODE_KEY, c);
        vm.prank(client);
        return court.challenge(c, sig, secretHash(c.channelId));
    }

    function joinAndReveal(bytes32 dispute) internal {
        vm.prank(node);
        court.join(dispute, ENTROPY);
        court.reveal(dispute, SECRET);
    }

    struct Answer {
        Entry entry;
        InventoryStep[] path;
        Counts counts;
        bytes leaf;
        bytes32[] shardPath;
    }

    function answerOf(uint64 number) internal view returns (Answer memory a) {
        Entry[] memory list = entries;
        (uint256 at, uint64 leaf) = Trees.find(list, number);
        a.entry = list[at];
        a.path = Trees.inventoryPath(list, at, 0, list.length);
        a.counts = Counts(uint64(list.length), Trees.byteSum(list));
        a.leaf = Trees.leafOf(shards[at], leaf);
        a.shardPath = Trees.shardPath(shards[at], leaf);
    }

    /// As the spec says it, not as src does: the word, then the remainder.
    function drawn(bytes32 seed, uint32 i, uint64 count) internal pure returns (uint64) {
        return uint64(uint256(sha256(bytes.concat(hex"20", seed, bytes4(i)))) % count);
    }

    function seedOf(bytes32 dispute) internal pure returns (bytes32) {
        return keccak256(abi.encode(SECRET, ENTROPY, dispute));
    }

    function respond(bytes32 dispute, uint8 i) internal {
        (, uint64 sum) = Trees.inventoryRoot(entries);
        Answer memory a = answerOf(drawn(seedOf(dispute), i, sum));
        court.respond(dispute, i, a.entry, a.path, a.counts, a.leaf, a.shardPath);
    }

    function respondAll(bytes32 dispute) internal {
        for (uint8 i = 0; i < court.DRAWS(); ++i) {
            respond(dispute, i);
        }
    }

    function pay(uint128 cumulative) internal {
        channels.redeem(id, cumulative, voucher(CLIENT_KEY, id, cumulative));
    }

    function escrowOf(bytes32 channel) internal view returns (uint256) {
        return uint256(channels.channel(channel).deposit) - channels.channel(channel).settled;
    }

    function stakeOf(address who) internal view returns (uint256) {
        return uint256(providers.provider(who).collateral) + providers.provider(who).unbonding;
    }
}
