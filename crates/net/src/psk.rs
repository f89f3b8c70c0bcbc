//! Key files of private networks, in the format other libp2p programs share: `/key/swarm/psk/1.0.0/`, `/base16/`, 64 hex digits.
//!
//! Never: the key in an error or a log. Limits: [`FILE_LEN_MAX`].

use std::path::Path;

/// Longest key file that is read.
pub const FILE_LEN_MAX: usize = 1024;
const HEAD: &str = "/key/swarm/psk/1.0.0/";
const ENCODING: &str = "/base16/";

/// A text or file that is no key of a private network.
#[derive(Debug, thiserror::Error)]
pub enum PskError {
    /// The file cannot be read.
    #[error("cannot read the network key {path}: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// A line is not what the format says.
    #[error("network key: {0}")]
    Malformed(&'static str),
}

/// Reads the text of a key file.
///
/// # Errors
/// [`PskError::Malformed`] says which line is wrong.
pub fn parse(text: &str) -> Result<[u8; 32], PskError> {
    if text.len() > FILE_LEN_MAX {
        return Err(PskError::Malformed("longer than a key file can be"));
    }
    let mut lines = text.lines().map(str::trim_end);
    if lines.next() != Some(HEAD) {
        return Err(PskError::Malformed("line 1 must be /key/swarm/psk/1.0.0/"));
    }
    if lines.next() != Some(ENCODING) {
        return Err(PskError::Malformed("line 2 must be /base16/; other encodings are not read"));
    }
    let mut key = [0u8; 32];
    let digits = lines.next().unwrap_or_default();
    hex::decode_to_slice(digits, &mut key).map_err(|_| PskError::Malformed("line 3 must be 64 hex digits"))?;
    if lines.any(|line| !line.is_empty()) {
        return Err(PskError::Malformed("nothing may follow line 3"));
    }
    Ok(key)
}

/// Reads a key file.
///
/// # Errors
/// [`PskError`].
pub fn read(path: &Path) -> Result<[u8; 32], PskError> {
    let unreadable = |reason: String| PskError::Unreadable { path: path.display().to_string(), reason };
    let len = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
    if len > FILE_LEN_MAX as u64 {
        return Err(PskError::Malformed("longer than a key file can be"));
    }
    parse(&std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?)
}

/// The text of the key file for 32 bytes drawn at random.
pub fn generate(random: [u8; 32]) -> String {
    format!("{HEAD}\n{ENCODING}\n{}\n", hex::encode(random))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_file_reads_back() {
        let key = [7u8; 32];
        assert_eq!(parse(&generate(key)).expect("its own format"), key);
        assert_eq!(parse(generate(key).trim_end()).expect("no last newline"), key);
        assert_eq!(parse(&generate(key).replace('\n', "\r\n")).expect("other line ends"), key);
    }

    #[test]
    fn other_files_are_refused() {
        let good = generate([7; 32]);
        let cases = [
            String::new(),
            good.replace("1.0.0", "2.0.0"),
            good.replace("base16", "base64"),
            good.replace("0707", "07"),
            good.replace("0707", "07zz"),
            format!("{good}more\n"),
            "x".repeat(FILE_LEN_MAX + 1),
        ];
        for text in cases {
            assert!(parse(&text).is_err(), "{text}");
        }
        assert!(matches!(read(Path::new("/nonexistent/swarm.key")), Err(PskError::Unreadable { .. })));
    }
}
