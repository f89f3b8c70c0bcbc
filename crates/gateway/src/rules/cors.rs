//! CORS: which pages of other origins a browser may let at a bucket.
//!
//! Source: the S3 user guide, "How Amazon S3 evaluates the CORS configuration on a bucket". Never: a header for a request that no rule
//! allows. Limits: [`RULES_MAX`].

use s3s::dto::{CORSConfiguration, CORSRule};

/// Rules of one bucket, as in S3.
pub const RULES_MAX: usize = 100;
const METHODS: [&str; 5] = ["GET", "PUT", "HEAD", "POST", "DELETE"];

/// What is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CorsError {
    /// MalformedXML.
    #[error("a CORS configuration has between 1 and 100 rules")]
    Rules,
    /// InvalidRequest.
    #[error("Found unsupported HTTP method in CORS config. Unsupported method is {0}")]
    Method(String),
    /// InvalidRequest.
    #[error("{0} \"{1}\" can not have more than one wildcard.")]
    Wildcards(&'static str, String),
}

/// Checks a configuration before it is kept.
///
/// # Errors
/// [`CorsError`].
pub fn check(configuration: &CORSConfiguration) -> Result<(), CorsError> {
    if configuration.cors_rules.is_empty() || configuration.cors_rules.len() > RULES_MAX {
        return Err(CorsError::Rules);
    }
    for rule in &configuration.cors_rules {
        if rule.allowed_methods.is_empty() || rule.allowed_origins.is_empty() {
            return Err(CorsError::Rules);
        }
        if let Some(method) = rule.allowed_methods.iter().find(|method| !METHODS.contains(&method.as_str())) {
            return Err(CorsError::Method(method.clone()));
        }
        let wild = |text: &&String| text.matches('*').count() > 1;
        if let Some(origin) = rule.allowed_origins.iter().find(wild) {
            return Err(CorsError::Wildcards("AllowedOrigin", origin.clone()));
        }
        if let Some(header) = rule.allowed_headers.iter().flatten().find(wild) {
            return Err(CorsError::Wildcards("AllowedHeader", header.clone()));
        }
    }
    Ok(())
}

/// A cross-origin request.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// `Origin`.
    pub origin: &'a str,
    /// `Access-Control-Request-Method`, or the method itself.
    pub method: &'a str,
    /// `Access-Control-Request-Headers`.
    pub headers: Option<&'a str>,
}

/// The headers that let a browser go on: of the first rule that allows origin, method and headers.
pub fn answer(configuration: &CORSConfiguration, ask: &Ask<'_>) -> Option<Vec<(&'static str, String)>> {
    let asked: Vec<String> = ask.headers.map(names).unwrap_or_default();
    let rule = configuration.cors_rules.iter().find(|rule| allows(rule, ask, &asked))?;
    let everybody = rule.allowed_origins.iter().any(|origin| origin == "*");
    let origin = if everybody { "*" } else { ask.origin };
    let mut headers = vec![
        ("access-control-allow-origin", origin.to_owned()),
        ("access-control-allow-methods", rule.allowed_methods.join(", ")),
        ("vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method".to_owned()),
    ];
    if !everybody {
        headers.push(("access-control-allow-credentials", "true".to_owned()));
    }
    if !asked.is_empty() {
        headers.push(("access-control-allow-headers", asked.join(", ")));
    }
    if let Some(exposed) = rule.expose_headers.as_ref().filter(|exposed| !exposed.is_empty()) {
        headers.push(("access-control-expose-headers", exposed.join(", ")));
    }
    headers.extend(rule.max_age_seconds.map(|seconds| ("access-control-max-age", seconds.to_string())));
    Some(headers)
}

fn names(list: &str) -> Vec<String> {
    list.split(',').map(|name| name.trim().to_ascii_lowercase()).filter(|name| !name.is_empty()).collect()
}

fn allows(rule: &CORSRule, ask: &Ask<'_>, asked: &[String]) -> bool {
    let allowed: Vec<String> = rule.allowed_headers.iter().flatten().map(|name| name.to_ascii_lowercase()).collect();
    rule.allowed_methods.iter().any(|method| method == ask.method)
        && rule.allowed_origins.iter().any(|pattern| fits(pattern, ask.origin))
        && asked.iter().all(|name| allowed.iter().any(|pattern| fits(pattern, name)))
}

/// A pattern has at most one star.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text.len() >= before.len() + after.len() && text.starts_with(before) && text.ends_with(after),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(methods: &[&str], origins: &[&str], headers: &[&str]) -> CORSRule {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        CORSRule {
            allowed_headers: Some(owned(headers)),
            allowed_methods: owned(methods),
            allowed_origins: owned(origins),
            expose_headers: Some(vec!["ETag".into()]),
            id: None,
            max_age_seconds: Some(60),
        }
    }

    fn origin_of(configuration: &CORSConfiguration, origin: &str, method: &str, headers: Option<&str>) -> Option<String> {
        let headers = answer(configuration, &Ask { origin, method, headers })?;
        headers.into_iter().find(|(name, _)| *name == "access-control-allow-origin").map(|(_, value)| value)
    }

    #[test]
    fn rules_allow_origins_methods_and_headers() {
        let configuration = CORSConfiguration {
            cors_rules: vec![
                rule(&["GET", "HEAD"], &["https://*.example.org"], &["x-amz-*"]),
                rule(&["PUT"], &["*"], &["Content-Type"]),
            ],
        };
        for (origin, method, headers, expected) in [
            ("https://a.example.org", "GET", None, Some("https://a.example.org")),
            ("https://a.example.org", "GET", Some("x-amz-date, X-Amz-Acl"), Some("https://a.example.org")),
            ("https://a.example.org", "GET", Some("content-type"), None),
            ("https://example.org", "GET", None, None),
            ("http://x", "PUT", Some("content-type"), Some("*")),
            ("http://x", "DELETE", None, None),
        ] {
            let seen = origin_of(&configuration, origin, method, headers);
            assert_eq!(seen.as_deref(), expected, "{origin} {method} {headers:?}");
        }
    }

    #[test]
    fn overlapping_ends_of_a_pattern_do_not_fit() {
        assert!(fits("ab*ba", "abba") && !fits("ab*ba", "aba") && fits("*", "") && !fits("a", "b"));
    }

    #[test]
    fn configurations_are_checked() {
        let one = |rule| CORSConfiguration { cors_rules: vec![rule] };
        assert_eq!(check(&one(rule(&["GET"], &["*"], &["*"]))), Ok(()));
        assert_eq!(check(&CORSConfiguration { cors_rules: vec![] }), Err(CorsError::Rules));
        assert_eq!(check(&one(rule(&["PATCH"], &["*"], &[]))), Err(CorsError::Method("PATCH".into())));
        assert!(matches!(check(&one(rule(&["GET"], &["*.*"], &[]))), Err(CorsError::Wildcards("AllowedOrigin", _))));
        assert!(matches!(check(&one(rule(&["GET"], &["*"], &["**"]))), Err(CorsError::Wildcards("AllowedHeader", _))));
        assert_eq!(check(&one(rule(&[], &["*"], &[]))), Err(CorsError::Rules));
    }
}
