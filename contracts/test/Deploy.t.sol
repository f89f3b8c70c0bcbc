// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {Deploy} from "../script/Deploy.s.sol";
import {CreditToken} from "../src/CreditToken.sol";
import {PlainToken} from "./hostile/Tokens.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Test} from "forge-std/Test.sol";

contract DeployTest is Test {
    Deploy private script = new Deploy();

    function _wired(Deploy.Deployment memory deployed) private view {
        assertEq(address(deployed.channels.token()), address(deployed.token));
        assertEq(address(deployed.providers.token()), address(deployed.token));
        assertEq(address(deployed.court.token()), address(deployed.token));
        assertEq(deployed.providers.court(), address(deployed.court));
        assertEq(address(deployed.court.providers()), address(deployed.providers));
        assertEq(address(deployed.court.channels()), address(deployed.channels));
    }

    function test_GenesisOrder() public {
        uint256 nonce = vm.getNonce(address(script));
        Deploy.Deployment memory deployed = script.deploy(address(script), IERC20(address(0)), address(0), 1e27);
        _wired(deployed);
        address[5] memory order = [
            address(deployed.token),
            address(deployed.faucet),
            address(deployed.channels),
            address(deployed.providers),
            address(deployed.court)
        ];
        for (uint256 i = 0; i < 5; ++i) {
            assertEq(order[i], vm.computeCreateAddress(address(script), nonce + i));
        }
        assertEq(CreditToken(address(deployed.token)).minter(), address(deployed.faucet));
        deployed.faucet.drip(address(this));
        assertEq(deployed.token.balanceOf(address(this)), 1000e18);
    }

    function test_WithAMinterThereIsNoFaucet() public {
        Deploy.Deployment memory deployed = script.deploy(address(script), IERC20(address(0)), address(this), 1e27);
        _wired(deployed);
        assertEq(address(deployed.faucet), address(0));
        assertEq(CreditToken(address(deployed.token)).minter(), address(this));
    }

    function test_WithATokenThereIsNeitherCreditNorFaucet() public {
        PlainToken given = new PlainToken();
        Deploy.Deployment memory deployed = script.deploy(address(script), given, address(0), 1e27);
        _wired(deployed);
        assertEq(address(deployed.token), address(given));
        assertEq(address(deployed.faucet), address(0));
    }

    function test_RunBroadcasts() public {
        _wired(script.run());
    }
}
