//! Defence: joins disputes over this provider's commitments and answers every draw, with the leaf or with the client's release.
//!
//! Nothing is kept of a dispute: what the court says now, the shards, the releases and the commitments are all that an answer needs, so a
//! restart goes on where it was. Never: an answer that the court would not take. Limits: one pass at a time; a few calls for each channel
//! whose commitments can still be disputed.

use std::collections::HashMap;

use cairn_audit::court::{self, Dispute, Place, Question, ReleasedAnswer};
use cairn_audit::disputes::{Defence, DisputeError, DisputeRecord, DisputeState, Disputes};
use cairn_audit::{Entry, Inventory, ReleaseTree, SignedCommitment, SignedRelease};
use cairn_types::eip712::{Word, keccak256};
use cairn_types::limits::FRAME_LEN;
use cairn_types::{ChannelId, DealId, NodeId, ShardRoot, UnixMs};
use tracing::{error, info, warn};

use crate::accounts::{AccountError, Accounts, Slot};
use crate::ledger::{ChannelRow, CommitmentRow, ReleaseRow, numbered_of};
use crate::store::{Held, Store};

/// After its last commitment has run out, a channel is looked at for so long: all windows of a dispute.
const WINDOWS_SECS: u64 = 24 * 60 * 60;

/// A dispute against this provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accused {
    /// Its id.
    pub id: Word,
    /// The deal whose data is asked for.
    pub deal: DealId,
    /// As the court has it.
    pub record: DisputeRecord,
}

impl Accounts {
    /// The last dispute of each channel whose commitments can still be disputed, open or ended.
    ///
    /// # Errors
    /// [`AccountError`] when the ledger or the court cannot be asked.
    pub async fn disputes(&self) -> Result<Vec<Accused>, AccountError> {
        let Some(court) = &self.0.paid.court else { return Ok(Vec::new()) };
        let now = self.0.clock.now().secs();
        let mut found = Vec::new();
        for (key, row) in self.0.ledger.rows::<ChannelRow>(&[], &[], usize::MAX)? {
            let until = self.slot(&row.deal).and_then(|slot| slot.with(|account| account.committed_until()));
            let disputable = until.is_some_and(|until| now < until.plus_secs(WINDOWS_SECS));
            let Some(channel) = ChannelId::from_slice(&key).filter(|_| disputable) else { continue };
            let docket = court.docket(channel).await?;
            let Some(number) = docket.count.checked_sub(1) else { continue };
            let id = court::dispute_id(channel, number);
            if let Some(record) = court.dispute(id).await? {
                found.push(Accused { id, deal: row.deal, record });
            }
        }
        Ok(found)
    }

    /// Does what is to be done in every open dispute against this provider.
    ///
    /// # Errors
    /// [`AccountError`]; the next pass goes on.
    pub(crate) async fn defend(&self) -> Result<(), AccountError> {
        let Some(court) = &self.0.paid.court else { return Ok(()) };
        let mut failed = None;
        for accused in self.disputes().await? {
            if accused.record.state.is_final() {
                continue;
            }
            if let Err(trouble) = self.act(&**court, &accused).await {
                error!(dispute = hex(&accused.id), error = %trouble, "A DISPUTE AGAINST THIS PROVIDER IS OPEN AND NOT ANSWERED: collateral is at risk");
                failed = Some(trouble);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn act(&self, court: &dyn Disputes, accused: &Accused) -> Result<(), AccountError> {
        let Accused { id, deal, record } = *accused;
        let over = court.now().await?.max(self.0.clock.now().secs()) >= record.deadline;
        match (record.state, over) {
            (DisputeState::Challenged, false) => {
                warn!(dispute = hex(&id), %deal, at_risk = %record.locked, deadline_s = record.deadline.0, "challenged: joining");
                court.join(command(b"cairn/court/join/1", &id, 0), id, self.entropy(&id)).await?;
            }
            (DisputeState::Joined, true) => {
                court.time_out(command(b"cairn/court/timeout/1", &id, 0), id).await?;
                info!(dispute = hex(&id), "the challenger did not reveal: its bond is ours");
            }
            (DisputeState::Revealed, false) => self.answer_all(court, accused).await?,
            (DisputeState::Joined, false) | (DisputeState::Challenged | DisputeState::Revealed, true) => {}
            (DisputeState::Dismissed | DisputeState::Upheld, _) => {}
        }
        Ok(())
    }

    async fn answer_all(&self, court: &dyn Disputes, accused: &Accused) -> Result<(), AccountError> {
        let Accused { id, record, .. } = accused;
        let slot = self.slot(&accused.deal).ok_or(AccountError::Evidence("the deal is not known any more"))?;
        let evidence = self.evidence(&slot, record).await?;
        let mut lost = 0;
        for index in (0..court::DRAWS).filter(|index| record.answered & (1 << index) == 0) {
            let dispute = Dispute { commitment: evidence.signed.commitment, seed: record.seed };
            let Some(defence) = self.defence(&slot, &evidence, &dispute, index).await? else {
                lost += 1;
                continue;
            };
            court.answer(command(b"cairn/court/answer/1", id, index), *id, index, &defence).await?;
        }
        if lost > 0 {
            return Err(AccountError::Evidence("leaves that were drawn are neither on disk nor released"));
        }
        info!(dispute = hex(id), "every draw is answered: the bond is ours");
        Ok(())
    }

    /// A draw's answer; `None` when the bytes are lost and nobody released them.
    async fn defence(
        &self,
        slot: &Slot,
        evidence: &Evidence,
        dispute: &Dispute,
        index: u32,
    ) -> Result<Option<Defence>, AccountError> {
        let question = Question::new(dispute, &evidence.inventory, index)
            .ok_or(AccountError::Evidence("the inventory of the commitment cannot be built again"))?;
        let client = slot.with(|account| account.agreement.client).ok_or(AccountError::Evidence("the deal has no account"))?;
        let (store, deal, asked) = (self.0.store.clone(), slot.deal, question.clone());
        let leaf = self.0.store.blocking(move || leaf_of(&store, client, deal, &asked)).await?;
        if let Some(answer) = leaf.filter(|answer| dispute.judge(index, answer).is_ok()) {
            return Ok(Some(Defence::Leaf(answer)));
        }
        let signers = slot.with(|account| vec![account.channel.signer, account.channel.payer]).unwrap_or_default();
        let domain = self.0.contracts.court_domain();
        let released = evidence.released(&question.place);
        Ok(released
            .into_iter()
            .find(|answer| dispute.judge_released(index, answer, &domain, &signers).is_ok())
            .map(Defence::Released))
    }

    /// The commitment that a dispute is about, its inventory, and the releases since.
    async fn evidence(&self, slot: &Slot, record: &DisputeRecord) -> Result<Evidence, AccountError> {
        let deal = slot.deal;
        let is_it = |row: &CommitmentRow| {
            let commitment = &row.signed.commitment;
            commitment.channel == record.channel
                && commitment.inventory_root == record.inventory_root
                && commitment.issued_at == record.issued_at
        };
        let rows = self.0.ledger.rows::<CommitmentRow>(deal.as_bytes(), deal.as_bytes(), usize::MAX)?;
        let mut found = rows.into_iter().filter(|(_, row)| is_it(row)).filter_map(|(key, row)| Some((numbered_of(&key)?.1, row)));
        let (number, row) = found.next().ok_or(AccountError::Evidence("the commitment is not among those that were kept"))?;
        let releases: Vec<ReleaseRow> = self
            .0
            .ledger
            .rows::<ReleaseRow>(deal.as_bytes(), deal.as_bytes(), usize::MAX)?
            .into_iter()
            .filter(|(key, _)| numbered_of(key).is_some_and(|(_, at)| at > number))
            .map(|(_, row)| row)
            .collect();
        let store = self.0.store.clone();
        let mut pool = self
            .0
            .store
            .blocking(move || {
                let mut held = Vec::new();
                store.each_held(&deal, |shard| held.push(shard)).map(|()| held)
            })
            .await??;
        for release in &releases {
            pool.extend(release.removed.iter().map(|removed| Held {
                root: release.roots[usize::from(removed.index)],
                len: removed.len,
                stored_at: removed.stored_at,
            }));
        }
        let inventory = self.0.store.blocking(move || rebuilt(pool, &row)).await?;
        let inventory = inventory.ok_or(AccountError::Evidence("the inventory of the commitment cannot be built again"))?;
        Ok(Evidence { signed: row.signed, inventory, releases })
    }

    /// What nobody can know before it is shown, and what is the same after a restart.
    fn entropy(&self, id: &Word) -> Word {
        let digest = keccak256([&b"cairn/court/entropy/1"[..], id].concat());
        keccak256(self.0.paid.signer.sign_digest(&digest).0)
    }
}

struct Evidence {
    signed: SignedCommitment,
    inventory: Inventory,
    releases: Vec<ReleaseRow>,
}

impl Evidence {
    /// Answers by releases of the shard at `place`.
    fn released(&self, place: &Place) -> Vec<ReleasedAnswer> {
        let root = place.entry.shard_root;
        let answer = |row: &ReleaseRow| {
            let signature = row.signature?;
            let tree = ReleaseTree::new(row.roots.iter().copied()).ok()?;
            let (index, release_path) = tree.path(&root)?;
            let release = SignedRelease { release: tree.release(row.channel, row.released_at.secs()), signature };
            Some(ReleasedAnswer { place: place.clone(), release, index, release_path })
        };
        self.releases.iter().filter_map(answer).collect()
    }
}

/// The inventory that was committed to, out of all that was there then or came since: shards came in the order of their moments, so it is
/// the first so many of them. Those that were on their way at that moment may have been counted in another order: near the border every
/// choice is tried.
fn rebuilt(mut pool: Vec<Held>, row: &CommitmentRow) -> Option<Inventory> {
    let mut first: HashMap<ShardRoot, UnixMs> = HashMap::new();
    for shard in &pool {
        let at = first.entry(shard.root).or_insert(shard.stored_at);
        *at = (*at).min(shard.stored_at);
    }
    pool.retain(|shard| first.get(&shard.root) == Some(&shard.stored_at));
    pool.sort_unstable_by_key(|shard| (shard.stored_at, shard.root));
    pool.dedup_by_key(|shard| shard.root);
    let pool: Vec<Entry> = pool.into_iter().filter_map(|held| Entry::new(held.root, held.len)).collect();
    let count = usize::try_from(row.totals.entries).ok().filter(|count| *count <= pool.len())?;
    let border = &pool[count.saturating_sub(BORDER)..pool.len().min(count + BORDER)];
    let (sure, missing) = (count.saturating_sub(BORDER), count - count.saturating_sub(BORDER));
    let base = Inventory::from_entries(pool[..sure].iter().copied()).ok()?;
    let in_order = (1u32 << missing) - 1;
    let masks = (0u32..1 << border.len()).filter(|mask| mask.count_ones() as usize == missing && *mask != in_order);
    std::iter::once(in_order).chain(masks).find_map(|mask| {
        let mut inventory = base.clone();
        for (at, entry) in border.iter().enumerate() {
            if mask >> at & 1 == 1 {
                inventory.insert(*entry).ok()?;
            }
        }
        let is_it = inventory.totals() == row.totals && inventory.root() == row.signed.commitment.inventory_root;
        is_it.then_some(inventory)
    })
}

/// Shards on either side of a commitment's moment whose order is not relied on.
const BORDER: usize = 7;

/// The leaf from the disk, if it is there and right. Blocking.
fn leaf_of(store: &Store, client: NodeId, deal: DealId, question: &Question) -> Option<court::Answer> {
    let entry = &question.place.entry;
    let reader = store.reader(client, deal, entry.shard_root, true).ok()?;
    let offset = question.block().checked_mul(FRAME_LEN as u64)?;
    let len = reader.shard_len().checked_sub(offset)?.min(FRAME_LEN as u64);
    let mut block = vec![0; usize::try_from(len).ok()?];
    reader.read_at(offset, &mut block).ok()?;
    question.answer(&block, &reader.path(question.block()).ok()?)
}

fn command(label: &[u8], id: &Word, index: u32) -> Word {
    keccak256([label, id, &index.to_be_bytes()].concat())
}

fn hex(id: &Word) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl From<DisputeError> for AccountError {
    fn from(error: DisputeError) -> AccountError {
        AccountError::Chain(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use cairn_audit::{Commitment, Totals};
    use cairn_types::{Amount, Domain, UnixSecs, WalletKey};

    use super::*;

    fn held(number: u8, stored_at: u64) -> Held {
        Held { root: ShardRoot([number; 32]), len: 1024 * u64::from(number), stored_at: UnixMs(stored_at) }
    }

    fn committed(shards: &[Held]) -> CommitmentRow {
        let inventory = Inventory::from_entries(shards.iter().filter_map(|held| Entry::new(held.root, held.len))).unwrap();
        let totals: Totals = inventory.totals();
        let commitment = Commitment {
            channel: ChannelId([1; 32]),
            inventory_root: inventory.root(),
            leaf_count: totals.leaves,
            issued_at: UnixSecs(1),
            valid_until: UnixSecs(2),
            at_risk: Amount::CREDIT,
        };
        let key = WalletKey::from_secret(&[7; 32]).unwrap();
        let signed = commitment.sign(&Domain::court(1, cairn_types::Address([2; 20])), &key);
        CommitmentRow { kept_until: UnixMs(9), signed, totals }
    }

    #[test]
    fn an_inventory_is_built_again_from_what_was_there_then() {
        let then = [held(1, 5), held(2, 5), held(3, 7), held(4, 7)];
        let row = committed(&then);
        let with = |more: &[Held]| rebuilt([&then[..], more].concat(), &row).map(|inventory| inventory.root());
        let right = Some(row.signed.commitment.inventory_root);
        assert_eq!(with(&[]), right);
        assert_eq!(with(&[held(9, 8)]), right, "stored since");
        assert_eq!(with(&[held(9, 7), held(8, 7)]), right, "stored in the same millisecond, and after the cut");
        assert_eq!(with(&[held(9, 6)]), right, "on its way, and counted after the cut");
        assert_eq!(with(&[held(1, 20)]), right, "released and stored again");
        assert_eq!(with(&[held(2, 5)]), right, "on two disks");
        let many: Vec<Held> = (20..40).map(|number| held(number, 8)).collect();
        assert_eq!(with(&many), right, "many since");
        assert!(rebuilt(then[1..].to_vec(), &row).is_none(), "one is missing");
        assert!(rebuilt([&then[1..], &many[..]].concat(), &row).is_none(), "one is missing, and others are there");
    }
}
