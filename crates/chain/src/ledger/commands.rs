//! What a role can ask for on chain. Each call puts a command on disk and answers how far it is; [`Chain::finished`] waits for the rest.
//!
//! The caller names the command: the same name is the same command, however often it is submitted.
//! Never: waits for the node. Limits: those of the queue.

use alloy_primitives::U256;
use alloy_sol_types::SolCall;
use cairn_market::voucher::{Parties, SignedMandate, SignedVoucher};
use cairn_types::{Address, Amount, ChannelId, Domain, EvmSignature};

use super::{Chain, ChainError};
use crate::bindings::{self, Channels, Claim, Court, CreditToken, Faucet, Providers};
use crate::sender::command::{Command, CommandId, CommandState, DoneWhen, Permit, Rule};
use crate::wire::evm;

/// Words before the permit's four in the calldata of `openWithPermit`.
const OPEN_WORDS: usize = 4;
/// The same of `registerWithPermit`.
const REGISTER_WORDS: usize = 5;
/// What a challenger puts down; `Court.BOND`.
pub(super) const BOND: Amount = Amount::from_credits(10);
// Words of the contracts' structs.
const CHANNEL_SETTLED: usize = 4;
const CHANNEL_STATE: usize = 6;
const PROVIDER_COLLATERAL: usize = 3;
const PROVIDER_UNBONDING: usize = 4;
const DISPUTE_STATE: usize = 8;
// States in them.
const OPENED: u64 = 1;
const CLOSING: u64 = 2;
const CLOSED: u64 = 3;
const JOINED: u64 = 2;
const REVEALED: u64 = 3;
const DISMISSED: u64 = 4;

/// What a provider says of itself when it registers.
#[derive(Debug, Clone)]
pub struct Registration {
    /// ed25519 key of its node.
    pub node_key: [u8; 32],
    /// Will sign commitments.
    pub signer: Address,
    /// Hash of its offer.
    pub offer_hash: [u8; 32],
    /// Stake.
    pub collateral: Amount,
    /// By the node key, over chain, contract, owner and signer.
    pub node_signature: [u8; 64],
}

impl Chain {
    /// Sends credits.
    ///
    /// # Errors
    /// The queue.
    pub async fn transfer(&self, id: CommandId, to: Address, amount: Amount) -> Result<CommandState, ChainError> {
        let call = CreditToken::transferCall { to: evm(to), value: U256::from(amount.base_units()) };
        self.submit(id, self.inner.contracts.token, call, vec![]).await
    }

    /// Asks the faucet for credits for `to`.
    ///
    /// # Errors
    /// [`ChainError::NoFaucet`], or the queue.
    pub async fn drip(&self, id: CommandId, to: Address) -> Result<CommandState, ChainError> {
        let faucet = self.inner.contracts.faucet.ok_or(ChainError::NoFaucet)?;
        self.submit(id, faucet, Faucet::dripCall { to: evm(to) }, vec![]).await
    }

    /// Registers the wallet as a provider; the collateral's allowance is signed along.
    ///
    /// # Errors
    /// The queue.
    pub async fn register(&self, id: CommandId, registration: Registration) -> Result<CommandState, ChainError> {
        let Registration { node_key, signer, offer_hash, collateral, node_signature } = registration;
        let providers = self.inner.contracts.providers;
        let call = Providers::registerWithPermitCall {
            nodeKey: node_key.into(),
            signer: evm(signer),
            offerHash: offer_hash.into(),
            collateral: collateral.base_units(),
            nodeSignature: node_signature.to_vec().into(),
            deadline: U256::ZERO,
            v: 0,
            r: Default::default(),
            s: Default::default(),
        };
        let done = self.provider_is(PROVIDER_COLLATERAL, Rule::AtLeast(U256::ONE));
        let permit = self.permit(REGISTER_WORDS, providers, collateral);
        self.submit_permitted(id, providers, call, permit, vec![done]).await
    }

    /// Adds stake.
    ///
    /// # Errors
    /// The queue.
    pub async fn add_collateral(&self, id: CommandId, amount: Amount) -> Result<CommandState, ChainError> {
        let providers = self.inner.contracts.providers;
        self.allow(id, providers, amount).await?;
        self.submit(id, providers, Providers::addCollateralCall { amount: amount.base_units() }, vec![]).await
    }

    /// Publishes another offer.
    ///
    /// # Errors
    /// The queue.
    pub async fn set_offer(&self, id: CommandId, offer_hash: [u8; 32]) -> Result<CommandState, ChainError> {
        self.submit(id, self.inner.contracts.providers, Providers::setOfferCall { offerHash: offer_hash.into() }, vec![]).await
    }

    /// Names another signer of commitments.
    ///
    /// # Errors
    /// The queue.
    pub async fn set_signer(&self, id: CommandId, signer: Address, node_signature: [u8; 64]) -> Result<CommandState, ChainError> {
        let call = Providers::setSignerCall { newSigner: evm(signer), nodeSignature: node_signature.to_vec().into() };
        self.submit(id, self.inner.contracts.providers, call, vec![]).await
    }

    /// Begins to take stake out.
    ///
    /// # Errors
    /// The queue.
    pub async fn begin_unbond(&self, id: CommandId, amount: Amount) -> Result<CommandState, ChainError> {
        self.submit(id, self.inner.contracts.providers, Providers::beginUnbondCall { amount: amount.base_units() }, vec![]).await
    }

    /// Takes out what has waited long enough.
    ///
    /// # Errors
    /// The queue.
    pub async fn finish_unbond(&self, id: CommandId) -> Result<CommandState, ChainError> {
        let done = self.provider_is(PROVIDER_UNBONDING, Rule::AtMost(U256::ZERO));
        self.submit(id, self.inner.contracts.providers, Providers::finishUnbondCall {}, vec![done]).await
    }

    /// Opens a channel from the wallet, and says which; the deposit's allowance is signed along.
    ///
    /// # Errors
    /// The queue.
    pub async fn open_channel(
        &self,
        id: CommandId,
        (payee, signer, salt): (Address, Address, [u8; 32]),
        deposit: Amount,
    ) -> Result<(ChannelId, CommandState), ChainError> {
        let channels = self.inner.contracts.channels;
        let parties = Parties { payer: self.inner.wallet, payee, signer, salt };
        let channel = parties.channel_id(&Domain::channels(self.chain_id(), channels));
        let call = Channels::openWithPermitCall {
            payee: evm(payee),
            signer: evm(signer),
            deposit: deposit.base_units(),
            salt: salt.into(),
            deadline: U256::ZERO,
            v: 0,
            r: Default::default(),
            s: Default::default(),
        };
        let (permit, done) =
            (self.permit(OPEN_WORDS, channels, deposit), self.channel_is(channel, CHANNEL_STATE, U256::from(OPENED)));
        Ok((channel, self.submit_permitted(id, channels, call, permit, vec![done]).await?))
    }

    /// Adds to a channel's deposit.
    ///
    /// # Errors
    /// The queue.
    pub async fn top_up(&self, id: CommandId, channel: ChannelId, amount: Amount) -> Result<CommandState, ChainError> {
        let channels = self.inner.contracts.channels;
        self.allow(id, channels, amount).await?;
        self.submit(id, channels, Channels::topUpCall { id: channel.0.into(), amount: amount.base_units() }, vec![]).await
    }

    /// Turns a voucher into credits.
    ///
    /// # Errors
    /// The queue.
    pub async fn redeem(&self, id: CommandId, voucher: &SignedVoucher) -> Result<CommandState, ChainError> {
        let Claim { id: channel, cumulative, sig } = claim(voucher);
        let done = self.redeemed(voucher);
        self.submit(id, self.inner.contracts.channels, Channels::redeemCall { id: channel, cumulative, sig }, done).await
    }

    /// Turns many vouchers into credits at once; ones that are no good are passed over.
    ///
    /// # Errors
    /// The queue.
    pub async fn redeem_many(&self, id: CommandId, vouchers: &[SignedVoucher]) -> Result<CommandState, ChainError> {
        let call = Channels::redeemManyCall { claims: vouchers.iter().map(claim).collect() };
        self.submit(id, self.inner.contracts.channels, call, vec![]).await
    }

    /// Turns a delegate's voucher into credits, with the client's mandate.
    ///
    /// # Errors
    /// The queue.
    pub async fn redeem_mandated(
        &self,
        id: CommandId,
        voucher: &SignedVoucher,
        mandate: &SignedMandate,
    ) -> Result<CommandState, ChainError> {
        let Claim { id: channel, cumulative, sig } = claim(voucher);
        let SignedMandate { mandate, signature } = mandate;
        let mandate = bindings::Mandate {
            channelId: mandate.channel.0.into(),
            delegate: evm(mandate.delegate),
            cumulativeMax: mandate.cumulative_max.base_units(),
            validUntil: mandate.valid_until.0,
        };
        let call =
            Channels::redeemMandatedCall { id: channel, cumulative, sig, mandate, mandateSig: signature.0.to_vec().into() };
        let done = self.redeemed(voucher);
        self.submit(id, self.inner.contracts.channels, call, done).await
    }

    /// The payee closes at once, with a last voucher or with what is settled.
    ///
    /// # Errors
    /// The queue.
    pub async fn close_by_payee(
        &self,
        id: CommandId,
        channel: ChannelId,
        voucher: Option<&SignedVoucher>,
    ) -> Result<CommandState, ChainError> {
        let (cumulative, sig) = last_of(voucher);
        let call = Channels::closeByPayeeCall { id: channel.0.into(), cumulative, sig };
        self.submit(id, self.inner.contracts.channels, call, vec![self.channel_is(channel, CHANNEL_STATE, U256::from(CLOSED))])
            .await
    }

    /// Closes at once with the payee's consent.
    ///
    /// # Errors
    /// The queue.
    pub async fn close_cooperative(
        &self,
        id: CommandId,
        channel: ChannelId,
        voucher: Option<&SignedVoucher>,
        consent: &EvmSignature,
    ) -> Result<CommandState, ChainError> {
        let (cumulative, sig) = last_of(voucher);
        let close_sig = consent.0.to_vec().into();
        let call = Channels::closeCooperativeCall { id: channel.0.into(), cumulative, voucherSig: sig, closeSig: close_sig };
        self.submit(id, self.inner.contracts.channels, call, vec![self.channel_is(channel, CHANNEL_STATE, U256::from(CLOSED))])
            .await
    }

    /// Starts the grace.
    ///
    /// # Errors
    /// The queue.
    pub async fn request_close(&self, id: CommandId, channel: ChannelId) -> Result<CommandState, ChainError> {
        let done = self.channel_is(channel, CHANNEL_STATE, U256::from(CLOSING));
        self.submit(id, self.inner.contracts.channels, Channels::requestCloseCall { id: channel.0.into() }, vec![done]).await
    }

    /// Takes the request back.
    ///
    /// # Errors
    /// The queue.
    pub async fn cancel_close(&self, id: CommandId, channel: ChannelId) -> Result<CommandState, ChainError> {
        self.submit(id, self.inner.contracts.channels, Channels::cancelCloseCall { id: channel.0.into() }, vec![]).await
    }

    /// Takes the remainder out after the grace.
    ///
    /// # Errors
    /// The queue.
    pub async fn withdraw(&self, id: CommandId, channel: ChannelId) -> Result<CommandState, ChainError> {
        let done = self.channel_is(channel, CHANNEL_STATE, U256::from(CLOSED));
        self.submit(id, self.inner.contracts.channels, Channels::withdrawCall { id: channel.0.into() }, vec![done]).await
    }

    /// Challenges a provider over its commitment; the bond is put down.
    ///
    /// # Errors
    /// The queue.
    pub async fn challenge(
        &self,
        id: CommandId,
        commitment: bindings::Commitment,
        provider_signature: &EvmSignature,
        secret_hash: [u8; 32],
    ) -> Result<CommandState, ChainError> {
        let court = self.inner.contracts.court;
        self.allow(id, court, BOND).await?;
        let call = Court::challengeCall {
            commitment,
            providerSig: provider_signature.0.to_vec().into(),
            secretHash: secret_hash.into(),
        };
        self.submit(id, court, call, vec![]).await
    }

    /// The provider adds its entropy.
    ///
    /// # Errors
    /// The queue.
    pub async fn join(&self, id: CommandId, dispute: [u8; 32], entropy: [u8; 32]) -> Result<CommandState, ChainError> {
        let done = self.dispute_is(dispute, JOINED);
        self.submit(id, self.inner.contracts.court, Court::joinCall { id: dispute.into(), entropy: entropy.into() }, vec![done])
            .await
    }

    /// The challenger shows its secret.
    ///
    /// # Errors
    /// The queue.
    pub async fn reveal(&self, id: CommandId, dispute: [u8; 32], secret: [u8; 32]) -> Result<CommandState, ChainError> {
        let done = self.dispute_is(dispute, REVEALED);
        self.submit(id, self.inner.contracts.court, Court::revealCall { id: dispute.into(), secret: secret.into() }, vec![done])
            .await
    }

    /// Answers a draw with the leaf itself.
    ///
    /// # Errors
    /// The queue.
    pub async fn respond(&self, id: CommandId, answer: Court::respondCall) -> Result<CommandState, ChainError> {
        self.submit(id, self.inner.contracts.court, answer, vec![]).await
    }

    /// Answers a draw with the client's release.
    ///
    /// # Errors
    /// The queue.
    pub async fn respond_released(&self, id: CommandId, answer: Court::respondReleasedCall) -> Result<CommandState, ChainError> {
        self.submit(id, self.inner.contracts.court, answer, vec![]).await
    }

    /// Ends a dispute whose deadline is reached.
    ///
    /// # Errors
    /// The queue.
    pub async fn timeout(&self, id: CommandId, dispute: [u8; 32]) -> Result<CommandState, ChainError> {
        let done = self.dispute_is(dispute, DISMISSED);
        self.submit(id, self.inner.contracts.court, Court::timeoutCall { id: dispute.into() }, vec![done]).await
    }

    /// Lets one of our contracts take credits of the wallet: once for ever, and not at all if it may already.
    async fn allow(&self, id: CommandId, spender: Address, amount: Amount) -> Result<(), ChainError> {
        let (token, owner) = (self.inner.contracts.token, self.inner.wallet);
        let input = CreditToken::allowanceCall { owner: evm(owner), spender: evm(spender) }.abi_encode();
        let done = DoneWhen { to: token, input, word: 0, rule: Rule::AtLeast(U256::from(amount.base_units())) };
        let call = CreditToken::approveCall { spender: evm(spender), value: U256::MAX };
        self.submit(CommandId::of(&format!("allow/{id}")), token, call, vec![done]).await.map(drop)
    }

    async fn submit<C: SolCall>(
        &self,
        id: CommandId,
        to: Address,
        call: C,
        done_when: Vec<DoneWhen>,
    ) -> Result<CommandState, ChainError> {
        self.put(Command { id, to, input: call.abi_encode(), permit: None, done_when }).await
    }

    async fn submit_permitted<C: SolCall>(
        &self,
        id: CommandId,
        to: Address,
        call: C,
        permit: Permit,
        done_when: Vec<DoneWhen>,
    ) -> Result<CommandState, ChainError> {
        self.put(Command { id, to, input: call.abi_encode(), permit: Some(permit), done_when }).await
    }

    async fn put(&self, command: Command) -> Result<CommandState, ChainError> {
        let state = self.inner.queue.submit(command).await?;
        self.inner.wake.notify_one();
        Ok(state)
    }

    fn permit(&self, words_before: usize, spender: Address, amount: Amount) -> Permit {
        Permit { at: 4 + 32 * words_before, token: self.inner.contracts.token, spender, amount: amount.base_units() }
    }

    fn channel_is(&self, channel: ChannelId, word: usize, least: U256) -> DoneWhen {
        let input = Channels::channelCall { id: channel.0.into() }.abi_encode();
        DoneWhen { to: self.inner.contracts.channels, input, word, rule: Rule::AtLeast(least) }
    }

    fn redeemed(&self, voucher: &SignedVoucher) -> Vec<DoneWhen> {
        let (channel, least) = (voucher.voucher.channel, U256::from(voucher.voucher.cumulative.base_units()));
        vec![self.channel_is(channel, CHANNEL_SETTLED, least), self.channel_is(channel, CHANNEL_STATE, U256::from(CLOSED))]
    }

    fn provider_is(&self, word: usize, rule: Rule) -> DoneWhen {
        let input = Providers::providerCall { owner: evm(self.inner.wallet) }.abi_encode();
        DoneWhen { to: self.inner.contracts.providers, input, word, rule }
    }

    fn dispute_is(&self, dispute: [u8; 32], least: u64) -> DoneWhen {
        let input = Court::disputeCall { id: dispute.into() }.abi_encode();
        DoneWhen { to: self.inner.contracts.court, input, word: DISPUTE_STATE, rule: Rule::AtLeast(U256::from(least)) }
    }
}

fn claim(voucher: &SignedVoucher) -> Claim {
    Claim {
        id: voucher.voucher.channel.0.into(),
        cumulative: voucher.voucher.cumulative.base_units(),
        sig: voucher.signature.0.to_vec().into(),
    }
}

fn last_of(voucher: Option<&SignedVoucher>) -> (u128, alloy_primitives::Bytes) {
    voucher
        .map_or_else(Default::default, |voucher| (voucher.voucher.cumulative.base_units(), voucher.signature.0.to_vec().into()))
}
