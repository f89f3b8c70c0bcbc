//! Doors for the fuzz targets in `tests/fuzz`.
//!
//! Never: in a build without `--cfg fuzzing`.

use cairn_market::journal::{Entry, Turnover};
use cairn_types::{NodeId, UnixMs, UnixSecs};

use super::row::{
    self, AccountRow, AgreementRow, ChannelRow, CommitmentRow, PayoutRow, ReleaseRow, Row, account_key, account_of,
};

/// Reads a row of one of eleven kinds, or the name of an account; what is read is written again as it was.
pub fn row(kind: u8, bytes: &[u8]) {
    match kind % 12 {
        0 => same::<NodeId>(bytes),
        1 => same::<UnixSecs>(bytes),
        2 => same::<UnixMs>(bytes),
        3 => same::<AgreementRow>(bytes),
        4 => same::<AccountRow>(bytes),
        5 => same::<ChannelRow>(bytes),
        6 => same::<ReleaseRow>(bytes),
        7 => same::<CommitmentRow>(bytes),
        8 => same::<PayoutRow>(bytes),
        9 => same::<Entry>(bytes),
        10 => same::<Turnover>(bytes),
        _ => {
            if let Some((key, account)) = bytes.try_into().ok().and_then(|key| Some((key, account_of(key)?))) {
                assert_eq!(account_key(account), *key);
            }
        }
    }
}

fn same<R: Row>(bytes: &[u8]) {
    if let Ok(read) = row::decode::<R>(bytes) {
        assert_eq!(row::encode(&read), bytes);
    }
}
