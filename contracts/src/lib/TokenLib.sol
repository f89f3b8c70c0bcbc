// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

interface IBurnable {
    function burn(uint256 amount) external;
}

/// How the escrows take and destroy tokens. They are credited with what arrived, never with what was said.
library TokenLib {
    using SafeERC20 for IERC20;

    /// Another amount arrived than was sent: the token takes a fee, and no such token is accepted.
    error FeeOnTransfer();

    address internal constant GRAVE = 0x000000000000000000000000000000000000dEaD;

    function pull(IERC20 token, address from, uint256 amount) internal {
        uint256 before = token.balanceOf(address(this));
        token.safeTransferFrom(from, address(this), amount);
        if (token.balanceOf(address(this)) != before + amount) revert FeeOnTransfer();
    }

    /// A permit that somebody else has already handed in has done its work, so a failed one is no error here: the pull will tell.
    function permit(IERC20 token, uint256 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s) internal {
        try IERC20Permit(address(token)).permit(msg.sender, address(this), amount, deadline, v, r, s) {} catch {}
    }

    /// Burns, or buries what the token cannot burn.
    function destroy(IERC20 token, uint256 amount) internal {
        if (amount == 0) return;
        uint256 before = token.balanceOf(address(this));
        try IBurnable(address(token)).burn(amount) {} catch {}
        // A token without burn() but with a fallback does not revert, hence the look at the balance.
        if (token.balanceOf(address(this)) == before) token.safeTransfer(GRAVE, amount);
    }
}
