// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {Channels} from "../src/Channels.sol";
import {IChannels} from "../src/IChannels.sol";
import {TokenLib} from "../src/lib/TokenLib.sol";
import {Channel, ChannelState, Claim, Mandate} from "../src/types/Channel.sol";
import {Base} from "./Base.sol";
import {FeeToken, HookToken, MuteToken, RefusingToken} from "./hostile/Tokens.sol";
import {Reenterer, Wallet} from "./hostile/Wallets.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

/// Each test is an attack and bears its name. It passes when the attack fails.
contract ChannelsAttacksTest is Base {
    // Replays

    function test_Attack_ReplayOnAnotherChain() public {
        bytes memory sig = sign(CLIENT_KEY, digestOn("Cairn Channels", address(channels), block.chainid + 1, voucherHash(id, 1e18)));
        vm.expectRevert(IChannels.BadSignature.selector);
        channels.redeem(id, 1e18, sig);
        sig = voucher(CLIENT_KEY, id, 1e18);
        vm.chainId(block.chainid + 1); // the chain forks; what was signed before is worth nothing on the new one
        vm.expectRevert(IChannels.BadSignature.selector);
        channels.redeem(id, 1e18, sig);
    }

    function test_Attack_ReplayOnAnotherContract() public {
        Channels twin = new Channels(token);
        bytes memory sig = sign(CLIENT_KEY, digest("Cairn Channels", address(twin), voucherHash(id, 1e18)));
        vm.expectRevert(IChannels.BadSignature.selector);
        channels.redeem(id, 1e18, sig);
    }

    function test_Attack_ReplayOnAnotherChannel() public {
        vm.prank(payer);
        bytes32 other = channels.open(owner, client, DEPOSIT, bytes32("other"));
        bytes memory sig = voucher(CLIENT_KEY, other, 1e18);
        vm.expectRevert(IChannels.BadSignature.selector);
        channels.redeem(id, 1e18, sig);
    }

    function test_Attack_VoucherPassedOffAsConsentAndBack() public {
        // The payee is its own client here: the same key, the same words, another type.
        vm.prank(payer);
        bytes32 own = channels.open(owner, owner, DEPOSIT, bytes32("own"));
        (bytes memory sig, bytes memory close) = (voucher(OWNER_KEY, own, 5e18), consent(OWNER_KEY, own, 5e18));
        vm.expectRevert(IChannels.BadSignature.selector);
        channels.closeCooperative(own, 5e18, sig, sig);
        vm.expectRevert(IChannels.BadSignature.selector);
        channels.redeem(own, 5e18, close);
    }

    function test_Attack_TombstoneReopened() public {
        bytes memory sig = voucher(CLIENT_KEY, id, 30e18);
        vm.prank(owner);
        channels.closeByPayee(id, 30e18, sig);
        vm.startPrank(payer);
        vm.expectRevert(IChannels.ChannelExists.selector);
        channels.open(owner, client, DEPOSIT, SALT);
        vm.expectRevert(IChannels.NoChannel.selector);
        channels.topUp(id, 1);
        vm.expectRevert(IChannels.NoChannel.selector);
        channels.requestClose(id);
        vm.stopPrank();
        vm.expectRevert(IChannels.NoChannel.selector);
        channels.redeem(id, 30e18, sig);
    }

    function test_Attack_OpenedTwice() public {
        vm.prank(payer);
        vm.expectRevert(IChannels.ChannelExists.selector);
        channels.open(owner, client, 1, SALT);
    }

    // Vouchers

    function test_Attack_StaleVoucher() public {
        pay(30e18);
        bytes memory same = voucher(CLIENT_KEY, id, 30e18);
        bytes memory older = voucher(CLIENT_KEY, id, 29e18);
        vm.expectRevert(IChannels.NothingToRedeem.selector);
        channels.redeem(id, 30e18, same);
        vm.expectRevert(IChannels.NothingToRedeem.selector);
        channels.redeem(id, 29e18, older);
        assertEq(channels.channel(id).settled, 30e18);
    }

    function test_Attack_OverLargeVoucherBounces() public {
        pay(type(uint128).max); // pays the deposit and does not revert
        assertEq(channels.channel(id).settled, DEPOSIT);
        vm.prank(payer);
        channels.topUp(id, 5e18);
        pay(type(uint128).max); // and the rest when there is more
        assertEq(channels.channel(id).settled, DEPOSIT + 5e18);
    }

    function test_Attack_VoucherByStranger() public {
        bytes memory sig = voucher(STRANGER_KEY, id, 1e18);
        vm.expectRevert(IChannels.BadSignature.selector);
        channels.redeem(id, 1e18, sig);
        sig = voucher(OWNER_KEY, id, 1e18);
        vm.prank(owner);
        vm.expectRevert(IChannels.BadSignature.selector);
        channels.closeByPayee(id, 1e18, sig);
    }

    function test_Attack_SignatureMalleability() public {
        bytes memory sig = voucher(CLIENT_KEY, id, 1e18);
        (bytes32 r, bytes32 s, uint8 v) = (bytes32(0), bytes32(0), 0);
        assembly {
            r := mload(add(sig, 32))
            s := mload(add(sig, 64))
            v := byte(0, mload(add(sig, 96)))
        }
        uint256 order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141;
        bytes memory high = abi.encodePacked(r, bytes32(order - uint256(s)), v == 27 ? uint8(28) : uint8(27));
        vm.expectRevert(IChannels.BadSignature.selector);
        channels.redeem(id, 1e18, high);
        vm.expectRevert(IChannels.BadSignature.selector);
        channels.redeem(id, 1e18, abi.encodePacked(r, s, v - 27)); // v of 0 or 1
        vm.expectRevert(IChannels.BadSignature.selector);
        channels.redeem(id, 1e18, abi.encodePacked(sig, hex"00")); // 66 bytes
        vm.expectRevert(IChannels.BadSignature.selector);
        channels.redeem(id, 1e18, abi.encodePacked(r, s | bytes32(uint256(v - 27) << 255))); // 64 bytes, ERC-2098
        channels.redeem(id, 1e18, sig);
    }

    function test_Attack_EcrecoverZero() public {
        bytes memory junk = abi.encodePacked(bytes32(uint256(1)), bytes32(uint256(1)), uint8(99));
        vm.expectRevert(IChannels.BadSignature.selector);
        channels.redeem(id, 1e18, junk);
        // A mandate for the zero address would make every broken signature good.
        Mandate memory m = Mandate(id, address(0), 10e18, uint64(block.timestamp) + 1 hours);
        bytes memory by = mandateSig(CLIENT_KEY, m);
        vm.expectRevert(IChannels.BadSignature.selector);
        channels.redeemMandated(id, 1e18, junk, m, by);
    }

    function test_Attack_WalletTakesItsSignatureBack() public {
        Wallet wallet = new Wallet(payer);
        token.mint(address(wallet), 50e18);
        wallet.run(address(token), abi.encodeCall(token.approve, (address(channels), 50e18)));
        bytes memory out = wallet.run(address(channels), abi.encodeCall(channels.open, (owner, client, 50e18, SALT)));
        bytes32 channel = abi.decode(out, (bytes32));
        bytes memory session = voucher(CLIENT_KEY, channel, 2e18);
        bytes memory contractual = voucher(PAYER_KEY, channel, 3e18);
        wallet.rotate(stranger);
        channels.redeem(channel, 2e18, session); // what the session signer signed stays good: providers take only that
        vm.expectRevert(IChannels.BadSignature.selector);
        channels.redeem(channel, 3e18, contractual);
    }

    // Mandates

    function _mandate() private view returns (Mandate memory) {
        return Mandate(id, stranger, 20e18, uint64(block.timestamp) + 1 hours);
    }

    function test_Attack_MandateBeyondItsCap() public {
        Mandate memory m = _mandate();
        (bytes memory sig, bytes memory by) = (voucher(STRANGER_KEY, id, 20e18 + 1), mandateSig(CLIENT_KEY, m));
        vm.expectRevert(IChannels.MandateExceeded.selector);
        channels.redeemMandated(id, 20e18 + 1, sig, m, by);
        m.cumulativeMax = type(uint128).max; // not what was signed
        vm.expectRevert(IChannels.BadSignature.selector);
        channels.redeemMandated(id, 20e18 + 1, sig, m, by);
    }

    function test_Attack_MandateAfterItsExpiry() public {
        Mandate memory m = _mandate();
        (bytes memory sig, bytes memory by) = (voucher(STRANGER_KEY, id, 1e18), mandateSig(CLIENT_KEY, m));
        vm.warp(m.validUntil + 1);
        vm.expectRevert(IChannels.MandateExpired.selector);
        channels.redeemMandated(id, 1e18, sig, m, by);
    }

    function test_Attack_MandateForAnotherChannel() public {
        vm.prank(payer);
        bytes32 other = channels.open(owner, client, DEPOSIT, bytes32("other"));
        Mandate memory m = _mandate();
        (bytes memory sig, bytes memory by) = (voucher(STRANGER_KEY, other, 1e18), mandateSig(CLIENT_KEY, m));
        vm.expectRevert(IChannels.MandateExceeded.selector);
        channels.redeemMandated(other, 1e18, sig, m, by);
    }

    function test_Attack_MandateByStrangerOrForStranger() public {
        Mandate memory m = _mandate();
        (bytes memory sig, bytes memory by) = (voucher(STRANGER_KEY, id, 1e18), mandateSig(STRANGER_KEY, m));
        vm.expectRevert(IChannels.BadSignature.selector);
        channels.redeemMandated(id, 1e18, sig, m, by); // the delegate mandates itself
        (sig, by) = (voucher(OWNER_KEY, id, 1e18), mandateSig(CLIENT_KEY, m));
        vm.expectRevert(IChannels.BadSignature.selector);
        channels.redeemMandated(id, 1e18, sig, m, by); // the payee signs instead of the delegate
        sig = voucher(STRANGER_KEY, id, 1e18);
        vm.expectRevert(IChannels.BadSignature.selector);
        channels.redeem(id, 1e18, sig); // and without the mandate a delegate's voucher is nothing
    }

    // Closing

    function test_Attack_CloseRace() public {
        bytes memory sig = voucher(CLIENT_KEY, id, 60e18);
        vm.prank(payer);
        channels.requestClose(id);
        vm.warp(block.timestamp + 24 hours - 1);
        vm.expectRevert(IChannels.TooEarly.selector);
        channels.withdraw(id);
        channels.redeem(id, 60e18, sig); // the provider wakes up in the last second of the grace
        vm.warp(block.timestamp + 1);
        uint256 before = token.balanceOf(payer);
        channels.withdraw(id);
        assertEq(token.balanceOf(payer) - before, 40e18);
    }

    function test_Attack_TopUpCancelsOrFeedsAClose() public {
        vm.prank(payer);
        channels.requestClose(id);
        vm.prank(payer);
        vm.expectRevert(IChannels.Closing.selector);
        channels.topUp(id, 1);
        assertTrue(channels.channel(id).state == ChannelState.Closing);
    }

    function test_Attack_GraceRestartedOrCancelledByOthers() public {
        vm.prank(payer);
        channels.requestClose(id);
        address[3] memory others = [client, owner, stranger];
        for (uint256 i = 0; i < others.length; ++i) {
            vm.prank(others[i]);
            vm.expectRevert(IChannels.NotAllowed.selector);
            channels.cancelClose(id);
        }
        vm.prank(client);
        vm.expectRevert(IChannels.Closing.selector);
        channels.requestClose(id);
    }

    function test_Attack_CloseByOthers() public {
        bytes memory sig = voucher(CLIENT_KEY, id, 1e18);
        address[2] memory others = [payer, stranger];
        for (uint256 i = 0; i < others.length; ++i) {
            vm.prank(others[i]);
            vm.expectRevert(IChannels.NotAllowed.selector);
            channels.closeByPayee(id, 1e18, sig); // only the payee closes at once
        }
        address[2] memory notTheirs = [owner, stranger];
        for (uint256 i = 0; i < notTheirs.length; ++i) {
            vm.prank(notTheirs[i]);
            vm.expectRevert(IChannels.NotAllowed.selector);
            channels.requestClose(id);
        }
    }

    function test_Attack_CooperativeCloseWithoutThePayee() public {
        bytes memory sig = voucher(CLIENT_KEY, id, 1e18);
        bytes memory close = consent(CLIENT_KEY, id, 1e18);
        vm.expectRevert(IChannels.BadSignature.selector);
        channels.closeCooperative(id, 1e18, sig, close);
        close = consent(OWNER_KEY, id, 2e18); // to another amount
        vm.expectRevert(IChannels.BadSignature.selector);
        channels.closeCooperative(id, 1e18, sig, close);
    }

    function test_Attack_CooperativeCloseWithoutTheClient() public {
        bytes memory close = consent(OWNER_KEY, id, 50e18);
        bytes memory forged = voucher(OWNER_KEY, id, 50e18);
        vm.expectRevert(IChannels.BadSignature.selector);
        channels.closeCooperative(id, 50e18, forged, close);
        vm.expectRevert(IChannels.BadSignature.selector);
        channels.closeCooperative(id, 50e18, "", close); // a missing voucher is good for 0 only
        vm.prank(owner);
        vm.expectRevert(IChannels.BadSignature.selector);
        channels.closeByPayee(id, 50e18, "");
    }

    /// Consent has no expiry: handed in late it still closes at what was signed, but never takes back what is settled.
    function test_Attack_OldConsentHandedInLate() public {
        (bytes memory sig, bytes memory close) = (voucher(CLIENT_KEY, id, 10e18), consent(OWNER_KEY, id, 10e18));
        pay(60e18);
        channels.closeCooperative(id, 10e18, sig, close);
        assertEq(channels.channel(id).settled, 60e18);
    }

    // Tokens

    function test_Attack_FeeOnTransferToken() public {
        FeeToken fee = new FeeToken();
        Channels escrow = new Channels(fee);
        fee.mint(payer, DEPOSIT);
        vm.startPrank(payer);
        fee.approve(address(escrow), DEPOSIT);
        vm.expectRevert(TokenLib.FeeOnTransfer.selector);
        escrow.open(owner, client, DEPOSIT, SALT);
    }

    function test_Attack_TokenThatRefusesSilently() public {
        RefusingToken refusing = new RefusingToken();
        Channels escrow = new Channels(refusing);
        vm.prank(payer);
        vm.expectRevert(abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, address(refusing)));
        escrow.open(owner, client, DEPOSIT, SALT);
    }

    function test_TokenWithoutReturnValueWorks() public {
        MuteToken mute = new MuteToken();
        Channels escrow = new Channels(IERC20(address(mute)));
        mute.mint(payer, DEPOSIT);
        vm.startPrank(payer);
        mute.approve(address(escrow), DEPOSIT);
        bytes32 channel = escrow.open(owner, client, DEPOSIT, SALT);
        escrow.requestClose(channel);
        vm.warp(block.timestamp + 24 hours);
        escrow.withdraw(channel);
        assertEq(mute.balanceOf(payer), DEPOSIT);
    }

    function test_Attack_ReentrancyByToken() public {
        HookToken hooked = new HookToken();
        Channels escrow = new Channels(hooked);
        Reenterer thief = new Reenterer();
        hooked.mint(payer, 2 * DEPOSIT);
        vm.startPrank(payer);
        hooked.approve(address(escrow), type(uint256).max);
        bytes32 channel = escrow.open(address(thief), client, DEPOSIT, SALT);
        escrow.open(owner, client, DEPOSIT, SALT); // what there is to steal
        vm.stopPrank();
        thief.run(address(hooked), abi.encodeCall(hooked.hook, (address(thief))));
        bytes memory sig = sign(CLIENT_KEY, digest("Cairn Channels", address(escrow), voucherHash(channel, 40e18)));
        bytes[4] memory again = [
            abi.encodeCall(escrow.redeem, (channel, 40e18, sig)),
            abi.encodeCall(escrow.closeByPayee, (channel, 0, "")),
            abi.encodeCall(escrow.withdraw, (channel)),
            abi.encodeCall(escrow.redeemMany, (new Claim[](0)))
        ];
        for (uint256 i = 0; i < again.length; ++i) {
            uint256 snapshot = vm.snapshotState();
            thief.prepare(address(escrow), again[i]);
            escrow.redeem(channel, 40e18, sig);
            assertTrue(thief.called());
            assertFalse(thief.succeeded());
            assertEq(bytes4(thief.result()), ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector);
            assertEq(hooked.balanceOf(address(thief)), 40e18);
            vm.revertToState(snapshot);
        }
    }

    /// Who looks while the token calls back sees what is already paid: the lock guards calls, the order of effects guards views.
    function test_Attack_ReadOnlyReentrancy() public {
        HookToken hooked = new HookToken();
        Channels escrow = new Channels(hooked);
        Reenterer thief = new Reenterer();
        hooked.mint(payer, DEPOSIT);
        vm.startPrank(payer);
        hooked.approve(address(escrow), DEPOSIT);
        bytes32 channel = escrow.open(address(thief), client, DEPOSIT, SALT);
        vm.stopPrank();
        thief.run(address(hooked), abi.encodeCall(hooked.hook, (address(thief))));
        thief.prepare(address(escrow), abi.encodeCall(escrow.channel, (channel)));
        escrow.redeem(channel, 40e18, sign(CLIENT_KEY, digest("Cairn Channels", address(escrow), voucherHash(channel, 40e18))));
        assertTrue(thief.succeeded());
        assertEq(abi.decode(thief.result(), (Channel)).settled, 40e18);
    }

    function test_Attack_ReentrancyWhileOpening() public {
        HookToken hooked = new HookToken();
        Channels escrow = new Channels(hooked);
        Reenterer thief = new Reenterer();
        hooked.mint(address(thief), 2 * DEPOSIT);
        thief.run(address(hooked), abi.encodeCall(hooked.approve, (address(escrow), type(uint256).max)));
        thief.run(address(hooked), abi.encodeCall(hooked.hook, (address(thief))));
        thief.prepare(address(escrow), abi.encodeCall(escrow.open, (owner, client, DEPOSIT, bytes32("second"))));
        thief.run(address(escrow), abi.encodeCall(escrow.open, (owner, client, DEPOSIT, SALT)));
        assertTrue(thief.called());
        assertFalse(thief.succeeded());
        assertEq(hooked.balanceOf(address(escrow)), DEPOSIT);
    }

    function test_Attack_PermitFrontRun() public {
        vm.prank(payer);
        token.approve(address(channels), 0);
        (uint8 v, bytes32 r, bytes32 s) = permitSig(PAYER_KEY, address(channels), 7e18);
        vm.prank(stranger); // somebody sees the permit and hands it in first
        token.permit(payer, address(channels), 7e18, type(uint256).max, v, r, s);
        vm.prank(payer);
        channels.openWithPermit(owner, client, 7e18, bytes32("other"), type(uint256).max, v, r, s);
        assertEq(channels.channel(channels.channelId(payer, owner, client, bytes32("other"))).deposit, 7e18);
    }

    function test_Attack_PermitOfAnother() public {
        (uint8 v, bytes32 r, bytes32 s) = permitSig(PAYER_KEY, address(channels), 7e18);
        vm.startPrank(stranger);
        token.approve(address(channels), 0);
        vm.expectRevert(); // the stranger's own allowance is asked for, and there is none
        channels.openWithPermit(stranger, stranger, 7e18, SALT, type(uint256).max, v, r, s);
    }

    /// Nobody's exit depends on another's balance: one channel is emptied to the last unit and the other still pays in full.
    function test_Attack_OneChannelDrainsAnother() public {
        vm.prank(stranger);
        bytes32 other = channels.open(owner, stranger, DEPOSIT, SALT);
        pay(type(uint128).max);
        vm.prank(owner);
        channels.closeByPayee(id, 0, "");
        vm.prank(stranger);
        channels.requestClose(other);
        vm.warp(block.timestamp + 24 hours);
        uint256 before = token.balanceOf(stranger);
        channels.withdraw(other);
        assertEq(token.balanceOf(stranger) - before, DEPOSIT);
    }
}
