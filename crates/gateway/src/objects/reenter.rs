//! Writing a version's record anew: into a new pack entry, with its bytes behind it if they lay in the old one. So a pack can be
//! emptied, and tags, ACL and lock of a version can change, and the network still holds what the catalog says.
//!
//! Never: a record replaced by one that was made of an older state of it. Limits: none of its own.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::Objects;
use super::api::{ObjectInfo, VersionRef};
use super::core::{Core, key_at};
use super::error::ObjectError;
use super::pack::{PackedObject, encode_head};
use super::put::place_record;
use super::read::info_of;
use super::refs;
use crate::catalog::Txn;
use crate::catalog::record::ObjectRecord;

/// How often a change begins anew because the record was moved under it.
const TRIES_MAX: usize = 8;

/// Puts `changed` in place of `present`; `data` is what lies behind it in its entry.
pub(crate) async fn reenter(
    core: Arc<Core>,
    (bucket, key): (String, String),
    present: ObjectRecord,
    changed: ObjectRecord,
    data: Bytes,
) -> Result<(), ObjectError> {
    let inline = !data.is_empty();
    let mut packed = ObjectRecord { entry: None, ..changed.clone() };
    if inline {
        packed.extents.clear(); // the bytes follow the record
    }
    let object = PackedObject { bucket: bucket.clone(), key: key.clone(), record: Some(packed) };
    let too_long = || ObjectError::InvalidRequest("the object's record is too long to be changed".into());
    let head = encode_head(&object, data.len()).ok_or_else(too_long)?;
    let now = core.network.now();
    let commit = move |txn: &mut Txn<'_>, placed: &super::packer::Placed| {
        let found = key_at(txn, &bucket, &key)?.by_id(txn, present.version())?.ok_or(ObjectError::Replaced)?;
        if found.record != present {
            return Err(ObjectError::Replaced);
        }
        let mut moved = changed;
        place_record(&mut moved, placed, inline);
        txn.put_record(found.table, found.row, &moved);
        refs::release(txn, &present.entry()?, now)
    };
    core.packer.append(head, data, Box::new(commit)).await.map(|_| ())
}

impl Objects {
    /// Changes what is said of a version: `change` is given its record. The bytes stay.
    ///
    /// # Errors
    /// As [`Self::head_version`]; those of `change`; [`ObjectError::Unavailable`].
    pub(crate) async fn amend(
        &self,
        bucket: &str,
        key: &str,
        version: Option<VersionRef>,
        change: impl Fn(&mut ObjectRecord) -> Result<(), ObjectError>,
    ) -> Result<ObjectInfo, ObjectError> {
        for _ in 0..TRIES_MAX {
            let info = self.get_version(bucket, key, version).await?;
            let (at_bucket, at_key, id) = (bucket.to_owned(), key.to_owned(), info.version);
            let reading = self.core.network.catalog.read(move |db| key_at(db, &at_bucket, &at_key)?.by_id(db, id));
            let Some(found) = reading.await? else { continue };
            let present = found.record;
            let mut changed = present.clone();
            change(&mut changed)?;
            if changed == present {
                return Ok(info);
            }
            let data = self.bytes_in_entry(&info, &present).await?;
            let names = (bucket.to_owned(), key.to_owned());
            let after = info_of(names.0.clone(), names.1.clone(), changed.clone())?;
            match self.core.to_the_end(reenter(self.core.clone(), names, present, changed, data)).await {
                Ok(()) => {
                    self.core.network.wake_trash();
                    return Ok(after);
                }
                Err(ObjectError::Replaced) => {}
                Err(error) => return Err(error),
            }
        }
        Err(ObjectError::Replaced)
    }

    /// The bytes that lie in the entry of `record`, if they do.
    async fn bytes_in_entry(&self, info: &ObjectInfo, record: &ObjectRecord) -> Result<Bytes, ObjectError> {
        let entry = record.entry()?;
        if !info.extents.iter().any(|extent| extent.blob == entry.blob && extent.offset >= entry.offset) {
            return Ok(Bytes::new());
        }
        let mut bytes = BytesMut::new();
        let mut reader = self.read(info, 0..info.len).await?;
        while let Some(piece) = reader.next().await {
            bytes.extend_from_slice(&piece?);
        }
        Ok(bytes.freeze())
    }
}
