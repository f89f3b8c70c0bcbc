// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

/// A provider's promise, signed by its registered signer, that until `validUntil` it can show any leaf of an inventory.
/// At most `atRisk` of its stake can be slashed for breaking it.
struct Commitment {
    bytes32 channelId;
    bytes32 inventoryRoot;
    uint64 leafCount;
    uint64 issuedAt;
    uint64 validUntil;
    uint128 atRisk;
}

/// The client's word that the provider may drop these shards.
struct Release {
    bytes32 channelId;
    bytes32 shardsRoot;
    uint64 shardCount;
    uint64 releasedAt;
}

/// One shard of an inventory. `leafCount` is `byteLen / 1024`, rounded up.
struct Entry {
    bytes32 shardRoot;
    uint64 leafCount;
    uint64 byteLen;
}

/// One step of an inventory path, nearest to the entry first.
struct InventoryStep {
    uint8 bit;
    bool siblingIsLeft;
    uint64 siblingSum;
    bytes32 siblingHash;
}

/// What an inventory root covers beside the sum of leaves.
struct Counts {
    uint64 entryCount;
    uint64 byteSum;
}

/// Challenged: the provider is to join. Joined: the challenger is to reveal. Revealed: the provider is to answer the draws.
/// Dismissed and Upheld are final.
enum DisputeState {
    None,
    Challenged,
    Joined,
    Revealed,
    Dismissed,
    Upheld
}

/// `deadline` ends the present state: at it and later only `timeout` is possible. `answered` has bit i set when draw i is answered.
struct Dispute {
    bytes32 channelId;
    bytes32 inventoryRoot;
    bytes32 secretHash;
    bytes32 entropy;
    bytes32 seed;
    address challenger;
    uint64 deadline;
    uint8 answered;
    DisputeState state;
    address provider;
    uint64 leafCount;
    uint128 locked;
    uint64 issuedAt;
}

/// What the court remembers of a channel. Commitments issued at `upheldAt` or before are spent.
struct Docket {
    uint128 restituted;
    uint48 freeAt;
    uint48 upheldAt;
    uint24 count;
    bool open;
}
