//! Access keys: made, listed and revoked by command; looked up by every request.
//!
//! A key belongs to a user, who owns the buckets made with it. It may open less than its user may: one bucket, keys with a prefix, for
//! reading, for a time.
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
const USER_LEN_MAX: usize = 64;
const UPPER: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const MIXED: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789Az";

/// What an access key opens.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct KeyScope {
    /// Whose it is; empty: the account's own.
    pub user: String,
    /// Only this bucket; empty: every one.
    pub bucket: String,
    /// Only keys that begin with this.
    pub prefix: String,
    /// Only for reading.
    pub read_only: bool,
    /// Opens nothing from then on.
    pub expires: Option<UnixMs>,
}

impl KeyScope {
    fn check(&self) -> Result<(), ObjectError> {
        let invalid = |name, reason: &str| Err(ObjectError::InvalidArgument { name, reason: reason.into() });
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+=,@".contains(&byte);
        if self.user.len() > USER_LEN_MAX || !self.user.bytes().all(plain) {
            return invalid("user", "a user's name has at most 64 of A-Z a-z 0-9 - _ . + = , @");
        }
        if self.bucket.is_empty() && !self.prefix.is_empty() {
            return invalid("prefix", "a prefix needs a bucket");
        }
        Ok(())
    }

    fn of(record: &KeyRecord) -> KeyScope {
        KeyScope {
            user: record.user.clone(),
            bucket: record.bucket.clone(),
            prefix: record.prefix.clone(),
            read_only: record.read_only,
            expires: (record.expires_ms > 0).then_some(UnixMs(record.expires_ms)),
        }
    }
}

/// A key that is not revoked.
#[derive(Debug, Clone)]
pub(crate) struct Credential {
    secret: String,
    scope: KeyScope,
    token: Option<String>,
}

/// A temporary key.
#[derive(Debug, Clone)]
pub struct SessionKey {
    /// Its id and secret.
    pub key: NewAccessKey,
    /// To be shown with every request.
    pub token: String,
    /// Whose it is, as in [`KeyScope::user`].
    pub user: String,
    /// Opens nothing from then on.
    pub expires: UnixMs,
}

impl Objects {
    /// Makes an access key of the account itself that opens everything. Its secret cannot be had again.
    ///
    /// # Errors
    /// As [`Self::create_key_for`].
    pub async fn create_key(&self, label: &str) -> Result<NewAccessKey, ObjectError> {
        self.create_key_for(label, KeyScope::default()).await
    }

    /// Makes an access key that opens `scope`.
    ///
    /// # Errors
    /// [`ObjectError::InvalidArgument`] for a label or a name that is too long, or too many keys.
    pub async fn create_key_for(&self, label: &str, scope: KeyScope) -> Result<NewAccessKey, ObjectError> {
        self.core.check_running()?;
        if label.len() > LABEL_LEN_MAX {
            let reason = format!("at most {LABEL_LEN_MAX} bytes");
            return Err(ObjectError::InvalidArgument { name: "label", reason });
        }
        scope.check()?;
        self.insert_key(label, scope, None).await
    }

    /// Makes a temporary key that opens what `access_key` opens, for `life_ms` and not longer than that one. Those that are over are
    /// forgotten on the way.
    ///
    /// # Errors
    /// [`ObjectError::NoSuchAccessKey`]; as [`Self::create_key_for`].
    pub async fn create_session(&self, access_key: &str, session: &str, life_ms: u64) -> Result<SessionKey, ObjectError> {
        let scope = self.scope_of(access_key).ok_or(ObjectError::NoSuchAccessKey)?;
        let until = self.core.network.now().plus_ms(life_ms);
        let expires = scope.expires.map_or(until, |own| own.min(until));
        let user = scope.user.clone();
        let token = format!("CT{}{}", draw_secret(&*self.core.network.rng), draw_secret(&*self.core.network.rng));
        let scope = KeyScope { expires: Some(expires), ..scope };
        self.forget_sessions().await?;
        let key = self.insert_key(&format!("session {session}"), scope, Some(token.clone())).await?;
        Ok(SessionKey { key, token, user, expires })
    }

    /// Deletes the temporary keys that are over.
    async fn forget_sessions(&self) -> Result<(), ObjectError> {
        let now = self.core.network.now();
        let is_over = |credential: &Credential| {
            credential.token.is_some() && credential.scope.expires.is_some_and(|expires| now >= expires)
        };
        let over: Vec<String> = {
            let keys = self.core.keys.read().unwrap_or_else(PoisonError::into_inner);
            keys.iter().filter(|(_, key)| is_over(key)).map(|(id, _)| id.clone()).collect()
        };
        if over.is_empty() {
            return Ok(());
        }
        let gone = over.clone();
        let forgetting = self.core.network.catalog.change(move |txn| {
            for access_key in gone {
                let row = access_key.into_bytes();
                if txn.get(Table::Keys, &row)?.is_some() {
                    txn.delete(Table::Keys, row);
                    txn.counters.keys = txn.counters.keys.saturating_sub(1);
                }
            }
            Ok(())
        });
        forgetting.await?;
        self.keys_mut(|keys| over.iter().for_each(|access_key| drop(keys.remove(access_key))));
        Ok(())
    }

    async fn insert_key(&self, label: &str, scope: KeyScope, token: Option<String>) -> Result<NewAccessKey, ObjectError> {
        let network = &self.core.network;
        let key = NewAccessKey { access_key: draw_access_key(&*network.rng), secret_key: draw_secret(&*network.rng) };
        let record = KeyRecord {
            secret: key.secret_key.clone(),
            created_ms: network.now().0,
            label: label.to_owned(),
            revoked: false,
            user: scope.user.clone(),
            bucket: scope.bucket.clone(),
            prefix: scope.prefix.clone(),
            read_only: scope.read_only,
            expires_ms: scope.expires.map_or(0, |at| at.0),
            token: token.clone().unwrap_or_default(),
        };
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
        let credential = Credential { secret: key.secret_key.clone(), scope, token };
        self.keys_mut(|keys| keys.insert(key.access_key.clone(), credential));
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
                scope: KeyScope::of(&record),
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
        self.keys_mut(|keys| keys.remove(access_key));
        Ok(())
    }

    /// The secret of an access key; `None` if it is unknown, revoked or over. From memory.
    pub fn secret_for(&self, access_key: &str) -> Option<String> {
        self.valid_key(access_key).map(|credential| credential.secret)
    }

    /// What an access key opens; `None` as for [`Self::secret_for`]. From memory.
    pub fn scope_of(&self, access_key: &str) -> Option<KeyScope> {
        self.valid_key(access_key).map(|credential| credential.scope)
    }

    /// The token of a temporary key. From memory.
    pub fn session_token(&self, access_key: &str) -> Option<String> {
        self.valid_key(access_key)?.token
    }

    /// Whether some key that is not revoked belongs to `user`.
    pub fn knows_user(&self, user: &str) -> bool {
        let keys = self.core.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.values().any(|credential| credential.scope.user == user)
    }

    fn valid_key(&self, access_key: &str) -> Option<Credential> {
        let keys = self.core.keys.read().unwrap_or_else(PoisonError::into_inner);
        let credential = keys.get(access_key)?;
        let over = credential.scope.expires.is_some_and(|at| self.core.network.now() >= at);
        (!over).then(|| credential.clone())
    }

    fn keys_mut<T>(&self, change: impl FnOnce(&mut HashMap<String, Credential>) -> T) -> T {
        change(&mut self.core.keys.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// All keys that are not revoked.
pub(super) fn load(db: &Db) -> Result<HashMap<String, Credential>, CatalogError> {
    let valid = all_keys(db)?.into_iter().filter(|(_, record)| !record.revoked);
    let credential = |(access_key, record): (String, KeyRecord)| {
        let scope = KeyScope::of(&record);
        let token = (!record.token.is_empty()).then_some(record.token);
        (access_key, Credential { secret: record.secret, scope, token })
    };
    Ok(valid.map(credential).collect())
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
