//! The chain in memory: channels, balances, and commands that are done once; its answers can be lost.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use cairn_market::settlement::*;
use cairn_market::voucher::{Parties, SignedVoucher};
use cairn_types::{Address, Amount, ChannelId, UnixSecs};

/// What goes wrong with the next calls that change something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    None,
    /// Nothing is done.
    Unreachable,
    /// It is done, and the answer is lost.
    AnswerLost,
}

pub(crate) struct Chain {
    state: Mutex<State>,
    wallet: Address,
}

struct State {
    channels: HashMap<ChannelId, ChannelRecord>,
    returned: HashMap<ChannelId, Amount>,
    balances: HashMap<Address, Amount>,
    minted: Amount,
    done: HashSet<[u8; 32]>,
    calls: u64,
    trouble: Trouble,
    gas: Amount,
}

pub(crate) const CONTRACTS: Contracts = Contracts {
    chain_id: 52_114,
    token: Address([0xa1; 20]),
    channels: Address([0xa2; 20]),
    providers: Address([0xa3; 20]),
    court: Address([0xa4; 20]),
};

impl Chain {
    pub fn new(wallet: Address) -> Chain {
        let state = State {
            channels: HashMap::new(),
            returned: HashMap::new(),
            balances: HashMap::new(),
            minted: Amount::ZERO,
            done: HashSet::new(),
            calls: 0,
            trouble: Trouble::None,
            gas: Amount::ZERO,
        };
        Chain { state: Mutex::new(state), wallet }
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().expect("no test panics inside"))
    }

    pub fn trouble(&self, trouble: Trouble) {
        self.with(|state| state.trouble = trouble);
    }

    /// A voucher costs so much to redeem, and as much again for the transaction.
    pub fn gas(&self, gas: Amount) {
        self.with(|state| state.gas = gas);
    }

    /// Redeem calls that were made, done or not.
    pub fn calls(&self) -> u64 {
        self.with(|state| state.calls)
    }

    /// A channel opened by `parties.payer`, who is given the deposit first.
    pub fn open(&self, parties: Parties, deposit: Amount) -> ChannelId {
        let id = parties.channel_id(&CONTRACTS.channels_domain());
        let Parties { payer, payee, signer, .. } = parties;
        self.with(|state| {
            state.minted = state.minted.plus(deposit).expect("small");
            let record = ChannelRecord { payer, payee, signer, deposit, settled: Amount::ZERO, state: ChannelState::Open };
            assert!(state.channels.insert(id, record).is_none(), "a channel is opened once");
        });
        id
    }

    pub fn top_up_from_outside(&self, id: ChannelId, amount: Amount) {
        self.with(|state| {
            state.minted = state.minted.plus(amount).expect("small");
            let channel = state.channels.get_mut(&id).expect("open");
            channel.deposit = channel.deposit.plus(amount).expect("small");
        });
    }

    pub fn begin_close(&self, id: ChannelId) {
        self.with(|state| {
            state.channels.get_mut(&id).expect("open").state = ChannelState::Closing { closes_at: UnixSecs(9_999_999) };
        });
    }

    pub fn close(&self, id: ChannelId) {
        self.with(|state| {
            let channel = state.channels.get_mut(&id).expect("open");
            channel.state = ChannelState::Closed;
            let rest = channel.deposit.minus(channel.settled).expect("settled within the deposit");
            let payer = channel.payer;
            state.returned.insert(id, rest);
            credit(&mut state.balances, payer, rest);
        });
    }

    pub fn balance_of(&self, owner: Address) -> Amount {
        self.with(|state| state.balances.get(&owner).copied().unwrap_or(Amount::ZERO))
    }

    /// Whatever was minted is in a wallet or in a channel.
    pub fn is_conserved(&self) -> bool {
        self.with(|state| {
            let in_channels = state.channels.iter().map(|(id, channel)| {
                let returned = state.returned.get(id).copied().unwrap_or(Amount::ZERO);
                channel.deposit.minus(channel.settled).and_then(|rest| rest.minus(returned)).expect("never more than the deposit")
            });
            Amount::sum(in_channels.chain(state.balances.values().copied())) == Some(state.minted)
        })
    }

    /// Pays vouchers out as the contract does, whoever asks.
    pub fn redeem_by_anyone(&self, vouchers: &[SignedVoucher]) -> Result<(), SettlementError> {
        self.with(|state| redeem(state, vouchers))
    }
}

fn credit(balances: &mut HashMap<Address, Amount>, owner: Address, amount: Amount) {
    let balance = balances.entry(owner).or_insert(Amount::ZERO);
    *balance = balance.plus(amount).expect("no more than was minted");
}

fn redeem(state: &mut State, vouchers: &[SignedVoucher]) -> Result<(), SettlementError> {
    for signed in vouchers {
        let refused = |reason: &str| Err(SettlementError::Refused(reason.into()));
        let Some(channel) = state.channels.get_mut(&signed.voucher.channel) else { return refused("no channel") };
        if signed.mandate.is_some() && vouchers.len() > 1 {
            return refused("a call of its own is due under a mandate");
        }
        let signer = signed.giver(&CONTRACTS.channels_domain());
        if signer != Some(channel.signer) && signer != Some(channel.payer) {
            return refused("wrong signature");
        }
        if channel.state == ChannelState::Closed {
            return refused("closed");
        }
        let due = signed.voucher.cumulative.min(channel.deposit).minus_or_zero(channel.settled);
        channel.settled = channel.settled.plus(due).expect("within the deposit");
        let payee = channel.payee;
        credit(&mut state.balances, payee, due);
    }
    Ok(())
}

impl Settlement for Chain {
    fn contracts(&self) -> Contracts {
        CONTRACTS
    }
    fn wallet(&self) -> Address {
        self.wallet
    }
    fn balance(&self, owner: Address) -> Settled<'_, Amount> {
        Box::pin(async move { Ok(self.balance_of(owner)) })
    }
    fn channel(&self, id: ChannelId) -> Settled<'_, Option<ChannelRecord>> {
        Box::pin(async move {
            self.with(|state| match state.trouble {
                Trouble::None => Ok(state.channels.get(&id).copied()),
                _ => Err(SettlementError::Unavailable("down".into())),
            })
        })
    }
    fn provider(&self, _: Address) -> Settled<'_, Option<ProviderRecord>> {
        Box::pin(async { Ok(None::<ProviderRecord>) })
    }
    fn signer_valid(&self, _: Address, _: Address, _: UnixSecs) -> Settled<'_, bool> {
        Box::pin(async { Ok(true) })
    }
    fn open_channel(&self, _: CommandId, _: OpenChannel) -> Settled<'_, ChannelId> {
        Box::pin(async { Err(SettlementError::Refused("a provider opens no channel".into())) })
    }
    fn top_up(&self, _: CommandId, _: ChannelId, _: Amount) -> Settled<'_, ()> {
        Box::pin(async { Err(SettlementError::Refused("a provider pays nothing in".into())) })
    }
    fn redeem<'a>(&'a self, command: CommandId, vouchers: &'a [SignedVoucher]) -> Settled<'a, ()> {
        Box::pin(async move {
            self.with(|state| {
                state.calls += 1;
                if state.trouble == Trouble::Unreachable {
                    return Err(SettlementError::Unavailable("down".into()));
                }
                if state.done.insert(command.0) {
                    redeem(state, vouchers)?;
                }
                match state.trouble {
                    Trouble::AnswerLost => Err(SettlementError::Unavailable("no answer".into())),
                    _ => Ok(()),
                }
            })
        })
    }
    fn redeem_cost(&self, vouchers: usize) -> Settled<'_, Amount> {
        Box::pin(async move { Ok(self.with(|state| state.gas.times(1 + vouchers as u64)).expect("small")) })
    }
    fn request_close(&self, _: CommandId, _: ChannelId) -> Settled<'_, ()> {
        Box::pin(async { Err(SettlementError::Refused("a provider closes nothing".into())) })
    }
    fn withdraw(&self, _: CommandId, _: ChannelId) -> Settled<'_, ()> {
        Box::pin(async { Err(SettlementError::Refused("a provider withdraws nothing".into())) })
    }
}
