// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {Provider} from "./types/Provider.sol";

/// Who offers space, under which node key, and what it can lose. Only the court can take a stake, and what a slash takes
/// goes to the wronged client by at most a half; the rest is burned, so that nobody gets its own stake back through a puppet client.
/// Never: has an owner; checks a node's signature (ed25519), which clients do off chain: a record without a good one is worth nothing.
interface IProviders {
    error ZeroAmount();
    error ZeroAddress();
    /// The node's signature has another length than 64 bytes.
    error WrongSignatureLength();
    /// There is still stake, or an open dispute, under this address.
    error AlreadyRegistered();
    error NotRegistered();
    /// More than there is.
    error NotEnough();
    /// The unbonding time is not over.
    error TooEarly();
    /// Open disputes claim all of it.
    error AllLocked();
    error NotCourt();

    event Registered(
        address indexed owner, bytes32 indexed nodeKey, address signer, bytes32 offerHash, uint128 collateral, bytes nodeSignature
    );
    event OfferChanged(address indexed owner, bytes32 offerHash);
    event SignerChanged(address indexed owner, address signer, bytes nodeSignature);
    event CollateralAdded(address indexed owner, uint128 amount, uint128 collateral);
    event UnbondBegun(address indexed owner, uint128 amount, uint128 unbonding, uint64 unbondAt);
    event Unbonded(address indexed owner, uint128 amount);
    event Locked(address indexed owner, uint128 amount, uint256 locked);
    event Unlocked(address indexed owner, uint128 amount, uint256 locked);
    event Slashed(address indexed owner, uint128 amount, address indexed restitutionTo, uint128 restituted, uint128 burned);

    /// `nodeSignature` by the node key, over docs/formats/contracts.md's text.
    function register(bytes32 nodeKey, address signer, bytes32 offerHash, uint128 collateral, bytes calldata nodeSignature) external;

    /// `register`, with the allowance signed instead of sent.
    function registerWithPermit(
        bytes32 nodeKey,
        address signer,
        bytes32 offerHash,
        uint128 collateral,
        bytes calldata nodeSignature,
        uint256 deadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external;

    function addCollateral(uint128 amount) external;

    function setOffer(bytes32 offerHash) external;

    /// The signer before stays good for commitments issued up to this second: changing it undoes no promise.
    function setSigner(address newSigner, bytes calldata nodeSignature) external;

    /// Amounts merge; the release time of all of them moves to UNBONDING from now. Till then they can be slashed.
    function beginUnbond(uint128 amount) external;

    /// Pays out what no open dispute claims.
    function finishUnbond() external;

    /// Court only. Claims up to `amount` of the stake for a dispute. Claims overlap: no dispute can shield stake from another.
    function lock(address owner, uint128 amount) external returns (uint128 locked);

    /// Court only. Gives up a claim.
    function unlock(address owner, uint128 amount) external;

    /// Court only. Ends a claim of `amount` by taking it, or what is left of the stake. `restitution` bounds what `restitutionTo` gets.
    function slash(address owner, uint128 amount, address restitutionTo, uint128 restitution)
        external
        returns (uint128 slashed, uint128 restituted);

    function provider(address owner) external view returns (Provider memory);

    /// Whether a commitment issued at `at` and signed by `signer` binds this provider.
    function signerValid(address owner, address signer, uint64 at) external view returns (bool);
}
