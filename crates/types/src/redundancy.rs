//! How many shards a segment has and how many of them give it back.
//!
//! Limits: 1 ≤ data ≤ total ≤ [`crate::limits::SHARDS_MAX`].

use serde::{Deserialize, Serialize};

use crate::limits::SHARDS_MAX;

/// `data` (k) of `total` (n) shards give a segment back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "RawRedundancy")]
pub struct Redundancy {
    data: u8,
    total: u8,
}

#[derive(Deserialize)]
struct RawRedundancy {
    data: u8,
    total: u8,
}

impl TryFrom<RawRedundancy> for Redundancy {
    type Error = RedundancyError;
    fn try_from(raw: RawRedundancy) -> Result<Self, RedundancyError> {
        Redundancy::new(raw.data.into(), raw.total.into())
    }
}

/// A pair that is no redundancy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("redundancy {data}/{total} is not possible: need 1 ≤ data ≤ total ≤ {SHARDS_MAX}")]
pub struct RedundancyError {
    data: usize,
    total: usize,
}

impl Redundancy {
    /// Checks and builds `data`/`total`.
    pub fn new(data: usize, total: usize) -> Result<Self, RedundancyError> {
        if data == 0 || data > total || total > SHARDS_MAX {
            return Err(RedundancyError { data, total });
        }
        Ok(Self { data: data as u8, total: total as u8 })
    }

    /// k: shards that suffice to read.
    pub fn data(self) -> usize {
        self.data.into()
    }

    /// n: shards that are stored.
    pub fn total(self) -> usize {
        self.total.into()
    }

    /// n − k: shards that may be missing.
    pub fn parity(self) -> usize {
        usize::from(self.total) - usize::from(self.data)
    }
}

impl std::fmt::Display for Redundancy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.data, self.total)
    }
}

impl std::str::FromStr for Redundancy {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a redundancy; write data/total, such as 4/8");
        let (data, total) = text.split_once('/').ok_or_else(wrong)?;
        let data = data.parse().map_err(|_| wrong())?;
        let total = total.parse().map_err(|_| wrong())?;
        Redundancy::new(data, total).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_possible_pairs_are_built() {
        for (data, total, possible) in [(0, 1, false), (1, 1, true), (4, 8, true), (8, 4, false), (29, 80, true), (1, 129, false)]
        {
            assert_eq!(Redundancy::new(data, total).is_ok(), possible, "{data}/{total}");
        }
        assert_eq!("4/8".parse::<Redundancy>().map(|r| (r.data(), r.total(), r.parity())), Ok((4, 8, 4)));
        assert!("4-8".parse::<Redundancy>().is_err());
    }
}
