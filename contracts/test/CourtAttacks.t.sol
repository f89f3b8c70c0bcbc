// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {Channels} from "../src/Channels.sol";
import {Court} from "../src/Court.sol";
import {ICourt} from "../src/ICourt.sol";
import {IProviders} from "../src/IProviders.sol";
import {Providers} from "../src/Providers.sol";
import {InventoryLib} from "../src/lib/InventoryLib.sol";
import {MerkleLib} from "../src/lib/MerkleLib.sol";
import {Commitment, Counts, DisputeState, Entry, InventoryStep, Release} from "../src/types/Dispute.sol";
import {Base} from "./Base.sol";
import {HookToken} from "./hostile/Tokens.sol";
import {Reenterer} from "./hostile/Wallets.sol";
import {Trees} from "./independent/Trees.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

/// Each test is an attack and bears its name. It passes when the attack fails.
contract CourtAttacksTest is Base {
    uint128 private constant AT_RISK = 50e18;

    function setUp() public override {
        super.setUp();
        storeSome();
    }

    function _refuse(Commitment memory c, uint256 key, bytes4 reason) private {
        bytes memory sig = commitmentSig(key, c);
        vm.prank(client);
        if (reason == bytes4(0)) vm.expectRevert();
        else vm.expectRevert(reason);
        court.challenge(c, sig, secretHash(c.channelId));
    }

    // Challenges without a cause

    function test_Attack_ChallengeByStrangers() public {
        Commitment memory c = commitment(id, AT_RISK);
        bytes memory sig = commitmentSig(NODE_KEY, c);
        address[3] memory others = [stranger, owner, address(0)];
        for (uint256 i = 0; i < others.length; ++i) {
            vm.prank(others[i]);
            vm.expectRevert(ICourt.NotAllowed.selector);
            court.challenge(c, sig, secretHash(id));
        }
        c.channelId = bytes32("none");
        _refuse(c, NODE_KEY, ICourt.NotAllowed.selector);
    }

    function test_Attack_ChallengeWithoutTheProvidersSignature() public {
        Commitment memory c = commitment(id, AT_RISK);
        _refuse(c, CLIENT_KEY, ICourt.BadSignature.selector);
        _refuse(c, OWNER_KEY, ICourt.BadSignature.selector); // the owner is not the signer
        vm.prank(client);
        vm.expectRevert(ICourt.BadSignature.selector);
        court.challenge(c, "", secretHash(id));
    }

    function test_Attack_CommitmentChangedAfterSigning() public {
        Commitment memory c = commitment(id, AT_RISK);
        c.validUntil -= 100;
        bytes memory sig = commitmentSig(NODE_KEY, c);
        for (uint256 i = 0; i < 5; ++i) {
            Commitment memory changed = commitment(id, AT_RISK);
            changed.validUntil -= 100;
            if (i == 0) changed.inventoryRoot = bytes32("another"); // a root that nobody can answer for
            if (i == 1) changed.leafCount += 1;
            if (i == 2) changed.issuedAt -= 1;
            if (i == 3) changed.validUntil -= 1;
            if (i == 4) changed.atRisk += 1;
            vm.prank(client);
            vm.expectRevert(ICourt.BadSignature.selector);
            court.challenge(changed, sig, secretHash(id));
        }
    }

    function test_Attack_CommitmentReplayedOnAnotherChannelChainOrCourt() public {
        vm.prank(payer);
        bytes32 other = channels.open(owner, client, DEPOSIT, bytes32("other"));
        Commitment memory c = commitment(id, AT_RISK);
        bytes memory sig = commitmentSig(NODE_KEY, c);
        c.channelId = other;
        vm.prank(client);
        vm.expectRevert(ICourt.BadSignature.selector);
        court.challenge(c, sig, secretHash(other));
        c.channelId = id;
        vm.chainId(block.chainid + 1);
        vm.prank(client);
        vm.expectRevert(ICourt.BadSignature.selector);
        court.challenge(c, sig, secretHash(id));
    }

    function test_Attack_ChallengeOnAnExpiredOrFutureCommitment() public {
        Commitment memory c = commitment(id, AT_RISK);
        uint256 start = block.timestamp;
        vm.warp(start - 1);
        _refuse(c, NODE_KEY, ICourt.CommitmentNotValid.selector);
        vm.warp(c.validUntil);
        _refuse(c, NODE_KEY, ICourt.CommitmentNotValid.selector);
        vm.warp(c.validUntil - 1);
        challenge(c);
    }

    function test_Attack_CommitmentThatLivesTooLong() public {
        Commitment memory c = commitment(id, AT_RISK);
        c.validUntil += 1;
        _refuse(c, NODE_KEY, ICourt.CommitmentNotValid.selector);
    }

    function test_Attack_ChallengeOverNothing() public {
        Commitment memory c = commitment(id, AT_RISK);
        c.leafCount = 0;
        _refuse(c, NODE_KEY, ICourt.EmptyInventory.selector);
        c = commitment(id, 0);
        _refuse(c, NODE_KEY, ICourt.NothingAtRisk.selector);
    }

    function test_Attack_GriefingByChallenge() public {
        Commitment memory c = commitment(id, AT_RISK);
        bytes32 dispute = challenge(c);
        _refuse(c, NODE_KEY, ICourt.DisputeOpen.selector); // one at a time
        joinAndReveal(dispute);
        uint256 before = token.balanceOf(owner);
        respondAll(dispute);
        assertEq(token.balanceOf(owner) - before, court.BOND()); // each costs the challenger its bond
        uint256 end = block.timestamp;
        vm.warp(end + 24 hours - 1);
        _refuse(c, NODE_KEY, bytes4(0));
        vm.warp(end + 24 hours); // and not more than one a day
        bytes32 second = challenge(c);
        assertEq(second, court.disputeId(id, 1));
        assertTrue(second != dispute);
    }

    function test_Attack_ChallengeWithoutABond() public {
        uint256 all = token.balanceOf(client);
        vm.prank(client);
        token.transfer(stranger, all);
        Commitment memory c = commitment(id, AT_RISK);
        _refuse(c, NODE_KEY, bytes4(0));
        assertEq(providers.provider(owner).locked, 0);
    }

    // Evasion by the provider

    function test_Attack_SignerRotationToDodgeACommitment() public {
        Commitment memory c = commitment(id, AT_RISK);
        vm.warp(block.timestamp + 1);
        vm.prank(owner);
        providers.setSigner(stranger, nodeSignature);
        bytes32 dispute = challenge(c);
        vm.warp(block.timestamp + 6 hours);
        court.timeout(dispute);
        assertEq(stakeOf(owner), COLLATERAL - AT_RISK);
    }

    function test_Attack_NewSignerCannotBackdate() public {
        Commitment memory c = commitment(id, AT_RISK);
        vm.warp(block.timestamp + 1 hours);
        vm.prank(owner);
        providers.setSigner(stranger, nodeSignature);
        _refuse(c, STRANGER_KEY, ICourt.BadSignature.selector);
        c.issuedAt = uint64(block.timestamp) + 1;
        vm.warp(block.timestamp + 1);
        _refuse(c, NODE_KEY, ICourt.BadSignature.selector); // nor does the old one sign for what comes after it
    }

    function test_Attack_UnbondingBeforeDispute() public {
        vm.prank(owner);
        providers.beginUnbond(COLLATERAL);
        vm.warp(block.timestamp + 10 days);
        Commitment memory c = commitment(id, COLLATERAL); // signed when everything is on its way out
        vm.warp(block.timestamp + 72 hours - 1); // challenged as late as can be
        bytes32 dispute = challenge(c);
        joinAndReveal(dispute);
        vm.warp(block.timestamp + 2 days); // the unbonding time is over and nobody has called timeout
        vm.prank(owner);
        vm.expectRevert(IProviders.AllLocked.selector);
        providers.finishUnbond();
        court.timeout(dispute);
        assertEq(stakeOf(owner), 0);
    }

    function test_Attack_ChannelClosedToDodgeADispute() public {
        Commitment memory c = commitment(id, AT_RISK);
        pay(4e18);
        vm.prank(owner);
        channels.closeByPayee(id, 0, "");
        bytes32 dispute = challenge(c);
        vm.warp(block.timestamp + 6 hours);
        uint256 before = token.balanceOf(payer);
        court.timeout(dispute);
        assertEq(token.balanceOf(payer) - before, 4e18);
    }

    /// A provider opens disputes of its own puppet on all its stake, so that an honest challenger finds nothing to lock.
    function test_Attack_StakeShieldedByPuppetDisputes() public {
        vm.prank(stranger); // the puppet
        bytes32 puppet = channels.open(owner, stranger, 1e18, SALT);
        Commitment memory shield = commitment(puppet, type(uint128).max);
        bytes memory sig = commitmentSig(NODE_KEY, shield);
        vm.prank(stranger);
        bytes32 shielding = court.challenge(shield, sig, secretHash(puppet));
        assertEq(court.dispute(shielding).locked, COLLATERAL);
        bytes32 honest = challenge(commitment(id, AT_RISK));
        assertEq(court.dispute(honest).locked, AT_RISK);
        joinAndReveal(shielding);
        respondAll(shielding); // the shield is answered, the honest one not
        vm.warp(block.timestamp + 6 hours);
        court.timeout(honest);
        assertEq(stakeOf(owner), COLLATERAL - AT_RISK);
    }

    /// A provider that is about to lose its stake is slashed by its own puppet first. It has paid itself through the channel, which costs
    /// nothing, and still gets back the half at most; the rest is burned.
    function test_Attack_SelfSlashByAPuppetClient() public {
        vm.prank(stranger);
        bytes32 puppet = channels.open(owner, stranger, 5000e18, SALT);
        channels.redeem(puppet, 5000e18, voucher(STRANGER_KEY, puppet, 5000e18));
        Commitment memory c = commitment(puppet, COLLATERAL);
        bytes memory sig = commitmentSig(NODE_KEY, c);
        uint256 together = token.balanceOf(stranger) + token.balanceOf(owner);
        vm.prank(stranger);
        bytes32 dispute = court.challenge(c, sig, secretHash(puppet));
        vm.warp(block.timestamp + 6 hours);
        court.timeout(dispute);
        assertEq(stakeOf(owner), 0);
        assertEq(token.balanceOf(stranger) + token.balanceOf(owner) - together, COLLATERAL / 2);
    }

    function test_Attack_SelfSlashByAPuppetThatPaidNothing() public {
        vm.prank(stranger);
        bytes32 puppet = channels.open(owner, stranger, 5000e18, SALT);
        Commitment memory c = commitment(puppet, COLLATERAL);
        bytes memory sig = commitmentSig(NODE_KEY, c);
        uint256 supply = token.totalSupply();
        vm.prank(stranger);
        bytes32 dispute = court.challenge(c, sig, secretHash(puppet));
        vm.warp(block.timestamp + 6 hours);
        uint256 before = token.balanceOf(stranger);
        court.timeout(dispute);
        assertEq(token.balanceOf(stranger) - before, court.BOND());
        assertEq(supply - token.totalSupply(), COLLATERAL);
    }

    // Greed of the client

    function test_Attack_SlashedTwiceForOneFact() public {
        Commitment memory c = commitment(id, AT_RISK);
        vm.warp(block.timestamp + 1);
        Commitment memory overlapping = commitment(id, AT_RISK); // an older and a newer promise on the same data
        bytes32 dispute = challenge(c);
        vm.warp(block.timestamp + 6 hours);
        court.timeout(dispute);
        vm.warp(block.timestamp + 24 hours);
        _refuse(c, NODE_KEY, ICourt.CommitmentSpent.selector);
        _refuse(overlapping, NODE_KEY, ICourt.CommitmentSpent.selector);
        challenge(commitment(id, AT_RISK)); // a new promise is a new matter
    }

    function test_Attack_RestitutionBeyondWhatWasPaid() public {
        pay(10e18);
        uint256 restituted = 0;
        for (uint256 i = 0; i < 4; ++i) {
            if (i == 3) pay(12e18); // pays a little more before the last
            bytes32 dispute = challenge(commitment(id, 16e18));
            vm.warp(block.timestamp + 6 hours);
            uint256 before = token.balanceOf(payer);
            court.timeout(dispute);
            restituted += token.balanceOf(payer) - before;
            vm.warp(block.timestamp + 24 hours);
            assertEq(restituted, [uint256(8e18), 10e18, 10e18, 12e18][i]);
        }
    }

    function test_Attack_CooldownSkippedAfterAnUpheldDispute() public {
        bytes32 dispute = challenge(commitment(id, AT_RISK));
        vm.warp(block.timestamp + 6 hours);
        court.timeout(dispute);
        vm.warp(block.timestamp + 1);
        Commitment memory c = commitment(id, AT_RISK);
        bytes memory sig = commitmentSig(NODE_KEY, c);
        uint64 freeAt = uint64(block.timestamp) + 24 hours - 1;
        vm.prank(client);
        vm.expectRevert(abi.encodeWithSelector(ICourt.CoolingDown.selector, freeAt));
        court.challenge(c, sig, secretHash(id));
    }

    // The draw

    function test_Attack_ChallengerChoosesTheDraw() public {
        bytes32 dispute = challenge(commitment(id, AT_RISK));
        vm.prank(node);
        court.join(dispute, ENTROPY);
        vm.expectRevert(ICourt.WrongSecret.selector);
        court.reveal(dispute, keccak256("a secret that draws better"));
    }

    function test_Attack_ProviderChoosesTheDraw() public {
        bytes32 dispute = challenge(commitment(id, AT_RISK));
        vm.startPrank(node);
        court.join(dispute, ENTROPY);
        vm.expectRevert(ICourt.NotNow.selector);
        court.join(dispute, keccak256("entropy that draws better"));
        vm.stopPrank();
    }

    function test_Attack_JoinByOthers() public {
        bytes32 dispute = challenge(commitment(id, AT_RISK));
        address[3] memory others = [client, payer, stranger];
        for (uint256 i = 0; i < others.length; ++i) {
            vm.prank(others[i]);
            vm.expectRevert(ICourt.NotAllowed.selector);
            court.join(dispute, ENTROPY); // the challenger would be both sides of the draw
        }
    }

    function test_Attack_SecretOfAnotherChannel() public {
        bytes32 dispute;
        Commitment memory c = commitment(id, AT_RISK);
        bytes memory sig = commitmentSig(NODE_KEY, c);
        vm.prank(client);
        dispute = court.challenge(c, sig, secretHash(bytes32("other")));
        vm.prank(node);
        court.join(dispute, ENTROPY);
        vm.expectRevert(ICourt.WrongSecret.selector);
        court.reveal(dispute, SECRET);
    }

    function testFuzz_BothSidesMoveTheDraw(bytes32 secret, bytes32 other, bytes32 entropy) public pure {
        vm.assume(secret != other);
        bytes32 first = keccak256(abi.encode(secret, entropy, bytes32("id")));
        bytes32 second = keccak256(abi.encode(other, entropy, bytes32("id")));
        assertTrue(drawn(first, 0, type(uint64).max) != drawn(second, 0, type(uint64).max));
    }

    // Answers that are none

    function _revealed() private returns (bytes32 dispute, Answer memory a, uint64 number) {
        Commitment memory c = commitment(id, AT_RISK);
        dispute = challenge(c);
        joinAndReveal(dispute);
        number = drawn(seedOf(dispute), 0, c.leafCount);
        a = answerOf(number);
    }

    function _refuseAnswer(bytes32 dispute, Answer memory a, bytes4 reason) private {
        if (reason == bytes4(0)) vm.expectRevert();
        else vm.expectRevert(reason);
        court.respond(dispute, 0, a.entry, a.path, a.counts, a.leaf, a.shardPath);
    }

    function test_Attack_AnotherLeafThanTheDrawn() public {
        (bytes32 dispute,, uint64 number) = _revealed();
        (, uint64 sum) = Trees.inventoryRoot(entries);
        for (uint64 other = 0; other < sum; ++other) {
            if (other == number) continue;
            Answer memory a = answerOf(other);
            vm.expectRevert();
            court.respond(dispute, 0, a.entry, a.path, a.counts, a.leaf, a.shardPath);
        }
        assertEq(court.dispute(dispute).answered, 0);
    }

    function test_Attack_DrawAnsweredTwice() public {
        (bytes32 dispute, Answer memory a,) = _revealed();
        respond(dispute, 0);
        for (uint256 i = 0; i < 5; ++i) {
            _refuseAnswer(dispute, a, ICourt.WrongDraw.selector);
        }
        vm.expectRevert(ICourt.WrongDraw.selector);
        court.respond(dispute, 5, a.entry, a.path, a.counts, a.leaf, a.shardPath); // and there is no sixth
        assertEq(court.dispute(dispute).answered, 1);
    }

    function test_Attack_AnswerBeforeTheReveal() public {
        bytes32 dispute = challenge(commitment(id, AT_RISK));
        Answer memory a = answerOf(0);
        _refuseAnswer(dispute, a, ICourt.NotNow.selector);
        vm.prank(node);
        court.join(dispute, ENTROPY);
        _refuseAnswer(dispute, a, ICourt.NotNow.selector);
    }

    /// The provider has kept the tree and thrown the bytes away: it offers a leaf's hash, or a node, where bytes are asked for.
    function test_Attack_HashInPlaceOfBytes() public {
        (bytes32 dispute, Answer memory a,) = _revealed();
        bytes memory kept = a.leaf;
        a.leaf = bytes.concat(Trees.leafHash(a.leaf, 0));
        _refuseAnswer(dispute, a, kept.length == 32 ? ICourt.WrongLeaf.selector : MerkleLib.WrongLeafLength.selector);
    }

    function test_Attack_FlippedBitInTheLeafOrAPath() public {
        (bytes32 dispute, Answer memory a,) = _revealed();
        a.leaf[0] = a.leaf[0] ^ 0x01;
        _refuseAnswer(dispute, a, ICourt.WrongLeaf.selector);
        a.leaf[0] = a.leaf[0] ^ 0x01;
        if (a.shardPath.length != 0) {
            a.shardPath[0] ^= bytes32(uint256(1));
            _refuseAnswer(dispute, a, ICourt.WrongLeaf.selector);
            a.shardPath[0] ^= bytes32(uint256(1));
        }
        a.path[0].siblingHash ^= bytes32(uint256(1));
        _refuseAnswer(dispute, a, InventoryLib.WrongInventoryPath.selector);
    }

    function test_Attack_ShortOrLongLeaf() public {
        (bytes32 dispute, Answer memory a,) = _revealed();
        bytes memory leaf = a.leaf;
        a.leaf = bytes.concat(leaf, hex"00");
        _refuseAnswer(dispute, a, MerkleLib.WrongLeafLength.selector);
        a.leaf = "";
        _refuseAnswer(dispute, a, MerkleLib.WrongLeafLength.selector);
    }

    function test_Attack_InventedEntry() public {
        (bytes32 dispute, Answer memory a,) = _revealed();
        // A shard that the provider makes up on the spot, with everything else in order.
        bytes memory made = Trees.sample(a.entry.byteLen, 99);
        a.entry.shardRoot = Trees.shardRoot(made);
        _refuseAnswer(dispute, a, bytes4(0));
    }

    function test_Attack_SumsShiftedToMoveTheDraw() public {
        (bytes32 dispute, Answer memory a,) = _revealed();
        a.path[0].siblingSum += 1;
        _refuseAnswer(dispute, a, InventoryLib.WrongInventoryPath.selector);
        a.path[0].siblingSum = type(uint64).max; // beyond 64 bits
        _refuseAnswer(dispute, a, bytes4(0));
    }

    function test_Attack_CountsOfAnotherInventory() public {
        (bytes32 dispute, Answer memory a,) = _revealed();
        a.counts.entryCount += 1;
        _refuseAnswer(dispute, a, InventoryLib.WrongInventoryPath.selector);
        a.counts.entryCount -= 1;
        a.counts.byteSum += 1;
        _refuseAnswer(dispute, a, InventoryLib.WrongInventoryPath.selector);
    }

    // Releases that are none

    struct Defence {
        bytes32 dispute;
        Answer answer;
        Release release;
        bytes sig;
        uint64 index;
        bytes32[] path;
    }

    function _defence() private returns (Defence memory d) {
        uint64 number;
        (d.dispute, d.answer, number) = _revealed();
        bytes32[] memory roots = new bytes32[](entries.length);
        for (uint256 i = 0; i < roots.length; ++i) {
            roots[i] = entries[i].shardRoot;
        }
        (uint256 at,) = Trees.find(entries, number);
        d.release = Release(id, Trees.releaseRoot(roots), uint64(roots.length), uint64(block.timestamp));
        d.sig = releaseSig(CLIENT_KEY, d.release);
        (d.index, d.path) = (uint64(at), Trees.releasePath(roots, at));
    }

    function _refuseDefence(Defence memory d, bytes4 reason) private {
        Answer memory a = d.answer;
        vm.expectRevert(reason);
        court.respondReleased(d.dispute, 0, a.entry, a.path, a.counts, d.release, d.sig, d.index, d.path);
    }

    function test_Attack_ReleaseByTheProviderItself() public {
        Defence memory d = _defence();
        d.sig = releaseSig(NODE_KEY, d.release);
        _refuseDefence(d, ICourt.BadSignature.selector);
        d.sig = releaseSig(OWNER_KEY, d.release);
        _refuseDefence(d, ICourt.BadSignature.selector);
    }

    function test_Attack_ReleaseOlderThanTheCommitment() public {
        Defence memory d = _defence();
        d.release.releasedAt = court.dispute(d.dispute).issuedAt - 1; // it was released, and stored again since
        d.sig = releaseSig(CLIENT_KEY, d.release);
        _refuseDefence(d, ICourt.WrongRelease.selector);
    }

    function test_Attack_ReleaseOfAnotherChannel() public {
        Defence memory d = _defence();
        vm.prank(payer);
        d.release.channelId = channels.open(owner, client, DEPOSIT, bytes32("other"));
        d.sig = releaseSig(CLIENT_KEY, d.release);
        _refuseDefence(d, ICourt.WrongRelease.selector);
    }

    function test_Attack_ReleaseOfAnotherShard() public {
        Defence memory d = _defence();
        d.index = (d.index + 1) % 4;
        _refuseDefence(d, ICourt.WrongRelease.selector);
        d.index = 4;
        _refuseDefence(d, MerkleLib.WrongPathLength.selector);
        bytes32[] memory others = new bytes32[](2);
        (others[0], others[1]) = (bytes32("one"), bytes32("two"));
        d.release.shardsRoot = Trees.releaseRoot(others);
        d.release.shardCount = 2;
        d.sig = releaseSig(CLIENT_KEY, d.release);
        (d.index, d.path) = (0, Trees.releasePath(others, 0));
        _refuseDefence(d, ICourt.WrongRelease.selector);
    }

    function test_Attack_ReleaseUsedForADrawOfAnotherShard() public {
        Defence memory d = _defence();
        (, uint64 sum) = Trees.inventoryRoot(entries);
        (uint256 at,) = Trees.find(entries, drawn(seedOf(d.dispute), 0, sum));
        uint64 first = 0; // some leaf of some other shard
        for (uint256 i = 0; i < entries.length && first == 0; ++i) {
            if (i != at && i != 0) {
                for (uint256 j = 0; j < i; ++j) {
                    first += entries[j].leafCount;
                }
            }
        }
        d.answer = answerOf(first);
        _refuseDefence(d, InventoryLib.NotDrawn.selector);
    }

    // Tokens and wiring

    function test_Attack_ReentrancyByToken() public {
        HookToken hooked = new HookToken();
        Channels escrow = new Channels(hooked);
        uint256 nonce = vm.getNonce(address(this));
        Providers registry = new Providers(hooked, vm.computeCreateAddress(address(this), nonce + 1));
        Court bench = new Court(hooked, registry, escrow);
        Reenterer thief = new Reenterer(); // client and payer: bond and restitution go to it
        hooked.mint(address(thief), 1000e18);
        hooked.mint(owner, 1000e18);
        hooked.mint(address(bench), 500e18); // others' bonds
        vm.startPrank(owner);
        hooked.approve(address(registry), type(uint256).max);
        registry.register(keccak256("k"), node, keccak256("o"), 100e18, nodeSignature);
        vm.stopPrank();
        thief.run(address(hooked), abi.encodeCall(hooked.approve, (address(escrow), type(uint256).max)));
        thief.run(address(hooked), abi.encodeCall(hooked.approve, (address(bench), type(uint256).max)));
        bytes memory out = thief.run(address(escrow), abi.encodeCall(escrow.open, (owner, client, 10e18, SALT)));
        bytes32 channel = abi.decode(out, (bytes32));
        Commitment memory c = commitment(channel, 40e18);
        bytes32 typeHash = court.COMMITMENT_TYPEHASH();
        bytes32 hash = keccak256(abi.encode(typeHash, c.channelId, c.inventoryRoot, c.leafCount, c.issuedAt, c.validUntil, c.atRisk));
        bytes memory sig = sign(NODE_KEY, digest("Cairn Court", address(bench), hash));
        thief.run(address(bench), abi.encodeCall(bench.challenge, (c, sig, secretHash(channel))));
        bytes32 dispute = bench.disputeId(channel, 0);
        vm.warp(block.timestamp + 6 hours);
        thief.run(address(hooked), abi.encodeCall(hooked.hook, (address(thief))));
        thief.prepare(address(bench), abi.encodeCall(bench.timeout, (dispute)));
        uint256 before = hooked.balanceOf(address(thief));
        bench.timeout(dispute);
        assertTrue(thief.called());
        assertFalse(thief.succeeded());
        assertEq(bytes4(thief.result()), ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector);
        assertEq(hooked.balanceOf(address(thief)) - before, bench.BOND());
        assertEq(hooked.balanceOf(address(bench)), 500e18);
    }

    function test_Attack_CourtWithStrangeContracts() public {
        vm.expectRevert(ICourt.WrongContracts.selector);
        new Court(token, providers, channels); // another is these providers' court
        HookToken other = new HookToken();
        Channels escrow = new Channels(other);
        address predicted = vm.computeCreateAddress(address(this), vm.getNonce(address(this)) + 1);
        Providers registry = new Providers(token, predicted);
        vm.expectRevert(ICourt.WrongContracts.selector);
        new Court(token, registry, escrow);
        predicted = vm.computeCreateAddress(address(this), vm.getNonce(address(this)) + 1);
        registry = new Providers(other, predicted);
        vm.expectRevert(ICourt.WrongContracts.selector);
        new Court(token, registry, channels);
    }

    /// A dispute's end pays from that dispute's bond, whatever else there is.
    function test_Attack_OneDisputesBondPaysAnothers() public {
        vm.prank(stranger);
        bytes32 other = channels.open(owner, stranger, 1e18, SALT);
        Commitment memory c = commitment(other, 1e18);
        bytes memory sig = commitmentSig(NODE_KEY, c);
        vm.prank(stranger);
        bytes32 second = court.challenge(c, sig, secretHash(other));
        bytes32 first = challenge(commitment(id, AT_RISK));
        vm.warp(block.timestamp + 6 hours);
        court.timeout(first);
        vm.expectRevert(ICourt.NotNow.selector);
        court.timeout(first);
        assertEq(token.balanceOf(address(court)), court.BOND());
        court.timeout(second);
        assertEq(token.balanceOf(address(court)), 0);
    }
}
