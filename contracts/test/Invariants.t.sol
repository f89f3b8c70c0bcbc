// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {Channel, ChannelState} from "../src/types/Channel.sol";
import {Commitment, Dispute, DisputeState} from "../src/types/Dispute.sol";
import {Provider} from "../src/types/Provider.sol";
import {Base} from "./Base.sol";
import {Test} from "forge-std/Test.sol";

/// Clients and providers that do anything they may do, in any order, and some things that they may not. Of the two providers the first
/// is diligent: it joins and answers before time goes on. The second does so only when it is told to.
contract Handler is Base {
    uint256 private constant CHANNELS_MAX = 6;
    uint256[2] private ownerKeys = [OWNER_KEY, uint256(keccak256("careless owner"))];
    uint256[2] private nodeKeys = [NODE_KEY, uint256(keccak256("careless node"))];
    uint256[2] private payerKeys = [PAYER_KEY, STRANGER_KEY];

    bytes32[] public ids;
    bytes32[] public disputes;
    address[2] public owners;
    bytes[] private answers; // encoded, by leaf number

    // What ought to be, counted beside the contracts.
    uint256 public minted;
    uint256 public burned;
    uint256[2] public putIn; // stake, with what was added
    uint256[2] public takenOut; // by unbonding
    uint256[2] public lost; // by slashes
    mapping(bytes32 id => uint256) public settledBefore;
    mapping(bytes32 id => uint256) public restituted;
    mapping(bytes32 what => uint256) public times;

    function setUp() public override {
        super.setUp();
        storeSome();
        uint64 sum = 0;
        for (uint256 i = 0; i < entries.length; ++i) {
            sum += entries[i].leafCount;
        }
        for (uint64 number = 0; number < sum; ++number) {
            answers.push(abi.encode(answerOf(number)));
        }
        owners = [owner, vm.addr(ownerKeys[1])];
        token.mint(owners[1], 100_000e18);
        vm.startPrank(owners[1]);
        token.approve(address(providers), type(uint256).max);
        providers.register(keccak256("careless"), vm.addr(nodeKeys[1]), keccak256("offer"), COLLATERAL, nodeSignature);
        vm.stopPrank();
        putIn = [uint256(COLLATERAL), COLLATERAL];
        ids.push(id);
        minted = token.totalSupply();
    }

    function channelCount() external view returns (uint256) {
        return ids.length;
    }

    function disputeCount() external view returns (uint256) {
        return disputes.length;
    }

    function _did(bytes32 what) private {
        ++times[what];
    }

    function _client(bytes32 channel) private view returns (address) {
        return channels.channel(channel).payer;
    }

    // Channels

    function open(uint256 seed, uint96 deposit) external {
        if (ids.length == CHANNELS_MAX) return;
        deposit = uint96(bound(deposit, 1, 200e18));
        vm.prank(vm.addr(payerKeys[seed % 2]));
        ids.push(channels.open(owners[(seed >> 1) % 2], client, deposit, bytes32(ids.length)));
        _did("open");
    }

    function topUp(uint256 seed, uint96 amount) external {
        bytes32 channel = ids[seed % ids.length];
        if (channels.channel(channel).state != ChannelState.Open) return;
        vm.prank(stranger);
        channels.topUp(channel, uint96(bound(amount, 1, 10e18)));
        _did("topUp");
    }

    function redeem(uint256 seed, uint128 cumulative, bool forged) external {
        bytes32 channel = ids[seed % ids.length];
        cumulative = uint128(bound(cumulative, 0, 300e18));
        bytes memory sig = voucher(forged ? STRANGER_KEY : CLIENT_KEY, channel, cumulative);
        bool strangersOwn = _client(channel) == stranger; // then it is no forgery: a payer may sign
        try channels.redeem(channel, cumulative, sig) {
            assertTrue(!forged || strangersOwn, "a forged voucher was paid");
            _did("redeem");
        } catch {}
        _settled(channel);
    }

    function requestClose(uint256 seed) external {
        bytes32 channel = ids[seed % ids.length];
        vm.prank(client);
        try channels.requestClose(channel) {
            _did("requestClose");
        } catch {}
    }

    function cancelClose(uint256 seed) external {
        bytes32 channel = ids[seed % ids.length];
        vm.prank(_client(channel));
        try channels.cancelClose(channel) {
            _did("cancelClose");
        } catch {}
    }

    function withdraw(uint256 seed) external {
        bytes32 channel = ids[seed % ids.length];
        Channel memory c = channels.channel(channel);
        uint256 before = token.balanceOf(c.payer);
        try channels.withdraw(channel) {
            assertTrue(c.state == ChannelState.Closing && block.timestamp >= c.closesAt, "withdrawn too early");
            assertEq(token.balanceOf(c.payer) - before, c.deposit - c.settled, "not the whole remainder");
            _did("withdraw");
        } catch {
            assertTrue(c.state != ChannelState.Closing || block.timestamp < c.closesAt, "the payer could not get out");
        }
    }

    function closeByPayee(uint256 seed, uint128 cumulative) external {
        if (seed % 4 != 0) return; // or nothing is ever left open
        bytes32 channel = ids[(seed >> 2) % ids.length];
        cumulative = uint128(bound(cumulative, 0, 300e18));
        bytes memory sig = voucher(CLIENT_KEY, channel, cumulative);
        vm.prank(channels.channel(channel).payee);
        try channels.closeByPayee(channel, cumulative, sig) {
            _did("closeByPayee");
        } catch {}
        _settled(channel);
    }

    function _settled(bytes32 channel) private {
        uint256 settled = channels.channel(channel).settled;
        assertGe(settled, settledBefore[channel], "settled went down");
        settledBefore[channel] = settled;
    }

    // Providers

    function addCollateral(uint256 who, uint96 amount) external {
        amount = uint96(bound(amount, 1, 100e18));
        vm.prank(owners[who % 2]);
        providers.addCollateral(amount);
        putIn[who % 2] += amount;
        _did("addCollateral");
    }

    function beginUnbond(uint256 who, uint128 amount) external {
        address by = owners[who % 2];
        uint128 collateral = providers.provider(by).collateral;
        if (collateral == 0) return;
        vm.prank(by);
        providers.beginUnbond(uint128(bound(amount, 1, collateral / 4 + 1)));
        _did("beginUnbond");
    }

    function finishUnbond(uint256 who) external {
        address by = owners[who % 2];
        uint256 before = token.balanceOf(by);
        Provider memory p = providers.provider(by);
        vm.prank(by);
        try providers.finishUnbond() {
            uint256 got = token.balanceOf(by) - before;
            assertGe(block.timestamp, p.unbondAt, "unbonded too early");
            assertLe(got, p.unbonding, "more than was unbonding");
            assertGe(uint256(p.collateral) + p.unbonding - got, p.locked, "claimed stake has left");
            takenOut[who % 2] += got;
            _did("finishUnbond");
        } catch {}
    }

    function rotateSigner(uint256 who) external {
        uint256 key = uint256(keccak256(abi.encode("rotated", nodeKeys[who % 2])));
        vm.prank(owners[who % 2]);
        providers.setSigner(vm.addr(key), nodeSignature);
        nodeKeys[who % 2] = key;
        _did("rotateSigner");
    }

    // Disputes

    function challenge(uint256 seed, uint128 atRisk) external {
        bytes32 channel = ids[seed % ids.length];
        Commitment memory c = commitment(channel, uint128(bound(atRisk, 0, 2 * COLLATERAL)));
        uint256 key = nodeKeys[channels.channel(channel).payee == owners[0] ? 0 : 1];
        bytes memory sig = commitmentSig(key, c);
        vm.prank(client);
        try court.challenge(c, sig, secretHash(channel)) returns (bytes32 dispute) {
            disputes.push(dispute);
            _did("challenge");
        } catch {}
    }

    function join(uint256 seed) external {
        if (disputes.length != 0) _join(_recent(seed));
    }

    function reveal(uint256 seed) external {
        if (disputes.length == 0) return;
        try court.reveal(_recent(seed), SECRET) {
            _did("reveal");
        } catch {}
    }

    function respond(uint256 seed, uint8 i) external {
        if (disputes.length != 0) _respond(_recent(seed), i % 5);
    }

    function timeout(uint256 seed) external {
        if (disputes.length != 0) _timeout(_recent(seed));
    }

    /// One channel has one open dispute, so older ones are long over.
    function _recent(uint256 seed) private view returns (bytes32) {
        uint256 span = disputes.length < CHANNELS_MAX ? disputes.length : CHANNELS_MAX;
        return disputes[disputes.length - 1 - seed % span];
    }

    function _join(bytes32 dispute) private {
        vm.prank(court.dispute(dispute).provider);
        try court.join(dispute, ENTROPY) {
            _did("join");
        } catch {}
    }

    function _respond(bytes32 dispute, uint8 i) private {
        Dispute memory d = court.dispute(dispute);
        if (d.state != DisputeState.Revealed) return;
        Answer memory a = abi.decode(answers[court.drawn(dispute, i)], (Answer));
        try court.respond(dispute, i, a.entry, a.path, a.counts, a.leaf, a.shardPath) {
            _did("respond");
        } catch {
            assertTrue(d.answered & (1 << i) != 0 || block.timestamp >= d.deadline, "a good answer was refused");
        }
    }

    function _timeout(bytes32 dispute) private {
        Dispute memory d = court.dispute(dispute);
        uint256 stake = stakeOf(d.provider);
        uint256 supply = token.totalSupply();
        uint256 back = court.docket(d.channelId).restituted;
        try court.timeout(dispute) {
            uint256 slashed = stake - stakeOf(d.provider);
            if (d.state == DisputeState.Joined) {
                assertEq(slashed, 0, "slashed for the challenger's silence");
            } else {
                assertEq(slashed, d.locked < stake ? d.locked : stake, "not what was at risk");
                lost[d.provider == owners[0] ? 0 : 1] += slashed;
            }
            restituted[d.channelId] += court.docket(d.channelId).restituted - back;
            assertGe(supply - token.totalSupply(), (slashed + 1) / 2, "less than the half was burned");
            burned += supply - token.totalSupply();
            _did(d.state == DisputeState.Joined ? bytes32("unrevealed") : bytes32("upheld"));
        } catch {
            bool open_ = d.state == DisputeState.Challenged || d.state == DisputeState.Joined || d.state == DisputeState.Revealed;
            assertTrue(!open_ || block.timestamp < d.deadline, "a dispute could not be ended");
        }
    }

    // Time

    /// The diligent provider acts first, so no deadline of its finds it silent.
    function warp(uint256 seconds_) external {
        uint256 first = disputes.length > CHANNELS_MAX ? disputes.length - CHANNELS_MAX : 0;
        for (uint256 i = first; i < disputes.length; ++i) {
            if (court.dispute(disputes[i]).provider != owners[0]) continue;
            _join(disputes[i]);
            for (uint8 draw = 0; draw < 5; ++draw) {
                _respond(disputes[i], draw);
            }
        }
        vm.warp(block.timestamp + bound(seconds_, 1, seconds_ % 8 == 0 ? 15 days : 13 hours));
        _did("warp");
    }

    /// Everybody leaves, in an order of chance, and nobody has to wait for another.
    function everybodyLeaves(uint256 seed) external {
        this.warp(12 hours);
        for (uint256 i = 0; i < disputes.length; ++i) {
            _timeout(disputes[(i + seed) % disputes.length]);
        }
        this.warp(24 hours);
        for (uint256 i = 0; i < disputes.length; ++i) {
            _timeout(disputes[(i + seed) % disputes.length]);
        }
        for (uint256 i = 0; i < ids.length; ++i) {
            if (channels.channel(ids[i]).state != ChannelState.Open) continue;
            vm.prank(client);
            channels.requestClose(ids[i]);
        }
        for (uint256 i = 0; i < 2; ++i) {
            uint128 collateral = providers.provider(owners[i]).collateral;
            if (collateral == 0) continue;
            vm.prank(owners[i]);
            providers.beginUnbond(collateral);
        }
        vm.warp(block.timestamp + 14 days);
        for (uint256 i = 0; i < ids.length; ++i) {
            bytes32 channel = ids[(i + seed) % ids.length];
            if (channels.channel(channel).state == ChannelState.Closing) channels.withdraw(channel);
        }
        for (uint256 i = 0; i < 2; ++i) {
            address by = owners[(i + seed) % 2];
            if (stakeOf(by) == 0) continue;
            uint256 before = token.balanceOf(by);
            vm.prank(by);
            providers.finishUnbond();
            takenOut[by == owners[0] ? 0 : 1] += token.balanceOf(by) - before;
        }
    }

    // What must hold at all times

    function checkSolvency() external view {
        uint256 escrow = 0;
        for (uint256 i = 0; i < ids.length; ++i) {
            Channel memory c = channels.channel(ids[i]);
            assertLe(c.settled, c.deposit, "settled beyond the deposit");
            if (c.state != ChannelState.Closed) escrow += c.deposit - c.settled;
        }
        assertEq(token.balanceOf(address(channels)), escrow, "escrow");
        assertEq(token.balanceOf(address(providers)), stakeOf(owners[0]) + stakeOf(owners[1]), "stake");
        uint256 bonds = 0;
        for (uint256 i = 0; i < disputes.length; ++i) {
            if (_isOpen(disputes[i])) bonds += court.BOND();
        }
        assertEq(token.balanceOf(address(court)), bonds, "bonds");
    }

    function checkConservation() external view {
        uint256 all = token.balanceOf(address(channels)) + token.balanceOf(address(providers)) + token.balanceOf(address(court));
        address[5] memory people = [payer, client, stranger, owners[0], owners[1]];
        for (uint256 i = 0; i < people.length; ++i) {
            all += token.balanceOf(people[i]);
        }
        assertEq(all, token.totalSupply(), "credits have gone astray");
        assertEq(token.totalSupply() + burned, minted, "burned");
    }

    function checkStakes() external view {
        assertEq(lost[0], 0, "an answering provider lost stake");
        for (uint256 who = 0; who < 2; ++who) {
            assertEq(stakeOf(owners[who]) + takenOut[who] + lost[who], putIn[who], "stake");
            uint256 claimed = 0;
            for (uint256 i = 0; i < disputes.length; ++i) {
                if (_isOpen(disputes[i]) && court.dispute(disputes[i]).provider == owners[who]) {
                    claimed += court.dispute(disputes[i]).locked;
                }
            }
            assertEq(providers.provider(owners[who]).locked, claimed, "claims");
        }
    }

    function checkDisputes() external view {
        for (uint256 i = 0; i < ids.length; ++i) {
            uint256 open_ = 0;
            for (uint256 j = 0; j < disputes.length; ++j) {
                if (_isOpen(disputes[j]) && court.dispute(disputes[j]).channelId == ids[i]) ++open_;
            }
            assertLe(open_, 1, "two disputes on one channel");
            assertEq(court.docket(ids[i]).open, open_ == 1, "docket");
            assertLe(restituted[ids[i]], channels.channel(ids[i]).settled, "restitution beyond what was paid");
        }
    }

    function checkEmpty() external view {
        assertEq(token.balanceOf(address(channels)), 0, "left in the escrow");
        assertEq(token.balanceOf(address(providers)), 0, "left of the stakes");
        assertEq(token.balanceOf(address(court)), 0, "left of the bonds");
    }

    function _isOpen(bytes32 dispute) private view returns (bool) {
        DisputeState state = court.dispute(dispute).state;
        return state == DisputeState.Challenged || state == DisputeState.Joined || state == DisputeState.Revealed;
    }
}

contract InvariantsTest is Test {
    Handler private handler;
    bytes4[] private selectors;

    function setUp() public {
        handler = new Handler();
        handler.setUp();
        selectors.push(Handler.open.selector);
        selectors.push(Handler.topUp.selector);
        selectors.push(Handler.redeem.selector);
        selectors.push(Handler.requestClose.selector);
        selectors.push(Handler.cancelClose.selector);
        selectors.push(Handler.withdraw.selector);
        selectors.push(Handler.closeByPayee.selector);
        selectors.push(Handler.addCollateral.selector);
        selectors.push(Handler.beginUnbond.selector);
        selectors.push(Handler.finishUnbond.selector);
        selectors.push(Handler.rotateSigner.selector);
        selectors.push(Handler.challenge.selector);
        selectors.push(Handler.join.selector);
        selectors.push(Handler.reveal.selector);
        selectors.push(Handler.respond.selector);
        selectors.push(Handler.timeout.selector);
        selectors.push(Handler.warp.selector);
        selectors.push(Handler.challenge.selector); // disputes are what takes the most steps
        selectors.push(Handler.warp.selector);
        selectors.push(Handler.reveal.selector);
        targetSelector(FuzzSelector(address(handler), selectors));
        targetContract(address(handler));
    }

    /// One function, so that one campaign serves all: each check names what it finds broken.
    function invariant_MoneyAndDisputes() public view {
        handler.checkSolvency();
        handler.checkConservation();
        handler.checkStakes();
        handler.checkDisputes();
    }

    /// After each run: all get out what is theirs, whatever state the others are in.
    function afterInvariant() public {
        handler.everybodyLeaves(uint256(keccak256(abi.encode(block.timestamp))));
        handler.checkEmpty();
        handler.checkConservation();
        handler.checkStakes();
    }

    /// The campaign is worth something only if its steps succeed: a fixed walk gets everywhere.
    function test_WalkReachesEverything() public {
        for (uint256 i = 0; i < 1500; ++i) {
            uint256 word = uint256(keccak256(abi.encode("walk", i)));
            bytes4 selector = selectors[word % selectors.length];
            bytes memory rest = abi.encode(uint256(keccak256(abi.encode(word, 1))), uint256(uint80(word >> 64)), word >> 255);
            (bool ok,) = address(handler)
                .call(abi.encodePacked(selector, selector == Handler.respond.selector ? abi.encode(word >> 8, word >> 253) : rest));
            assertTrue(ok);
        }
        bytes32[15] memory all = [
            bytes32("open"),
            "topUp",
            "redeem",
            "requestClose",
            "cancelClose",
            "withdraw",
            "closeByPayee",
            "beginUnbond",
            "finishUnbond",
            "rotateSigner",
            "challenge",
            "reveal",
            "respond",
            "upheld",
            "unrevealed"
        ];
        for (uint256 i = 0; i < all.length; ++i) {
            assertGt(handler.times(all[i]), 0, string(abi.encodePacked(all[i])));
        }
        this.invariant_MoneyAndDisputes();
        this.afterInvariant();
    }
}
