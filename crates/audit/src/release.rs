//! Release: a client's signed word that a provider may drop shards; a complete defence in court for each of them.
//!
//! Format: `docs/formats/commitment.md`; vectors: `tests/vectors/release.json`, `tests/vectors/eip712.json`.
//! Never: a release of nothing. Limits: [`RELEASE_SHARDS_MAX`] shards.

use cairn_types::eip712::{self, Word, word_secs, word_u64};
use cairn_types::limits::RELEASE_SHARDS_MAX;
use cairn_types::merkle::{self, Hash};
use cairn_types::{Address, ChannelId, Domain, EvmSignature, ShardRoot, UnixSecs, WalletKey};
use sha2::{Digest, Sha256};

/// The EIP-712 type.
pub const RELEASE_TYPE: &str = "Release(bytes32 channelId,bytes32 shardsRoot,uint64 shardCount,uint64 releasedAt)";

const TAG_LEAF: u8 = 0x30;
const TAG_NODE: u8 = 0x31;
const TAG_ROOT: u8 = 0x32;

/// What a client lets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Release {
    /// The channel under which the shards were paid for.
    pub channel: ChannelId,
    /// Root of the tree over the shards' roots.
    pub shards_root: Hash,
    /// Shards in that tree.
    pub shard_count: u64,
    /// When; commitments issued later are not covered.
    pub released_at: UnixSecs,
}

impl Release {
    /// The digest that the channel's payer or signer signs, in the domain of the contract `Court`.
    pub fn digest(&self, court: &Domain) -> Word {
        let words = [self.channel.0, self.shards_root, word_u64(self.shard_count), word_secs(self.released_at)];
        eip712::digest(court, &eip712::keccak256(RELEASE_TYPE), &words)
    }

    /// Signs with the client's session key.
    pub fn sign(self, court: &Domain, key: &WalletKey) -> SignedRelease {
        SignedRelease { release: self, signature: key.sign_digest(&self.digest(court)) }
    }

    /// Whether `shard` is number `index` of the shards released.
    pub fn covers(&self, shard: &ShardRoot, index: u64, path: &[Hash]) -> bool {
        merkle::top_by_path(self.shard_count, index, leaf_hash(shard), path, node_hash)
            .is_some_and(|top| root_hash(self.shard_count, &top) == self.shards_root)
    }
}

/// A release with its signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedRelease {
    /// What is let go.
    pub release: Release,
    /// By the channel's payer or signer.
    pub signature: EvmSignature,
}

impl SignedRelease {
    /// Whether one of `signers` (the channel's payer and signer) signed.
    pub fn is_by_one_of(&self, court: &Domain, signers: &[Address]) -> bool {
        self.signature.recover(&self.release.digest(court)).is_some_and(|signer| signers.contains(&signer))
    }
}

/// The tree over the shards of one release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseTree {
    shards: Vec<ShardRoot>,
    leaves: Vec<Hash>,
}

/// Shards that cannot be released together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a release names 1 to {RELEASE_SHARDS_MAX} shards, not {0}")]
pub struct ReleaseSizeError(usize);

impl ReleaseTree {
    /// The tree over these shards, sorted and each once.
    ///
    /// # Errors
    /// [`ReleaseSizeError`] for none and for too many.
    pub fn new(shards: impl IntoIterator<Item = ShardRoot>) -> Result<ReleaseTree, ReleaseSizeError> {
        let mut shards: Vec<ShardRoot> = shards.into_iter().take(RELEASE_SHARDS_MAX + 1).collect();
        if shards.is_empty() || shards.len() > RELEASE_SHARDS_MAX {
            return Err(ReleaseSizeError(shards.len()));
        }
        shards.sort_unstable();
        shards.dedup();
        let leaves = shards.iter().map(leaf_hash).collect();
        Ok(ReleaseTree { shards, leaves })
    }

    /// The release of these shards.
    pub fn release(&self, channel: ChannelId, released_at: UnixSecs) -> Release {
        Release { channel, shards_root: self.root(), shard_count: self.shards.len() as u64, released_at }
    }

    /// The shards in the tree's order.
    pub fn shards(&self) -> &[ShardRoot] {
        &self.shards
    }

    /// `H(0x32 ‖ count ‖ top)`.
    pub fn root(&self) -> Hash {
        root_hash(self.leaves.len() as u64, &top(&self.leaves))
    }

    /// Number and path of a shard, siblings nearest first; `None` when it is not released.
    pub fn path(&self, shard: &ShardRoot) -> Option<(u64, Vec<Hash>)> {
        let index = self.shards.binary_search(shard).ok()?;
        let (mut path, mut span, mut at) = (Vec::new(), self.leaves.as_slice(), index);
        while span.len() > 1 {
            let (left, right) = halves(span);
            if at < left.len() {
                path.push(top(right));
                span = left;
            } else {
                path.push(top(left));
                at -= left.len();
                span = right;
            }
        }
        path.reverse();
        Some((index as u64, path))
    }
}

fn leaf_hash(shard: &ShardRoot) -> Hash {
    let mut bytes = [TAG_LEAF; 33];
    bytes[1..].copy_from_slice(&shard.0);
    Sha256::digest(bytes).into()
}

fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut bytes = [TAG_NODE; 65];
    bytes[1..33].copy_from_slice(left);
    bytes[33..].copy_from_slice(right);
    Sha256::digest(bytes).into()
}

fn root_hash(count: u64, top: &Hash) -> Hash {
    let mut bytes = [TAG_ROOT; 41];
    bytes[1..9].copy_from_slice(&count.to_be_bytes());
    bytes[9..].copy_from_slice(top);
    Sha256::digest(bytes).into()
}

/// Splits more than one at the largest power of two below their number.
fn halves(leaves: &[Hash]) -> (&[Hash], &[Hash]) {
    leaves.split_at(leaves.len().next_power_of_two() / 2)
}

fn top(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => [0; 32], // there is no release of nothing
        [leaf] => *leaf,
        many => {
            let (left, right) = halves(many);
            node_hash(&top(left), &top(right))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(number: u32) -> ShardRoot {
        ShardRoot(Sha256::digest(number.to_be_bytes()).into())
    }

    #[test]
    fn every_shard_proves_itself_and_nothing_else() {
        for count in 1..40 {
            let tree = ReleaseTree::new((0..count).rev().map(shard)).expect("not too many");
            let release = tree.release(ChannelId([1; 32]), UnixSecs(5));
            for (index, shard) in tree.shards().iter().enumerate() {
                let (found, path) = tree.path(shard).expect("in the tree");
                assert_eq!(found, index as u64);
                assert!(release.covers(shard, found, &path));
                assert!(!release.covers(shard, found + 1, &path) && !release.covers(&ShardRoot([0; 32]), found, &path));
                assert!(!release.covers(shard, found, &[path.clone(), vec![[0; 32]]].concat()));
                assert!(!Release { shard_count: release.shard_count + 1, ..release }.covers(shard, found, &path));
                for step in 0..path.len() {
                    let mut changed = path.clone();
                    changed[step][step % 32] ^= 1;
                    assert!(!release.covers(shard, found, &changed));
                }
            }
            assert_eq!(tree.path(&ShardRoot([0; 32])), None);
        }
        assert!(
            !Release { channel: ChannelId([0; 32]), shards_root: [0; 32], shard_count: u64::MAX, released_at: UnixSecs(0) }
                .covers(&shard(0), u64::MAX - 1, &[[0; 32]; 64])
        );
    }

    #[test]
    fn a_release_names_some_shards_each_once() {
        assert_eq!(ReleaseTree::new([]), Err(ReleaseSizeError(0)));
        let many = (0..=RELEASE_SHARDS_MAX as u32).map(shard);
        assert_eq!(ReleaseTree::new(many), Err(ReleaseSizeError(RELEASE_SHARDS_MAX + 1)));
        let (once, twice) = (ReleaseTree::new([shard(1), shard(2)]), ReleaseTree::new([shard(2), shard(1), shard(2)]));
        assert_eq!(once, twice);
    }

    #[test]
    fn payer_or_signer_may_release_and_nobody_else() {
        let [payer, signer, other] = [1, 2, 3].map(|secret| WalletKey::from_secret(&[secret; 32]).expect("in range"));
        let court = Domain::court(1, Address([9; 20]));
        let release = ReleaseTree::new([shard(1)]).expect("one").release(ChannelId([1; 32]), UnixSecs(5));
        let both = [payer.address(), signer.address()];
        assert!(release.sign(&court, &payer).is_by_one_of(&court, &both));
        assert!(release.sign(&court, &signer).is_by_one_of(&court, &both));
        assert!(!release.sign(&court, &other).is_by_one_of(&court, &both));
        let signed = release.sign(&court, &payer);
        for release in [
            Release { channel: ChannelId([2; 32]), ..release },
            Release { shards_root: [0; 32], ..release },
            Release { shard_count: 2, ..release },
            Release { released_at: UnixSecs(6), ..release },
        ] {
            assert!(!SignedRelease { release, ..signed }.is_by_one_of(&court, &both));
        }
        assert!(!signed.is_by_one_of(&Domain::channels(1, court.contract), &both));
    }
}
