//! Records of the ledger: one version byte, then protobuf. Format and golden vectors: `docs/formats/client-ledger.md`, `golden.txt`.
//!
//! Never: a tag used again, or a field of another width taken for what it is not. Limits: [`RECORD_LEN_MAX`], checked before decoding.

use bytes::Bytes;
use cairn_market::Meter;
use cairn_market::deal::{Cause, Deal, End, Epoch};
use cairn_market::journal::{self, Line};
use cairn_market::meter::METER_LEN;
use cairn_market::score::{SCORE_LEN, Score};
use cairn_proto::shard::{Mandate, Present};
use cairn_types::{Amount, ChannelId, UnixMs};
use prost::Message;

use super::LedgerError;

/// Version byte in front of every record.
pub const RECORD_VERSION: u8 = 1;
/// Any record, encoded.
pub const RECORD_LEN_MAX: usize = 1 << 20;

/// A deal with a provider and the terms under which it is paid.
#[derive(Clone, PartialEq, Message)]
pub struct DealRecord {
    /// 32 bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub deal: Bytes,
    /// Channels opened for this deal before the present one.
    #[prost(uint32, tag = "2")]
    pub round: u32,
    /// 32 bytes; empty before a channel was chosen.
    #[prost(bytes = "bytes", tag = "3")]
    pub channel: Bytes,
    /// 16 bytes: the deposit as last seen on the ledger.
    #[prost(bytes = "bytes", tag = "4")]
    pub deposit: Bytes,
    /// 16 bytes: settled as last seen.
    #[prost(bytes = "bytes", tag = "5")]
    pub settled: Bytes,
    /// Encoded agreement; empty before there is one.
    #[prost(bytes = "bytes", tag = "6")]
    pub agreement: Bytes,
    /// 64 bytes, or empty.
    #[prost(bytes = "bytes", tag = "7")]
    pub client_signature: Bytes,
    /// 64 bytes, or empty.
    #[prost(bytes = "bytes", tag = "8")]
    pub provider_signature: Bytes,
    /// 10 bytes: see `put_life`.
    #[prost(bytes = "bytes", tag = "9")]
    pub life: Bytes,
    /// 48 bytes.
    #[prost(bytes = "bytes", tag = "10")]
    pub score: Bytes,
    /// Where the sweep goes on: a leaf number.
    #[prost(uint64, tag = "11")]
    pub sweep: u64,
    /// The latest moment of a Commit that was sent.
    #[prost(uint64, tag = "12")]
    pub committed_ms: u64,
    /// When the last audit ended.
    #[prost(uint64, tag = "13")]
    pub audited_ms: u64,
    /// The channel is being closed by us.
    #[prost(bool, tag = "14")]
    pub closing: bool,
    /// Top-ups begun on the present channel.
    #[prost(uint64, tag = "15")]
    pub top_ups: u64,
    /// A delegate's alone: 20 bytes, whose own vouchers count.
    #[prost(bytes = "bytes", tag = "16")]
    pub client_signer: Bytes,
    /// A delegate's alone: what it signs vouchers under.
    #[prost(message, optional, tag = "17")]
    pub mandate: Option<Mandate>,
    /// A delegate's alone: what it presents to the provider.
    #[prost(message, optional, tag = "18")]
    pub present: Option<Present>,
}

/// Somebody who may audit and pay while this client is silent.
#[derive(Clone, PartialEq, Message)]
pub struct GrantRecord {
    /// 20 bytes: whose vouchers count under a mandate.
    #[prost(bytes = "bytes", tag = "1")]
    pub address: Bytes,
    /// How long it may act without a word of ours.
    #[prost(uint64, tag = "2")]
    pub for_s: u64,
    /// 16 bytes: what it may promise in that time, on all channels together.
    #[prost(bytes = "bytes", tag = "3")]
    pub cap: Bytes,
    /// When it was given.
    #[prost(uint64, tag = "4")]
    pub since_ms: u64,
    /// Its audits up to then are in this ledger.
    #[prost(uint64, tag = "5")]
    pub audits_until_ms: u64,
}

/// What was promised and read.
#[derive(Clone, PartialEq, Message)]
pub struct PaidRecord {
    /// 16 bytes: the best voucher's amount.
    #[prost(bytes = "bytes", tag = "1")]
    pub cumulative: Bytes,
    /// 65 bytes, or empty before the first voucher.
    #[prost(bytes = "bytes", tag = "2")]
    pub signature: Bytes,
    /// 16 bytes: storage as of the last audit that passed, under the present terms.
    #[prost(bytes = "bytes", tag = "3")]
    pub storage: Bytes,
    /// Body bytes received under the present terms.
    #[prost(uint64, tag = "4")]
    pub received_len: u64,
    /// Body bytes that the provider sent and that broke off on the way.
    #[prost(uint64, tag = "5")]
    pub lost_len: u64,
    /// Reads broken off since provider and client last agreed on the count.
    #[prost(uint32, tag = "6")]
    pub broken: u32,
    /// What the best voucher was signed under, where a delegate signed it.
    #[prost(message, optional, tag = "7")]
    pub mandate: Option<Mandate>,
}

/// What is stored, over time.
#[derive(Clone, PartialEq, Message)]
pub struct MeterRecord {
    /// 56 bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub meter: Bytes,
    /// 16 bytes: leaf-milliseconds taken over from the provider after a ledger was restored.
    #[prost(bytes = "bytes", tag = "2")]
    pub adopted: Bytes,
}

/// An entry of the journal.
#[derive(Clone, PartialEq, Message)]
pub struct JournalRecord {
    /// When.
    #[prost(uint64, tag = "1")]
    pub at_ms: u64,
    /// What for.
    #[prost(string, tag = "2")]
    pub memo: String,
    /// At most 16.
    #[prost(message, repeated, tag = "3")]
    pub lines: Vec<LineRecord>,
}

/// One side of one account.
#[derive(Clone, PartialEq, Message)]
pub struct LineRecord {
    /// Into the account; else out of it.
    #[prost(bool, tag = "1")]
    pub debit: bool,
    /// 1 or 33 bytes: see `put_account`.
    #[prost(bytes = "bytes", tag = "2")]
    pub account: Bytes,
    /// 16 bytes.
    #[prost(bytes = "bytes", tag = "3")]
    pub amount: Bytes,
}

/// An audit and its evidence. The client signs tags 1 to 17 in domain "cairn/audit/1".
#[derive(Clone, PartialEq, Message)]
pub struct AuditRecord {
    /// 16 bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub id: Bytes,
    /// When it began.
    #[prost(uint64, tag = "2")]
    pub at_ms: u64,
    /// 32 bytes.
    #[prost(bytes = "bytes", tag = "3")]
    pub provider: Bytes,
    /// 32 bytes.
    #[prost(bytes = "bytes", tag = "4")]
    pub deal: Bytes,
    /// 32 bytes.
    #[prost(bytes = "bytes", tag = "5")]
    pub channel: Bytes,
    /// 1 passed, 2 late, 3 refused, 4 gone, 5 corrupt, 6 diverged.
    #[prost(uint32, tag = "6")]
    pub grade: u32,
    /// Probes asked.
    #[prost(uint32, tag = "7")]
    pub probes: u32,
    /// Probes held.
    #[prost(uint32, tag = "8")]
    pub held: u32,
    /// Why, for people; empty when passed.
    #[prost(string, tag = "9")]
    pub reason: String,
    /// The provider's commitment as it came, encoded; empty without one.
    #[prost(bytes = "bytes", tag = "10")]
    pub commitment: Bytes,
    /// Probes that are evidence, at most 64.
    #[prost(message, repeated, tag = "11")]
    pub failures: Vec<FailureRecord>,
    /// Probes that are evidence, all of them.
    #[prost(uint32, tag = "12")]
    pub failed: u32,
    /// 16 bytes: promised in all after this audit.
    #[prost(bytes = "bytes", tag = "13")]
    pub promised: Bytes,
    /// When it ended.
    #[prost(uint64, tag = "14")]
    pub ended_ms: u64,
    /// 32 bytes: the inventory root that the client believes in.
    #[prost(bytes = "bytes", tag = "15")]
    pub inventory_root: Bytes,
    /// 16 bytes: leaf-milliseconds by the client's own meter at `at_ms`.
    #[prost(bytes = "bytes", tag = "16")]
    pub leaf_ms: Bytes,
    /// Body bytes by the client's own count.
    #[prost(uint64, tag = "17")]
    pub egress_len: u64,
    /// 64 bytes.
    #[prost(bytes = "bytes", tag = "18")]
    pub signature: Bytes,
}

/// A probe that is evidence.
#[derive(Clone, PartialEq, Message)]
pub struct FailureRecord {
    /// 32 bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub root: Bytes,
    /// Counted from the shard's start.
    #[prost(uint64, tag = "2")]
    pub block: u64,
    /// The first drawn leaf, counted from the shard's start.
    #[prost(uint64, tag = "3")]
    pub leaf: u64,
    /// Why, for people.
    #[prost(string, tag = "4")]
    pub reason: String,
}

/// A dispute that this client brought to court.
#[derive(Clone, PartialEq, Message)]
pub struct DisputeRow {
    /// 32 bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub id: Bytes,
    /// 32 bytes.
    #[prost(bytes = "bytes", tag = "2")]
    pub provider: Bytes,
    /// 32 bytes.
    #[prost(bytes = "bytes", tag = "3")]
    pub deal: Bytes,
    /// 32 bytes.
    #[prost(bytes = "bytes", tag = "4")]
    pub channel: Bytes,
    /// 16 bytes.
    #[prost(bytes = "bytes", tag = "5")]
    pub audit: Bytes,
    /// 32 random bytes, used once.
    #[prost(bytes = "bytes", tag = "6")]
    pub secret: Bytes,
    /// The provider's commitment as it came, encoded.
    #[prost(bytes = "bytes", tag = "7")]
    pub commitment: Bytes,
    /// When we challenged.
    #[prost(uint64, tag = "8")]
    pub begun_ms: u64,
    /// 16 bytes: restituted on the channel before.
    #[prost(bytes = "bytes", tag = "9")]
    pub restituted_before: Bytes,
    /// 0 open, 1 dismissed, 2 upheld, 3 refused.
    #[prost(uint32, tag = "10")]
    pub outcome: u32,
    /// When it ended.
    #[prost(uint64, tag = "11")]
    pub ended_ms: u64,
    /// 16 bytes: what came back, or empty before the end.
    #[prost(bytes = "bytes", tag = "12")]
    pub restituted: Bytes,
    /// How it ended, for people.
    #[prost(string, tag = "13")]
    pub reason: String,
}

/// Encodes a record with its version byte.
pub fn encode(record: &impl Message) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + record.encoded_len());
    bytes.push(RECORD_VERSION);
    record.encode(&mut bytes).expect("a Vec grows");
    bytes
}

/// Decodes what [`encode`] wrote.
///
/// # Errors
/// [`LedgerError::Damaged`].
pub fn decode<R: Message + Default>(bytes: &[u8]) -> Result<R, LedgerError> {
    match bytes.split_first() {
        _ if bytes.len() > RECORD_LEN_MAX => Err(LedgerError::damaged(format!("a record of {} bytes", bytes.len()))),
        Some((&RECORD_VERSION, body)) => R::decode(body).map_err(|error| LedgerError::damaged(error.to_string())),
        Some((version, _)) => Err(LedgerError::damaged(format!("record version {version} is of a later program"))),
        None => Err(LedgerError::damaged("an empty record")),
    }
}

pub(crate) fn put_amount(amount: Amount) -> Bytes {
    Bytes::copy_from_slice(&amount.base_units().to_be_bytes())
}

pub(crate) fn get_u128(bytes: &[u8]) -> Result<u128, LedgerError> {
    bytes.try_into().map(u128::from_be_bytes).map_err(|_| LedgerError::damaged("a number of 128 bits"))
}

pub(crate) fn get_amount(bytes: &[u8]) -> Result<Amount, LedgerError> {
    get_u128(bytes).map(Amount::from_base_units)
}

pub(crate) fn get_meter(bytes: &[u8]) -> Result<Meter, LedgerError> {
    let bytes: &[u8; METER_LEN] = bytes.try_into().map_err(|_| LedgerError::damaged("a meter"))?;
    Ok(Meter::from_bytes(bytes))
}

pub(crate) fn get_score(bytes: &[u8]) -> Result<Score, LedgerError> {
    let bytes: &[u8; SCORE_LEN] = bytes.try_into().map_err(|_| LedgerError::damaged("a score"))?;
    Ok(Score::from_bytes(bytes))
}

/// A deal's life: kind u8 ‖ cause or end u8 ‖ epoch u64.
pub(crate) fn put_life(life: Deal) -> Bytes {
    let (kind, why, epoch) = match life {
        Deal::Proposed => (1, 0, Epoch(0)),
        Deal::Agreed => (2, 0, Epoch(0)),
        Deal::Active { due } => (3, 0, due),
        Deal::Late { since } => (4, 0, since),
        Deal::Suspect { since, cause } => (5, put_cause(cause), since),
        Deal::Ending { end } => (6, put_end(end), Epoch(0)),
        Deal::Ended { end } => (7, put_end(end), Epoch(0)),
    };
    let mut bytes = vec![kind, why];
    bytes.extend_from_slice(&epoch.0.to_be_bytes());
    bytes.into()
}

pub(crate) fn get_life(bytes: &[u8]) -> Result<Deal, LedgerError> {
    let damaged = || LedgerError::damaged("a deal's life");
    let [kind, why, epoch @ ..] = bytes else { return Err(damaged()) };
    let epoch = Epoch(u64::from_be_bytes(epoch.try_into().map_err(|_| damaged())?));
    let end = || get_end(*why).ok_or_else(damaged);
    let life = match kind {
        1 => Deal::Proposed,
        2 => Deal::Agreed,
        3 => Deal::Active { due: epoch },
        4 => Deal::Late { since: epoch },
        5 => Deal::Suspect { since: epoch, cause: if *why == 1 { Cause::Silent } else { Cause::Lost } },
        6 => Deal::Ending { end: end()? },
        7 => Deal::Ended { end: end()? },
        _ => return Err(damaged()),
    };
    // Every life has one form; another is not ours.
    if put_life(life) == bytes { Ok(life) } else { Err(damaged()) }
}

fn put_cause(cause: Cause) -> u8 {
    match cause {
        Cause::Silent => 1,
        Cause::Lost => 2,
    }
}

const ENDS: [End; 6] = [End::Declined, End::Left, End::Expired, End::Silent, End::Lost, End::Closed];

fn put_end(end: End) -> u8 {
    ENDS.iter().position(|other| *other == end).map_or(0, |at| at as u8 + 1)
}

fn get_end(byte: u8) -> Option<End> {
    ENDS.get(usize::from(byte).checked_sub(1)?).copied()
}

/// An account of the journal: kind u8, then the channel's 32 bytes where there is one.
pub(crate) fn put_account(account: journal::Account) -> Vec<u8> {
    use journal::Account as A;
    let (kind, channel) = match account {
        A::Outside => (1, None),
        A::Wallet => (2, None),
        A::Deposit(channel) => (3, Some(channel)),
        A::Promised(channel) => (4, Some(channel)),
        A::Receivable(channel) => (5, Some(channel)),
        A::Collateral => (6, None),
        A::Spent => (7, None),
        A::Earned => (8, None),
        A::Fees => (9, None),
        A::Burned => (10, None),
    };
    let mut bytes = vec![kind];
    bytes.extend(channel.iter().flat_map(|channel: &ChannelId| channel.0));
    bytes
}

pub(crate) fn get_account(bytes: &[u8]) -> Result<journal::Account, LedgerError> {
    use journal::Account as A;
    let damaged = || LedgerError::damaged("an account's name");
    let (kind, rest) = bytes.split_first().ok_or_else(damaged)?;
    let channel = ChannelId::from_slice(rest);
    match (kind, channel, rest.is_empty()) {
        (1, _, true) => Ok(A::Outside),
        (2, _, true) => Ok(A::Wallet),
        (3, Some(channel), _) => Ok(A::Deposit(channel)),
        (4, Some(channel), _) => Ok(A::Promised(channel)),
        (5, Some(channel), _) => Ok(A::Receivable(channel)),
        (6, _, true) => Ok(A::Collateral),
        (7, _, true) => Ok(A::Spent),
        (8, _, true) => Ok(A::Earned),
        (9, _, true) => Ok(A::Fees),
        (10, _, true) => Ok(A::Burned),
        _ => Err(damaged()),
    }
}

impl JournalRecord {
    pub(crate) fn of(entry: &journal::Entry) -> JournalRecord {
        let line = |line: &Line| {
            let (debit, account, amount) = match *line {
                Line::Debit(account, amount) => (true, account, amount),
                Line::Credit(account, amount) => (false, account, amount),
            };
            LineRecord { debit, account: put_account(account).into(), amount: put_amount(amount) }
        };
        JournalRecord { at_ms: entry.at().0, memo: entry.memo().to_owned(), lines: entry.lines().iter().map(line).collect() }
    }

    pub(crate) fn entry(&self) -> Result<journal::Entry, LedgerError> {
        let line = |line: &LineRecord| -> Result<Line, LedgerError> {
            let (account, amount) = (get_account(&line.account)?, get_amount(&line.amount)?);
            Ok(if line.debit { Line::Debit(account, amount) } else { Line::Credit(account, amount) })
        };
        let lines = self.lines.iter().map(line).collect::<Result<_, _>>()?;
        journal::Entry::new(UnixMs(self.at_ms), self.memo.clone(), lines).map_err(|error| LedgerError::damaged(error.to_string()))
    }
}
