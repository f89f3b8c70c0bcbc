// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {Commitment, Counts, Dispute, Docket, Entry, InventoryStep, Release} from "./types/Dispute.sol";

/// Judges one question: can the provider show the leaves it has signed for? The challenger commits to a secret, the provider adds entropy,
/// the secret is revealed, and both together draw the leaves: no block's randomness, nothing that one side chooses alone.
/// Never: slashes without a commitment signed by the provider, or for anything but silence; has an owner; runs an unbounded loop.
/// Limits: one open dispute per channel; at most JOIN + REVEAL + RESPONSE long. An action at its deadline is too late.
interface ICourt {
    /// The other contracts do not belong together with this one.
    error WrongContracts();
    /// The caller is neither payer nor signer of the channel, or neither owner nor signer of the provider.
    error NotAllowed();
    /// Not yet issued, expired, or valid for longer than COMMITMENT_LIFE_MAX.
    error CommitmentNotValid();
    /// The commitment is over no leaf.
    error EmptyInventory();
    /// Issued no later than this channel's last upheld dispute: it has been paid for.
    error CommitmentSpent();
    /// Neither commitment nor provider put anything at risk.
    error NothingAtRisk();
    error BadSignature();
    error DisputeOpen();
    error CoolingDown(uint64 freeAt);
    /// The dispute is not in the state for this, or its deadline is reached.
    error NotNow();
    error TooEarly();
    error WrongSecret();
    /// There is no such draw, or it is answered.
    error WrongDraw();
    /// The leaf, its index and path do not give the entry's shard root.
    error WrongLeaf();
    /// The release is for another channel, older than the commitment, or without this shard.
    error WrongRelease();

    event Challenged(
        bytes32 indexed id,
        bytes32 indexed channelId,
        address indexed provider,
        address challenger,
        bytes32 inventoryRoot,
        uint64 leafCount,
        uint64 issuedAt,
        uint128 locked,
        bytes32 secretHash,
        uint64 deadline
    );
    event Joined(bytes32 indexed id, bytes32 entropy, uint64 deadline);
    event Revealed(bytes32 indexed id, bytes32 seed, uint64 deadline);
    event Answered(bytes32 indexed id, uint8 draw, bool released);
    /// The bond went to the provider: it has answered, or the challenger did not reveal.
    event Dismissed(bytes32 indexed id, bytes32 indexed channelId, address indexed provider);
    event Upheld(bytes32 indexed id, bytes32 indexed channelId, address indexed provider, uint128 slashed, uint128 restituted);

    /// By the channel's payer or signer, who pays the bond. `secretHash` is `keccak256(abi.encode(secret, channelId))`.
    function challenge(Commitment calldata commitment, bytes calldata providerSig, bytes32 secretHash) external returns (bytes32 id);

    /// By the provider's owner or signer.
    function join(bytes32 id, bytes32 entropy) external;

    /// By whoever knows the secret.
    function reveal(bytes32 id, bytes32 secret) external;

    /// Answers draw `i` with the leaf itself. By anybody.
    function respond(
        bytes32 id,
        uint8 i,
        Entry calldata entry,
        InventoryStep[] calldata path,
        Counts calldata counts,
        bytes calldata leaf,
        bytes32[] calldata shardPath
    ) external;

    /// Answers draw `i` with the client's release of the shard. By anybody.
    function respondReleased(
        bytes32 id,
        uint8 i,
        Entry calldata entry,
        InventoryStep[] calldata path,
        Counts calldata counts,
        Release calldata release,
        bytes memory releaseSig,
        uint64 index,
        bytes32[] calldata releasePath
    ) external;

    /// Ends a dispute whose deadline is reached, against who was to act. By anybody.
    function timeout(bytes32 id) external;

    function dispute(bytes32 id) external view returns (Dispute memory);
    function docket(bytes32 channelId) external view returns (Docket memory);
    function disputeId(bytes32 channelId, uint256 number) external view returns (bytes32);
    /// The leaf of the inventory that draw `i` asks for.
    function drawn(bytes32 id, uint8 i) external view returns (uint64);
    function commitmentDigest(Commitment calldata commitment) external view returns (bytes32);
    function releaseDigest(Release calldata release) external view returns (bytes32);
}
