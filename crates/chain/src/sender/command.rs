//! Commands: what a role wants done on chain, and how the ledger keeps it.
//!
//! A command's id travels at the end of its calldata, where contracts do not look. So the chain itself says which commands were carried
//! out, and a database that was lost or put back cannot make a command happen twice.
//! Never: two commands with one id. Limits: [`INPUT_LEN_MAX`], [`DONE_WHEN_MAX`].

use alloy_primitives::{B256, Bytes, U256};
use cairn_types::Address;
use prost::Message;
use sha2::{Digest, Sha256};

use super::core::{Fees, Mined, Open, Signed};

/// Calldata of one command, without its tail.
pub const INPUT_LEN_MAX: usize = 64 * 1024;
/// Conditions of one command.
pub const DONE_WHEN_MAX: usize = 4;
const TAIL_TAG: &[u8; 8] = b"cairn/1\0";
/// Bytes that a command adds to its calldata.
pub const TAIL_LEN: usize = TAIL_TAG.len() + 32;
/// Bytes of a reason that are kept.
const REASON_LEN_MAX: usize = 300;

/// Names a command for ever.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub [u8; 32]);

impl CommandId {
    /// The id for a text of the caller's, such as `redeem/<channel>/<cumulative>`. Equal texts are one command.
    pub fn of(text: &str) -> CommandId {
        let mut hash = Sha256::new();
        hash.update(b"cairn/command/1\0");
        hash.update(text);
        CommandId(hash.finalize().into())
    }
}

impl std::fmt::Debug for CommandId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CommandId({})", B256::from(self.0))
    }
}

impl std::fmt::Display for CommandId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        B256::from(self.0).fmt(f)
    }
}

/// A view of a contract that shows that a command needs no transaction any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DoneWhen {
    pub(crate) to: Address,
    pub(crate) input: Vec<u8>,
    /// Which 32-byte word of the answer is compared.
    pub(crate) word: usize,
    pub(crate) rule: Rule,
}

/// How a word is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    AtLeast(U256),
    AtMost(U256),
}

impl DoneWhen {
    /// Whether `answer` of the view says so. An answer that is too short says nothing.
    pub(crate) fn holds(&self, answer: &[u8]) -> bool {
        let Some(word) = answer.get(self.word * 32..self.word * 32 + 32).map(U256::from_be_slice) else { return false };
        match self.rule {
            Rule::AtLeast(least) => word >= least,
            Rule::AtMost(most) => word <= most,
        }
    }
}

/// An allowance that is signed when the command is, and put into its calldata: deadline, v, r, s as four words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Permit {
    /// Where the four words begin in the calldata.
    pub(crate) at: usize,
    pub(crate) token: Address,
    pub(crate) spender: Address,
    pub(crate) amount: u128,
}

/// Something to be done on chain once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) id: CommandId,
    pub(crate) to: Address,
    pub(crate) input: Vec<u8>,
    pub(crate) permit: Option<Permit>,
    pub(crate) done_when: Vec<DoneWhen>,
}

/// How far a command is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandState {
    /// Waits for its turn.
    Planned,
    /// Signed; it may be on its way or mined and not yet deep.
    Sent {
        /// Nonce.
        nonce: u64,
        /// Hash of the newest attempt.
        tx: [u8; 32],
    },
    /// Done.
    Done {
        /// The transaction that did it; none when it was found to be done already.
        tx: Option<[u8; 32]>,
        /// Its block, or 0.
        block_number: u64,
    },
    /// Not done, and not tried again unless it is submitted again.
    Failed {
        /// The transaction that failed; none when none was sent.
        tx: Option<[u8; 32]>,
        /// Why.
        reason: String,
    },
}

impl CommandState {
    /// Whether nothing more happens by itself.
    pub fn is_final(&self) -> bool {
        matches!(self, CommandState::Done { .. } | CommandState::Failed { .. })
    }
}

/// Calldata with the id behind it.
pub(crate) fn with_tail(input: &[u8], id: &CommandId) -> Vec<u8> {
    [input, TAIL_TAG, &id.0].concat()
}

/// The id behind a transaction's calldata, if there is one.
pub(crate) fn tail_of(input: &[u8]) -> Option<CommandId> {
    let tail = input.len().checked_sub(TAIL_LEN).map(|at| &input[at..])?;
    let id = tail.strip_prefix(TAIL_TAG.as_slice())?;
    id.try_into().ok().map(CommandId)
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DoneWhenRow {
    #[prost(bytes = "vec", tag = "1")]
    to: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    input: Vec<u8>,
    #[prost(uint32, tag = "3")]
    word: u32,
    /// 1 at least, 2 at most.
    #[prost(uint32, tag = "4")]
    rule: u32,
    #[prost(bytes = "vec", tag = "5")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PermitRow {
    #[prost(uint32, tag = "1")]
    at: u32,
    #[prost(bytes = "vec", tag = "2")]
    token: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    spender: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    amount: Vec<u8>,
}

/// One signed transaction for a command.
#[derive(Clone, PartialEq, Message)]
pub(super) struct AttemptRow {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) raw: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) hash: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    max_fee: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    priority_fee: Vec<u8>,
    #[prost(uint64, tag = "5")]
    pub(super) gas: u64,
    #[prost(bytes = "vec", tag = "6")]
    pub(super) input: Vec<u8>,
}

/// A command as the ledger keeps it. `state`: 1 planned, 2 signed, 3 done, 4 failed.
#[derive(Clone, PartialEq, Message)]
pub(super) struct CommandRow {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) id: Vec<u8>,
    #[prost(uint64, tag = "2")]
    pub(super) seq: u64,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) to: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) input: Vec<u8>,
    #[prost(message, optional, tag = "5")]
    permit: Option<PermitRow>,
    #[prost(message, repeated, tag = "6")]
    done_when: Vec<DoneWhenRow>,
    #[prost(uint32, tag = "7")]
    pub(super) state: u32,
    #[prost(uint64, tag = "8")]
    pub(super) nonce: u64,
    #[prost(message, repeated, tag = "9")]
    pub(super) attempts: Vec<AttemptRow>,
    #[prost(uint64, optional, tag = "10")]
    pub(super) sent_ms: Option<u64>,
    #[prost(bytes = "vec", tag = "11")]
    tx: Vec<u8>,
    #[prost(uint64, tag = "12")]
    block_number: u64,
    #[prost(string, tag = "13")]
    reason: String,
}

pub(super) const PLANNED: u32 = 1;
pub(super) const SIGNED: u32 = 2;
const DONE: u32 = 3;
const FAILED: u32 = 4;

/// A row that says something impossible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a command's {0} is not what it must be")]
pub(crate) struct RowError(pub(super) &'static str);

fn address(bytes: &[u8], what: &'static str) -> Result<Address, RowError> {
    Address::from_slice(bytes).ok_or(RowError(what))
}

fn u128_of(bytes: &[u8], what: &'static str) -> Result<u128, RowError> {
    bytes.try_into().map(u128::from_be_bytes).map_err(|_| RowError(what))
}

impl AttemptRow {
    pub(super) fn new(raw: Bytes, hash: B256, fees: Fees, gas: u64, input: Vec<u8>) -> AttemptRow {
        let (max_fee, priority_fee) = (fees.max.to_be_bytes().to_vec(), fees.priority.to_be_bytes().to_vec());
        AttemptRow { raw: raw.to_vec(), hash: hash.to_vec(), max_fee, priority_fee, gas, input }
    }

    pub(super) fn hash(&self) -> Result<B256, RowError> {
        B256::try_from(self.hash.as_slice()).map_err(|_| RowError("transaction hash"))
    }

    fn fees(&self) -> Result<Fees, RowError> {
        Ok(Fees { max: u128_of(&self.max_fee, "fee")?, priority: u128_of(&self.priority_fee, "fee")? })
    }
}

impl CommandRow {
    pub(super) fn planned(seq: u64, command: &Command) -> CommandRow {
        let done_when = command.done_when.iter().map(|when| {
            let (rule, value) = match when.rule {
                Rule::AtLeast(value) => (1, value),
                Rule::AtMost(value) => (2, value),
            };
            let value = value.to_be_bytes::<32>().to_vec();
            DoneWhenRow { to: when.to.0.to_vec(), input: when.input.clone(), word: when.word as u32, rule, value }
        });
        let permit = command.permit.map(|permit| PermitRow {
            at: permit.at as u32,
            token: permit.token.0.to_vec(),
            spender: permit.spender.0.to_vec(),
            amount: permit.amount.to_be_bytes().to_vec(),
        });
        CommandRow {
            id: command.id.0.to_vec(),
            seq,
            to: command.to.0.to_vec(),
            input: command.input.clone(),
            permit,
            done_when: done_when.collect(),
            state: PLANNED,
            ..CommandRow::default()
        }
    }

    pub(super) fn id(&self) -> Result<CommandId, RowError> {
        self.id.as_slice().try_into().map(CommandId).map_err(|_| RowError("id"))
    }

    pub(super) fn to(&self) -> Result<Address, RowError> {
        address(&self.to, "address")
    }

    pub(super) fn permit(&self) -> Result<Option<Permit>, RowError> {
        let Some(row) = &self.permit else { return Ok(None) };
        let (token, spender) = (address(&row.token, "token")?, address(&row.spender, "spender")?);
        Ok(Some(Permit { at: row.at as usize, token, spender, amount: u128_of(&row.amount, "amount")? }))
    }

    pub(super) fn done_when(&self) -> Result<Vec<DoneWhen>, RowError> {
        let rows = self.done_when.iter().map(|row| {
            let value = <[u8; 32]>::try_from(row.value.as_slice()).map(U256::from_be_bytes).map_err(|_| RowError("condition"))?;
            let rule = match row.rule {
                1 => Rule::AtLeast(value),
                2 => Rule::AtMost(value),
                _ => return Err(RowError("condition")),
            };
            Ok(DoneWhen { to: address(&row.to, "condition")?, input: row.input.clone(), word: row.word as usize, rule })
        });
        rows.collect()
    }

    /// As the core sees it; `mined` is where the node has seen one of its attempts.
    pub(super) fn open(&self, mined: Option<Mined>) -> Result<Open, RowError> {
        let signed = match (self.state, self.attempts.last()) {
            (PLANNED, _) => None,
            (SIGNED, Some(newest)) => Some(Signed {
                nonce: self.nonce,
                fees: newest.fees()?,
                attempts: self.attempts.len(),
                sent_ms: self.sent_ms,
                mined,
            }),
            _ => return Err(RowError("state")),
        };
        Ok(Open { seq: self.seq, signed })
    }

    pub(super) fn state(&self) -> Result<CommandState, RowError> {
        let tx =
            (!self.tx.is_empty()).then(|| self.tx.as_slice().try_into().map_err(|_| RowError("transaction hash"))).transpose()?;
        match self.state {
            PLANNED => Ok(CommandState::Planned),
            SIGNED => {
                let newest = self.attempts.last().ok_or(RowError("attempts"))?;
                Ok(CommandState::Sent { nonce: self.nonce, tx: newest.hash()?.0 })
            }
            DONE => Ok(CommandState::Done { tx, block_number: self.block_number }),
            FAILED => Ok(CommandState::Failed { tx, reason: self.reason.clone() }),
            _ => Err(RowError("state")),
        }
    }

    pub(super) fn is_final(&self) -> bool {
        self.state == DONE || self.state == FAILED
    }

    pub(super) fn failed(&self) -> bool {
        self.state == FAILED
    }

    /// A command that only the chain knows.
    pub(super) fn unknown(id: &CommandId) -> CommandRow {
        CommandRow { id: id.0.to_vec(), ..CommandRow::default() }
    }

    /// Gives it a nonce and its first attempt.
    pub(super) fn sign(&mut self, nonce: u64, first: AttemptRow) {
        (self.state, self.nonce, self.sent_ms) = (SIGNED, nonce, None);
        self.attempts = vec![first];
    }

    /// Takes its nonce away: something else used it.
    pub(super) fn unsign(&mut self) {
        (self.state, self.nonce, self.sent_ms) = (PLANNED, 0, None);
        self.attempts.clear();
    }

    /// Ends it; the attempt that was mined is kept, in case the chain takes it back.
    pub(super) fn finish(&mut self, mined: &Mined) {
        self.tx = mined.tx.to_vec();
        self.block_number = mined.number;
        self.attempts.retain(|attempt| attempt.hash == mined.tx.as_slice());
        if mined.success {
            self.state = DONE;
        } else {
            self.state = FAILED;
            self.reason = "the transaction was mined and reverted".into();
        }
    }

    /// Whether it can be sent again as it was.
    pub(super) fn is_kept(&self) -> bool {
        !self.attempts.is_empty()
    }

    /// The chain has taken it back: the same transaction, with the same nonce, is sent again.
    pub(super) fn reopen(&mut self) {
        (self.state, self.sent_ms, self.block_number) = (SIGNED, None, 0);
        self.tx.clear();
        self.reason.clear();
    }

    /// Done without a transaction of ours.
    pub(super) fn finish_untouched(&mut self) {
        self.state = DONE;
        self.attempts.clear();
    }

    pub(super) fn refuse(&mut self, reason: &str) {
        self.state = FAILED;
        self.reason = reason.chars().take(REASON_LEN_MAX).collect();
        self.attempts.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_known_by_its_tail() {
        let id = CommandId::of("transfer/1");
        assert_ne!(id, CommandId::of("transfer/2"));
        for input in [vec![], vec![1; 4], vec![7; 100]] {
            let whole = with_tail(&input, &id);
            assert_eq!(whole.len(), input.len() + TAIL_LEN);
            assert_eq!(tail_of(&whole), Some(id));
            assert_eq!(tail_of(&whole[..whole.len() - 1]), None);
            assert_eq!(tail_of(&input), None);
        }
    }

    #[test]
    fn rows_read_back_as_they_were_written() {
        let when = |rule| DoneWhen { to: Address([3; 20]), input: vec![9; 36], word: 4, rule };
        let command = Command {
            id: CommandId::of("x"),
            to: Address([1; 20]),
            input: vec![5; 200],
            permit: Some(Permit { at: 132, token: Address([2; 20]), spender: Address([1; 20]), amount: u128::MAX }),
            done_when: vec![when(Rule::AtLeast(U256::MAX)), when(Rule::AtMost(U256::ZERO))],
        };
        let row = CommandRow::planned(7, &command);
        crate::golden::check("command", &row.encode_to_vec());
        let mut signed = row.clone();
        let fees = Fees { max: 3, priority: 1 };
        signed.sign(5, AttemptRow::new(Bytes::from_static(b"raw"), B256::repeat_byte(7), fees, 21_000, vec![1, 2]));
        crate::golden::check("command-signed", &signed.encode_to_vec());
        let read = CommandRow::decode(row.encode_to_vec().as_slice()).expect("its own bytes");
        assert_eq!((read.id(), read.to(), read.permit()), (Ok(command.id), Ok(command.to), Ok(command.permit)));
        assert_eq!(read.done_when(), Ok(command.done_when.clone()));
        assert_eq!((read.state(), read.open(None)), (Ok(CommandState::Planned), Ok(Open { seq: 7, signed: None })));
        let answer = [[0; 32], [0; 32], [0; 32], [0; 32], [0xff; 32]].concat();
        assert_eq!(command.done_when.iter().map(|when| when.holds(&answer)).collect::<Vec<_>>(), [true, false]);
        assert!(!command.done_when[1].holds(&answer[..159]));
    }
}
