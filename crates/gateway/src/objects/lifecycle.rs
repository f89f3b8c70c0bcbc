//! Lifecycle worker: goes through the buckets that have rules and ends what is over.
//!
//! Never: an object ended that was written after it was judged. Limits: one page of keys in memory.

use std::sync::Weak;
use std::time::Duration;

use cairn_types::UnixMs;
use s3s::dto::BucketLifecycleConfiguration;
use tokio_util::sync::CancellationToken;

use super::Objects;
use super::api::{DeleteItem, ListUploadsRequest, ListVersionsRequest, ListedVersion, UploadName, VersionId, VersionRef};
use super::core::Core;
use super::error::ObjectError;
use super::limits::LIST_KEYS_MAX;
use crate::rules::lifecycle::{Action, Facts, gives_up, judge};

/// Longest and shortest pause between two rounds; else a tenth of a day.
const EVERY_MAX: Duration = Duration::from_secs(3600);
const EVERY_MIN: Duration = Duration::from_millis(500);

/// What a round ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct LifecycleReport {
    /// Objects expired.
    pub expired: u64,
    /// Versions and delete markers deleted.
    pub deleted: u64,
    /// Uploads given up.
    pub aborted: u64,
}

/// Runs a round now and then, until `stop` or until the store is gone.
pub(super) async fn run(core: Weak<Core>, background: Weak<super::Background>, stop: CancellationToken) {
    loop {
        let Some(every) = core.upgrade().map(|core| Duration::from_millis(core.config.day_ms / 10).clamp(EVERY_MIN, EVERY_MAX))
        else {
            return;
        };
        if stop.run_until_cancelled(tokio::time::sleep(every)).await.is_none() {
            return;
        }
        let (Some(core), Some(background)) = (core.upgrade(), background.upgrade()) else { return };
        let objects = Objects { core, background };
        match stop.run_until_cancelled(objects.lifecycle_now()).await {
            Some(Ok(report)) if report != LifecycleReport::default() => tracing::info!(?report, "lifecycle"),
            Some(Err(error)) => tracing::warn!(%error, "the lifecycle round failed and goes on in the next"),
            _ => {}
        }
    }
}

/// A version that is over, and how it ends.
struct End {
    key: String,
    version: VersionId,
    name: VersionRef,
    action: Action,
}

/// What is remembered of a key from its later versions to its earlier ones.
#[derive(Default)]
struct Walk {
    key: String,
    /// When the version before this one in the listing was written.
    newer: Option<UnixMs>,
    noncurrent: u64,
}

impl Objects {
    /// Length of a day of lifecycle rules in milliseconds.
    pub fn day_ms(&self) -> u64 {
        self.core.config.day_ms
    }

    /// Ends now what is over by the lifecycle rules of all buckets.
    ///
    /// # Errors
    /// [`ObjectError::Internal`], [`ObjectError::Unavailable`].
    pub async fn lifecycle_now(&self) -> Result<LifecycleReport, ObjectError> {
        let mut report = LifecycleReport::default();
        for bucket in self.list_buckets().await? {
            let settings = match self.bucket(&bucket.name).await {
                Ok(settings) => settings,
                Err(ObjectError::NoSuchBucket) => continue,
                Err(error) => return Err(error),
            };
            if let Some(rules) = &settings.rules().lifecycle {
                self.end_versions(&bucket.name, rules, &mut report).await?;
                self.end_uploads(&bucket.name, rules, &mut report).await?;
            }
        }
        Ok(report)
    }

    async fn end_versions(
        &self,
        bucket: &str,
        rules: &BucketLifecycleConfiguration,
        report: &mut LifecycleReport,
    ) -> Result<(), ObjectError> {
        let mut request = ListVersionsRequest { bucket: bucket.to_owned(), max_keys: LIST_KEYS_MAX, ..Default::default() };
        let mut walk = Walk::default();
        // the last version of a page is judged with the next page: whether it is alone shows only there
        let mut held: Option<ListedVersion> = None;
        loop {
            let page = self.list_versions(request.clone()).await?;
            let mut listed: Vec<ListedVersion> = held.take().into_iter().chain(page.versions).collect();
            if page.next.is_some() {
                held = listed.pop();
            }
            let ends = self.judge_page(rules, &listed, held.as_ref(), &mut walk);
            self.end(bucket, ends, report).await?;
            let Some((key, version)) = page.next else { return Ok(()) };
            (request.key_marker, request.version_marker) = (key, version);
        }
    }

    fn judge_page(
        &self,
        rules: &BucketLifecycleConfiguration,
        listed: &[ListedVersion],
        next: Option<&ListedVersion>,
        walk: &mut Walk,
    ) -> Vec<End> {
        let now = self.core.network.now();
        let mut ends = Vec::new();
        for (at, version) in listed.iter().enumerate() {
            let object = &version.object;
            if walk.key != object.key || walk.newer.is_none() {
                *walk = Walk { key: object.key.clone(), ..Walk::default() };
            }
            let follows = listed.get(at + 1).or(next).is_some_and(|next| next.object.key == object.key);
            let facts = Facts {
                key: &object.key,
                len: object.len,
                tags: &object.tags,
                modified: object.modified,
                delete_marker: version.delete_marker,
                alone: walk.newer.is_none() && !follows,
                noncurrent_since: walk.newer,
                newer_noncurrent: walk.noncurrent,
            };
            let action = judge(rules, &facts, now, self.core.config.day_ms);
            if action != Action::Keep {
                ends.push(End { key: object.key.clone(), version: version.id, name: version.version, action });
            }
            walk.noncurrent += u64::from(walk.newer.is_some());
            walk.newer = Some(object.modified);
        }
        ends
    }

    async fn end(&self, bucket: &str, ends: Vec<End>, report: &mut LifecycleReport) -> Result<(), ObjectError> {
        if ends.is_empty() {
            return Ok(());
        }
        let items = ends.iter().map(|end| DeleteItem {
            key: end.key.clone(),
            version: (end.action == Action::Delete).then_some(end.name),
            only_if: Some(end.version),
            ..Default::default()
        });
        let results = self.delete_many(bucket, items.collect(), "").await?;
        for (end, result) in ends.iter().zip(results) {
            match (result, end.action) {
                (Ok(deleted), Action::Expire) => report.expired += u64::from(deleted.existed),
                (Ok(deleted), _) => report.deleted += u64::from(deleted.existed),
                (Err(ObjectError::Locked | ObjectError::Replaced | ObjectError::NoSuchBucket), _) => {}
                (Err(error), _) => return Err(error),
            }
        }
        Ok(())
    }

    async fn end_uploads(
        &self,
        bucket: &str,
        rules: &BucketLifecycleConfiguration,
        report: &mut LifecycleReport,
    ) -> Result<(), ObjectError> {
        let mut request = ListUploadsRequest { bucket: bucket.to_owned(), max_uploads: LIST_KEYS_MAX, ..Default::default() };
        loop {
            let page = self.list_uploads(request.clone()).await?;
            let now = self.core.network.now();
            for upload in page.uploads {
                if !gives_up(rules, &upload.key, upload.initiated, now, self.core.config.day_ms) {
                    continue;
                }
                let name = UploadName { bucket: upload.bucket, key: upload.key, upload_id: upload.upload_id };
                match self.abort_upload(&name).await {
                    Ok(()) => report.aborted += 1,
                    Err(ObjectError::NoSuchUpload) => {}
                    Err(error) => return Err(error),
                }
            }
            let Some((key, upload)) = page.next else { return Ok(()) };
            request.key_marker = Some(key);
            request.upload_id_marker = Some(upload).filter(|upload| !upload.is_empty());
        }
    }
}
