// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {IChannels} from "../src/IChannels.sol";
import {Channel, ChannelState, Claim, Mandate} from "../src/types/Channel.sol";
import {Base} from "./Base.sol";
import {Wallet} from "./hostile/Wallets.sol";

/// What channels do for those who use them as meant. What they do against the others: ChannelsAttacks.t.sol.
contract ChannelsTest is Base {
    function test_OpenedChannelIsShown() public view {
        Channel memory c = channels.channel(id);
        assertEq(c.payer, payer);
        assertEq(c.payee, owner);
        assertEq(c.signer, client);
        assertEq(c.deposit, DEPOSIT);
        assertEq(c.settled, 0);
        assertEq(c.closesAt, 0);
        assertTrue(c.state == ChannelState.Open);
        assertEq(token.balanceOf(address(channels)), DEPOSIT);
    }

    function test_IdIsTheHashOfTheParameters() public view {
        bytes32 expected = keccak256(abi.encode(payer, owner, client, SALT, address(channels), block.chainid));
        assertEq(id, expected);
        assertEq(channels.channelId(payer, owner, client, SALT), expected);
    }

    function test_OpenEmits() public {
        bytes32 expected = channels.channelId(payer, owner, client, bytes32("other"));
        vm.expectEmit(address(channels));
        emit IChannels.Opened(expected, payer, owner, client, 5, bytes32("other"));
        vm.prank(payer);
        channels.open(owner, client, 5, bytes32("other"));
    }

    function test_OpenRefusesZeros() public {
        vm.startPrank(payer);
        vm.expectRevert(IChannels.ZeroAddress.selector);
        channels.open(address(0), client, 1, SALT);
        vm.expectRevert(IChannels.ZeroAddress.selector);
        channels.open(owner, address(0), 1, SALT);
        vm.expectRevert(IChannels.ZeroAmount.selector);
        channels.open(owner, client, 0, bytes32("other"));
    }

    function test_OpenRefusesWhatDoesNotFit() public {
        vm.prank(payer);
        vm.expectRevert(IChannels.DepositTooLarge.selector);
        channels.open(owner, client, uint128(type(uint96).max) + 1, bytes32("other"));
    }

    function test_OpenWithPermitNeedsNoApproval() public {
        vm.prank(payer);
        token.approve(address(channels), 0);
        (uint8 v, bytes32 r, bytes32 s) = permitSig(PAYER_KEY, address(channels), 7e18);
        vm.prank(payer);
        bytes32 other = channels.openWithPermit(owner, client, 7e18, bytes32("other"), type(uint256).max, v, r, s);
        assertEq(channels.channel(other).deposit, 7e18);
        assertEq(token.allowance(payer, address(channels)), 0);
    }

    function test_TopUpByAnybodyRaisesTheDeposit() public {
        vm.expectEmit(address(channels));
        emit IChannels.ToppedUp(id, 5e18, DEPOSIT + 5e18);
        vm.prank(stranger);
        channels.topUp(id, 5e18);
        assertEq(channels.channel(id).deposit, DEPOSIT + 5e18);
        vm.startPrank(stranger);
        vm.expectRevert(IChannels.ZeroAmount.selector);
        channels.topUp(id, 0);
        vm.expectRevert(IChannels.DepositTooLarge.selector);
        channels.topUp(id, type(uint96).max);
        vm.expectRevert(IChannels.NoChannel.selector);
        channels.topUp(bytes32("none"), 1);
    }

    function test_RedeemPaysTheDifference() public {
        uint256 before = token.balanceOf(owner);
        vm.expectEmit(address(channels));
        emit IChannels.Redeemed(id, 30e18, 30e18);
        pay(30e18);
        vm.expectEmit(address(channels));
        emit IChannels.Redeemed(id, 15e18, 45e18);
        pay(45e18);
        assertEq(token.balanceOf(owner) - before, 45e18);
        assertEq(channels.channel(id).settled, 45e18);
    }

    function test_PayerMaySignVouchersToo() public {
        channels.redeem(id, 1e18, voucher(PAYER_KEY, id, 1e18));
        assertEq(channels.channel(id).settled, 1e18);
    }

    function test_WalletContractMayBePayer() public {
        Wallet wallet = new Wallet(payer);
        token.mint(address(wallet), 50e18);
        wallet.run(address(token), abi.encodeCall(token.approve, (address(channels), 50e18)));
        bytes memory out = wallet.run(address(channels), abi.encodeCall(channels.open, (owner, client, 50e18, SALT)));
        bytes32 channel = abi.decode(out, (bytes32));
        channels.redeem(channel, 2e18, voucher(PAYER_KEY, channel, 2e18)); // ERC-1271
        channels.redeem(channel, 3e18, voucher(CLIENT_KEY, channel, 3e18)); // the session signer
        assertEq(channels.channel(channel).settled, 3e18);
        bytes memory sig = voucher(STRANGER_KEY, channel, 4e18);
        vm.expectRevert(IChannels.BadSignature.selector);
        channels.redeem(channel, 4e18, sig);
    }

    function test_RedeemManyPaysTheGoodOnes() public {
        vm.prank(payer);
        bytes32 other = channels.open(stranger, client, DEPOSIT, SALT);
        Claim[] memory claims = new Claim[](6);
        claims[0] = Claim(id, 10e18, voucher(CLIENT_KEY, id, 10e18));
        claims[1] = Claim(bytes32("none"), 10e18, voucher(CLIENT_KEY, id, 10e18)); // no such channel
        claims[2] = Claim(id, 9e18, voucher(CLIENT_KEY, id, 9e18)); // nothing due
        claims[3] = Claim(id, 20e18, voucher(STRANGER_KEY, id, 20e18)); // not the client's
        claims[4] = Claim(id, 20e18, hex"00"); // no signature at all
        claims[5] = Claim(other, 500e18, voucher(CLIENT_KEY, other, 500e18)); // beyond the deposit
        channels.redeemMany(claims);
        assertEq(channels.channel(id).settled, 10e18);
        assertEq(channels.channel(other).settled, DEPOSIT);
        channels.redeemMany(new Claim[](0));
    }

    function _mandate(uint128 cumulativeMax) private view returns (Mandate memory) {
        return Mandate(id, stranger, cumulativeMax, uint64(block.timestamp) + 1 hours);
    }

    function test_DelegateSignsWithinItsMandate() public {
        Mandate memory m = _mandate(20e18);
        channels.redeemMandated(id, 20e18, voucher(STRANGER_KEY, id, 20e18), m, mandateSig(CLIENT_KEY, m));
        assertEq(channels.channel(id).settled, 20e18);
        m = _mandate(30e18);
        channels.redeemMandated(id, 30e18, voucher(STRANGER_KEY, id, 30e18), m, mandateSig(PAYER_KEY, m));
        assertEq(channels.channel(id).settled, 30e18);
        bytes memory sig = voucher(STRANGER_KEY, id, 30e18);
        bytes memory by = mandateSig(PAYER_KEY, m);
        vm.expectRevert(IChannels.NothingToRedeem.selector);
        channels.redeemMandated(id, 30e18, sig, m, by);
    }

    function test_MandateHoldsThroughItsLastSecond() public {
        Mandate memory m = _mandate(20e18);
        (bytes memory sig, bytes memory by) = (voucher(STRANGER_KEY, id, 20e18), mandateSig(CLIENT_KEY, m));
        vm.warp(m.validUntil);
        channels.redeemMandated(id, 20e18, sig, m, by);
        assertEq(channels.channel(id).settled, 20e18);
    }

    function test_PayeeClosesWithItsLastVoucher() public {
        pay(10e18);
        bytes memory sig = voucher(CLIENT_KEY, id, 30e18);
        uint256 before = token.balanceOf(payer);
        vm.expectEmit(address(channels));
        emit IChannels.Closed(id, 20e18, 70e18, 30e18);
        vm.prank(owner);
        channels.closeByPayee(id, 30e18, sig);
        assertEq(token.balanceOf(payer) - before, 70e18);
        assertEq(token.balanceOf(address(channels)), 0);
        assertTrue(channels.channel(id).state == ChannelState.Closed);
    }

    function test_PayeeClosesWithWhatIsSettled() public {
        pay(10e18);
        vm.prank(owner);
        channels.closeByPayee(id, 0, "");
        assertEq(channels.channel(id).settled, 10e18);
        assertEq(token.balanceOf(address(channels)), 0);
    }

    function test_ClosedWithTheWholeDepositReturnsNothing() public {
        bytes memory sig = voucher(CLIENT_KEY, id, DEPOSIT);
        vm.expectEmit(address(channels));
        emit IChannels.Closed(id, DEPOSIT, 0, DEPOSIT);
        vm.prank(owner);
        channels.closeByPayee(id, DEPOSIT, sig);
    }

    function test_CooperativeCloseNeedsBothAndIsImmediate() public {
        bytes memory sig = voucher(CLIENT_KEY, id, 30e18);
        bytes memory close = consent(OWNER_KEY, id, 30e18);
        uint256 before = token.balanceOf(owner);
        vm.prank(stranger);
        channels.closeCooperative(id, 30e18, sig, close);
        assertEq(token.balanceOf(owner) - before, 30e18);
        assertTrue(channels.channel(id).state == ChannelState.Closed);
    }

    function test_PayeeAloneMayGiveUpTheRest() public {
        channels.closeCooperative(id, 0, "", consent(OWNER_KEY, id, 0));
        assertEq(channels.channel(id).settled, 0);
        assertTrue(channels.channel(id).state == ChannelState.Closed);
    }

    function test_UnilateralCloseAfterGrace() public {
        uint64 closesAt = uint64(block.timestamp) + 24 hours;
        vm.expectEmit(address(channels));
        emit IChannels.CloseRequested(id, closesAt);
        vm.prank(client); // the signer may
        channels.requestClose(id);
        assertEq(channels.channel(id).closesAt, closesAt);
        vm.prank(payer);
        vm.expectRevert(IChannels.Closing.selector);
        channels.requestClose(id);
        vm.warp(closesAt - 1);
        vm.expectRevert(IChannels.TooEarly.selector);
        channels.withdraw(id);
        vm.warp(closesAt);
        uint256 before = token.balanceOf(payer);
        vm.prank(stranger);
        channels.withdraw(id);
        assertEq(token.balanceOf(payer) - before, DEPOSIT);
        vm.expectRevert(IChannels.NoChannel.selector);
        channels.withdraw(id);
    }

    function test_PayerCancelsItsClose() public {
        vm.startPrank(payer);
        vm.expectRevert(IChannels.NotClosing.selector);
        channels.cancelClose(id);
        vm.expectRevert(IChannels.NotClosing.selector);
        channels.withdraw(id);
        channels.requestClose(id);
        vm.expectEmit(address(channels));
        emit IChannels.CloseCancelled(id);
        channels.cancelClose(id);
        assertEq(channels.channel(id).closesAt, 0);
        channels.topUp(id, 1);
        vm.warp(block.timestamp + 48 hours);
        vm.expectRevert(IChannels.NotClosing.selector);
        channels.withdraw(id);
    }

    function testFuzz_PayeeGetsTheMinimum(uint96 deposit, uint128 first, uint128 second) public {
        deposit = uint96(bound(deposit, 1, 1000e18));
        vm.prank(payer);
        bytes32 channel = channels.open(owner, client, deposit, bytes32("fuzz"));
        uint256 before = token.balanceOf(owner);
        uint256 paid = 0;
        uint128[2] memory cumulatives = [first, second];
        for (uint256 i = 0; i < 2; ++i) {
            uint256 good = cumulatives[i] < deposit ? cumulatives[i] : deposit;
            bytes memory sig = voucher(CLIENT_KEY, channel, cumulatives[i]);
            if (good <= paid) vm.expectRevert(IChannels.NothingToRedeem.selector);
            else paid = good;
            channels.redeem(channel, cumulatives[i], sig);
            assertEq(channels.channel(channel).settled, paid);
        }
        assertEq(token.balanceOf(owner) - before, paid);
    }

    function testFuzz_EveryCloseConserves(uint96 deposit, uint128 settledBy, uint128 closedBy, bool cooperative) public {
        deposit = uint96(bound(deposit, 1, 1000e18));
        settledBy = uint128(bound(settledBy, 1, type(uint128).max));
        vm.prank(payer);
        bytes32 channel = channels.open(owner, client, deposit, bytes32("fuzz"));
        (uint256 payerBefore, uint256 ownerBefore) = (token.balanceOf(payer), token.balanceOf(owner));
        channels.redeem(channel, settledBy, voucher(CLIENT_KEY, channel, settledBy));
        bytes memory sig = voucher(CLIENT_KEY, channel, closedBy);
        bytes memory close = consent(OWNER_KEY, channel, closedBy);
        vm.prank(owner);
        if (cooperative) channels.closeCooperative(channel, closedBy, sig, close);
        else channels.closeByPayee(channel, closedBy, sig);
        uint256 most = closedBy > settledBy ? closedBy : settledBy;
        uint256 paid = most < deposit ? most : deposit;
        assertEq(token.balanceOf(owner) - ownerBefore, paid);
        assertEq(token.balanceOf(payer) - payerBefore, deposit - paid);
        assertEq(token.balanceOf(address(channels)), DEPOSIT); // the other channel's
    }

    function test_DigestsAreThoseOfTheTypes() public view {
        assertEq(channels.voucherDigest(id, 5), digest("Cairn Channels", address(channels), voucherHash(id, 5)));
        bytes32 close = keccak256(abi.encode(keccak256("Close(bytes32 channelId,uint128 cumulative)"), id, uint128(5)));
        assertEq(channels.closeDigest(id, 5), digest("Cairn Channels", address(channels), close));
        (, string memory name, string memory version, uint256 chainId, address at,,) = channels.eip712Domain();
        assertEq(name, "Cairn Channels");
        assertEq(version, "1");
        assertEq(chainId, block.chainid);
        assertEq(at, address(channels));
    }
}
