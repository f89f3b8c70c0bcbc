// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {CreditToken} from "../src/CreditToken.sol";
import {Faucet} from "../src/Faucet.sol";
import {Base} from "./Base.sol";
import {ERC20Capped} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Capped.sol";

contract TokenTest is Base {
    function test_NameAndUnits() public view {
        assertEq(token.name(), "Cairn Credit");
        assertEq(token.symbol(), "CRD");
        assertEq(token.decimals(), 18);
        assertEq(token.cap(), 1e27);
        assertEq(token.minter(), address(this));
    }

    function test_Attack_MintByOthers() public {
        vm.prank(stranger);
        vm.expectRevert(CreditToken.NotMinter.selector);
        token.mint(stranger, 1);
    }

    function test_Attack_MintBeyondTheCap() public {
        uint256 left = token.cap() - token.totalSupply();
        token.mint(stranger, left);
        vm.expectRevert(abi.encodeWithSelector(ERC20Capped.ERC20ExceededCap.selector, 1e27 + 1, 1e27));
        token.mint(stranger, 1);
    }

    function test_FaucetDripsOnceAnHour() public {
        CreditToken own = new CreditToken(vm.computeCreateAddress(address(this), vm.getNonce(address(this)) + 1), 1e27);
        Faucet drips = new Faucet(own);
        vm.expectEmit(address(drips));
        emit Faucet.Dripped(stranger, 1000e18);
        drips.drip(stranger);
        assertEq(own.balanceOf(stranger), 1000e18);
        drips.drip(payer); // another's hour is another's
        vm.warp(block.timestamp + 1 hours - 1);
        vm.expectRevert(abi.encodeWithSelector(Faucet.TooSoon.selector, block.timestamp + 1));
        drips.drip(stranger);
        vm.warp(block.timestamp + 1);
        drips.drip(stranger);
        assertEq(own.balanceOf(stranger), 2000e18);
    }

    function test_Attack_FaucetOfATokenThatIsNotIts() public {
        vm.expectRevert(CreditToken.NotMinter.selector);
        faucet.drip(stranger);
    }

    function test_PermitIsOfThisChainOnly() public {
        (uint8 v, bytes32 r, bytes32 s) = permitSig(PAYER_KEY, stranger, 5);
        uint256 snapshot = vm.snapshotState();
        token.permit(payer, stranger, 5, type(uint256).max, v, r, s);
        assertEq(token.allowance(payer, stranger), 5);
        vm.revertToState(snapshot);
        vm.chainId(block.chainid + 1);
        vm.expectRevert();
        token.permit(payer, stranger, 5, type(uint256).max, v, r, s);
    }
}
