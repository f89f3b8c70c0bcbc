// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {IChannels} from "./IChannels.sol";
import {SignatureLib} from "./lib/SignatureLib.sol";
import {TokenLib} from "./lib/TokenLib.sol";
import {Channel, ChannelState, Claim, Mandate} from "./types/Channel.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

/// See IChannels.
contract Channels is IChannels, EIP712, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;
    using TokenLib for IERC20;

    /// Three slots, so that opening a channel stays cheap; hence amounts of 96 bits.
    struct Account {
        address payer;
        uint96 deposit;
        address payee;
        uint96 settled;
        address signer;
        uint64 closesAt;
        ChannelState state;
    }

    uint64 public constant GRACE = 24 hours;
    bytes32 public constant VOUCHER_TYPEHASH = keccak256("Voucher(bytes32 channelId,uint128 cumulative)");
    bytes32 public constant CLOSE_TYPEHASH = keccak256("Close(bytes32 channelId,uint128 cumulative)");
    bytes32 public constant MANDATE_TYPEHASH =
        keccak256("Mandate(bytes32 channelId,address delegate,uint128 cumulativeMax,uint64 validUntil)");

    IERC20 public immutable token;
    mapping(bytes32 id => Account) private accounts;

    constructor(IERC20 token_) EIP712("Cairn Channels", "1") {
        token = token_;
    }

    function open(address payee, address signer, uint128 deposit, bytes32 salt) external nonReentrant returns (bytes32 id) {
        return _open(payee, signer, deposit, salt);
    }

    function openWithPermit(address payee, address signer, uint128 deposit, bytes32 salt, uint256 deadline, uint8 v, bytes32 r, bytes32 s)
        external
        nonReentrant
        returns (bytes32 id)
    {
        token.permit(deposit, deadline, v, r, s);
        return _open(payee, signer, deposit, salt);
    }

    function topUp(bytes32 id, uint128 amount) external nonReentrant {
        Account storage account = _live(id);
        if (account.state == ChannelState.Closing) revert Closing();
        if (amount == 0) revert ZeroAmount();
        uint96 deposit = _narrow(uint256(account.deposit) + amount);
        account.deposit = deposit;
        emit ToppedUp(id, amount, deposit);
        token.pull(msg.sender, amount);
    }

    function redeem(bytes32 id, uint128 cumulative, bytes calldata sig) external nonReentrant {
        Account storage account = _live(id);
        if (!_voucherGood(account, id, cumulative, sig)) revert BadSignature();
        if (!_redeem(account, id, cumulative)) revert NothingToRedeem();
    }

    function redeemMany(Claim[] calldata claims) external nonReentrant {
        for (uint256 i = 0; i < claims.length; ++i) {
            Claim calldata claim = claims[i];
            Account storage account = accounts[claim.id];
            if (!_isLive(account) || !_voucherGood(account, claim.id, claim.cumulative, claim.sig)) continue;
            _redeem(account, claim.id, claim.cumulative);
        }
    }

    function redeemMandated(bytes32 id, uint128 cumulative, bytes calldata sig, Mandate calldata mandate, bytes calldata mandateSig)
        external
        nonReentrant
    {
        Account storage account = _live(id);
        if (mandate.channelId != id || cumulative > mandate.cumulativeMax) revert MandateExceeded();
        if (block.timestamp > mandate.validUntil) revert MandateExpired();
        if (!SignatureLib.byClient(account.payer, account.signer, mandateDigest(mandate), mandateSig)) revert BadSignature();
        address by = SignatureLib.signedBy(voucherDigest(id, cumulative), sig);
        if (by == address(0) || by != mandate.delegate) revert BadSignature();
        if (!_redeem(account, id, cumulative)) revert NothingToRedeem();
    }

    function closeByPayee(bytes32 id, uint128 cumulative, bytes calldata sig) external nonReentrant {
        Account storage account = _live(id);
        if (msg.sender != account.payee) revert NotAllowed();
        _closeWith(account, id, cumulative, sig);
    }

    function closeCooperative(bytes32 id, uint128 cumulative, bytes calldata voucherSig, bytes calldata closeSig) external nonReentrant {
        Account storage account = _live(id);
        if (!SignatureChecker.isValidSignatureNowCalldata(account.payee, closeDigest(id, cumulative), closeSig)) revert BadSignature();
        _closeWith(account, id, cumulative, voucherSig);
    }

    function requestClose(bytes32 id) external {
        Account storage account = _live(id);
        if (msg.sender != account.payer && msg.sender != account.signer) revert NotAllowed();
        if (account.state == ChannelState.Closing) revert Closing();
        uint64 closesAt = uint64(block.timestamp) + GRACE;
        (account.state, account.closesAt) = (ChannelState.Closing, closesAt);
        emit CloseRequested(id, closesAt);
    }

    function cancelClose(bytes32 id) external {
        Account storage account = _live(id);
        if (msg.sender != account.payer) revert NotAllowed();
        if (account.state != ChannelState.Closing) revert NotClosing();
        (account.state, account.closesAt) = (ChannelState.Open, 0);
        emit CloseCancelled(id);
    }

    function withdraw(bytes32 id) external nonReentrant {
        Account storage account = _live(id);
        if (account.state != ChannelState.Closing) revert NotClosing();
        if (block.timestamp < account.closesAt) revert TooEarly();
        _close(account, id, 0);
    }

    function channel(bytes32 id) external view returns (Channel memory) {
        Account storage account = accounts[id];
        return Channel({
            payer: account.payer,
            payee: account.payee,
            signer: account.signer,
            deposit: account.deposit,
            settled: account.settled,
            closesAt: account.closesAt,
            state: account.state
        });
    }

    function channelId(address payer, address payee, address signer, bytes32 salt) public view returns (bytes32) {
        return keccak256(abi.encode(payer, payee, signer, salt, address(this), block.chainid));
    }

    function voucherDigest(bytes32 id, uint128 cumulative) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(VOUCHER_TYPEHASH, id, cumulative)));
    }

    function closeDigest(bytes32 id, uint128 cumulative) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(CLOSE_TYPEHASH, id, cumulative)));
    }

    function mandateDigest(Mandate calldata mandate) public view returns (bytes32) {
        return _hashTypedDataV4(
            keccak256(abi.encode(MANDATE_TYPEHASH, mandate.channelId, mandate.delegate, mandate.cumulativeMax, mandate.validUntil))
        );
    }

    function _open(address payee, address signer, uint128 deposit, bytes32 salt) private returns (bytes32 id) {
        if (payee == address(0) || signer == address(0)) revert ZeroAddress();
        if (deposit == 0) revert ZeroAmount();
        id = channelId(msg.sender, payee, signer, salt);
        Account storage account = accounts[id];
        if (account.state != ChannelState.None) revert ChannelExists();
        (account.payer, account.deposit) = (msg.sender, _narrow(deposit));
        account.payee = payee;
        (account.signer, account.state) = (signer, ChannelState.Open);
        emit Opened(id, msg.sender, payee, signer, deposit, salt);
        token.pull(msg.sender, deposit);
    }

    function _live(bytes32 id) private view returns (Account storage account) {
        account = accounts[id];
        if (!_isLive(account)) revert NoChannel();
    }

    function _isLive(Account storage account) private view returns (bool) {
        return account.state == ChannelState.Open || account.state == ChannelState.Closing;
    }

    function _voucherGood(Account storage account, bytes32 id, uint128 cumulative, bytes calldata sig) private view returns (bool) {
        return SignatureLib.byClient(account.payer, account.signer, voucherDigest(id, cumulative), sig);
    }

    /// What the voucher is good for and the payee does not have yet.
    function _due(Account storage account, uint128 cumulative) private view returns (uint96) {
        (uint96 deposit, uint96 settled) = (account.deposit, account.settled);
        // Below the deposit, so it fits.
        // forge-lint: disable-next-line(unsafe-typecast)
        uint96 good = cumulative < deposit ? uint96(cumulative) : deposit;
        return good > settled ? good - settled : 0;
    }

    function _redeem(Account storage account, bytes32 id, uint128 cumulative) private returns (bool paid) {
        uint96 due = _due(account, cumulative);
        if (due == 0) return false;
        uint96 settled = account.settled + due;
        account.settled = settled;
        emit Redeemed(id, due, settled);
        token.safeTransfer(account.payee, due);
        return true;
    }

    function _closeWith(Account storage account, bytes32 id, uint128 cumulative, bytes calldata sig) private {
        bool noVoucher = cumulative == 0 && sig.length == 0;
        if (!noVoucher && !_voucherGood(account, id, cumulative, sig)) revert BadSignature();
        _close(account, id, _due(account, cumulative));
    }

    function _close(Account storage account, bytes32 id, uint96 due) private {
        uint96 settled = account.settled + due;
        uint96 remainder = account.deposit - settled;
        account.settled = settled;
        (account.state, account.closesAt) = (ChannelState.Closed, 0);
        emit Closed(id, due, remainder, settled);
        if (due != 0) token.safeTransfer(account.payee, due);
        if (remainder != 0) token.safeTransfer(account.payer, remainder);
    }

    function _narrow(uint256 amount) private pure returns (uint96) {
        if (amount > type(uint96).max) revert DepositTooLarge();
        // forge-lint: disable-next-line(unsafe-typecast)
        return uint96(amount);
    }
}
