//! A pack as the network gives it back: entries lie one behind the other, and each is written again as it was read.
#![no_main]

use bytes::Bytes;
use cairn_gateway::catalog::record::extents;
use cairn_gateway::objects::pack::{DATA_LEN_MAX, ENTRY_HEAD_LEN, PACK_MAGIC, encode_head, entries};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((mode, input)) = input.split_first() else { return };
    // Nothing is learnt from guessing the magic: half of the inputs have it.
    let magic: &[u8] = if mode % 2 == 0 { &PACK_MAGIC } else { &[] };
    let pack = Bytes::from([magic, input].concat());
    let mut end = PACK_MAGIC.len() as u64;
    let mut ended = false;
    for entry in entries(pack.clone()) {
        assert!(!ended, "an error ends a pack");
        let Ok(entry) = entry else {
            ended = true;
            continue;
        };
        assert_eq!(entry.offset, end);
        assert!(entry.data.len() <= DATA_LEN_MAX && entry.len >= (ENTRY_HEAD_LEN + entry.data.len()) as u64);
        end = entry.offset + entry.len;
        assert_eq!(pack.slice(entry.data_offset() as usize..end as usize), entry.data);
        let Some(object) = entry.object else { continue };
        if let Some(record) = &object.record {
            let _ = (record.checksums(), record.parts(), record.entry(), extents(&record.extents));
        }
        let head = encode_head(&object, entry.data.len()).expect("no longer than it was");
        let again = [&PACK_MAGIC[..], &head, &entry.data].concat();
        let again: Vec<_> = entries(again.into()).collect::<Result<_, _>>().expect("our own pack");
        assert_eq!((again.len(), again[0].object.as_ref(), &again[0].data), (1, Some(&object), &entry.data));
    }
    assert!(ended || end >= pack.len() as u64);
});
