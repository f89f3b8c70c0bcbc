//! Lengths in bytes as people write them: `500GiB`, `20GB`, `4096`.
//!
//! Never: guess between 1000 and 1024 (`G` alone is refused), floating point. Limits: u64 bytes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A length in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ByteLen(pub u64);

/// A text that is no length.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a length; write a whole number and a unit, such as 500GiB, 20GB or 4096")]
pub struct ByteLenError(String);

const UNITS: [(&str, u64); 11] = [
    ("PiB", 1 << 50),
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("PB", 1_000_000_000_000_000),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

impl FromStr for ByteLen {
    type Err = ByteLenError;
    fn from_str(text: &str) -> Result<Self, ByteLenError> {
        let wrong = || ByteLenError(text.chars().take(60).collect());
        let digits_len = text.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, unit) = text.split_at(digits_len);
        let number: u64 = digits.parse().map_err(|_| wrong())?;
        let unit = unit.trim_start();
        let factor = match unit {
            "" => 1,
            _ => UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or_else(wrong)?.1,
        };
        number.checked_mul(factor).map(ByteLen).ok_or_else(wrong)
    }
}

/// Exact: the largest unit of which this is a whole number.
impl fmt::Display for ByteLen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) = UNITS
            .iter()
            .filter(|(_, factor)| self.0 != 0 && self.0.is_multiple_of(*factor))
            .max_by_key(|(_, factor)| *factor)
            .unwrap_or(&("B", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

/// For people: one digit after the point, rounded down.
pub fn rounded(len: u64) -> String {
    match UNITS.iter().take(5).find(|(_, factor)| len >= *factor) {
        Some((unit, factor)) => format!("{}.{} {unit}", len / factor, (len % factor) * 10 / factor),
        None => format!("{len} B"),
    }
}

impl Serialize for ByteLen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum TextOrNumber {
    Number(u64),
    Text(String),
}

impl<'de> Deserialize<'de> for ByteLen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match TextOrNumber::deserialize(deserializer)? {
            TextOrNumber::Number(number) => Ok(ByteLen(number)),
            TextOrNumber::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_exactly_or_refused() {
        for (text, expected) in [
            ("0", Some(0)),
            ("4096", Some(4096)),
            ("500GiB", Some(500 << 30)),
            ("500 gib", Some(500 << 30)),
            ("20GB", Some(20_000_000_000)),
            ("1kB", Some(1000)),
            ("1KiB", Some(1024)),
            ("7B", Some(7)),
            ("16777215TiB", Some(16_777_215 << 40)),
            ("16777216TiB", None),
            ("", None),
            ("GiB", None),
            ("1G", None),
            ("1.5GiB", None),
            ("-1GiB", None),
            ("1GiBs", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(text.parse::<ByteLen>().ok(), expected.map(ByteLen), "{text}");
        }
    }

    #[test]
    fn a_length_survives_its_text_form() {
        for len in [0, 1, 999, 1000, 1024, 20_000_000_000, 500 << 30, (1 << 30) + 1, u64::MAX] {
            assert_eq!(ByteLen(len).to_string().parse(), Ok(ByteLen(len)), "{len}");
        }
        assert_eq!(ByteLen(500 << 30).to_string(), "500GiB");
        assert_eq!(ByteLen(20_000_000_000).to_string(), "20GB");
    }

    #[test]
    fn people_see_one_digit_after_the_point() {
        for (len, text) in [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (u64::MAX, "16383.9 PiB")] {
            assert_eq!(rounded(len), text);
        }
    }
}
