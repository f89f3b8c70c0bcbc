// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {Channels} from "../src/Channels.sol";
import {Court} from "../src/Court.sol";
import {CreditToken} from "../src/CreditToken.sol";
import {Faucet} from "../src/Faucet.sol";
import {Providers} from "../src/Providers.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Script} from "forge-std/Script.sol";

/// Deploys the contracts in the order of the genesis: CreditToken, Faucet, Channels, Providers, Court.
///   CAIRN_TOKEN    a fee-free ERC-20 of 18 decimals that stands in for the credit; then neither CreditToken nor Faucet is deployed
///   CAIRN_MINTER   who may mint; then there is no Faucet. Without it the Faucet is the minter: for local and private chains only
///   CAIRN_CAP      cap of the CreditToken in base units, 1000000000 credits unless given
contract Deploy is Script {
    struct Deployment {
        IERC20 token;
        Faucet faucet;
        Channels channels;
        Providers providers;
        Court court;
    }

    uint256 public constant CAP = 1e9 * 1e18;

    function run() external returns (Deployment memory deployed) {
        IERC20 given = IERC20(vm.envOr("CAIRN_TOKEN", address(0)));
        address minter = vm.envOr("CAIRN_MINTER", address(0));
        uint256 cap = vm.envOr("CAIRN_CAP", CAP);
        vm.startBroadcast();
        (, address deployer,) = vm.readCallers();
        deployed = deploy(deployer, given, minter, cap);
        vm.stopBroadcast();
    }

    /// `deployer` is whose nonce the creations use.
    function deploy(address deployer, IERC20 given, address minter, uint256 cap) public returns (Deployment memory deployed) {
        uint256 nonce = vm.getNonce(deployer);
        deployed.token = given;
        if (address(given) == address(0) && minter == address(0)) {
            CreditToken token = new CreditToken(vm.computeCreateAddress(deployer, nonce + 1), cap);
            (deployed.token, deployed.faucet) = (token, new Faucet(token));
            nonce += 2;
        } else if (address(given) == address(0)) {
            deployed.token = new CreditToken(minter, cap);
            nonce += 1;
        }
        deployed.channels = new Channels(deployed.token);
        deployed.providers = new Providers(deployed.token, vm.computeCreateAddress(deployer, nonce + 2));
        deployed.court = new Court(deployed.token, deployed.providers, deployed.channels);
    }
}
