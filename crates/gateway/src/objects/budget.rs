//! Budget of a bucket: what its contents may cost in a month, at what the providers ask.
//!
//! Never: a bucket that grows beyond its budget; what is in it stays when prices rise. Limits: sums are kept only for buckets with a budget;
//! setting one counts the bucket's objects once, while no other change is made.

use cairn_client::Client;
use cairn_types::Amount;

use super::Objects;
use super::api::BucketCost;
use super::core::{bucket_in, bucket_of};
use super::error::ObjectError;
use crate::catalog::record::{BudgetRecord, ObjectRecord, decode};
use crate::catalog::table::budget_row;
use crate::catalog::{BucketId, Db, Table, Txn};

/// An object of `before` bytes became one of `after` bytes: counts it, if the bucket has a budget that allows it.
pub(crate) fn count(txn: &mut Txn<'_>, client: &Client, bucket: BucketId, before: u64, after: u64) -> Result<(), ObjectError> {
    let Some(budget) = txn.record::<BudgetRecord>(Table::Budgets, &budget_row(bucket))? else { return Ok(()) };
    let stored_len = budget.stored_len.saturating_sub(before).saturating_add(after);
    if after > before {
        check(client, &budget, stored_len)?;
    }
    txn.put_record(Table::Budgets, budget_row(bucket), &BudgetRecord { stored_len, ..budget });
    Ok(())
}

/// Sets a bucket's budget over what is in it now.
pub(crate) fn set(txn: &mut Txn<'_>, bucket: BucketId, month_max: Amount) -> Result<(), ObjectError> {
    let mut stored_len = 0u64;
    for table in [Table::Objects, Table::Versions] {
        for (_, value) in txn.scan(table, &bucket.0.to_be_bytes(), usize::MAX)? {
            stored_len = stored_len.saturating_add(decode::<ObjectRecord>(&value)?.len);
        }
    }
    txn.put_record(Table::Budgets, budget_row(bucket), &BudgetRecord::new(month_max, stored_len));
    Ok(())
}

/// Whether a bucket has a budget.
pub(crate) fn is_limited(db: &Db, bucket: BucketId) -> Result<bool, ObjectError> {
    Ok(db.get(Table::Budgets, &budget_row(bucket))?.is_some())
}

/// Says before a body is read what [`count`] would say of `more` bytes.
pub(crate) fn check_early(db: &Db, client: &Client, bucket: BucketId, more: u64) -> Result<(), ObjectError> {
    match db.record::<BudgetRecord>(Table::Budgets, &budget_row(bucket))? {
        Some(budget) if more > 0 => check(client, &budget, budget.stored_len.saturating_add(more)),
        _ => Ok(()),
    }
}

/// Takes the budget of a bucket that is deleted away.
pub(crate) fn forget(txn: &mut Txn<'_>, bucket: BucketId) {
    txn.delete(Table::Budgets, budget_row(bucket));
}

fn check(client: &Client, budget: &BudgetRecord, stored_len: u64) -> Result<(), ObjectError> {
    let max = budget.month_max()?;
    // Without a known price there is no provider to store at either.
    let cost = match client.estimate(stored_len) {
        Some(estimate) => estimate.month,
        None => return Ok(()),
    };
    if cost > max { Err(ObjectError::BudgetReached { cost, max }) } else { Ok(()) }
}

impl Objects {
    /// What a bucket holds and costs.
    ///
    /// # Errors
    /// [`ObjectError::NoSuchBucket`].
    pub async fn bucket_cost(&self, name: &str) -> Result<BucketCost, ObjectError> {
        let bucket = name.to_owned();
        let looking = self.core.network.catalog.read(move |db| {
            let (id, _) = bucket_in(db, &bucket)?;
            let budget = db.record::<BudgetRecord>(Table::Budgets, &budget_row(id))?;
            let month_max = budget.map(|budget| budget.month_max()).transpose()?;
            let (mut objects, mut len) = (0u64, 0u64);
            for table in [Table::Objects, Table::Versions] {
                for row in db.scan(table, id.0.to_be_bytes().to_vec(), &id.0.to_be_bytes()) {
                    let record: ObjectRecord = decode(&row?.1)?;
                    (objects, len) = (objects + u64::from(!record.delete_marker()), len.saturating_add(record.len));
                }
            }
            Ok((objects, len, month_max))
        });
        let (objects, len, month_max) = looking.await?;
        Ok(BucketCost { name: name.to_owned(), objects, len, month_max })
    }

    /// Says what the contents of a bucket may cost in a month; `None` takes the limit away. What is in it stays, whatever it costs.
    ///
    /// # Errors
    /// [`ObjectError::NoSuchBucket`].
    pub async fn set_bucket_budget(&self, name: &str, month_max: Option<Amount>) -> Result<(), ObjectError> {
        self.core.check_running()?;
        let name = name.to_owned();
        let setting = self.core.network.catalog.change(move |txn| {
            let bucket = bucket_of(txn, &name)?;
            let Some(month_max) = month_max else {
                forget(txn, bucket);
                return Ok(());
            };
            set(txn, bucket, month_max)
        });
        setting.await
    }
}
