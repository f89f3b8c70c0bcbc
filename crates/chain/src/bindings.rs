//! Bindings: the functions, events and errors of our contracts that this crate calls or reads, as `contracts/src` declares them.
//!
//! Written by hand so that a reader sees the whole interface on one page; `tests/suite/abi.rs` compares it with the checked-in ABI.
//! Never: a rule of money; those live in Solidity.
#![allow(missing_docs)] // the words are documented in contracts/src
#![allow(clippy::too_many_arguments)] // as many as the contract's event has

use alloy_sol_types::sol;

sol! {
    #[derive(Debug, PartialEq, Eq)]
    interface CreditToken {
        error ERC20InsufficientBalance(address sender, uint256 balance, uint256 needed);
        error ERC20InsufficientAllowance(address spender, uint256 allowance, uint256 needed);
        event Transfer(address indexed from, address indexed to, uint256 value);
        function balanceOf(address account) external view returns (uint256);
        function minter() external view returns (address);
        function mint(address to, uint256 amount) external;
        function totalSupply() external view returns (uint256);
        function allowance(address owner, address spender) external view returns (uint256);
        function nonces(address owner) external view returns (uint256);
        function transfer(address to, uint256 value) external returns (bool);
        function approve(address spender, uint256 value) external returns (bool);
    }

    #[derive(Debug, PartialEq, Eq)]
    interface Faucet {
        error TooSoon(uint256 again);
        function drip(address to) external;
    }

    #[derive(Debug, PartialEq, Eq)]
    struct Provider {
        bytes32 nodeKey;
        address signer;
        bytes32 offerHash;
        uint128 collateral;
        uint128 unbonding;
        uint64 unbondAt;
        uint256 locked;
        uint64 registeredAt;
    }

    #[derive(Debug, PartialEq, Eq)]
    interface Providers {
        error ZeroAmount();
        error ZeroAddress();
        error WrongSignatureLength();
        error AlreadyRegistered();
        error NotRegistered();
        error NotEnough();
        error TooEarly();
        error AllLocked();
        error NotCourt();
        event Registered(address indexed owner, bytes32 indexed nodeKey, address signer, bytes32 offerHash, uint128 collateral, bytes nodeSignature);
        event OfferChanged(address indexed owner, bytes32 offerHash);
        event SignerChanged(address indexed owner, address signer, bytes nodeSignature);
        event CollateralAdded(address indexed owner, uint128 amount, uint128 collateral);
        event UnbondBegun(address indexed owner, uint128 amount, uint128 unbonding, uint64 unbondAt);
        event Unbonded(address indexed owner, uint128 amount);
        event Locked(address indexed owner, uint128 amount, uint256 locked);
        event Unlocked(address indexed owner, uint128 amount, uint256 locked);
        event Slashed(address indexed owner, uint128 amount, address indexed restitutionTo, uint128 restituted, uint128 burned);
        function register(bytes32 nodeKey, address signer, bytes32 offerHash, uint128 collateral, bytes nodeSignature) external;
        function registerWithPermit(bytes32 nodeKey, address signer, bytes32 offerHash, uint128 collateral, bytes nodeSignature, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external;
        function addCollateral(uint128 amount) external;
        function setOffer(bytes32 offerHash) external;
        function setSigner(address newSigner, bytes nodeSignature) external;
        function beginUnbond(uint128 amount) external;
        function finishUnbond() external;
        function provider(address owner) external view returns (Provider memory);
        function signerValid(address owner, address signer, uint64 at) external view returns (bool);
    }

    #[derive(Debug, PartialEq, Eq)]
    struct Channel {
        address payer;
        address payee;
        address signer;
        uint128 deposit;
        uint128 settled;
        uint64 closesAt;
        uint8 state;
    }

    #[derive(Debug, PartialEq, Eq)]
    struct Claim {
        bytes32 id;
        uint128 cumulative;
        bytes sig;
    }

    #[derive(Debug, PartialEq, Eq)]
    struct Mandate {
        bytes32 channelId;
        address delegate;
        uint128 cumulativeMax;
        uint64 validUntil;
    }

    #[derive(Debug, PartialEq, Eq)]
    interface Channels {
        error DepositTooLarge();
        error ChannelExists();
        error NoChannel();
        error Closing();
        error NotClosing();
        error NotAllowed();
        error BadSignature();
        error NothingToRedeem();
        error MandateExceeded();
        error MandateExpired();
        event Opened(bytes32 indexed id, address indexed payer, address indexed payee, address signer, uint128 deposit, bytes32 salt);
        event ToppedUp(bytes32 indexed id, uint128 amount, uint128 deposit);
        event Redeemed(bytes32 indexed id, uint128 amount, uint128 settled);
        event CloseRequested(bytes32 indexed id, uint64 closesAt);
        event CloseCancelled(bytes32 indexed id);
        event Closed(bytes32 indexed id, uint128 paidToPayee, uint128 returnedToPayer, uint128 settled);
        function open(address payee, address signer, uint128 deposit, bytes32 salt) external returns (bytes32 id);
        function openWithPermit(address payee, address signer, uint128 deposit, bytes32 salt, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external returns (bytes32 id);
        function topUp(bytes32 id, uint128 amount) external;
        function redeem(bytes32 id, uint128 cumulative, bytes sig) external;
        function redeemMany(Claim[] claims) external;
        function redeemMandated(bytes32 id, uint128 cumulative, bytes sig, Mandate mandate, bytes mandateSig) external;
        function closeByPayee(bytes32 id, uint128 cumulative, bytes sig) external;
        function closeCooperative(bytes32 id, uint128 cumulative, bytes voucherSig, bytes closeSig) external;
        function requestClose(bytes32 id) external;
        function cancelClose(bytes32 id) external;
        function withdraw(bytes32 id) external;
        function channel(bytes32 id) external view returns (Channel memory);
        function channelId(address payer, address payee, address signer, bytes32 salt) external view returns (bytes32);
        function voucherDigest(bytes32 id, uint128 cumulative) external view returns (bytes32);
    }

    #[derive(Debug, PartialEq, Eq)]
    struct Commitment {
        bytes32 channelId;
        bytes32 inventoryRoot;
        uint64 leafCount;
        uint64 issuedAt;
        uint64 validUntil;
        uint128 atRisk;
    }

    #[derive(Debug, PartialEq, Eq)]
    struct Release {
        bytes32 channelId;
        bytes32 shardsRoot;
        uint64 shardCount;
        uint64 releasedAt;
    }

    #[derive(Debug, PartialEq, Eq)]
    struct Entry {
        bytes32 shardRoot;
        uint64 leafCount;
        uint64 byteLen;
    }

    #[derive(Debug, PartialEq, Eq)]
    struct InventoryStep {
        uint8 bit;
        bool siblingIsLeft;
        uint64 siblingSum;
        bytes32 siblingHash;
    }

    #[derive(Debug, PartialEq, Eq)]
    struct Counts {
        uint64 entryCount;
        uint64 byteSum;
    }

    #[derive(Debug, PartialEq, Eq)]
    struct Docket {
        uint128 restituted;
        uint48 freeAt;
        uint48 upheldAt;
        uint24 count;
        bool open;
    }

    #[derive(Debug, PartialEq, Eq)]
    struct Dispute {
        bytes32 channelId;
        bytes32 inventoryRoot;
        bytes32 secretHash;
        bytes32 entropy;
        bytes32 seed;
        address challenger;
        uint64 deadline;
        uint8 answered;
        uint8 state;
        address provider;
        uint64 leafCount;
        uint128 locked;
        uint64 issuedAt;
    }

    #[derive(Debug, PartialEq, Eq)]
    interface Court {
        error WrongContracts();
        error CommitmentNotValid();
        error EmptyInventory();
        error CommitmentSpent();
        error NothingAtRisk();
        error DisputeOpen();
        error CoolingDown(uint64 freeAt);
        error NotNow();
        error WrongSecret();
        error WrongDraw();
        error WrongLeaf();
        error WrongRelease();
        event Challenged(bytes32 indexed id, bytes32 indexed channelId, address indexed provider, address challenger, bytes32 inventoryRoot, uint64 leafCount, uint64 issuedAt, uint128 locked, bytes32 secretHash, uint64 deadline);
        event Joined(bytes32 indexed id, bytes32 entropy, uint64 deadline);
        event Revealed(bytes32 indexed id, bytes32 seed, uint64 deadline);
        event Answered(bytes32 indexed id, uint8 draw, bool released);
        event Dismissed(bytes32 indexed id, bytes32 indexed channelId, address indexed provider);
        event Upheld(bytes32 indexed id, bytes32 indexed channelId, address indexed provider, uint128 slashed, uint128 restituted);
        function challenge(Commitment commitment, bytes providerSig, bytes32 secretHash) external returns (bytes32 id);
        function join(bytes32 id, bytes32 entropy) external;
        function reveal(bytes32 id, bytes32 secret) external;
        function respond(bytes32 id, uint8 i, Entry entry, InventoryStep[] path, Counts counts, bytes leaf, bytes32[] shardPath) external;
        function respondReleased(bytes32 id, uint8 i, Entry entry, InventoryStep[] path, Counts counts, Release release, bytes releaseSig, uint64 index, bytes32[] releasePath) external;
        function timeout(bytes32 id) external;
        function dispute(bytes32 id) external view returns (Dispute memory);
        function docket(bytes32 channelId) external view returns (Docket memory);
        function disputeId(bytes32 channelId, uint256 number) external view returns (bytes32);
        function drawn(bytes32 id, uint8 i) external view returns (uint64);
    }
}
