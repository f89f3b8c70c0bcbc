//! Agreement: a deal bound to terms and a channel, signed by client and provider over the same bytes.
//!
//! Format: `docs/formats/wire.md`. Never: re-encoded before its signatures are checked. Limits: one control message.

use bytes::Bytes;
use cairn_market::offer::{OfferError, Terms};
use cairn_types::{Amount, ChannelId, DealId, NodeId, NodeKey, UnixMs};
use prost::Message;

use crate::fields::{get_amount, put_amount};
use crate::offer::{get_terms, put_terms};
use crate::shard;

const DOMAIN: &str = "cairn/agreement/1";

/// What client and provider agree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreement {
    /// The deal.
    pub deal: DealId,
    /// Who pays.
    pub client: NodeId,
    /// What for; `terms.node` is the provider.
    pub terms: Terms,
    /// Out of which channel.
    pub channel: ChannelId,
    /// From when on shards are metered under it.
    pub start: UnixMs,
    /// What earlier agreements on the same channel came to.
    pub carried: Amount,
}

/// An agreement that binds nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AgreementError {
    /// Not decodable, or a field of another length.
    #[error("the agreement cannot be decoded")]
    Malformed,
    /// Not signed by the client it names.
    #[error("the agreement is not signed by the client {0}")]
    WrongClient(NodeId),
    /// Not signed by the provider it names.
    #[error("the agreement is not signed by the provider {0}")]
    WrongProvider(NodeId),
    /// Terms against the rules.
    #[error("the agreement's terms: {0}")]
    Terms(#[from] OfferError),
}

impl Agreement {
    /// Signs as the client.
    pub fn propose(&self, client: &NodeKey) -> shard::Agree {
        let body = shard::AgreementBody {
            deal_id: Bytes::copy_from_slice(self.deal.as_bytes()),
            client: Bytes::copy_from_slice(self.client.as_bytes()),
            terms: Some(put_terms(&self.terms)),
            channel_id: Bytes::copy_from_slice(self.channel.as_bytes()),
            start_ms: self.start.0,
            carried: put_amount(self.carried),
        }
        .encode_to_vec();
        let client_signature = Bytes::copy_from_slice(&client.sign(DOMAIN, &body));
        shard::Agree { agreement: body.into(), client_signature }
    }

    /// Reads a proposal that its client signed.
    ///
    /// # Errors
    /// [`AgreementError`].
    pub fn proposed(wire: &shard::Agree) -> Result<Agreement, AgreementError> {
        let agreement = decode(&wire.agreement)?;
        if !agreement.client.verify(DOMAIN, &wire.agreement, &wire.client_signature) {
            return Err(AgreementError::WrongClient(agreement.client));
        }
        Ok(agreement)
    }

    /// Counter-signs a proposal as the provider, over the bytes that the client signed.
    pub fn accept(wire: &shard::Agree, provider: &NodeKey) -> shard::SignedAgreement {
        let provider_signature = Bytes::copy_from_slice(&provider.sign(DOMAIN, &wire.agreement));
        shard::SignedAgreement {
            agreement: wire.agreement.clone(),
            client_signature: wire.client_signature.clone(),
            provider_signature,
        }
    }

    /// Reads an agreement that both signed.
    ///
    /// # Errors
    /// [`AgreementError`].
    pub fn signed(wire: &shard::SignedAgreement) -> Result<Agreement, AgreementError> {
        let proposal = shard::Agree { agreement: wire.agreement.clone(), client_signature: wire.client_signature.clone() };
        let agreement = Agreement::proposed(&proposal)?;
        if !agreement.terms.node.verify(DOMAIN, &wire.agreement, &wire.provider_signature) {
            return Err(AgreementError::WrongProvider(agreement.terms.node));
        }
        Ok(agreement)
    }
}

fn decode(bytes: &Bytes) -> Result<Agreement, AgreementError> {
    let body = shard::AgreementBody::decode(bytes.clone()).map_err(|_| AgreementError::Malformed)?;
    let read = || {
        Some(Agreement {
            deal: DealId::from_slice(&body.deal_id)?,
            client: NodeId::from_slice(&body.client)?,
            terms: get_terms(body.terms.as_ref()?)?,
            channel: ChannelId::from_slice(&body.channel_id)?,
            start: UnixMs(body.start_ms),
            carried: get_amount(&body.carried)?,
        })
    };
    let agreement = read().ok_or(AgreementError::Malformed)?;
    agreement.terms.check()?;
    Ok(agreement)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offer::tests::terms;

    #[test]
    fn an_agreement_binds_only_with_both_signatures_over_the_same_bytes() {
        let (client, provider, other) = ([3; 32], [4; 32], [5; 32]);
        let [client, provider, other] = [client, provider, other].map(NodeKey::from_secret);
        let agreement = Agreement {
            deal: DealId([1; 32]),
            client: client.id(),
            terms: terms(provider.id()),
            channel: ChannelId([2; 32]),
            start: UnixMs(77),
            carried: Amount::from_base_units(5),
        };
        let proposal = agreement.propose(&client);
        assert_eq!(Agreement::proposed(&proposal), Ok(agreement.clone()));
        assert_eq!(Agreement::proposed(&agreement.propose(&other)), Err(AgreementError::WrongClient(client.id())));
        let signed = Agreement::accept(&proposal, &provider);
        assert_eq!(Agreement::signed(&signed), Ok(agreement.clone()));
        let forged = Agreement::accept(&proposal, &other);
        assert_eq!(Agreement::signed(&forged), Err(AgreementError::WrongProvider(provider.id())));
        for at in 0..signed.agreement.len() {
            let mut bytes = signed.agreement.to_vec();
            bytes[at] ^= 1;
            let altered = shard::SignedAgreement { agreement: bytes.into(), ..signed.clone() };
            assert!(Agreement::signed(&altered).is_err(), "byte {at}");
        }
    }
}
