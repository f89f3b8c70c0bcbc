//! Amount: credits in base units, exact.
//!
//! Never: floating point, or arithmetic that wraps. Limits: 2^128 − 1 base units.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Digits after the point of a credit.
pub const DECIMALS: usize = 18;
/// Base units of one credit.
const CREDIT: u128 = 10u128.pow(DECIMALS as u32);
/// Longest text that is read as an amount: 21 digits, a point, 18 digits and the unit.
const TEXT_LEN_MAX: usize = 64;

/// An amount of credits. Shown and read as decimal credits ("1.5 CRD"); in JSON a string of base units.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Amount(u128);

/// A text that is not an amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Not digits, one point and digits.
    #[error("not an amount: {0:?}; expected credits such as \"1.5 CRD\"")]
    Shape(String),
    /// More digits after the point than a credit has.
    #[error("{0:?} has more than {DECIMALS} digits after the point")]
    TooFine(String),
    /// Beyond 2^128 − 1 base units.
    #[error("{0:?} is more than an amount can hold")]
    TooLarge(String),
}

impl Amount {
    /// Nothing.
    pub const ZERO: Amount = Amount(0);
    /// One credit.
    pub const CREDIT: Amount = Amount(CREDIT);
    /// The largest amount.
    pub const MAX: Amount = Amount(u128::MAX);

    /// An amount of so many base units (10^−18 credits).
    pub const fn from_base_units(units: u128) -> Amount {
        Amount(units)
    }

    /// Whole credits.
    pub const fn from_credits(credits: u64) -> Amount {
        Amount(credits as u128 * CREDIT) // 2^64 · 10^18 < 2^124
    }

    /// Base units.
    pub const fn base_units(self) -> u128 {
        self.0
    }

    /// Whether this is nothing.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum, when it fits.
    pub fn plus(self, other: Amount) -> Option<Amount> {
        self.0.checked_add(other.0).map(Amount)
    }

    /// The difference, when `other` is not the larger.
    pub fn minus(self, other: Amount) -> Option<Amount> {
        self.0.checked_sub(other.0).map(Amount)
    }

    /// The product, when it fits.
    pub fn times(self, count: u64) -> Option<Amount> {
        self.0.checked_mul(u128::from(count)).map(Amount)
    }

    /// What is left after `other`, nothing when it is the larger.
    pub fn minus_or_zero(self, other: Amount) -> Amount {
        Amount(self.0.saturating_sub(other.0))
    }

    /// The sum of many, when it fits.
    pub fn sum(amounts: impl IntoIterator<Item = Amount>) -> Option<Amount> {
        amounts.into_iter().try_fold(Amount::ZERO, Amount::plus)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / CREDIT, self.0 % CREDIT);
        if rest == 0 {
            return write!(f, "{whole} CRD");
        }
        let digits = format!("{rest:018}");
        write!(f, "{whole}.{} CRD", digits.trim_end_matches('0'))
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Amount({self})")
    }
}

impl FromStr for Amount {
    type Err = AmountError;

    /// Reads credits, with or without the unit.
    fn from_str(text: &str) -> Result<Self, AmountError> {
        let shown = || text.chars().take(TEXT_LEN_MAX).collect::<String>();
        let number = text.strip_suffix("CRD").map_or(text, str::trim_end);
        let (whole, rest) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if text.len() > TEXT_LEN_MAX || !digits(whole) || !digits(rest) {
            return Err(AmountError::Shape(shown()));
        }
        if rest.len() > DECIMALS {
            return Err(AmountError::TooFine(shown()));
        }
        let rest: u128 = format!("{rest:0<18}").parse().expect("18 digits fit 128 bits");
        let units =
            whole.parse::<u128>().ok().and_then(|whole| whole.checked_mul(CREDIT)).and_then(|units| units.checked_add(rest));
        units.map(Amount).ok_or_else(|| AmountError::TooLarge(shown()))
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let shown =
            || serde::de::Error::custom(format!("not base units: {:?}", text.chars().take(TEXT_LEN_MAX).collect::<String>()));
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(shown());
        }
        text.parse().map(Amount).map_err(|_| shown())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amounts_are_shown_and_read_as_credits() {
        let cases = [
            ("0 CRD", 0),
            ("1 CRD", CREDIT),
            ("1.5 CRD", 3 * CREDIT / 2),
            ("0.000000000000000001 CRD", 1),
            ("340282366920938463463.374607431768211455 CRD", u128::MAX),
        ];
        for (text, units) in cases {
            assert_eq!(Amount(units).to_string(), text);
            assert_eq!(text.parse(), Ok(Amount(units)), "{text}");
            assert_eq!(text.trim_end_matches(" CRD").parse(), Ok(Amount(units)), "{text}");
        }
        assert_eq!("01.50CRD".parse(), Ok(Amount(3 * CREDIT / 2)));
    }

    #[test]
    fn other_texts_are_refused() {
        let shape = ["", "CRD", ".", "1.", ".5", "+1", "-1", "1e3", "1,5", "1.5.0", " 1", "1 CRD CRD", "1 ETH", "0x1", "１"];
        for text in shape {
            assert_eq!(text.parse::<Amount>(), Err(AmountError::Shape(text.into())));
        }
        let long = "9".repeat(65);
        assert!(matches!(long.parse::<Amount>(), Err(AmountError::Shape(_))));
        let fine = "1.0000000000000000001";
        assert_eq!(fine.parse::<Amount>(), Err(AmountError::TooFine(fine.into())));
        for text in ["340282366920938463463.374607431768211456", "340282366920938463464", &"9".repeat(60)] {
            assert_eq!(text.parse::<Amount>(), Err(AmountError::TooLarge(text.into())));
        }
    }

    #[test]
    fn arithmetic_is_checked() {
        assert_eq!(Amount::MAX.plus(Amount(1)), None);
        assert_eq!(Amount(1).minus(Amount(2)), None);
        assert_eq!(Amount(1).minus_or_zero(Amount(2)), Amount::ZERO);
        assert_eq!(Amount(1 << 100).times(1 << 40), None);
        assert_eq!(Amount::sum([Amount(1), Amount(2)]), Some(Amount(3)));
        assert_eq!(Amount::sum([Amount::MAX, Amount(2)]), None);
        assert_eq!(Amount::from_credits(u64::MAX).base_units(), u128::from(u64::MAX) * CREDIT);
    }

    #[test]
    fn json_is_a_string_of_base_units() {
        assert_eq!(serde_json::to_string(&Amount(CREDIT)).expect("JSON"), "\"1000000000000000000\"");
        for text in ["1", "\"+1\"", "\"-1\"", "\"\"", "\"1.5\"", "\"340282366920938463463374607431768211456\""] {
            assert!(serde_json::from_str::<Amount>(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_amount_survives_its_texts(units: u128) {
            let amount = Amount(units);
            prop_assert_eq!(amount.to_string().parse(), Ok(amount));
            let json = serde_json::to_string(&amount).expect("JSON");
            prop_assert_eq!(serde_json::from_str::<Amount>(&json).expect("its own JSON"), amount);
        }

        #[test]
        fn plus_and_minus_undo_each_other(a: u128, b: u128) {
            if let Some(sum) = Amount(a).plus(Amount(b)) {
                prop_assert_eq!(sum.minus(Amount(b)), Some(Amount(a)));
            } else {
                prop_assert!(a > u128::MAX - b);
            }
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,80}") {
            let _ = text.parse::<Amount>();
        }
    }
}
