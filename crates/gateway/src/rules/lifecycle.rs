//! Lifecycle: which objects, versions and uploads of a bucket are over, by the rules of its owner.
//!
//! Source: the S3 user guide, "Managing the lifecycle of objects". A day ends at midnight UTC, as in S3; a test may make days shorter, and
//! then they do not wait for midnight.
//! Never: an object that is over by a rule that is disabled or not understood. Limits: [`RULES_MAX`].

use std::collections::{BTreeMap, BTreeSet};

use cairn_types::UnixMs;
use s3s::dto::{BucketLifecycleConfiguration, ExpirationStatus, LifecycleRule, Tag, Timestamp};

/// Rules of one bucket, as in S3.
pub const RULES_MAX: usize = 1000;
const ID_LEN_MAX: usize = 255;
/// A day.
pub const DAY_MS: u64 = 86_400_000;

/// What is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LifecycleError {
    /// MalformedXML.
    #[error("{0}")]
    Malformed(&'static str),
    /// InvalidArgument.
    #[error("{0}")]
    Invalid(&'static str),
    /// NotImplemented.
    #[error("Objects do not move between storage classes here: a rule may only expire them")]
    Transition,
}

/// Checks a configuration before it is kept, and names the rules that have no name.
///
/// # Errors
/// [`LifecycleError`].
pub fn checked(mut configuration: BucketLifecycleConfiguration) -> Result<BucketLifecycleConfiguration, LifecycleError> {
    if configuration.rules.is_empty() || configuration.rules.len() > RULES_MAX {
        return Err(LifecycleError::Malformed("A lifecycle configuration has between 1 and 1000 rules"));
    }
    let mut ids: BTreeSet<String> = BTreeSet::new();
    for rule in &configuration.rules {
        check_rule(rule)?;
        if let Some(id) = rule.id.as_ref().filter(|id| !id.is_empty())
            && !ids.insert(id.clone())
        {
            return Err(LifecycleError::Invalid("Rule ID must be unique. Found same ID for more than one rule"));
        }
    }
    let mut number = 0;
    for rule in &mut configuration.rules {
        while rule.id.as_ref().is_none_or(|id| id.is_empty()) {
            number += 1;
            let id = format!("rule-{number}");
            if ids.insert(id.clone()) {
                rule.id = Some(id);
            }
        }
    }
    Ok(configuration)
}

fn check_rule(rule: &LifecycleRule) -> Result<(), LifecycleError> {
    if rule.id.as_ref().is_some_and(|id| id.len() > ID_LEN_MAX) {
        return Err(LifecycleError::Invalid("ID length should not exceed allowed limit of 255"));
    }
    if !matches!(rule.status.as_str(), ExpirationStatus::ENABLED | ExpirationStatus::DISABLED) {
        return Err(LifecycleError::Malformed("A rule's status is Enabled or Disabled"));
    }
    if rule.prefix.is_some() && rule.filter.is_some() {
        return Err(LifecycleError::Malformed("A rule has a Filter or a Prefix, not both"));
    }
    let moves = rule.transitions.as_ref().is_some_and(|moves| !moves.is_empty())
        || rule.noncurrent_version_transitions.as_ref().is_some_and(|moves| !moves.is_empty());
    if moves {
        return Err(LifecycleError::Transition);
    }
    let positive = |days: Option<i32>, message| {
        if days.is_some_and(|days| days < 1) { Err(LifecycleError::Invalid(message)) } else { Ok(()) }
    };
    if let Some(expiration) = &rule.expiration {
        positive(expiration.days, "'Days' for Expiration action must be a positive integer")?;
        let ways = [expiration.days.is_some(), expiration.date.is_some(), expiration.expired_object_delete_marker.is_some()];
        if ways.into_iter().filter(|way| *way).count() != 1 {
            return Err(LifecycleError::Malformed("An Expiration has one of Days, Date and ExpiredObjectDeleteMarker"));
        }
        if expiration.date.as_ref().is_some_and(|date| !ms_of(date).0.is_multiple_of(DAY_MS)) {
            return Err(LifecycleError::Invalid("'Date' must be at midnight GMT"));
        }
    }
    if let Some(expiration) = &rule.noncurrent_version_expiration {
        positive(
            expiration.noncurrent_days,
            "'NoncurrentDays' for NoncurrentVersionExpiration action must be a positive integer",
        )?;
        positive(expiration.newer_noncurrent_versions, "'NewerNoncurrentVersions' must be a positive integer")?;
    }
    if let Some(abort) = &rule.abort_incomplete_multipart_upload {
        positive(abort.days_after_initiation, "'DaysAfterInitiation' must be a positive integer")?;
        if abort.days_after_initiation.is_none() {
            return Err(LifecycleError::Malformed("AbortIncompleteMultipartUpload needs DaysAfterInitiation"));
        }
    }
    if rule.expiration.is_none()
        && rule.noncurrent_version_expiration.is_none()
        && rule.abort_incomplete_multipart_upload.is_none()
    {
        return Err(LifecycleError::Invalid("At least one action needs to be specified in a rule"));
    }
    Ok(())
}

fn ms_of(date: &Timestamp) -> UnixMs {
    let nanos = time::OffsetDateTime::from(date.clone()).unix_timestamp_nanos();
    UnixMs(u64::try_from(nanos / 1_000_000).unwrap_or(0))
}

/// What is known of a version.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Key.
    pub key: &'a str,
    /// Bytes.
    pub len: u64,
    /// Tags.
    pub tags: &'a BTreeMap<String, String>,
    /// When it was written.
    pub modified: UnixMs,
    /// It says that the key was deleted.
    pub delete_marker: bool,
    /// The key has no other version.
    pub alone: bool,
    /// When a later version took its place; `None` for the latest.
    pub noncurrent_since: Option<UnixMs>,
    /// Versions that are not the latest and later than this one.
    pub newer_noncurrent: u64,
}

/// What is to be done with a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    Keep,
    /// Delete the object as its owner would, without naming a version.
    Expire,
    /// Delete this version for good.
    Delete,
}

/// When something of an age is over: after so many days, at the end of the last one.
fn over_at(since: UnixMs, days: i32, day_ms: u64) -> UnixMs {
    let at = since.0.saturating_add(u64::try_from(days).unwrap_or(0).saturating_mul(day_ms));
    UnixMs(if day_ms == DAY_MS { at.div_ceil(DAY_MS).saturating_mul(DAY_MS) } else { at })
}

fn enabled(configuration: &BucketLifecycleConfiguration) -> impl Iterator<Item = &LifecycleRule> {
    configuration.rules.iter().filter(|rule| rule.status.as_str() == ExpirationStatus::ENABLED)
}

/// Whether a rule is about a key of such length and tags.
fn concerns(rule: &LifecycleRule, key: &str, len: u64, tags: &BTreeMap<String, String>) -> bool {
    let starts = |prefix: &Option<String>| prefix.as_ref().is_none_or(|prefix| key.starts_with(prefix.as_str()));
    let has = |tag: &Tag| tag.key.as_ref().and_then(|key| tags.get(key)).is_some_and(|value| Some(value) == tag.value.as_ref());
    let bound = |bound: Option<i64>| bound.and_then(|bound| u64::try_from(bound).ok());
    let sized = |more: Option<i64>, less: Option<i64>| {
        bound(more).is_none_or(|more| len > more) && bound(less).is_none_or(|less| len < less)
    };
    let by_filter = rule.filter.as_ref().is_none_or(|filter| {
        starts(&filter.prefix)
            && filter.tag.as_ref().is_none_or(has)
            && sized(filter.object_size_greater_than, filter.object_size_less_than)
            && filter.and.as_ref().is_none_or(|and| {
                starts(&and.prefix)
                    && and.tags.iter().flatten().all(has)
                    && sized(and.object_size_greater_than, and.object_size_less_than)
            })
    });
    starts(&rule.prefix) && by_filter
}

/// What is to be done with a version at `now`, with days of `day_ms`.
pub fn judge(configuration: &BucketLifecycleConfiguration, facts: &Facts<'_>, now: UnixMs, day_ms: u64) -> Action {
    let concerned = enabled(configuration).filter(|rule| concerns(rule, facts.key, facts.len, facts.tags));
    let actions = concerned.map(|rule| match facts.noncurrent_since {
        Some(since) => judge_noncurrent(rule, facts, since, now, day_ms),
        None => judge_current(rule, facts, now, day_ms),
    });
    actions.into_iter().find(|action| *action != Action::Keep).unwrap_or(Action::Keep)
}

fn judge_noncurrent(rule: &LifecycleRule, facts: &Facts<'_>, since: UnixMs, now: UnixMs, day_ms: u64) -> Action {
    let Some(expiration) = &rule.noncurrent_version_expiration else { return Action::Keep };
    let kept = expiration.newer_noncurrent_versions.and_then(|count| u64::try_from(count).ok()).unwrap_or(0);
    let over = over_at(since, expiration.noncurrent_days.unwrap_or(0), day_ms);
    if facts.newer_noncurrent >= kept && over <= now { Action::Delete } else { Action::Keep }
}

fn judge_current(rule: &LifecycleRule, facts: &Facts<'_>, now: UnixMs, day_ms: u64) -> Action {
    let Some(expiration) = &rule.expiration else { return Action::Keep };
    let aged = expiration.days.is_some_and(|days| over_at(facts.modified, days, day_ms) <= now);
    let dated = expiration.date.as_ref().is_some_and(|date| ms_of(date) <= now);
    if facts.delete_marker {
        let expired = facts.alone && (expiration.expired_object_delete_marker == Some(true) || aged || dated);
        return if expired { Action::Delete } else { Action::Keep };
    }
    if aged || dated { Action::Expire } else { Action::Keep }
}

/// Whether an upload that was begun at `initiated` is given up at `now`.
pub fn gives_up(configuration: &BucketLifecycleConfiguration, key: &str, initiated: UnixMs, now: UnixMs, day_ms: u64) -> bool {
    let none = BTreeMap::new();
    enabled(configuration).filter(|rule| concerns(rule, key, 0, &none)).any(|rule| {
        let days = rule.abort_incomplete_multipart_upload.as_ref().and_then(|abort| abort.days_after_initiation);
        days.is_some_and(|days| over_at(initiated, days, day_ms) <= now)
    })
}

/// When the current object of a key will expire, and by which rule: the first to end it.
pub fn expiry(
    configuration: &BucketLifecycleConfiguration,
    (key, len): (&str, u64),
    tags: &BTreeMap<String, String>,
    modified: UnixMs,
    day_ms: u64,
) -> Option<(UnixMs, String)> {
    let ends = enabled(configuration).filter(|rule| concerns(rule, key, len, tags)).filter_map(|rule| {
        let expiration = rule.expiration.as_ref()?;
        let at = match (expiration.days, &expiration.date) {
            (Some(days), _) => over_at(modified, days, day_ms),
            (None, Some(date)) => ms_of(date),
            (None, None) => return None,
        };
        Some((at, rule.id.clone().unwrap_or_default()))
    });
    ends.min()
}

#[cfg(test)]
mod tests {
    use s3s::dto::*;

    use super::*;

    fn rule(expiration: Option<LifecycleExpiration>) -> LifecycleRule {
        LifecycleRule {
            abort_incomplete_multipart_upload: None,
            expiration,
            filter: Some(LifecycleRuleFilter { prefix: Some("log/".into()), ..Default::default() }),
            id: Some("one".into()),
            noncurrent_version_expiration: None,
            noncurrent_version_transitions: None,
            prefix: None,
            status: ExpirationStatus::from_static(ExpirationStatus::ENABLED),
            transitions: None,
        }
    }

    fn days(days: i32) -> Option<LifecycleExpiration> {
        Some(LifecycleExpiration { days: Some(days), ..Default::default() })
    }

    fn of(rules: Vec<LifecycleRule>) -> BucketLifecycleConfiguration {
        BucketLifecycleConfiguration { rules }
    }

    const NONE: &BTreeMap<String, String> = &BTreeMap::new();

    fn facts(key: &str, modified: u64) -> Facts<'_> {
        Facts {
            key,
            len: 5,
            tags: NONE,
            modified: UnixMs(modified),
            delete_marker: false,
            alone: true,
            noncurrent_since: None,
            newer_noncurrent: 0,
        }
    }

    #[test]
    fn objects_expire_at_the_midnight_after_their_days() {
        let configuration = of(vec![rule(days(2))]);
        for (key, now, action) in [
            ("log/a", 2 * DAY_MS + 1, Action::Keep),
            ("log/a", 3 * DAY_MS - 1, Action::Keep),
            ("log/a", 3 * DAY_MS, Action::Expire),
            ("other", 9 * DAY_MS, Action::Keep),
        ] {
            assert_eq!(judge(&configuration, &facts(key, 1), UnixMs(now), DAY_MS), action, "{key} at {now}");
        }
        assert_eq!(judge(&configuration, &facts("log/a", 1), UnixMs(21), 10), Action::Expire, "short days do not wait");
        let expiry = expiry(&configuration, ("log/a", 5), NONE, UnixMs(1), DAY_MS);
        assert_eq!(expiry, Some((UnixMs(3 * DAY_MS), "one".into())));
        let mut off = rule(days(2));
        off.status = ExpirationStatus::from_static(ExpirationStatus::DISABLED);
        assert_eq!(judge(&of(vec![off]), &facts("log/a", 1), UnixMs(9 * DAY_MS), DAY_MS), Action::Keep);
    }

    #[test]
    fn older_versions_go_by_age_and_number() {
        let mut by_version = rule(None);
        by_version.noncurrent_version_expiration =
            Some(NoncurrentVersionExpiration { newer_noncurrent_versions: Some(2), noncurrent_days: Some(1) });
        let configuration = of(vec![by_version]);
        for (since, newer, action) in [(0, 2, Action::Delete), (0, 1, Action::Keep), (95, 2, Action::Keep)] {
            let facts = Facts { noncurrent_since: Some(UnixMs(since)), newer_noncurrent: newer, ..facts("log/a", 0) };
            assert_eq!(judge(&configuration, &facts, UnixMs(100), 10), action, "{since} {newer}");
        }
    }

    #[test]
    fn a_delete_marker_goes_when_nothing_is_left_below_it() {
        let marker = LifecycleExpiration { expired_object_delete_marker: Some(true), ..Default::default() };
        let configuration = of(vec![rule(Some(marker))]);
        let marked = |alone| Facts { delete_marker: true, alone, ..facts("log/a", 0) };
        assert_eq!(judge(&configuration, &marked(true), UnixMs(1), 10), Action::Delete);
        assert_eq!(judge(&configuration, &marked(false), UnixMs(1), 10), Action::Keep);
        assert_eq!(judge(&of(vec![rule(days(1))]), &marked(false), UnixMs(99), 10), Action::Keep);
    }

    #[test]
    fn filters_look_at_tags_and_sizes_too() {
        let tag = |key: &str, value: &str| Tag { key: Some(key.into()), value: Some(value.into()) };
        let mut filtered = rule(days(1));
        filtered.filter = Some(LifecycleRuleFilter {
            and: Some(LifecycleRuleAndOperator {
                object_size_greater_than: Some(4),
                object_size_less_than: Some(6),
                prefix: Some("log/".into()),
                tags: Some(vec![tag("a", "1"), tag("b", "2")]),
            }),
            ..Default::default()
        });
        let configuration = of(vec![filtered]);
        let both = BTreeMap::from([("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())]);
        let one = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        for (tags, len, action) in
            [(&both, 5, Action::Expire), (&one, 5, Action::Keep), (&both, 4, Action::Keep), (&both, 6, Action::Keep)]
        {
            let facts = Facts { tags, len, ..facts("log/a", 0) };
            assert_eq!(judge(&configuration, &facts, UnixMs(99), 10), action, "{tags:?} {len}");
        }
    }

    #[test]
    fn uploads_are_given_up() {
        let mut aborting = rule(None);
        aborting.abort_incomplete_multipart_upload = Some(AbortIncompleteMultipartUpload { days_after_initiation: Some(2) });
        let configuration = of(vec![aborting]);
        assert!(gives_up(&configuration, "log/a", UnixMs(0), UnixMs(20), 10));
        assert!(!gives_up(&configuration, "log/a", UnixMs(1), UnixMs(20), 10));
        assert!(!gives_up(&configuration, "a", UnixMs(0), UnixMs(99), 10));
    }

    #[test]
    fn configurations_are_checked_and_named() {
        let unnamed = LifecycleRule { id: None, ..rule(days(1)) };
        let named = checked(of(vec![unnamed.clone(), LifecycleRule { id: Some("rule-1".into()), ..rule(days(1)) }, unnamed]));
        let ids: Vec<_> = named.expect("good").rules.into_iter().filter_map(|rule| rule.id).collect();
        assert_eq!(ids, ["rule-2", "rule-1", "rule-3"]);
        let both = LifecycleRule { prefix: Some("a".into()), ..rule(days(1)) };
        let moving = LifecycleRule { transitions: Some(vec![Transition::default()]), ..rule(days(1)) };
        let long = LifecycleRule { id: Some("a".repeat(256)), ..rule(days(1)) };
        let odd = LifecycleRule { status: ExpirationStatus::from_static("enabled"), ..rule(days(1)) };
        for wrong in [both, moving, long, odd, rule(days(0)), rule(None), rule(Some(LifecycleExpiration::default()))] {
            assert!(checked(of(vec![wrong.clone()])).is_err(), "{wrong:?}");
        }
        assert!(checked(of(vec![])).is_err());
        assert!(checked(of(vec![rule(days(1)), rule(days(2))])).is_err(), "two rules of one name");
    }
}
