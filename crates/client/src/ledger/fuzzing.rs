//! Doors for the fuzz targets in `tests/fuzz`.
//!
//! Never: in a build without `--cfg fuzzing`.

use bytes::Bytes;
use cairn_market::deal::{Deal, Epoch};
use cairn_market::score::Score;
use cairn_proto::shard::SignedAgreement;
use cairn_types::{Amount, ChannelId, DealId};
use prost::Message;

use super::record::{self, AuditRecord, DealRecord, DisputeRow, JournalRecord, MeterRecord, PaidRecord};

/// Reads a record of one of six kinds, and its fields; what is read is written again as it was.
pub fn record(kind: u8, bytes: &[u8]) {
    match kind % 6 {
        0 => deal(bytes),
        1 => paid(bytes),
        2 => meter(bytes),
        3 => drop(same::<AuditRecord>(bytes)),
        4 => drop(same::<DisputeRow>(bytes)),
        _ => journal(bytes),
    }
}

/// Reads the name of an account as it stands in a row's key.
pub fn account(bytes: &[u8]) {
    if let Ok(account) = record::get_account(bytes) {
        assert_eq!(record::put_account(account), bytes);
    }
}

/// A deal's row as a client writes it.
pub fn deal_row(deal: DealId, channel: ChannelId, deposit: u128, signed: &SignedAgreement) -> Bytes {
    let row = DealRecord {
        deal: Bytes::copy_from_slice(deal.as_bytes()),
        channel: Bytes::copy_from_slice(channel.as_bytes()),
        deposit: record::put_amount(Amount::from_base_units(deposit)),
        settled: record::put_amount(Amount::ZERO),
        agreement: signed.agreement.clone(),
        client_signature: signed.client_signature.clone(),
        provider_signature: signed.provider_signature.clone(),
        life: record::put_life(Deal::Active { due: Epoch(1) }),
        score: Bytes::copy_from_slice(&Score::new().to_bytes()),
        ..DealRecord::default()
    };
    record::encode(&row).into()
}

fn same<R: Message + Default + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> Option<R> {
    let read: R = record::decode(bytes).ok()?;
    assert_eq!(record::decode::<R>(&record::encode(&read)).as_ref(), Ok(&read));
    Some(read)
}

fn deal(bytes: &[u8]) {
    let Some(deal) = same::<DealRecord>(bytes) else { return };
    if let Ok(life) = record::get_life(&deal.life) {
        assert_eq!(record::get_life(&record::put_life(life)), Ok(life));
        assert_eq!(record::put_life(life)[..2], deal.life[..2], "a life that is a guess");
    }
    if let Ok(amount) = record::get_amount(&deal.deposit) {
        assert_eq!(record::put_amount(amount), deal.deposit);
    }
    let _ = (record::get_amount(&deal.settled), record::get_score(&deal.score));
}

fn paid(bytes: &[u8]) {
    if let Some(paid) = same::<PaidRecord>(bytes) {
        let _ = (record::get_amount(&paid.cumulative), record::get_amount(&paid.storage));
    }
}

fn meter(bytes: &[u8]) {
    let Some(meter) = same::<MeterRecord>(bytes) else { return };
    let _ = record::get_u128(&meter.adopted);
    if let Ok(read) = record::get_meter(&meter.meter) {
        assert_eq!(read.to_bytes()[..], meter.meter[..]);
        let _ = (read.at(cairn_types::UnixMs(0)), read.at(cairn_types::UnixMs(u64::MAX)));
    }
}

fn journal(bytes: &[u8]) {
    let Some(record) = same::<JournalRecord>(bytes) else { return };
    if let Ok(entry) = record.entry() {
        assert_eq!(JournalRecord::of(&entry), record);
    }
}
