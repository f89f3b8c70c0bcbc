//! Records and row keys of the catalog, as a damaged disk or a hostile pack may give them: one byte says of which kind.
#![no_main]

use cairn_gateway::catalog::UploadId;
use cairn_gateway::catalog::record::{
    BlobRecord, BucketRecord, Counters, KeyRecord, MetaRecord, ObjectRecord, ObjectSummary, PartRecord, StateRecord, TrashRecord,
    UploadRecord, decode, encode, extents,
};
use cairn_gateway::catalog::table::{
    BucketId, after_prefix, key_of_object_row, number_of_part_row, object_row, parse_upload_row, part_row, upload_row,
};
use cairn_gateway::objects::api::ObjectMeta;
use libfuzzer_sys::fuzz_target;
use prost::Message;

fuzz_target!(|input: &[u8]| {
    let Some((kind, bytes)) = input.split_first() else { return };
    match kind % 12 {
        0 => object(bytes),
        1 => drop(same::<BucketRecord>(bytes)),
        2 => part(bytes),
        3 => drop(same::<BlobRecord>(bytes).map(|blob| assert!(blob.waste() <= blob.len))),
        4 => drop(same::<KeyRecord>(bytes)),
        5 => drop(same::<StateRecord>(bytes)),
        6 => drop(same::<Counters>(bytes)),
        7 => drop(same::<ObjectSummary>(bytes)),
        8 => drop(same::<TrashRecord>(bytes)),
        9 => drop(same::<UploadRecord>(bytes).and_then(|upload| upload.meta).map(meta)),
        10 => upload_rows(bytes),
        _ => other_rows(bytes),
    }
});

/// What is read is written and read again as it was.
fn same<R: Message + Default + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> Option<R> {
    let record: R = decode(bytes).ok()?;
    assert_eq!(decode::<R>(&encode(&record)).as_ref(), Ok(&record));
    Some(record)
}

fn object(bytes: &[u8]) {
    let Some(record) = same::<ObjectRecord>(bytes) else { return };
    let summary: ObjectSummary = decode(bytes).expect("a summary is a subset of the fields");
    assert_eq!((summary.len, &summary.etag, summary.modified_ms), (record.len, &record.etag, record.modified_ms));
    for extent in extents(&record.extents).into_iter().flatten().chain(record.entry()) {
        assert!(extent.offset.checked_add(extent.len).is_some());
    }
    let (checksums, parts) = (record.checksums(), record.parts());
    assert!(checksums.is_err() || checksums.is_ok_and(|read| read.len() == record.checksums.len()));
    assert!(parts.is_err() || parts.is_ok_and(|read| read.len() == record.parts.len()));
    if let Some(kept) = record.meta {
        meta(kept);
    }
}

fn part(bytes: &[u8]) {
    if let Some(record) = same::<PartRecord>(bytes) {
        let _ = (record.checksums(), extents(&record.extents));
    }
}

fn meta(record: MetaRecord) {
    assert_eq!(MetaRecord::from(ObjectMeta::from(record.clone())), record);
}

fn upload_rows(row: &[u8]) {
    let Some((key, id)) = parse_upload_row(row) else { return };
    let bucket = u64::from_be_bytes(row[..8].try_into().expect("a row begins with its bucket"));
    assert_eq!(upload_row(BucketId(bucket), &key, id), row);
    assert_eq!(UploadId::parse(&id.to_string()), Some(id));
}

fn other_rows(row: &[u8]) {
    if let Some(key) = key_of_object_row(row) {
        let bucket = u64::from_be_bytes(row[..8].try_into().expect("a row begins with its bucket"));
        assert_eq!(object_row(BucketId(bucket), key), row);
    }
    if let Some(number) = number_of_part_row(row) {
        assert_eq!(part_row(UploadId(row[..16].try_into().expect("a row begins with its upload")), number), row);
    }
    match after_prefix(row) {
        Some(after) => assert!(after.as_slice() > row && !after.starts_with(row)),
        None => assert!(row.iter().all(|byte| *byte == 0xff)),
    }
}
