//! Spans of time as people write them: `30s`, `5m`, `1h`, `7d`.
//!
//! Never: a number without a unit. Limits: u64 milliseconds.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::text::text_in_serde;

/// A span of time, to the millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub u64);

/// A text that is no span.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a span of time; write a whole number and a unit, such as 30s, 5m, 1h or 7d")]
pub struct SpanError(String);

const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl Span {
    /// As the standard library has it.
    pub fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl FromStr for Span {
    type Err = SpanError;
    fn from_str(text: &str) -> Result<Self, SpanError> {
        let wrong = || SpanError(text.chars().take(60).collect());
        let digits_len = text.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, unit) = text.split_at(digits_len);
        let number: u64 = digits.parse().map_err(|_| wrong())?;
        let factor = UNITS.iter().find(|(name, _)| *name == unit.trim_start()).ok_or_else(wrong)?.1;
        number.checked_mul(factor).map(Span).ok_or_else(wrong)
    }
}

/// Exact: the largest unit of which this is a whole number.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |factor: u64| self.0 != 0 && self.0.is_multiple_of(factor);
        let (unit, factor) = UNITS.iter().find(|(_, factor)| whole(*factor)).unwrap_or(&("ms", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

text_in_serde!(Span);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_whole_numbers_with_a_unit() {
        for (text, ms) in [("30s", 30_000), ("5m", 300_000), ("1h", 3_600_000), ("7d", 604_800_000), ("250ms", 250), ("0s", 0)] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span, Span(ms), "{text}");
            assert_eq!(span.to_string().parse(), Ok(span));
        }
        for text in ["", "5", "h", "1.5h", "-1s", "1w", "99999999999999999999s", "18446744073709551615d"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}
