// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// A token that anybody may mint; the tests' stand-in for the credit.
contract PlainToken is ERC20("Plain", "PLN") {
    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }
}

/// Takes 1 % of what is sent.
contract FeeToken is PlainToken {
    function _update(address from, address to, uint256 amount) internal override {
        uint256 fee = from == address(0) || to == address(0) ? 0 : amount / 100;
        super._update(from, to, amount - fee);
        if (fee != 0) super._update(from, address(0xFEE), fee);
    }
}

/// Calls the recipient of a transfer back before it returns, and the sender of a transferFrom before anything moves.
contract HookToken is PlainToken {
    mapping(address account => address) public hooks;

    function hook(address by) external {
        hooks[msg.sender] = by;
    }

    function _update(address from, address to, uint256 amount) internal override {
        if (hooks[from] != address(0)) IHook(hooks[from]).moved();
        super._update(from, to, amount);
        if (hooks[to] != address(0)) IHook(hooks[to]).moved();
    }
}

interface IHook {
    function moved() external;
}

/// Without a return value, as some old tokens are.
contract MuteToken {
    mapping(address account => uint256) public balanceOf;
    mapping(address account => mapping(address spender => uint256)) public allowance;

    function mint(address to, uint256 amount) external {
        balanceOf[to] += amount;
    }

    function approve(address spender, uint256 amount) external {
        allowance[msg.sender][spender] = amount;
    }

    function transfer(address to, uint256 amount) external {
        (balanceOf[msg.sender], balanceOf[to]) = (balanceOf[msg.sender] - amount, balanceOf[to] + amount);
    }

    function transferFrom(address from, address to, uint256 amount) external {
        allowance[from][msg.sender] -= amount;
        balanceOf[from] -= amount;
        balanceOf[to] += amount;
    }

    /// What a wrapped native token does: a call that it does not know is no error.
    fallback() external {}
}

/// Says no by its return value.
contract RefusingToken is PlainToken {
    function transferFrom(address, address, uint256) public pure override returns (bool) {
        return false;
    }
}
