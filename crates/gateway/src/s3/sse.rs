//! Server-side encryption as requests ask for it. Every object is sealed with the account's own keys whatever they ask; a customer's key
//! is a second lock: its SHA-256 is kept, and the object is given back only to who shows the key.
//!
//! Never: a customer's key kept or logged. Limits: AES256 alone; no KMS.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::Md5;
use s3s::dto::ServerSideEncryption;
use s3s::{S3Error, S3ErrorCode, S3Result};
use sha2::{Digest, Sha256};

use super::Mapper;
use super::errors::{refused, s3_error};
use crate::objects::Bucket;
use crate::objects::api::{Encryption, UploadName};
use crate::rules::names;

const AES256: &str = "AES256";

/// A customer's key as a request shows it: SHA-256, and MD5 in base64 to be echoed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CustomerKey {
    pub(super) hash: [u8; 32],
    pub(super) md5: String,
}

fn invalid(message: &str) -> S3Error {
    refused(S3ErrorCode::InvalidArgument, message.to_owned())
}

impl CustomerKey {
    /// Reads the three headers of a customer's key; `None` without them.
    ///
    /// # Errors
    /// InvalidArgument for some but not all of them, another algorithm, a key that is not 256 bits or does not fit its MD5.
    pub(super) fn of(algorithm: Option<&str>, key: Option<&str>, md5: Option<&str>) -> S3Result<Option<CustomerKey>> {
        let (algorithm, key, md5) = match (algorithm, key, md5) {
            (None, None, None) => return Ok(None),
            (Some(algorithm), Some(key), Some(md5)) => (algorithm, key, md5),
            (None, ..) => {
                return Err(invalid(
                    "Requests specifying Server Side Encryption with Customer provided keys must provide a valid encryption algorithm.",
                ));
            }
            (_, None, _) => {
                return Err(invalid(
                    "Requests specifying Server Side Encryption with Customer provided keys must provide an appropriate secret key.",
                ));
            }
            (.., None) => {
                return Err(invalid(
                    "Requests specifying Server Side Encryption with Customer provided keys must provide the client calculated MD5 of the secret key.",
                ));
            }
        };
        if algorithm != AES256 {
            return Err(invalid("The requested encryption algorithm is not valid, must be AES256."));
        }
        let bytes = BASE64.decode(key).ok().filter(|bytes| bytes.len() == 32);
        let bytes = bytes.ok_or_else(|| invalid("The secret key was invalid for the specified algorithm."))?;
        if BASE64.decode(md5).ok().as_deref() != Some(&Md5::digest(&bytes)[..]) {
            return Err(invalid("The calculated MD5 hash of the key did not match the hash that was provided."));
        }
        Ok(Some(CustomerKey { hash: Sha256::digest(&bytes).into(), md5: md5.to_owned() }))
    }
}

/// Reads the headers of a customer's key off an input; inputs name them alike.
macro_rules! customer_key {
    ($input:expr) => {
        $crate::s3::sse::CustomerKey::of(
            $input.sse_customer_algorithm.as_deref(),
            $input.sse_customer_key.as_deref(),
            $input.sse_customer_key_md5.as_deref(),
        )
    };
}
pub(super) use customer_key;

/// Writes what an answer says of encryption into an output; outputs name the fields alike.
macro_rules! show_encryption {
    ($output:expr, $encryption:expr, $key:expr) => {{
        if matches!($encryption, $crate::objects::api::Encryption::Named) {
            $output.server_side_encryption = Some(ServerSideEncryption::from_static(ServerSideEncryption::AES256));
        }
        if let Some(key) = &$key {
            $output.sse_customer_algorithm = Some("AES256".to_owned());
            $output.sse_customer_key_md5 = Some(key.md5.clone());
        }
    }};
}
pub(super) use show_encryption;

/// Encryption of a write: what it asks for, else the bucket's default.
///
/// # Errors
/// InvalidArgument for two kinds at once.
pub(super) fn of_write(bucket: &Bucket, asked: Option<&ServerSideEncryption>, key: Option<&CustomerKey>) -> S3Result<Encryption> {
    match (asked, key) {
        (Some(_), Some(_)) => {
            Err(invalid("Server Side Encryption with Customer provided key is incompatible with the encryption method specified"))
        }
        (None, Some(key)) => Ok(Encryption::Customer(key.hash)),
        (Some(_), None) => Ok(Encryption::Named),
        (None, None) if bucket.config(names::ENCRYPTION).is_some() => Ok(Encryption::Named),
        (None, None) => Ok(Encryption::Own),
    }
}

/// Whether who shows `key` may have an object's bytes.
///
/// # Errors
/// InvalidRequest without the key or with one that is not asked for; AccessDenied for another key.
pub(super) fn check_read(encryption: Encryption, key: Option<&CustomerKey>) -> S3Result<()> {
    match (encryption, key) {
        (Encryption::Customer(hash), Some(key)) if key.hash == hash => Ok(()),
        (Encryption::Customer(_), Some(_)) => {
            Err(refused(S3ErrorCode::InvalidRequest, "The provided encryption key is not the one the object was stored with."))
        }
        (Encryption::Customer(_), None) => Err(refused(
            S3ErrorCode::InvalidRequest,
            "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.",
        )),
        (_, Some(_)) => Err(refused(S3ErrorCode::InvalidRequest, "The encryption parameters are not applicable to this object.")),
        (_, None) => Ok(()),
    }
}

/// Whether the parts of an upload may be sent with `key`: with the one it was begun with. Says how it was begun.
///
/// # Errors
/// InvalidRequest; NoSuchUpload.
pub(super) async fn check_upload(mapper: &Mapper, upload: &UploadName, key: Option<&CustomerKey>) -> S3Result<Encryption> {
    let begun = mapper.objects.head_upload(upload).await.map_err(s3_error)?;
    check_read(begun.control.encryption, key)?;
    Ok(begun.control.encryption)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "pO3upElrwuEXSoFwCfnZPdSsmt/xWeFa0N9KgDijwVs=";
    const MD5: &str = "DWygnHRtgiJ77HCm+1rvHw==";

    #[test]
    fn a_customers_key_is_read_whole_or_refused() {
        let key = CustomerKey::of(Some("AES256"), Some(KEY), Some(MD5)).expect("good").expect("a key");
        assert_eq!(key.md5, MD5);
        assert_eq!(CustomerKey::of(None, None, None).expect("none"), None);
        for (algorithm, key, md5) in [
            (Some("AES256"), Some(KEY), None),
            (Some("AES256"), None, Some(MD5)),
            (None, Some(KEY), Some(MD5)),
            (Some("AES128"), Some(KEY), Some(MD5)),
            (Some("AES256"), Some("AAAA"), Some(MD5)),
            (Some("AES256"), Some(KEY), Some("AAAAAAAAAAAAAAAAAAAAAA==")),
        ] {
            assert!(CustomerKey::of(algorithm, key, md5).is_err(), "{algorithm:?} {key:?} {md5:?}");
        }
    }

    #[test]
    fn only_the_same_key_opens_an_object() {
        let key = |hash| CustomerKey { hash: [hash; 32], md5: String::new() };
        for (encryption, shown, opens) in [
            (Encryption::Own, None, true),
            (Encryption::Own, Some(key(1)), false),
            (Encryption::Named, None, true),
            (Encryption::Customer([1; 32]), Some(key(1)), true),
            (Encryption::Customer([1; 32]), Some(key(2)), false),
            (Encryption::Customer([1; 32]), None, false),
        ] {
            assert_eq!(check_read(encryption, shown.as_ref()).is_ok(), opens, "{encryption:?} {shown:?}");
        }
    }
}
