//! What governs an object version: whose it is, who may read it, until when it may not be deleted; and how versions are named.
//!
//! Never: a decision about access here; ACLs are text to the store. Limits: none of its own.

use cairn_types::UnixMs;

use super::api::VersionId;
use super::error::ObjectError;
use crate::catalog::record::{ControlRecord, RecordError};

/// How a request names a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VersionRef {
    /// The one without an id of its own.
    Null,
    /// By its id.
    Id(VersionId),
}

impl VersionRef {
    /// Reads `null` or 32 lower-case hex digits; anything else names no version.
    pub fn parse(text: &str) -> Option<VersionRef> {
        if text == "null" {
            return Some(VersionRef::Null);
        }
        let mut bytes = [0u8; 16];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        let number = u128::from_be_bytes(bytes);
        let id = VersionId { writer_epoch: (number >> 64) as u64, sequence: number as u64 };
        (id.to_string() == text).then_some(VersionRef::Id(id))
    }
}

impl std::fmt::Display for VersionRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            VersionRef::Null => f.write_str("null"),
            VersionRef::Id(id) => id.fmt(f),
        }
    }
}

/// Whether a bucket keeps versions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Versioning {
    /// It never did.
    #[default]
    Off,
    /// Every write makes one.
    Enabled,
    /// It keeps those it has; writes replace the `null` version.
    Suspended,
}

impl Versioning {
    pub(crate) fn number(self) -> u32 {
        self as u32
    }

    pub(crate) fn from_number(number: u32) -> Result<Versioning, RecordError> {
        match number {
            0 => Ok(Versioning::Off),
            1 => Ok(Versioning::Enabled),
            2 => Ok(Versioning::Suspended),
            _ => Err(RecordError::Damaged("versioning".into())),
        }
    }
}

/// Until when a version may not be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// COMPLIANCE: nobody may shorten it; else GOVERNANCE: who has the right to bypass it may.
    pub compliance: bool,
    /// Until when.
    pub until: UnixMs,
}

/// Encryption as a request asked for it. All objects are sealed with the account's keys anyway.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Encryption {
    /// Not at all.
    #[default]
    Own,
    /// `AES256`.
    Named,
    /// With a customer's key, without which the object is not given back: its SHA-256.
    Customer([u8; 32]),
}

/// What governs an object version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Control {
    /// Who wrote it; empty: the bucket's owner.
    pub owner: String,
    /// Its ACL, as the front writes it; empty: its owner's alone.
    pub acl: String,
    /// Until when it may not be deleted.
    pub retention: Option<Retention>,
    /// It may not be deleted while this holds.
    pub legal_hold: bool,
    /// Encryption as asked for.
    pub encryption: Encryption,
}

impl Control {
    /// Its record.
    pub(crate) fn record(&self, named: bool, delete_marker: bool) -> ControlRecord {
        let (encryption, customer_key) = match self.encryption {
            Encryption::Own => (0, Vec::new()),
            Encryption::Named => (1, Vec::new()),
            Encryption::Customer(hash) => (2, hash.to_vec()),
        };
        ControlRecord {
            named,
            delete_marker,
            owner: self.owner.clone(),
            acl: self.acl.clone(),
            retention_mode: self.retention.map_or(0, |retention| 1 + u32::from(retention.compliance)),
            retain_until_ms: self.retention.map_or(0, |retention| retention.until.0),
            legal_hold: self.legal_hold,
            encryption,
            customer_key,
        }
    }

    /// Whether a version under it may be deleted at `now`.
    ///
    /// # Errors
    /// [`ObjectError::Locked`].
    pub(crate) fn check_delete(&self, now: UnixMs, bypass_governance: bool) -> Result<(), ObjectError> {
        if self.legal_hold {
            return Err(ObjectError::Locked);
        }
        match self.retention {
            Some(retention) if retention.until > now && (retention.compliance || !bypass_governance) => Err(ObjectError::Locked),
            _ => Ok(()),
        }
    }
}

impl TryFrom<&ControlRecord> for Control {
    type Error = RecordError;
    fn try_from(record: &ControlRecord) -> Result<Control, RecordError> {
        let retention = match record.retention_mode {
            0 => None,
            mode @ (1 | 2) => Some(Retention { compliance: mode == 2, until: UnixMs(record.retain_until_ms) }),
            _ => return Err(RecordError::Damaged("retention mode".into())),
        };
        let encryption = match record.encryption {
            0 => Encryption::Own,
            1 => Encryption::Named,
            2 => {
                let hash = record.customer_key.as_slice().try_into();
                Encryption::Customer(hash.map_err(|_| RecordError::Damaged("customer key".into()))?)
            }
            _ => return Err(RecordError::Damaged("encryption".into())),
        };
        Ok(Control { owner: record.owner.clone(), acl: record.acl.clone(), retention, legal_hold: record.legal_hold, encryption })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_versions_read_back() {
        let id = VersionId { writer_epoch: 3, sequence: u64::MAX };
        for name in [VersionRef::Null, VersionRef::Id(id)] {
            assert_eq!(VersionRef::parse(&name.to_string()), Some(name));
        }
        for text in ["", "Null", "00", &"A".repeat(32), &"g".repeat(32), &"0".repeat(33)] {
            assert_eq!(VersionRef::parse(text), None, "{text}");
        }
    }

    #[test]
    fn controls_read_back() {
        let all = Control {
            owner: "alice".into(),
            acl: "{}".into(),
            retention: Some(Retention { compliance: true, until: UnixMs(7) }),
            legal_hold: true,
            encryption: Encryption::Customer([9; 32]),
        };
        for control in [Control::default(), all, Control { encryption: Encryption::Named, ..Default::default() }] {
            assert_eq!(Control::try_from(&control.record(true, false)), Ok(control));
        }
        for damaged in [
            ControlRecord { retention_mode: 3, ..Default::default() },
            ControlRecord { encryption: 3, ..Default::default() },
            ControlRecord { encryption: 2, customer_key: vec![1], ..Default::default() },
        ] {
            assert!(Control::try_from(&damaged).is_err(), "{damaged:?}");
        }
    }

    #[test]
    fn what_is_locked_stays() {
        let kept = |compliance| Control { retention: Some(Retention { compliance, until: UnixMs(10) }), ..Default::default() };
        for (control, now, bypass, goes) in [
            (Control::default(), 0, false, true),
            (kept(false), 9, false, false),
            (kept(false), 9, true, true),
            (kept(false), 10, false, true),
            (kept(true), 9, true, false),
            (kept(true), 10, false, true),
            (Control { legal_hold: true, ..Default::default() }, 99, true, false),
        ] {
            assert_eq!(control.check_delete(UnixMs(now), bypass).is_ok(), goes, "{control:?} at {now}");
        }
    }
}
