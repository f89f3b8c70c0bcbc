// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {IProviders} from "../src/IProviders.sol";
import {Providers} from "../src/Providers.sol";
import {TokenLib} from "../src/lib/TokenLib.sol";
import {Provider} from "../src/types/Provider.sol";
import {Base} from "./Base.sol";
import {FeeToken, HookToken, MuteToken} from "./hostile/Tokens.sol";
import {Reenterer} from "./hostile/Wallets.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

contract ProvidersTest is Base {
    address private constant GRAVE = 0x000000000000000000000000000000000000dEaD;

    function test_RegisteredProviderIsShown() public view {
        Provider memory p = providers.provider(owner);
        assertEq(p.nodeKey, keccak256("node key"));
        assertEq(p.signer, node);
        assertEq(p.offerHash, keccak256("offer"));
        assertEq(p.collateral, COLLATERAL);
        assertEq(p.unbonding, 0);
        assertEq(p.unbondAt, 0);
        assertEq(p.locked, 0);
        assertEq(p.registeredAt, block.timestamp);
        assertEq(token.balanceOf(address(providers)), COLLATERAL);
    }

    function test_RegisterEmitsTheNodesSignature() public {
        bytes memory by = abi.encodePacked(bytes32("first half"), bytes32("second half"));
        vm.expectEmit(address(providers));
        emit IProviders.Registered(stranger, keccak256("k"), client, keccak256("o"), 5e18, by);
        vm.prank(stranger);
        providers.register(keccak256("k"), client, keccak256("o"), 5e18, by);
    }

    function test_RegisterRefuses() public {
        vm.startPrank(stranger);
        vm.expectRevert(IProviders.ZeroAmount.selector);
        providers.register(keccak256("k"), client, keccak256("o"), 0, nodeSignature);
        vm.expectRevert(IProviders.ZeroAddress.selector);
        providers.register(keccak256("k"), address(0), keccak256("o"), 1, nodeSignature);
        vm.expectRevert(IProviders.WrongSignatureLength.selector);
        providers.register(keccak256("k"), client, keccak256("o"), 1, new bytes(63));
        vm.stopPrank();
        vm.prank(owner);
        vm.expectRevert(IProviders.AlreadyRegistered.selector);
        providers.register(keccak256("k"), client, keccak256("o"), 1, nodeSignature);
    }

    function test_RegisterWithPermitNeedsNoApproval() public {
        vm.prank(stranger);
        token.approve(address(providers), 0);
        (uint8 v, bytes32 r, bytes32 s) = permitSig(STRANGER_KEY, address(providers), 9e18);
        vm.prank(stranger);
        providers.registerWithPermit(keccak256("k"), client, keccak256("o"), 9e18, nodeSignature, type(uint256).max, v, r, s);
        assertEq(providers.provider(stranger).collateral, 9e18);
    }

    function test_OthersMustRegisterFirst() public {
        vm.startPrank(stranger);
        vm.expectRevert(IProviders.NotRegistered.selector);
        providers.addCollateral(1);
        vm.expectRevert(IProviders.NotRegistered.selector);
        providers.setOffer(bytes32(0));
        vm.expectRevert(IProviders.NotRegistered.selector);
        providers.setSigner(client, nodeSignature);
        vm.expectRevert(IProviders.NotRegistered.selector);
        providers.beginUnbond(1);
        vm.expectRevert(IProviders.NotRegistered.selector);
        providers.finishUnbond();
    }

    function test_AddCollateralAndOffer() public {
        vm.startPrank(owner);
        vm.expectEmit(address(providers));
        emit IProviders.CollateralAdded(owner, 5e18, COLLATERAL + 5e18);
        providers.addCollateral(5e18);
        vm.expectRevert(IProviders.ZeroAmount.selector);
        providers.addCollateral(0);
        vm.expectEmit(address(providers));
        emit IProviders.OfferChanged(owner, keccak256("new"));
        providers.setOffer(keccak256("new"));
        assertEq(providers.provider(owner).offerHash, keccak256("new"));
    }

    // Signers

    function test_SignerOfBeforeStaysGoodForWhatItSigned() public {
        uint64 start = uint64(block.timestamp);
        vm.warp(start + 100);
        vm.expectEmit(address(providers));
        emit IProviders.SignerChanged(owner, client, nodeSignature);
        vm.prank(owner);
        providers.setSigner(client, nodeSignature);
        assertFalse(providers.signerValid(owner, node, start - 1));
        assertTrue(providers.signerValid(owner, node, start));
        assertTrue(providers.signerValid(owner, node, start + 100));
        assertFalse(providers.signerValid(owner, node, start + 101));
        assertFalse(providers.signerValid(owner, client, start + 99));
        assertTrue(providers.signerValid(owner, client, start + 100));
        assertTrue(providers.signerValid(owner, client, type(uint64).max));
        assertFalse(providers.signerValid(owner, stranger, start));
        assertFalse(providers.signerValid(stranger, node, start));
        assertFalse(providers.signerValid(owner, address(0), start));
    }

    function test_Attack_SignerRotatedAwayAndBack() public {
        uint64 start = uint64(block.timestamp);
        vm.startPrank(owner);
        vm.warp(start + 100);
        providers.setSigner(client, nodeSignature);
        vm.warp(start + 200);
        providers.setSigner(node, nodeSignature); // would wipe what it signed in its first tenure
        assertTrue(providers.signerValid(owner, node, start + 50));
        assertTrue(providers.signerValid(owner, node, start + 300));
        assertFalse(providers.signerValid(owner, client, start + 201));
        providers.setSigner(node, nodeSignature); // to itself
        assertTrue(providers.signerValid(owner, node, start + 50));
        assertTrue(providers.signerValid(owner, node, start + 300));
    }

    function test_SetSignerRefuses() public {
        vm.startPrank(owner);
        vm.expectRevert(IProviders.ZeroAddress.selector);
        providers.setSigner(address(0), nodeSignature);
        vm.expectRevert(IProviders.WrongSignatureLength.selector);
        providers.setSigner(client, new bytes(65));
    }

    // Unbonding

    function test_UnbondingPaysAfterItsTime() public {
        uint64 at = uint64(block.timestamp) + 14 days;
        vm.startPrank(owner);
        vm.expectEmit(address(providers));
        emit IProviders.UnbondBegun(owner, 400e18, 400e18, at);
        providers.beginUnbond(400e18);
        assertEq(providers.provider(owner).collateral, 600e18);
        vm.warp(at - 1);
        vm.expectRevert(IProviders.TooEarly.selector);
        providers.finishUnbond();
        vm.warp(at);
        uint256 before = token.balanceOf(owner);
        vm.expectEmit(address(providers));
        emit IProviders.Unbonded(owner, 400e18);
        providers.finishUnbond();
        assertEq(token.balanceOf(owner) - before, 400e18);
        vm.expectRevert(IProviders.NotEnough.selector);
        providers.finishUnbond();
    }

    function test_UnbondingsMergeAndWaitForTheLast() public {
        uint256 start = block.timestamp;
        vm.startPrank(owner);
        providers.beginUnbond(100e18);
        vm.warp(start + 13 days);
        providers.beginUnbond(200e18);
        assertEq(providers.provider(owner).unbonding, 300e18);
        vm.warp(start + 15 days);
        vm.expectRevert(IProviders.TooEarly.selector);
        providers.finishUnbond();
        vm.warp(start + 27 days);
        providers.finishUnbond();
        assertEq(providers.provider(owner).unbonding, 0);
    }

    function test_BeginUnbondRefuses() public {
        vm.startPrank(owner);
        vm.expectRevert(IProviders.ZeroAmount.selector);
        providers.beginUnbond(0);
        vm.expectRevert(IProviders.NotEnough.selector);
        providers.beginUnbond(COLLATERAL + 1);
    }

    function test_RegisterAgainAfterFullExit() public {
        vm.startPrank(owner);
        providers.beginUnbond(COLLATERAL);
        vm.warp(block.timestamp + 14 days);
        vm.expectRevert(IProviders.AlreadyRegistered.selector);
        providers.register(keccak256("second key"), client, keccak256("o"), 1e18, nodeSignature);
        providers.finishUnbond();
        uint64 again = uint64(block.timestamp);
        providers.register(keccak256("second key"), client, keccak256("o"), 1e18, nodeSignature);
        assertEq(providers.provider(owner).nodeKey, keccak256("second key"));
        assertEq(providers.provider(owner).unbondAt, 0);
        assertTrue(providers.signerValid(owner, node, again)); // its promises stand
        assertFalse(providers.signerValid(owner, node, again + 1));
    }

    // Locks and slashes

    function test_Attack_CourtsCallsByOthers() public {
        address[2] memory others = [owner, stranger];
        for (uint256 i = 0; i < others.length; ++i) {
            vm.startPrank(others[i]);
            vm.expectRevert(IProviders.NotCourt.selector);
            providers.lock(owner, 1);
            vm.expectRevert(IProviders.NotCourt.selector);
            providers.unlock(owner, 1);
            vm.expectRevert(IProviders.NotCourt.selector);
            providers.slash(owner, 1, stranger, 1);
            vm.stopPrank();
        }
    }

    function test_LockIsAtMostTheStake() public {
        vm.prank(owner);
        providers.beginUnbond(400e18);
        vm.startPrank(address(court));
        vm.expectEmit(address(providers));
        emit IProviders.Locked(owner, COLLATERAL, COLLATERAL);
        assertEq(providers.lock(owner, COLLATERAL + 1), COLLATERAL); // with what is unbonding
        assertEq(providers.lock(owner, 30e18), 30e18); // overlaps
        assertEq(providers.provider(owner).locked, COLLATERAL + 30e18);
        vm.expectEmit(address(providers));
        emit IProviders.Unlocked(owner, COLLATERAL, 30e18);
        providers.unlock(owner, COLLATERAL);
        assertEq(providers.lock(stranger, 5), 0);
    }

    function test_ExitKeepsWhatDisputesClaimAndPaysTheRest() public {
        vm.prank(owner);
        providers.beginUnbond(COLLATERAL);
        vm.prank(address(court));
        providers.lock(owner, 300e18);
        vm.warp(block.timestamp + 14 days);
        vm.startPrank(owner);
        providers.finishUnbond();
        assertEq(providers.provider(owner).unbonding, 300e18);
        vm.expectRevert(IProviders.AllLocked.selector);
        providers.finishUnbond();
        vm.stopPrank();
        vm.prank(address(court));
        providers.unlock(owner, 300e18);
        vm.prank(owner);
        providers.finishUnbond();
        assertEq(stakeOf(owner), 0);
    }

    function test_ExitOfAPartPaysItWhenTheRestCoversTheClaims() public {
        vm.prank(owner);
        providers.beginUnbond(100e18);
        vm.prank(address(court));
        providers.lock(owner, 900e18);
        vm.warp(block.timestamp + 14 days);
        vm.prank(owner);
        providers.finishUnbond();
        assertEq(stakeOf(owner), 900e18);
    }

    function testFuzz_SlashSplitsExactly(uint128 amount, uint128 unbonding, uint128 restitution) public {
        unbonding = uint128(bound(unbonding, 0, COLLATERAL));
        amount = uint128(bound(amount, 0, 2 * COLLATERAL));
        if (unbonding != 0) {
            vm.prank(owner);
            providers.beginUnbond(unbonding);
        }
        uint256 supply = token.totalSupply();
        uint256 before = token.balanceOf(payer);
        vm.startPrank(address(court));
        uint128 locked = providers.lock(owner, amount);
        (uint128 slashed, uint128 restituted) = providers.slash(owner, locked, payer, restitution);
        vm.stopPrank();
        assertEq(slashed, amount < COLLATERAL ? amount : COLLATERAL);
        assertEq(restituted, restitution < slashed / 2 ? restitution : slashed / 2);
        assertEq(stakeOf(owner), COLLATERAL - slashed);
        assertEq(providers.provider(owner).locked, 0);
        assertEq(token.balanceOf(payer) - before, restituted);
        assertEq(supply - token.totalSupply(), slashed - restituted);
        assertEq(token.balanceOf(address(providers)), COLLATERAL - slashed);
    }

    function test_SlashTakesWhatIsOnItsWayOutFirst() public {
        vm.prank(owner);
        providers.beginUnbond(100e18);
        vm.startPrank(address(court));
        providers.lock(owner, 150e18);
        vm.expectEmit(address(providers));
        emit IProviders.Slashed(owner, 150e18, payer, 40e18, 110e18);
        providers.slash(owner, 150e18, payer, 40e18);
        assertEq(providers.provider(owner).unbonding, 0);
        assertEq(providers.provider(owner).collateral, 850e18);
    }

    function test_SlashedToNothingMayRegisterAgain() public {
        vm.startPrank(address(court));
        providers.lock(owner, COLLATERAL);
        providers.lock(owner, COLLATERAL);
        (uint128 first,) = providers.slash(owner, COLLATERAL, payer, 0);
        vm.stopPrank();
        assertEq(first, COLLATERAL);
        vm.prank(owner);
        vm.expectRevert(IProviders.AlreadyRegistered.selector); // a dispute is open
        providers.register(keccak256("k"), node, keccak256("o"), 1e18, nodeSignature);
        vm.prank(address(court));
        (uint128 second, uint128 restituted) = providers.slash(owner, COLLATERAL, payer, type(uint128).max);
        assertEq(second, 0);
        assertEq(restituted, 0);
        vm.prank(owner);
        providers.register(keccak256("k"), node, keccak256("o"), 1e18, nodeSignature);
    }

    function test_TokenWithoutBurnIsBuried() public {
        MuteToken mute = new MuteToken(); // has no burn(), and a fallback that accepts the call
        HookToken plain = new HookToken(); // has no burn() and reverts
        for (uint256 i = 0; i < 2; ++i) {
            IERC20 odd = i == 0 ? IERC20(address(mute)) : IERC20(address(plain));
            Providers registry = new Providers(odd, address(this));
            if (i == 0) mute.mint(owner, 10e18);
            else plain.mint(owner, 10e18);
            vm.startPrank(owner);
            if (i == 0) mute.approve(address(registry), 10e18);
            else plain.approve(address(registry), 10e18);
            registry.register(keccak256("k"), node, keccak256("o"), 10e18, nodeSignature);
            vm.stopPrank();
            registry.lock(owner, 6e18);
            registry.slash(owner, 6e18, payer, 1e18);
            assertEq(odd.balanceOf(GRAVE), 5e18);
            assertEq(odd.balanceOf(payer), 1e18);
            assertEq(odd.balanceOf(address(registry)), 4e18);
        }
    }

    function test_Attack_FeeOnTransferToken() public {
        FeeToken fee = new FeeToken();
        Providers registry = new Providers(fee, address(this));
        fee.mint(owner, 10e18);
        vm.startPrank(owner);
        fee.approve(address(registry), 10e18);
        vm.expectRevert(TokenLib.FeeOnTransfer.selector);
        registry.register(keccak256("k"), node, keccak256("o"), 10e18, nodeSignature);
    }

    function test_Attack_ReentrancyByToken() public {
        HookToken hooked = new HookToken();
        Providers registry = new Providers(hooked, address(this));
        Reenterer thief = new Reenterer();
        hooked.mint(address(thief), 10e18);
        hooked.mint(address(registry), 100e18); // what there is to steal
        thief.run(address(hooked), abi.encodeCall(hooked.approve, (address(registry), type(uint256).max)));
        thief.run(address(registry), abi.encodeCall(registry.register, (keccak256("k"), node, keccak256("o"), 10e18, nodeSignature)));
        thief.run(address(registry), abi.encodeCall(registry.beginUnbond, (10e18)));
        vm.warp(block.timestamp + 14 days);
        thief.run(address(hooked), abi.encodeCall(hooked.hook, (address(thief))));
        thief.prepare(address(registry), abi.encodeCall(registry.finishUnbond, ()));
        thief.run(address(registry), abi.encodeCall(registry.finishUnbond, ()));
        assertTrue(thief.called());
        assertFalse(thief.succeeded());
        assertEq(hooked.balanceOf(address(thief)), 10e18);
    }
}
