//! Conditions of a policy: operators over the values that a request has for a key.
//!
//! Source: the IAM reference, "Condition operators". Never: a condition that holds because it was not understood.
//! Limits: those of the policy.

use std::net::IpAddr;

use super::policy::matches;

/// What two values are compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Test {
    Equals,
    EqualsIgnoreCase,
    Like,
    Number(Order),
    Date(Order),
    Bool,
    Address,
    /// Holds when the key is absent (`true`) or present (`false`).
    Null,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Order {
    fn holds<T: PartialOrd>(self, seen: T, wanted: T) -> bool {
        match self {
            Order::Equal => seen == wanted,
            Order::Less => seen < wanted,
            Order::LessOrEqual => seen <= wanted,
            Order::Greater => seen > wanted,
            Order::GreaterOrEqual => seen >= wanted,
        }
    }
}

/// How several values of a request count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quantity {
    /// The usual: one of them fits.
    One,
    /// `ForAnyValue:`: there is one that fits.
    Any,
    /// `ForAllValues:`: there is none that does not fit.
    All,
}

/// A condition operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operator {
    test: Test,
    negated: bool,
    quantity: Quantity,
    if_exists: bool,
}

impl Operator {
    /// Reads its name, as `ForAllValues:StringNotLikeIfExists`.
    pub fn parse(name: &str) -> Option<Operator> {
        let (quantity, name) = match name.split_once(':') {
            None => (Quantity::One, name),
            Some((quantity, name)) if quantity.eq_ignore_ascii_case("ForAnyValue") => (Quantity::Any, name),
            Some((quantity, name)) if quantity.eq_ignore_ascii_case("ForAllValues") => (Quantity::All, name),
            Some(_) => return None,
        };
        let name = name.to_ascii_lowercase();
        let (name, if_exists) = match name.strip_suffix("ifexists") {
            Some(name) => (name, true),
            None => (name.as_str(), false),
        };
        let order = |kind: &str| match name.strip_prefix(kind)? {
            "equals" => Some((Order::Equal, false)),
            "notequals" => Some((Order::Equal, true)),
            "lessthan" => Some((Order::Less, false)),
            "lessthanequals" => Some((Order::LessOrEqual, false)),
            "greaterthan" => Some((Order::Greater, false)),
            "greaterthanequals" => Some((Order::GreaterOrEqual, false)),
            _ => None,
        };
        let (test, negated) = match name {
            "stringequals" | "binaryequals" => (Test::Equals, false),
            "stringnotequals" => (Test::Equals, true),
            "stringequalsignorecase" => (Test::EqualsIgnoreCase, false),
            "stringnotequalsignorecase" => (Test::EqualsIgnoreCase, true),
            "stringlike" | "arnlike" | "arnequals" => (Test::Like, false),
            "stringnotlike" | "arnnotlike" | "arnnotequals" => (Test::Like, true),
            "bool" => (Test::Bool, false),
            "ipaddress" => (Test::Address, false),
            "notipaddress" => (Test::Address, true),
            "null" if !if_exists => (Test::Null, false),
            _ => match (order("numeric"), order("date")) {
                (Some((order, negated)), _) => (Test::Number(order), negated),
                (_, Some((order, negated))) => (Test::Date(order), negated),
                _ => return None,
            },
        };
        Some(Operator { test, negated, quantity, if_exists })
    }
}

/// One condition: an operator, a key and the values it is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    operator: Operator,
    key: String,
    values: Vec<String>,
}

impl Block {
    /// A condition; the first value that its operator cannot compare comes back as the error.
    pub fn new(operator: Operator, key: &str, values: Vec<String>) -> Result<Block, String> {
        let good = |value: &String| match operator.test {
            Test::Number(_) => value.parse::<f64>().is_ok(),
            Test::Date(_) => date(value).is_some(),
            Test::Bool | Test::Null => matches!(value.to_ascii_lowercase().as_str(), "true" | "false"),
            Test::Address => network(value).is_some(),
            Test::Equals | Test::EqualsIgnoreCase | Test::Like => true,
        };
        match values.iter().find(|value| !good(value)) {
            Some(wrong) => Err(wrong.clone()),
            None => Ok(Block { operator, key: key_name(key), values }),
        }
    }

    /// The key it looks at, in lower case but for the name of a tag.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Whether it holds for the values that `context` gives.
    pub fn holds(&self, context: &dyn Fn(&str) -> Option<Vec<String>>) -> bool {
        let Operator { test, negated, quantity, if_exists } = self.operator;
        let seen = context(&self.key).filter(|seen| !seen.is_empty());
        if test == Test::Null {
            return self.values.iter().any(|value| value.eq_ignore_ascii_case("true") == seen.is_none());
        }
        let Some(seen) = seen else { return if_exists || negated || quantity == Quantity::All };
        let fits = |seen: &String| self.values.iter().any(|wanted| compare(test, seen, wanted)) != negated;
        match quantity {
            Quantity::All => seen.iter().all(fits),
            Quantity::One | Quantity::Any => seen.iter().any(fits),
        }
    }

    /// Whether it narrows who may ask: then a policy for everybody is not public (as AWS defines it).
    pub fn narrows_who(&self) -> bool {
        let fixed = || self.values.iter().all(|value| !value.contains(['*', '?', '$']));
        match self.key.as_str() {
            _ if self.operator.negated || self.operator.if_exists || self.operator.test == Test::Null => false,
            "aws:sourceip" => self.values.iter().all(|value| network(value).is_some_and(|(_, bits)| bits > 0)),
            "aws:principalorgid"
            | "aws:principalarn"
            | "aws:sourcearn"
            | "aws:sourceaccount"
            | "aws:sourceowner"
            | "aws:sourcevpc"
            | "aws:sourcevpce"
            | "aws:userid"
            | "aws:principalaccount"
            | "s3:dataaccesspointarn"
            | "s3:x-amz-server-side-encryption-aws-kms-key-id" => fixed(),
            _ => false,
        }
    }
}

/// Key names are compared in lower case, but for the name of a tag behind the slash.
fn key_name(key: &str) -> String {
    match key.split_once('/') {
        Some((name, tag)) => format!("{}/{tag}", name.to_ascii_lowercase()),
        None => key.to_ascii_lowercase(),
    }
}

fn compare(test: Test, seen: &str, wanted: &str) -> bool {
    match test {
        Test::Equals => seen == wanted,
        Test::EqualsIgnoreCase => seen.eq_ignore_ascii_case(wanted),
        Test::Like => matches(wanted, seen),
        Test::Bool => seen.eq_ignore_ascii_case(wanted),
        Test::Number(order) => match (seen.parse::<f64>(), wanted.parse::<f64>()) {
            (Ok(seen), Ok(wanted)) => order.holds(seen, wanted),
            _ => false,
        },
        Test::Date(order) => match (date(seen), date(wanted)) {
            (Some(seen), Some(wanted)) => order.holds(seen, wanted),
            _ => false,
        },
        Test::Address => match (seen.parse::<IpAddr>(), network(wanted)) {
            (Ok(seen), Some((network, bits))) => within(seen, network, bits),
            _ => false,
        },
        Test::Null => false,
    }
}

/// Seconds since 1970 of an ISO 8601 date, or of a number of seconds.
fn date(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.parse() {
        return Some(seconds);
    }
    let full = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    let format = &time::format_description::well_known::Rfc3339;
    time::OffsetDateTime::parse(&full, format).ok().map(time::OffsetDateTime::unix_timestamp)
}

/// `a.b.c.d/n` or an IPv6 network; without `/n` one address.
fn network(text: &str) -> Option<(IpAddr, u32)> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let max = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.map_or(Some(max), |bits| bits.parse().ok())?;
    (bits <= max).then_some((address, bits))
}

fn within(seen: IpAddr, network: IpAddr, bits: u32) -> bool {
    let same = |seen: u128, network: u128, len: u32| bits == 0 || (seen ^ network) >> (len - bits) == 0;
    match (seen.to_canonical(), network) {
        (IpAddr::V4(seen), IpAddr::V4(network)) => same(u32::from(seen).into(), u32::from(network).into(), 32),
        (IpAddr::V6(seen), IpAddr::V6(network)) => same(seen.into(), network.into(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(operator: &str, values: &[&str], seen: Option<&[&str]>) -> bool {
        let operator = Operator::parse(operator).expect("an operator");
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        let block = Block::new(operator, "s3:Prefix", values).expect("good values");
        let seen = seen.map(|seen| seen.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>());
        block.holds(&|key| seen.clone().filter(|_| key == "s3:prefix"))
    }

    #[test]
    fn operators_compare_as_they_are_called() {
        for (operator, wanted, seen, expected) in [
            ("StringEquals", "a", "a", true),
            ("StringEquals", "a", "A", false),
            ("StringNotEquals", "a", "b", true),
            ("StringEqualsIgnoreCase", "a", "A", true),
            ("StringLike", "a*c?", "abbcd", true),
            ("StringNotLike", "a*", "b", true),
            ("NumericLessThan", "10", "9", true),
            ("NumericLessThan", "10", "9x", false),
            ("NumericGreaterThanEquals", "10", "10", true),
            ("DateLessThan", "2026-01-01T00:00:00Z", "2025-12-31T23:59:59Z", true),
            ("DateGreaterThan", "2026-01-01", "2025-12-31T23:59:59Z", false),
            ("Bool", "true", "True", true),
            ("IpAddress", "10.0.0.0/8", "10.9.8.7", true),
            ("IpAddress", "10.0.0.0/8", "11.0.0.1", false),
            ("IpAddress", "0.0.0.0/0", "11.0.0.1", true),
            ("NotIpAddress", "10.0.0.0/8", "11.0.0.1", true),
            ("IpAddress", "2001:db8::/32", "2001:db8::1", true),
            ("ArnLike", "arn:aws:s3:::b*", "arn:aws:s3:::bucket", true),
        ] {
            assert_eq!(holds(operator, &[wanted], Some(&[seen])), expected, "{operator} {wanted} {seen}");
        }
    }

    #[test]
    fn an_absent_key_fails_unless_the_operator_says_otherwise() {
        for (operator, value, expected) in [
            ("StringEquals", "a", false),
            ("StringNotEquals", "a", true),
            ("StringEqualsIfExists", "a", true),
            ("Null", "true", true),
            ("Null", "false", false),
            ("ForAllValues:StringEquals", "a", true),
            ("ForAnyValue:StringEquals", "a", false),
        ] {
            assert_eq!(holds(operator, &[value], None), expected, "{operator} {value}");
        }
        assert!(!holds("Null", &["true"], Some(&["x"])));
    }

    #[test]
    fn sets_are_compared_by_their_quantifier() {
        for (operator, seen, expected) in [
            ("ForAllValues:StringEquals", &["a", "b"][..], true),
            ("ForAllValues:StringEquals", &["a", "c"], false),
            ("ForAnyValue:StringEquals", &["c", "b"], true),
            ("ForAnyValue:StringEquals", &["c"], false),
        ] {
            assert_eq!(holds(operator, &["a", "b"], Some(seen)), expected, "{operator} {seen:?}");
        }
    }

    #[test]
    fn what_cannot_be_compared_is_refused_when_written() {
        for (operator, value) in
            [("NumericEquals", "x"), ("DateEquals", "yesterday"), ("Bool", "yes"), ("IpAddress", "10.0.0.0/33"), ("Null", "no")]
        {
            let operator = Operator::parse(operator).expect("an operator");
            assert_eq!(Block::new(operator, "k", vec![value.into()]), Err(value.to_owned()));
        }
        for name in ["StringEqual", "ForSome:StringEquals", "", "NullIfExists", "Numeric"] {
            assert_eq!(Operator::parse(name), None, "{name}");
        }
    }
}
