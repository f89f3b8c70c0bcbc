//! Rows of the provider's ledger as bytes. Format: `docs/formats/provider-ledger.md`.
//!
//! Never: a row read that this version did not write. Limits: [`ROW_ROOTS_MAX`] roots and [`ROW_VOUCHERS_MAX`] vouchers in one row.

use bytes::Bytes;
use cairn_audit::{Commitment, SignedCommitment, Totals};
use cairn_market::Meter;
use cairn_market::journal::{Account, Entry, LINES_MAX, Line, MEMO_LEN_MAX, Turnover};
use cairn_market::meter::METER_LEN;
use cairn_market::settlement::ChannelState;
use cairn_market::voucher::{SignedMandate, SignedVoucher, Voucher};
use cairn_proto::DELETE_ROOTS_MAX;
use cairn_types::limits::CONTROL_LEN_MAX;
use cairn_types::{Address, Amount, ChannelId, DealId, EvmSignature, InventoryRoot, NodeId, ShardRoot, UnixMs, UnixSecs};

use super::LedgerError;
use super::codec::{In, Out};

/// Version of every row this program writes.
pub(crate) const LEDGER_VERSION: u8 = 1;
/// Roots of one removal.
pub(crate) const ROW_ROOTS_MAX: usize = DELETE_ROOTS_MAX;
/// Vouchers of one payout.
pub(crate) const ROW_VOUCHERS_MAX: usize = 64;

/// Bytes of a voucher in a row: channel, amount, signature.
const VOUCHER_LEN: usize = 32 + 16 + 65;
/// Bytes of a mandate in a row: channel, delegate, amount, end, signature.
const MANDATE_LEN: usize = 32 + 20 + 16 + 8 + 65;
const _: () =
    assert!(!(VOUCHER_LEN + MANDATE_LEN).is_multiple_of(VOUCHER_LEN), "the length of a row tells whether there is a mandate");

pub(super) const META: u8 = b'm';
pub(super) const OFFER: u8 = b'o';
pub(super) const AGREEMENT: u8 = b'g';
pub(super) const ACCOUNT: u8 = b'a';
pub(super) const CHANNEL: u8 = b'c';
pub(super) const RELEASE: u8 = b'r';
pub(super) const PENDING: u8 = b'q';
pub(super) const COMMITMENT: u8 = b'k';
pub(super) const PAYOUT: u8 = b'p';
pub(super) const NEXT_PAYOUT: u8 = b'n';
pub(super) const JOURNAL: u8 = b'j';
pub(super) const TURNOVER: u8 = b't';
pub(super) const ROLLED_UP: u8 = b'f';
pub(super) const MOMENT: u8 = b'z';

/// Key of the moment of the last payout.
pub(crate) const LAST_PAYOUT: &[u8] = b"payout";

/// An agreement as both signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AgreementRow {
    pub agreement: Bytes,
    pub client_signature: Bytes,
    pub provider_signature: Bytes,
}

/// What was counted under a deal's present agreement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct AccountRow {
    /// Storage up to the last commitment.
    pub storage: Amount,
    /// The part of it that was paid.
    pub storage_paid: Amount,
    pub read_len: u64,
    /// Shards that came and went.
    pub gone: Meter,
    /// Nothing older than this is unpaid.
    pub covered_at: UnixMs,
    /// Moment of the last commitment, by the client's clock.
    pub committed_at: UnixMs,
    /// From when on the last commitment counts.
    pub issued_at: UnixSecs,
    /// Owed at the last commitment.
    pub committed: Amount,
    /// Until when commitments on an earlier channel count.
    pub bound_until: UnixSecs,
}

/// A channel that pays, or paid, for a deal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChannelRow {
    pub deal: DealId,
    pub payer: Address,
    pub signer: Address,
    pub deposit: Amount,
    /// Paid out as far as the journal knows.
    pub settled: Amount,
    pub state: ChannelState,
    /// What ended agreements on it came to.
    pub carried: Amount,
    /// The best voucher.
    pub voucher: Option<(Amount, EvmSignature)>,
    /// What it was signed under, where a delegate signed it.
    pub mandate: Option<SignedMandate>,
}

impl ChannelRow {
    /// The best voucher, of the channel `id`.
    pub fn signed(&self, id: ChannelId) -> Option<SignedVoucher> {
        let (cumulative, signature) = self.voucher?;
        Some(SignedVoucher { voucher: Voucher { channel: id, cumulative }, signature, mandate: self.mandate })
    }
}

/// A shard that was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Removed {
    /// Place among the roots of its row.
    pub index: u16,
    pub len: u64,
    pub stored_at: UnixMs,
}

/// A removal: the client's release, or none when the provider dropped unpaid shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReleaseRow {
    pub kept_until: UnixMs,
    pub channel: ChannelId,
    pub released_at: UnixMs,
    pub signature: Option<EvmSignature>,
    /// Sorted and distinct; those of the release's tree.
    pub roots: Vec<ShardRoot>,
    /// Those that were there.
    pub removed: Vec<Removed>,
}

/// A commitment that was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CommitmentRow {
    pub kept_until: UnixMs,
    pub signed: SignedCommitment,
    pub totals: Totals,
}

/// Vouchers that are being redeemed under one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PayoutRow {
    pub vouchers: Vec<SignedVoucher>,
}

/// A row of the ledger.
pub(crate) trait Row: Sized {
    const KIND: u8;
    fn put(&self, out: &mut Out);
    fn get(bytes: &mut In<'_>) -> Option<Self>;
}

/// The bytes of a row.
pub(crate) fn encode<R: Row>(row: &R) -> Vec<u8> {
    let mut out = Out(vec![LEDGER_VERSION]);
    row.put(&mut out);
    out.0
}

/// Reads the bytes of a row.
pub(crate) fn decode<R: Row>(bytes: &[u8]) -> Result<R, LedgerError> {
    let mut bytes = In(bytes);
    let row = (bytes.u8() == Some(LEDGER_VERSION)).then(|| R::get(&mut bytes)).flatten();
    row.filter(|_| bytes.0.is_empty()).ok_or(LedgerError::Damaged(char::from(R::KIND)))
}

/// Whose ledger it is.
impl Row for NodeId {
    const KIND: u8 = META;
    fn put(&self, out: &mut Out) {
        out.bytes(self.as_bytes());
    }
    fn get(bytes: &mut In<'_>) -> Option<NodeId> {
        Some(NodeId(bytes.array()?))
    }
}

/// Until when an offer of these terms is alive; the key is their hash.
impl Row for UnixSecs {
    const KIND: u8 = OFFER;
    fn put(&self, out: &mut Out) {
        out.u64(self.0);
    }
    fn get(bytes: &mut In<'_>) -> Option<UnixSecs> {
        Some(UnixSecs(bytes.u64()?))
    }
}

/// When something was last done; the key names it.
impl Row for UnixMs {
    const KIND: u8 = MOMENT;
    fn put(&self, out: &mut Out) {
        out.u64(self.0);
    }
    fn get(bytes: &mut In<'_>) -> Option<UnixMs> {
        Some(UnixMs(bytes.u64()?))
    }
}

impl Row for AgreementRow {
    const KIND: u8 = AGREEMENT;
    fn put(&self, out: &mut Out) {
        for field in [&self.client_signature, &self.provider_signature, &self.agreement] {
            out.u16(field.len() as u16); // all three came in one control message
            out.bytes(field);
        }
    }
    fn get(bytes: &mut In<'_>) -> Option<AgreementRow> {
        let mut field = || {
            let len = usize::from(bytes.u16()?);
            bytes.bytes(len)
        };
        let (client_signature, provider_signature, agreement) = (field()?, field()?, field()?);
        Some(AgreementRow { agreement, client_signature, provider_signature })
    }
}
const _: () = assert!(CONTROL_LEN_MAX <= u16::MAX as usize + 1, "a message's field fits its length");

impl Row for AccountRow {
    const KIND: u8 = ACCOUNT;
    fn put(&self, out: &mut Out) {
        out.amount(self.storage);
        out.amount(self.storage_paid);
        out.u64(self.read_len);
        out.bytes(&self.gone.to_bytes());
        out.u64(self.covered_at.0);
        out.u64(self.committed_at.0);
        out.u64(self.issued_at.0);
        out.amount(self.committed);
        out.u64(self.bound_until.0);
    }
    fn get(bytes: &mut In<'_>) -> Option<AccountRow> {
        Some(AccountRow {
            storage: bytes.amount()?,
            storage_paid: bytes.amount()?,
            read_len: bytes.u64()?,
            gone: Meter::from_bytes(&bytes.array::<METER_LEN>()?),
            covered_at: UnixMs(bytes.u64()?),
            committed_at: UnixMs(bytes.u64()?),
            issued_at: UnixSecs(bytes.u64()?),
            committed: bytes.amount()?,
            bound_until: UnixSecs(bytes.u64()?),
        })
    }
}

impl Row for ChannelRow {
    const KIND: u8 = CHANNEL;
    fn put(&self, out: &mut Out) {
        out.bytes(self.deal.as_bytes());
        out.bytes(self.payer.as_bytes());
        out.bytes(self.signer.as_bytes());
        out.amount(self.deposit);
        out.amount(self.settled);
        out.amount(self.carried);
        let (state, closes_at) = match self.state {
            ChannelState::Open => (0, UnixSecs(0)),
            ChannelState::Closing { closes_at } => (1, closes_at),
            ChannelState::Closed => (2, UnixSecs(0)),
        };
        out.u8(state);
        out.u64(closes_at.0);
        if let Some((cumulative, signature)) = &self.voucher {
            out.amount(*cumulative);
            out.bytes(signature.as_bytes());
        }
        if let Some(mandate) = &self.mandate {
            out.mandate(mandate);
        }
    }
    fn get(bytes: &mut In<'_>) -> Option<ChannelRow> {
        let (deal, payer, signer) = (DealId(bytes.array()?), Address(bytes.array()?), Address(bytes.array()?));
        let (deposit, settled, carried) = (bytes.amount()?, bytes.amount()?, bytes.amount()?);
        let state = match (bytes.u8()?, UnixSecs(bytes.u64()?)) {
            (0, UnixSecs(0)) => ChannelState::Open,
            (1, closes_at) => ChannelState::Closing { closes_at },
            (2, UnixSecs(0)) => ChannelState::Closed,
            _ => return None,
        };
        let voucher = if bytes.0.is_empty() { None } else { Some((bytes.amount()?, EvmSignature(bytes.array()?))) };
        let mandate = if bytes.0.is_empty() { None } else { Some(bytes.mandate()?) };
        Some(ChannelRow { deal, payer, signer, deposit, settled, state, carried, voucher, mandate })
    }
}

impl Row for ReleaseRow {
    const KIND: u8 = RELEASE;
    fn put(&self, out: &mut Out) {
        out.u64(self.kept_until.0);
        out.bytes(self.channel.as_bytes());
        out.u64(self.released_at.0);
        out.u8(u8::from(self.signature.is_some()));
        if let Some(signature) = &self.signature {
            out.bytes(signature.as_bytes());
        }
        out.u16(self.roots.len() as u16);
        for root in &self.roots {
            out.bytes(root.as_bytes());
        }
        for removed in &self.removed {
            out.u16(removed.index);
            out.u64(removed.len);
            out.u64(removed.stored_at.0);
        }
    }
    fn get(bytes: &mut In<'_>) -> Option<ReleaseRow> {
        let (kept_until, channel, released_at) = (UnixMs(bytes.u64()?), ChannelId(bytes.array()?), UnixMs(bytes.u64()?));
        let signature = match bytes.u8()? {
            0 => None,
            1 => Some(EvmSignature(bytes.array()?)),
            _ => return None,
        };
        let count = usize::from(bytes.u16()?);
        (count <= ROW_ROOTS_MAX).then_some(())?;
        let roots: Vec<ShardRoot> = (0..count).map(|_| Some(ShardRoot(bytes.array()?))).collect::<Option<_>>()?;
        let mut removed = Vec::new();
        while !bytes.0.is_empty() {
            let one = Removed { index: bytes.u16()?, len: bytes.u64()?, stored_at: UnixMs(bytes.u64()?) };
            (usize::from(one.index) < count).then_some(())?;
            removed.push(one);
        }
        Some(ReleaseRow { kept_until, channel, released_at, signature, roots, removed })
    }
}

impl Row for CommitmentRow {
    const KIND: u8 = COMMITMENT;
    fn put(&self, out: &mut Out) {
        let Commitment { channel, inventory_root, leaf_count, issued_at, valid_until, at_risk } = self.signed.commitment;
        out.u64(self.kept_until.0);
        out.bytes(channel.as_bytes());
        out.bytes(inventory_root.as_bytes());
        out.u64(self.totals.entries);
        out.u64(leaf_count);
        out.u64(self.totals.bytes);
        out.u64(issued_at.0);
        out.u64(valid_until.0);
        out.amount(at_risk);
        out.bytes(self.signed.signature.as_bytes());
    }
    fn get(bytes: &mut In<'_>) -> Option<CommitmentRow> {
        let kept_until = UnixMs(bytes.u64()?);
        let (channel, inventory_root) = (ChannelId(bytes.array()?), InventoryRoot(bytes.array()?));
        let totals = Totals { entries: bytes.u64()?, leaves: bytes.u64()?, bytes: bytes.u64()? };
        let (issued_at, valid_until) = (UnixSecs(bytes.u64()?), UnixSecs(bytes.u64()?));
        let at_risk = bytes.amount()?;
        let commitment = Commitment { channel, inventory_root, leaf_count: totals.leaves, issued_at, valid_until, at_risk };
        let signed = SignedCommitment { commitment, signature: EvmSignature(bytes.array()?) };
        Some(CommitmentRow { kept_until, signed, totals })
    }
}

impl Row for PayoutRow {
    const KIND: u8 = PAYOUT;
    fn put(&self, out: &mut Out) {
        debug_assert!(self.vouchers.len() == 1 || self.vouchers.iter().all(|signed| signed.mandate.is_none()));
        for signed in &self.vouchers {
            out.bytes(signed.voucher.channel.as_bytes());
            out.amount(signed.voucher.cumulative);
            out.bytes(signed.signature.as_bytes());
            if let Some(mandate) = &signed.mandate {
                out.mandate(mandate);
            }
        }
    }
    fn get(bytes: &mut In<'_>) -> Option<PayoutRow> {
        // One that was signed under a mandate is alone in its row, which therefore has a length that no other has.
        let mandated = bytes.0.len() == VOUCHER_LEN + MANDATE_LEN;
        let mut vouchers = Vec::new();
        while !bytes.0.is_empty() {
            (vouchers.len() < ROW_VOUCHERS_MAX).then_some(())?;
            let voucher = Voucher { channel: ChannelId(bytes.array()?), cumulative: bytes.amount()? };
            let signature = EvmSignature(bytes.array()?);
            let mandate = if mandated { Some(bytes.mandate()?) } else { None };
            vouchers.push(SignedVoucher { voucher, signature, mandate });
        }
        Some(PayoutRow { vouchers })
    }
}

impl Row for Entry {
    const KIND: u8 = JOURNAL;
    fn put(&self, out: &mut Out) {
        out.u64(self.at().0);
        out.u8(self.memo().len() as u8);
        out.bytes(self.memo().as_bytes());
        for line in self.lines() {
            let (Line::Debit(account, amount) | Line::Credit(account, amount)) = *line;
            out.u8(u8::from(matches!(line, Line::Credit(..))));
            out.bytes(&account_key(account));
            out.amount(amount);
        }
    }
    fn get(bytes: &mut In<'_>) -> Option<Entry> {
        let at = UnixMs(bytes.u64()?);
        let memo_len = usize::from(bytes.u8()?);
        let memo = String::from_utf8(bytes.bytes(memo_len)?.to_vec()).ok()?;
        let mut lines = Vec::new();
        while !bytes.0.is_empty() {
            (lines.len() < LINES_MAX).then_some(())?;
            let (side, account, amount) = (bytes.u8()?, account_of(&bytes.array()?)?, bytes.amount()?);
            lines.push(match side {
                0 => Line::Debit(account, amount),
                1 => Line::Credit(account, amount),
                _ => return None,
            });
        }
        Entry::new(at, memo, lines).ok()
    }
}
const _: () = assert!(MEMO_LEN_MAX <= u8::MAX as usize);

impl Row for Turnover {
    const KIND: u8 = TURNOVER;
    fn put(&self, out: &mut Out) {
        out.amount(self.debits);
        out.amount(self.credits);
    }
    fn get(bytes: &mut In<'_>) -> Option<Turnover> {
        Some(Turnover { debits: bytes.amount()?, credits: bytes.amount()? })
    }
}

/// A place where credits can be, as a key: its kind, and its channel or zeros.
pub(super) fn account_key(account: Account) -> [u8; 33] {
    let (kind, channel) = match account {
        Account::Outside => (0, None),
        Account::Wallet => (1, None),
        Account::Deposit(channel) => (2, Some(channel)),
        Account::Promised(channel) => (3, Some(channel)),
        Account::Receivable(channel) => (4, Some(channel)),
        Account::Collateral => (5, None),
        Account::Spent => (6, None),
        Account::Earned => (7, None),
        Account::Fees => (8, None),
        Account::Burned => (9, None),
    };
    let mut key = [0; 33];
    key[0] = kind;
    key[1..].copy_from_slice(&channel.map_or([0; 32], |channel: ChannelId| channel.0));
    key
}

/// Reads what [`account_key`] wrote.
pub(super) fn account_of(key: &[u8; 33]) -> Option<Account> {
    let channel = ChannelId(*key.last_chunk::<32>()?);
    let account = match key[0] {
        0 => Account::Outside,
        1 => Account::Wallet,
        2 => Account::Deposit(channel),
        3 => Account::Promised(channel),
        4 => Account::Receivable(channel),
        5 => Account::Collateral,
        6 => Account::Spent,
        7 => Account::Earned,
        8 => Account::Fees,
        9 => Account::Burned,
        _ => return None,
    };
    (account_key(account) == *key).then_some(account)
}
