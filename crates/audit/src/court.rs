//! Court: answers to a dispute's draw, and their check, the same as in the contract `Court`.
//!
//! Format: `docs/formats/inventory.md`, `docs/formats/commitment.md`; vectors: `tests/vectors/court.json`.
//! Never: an answer sent that does not pass this check. Limits: [`DRAWS`] draws for each dispute.

use cairn_types::eip712::{self, Word, word_u64};
use cairn_types::limits::{FRAME_LEAVES, LEAF_LEN};
use cairn_types::merkle::{self, Hash};
use cairn_types::{Address, ChannelId, Domain, ShardRoot};

use crate::commitment::Commitment;
use crate::draw;
use crate::inventory::{Inventory, Located};
use crate::path::{Entry, InventoryStep, PathError, Totals, verify_path};
use crate::release::SignedRelease;

/// Leaves that one dispute draws.
pub const DRAWS: u32 = 5;

/// What a challenger publishes first: `keccak256(abi.encode(secret, channel))`.
pub fn secret_hash(secret: &Word, channel: ChannelId) -> Word {
    eip712::hash_words(&[*secret, channel.0])
}

/// Id of a channel's dispute number `number`: `keccak256(abi.encode(channel, number))`.
pub fn dispute_id(channel: ChannelId, number: u64) -> Word {
    eip712::hash_words(&[channel.0, word_u64(number)])
}

/// What draws the leaves: `keccak256(abi.encode(secret, entropy, dispute))`.
pub fn seed(secret: &Word, entropy: &Word, dispute: &Word) -> Word {
    eip712::hash_words(&[*secret, *entropy, *dispute])
}

/// An entry as an answer states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryClaim {
    /// Name of the shard.
    pub shard_root: ShardRoot,
    /// Its leaves.
    pub leaf_count: u64,
    /// Its bytes.
    pub byte_len: u64,
}

/// What the root holds besides the leaf count, which is in the commitment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Shards of the inventory.
    pub entries: u64,
    /// Bytes of the inventory.
    pub bytes: u64,
}

/// Which shard a draw fell on: the part that every answer has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The shard's entry.
    pub entry: EntryClaim,
    /// From the entry up to the inventory's top.
    pub path: Vec<InventoryStep>,
    /// The inventory's counts.
    pub counts: Counts,
}

/// "Here is the leaf."
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Which shard.
    pub place: Place,
    /// The leaf's bytes.
    pub leaf: Vec<u8>,
    /// From the leaf up to the shard's top, nearest first.
    pub shard_path: Vec<Hash>,
}

/// "You let me drop it."
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleasedAnswer {
    /// Which shard.
    pub place: Place,
    /// By the channel's payer or signer.
    pub release: SignedRelease,
    /// The shard's number in the release.
    pub index: u64,
    /// From the shard up to the release's top, nearest first.
    pub release_path: Vec<Hash>,
}

/// An answer that is no defence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CourtError {
    /// No such draw.
    #[error("draw {0} does not exist: a dispute has {DRAWS}, over one leaf at least")]
    NoSuchDraw(u32),
    /// An entry that no inventory has.
    #[error("an entry of {byte_len} bytes and {leaf_count} leaves does not exist")]
    BadEntry {
        /// Bytes stated.
        byte_len: u64,
        /// Leaves stated.
        leaf_count: u64,
    },
    /// The path does not prove the entry.
    #[error("inventory path: {0}")]
    Path(#[from] PathError),
    /// The number drawn lies in another shard.
    #[error("leaf number {number} was drawn; this shard has {leaf_count} from {first} on")]
    OtherShard {
        /// The number drawn.
        number: u64,
        /// The shard's first.
        first: u64,
        /// How many it has.
        leaf_count: u64,
    },
    /// The leaf does not prove itself in the shard.
    #[error("{len} bytes do not prove to be leaf {leaf} of the shard")]
    WrongLeaf {
        /// The leaf's index.
        leaf: u64,
        /// Bytes given.
        len: usize,
    },
    /// A release of something else.
    #[error("the release is for channel {0}")]
    OtherChannel(ChannelId),
    /// A release from before the commitment.
    #[error("the release is older than the commitment, which says that the data is there")]
    OldRelease,
    /// A release by nobody who may.
    #[error("the release is signed by neither payer nor signer of the channel")]
    NotTheirRelease,
    /// The shard is not in the release.
    #[error("the shard is not number {0} of the release")]
    NotReleased(u64),
}

/// What the court goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dispute {
    /// The provider's commitment.
    pub commitment: Commitment,
    /// What draws the leaves.
    pub seed: Word,
}

impl Dispute {
    /// Leaf number of draw `index`.
    ///
    /// # Errors
    /// [`CourtError::NoSuchDraw`].
    pub fn leaf_number(&self, index: u32) -> Result<u64, CourtError> {
        let drawn = if index < DRAWS { draw::leaf_number(&self.seed, index, self.commitment.leaf_count) } else { None };
        drawn.ok_or(CourtError::NoSuchDraw(index))
    }

    /// Checks an answer with a leaf.
    ///
    /// # Errors
    /// [`CourtError`].
    pub fn judge(&self, index: u32, answer: &Answer) -> Result<(), CourtError> {
        let found = self.located(index, &answer.place)?;
        let entry = found.entry;
        let good = merkle::verify_leaf(&entry.root(), entry.byte_len(), found.leaf, &answer.leaf, &answer.shard_path);
        good.then_some(()).ok_or(CourtError::WrongLeaf { leaf: found.leaf, len: answer.leaf.len() })
    }

    /// Checks an answer with a release; `signers` are payer and signer of the commitment's channel.
    ///
    /// # Errors
    /// [`CourtError`].
    pub fn judge_released(
        &self,
        index: u32,
        answer: &ReleasedAnswer,
        court: &Domain,
        signers: &[Address],
    ) -> Result<(), CourtError> {
        let found = self.located(index, &answer.place)?;
        let release = &answer.release.release;
        if release.channel != self.commitment.channel {
            return Err(CourtError::OtherChannel(release.channel));
        }
        if release.released_at < self.commitment.issued_at {
            return Err(CourtError::OldRelease);
        }
        if !answer.release.is_by_one_of(court, signers) {
            return Err(CourtError::NotTheirRelease);
        }
        let covered = release.covers(&found.entry.root(), answer.index, &answer.release_path);
        covered.then_some(()).ok_or(CourtError::NotReleased(answer.index))
    }

    /// The leaf that draw `index` fell on, if the answer's place is where it fell.
    fn located(&self, index: u32, place: &Place) -> Result<Located, CourtError> {
        let number = self.leaf_number(index)?;
        let EntryClaim { shard_root, leaf_count, byte_len } = place.entry;
        let entry = Entry::new(shard_root, byte_len)
            .filter(|entry| entry.leaf_count() == leaf_count)
            .ok_or(CourtError::BadEntry { byte_len, leaf_count })?;
        let totals = Totals { entries: place.counts.entries, leaves: self.commitment.leaf_count, bytes: place.counts.bytes };
        let first = verify_path(&self.commitment.inventory_root, &totals, &entry, &place.path)?;
        match number.checked_sub(first).filter(|leaf| *leaf < leaf_count) {
            Some(leaf) => Ok(Located { entry, leaf }),
            None => Err(CourtError::OtherShard { number, first, leaf_count }),
        }
    }
}

/// A draw as a provider sees it: which block it must read to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Which shard.
    pub place: Place,
    /// The leaf, counted from the shard's start.
    pub leaf: u64,
}

impl Question {
    /// Draw `index` of a dispute over the inventory that was committed to; `None` when this inventory is another one.
    pub fn new(dispute: &Dispute, inventory: &Inventory, index: u32) -> Option<Question> {
        let (totals, commitment) = (inventory.totals(), &dispute.commitment);
        if inventory.root() != commitment.inventory_root || totals.leaves != commitment.leaf_count {
            return None;
        }
        let found = inventory.locate(dispute.leaf_number(index).ok()?)?;
        let entry = found.entry;
        let claim = EntryClaim { shard_root: entry.root(), leaf_count: entry.leaf_count(), byte_len: entry.byte_len() };
        let counts = Counts { entries: totals.entries, bytes: totals.bytes };
        let place = Place { entry: claim, path: inventory.path(&entry.root())?, counts };
        Some(Question { place, leaf: found.leaf })
    }

    /// The block to read, counted from the shard's start.
    pub fn block(&self) -> u64 {
        self.leaf / FRAME_LEAVES as u64
    }

    /// The answer, from the block's bytes and its path; `None` when these are not the block.
    pub fn answer(&self, block: &[u8], block_path: &[Hash]) -> Option<Answer> {
        let EntryClaim { shard_root, byte_len, .. } = self.place.entry;
        if !merkle::verify_block(&shard_root, byte_len, self.block(), block, block_path) {
            return None;
        }
        let inside = (self.leaf % FRAME_LEAVES as u64) as usize;
        let leaf = block.chunks(LEAF_LEN).nth(inside)?.to_vec();
        let shard_path = merkle::leaf_path(self.block(), block, inside, block_path)?;
        Some(Answer { place: self.place.clone(), leaf, shard_path })
    }
}
