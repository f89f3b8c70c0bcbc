// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {Channel, Claim, Mandate} from "./types/Channel.sol";

/// Payment channels. A client deposits once, signs growing cumulative vouchers off chain, and the provider redeems the newest.
/// A voucher is the signature of the session signer or of the payer over `Voucher(bytes32 channelId,uint128 cumulative)`.
/// Never: has an owner, pays anybody but the channel's payer and payee, or lets one channel depend on another.
/// Limits: what is put into one channel is below 2^96 base units.
interface IChannels {
    /// An amount is 0.
    error ZeroAmount();
    /// Payee or signer is the zero address.
    error ZeroAddress();
    /// More than a channel can hold.
    error DepositTooLarge();
    /// A channel with these parameters exists or has existed.
    error ChannelExists();
    /// The channel was never opened, or is closed.
    error NoChannel();
    /// The channel is closing.
    error Closing();
    /// The channel is not closing.
    error NotClosing();
    /// The grace is not over.
    error TooEarly();
    /// The caller is not who may do this.
    error NotAllowed();
    /// The signature is not by who it must be by, or over something else.
    error BadSignature();
    /// The payee already has what the voucher is good for.
    error NothingToRedeem();
    /// The mandate is for another channel or for less.
    error MandateExceeded();
    /// The mandate's last second is over.
    error MandateExpired();

    event Opened(bytes32 indexed id, address indexed payer, address indexed payee, address signer, uint128 deposit, bytes32 salt);
    event ToppedUp(bytes32 indexed id, uint128 amount, uint128 deposit);
    event Redeemed(bytes32 indexed id, uint128 amount, uint128 settled);
    event CloseRequested(bytes32 indexed id, uint64 closesAt);
    event CloseCancelled(bytes32 indexed id);
    event Closed(bytes32 indexed id, uint128 paidToPayee, uint128 returnedToPayer, uint128 settled);

    /// The caller becomes the payer. `signer` may sign vouchers and releases and ask for the close, and never gets the deposit.
    function open(address payee, address signer, uint128 deposit, bytes32 salt) external returns (bytes32 id);

    /// `open`, with the allowance signed instead of sent.
    function openWithPermit(address payee, address signer, uint128 deposit, bytes32 salt, uint256 deadline, uint8 v, bytes32 r, bytes32 s)
        external
        returns (bytes32 id);

    /// Adds the caller's tokens to the deposit of an open channel. Never cancels a close.
    function topUp(bytes32 id, uint128 amount) external;

    /// Pays the payee `min(cumulative, deposit) - settled`, whoever calls. A voucher beyond the deposit is good for the deposit.
    function redeem(bytes32 id, uint128 cumulative, bytes calldata sig) external;

    /// Redeems what can be redeemed of the caller's list and passes over the rest: bad signatures, closed channels, nothing due.
    function redeemMany(Claim[] calldata claims) external;

    /// Redeems a voucher signed by a delegate, with the client's mandate for it.
    function redeemMandated(bytes32 id, uint128 cumulative, bytes calldata sig, Mandate calldata mandate, bytes calldata mandateSig)
        external;

    /// The payee closes at once, with a last voucher, or with 0 and no signature for what is settled.
    function closeByPayee(bytes32 id, uint128 cumulative, bytes calldata sig) external;

    /// Closes at once with the payee's consent, `Close(bytes32 channelId,uint128 cumulative)`. The voucher may be missing for 0.
    /// A consent does not expire: who signed one serves no more on this channel.
    function closeCooperative(bytes32 id, uint128 cumulative, bytes calldata voucherSig, bytes calldata closeSig) external;

    /// The payer or the signer starts the grace, in which the payee can still redeem.
    function requestClose(bytes32 id) external;

    /// The payer takes the request back.
    function cancelClose(bytes32 id) external;

    /// After the grace, whoever calls: the remainder goes to the payer. Until then and until it is called, vouchers are redeemed.
    function withdraw(bytes32 id) external;

    function channel(bytes32 id) external view returns (Channel memory);
    function channelId(address payer, address payee, address signer, bytes32 salt) external view returns (bytes32);
    function voucherDigest(bytes32 id, uint128 cumulative) external view returns (bytes32);
    function closeDigest(bytes32 id, uint128 cumulative) external view returns (bytes32);
    function mandateDigest(Mandate calldata mandate) external view returns (bytes32);
}
