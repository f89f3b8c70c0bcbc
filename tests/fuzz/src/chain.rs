//! A ledger in this process that has every channel it is asked for, as a paid provider sees it.
//!
//! Never: a change.

use cairn_market::settlement::{
    ChannelRecord, ChannelState, CommandId, Contracts, OpenChannel, ProviderRecord, Settled, Settlement, SettlementError,
};
use cairn_market::voucher::SignedVoucher;
use cairn_types::{Address, Amount, ChannelId, UnixSecs, WalletKey};

/// Its contracts.
pub const CONTRACTS: Contracts = Contracts {
    chain_id: 52_114,
    token: Address([0xa1; 20]),
    channels: Address([0xa2; 20]),
    providers: Address([0xa3; 20]),
    court: Address([0xa4; 20]),
};

/// A wallet of this name.
pub fn wallet(secret: u8) -> WalletKey {
    WalletKey::from_secret(&[secret; 32]).expect("in range")
}

/// The provider's wallet is 1, its signer 2; channels are paid by 3 and signed by 4. What is in a channel, and whether it is closing,
/// is in the last bytes of its id.
pub struct Chain;

/// The channel of this name with this in it.
pub fn channel(name: [u8; 14], deposit: u128, closing: bool) -> ChannelId {
    let mut id = [0; 32];
    id[0] = 1;
    id[1..15].copy_from_slice(&name);
    id[15] = closing.into();
    id[16..].copy_from_slice(&deposit.to_be_bytes());
    ChannelId(id)
}

fn refused<T>(what: &str) -> Result<T, SettlementError> {
    Err(SettlementError::Refused(what.to_owned()))
}

impl Settlement for Chain {
    fn contracts(&self) -> Contracts {
        CONTRACTS
    }

    fn wallet(&self) -> Address {
        wallet(1).address()
    }

    fn balance(&self, _: Address) -> Settled<'_, Amount> {
        Box::pin(async { Ok(Amount::CREDIT) })
    }

    fn channel(&self, id: ChannelId) -> Settled<'_, Option<ChannelRecord>> {
        let deposit = u128::from_be_bytes(*id.0.last_chunk().expect("an id is longer"));
        let state = if id.0[15] == 0 { ChannelState::Open } else { ChannelState::Closing { closes_at: UnixSecs(u64::MAX) } };
        let record = ChannelRecord {
            payer: wallet(3).address(),
            payee: wallet(1).address(),
            signer: wallet(4).address(),
            deposit: Amount::from_base_units(deposit),
            settled: Amount::ZERO,
            state,
        };
        Box::pin(async move { Ok((id.0[0] == 1).then_some(record)) })
    }

    fn provider(&self, _: Address) -> Settled<'_, Option<ProviderRecord>> {
        Box::pin(async { Ok(None) })
    }

    fn signer_valid(&self, _: Address, _: Address, _: UnixSecs) -> Settled<'_, bool> {
        Box::pin(async { Ok(true) })
    }

    fn open_channel(&self, _: CommandId, _: OpenChannel) -> Settled<'_, ChannelId> {
        Box::pin(async { refused("a provider opens no channel") })
    }

    fn top_up(&self, _: CommandId, _: ChannelId, _: Amount) -> Settled<'_, ()> {
        Box::pin(async { refused("a provider pays nothing in") })
    }

    fn redeem<'a>(&'a self, _: CommandId, _: &'a [SignedVoucher]) -> Settled<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn request_close(&self, _: CommandId, _: ChannelId) -> Settled<'_, ()> {
        Box::pin(async { refused("a provider closes nothing") })
    }

    fn withdraw(&self, _: CommandId, _: ChannelId) -> Settled<'_, ()> {
        Box::pin(async { refused("a provider withdraws nothing") })
    }
}
