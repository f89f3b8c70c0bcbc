//! Sender: carries out commands, each exactly once, through crashes, dropped and replaced transactions, reorganisations, and a database
//! that was put back.
//!
//! The [`core`] decides; this shell asks the node, signs and writes. A raw transaction is on disk before it is sent.
//! Never: signs with a balance or a fee beyond its bounds, or while the chain knows more of this wallet than we do.
//! Limits: [`SenderConfig`], [`MOVES_MAX`].

pub mod command;
pub mod core;
pub(crate) mod queue;

use std::sync::Arc;

use alloy_consensus::TxEip1559;
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Bytes, TxKind, U256};
use alloy_sol_types::SolCall;
use cairn_types::eip712::{self, Domain, keccak256, word_address, word_u64, word_u128};
use cairn_types::{Address, Clock, WalletKey};

use self::core::{Facts, Fees, Mined, Move, Policy, next_move};
use crate::bindings::CreditToken;
use crate::endpoint::{Endpoint, EndpointError};
use crate::store::StoreError;
use crate::wire::{self, evm};
use command::{AttemptRow, Command, CommandId, CommandRow, tail_of, with_tail};
use queue::{Book, Queue, hashes};

/// Moves of one round.
const MOVES_MAX: usize = 256;
/// Gas of a transaction that fills a gap, its tail included.
const FILL_GAS: u64 = 40_000;
/// Gas beyond an estimate: a quarter and this.
const SPARE_GAS: u64 = 10_000;
const PERMIT_TYPE: &str = "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)";
const TOKEN_NAME: &str = "Cairn Credit";

/// Patience and bounds of the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderConfig {
    /// Blocks on top of a transaction that make it stay; 0 on an embedded chain.
    pub confirmations: u64,
    /// A transaction that is not mined is sent again, with higher fees, after this.
    pub resend_ms: u64,
    /// Attempts with growing fees for one nonce.
    pub attempts_max: usize,
    /// No transaction pays more for a unit of gas, in the smallest unit of the chain's own coin.
    pub fee_max: u128,
    /// Below this balance of the chain's own coin nothing is signed.
    pub balance_min: u128,
}

impl Default for SenderConfig {
    fn default() -> Self {
        SenderConfig { confirmations: 0, resend_ms: 30_000, attempts_max: 8, fee_max: 200_000_000_000, balance_min: 0 }
    }
}

/// Why a round, or a command, failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The node.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// Our database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Too many commands wait.
    #[error("{0} commands wait for the chain; no more are taken")]
    Full(usize),
    /// A command that is too long.
    #[error("a command of {len} bytes; at most {len_max}, and few conditions")]
    TooLarge {
        /// Its calldata.
        len: usize,
        /// The limit.
        len_max: usize,
    },
    /// The chain has used a nonce of this wallet and the node cannot show for what.
    #[error("nonce {0} of this wallet is used and the node does not show by which transaction; ask a node that keeps history")]
    Hidden(u64),
    /// The thread that writes is gone.
    #[error("the ledger stops")]
    Stopping,
}

/// Why nothing is signed at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pause {
    /// The wallet cannot pay for gas.
    LowBalance {
        /// It has.
        balance: u128,
        /// It needs.
        needed: u128,
    },
    /// Gas is dearer than the cap.
    FeeTooHigh {
        /// For a unit.
        fee: u128,
        /// The cap.
        fee_max: u128,
    },
    /// A transaction of this wallet that is not ours is not deep yet.
    Unsettled {
        /// Its nonce.
        nonce: u64,
    },
    /// The node, or the chain, knows less of this wallet than was confirmed.
    WentBack {
        /// Our next nonce.
        known: u64,
        /// The node's.
        found: u64,
    },
}

/// How a round ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    /// All that can be done now is done; so many commands are not done.
    Resting {
        /// How many.
        open: usize,
    },
    /// Nothing may be signed.
    Paused(Pause),
}

/// Sends for one wallet. There must be one for a wallet.
pub struct Sender {
    endpoint: Endpoint,
    queue: Queue,
    key: WalletKey,
    config: SenderConfig,
    clock: Arc<dyn Clock>,
    /// Since when the node shows fewer of our transactions than were mined, ms.
    went_back_ms: Option<u64>,
}

impl Sender {
    pub(crate) fn new(endpoint: Endpoint, queue: Queue, key: WalletKey, config: SenderConfig, clock: Arc<dyn Clock>) -> Sender {
        Sender { endpoint, queue, key, config, clock, went_back_ms: None }
    }

    /// Moves the commands on as far as they go now.
    ///
    /// # Errors
    /// [`SendError`]; nothing is lost, the next round goes on.
    pub async fn round(&mut self) -> Result<Round, SendError> {
        self.queue.check_chain(&self.endpoint).await?;
        let SenderConfig { confirmations, resend_ms, attempts_max, fee_max, .. } = self.config;
        let policy = Policy { confirmations, resend_ms, attempts_max, fee_max };
        for _ in 0..MOVES_MAX {
            let book = self.queue.book().await?;
            let facts = self.facts().await?;
            let open = self.open(&book).await?;
            let row = |seq: u64| book.open.iter().find(|row| row.seq == seq).cloned().expect("a move names an open command");
            let next = next_move(book.next_nonce, &open, &facts, &policy);
            if !matches!(next, Move::WentBack { .. }) {
                self.went_back_ms = None;
            }
            let pause = match next {
                Move::Rest => return Ok(Round::Resting { open: book.open.len() }),
                Move::WentBack { known, found } => self.went_back(known, found, facts.now_ms).await?,
                Move::Unsettled { nonce } => Some(Pause::Unsettled { nonce }),
                Move::Finish { seq, mined } => {
                    let row = row(seq);
                    tracing::info!(command = %row.id()?, tx = %mined.tx, success = mined.success, "mined");
                    self.queue.account(row.nonce, mined, Some(row.id()?)).await?;
                    None
                }
                Move::Identify { nonce } => {
                    self.identify(nonce, &book, &facts).await?;
                    None
                }
                Move::Send { seq } => self.send(row(seq)).await.map(|()| None)?,
                Move::Sign { seq, nonce } => self.sign(row(seq), nonce).await?,
                Move::Bump { seq, fees } => self.bump(row(seq), fees).await?,
                Move::Fill { nonce } => self.fill(nonce).await?,
            };
            if let Some(pause) = pause {
                return Ok(Round::Paused(pause));
            }
        }
        Ok(Round::Resting { open: self.queue.book().await?.open.len() })
    }

    /// Takes the node's word after [`Pause::WentBack`]: what was confirmed and is not on the chain any more stays as it is in our books.
    /// Only for an operator who has put the chain back on purpose.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn adopt_chain(&mut self) -> Result<(), SendError> {
        self.queue.check_chain(&self.endpoint).await?;
        let facts = self.facts().await?;
        self.queue.adopt(facts.nonce_mined).await
    }

    fn wallet(&self) -> Address {
        self.key.address()
    }

    async fn facts(&self) -> Result<Facts, SendError> {
        let wallet = evm(self.wallet());
        let head = self.endpoint.head_number().await?;
        let nonce_mined = self.endpoint.nonce_at(wallet, head).await?;
        let deep = head.saturating_sub(self.config.confirmations);
        let nonce_deep = if deep == head { nonce_mined } else { self.endpoint.nonce_at(wallet, deep).await? };
        let nonce_pending = self.endpoint.nonce_pending(wallet).await?;
        Ok(Facts { head, nonce_mined, nonce_deep, nonce_pending, now_ms: self.clock.now().0 })
    }

    async fn open(&self, book: &Book) -> Result<Vec<self::core::Open>, SendError> {
        let mut open = Vec::new();
        for row in &book.open {
            let mut mined = None;
            for hash in hashes(row)? {
                if let Some(receipt) = self.endpoint.receipt(hash).await? {
                    let (number, gas_used) = (receipt.block_number.to(), receipt.gas_used.to());
                    mined = Some(Mined { tx: hash, number, success: receipt.status.to::<u64>() == 1, gas_used });
                    break;
                }
            }
            open.push(row.open(mined)?);
        }
        Ok(open)
    }

    /// A node that is only behind catches up. One that stays behind has lost transactions to a reorganisation, or was put back: the same
    /// ones are sent again, with the nonces they had.
    async fn went_back(&mut self, known: u64, found: u64, now_ms: u64) -> Result<Option<Pause>, SendError> {
        let since_ms = *self.went_back_ms.get_or_insert(now_ms);
        if now_ms.saturating_sub(since_ms) < self.config.resend_ms || !self.queue.reopen(found, known).await? {
            return Ok(Some(Pause::WentBack { known, found }));
        }
        tracing::warn!(from = found, to = known, "the chain has taken transactions of this wallet back; they are sent again");
        self.went_back_ms = None;
        Ok(None)
    }

    /// Finds the transaction that used `nonce`, by halving the blocks in which it can be.
    async fn identify(&self, nonce: u64, book: &Book, facts: &Facts) -> Result<(), SendError> {
        let wallet = evm(self.wallet());
        let (mut low, mut high) = (book.place.min(facts.head), facts.head);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.endpoint.nonce_at(wallet, middle).await? > nonce { high = middle } else { low = middle + 1 }
        }
        let found =
            self.endpoint.transactions(high).await?.into_iter().find(|tx| tx.from == wallet && tx.nonce.to::<u64>() == nonce);
        let tx = found.ok_or(SendError::Hidden(nonce))?;
        let receipt = self.endpoint.receipt(tx.hash).await?.ok_or(SendError::Hidden(nonce))?;
        let id = tail_of(&tx.input);
        tracing::info!(nonce, tx = %tx.hash, command = ?id, "a transaction of this wallet that was not in the books");
        let (success, gas_used) = (receipt.status.to::<u64>() == 1, receipt.gas_used.to());
        self.queue.account(nonce, Mined { tx: tx.hash, number: high, success, gas_used }, id).await
    }

    async fn send(&self, mut row: CommandRow) -> Result<(), SendError> {
        let raw = row.attempts.last().map(|attempt| Bytes::from(attempt.raw.clone())).unwrap_or_default();
        match self.endpoint.send_raw(&raw).await {
            Ok(_) => {}
            // The node may have it, or may have mined it or another with its nonce: the next look tells.
            Err(error) if error.is_refusal() => {
                tracing::warn!(command = %row.id()?, %error, "the node did not take a transaction")
            }
            Err(error) => return Err(error.into()),
        }
        row.sent_ms = Some(self.clock.now().0);
        self.queue.put(row).await
    }

    async fn sign(&self, mut row: CommandRow, nonce: u64) -> Result<Option<Pause>, SendError> {
        for when in row.done_when()? {
            match self.endpoint.view(evm(when.to), when.input.clone().into()).await {
                Ok(answer) if when.holds(&answer) => {
                    row.finish_untouched();
                    return self.queue.put(row).await.map(|()| None);
                }
                Ok(_) => {}
                Err(error) if error.is_refusal() => {} // a view that reverts says nothing
                Err(error) => return Err(error.into()),
            }
        }
        let fees = match self.fees().await? {
            Ok(fees) => fees,
            Err(pause) => return Ok(Some(pause)),
        };
        let input = with_tail(&self.permitted(&row).await?, &row.id()?);
        let to = row.to()?;
        let gas = match self.endpoint.estimate(evm(self.wallet()), evm(to), &input.clone().into()).await {
            Ok(gas) => gas + gas / 4 + SPARE_GAS,
            Err(EndpointError::Refused { message, data, .. }) => {
                let reason = data.as_ref().map_or(message, |data| crate::revert::reason(data));
                tracing::warn!(command = %row.id()?, reason, "a command would revert");
                row.refuse(&reason);
                return self.queue.put(row).await.map(|()| None);
            }
            Err(error) => return Err(error.into()),
        };
        if let Some(pause) = self.too_poor(gas, fees).await? {
            return Ok(Some(pause));
        }
        row.sign(nonce, attempt(&self.key, self.endpoint.chain_id(), nonce, to, input, gas, fees));
        self.queue.put(row.clone()).await?; // before anybody sees it
        self.send(row).await.map(|()| None)
    }

    async fn bump(&self, mut row: CommandRow, raised: Fees) -> Result<Option<Pause>, SendError> {
        let Some(last) = row.attempts.last().cloned() else { return Ok(None) };
        let fees = match self.fees().await? {
            Ok(now) => Fees { max: raised.max.max(now.max), priority: raised.priority.max(now.priority) },
            Err(_) => raised, // dearer than the cap: what is on its way may still grow up to it
        };
        if let Some(pause) = self.too_poor(last.gas, fees).await? {
            return Ok(Some(pause));
        }
        row.attempts.push(attempt(&self.key, self.endpoint.chain_id(), row.nonce, row.to()?, last.input, last.gas, fees));
        self.queue.put(row.clone()).await?;
        self.send(row).await.map(|()| None)
    }

    async fn fill(&self, nonce: u64) -> Result<Option<Pause>, SendError> {
        let fees = match self.fees().await? {
            Ok(fees) => fees,
            Err(pause) => return Ok(Some(pause)),
        };
        if let Some(pause) = self.too_poor(FILL_GAS, fees).await? {
            return Ok(Some(pause));
        }
        tracing::warn!(nonce, "a transaction before ours is gone; an empty one takes its place");
        let now_ms = self.clock.now().0;
        let id = CommandId::of(&format!("fill/{nonce}/{now_ms}"));
        let wallet = self.wallet();
        let signed = attempt(&self.key, self.endpoint.chain_id(), nonce, wallet, with_tail(&[], &id), FILL_GAS, fees);
        let sign = move |seq| {
            let command = Command { id, to: wallet, input: Vec::new(), permit: None, done_when: Vec::new() };
            let mut row = CommandRow::planned(seq, &command);
            row.sign(nonce, signed);
            Ok(row)
        };
        self.queue.put_new(sign).await.map(|()| None)
    }

    /// What gas costs now, or that it is too dear.
    async fn fees(&self) -> Result<Result<Fees, Pause>, SendError> {
        let base: u128 = self.endpoint.newest().await?.base_fee_per_gas.map(|fee| fee.to()).unwrap_or_default();
        let priority = self.endpoint.priority_fee().await?;
        let (fee, fee_max) = (base.saturating_add(priority), self.config.fee_max);
        if fee > fee_max {
            return Ok(Err(Pause::FeeTooHigh { fee, fee_max }));
        }
        Ok(Ok(Fees { max: base.saturating_mul(2).saturating_add(priority).min(fee_max), priority }))
    }

    async fn too_poor(&self, gas: u64, fees: Fees) -> Result<Option<Pause>, SendError> {
        let balance = self.endpoint.coin_balance(evm(self.wallet())).await?;
        let balance = u128::try_from(balance).unwrap_or(u128::MAX);
        let needed = u128::from(gas).saturating_mul(fees.max).max(self.config.balance_min);
        Ok((balance < needed).then_some(Pause::LowBalance { balance, needed }))
    }

    /// The calldata, with an allowance signed into it if it wants one.
    async fn permitted(&self, row: &CommandRow) -> Result<Vec<u8>, SendError> {
        let mut input = row.input.clone();
        let Some(permit) = row.permit()? else { return Ok(input) };
        let owner = self.wallet();
        let call = CreditToken::noncesCall { owner: evm(owner) };
        let answer = self.endpoint.view(evm(permit.token), call.abi_encode().into()).await?;
        let nonce = U256::try_from_be_slice(&answer)
            .ok_or_else(|| EndpointError::Wrong { method: "eth_call".into(), reason: "a nonce is one word".into() })?;
        // It is used up by the very transaction that carries it, so it needs no end.
        let deadline = [0xff; 32];
        let words = [word_address(owner), word_address(permit.spender), word_u128(permit.amount), nonce.to_be_bytes(), deadline];
        let domain = Domain { name: TOKEN_NAME, chain_id: self.endpoint.chain_id(), contract: permit.token };
        let signature = self.key.sign_digest(&eip712::digest(&domain, &keccak256(PERMIT_TYPE), &words));
        let bytes = signature.as_bytes();
        let signed = [&deadline, &word_u64(bytes[64].into()), &bytes[..64]].concat();
        let place = input.get_mut(permit.at..permit.at + signed.len()).ok_or(command::RowError("permit"))?;
        place.copy_from_slice(&signed);
        Ok(input)
    }
}

fn attempt(key: &WalletKey, chain_id: u64, nonce: u64, to: Address, input: Vec<u8>, gas: u64, fees: Fees) -> AttemptRow {
    let tx = TxEip1559 {
        chain_id,
        nonce,
        gas_limit: gas,
        max_fee_per_gas: fees.max,
        max_priority_fee_per_gas: fees.priority.min(fees.max),
        to: TxKind::Call(evm(to)),
        input: input.clone().into(),
        ..TxEip1559::default()
    };
    let envelope = wire::sign(tx, key);
    AttemptRow::new(envelope.encoded_2718().into(), *envelope.tx_hash(), fees, gas, input)
}
