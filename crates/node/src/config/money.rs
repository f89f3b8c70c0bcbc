//! What a provider asks and a gateway may spend: prices by the TiB, as people compare them, to the base unit.
//!
//! Never: floating point. Limits: prices are kept by the GiB, so by the TiB they are multiples of 1,024 base units.

use std::fmt;
use std::str::FromStr;

use cairn_types::Amount;

use crate::text::text_in_serde;

const GIB_PER_TIB: u128 = 1024;

macro_rules! credits {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name(pub Amount);

        impl FromStr for $name {
            type Err = <Amount as FromStr>::Err;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        text_in_serde!($name);
    };
}

credits!(
    /// Credits as people write them; elsewhere in JSON an amount is a number of base units.
    Credits
);
credits!(
    /// A price by the TiB, such as `4`: credits for a TiB and month stored, or for a TiB read.
    PerTib
);

impl PerTib {
    /// The same by the GiB, rounded down to the base unit.
    pub fn per_gib(self) -> Amount {
        Amount::from_base_units(self.0.base_units() / GIB_PER_TIB)
    }
}

/// Most that may be spent: `100/month`, or `none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget(pub Option<Amount>);

/// A text that is no budget.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no budget; write credits for a month, such as 100/month, or none")]
pub struct BudgetError(String);

impl FromStr for Budget {
    type Err = BudgetError;
    fn from_str(text: &str) -> Result<Self, BudgetError> {
        if text == "none" {
            return Ok(Budget(None));
        }
        let wrong = || BudgetError(text.chars().take(60).collect());
        let credits = text.strip_suffix("/month").ok_or_else(wrong)?;
        credits.trim().parse().map(|amount| Budget(Some(amount))).map_err(|_| wrong())
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(amount) => write!(f, "{amount}/month"),
            None => f.write_str("none"),
        }
    }
}

text_in_serde!(Budget);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_by_the_month() {
        for (text, budget) in [
            ("100/month", Some(Budget(Some(Amount::from_credits(100))))),
            ("0.5/month", Some(Budget(Some(Amount::from_base_units(500_000_000_000_000_000))))),
            ("none", Some(Budget(None))),
            ("100", None),
            ("/month", None),
            ("-1/month", None),
            ("100/year", None),
        ] {
            assert_eq!(text.parse().ok(), budget, "{text}");
        }
        let budget = Budget(Some(Amount::from_credits(100)));
        assert_eq!(budget.to_string().parse(), Ok(budget));
    }

    #[test]
    fn prices_by_the_tib_are_exact_by_the_gib() {
        let price: PerTib = "4".parse().unwrap();
        assert_eq!(price.per_gib(), Amount::from_base_units(3_906_250_000_000_000));
        assert_eq!(price.to_string().parse(), Ok(price));
    }
}
