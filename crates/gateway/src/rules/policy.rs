//! Policy: the language in which a bucket's owner says who may do what with it.
//!
//! Source: the S3 user guide, "Policies and permissions". An explicit Deny wins over every Allow.
//! Never: an Allow from a statement that is not wholly understood: a policy with one is refused when it is written.
//! Limits: [`POLICY_LEN_MAX`], [`ITEMS_MAX`] in a list.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::condition::{Block, Operator};

/// Bytes of a policy, as in S3.
pub const POLICY_LEN_MAX: usize = 20 * 1024;
/// Statements, actions, resources … in one list.
const ITEMS_MAX: usize = 512;
const ARN: &str = "arn:aws:s3:::";

/// A policy that is refused; S3 calls all of these MalformedPolicy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Too long.
    #[error("a policy has at most 20 KiB")]
    TooLong,
    /// Not JSON of the right shape.
    #[error("This policy contains invalid Json: {0}")]
    Json(String),
    /// A field is missing or not what it should be.
    #[error("{0}")]
    Invalid(String),
}

fn invalid(message: impl Into<String>) -> PolicyError {
    PolicyError::Invalid(message.into())
}

/// Who asks. Both are the user's name here: every user is an account of its own.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// The user; `None` without an access key.
    pub user: Option<&'a str>,
    /// As `s3:GetObject`.
    pub action: &'a str,
    /// As `arn:aws:s3:::bucket/key`.
    pub resource: &'a str,
    /// Values of a condition key in lower case; `None` when the request has none.
    pub context: &'a dyn Fn(&str) -> Option<Vec<String>>,
}

/// What a policy says to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Some statement denies it.
    Deny,
    /// Some statement allows it, none denies it.
    Allow,
    /// Nothing.
    Silent,
}

/// A policy, understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    statements: Vec<Statement>,
}

#[derive(Debug, Clone, PartialEq)]
struct Statement {
    allow: bool,
    principals: Either<Vec<Principal>>,
    actions: Either<Vec<String>>,
    resources: Either<Vec<String>>,
    conditions: Vec<Block>,
}

/// A list, or everything but a list.
#[derive(Debug, Clone, PartialEq)]
enum Either<T> {
    Only(T),
    Not(T),
}

impl<T> Either<T> {
    fn holds(&self, among: impl Fn(&T) -> bool) -> bool {
        match self {
            Either::Only(list) => among(list),
            Either::Not(list) => !among(list),
        }
    }

    fn list(&self) -> &T {
        match self {
            Either::Only(list) | Either::Not(list) => list,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Principal {
    Everybody,
    User(String),
    /// A service: never one of ours.
    Other,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPolicy {
    #[serde(rename = "Version")]
    version: Option<String>,
    #[serde(rename = "Id")]
    _id: Option<String>,
    #[serde(rename = "Statement")]
    statements: OneOrMany<RawStatement>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct RawStatement {
    #[serde(rename = "Sid")]
    _sid: Option<String>,
    effect: Option<String>,
    principal: Option<RawPrincipal>,
    not_principal: Option<RawPrincipal>,
    action: Option<OneOrMany<String>>,
    not_action: Option<OneOrMany<String>>,
    resource: Option<OneOrMany<String>>,
    not_resource: Option<OneOrMany<String>>,
    #[serde(default)]
    condition: BTreeMap<String, BTreeMap<String, OneOrMany<Scalar>>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawPrincipal {
    Text(String),
    Named(BTreeMap<String, OneOrMany<String>>),
}

/// JSON writes one-element lists without brackets.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    fn into_vec(self) -> Vec<T> {
        match self {
            OneOrMany::One(one) => vec![one],
            OneOrMany::Many(many) => many,
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Text(String),
    Bool(bool),
    Number(serde_json::Number),
}

impl From<Scalar> for String {
    fn from(scalar: Scalar) -> String {
        match scalar {
            Scalar::Text(text) => text,
            Scalar::Bool(value) => value.to_string(),
            Scalar::Number(number) => number.to_string(),
        }
    }
}

impl Policy {
    /// Reads the policy of `bucket`.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn parse(text: &str, bucket: &str) -> Result<Policy, PolicyError> {
        if text.len() > POLICY_LEN_MAX {
            return Err(PolicyError::TooLong);
        }
        let raw: RawPolicy = serde_json::from_str(text).map_err(|error| PolicyError::Json(error.to_string()))?;
        if raw.version.is_some_and(|version| version != "2012-10-17" && version != "2008-10-17") {
            return Err(invalid("The policy must contain a valid version string"));
        }
        let statements = raw.statements.into_vec();
        if statements.is_empty() || statements.len() > ITEMS_MAX {
            return Err(invalid("A policy has between 1 and 512 statements"));
        }
        let statements = statements.into_iter().map(|raw| Statement::read(raw, bucket)).collect::<Result<_, _>>()?;
        Ok(Policy { statements })
    }

    /// A policy that denies everything: for one that was kept and can no longer be read.
    pub fn closed() -> Policy {
        let all = || Either::Only(vec!["*".to_owned()]);
        let statement = Statement {
            allow: false,
            principals: Either::Only(vec![Principal::Everybody]),
            actions: all(),
            resources: all(),
            conditions: vec![],
        };
        Policy { statements: vec![statement] }
    }

    /// What it says to a request.
    pub fn judge(&self, ask: &Ask<'_>) -> Verdict {
        let mut verdict = Verdict::Silent;
        for statement in self.statements.iter().filter(|statement| statement.applies(ask)) {
            if !statement.allow {
                return Verdict::Deny;
            }
            verdict = Verdict::Allow;
        }
        verdict
    }

    /// Whether what it says depends on the tags that an object has.
    pub fn looks_at_existing_tags(&self) -> bool {
        self.statements
            .iter()
            .flat_map(|statement| &statement.conditions)
            .any(|block| block.key().starts_with("s3:existingobjecttag/"))
    }

    /// Whether it allows everybody something, without a condition that narrows who that is.
    pub fn is_public(&self) -> bool {
        self.statements.iter().any(Statement::is_public)
    }
}

impl Statement {
    fn read(raw: RawStatement, bucket: &str) -> Result<Statement, PolicyError> {
        let allow = match raw.effect.as_deref() {
            Some("Allow") => true,
            Some("Deny") => false,
            Some(other) => return Err(invalid(format!("Invalid effect: {other}"))),
            None => return Err(invalid("Missing required field Effect")),
        };
        let principals = match one_of(raw.principal, raw.not_principal, "Principal")? {
            Either::Only(raw) => Either::Only(principals(raw)?),
            Either::Not(_) if allow => return Err(invalid("Allow with NotPrincipal is not allowed")),
            Either::Not(raw) => Either::Not(principals(raw)?),
        };
        let actions = texts(one_of(raw.action, raw.not_action, "Action")?)?;
        let resources = texts(one_of(raw.resource, raw.not_resource, "Resource")?)?;
        if !actions.list().iter().all(|action| is_action(action)) {
            return Err(invalid("Policy has invalid action"));
        }
        if !resources.list().iter().all(|resource| is_within(resource, bucket)) {
            return Err(invalid("Policy has invalid resource"));
        }
        let mut conditions = Vec::new();
        for (operator, tests) in raw.condition {
            let operator = Operator::parse(&operator).ok_or_else(|| invalid(format!("Invalid Condition type : {operator}")))?;
            for (key, values) in tests {
                let values: Vec<String> = values.into_vec().into_iter().map(String::from).collect();
                if values.len() > ITEMS_MAX || conditions.len() >= ITEMS_MAX {
                    return Err(invalid("Too many conditions"));
                }
                let block = Block::new(operator, &key, values);
                conditions.push(block.map_err(|value| invalid(format!("Invalid Condition value : {value}")))?);
            }
        }
        Ok(Statement { allow, principals, actions, resources, conditions })
    }

    fn applies(&self, ask: &Ask<'_>) -> bool {
        let named = |principal: &Principal| match principal {
            Principal::Everybody => true,
            Principal::User(name) => ask.user == Some(name.as_str()),
            Principal::Other => false,
        };
        let action = ask.action.to_ascii_lowercase();
        self.principals.holds(|list| list.iter().any(named))
            && self.actions.holds(|list| list.iter().any(|pattern| matches(&pattern.to_ascii_lowercase(), &action)))
            && self.resources.holds(|list| list.iter().any(|pattern| matches(&filled(pattern, ask), ask.resource)))
            && self.conditions.iter().all(|block| block.holds(ask.context))
    }

    fn is_public(&self) -> bool {
        self.allow
            && self.principals.holds(|list| list.contains(&Principal::Everybody))
            && !self.conditions.iter().any(Block::narrows_who)
    }
}

fn one_of<T>(only: Option<T>, not: Option<T>, name: &str) -> Result<Either<T>, PolicyError> {
    match (only, not) {
        (Some(only), None) => Ok(Either::Only(only)),
        (None, Some(not)) => Ok(Either::Not(not)),
        (Some(_), Some(_)) => Err(invalid(format!("{name} and Not{name} exclude each other"))),
        (None, None) => Err(invalid(format!("Missing required field {name}"))),
    }
}

fn texts(list: Either<OneOrMany<String>>) -> Result<Either<Vec<String>>, PolicyError> {
    let list = match list {
        Either::Only(list) => Either::Only(list.into_vec()),
        Either::Not(list) => Either::Not(list.into_vec()),
    };
    match list.list().len() {
        1..=ITEMS_MAX => Ok(list),
        _ => Err(invalid("A list in a statement has between 1 and 512 entries")),
    }
}

fn principals(raw: RawPrincipal) -> Result<Vec<Principal>, PolicyError> {
    let named = match raw {
        RawPrincipal::Text(text) if text == "*" => return Ok(vec![Principal::Everybody]),
        RawPrincipal::Text(_) => return Err(invalid("Invalid policy syntax: a principal is \"*\" or {\"AWS\": …}")),
        RawPrincipal::Named(named) => named,
    };
    let mut principals = Vec::new();
    for (kind, names) in named {
        for name in names.into_vec() {
            principals.push(match kind.as_str() {
                "AWS" if name == "*" => Principal::Everybody,
                "AWS" => Principal::User(user_of_arn(&name).ok_or_else(|| invalid("Invalid principal in policy"))?),
                "CanonicalUser" => Principal::User(name),
                "Service" | "Federated" => Principal::Other,
                _ => return Err(invalid("Invalid principal in policy")),
            });
        }
    }
    match principals.len() {
        1..=ITEMS_MAX => Ok(principals),
        _ => Err(invalid("Invalid principal in policy")),
    }
}

/// `arn:aws:iam::ACCOUNT:root`, `arn:aws:iam::ACCOUNT:user/NAME`, `NAME`: the user meant. A user is an account of its own here.
fn user_of_arn(arn: &str) -> Option<String> {
    let Some(rest) = arn.strip_prefix("arn:") else {
        return (!arn.is_empty() && !arn.contains(':')).then(|| arn.to_owned());
    };
    let mut fields = rest.splitn(5, ':');
    let (_partition, service, _region) = (fields.next()?, fields.next()?, fields.next()?);
    let (account, name) = (fields.next()?, fields.next()?);
    if service != "iam" && service != "sts" {
        return None;
    }
    match name.split_once('/') {
        None if name == "root" && !account.is_empty() => Some(account.to_owned()),
        Some(("user", path)) => path.rsplit('/').next().filter(|name| !name.is_empty()).map(str::to_owned),
        Some(("role" | "assumed-role", path)) => Some(path.to_owned()),
        _ => None,
    }
}

fn is_action(action: &str) -> bool {
    action == "*" || action.to_ascii_lowercase().strip_prefix("s3:").is_some_and(|name| !name.is_empty())
}

fn is_within(resource: &str, bucket: &str) -> bool {
    let Some(name) = resource.strip_prefix(ARN) else { return false };
    matches(name.split('/').next().unwrap_or_default(), bucket)
}

/// A pattern with its variables replaced by what the request has; a variable without a value matches nothing.
fn filled(pattern: &str, ask: &Ask<'_>) -> String {
    if !pattern.contains("${") {
        return pattern.to_owned();
    }
    let mut filled = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once("${") {
        filled.push_str(before);
        let Some((name, behind)) = after.split_once('}') else {
            filled.push_str("${");
            rest = after;
            continue;
        };
        match (name, ask.user) {
            ("*" | "?" | "$", _) => filled.push_str(name),
            ("aws:username" | "aws:userid", Some(user)) => filled.push_str(user),
            _ => filled
                .push_str(&(ask.context)(&name.to_ascii_lowercase()).and_then(|v| v.into_iter().next()).unwrap_or("\0".into())),
        }
        rest = behind;
    }
    filled.push_str(rest);
    filled
}

/// Whether `text` fits `pattern`: `*` stands for any characters, `?` for one. Linear in practice, quadratic at worst.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut seen) = (0, 0);
    // where the last star was, and how much of the text it has swallowed
    let mut star: Option<(usize, usize)> = None;
    while seen < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(&wanted) if wanted == '?' || wanted == text[seen] => {
                at += 1;
                seen += 1;
            }
            _ => {
                let Some((star_at, swallowed)) = star else { return false };
                star = Some((star_at, swallowed + 1));
                at = star_at + 1;
                seen = swallowed + 1;
            }
        }
    }
    pattern[at..].iter().all(|&left| left == '*')
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
