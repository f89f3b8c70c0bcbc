// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {IProviders} from "./IProviders.sol";
import {TokenLib} from "./lib/TokenLib.sol";
import {Provider} from "./types/Provider.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

/// See IProviders.
contract Providers is IProviders, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;
    using TokenLib for IERC20;

    struct Account {
        bytes32 nodeKey;
        address signer;
        uint48 unbondAt;
        uint48 registeredAt;
        bytes32 offerHash;
        uint128 collateral;
        uint128 unbonding;
        uint256 locked;
    }

    /// Seconds in which a signer's commitments count, both included. `to` is 0 while it is the present one.
    struct Tenure {
        uint64 from;
        uint64 to;
    }

    uint64 public constant UNBONDING = 14 days;
    uint256 public constant NODE_SIGNATURE_LEN = 64;
    /// What remains burned of a slash is at least the half.
    uint128 public constant RESTITUTION_DIVISOR = 2;

    IERC20 public immutable token;
    address public immutable court;
    mapping(address owner => Account) private accounts;
    mapping(address owner => mapping(address signer => Tenure)) private tenures;

    modifier onlyCourt() {
        if (msg.sender != court) revert NotCourt();
        _;
    }

    constructor(IERC20 token_, address court_) {
        token = token_;
        court = court_;
    }

    function register(bytes32 nodeKey, address signer, bytes32 offerHash, uint128 collateral, bytes calldata nodeSignature)
        external
        nonReentrant
    {
        _register(nodeKey, signer, offerHash, collateral, nodeSignature);
    }

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
    ) external nonReentrant {
        token.permit(collateral, deadline, v, r, s);
        _register(nodeKey, signer, offerHash, collateral, nodeSignature);
    }

    function addCollateral(uint128 amount) external nonReentrant {
        Account storage account = _registered();
        if (amount == 0) revert ZeroAmount();
        uint128 collateral = account.collateral + amount;
        account.collateral = collateral;
        emit CollateralAdded(msg.sender, amount, collateral);
        token.pull(msg.sender, amount);
    }

    function setOffer(bytes32 offerHash) external {
        _registered().offerHash = offerHash;
        emit OfferChanged(msg.sender, offerHash);
    }

    function setSigner(address newSigner, bytes calldata nodeSignature) external {
        _appoint(_registered(), newSigner, nodeSignature);
        emit SignerChanged(msg.sender, newSigner, nodeSignature);
    }

    function beginUnbond(uint128 amount) external {
        Account storage account = _registered();
        if (amount == 0) revert ZeroAmount();
        if (amount > account.collateral) revert NotEnough();
        uint64 unbondAt = uint64(block.timestamp) + UNBONDING;
        uint128 unbonding = account.unbonding + amount;
        account.collateral -= amount;
        account.unbonding = unbonding;
        // Seconds fit 48 bits for millions of years.
        // forge-lint: disable-next-line(unsafe-typecast)
        account.unbondAt = uint48(unbondAt);
        emit UnbondBegun(msg.sender, amount, unbonding, unbondAt);
    }

    function finishUnbond() external nonReentrant {
        Account storage account = _registered();
        uint128 amount = account.unbonding;
        if (amount == 0) revert NotEnough();
        if (block.timestamp < account.unbondAt) revert TooEarly();
        uint256 stake = _stake(account);
        uint256 free = stake > account.locked ? stake - account.locked : 0;
        if (free == 0) revert AllLocked();
        // Below a number of 128 bits.
        // forge-lint: disable-next-line(unsafe-typecast)
        if (free < amount) amount = uint128(free);
        account.unbonding -= amount;
        emit Unbonded(msg.sender, amount);
        token.safeTransfer(msg.sender, amount);
    }

    function lock(address owner, uint128 amount) external onlyCourt returns (uint128 locked) {
        Account storage account = accounts[owner];
        locked = _atMostStake(account, amount);
        account.locked += locked;
        emit Locked(owner, locked, account.locked);
    }

    function unlock(address owner, uint128 amount) external onlyCourt {
        Account storage account = accounts[owner];
        account.locked -= amount;
        emit Unlocked(owner, amount, account.locked);
    }

    function slash(address owner, uint128 amount, address restitutionTo, uint128 restitution)
        external
        onlyCourt
        nonReentrant
        returns (uint128 slashed, uint128 restituted)
    {
        Account storage account = accounts[owner];
        slashed = _atMostStake(account, amount);
        account.locked -= amount;
        uint128 fromUnbonding = slashed < account.unbonding ? slashed : account.unbonding;
        account.unbonding -= fromUnbonding;
        account.collateral -= slashed - fromUnbonding;
        uint128 restitutionMax = slashed / RESTITUTION_DIVISOR;
        restituted = restitution < restitutionMax ? restitution : restitutionMax;
        uint128 burned = slashed - restituted;
        emit Slashed(owner, slashed, restitutionTo, restituted, burned);
        if (restituted != 0) token.safeTransfer(restitutionTo, restituted);
        token.destroy(burned);
    }

    function provider(address owner) external view returns (Provider memory) {
        Account storage account = accounts[owner];
        return Provider({
            nodeKey: account.nodeKey,
            signer: account.signer,
            offerHash: account.offerHash,
            collateral: account.collateral,
            unbonding: account.unbonding,
            unbondAt: account.unbondAt,
            locked: account.locked,
            registeredAt: account.registeredAt
        });
    }

    function signerValid(address owner, address signer, uint64 at) external view returns (bool) {
        Tenure storage tenure = tenures[owner][signer];
        return tenure.from != 0 && at >= tenure.from && (tenure.to == 0 || at <= tenure.to);
    }

    function _register(bytes32 nodeKey, address signer, bytes32 offerHash, uint128 collateral, bytes calldata nodeSignature) private {
        if (collateral == 0) revert ZeroAmount();
        Account storage account = accounts[msg.sender];
        if (_stake(account) != 0 || account.locked != 0) revert AlreadyRegistered();
        _appoint(account, signer, nodeSignature);
        account.nodeKey = nodeKey;
        account.offerHash = offerHash;
        account.collateral = collateral;
        (account.unbondAt, account.registeredAt) = (0, uint48(block.timestamp));
        emit Registered(msg.sender, nodeKey, signer, offerHash, collateral, nodeSignature);
        token.pull(msg.sender, collateral);
    }

    /// A signer that comes back keeps its first second, or what it signed in its first tenure would not bind any more.
    function _appoint(Account storage account, address signer, bytes calldata nodeSignature) private {
        if (signer == address(0)) revert ZeroAddress();
        if (nodeSignature.length != NODE_SIGNATURE_LEN) revert WrongSignatureLength();
        uint64 now_ = uint64(block.timestamp);
        if (account.signer != address(0)) tenures[msg.sender][account.signer].to = now_;
        Tenure storage tenure = tenures[msg.sender][signer];
        if (tenure.from == 0) tenure.from = now_;
        tenure.to = 0;
        account.signer = signer;
    }

    function _registered() private view returns (Account storage account) {
        account = accounts[msg.sender];
        if (account.registeredAt == 0) revert NotRegistered();
    }

    function _stake(Account storage account) private view returns (uint256) {
        return uint256(account.collateral) + account.unbonding;
    }

    function _atMostStake(Account storage account, uint128 amount) private view returns (uint128) {
        uint256 stake = _stake(account);
        // Below a number of 128 bits.
        // forge-lint: disable-next-line(unsafe-typecast)
        return stake < amount ? uint128(stake) : amount;
    }
}
