//! Reads: counts the body bytes of one answer while they come.
//!
//! Never: a byte counted twice, or a read that breaks off without being noted.

use std::sync::Arc;

use cairn_proto::RefusalCode;
use cairn_types::{DealId, NodeId};

use super::account::Account;
use super::vouch::pay_if_due;
use crate::Inner;

/// Counts one read; when dropped, what did not come is noted as broken off.
pub(crate) struct ReadMeter {
    inner: Arc<Inner>,
    account: Arc<Account>,
    left: u64,
}

impl ReadMeter {
    /// Counts a read of `len` bytes under `deal`; nothing to count at a free provider.
    pub fn start(inner: &Arc<Inner>, node: NodeId, deal: DealId, len: u64) -> Option<ReadMeter> {
        let account = inner.pay.as_ref()?.account_of(node, deal)?;
        account.with(|inside| inside.book.asked(len));
        pay_if_due(inner, &account);
        Some(ReadMeter { inner: inner.clone(), account, left: len })
    }

    /// `len` bytes came.
    pub fn received(&mut self, len: usize) {
        let len = len as u64;
        self.account.with(|inside| inside.book.received(len));
        self.left = self.left.saturating_sub(len);
        pay_if_due(&self.inner, &self.account);
    }
}

impl Drop for ReadMeter {
    fn drop(&mut self) {
        self.account.with(|inside| inside.book.broke_off(self.left));
        pay_if_due(&self.inner, &self.account);
    }
}

/// Whether a read got its bytes counts for the provider's score.
pub(crate) fn note(inner: &Inner, node: NodeId, error: Option<&crate::error::PeerError>) {
    use crate::error::PeerError;
    use cairn_market::score::Seen;
    let Some(pay) = &inner.pay else { return };
    let Some(account) = pay.account(node) else { return };
    let seen = match error {
        None => Seen { prompt: 1, ..Seen::default() },
        Some(PeerError::GivenUp | PeerError::NoTerms(_)) => return,
        Some(PeerError::Refused { code: code @ (RefusalCode::PaymentDue | RefusalCode::AgreementDue), .. }) => {
            return pay.refused(node, *code); // ours to mend
        }
        Some(_) => Seen { failed: 1, ..Seen::default() },
    };
    account.record(pay.now(), &seen);
}
