//! Listing against a model: whatever the keys, prefix, delimiter, marker and page length, the pages are the model's.

use std::collections::{BTreeMap, BTreeSet};

use cairn_types::NodeId;
use proptest::prelude::*;

use super::page;
use crate::catalog::record::ObjectRecord;
use crate::catalog::table::object_row;
use crate::catalog::{BucketId, Catalog, Table};
use crate::objects::api::{ListPage, ListRequest};

const BUCKET: BucketId = BucketId(5);

struct Fixture {
    catalog: Catalog,
    runtime: tokio::runtime::Runtime,
    _dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Fixture {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let catalog = Catalog::open(dir.path(), NodeId([1; 32])).expect("a new catalog");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        Fixture { catalog, runtime, _dir: dir }
    }

    /// Makes `keys` the bucket's only keys; buckets before and after it have the same ones.
    fn fill(&self, keys: &BTreeSet<String>) {
        let keys = keys.clone();
        let filling = self.catalog.change(move |txn| {
            for bucket in [BucketId(BUCKET.0 - 1), BUCKET, BucketId(BUCKET.0 + 1)] {
                for (row, _) in txn.scan(Table::Objects, &bucket.0.to_be_bytes(), usize::MAX)? {
                    txn.delete(Table::Objects, row);
                }
                for key in &keys {
                    let record = ObjectRecord { len: key.len() as u64, etag: format!("e{key}"), ..Default::default() };
                    txn.put_record(Table::Objects, object_row(bucket, key), &record);
                }
            }
            Ok(())
        });
        self.runtime.block_on(filling).expect("written");
    }

    fn page(&self, request: &ListRequest) -> ListPage {
        page(self.catalog.db(), BUCKET, request).expect("a page")
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Item {
    Key(String),
    Prefix(String),
}

/// All that a listing shows, in order: written from S3's words, not from the code.
fn model(keys: &BTreeSet<String>, prefix: &str, delimiter: Option<&str>, after: Option<&str>) -> Vec<Item> {
    let mut items = BTreeMap::new();
    for key in keys.iter().filter(|key| key.starts_with(prefix)) {
        let cut = delimiter.filter(|text| !text.is_empty()).and_then(|text| Some(key[prefix.len()..].find(text)? + text.len()));
        match cut {
            Some(cut) => items.insert(key[..prefix.len() + cut].to_owned(), true),
            None => items.insert(key.clone(), false),
        };
    }
    let behind = items.into_iter().filter(|(name, _)| after.is_none_or(|after| name.as_str() > after));
    behind.map(|(name, folded)| if folded { Item::Prefix(name) } else { Item::Key(name) }).collect()
}

fn items(page: &ListPage) -> Vec<Item> {
    let mut items: BTreeMap<String, Item> =
        page.objects.iter().map(|object| (object.key.clone(), Item::Key(object.key.clone()))).collect();
    for prefix in &page.common_prefixes {
        assert!(items.insert(prefix.clone(), Item::Prefix(prefix.clone())).is_none(), "listed twice");
    }
    items.into_values().collect()
}

fn keys() -> impl Strategy<Value = BTreeSet<String>> {
    let letter = prop::sample::select(vec!["a", "b", "/", "//", "..", "\0", "é", "\u{10ffff}", "%", " "]);
    let key = prop::collection::vec(letter, 1..6).prop_map(|letters| letters.concat());
    prop::collection::btree_set(key, 0..40)
}

fn fragment() -> impl Strategy<Value = String> {
    let letter = prop::sample::select(vec!["a", "b", "/", "..", "\0", "é", "\u{10ffff}"]);
    prop::collection::vec(letter, 0..4).prop_map(|letters| letters.concat())
}

#[test]
fn pages_are_those_of_the_model() {
    let fixture = Fixture::new();
    let inputs = (
        keys(),
        fragment(),
        prop::option::of(prop::sample::select(vec!["/", "a", "..", "é", "", "\0/"])),
        prop::option::of(fragment()),
        1usize..7,
    );
    let config = ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() };
    let outcome = proptest::test_runner::TestRunner::new(config).run(&inputs, |(keys, prefix, delimiter, after, max_keys)| {
        fixture.fill(&keys);
        let expected = model(&keys, &prefix, delimiter, after.as_deref());
        let mut request =
            ListRequest { bucket: "ignored".into(), prefix, delimiter: delimiter.map(Into::into), start_after: after, max_keys };
        let mut seen = Vec::new();
        loop {
            let page = fixture.page(&request);
            let page_items = items(&page);
            prop_assert!(page_items.len() <= max_keys);
            prop_assert!(page.next.is_none() || page_items.len() == max_keys, "a page that is not the last is full");
            seen.extend(page_items);
            let Some(next) = page.next else { break };
            prop_assert!(request.start_after.as_ref().is_none_or(|before| *before < next), "listing goes forward");
            request.start_after = Some(next);
        }
        prop_assert_eq!(seen, expected);
        Ok(())
    });
    outcome.expect("the pages of the model");
}

#[test]
fn a_listing_says_what_the_record_says() {
    let fixture = Fixture::new();
    fixture.fill(&BTreeSet::from(["a".to_owned(), "b/c".to_owned(), "b/d".to_owned(), "e".to_owned()]));
    let request =
        |max_keys, delimiter: Option<&str>| ListRequest { max_keys, delimiter: delimiter.map(Into::into), ..Default::default() };
    let page = fixture.page(&request(2, Some("/")));
    assert_eq!((page.objects.len(), page.common_prefixes, page.next.as_deref()), (1, vec!["b/".to_owned()], Some("b/")));
    assert_eq!((page.objects[0].len, page.objects[0].etag.as_str()), (1, "ea"));
    let page = fixture.page(&request(3, Some("/")));
    assert_eq!(page.next, None, "exactly full and complete");
    assert_eq!(fixture.page(&request(0, None)), ListPage::default());
    assert_eq!(fixture.page(&request(5000, None)).objects.len(), 4);
}

/// Ten thousand keys under one common prefix cost no more than one: the page is bounded by seeks, which this counts by time being
/// equal for 10 and for 10,000 keys within a wide margin, so it cannot pass by stepping over each key.
#[test]
fn a_common_prefix_is_skipped_by_one_seek() {
    let fixture = Fixture::new();
    let keys: BTreeSet<String> = (0..20).flat_map(|folder| (0..500).map(move |n| format!("{folder:02}/{n:04}"))).collect();
    fixture.fill(&keys);
    let folded = ListRequest { max_keys: 1000, delimiter: Some("/".into()), ..Default::default() };
    let flat = ListRequest { max_keys: 1000, ..Default::default() };
    let time = |request: &ListRequest| {
        let mut best = std::time::Duration::MAX;
        for _ in 0..20 {
            let start = std::time::Instant::now();
            std::hint::black_box(fixture.page(request));
            best = best.min(start.elapsed());
        }
        best
    };
    assert_eq!(fixture.page(&folded).common_prefixes.len(), 20);
    let (folded, flat) = (time(&folded), time(&flat));
    assert!(folded < flat, "20 seeks over 10,000 keys took {folded:?}, 1,000 steps took {flat:?}");
}
