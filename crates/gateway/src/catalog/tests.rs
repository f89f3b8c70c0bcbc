//! The catalog on a real disk: changes are atomic, serial, shared in syncs, and there after a restart.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use cairn_types::NodeId;

use super::record::KeyRecord;
use super::{Catalog, OpenError, Table};
use crate::objects::error::ObjectError;

const NODE: NodeId = NodeId([1; 32]);

/// Opens; waits a moment for an earlier opening to let go.
async fn open(dir: &Path) -> Catalog {
    for _ in 0..500 {
        match Catalog::open(dir, NODE) {
            Err(OpenError::Database { .. }) => tokio::time::sleep(Duration::from_millis(10)).await,
            opened => return opened.expect("a catalog"),
        }
    }
    panic!("the catalog stays locked");
}

fn put(catalog: &Catalog, row: &str, value: &str) -> impl Future<Output = Result<(), ObjectError>> + use<> {
    let (catalog, row, value) = (catalog.clone(), row.as_bytes().to_vec(), value.as_bytes().to_vec());
    async move {
        catalog
            .change(move |txn| {
                txn.put(Table::Keys, row, value);
                Ok(())
            })
            .await
    }
}

fn rows(catalog: &Catalog, prefix: &str) -> Vec<(String, String)> {
    let text = |bytes: Box<[u8]>| String::from_utf8(bytes.into()).expect("text");
    let rows = catalog.db().scan(Table::Keys, prefix.into(), prefix.as_bytes());
    rows.map(|row| row.map(|(row, value)| (text(row), text(value))).expect("readable")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_opening_is_counted_and_rows_stay() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let first = open(dir.path()).await.writer_epoch();
    assert!(first > 1_700_000_000, "a catalog that begins anew is later than the one before it");
    for epoch in 1..=3u64 {
        let catalog = open(dir.path()).await;
        assert_eq!((catalog.writer_epoch(), catalog.born_epoch()), (first + epoch, first));
        assert_eq!(rows(&catalog, "k").len() as u64, epoch - 1);
        put(&catalog, &format!("k{epoch}"), "v").await.expect("written");
        let second = Catalog::open(dir.path(), NODE);
        assert!(matches!(second, Err(OpenError::Database { .. })), "two writers at once");
    }
    let mode = std::fs::metadata(dir.path().join("catalog")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let mut other = Catalog::open(dir.path(), NodeId([2; 32]));
    for _ in 0..500 {
        if !matches!(other, Err(OpenError::Database { .. })) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        other = Catalog::open(dir.path(), NodeId([2; 32]));
    }
    assert!(matches!(other, Err(OpenError::OtherNode { .. })), "{:?}", other.err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_change_leaves_nothing_and_the_others_stand() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let catalog = open(dir.path()).await;
    put(&catalog, "a1", "old").await.expect("written");
    let outcome: Result<(), _> = catalog
        .change(|txn| {
            txn.put(Table::Keys, b"a1".to_vec(), b"new".to_vec());
            txn.delete(Table::Keys, b"a0".to_vec());
            txn.counters.keys += 1;
            Err(ObjectError::NoSuchKey)
        })
        .await;
    assert!(matches!(outcome, Err(ObjectError::NoSuchKey)));
    let seen = catalog
        .change(|txn| {
            txn.put(Table::Keys, b"a2".to_vec(), b"two".to_vec());
            let inner: Result<(), ObjectError> = txn.attempt(|txn| {
                txn.put(Table::Keys, b"a2".to_vec(), b"three".to_vec());
                txn.delete(Table::Keys, b"a1".to_vec());
                txn.counters.keys += 1;
                assert_eq!(txn.get(Table::Keys, b"a1")?, None, "its own writes are seen");
                Err(ObjectError::NoSuchKey)
            });
            assert!(inner.is_err());
            txn.attempt(|txn| {
                txn.put(Table::Keys, b"a3".to_vec(), b"four".to_vec());
                Ok::<_, ObjectError>(())
            })?;
            txn.delete(Table::Keys, b"a9".to_vec());
            Ok((txn.scan(Table::Keys, b"a", 10)?, txn.scan(Table::Keys, b"a", 2)?.len(), txn.counters.keys))
        })
        .await
        .expect("written");
    let expected: Vec<(Vec<u8>, Vec<u8>)> =
        [("a1", "old"), ("a2", "two"), ("a3", "four")].map(|(row, value)| (row.into(), value.into())).into();
    assert_eq!(seen, (expected, 2, 0));
    assert_eq!(rows(&catalog, "a").len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_changes_share_syncs_and_none_is_lost() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let catalog = open(dir.path()).await;
    let adding = (0..500).map(|_| {
        let catalog = catalog.clone();
        tokio::spawn(async move {
            catalog
                .change(|txn| {
                    let row = b"count".to_vec();
                    let mut record: KeyRecord = txn.record(Table::Keys, &row)?.unwrap_or_default();
                    record.created_ms += 1;
                    txn.put_record(Table::Keys, row, &record);
                    txn.counters.keys += 1;
                    Ok(())
                })
                .await
        })
    });
    for added in futures::future::join_all(adding).await {
        added.expect("no panic").expect("written");
    }
    let record: KeyRecord = catalog.db().record(Table::Keys, b"count").expect("readable").expect("there");
    assert_eq!((record.created_ms, catalog.counters().keys), (500, 500));
    let stats = catalog.commit_stats();
    assert_eq!(stats.changes, 500);
    assert!(stats.commits < 250, "{stats:?}");
    drop(catalog);
    assert_eq!(open(dir.path()).await.counters().keys, 500, "counters are in the same batch");
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_and_later_records_are_typed_errors() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let catalog = open(dir.path()).await;
    for value in ["", "\u{9}later", "\u{1}\u{ff}"] {
        put(&catalog, "bad", value).await.expect("written");
        assert!(catalog.db().record::<KeyRecord>(Table::Keys, b"bad").is_err(), "{value:?}");
    }
}
