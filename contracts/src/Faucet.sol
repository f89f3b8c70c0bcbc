// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {CreditToken} from "./CreditToken.sol";

/// Gives credits away, on local and private chains only: there it is the token's minter.
contract Faucet {
    /// This address was served less than an hour ago.
    error TooSoon(uint256 again);

    event Dripped(address indexed to, uint256 amount);

    uint256 public constant DRIP = 1000e18;
    uint256 public constant PAUSE = 1 hours;

    CreditToken public immutable token;
    mapping(address to => uint256) public servedAt;

    constructor(CreditToken token_) {
        token = token_;
    }

    /// Mints DRIP to `to`, once an hour for each address.
    function drip(address to) external {
        uint256 again = servedAt[to] + PAUSE;
        if (servedAt[to] != 0 && block.timestamp < again) revert TooSoon(again);
        servedAt[to] = block.timestamp;
        emit Dripped(to, DRIP);
        token.mint(to, DRIP);
    }
}
