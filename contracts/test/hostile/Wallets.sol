// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {IHook} from "./Tokens.sol";
import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// A wallet contract with one key (ERC-1271), which can change its mind.
contract Wallet is IERC1271 {
    address public key;

    constructor(address key_) {
        key = key_;
    }

    function rotate(address key_) external {
        key = key_;
    }

    function run(address target, bytes calldata data) external returns (bytes memory) {
        (bool ok, bytes memory out) = target.call(data);
        if (!ok) {
            assembly ("memory-safe") {
                revert(add(out, 32), mload(out))
            }
        }
        return out;
    }

    function isValidSignature(bytes32 hash, bytes calldata sig) external view returns (bytes4) {
        (address by,,) = ECDSA.tryRecoverCalldata(hash, sig);
        return by == key ? IERC1271.isValidSignature.selector : bytes4(0);
    }
}

/// Runs a prepared call when the token calls back, and remembers what came of it.
contract Reenterer is IHook {
    address private target;
    bytes private data;
    bool public called;
    bool public succeeded;
    bytes public result;

    function prepare(address target_, bytes calldata data_) external {
        (target, data) = (target_, data_);
    }

    function run(address at, bytes calldata call_) external returns (bytes memory) {
        (bool ok, bytes memory out) = at.call(call_);
        if (!ok) {
            assembly ("memory-safe") {
                revert(add(out, 32), mload(out))
            }
        }
        return out;
    }

    function moved() external {
        if (called || target == address(0)) return;
        called = true;
        (succeeded, result) = target.call(data);
    }
}
