// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {Channels} from "./Channels.sol";
import {ICourt} from "./ICourt.sol";
import {Providers} from "./Providers.sol";
import {DrawLib} from "./lib/DrawLib.sol";
import {InventoryLib} from "./lib/InventoryLib.sol";
import {MerkleLib} from "./lib/MerkleLib.sol";
import {SignatureLib} from "./lib/SignatureLib.sol";
import {TokenLib} from "./lib/TokenLib.sol";
import {Channel} from "./types/Channel.sol";
import {Commitment, Counts, Dispute, DisputeState, Docket, Entry, InventoryStep, Release} from "./types/Dispute.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";

/// See ICourt.
contract Court is ICourt, EIP712, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;
    using TokenLib for IERC20;

    uint128 public constant BOND = 10e18;
    uint8 public constant DRAWS = 5;
    uint64 public constant JOIN = 6 hours;
    uint64 public constant REVEAL = 6 hours;
    uint64 public constant RESPONSE = 12 hours;
    uint64 public constant COOLDOWN = 24 hours;
    uint64 public constant COMMITMENT_LIFE_MAX = 72 hours;
    bytes32 public constant COMMITMENT_TYPEHASH =
        keccak256("Commitment(bytes32 channelId,bytes32 inventoryRoot,uint64 leafCount,uint64 issuedAt,uint64 validUntil,uint128 atRisk)");
    bytes32 public constant RELEASE_TYPEHASH =
        keccak256("Release(bytes32 channelId,bytes32 shardsRoot,uint64 shardCount,uint64 releasedAt)");

    uint8 private constant ALL_ANSWERED = uint8(2 ** DRAWS - 1);

    IERC20 public immutable token;
    Providers public immutable providers;
    Channels public immutable channels;
    mapping(bytes32 id => Dispute) private disputes;
    mapping(bytes32 channelId => Docket) private dockets;

    constructor(IERC20 token_, Providers providers_, Channels channels_) EIP712("Cairn Court", "1") {
        if (providers_.court() != address(this) || providers_.token() != token_ || channels_.token() != token_) revert WrongContracts();
        // What a commitment puts at risk cannot have left before its last dispute has ended.
        assert(COMMITMENT_LIFE_MAX + JOIN + REVEAL + RESPONSE < providers_.UNBONDING());
        token = token_;
        providers = providers_;
        channels = channels_;
    }

    function challenge(Commitment calldata commitment, bytes calldata providerSig, bytes32 secretHash)
        external
        nonReentrant
        returns (bytes32 id)
    {
        Channel memory channel = channels.channel(commitment.channelId);
        if (msg.sender != channel.payer && msg.sender != channel.signer) revert NotAllowed();
        _checkCommitment(commitment, channel.payee, providerSig);
        Docket storage record = dockets[commitment.channelId];
        if (record.open) revert DisputeOpen();
        if (block.timestamp < record.freeAt) revert CoolingDown(record.freeAt);
        if (commitment.issuedAt <= record.upheldAt) revert CommitmentSpent();
        id = disputeId(commitment.channelId, record.count);
        record.open = true;
        record.count += 1;
        // The provider's registry is one of ours and calls nobody back.
        uint128 locked = providers.lock(channel.payee, commitment.atRisk);
        if (locked == 0) revert NothingAtRisk();
        uint64 deadline = uint64(block.timestamp) + JOIN;
        Dispute storage opened = disputes[id];
        opened.channelId = commitment.channelId;
        opened.inventoryRoot = commitment.inventoryRoot;
        opened.secretHash = secretHash;
        (opened.challenger, opened.deadline, opened.state) = (msg.sender, deadline, DisputeState.Challenged);
        (opened.provider, opened.leafCount) = (channel.payee, commitment.leafCount);
        (opened.locked, opened.issuedAt) = (locked, commitment.issuedAt);
        _emitChallenged(id, opened);
        token.pull(msg.sender, BOND);
    }

    function join(bytes32 id, bytes32 entropy) external {
        Dispute storage joined = _inTime(id, DisputeState.Challenged);
        uint64 now_ = uint64(block.timestamp);
        if (msg.sender != joined.provider && !providers.signerValid(joined.provider, msg.sender, now_)) revert NotAllowed();
        uint64 deadline = now_ + REVEAL;
        joined.entropy = entropy;
        (joined.deadline, joined.state) = (deadline, DisputeState.Joined);
        emit Joined(id, entropy, deadline);
    }

    function reveal(bytes32 id, bytes32 secret) external {
        Dispute storage revealed = _inTime(id, DisputeState.Joined);
        if (keccak256(abi.encode(secret, revealed.channelId)) != revealed.secretHash) revert WrongSecret();
        uint64 deadline = uint64(block.timestamp) + RESPONSE;
        bytes32 seed = keccak256(abi.encode(secret, revealed.entropy, id));
        revealed.seed = seed;
        (revealed.deadline, revealed.state) = (deadline, DisputeState.Revealed);
        emit Revealed(id, seed, deadline);
    }

    function respond(
        bytes32 id,
        uint8 i,
        Entry calldata entry,
        InventoryStep[] calldata path,
        Counts calldata counts,
        bytes calldata leaf,
        bytes32[] calldata shardPath
    ) external nonReentrant {
        uint64 index = _leafIndex(id, i, entry, path, counts);
        if (MerkleLib.shardRoot(leaf, index, entry.leafCount, entry.byteLen, shardPath) != entry.shardRoot) revert WrongLeaf();
        _answer(id, i, false);
    }

    function respondReleased(
        bytes32 id,
        uint8 i,
        Entry calldata entry,
        InventoryStep[] calldata path,
        Counts calldata counts,
        Release calldata release,
        bytes memory releaseSig, // in memory: a slot less on the stack, or unoptimised code (coverage) has no room
        uint64 index,
        bytes32[] calldata releasePath
    ) external nonReentrant {
        _leafIndex(id, i, entry, path, counts);
        _checkRelease(disputes[id], release, releaseSig);
        if (MerkleLib.releaseRoot(entry.shardRoot, index, release.shardCount, releasePath) != release.shardsRoot) revert WrongRelease();
        _answer(id, i, true);
    }

    function timeout(bytes32 id) external nonReentrant {
        Dispute storage ended = disputes[id];
        DisputeState state = ended.state;
        if (state != DisputeState.Challenged && state != DisputeState.Joined && state != DisputeState.Revealed) revert NotNow();
        if (block.timestamp < ended.deadline) revert TooEarly();
        if (state == DisputeState.Joined) _dismiss(id, ended);
        else _uphold(id, ended);
    }

    function dispute(bytes32 id) external view returns (Dispute memory) {
        return disputes[id];
    }

    function docket(bytes32 channelId) external view returns (Docket memory) {
        return dockets[channelId];
    }

    function drawn(bytes32 id, uint8 i) external view returns (uint64) {
        Dispute storage revealed = disputes[id];
        if (i >= DRAWS || revealed.seed == 0) revert WrongDraw();
        return DrawLib.number(revealed.seed, i, revealed.leafCount);
    }

    function disputeId(bytes32 channelId, uint256 number) public pure returns (bytes32) {
        return keccak256(abi.encode(channelId, number));
    }

    function commitmentDigest(Commitment calldata commitment) public view returns (bytes32) {
        return _hashTypedDataV4(
            keccak256(
                abi.encode(
                    COMMITMENT_TYPEHASH,
                    commitment.channelId,
                    commitment.inventoryRoot,
                    commitment.leafCount,
                    commitment.issuedAt,
                    commitment.validUntil,
                    commitment.atRisk
                )
            )
        );
    }

    function releaseDigest(Release calldata release) public view returns (bytes32) {
        return _hashTypedDataV4(
            keccak256(abi.encode(RELEASE_TYPEHASH, release.channelId, release.shardsRoot, release.shardCount, release.releasedAt))
        );
    }

    function _checkCommitment(Commitment calldata commitment, address provider, bytes calldata sig) private view {
        if (block.timestamp < commitment.issuedAt || block.timestamp >= commitment.validUntil) revert CommitmentNotValid();
        if (commitment.validUntil - commitment.issuedAt > COMMITMENT_LIFE_MAX) revert CommitmentNotValid();
        if (commitment.leafCount == 0) revert EmptyInventory();
        address by = SignatureLib.signedBy(commitmentDigest(commitment), sig);
        if (by == address(0) || !providers.signerValid(provider, by, commitment.issuedAt)) revert BadSignature();
    }

    function _checkRelease(Dispute storage answered, Release calldata release, bytes memory sig) private view {
        if (release.channelId != answered.channelId || release.releasedAt < answered.issuedAt) revert WrongRelease();
        Channel memory channel = channels.channel(release.channelId);
        if (!SignatureLib.byClient(channel.payer, channel.signer, releaseDigest(release), sig)) revert BadSignature();
    }

    function _inTime(bytes32 id, DisputeState state) private view returns (Dispute storage found) {
        found = disputes[id];
        if (found.state != state || block.timestamp >= found.deadline) revert NotNow();
    }

    /// The index in the entry's shard of the leaf that draw `i` asks for.
    function _leafIndex(bytes32 id, uint8 i, Entry calldata entry, InventoryStep[] calldata path, Counts calldata counts)
        private
        view
        returns (uint64)
    {
        Dispute storage asked = _inTime(id, DisputeState.Revealed);
        if (i >= DRAWS || asked.answered & _bit(i) != 0) revert WrongDraw();
        uint64 leafCount = asked.leafCount;
        return InventoryLib.leafIndex(asked.inventoryRoot, leafCount, DrawLib.number(asked.seed, i, leafCount), entry, path, counts);
    }

    function _answer(bytes32 id, uint8 i, bool released) private {
        Dispute storage answered = disputes[id];
        uint8 bits = answered.answered | _bit(i);
        answered.answered = bits;
        emit Answered(id, i, released);
        if (bits == ALL_ANSWERED) _dismiss(id, answered);
    }

    /// In the provider's favour.
    function _dismiss(bytes32 id, Dispute storage ended) private {
        ended.state = DisputeState.Dismissed;
        _release(dockets[ended.channelId]);
        emit Dismissed(id, ended.channelId, ended.provider);
        providers.unlock(ended.provider, ended.locked);
        token.safeTransfer(ended.provider, BOND);
    }

    /// Against the provider. What one channel's client gets back is never more than it has paid on that channel.
    function _uphold(bytes32 id, Dispute storage ended) private {
        ended.state = DisputeState.Upheld;
        Docket storage record = dockets[ended.channelId];
        _release(record);
        record.upheldAt = uint48(block.timestamp);
        Channel memory channel = channels.channel(ended.channelId);
        (uint128 slashed, uint128 restituted) =
            providers.slash(ended.provider, ended.locked, channel.payer, channel.settled - record.restituted);
        record.restituted += restituted;
        emit Upheld(id, ended.channelId, ended.provider, slashed, restituted);
        token.safeTransfer(ended.challenger, BOND);
    }

    function _release(Docket storage record) private {
        // Seconds fit 48 bits for millions of years.
        // forge-lint: disable-next-line(unsafe-typecast)
        (record.open, record.freeAt) = (false, uint48(block.timestamp + COOLDOWN));
    }

    function _emitChallenged(bytes32 id, Dispute storage opened) private {
        emit Challenged(
            id,
            opened.channelId,
            opened.provider,
            opened.challenger,
            opened.inventoryRoot,
            opened.leafCount,
            opened.issuedAt,
            opened.locked,
            opened.secretHash,
            opened.deadline
        );
    }

    function _bit(uint8 i) private pure returns (uint8) {
        return uint8(1) << i;
    }
}
