//! Agree: binds a deal to terms and a channel.
//!
//! Never: terms that were not offered, a channel that pays for another deal, or new terms while the old ones are unpaid.
//! Limits: one look at the chain for each proposal that is otherwise good, and one a second for each deal.

use std::collections::HashSet;
use std::sync::Arc;

use cairn_market::settlement::{ChannelRecord, ChannelState};
use cairn_market::{Terms, channel};
use cairn_proto::{Agreement, shard};
use cairn_types::{Address, Amount, ChannelId, NodeId};

use super::account::Account;
use super::{AccountError, Accounts, CLOCK_SKEW_MS, Slot, finish, guard, held_by};
use crate::ledger::{AccountRow, AgreementRow, Change, ChannelRow};

impl Accounts {
    /// Answers a proposal of `client`.
    pub(crate) async fn agree(&self, client: NodeId, wire: shard::Agree) -> Result<shard::SignedAgreement, AccountError> {
        let agreement = Agreement::proposed(&wire).map_err(|error| wrong(error.to_string()))?;
        if agreement.client != client {
            return Err(wrong("the agreement names another client"));
        }
        let slot = self.slot_for(client, agreement.deal)?;
        let accounts = self.clone();
        finish(async move {
            let _one_at_a_time = slot.changing.lock().await;
            if let Some(signed) = slot.with(|account| repeated(account, &wire)).flatten() {
                return Ok(signed);
            }
            accounts.check_terms(&agreement)?;
            slot.pace().await;
            let record = accounts.channel(agreement.channel).await?.ok_or_else(|| wrong("the chain has no such channel"))?;
            let channel = accounts.check_channel(&slot, &agreement, &record)?;
            accounts.install(&slot, agreement, &wire, channel).await
        })
        .await
    }

    /// The terms are those of an offer that is alive, and begin now.
    fn check_terms(&self, agreement: &Agreement) -> Result<(), AccountError> {
        let (now, terms) = (self.0.clock.now(), &agreement.terms);
        let until = guard(&self.0.offered).get(&terms.hash()).copied();
        if terms.node != self.0.key.id() || until.is_none_or(|until| now.secs() >= until) {
            return Err(wrong("these are not the terms of an offer that is alive: ask for the offer again"));
        }
        let start = agreement.start;
        if start.since_ms(now) > CLOCK_SKEW_MS || now.since_ms(start) > CLOCK_SKEW_MS {
            return Err(wrong(format!("the agreement begins at {} ms, here it is {} ms", start.0, now.0)));
        }
        Ok(())
    }

    /// The channel pays this provider, for this deal, and there is something in it.
    fn check_channel(&self, slot: &Slot, agreement: &Agreement, record: &ChannelRecord) -> Result<ChannelRow, AccountError> {
        if record.payee != agreement.terms.owner {
            return Err(wrong(format!("the channel pays {}, not {}", record.payee, agreement.terms.owner)));
        }
        if record.state != ChannelState::Open {
            return Err(wrong("the channel is closing"));
        }
        if record.signer == Address::ZERO {
            return Err(wrong("nobody can sign vouchers on the channel"));
        }
        if guard(&self.0.channels).get(&agreement.channel).is_some_and(|deal| *deal != slot.deal) {
            return Err(wrong("the channel pays for another deal"));
        }
        let known = self.0.ledger.row::<ChannelRow>(agreement.channel.as_bytes())?;
        let carried = known.map_or(record.settled, |row| row.carried.max(record.settled));
        if slot.with(|account| account.agreement.channel) != Some(agreement.channel) && agreement.carried < carried {
            return Err(wrong(format!("{carried} were owed on the channel before, not {}", agreement.carried)));
        }
        let voucher = known.and_then(|row| row.voucher);
        let taken = voucher.map_or(record.settled, |(cumulative, _)| cumulative.max(record.settled)).max(agreement.carried);
        let leaves = slot.with(|account| account.inventory.totals().leaves).unwrap_or(0);
        let need = epoch_cost(&agreement.terms, leaves)?.max(self.0.paid.deposit_min);
        if record.deposit.minus_or_zero(taken) < need {
            return Err(wrong(format!("the channel holds {} less {taken}, {need} are needed", record.deposit)));
        }
        Ok(ChannelRow {
            mandate: None,
            deal: slot.deal,
            payer: record.payer,
            signer: record.signer,
            deposit: record.deposit,
            settled: known.map_or(Amount::ZERO, |row| row.settled),
            state: record.state,
            carried: agreement.carried,
            voucher,
        })
    }

    /// Puts the new account in the place of the old one, durably.
    async fn install(
        &self,
        slot: &Arc<Slot>,
        agreement: Agreement,
        wire: &shard::Agree,
        channel: ChannelRow,
    ) -> Result<shard::SignedAgreement, AccountError> {
        let signed = Agreement::accept(wire, &self.0.key);
        let kept = AgreementRow {
            agreement: signed.agreement.clone(),
            client_signature: signed.client_signature.clone(),
            provider_signature: signed.provider_signature.clone(),
        };
        let held = match slot.with(|_| ()) {
            Some(()) => Vec::new(),
            None => {
                // No shard can arrive before there is an account.
                let (store, deal) = (self.0.store.clone(), slot.deal);
                self.0.store.blocking(move || held_by(&store, &deal, &HashSet::new())).await??
            }
        };
        let (id, place) = (agreement.channel, self.0.ledger.place().await?);
        let pending = {
            let mut account = guard(&slot.account);
            let earlier = account.as_ref().map(|old| old.ended_by(&agreement)).transpose()?.unwrap_or_default();
            let mut new = Account::resumed(agreement, kept, channel, earlier.row, &held)?;
            if let Some(old) = account.as_mut() {
                new.take_over(old)?;
            }
            let mut change = Change::default();
            change.put(slot.deal.as_bytes(), &new.signed);
            change.put_account(&slot.deal, &new.row(&new.payee));
            change.put_channel(&id, &new.channel);
            if let Some((old, row)) = &earlier.ended {
                change.put_channel(old, row);
            }
            *account = Some(new);
            self.0.ledger.hand_over(place, change)
        };
        guard(&self.0.channels).insert(id, slot.deal);
        pending.durable().await?;
        slot.paid.send_modify(|changes| *changes += 1);
        Ok(signed)
    }
}

/// What goes on from an earlier agreement.
#[derive(Default)]
struct Earlier {
    row: AccountRow,
    /// The channel that is left, with what was owed on it.
    ended: Option<(ChannelId, ChannelRow)>,
}

impl Account {
    /// Whether this account is paid up to where `next` begins, and what goes on from it.
    fn ended_by(&self, next: &Agreement) -> Result<Earlier, AccountError> {
        let (start, latest) = (next.start, self.meter.latest().max(self.agreement.start));
        if start < latest {
            return Err(wrong(format!("the agreement begins at {} ms, before the last change at {} ms", start.0, latest.0)));
        }
        let (owed, accepted) = (self.owed_at(start)?, self.payee.accepted());
        if accepted < owed {
            return Err(AccountError::PaymentDue { owed, accepted });
        }
        let same = self.agreement.channel == next.channel;
        if same && next.carried < owed {
            return Err(wrong(format!("{owed} were owed on the channel before, not {}", next.carried)));
        }
        let ended = (!same).then_some((self.agreement.channel, ChannelRow { carried: owed, ..self.channel }));
        let bound_until = if same { self.bound_until } else { self.committed_until() };
        let (committed_at, issued_at) = (self.committed_at, self.issued_at);
        Ok(Earlier { row: AccountRow { committed_at, issued_at, bound_until, ..AccountRow::default() }, ended })
    }

    /// Takes the shards of the account it replaces: they all came before this agreement, and are metered anew from its beginning.
    fn take_over(&mut self, old: &mut Account) -> Result<(), AccountError> {
        let leaves = old.inventory.totals().leaves;
        if leaves > 0 {
            let start = self.agreement.start;
            self.meter.add(leaves, start).map_err(|_| AccountError::BadRequest("more than a meter can count"))?;
        }
        self.inventory = std::mem::take(&mut old.inventory);
        self.next_number = old.next_number;
        Ok(())
    }
}

/// The answer that was given to the same proposal.
fn repeated(account: &mut Account, wire: &shard::Agree) -> Option<shard::SignedAgreement> {
    let signed = &account.signed;
    (signed.agreement == wire.agreement).then(|| shard::SignedAgreement {
        agreement: signed.agreement.clone(),
        client_signature: signed.client_signature.clone(),
        provider_signature: signed.provider_signature.clone(),
    })
}

/// What an epoch of what is stored costs, with a window of reads.
fn epoch_cost(terms: &Terms, leaves: u64) -> Result<Amount, AccountError> {
    let uncountable = |_| AccountError::BadRequest("more than can be counted");
    let storage = terms.storage.cost(u128::from(leaves) * u128::from(terms.epoch_ms)).map_err(uncountable)?;
    let reads = terms.egress.cost(channel::WINDOW_LEN).map_err(uncountable)?;
    storage.plus(reads).ok_or(AccountError::BadRequest("more than can be counted"))
}

fn wrong(reason: impl Into<String>) -> AccountError {
    AccountError::WrongAgreement(reason.into())
}
