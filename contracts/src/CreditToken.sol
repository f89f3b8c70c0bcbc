// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Burnable} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Burnable.sol";
import {ERC20Capped} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Capped.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";

/// The credit: a plain token without fee, rebase or hook. One minter, fixed for ever, and a cap.
contract CreditToken is ERC20, ERC20Permit, ERC20Capped, ERC20Burnable {
    error NotMinter();

    address public immutable minter;

    constructor(address minter_, uint256 cap_) ERC20("Cairn Credit", "CRD") ERC20Permit("Cairn Credit") ERC20Capped(cap_) {
        minter = minter_;
    }

    function mint(address to, uint256 amount) external {
        if (msg.sender != minter) revert NotMinter();
        _mint(to, amount);
    }

    function _update(address from, address to, uint256 amount) internal override(ERC20, ERC20Capped) {
        super._update(from, to, amount);
    }
}
