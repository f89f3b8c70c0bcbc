//! Access keys: made, listed and revoked by command; looked up by every request.
//!
//! Never: a revoked key that still opens something, once `revoke_key` answered. Limits: [`ACCESS_KEYS_MAX`].

use std::collections::HashMap;
use std::sync::PoisonError;

use cairn_types::{Rng, UnixMs, port};

use super::Objects;
use super::api::{AccessKeyInfo, NewAccessKey};
use super::error::ObjectError;
use super::limits::ACCESS_KEYS_MAX;
use crate::catalog::record::{self, KeyRecord};
use crate::catalog::{CatalogError, Db, Table};

const LABEL_LEN_MAX: usize = 256;
const UPPER: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const MIXED: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789Az";

impl Objects {
    /// Makes an access key. Its secret cannot be had again.
    ///
    /// # Errors
    /// [`ObjectError::InvalidArgument`] for a label that is too long or too many keys.
    pub async fn create_key(&self, label: &str) -> Result<NewAccessKey, ObjectError> {
        self.core.check_running()?;
        if label.len() > LABEL_LEN_MAX {
            let reason = format!("at most {LABEL_LEN_MAX} bytes");
            return Err(ObjectError::InvalidArgument { name: "label", reason });
        }
        let network = &self.core.network;
        let key = NewAccessKey { access_key: draw_access_key(&*network.rng), secret_key: draw_secret(&*network.rng) };
        let record =
            KeyRecord { secret: key.secret_key.clone(), created_ms: network.now().0, label: label.to_owned(), revoked: false };
        let row = key.access_key.clone().into_bytes();
        let making = network.catalog.change(move |txn| {
            if txn.counters.keys >= ACCESS_KEYS_MAX {
                let reason = format!("at most {ACCESS_KEYS_MAX} are kept");
                return Err(ObjectError::InvalidArgument { name: "access keys", reason });
            }
            txn.counters.keys += 1;
            txn.put_record(Table::Keys, row, &record);
            Ok(())
        });
        making.await?;
        self.secrets_mut(|secrets| secrets.insert(key.access_key.clone(), key.secret_key.clone()));
        Ok(key)
    }

    /// All access keys, revoked ones included, ascending by id.
    ///
    /// # Errors
    /// [`ObjectError::Internal`].
    pub async fn list_keys(&self) -> Result<Vec<AccessKeyInfo>, ObjectError> {
        let listing = self.core.network.catalog.read(|db| {
            let describe = |(access_key, record): (String, KeyRecord)| AccessKeyInfo {
                access_key,
                label: record.label,
                created: UnixMs(record.created_ms),
                revoked: record.revoked,
            };
            Ok(all_keys(db)?.into_iter().map(describe).collect())
        });
        listing.await
    }

    /// Revokes an access key; doing so again is no error.
    ///
    /// # Errors
    /// [`ObjectError::NoSuchAccessKey`].
    pub async fn revoke_key(&self, access_key: &str) -> Result<(), ObjectError> {
        self.core.check_running()?;
        let row = access_key.as_bytes().to_vec();
        let revoking = self.core.network.catalog.change(move |txn| {
            let mut record: KeyRecord = txn.record(Table::Keys, &row)?.ok_or(ObjectError::NoSuchAccessKey)?;
            record.revoked = true;
            txn.put_record(Table::Keys, row, &record);
            Ok(())
        });
        revoking.await?;
        self.secrets_mut(|secrets| secrets.remove(access_key));
        Ok(())
    }

    /// The secret of an access key; `None` if it is unknown or revoked. From memory.
    pub fn secret_for(&self, access_key: &str) -> Option<String> {
        self.core.secrets.read().unwrap_or_else(PoisonError::into_inner).get(access_key).cloned()
    }

    fn secrets_mut<T>(&self, change: impl FnOnce(&mut HashMap<String, String>) -> T) -> T {
        change(&mut self.core.secrets.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Secrets of all keys that are not revoked.
pub(super) fn load_secrets(db: &Db) -> Result<HashMap<String, String>, CatalogError> {
    let valid = all_keys(db)?.into_iter().filter(|(_, record)| !record.revoked);
    Ok(valid.map(|(access_key, record)| (access_key, record.secret)).collect())
}

fn all_keys(db: &Db) -> Result<Vec<(String, KeyRecord)>, CatalogError> {
    let mut keys = Vec::new();
    for row in db.scan(Table::Keys, Vec::new(), &[]) {
        let (access_key, value) = row?;
        let record = record::decode(&value).map_err(|error| CatalogError::damaged(Table::Keys, error))?;
        keys.push((String::from_utf8_lossy(&access_key).into_owned(), record));
    }
    Ok(keys)
}

/// `CK` and 18 characters of 5 random bits.
fn draw_access_key(rng: &dyn Rng) -> String {
    let random = port::draw::<18>(rng);
    "CK".chars().chain(random.iter().map(|byte| char::from(UPPER[usize::from(byte % 32)]))).collect()
}

/// 40 characters, each one of 62: more than 230 random bits. Two of the 62 are twice as likely as the others.
fn draw_secret(rng: &dyn Rng) -> String {
    port::draw::<40>(rng).iter().map(|byte| char::from(MIXED[usize::from(byte % 64)])).collect()
}
