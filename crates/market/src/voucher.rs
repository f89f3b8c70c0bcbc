//! Voucher: a client's cumulative, signed promise to one provider; with it the consent to close and the mandate to a delegate.
//!
//! Format: `docs/formats/voucher.md`; vectors: `tests/vectors/eip712.json`.
//! Never: a clock, the chain, or a promise that counts down. Limits: a voucher replaces all lower ones of its channel.

use cairn_types::eip712::{self, Word, word_address, word_amount, word_secs, word_u64};
use cairn_types::{Address, Amount, ChannelId, Domain, EvmSignature, UnixSecs, WalletKey};

/// The EIP-712 type of a voucher.
pub const VOUCHER_TYPE: &str = "Voucher(bytes32 channelId,uint128 cumulative)";
/// The EIP-712 type of a payee's consent to close.
pub const CLOSE_TYPE: &str = "Close(bytes32 channelId,uint128 cumulative)";
/// The EIP-712 type of a mandate.
pub const MANDATE_TYPE: &str = "Mandate(bytes32 channelId,address delegate,uint128 cumulativeMax,uint64 validUntil)";

/// Who a channel is between; its id is the hash of this and of where the contract is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Parties {
    /// Who pays in.
    pub payer: Address,
    /// Who is paid.
    pub payee: Address,
    /// The payer's session key, which may sign as the payer does.
    pub signer: Address,
    /// Tells channels of the same parties apart.
    pub salt: [u8; 32],
}

impl Parties {
    /// Id of the channel between these parties in the contract `Channels` of `domain`:
    /// `keccak256(abi.encode(payer, payee, signer, salt, contract, chain id))`.
    pub fn channel_id(&self, channels: &Domain) -> ChannelId {
        ChannelId(eip712::hash_words(&[
            word_address(self.payer),
            word_address(self.payee),
            word_address(self.signer),
            self.salt,
            word_address(channels.contract),
            word_u64(channels.chain_id),
        ]))
    }
}

/// "So much in all is yours on this channel."
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Voucher {
    /// The channel.
    pub channel: ChannelId,
    /// All that was ever promised on it.
    pub cumulative: Amount,
}

/// "I agree that the channel closes with so much in all being mine."
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Close {
    /// The channel.
    pub channel: ChannelId,
    /// All that the payee ever asks of it.
    pub cumulative: Amount,
}

/// "This delegate may sign vouchers up to so much in all, until then."
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mandate {
    /// The channel.
    pub channel: ChannelId,
    /// Who may sign.
    pub delegate: Address,
    /// Up to which cumulative amount.
    pub cumulative_max: Amount,
    /// Until when such vouchers can be redeemed, inclusive.
    pub valid_until: UnixSecs,
}

impl Voucher {
    /// The digest that is signed, in the domain of the contract `Channels`.
    pub fn digest(&self, channels: &Domain) -> Word {
        eip712::digest(channels, &eip712::keccak256(VOUCHER_TYPE), &[self.channel.0, word_amount(self.cumulative)])
    }

    /// Signs with the client's session key, its wallet, or a delegate's key.
    pub fn sign(self, channels: &Domain, key: &WalletKey) -> SignedVoucher {
        SignedVoucher { voucher: self, signature: key.sign_digest(&self.digest(channels)), mandate: None }
    }
}

impl Close {
    /// The digest that is signed, in the domain of the contract `Channels`.
    pub fn digest(&self, channels: &Domain) -> Word {
        eip712::digest(channels, &eip712::keccak256(CLOSE_TYPE), &[self.channel.0, word_amount(self.cumulative)])
    }

    /// Signs with the payee's wallet.
    pub fn sign(&self, channels: &Domain, payee: &WalletKey) -> EvmSignature {
        payee.sign_digest(&self.digest(channels))
    }

    /// Whether the payee agreed.
    pub fn is_by(&self, channels: &Domain, payee: Address, signature: &EvmSignature) -> bool {
        signature.is_by(payee, &self.digest(channels))
    }
}

impl Mandate {
    /// The digest that is signed, in the domain of the contract `Channels`.
    pub fn digest(&self, channels: &Domain) -> Word {
        let words = [self.channel.0, word_address(self.delegate), word_amount(self.cumulative_max), word_secs(self.valid_until)];
        eip712::digest(channels, &eip712::keccak256(MANDATE_TYPE), &words)
    }

    /// Signs with the channel's payer or signer.
    pub fn sign(self, channels: &Domain, key: &WalletKey) -> SignedMandate {
        SignedMandate { mandate: self, signature: key.sign_digest(&self.digest(channels)) }
    }

    /// Whether one of `signers` (the channel's payer and signer) gave this mandate.
    pub fn is_by_one_of(&self, channels: &Domain, signers: &[Address], signature: &EvmSignature) -> bool {
        signature.recover(&self.digest(channels)).is_some_and(|signer| signers.contains(&signer))
    }

    /// Whether a voucher under this mandate can be redeemed at `now`.
    pub fn allows(&self, voucher: &Voucher, now: UnixSecs) -> bool {
        voucher.channel == self.channel && voucher.cumulative <= self.cumulative_max && now <= self.valid_until
    }
}

/// A voucher with its signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedVoucher {
    /// The promise.
    pub voucher: Voucher,
    /// By the channel's payer or signer, or by a delegate.
    pub signature: EvmSignature,
    /// What the delegate signed under; nothing beside a voucher of the client's own.
    pub mandate: Option<SignedMandate>,
}

/// A mandate with its signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedMandate {
    /// Who may sign how much until when.
    pub mandate: Mandate,
    /// By the channel's payer or signer.
    pub signature: EvmSignature,
}

impl SignedVoucher {
    /// Who signed, if anybody.
    pub fn signer(&self, channels: &Domain) -> Option<Address> {
        self.signature.recover(&self.voucher.digest(channels))
    }

    /// The key that stands behind it: its signer, or whoever gave its signer a mandate for this voucher, whatever the time is.
    pub fn giver(&self, channels: &Domain) -> Option<Address> {
        let signer = self.signer(channels)?;
        let Some(SignedMandate { mandate, signature }) = &self.mandate else { return Some(signer) };
        let covers = mandate.delegate == signer && mandate.allows(&self.voucher, mandate.valid_until);
        covers.then(|| signature.recover(&mandate.digest(channels))).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(secret: u8) -> WalletKey {
        WalletKey::from_secret(&[secret; 32]).expect("in range")
    }

    fn parties() -> Parties {
        Parties { payer: key(1).address(), payee: key(2).address(), signer: key(3).address(), salt: [4; 32] }
    }

    #[test]
    fn a_channel_id_names_everything_it_depends_on() {
        let domain = Domain::channels(1, Address([9; 20]));
        let (parties, id) = (parties(), parties().channel_id(&domain));
        let others = [
            Parties { payer: Address([0; 20]), ..parties }.channel_id(&domain),
            Parties { payee: Address([0; 20]), ..parties }.channel_id(&domain),
            Parties { signer: Address([0; 20]), ..parties }.channel_id(&domain),
            Parties { salt: [5; 32], ..parties }.channel_id(&domain),
            Parties { payer: parties.payee, payee: parties.payer, ..parties }.channel_id(&domain),
            parties.channel_id(&Domain::channels(2, domain.contract)),
            parties.channel_id(&Domain::channels(1, Address([8; 20]))),
        ];
        assert!(others.iter().all(|other| *other != id));
    }

    #[test]
    fn a_voucher_is_good_for_one_channel_amount_chain_and_contract() {
        let domain = Domain::channels(1, Address([9; 20]));
        let voucher = Voucher { channel: parties().channel_id(&domain), cumulative: Amount::CREDIT };
        let signed = voucher.sign(&domain, &key(3));
        let by_signer = |signed: &SignedVoucher, domain: &Domain| signed.signer(domain) == Some(key(3).address());
        assert!(by_signer(&signed, &domain));
        assert!(!by_signer(&signed, &Domain::channels(2, domain.contract)));
        assert!(!by_signer(&signed, &Domain::channels(1, Address([8; 20]))));
        assert!(!by_signer(&signed, &Domain::court(1, domain.contract)));
        let more = Voucher { cumulative: Amount::from_credits(2), ..voucher };
        assert!(!by_signer(&SignedVoucher { voucher: more, ..signed }, &domain));
        let elsewhere = Voucher { channel: ChannelId([0; 32]), ..voucher };
        assert!(!by_signer(&SignedVoucher { voucher: elsewhere, ..signed }, &domain));
        let close = Close { channel: voucher.channel, cumulative: voucher.cumulative };
        assert!(!close.is_by(&domain, key(3).address(), &signed.signature), "a voucher is no consent to close");
        assert!(close.is_by(&domain, key(2).address(), &close.sign(&domain, &key(2))));
    }

    #[test]
    fn a_mandate_has_a_giver_an_amount_and_an_end() {
        let domain = Domain::channels(1, Address([9; 20]));
        let channel = parties().channel_id(&domain);
        let (delegate, cumulative_max, valid_until) = (key(5).address(), Amount::CREDIT, UnixSecs(100));
        let mandate = Mandate { channel, delegate, cumulative_max, valid_until };
        let givers = [key(1).address(), key(3).address()];
        assert!(mandate.is_by_one_of(&domain, &givers, &mandate.sign(&domain, &key(1)).signature));
        assert!(mandate.is_by_one_of(&domain, &givers, &mandate.sign(&domain, &key(3)).signature));
        assert!(!mandate.is_by_one_of(&domain, &givers, &mandate.sign(&domain, &key(2)).signature));
        let changed = Mandate { valid_until: UnixSecs(101), ..mandate };
        assert!(!changed.is_by_one_of(&domain, &givers, &mandate.sign(&domain, &key(1)).signature));
        let voucher = Voucher { channel, cumulative: cumulative_max };
        assert!(mandate.allows(&voucher, valid_until));
        assert!(!mandate.allows(&voucher, UnixSecs(101)));
        assert!(!mandate.allows(&Voucher { channel: ChannelId([0; 32]), ..voucher }, valid_until));
        let more = Amount::CREDIT.plus(Amount::from_base_units(1)).expect("small");
        assert!(!mandate.allows(&Voucher { cumulative: more, ..voucher }, valid_until));
    }

    #[test]
    fn a_delegates_voucher_is_its_givers_as_far_as_the_mandate_goes() {
        let domain = Domain::channels(1, Address([9; 20]));
        let channel = parties().channel_id(&domain);
        let mandate = Mandate { channel, delegate: key(5).address(), cumulative_max: Amount::CREDIT, valid_until: UnixSecs(100) };
        let under = |mandate: Mandate, cumulative: Amount, by: u8| {
            let signed = Voucher { channel, cumulative }.sign(&domain, &key(by));
            SignedVoucher { mandate: Some(mandate.sign(&domain, &key(3))), ..signed }.giver(&domain)
        };
        assert_eq!(under(mandate, Amount::CREDIT, 5), Some(key(3).address()));
        assert_eq!(under(mandate, Amount::from_credits(2), 5), None, "more than the mandate");
        assert_eq!(under(mandate, Amount::CREDIT, 6), None, "by somebody else");
        assert_eq!(under(Mandate { channel: ChannelId([0; 32]), ..mandate }, Amount::CREDIT, 5), None, "of another channel");
        let own = Voucher { channel, cumulative: Amount::CREDIT }.sign(&domain, &key(3));
        assert_eq!(own.giver(&domain), Some(key(3).address()));
    }
}
