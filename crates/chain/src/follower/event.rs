//! Events: what our contracts said, as types; and as the ledger keeps them.
//!
//! Never: an event whose contract is not ours. Limits: a log of at most [`DATA_LEN_MAX`] bytes.

use alloy_primitives::{B256, Bytes, Log, LogData};
use alloy_sol_types::SolEventInterface;
use cairn_types::{Address, Amount};
use prost::Message;

use crate::bindings::Channels::ChannelsEvents;
use crate::bindings::Court::CourtEvents;
use crate::bindings::CreditToken::CreditTokenEvents;
use crate::bindings::Providers::ProvidersEvents;
use crate::genesis::Contracts;
use crate::wire::{evm, ours};

/// Bytes of one log's data that are kept; our events are far below.
pub const DATA_LEN_MAX: usize = 4096;

/// A log of one of our contracts, decoded.
#[derive(Debug, PartialEq, Eq)]
pub enum LedgerEvent {
    /// Payment channels.
    Channels(ChannelsEvents),
    /// Providers.
    Providers(ProvidersEvents),
    /// Disputes.
    Court(CourtEvents),
    /// Credits went into or out of the wallet.
    Credits {
        /// From whom; zero when minted.
        from: Address,
        /// To whom; zero when burned.
        to: Address,
        /// How much.
        amount: Amount,
    },
}

/// Where an event is: what makes it the same event when it is seen twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventId {
    /// Block.
    pub block: [u8; 32],
    /// Transaction.
    pub tx: [u8; 32],
    /// Log in the block.
    pub log_index: u64,
}

/// Told to readers, in order.
#[derive(Debug, PartialEq, Eq)]
pub struct Notice {
    /// Position; grows by one.
    pub seq: u64,
    /// False when this event was told before and is not on the chain any more.
    pub happened: bool,
    /// Which event.
    pub id: EventId,
    /// Height of its block.
    pub block_number: u64,
    /// Time of its block, in seconds; 0 when it was read as part of a long range.
    pub block_time_s: u64,
    /// What was said.
    pub event: LedgerEvent,
}

/// An event as the ledger keeps it.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct EventRow {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) contract: Vec<u8>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub(crate) topics: Vec<Vec<u8>>,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) data: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) block: Vec<u8>,
    #[prost(uint64, tag = "5")]
    pub(crate) number: u64,
    #[prost(bytes = "vec", tag = "6")]
    pub(crate) tx: Vec<u8>,
    #[prost(uint64, tag = "7")]
    pub(crate) log_index: u64,
    #[prost(uint64, tag = "8")]
    pub(crate) time_s: u64,
}

/// A notice as the ledger keeps it.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct NoticeRow {
    #[prost(bool, tag = "1")]
    pub(crate) happened: bool,
    #[prost(message, optional, tag = "2")]
    pub(crate) event: Option<EventRow>,
}

impl EventRow {
    pub(crate) fn of(log: crate::node::RpcLog, time_s: u64) -> Option<EventRow> {
        (log.data.len() <= DATA_LEN_MAX && log.topics.len() <= 4).then(|| EventRow {
            contract: log.address.to_vec(),
            topics: log.topics.iter().map(|topic| topic.to_vec()).collect(),
            data: log.data.to_vec(),
            block: log.block_hash.to_vec(),
            number: log.block_number.to(),
            tx: log.transaction_hash.to_vec(),
            log_index: log.log_index.to(),
            time_s,
        })
    }

    /// The event, if it is one of ours and, for credits, touches `wallet`.
    pub(crate) fn event(&self, contracts: &Contracts, wallet: Address) -> Option<LedgerEvent> {
        let topics = self.topics.iter().map(|topic| B256::try_from(topic.as_slice()).ok()).collect::<Option<Vec<_>>>()?;
        let address = alloy_primitives::Address::try_from(self.contract.as_slice()).ok()?;
        let log = Log { address, data: LogData::new(topics, Bytes::from(self.data.clone()))? };
        if address == evm(contracts.channels) {
            ChannelsEvents::decode_log(&log).ok().map(|log| LedgerEvent::Channels(log.data))
        } else if address == evm(contracts.providers) {
            ProvidersEvents::decode_log(&log).ok().map(|log| LedgerEvent::Providers(log.data))
        } else if address == evm(contracts.court) {
            CourtEvents::decode_log(&log).ok().map(|log| LedgerEvent::Court(log.data))
        } else if address == evm(contracts.token) {
            let CreditTokenEvents::Transfer(moved) = CreditTokenEvents::decode_log(&log).ok()?.data;
            let (from, to) = (ours(moved.from), ours(moved.to));
            let amount = Amount::from_base_units(moved.value.try_into().ok()?);
            (from == wallet || to == wallet).then_some(LedgerEvent::Credits { from, to, amount })
        } else {
            None
        }
    }

    fn id(&self) -> Option<EventId> {
        let (block, tx) = (self.block.as_slice().try_into().ok()?, self.tx.as_slice().try_into().ok()?);
        Some(EventId { block, tx, log_index: self.log_index })
    }
}

impl NoticeRow {
    pub(crate) fn notice(&self, seq: u64, contracts: &Contracts, wallet: Address) -> Option<Notice> {
        let row = self.event.as_ref()?;
        let event = row.event(contracts, wallet)?;
        let (id, block_number, block_time_s) = (row.id()?, row.number, row.time_s);
        Some(Notice { seq, happened: self.happened, id, block_number, block_time_s, event })
    }
}

#[cfg(test)]
mod tests {
    use alloy_sol_types::SolEvent;

    use super::*;
    use crate::bindings::Channels;

    #[test]
    fn a_notice_reads_back_and_its_bytes_are_fixed() {
        let contracts = Contracts::at_genesis();
        let event = Channels::ToppedUp { id: B256::repeat_byte(1), amount: 2, deposit: 3 };
        let data = event.encode_log_data();
        let row = EventRow {
            contract: contracts.channels.0.to_vec(),
            topics: data.topics().iter().map(|topic| topic.to_vec()).collect(),
            data: data.data.to_vec(),
            block: vec![4; 32],
            number: 5,
            tx: vec![6; 32],
            log_index: 7,
            time_s: 8,
        };
        let row = NoticeRow { happened: true, event: Some(row) };
        crate::golden::check("notice", &row.encode_to_vec());
        let notice = row.notice(9, &contracts, Address::ZERO).expect("one of ours");
        assert_eq!((notice.seq, notice.block_number, notice.id.log_index), (9, 5, 7));
        assert_eq!(notice.event, LedgerEvent::Channels(ChannelsEvents::ToppedUp(event)));
        let mut strange = row.clone();
        strange.event.as_mut().expect("set above").contract = vec![9; 20];
        assert_eq!(strange.notice(9, &contracts, Address::ZERO), None);
    }
}
