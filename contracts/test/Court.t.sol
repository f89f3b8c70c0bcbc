// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {ICourt} from "../src/ICourt.sol";
import {IProviders} from "../src/IProviders.sol";
import {Commitment, Dispute, DisputeState, Docket, Release} from "../src/types/Dispute.sol";
import {Base} from "./Base.sol";
import {Trees} from "./independent/Trees.sol";

/// The course of a dispute and its deadlines. What attackers try: CourtAttacks.t.sol.
contract CourtTest is Base {
    uint128 private constant AT_RISK = 50e18;
    uint128 private bond;

    function setUp() public override {
        super.setUp();
        storeSome();
        bond = court.BOND();
    }

    function _state(bytes32 dispute) private view returns (DisputeState) {
        return court.dispute(dispute).state;
    }

    function test_ChallengeOpensLocksAndTakesTheBond() public {
        Commitment memory c = commitment(id, AT_RISK);
        bytes memory sig = commitmentSig(NODE_KEY, c);
        bytes32 expected = keccak256(abi.encode(id, uint256(0)));
        uint256 before = token.balanceOf(client);
        vm.expectEmit(address(court));
        emit ICourt.Challenged(
            expected,
            id,
            owner,
            client,
            c.inventoryRoot,
            c.leafCount,
            c.issuedAt,
            AT_RISK,
            secretHash(id),
            uint64(block.timestamp) + 6 hours
        );
        vm.prank(client);
        bytes32 dispute = court.challenge(c, sig, secretHash(id));
        assertEq(dispute, expected);
        assertEq(before - token.balanceOf(client), bond);
        assertEq(providers.provider(owner).locked, AT_RISK);
        Dispute memory d = court.dispute(dispute);
        assertEq(d.channelId, id);
        assertEq(d.inventoryRoot, c.inventoryRoot);
        assertEq(d.secretHash, secretHash(id));
        assertEq(d.challenger, client);
        assertEq(d.provider, owner);
        assertEq(d.leafCount, c.leafCount);
        assertEq(d.locked, AT_RISK);
        assertEq(d.issuedAt, c.issuedAt);
        assertEq(d.deadline, block.timestamp + 6 hours);
        assertTrue(d.state == DisputeState.Challenged);
        assertTrue(court.docket(id).open);
    }

    function test_PayerMayChallenge() public {
        Commitment memory c = commitment(id, AT_RISK);
        bytes memory sig = commitmentSig(NODE_KEY, c);
        vm.prank(payer);
        assertEq(court.dispute(court.challenge(c, sig, secretHash(id))).challenger, payer);
    }

    function test_AnsweredInFullIsDismissedAndPaysTheBond() public {
        bytes32 dispute = challenge(commitment(id, AT_RISK));
        joinAndReveal(dispute);
        assertEq(court.dispute(dispute).seed, seedOf(dispute));
        uint256 before = token.balanceOf(owner);
        for (uint8 i = 4; i > 0; --i) {
            vm.expectEmit(address(court));
            emit ICourt.Answered(dispute, i, false);
            respond(dispute, i);
        }
        assertTrue(_state(dispute) == DisputeState.Revealed);
        vm.expectEmit(address(court));
        emit ICourt.Dismissed(dispute, id, owner);
        respond(dispute, 0);
        assertTrue(_state(dispute) == DisputeState.Dismissed);
        assertEq(token.balanceOf(owner) - before, bond);
        assertEq(providers.provider(owner).locked, 0);
        assertEq(stakeOf(owner), COLLATERAL);
        Docket memory docket = court.docket(id);
        assertFalse(docket.open);
        assertEq(docket.freeAt, block.timestamp + 24 hours);
        assertEq(docket.upheldAt, 0);
        assertEq(docket.count, 1);
    }

    function test_DrawnIsWhatIsAsked() public {
        bytes32 dispute = challenge(commitment(id, AT_RISK));
        vm.expectRevert(ICourt.WrongDraw.selector);
        court.drawn(dispute, 0);
        joinAndReveal(dispute);
        (, uint64 sum) = Trees.inventoryRoot(entries);
        for (uint8 i = 0; i < 5; ++i) {
            assertEq(court.drawn(dispute, i), drawn(seedOf(dispute), i, sum));
        }
        vm.expectRevert(ICourt.WrongDraw.selector);
        court.drawn(dispute, 5);
    }

    function test_OwnerMayJoinAndAnybodyMayRevealAndAnswer() public {
        bytes32 dispute = challenge(commitment(id, AT_RISK));
        vm.expectEmit(address(court));
        emit ICourt.Joined(dispute, ENTROPY, uint64(block.timestamp) + 6 hours);
        vm.prank(owner);
        court.join(dispute, ENTROPY);
        vm.expectEmit(address(court));
        emit ICourt.Revealed(dispute, seedOf(dispute), uint64(block.timestamp) + 12 hours);
        vm.startPrank(stranger);
        court.reveal(dispute, SECRET);
        respondAll(dispute);
        assertTrue(_state(dispute) == DisputeState.Dismissed);
    }

    // Silence

    function _upheld(bytes32 dispute, uint128 slashed, uint128 restituted) private {
        (uint256 payerBefore, uint256 clientBefore) = (token.balanceOf(payer), token.balanceOf(client));
        uint256 supply = token.totalSupply();
        vm.expectEmit(address(court));
        emit ICourt.Upheld(dispute, id, owner, slashed, restituted);
        vm.prank(stranger);
        court.timeout(dispute);
        assertTrue(_state(dispute) == DisputeState.Upheld);
        assertEq(token.balanceOf(payer) - payerBefore, restituted);
        assertEq(token.balanceOf(client) - clientBefore, bond);
        assertEq(supply - token.totalSupply(), slashed - restituted);
        assertEq(stakeOf(owner), COLLATERAL - slashed);
        assertEq(providers.provider(owner).locked, 0);
        assertEq(court.docket(id).restituted, restituted);
        assertEq(court.docket(id).upheldAt, block.timestamp);
        assertEq(token.balanceOf(address(court)), 0);
    }

    function test_ProviderThatDoesNotJoinIsSlashed() public {
        pay(8e18);
        bytes32 dispute = challenge(commitment(id, AT_RISK));
        vm.warp(block.timestamp + 6 hours - 1);
        vm.expectRevert(ICourt.TooEarly.selector);
        court.timeout(dispute);
        vm.warp(block.timestamp + 1);
        vm.prank(node);
        vm.expectRevert(ICourt.NotNow.selector); // at the deadline is too late
        court.join(dispute, ENTROPY);
        _upheld(dispute, AT_RISK, 8e18);
    }

    function test_ProviderThatLeavesOneDrawUnansweredIsSlashed() public {
        pay(DEPOSIT);
        bytes32 dispute = challenge(commitment(id, AT_RISK));
        joinAndReveal(dispute);
        for (uint8 i = 0; i < 4; ++i) {
            respond(dispute, i);
        }
        vm.warp(block.timestamp + 12 hours - 1);
        vm.expectRevert(ICourt.TooEarly.selector);
        court.timeout(dispute);
        vm.warp(block.timestamp + 1);
        (, uint64 sum) = Trees.inventoryRoot(entries);
        Answer memory a = answerOf(drawn(seedOf(dispute), 4, sum));
        vm.expectRevert(ICourt.NotNow.selector);
        court.respond(dispute, 4, a.entry, a.path, a.counts, a.leaf, a.shardPath);
        _upheld(dispute, AT_RISK, AT_RISK / 2);
    }

    function test_LastSecondAnswersCount() public {
        bytes32 dispute = challenge(commitment(id, AT_RISK));
        vm.warp(block.timestamp + 6 hours - 1);
        vm.prank(node);
        court.join(dispute, ENTROPY);
        vm.warp(block.timestamp + 6 hours - 1);
        court.reveal(dispute, SECRET);
        vm.warp(block.timestamp + 12 hours - 1);
        respondAll(dispute);
        assertTrue(_state(dispute) == DisputeState.Dismissed);
    }

    function test_ChallengerThatDoesNotRevealLosesItsBond() public {
        bytes32 dispute = challenge(commitment(id, AT_RISK));
        vm.prank(node);
        court.join(dispute, ENTROPY);
        vm.warp(block.timestamp + 6 hours - 1);
        vm.expectRevert(ICourt.TooEarly.selector);
        court.timeout(dispute);
        vm.warp(block.timestamp + 1);
        vm.expectRevert(ICourt.NotNow.selector);
        court.reveal(dispute, SECRET);
        uint256 before = token.balanceOf(owner);
        vm.expectEmit(address(court));
        emit ICourt.Dismissed(dispute, id, owner);
        court.timeout(dispute);
        assertEq(token.balanceOf(owner) - before, bond);
        assertEq(stakeOf(owner), COLLATERAL);
        assertEq(providers.provider(owner).locked, 0);
    }

    function test_EndedDisputesStayEnded() public {
        bytes32 dispute = challenge(commitment(id, AT_RISK));
        vm.expectRevert(ICourt.NotNow.selector);
        court.reveal(dispute, SECRET); // before the provider has joined
        joinAndReveal(dispute);
        vm.prank(node);
        vm.expectRevert(ICourt.NotNow.selector);
        court.join(dispute, ENTROPY);
        respondAll(dispute);
        vm.warp(block.timestamp + 30 days);
        vm.expectRevert(ICourt.NotNow.selector);
        court.timeout(dispute);
        vm.expectRevert(ICourt.NotNow.selector);
        court.timeout(bytes32("none"));
    }

    // Release

    function _release() private view returns (Release memory r, bytes32[] memory roots) {
        roots = new bytes32[](entries.length);
        for (uint256 i = 0; i < roots.length; ++i) {
            roots[i] = entries[i].shardRoot;
        }
        r = Release(id, Trees.releaseRoot(roots), uint64(roots.length), uint64(block.timestamp));
    }

    function _respondReleased(bytes32 dispute, uint8 i, Release memory r, bytes memory sig, bytes32[] memory roots) private {
        uint64 number = drawn(seedOf(dispute), i, court.dispute(dispute).leafCount);
        Answer memory a = answerOf(number);
        (uint256 at,) = Trees.find(entries, number);
        bytes32[] memory path = Trees.releasePath(roots, at);
        vm.expectEmit(address(court));
        emit ICourt.Answered(dispute, i, true);
        court.respondReleased(dispute, i, a.entry, a.path, a.counts, r, sig, uint64(at), path);
    }

    function test_ReleaseIsACompleteDefence() public {
        Commitment memory c = commitment(id, AT_RISK);
        vm.warp(block.timestamp + 1 hours);
        (Release memory r, bytes32[] memory roots) = _release();
        bytes memory sig = releaseSig(CLIENT_KEY, r);
        bytes32 dispute = challenge(c);
        joinAndReveal(dispute);
        for (uint8 i = 0; i < 5; ++i) {
            _respondReleased(dispute, i, r, sig, roots);
        }
        assertTrue(_state(dispute) == DisputeState.Dismissed);
        assertEq(stakeOf(owner), COLLATERAL);
    }

    function test_ReleaseOfTheSameSecondCounts() public {
        Commitment memory c = commitment(id, AT_RISK);
        (Release memory r, bytes32[] memory roots) = _release();
        bytes memory sig = releaseSig(PAYER_KEY, r); // and the payer may sign it
        bytes32 dispute = challenge(c);
        joinAndReveal(dispute);
        _respondReleased(dispute, 0, r, sig, roots);
        assertEq(court.dispute(dispute).answered, 1);
    }

    // Properties

    function testFuzz_AnyInventoryIsAnswered(uint16[6] memory lens, bytes32 secret, bytes32 entropy) public {
        uint256[] memory chosen = new uint256[](6);
        for (uint256 i = 0; i < 6; ++i) {
            chosen[i] = bound(lens[i], 1, 3000);
        }
        store(chosen);
        Commitment memory c = commitment(id, AT_RISK);
        bytes memory sig = commitmentSig(NODE_KEY, c);
        vm.prank(client);
        bytes32 dispute = court.challenge(c, sig, keccak256(abi.encode(secret, id)));
        vm.prank(node);
        court.join(dispute, entropy);
        court.reveal(dispute, secret);
        bytes32 seed = keccak256(abi.encode(secret, entropy, dispute));
        for (uint8 i = 0; i < 5; ++i) {
            Answer memory a = answerOf(drawn(seed, i, c.leafCount));
            court.respond(dispute, i, a.entry, a.path, a.counts, a.leaf, a.shardPath);
        }
        assertTrue(_state(dispute) == DisputeState.Dismissed);
        assertEq(stakeOf(owner), COLLATERAL);
    }

    function testFuzz_SlashIsBounded(uint128 atRisk, uint128 paid) public {
        atRisk = uint128(bound(atRisk, 1, type(uint128).max));
        paid = uint128(bound(paid, 1, 2 * DEPOSIT));
        pay(paid);
        uint128 settled = paid < DEPOSIT ? paid : DEPOSIT;
        uint128 slashed = atRisk < COLLATERAL ? atRisk : COLLATERAL;
        bytes32 dispute = challenge(commitment(id, atRisk));
        vm.warp(block.timestamp + 6 hours);
        _upheld(dispute, slashed, settled < slashed / 2 ? settled : slashed / 2);
    }

    function test_DigestsAreThoseOfTheTypes() public view {
        (, string memory name, string memory version,, address at,,) = court.eip712Domain();
        assertEq(name, "Cairn Court");
        assertEq(version, "1");
        assertEq(at, address(court));
    }
}
