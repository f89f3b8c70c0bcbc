//! Object lock: retention and legal hold of versions, and the default retention of a bucket.
//!
//! Never: a lock that is loosened without the right to. Limits: 100 years.

use cairn_types::UnixMs;
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Result};

use super::Mapper;
use super::access::{Access, denied};
use super::config;
use super::errors::{custom, refused, s3_error};
use super::headers::{timestamp, unix_ms, version_of};
use crate::catalog::record::ControlRecord;
use crate::objects::Bucket;
use crate::objects::api::{Control, ObjectInfo, Retention};
use crate::rules::names;

const DAY_MS: u64 = 86_400_000;
const YEARS_MAX: i32 = 100;

/// What a write asks for.
pub(super) struct Wish<'a> {
    pub(super) mode: Option<&'a str>,
    pub(super) until: Option<Timestamp>,
    pub(super) hold: Option<&'a str>,
}

/// Reads the lock headers of an input; inputs name them alike.
macro_rules! lock_wish {
    ($input:expr) => {
        $crate::s3::lock::Wish {
            mode: $input.object_lock_mode.as_ref().map(|mode| mode.as_str()),
            until: $input.object_lock_retain_until_date.clone(),
            hold: $input.object_lock_legal_hold_status.as_ref().map(|status| status.as_str()),
        }
    };
}
pub(super) use lock_wish;

fn no_lock() -> S3Error {
    refused(S3ErrorCode::InvalidRequest, "Bucket is missing Object Lock Configuration")
}

fn malformed() -> S3Error {
    S3ErrorCode::MalformedXML.into()
}

fn compliance(mode: &str) -> Option<bool> {
    match mode {
        ObjectLockRetentionMode::GOVERNANCE => Some(false),
        ObjectLockRetentionMode::COMPLIANCE => Some(true),
        _ => None,
    }
}

fn is_on(status: &str) -> Option<bool> {
    match status {
        ObjectLockLegalHoldStatus::ON => Some(true),
        ObjectLockLegalHoldStatus::OFF => Some(false),
        _ => None,
    }
}

/// Lock of a new version: what the write asks for, else the bucket's default.
///
/// # Errors
/// InvalidRequest in a bucket without Object Lock; InvalidArgument.
pub(super) fn of_write(bucket: &Bucket, wish: &Wish<'_>, now: UnixMs) -> S3Result<(Option<Retention>, bool)> {
    let invalid = |message: &str| refused(S3ErrorCode::InvalidArgument, message.to_owned());
    let asks = wish.mode.is_some() || wish.until.is_some() || wish.hold.is_some();
    if !bucket.info.lockable {
        return if asks { Err(no_lock()) } else { Ok((None, false)) };
    }
    let hold = match wish.hold {
        Some(status) => is_on(status).ok_or_else(|| invalid("Legal Hold must be either of 'ON' or 'OFF'"))?,
        None => false,
    };
    let retention = match (wish.mode, &wish.until) {
        (Some(mode), Some(until)) => {
            let compliance = compliance(mode).ok_or_else(|| invalid("Unknown wormMode directive."))?;
            let until = unix_ms(until.clone());
            if until <= now {
                return Err(invalid("The retain until date must be in the future!"));
            }
            Some(Retention { compliance, until })
        }
        (None, None) => default_retention(bucket, now)?,
        _ => {
            let message = "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied";
            return Err(invalid(message));
        }
    };
    Ok((retention, hold))
}

fn default_retention(bucket: &Bucket, now: UnixMs) -> S3Result<Option<Retention>> {
    let Some(xml) = bucket.config(names::LOCK) else { return Ok(None) };
    let configuration: ObjectLockConfiguration = config::from_xml(xml)?;
    let Some(default) = configuration.rule.and_then(|rule| rule.default_retention) else { return Ok(None) };
    let mode = default.mode.as_ref().and_then(|mode| compliance(mode.as_str()));
    let days = match (default.days, default.years) {
        (Some(days), _) => u64::try_from(days).unwrap_or(0),
        (None, Some(years)) => u64::try_from(years).unwrap_or(0) * 365,
        (None, None) => 0,
    };
    let until = UnixMs(now.0.saturating_add(days.saturating_mul(DAY_MS)));
    Ok(mode.map(|compliance| Retention { compliance, until }))
}

pub(super) async fn get_config(
    _mapper: &Mapper,
    request: S3Request<GetObjectLockConfigurationInput>,
) -> S3Result<GetObjectLockConfigurationOutput> {
    let bucket = Access::of(&request.extensions)?.bucket()?;
    if !bucket.info.lockable {
        let message = "Object Lock configuration does not exist for this bucket";
        return Err(custom("ObjectLockConfigurationNotFoundError", http::StatusCode::NOT_FOUND, message));
    }
    let configuration = match bucket.config(names::LOCK) {
        Some(xml) => config::from_xml(xml)?,
        None => ObjectLockConfiguration {
            object_lock_enabled: Some(ObjectLockEnabled::from_static(ObjectLockEnabled::ENABLED)),
            rule: None,
        },
    };
    Ok(GetObjectLockConfigurationOutput { object_lock_configuration: Some(configuration) })
}

pub(super) async fn put_config(
    mapper: &Mapper,
    request: S3Request<PutObjectLockConfigurationInput>,
) -> S3Result<PutObjectLockConfigurationOutput> {
    let bucket = Access::of(&request.extensions)?.bucket()?;
    let configuration = request.input.object_lock_configuration.as_ref().ok_or_else(malformed)?;
    check_config(configuration)?;
    if !bucket.info.lockable {
        mapper.objects.set_lockable(&bucket.info.name).await.map_err(s3_error)?;
    }
    let xml = config::to_xml(configuration)?;
    config::write(mapper, &request, names::LOCK, Some(xml)).await?;
    Ok(PutObjectLockConfigurationOutput { request_charged: None })
}

fn check_config(configuration: &ObjectLockConfiguration) -> S3Result<()> {
    if configuration.object_lock_enabled.as_ref().map(|enabled| enabled.as_str()) != Some(ObjectLockEnabled::ENABLED) {
        return Err(malformed());
    }
    let Some(rule) = &configuration.rule else { return Ok(()) };
    let default = rule.default_retention.as_ref().ok_or_else(malformed)?;
    default.mode.as_ref().and_then(|mode| compliance(mode.as_str())).ok_or_else(malformed)?;
    let period = |message: &str| custom("InvalidRetentionPeriod", http::StatusCode::BAD_REQUEST, message);
    match (default.days, default.years) {
        (Some(days), None) if (1..=YEARS_MAX * 365).contains(&days) => Ok(()),
        (None, Some(years)) if (1..=YEARS_MAX).contains(&years) => Ok(()),
        (Some(_), Some(_)) | (None, None) => Err(malformed()),
        _ => Err(period("Default retention period must be a positive number of days or years, of at most 100 years")),
    }
}

/// The version that a lock request names, if its bucket has Object Lock and the caller the right.
async fn locked_version<I>(
    mapper: &Mapper,
    request: &S3Request<I>,
    (bucket, key, version): (&str, &str, Option<&str>),
) -> S3Result<ObjectInfo> {
    let access = Access::of(&request.extensions)?;
    let info = mapper.objects.head_version(bucket, key, version_of(version)?).await.map_err(|error| access.missing(error))?;
    access.check_object(&info)?;
    if access.bucket()?.info.lockable { Ok(info) } else { Err(no_lock()) }
}

pub(super) async fn get_retention(
    mapper: &Mapper,
    request: S3Request<GetObjectRetentionInput>,
) -> S3Result<GetObjectRetentionOutput> {
    let input = &request.input;
    let info = locked_version(mapper, &request, (&input.bucket, &input.key, input.version_id.as_deref())).await?;
    let Some(retention) = info.control.retention else { return Err(nothing_set()) };
    Ok(GetObjectRetentionOutput {
        retention: Some(ObjectLockRetention {
            mode: Some(mode_of(retention)),
            retain_until_date: Some(timestamp(retention.until)),
        }),
    })
}

fn nothing_set() -> S3Error {
    let message = "The specified object does not have a ObjectLock configuration";
    custom("NoSuchObjectLockConfiguration", http::StatusCode::NOT_FOUND, message)
}

fn mode_of(retention: Retention) -> ObjectLockRetentionMode {
    ObjectLockRetentionMode::from_static(match retention.compliance {
        true => ObjectLockRetentionMode::COMPLIANCE,
        false => ObjectLockRetentionMode::GOVERNANCE,
    })
}

/// Whether a retention may take the place of another.
fn may_change(now: UnixMs, before: Option<Retention>, after: Option<Retention>, bypass: bool) -> bool {
    let Some(before) = before.filter(|before| before.until > now) else { return true };
    let only_longer = after.is_some_and(|after| after.until >= before.until && after.compliance == before.compliance);
    only_longer || (!before.compliance && bypass)
}

pub(super) async fn put_retention(
    mapper: &Mapper,
    request: S3Request<PutObjectRetentionInput>,
) -> S3Result<PutObjectRetentionOutput> {
    let input = &request.input;
    let wanted = input.retention.as_ref().ok_or_else(malformed)?;
    let version = input.version_id.as_deref();
    let info = locked_version(mapper, &request, (&input.bucket, &input.key, version)).await?;
    let now = mapper.objects.now();
    let after = match (&wanted.mode, &wanted.retain_until_date) {
        (None, None) => None,
        (Some(mode), Some(until)) => {
            let compliance = compliance(mode.as_str()).ok_or_else(malformed)?;
            let until = unix_ms(until.clone());
            if until <= now {
                return Err(refused(S3ErrorCode::InvalidArgument, "The retain until date must be in the future!"));
            }
            Some(Retention { compliance, until })
        }
        _ => return Err(malformed()),
    };
    let access = Access::of(&request.extensions)?;
    let bypass =
        input.bypass_governance_retention.unwrap_or(false) && access.may_also(&input.key, "s3:BypassGovernanceRetention");
    if !may_change(now, info.control.retention, after, bypass) {
        return Err(denied());
    }
    let seen = info.control.retention;
    let set = Control { retention: after, ..Control::default() }.record(false, false);
    let version = version_of(version)?;
    let changing = mapper.objects.amend(&input.bucket, &input.key, version, move |record| {
        let control = record.control.get_or_insert_with(ControlRecord::default);
        if Control::try_from(&*control)?.retention != seen {
            return Err(crate::objects::ObjectError::Replaced);
        }
        (control.retention_mode, control.retain_until_ms) = (set.retention_mode, set.retain_until_ms);
        Ok(())
    });
    changing.await.map_err(s3_error)?;
    Ok(PutObjectRetentionOutput { request_charged: None })
}

pub(super) async fn get_hold(mapper: &Mapper, request: S3Request<GetObjectLegalHoldInput>) -> S3Result<GetObjectLegalHoldOutput> {
    let input = &request.input;
    let info = locked_version(mapper, &request, (&input.bucket, &input.key, input.version_id.as_deref())).await?;
    let status = if info.control.legal_hold { ObjectLockLegalHoldStatus::ON } else { ObjectLockLegalHoldStatus::OFF };
    let status = ObjectLockLegalHoldStatus::from_static(status);
    Ok(GetObjectLegalHoldOutput { legal_hold: Some(ObjectLockLegalHold { status: Some(status) }) })
}

pub(super) async fn put_hold(mapper: &Mapper, request: S3Request<PutObjectLegalHoldInput>) -> S3Result<PutObjectLegalHoldOutput> {
    let input = &request.input;
    let status = input.legal_hold.as_ref().and_then(|hold| hold.status.as_ref()).ok_or_else(malformed)?;
    let hold = is_on(status.as_str()).ok_or_else(malformed)?;
    let version = input.version_id.as_deref();
    locked_version(mapper, &request, (&input.bucket, &input.key, version)).await?;
    let changing = mapper.objects.amend(&input.bucket, &input.key, version_of(version)?, move |record| {
        record.control.get_or_insert_with(ControlRecord::default).legal_hold = hold;
        Ok(())
    });
    changing.await.map_err(s3_error)?;
    Ok(PutObjectLegalHoldOutput { request_charged: None })
}

/// Shows a version's lock in a GET or HEAD output.
macro_rules! show_lock {
    ($output:expr, $control:expr) => {{
        $output.object_lock_mode = $control.retention.map($crate::s3::lock::shown_mode);
        $output.object_lock_retain_until_date = $control.retention.map(|retention| timestamp(retention.until));
        if $control.legal_hold {
            $output.object_lock_legal_hold_status = Some(ObjectLockLegalHoldStatus::from_static(ObjectLockLegalHoldStatus::ON));
        }
    }};
}
pub(super) use show_lock;

/// Mode of a retention as GET and HEAD show it.
pub(super) fn shown_mode(retention: Retention) -> ObjectLockMode {
    ObjectLockMode::from(mode_of(retention).as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_only_ever_tightened() {
        let at = |compliance, until| Some(Retention { compliance, until: UnixMs(until) });
        for (before, after, bypass, may) in [
            (None, at(true, 50), false, true),
            (at(false, 50), at(false, 60), false, true),
            (at(false, 50), at(false, 40), false, false),
            (at(false, 50), at(false, 40), true, true),
            (at(false, 50), None, false, false),
            (at(false, 50), None, true, true),
            (at(false, 50), at(true, 50), false, false),
            (at(false, 50), at(true, 50), true, true),
            (at(true, 50), at(true, 60), false, true),
            (at(true, 50), at(true, 40), true, false),
            (at(true, 50), at(false, 60), true, false),
            (at(true, 5), None, false, true),
        ] {
            assert_eq!(may_change(UnixMs(10), before, after, bypass), may, "{before:?} {after:?} {bypass}");
        }
    }
}
