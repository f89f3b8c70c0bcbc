//! Policies: what they allow, what they deny, and which are refused.

use super::*;

fn nothing(_: &str) -> Option<Vec<String>> {
    None
}

fn ask<'a>(user: Option<&'a str>, action: &'a str, resource: &'a str) -> Ask<'a> {
    Ask { user, action, resource, context: &nothing }
}

fn statement(fields: &str) -> String {
    format!("{{\"Version\":\"2012-10-17\",\"Statement\":[{{{fields}}}]}}")
}

fn policy(fields: &str) -> Policy {
    Policy::parse(&statement(fields), "b").expect("a policy")
}

#[test]
fn statements_apply_to_whom_and_what_they_name() {
    let policy = policy(
        "\"Effect\":\"Allow\",\"Principal\":{\"AWS\":[\"arn:aws:iam::acme:user/ann\",\"arn:aws:iam::bob:root\",\"eve\"]},\
         \"Action\":[\"s3:Get*\",\"s3:ListBucket\"],\"Resource\":[\"arn:aws:s3:::b\",\"arn:aws:s3:::b/in/*\"]",
    );
    for (user, action, resource, verdict) in [
        (Some("ann"), "s3:GetObject", "arn:aws:s3:::b/in/x", Verdict::Allow),
        (Some("bob"), "s3:ListBucket", "arn:aws:s3:::b", Verdict::Allow),
        (Some("eve"), "s3:getobjectacl", "arn:aws:s3:::b/in/x", Verdict::Allow),
        (Some("eve"), "s3:GetObject", "arn:aws:s3:::b/out", Verdict::Silent),
        (Some("eve"), "s3:PutObject", "arn:aws:s3:::b/in/x", Verdict::Silent),
        (Some("acme"), "s3:GetObject", "arn:aws:s3:::b/in/x", Verdict::Silent),
        (None, "s3:GetObject", "arn:aws:s3:::b/in/x", Verdict::Silent),
    ] {
        assert_eq!(policy.judge(&ask(user, action, resource)), verdict, "{user:?} {action} {resource}");
    }
}

#[test]
fn a_denial_wins() {
    let text = "{\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"*\",\"Resource\":\"arn:aws:s3:::b/*\"},\
                {\"Effect\":\"Deny\",\"NotPrincipal\":{\"AWS\":\"ann\"},\"NotAction\":\"s3:GetObject\",\
                \"NotResource\":\"arn:aws:s3:::b/free/*\"}]}";
    let policy = Policy::parse(text, "b").expect("a policy");
    for (user, action, resource, verdict) in [
        (Some("ann"), "s3:PutObject", "arn:aws:s3:::b/x", Verdict::Allow),
        (Some("bob"), "s3:PutObject", "arn:aws:s3:::b/x", Verdict::Deny),
        (Some("bob"), "s3:GetObject", "arn:aws:s3:::b/x", Verdict::Allow),
        (None, "s3:PutObject", "arn:aws:s3:::b/free/x", Verdict::Allow),
    ] {
        assert_eq!(policy.judge(&ask(user, action, resource)), verdict, "{user:?} {action} {resource}");
    }
    assert_eq!(Policy::closed().judge(&ask(Some("ann"), "s3:GetObject", "arn:aws:s3:::b/x")), Verdict::Deny);
}

#[test]
fn conditions_and_variables_look_at_the_request() {
    let policy = policy(
        "\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"s3:*\",\"Resource\":\"arn:aws:s3:::b/${aws:username}/*\",\
         \"Condition\":{\"StringEquals\":{\"s3:ExistingObjectTag/Team\":[\"a\",\"b\"]},\"Bool\":{\"aws:SecureTransport\":false}}",
    );
    let given = |team: &'static str| {
        move |key: &str| match key {
            "s3:existingobjecttag/Team" => Some(vec![team.to_owned()]),
            "aws:securetransport" => Some(vec!["false".to_owned()]),
            _ => None,
        }
    };
    let judge = |user, team| {
        let context = given(team);
        policy.judge(&Ask { user, action: "s3:GetObject", resource: "arn:aws:s3:::b/ann/x", context: &context })
    };
    assert_eq!(judge(Some("ann"), "b"), Verdict::Allow);
    assert_eq!(judge(Some("ann"), "c"), Verdict::Silent);
    assert_eq!(judge(Some("bob"), "b"), Verdict::Silent);
    assert_eq!(judge(None, "b"), Verdict::Silent);
}

#[test]
fn public_is_what_everybody_may_do() {
    let everybody =
        "\"Effect\":\"Allow\",\"Principal\":{\"AWS\":\"*\"},\"Action\":\"s3:GetObject\",\"Resource\":\"arn:aws:s3:::b/*\"";
    let with = |condition: &str| policy(&format!("{everybody},\"Condition\":{condition}"));
    assert!(policy(everybody).is_public());
    assert!(!policy(&everybody.replace('*', "ann").replace("b/ann", "b/*")).is_public());
    assert!(!policy(&everybody.replace("Allow", "Deny")).is_public());
    assert!(!with("{\"IpAddress\":{\"aws:SourceIp\":\"10.0.0.0/8\"}}").is_public());
    assert!(with("{\"IpAddress\":{\"aws:SourceIp\":\"0.0.0.0/0\"}}").is_public());
    assert!(with("{\"StringLike\":{\"aws:SourceVpc\":\"vpc-*\"}}").is_public());
    assert!(!with("{\"StringLike\":{\"aws:SourceVpc\":\"vpc-91237329\"}}").is_public());
    assert!(with("{\"StringEquals\":{\"s3:prefix\":\"a\"}}").is_public());
}

#[test]
fn what_is_not_understood_is_refused() {
    let good = "\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"s3:GetObject\",\"Resource\":\"arn:aws:s3:::b/*\"";
    assert!(Policy::parse(&statement(good), "b").is_ok());
    for (from, to) in [
        ("Allow", "Maybe"),
        ("\"Effect\":\"Allow\",", ""),
        ("\"Principal\":\"*\",", ""),
        ("\"Principal\":\"*\"", "\"Principal\":\"ann\""),
        ("\"Principal\":\"*\"", "\"Principal\":{\"AWS\":\"arn:aws:s3:::x\"}"),
        ("\"Principal\":\"*\"", "\"Principal\":{\"Unknown\":\"ann\"}"),
        ("\"Principal\":\"*\"", "\"NotPrincipal\":\"*\""),
        ("s3:GetObject", "ec2:Run"),
        ("\"s3:GetObject\"", "[]"),
        ("arn:aws:s3:::b/*", "arn:aws:s3:::other/*"),
        ("arn:aws:s3:::b/*", "b/*"),
        ("\"Resource\"", "\"Colour\":1,\"Resource\""),
        ("\"Resource\"", "\"Condition\":{\"StringEqual\":{\"a\":\"b\"}},\"Resource\""),
        ("\"Resource\"", "\"Condition\":{\"Bool\":{\"a\":\"b\"}},\"Resource\""),
    ] {
        let changed = good.replacen(from, to, 1);
        assert_ne!(changed, good);
        assert!(Policy::parse(&statement(&changed), "b").is_err(), "{changed}");
    }
    for text in ["", "[]", "{\"Version\":\"2013\",\"Statement\":[]}", "{\"Statement\":[]}", &" ".repeat(POLICY_LEN_MAX + 1)] {
        assert!(Policy::parse(text, "b").is_err(), "{text:.40}");
    }
}

#[test]
fn wildcards_do_not_explode() {
    for (pattern, text, fits) in [
        ("", "", true),
        ("*", "", true),
        ("?", "", false),
        ("a*b*c", "a-b-b-c", true),
        ("a*b*c", "a-b-b-", false),
        ("*/x", "y/z/x", true),
        ("é?", "éx", true),
    ] {
        assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
    }
    // a matcher that tries every split would not end on this one
    assert!(!matches(&format!("{}c", "a*".repeat(200)), &"a".repeat(1024)));
}
