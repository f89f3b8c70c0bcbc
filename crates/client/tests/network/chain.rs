//! The chain in memory, shared by all parties: balances, channels, registrations; commands are done once, and every change is counted.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use cairn_market::settlement::*;
use cairn_market::voucher::{Parties, SignedVoucher};
use cairn_types::{Address, Amount, ChannelId, Clock, NodeId, UnixSecs};

pub const CONTRACTS: Contracts = Contracts {
    chain_id: 52_114,
    token: Address([0xa1; 20]),
    channels: Address([0xa2; 20]),
    providers: Address([0xa3; 20]),
    court: Address([0xa4; 20]),
};

const GRACE_SECS: u64 = 24 * 3600;

#[derive(Default)]
struct State {
    balances: HashMap<Address, Amount>,
    minted: Amount,
    channels: HashMap<ChannelId, ChannelRecord>,
    returned: HashMap<ChannelId, Amount>,
    providers: HashMap<Address, ProviderRecord>,
    done: HashSet<CommandId>,
    transactions: u64,
}

/// The chain.
pub struct Chain {
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
}

/// The chain as one wallet sees it.
pub struct Wallet {
    chain: Arc<Chain>,
    owner: Address,
}

impl Chain {
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Chain> {
        Arc::new(Chain { state: Mutex::default(), clock })
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().expect("no test panics inside"))
    }

    pub fn wallet(self: &Arc<Self>, owner: Address) -> Arc<Wallet> {
        Arc::new(Wallet { chain: self.clone(), owner })
    }

    pub fn mint(&self, owner: Address, amount: Amount) {
        self.with(|state| {
            state.minted = state.minted.plus(amount).expect("small");
            credit(state, owner, amount);
        });
    }

    pub fn register(&self, owner: Address, node: NodeId, signer: Address, collateral: Amount) {
        let record =
            ProviderRecord { node, signer, terms_hash: [0; 32], collateral, unbonding: Amount::ZERO, unbond_at: UnixSecs(0) };
        self.with(|state| state.providers.insert(owner, record));
    }

    /// Changes that were made.
    pub fn transactions(&self) -> u64 {
        self.with(|state| state.transactions)
    }

    pub fn balance_of(&self, owner: Address) -> Amount {
        self.with(|state| state.balances.get(&owner).copied().unwrap_or(Amount::ZERO))
    }

    pub fn record(&self, id: ChannelId) -> Option<ChannelRecord> {
        self.with(|state| state.channels.get(&id).copied())
    }

    pub fn channels(&self) -> usize {
        self.with(|state| state.channels.len())
    }

    /// Whatever was minted is in a wallet or in a channel.
    pub fn is_conserved(&self) -> bool {
        self.with(|state| {
            let in_channels = state.channels.iter().map(|(id, channel)| {
                let returned = state.returned.get(id).copied().unwrap_or(Amount::ZERO);
                channel.deposit.minus(channel.settled).and_then(|rest| rest.minus(returned)).expect("never below zero")
            });
            Amount::sum(in_channels.chain(state.balances.values().copied())) == Some(state.minted)
        })
    }

    /// Does a command once.
    fn once<T>(
        &self,
        command: CommandId,
        act: impl FnOnce(&mut State, bool) -> Result<T, SettlementError>,
    ) -> Result<T, SettlementError> {
        self.with(|state| {
            let again = state.done.contains(&command);
            let done = act(state, again)?;
            if state.done.insert(command) {
                state.transactions += 1;
            }
            Ok(done)
        })
    }
}

fn credit(state: &mut State, owner: Address, amount: Amount) {
    let balance = state.balances.entry(owner).or_default();
    *balance = balance.plus(amount).expect("no more than was minted");
}

fn debit(state: &mut State, owner: Address, need: Amount) -> Result<(), SettlementError> {
    let have = state.balances.get(&owner).copied().unwrap_or(Amount::ZERO);
    let rest = have.minus(need).ok_or(SettlementError::NotEnough { have, need })?;
    state.balances.insert(owner, rest);
    Ok(())
}

fn refused<T>(why: &str) -> Result<T, SettlementError> {
    Err(SettlementError::Refused(why.into()))
}

fn redeem(state: &mut State, signed: &SignedVoucher) -> Result<(), SettlementError> {
    let Some(channel) = state.channels.get_mut(&signed.voucher.channel) else { return refused("no channel") };
    let signer = signed.signer(&CONTRACTS.channels_domain());
    if signer != Some(channel.signer) && signer != Some(channel.payer) {
        return refused("wrong signature");
    }
    if channel.state == ChannelState::Closed {
        return refused("closed");
    }
    let due = signed.voucher.cumulative.min(channel.deposit).minus_or_zero(channel.settled);
    channel.settled = channel.settled.plus(due).expect("within the deposit");
    let payee = channel.payee;
    credit(state, payee, due);
    Ok(())
}

impl Settlement for Wallet {
    fn contracts(&self) -> Contracts {
        CONTRACTS
    }
    fn wallet(&self) -> Address {
        self.owner
    }
    fn balance(&self, owner: Address) -> Settled<'_, Amount> {
        Box::pin(async move { Ok(self.chain.balance_of(owner)) })
    }
    fn channel(&self, id: ChannelId) -> Settled<'_, Option<ChannelRecord>> {
        Box::pin(async move { Ok(self.chain.record(id)) })
    }
    fn provider(&self, owner: Address) -> Settled<'_, Option<ProviderRecord>> {
        Box::pin(async move { Ok(self.chain.with(|state| state.providers.get(&owner).copied())) })
    }
    fn signer_valid(&self, owner: Address, signer: Address, _: UnixSecs) -> Settled<'_, bool> {
        Box::pin(
            async move { Ok(self.chain.with(|state| state.providers.get(&owner).is_some_and(|record| record.signer == signer))) },
        )
    }
    fn open_channel(&self, command: CommandId, open: OpenChannel) -> Settled<'_, ChannelId> {
        Box::pin(async move {
            let OpenChannel { payee, signer, deposit, salt } = open;
            let parties = Parties { payer: self.owner, payee, signer, salt };
            let id = parties.channel_id(&CONTRACTS.channels_domain());
            self.chain.once(command, |state, _| {
                if state.channels.contains_key(&id) {
                    return Ok(id);
                }
                debit(state, self.owner, deposit)?;
                let settled = Amount::ZERO;
                let record = ChannelRecord { payer: self.owner, payee, signer, deposit, settled, state: ChannelState::Open };
                state.channels.insert(id, record);
                Ok(id)
            })
        })
    }
    fn top_up(&self, command: CommandId, channel: ChannelId, amount: Amount) -> Settled<'_, ()> {
        Box::pin(async move {
            self.chain.once(command, |state, again| {
                if again {
                    return Ok(());
                }
                if state.channels.get(&channel).is_none_or(|record| record.state != ChannelState::Open) {
                    return refused("not open");
                }
                debit(state, self.owner, amount)?;
                let record = state.channels.get_mut(&channel).expect("looked at above");
                record.deposit = record.deposit.plus(amount).expect("small");
                Ok(())
            })
        })
    }
    fn redeem<'a>(&'a self, command: CommandId, vouchers: &'a [SignedVoucher]) -> Settled<'a, ()> {
        Box::pin(async move {
            self.chain.once(command, |state, again| match again {
                true => Ok(()),
                false => vouchers.iter().try_for_each(|signed| redeem(state, signed)),
            })
        })
    }
    fn request_close(&self, command: CommandId, channel: ChannelId) -> Settled<'_, ()> {
        Box::pin(async move {
            let closes_at = self.chain.clock.now().secs().plus_secs(GRACE_SECS);
            self.chain.once(command, |state, again| match state.channels.get_mut(&channel) {
                Some(record) if !again && record.state == ChannelState::Open => {
                    record.state = ChannelState::Closing { closes_at };
                    Ok(())
                }
                Some(_) if again => Ok(()),
                _ => refused("not open"),
            })
        })
    }
    fn withdraw(&self, command: CommandId, channel: ChannelId) -> Settled<'_, ()> {
        Box::pin(async move {
            let now = self.chain.clock.now().secs();
            self.chain.once(command, |state, _| {
                let Some(record) = state.channels.get_mut(&channel) else { return refused("no channel") };
                let ChannelState::Closing { closes_at } = record.state else { return refused("not closing") };
                if now < closes_at {
                    return refused("the grace is not over");
                }
                record.state = ChannelState::Closed;
                let rest = record.deposit.minus(record.settled).expect("settled within the deposit");
                let payer = record.payer;
                state.returned.insert(channel, rest);
                credit(state, payer, rest);
                Ok(())
            })
        })
    }
}
