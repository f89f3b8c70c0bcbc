//! Conditional requests (RFC 9110 §13, as S3 applies them): pure functions of ETag and last-modified.
//!
//! Never: look anything up. Limits: times compare in whole seconds, as HTTP dates do.

use cairn_types::UnixMs;

use super::error::ObjectError;

/// The value of an `If-Match` or `If-None-Match` header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EtagMatch {
    /// `*`.
    Any,
    /// ETags without quotes and without `W/`.
    OneOf(Vec<String>),
}

impl EtagMatch {
    /// Reads a header's value: `*`, or ETags with or without quotes, separated by commas.
    pub fn parse(header: &str) -> EtagMatch {
        let tags: Vec<&str> = header.split(',').map(str::trim).filter(|tag| !tag.is_empty()).collect();
        if tags.contains(&"*") {
            return EtagMatch::Any;
        }
        let bare = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"').to_owned();
        EtagMatch::OneOf(tags.into_iter().map(bare).collect())
    }

    /// Whether `etag` (without quotes) is meant.
    pub fn matches(&self, etag: &str) -> bool {
        match self {
            EtagMatch::Any => true,
            EtagMatch::OneOf(tags) => tags.iter().any(|tag| tag == etag),
        }
    }
}

/// When a write may happen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriteConditions {
    /// Only if the present object's ETag is one of these. A missing object is [`ObjectError::NoSuchKey`].
    pub if_match: Option<EtagMatch>,
    /// Only if the present object's ETag is none of these (`*`: only if there is no object).
    pub if_none_match: Option<EtagMatch>,
}

impl WriteConditions {
    /// Judges the conditions against the present ETag.
    ///
    /// # Errors
    /// [`ObjectError::PreconditionFailed`]; [`ObjectError::NoSuchKey`] for `If-Match` on nothing.
    pub fn check(&self, present: Option<&str>) -> Result<(), ObjectError> {
        if let Some(wanted) = &self.if_match {
            let etag = present.ok_or(ObjectError::NoSuchKey)?;
            if !wanted.matches(etag) {
                return Err(ObjectError::PreconditionFailed { condition: "If-Match" });
            }
        }
        match (&self.if_none_match, present) {
            (Some(unwanted), Some(etag)) if unwanted.matches(etag) => {
                Err(ObjectError::PreconditionFailed { condition: "If-None-Match" })
            }
            _ => Ok(()),
        }
    }
}

/// When a read is answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadConditions {
    /// `If-Match`.
    pub if_match: Option<EtagMatch>,
    /// `If-None-Match`.
    pub if_none_match: Option<EtagMatch>,
    /// `If-Modified-Since`.
    pub if_modified_since: Option<UnixMs>,
    /// `If-Unmodified-Since`.
    pub if_unmodified_since: Option<UnixMs>,
}

impl ReadConditions {
    /// Judges a GET or HEAD. `If-Match` overrides `If-Unmodified-Since`, `If-None-Match` overrides `If-Modified-Since`.
    ///
    /// # Errors
    /// [`ObjectError::PreconditionFailed`], [`ObjectError::NotModified`].
    pub fn check(&self, etag: &str, modified: UnixMs) -> Result<(), ObjectError> {
        let seconds = modified.0 / 1000;
        match (&self.if_match, self.if_unmodified_since) {
            (Some(wanted), _) if !wanted.matches(etag) => {
                return Err(ObjectError::PreconditionFailed { condition: "If-Match" });
            }
            (None, Some(since)) if seconds > since.0 / 1000 => {
                return Err(ObjectError::PreconditionFailed { condition: "If-Unmodified-Since" });
            }
            _ => {}
        }
        match (&self.if_none_match, self.if_modified_since) {
            (Some(unwanted), _) if unwanted.matches(etag) => Err(ObjectError::NotModified),
            (None, Some(since)) if seconds <= since.0 / 1000 => Err(ObjectError::NotModified),
            _ => Ok(()),
        }
    }

    /// Judges the source of a copy: as [`Self::check`], but "not modified" fails the copy.
    ///
    /// # Errors
    /// [`ObjectError::PreconditionFailed`].
    pub fn check_source(&self, etag: &str, modified: UnixMs) -> Result<(), ObjectError> {
        self.check(etag, modified).map_err(|error| match error {
            ObjectError::NotModified if self.if_none_match.is_some() => {
                ObjectError::PreconditionFailed { condition: "x-amz-copy-source-if-none-match" }
            }
            ObjectError::NotModified => ObjectError::PreconditionFailed { condition: "x-amz-copy-source-if-modified-since" },
            error => error,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(tag: &str) -> Option<EtagMatch> {
        Some(EtagMatch::parse(tag))
    }

    #[test]
    fn headers_are_read_with_and_without_quotes() {
        for (header, etag, matches) in [
            ("*", "a", true),
            ("\"a\"", "a", true),
            ("a", "a", true),
            ("W/\"a\"", "a", true),
            ("\"b\", \"a\"", "a", true),
            ("\"b\"", "a", false),
            ("", "a", false),
        ] {
            assert_eq!(EtagMatch::parse(header).matches(etag), matches, "{header}");
        }
    }

    #[test]
    fn writes_obey_their_conditions() {
        let conditions = |if_match, if_none_match| WriteConditions { if_match, if_none_match };
        for (given, present, expected) in [
            (conditions(None, None), None, "ok"),
            (conditions(one("a"), None), None, "missing"),
            (conditions(one("*"), None), None, "missing"),
            (conditions(one("a"), None), Some("a"), "ok"),
            (conditions(one("a"), None), Some("b"), "failed"),
            (conditions(None, one("*")), None, "ok"),
            (conditions(None, one("*")), Some("a"), "failed"),
            (conditions(None, one("a")), Some("a"), "failed"),
            (conditions(None, one("a")), Some("b"), "ok"),
        ] {
            let seen = match given.check(present) {
                Ok(()) => "ok",
                Err(ObjectError::NoSuchKey) => "missing",
                Err(_) => "failed",
            };
            assert_eq!(seen, expected, "{given:?} on {present:?}");
        }
    }

    #[test]
    fn reads_obey_their_conditions_in_order_of_precedence() {
        let modified = UnixMs(10_500);
        let at = |ms| Some(UnixMs(ms));
        for (if_match, if_none_match, if_modified_since, if_unmodified_since, expected) in [
            (None, None, None, None, "ok"),
            (one("a"), None, None, at(0), "ok"),
            (one("b"), None, None, at(99_000), "failed"),
            (None, None, None, at(10_000), "ok"),
            (None, None, None, at(9_999), "failed"),
            (None, one("a"), at(0), None, "not modified"),
            (None, one("b"), at(99_000), None, "ok"),
            (None, None, at(10_000), None, "not modified"),
            (None, None, at(9_000), None, "ok"),
            (one("b"), one("a"), None, None, "failed"),
        ] {
            let given = ReadConditions { if_match, if_none_match, if_modified_since, if_unmodified_since };
            let seen = |result| match result {
                Ok(()) => "ok",
                Err(ObjectError::NotModified) => "not modified",
                Err(_) => "failed",
            };
            assert_eq!(seen(given.check("a", modified)), expected, "{given:?}");
            let expected = if expected == "not modified" { "failed" } else { expected };
            assert_eq!(seen(given.check_source("a", modified)), expected, "source {given:?}");
        }
    }
}
