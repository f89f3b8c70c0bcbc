//! What there was: the checkpoints' word, and over it the records of packs that began later.
//!
//! Never: a version twice; a record of a bucket that was gone. Limits: frames as in [`super::super::checkpoint`], entries as in packs.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use bytes::Bytes;
use cairn_types::BlobId;
use prost::Message;

use super::assemble::Written;
use crate::catalog::record::{BucketRecord, Extent, ExtentRecord, ObjectRecord};
use crate::objects::api::Versioning;
use crate::objects::checkpoint::{FRAME_LEN_MAX, Frame, Head, MAGIC, NamedBudget, NamedConfig, NamedKey, PREFIX_LEN, Part, Say};
use crate::objects::pack::{PackedObject, entries};

/// A checkpoint as read back.
pub(super) struct Checkpoint {
    pub part: Part,
    head: Head,
    says: Vec<Say>,
}

impl Checkpoint {
    /// Reads a whole checkpoint.
    pub fn parse(bytes: Bytes) -> Result<Checkpoint, String> {
        let mut rest = bytes.strip_prefix(&MAGIC[..]).ok_or("not a checkpoint of version 1")?;
        let mut next = || -> Result<Say, String> {
            let (len, after) = rest.split_first_chunk::<PREFIX_LEN>().ok_or("cut off")?;
            let len = u32::from_be_bytes(*len) as usize;
            if len > FRAME_LEN_MAX {
                return Err(format!("a frame of {len} bytes"));
            }
            let (frame, after) = after.split_at_checked(len).ok_or("cut off")?;
            rest = after;
            Frame::decode(frame)
                .map_err(|error| error.to_string())?
                .say
                .ok_or_else(|| "a frame that says nothing known".to_owned())
        };
        let Say::Head(head) = next()? else { return Err("no head".into()) };
        let part = Part::ALL.into_iter().find(|part| part.number() == head.part).ok_or("of an unknown part")?;
        let mut says = Vec::new();
        loop {
            match next()? {
                Say::End(count) if count == says.len() as u64 => return Ok(Checkpoint { part, head, says }),
                Say::End(count) => return Err(format!("{count} frames were written, {} are there", says.len())),
                say => says.push(say),
            }
        }
    }
}

/// A record and the place in the order of writing of what said it.
struct Told {
    record: ObjectRecord,
    /// Blob and offset in it; a checkpoint is before all packs.
    order: (Written, u64),
    /// When its bucket must have been there.
    written: Written,
}

/// What is known so far.
pub(super) struct Replay<'a> {
    owner: &'a str,
    settings: Option<Head>,
    objects: Option<Head>,
    buckets: BTreeMap<String, BucketRecord>,
    configs: Vec<NamedConfig>,
    keys: Vec<NamedKey>,
    budgets: Vec<NamedBudget>,
    told: BTreeMap<(String, String), Vec<Told>>,
}

/// What a catalog is to hold.
#[derive(Default)]
pub(super) struct Kept {
    pub buckets: BTreeMap<String, BucketRecord>,
    pub configs: Vec<NamedConfig>,
    pub keys: Vec<NamedKey>,
    pub budgets: Vec<NamedBudget>,
    /// Versions of each bucket and key, the earliest first.
    pub objects: Vec<((String, String), Vec<ObjectRecord>)>,
}

fn written(head: &Head) -> Written {
    (head.writer_epoch, head.sequence)
}

impl<'a> Replay<'a> {
    pub fn new(owner: &'a str) -> Replay<'a> {
        Replay {
            owner,
            settings: None,
            objects: None,
            buckets: BTreeMap::new(),
            configs: Vec::new(),
            keys: Vec::new(),
            budgets: Vec::new(),
            told: BTreeMap::new(),
        }
    }

    /// Whether a pack may have what the checkpoint of objects does not.
    pub fn is_wanted(&self, pack: Written) -> bool {
        self.objects.as_ref().is_none_or(|head| pack >= written(head))
    }

    pub fn take_checkpoint(&mut self, checkpoint: Checkpoint) {
        let Checkpoint { part, head, says } = checkpoint;
        match part {
            Part::Settings => self.settings = Some(head),
            Part::Objects => self.objects = Some(head),
        }
        for say in says {
            match say {
                Say::Bucket(bucket) => drop(self.buckets.insert(bucket.name, bucket.record.unwrap_or_default())),
                Say::Config(config) => self.configs.push(config),
                Say::Key(key) => self.keys.push(key),
                Say::Budget(budget) => self.budgets.push(budget),
                Say::Object(object) => {
                    let PackedObject { bucket, key, record } = *object;
                    let Some(record) = record else { continue };
                    let told = Told { record, order: ((0, 0), 0), written: written(&head) };
                    self.told.entry((bucket, key)).or_default().push(told);
                }
                Say::Head(_) | Say::End(_) => {}
            }
        }
    }

    pub fn take_pack(&mut self, pack: BlobId, written: Written, bytes: Bytes) -> Result<(), String> {
        for entry in entries(bytes) {
            let entry = entry.map_err(|error| error.to_string())?;
            let place = Extent { blob: pack, offset: entry.offset, len: entry.len };
            let data = Extent { blob: pack, offset: entry.data_offset(), len: entry.data.len() as u64 };
            let Some(PackedObject { bucket, key, record: Some(mut record) }) = entry.object else { continue };
            record.entry = Some(place.into());
            if record.extents.is_empty() && data.len > 0 {
                record.extents = vec![ExtentRecord::from(data)];
            }
            self.told.entry((bucket, key)).or_default().push(Told { record, order: (written, place.offset), written });
        }
        Ok(())
    }

    /// What there is in the end.
    pub fn kept(mut self) -> Kept {
        let settings = self.settings.as_ref().map(written);
        let mut objects = Vec::new();
        for ((bucket, key), told) in std::mem::take(&mut self.told) {
            let known = self.buckets.get(&bucket).filter(|_| settings.is_some()).map(|record| record.created_ms);
            let there = |told: &Told| match known {
                // An earlier bucket of that name is gone with what it held.
                Some(created_ms) => told.record.modified_ms >= created_ms || !self.is_settled(told, settings),
                // No checkpoint knows the bucket: it is gone, unless it came later.
                None => !self.is_settled(told, settings),
            };
            let versions = survivors(told.into_iter().filter(there).collect());
            if versions.is_empty() {
                continue;
            }
            if let Entry::Vacant(vacant) = self.buckets.entry(bucket.clone()) {
                let created_ms = versions.iter().map(|record| record.modified_ms).min().unwrap_or_default();
                let owner = self.owner.to_owned();
                vacant.insert(BucketRecord { created_ms, owner, ..BucketRecord::default() });
            }
            objects.push(((bucket, key), versions));
        }
        self.fit_versioning(&objects);
        let Replay { buckets, configs, keys, budgets, .. } = self;
        Kept { buckets, configs, keys, budgets, objects }
    }

    /// Whether the checkpoint of settings is later than what a record was told by.
    fn is_settled(&self, told: &Told, settings: Option<Written>) -> bool {
        settings.is_some_and(|settings| told.written < settings)
    }

    /// A bucket that has named versions keeps versions, whatever the settings, which may be older, say.
    fn fit_versioning(&mut self, objects: &[((String, String), Vec<ObjectRecord>)]) {
        for ((bucket, _), versions) in objects {
            let Some(record) = self.buckets.get_mut(bucket) else { continue };
            let off = record.versioning == Versioning::Off.number();
            if off && versions.iter().any(|version| version.named() || version.delete_marker()) {
                record.versioning = Versioning::Enabled.number();
            }
        }
    }
}

/// Of each version the record that was written last; of those without an id of their own the latest alone. The earliest first.
fn survivors(mut told: Vec<Told>) -> Vec<ObjectRecord> {
    told.sort_by_key(|told| (told.record.version(), told.order));
    let mut versions: Vec<ObjectRecord> = Vec::new();
    for Told { record, .. } in told {
        match versions.last_mut().filter(|last| last.version() == record.version()) {
            Some(last) => *last = record,
            None => versions.push(record),
        }
    }
    let null = versions.iter().rposition(|record| !record.named());
    let mut at = 0;
    versions.retain(|record| {
        let keep = record.named() || Some(at) == null;
        at += 1;
        keep
    });
    versions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::record::ControlRecord;

    fn told(sequence: u64, named: bool, etag: &str, order: u64) -> Told {
        let control = Some(ControlRecord { named, ..ControlRecord::default() });
        let record = ObjectRecord { writer_epoch: 1, sequence, etag: etag.into(), control, ..ObjectRecord::default() };
        Told { record, order: ((1, order), 0), written: (1, order) }
    }

    #[test]
    fn of_a_version_the_last_word_counts_and_of_the_nameless_the_latest() {
        for (all, expected) in [
            (vec![told(1, false, "a", 1), told(2, false, "b", 2)], vec!["b"]),
            (vec![told(2, false, "b", 2), told(1, false, "a", 9)], vec!["b"]),
            (vec![told(1, false, "old", 1), told(1, false, "new", 5)], vec!["new"]),
            (vec![told(3, true, "c", 3), told(1, true, "a", 1), told(2, false, "b", 2)], vec!["a", "b", "c"]),
            (vec![told(1, false, "a", 1), told(2, true, "b", 2), told(3, false, "c", 3)], vec!["b", "c"]),
        ] {
            let etags: Vec<String> = survivors(all).into_iter().map(|record| record.etag).collect();
            assert_eq!(etags, expected);
        }
    }

    #[test]
    fn damaged_checkpoints_are_refused() {
        let frame = |say: Say| {
            let bytes = Frame { say: Some(say) }.encode_to_vec();
            [&(bytes.len() as u32).to_be_bytes()[..], &bytes].concat()
        };
        let head = frame(Say::Head(Head { part: 1, ..Head::default() }));
        let whole = [&MAGIC[..], &head, &frame(Say::End(0))].concat();
        assert!(Checkpoint::parse(whole.clone().into()).is_ok());
        for len in 0..whole.len() {
            assert!(Checkpoint::parse(Bytes::copy_from_slice(&whole[..len])).is_err(), "{len}");
        }
        for bytes in [
            [&MAGIC[..], &frame(Say::End(0))].concat(),
            [&MAGIC[..], &head, &frame(Say::End(1))].concat(),
            [&MAGIC[..], &frame(Say::Head(Head { part: 9, ..Head::default() })), &frame(Say::End(0))].concat(),
            [&MAGIC[..], &[0xff; 4], &head].concat(),
        ] {
            assert!(Checkpoint::parse(bytes.into()).is_err());
        }
    }
}
